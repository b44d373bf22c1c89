//! Opening LMDB environments and running transactions in them.
//!
//! An environment is a directory that several processes map at once: any number of readers, one writer at a time. A commit
//! is synchronized to disk before it is answered, so neither a killed process nor a power cut loses or damages it.
//! Transactions live only inside of a closure: none can be kept open across an `await`, where it would pin old pages.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use chat::{PortError, PortResult};
use heed::{CommitOrAbort, DatabaseOpener, Env, EnvOpenOptions, MdbError, OnCommit, RoTxn, RwTxn, WithTls};

/// How large an environment can grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSize(usize);

impl MapSize {
    /// The smallest map: 1 MiB.
    pub const MIN_BYTES: u64 = 1 << 20;
    /// The largest map: 64 TiB, half of what a process can address.
    pub const MAX_BYTES: u64 = 64 << 40;

    /// A map of `bytes` ([`Self::MIN_BYTES`] to [`Self::MAX_BYTES`]), rounded up to whole 64 KiB so that it is a whole number
    /// of pages everywhere. It is address space: the file grows as data comes.
    pub fn new(bytes: u64) -> PortResult<Self> {
        let refused = || {
            PortError::refused(format!(
                "a map size of {bytes} bytes: it must be from {} to {}",
                Self::MIN_BYTES,
                Self::MAX_BYTES
            ))
        };
        if !(Self::MIN_BYTES..=Self::MAX_BYTES).contains(&bytes) {
            return Err(refused());
        }
        usize::try_from(bytes.next_multiple_of(1 << 16)).map(Self).map_err(|_| refused())
    }

    /// The size in bytes.
    pub fn bytes(self) -> u64 {
        self.0 as u64
    }
}

impl Default for MapSize {
    /// 256 GiB: some twenty thousand million ids.
    fn default() -> Self {
        Self(256 << 30)
    }
}

/// Readers at once, over all processes: one slot of 64 bytes for each thread that reads.
const MAX_READERS: u32 = 4_094;
/// Named databases in one environment.
const MAX_DATABASES: u32 = 8;
/// The system's number for a failed read or write.
const EIO: i32 = 5;
/// How long to wait for an environment that another thread is about to close.
const CLOSING_WAIT: Duration = Duration::from_secs(5);

/// LMDB forbids a process to open a directory twice: whoever opens it again gets the same environment.
static OPEN: LazyLock<Mutex<HashMap<PathBuf, Weak<Environment>>>> = LazyLock::new(Mutex::default);

/// An open environment.
pub(crate) struct Environment {
    env: Env<WithTls>,
    dir: PathBuf,
    map_size: MapSize,
}

impl Environment {
    /// Opens the environment in `dir`, which is created if need be. While another handle of this process has it open, that
    /// handle's environment and map size are shared.
    pub(crate) fn open(dir: &Path, map_size: MapSize) -> PortResult<Arc<Self>> {
        let failed = |e: std::io::Error| port_error(dir, map_size, heed::Error::Io(e));
        std::fs::create_dir_all(dir).map_err(failed)?;
        let dir = dir.canonicalize().map_err(failed)?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, environment| environment.strong_count() > 0);
        if let Some(environment) = open.get(&dir).and_then(Weak::upgrade) {
            return Ok(environment);
        }
        let failed = |e| port_error(&dir, map_size, e);
        let env = match open_env(&dir, map_size) {
            Err(heed::Error::EnvAlreadyOpened) => {
                if let Some(closing) = heed::env_closing_event(&dir) {
                    closing.wait_timeout(CLOSING_WAIT);
                }
                open_env(&dir, map_size)
            }
            other => other,
        }
        .map_err(failed)?;
        // A killed process leaves its reader slots behind; they would keep old pages from being used again.
        env.clear_stale_readers().map_err(failed)?;
        let environment = Arc::new(Self { env, dir: dir.clone(), map_size });
        open.insert(dir, Arc::downgrade(&environment));
        Ok(environment)
    }

    /// Opens databases that exist already, in a read transaction: it does not wait for a writer.
    pub(crate) fn open_databases<'e, D: OnCommit>(
        &'e self,
        open: impl FnOnce(&DatabaseOpener<'e, WithTls>, &RoTxn<'e, WithTls>) -> heed::Result<Option<D>>,
    ) -> PortResult<Option<D::Committed>> {
        let opened = self.env.read_txn().and_then(|txn| {
            self.env.open_databases_and_commit(txn, |opener, txn| -> heed::Result<_> {
                Ok(match open(opener, txn)? {
                    Some(databases) => CommitOrAbort::Commit(databases),
                    None => CommitOrAbort::Abort(()),
                })
            })
        });
        opened.map(CommitOrAbort::commit).map_err(|e| self.error(e))
    }

    /// Creates databases and whatever they begin with, in one write transaction.
    pub(crate) fn create_databases<'e, D: OnCommit>(
        &'e self,
        create: impl FnOnce(&DatabaseOpener<'e, WithTls>, &mut RwTxn<'e>) -> heed::Result<D>,
    ) -> PortResult<D::Committed> {
        let created = self.env.write_txn().and_then(|txn| {
            self.env.create_databases_and_commit(txn, |opener, txn| -> heed::Result<_> {
                create(opener, txn).map(CommitOrAbort::<D, ()>::Commit)
            })
        });
        match created.map_err(|e| self.error(e))? {
            CommitOrAbort::Commit(databases) => Ok(databases),
            CommitOrAbort::Abort(()) => Err(self.corrupt("its databases could not be created")),
        }
    }

    /// Runs `read` on one snapshot.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&RoTxn) -> Result<T, Failure>) -> PortResult<T> {
        let answer = self.env.read_txn().map_err(Failure::from).and_then(|txn| read(&txn));
        answer.map_err(|failure| self.failure(failure))
    }

    /// Runs `write` in the one write transaction and commits it; an error undoes all of it. Blocks while another thread or
    /// process writes, and for the synchronization to disk.
    pub(crate) fn write<T>(&self, write: impl FnOnce(&mut RwTxn) -> Result<T, Failure>) -> PortResult<T> {
        let answer = self.env.write_txn().map_err(Failure::from).and_then(|mut txn| {
            let answer = write(&mut txn)?;
            txn.commit()?;
            Ok(answer)
        });
        answer.map_err(|failure| self.failure(failure))
    }

    /// Bytes of the file that are in use, free pages included.
    pub(crate) fn used_bytes(&self) -> PortResult<u64> {
        self.env.real_disk_size().map_err(|e| self.error(e))
    }

    /// How large the environment can grow.
    pub(crate) fn map_size(&self) -> MapSize {
        self.map_size
    }

    /// Says what does not read, and where.
    pub(crate) fn corrupt(&self, what: &str) -> PortError {
        PortError::corrupt(format!("the LMDB store at {}: {what}", self.dir.display()))
    }

    /// Says what is refused, and where.
    pub(crate) fn refused(&self, what: &str) -> PortError {
        PortError::refused(format!("the LMDB store at {}: {what}", self.dir.display()))
    }

    fn failure(&self, failure: Failure) -> PortError {
        match failure {
            Failure::Lmdb(e) => self.error(e),
            Failure::Corrupt(what) => self.corrupt(&what),
        }
    }

    fn error(&self, e: heed::Error) -> PortError {
        port_error(&self.dir, self.map_size, e)
    }
}

/// Why a transaction failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// LMDB says so.
    Lmdb(heed::Error),
    /// A stored value does not read back.
    Corrupt(String),
}

impl From<heed::Error> for Failure {
    fn from(e: heed::Error) -> Self {
        Self::Lmdb(e)
    }
}

#[expect(unsafe_code, reason = "LMDB maps files that it trusts not to be truncated by others")]
fn open_env(dir: &Path, map_size: MapSize) -> heed::Result<Env<WithTls>> {
    let mut options = EnvOpenOptions::new();
    options.map_size(map_size.0).max_readers(MAX_READERS).max_dbs(MAX_DATABASES);
    // SAFETY: the directory belongs to this program; LMDB's lock file orders all processes that open it.
    unsafe { options.open(dir) }
}

/// Sorts LMDB's errors by what the caller will do.
fn port_error(dir: &Path, map_size: MapSize, e: heed::Error) -> PortError {
    let at = dir.display();
    match &e {
        // More room has to be given; nothing is wrong with the request.
        heed::Error::Mdb(MdbError::MapFull) => PortError::unavailable(
            format!("room in the LMDB store at {at} (its map size of {} bytes is used up: raise it)", map_size.bytes()),
            e,
        ),
        heed::Error::Mdb(MdbError::MapResized) => PortError::unavailable(
            format!("the LMDB store at {at} (another process opened it with a larger map size: use the same)"),
            e,
        ),
        heed::Error::Io(io)
            if matches!(io.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) =>
        {
            PortError::unavailable(format!("disk space for the LMDB store at {at} (the disk or a quota is full)"), e)
        }
        // LMDB answers so, too, when the system took only a part of a write, as it does on the last page of a full disk.
        heed::Error::Io(io) if io.raw_os_error() == Some(EIO) => {
            PortError::unavailable(format!("the LMDB store at {at} (its disk is full or fails)"), e)
        }
        heed::Error::Io(io) if io.kind() == ErrorKind::OutOfMemory => PortError::unavailable(
            format!("memory for the LMDB store at {at} (a map of {} bytes: lower the map size?)", map_size.bytes()),
            e,
        ),
        // The same call will fail until somebody changes the file system.
        heed::Error::Io(io)
            if matches!(
                io.kind(),
                ErrorKind::ReadOnlyFilesystem
                    | ErrorKind::PermissionDenied
                    | ErrorKind::NotADirectory
                    | ErrorKind::AlreadyExists
                    | ErrorKind::NotFound
            ) =>
        {
            let what = format!("the LMDB store at {at} cannot be opened or written: {io}");
            PortError::Refused { what, source: Some(e.into()) }
        }
        heed::Error::Mdb(MdbError::BadValSize) | heed::Error::Encoding(_) => PortError::Refused {
            what: format!("a key or value that the LMDB store at {at} cannot hold"),
            source: Some(e.into()),
        },
        // The file is not what it should be.
        heed::Error::Mdb(
            MdbError::Corrupted
            | MdbError::PageNotFound
            | MdbError::Invalid
            | MdbError::VersionMismatch
            | MdbError::Incompatible
            | MdbError::Panic,
        )
        | heed::Error::Decoding(_) => PortError::Corrupt {
            what: format!("the LMDB store at {at} is damaged or no such store"),
            source: Some(e.into()),
        },
        heed::Error::Io(_) | heed::Error::Mdb(_) | heed::Error::EnvAlreadyOpened => {
            PortError::unavailable(format!("the LMDB store at {at}"), e)
        }
    }
}

#[cfg(test)]
mod tests {
    use heed::types::Bytes;

    use super::*;

    #[test]
    fn a_map_size_that_makes_no_sense_is_refused() {
        for bytes in [0, 1, MapSize::MIN_BYTES - 1, MapSize::MAX_BYTES + 1, u64::MAX] {
            assert_eq!(MapSize::new(bytes).expect_err("nonsense").class(), "refused", "{bytes}");
        }
        assert_eq!(MapSize::new(MapSize::MIN_BYTES + 1).expect("a size").bytes(), (1 << 20) + (1 << 16));
    }

    #[test]
    fn a_full_map_is_unavailable_and_says_so_and_loses_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Environment::open(dir.path(), MapSize::new(MapSize::MIN_BYTES).expect("a size")).expect("open");
        let database =
            store.create_databases(|opener, txn| opener.create_database::<Bytes, Bytes>(txn, None)).expect("create");
        store.write(|txn| Ok(database.put(txn, b"small", b"value")?)).expect("put");
        let full = store.write(|txn| Ok(database.put(txn, b"large", &vec![0; 4 << 20])?)).expect_err("full");
        assert_eq!(full.class(), "unavailable");
        assert!(full.to_string().contains("map size of 1048576 bytes is used up"), "{full}");
        let kept = store.read(|txn| Ok(database.get(txn, b"small")?.map(<[u8]>::to_vec)));
        assert_eq!(kept.expect("read"), Some(b"value".to_vec()));
    }

    #[test]
    fn a_file_that_is_no_store_is_corrupt() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("data.mdb"), vec![7; 64 << 10]).expect("write");
        let error = Environment::open(dir.path(), MapSize::default()).err().expect("no store");
        assert_eq!(error.class(), "corrupt", "{error}");
    }

    #[test]
    fn a_path_that_is_no_directory_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let error = Environment::open(file.path(), MapSize::default()).err().expect("no directory");
        assert_eq!(error.class(), "refused", "{error}");
    }

    #[test]
    fn a_directory_can_be_opened_again_while_it_is_open_and_while_it_is_closing() {
        let dir = tempfile::tempdir().expect("a directory");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        Environment::open(dir.path(), MapSize::default()).expect("open");
                    }
                });
            }
        });
    }
}
