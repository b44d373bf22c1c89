//! Who writes to a data directory: advisory file locks, which the system releases when a process dies.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chat::Timestamp;
use tokio::time::{Instant, sleep};

use super::{Holder, OpenError};

/// The folder of the files that name the writers.
pub(super) const WRITERS: &str = "writers";
/// How often a lock that somebody else has is tried again.
const POLL: Duration = Duration::from_millis(20);
/// A guard is held for moments; whoever holds it longer hangs.
const WAIT_FOR_GUARD: Duration = Duration::from_secs(30);
/// How many handles of one process can write to one directory.
const HANDLES_MAX: u32 = 1_000;

/// How a lock is shared.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Beside others of this kind.
    Shared,
    /// Alone.
    Exclusive,
}

/// The right to write, and the file that names its holder. Ends when dropped, or with the process.
#[derive(Debug)]
pub(super) struct Hold {
    /// Locked as long as it is open.
    _lock: File,
    _name: Name,
}

impl Hold {
    /// Waits up to `wait` for the right to write to the directory at `path`.
    pub(super) async fn take(path: &Path, kind: Kind, command: &str, wait: Duration) -> Result<Self, OpenError> {
        let lock = open(&path.join("writer.lock"))?;
        if !lock_within(&lock, kind, wait).await.map_err(|e| OpenError::io(path, e))? {
            return Err(OpenError::Held { path: path.to_owned(), holders: holders(path) });
        }
        let _guard = Guard::take(path).await?;
        sweep(path);
        let holder = Holder { pid: std::process::id(), command: command.to_owned(), since: Timestamp::now() };
        Ok(Self { _lock: lock, _name: Name::write(path, &holder)? })
    }
}

/// Keeps others from the directory's own files until it is dropped.
#[derive(Debug)]
pub(crate) struct Guard {
    _lock: File,
}

impl Guard {
    /// Waits for whoever has it.
    pub(super) async fn take(path: &Path) -> Result<Self, OpenError> {
        let file = path.join("store.lock");
        let lock = open(&file)?;
        match lock_within(&lock, Kind::Exclusive, WAIT_FOR_GUARD).await {
            Ok(true) => Ok(Self { _lock: lock }),
            Ok(false) => Err(OpenError::Held { path: path.to_owned(), holders: holders(path) }),
            Err(e) => Err(OpenError::io(&file, e)),
        }
    }
}

/// A file under `writers/` that this process keeps locked: it names the holder while the lock lasts.
#[derive(Debug)]
struct Name {
    path: PathBuf,
    _file: File,
}

impl Name {
    /// Writes `holder` to `PID.json`, or to `PID-N.json` for further handles of one process.
    fn write(path: &Path, holder: &Holder) -> Result<Self, OpenError> {
        for n in 0..HANDLES_MAX {
            let name = if n == 0 { format!("{}.json", holder.pid) } else { format!("{}-{n}.json", holder.pid) };
            let path = path.join(WRITERS).join(name);
            let mut file = open(&path)?;
            if !try_lock(&file, Kind::Exclusive).map_err(|e| OpenError::io(&path, e))? {
                continue;
            }
            let mut write = || -> io::Result<()> {
                file.set_len(0)?;
                file.write_all(&serde_json::to_vec(holder)?)
            };
            write().map_err(|e| OpenError::io(&path, e))?;
            return Ok(Self { path, _file: file });
        }
        Err(OpenError::Io { path: path.to_owned(), source: io::Error::other("this process opened it too often") })
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // While it is still locked, so that nobody takes it over in between. A file that stays is swept by the next writer.
        let _ = fs::remove_file(&self.path);
    }
}

/// Who writes to the directory at `path` now, the longest first.
pub(super) fn holders(path: &Path) -> Vec<Holder> {
    let mut holders: Vec<Holder> = writer_files(path)
        .into_iter()
        .filter(|file| is_alive(file))
        .filter_map(|file| serde_json::from_slice(&fs::read(file).ok()?).ok())
        .collect();
    holders.sort_by_key(|holder| (holder.since, holder.pid));
    holders
}

/// Removes the files of writers that died. Under the guard, so that none is taken over meanwhile.
fn sweep(path: &Path) {
    for file in writer_files(path) {
        if !is_alive(&file) {
            let _ = fs::remove_file(&file);
        }
    }
}

fn writer_files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path.join(WRITERS)) else { return Vec::new() };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .collect()
}

/// True when a process keeps `file` locked: a file that nobody locks was left by one that died.
fn is_alive(file: &Path) -> bool {
    File::open(file).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Fails when nothing can be written to the data directory at `path`.
pub(super) fn check_writable(path: &Path) -> Result<(), OpenError> {
    open(&path.join("store.lock")).map(|_| ())
}

fn open(path: &Path) -> Result<File, OpenError> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    file.map_err(|e| OpenError::io(path, e))
}

async fn lock_within(file: &File, kind: Kind, wait: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + wait;
    loop {
        if try_lock(file, kind)? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        sleep(POLL).await;
    }
}

fn try_lock(file: &File, kind: Kind) -> io::Result<bool> {
    let locked = match kind {
        Kind::Shared => file.try_lock_shared(),
        Kind::Exclusive => file.try_lock(),
    };
    match locked {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(e),
    }
}
