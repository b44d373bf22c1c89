//! Two runs side by side: both are read ascending in pages and merged here, for MySQL has no full outer join.

use chat::ledger::{Comparer, Comparison, Outcome, State};
use chat::{OrganizationId, PortResult, RunId};

use super::SqlLedger;
use super::runs::unknown;

/// Organizations of one page.
const PAGE: usize = 10_000;

/// One run, read page by page.
struct Side {
    number: i64,
    /// The highest organization that was read.
    through: i64,
    /// What was read and not taken yet, the lowest last.
    page: Vec<(OrganizationId, Outcome)>,
    ended: bool,
}

impl SqlLedger {
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
        let mut tx = self.database.begin().await?;
        let head = self.head(&mut tx, run).await?.ok_or_else(|| unknown(run))?;
        tx.commit().await?;
        Ok(Side { number: head.number, through: -1, page: Vec::new(), ended: false })
    }

    /// Reads the next page when nothing is left of the last one.
    async fn fill(&self, side: &mut Side) -> PortResult<()> {
        if side.ended || !side.page.is_empty() {
            return Ok(());
        }
        let sql = "SELECT organization, state, first_visible_message_id, visible_messages FROM run_organizations
                   WHERE run = :run AND organization > :through ORDER BY organization LIMIT :limit";
        let limit = crate::database::rows_max(PAGE);
        let values = [("run", side.number.into()), ("through", side.through.into()), ("limit", limit.into())];
        let rows = self.database.fetch(sql, &values).await?;
        side.ended = rows.len() < PAGE;
        for row in rows.iter().rev() {
            let outcome = Outcome {
                state: row.word("state", State::of)?,
                first_visible_message_id: row.whole_or_none("first_visible_message_id")?,
                visible_messages: row.whole("visible_messages")?,
            };
            side.page.push((row.whole("organization")?, outcome));
        }
        side.through = side.page.first().map_or(side.through, |(highest, _)| highest.as_i64());
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
        let outcomes = (take(before), take(after));
        comparer.add(lowest, outcomes.0, outcomes.1);
    }
}
