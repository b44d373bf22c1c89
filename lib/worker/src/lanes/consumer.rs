//! A member of a consumer group whose records go through lanes: one task that polls, hands over and commits, and does nothing else.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::parking::Parking;
use super::partition::{PartitionProgress, PushError};
use super::pool::{LanePool, LanePoolSettings, LaneWork};
use super::structure::LaneCounts;
use crate::Backoff;
use crate::log::{Log, LogConsumer, LogError, Missing, Place, Polled, ReadRecord};
use crate::supervisor::{Child, Context, Directive, Directives, Phase, Policy};
use crate::work::Cause;

/// What the records of a log lead to.
pub trait Deal<K, T>: Send + Sync + 'static {
    /// The items of a record with their keys, of which no two may be the same: none where it concerns nobody. What cannot be read is
    /// an item, too: somebody has to put it aside durably.
    fn deal(&self, record: ReadRecord) -> Vec<(K, T)>;
}

/// How a log is consumed.
#[derive(Clone, Copy, Debug)]
pub struct LaneConsumerSettings {
    /// How its items are handled. Between high water and the most held there is place for what one poll brings.
    pub pool: LanePoolSettings,
    /// Records of one poll, at least 1.
    pub poll_max: usize,
    /// How long a poll waits for something to happen.
    pub poll_wait: Duration,
    /// How long what is done may stay uncommitted: that much is done again after a crash.
    pub commit_every: Duration,
    /// Delays between polls that fail, and before the consumer is started again.
    pub backoff: Backoff,
    /// Without progress for this long it hangs. More than any single call of the log takes.
    pub hang_after: Duration,
    /// How long items in flight may go on after a stop.
    pub stop_grace: Duration,
}

/// Consumes a log by lanes.
pub struct LaneConsumer<K, T> {
    log: Arc<dyn Log>,
    group: &'static str,
    missing: Missing,
    settings: LaneConsumerSettings,
    deal: Arc<dyn Deal<K, T>>,
    work: Arc<dyn LaneWork<K, T>>,
    parking: Arc<dyn Parking<K, T>>,
}

/// One run of it.
struct Run<'a, K, T> {
    of: &'a LaneConsumer<K, T>,
    consumer: Box<dyn LogConsumer>,
    pool: LanePool<K, T>,
    /// Offsets that the group would go on at, and does not know yet.
    uncommitted: BTreeMap<u32, u64>,
    commit_at: Option<Instant>,
    failures: u32,
    poll_at: Option<Instant>,
    records: metrics::Counter,
}

impl<K, T> LaneConsumer<K, T>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// A member of `group` (which is the name of the job, too) that begins where `missing` says when nothing is committed.
    pub fn new(
        log: Arc<dyn Log>,
        group: &'static str,
        missing: Missing,
        settings: LaneConsumerSettings,
        deal: Arc<dyn Deal<K, T>>,
        work: Arc<dyn LaneWork<K, T>>,
        parking: Arc<dyn Parking<K, T>>,
    ) -> Self {
        Self { log, group, missing, settings, deal, work, parking }
    }

    /// The consumer as a supervised leaf, named after the group. What another start cannot cure escalates.
    pub fn child(self) -> Child {
        let directives = ["position lost", "refused", "corrupt"]
            .into_iter()
            .fold(Directives::default(), |directives, class| directives.on_class(class, Directive::Escalate));
        let hang_after = Some(self.settings.poll_wait + self.settings.hang_after);
        let policy = Policy { directives, hang_after, ..Policy::new(self.settings.backoff) };
        let this = Arc::new(self);
        Child::new(this.group, Phase::Work, policy, move |context| {
            let this = Arc::clone(&this);
            async move { this.run(&context).await }
        })
    }

    async fn run(&self, context: &Context) -> Result<(), Cause> {
        let consumer = self.log.join(self.group, self.missing).await.map_err(|error| cause(&error))?;
        let pool = LanePool::new(self.settings.pool, Arc::clone(&self.work), Arc::clone(&self.parking));
        let (uncommitted, commit_at, failures, poll_at) = (BTreeMap::new(), None, 0, None);
        let records = metrics::counter!("lanner_log_records_total", "job" => self.group);
        let mut run = Run { of: self, consumer, pool, uncommitted, commit_at, failures, poll_at, records };
        run.until_stopped(context).await?;
        run.drain(context).await;
        run.commit().await?;
        run.consumer.close().await.map_err(|error| cause(&error))
    }
}

impl<K, T> Run<'_, K, T>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    async fn until_stopped(&mut self, context: &Context) -> Result<(), Cause> {
        while !context.stop.is_cancelled() {
            context.pulse.beat();
            // Before anything is polled: there is room above high water for one poll only.
            let changed = self.pool.changed();
            self.note(&changed);
            self.commit_if_due().await?;
            let LaneConsumerSettings { poll_max, poll_wait, .. } = self.of.settings;
            tokio::select! {
                () = context.stop.cancelled() => {}
                changed = self.pool.progress() => self.note(&changed),
                polled = poll(&mut *self.consumer, self.poll_at, poll_max, poll_wait) => self.take(polled).await?,
                () = tokio::time::sleep_until(self.commit_at.unwrap_or_else(Instant::now)), if self.commit_at.is_some() => {}
            }
        }
        Ok(())
    }

    /// Lets what is in flight finish, for a while; what waits for another attempt is read again by whoever comes next.
    async fn drain(&mut self, context: &Context) {
        self.pool.drain();
        let deadline = Instant::now() + self.of.settings.stop_grace;
        while !self.pool.is_drained() && Instant::now() < deadline {
            let LaneCounts { in_flight, ready, .. } = self.pool.counts();
            if in_flight + ready == 0 {
                break;
            }
            context.pulse.beat();
            tokio::select! {
                changed = self.pool.progress() => self.note(&changed),
                // Who does not poll is taken for dead, and what it still does would be done again.
                polled = poll(&mut *self.consumer, self.poll_at, 1, self.of.settings.poll_wait) => {
                    polled.iter().flat_map(|polled| &polled.revoked).for_each(|partition| self.pool.revoke(*partition));
                }
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    async fn take(&mut self, polled: Result<Polled, LogError>) -> Result<(), Cause> {
        let polled = match polled {
            Ok(polled) => polled,
            Err(error) if error.is_temporary() => {
                self.failures = self.failures.saturating_add(1);
                self.poll_at = Some(Instant::now() + self.of.settings.backoff.jittered(self.failures));
                let error = Cause::of("poll", &error).error;
                warn!(group = self.of.group, error, failures = self.failures, "poll failed");
                return Ok(());
            }
            Err(error) => return Err(cause(&error)),
        };
        (self.failures, self.poll_at) = (0, None);
        for partition in polled.revoked {
            info!(group = self.of.group, partition, "partition is no longer held");
            self.pool.revoke(partition);
            self.uncommitted.remove(&partition);
        }
        for Place { partition, offset } in polled.assigned {
            info!(group = self.of.group, partition, offset, "partition is held");
            self.pool.assign(partition, offset).await?;
            if self.of.missing == Missing::First {
                // Where it begins is committed, too: afterwards a partition without a commit is one whose position is lost.
                self.uncommitted.entry(partition).or_insert(offset);
                self.commit_at.get_or_insert_with(|| Instant::now() + self.of.settings.commit_every);
            }
        }
        polled.records.into_iter().try_for_each(|record| self.push(record))
    }

    fn push(&mut self, record: ReadRecord) -> Result<(), Cause> {
        let Place { partition, offset } = record.place;
        self.records.increment(1);
        match self.pool.push(partition, offset, self.of.deal.deal(record)) {
            // What the log brings again was taken already; what is not held is somebody else's.
            Ok(()) | Err(PushError::Backwards { .. } | PushError::NotAssigned(_)) => Ok(()),
            Err(error) => Err(Cause::of("lanes", &error)),
        }
    }

    fn note(&mut self, changed: &[PartitionProgress]) {
        for PartitionProgress { partition, position, is_paused, .. } in changed {
            if *is_paused {
                self.consumer.pause(&[*partition]);
            } else {
                self.consumer.resume(&[*partition]);
            }
            self.uncommitted.insert(*partition, *position);
        }
        if self.commit_at.is_none() && !self.uncommitted.is_empty() {
            self.commit_at = Some(Instant::now() + self.of.settings.commit_every);
        }
    }

    async fn commit_if_due(&mut self) -> Result<(), Cause> {
        if self.commit_at.is_some_and(|at| at <= Instant::now()) { self.commit().await } else { Ok(()) }
    }

    async fn commit(&mut self) -> Result<(), Cause> {
        self.commit_at = None;
        measure(self.of.group, self.pool.counts());
        if self.uncommitted.is_empty() {
            return Ok(());
        }
        let places = self.uncommitted.iter().map(|(&partition, &offset)| Place { partition, offset });
        match self.consumer.commit(&places.collect::<Vec<_>>()).await {
            Ok(()) => self.uncommitted.clear(),
            // Its new holder goes on from the last commit. The others come with their next progress, or right away.
            Err(LogError::Fenced { partition, .. }) => {
                self.uncommitted.remove(&partition);
                self.commit_at = Some(Instant::now() + self.of.settings.commit_every);
            }
            Err(error) if error.is_temporary() => {
                warn!(group = self.of.group, error = Cause::of("commit", &error).error, "commit failed");
                self.commit_at = Some(Instant::now() + self.of.settings.commit_every);
            }
            Err(error) => return Err(cause(&error)),
        }
        Ok(())
    }
}

/// Polls, not before `at`.
async fn poll(
    consumer: &mut dyn LogConsumer,
    at: Option<Instant>,
    max: usize,
    wait: Duration,
) -> Result<Polled, LogError> {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
    consumer.poll(max.max(1), wait).await
}

fn measure(job: &'static str, counts: LaneCounts) {
    let LaneCounts { ready, in_flight, waiting, parked, held, .. } = counts;
    let states = [("ready", ready), ("in_flight", in_flight), ("waiting", waiting), ("parked", parked)];
    for (state, lanes) in states {
        metrics::gauge!("lanner_lanes", "job" => job, "state" => state).set(lanes as f64);
    }
    metrics::gauge!("lanner_log_records_held", "job" => job).set(held as f64);
}

fn cause(error: &LogError) -> Cause {
    Cause::of(error.class(), error)
}
