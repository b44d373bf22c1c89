//! Schedules: a copy of one data directory each, a run of the binary, and what must hold at the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chat::ledger::{Phase, Progress, RunOrganization, State};
use embedded::Access;
use support::oracle::{self, Answer};
use support::place::{self, Place, policy, stored_limits};
use support::waiting::number_from_env;
use support::{Program, SmallChat};
use tokio::time::Instant;

/// The run of every schedule, small enough in its batches to take a while.
pub(super) const RUN: &str = "run --run daily --as-of 2026-01-01T00:00:00Z --max-messages 25 --json";
const ORGANIZATIONS: u64 = 400;

/// Schedules of the binary take seconds each: at most so many.
const SCHEDULES_MAX: u64 = 100;

/// How many schedules, and the first seed.
pub(super) fn schedules() -> impl Iterator<Item = u64> {
    let seed = number_from_env("LANNER_SEED", 1);
    seed..seed + number_from_env("LANNER_SCHEDULES", 10).min(SCHEDULES_MAX)
}

pub(super) struct Template {
    place: Place,
    /// How long a run takes from start to end when nobody disturbs it, as far as known.
    pub(super) undisturbed: Duration,
    /// How long the first one took: what this machine is like just now.
    pub(super) measured: Duration,
}

pub(super) struct Schedule {
    pub(super) data_dir: PathBuf,
    pub(super) program: Program,
}

/// A run as the ledger has it.
pub(super) struct Found {
    pub(super) progress: Option<Progress>,
    pub(super) rows: Vec<RunOrganization>,
}

impl Found {
    /// True when the run had begun and was not yet over.
    pub(super) fn is_inside(&self) -> bool {
        self.progress.as_ref().is_some_and(|progress| progress.phase() != Phase::Finished)
    }
}

impl Template {
    pub(super) async fn new() -> Self {
        assert_eq!(SmallChat::as_of().to_string(), "2026-01-01T00:00:00Z");
        let place = Place::new(77, ORGANIZATIONS).await;
        let mut template = Self { place, undisturbed: Duration::ZERO, measured: Duration::ZERO };
        let schedule = template.schedule("measured");
        let started = Instant::now();
        schedule.program.run(RUN).exits(0);
        template.undisturbed = started.elapsed();
        template.measured = template.undisturbed;
        println!("an undisturbed run takes {:?}", template.undisturbed);
        template
    }

    /// A run was disturbed before it began, or not before it ended: others keep the machine more or less busy than before.
    pub(super) fn adapt(&mut self, found: &Found) {
        let begun = found.rows.iter().any(|row| row.started_at.is_some());
        self.undisturbed = self.undisturbed.mul_f64(if begun { 0.7 } else { 1.4 });
    }

    /// A fresh copy of the data directory, with small batches and short timeouts.
    pub(super) fn schedule(&self, name: &str) -> Schedule {
        let data_dir = self.place.copy_as(name);
        let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &data_dir)
            .with("LANNER_WORKERS_VISIBLE_FOR_MS", 500)
            .with("LANNER_WORKERS_BACKOFF_MIN_MS", 20)
            .with("LANNER_WORKERS_BACKOFF_MAX_MS", 200)
            .with("LANNER_WORKERS_IN_FLIGHT", 4)
            .with("LANNER_WORKERS_BATCH_MAX", 4);
        Schedule { data_dir, program }
    }

    /// Every organization is done once, the figures are those of the oracle, and a boundary has one entry in the history.
    pub(super) async fn check(&self, schedule: &Schedule) -> Vec<RunOrganization> {
        let chat = &self.place.chat;
        let found = look(&schedule.data_dir).await;
        let progress = found.progress.expect("the run");
        assert_eq!(progress.phase(), Phase::Finished);
        let counts = &progress.counts;
        assert_eq!((counts.of(State::Done), counts.expected()), (chat.free(), chat.free()), "{counts:?}");
        assert_eq!(found.rows.len() as u64, chat.free());
        let answers = oracle::answers(chat, SmallChat::as_of(), &policy());
        let exported = schedule.program.run("limits export").exits(0);
        assert_eq!(exported.out, oracle::export(&answers));
        check_history(&schedule.data_dir, &answers).await;
        found.rows
    }
}

async fn check_history(data_dir: &Path, answers: &BTreeMap<u64, Answer>) {
    let open = place::open(data_dir, Access::Read).await;
    for row in stored_limits(&*open.ports.limits).await {
        let history = open.ports.ledger.history(row.organization, 10).await.expect("a history");
        let expected = usize::from(answers[&row.organization.get()].first_visible.is_some());
        assert_eq!(history.len(), expected, "history of organization {}: {history:?}", row.organization);
    }
}

/// What the ledger says of the run now.
pub(super) async fn look(data_dir: &Path) -> Found {
    // A process that died before it made the ledger leaves none.
    if !data_dir.join("queue.sqlite").exists() || !data_dir.join("limits").exists() {
        return Found { progress: None, rows: Vec::new() };
    }
    let open = place::open(data_dir, Access::Write).await;
    let run = "daily".parse().expect("a run id");
    let progress = open.ports.ledger.progress(&run).await.expect("progress");
    let rows = place::organizations_of(&*open.ports.ledger, &run).await;
    if let Some(progress) = &progress {
        assert_eq!(progress.counts.expected(), rows.len() as u64, "counts and rows differ");
    }
    Found { progress, rows }
}
