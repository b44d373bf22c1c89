//! What an operator looks at first: organizations that take long, and those that failed last.

use chat::ledger::RunOrganization;
use chat::{PortResult, RunId};
use sqlx::sqlite::SqliteRow;

use super::SqliteLedger;
use super::rows::organization_columns;
use crate::sqlite::Tx;

/// Organizations of a state in work that are looked at for the slowest.
const IN_WORK_MAX: i64 = 10_000;

impl SqliteLedger {
    pub(super) async fn slowest_of(&self, run: &RunId, limit: usize) -> PortResult<Vec<RunOrganization>> {
        let mut tx = self.database.snapshot().await?;
        let Some(head) = self.head(&mut tx, run).await? else { return Ok(Vec::new()) };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = Vec::new();
        if !head.cancelled {
            rows = self.longest_in_work(&mut tx, head.number, limit).await?;
        }
        if rows.is_empty() {
            rows = self.longest_ended(&mut tx, head.number, limit).await?;
        }
        rows.iter().map(|row| self.organization_row(row)).collect()
    }

    async fn longest_in_work(&self, tx: &mut Tx, run: i64, limit: i64) -> PortResult<Vec<SqliteRow>> {
        // Organizations are sent ascending: the lowest of a state began first, but for attempts that are repeated.
        sqlx::query(concat!(
            "WITH w AS MATERIALIZED (
                 SELECT organization FROM (
                     SELECT organization FROM run_organizations INDEXED BY run_organizations_by_state
                     WHERE run = ?1 AND state = 'running' ORDER BY organization LIMIT ?3
                 )
                 UNION ALL SELECT organization FROM (
                     SELECT organization FROM run_organizations INDEXED BY run_organizations_by_state
                     WHERE run = ?1 AND state = 'retrying' ORDER BY organization LIMIT ?3
                 )
             )
             SELECT ",
            organization_columns!(),
            " FROM w CROSS JOIN run_organizations AS o
              WHERE o.run = ?1 AND o.organization = w.organization AND o.started_at IS NOT NULL
              ORDER BY o.started_at, o.organization LIMIT ?2"
        ))
        .bind(run)
        .bind(limit)
        .bind(IN_WORK_MAX)
        .fetch_all(&mut **tx)
        .await
        .map_err(|e| self.database.error(e))
    }

    async fn longest_ended(&self, tx: &mut Tx, run: i64, limit: i64) -> PortResult<Vec<SqliteRow>> {
        // All rows are read, but only the few that are answered are carried through the sort.
        sqlx::query(concat!(
            "WITH s AS MATERIALIZED (
                 SELECT organization FROM run_organizations
                 WHERE run = ?1 AND finished_at IS NOT NULL AND started_at IS NOT NULL
                 ORDER BY finished_at - started_at DESC, organization LIMIT ?2
             )
             SELECT ",
            organization_columns!(),
            " FROM s CROSS JOIN run_organizations AS o WHERE o.run = ?1 AND o.organization = s.organization
              ORDER BY o.finished_at - o.started_at DESC, o.organization"
        ))
        .bind(run)
        .bind(limit)
        .fetch_all(&mut **tx)
        .await
        .map_err(|e| self.database.error(e))
    }

    pub(super) async fn latest_failures_of(&self, run: &RunId, limit: usize) -> PortResult<Vec<RunOrganization>> {
        let mut tx = self.database.snapshot().await?;
        let Some(head) = self.head(&mut tx, run).await? else { return Ok(Vec::new()) };
        // The index tells when they ended; the rows are read of those that are answered.
        let rows = sqlx::query(concat!(
            "WITH f AS MATERIALIZED (
                 SELECT organization FROM run_organizations INDEXED BY run_organizations_by_state
                 WHERE run = ?1 AND state IN ('failed', 'parked')
                 ORDER BY finished_at DESC, organization DESC LIMIT ?2
             )
             SELECT ",
            organization_columns!(),
            " FROM f CROSS JOIN run_organizations AS o WHERE o.run = ?1 AND o.organization = f.organization
              ORDER BY o.finished_at DESC, o.organization DESC"
        ))
        .bind(head.number)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&mut *tx)
        .await
        .map_err(|e| self.database.error(e))?;
        rows.iter().map(|row| self.organization_row(row)).collect()
    }
}
