//! `Log` in an LMDB environment of its own.
//!
//! | Database | Key | Value |
//! |---|---|---|
//! | `records` | partition (32 bits) ‖ offset (64 bits), most significant byte first | see `codec` |
//! | `log` | `partitions`, or `next` ‖ partition | their number, or the offset of the next record |
//! | `groups` | see `groups` | committed offsets, members, who holds what |
//!
//! Appends of many callers become one transaction, which is synchronized to disk before any of them is answered.

mod codec;
mod consumer;
mod groups;

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use chat::{PortError, PortResult};
use heed::types::Bytes;
use heed::{Database, RoTxn, RwTxn};
use tokio::sync::watch;
use worker::log::{Appended, Bounds, LogLimits, LogRecord, Missing, Place, partition_of};
use worker::{Batcher, Batching, Log, LogConsumer, LogError};

use self::consumer::{Follower, Member};
use self::groups::{Group, Groups};
use crate::blocking::blocking;
use crate::lmdb::{Environment, Failure, MapSize};

/// Records of one call, at most.
const BATCH_MAX: usize = 1_000;
/// Bytes of one record, at most: what Kafka takes by default, with room for what it adds.
const RECORD_BYTES_MAX: usize = 1_000_000;
/// Calls that one transaction takes in, at most.
const CALLS_MAX: usize = 1_024;
/// The most partitions.
const PARTITIONS_MAX: u32 = 1_024;

const PARTITIONS: &[u8] = b"partitions";
const NEXT: &[u8] = b"next";

/// A log of a data directory. Clones are the same log.
#[derive(Clone)]
pub struct LmdbLog {
    store: Arc<Store>,
    session_timeout: Duration,
    appends: Batcher<Vec<LogRecord>, Result<Appended, LogError>>,
}

/// The environment and what stands in it.
struct Store {
    name: String,
    partitions: u32,
    env: Arc<Environment>,
    records: Database<'static, Bytes, Bytes>,
    log: Database<'static, Bytes, Bytes>,
    groups: Groups,
    /// Grows with every append of this process.
    appended: watch::Sender<u64>,
}

impl LmdbLog {
    /// Opens the log `name` in `dir`, which is created if need be with `partitions` (1 to 1,024). Several processes can have the
    /// same directory open. A group's member that does not poll for `session_timeout` is taken for dead. Call from within a runtime;
    /// blocks for some file operations.
    ///
    /// # Errors
    ///
    /// Refused when the log has another number of partitions: keys would stand in two of them.
    pub fn open(
        name: &str,
        dir: &Path,
        partitions: u32,
        session_timeout: Duration,
        map_size: MapSize,
    ) -> PortResult<Self> {
        let store = Arc::new(Store::open(name, dir, partitions, map_size)?);
        let for_appends = Arc::clone(&store);
        let appends = Batcher::start(Batching::up_to(CALLS_MAX), move |calls: Vec<Vec<LogRecord>>| {
            let store = Arc::clone(&for_appends);
            async move { store.append_all(calls).await }
        });
        Ok(Self { store, session_timeout, appends })
    }
}

impl Store {
    fn open(name: &str, dir: &Path, partitions: u32, map_size: MapSize) -> PortResult<Self> {
        if !(1..=PARTITIONS_MAX).contains(&partitions) {
            return Err(PortError::refused(format!(
                "log {name}: {partitions} partitions: it can have 1 to {PARTITIONS_MAX}"
            )));
        }
        let env = Environment::open(dir, map_size)?;
        let (records, log, groups) = env.create_databases(|opener, txn| {
            let records = opener.create_database(txn, Some("records"))?;
            let log = opener.create_database(txn, Some("log"))?;
            Ok((records, log, opener.create_database(txn, Some("groups"))?))
        })?;
        let log: Database<'static, Bytes, Bytes> = log;
        let found = env.write(|txn| {
            if let Some(found) = log.get(txn, PARTITIONS)? {
                return number(found);
            }
            log.put(txn, PARTITIONS, &u64::from(partitions).to_be_bytes())?;
            Ok(u64::from(partitions))
        })?;
        if found != u64::from(partitions) {
            return Err(env.refused(&format!(
                "log {name} has {found} partitions, not {partitions}: their number is fixed when a log is made"
            )));
        }
        let appended = watch::Sender::new(0);
        Ok(Self { name: name.to_owned(), partitions, env, records, log, groups: Groups(groups), appended })
    }

    /// Appends what all of these calls bring, in one transaction.
    async fn append_all(self: Arc<Self>, calls: Vec<Vec<LogRecord>>) -> Vec<Result<Appended, LogError>> {
        let many = calls.len();
        let this = Arc::clone(&self);
        match blocking(move || this.env.write(|txn| this.write_all(txn, &calls))).await {
            Ok(answers) => {
                self.appended.send_modify(|appends| *appends += 1);
                answers.into_iter().map(Ok).collect()
            }
            Err(error) => {
                let words = error.to_string();
                let error = || self.error(PortError::unavailable("the log", words.clone()));
                (0..many).map(|_| Err(error())).collect()
            }
        }
    }

    fn write_all(&self, txn: &mut RwTxn, calls: &[Vec<LogRecord>]) -> Result<Vec<Appended>, Failure> {
        let appended_at = SystemTime::now();
        let mut bytes = Vec::new();
        let mut answers = Vec::with_capacity(calls.len());
        for call in calls {
            let mut places = Vec::with_capacity(call.len());
            for record in call {
                if record.bytes() > RECORD_BYTES_MAX {
                    let what = format!("a record of {} bytes: at most {RECORD_BYTES_MAX} are taken", record.bytes());
                    places.push(Err(LogError::Refused { log: self.name.clone(), what }));
                    continue;
                }
                let partition = partition_of(&record.key, self.partitions);
                let offset = self.next(txn, partition)?;
                codec::encode(record, appended_at, &mut bytes);
                self.records.put(txn, &record_key(partition, offset), &bytes)?;
                self.log.put(txn, &next_key(partition), &(offset + 1).to_be_bytes())?;
                places.push(Ok(Place { partition, offset }));
            }
            answers.push(places);
        }
        Ok(answers)
    }

    /// The offset of the next record of a partition.
    fn next(&self, txn: &RoTxn, partition: u32) -> Result<u64, Failure> {
        self.log.get(txn, &next_key(partition))?.map_or(Ok(0), number)
    }

    fn bounds(&self, txn: &RoTxn, partition: u32) -> Result<Bounds, Failure> {
        let next = self.next(txn, partition)?;
        let (from, to) = (record_key(partition, 0), record_key(partition, u64::MAX));
        let mut range = self.records.range(txn, &(Bound::Included(&from[..]), Bound::Included(&to[..])))?;
        let first = match range.next().transpose()? {
            Some((key, _)) => offset_of(key)?,
            None => next,
        };
        Ok(Bounds { first, next })
    }

    /// Checks that records from `place` on are there, or will be.
    fn check_place(&self, txn: &RoTxn, group: &str, place: Place) -> Result<Result<(), LogError>, Failure> {
        let Bounds { first, next } = self.bounds(txn, place.partition)?;
        if (first..=next).contains(&place.offset) {
            return Ok(Ok(()));
        }
        let what = format!("it would go on at offset {}, and the log holds {first} to below {next}", place.offset);
        Ok(Err(self.position_lost(group, place.partition, what)))
    }

    fn position_lost(&self, group: &str, partition: u32, what: String) -> LogError {
        LogError::PositionLost { log: self.name.clone(), group: group.to_owned(), partition, what }
    }

    fn error(&self, error: PortError) -> LogError {
        let log = self.name.clone();
        match error {
            PortError::Corrupt { what, .. } => LogError::Corrupt { log, what },
            PortError::Refused { what, .. } => LogError::Refused { log, what },
            error => LogError::Unavailable { log, source: error.into() },
        }
    }

    fn refuse<T>(&self, what: String) -> Result<T, LogError> {
        Err(LogError::Refused { log: self.name.clone(), what })
    }

    fn check_partition(&self, partition: u32) -> Result<(), LogError> {
        if partition < self.partitions {
            return Ok(());
        }
        self.refuse(format!("there is no partition {partition}: it has {}", self.partitions))
    }

    /// Runs `read` on one snapshot, away from the threads that drive futures.
    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self, &RoTxn) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, LogError> {
        let this = Arc::clone(self);
        blocking(move || this.env.read(|txn| read(&this, txn))).await.map_err(|e| self.error(e))
    }

    /// Runs `write` in one transaction.
    async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        write: impl FnOnce(&Self, &mut RwTxn) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, LogError> {
        let this = Arc::clone(self);
        blocking(move || this.env.write(|txn| write(&this, txn))).await.map_err(|e| self.error(e))
    }
}

#[async_trait]
impl Log for LmdbLog {
    fn name(&self) -> &str {
        &self.store.name
    }

    fn limits(&self) -> LogLimits {
        LogLimits { batch_max: BATCH_MAX, record_bytes_max: RECORD_BYTES_MAX }
    }

    async fn partitions(&self) -> Result<u32, LogError> {
        Ok(self.store.partitions)
    }

    async fn append(&self, records: Vec<LogRecord>) -> Result<Appended, LogError> {
        if records.len() > BATCH_MAX {
            return self.store.refuse(format!("{} records in a call: at most {BATCH_MAX} are taken", records.len()));
        }
        let log = || self.store.name.clone();
        let unanswered = || LogError::Unknown { log: log(), source: "an append ended without an answer".into() };
        self.appends.call(records).await.unwrap_or_else(|| Err(unanswered()))
    }

    /// In one transaction each: all of a call is appended, or nothing.
    async fn append_in_order(&self, mut records: Vec<LogRecord>) -> Result<(), LogError> {
        while !records.is_empty() {
            // What is refused for itself comes last, so that nothing is behind it.
            let taken = records.iter().take(BATCH_MAX).take_while(|record| record.bytes() <= RECORD_BYTES_MAX).count();
            let rest = records.split_off(taken.max(1));
            self.append(records).await?.into_iter().try_for_each(|answer| answer.map(drop))?;
            records = rest;
        }
        Ok(())
    }

    async fn bounds(&self, partition: u32) -> Result<Bounds, LogError> {
        self.store.check_partition(partition)?;
        self.store.read(move |store, txn| store.bounds(txn, partition)).await
    }

    async fn committed(&self, group: &str, partition: u32) -> Result<Option<u64>, LogError> {
        self.store.check_partition(partition)?;
        let group = Group::new(group).or_else(|what| self.store.refuse(what))?;
        self.store.read(move |store, txn| store.groups.committed(txn, &group, partition)).await
    }

    async fn join(&self, group: &str, missing: Missing) -> Result<Box<dyn LogConsumer>, LogError> {
        let group = Group::new(group).or_else(|what| self.store.refuse(what))?;
        Ok(Box::new(Member::new(Arc::clone(&self.store), group, missing, self.session_timeout)))
    }

    async fn follow(&self, from: &[Place]) -> Result<Box<dyn LogConsumer>, LogError> {
        from.iter().try_for_each(|place| self.store.check_partition(place.partition))?;
        let places = from.to_vec();
        let checked = self.store.read(move |store, txn| {
            let check = |place: &Place| store.check_place(txn, "-", *place);
            places.iter().map(check).collect::<Result<Vec<_>, _>>()
        });
        checked.await?.into_iter().collect::<Result<(), _>>()?;
        Ok(Box::new(Follower::new(Arc::clone(&self.store), from)))
    }
}

fn record_key(partition: u32, offset: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&partition.to_be_bytes());
    key[4..].copy_from_slice(&offset.to_be_bytes());
    key
}

fn offset_of(key: &[u8]) -> Result<u64, Failure> {
    let offset = key.last_chunk().filter(|_| key.len() == 12).map(|offset| u64::from_be_bytes(*offset));
    offset.ok_or_else(|| Failure::Corrupt(format!("a record's key {key:02x?} is none")))
}

fn next_key(partition: u32) -> Vec<u8> {
    [NEXT, &partition.to_be_bytes()].concat()
}

fn number(bytes: &[u8]) -> Result<u64, Failure> {
    let bytes = bytes.try_into().map_err(|_| Failure::Corrupt(format!("{bytes:02x?} is no number of 8 bytes")))?;
    Ok(u64::from_be_bytes(bytes))
}
