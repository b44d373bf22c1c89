//! One schedule: a chat, a run with faults, kills and interference, a second one with deletions seen late, quiet ones on top.

use std::collections::BTreeSet;
use std::fmt;

use chat::RunId;
use chat::ledger::{Phase, Progress};
use embedded::Access;
use support::place::{self, Adapters, PORTS, Place};
use support::{Faults, SmallChat};
use tokio::runtime::Runtime;

use super::check::{self, Exact};
use super::operator::{Operator, who_sees};
use super::process::{End, Life};

/// Starts of processes for one run before it must be over.
const ROUNDS_MAX: u32 = 40;
/// From this round on nothing fails any more.
const QUIET_ROUND: u32 = 12;

/// What schedules did, for the record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) schedules: u64,
    pub(super) processes: u64,
    pub(super) dropped: u64,
    pub(super) sigkilled: u64,
    pub(super) stopped: u64,
    pub(super) calls: u64,
    pub(super) faults: u64,
    pub(super) reopened: u64,
    pub(super) reruns: u64,
    pub(super) cancelled: u64,
    pub(super) plans: u64,
    pub(super) memberships: u64,
    pub(super) deletions: u64,
    pub(super) lost: u64,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.processes += other.processes;
        self.dropped += other.dropped;
        self.sigkilled += other.sigkilled;
        self.stopped += other.stopped;
        self.calls += other.calls;
        self.faults += other.faults;
        self.reopened += other.reopened;
        self.reruns += other.reruns;
        self.cancelled += other.cancelled;
        self.plans += other.plans;
        self.memberships += other.memberships;
        self.deletions += other.deletions;
        self.lost += other.lost;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schedules, processes, dropped, sigkilled, stopped, .. } = self;
        writeln!(f, "{schedules} schedules: {processes} processes, of which {dropped} dropped at an await,")?;
        writeln!(f, "{sigkilled} killed with SIGKILL, {stopped} stopped in good order;")?;
        writeln!(f, "{} of {} calls failed (without those of children);", self.faults, self.calls)?;
        write!(
            f,
            "{} organizations reopened, {} re-run, {} runs cancelled, {} plans and {} memberships changed, {} messages deleted, \
             {} queue messages lost",
            self.reopened, self.reruns, self.cancelled, self.plans, self.memberships, self.deletions, self.lost
        )
    }
}

struct Schedule {
    seed: u64,
    random: fastrand::Rng,
    runtime: Runtime,
    /// Kept for its drop: it removes the data directory.
    _place: Place,
    operator: Operator,
    /// What all its processes have in common.
    common: Life,
    in_children: bool,
}

/// What a run is exposed to.
struct Weather {
    kills: u32,
    fault_percent: u32,
    interferes: bool,
    unseen: Vec<(u64, u64)>,
}

impl Weather {
    fn quiet() -> Self {
        Self { kills: 0, fault_percent: 0, interferes: false, unseen: Vec::new() }
    }
}

/// Runs the schedule of a seed. Panics with what does not hold.
pub(super) fn schedule(seed: u64) -> Tally {
    let mut schedule = Schedule::new(seed);
    let weather = Weather {
        kills: schedule.random.u32(1..4),
        fault_percent: schedule.random.u32(0..25),
        interferes: schedule.random.u8(0..4) > 0,
        unseen: Vec::new(),
    };
    schedule.operator.expect_from_now();
    schedule.run("daily", weather);
    schedule.finish_reruns();
    schedule.check(Exact::Allowed);
    schedule.between_runs();
    schedule.second_run();
    let before = schedule.state();
    schedule.run("on-top", Weather::quiet());
    schedule.check(Exact::All);
    check::nothing_changed(&before, &schedule.state(), "by a run on top");
    schedule.drain();
    check::nothing_changed(&before, &schedule.state(), "by what was left in the queues");
    schedule.operator.tally.schedules = 1;
    schedule.operator.tally
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let organizations = random.u64(1..50);
        let place = runtime.block_on(Place::new(random.u64(..), organizations));
        let adapters = runtime.block_on(Adapters::open(&place.data_dir(), Access::Write));
        let flaky = adapters.flaky(&Faults::new(random.u64(..), 10));
        let open = place::Open { ports: adapters.plain(), directory: adapters.directory, index: adapters.index };
        let operator = Operator {
            open,
            flaky,
            chat: place.chat.clone(),
            as_of: SmallChat::as_of(),
            run: "daily".parse().expect("a run id"),
            answers: Vec::new(),
            reruns: Vec::new(),
            disturbed: BTreeSet::new(),
            cancelled: false,
            tally: Tally::default(),
            random: random.fork(),
        };
        let common = Life {
            data_dir: place.data_dir(),
            run: operator.run.clone(),
            as_of: operator.as_of,
            extracts: true,
            end: End::WithTheRun,
            seed: 0,
            fault_percent: 0,
            attempts_max: random.u32(1..7),
            in_flight: 1 << random.u32(0..6),
            batch_max: 1 << random.u32(0..5),
            visible_for_ms: random.u64(150..600),
            stop_grace_ms: random.u64(0..50),
            far_away: random.bool(),
            unseen: Vec::new(),
        };
        // A child costs more to start than all it does.
        let in_children = random.u8(0..100) < 15;
        Self { seed, random, runtime, _place: place, operator, common, in_children }
    }

    /// Runs until every organization is done, or somebody has cancelled the run.
    fn run(&mut self, run: &str, weather: Weather) {
        let run: RunId = run.parse().expect("a run id");
        (self.operator.run, self.operator.cancelled) = (run.clone(), false);
        for round in 0..ROUNDS_MAX {
            self.round(&run, &weather, round);
            let Some(progress) = self.progress(&run) else { continue };
            check::counts(&self.runtime, &self.operator.open.ports, &progress, self.common.attempts_max);
            match progress.phase() {
                Phase::Cancelled => return self.runtime.block_on(self.operator.note_unsettled()),
                Phase::Finished if progress.counts.failures() == 0 => return,
                Phase::Finished => self.runtime.block_on(self.operator.reopen()),
                Phase::Extracting | Phase::Running => {}
            }
        }
        panic!("seed {}: run {run} is not over after {ROUNDS_MAX} rounds: {:?}", self.seed, self.progress(&run));
    }

    fn progress(&self, run: &RunId) -> Option<Progress> {
        self.runtime.block_on(self.operator.open.ports.ledger.progress(run)).expect("progress")
    }

    /// Some processes at once, and what people do meanwhile.
    fn round(&mut self, run: &RunId, weather: &Weather, round: u32) {
        let disturbed = round < weather.kills;
        let processes = if disturbed { self.random.usize(1..4) } else { 1 };
        let lives: Vec<Life> = (0..processes)
            .map(|index| Life {
                run: run.clone(),
                as_of: self.operator.as_of,
                extracts: index == 0 && !run.as_str().starts_with("rerun"),
                end: if disturbed { self.end(index == 0) } else { End::WithTheRun },
                seed: self.random.u64(..),
                fault_percent: if round < QUIET_ROUND { weather.fault_percent } else { 0 },
                unseen: weather.unseen.clone(),
                ..self.common.clone()
            })
            .collect();
        let actions = if weather.interferes && disturbed { self.random.u32(0..4) } else { 0 };
        let in_children = self.in_children && disturbed;
        std::thread::scope(|scope| {
            let live = |life: &Life| if in_children { life.in_a_child() } else { life.here() };
            let lives: Vec<_> = lives.iter().map(|life| scope.spawn(move || live(life))).collect();
            self.runtime.block_on(async {
                for _ in 0..actions {
                    self.operator.act().await;
                }
            });
            let tally = &mut self.operator.tally;
            for life in lives {
                let ended = life.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                tally.processes += 1;
                tally.dropped += u64::from(ended.killed && !in_children);
                tally.sigkilled += u64::from(ended.killed && in_children);
                tally.stopped += u64::from(ended.stopped);
                (tally.calls, tally.faults) = (tally.calls + ended.calls, tally.faults + ended.faults);
            }
        });
    }

    /// A process that does not extract must not wait for a run whose extraction was killed.
    fn end(&mut self, extracts: bool) -> End {
        // Early calls as often as late ones.
        let calls = 1 << self.random.u32(0..7);
        match self.random.u8(0..100) {
            0..60 => End::AtCall { port: self.random.u64(1..=PORTS), call: 1 + self.random.u64(0..calls) },
            60..75 => End::AfterMs(self.random.u64(0..300)),
            75..85 => End::StoppedAfterMs(self.random.u64(0..300)),
            _ if extracts => End::WithTheRun,
            _ => End::StoppedAfterMs(self.random.u64(0..1_000)),
        }
    }

    fn finish_reruns(&mut self) {
        let (run, cancelled) = (self.operator.run.clone(), self.operator.cancelled);
        for (rerun, _) in self.operator.reruns.clone() {
            self.run(rerun.as_str(), Weather { fault_percent: 5, ..Weather::quiet() });
        }
        (self.operator.run, self.operator.cancelled) = (run, cancelled);
    }

    fn between_runs(&mut self) {
        self.runtime.block_on(async {
            for _ in 0..self.operator.random.u32(0..3) {
                self.operator.change_membership().await;
            }
            for _ in 0..self.operator.random.u32(0..2) {
                self.operator.change_plan().await;
            }
        });
    }

    /// Deletions, of which the store of live ids may not know yet; then, if so, a run that does.
    fn second_run(&mut self) {
        let deleted = self.operator.delete_messages();
        if self.random.bool() {
            self.operator.as_of = self.operator.as_of.plus_millis(86_400_000);
        }
        let unseen = if self.random.bool() { deleted } else { Vec::new() };
        let rooms: BTreeSet<u64> = unseen.iter().map(|deletion| deletion.0).collect();
        self.operator.expect_from_now();
        let seen_late = !unseen.is_empty();
        let weather =
            Weather { kills: self.random.u32(0..2), fault_percent: self.random.u32(0..15), interferes: false, unseen };
        self.run("second", weather);
        self.check(Exact::AllBut(who_sees(&self.operator.chat, &rooms)));
        if seen_late {
            self.run("third", Weather::quiet());
            self.check(Exact::All);
        }
    }

    fn check(&self, exact: Exact) {
        self.runtime.block_on(check::results(&self.operator, &exact));
    }

    fn state(&self) -> check::Stored {
        self.runtime.block_on(check::stored(&self.operator))
    }

    /// Lets a quiet worker take what is left: repeats that nobody needs. Then both queues are empty.
    fn drain(&mut self) {
        self.runtime.block_on(self.common.drain(&self.operator.open.ports));
    }
}
