//! How organizations end in a run.

use std::collections::{HashMap, HashSet};

use chat::ledger::{Failure, HistoryRow, Settlement};
use chat::{PortResult, RunId};

use super::{RunHead, SqliteLedger, by_run};
use crate::sqlite::{Tx, json, ms};

impl SqliteLedger {
    pub(super) async fn settle_organizations(&self, settlements: &[Settlement]) -> PortResult<Vec<bool>> {
        Settlement::check(settlements)?;
        if settlements.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.database.begin().await?;
        let mut settled: HashMap<&RunId, HashSet<i64>> = HashMap::new();
        for (run, entries) in by_run(settlements, |settlement| &settlement.item) {
            let Some(head) = self.head(&mut tx, run).await? else { continue };
            // Of an organization that stands twice, the first ends it.
            let mut seen = HashSet::new();
            let first: Vec<&Settlement> = entries.into_iter().filter(|s| seen.insert(s.item.organization)).collect();
            let ended = self.end(&mut tx, &head, &first).await?;
            let ends = first.iter().filter(|s| ended.contains(&organization(s)));
            let rows: Vec<HistoryRow> = ends.filter_map(|settlement| settlement.history_row(head.as_of)).collect();
            self.insert_history(&mut tx, &rows).await?;
            settled.insert(run, ended);
        }
        self.database.commit(tx).await?;
        let mut first =
            |s: &Settlement| settled.get_mut(&s.item.run).is_some_and(|ended| ended.remove(&organization(s)));
        Ok(settlements.iter().map(&mut first).collect())
    }

    /// Ends what is not terminal yet; answers which organizations.
    async fn end(&self, tx: &mut Tx, head: &RunHead, settlements: &[&Settlement]) -> PortResult<HashSet<i64>> {
        let rows: Vec<_> = settlements
            .iter()
            .map(|s| {
                let f = &s.figures;
                let failure = s.failure.as_ref().map(Failure::kept);
                (
                    organization(s),
                    s.state.as_str(),
                    f.rooms,
                    f.rooms_opened,
                    f.messages_read.min(i64::MAX as u64),
                    if f.read_units.is_finite() { f.read_units } else { 0.0 },
                    f.visible_messages,
                    f.first_visible_message_id.map(|id| id.as_i64()),
                    f.previous_first_visible_message_id.map(|id| id.as_i64()),
                    failure.as_ref().map(|failure| failure.class.clone()),
                    failure.map(|failure| failure.error),
                    ms(s.at),
                )
            })
            .collect();
        // One row for the whole batch, as in `attempts`. The transaction has the write lock: what is open stays open until the
        // update.
        let organizations: Vec<i64> = settlements.iter().map(|s| organization(s)).collect();
        let open: String = sqlx::query_scalar(
            "SELECT json_group_array(o.organization) FROM json_each(?2) AS s CROSS JOIN run_organizations AS o
             WHERE o.run = ?1 AND o.organization = s.value AND +o.state IN ('pending', 'running', 'retrying')",
        )
        .bind(head.number)
        .bind(json(&organizations)?)
        .fetch_one(&mut **tx)
        .await
        .map_err(|e| self.database.error(e))?;
        sqlx::query(
            // Found by the primary key, as in `attempts`.
            "WITH s AS MATERIALIZED (
                 SELECT ?1 AS run, value ->> 0 AS organization, value AS row FROM json_each(?2)
             )
             UPDATE run_organizations AS o SET
                 state = s.row ->> 1,
                 rooms = s.row ->> 2,
                 rooms_opened = s.row ->> 3,
                 messages_read = s.row ->> 4,
                 read_units = s.row ->> 5,
                 visible_messages = s.row ->> 6,
                 first_visible_message_id = s.row ->> 7,
                 previous_first_visible_message_id = s.row ->> 8,
                 error_class = coalesce(s.row ->> 9, o.error_class),
                 error = coalesce(s.row ->> 10, o.error),
                 finished_at = s.row ->> 11
             FROM s
             WHERE o.run = s.run AND o.organization = s.organization AND +o.state IN ('pending', 'running', 'retrying')",
        )
        .bind(head.number)
        .bind(json(&rows)?)
        .execute(&mut **tx)
        .await
        .map_err(|e| self.database.error(e))?;
        self.drop_room_lists(tx, head.number, &organizations).await?;
        serde_json::from_str(&open).map_err(|e| self.database.corrupt(e))
    }
}

fn organization(settlement: &Settlement) -> i64 {
    settlement.item.organization.as_i64()
}
