//! Writing limits, and to the history what follows a change of plan.

use std::collections::HashMap;

use chat::ledger::HistoryRow;
use chat::{Ledger, LimitRow, Limits, OrganizationId, PortError, PortResult, PutOutcome, RunId, Standing, Timestamp};

use super::shard::Due;
use crate::limits::history::{LIVE_PLAN, history_row};

/// The ids under which one start of a shard writes.
#[derive(Clone, Debug)]
pub(super) struct RunIds {
    start: String,
    live: RunId,
}

impl RunIds {
    pub(super) fn of_start(shard: u32, shards: u32, epoch: u64) -> PortResult<Self> {
        let start = format!("{shard}of{shards}-{epoch}");
        Ok(Self { live: id(format!("live-{start}"))?, start })
    }

    pub(super) fn live(&self) -> &RunId {
        &self.live
    }

    /// For a limit that follows a change of plan: of no other instant.
    pub(super) fn after_plan(&self, as_of: Timestamp) -> PortResult<RunId> {
        id(format!("{LIVE_PLAN}-{}-{}", self.start, as_of.as_millis()))
    }
}

fn id(text: String) -> PortResult<RunId> {
    RunId::new(text).map_err(|error| PortError::refused(error.to_string()))
}

/// What became of limits that were to be written.
pub(super) struct Written {
    /// Of each; `None`: it is stored and its history row is not, so that it is to be written again.
    pub(super) outcomes: Vec<Option<PutOutcome>>,
    /// Whether the history was written.
    pub(super) history: PortResult<()>,
}

/// Writes `rows`, one for each that is due. A ledger that is away holds up no limit.
pub(super) async fn write(
    limits: &dyn Limits,
    ledger: &dyn Ledger,
    ids: &RunIds,
    due: &[Due],
    mut rows: Vec<LimitRow>,
) -> PortResult<Written> {
    let stored = unknown(limits, due).await?;
    // Whoever wrote them may have died before it came to the history, and they are about to be replaced.
    let said = add(ledger, stored.values().filter_map(history_row).collect()).await;
    for (due, row) in due.iter().zip(&mut rows) {
        let stored = stored.get(&due.id);
        let unsaid = stored.filter(|row| said.is_err() && history_row(row).is_some());
        let plan_before = due.plan_before.or_else(|| limiting_plan(stored?));
        if plan_before != Some(row.version.plan_version) {
            row.run = ids.after_plan(row.version.as_of)?;
        } else if let Some(unsaid) = unsaid {
            // It goes on saying what it says.
            row.run = unsaid.run.clone();
        }
    }
    let outcomes = limits.put(&rows).await?;
    let stored = rows.into_iter().zip(&outcomes).map(|(row, outcome)| as_stored(row, outcome));
    let news: Vec<Option<HistoryRow>> = stored.map(|row| history_row(&row?)).collect();
    let history = add(ledger, news.iter().flatten().cloned().collect()).await;
    let outcomes = outcomes.into_iter().zip(news).map(|(outcome, news)| {
        // It is found again by what is stored.
        Some(outcome).filter(|_| news.is_none() || history.is_ok())
    });
    Ok(Written { outcomes: outcomes.collect(), history })
}

/// What is stored of those of which this start does not know it.
async fn unknown(limits: &dyn Limits, due: &[Due]) -> PortResult<HashMap<OrganizationId, LimitRow>> {
    let ids: Vec<OrganizationId> = due.iter().filter(|due| due.plan_before.is_none()).map(|due| due.id).collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = limits.get(&ids).await?;
    Ok(rows.into_iter().flatten().map(|row| (row.organization, row)).collect())
}

/// Of which plan a limit is, unless it is released.
fn limiting_plan(row: &LimitRow) -> Option<u64> {
    (row.standing != Standing::Released).then_some(row.version.plan_version)
}

fn as_stored(mut row: LimitRow, outcome: &PutOutcome) -> Option<LimitRow> {
    match outcome {
        PutOutcome::Stored { previous } => {
            row.settle_over(previous.as_ref());
            Some(row)
        }
        PutOutcome::Superseded | PutOutcome::Released => None,
    }
}

async fn add(ledger: &dyn Ledger, rows: Vec<HistoryRow>) -> PortResult<()> {
    if rows.is_empty() { Ok(()) } else { ledger.add_history(&rows).await }
}
