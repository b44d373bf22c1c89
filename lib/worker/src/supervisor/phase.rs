//! The order of a stop: phase by phase over the whole tree, each with a bound in time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// When in a stop a child is asked to end. Children of one phase, wherever in the tree, are asked together; the next phase
/// waits until they have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// What takes work in.
    Intake,
    /// What works on what was taken in.
    Work,
    /// What makes progress durable: positions, acknowledgements.
    Commits,
    /// What tells others of it: probes, metrics.
    Telemetry,
}

impl Phase {
    /// All phases, in the order of a stop.
    pub const ALL: [Self; 4] = [Self::Intake, Self::Work, Self::Commits, Self::Telemetry];

    /// The stable word for logs and descriptions.
    pub fn word(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Work => "work",
            Self::Commits => "commits",
            Self::Telemetry => "telemetry",
        }
    }
}

/// How long the children of each phase may take to end once asked; then they are aborted. A whole stop takes at most the sum,
/// and a second more per phase where something must be aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopBounds {
    /// For [`Phase::Intake`].
    pub intake: Duration,
    /// For [`Phase::Work`].
    pub work: Duration,
    /// For [`Phase::Commits`].
    pub commits: Duration,
    /// For [`Phase::Telemetry`].
    pub telemetry: Duration,
}

impl Default for StopBounds {
    /// 1 s, 5 s, 2 s, 1 s: together less than the 10 s after which a stopped process is expected to be gone.
    fn default() -> Self {
        let [intake, work, commits, telemetry] = [1, 5, 2, 1].map(Duration::from_secs);
        Self { intake, work, commits, telemetry }
    }
}

impl StopBounds {
    /// The bound of a phase.
    pub fn of(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Intake => self.intake,
            Phase::Work => self.work,
            Phase::Commits => self.commits,
            Phase::Telemetry => self.telemetry,
        }
    }
}

impl fmt::Display for StopBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [intake, work, commits, telemetry] = Phase::ALL.map(|phase| (phase.word(), self.of(phase)));
        write!(f, "{} {:?}, {} {:?}, ", intake.0, intake.1, work.0, work.1)?;
        write!(f, "{} {:?}, {} {:?}", commits.0, commits.1, telemetry.0, telemetry.1)
    }
}

/// What one run of a supervisor can be stopped by: its own escalation, or a stop of anything above it.
///
/// All of a tree's supervisors are polled by one task, so that nothing is started between a look at `stopping` and the next
/// await.
#[derive(Debug)]
pub(super) struct Scope {
    stopping: CancellationToken,
    asked: [CancellationToken; Phase::ALL.len()],
    overdue: [CancellationToken; Phase::ALL.len()],
    running: [TaskTracker; Phase::ALL.len()],
    above: Option<Arc<Self>>,
}

impl Scope {
    pub(super) fn top() -> Arc<Self> {
        Arc::new(Self {
            stopping: CancellationToken::new(),
            asked: Default::default(),
            overdue: Default::default(),
            running: trackers(),
            above: None,
        })
    }

    /// The scope of a supervisor below: stopped with this one, or alone.
    pub(super) fn below(self: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self {
            stopping: self.stopping.child_token(),
            asked: std::array::from_fn(|phase| self.asked[phase].child_token()),
            overdue: std::array::from_fn(|phase| self.overdue[phase].child_token()),
            running: trackers(),
            above: Some(Arc::clone(self)),
        })
    }

    /// Once a stop begins, nothing is started any more.
    pub(super) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// The whole tree ends: what ends now is never started again.
    pub(super) fn tree_is_stopping(&self) -> bool {
        self.and_above().last().is_some_and(|top| top.stopping.is_cancelled())
    }

    /// The phase's children are asked to end.
    pub(super) fn asked(&self, phase: Phase) -> &CancellationToken {
        &self.asked[phase as usize]
    }

    /// The phase's children had time enough.
    pub(super) fn overdue(&self, phase: Phase) -> &CancellationToken {
        &self.overdue[phase as usize]
    }

    /// A stop of this scope, or of one above, waits in this phase until what is returned is dropped.
    pub(super) fn enter(&self, phase: Phase) -> Vec<TaskTrackerToken> {
        self.and_above().map(|scope| scope.running[phase as usize].token()).collect()
    }

    fn and_above(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |scope| scope.above.as_deref())
    }

    /// Stops everything below, phase by phase. Whoever watches a run ends it soon after it is overdue.
    pub(super) async fn stop(&self, bounds: &StopBounds) {
        self.stopping.cancel();
        for phase in Phase::ALL {
            self.asked(phase).cancel();
            let running = &self.running[phase as usize];
            if tokio::time::timeout(bounds.of(phase), running.wait()).await.is_err() {
                self.overdue(phase).cancel();
                running.wait().await;
            }
        }
    }
}

/// Closed from the start: they only count, and waiting for them ends whenever the count is zero.
fn trackers() -> [TaskTracker; Phase::ALL.len()] {
    std::array::from_fn(|_| {
        let tracker = TaskTracker::new();
        tracker.close();
        tracker
    })
}
