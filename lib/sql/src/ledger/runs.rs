//! Runs: opened, filled, counted, cancelled.

use std::collections::BTreeSet;

use chat::ledger::{NewRun, Progress, Run, State};
use chat::{OrganizationId, PortError, PortResult, RunId, Timestamp};

use super::rows::{run_columns, run_of};
use super::{STATEMENT_ROWS_MAX, SqlLedger};
use crate::database::{json, ms, rows_max};
use crate::row::Row;

impl SqlLedger {
    pub(super) async fn open_or_join_run(&self, run: &NewRun) -> PortResult<Run> {
        let mut tx = self.database.begin().await?;
        let values = [
            ("run", run.id.as_str().into()),
            ("scope", run.scope.as_str().into()),
            ("as_of", ms(run.as_of).into()),
            ("max_messages", i64::from(run.policy.max_messages.get()).into()),
            ("max_age_ms", run.policy.max_age_ms.map(|age| i64::try_from(age).unwrap_or(i64::MAX)).into()),
            ("opened_at", ms(run.opened_at).into()),
        ];
        tx.execute(self.statements().open_run, &values).await?;
        let sql = concat!("SELECT ", run_columns!(), " FROM runs AS r WHERE r.run = :run");
        let rows = tx.fetch(sql, &[("run", run.id.as_str().into())]).await?;
        tx.commit().await?;
        rows.first().map(run_of).unwrap_or_else(|| Err(self.database.error(sqlx::Error::RowNotFound)))
    }

    pub(super) async fn progress_of(&self, run: &RunId) -> PortResult<Option<Progress>> {
        let sql = concat!(
            "SELECT ",
            run_columns!(),
            ", o.state, count(o.organization) AS organizations, max(o.finished_at) AS last_finished_at
             FROM runs AS r LEFT JOIN run_organizations AS o ON o.run = r.number
             WHERE r.run = :run GROUP BY r.number, o.state"
        );
        let rows = self.database.fetch(sql, &[("run", run.as_str().into())]).await?;
        Ok(counted(&rows)?.pop())
    }

    pub(super) async fn newest_runs(&self, limit: usize) -> PortResult<Vec<Progress>> {
        let sql = concat!(
            "SELECT ",
            run_columns!(),
            ", o.state, count(o.organization) AS organizations, max(o.finished_at) AS last_finished_at
             FROM (SELECT number FROM runs WHERE run NOT LIKE 'pruned/%' ORDER BY opened_at DESC, number DESC LIMIT :limit) AS newest
             JOIN runs AS r ON r.number = newest.number
             LEFT JOIN run_organizations AS o ON o.run = r.number
             GROUP BY r.number, o.state ORDER BY r.opened_at DESC, r.number DESC"
        );
        counted(&self.database.fetch(sql, &[("limit", rows_max(limit).into())]).await?)
    }

    pub(super) async fn newest_run_rows(&self, limit: usize) -> PortResult<Vec<Run>> {
        let sql = concat!(
            "SELECT ",
            run_columns!(),
            " FROM runs AS r WHERE r.run NOT LIKE 'pruned/%' ORDER BY r.opened_at DESC, r.number DESC LIMIT :limit"
        );
        self.database.fetch(sql, &[("limit", rows_max(limit).into())]).await?.iter().map(run_of).collect()
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
        // In one order for everybody, and each once.
        let ids: BTreeSet<i64> = organizations.iter().map(|organization| organization.as_i64()).collect();
        let ids: Vec<i64> = ids.into_iter().collect();
        for chunk in ids.chunks(STATEMENT_ROWS_MAX) {
            let values = [("run", head.number.into()), ("at", ms(at).into()), ("batch", json(chunk)?.into())];
            tx.execute(self.statements().register, &values).await?;
        }
        if let Some(through) = sent_through {
            // Never back: what is sent stays sent.
            let sql = "UPDATE runs SET sent_through = greatest(coalesce(sent_through, :through), :through) WHERE number = :run";
            tx.execute(sql, &[("run", head.number.into()), ("through", through.as_i64().into())]).await?;
        }
        tx.commit().await
    }

    pub(super) async fn note_extracted(&self, run: &RunId, at: Timestamp) -> PortResult<()> {
        let mut tx = self.database.begin().await?;
        let sql = "UPDATE runs SET extracted_at = coalesce(extracted_at, :at) WHERE run = :run";
        let noted = tx.execute(sql, &[("run", run.as_str().into()), ("at", ms(at).into())]).await?;
        if noted == 0 {
            return Err(unknown(run));
        }
        tx.commit().await
    }

    pub(super) async fn note_cancelled(&self, run: &RunId, at: Timestamp) -> PortResult<bool> {
        let mut tx = self.database.begin().await?;
        let head = self.head(&mut tx, run).await?.ok_or_else(|| unknown(run))?;
        let sql = "UPDATE runs SET cancelled_at = :at
                   WHERE number = :run AND cancelled_at IS NULL AND (
                       extracted_at IS NULL OR EXISTS (
                           SELECT 1 FROM run_organizations AS o
                           WHERE o.run = :run AND o.state IN ('pending', 'running', 'retrying')
                       )
                   )";
        let cancelled = tx.execute(sql, &[("run", head.number.into()), ("at", ms(at).into())]).await?;
        tx.commit().await?;
        Ok(cancelled > 0)
    }
}

/// Runs with their counts, from a row for each run and state; the rows of a run follow each other.
fn counted(rows: &[Row]) -> PortResult<Vec<Progress>> {
    let mut runs: Vec<Progress> = Vec::new();
    for row in rows {
        let run = run_of(row)?;
        if runs.last().is_none_or(|last| last.run.id != run.id) {
            runs.push(Progress { run, counts: Default::default(), last_finished_at: None });
        }
        let Some(progress) = runs.last_mut() else { continue };
        // A run without organizations has one row without a state.
        if row.text_or_none("state")?.is_some() {
            progress.counts.0.insert(row.word("state", State::of)?, row.whole("organizations")?);
        }
        progress.last_finished_at = progress.last_finished_at.max(row.instant_or_none("last_finished_at")?);
    }
    Ok(runs)
}

pub(super) fn unknown(run: &RunId) -> PortError {
    PortError::refused(format!("the ledger knows no run {run}: open it first"))
}
