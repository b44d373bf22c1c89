//! Releasing a limit: the plan no longer limits, and whoever sees it first marks the row.

use chat::ledger::Figures;
use chat::{
    Ledger, LimitRow, Limits, Organization, PortError, PortResult, PutOutcome, RunId, Standing, Timestamp, Version,
};

use super::history::history_row;

/// How often a release is tried whose row others write meanwhile.
const ROUNDS: usize = 8;

/// Marks `row` as released, under a version that a result still on its way does not reach. Answers what is stored then, if it is this.
pub(super) async fn release(
    limits: &dyn Limits,
    row: &LimitRow,
    organization: &Organization,
    run: &RunId,
    as_of: Timestamp,
) -> PortResult<Option<LimitRow>> {
    let now = Timestamp::now();
    let version = Version {
        plan_version: organization.plan_version.max(row.version.plan_version),
        as_of: as_of.max(row.version.as_of),
        collected_at: now.max(row.version.collected_at),
    };
    let mut released = row.release(version, run.clone(), now);
    let outcome = limits.put(std::slice::from_ref(&released)).await?.into_iter().next();
    Ok(outcome.and_then(|outcome| match outcome {
        PutOutcome::Stored { previous } => {
            released.settle_over(previous.as_ref());
            Some(released)
        }
        PutOutcome::Superseded | PutOutcome::Released => None,
    }))
}

/// Releases the organization's limit, if one is stored, outside of all runs: its plan has changed just now. That the boundary has ended is in
/// the history then, also where somebody else had released it so before and could not say it. `run` begins as [`super::SET_PLAN`] or
/// what `follow-limits` writes under. A limit of a newer plan stays: whoever wrote it knew more. Answers the row that was released.
pub async fn release_at_once(
    limits: &dyn Limits,
    ledger: &dyn Ledger,
    organization: &Organization,
    run: &RunId,
) -> PortResult<Option<LimitRow>> {
    for _ in 0..ROUNDS {
        let stored = limits.get(&[organization.id]).await?.into_iter().next().flatten();
        let is_of_newer_plan = |row: &LimitRow| row.version.plan_version > organization.plan_version;
        let Some(stored) = stored.filter(|row| !is_of_newer_plan(row)) else { return Ok(None) };
        let (before, now) = match stored.standing {
            Standing::Released => (None, Some(stored)),
            Standing::NoCountLimit | Standing::Limited(_) => {
                // Whoever wrote it may have died before it came to the history. The release does not wait for that.
                if let Some(row) = history_row(&stored)
                    && let Err(error) = ledger.add_history(&[row]).await
                {
                    tracing::warn!(organization = %organization.id, %error, "the history may lack what is released now");
                }
                let now = release(limits, &stored, organization, run, Timestamp::now()).await?;
                (Some(stored), now)
            }
        };
        // Somebody else has written it in between, which may be this release, too.
        let Some(now) = now else { continue };
        if let Some(row) = history_row(&now) {
            ledger.add_history(&[row]).await?;
        }
        return Ok(before);
    }
    Err(PortError::Conflict { what: format!("the limit of organization {}: others keep writing it", organization.id) })
}

/// Releases the organization's limit, if one is stored: its plan no longer limits. Answers the row that was released, or the
/// released one where this run had released it before and could not say so.
pub(super) async fn release_if_stored(
    limits: &dyn Limits,
    organization: &Organization,
    run: &RunId,
    as_of: Timestamp,
) -> PortResult<Option<LimitRow>> {
    let stored = limits.get(&[organization.id]).await?.into_iter().next().flatten();
    match stored {
        Some(row) if row.standing != Standing::Released => {
            release(limits, &row, organization, run, as_of).await?;
            Ok(Some(row))
        }
        Some(row) if row.run == *run => Ok(Some(row)),
        Some(_) | None => Ok(None),
    }
}

/// The figures for the ledger of a limit that was released, if there was one: the boundary that ended.
pub(super) fn figures_of(released: Option<LimitRow>) -> Figures {
    let ended = released.and_then(|row| match row.standing {
        Standing::Released => row.previous_first_visible_message_id,
        Standing::NoCountLimit | Standing::Limited(_) => row.first_visible_message_id(),
    });
    Figures { previous_first_visible_message_id: ended, ..Figures::default() }
}
