//! The consume loop: receives, keeps a bounded number of messages in work, renews their visibility, answers per entry, stops
//! in good order. It runs as supervised children: the poll loop, the heartbeat, and as many handlers as there may be messages
//! in flight.
//!
//! - **In flight** is a number of permits; nothing is received before a slot for it is free.
//! - **Heartbeat**: messages in flight are renewed in batches once a third of their visibility timeout is over. Work whose
//!   message is no longer held is cancelled, because somebody else may have it (fencing).
//! - **Attempts** are counted by the job's own ledger, not by the queue, so that an orderly stop burns none.
//! - **A handler that hangs**, one whose work makes no progress for a set time, is started again; its message returns after
//!   its visibility timeout, and the attempt counts. One that blocks its thread ends the process: the supervisor gives up.
//! - **Suspects**: a message that came back several times without an answer may be what ends the process; such messages are
//!   handled one at a time, so that a poison does not use up the attempts of its neighbours.
//! - **Stop**: receive no more, give back what has not begun, let the rest finish for a while, then drop it, forgive the
//!   attempt and give it back.

mod handler;
mod heartbeat;
mod poll;
mod report;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::handler::Handler;
use self::heartbeat::{Held, Holding};
use self::poll::Poll;
pub use self::report::ConsumerReport;
use self::report::{Counters, Ending, InFlight};
use crate::batcher::{Batcher, Batching};
use crate::supervisor::{
    Child, Directive, Directives, Escalation, Kind, Measured, Outcome, Phase, Policy, StopBounds, Tree,
};
use crate::work::{Attempts, Work};
use crate::{Backoff, Delivery, Queue, QueueError, Receipt};

/// How a queue is consumed.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerSettings {
    /// Messages in flight, at least 1.
    pub in_flight: usize,
    /// Slots that must be free before anything is received, so that receives are worth their price.
    pub receive_min: usize,
    /// Visibility timeout of received messages.
    pub visible_for: Duration,
    /// How long a receive waits for the first message.
    pub receive_wait: Duration,
    /// Attempts after which a task is parked, at least 1.
    pub attempts_max: u32,
    /// Delays between attempts of a task, between receives that fail, and before a child that failed is started again.
    pub backoff: Backoff,
    /// Without progress for this long, a child hangs. More than any single call of a port takes.
    pub hang_after: Duration,
    /// How long work may go on after a stop; the whole stop takes about a second more at most.
    pub stop_grace: Duration,
}

/// How long a receive under way at a stop may still bring its messages, so that they are given back at once.
const LAST_RECEIVE: Duration = Duration::from_millis(100);
/// How long forgiving and giving back may take at a stop.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl ConsumerSettings {
    /// How long each phase of a stop may take.
    pub fn stop_bounds(&self) -> StopBounds {
        let quick = 2 * LAST_RECEIVE;
        StopBounds {
            intake: LAST_WORDS / 2,
            work: self.stop_grace + LAST_WORDS + quick,
            commits: quick,
            telemetry: quick,
        }
    }
}

/// Consumes one queue with one kind of work.
pub struct Consumer<W: Work> {
    job: &'static str,
    inner: Arc<Inner<W>>,
}

/// What the children share.
struct Inner<W: Work> {
    queue: Arc<dyn Queue>,
    work: Arc<W>,
    attempts: Arc<dyn Attempts<W::Task>>,
    settings: ConsumerSettings,
    counters: Counters,
    held: Arc<Held>,
    suspects: Semaphore,
    messages: (flume::Sender<Message>, flume::Receiver<Message>),
    done: Batcher<Receipt, bool>,
    visibility: Batcher<(Receipt, Duration), bool>,
}

/// A message in flight. Whoever drops it no longer holds it.
struct Message {
    delivery: Delivery,
    holding: Holding,
    _slot: OwnedSemaphorePermit,
    _counted: InFlight,
}

impl<W: Work> Consumer<W> {
    /// A consumer of the job of this name. Call from within a runtime.
    pub fn new(
        job: &'static str,
        queue: Arc<dyn Queue>,
        work: Arc<W>,
        attempts: Arc<dyn Attempts<W::Task>>,
        settings: ConsumerSettings,
    ) -> Self {
        let batching = Batching { max: queue.limits().batch_max, linger: queue.limits().linger };
        let for_done = Arc::clone(&queue);
        let done = Batcher::start(batching, move |receipts: Vec<Receipt>| {
            let queue = Arc::clone(&for_done);
            async move { answered(&*queue, receipts.len(), queue.done(&receipts).await) }
        });
        let for_visibility = Arc::clone(&queue);
        let visibility = Batcher::start(batching, move |changes: Vec<(Receipt, Duration)>| {
            let queue = Arc::clone(&for_visibility);
            async move { answered(&*queue, changes.len(), queue.change_visibility(&changes).await) }
        });
        let inner = Inner {
            queue,
            work,
            attempts,
            settings,
            counters: Counters::new(job),
            held: Arc::default(),
            suspects: Semaphore::new(1),
            messages: flume::unbounded(),
            done,
            visibility,
        };
        Self { job, inner: Arc::new(inner) }
    }

    /// The consumer as a supervised child: a supervisor of poll loop, handlers and heartbeat, named after the job. A queue
    /// that refuses to be read at all escalates.
    pub fn child(&self) -> Child {
        let watched = Policy { hang_after: Some(self.inner.settings.hang_after), ..self.policy() };
        let handlers = (1..=self.inner.settings.in_flight.max(1)).map(|number| {
            let inner = Arc::clone(&self.inner);
            Child::new(number.to_string(), Phase::Work, watched.clone(), move |context| {
                Handler { consumer: Arc::clone(&inner), context }.run()
            })
        });
        let children = vec![
            self.poll(),
            Child::supervisor("handlers", self.policy(), handlers.collect()),
            self.heartbeat(watched.clone()),
        ];
        Child::supervisor(self.job, self.policy(), children)
    }

    fn poll(&self) -> Child {
        let ConsumerSettings { receive_wait, hang_after, in_flight, .. } = self.inner.settings;
        let policy = Policy {
            directives: Directives::default().on(Kind::Error, Directive::Escalate),
            hang_after: Some(receive_wait + hang_after),
            ..self.policy()
        };
        let (inner, slots) = (Arc::clone(&self.inner), Arc::new(Semaphore::new(in_flight.max(1))));
        Child::new("poll", Phase::Intake, policy, move |context| {
            Poll { consumer: Arc::clone(&inner), slots: Arc::clone(&slots), context }.run()
        })
    }

    fn heartbeat(&self, policy: Policy) -> Child {
        let (queue, held) = (Arc::clone(&self.inner.queue), Arc::clone(&self.inner.held));
        let visible_for = self.inner.settings.visible_for;
        Child::new("heartbeat", Phase::Commits, policy, move |context| {
            heartbeat::run(Arc::clone(&queue), Arc::clone(&held), visible_for, context)
        })
    }

    fn policy(&self) -> Policy {
        Policy::new(self.inner.settings.backoff)
    }

    /// The name of the job.
    pub fn job(&self) -> &'static str {
        self.job
    }

    /// How long each phase of a stop may take.
    pub fn stop_bounds(&self) -> StopBounds {
        self.inner.settings.stop_bounds()
    }

    /// What was done so far.
    pub fn report(&self) -> ConsumerReport {
        self.inner.counters.report()
    }

    /// Runs until stopped, in a tree of its own. An error means that the supervisor gave up: the queue refuses to be read, or
    /// something failed again and again.
    pub async fn run(self, stop: CancellationToken) -> Result<ConsumerReport, Escalation> {
        #[expect(clippy::expect_used, reason = "the names stand in this file, and jobs are named by words")]
        let tree = Tree::new("process", vec![self.child()]).expect("children of good names");
        let outcome = tree.stop_bounds(self.stop_bounds()).hook(Measured).run(stop).await;
        match outcome {
            Outcome::GaveUp(escalation) => Err(escalation),
            Outcome::Stopped | Outcome::Completed => Ok(self.inner.counters.report()),
        }
    }
}

/// One answer for each entry of a batch: true when it took effect.
fn answered(queue: &dyn Queue, entries: usize, answer: Result<crate::queue::PerEntry, QueueError>) -> Vec<bool> {
    match answer {
        Ok(per_entry) => per_entry.iter().map(Result::is_ok).collect(),
        Err(error) => {
            // The messages return after their visibility timeout; the work is safe to repeat.
            warn!(queue = queue.name(), %error, entries, "batch answer failed");
            vec![false; entries]
        }
    }
}

impl<W: Work> Inner<W> {
    /// Gives a message back without an attempt.
    async fn release(&self, message: &Message) {
        self.counters.count(Ending::Released);
        self.return_after(message, Duration::ZERO).await;
    }

    async fn return_after(&self, message: &Message, after: Duration) {
        message.holding.let_go();
        self.visibility.call((message.delivery.receipt.clone(), after)).await;
    }

    async fn acknowledge(&self, message: &Message) {
        self.done.call(message.delivery.receipt.clone()).await;
    }
}
