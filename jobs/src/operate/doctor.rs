//! What can be checked of a system through its port alone. Adapters add what only they know.

use std::time::Duration;

use chat::ledger::{Phase, Progress, State};
use chat::{Directory, Ledger, Limits, PortResult, Standing, Timestamp};
use serde::Serialize;
use tokio::time::Instant;
use worker::{Queue, QueueError};

use super::dead_letters::expires_at;

const DAY_MS: u64 = chat::Day::MILLIS;
/// Organizations or limits of one call.
const PAGE: usize = 5_000;
/// How long is counted before "at least" has to do.
const COUNT_FOR: Duration = Duration::from_secs(2);
/// Runs that are looked at: two weeks of daily ones.
const RUNS: usize = 14;
/// A last run that is older is late: daily ones have a day and a half.
const LATE_MS: u64 = DAY_MS * 3 / 2;
/// Runs that are looked through for what is pruned soon.
const RUNS_KEPT: usize = 1_000;
/// What is pruned within this time, in milliseconds, should be looked at.
const SOON_MS: u64 = 7 * DAY_MS;
/// Unreadable messages that are counted.
const UNREADABLE: usize = 100;
/// A message that waits longer waits for somebody.
const WAITING: Duration = Duration::from_secs(600);

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Not looked at, because what it needs is wrong.
    Skipped,
    /// It works; somebody should look.
    Warning,
    /// It does not work now; later it may.
    Unavailable,
    /// It will not work until somebody changes something.
    Wrong,
}

impl Level {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Unavailable => "unavailable",
            Self::Wrong => "wrong",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The system.
    pub system: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// What to do about it; empty, and null in JSON, where nothing has to be done.
    #[serde(serialize_with = "null_where_empty")]
    pub advice: String,
}

impl Finding {
    /// As it should be.
    pub fn ok(system: &'static str, found: impl Into<String>) -> Self {
        Self { system, level: Level::Ok, found: found.into(), advice: String::new() }
    }

    /// Something that is not as it should be, and what to do about it.
    pub fn bad(system: &'static str, level: Level, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { system, level, found: found.into(), advice: advice.into() }
    }
}

fn null_where_empty<S: serde::Serializer>(advice: &str, serializer: S) -> Result<S::Ok, S::Error> {
    Some(advice).filter(|advice| !advice.is_empty()).serialize(serializer)
}

/// A count that may have been cut short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// So many were seen.
    pub seen: u64,
    /// There are no more.
    pub whole: bool,
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.whole { "" } else { "at least " }, self.seen)
    }
}

/// Free organizations of the directory.
///
/// # Errors
///
/// When the port fails.
pub async fn count_free(directory: &dyn Directory) -> PortResult<Count> {
    let (until, mut count, mut after) = (Instant::now() + COUNT_FOR, Count::default(), None);
    while Instant::now() < until {
        let page = directory.free_organizations(after, PAGE).await?;
        count.seen += page.len() as u64;
        if page.len() < PAGE {
            return Ok(Count { whole: true, ..count });
        }
        after = page.last().map(|organization| organization.id);
    }
    Ok(count)
}

/// What the count of free organizations means.
pub fn directory(free: Count) -> Finding {
    match free {
        Count { seen: 0, whole: true } => Finding::bad(
            "directory",
            Level::Warning,
            "no organization is free: a run has nothing to do",
            "import the directory: lanner import PATH",
        ),
        count => Finding::ok("directory", format!("{count} free organizations")),
    }
}

/// The last runs, what was put aside, and what of it is pruned soon: after `retention_ms` milliseconds, or never.
///
/// # Errors
///
/// When the port fails.
pub async fn ledger(ledger: &dyn Ledger, now: Timestamp, retention_ms: Option<u64>) -> PortResult<Vec<Finding>> {
    let runs = ledger.runs(RUNS).await?;
    let mut found = vec![last_run(runs.first(), now)];
    let old = |progress: &&Progress| {
        let open = matches!(progress.phase(), Phase::Extracting | Phase::Running);
        open && progress.run.opened_at.plus_millis(DAY_MS) < now
    };
    let unfinished: Vec<&Progress> = runs.iter().filter(old).collect();
    if let Some(oldest) = unfinished.last() {
        found.push(Finding::bad(
            "ledger",
            Level::Warning,
            format!("{} runs are unfinished for more than a day, such as {}", unfinished.len(), oldest.run.id),
            format!("start its workers, or see what it waits for: lanner status --run {}", oldest.run.id),
        ));
    }
    if let Some(progress) = runs.first().filter(|progress| progress.counts.failures() > 0) {
        let (failed, parked) = (progress.counts.of(State::Failed), progress.counts.of(State::Parked));
        let retrying = progress.counts.of(State::Retrying);
        found.push(Finding::bad(
            "ledger",
            Level::Warning,
            format!("in the last run {failed} organizations failed, {parked} are parked, {retrying} wait for another attempt"),
            format!("see why: lanner status --run {}", progress.run.id),
        ));
    }
    if let Some(progress) = runs.iter().find(|progress| progress.run.opened_at > now) {
        found.push(Finding::bad(
            "ledger",
            Level::Wrong,
            format!("run {} was opened at {}, after now ({now})", progress.run.id, progress.run.opened_at),
            "set the clock of this machine, or of the one that opened it",
        ));
    }
    let unreadable = ledger.unreadable(UNREADABLE).await?;
    if let Some(oldest) = unreadable.last() {
        let at_least = if unreadable.len() == UNREADABLE { "at least " } else { "" };
        found.push(Finding::bad(
            "ledger",
            Level::Warning,
            format!("{at_least}{} unreadable queue messages, the oldest put aside at {}", unreadable.len(), oldest.at),
            "read them before they are pruned: a newer lanner or another program wrote them",
        ));
    }
    if let Some(retention_ms) = retention_ms {
        found.extend(pruned_soon(ledger, now, retention_ms).await?);
    }
    Ok(found)
}

/// Runs with failures, and unreadable messages, that somebody should look at within a week.
async fn pruned_soon(ledger: &dyn Ledger, now: Timestamp, retention_ms: u64) -> PortResult<Option<Finding>> {
    let soon = |from: Timestamp| expires_at(from, Some(retention_ms)).filter(|at| *at <= now.plus_millis(SOON_MS));
    let mut first: Option<Timestamp> = None;
    let (mut organizations, mut runs) = (0, 0_u64);
    // Newest first: the last ones are pruned next.
    let opened = ledger.opened_runs(RUNS_KEPT).await?;
    for (run, at) in opened.iter().rev().filter_map(|run| Some((run, soon(run.opened_at)?))).take(RUNS) {
        let classes = ledger.error_classes(&run.id).await?;
        let failed = classes.iter().filter(|class| class.state.is_failure());
        let failed: u64 = failed.map(|class| class.organizations).sum();
        if failed > 0 {
            (organizations, runs) = (organizations + failed, runs + 1);
            first = Some(first.map_or(at, |first| first.min(at)));
        }
    }
    let unreadable = ledger.unreadable(UNREADABLE).await?;
    let expiring: Vec<Timestamp> = unreadable.iter().filter_map(|message| soon(message.at)).collect();
    let Some(first) = first.into_iter().chain(expiring.iter().copied()).min() else { return Ok(None) };
    let when = if first <= now { "by the next run".to_owned() } else { format!("from {first} on") };
    let mut what = Vec::new();
    if organizations > 0 {
        what.push(format!("{organizations} organizations of {runs} runs"));
    }
    if !expiring.is_empty() {
        what.push(format!("{} unreadable messages", expiring.len()));
    }
    let words = format!("dead letters that will be pruned within 7 days, {when}: {}", what.join(", "));
    Ok(Some(Finding::bad("ledger", Level::Warning, words, "look at them: lanner dead-letters list")))
}

fn last_run(progress: Option<&Progress>, now: Timestamp) -> Finding {
    let Some(progress) = progress else {
        return Finding::bad("ledger", Level::Warning, "no run yet", "start one: lanner run");
    };
    let counts = &progress.counts;
    let age = age_in_words(progress.run.opened_at, now);
    let words = format!(
        "last run {} is {}, opened {age} ago, {} of {} organizations settled",
        progress.run.id,
        progress.phase(),
        counts.settled(),
        counts.expected()
    );
    if progress.run.opened_at.plus_millis(LATE_MS) < now {
        return Finding::bad("ledger", Level::Warning, words, "does the scheduler start lanner run?");
    }
    Finding::ok("ledger", words)
}

/// How full a queue is. `workers` tells whether somebody receives from it, where that is known.
///
/// # Errors
///
/// When the port fails.
pub async fn queue(queue: &dyn Queue, workers: Option<bool>) -> Result<Finding, QueueError> {
    let depth = queue.depth().await?;
    let name = queue.name();
    if depth.visible == 0 && depth.hidden == 0 {
        return Ok(Finding::ok("queue", format!("{name}: empty")));
    }
    let oldest =
        depth.oldest_age.map_or_else(String::new, |age| format!(", the oldest for {}", duration_in_words(age)));
    let words = format!("{name}: {} messages wait, {} are in work{oldest}", depth.visible, depth.hidden);
    let old = depth.oldest_age.is_some_and(|age| age > WAITING);
    Ok(match workers {
        Some(false) => Finding::bad(
            "queue",
            Level::Warning,
            format!("{words}, and nobody works"),
            "start the workers, or the run that was interrupted again with its --run",
        ),
        Some(true) | None if old && depth.visible > 0 => {
            Finding::bad("queue", Level::Warning, words, "start more workers, or see what they report")
        }
        Some(true) | None => Finding::ok("queue", words),
    })
}

/// Stored limits beside the free organizations.
///
/// # Errors
///
/// When the port fails.
pub async fn limits(limits: &dyn Limits, free: Option<Count>) -> PortResult<Finding> {
    let until = Instant::now() + COUNT_FOR;
    let (mut count, mut after, mut oldest) = (Count::default(), None, None::<Timestamp>);
    while !count.whole && Instant::now() < until {
        let page = limits.page(after, PAGE).await?;
        count.whole = page.len() < PAGE;
        after = page.last().map(|row| row.organization);
        for row in page.iter().filter(|row| row.standing != Standing::Released) {
            count.seen += 1;
            oldest = Some(oldest.map_or(row.version.as_of, |oldest| oldest.min(row.version.as_of)));
        }
    }
    let oldest = oldest.map_or_else(String::new, |as_of| format!(", the oldest as of {as_of}"));
    let words = format!("{count} organizations have a limit{oldest}");
    let missing = free.filter(|free| free.whole && count.whole).map_or(0, |free| free.seen.saturating_sub(count.seen));
    if missing > 0 {
        let words = format!("{words}; {missing} free ones have none");
        let advice = "age alone limits those: lanner run computes them";
        return Ok(Finding::bad("limits", Level::Warning, words, advice));
    }
    Ok(Finding::ok("limits", words))
}

/// How long ago, in words of at most two units.
fn age_in_words(then: Timestamp, now: Timestamp) -> String {
    duration_in_words(Duration::from_millis(now.as_millis().saturating_sub(then.as_millis())))
}

fn duration_in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
