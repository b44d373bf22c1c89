//! Attempts: begun, taken back, failed.
//!
//! A batch is a materialized table that carries the run, and the rows are found by both columns of the primary key. With the
//! run as a constant SQLite would walk all rows of the run and look each up in the batch.
//! The + before a state keeps it from the index by state.

use std::collections::HashMap;

use chat::ledger::{Begun, Failure, Item, Stage};
use chat::{PortResult, RunId, Timestamp};

use super::{SqliteLedger, by_run};
use crate::sqlite::{Tx, json, ms};

/// What became of the organizations of one run, by organization.
#[derive(Default)]
struct Found {
    /// Attempts after this call.
    attempts: HashMap<i64, i64>,
    /// State of those that could not be begun.
    others: HashMap<i64, Begun>,
}

impl SqliteLedger {
    pub(super) async fn begin_attempts(&self, stage: Stage, items: &[Item], at: Timestamp) -> PortResult<Vec<Begun>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.database.begin().await?;
        let mut found: HashMap<&RunId, Found> = HashMap::new();
        for (run, entries) in by_run(items, |item| item) {
            let organizations: Vec<i64> = entries.iter().map(|item| item.organization.as_i64()).collect();
            found.insert(run, self.begin_in_run(&mut tx, run, stage, organizations, at).await?);
        }
        self.database.commit(tx).await?;
        // From the last to the first: an item that stands twice in the batch has been counted twice, and the later one is the
        // later attempt.
        let mut begun: Vec<Begun> = items
            .iter()
            .rev()
            .map(|item| {
                let Some(found) = found.get_mut(&item.run) else { return Begun::Unknown };
                let organization = item.organization.as_i64();
                match found.attempts.get_mut(&organization) {
                    Some(attempts) => {
                        *attempts -= 1;
                        Begun::Attempt(u32::try_from(*attempts + 1).unwrap_or(u32::MAX))
                    }
                    None => found.others.get(&organization).cloned().unwrap_or(Begun::Unknown),
                }
            })
            .collect();
        begun.reverse();
        Ok(begun)
    }

    async fn begin_in_run(
        &self,
        tx: &mut Tx,
        run: &RunId,
        stage: Stage,
        organizations: Vec<i64>,
        at: Timestamp,
    ) -> PortResult<Found> {
        let mut found = Found::default();
        let Some(head) = self.head(tx, run).await? else { return Ok(found) };
        if !head.cancelled {
            sqlx::query(
                "WITH b AS MATERIALIZED (
                     SELECT ?1 AS run, value AS organization, count(*) AS times FROM json_each(?4) GROUP BY value
                 )
                 UPDATE run_organizations AS o SET
                     state = 'running',
                     attempts = CASE WHEN o.stage = ?2 THEN o.attempts ELSE 0 END + b.times,
                     stage = ?2,
                     started_at = coalesce(o.started_at, ?3)
                 FROM b
                 WHERE o.run = b.run AND o.organization = b.organization AND +o.state IN ('pending', 'running', 'retrying')",
            )
            .bind(head.number)
            .bind(stage.as_str())
            .bind(ms(at))
            .bind(json(&organizations)?)
            .execute(&mut **tx)
            .await
            .map_err(|e| self.database.error(e))?;
        }
        // One row for the whole batch: rows are handed over between threads one by one.
        let rows: String = sqlx::query_scalar(
            "SELECT json_group_array(json_array(o.organization, o.state, o.attempts))
             FROM json_each(?2) AS b CROSS JOIN run_organizations AS o
             WHERE o.run = ?1 AND o.organization = b.value",
        )
        .bind(head.number)
        .bind(json(&organizations)?)
        .fetch_one(&mut **tx)
        .await
        .map_err(|e| self.database.error(e))?;
        let rows: Vec<(i64, String, i64)> = serde_json::from_str(&rows).map_err(|e| self.database.corrupt(e))?;
        for (organization, state, attempts) in rows {
            let state = self.state_of(&state)?;
            if state.is_terminal() {
                found.others.insert(organization, Begun::Settled(state));
            } else if head.cancelled {
                found.others.insert(organization, Begun::Cancelled);
            } else {
                found.attempts.insert(organization, attempts);
            }
        }
        Ok(found)
    }

    pub(super) async fn forgive_attempts(&self, stage: Stage, items: &[Item]) -> PortResult<()> {
        if items.is_empty() {
            return Ok(());
        }
        let mut tx = self.database.begin().await?;
        for (run, entries) in by_run(items, |item| item) {
            let Some(head) = self.head(&mut tx, run).await? else { continue };
            let organizations: Vec<i64> = entries.iter().map(|item| item.organization.as_i64()).collect();
            sqlx::query(
                "WITH f AS MATERIALIZED (
                     SELECT ?1 AS run, value AS organization, count(*) AS times FROM json_each(?3) GROUP BY value
                 )
                 UPDATE run_organizations AS o SET attempts = max(o.attempts - f.times, 0)
                 FROM f
                 WHERE o.run = f.run AND o.organization = f.organization AND o.stage = ?2
                     AND +o.state IN ('pending', 'running', 'retrying')",
            )
            .bind(head.number)
            .bind(stage.as_str())
            .bind(json(&organizations)?)
            .execute(&mut *tx)
            .await
            .map_err(|e| self.database.error(e))?;
        }
        self.database.commit(tx).await
    }

    pub(super) async fn fail_attempts(&self, failures: &[(Item, Failure)]) -> PortResult<()> {
        if failures.is_empty() {
            return Ok(());
        }
        let mut tx = self.database.begin().await?;
        for (run, entries) in by_run(failures, |(item, _)| item) {
            let Some(head) = self.head(&mut tx, run).await? else { continue };
            // Of an item that stands twice, the last failure is the one that is kept.
            let last: HashMap<i64, &Failure> =
                entries.iter().map(|(item, failure)| (item.organization.as_i64(), failure)).collect();
            let rows: Vec<_> = last
                .into_iter()
                .map(|(organization, failure)| {
                    let kept = failure.kept();
                    (organization, kept.class, kept.error)
                })
                .collect();
            sqlx::query(
                "WITH f AS MATERIALIZED (
                     SELECT ?1 AS run, value ->> 0 AS organization, value ->> 1 AS class, value ->> 2 AS error
                     FROM json_each(?2)
                 )
                 UPDATE run_organizations AS o SET state = 'retrying', error_class = f.class, error = f.error
                 FROM f
                 WHERE o.run = f.run AND o.organization = f.organization
                     AND +o.state IN ('pending', 'running', 'retrying')",
            )
            .bind(head.number)
            .bind(json(&rows)?)
            .execute(&mut *tx)
            .await
            .map_err(|e| self.database.error(e))?;
        }
        self.database.commit(tx).await
    }
}
