//! Waits until a run is finished, and sends again what a queue has lost.

use std::time::Duration;

use chat::ledger::{Counts, Filter, Phase, Progress, State};
use chat::{PortError, RunId};
use tokio_util::sync::CancellationToken;

use super::extract_organizations::{self, ExtractError};
use crate::Ports;

/// How often the ledger is asked at least.
const POLL: Duration = Duration::from_millis(100);
/// For so many looks in a row nothing moved and both queues were empty: then messages are missing.
const STALLED_LOOKS: u32 = 20;
/// Looks may fail temporarily so many times in a row.
const FAILURES_MAX: u32 = 100;
/// Organizations sent again at once.
const RESEND: usize = 1_000;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Every organization is terminal or waits for another attempt.
    Attempted,
    /// Every organization is terminal.
    Settled,
}

impl Until {
    fn reached(self, progress: &Progress) -> bool {
        match progress.phase() {
            Phase::Finished | Phase::Cancelled => true,
            Phase::Extracting => false,
            Phase::Running => {
                let waiting = progress.counts.settled() + progress.counts.of(State::Retrying);
                self == Self::Attempted && waiting == progress.counts.expected()
            }
        }
    }
}

/// Why waiting ended without a finished run.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The run is not in the ledger.
    #[error("there is no run {0}")]
    UnknownRun(RunId),
    /// A port failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// Sending again failed.
    #[error(transparent)]
    Extract(#[from] ExtractError),
}

impl WaitError {
    /// True when waiting again may succeed.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::UnknownRun(_) => false,
            Self::Port(error) => error.is_temporary(),
            Self::Extract(error) => error.is_temporary(),
        }
    }
}

/// Waits until the run has come so far, is cancelled, or `stop`. `on_progress` is told at each look. A queue is never a source of
/// truth: when both queues are empty and nothing moves, what is not settled is sent again from the ledger. What fails temporarily
/// is asked again, up to 100 times in a row.
pub async fn wait_until_finished(
    ports: &Ports,
    run: &RunId,
    until: Until,
    stop: &CancellationToken,
    mut on_progress: impl FnMut(&Progress),
) -> Result<Progress, WaitError> {
    let (mut stall, mut failures) = (Stall::default(), 0);
    loop {
        let asked = tokio::time::Instant::now();
        let mut look = async || {
            let progress = ports.ledger.progress(run).await?.ok_or_else(|| WaitError::UnknownRun(run.clone()))?;
            on_progress(&progress);
            if until.reached(&progress) || stop.is_cancelled() {
                return Ok(Some(progress));
            }
            stall.heal(ports, progress).await.map(|()| None)
        };
        match look().await {
            Ok(Some(progress)) => return Ok(progress),
            Ok(None) => failures = 0,
            Err(error) if error.is_temporary() && failures < FAILURES_MAX && !stop.is_cancelled() => {
                failures += 1;
                tracing::warn!(%run, %error, failures, "the run could not be looked at");
            }
            Err(error) => return Err(error),
        }
        // Asking costs time in proportion to the run's size: never spend more than a tenth of the time on it.
        let pause = POLL.max(9 * asked.elapsed());
        let _ = tokio::time::timeout(pause, stop.cancelled()).await;
    }
}

/// For how many looks nothing has moved.
#[derive(Default)]
struct Stall {
    looks: u32,
    before: Option<Counts>,
}

impl Stall {
    /// Sends again what is missing, when nothing has moved for long.
    async fn heal(&mut self, ports: &Ports, progress: Progress) -> Result<(), WaitError> {
        self.looks = match queues_are_empty(ports).await {
            // Nothing is known of the queues: that says neither that something moves nor that it does not.
            None => self.looks,
            Some(empty) if empty && self.before.as_ref() == Some(&progress.counts) => self.looks + 1,
            Some(_) => 0,
        };
        if self.looks >= STALLED_LOOKS && progress.phase() == Phase::Running {
            send_again(ports, &progress).await?;
            self.looks = 0;
        }
        self.before = Some(progress.counts);
        Ok(())
    }
}

/// Whether both queues are empty; nothing when one of them does not say.
async fn queues_are_empty(ports: &Ports) -> Option<bool> {
    let mut all = true;
    for queue in [&ports.organization_queue, &ports.room_queue] {
        let depth = queue.depth().await.ok()?;
        all &= depth.visible + depth.hidden == 0;
    }
    Some(all)
}

async fn send_again(ports: &Ports, progress: &Progress) -> Result<(), WaitError> {
    let unsettled = vec![State::Pending, State::Running, State::Retrying];
    let mut filter = Filter { states: unsettled, ..Filter::default() };
    loop {
        let page = ports.ledger.organizations(&progress.run.id, &filter, RESEND).await?;
        let ids: Vec<_> = page.iter().map(|row| row.organization).collect();
        tracing::warn!(run = %progress.run.id, organizations = ids.len(), "messages are missing: sending again from the ledger");
        extract_organizations::send(ports, &progress.run, &ids).await?;
        if page.len() < RESEND {
            return Ok(());
        }
        filter.after = ids.last().copied();
    }
}
