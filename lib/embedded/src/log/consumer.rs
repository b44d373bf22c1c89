//! Who reads a log: a member of a group, or a follower without one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;
use worker::log::{Missing, Place, Polled, ReadRecord};
use worker::{LogConsumer, LogError};

use super::groups::{Group, Standing};
use super::{Store, codec, offset_of, record_key};
use crate::lmdb::Failure;

/// How soon records of other processes, and other members, are noticed.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Bytes of records that one poll brings, at most: one record more, where the first is larger.
const POLL_BYTES: usize = 8 << 20;

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What is read, and from where on.
struct Cursor {
    store: Arc<Store>,
    appended: watch::Receiver<u64>,
    next: BTreeMap<u32, u64>,
    paused: BTreeSet<u32>,
    /// The partition that the last poll ended with: the next one begins behind it.
    last: u32,
}

impl Cursor {
    fn new(store: Arc<Store>, next: BTreeMap<u32, u64>) -> Self {
        let appended = store.appended.subscribe();
        Self { store, appended, next, paused: BTreeSet::new(), last: u32::MAX }
    }

    /// Reads what is there, at most `max` records.
    async fn read(&mut self, max: usize) -> Result<Vec<ReadRecord>, LogError> {
        let behind = self.next.range(self.last.saturating_add(1)..);
        let order =
            behind.chain(self.next.range(..=self.last)).filter(|(partition, _)| !self.paused.contains(partition));
        let from: Vec<Place> = order.map(|(&partition, &offset)| Place { partition, offset }).collect();
        self.appended.mark_unchanged();
        if from.is_empty() || max == 0 {
            return Ok(Vec::new());
        }
        let records = self.store.read(move |store, txn| read(store, txn, &from, max)).await?;
        // Nothing is awaited from here on: what is noted as read is answered.
        for record in &records {
            self.next.insert(record.place.partition, record.place.offset + 1);
            self.last = record.place.partition;
        }
        Ok(records)
    }

    /// Waits for an append, or for as long as others may go unnoticed.
    async fn wait(&mut self, deadline: Instant) {
        let until = deadline.min(Instant::now() + LOOK_EVERY);
        let _ = tokio::time::timeout_at(until, self.appended.changed()).await;
    }
}

fn read(store: &Store, txn: &heed::RoTxn, from: &[Place], max: usize) -> Result<Vec<ReadRecord>, Failure> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    for &Place { partition, offset } in from {
        let (first, last) = (record_key(partition, offset), record_key(partition, u64::MAX));
        for entry in store.records.range(txn, &(Bound::Included(&first[..]), Bound::Included(&last[..])))? {
            let (key, value) = entry?;
            let offset = offset_of(key)?;
            let decoded = codec::decode(value);
            let (appended_at, record) = decoded
                .map_err(|what| Failure::Corrupt(format!("record {offset} of partition {partition}: {what}")))?;
            bytes += value.len();
            records.push(ReadRecord { place: Place { partition, offset }, appended_at, record });
            if records.len() >= max || bytes >= POLL_BYTES {
                return Ok(records);
            }
        }
    }
    Ok(records)
}

/// Reads without a group.
pub(super) struct Follower {
    cursor: Cursor,
    assigned: Option<Vec<Place>>,
}

impl Follower {
    pub(super) fn new(store: Arc<Store>, from: &[Place]) -> Self {
        let next = from.iter().map(|place| (place.partition, place.offset)).collect();
        Self { cursor: Cursor::new(store, next), assigned: Some(from.to_vec()) }
    }
}

#[async_trait]
impl LogConsumer for Follower {
    async fn poll(&mut self, max: usize, wait: Duration) -> Result<Polled, LogError> {
        let deadline = Instant::now() + wait;
        loop {
            let records = self.cursor.read(max).await?;
            if !records.is_empty() || self.assigned.is_some() || Instant::now() >= deadline {
                return Ok(Polled { assigned: self.assigned.take().unwrap_or_default(), records, ..Polled::default() });
            }
            self.cursor.wait(deadline).await;
        }
    }

    fn pause(&mut self, partitions: &[u32]) {
        self.cursor.paused.extend(partitions);
    }

    fn resume(&mut self, partitions: &[u32]) {
        partitions.iter().for_each(|partition| _ = self.cursor.paused.remove(partition));
    }

    async fn commit(&mut self, _: &[Place]) -> Result<(), LogError> {
        self.cursor.store.refuse("who follows without a group commits nothing".to_owned())
    }

    async fn close(self: Box<Self>) -> Result<(), LogError> {
        Ok(())
    }
}

/// A member of a group. What it holds stands in the store, so nothing is lost when a call is dropped half way: the next one finds it there.
pub(super) struct Member {
    cursor: Cursor,
    group: Group,
    missing: Missing,
    session_timeout: Duration,
    /// Random: a process that comes back is somebody else.
    id: u64,
    looked_at: Option<Instant>,
}

/// What a look at the group brought: what is held, and from where on new ones are read.
type Look = Result<BTreeMap<u32, Option<u64>>, LogError>;

impl Member {
    pub(super) fn new(store: Arc<Store>, group: Group, missing: Missing, session_timeout: Duration) -> Self {
        let cursor = Cursor::new(store, BTreeMap::new());
        Self { cursor, group, missing, session_timeout, id: fastrand::u64(..), looked_at: None }
    }

    /// Renews the membership and takes or gives partitions, as often as needed; notes what changed in `polled`.
    async fn look(&mut self, polled: &mut Polled) -> Result<(), LogError> {
        if self.looked_at.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return Ok(());
        }
        let (group, missing, id, timeout) = (self.group.clone(), self.missing, self.id, self.session_timeout);
        let known: BTreeSet<u32> = self.cursor.next.keys().copied().collect();
        let held = self.cursor.store.read({
            let (group, known) = (group.clone(), known.clone());
            move |store, txn| {
                let standing = store.groups.standing(txn, &group, store.partitions, id, now_ms())?;
                let quiet = !standing.differs && !is_due(&standing, timeout) && standing.keeps.iter().eq(&known);
                Ok(quiet)
            }
        });
        if !held.await? {
            let look =
                self.cursor.store.write(move |store, txn| look(store, txn, &group, missing, id, timeout, &known));
            self.note(look.await??, polled);
        }
        self.looked_at = Some(Instant::now());
        Ok(())
    }

    fn note(&mut self, held: BTreeMap<u32, Option<u64>>, polled: &mut Polled) {
        let gone: Vec<u32> =
            self.cursor.next.keys().filter(|partition| !held.contains_key(partition)).copied().collect();
        for partition in gone {
            self.cursor.next.remove(&partition);
            self.cursor.paused.remove(&partition);
            polled.revoked.push(partition);
        }
        for (partition, offset) in held {
            if let Some(offset) = offset {
                self.cursor.next.insert(partition, offset);
                polled.assigned.push(Place { partition, offset });
            }
        }
    }
}

/// Memberships are renewed when a third of the timeout is over.
fn is_due(standing: &Standing, timeout: Duration) -> bool {
    let renewed = now_ms().saturating_add(u64::try_from(timeout.as_millis() * 2 / 3).unwrap_or(u64::MAX));
    standing.until_ms.is_none_or(|until_ms| until_ms <= renewed)
}

fn look(
    store: &Store,
    txn: &mut heed::RwTxn,
    group: &Group,
    missing: Missing,
    member: u64,
    timeout: Duration,
    known: &BTreeSet<u32>,
) -> Result<Look, Failure> {
    let now = now_ms();
    let standing = store.groups.standing(txn, group, store.partitions, member, now)?;
    let died = standing.until_ms.is_some_and(|until_ms| until_ms <= now);
    // Who was taken for dead holds nothing: others may have been there meanwhile. It comes back as somebody new.
    let keeps = if died { Vec::new() } else { standing.keeps };
    let mut held = BTreeMap::new();
    for &partition in &keeps {
        let from = if known.contains(&partition) {
            None
        } else {
            match begin(store, txn, group, missing, partition)? {
                Ok(offset) => Some(offset),
                Err(lost) => return Ok(Err(lost)),
            }
        };
        held.insert(partition, from);
    }
    let until_ms = now.saturating_add(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    store.groups.settle(txn, group, store.partitions, member, until_ms, &keeps)?;
    Ok(Ok(held))
}

/// Where the group goes on in a partition.
fn begin(
    store: &Store,
    txn: &heed::RoTxn,
    group: &Group,
    missing: Missing,
    partition: u32,
) -> Result<Result<u64, LogError>, Failure> {
    match (store.groups.committed(txn, group, partition)?, missing) {
        (Some(offset), _) => {
            let checked = store.check_place(txn, group.name(), Place { partition, offset })?;
            Ok(checked.map(|()| offset))
        }
        (None, Missing::First) => Ok(Ok(store.bounds(txn, partition)?.first)),
        (None, Missing::Lost) => {
            let what = "it has committed nothing there".to_owned();
            Ok(Err(store.position_lost(group.name(), partition, what)))
        }
    }
}

#[async_trait]
impl LogConsumer for Member {
    async fn poll(&mut self, max: usize, wait: Duration) -> Result<Polled, LogError> {
        let deadline = Instant::now() + wait;
        loop {
            let mut polled = Polled::default();
            self.look(&mut polled).await?;
            if polled.assigned.is_empty() && polled.revoked.is_empty() {
                polled.records = self.cursor.read(max).await?;
            }
            let something = !(polled.assigned.is_empty() && polled.revoked.is_empty() && polled.records.is_empty());
            if something || Instant::now() >= deadline {
                return Ok(polled);
            }
            self.cursor.wait(deadline).await;
        }
    }

    fn pause(&mut self, partitions: &[u32]) {
        let held = partitions.iter().filter(|partition| self.cursor.next.contains_key(partition));
        self.cursor.paused.extend(held);
    }

    fn resume(&mut self, partitions: &[u32]) {
        partitions.iter().for_each(|partition| _ = self.cursor.paused.remove(partition));
    }

    async fn commit(&mut self, next: &[Place]) -> Result<(), LogError> {
        let (group, id, places) = (self.group.clone(), self.id, next.to_vec());
        let fenced = self.cursor.store.write(move |store, txn| {
            let mut fenced = None;
            for Place { partition, offset } in places {
                if store.groups.holds(txn, &group, partition, id, now_ms())? {
                    store.groups.commit(txn, &group, partition, offset)?;
                } else {
                    fenced = Some(partition);
                }
            }
            Ok(fenced)
        });
        match fenced.await? {
            None => Ok(()),
            Some(partition) => Err(LogError::Fenced { log: self.cursor.store.name.clone(), partition }),
        }
    }

    async fn close(self: Box<Self>) -> Result<(), LogError> {
        let Self { cursor, group, id, .. } = *self;
        cursor.store.write(move |store, txn| store.groups.leave(txn, &group, store.partitions, id, now_ms())).await
    }
}
