//! Runs the turns of lanes as tasks, for a caller that polls a log.

use std::collections::HashMap;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::limits::LaneLimits;
use super::parking::Parking;
use super::partition::{PartitionProgress, PushError};
use super::structure::{LaneCounts, Lanes};
use super::turn::{Task, Turn};
use crate::backoff::Backoff;
use crate::work::Cause;

/// Stored items read per call, and handled per turn: a long replay takes turns like everybody.
const REPLAY_PAGE: usize = 64;

/// What became of an item, or of a run of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneVerdict {
    /// All of it is done **and durable**, or put aside for good by the handler: the lane goes on.
    Done,
    /// Not this time; the lane waits. After the last attempt it is parked.
    Again {
        /// When to try again, where the other side said so; else by the pool's backoff.
        after: Option<Duration>,
        /// Why.
        cause: Cause,
    },
    /// Not for long: the lane is parked at once.
    Park {
        /// Why.
        cause: Cause,
    },
}

/// What is done with items.
#[async_trait]
pub trait LaneWork<K, T>: Send + Sync + 'static {
    /// Handles items of a lane in their order, for the `attempt`th time (from 1). They may be repeated, and this may be dropped at
    /// any await.
    ///
    /// There is one, or a run of several where the limits allow it ([`LaneLimits::in_runs`]). A run that is not done is handed out
    /// again item by item, whatever the answer was, from the first one on; that it was tried together counts as no attempt.
    async fn handle(&self, key: &K, items: &[T], attempt: u32) -> LaneVerdict;
}

/// Bounds and delays of a [`LanePool`].
#[derive(Clone, Copy, Debug)]
pub struct LanePoolSettings {
    /// Bounds of the lanes.
    pub limits: LaneLimits,
    /// Delays between attempts.
    pub backoff: Backoff,
    /// Attempts at an item alone before its lane is parked; at least 1.
    pub attempts_max: u32,
    /// How long an attempt may take before it is dropped and has failed: one that hangs would keep its place in flight.
    pub handle_timeout: Duration,
    /// Delays before a parked lane is replayed, and between attempts at storing.
    pub parked_backoff: Backoff,
}

enum Answer {
    Done,
    RetryAt(Instant),
    Park(Instant),
}

type Answered<K, T> = (Turn<K, T>, Answer);

/// Lanes whose turns run as tasks of the runtime. The caller owns it and polls it beside its log:
///
/// ```text
/// loop {
///     pool.changed() => commit positions, pause and resume partitions
///     select! {
///         records = log.poll() => push each,
///         changes = pool.progress() => the same,
///     }
/// }
/// ```
///
/// It has no task, lock or channel of its own: between two polls of [`Self::progress`] running items go on, but nobody begins a
/// turn. Must be used within a runtime. Dropping it aborts what is in flight.
pub struct LanePool<K, T> {
    lanes: Lanes<K, T>,
    runner: Arc<Runner<K, T>>,
    running: JoinSet<Answered<K, T>>,
    revoked: HashMap<u32, CancellationToken>,
}

struct Runner<K, T> {
    work: Arc<dyn LaneWork<K, T>>,
    parking: Arc<dyn Parking<K, T>>,
    backoff: Backoff,
    parked_backoff: Backoff,
    attempts_max: u32,
    handle_timeout: Duration,
}

impl<K, T> LanePool<K, T>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// Without partitions.
    pub fn new(settings: LanePoolSettings, work: Arc<dyn LaneWork<K, T>>, parking: Arc<dyn Parking<K, T>>) -> Self {
        let runner = Runner {
            work,
            parking,
            backoff: settings.backoff,
            parked_backoff: settings.parked_backoff,
            attempts_max: settings.attempts_max.max(1),
            handle_timeout: settings.handle_timeout,
        };
        Self {
            lanes: Lanes::new(settings.limits, Instant::now()),
            runner: Arc::new(runner),
            running: JoinSet::new(),
            revoked: HashMap::new(),
        }
    }

    /// Takes a partition, whose next record is the one at `position` or above, with the lanes that are parked there. On an error
    /// the partition is not assigned.
    pub async fn assign(&mut self, partition: u32, position: u64) -> Result<(), Cause> {
        self.revoke(partition);
        let parked = self.runner.parking.parked(partition).await?;
        self.lanes.assign(partition, position);
        self.revoked.insert(partition, CancellationToken::new());
        let now = Instant::now();
        for key in parked {
            self.lanes.restore_parked(partition, key, Some(now + self.runner.parked_backoff.jittered(1)));
        }
        Ok(())
    }

    /// Drops a partition at once; what is in flight of it ends at its next await. Its parked lanes stay stored.
    pub fn revoke(&mut self, partition: u32) {
        self.lanes.revoke(partition);
        if let Some(revoked) = self.revoked.remove(&partition) {
            revoked.cancel();
        }
    }

    /// Every partition takes nothing new from now on and finishes what it has. Poll [`Self::progress`] until all are drained; for
    /// how long lanes that wait are waited for is the caller's to say: what is revoked before is read again.
    pub fn drain(&mut self) {
        for partition in self.lanes.partitions() {
            self.lanes.drain(partition);
        }
    }

    /// True when every partition is drained.
    pub fn is_drained(&self) -> bool {
        let mut partitions = self.lanes.partitions().into_iter();
        partitions.all(|partition| self.lanes.progress(partition).is_some_and(|progress| progress.is_drained))
    }

    /// Takes a record, see [`Lanes::push`], and begins what can begin.
    pub fn push<I>(&mut self, partition: u32, offset: u64, items: I) -> Result<(), PushError>
    where
        I: IntoIterator<Item = (K, T), IntoIter: ExactSizeIterator>,
    {
        self.lanes.push(partition, offset, items)?;
        self.begin();
        Ok(())
    }

    /// Has a parked lane replayed as soon as it has its turn, see [`Lanes::replay_now`].
    pub fn replay_now(&mut self, partition: u32, key: &K) -> bool {
        self.lanes.tick(Instant::now());
        self.lanes.replay_now(partition, key)
    }

    /// What has changed of position, pause or drain of partitions, without waiting. To be asked between two polls: a partition that is
    /// to be paused and is polled once more may not have room for what comes.
    pub fn changed(&mut self) -> Vec<PartitionProgress> {
        self.lanes.take_changed()
    }

    /// Waits until position, pause or drain of partitions change. Nothing is lost when it is dropped at an await.
    pub async fn progress(&mut self) -> Vec<PartitionProgress> {
        loop {
            self.lanes.tick(Instant::now());
            self.begin();
            let changed = self.lanes.take_changed();
            if !changed.is_empty() {
                return changed;
            }
            let due = self.lanes.next_due();
            tokio::select! {
                Some(ended) = self.running.join_next() => self.answer(ended),
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                else => std::future::pending().await,
            }
            while let Some(ended) = self.running.try_join_next() {
                self.answer(ended);
            }
        }
    }

    /// Where a partition stands.
    pub fn position(&self, partition: u32) -> Option<PartitionProgress> {
        self.lanes.progress(partition)
    }

    /// How many there are of what.
    pub fn counts(&self) -> LaneCounts {
        self.lanes.counts()
    }

    fn begin(&mut self) {
        while let Some(turn) = self.lanes.next_turn() {
            let runner = Arc::clone(&self.runner);
            let revoked = self.revoked.get(&turn.partition).cloned().unwrap_or_default();
            self.running.spawn(async move {
                let answer = tokio::select! {
                    biased;
                    answer = runner.run(&turn) => answer,
                    // The lane is gone: nobody listens to the answer.
                    () = revoked.cancelled() => Answer::Done,
                };
                (turn, answer)
            });
        }
    }

    fn answer(&mut self, ended: Result<Answered<K, T>, JoinError>) {
        // Panics end inside the task and nobody aborts one: a turn always comes back.
        let Ok((turn, answer)) = ended else { return };
        match answer {
            Answer::Done => self.lanes.done(turn),
            Answer::RetryAt(due) => self.lanes.retry_at(turn, due),
            Answer::Park(replay_at) => {
                if let Err(turn) = self.lanes.park(turn, Some(replay_at)) {
                    warn!(
                        partition = turn.partition,
                        offset = turn.offset,
                        "no more lanes can be parked: this one waits"
                    );
                    self.lanes.retry_at(turn, replay_at);
                }
            }
        }
    }
}

impl<K: Send + Sync + 'static, T: Send + Sync + 'static> Runner<K, T> {
    async fn run(&self, turn: &Turn<K, T>) -> Answer {
        match &turn.task {
            Task::Handle(items) => self.handle(turn, items).await,
            Task::Store(item) => {
                let storing = self.parking.store(turn.partition, &turn.key, turn.offset, item);
                match unless_panic(storing).await {
                    Ok(()) => Answer::Done,
                    Err(cause) => self.parking_failed(turn, &cause),
                }
            }
            Task::Replay => match unless_panic(self.replay(turn)).await {
                Ok(answer) => answer,
                Err(cause) => self.parking_failed(turn, &cause),
            },
        }
    }

    async fn handle(&self, turn: &Turn<K, T>, items: &[T]) -> Answer {
        let Turn { partition, offset, attempt, .. } = *turn;
        match self.verdict(&turn.key, items, attempt).await {
            LaneVerdict::Done => Answer::Done,
            LaneVerdict::Again { cause, .. } | LaneVerdict::Park { cause } if items.len() > 1 => {
                let items = items.len();
                warn!(partition, offset, items, class = cause.class, error = cause.error, "run failed");
                Answer::RetryAt(Instant::now() + self.backoff.jittered(1))
            }
            LaneVerdict::Again { after, cause } if attempt < self.attempts_max => {
                warn!(partition, offset, attempt, class = cause.class, error = cause.error, "attempt failed");
                Answer::RetryAt(Instant::now() + after.unwrap_or_else(|| self.backoff.jittered(attempt)))
            }
            LaneVerdict::Again { cause, .. } | LaneVerdict::Park { cause } => {
                error!(partition, offset, attempt, class = cause.class, error = cause.error, "lane parks");
                Answer::Park(Instant::now() + self.parked_backoff.jittered(1))
            }
        }
    }

    /// Handles a page of what is stored. A page that went well takes its next turn at once.
    async fn replay(&self, turn: &Turn<K, T>) -> Result<Answer, Cause> {
        let Turn { partition, attempt, .. } = *turn;
        let page = self.parking.stored(partition, &turn.key, REPLAY_PAGE).await?;
        let is_last = page.len() < REPLAY_PAGE;
        for (index, (offset, item)) in page.iter().enumerate() {
            // Only the first can have failed before.
            let attempt = if index == 0 { attempt } else { 1 };
            let after = match self
                .verdict(&turn.key, slice::from_ref(item), self.attempts_max.saturating_add(attempt))
                .await
            {
                LaneVerdict::Done => {
                    self.parking.remove(partition, &turn.key, *offset).await?;
                    continue;
                }
                LaneVerdict::Again { after, cause } => self.still_parked(partition, *offset, attempt, &cause, after),
                LaneVerdict::Park { cause } => self.still_parked(partition, *offset, attempt, &cause, None),
            };
            let due = Instant::now() + after;
            return Ok(if index == 0 { Answer::RetryAt(due) } else { Answer::Park(due) });
        }
        if is_last {
            self.parking.release(partition, &turn.key).await?;
            return Ok(Answer::Done);
        }
        Ok(Answer::Park(Instant::now()))
    }

    async fn verdict(&self, key: &K, items: &[T], attempt: u32) -> LaneVerdict {
        let handled = AssertUnwindSafe(self.work.handle(key, items, attempt)).catch_unwind();
        let cause = match tokio::time::timeout(self.handle_timeout, handled).await {
            Ok(Ok(verdict)) => return verdict,
            Ok(Err(_)) => panicked(),
            Err(_) => Cause::new("timeout", format!("no answer within {:?}", self.handle_timeout)),
        };
        LaneVerdict::Again { after: None, cause }
    }

    /// Says so; answers after which delay to try again.
    fn still_parked(
        &self,
        partition: u32,
        offset: u64,
        attempt: u32,
        cause: &Cause,
        after: Option<Duration>,
    ) -> Duration {
        warn!(partition, offset, attempt, class = cause.class, error = cause.error, "lane stays parked");
        after.unwrap_or_else(|| self.parked_backoff.jittered(attempt))
    }

    fn parking_failed(&self, turn: &Turn<K, T>, cause: &Cause) -> Answer {
        let Turn { partition, offset, attempt, .. } = *turn;
        warn!(partition, offset, attempt, class = cause.class, error = cause.error, "parking failed");
        Answer::RetryAt(Instant::now() + self.parked_backoff.jittered(attempt))
    }
}

async fn unless_panic<R>(parking: impl Future<Output = Result<R, Cause>>) -> Result<R, Cause> {
    AssertUnwindSafe(parking).catch_unwind().await.unwrap_or_else(|_| Err(panicked()))
}

fn panicked() -> Cause {
    Cause::new("panic", "the handler panicked; see the log of panics")
}
