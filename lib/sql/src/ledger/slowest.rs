//! What an operator looks at first: organizations that take long, and those that failed last.

use chat::ledger::RunOrganization;
use chat::{PortResult, RunId};

use super::SqlLedger;
use super::rows::{organization_columns, organization_of};
use crate::database::rows_max;

/// Organizations of a state in work that are looked at for the slowest.
const IN_WORK_MAX: i64 = 10_000;

impl SqlLedger {
    pub(super) async fn slowest_of(&self, run: &RunId, limit: usize) -> PortResult<Vec<RunOrganization>> {
        let mut tx = self.database.begin().await?;
        let Some(head) = self.head(&mut tx, run).await? else { return Ok(Vec::new()) };
        let limit = rows_max(limit);
        let mut rows = Vec::new();
        if !head.cancelled {
            // Organizations are sent ascending: the lowest of a state began first, but for attempts that are repeated.
            let in_work = concat!(
                "SELECT ",
                organization_columns!(),
                " FROM (
                      (SELECT organization FROM run_organizations
                       WHERE run = :run AND state = 'running' ORDER BY organization LIMIT :most)
                      UNION ALL
                      (SELECT organization FROM run_organizations
                       WHERE run = :run AND state = 'retrying' ORDER BY organization LIMIT :most)
                  ) AS w
                  JOIN run_organizations AS o ON o.run = :run AND o.organization = w.organization
                  WHERE o.started_at IS NOT NULL ORDER BY o.started_at, o.organization LIMIT :limit"
            );
            let values = [("run", head.number.into()), ("most", IN_WORK_MAX.into()), ("limit", limit.into())];
            rows = tx.fetch(in_work, &values).await?;
        }
        if rows.is_empty() {
            let ended = concat!(
                "SELECT ",
                organization_columns!(),
                " FROM run_organizations AS o
                  WHERE o.run = :run AND o.finished_at IS NOT NULL AND o.started_at IS NOT NULL
                  ORDER BY o.finished_at - o.started_at DESC, o.organization LIMIT :limit"
            );
            rows = tx.fetch(ended, &[("run", head.number.into()), ("limit", limit.into())]).await?;
        }
        tx.commit().await?;
        rows.iter().map(organization_of).collect()
    }

    pub(super) async fn latest_failures_of(&self, run: &RunId, limit: usize) -> PortResult<Vec<RunOrganization>> {
        let sql = concat!(
            "SELECT ",
            organization_columns!(),
            " FROM runs AS r JOIN run_organizations AS o ON o.run = r.number
              WHERE r.run = :run AND o.state IN ('failed', 'parked')
              ORDER BY o.finished_at DESC, o.organization DESC LIMIT :limit"
        );
        let values = [("run", run.as_str().into()), ("limit", rows_max(limit).into())];
        self.database.fetch(sql, &values).await?.iter().map(organization_of).collect()
    }
}
