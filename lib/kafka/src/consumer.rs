//! A reader of a topic: as a member of a group, or from places that were given.

mod held;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use krafka::consumer::{Consumer, OffsetAndMetadata};
use krafka::{CloseOptions, ConsumerRecord, KrafkaError};
use tokio::time::Instant;
use worker::log::{Bounds, LogConsumer, LogError, LogRecord, Missing, Place, Polled, ReadRecord};

use self::held::Held;
use crate::assignments::Changes;
use crate::error::{of_commit, refused, unavailable, while_asking};
use crate::positions::Positions;

/// The longest a poll waits, whatever is asked.
const WAIT_MAX: Duration = Duration::from_secs(3_600);
/// How long leaving a group may take. Who has not left by then is taken for dead after the session's timeout.
const CLOSE_MAX: Duration = Duration::from_secs(5);
/// Where a partition begins.
pub(crate) enum Start {
    /// Where the group has committed.
    Committed { group: String, missing: Missing },
    /// Where the caller said; there is no group.
    Given(BTreeMap<u32, u64>),
}

/// See [`LogConsumer`]. The client's own position of a partition is never trusted: it is set once, when the partition is given, after
/// the position has been held against what the log has.
pub(crate) struct KafkaConsumer {
    client: Consumer,
    changes: Changes,
    positions: Arc<Positions>,
    start: Start,
    /// How often the client is polled even though records are waiting.
    keep_alive: Duration,
    polled_at: Option<Instant>,
    held: Held,
    /// Partitions that the client was told to bring nothing of.
    stopped: BTreeSet<u32>,
    /// The partition that has lost its end, if one has, and what to say of it.
    broken: Option<(u32, String)>,
}

impl KafkaConsumer {
    pub(crate) fn new(
        client: Consumer,
        changes: Changes,
        positions: Arc<Positions>,
        start: Start,
        keep_alive: Duration,
    ) -> Self {
        let mut held = Held::default();
        if let Start::Given(places) = &start {
            places.keys().for_each(|partition| held.give(*partition));
        }
        Self {
            client,
            changes,
            positions,
            start,
            keep_alive,
            polled_at: None,
            held,
            stopped: BTreeSet::new(),
            broken: None,
        }
    }

    /// Has the client poll: for up to `wait` when there is nothing to bring; else only to show that the member lives.
    async fn read(&mut self, wait: Duration) -> Result<(), LogError> {
        if let Some((partition, what)) = &self.broken {
            return Err(self.lost(*partition, what.clone()));
        }
        let busy = self.held.has_something();
        if busy && self.polled_at.is_some_and(|at| at.elapsed() < self.keep_alive) {
            return Ok(());
        }
        let stopped = if busy { self.held.all() } else { self.held.paused() };
        self.stop(stopped).await;
        self.polled_at = Some(Instant::now());
        let read = tokio::select! {
            biased;
            read = self.client.poll(if busy { Duration::ZERO } else { wait }) => read,
            // The client goes on waiting for records after partitions were given or taken.
            () = self.changes.happened() => Ok(Vec::new()),
        };
        match read {
            Ok(records) => {
                let kept = self.held.keep(records.into_iter().filter_map(read_record));
                kept.map_err(|(place, next)| self.rewound(place, next))?;
            }
            Err(KrafkaError::NoOffset { partitions }) => {
                self.held.note(self.changes.take());
                let numbers = partitions.into_iter().filter_map(|(_, partition)| u32::try_from(partition).ok());
                // Those whose beginning is not known yet are nobody's loss.
                if let Some(partition) = { numbers }.find(|partition| self.held.holds(*partition)) {
                    return Err(self.out_of_range(partition).await);
                }
            }
            Err(error) => return Err(while_asking(&self.positions.topic, error)),
        }
        Ok(())
    }

    /// Has the client bring nothing of these partitions, and something of all others.
    async fn stop(&mut self, wanted: BTreeSet<u32>) {
        let numbers = |set: &BTreeSet<u32>, other: &BTreeSet<u32>| -> Vec<i32> {
            set.difference(other).filter_map(|partition| i32::try_from(*partition).ok()).collect()
        };
        let held = self.held.all();
        self.stopped.retain(|partition| held.contains(partition));
        self.client.pause(&self.positions.topic, &numbers(&wanted, &self.stopped)).await;
        self.client.resume(&self.positions.topic, &numbers(&self.stopped, &wanted)).await;
        self.stopped = wanted;
    }

    /// Finds where new partitions begin, and begins there.
    async fn settle(&mut self) -> Result<(), LogError> {
        let new = self.held.new_ones();
        if new.is_empty() {
            return Ok(());
        }
        let positions = &self.positions;
        let wanted = match &self.start {
            Start::Committed { group, .. } => positions.committed(group, &new).await?,
            Start::Given(places) => places.clone(),
        };
        let bounds = positions.bounds(&new).await?;
        for partition in new {
            let bounds =
                bounds.get(&partition).ok_or_else(|| refused(&positions.topic, "the broker tells no bounds"))?;
            let offset = self.beginning(partition, wanted.get(&partition).copied(), *bounds)?;
            let place = positions.partition(partition);
            // A fresh partition is not stopped in the client, whatever it was before.
            self.stopped.remove(&partition);
            match self.client.seek(place.topic(), place.partition(), i64::try_from(offset).unwrap_or(i64::MAX)).await {
                Ok(()) => self.held.hold(Place { partition, offset }),
                // Taken meanwhile, which the changes tell.
                Err(_) => self.held.take_away(partition),
            }
        }
        Ok(())
    }

    fn beginning(&self, partition: u32, wanted: Option<u64>, bounds: Bounds) -> Result<u64, LogError> {
        match (wanted, &self.start) {
            (Some(offset), _) if (bounds.first..=bounds.next).contains(&offset) => Ok(offset),
            (Some(offset), _) => Err(self.lost(partition, outside(offset, bounds))),
            (None, Start::Committed { missing: Missing::First, .. }) => Ok(bounds.first),
            (None, _) => Err(self.lost(partition, "it has committed nothing here".to_owned())),
        }
    }

    /// What to say of a partition whose records were taken away under its reader.
    async fn out_of_range(&self, partition: u32) -> LogError {
        let place = self.positions.partition(partition);
        let position = self.client.position(place.topic(), place.partition()).await;
        let position = position.and_then(|offset| u64::try_from(offset).ok()).unwrap_or_default();
        match self.positions.bounds(&[partition]).await {
            Ok(bounds) => match bounds.get(&partition) {
                Some(bounds) => self.lost(partition, outside(position, *bounds)),
                None => self.lost(partition, format!("offset {position} is not in the log")),
            },
            Err(_) => self.lost(partition, format!("offset {position} is not in the log")),
        }
    }

    /// The client goes back by itself when a leader has lost the end of its log. Nobody else may: this reader is of no use any more.
    fn rewound(&mut self, place: Place, next: u64) -> LogError {
        let what = format!("it was {next}, and the log has lost its end and gone on from {}", place.offset);
        let error = self.lost(place.partition, what.clone());
        self.broken = Some((place.partition, what));
        error
    }

    fn lost(&self, partition: u32, what: String) -> LogError {
        let group = match &self.start {
            Start::Committed { group, .. } => group.clone(),
            Start::Given(_) => "(none)".to_owned(),
        };
        LogError::PositionLost { log: self.positions.topic.clone(), group, partition, what }
    }

    async fn commit_held(&self, next: &[Place]) -> Result<(), LogError> {
        let Some(first) = next.first() else { return Ok(()) };
        let offset = |place: &Place| OffsetAndMetadata::new(i64::try_from(place.offset).unwrap_or(i64::MAX));
        let offsets: Vec<_> = next.iter().map(|at| (self.positions.partition(at.partition), offset(at))).collect();
        let committed = self.client.commit_offsets(offsets.iter().map(|(place, offset)| (place, offset))).await;
        committed.map_err(|error| of_commit(&self.positions.topic, first.partition, error))
    }
}

#[async_trait]
impl LogConsumer for KafkaConsumer {
    async fn poll(&mut self, max: usize, wait: Duration) -> Result<Polled, LogError> {
        let deadline = Instant::now() + wait.min(WAIT_MAX);
        loop {
            self.read(deadline.saturating_duration_since(Instant::now())).await?;
            self.held.note(self.changes.take());
            // What is taken is told before anything else: the same partition may be given again by now.
            let revoked = self.held.take_revoked();
            if !revoked.is_empty() {
                return Ok(Polled { revoked, ..Polled::default() });
            }
            self.settle().await?;
            let polled = self.held.bring(max);
            if !polled.assigned.is_empty() || !polled.records.is_empty() {
                return Ok(polled);
            }
            if Instant::now() >= deadline || self.held.has_something() {
                return Ok(polled);
            }
        }
    }

    fn pause(&mut self, partitions: &[u32]) {
        self.held.pause(partitions);
    }

    fn resume(&mut self, partitions: &[u32]) {
        self.held.resume(partitions);
    }

    async fn commit(&mut self, next: &[Place]) -> Result<(), LogError> {
        if let Start::Given(_) = self.start {
            return Err(refused(&self.positions.topic, "who reads without a group cannot commit"));
        }
        self.held.note(self.changes.take());
        let (held, gone): (Vec<Place>, Vec<Place>) = next.iter().partition(|place| self.held.holds(place.partition));
        self.commit_held(&held).await?;
        match gone.first() {
            Some(place) => Err(LogError::Fenced { log: self.positions.topic.clone(), partition: place.partition }),
            None => Ok(()),
        }
    }

    async fn close(self: Box<Self>) -> Result<(), LogError> {
        let closed = self.client.close_with(CloseOptions::new().timeout(CLOSE_MAX)).await;
        closed.map_err(|error| unavailable(&self.positions.topic, error))
    }
}

fn outside(offset: u64, bounds: Bounds) -> String {
    format!("it is {offset}, and the log goes from {} to {}", bounds.first, bounds.next)
}

/// None for numbers that no broker tells.
fn read_record(record: ConsumerRecord) -> Option<ReadRecord> {
    let bytes = |bytes: Option<_>| bytes.map(Vec::from).unwrap_or_default();
    let place = Place { partition: u32::try_from(record.partition).ok()?, offset: u64::try_from(record.offset).ok()? };
    let headers = record.headers.into_iter().map(|(name, value)| (name, bytes(value))).collect();
    Some(ReadRecord {
        place,
        appended_at: appended_at(record.timestamp),
        record: LogRecord { key: bytes(record.key), headers, value: bytes(record.value) },
    })
}

fn appended_at(timestamp_ms: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(timestamp_ms).unwrap_or_default())
}
