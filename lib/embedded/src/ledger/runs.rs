//! Runs: opened, filled, counted, cancelled.

use chat::ledger::{Counts, NewRun, Progress, Run};
use chat::{OrganizationId, PortError, PortResult, RunId, Timestamp};
use futures::{StreamExt as _, TryStreamExt as _, future, stream};
use sqlx::Row as _;

use super::SqliteLedger;
use super::rows::run_columns;
use crate::sqlite::{READERS, Tx, json, ms};

impl SqliteLedger {
    pub(super) async fn open_or_join_run(&self, run: &NewRun) -> PortResult<Run> {
        let mut tx = self.database.begin().await?;
        sqlx::query(
            "INSERT INTO runs (run, scope, as_of, max_messages, max_age_ms, opened_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
        )
        .bind(run.id.as_str())
        .bind(run.scope.as_str())
        .bind(ms(run.as_of))
        .bind(run.policy.max_messages.get())
        .bind(run.policy.max_age_ms.map(|age| i64::try_from(age).unwrap_or(i64::MAX)))
        .bind(ms(run.opened_at))
        .execute(&mut *tx)
        .await
        .map_err(|e| self.database.error(e))?;
        let row = sqlx::query(concat!("SELECT ", run_columns!(), " FROM runs WHERE run = ?1"))
            .bind(run.id.as_str())
            .fetch_one(&mut *tx)
            .await
            .map_err(|e| self.database.error(e))?;
        self.database.commit(tx).await?;
        self.run_row(&row)
    }

    pub(super) async fn progress_of(&self, run: &RunId) -> PortResult<Option<Progress>> {
        let mut tx = self.database.snapshot().await?;
        let row = sqlx::query(concat!("SELECT number, ", run_columns!(), " FROM runs WHERE run = ?1"))
            .bind(run.as_str())
            .fetch_optional(&mut *tx)
            .await
            .map_err(|e| self.database.error(e))?;
        match row {
            Some(row) => self.counted(&mut tx, &row).await.map(Some),
            None => Ok(None),
        }
    }

    pub(super) async fn newest_runs(&self, limit: usize) -> PortResult<Vec<Progress>> {
        let runs = self.newest_run_rows(limit).await?;
        // Counting costs time in proportion to a run's size. One that is pruned meanwhile is left out.
        stream::iter(runs)
            .map(|run| async move { self.progress_of(&run.id).await })
            .buffered(READERS as usize)
            .try_filter_map(|progress| future::ready(Ok(progress)))
            .try_collect()
            .await
    }

    pub(super) async fn newest_run_rows(&self, limit: usize) -> PortResult<Vec<Run>> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            run_columns!(),
            " FROM runs WHERE run NOT GLOB 'pruned/*' ORDER BY opened_at DESC, number DESC LIMIT ?1"
        ))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.database.reader())
        .await
        .map_err(|e| self.database.error(e))?;
        rows.iter().map(|row| self.run_row(row)).collect()
    }

    /// The run of `row` with its organizations counted by state.
    async fn counted(&self, tx: &mut Tx, row: &sqlx::sqlite::SqliteRow) -> PortResult<Progress> {
        let number: i64 = row.try_get("number").map_err(|e| self.database.error(e))?;
        let states: Vec<(String, i64, Option<i64>)> = sqlx::query_as(
            "SELECT state, count(*), max(finished_at) FROM run_organizations INDEXED BY run_organizations_by_state
             WHERE run = ?1 GROUP BY state",
        )
        .bind(number)
        .fetch_all(&mut **tx)
        .await
        .map_err(|e| self.database.error(e))?;
        let mut counts = Counts::default();
        let mut last_finished_at = None;
        for (state, count, finished_at) in states {
            counts.0.insert(self.state_of(&state)?, u64::try_from(count).unwrap_or(0));
            last_finished_at = last_finished_at.max(finished_at);
        }
        let last_finished_at = last_finished_at.and_then(|at| u64::try_from(at).ok()).map(Timestamp::from_millis);
        Ok(Progress { run: self.run_row(row)?, counts, last_finished_at })
    }

    pub(super) async fn register_pending(
        &self,
        run: &RunId,
        organizations: &[OrganizationId],
        sent_through: Option<OrganizationId>,
        at: Timestamp,
    ) -> PortResult<()> {
        let mut tx = self.database.begin().await?;
        let head = self.head(&mut tx, run).await?.ok_or_else(|| unknown(run))?;
        if !organizations.is_empty() {
            let ids: Vec<i64> = organizations.iter().map(|organization| organization.as_i64()).collect();
            sqlx::query(
                "INSERT INTO run_organizations (run, organization, state, queued_at)
                 SELECT ?1, value, 'pending', ?2 FROM json_each(?3) WHERE true ON CONFLICT DO NOTHING",
            )
            .bind(head.number)
            .bind(ms(at))
            .bind(json(&ids)?)
            .execute(&mut *tx)
            .await
            .map_err(|e| self.database.error(e))?;
        }
        if let Some(through) = sent_through {
            // Never back: what is sent stays sent.
            sqlx::query("UPDATE runs SET sent_through = max(coalesce(sent_through, ?2), ?2) WHERE number = ?1")
                .bind(head.number)
                .bind(through.as_i64())
                .execute(&mut *tx)
                .await
                .map_err(|e| self.database.error(e))?;
        }
        self.database.commit(tx).await
    }

    pub(super) async fn note_extracted(&self, run: &RunId, at: Timestamp) -> PortResult<()> {
        let noted = sqlx::query("UPDATE runs SET extracted_at = coalesce(extracted_at, ?2) WHERE run = ?1")
            .bind(run.as_str())
            .bind(ms(at))
            .execute(self.database.writer()?)
            .await
            .map_err(|e| self.database.error(e))?;
        if noted.rows_affected() == 0 { Err(unknown(run)) } else { Ok(()) }
    }

    pub(super) async fn note_cancelled(&self, run: &RunId, at: Timestamp) -> PortResult<bool> {
        let mut tx = self.database.begin().await?;
        let head = self.head(&mut tx, run).await?.ok_or_else(|| unknown(run))?;
        let cancelled = sqlx::query(
            "UPDATE runs SET cancelled_at = ?2
             WHERE number = ?1 AND cancelled_at IS NULL AND (
                 extracted_at IS NULL OR EXISTS (
                     SELECT 1 FROM run_organizations WHERE run = ?1 AND state IN ('pending', 'running', 'retrying')
                 )
             )",
        )
        .bind(head.number)
        .bind(ms(at))
        .execute(&mut *tx)
        .await
        .map_err(|e| self.database.error(e))?;
        self.database.commit(tx).await?;
        Ok(cancelled.rows_affected() > 0)
    }
}

pub(super) fn unknown(run: &RunId) -> PortError {
    PortError::refused(format!("the ledger knows no run {run}: open it first"))
}
