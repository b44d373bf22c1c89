//! Port: a log of records in partitions, which keeps the order of each key.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;

pub use self::partitioner::partition_of;
use crate::queue::BoxError;

mod partitioner;

/// Why a log could not do what was asked, by what the caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log cannot be reached or is busy, and **nothing was changed**: try again.
    #[error("log {log} is unavailable")]
    Unavailable {
        /// The log's name.
        log: String,
        /// What happened below.
        source: BoxError,
    },
    /// No answer in time: whether the change took effect is **not known**.
    #[error("log {log} did not answer: whether it took effect is not known")]
    Unknown {
        /// The log's name.
        log: String,
        /// What happened below.
        source: BoxError,
    },
    /// The partition is no longer this consumer's: what it has done of it is done again by somebody else.
    #[error("log {log}: partition {partition} is no longer held")]
    Fenced {
        /// The log's name.
        log: String,
        /// Which partition.
        partition: u32,
    },
    /// Where a group goes on is not in the log, or there is no such position though there must be one. Going on anywhere else would skip
    /// records, or repeat all of them: a person has to say where.
    #[error("log {log}: group {group} has lost its position in partition {partition}: {what}")]
    PositionLost {
        /// The log's name.
        log: String,
        /// The consumer group.
        group: String,
        /// Which partition.
        partition: u32,
        /// What is there instead.
        what: String,
    },
    /// The request can never succeed as it is.
    #[error("log {log} refused: {what}")]
    Refused {
        /// The log's name.
        log: String,
        /// What was refused and why.
        what: String,
    },
    /// Stored data does not read back. Do not repeat; a person has to look.
    #[error("log {log}: {what}")]
    Corrupt {
        /// The log's name.
        log: String,
        /// What does not read, and where it is.
        what: String,
    },
}

impl LogError {
    /// A short, stable word for what the caller does about it.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } | Self::Unknown { .. } | Self::Fenced { .. } => "unavailable",
            Self::PositionLost { .. } => "position lost",
            Self::Refused { .. } => "refused",
            Self::Corrupt { .. } => "corrupt",
        }
    }

    /// True when the same request may succeed later. One that may have taken effect already can take effect twice.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unknown { .. })
    }
}

/// What is written to a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogRecord {
    /// Records of one key stand in one partition, see [`partition_of`].
    pub key: Vec<u8>,
    /// Names and values, in their order; a name may stand twice.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The record itself.
    pub value: Vec<u8>,
}

impl LogRecord {
    /// Bytes of key, headers and value together: what [`LogLimits::record_bytes_max`] bounds.
    pub fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.len() + headers + self.value.len()
    }
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which partition, from 0.
    pub partition: u32,
    /// Where in it. Offsets grow; there may be gaps.
    pub offset: u64,
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRecord {
    /// Where it stands.
    pub place: Place,
    /// When it was appended, by the clock of the log or of who appended it.
    pub appended_at: SystemTime,
    /// What was written.
    pub record: LogRecord,
}

/// What a log can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Records of one call; longer slices are refused.
    pub batch_max: usize,
    /// Bytes of one record, see [`LogRecord::bytes`].
    pub record_bytes_max: usize,
}

/// What a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The offset of the oldest record that is still there; `next` where there is none.
    pub first: u64,
    /// The offset of the next record to come.
    pub next: u64,
}

/// Where a group begins in a partition for which it has committed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// At the oldest record: the group has never been here.
    First,
    /// Nowhere: it was here, and its position is lost ([`LogError::PositionLost`]).
    Lost,
}

/// Answers of an append, one for each record, in order.
pub type Appended = Vec<Result<Place, LogError>>;

/// A log of records in a number of partitions that never changes, as Kafka defines it.
///
/// Laws (`tests/laws/log.rs`):
/// - Appended means durable, and it has a place. Records of one key stand in the partition that [`partition_of`] tells, in the order of
///   one call, and of calls that waited for each other.
/// - What is read is what was appended, byte by byte, in the order of the offsets, none left out.
/// - A record that is too large is refused for itself; the others of its call are not harmed.
/// - Of records that are appended in order, none stands in the log without all that came before it.
/// - Members of a group share the partitions, each held by one of them at a time. Who joins gets some, who leaves or dies gives his to the
///   others, and they go on at the committed offset: what was not committed is read again, nothing is skipped.
/// - A commit of somebody who no longer holds the partition is refused and changes nothing.
/// - A committed offset that is not in the log, or none where there must be one, is an error and never a jump.
/// - A paused partition brings no records and is kept; what others appended meanwhile comes after it is resumed.
#[async_trait]
pub trait Log: Send + Sync {
    /// The log's name (a topic), for logs and errors.
    fn name(&self) -> &str;

    /// What it can take.
    fn limits(&self) -> LogLimits;

    /// How many partitions it has.
    async fn partitions(&self) -> Result<u32, LogError>;

    /// Appends records. An error of the whole call holds for each of them.
    async fn append(&self, records: Vec<LogRecord>) -> Result<Appended, LogError>;

    /// Appends records up to the first that fails, and none behind it. So those of a key keep their order even where what was left out is
    /// appended later.
    async fn append_in_order(&self, records: Vec<LogRecord>) -> Result<(), LogError> {
        for record in records {
            self.append(vec![record]).await?.into_iter().try_for_each(|answer| answer.map(drop))?;
        }
        Ok(())
    }

    /// What a partition holds.
    async fn bounds(&self, partition: u32) -> Result<Bounds, LogError>;

    /// The offset that a group has committed in a partition.
    async fn committed(&self, group: &str, partition: u32) -> Result<Option<u64>, LogError>;

    /// Becomes a member of a consumer group; `missing` tells what holds where the group has committed nothing.
    async fn join(&self, group: &str, missing: Missing) -> Result<Box<dyn LogConsumer>, LogError>;

    /// Reads partitions from the offsets given, without a group: nobody else reads less for it, and it cannot commit.
    async fn follow(&self, from: &[Place]) -> Result<Box<dyn LogConsumer>, LogError>;
}

/// What a poll brought.
#[derive(Debug, Default)]
pub struct Polled {
    /// Partitions that are held from now on, each with the offset of the next record that it brings.
    pub assigned: Vec<Place>,
    /// Partitions that are no longer held. What came of them and is not committed is read again by others.
    pub revoked: Vec<u32>,
    /// Records of partitions that are held, those of one partition by ascending offset.
    pub records: Vec<ReadRecord>,
}

/// One reader of a log, owned by the task that polls it. A member of a group is taken for dead when it does not poll for the session's
/// timeout, whatever it works on meanwhile. Dropped, it leaves the group as if it had died.
#[async_trait]
pub trait LogConsumer: Send {
    /// Waits up to `wait` for something to happen; brings at most `max` records. Nothing is lost when it is dropped at an await.
    async fn poll(&mut self, max: usize, wait: Duration) -> Result<Polled, LogError>;

    /// Brings no records of these partitions until they are resumed. Those that are not held are left out.
    fn pause(&mut self, partitions: &[u32]);

    /// Brings records again, from where it was paused.
    fn resume(&mut self, partitions: &[u32]);

    /// Commits the offsets from which the group would go on: each is the offset behind the last record that is done.
    ///
    /// # Errors
    ///
    /// [`LogError::Fenced`] when one of the partitions is not held any more; the others may have been committed.
    async fn commit(&mut self, next: &[Place]) -> Result<(), LogError>;

    /// Leaves the group, so that the others go on at once.
    async fn close(self: Box<Self>) -> Result<(), LogError>;
}
