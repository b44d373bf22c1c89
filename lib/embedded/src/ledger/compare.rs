//! Two runs side by side.
//!
//! Both are read ascending in pages, each on a connection of its own, and merged here: looking each row of one run up in the other
//! costs SQLite twice as much, and sorting their union four times.

use chat::ledger::{Comparer, Comparison, Outcome};
use chat::{OrganizationId, PortResult, RunId};

use super::SqliteLedger;
use super::runs::unknown;

/// Organizations of one page.
const PAGE: i64 = 20_000;

/// One run, read page by page.
struct Side {
    number: i64,
    /// The highest organization that was read.
    through: i64,
    /// What was read and not taken yet, the lowest last.
    page: Vec<(OrganizationId, Outcome)>,
    ended: bool,
}

impl SqliteLedger {
    pub(super) async fn compare_runs(&self, before: &RunId, after: &RunId, examples: usize) -> PortResult<Comparison> {
        let mut comparer = Comparer::new(examples);
        let mut before_side = self.side(before).await?;
        let mut after_side = self.side(after).await?;
        loop {
            tokio::try_join!(self.fill(&mut before_side), self.fill(&mut after_side))?;
            if before_side.page.is_empty() && after_side.page.is_empty() {
                break;
            }
            merge(&mut before_side, &mut after_side, &mut comparer);
        }
        // Pruned meanwhile, a run would look as if it had fewer organizations.
        tokio::try_join!(self.side(before), self.side(after))?;
        Ok(comparer.finish(&self.classes_of(before).await?, self.classes_of(after).await?))
    }

    async fn side(&self, run: &RunId) -> PortResult<Side> {
        let mut tx = self.database.snapshot().await?;
        let head = self.head(&mut tx, run).await?.ok_or_else(|| unknown(run))?;
        Ok(Side { number: head.number, through: -1, page: Vec::new(), ended: false })
    }

    /// Reads the next page when nothing is left of the last one.
    async fn fill(&self, side: &mut Side) -> PortResult<()> {
        if side.ended || !side.page.is_empty() {
            return Ok(());
        }
        // One row for the whole page: rows are handed over between threads one by one.
        let rows: String = sqlx::query_scalar(
            "SELECT json_group_array(json_array(organization, state, first_visible_message_id, visible_messages)) FROM (
                 SELECT organization, state, first_visible_message_id, visible_messages FROM run_organizations
                 WHERE run = ?1 AND organization > ?2 ORDER BY organization LIMIT ?3
             )",
        )
        .bind(side.number)
        .bind(side.through)
        .bind(PAGE)
        .fetch_one(self.database.reader())
        .await
        .map_err(|e| self.database.error(e))?;
        let rows: Vec<(i64, &str, Option<i64>, u32)> =
            serde_json::from_str(&rows).map_err(|e| self.database.corrupt(e))?;
        side.ended = rows.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
        side.through = rows.last().map_or(side.through, |row| row.0);
        for (organization, state, boundary, visible_messages) in rows.into_iter().rev() {
            let organization = organization.try_into().map_err(|e| self.database.corrupt(e))?;
            let boundary = boundary.map(TryInto::try_into).transpose().map_err(|e| self.database.corrupt(e))?;
            let state = self.state_of(state)?;
            side.page.push((organization, Outcome { state, first_visible_message_id: boundary, visible_messages }));
        }
        Ok(())
    }
}

/// Takes what both pages tell together: until one of them is empty and its run may go on.
fn merge(before: &mut Side, after: &mut Side, comparer: &mut Comparer) {
    loop {
        let lowest = |side: &Side| side.page.last().map(|(organization, _)| *organization);
        let lowest = match (lowest(before), lowest(after)) {
            (Some(a), Some(b)) => a.min(b),
            (Some(only), None) if after.ended => only,
            (None, Some(only)) if before.ended => only,
            _ => return,
        };
        let take = |side: &mut Side| side.page.pop_if(|(organization, _)| *organization == lowest).map(|(_, o)| o);
        comparer.add(lowest, take(before), take(after));
    }
}
