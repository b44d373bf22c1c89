//! Deletes what is older than the retention, a short transaction at a time.

use chat::ledger::{Old, Pruned};
use chat::{Ledger, PortResult, RunId, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Rows of one transaction: some tens of milliseconds.
const ROWS_MAX: usize = 5_000;

/// Prunes until nothing old is left. Rests as long as it works, so that other writers get their turn. Dropped in the middle, it is
/// gone on with by the next call. `on_pruned` is told the sums so far.
pub async fn prune(ledger: &dyn Ledger, old: &Old, mut on_pruned: impl FnMut(&Pruned)) -> PortResult<Pruned> {
    let mut all = Pruned::default();
    loop {
        let begun = Instant::now();
        let pruned = ledger.prune(old, ROWS_MAX).await?;
        all.runs += pruned.runs;
        all.organizations += pruned.organizations;
        all.unreadable += pruned.unreadable;
        on_pruned(&all);
        if !pruned.more {
            return Ok(all);
        }
        tokio::time::sleep(begun.elapsed()).await;
    }
}

/// What extraction does at its end: prunes runs that were opened more than `retention_ms` ago (none = all are kept), except `run`.
/// `on_pruned` is told the sums so far. A failure is logged and no failure of the run: the next one prunes, and so it does after `stop`.
pub async fn prune_after_extraction(
    ledger: &dyn Ledger,
    run: &RunId,
    retention_ms: Option<u64>,
    stop: &CancellationToken,
    on_pruned: impl FnMut(&Pruned),
) {
    let Some(retention_ms) = retention_ms else { return };
    let old = Old { before: Timestamp::now().minus_millis(retention_ms), except: Some(run.clone()) };
    let pruned = tokio::select! {
        pruned = prune(ledger, &old, on_pruned) => pruned,
        () = stop.cancelled() => return,
    };
    match pruned {
        Ok(pruned) if pruned.is_nothing() => {}
        Ok(pruned) => tracing::info!(
            runs = pruned.runs,
            organizations = pruned.organizations,
            unreadable = pruned.unreadable,
            "old runs pruned"
        ),
        Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "old runs could not be pruned"),
    }
}
