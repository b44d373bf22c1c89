//! What failed: by class, and begun anew.

use std::collections::{HashMap, HashSet};

use chat::ledger::{ErrorClass, Item};
use chat::{PortResult, RunId};

use super::{SqliteLedger, by_run};
use crate::sqlite::json;

/// State, class, how many, the lowest organization, its error.
type ClassRow = (String, String, i64, i64, String);

impl SqliteLedger {
    pub(super) async fn classes_of(&self, run: &RunId) -> PortResult<Vec<ErrorClass>> {
        let mut tx = self.database.snapshot().await?;
        let Some(head) = self.head(&mut tx, run).await? else { return Ok(Vec::new()) };
        // The index counts; a row is read for each class only. The words of its condition are those of the index.
        let rows: Vec<ClassRow> = sqlx::query_as(
            "WITH c AS MATERIALIZED (
                 SELECT state, error_class, count(*) AS organizations, min(organization) AS example
                 FROM run_organizations INDEXED BY run_organizations_by_error_class
                 WHERE run = ?1 AND state IN ('failed', 'parked', 'retrying') GROUP BY state, error_class
             )
             SELECT c.state, coalesce(c.error_class, ''), c.organizations, c.example, coalesce(o.error, '')
             FROM c CROSS JOIN run_organizations AS o
             WHERE o.run = ?1 AND o.organization = c.example
             ORDER BY c.organizations DESC, c.state, c.error_class",
        )
        .bind(head.number)
        .fetch_all(&mut *tx)
        .await
        .map_err(|e| self.database.error(e))?;
        rows.into_iter()
            .map(|(state, class, organizations, example, error)| {
                Ok(ErrorClass {
                    state: self.state_of(&state)?,
                    class,
                    organizations: u64::try_from(organizations).unwrap_or(0),
                    example: example.try_into().map_err(|e| self.database.corrupt(e))?,
                    error,
                })
            })
            .collect()
    }

    pub(super) async fn reopen_organizations(&self, items: &[Item]) -> PortResult<Vec<bool>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.database.begin().await?;
        let mut opened: HashMap<&RunId, HashSet<i64>> = HashMap::new();
        for (run, entries) in by_run(items, |item| item) {
            let Some(head) = self.head(&mut tx, run).await?.filter(|head| !head.cancelled) else { continue };
            let organizations: Vec<i64> = entries.iter().map(|item| item.organization.as_i64()).collect();
            // Found by the primary key, as in `attempts`.
            let reopened: Vec<i64> = sqlx::query_scalar(
                "WITH b AS MATERIALIZED (SELECT DISTINCT ?1 AS run, value AS organization FROM json_each(?2))
                 UPDATE run_organizations AS o SET
                     state = 'pending', stage = NULL, attempts = 0, started_at = NULL, finished_at = NULL
                 FROM b
                 WHERE o.run = b.run AND o.organization = b.organization AND +o.state IN ('failed', 'parked')
                 RETURNING organization",
            )
            .bind(head.number)
            .bind(json(&organizations)?)
            .fetch_all(&mut *tx)
            .await
            .map_err(|e| self.database.error(e))?;
            opened.insert(run, reopened.into_iter().collect());
        }
        self.database.commit(tx).await?;
        let mut first =
            |item: &Item| opened.get_mut(&item.run).is_some_and(|ids| ids.remove(&item.organization.as_i64()));
        Ok(items.iter().map(&mut first).collect())
    }
}
