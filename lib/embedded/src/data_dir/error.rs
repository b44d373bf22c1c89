//! Why a data directory could not be opened.

use std::io;
use std::path::{Path, PathBuf};

use chat::{BoxError, Timestamp};
use serde::{Deserialize, Serialize};

use super::FORMAT;

/// A process that writes to a data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// The command that it runs.
    pub command: String,
    /// Since when it holds the directory.
    pub since: Timestamp,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (process {}, since {})", self.command, self.pid, self.since)
    }
}

/// Why a data directory could not be opened, by what the caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no data directory there. Only for readers: writers make one.
    #[error("{} holds no data yet: run `lanner import` or `lanner demo` first", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The path exists and is no directory.
    #[error("{} is not a directory: choose another data directory", path.display())]
    NotADirectory {
        /// What it is.
        path: PathBuf,
    },
    /// It can be read, but not written.
    #[error("{} cannot be written: its file system is read-only or its permissions forbid it", path.display())]
    ReadOnly {
        /// What cannot be written.
        path: PathBuf,
        /// What happened below.
        source: io::Error,
    },
    /// A newer program made it.
    #[error("{}: store made by a newer version of lanner (format {found}, this one reads {known})", path.display())]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that is understood here.
        known: u32,
    },
    /// Its message ids count from another instant.
    #[error("the message ids in {} count from {fixed}, not from {asked}: correct the setting", path.display())]
    EpochDisagrees {
        /// The directory.
        path: PathBuf,
        /// The store's epoch.
        fixed: Timestamp,
        /// The epoch that was asked for.
        asked: Timestamp,
    },
    /// Others write to it now. Temporary: try again when they are done.
    #[error("{} is in use by {}", path.display(), names(holders))]
    Held {
        /// The directory.
        path: PathBuf,
        /// Who writes; empty when they are only just starting or ending.
        holders: Vec<Holder>,
    },
    /// Its disk is full. Temporary: try again when there is room.
    #[error("{}: the disk is full", path.display())]
    Full {
        /// What could not be written.
        path: PathBuf,
        /// What happened below.
        source: io::Error,
    },
    /// One of its files does not read back as what it should be.
    #[error("{} does not read as a store of format {FORMAT}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BoxError,
    },
    /// Anything else that the operating system reports.
    #[error("{} cannot be used", path.display())]
    Io {
        /// What could not be used.
        path: PathBuf,
        /// What happened below.
        source: io::Error,
    },
}

impl OpenError {
    /// Sorts what the operating system reports about `path`.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Self::ReadOnly { path, source },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path, source },
            _ => Self::Io { path, source },
        }
    }

    /// True when the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Held { .. } | Self::Full { .. })
    }
}

fn names(holders: &[Holder]) -> String {
    if holders.is_empty() {
        return "another process that is starting or ending".to_owned();
    }
    holders.iter().map(Holder::to_string).collect::<Vec<_>>().join(", ")
}
