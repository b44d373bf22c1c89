//! Checks of the embedded adapters. What a port tells is in `jobs::operate::doctor`.

use std::path::Path;

use chat::Timestamp;
use embedded::data_dir::FORMAT;
use embedded::{Access, DataDir, LmdbLimits, MapSize, PackedIndex, SqliteDirectory, SqliteLedger, SqliteQueue};
use jobs::operate::doctor::{self, Finding, Level};
use jobs::{JOBS, ORGANIZATION_QUEUE, ROOM_QUEUE};

use super::checks::{Check, Free, unfinished_import};
use super::ports::fixed_epoch;
use crate::exit::{self, Failure};
use crate::output::bytes_in_words;
use crate::settings::Settings;

/// Free disk space below which nothing can be done.
const FREE_WRONG: u64 = 64 << 20;
/// Free disk space below which somebody should look.
const FREE_LOW: u64 = 1 << 30;
/// Commands that receive from every queue.
const WHOLE_RUNS: [&str; 3] = ["run", "rerun", "demo"];

/// The checks of what stands in the data directory.
pub(super) struct Embedded<'a> {
    settings: &'a Settings,
    free: Free,
}

impl<'a> Embedded<'a> {
    pub(super) fn new(settings: &'a Settings, free: Free) -> Self {
        Self { settings, free }
    }

    pub(super) fn data_directory(&self) -> Check<'a> {
        let settings = self.settings;
        Check::new("data directory", &["settings"], async move {
            let dir = open(settings).await?;
            let words = format!("{} can be written, format {FORMAT}", dir.path().display());
            let mut found = vec![Finding::ok("data directory", words), disk_space(&dir)];
            let writers: Vec<String> = dir.writers().iter().map(ToString::to_string).collect();
            let words = if writers.is_empty() { "nobody".to_owned() } else { writers.join(", ") };
            found.push(Finding::ok("data directory", format!("who writes now: {words}")));
            Ok(found)
        })
    }

    pub(super) fn epoch(&self) -> Check<'a> {
        let settings = self.settings;
        Check::new("epoch", &["data directory"], async move {
            let dir = open(settings).await?;
            let Some(epoch) = fixed_epoch(settings, &dir)? else {
                let advice = "the first import or run fixes it";
                return Ok(vec![Finding::bad("epoch", Level::Warning, "not fixed yet", advice)]);
            };
            let now = Timestamp::now();
            if epoch.0 > now {
                let words = format!("message ids count from {}, and the clock says {now}", epoch.0);
                return Ok(vec![Finding::bad("epoch", Level::Wrong, words, "set the clock of this machine")]);
            }
            Ok(vec![Finding::ok("epoch", format!("message ids count from {}", epoch.0))])
        })
    }

    pub(super) fn directory(&self) -> Check<'a> {
        let (settings, free) = (self.settings, self.free.clone());
        Check::new("directory", &["data directory"], async move {
            let dir = open(settings).await?;
            if !dir.directory_sqlite().exists() {
                let advice = "bring one: lanner import PATH";
                return Ok(vec![Finding::bad("directory", Level::Wrong, "there is none yet", advice)]);
            }
            let directory = SqliteDirectory::open(&dir).await?;
            if directory.unfinished_import().await? {
                return Ok(vec![unfinished_import()]);
            }
            let count = doctor::count_free(&directory).await?;
            // Nobody else sets it.
            let _ = free.set(count);
            Ok(vec![doctor::directory(count)])
        })
    }

    pub(super) fn ledger(&self) -> Check<'a> {
        let settings = self.settings;
        Check::new("ledger", &["data directory"], async move {
            let dir = open(settings).await?;
            if !dir.ledger_sqlite().exists() {
                return Ok(vec![not_yet("ledger")]);
            }
            let ledger = SqliteLedger::open(&dir).await?;
            Ok(doctor::ledger(&ledger, Timestamp::now(), settings.retention_ms()?).await?)
        })
    }

    pub(super) fn queues(&self) -> Check<'a> {
        let settings = self.settings;
        Check::new("queue", &["data directory"], async move {
            let dir = open(settings).await?;
            if !dir.queue_sqlite().exists() {
                return Ok(vec![not_yet("queue")]);
            }
            let writers = dir.writers();
            let organizations = SqliteQueue::open(&dir, ORGANIZATION_QUEUE).await?;
            let rooms = organizations.beside(ROOM_QUEUE).await?;
            let mut found = Vec::new();
            for (queue, read_as) in [(&organizations, "organization-queue"), (&rooms, "room-queue")] {
                let receives = |command: &str| {
                    let job = JOBS.iter().find(|job| job.name == command);
                    WHOLE_RUNS.contains(&command) || job.is_some_and(|job| job.reads.contains(&read_as))
                };
                let works = writers.iter().any(|writer| receives(&writer.command));
                found.push(doctor::queue(queue, Some(works)).await?);
            }
            Ok(found)
        })
    }

    pub(super) fn messages(&self) -> Check<'a> {
        let settings = self.settings;
        Check::new("messages", &["data directory", "epoch"], async move {
            let dir = open(settings).await?;
            if !is_made(&dir.live_ids()) {
                let advice = "bring messages: lanner import PATH";
                return Ok(vec![Finding::bad("messages", Level::Warning, "no index yet", advice)]);
            }
            let epoch = fixed_epoch(settings, &dir)?.unwrap_or_default();
            let look = move || -> chat::PortResult<_> {
                let index = PackedIndex::open(&dir.live_ids(), MapSize::default(), epoch)?;
                Ok((index.bytes()?, index.bytes_max(), index.newest()?))
            };
            let looked = tokio::task::spawn_blocking(look).await.map_err(|error| Failure::new(exit::FAILED, error))?;
            let (bytes, bytes_max, newest) = looked?;
            let mut found = vec![map_size(bytes, bytes_max)];
            found.extend(newest.map(|id| newest_message(epoch.time_of(id), Timestamp::now())));
            Ok(found)
        })
    }

    pub(super) fn limits(&self) -> Check<'a> {
        let (settings, free) = (self.settings, self.free.clone());
        Check::new("limits", &["data directory"], async move {
            let path = open(settings).await?.limits();
            if !is_made(&path) {
                return Ok(vec![not_yet("limits")]);
            }
            let opened = tokio::task::spawn_blocking(move || LmdbLimits::open(&path, MapSize::default())).await;
            let limits = opened.map_err(|error| Failure::new(exit::FAILED, error))??;
            Ok(vec![doctor::limits(&limits, free.get().copied()).await?])
        })
    }
}

async fn open(settings: &Settings) -> Result<DataDir, Failure> {
    Ok(DataDir::open(&settings.data.dir, Access::Read, "doctor").await?)
}

/// An environment that is there: opening another would make one.
fn is_made(path: &Path) -> bool {
    path.join("data.mdb").exists()
}

fn not_yet(system: &'static str) -> Finding {
    Finding::bad(system, Level::Warning, "there is none yet", "the first run makes it: lanner run")
}

fn disk_space(dir: &DataDir) -> Finding {
    let space = match dir.disk_space() {
        Ok(space) => space,
        Err(error) => {
            let words = format!("free disk space is not known: {error}");
            return Finding::bad("data directory", Level::Warning, words, "");
        }
    };
    let words =
        format!("{} of its disk's {} are free", bytes_in_words(space.free_bytes), bytes_in_words(space.total_bytes));
    let level = match space.free_bytes {
        ..FREE_WRONG => Level::Unavailable,
        FREE_WRONG..FREE_LOW => Level::Warning,
        _ => return Finding::ok("data directory", words),
    };
    Finding::bad("data directory", level, words, "free some, or move the data directory to a larger disk")
}

fn map_size(bytes: u64, bytes_max: u64) -> Finding {
    let words = format!("the index takes {} of at most {}", bytes_in_words(bytes), bytes_in_words(bytes_max));
    if bytes > bytes_max / 10 * 9 {
        let advice = "import what is still needed into a new data directory";
        return Finding::bad("messages", Level::Warning, words, advice);
    }
    Finding::ok("messages", words)
}

pub(super) fn newest_message(written: Timestamp, now: Timestamp) -> Finding {
    if written > now {
        let words = format!("the newest message is of {written}, after now ({now})");
        let advice = "correct the clock of this machine or of the message writer, or the epoch (store.epoch)";
        return Finding::bad("messages", Level::Wrong, words, advice);
    }
    Finding::ok("messages", format!("the newest message is of {written}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_from_the_future_and_a_full_map_are_found() {
        let at = Timestamp::from_millis;
        assert_eq!(newest_message(at(2), at(1)).level, Level::Wrong);
        assert_eq!(newest_message(at(1), at(1)).level, Level::Ok);
        assert_eq!((map_size(90, 100).level, map_size(91, 100).level), (Level::Ok, Level::Warning));
    }
}
