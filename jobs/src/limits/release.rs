//! Releasing a limit: the plan no longer limits, and whoever sees it first marks the row.

use chat::ledger::Figures;
use chat::{LimitRow, Limits, Organization, PortResult, RunId, Standing, Timestamp, Version};

/// Marks `row` as released, under a version that a result still on its way does not reach.
pub(super) async fn release(
    limits: &dyn Limits,
    row: &LimitRow,
    organization: &Organization,
    run: &RunId,
    as_of: Timestamp,
) -> PortResult<()> {
    let now = Timestamp::now();
    let version = Version {
        plan_version: organization.plan_version.max(row.version.plan_version),
        as_of: as_of.max(row.version.as_of),
        collected_at: now.max(row.version.collected_at),
    };
    limits.put(&[row.release(version, run.clone(), now)]).await.map(|_| ())
}

/// Releases the organization's limit, if one is stored: its plan no longer limits. Answers the row that was released, or the
/// released one where this run had released it before and could not say so.
pub async fn release_if_stored(
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
