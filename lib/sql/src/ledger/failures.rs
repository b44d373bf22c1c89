//! What failed: by class, and begun anew.

use std::collections::{BTreeSet, HashMap};

use chat::ledger::{ErrorClass, Item, State};
use chat::{PortResult, RunId};

use super::{STATEMENT_ROWS_MAX, SqlLedger, by_run};
use crate::database::json;

impl SqlLedger {
    pub(super) async fn classes_of(&self, run: &RunId) -> PortResult<Vec<ErrorClass>> {
        let sql = "
            SELECT g.state, g.class, g.organizations, g.example, coalesce(o.error, '') AS error
            FROM (
                SELECT
                    o.run,
                    o.state,
                    coalesce(o.error_class, '') AS class,
                    count(*) AS organizations,
                    min(o.organization) AS example
                FROM run_organizations AS o
                JOIN runs AS r ON r.number = o.run
                WHERE r.run = :run AND o.state IN ('failed', 'parked', 'retrying')
                GROUP BY o.run, o.state, coalesce(o.error_class, '')
            ) AS g
            JOIN run_organizations AS o ON o.run = g.run AND o.organization = g.example
            ORDER BY g.organizations DESC, g.state, g.class";
        let rows = self.database.fetch(sql, &[("run", run.as_str().into())]).await?;
        rows.iter()
            .map(|row| {
                Ok(ErrorClass {
                    state: row.word("state", State::of)?,
                    class: row.text("class")?,
                    organizations: row.whole("organizations")?,
                    example: row.whole("example")?,
                    error: row.text("error")?,
                })
            })
            .collect()
    }

    pub(super) async fn reopen_organizations(&self, items: &[Item]) -> PortResult<Vec<bool>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.database.begin().await?;
        let mut opened: HashMap<&RunId, BTreeSet<i64>> = HashMap::new();
        for (run, entries) in by_run(items, |item| item) {
            let Some(head) = self.head(&mut tx, run).await?.filter(|head| !head.cancelled) else { continue };
            let asked: BTreeSet<i64> = entries.iter().map(|item| item.organization.as_i64()).collect();
            let asked: Vec<i64> = asked.into_iter().collect();
            let locked = self.lock(&mut tx, head.number, &asked).await?;
            let failed: Vec<i64> = asked
                .into_iter()
                .filter(|organization| locked.get(organization).is_some_and(|row| row.state.is_failure()))
                .collect();
            for chunk in failed.chunks(STATEMENT_ROWS_MAX) {
                let values = [("run", head.number.into()), ("batch", json(chunk)?.into())];
                tx.execute(self.statements().reopen, &values).await?;
            }
            opened.insert(run, failed.into_iter().collect());
        }
        tx.commit().await?;
        let mut first =
            |item: &Item| opened.get_mut(&item.run).is_some_and(|ids| ids.remove(&item.organization.as_i64()));
        Ok(items.iter().map(&mut first).collect())
    }
}
