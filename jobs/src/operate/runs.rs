//! Finding a run by its name or by its place, and cancelling it.

use chat::ledger::{Phase, Progress, Scope};
use chat::{Ledger, PortError, RunId, Timestamp};

/// The name that stands for the newest run of all free organizations.
pub const LATEST: &str = "latest";
/// The name that stands for the run of all free organizations before the newest one.
pub const PREVIOUS: &str = "previous";

/// Runs that are looked through at first.
const RUNS: usize = 32;

/// Why nothing was done with a run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The ledger does not know it.
    #[error("there is no run {0}: lanner runs lists them")]
    Unknown(RunId),
    /// It is over: there is nothing to cancel.
    #[error("run {run} is {phase}: there is nothing to cancel")]
    Over {
        /// The run.
        run: RunId,
        /// Finished or cancelled.
        phase: Phase,
    },
    /// The ledger failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// The run of that name. Where no run is called so, `latest` and `previous` are the newest runs of all free organizations.
pub async fn find(ledger: &dyn Ledger, name: &RunId) -> Result<Progress, RunError> {
    if let Some(progress) = ledger.progress(name).await? {
        return Ok(progress);
    }
    let place = match name.as_str() {
        LATEST => 0,
        PREVIOUS => 1,
        _ => return Err(RunError::Unknown(name.clone())),
    };
    // Runs of named organizations may stand in between. Only the run that is found is counted.
    let mut limit = RUNS;
    loop {
        let runs = ledger.opened_runs(limit).await?;
        let all_read = runs.len() < limit;
        let found = runs.into_iter().filter(|run| run.scope == Scope::AllFree).nth(place);
        match found {
            Some(run) => return ledger.progress(&run.id).await?.ok_or(RunError::Unknown(run.id)),
            None if all_read => return Err(RunError::Unknown(name.clone())),
            None => limit *= 4,
        }
    }
}

/// True while something may still happen in the run.
pub fn is_in_work(progress: &Progress) -> bool {
    matches!(progress.phase(), Phase::Extracting | Phase::Running)
}

/// A run that can be cancelled; its organizations that are not terminal are what the workers will drop.
pub async fn cancellable(ledger: &dyn Ledger, name: &RunId) -> Result<Progress, RunError> {
    let progress = find(ledger, name).await?;
    if is_in_work(&progress) {
        return Ok(progress);
    }
    Err(RunError::Over { phase: progress.phase(), run: progress.run.id })
}

/// Cancels the run. Answers it as it stands then.
pub async fn cancel(ledger: &dyn Ledger, run: &RunId) -> Result<Progress, RunError> {
    let cancelled = ledger.cancel_run(run, Timestamp::now()).await?;
    let progress = ledger.progress(run).await?.ok_or_else(|| RunError::Unknown(run.clone()))?;
    if cancelled { Ok(progress) } else { Err(RunError::Over { run: run.clone(), phase: progress.phase() }) }
}
