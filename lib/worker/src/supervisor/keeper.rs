//! Keeps children running: starts them, watches their runs, and does what their policy says when one ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use super::child::{Body, Child, Context, Leaf, Start};
use super::hooks::{Event, Hooks, Notice, tell};
use super::phase::{Phase, Scope, StopBounds};
use super::policy::{BackoffReset, History, Next, Policy};
use super::reason::{Escalation, GaveUp, Reason};
use super::tally::{Tally, Vitals};
use crate::{Cause, Pulse};

/// How long an aborted task may take to end; one that blocks its thread does not.
const ABORT_WITHIN: Duration = Duration::from_secs(1);

/// What all of a tree's supervisors share.
pub(super) struct Shared {
    pub(super) hooks: Vec<Arc<dyn Hooks>>,
    pub(super) bounds: StopBounds,
    pub(super) vitals: Vitals,
}

/// Why a run ended, and whether its task has.
struct RunEnd {
    reason: Reason,
    stuck: bool,
}

impl From<Reason> for RunEnd {
    fn from(reason: Reason) -> Self {
        Self { reason, stuck: false }
    }
}

/// Runs all children of a supervisor until none is left, or until it has given up on one and stopped the others in order.
pub(super) fn supervise<'a>(
    children: &'a mut [Child],
    shared: &'a Shared,
    scope: Arc<Scope>,
    start: Start,
) -> BoxFuture<'a, Reason> {
    async move {
        let mut keepers: FuturesUnordered<_> =
            children.iter_mut().map(|child| keep(child, shared, Arc::clone(&scope), start)).collect();
        let first = loop {
            match keepers.next().await {
                Some(Ok(())) => {}
                Some(Err(escalation)) => break escalation,
                None if scope.stopping().is_cancelled() => return Reason::Stopped,
                None => return Reason::Completed,
            }
        };
        let others = keepers.filter_map(|kept| std::future::ready(kept.err())).collect::<Vec<_>>();
        let ((), others) = tokio::join!(scope.stop(&shared.bounds), others);
        // What must reach the top is not lost behind what came first.
        let worst = others.into_iter().find(Escalation::is_final).filter(|_| !first.is_final()).unwrap_or(first);
        Reason::Escalated(Box::new(worst))
    }
    .boxed()
}

/// Keeps one child running. An error means that its supervisor gives up.
async fn keep(child: &mut Child, shared: &Shared, scope: Arc<Scope>, start: Start) -> Result<(), Escalation> {
    let Child { body, policy, hooks, reset, tally, path, .. } = child;
    let mut keeper =
        Keeper { path, policy, hooks, reset, tally, shared, scope, history: History::new(policy, reset.clone()) };
    let kept = keeper.keep(body, start).await;
    tally.is_over();
    if keeper.scope.tree_is_stopping() {
        body.close_mail();
    }
    kept
}

struct Keeper<'a> {
    path: &'a Arc<str>,
    policy: &'a Policy,
    hooks: &'a [Arc<dyn Hooks>],
    reset: &'a BackoffReset,
    tally: &'a Tally,
    shared: &'a Shared,
    scope: Arc<Scope>,
    history: History<'a>,
}

impl Keeper<'_> {
    async fn keep(&mut self, body: &mut Body, mut start: Start) -> Result<(), Escalation> {
        while !self.scope.stopping().is_cancelled() {
            let run = self.tally.start();
            let started = Instant::now();
            let RunEnd { reason, stuck } = self.run(body, run, start).await;
            self.tally.stop(&reason);
            self.tally.is_down();
            self.tell(run, Event::AfterStop(reason.clone()));
            if stuck {
                return self.give_up(run, GaveUp::CannotBeEnded, reason);
            }
            if self.scope.stopping().is_cancelled() && !is_final(&reason) {
                return Ok(());
            }
            match self.history.next(&reason, started.elapsed()) {
                Next::Nothing => {
                    info!(child = &**self.path, run, %reason, "child has stopped");
                    body.close_mail();
                    return Ok(());
                }
                Next::GiveUp(why) => return self.give_up(run, why, reason),
                Next::Start(how, delay) => {
                    warn!(child = &**self.path, run, %reason, delay = ?delay.unwrap_or_default(), "child is started again");
                    start = how;
                    self.back_off(run, delay).await;
                }
            }
        }
        Ok(())
    }

    fn give_up(&self, run: u64, why: GaveUp, reason: Reason) -> Result<(), Escalation> {
        let escalation = Escalation { child: self.path.to_string(), why, reason };
        error!(child = &**self.path, run, %escalation, "supervisor gives up");
        self.tell(run, Event::GaveUp(escalation.clone()));
        Err(escalation)
    }

    /// Waits; a stop ends the waiting at once.
    async fn back_off(&self, run: u64, delay: Option<Duration>) {
        let Some(delay) = delay else { return tokio::task::yield_now().await };
        self.tell(run, Event::BeforeBackoff(delay));
        tokio::select! {
            biased;
            () = self.scope.stopping().cancelled() => {}
            () = tokio::time::sleep(delay) => {}
        }
    }

    async fn run(&mut self, body: &mut Body, run: u64, start: Start) -> RunEnd {
        match body {
            Body::Leaf(leaf) => self.run_leaf(leaf, run, start).await,
            Body::Supervisor(children) => {
                self.tell(run, Event::BeforeStart);
                self.tally.lives(None);
                let running = supervise(children, self.shared, self.scope.below(), start);
                self.tell(run, Event::AfterStart);
                running.await.into()
            }
        }
    }

    async fn run_leaf(&mut self, leaf: &mut Leaf, run: u64, start: Start) -> RunEnd {
        let _running = self.scope.enter(leaf.phase);
        self.tell(run, Event::BeforeStart);
        if let Some(post) = &leaf.post {
            post.open();
        }
        let context = self.context(run, start);
        let (pulse, stop) = (context.pulse.clone(), context.stop.clone());
        self.tally.lives(self.policy.hang_after.map(|_| pulse.clone()));
        let made = catch_unwind(AssertUnwindSafe(|| (leaf.factory)(context)));
        let task = made.map(|future| AbortOnDropHandle::new(tokio::spawn(future)));
        self.tell(run, Event::AfterStart);
        let end = match task {
            Ok(task) => self.watch(task, leaf.phase, &pulse, &stop).await,
            Err(panic) => Reason::panic(&*panic).into(),
        };
        // Whatever the run has left behind learns that it is over.
        stop.cancel();
        if let Some(post) = &leaf.post {
            post.down();
        }
        end
    }

    fn context(&self, run: u64, start: Start) -> Context {
        Context {
            path: Arc::clone(self.path),
            run,
            start,
            pulse: Pulse::new(),
            stop: CancellationToken::new(),
            backoff: self.reset.clone(),
            vitals: self.shared.vitals.clone(),
            hang_after: self.policy.hang_after,
        }
    }

    async fn watch(&mut self, mut task: Task, phase: Phase, pulse: &Pulse, stop: &CancellationToken) -> RunEnd {
        loop {
            tokio::select! {
                biased;
                ended = &mut task => return reason(ended, Reason::Completed).into(),
                () = self.scope.asked(phase).cancelled() => {
                    stop.cancel();
                    return self.wind_down(task, phase).await;
                }
                silent_for = silence(pulse, self.policy.hang_after) => {
                    let hang = Reason::Hang(silent_for);
                    if !self.history.resumes_hung(&hang) {
                        stop.cancel();
                        return abort(task, hang).await;
                    }
                    warn!(child = &**self.path, reason = %hang, "child is left to go on");
                    self.tally.resume_hung();
                    pulse.beat();
                }
            }
        }
    }

    /// The run was asked to end: it does, or its time is over.
    async fn wind_down(&self, mut task: Task, phase: Phase) -> RunEnd {
        tokio::select! {
            biased;
            ended = &mut task => reason(ended, Reason::Stopped).into(),
            () = self.scope.overdue(phase).cancelled() => abort(task, Reason::Aborted).await,
        }
    }

    fn tell(&self, run: u64, event: Event) {
        let notice = Notice { child: Arc::clone(self.path), run, event };
        tell(self.hooks.iter().chain(&self.shared.hooks), &notice);
    }
}

type Task = AbortOnDropHandle<Result<(), Cause>>;

fn is_final(reason: &Reason) -> bool {
    matches!(reason, Reason::Escalated(escalation) if escalation.is_final())
}

/// Why a task that has ended did so; `well` when it ended without an error.
fn reason(ended: Result<Result<(), Cause>, JoinError>, well: Reason) -> Reason {
    match ended {
        Ok(Ok(())) => well,
        Ok(Err(cause)) => Reason::Error(cause),
        Err(error) => error.try_into_panic().map_or(Reason::Aborted, |panic| Reason::panic(&*panic)),
    }
}

/// Aborts a task. What it died of before the abort took hold is the reason all the same.
async fn abort(mut task: Task, aborted: Reason) -> RunEnd {
    task.abort();
    match tokio::time::timeout(ABORT_WITHIN, &mut task).await {
        Ok(Err(error)) if error.is_cancelled() => aborted.into(),
        Ok(Ok(Ok(()))) => aborted.into(),
        Ok(ended) => reason(ended, aborted).into(),
        Err(_) => RunEnd { reason: aborted, stuck: true },
    }
}

/// Waits until the pulse has not beaten for so long. For ever where it need not beat.
async fn silence(pulse: &Pulse, hang_after: Option<Duration>) -> Duration {
    let Some(bound) = hang_after else { return std::future::pending().await };
    loop {
        let age = pulse.age();
        if age >= bound {
            return age;
        }
        tokio::time::sleep(bound - age).await;
    }
}
