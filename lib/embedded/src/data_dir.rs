//! The data directory: where the embedded adapters keep everything, and which processes may write to it.
//!
//! ```text
//! store.json         format of the directory and the epoch of its message ids
//! directory.sqlite   organizations, accounts, rooms, memberships
//! ledger.sqlite      runs and what became of them
//! queue.sqlite       queues
//! state.sqlite       small records
//! live_ids/ limits/  LMDB environments
//! messages/          LMDB environment: what messages say, where that was imported or written
//! log/NAME/          LMDB environments, one for each log
//! writer.lock        locked shared by ordinary writers, exclusively by an import
//! writers/PID.json   who writes; each is locked by its process while that lives
//! store.lock         held for moments, while one of the files above is made or changed
//! ```
//!
//! Readers take no lock: they work while somebody writes. SQLite and LMDB order the transactions of ordinary writers.

mod error;
mod lock;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chat::{Epoch, Timestamp};
use serde::{Deserialize, Serialize};

pub use error::{Holder, OpenError};
use lock::{Hold, Kind};

/// The format of data directories that this program reads and writes.
pub const FORMAT: u32 = 1;
/// How long a writer waits for the others before it gives up.
const WAIT_FOR_WRITERS: Duration = Duration::from_secs(5);

/// What a process does with a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It reads. The directory must exist. Any number of processes, at any time.
    Read,
    /// It reads and writes beside other writers.
    Write,
    /// It writes, and no other writer is there (an import).
    Exclusive,
}

/// An open data directory. Clones share one hold on it; the hold ends with the last clone.
#[derive(Clone, Debug)]
pub struct DataDir(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    access: Access,
    /// Kept for its drop. None for readers.
    _hold: Option<Hold>,
}

/// How full a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Bytes that this process can still write.
    pub free_bytes: u64,
    /// The disk's size.
    pub total_bytes: u64,
}

/// What `store.json` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Store {
    format: u32,
    /// Decimal text, because a JSON number loses bits above 2⁵³.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch_ms: Option<String>,
}

impl DataDir {
    /// Opens the directory at `path` for `command` (its name is told to whoever has to wait for this process).
    ///
    /// Writers make what is missing, and wait up to 5 s for each other where they exclude each other. Blocks the thread only
    /// for a few small files.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]; [`OpenError::Held`] names who holds it.
    pub async fn open(path: impl AsRef<Path>, access: Access, command: &str) -> Result<Self, OpenError> {
        Self::open_within(path.as_ref(), access, command, WAIT_FOR_WRITERS).await
    }

    async fn open_within(path: &Path, access: Access, command: &str, wait: Duration) -> Result<Self, OpenError> {
        let path = std::path::absolute(path).map_err(|e| OpenError::io(path, e))?;
        match fs::metadata(&path) {
            Ok(found) if !found.is_dir() => return Err(OpenError::NotADirectory { path }),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound && access != Access::Read => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(OpenError::Missing { path }),
            Err(e) => return Err(OpenError::io(&path, e)),
        }
        // Before anything is made: a directory of a newer format is left as it is.
        let store = read_store(&path)?;
        let kind = match access {
            Access::Read if store.is_none() => return Err(OpenError::Missing { path }),
            Access::Read => {
                // Readers, too, write: into LMDB's table of readers and SQLite's shared memory.
                lock::check_writable(&path)?;
                return Ok(Self(Arc::new(Inner { path, access, _hold: None })));
            }
            Access::Write => Kind::Shared,
            Access::Exclusive => Kind::Exclusive,
        };
        fs::create_dir_all(path.join(lock::WRITERS)).map_err(|e| OpenError::io(&path, e))?;
        let hold = Hold::take(&path, kind, command, wait).await?;
        let dir = Self(Arc::new(Inner { path, access, _hold: Some(hold) }));
        let _guard = dir.guard().await?;
        if read_store(dir.path())?.is_none() {
            write_store(dir.path(), &Store { format: FORMAT, epoch_ms: None })?;
        }
        Ok(dir)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What it was opened for.
    pub fn access(&self) -> Access {
        self.0.access
    }

    /// The file with organizations, accounts, rooms and memberships.
    pub fn directory_sqlite(&self) -> PathBuf {
        self.path().join("directory.sqlite")
    }

    /// The environment of the log `name`.
    pub fn log(&self, name: &str) -> PathBuf {
        self.path().join("log").join(name)
    }

    /// The file with the ledger.
    pub fn ledger_sqlite(&self) -> PathBuf {
        self.path().join("ledger.sqlite")
    }

    /// The file with the queues.
    pub fn queue_sqlite(&self) -> PathBuf {
        self.path().join("queue.sqlite")
    }

    /// The file with small records.
    pub fn state_sqlite(&self) -> PathBuf {
        self.path().join("state.sqlite")
    }

    /// The LMDB environment with the live ids of rooms.
    pub fn live_ids(&self) -> PathBuf {
        self.path().join("live_ids")
    }

    /// The LMDB environment with what messages say.
    pub fn messages(&self) -> PathBuf {
        self.path().join("messages")
    }

    /// The LMDB environment with the current limits.
    pub fn limits(&self) -> PathBuf {
        self.path().join("limits")
    }

    /// Who writes to the directory now, the longest first. Nobody is waited for.
    pub fn writers(&self) -> Vec<Holder> {
        lock::holders(self.path())
    }

    /// Bytes that can still be written to the directory's disk, and the size of that disk.
    ///
    /// # Errors
    ///
    /// When the operating system does not tell.
    pub fn disk_space(&self) -> io::Result<DiskSpace> {
        let disk = rustix::fs::statvfs(self.path())?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok(DiskSpace { free_bytes: bytes(disk.f_bavail), total_bytes: bytes(disk.f_blocks) })
    }

    /// The instant from which the message ids of this store count; none while nobody has fixed it.
    ///
    /// # Errors
    ///
    /// When `store.json` cannot be read.
    pub fn epoch(&self) -> Result<Option<Epoch>, OpenError> {
        let store = read_store(self.path())?;
        store.and_then(|store| store.epoch_ms).map(|text| parse_epoch(self.path(), &text)).transpose()
    }

    /// Fixes the epoch for ever, or confirms the one that is fixed.
    ///
    /// # Errors
    ///
    /// [`OpenError::EpochDisagrees`] when a different one is fixed already.
    pub async fn fix_epoch(&self, epoch: Epoch) -> Result<(), OpenError> {
        match self.epoch()? {
            Some(fixed) => return self.agree(fixed, epoch),
            None if self.access() == Access::Read => {
                let source = io::Error::other("it was opened for reading");
                return Err(OpenError::ReadOnly { path: self.path().to_owned(), source });
            }
            None => {}
        }
        let _guard = self.guard().await?;
        // Read again under the guard: another process may have been faster.
        match self.epoch()? {
            Some(fixed) => self.agree(fixed, epoch),
            None => {
                let epoch_ms = Some(epoch.0.as_millis().to_string());
                write_store(self.path(), &Store { format: FORMAT, epoch_ms })
            }
        }
    }

    fn agree(&self, fixed: Epoch, asked: Epoch) -> Result<(), OpenError> {
        if fixed == asked {
            return Ok(());
        }
        Err(OpenError::EpochDisagrees { path: self.path().to_owned(), fixed: fixed.0, asked: asked.0 })
    }

    /// Keeps other processes from making or changing the directory's own files, for moments, until it is dropped.
    pub(crate) async fn guard(&self) -> Result<lock::Guard, OpenError> {
        lock::Guard::take(self.path()).await
    }
}

fn store_path(path: &Path) -> PathBuf {
    path.join("store.json")
}

/// `store.json`, if it is there; checks its format.
fn read_store(path: &Path) -> Result<Option<Store>, OpenError> {
    let text = match fs::read(store_path(path)) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(OpenError::io(&store_path(path), e)),
    };
    let store: Store = serde_json::from_slice(&text)
        .map_err(|e| OpenError::Corrupt { path: store_path(path), source: Box::new(e) })?;
    if store.format > FORMAT {
        return Err(OpenError::NewerFormat { path: path.to_owned(), found: store.format, known: FORMAT });
    }
    Ok(Some(store))
}

/// Replaces `store.json` whole: whoever reads it sees the old one or the new one.
fn write_store(path: &Path, store: &Store) -> Result<(), OpenError> {
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(path)?;
        serde_json::to_writer(&mut file, store)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(store_path(path))?;
        Ok(())
    };
    write().map_err(|e| OpenError::io(path, e))
}

fn parse_epoch(path: &Path, text: &str) -> Result<Epoch, OpenError> {
    let corrupt = |source| OpenError::Corrupt { path: store_path(path), source };
    let ms: u64 = text.parse().map_err(|e| corrupt(Box::new(e)))?;
    let epoch = Timestamp::from_millis(ms);
    if epoch.as_millis() == ms {
        return Ok(Epoch(epoch));
    }
    Err(corrupt(format!("epoch_ms {text} is after the year 9999").into()))
}

#[cfg(test)]
mod tests;
