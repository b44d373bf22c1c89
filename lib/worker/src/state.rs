//! Port: small records that outlive a process. Leases, idempotency keys, parked lanes, snapshots, markers.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::queue::BoxError;

/// Bytes of a key, at most.
pub const KEY_BYTES_MAX: usize = 512;
/// Bytes of a value, at most.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Why a store of records could not do what was asked, by what the caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The store cannot be reached or is busy: try again.
    #[error("{what} is unavailable")]
    Unavailable {
        /// Which store, in words.
        what: String,
        /// What happened below.
        source: BoxError,
    },
    /// The store refuses the pace: slow down, then try again.
    #[error("{what} asks for a slower pace")]
    Throttled {
        /// Which store, in words.
        what: String,
        /// What happened below.
        source: BoxError,
    },
    /// The record is not what was expected: read again, then decide again.
    #[error("record {key} is not what was expected")]
    Conflict {
        /// The record's key.
        key: String,
    },
    /// The request can never succeed as it is.
    #[error("{what}")]
    Refused {
        /// What was refused and why.
        what: String,
        /// What happened below.
        source: Option<BoxError>,
    },
    /// A stored record does not read back. Do not repeat; a person has to look.
    #[error("{what}")]
    Corrupt {
        /// What does not read, and where it is.
        what: String,
    },
}

impl StateError {
    /// A short, stable word for what the caller does about it.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Throttled { .. } => "throttled",
            Self::Conflict { .. } => "conflict",
            Self::Refused { .. } => "refused",
            Self::Corrupt { .. } => "corrupt",
        }
    }

    /// True when the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Throttled { .. })
    }
}

/// Which write of a record this is. A record that is written gets a version that it never had, also when it was deleted in
/// between; versions have no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordVersion(u64);

impl RecordVersion {
    /// A new one: random, 63 bits.
    pub fn random() -> Self {
        Self(fastrand::u64(..) >> 1)
    }

    /// As stored.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// To be stored.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// A stored record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Vec<u8>,
    /// Which write this is.
    pub version: RecordVersion,
    /// From when on it is no longer there; `None` = it stays.
    pub expires_at: Option<SystemTime>,
}

/// What must be there for a write to take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Whatever is there.
    Anything,
    /// No record.
    Nothing,
    /// The record of this version.
    Version(RecordVersion),
}

/// A write of a record.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// Under which key: see [`check_key`].
    pub key: &'a str,
    /// Its value, at most [`VALUE_BYTES_MAX`] bytes.
    pub value: &'a [u8],
    /// What must be there.
    pub expected: Expected,
    /// For how long, from now, the record is there; `None` = it stays.
    pub lives_for: Option<Duration>,
}

/// Small records under keys.
///
/// Laws (`tests/laws/state.rs`):
/// - What is written is durable and can be read at once, by every process.
/// - A write takes effect only when what is expected is there; else it answers [`StateError::Conflict`] and changes nothing. Of several
///   writers with the same expectation one succeeds.
/// - A version never returns: a writer that missed a deletion and a new record is not taken for the current one.
/// - What has expired is not there: it is not read, not listed, and conflicts like a record that was deleted. (When its bytes go is
///   up to the store.) The clocks of processes are taken to agree.
/// - Deleting what is not there is done.
/// - A listing is ascending by the bytes of the keys, and complete for records present throughout.
#[async_trait]
pub trait State: Send + Sync {
    /// The record under `key`.
    async fn get(&self, key: &str) -> Result<Option<Record>, StateError>;

    /// Writes a record; answers its new version.
    async fn put(&self, write: Write<'_>) -> Result<RecordVersion, StateError>;

    /// Deletes the record under `key`: the one of `version` where one is given, and then a record of another version is a
    /// conflict.
    async fn delete(&self, key: &str, version: Option<RecordVersion>) -> Result<(), StateError>;

    /// Records whose keys begin with `prefix` (which contains the first `/` of the keys) and are above `after`, ascending, at most
    /// `limit`. Fewer than `limit` means the end.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Record>, StateError>;
}

/// Checks a key: `family/name`, both not empty, at most [`KEY_BYTES_MAX`] bytes, no control characters. The family, all before
/// the first `/`, is what a store may place together.
pub fn check_key(key: &str) -> Result<(), StateError> {
    let named = key.split_once('/').is_some_and(|(family, name)| !family.is_empty() && !name.is_empty());
    check_text(key, named, "a key is family/name")
}

/// Checks a prefix: a family with its `/`, and perhaps the beginning of names.
pub fn check_prefix(prefix: &str) -> Result<(), StateError> {
    let named = prefix.split_once('/').is_some_and(|(family, _)| !family.is_empty());
    check_text(prefix, named, "a prefix is family/ or family/beginning")
}

/// Checks a value's size.
pub fn check_value(key: &str, value: &[u8]) -> Result<(), StateError> {
    if value.len() <= VALUE_BYTES_MAX {
        return Ok(());
    }
    let what = format!("record {key}: a value of {} bytes: at most {VALUE_BYTES_MAX} are taken", value.len());
    Err(StateError::Refused { what, source: None })
}

fn check_text(text: &str, named: bool, rule: &str) -> Result<(), StateError> {
    if named && text.len() <= KEY_BYTES_MAX && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let what = format!("{text:?}: {rule}, at most {KEY_BYTES_MAX} bytes, without control characters");
    Err(StateError::Refused { what, source: None })
}
