//! Organizations of a run, runs of an organization.

use chat::ledger::{Filter, RunOrganization, State};
use chat::{OrganizationId, PortResult, RunId};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::SqliteLedger;
use super::rows::organization_columns;
use crate::sqlite::Tx;

impl SqliteLedger {
    pub(super) async fn page_of(&self, run: &RunId, filter: &Filter, limit: usize) -> PortResult<Vec<RunOrganization>> {
        let mut tx = self.database.snapshot().await?;
        let Some(head) = self.head(&mut tx, run).await? else { return Ok(Vec::new()) };
        let after = filter.after.map_or(-1, |organization| organization.as_i64());
        let limit_rows = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = Vec::new();
        if filter.states.is_empty() {
            rows = sqlx::query(concat!(
                "SELECT ",
                organization_columns!(),
                " FROM run_organizations AS o WHERE o.run = ?1 AND o.organization > ?2
                  AND (?4 IS NULL OR o.error_class = ?4) ORDER BY o.organization LIMIT ?3"
            ))
            .bind(head.number)
            .bind(after)
            .bind(limit_rows)
            .bind(&filter.error_class)
            .fetch_all(&mut *tx)
            .await
            .map_err(|e| self.database.error(e))?;
        }
        // A page of each state by its index, then merged: a rare state is found without reading a million rows.
        for state in State::ALL.into_iter().filter(|state| filter.states.contains(state)) {
            rows.extend(
                self.page_of_state(&mut tx, (head.number, state), &filter.error_class, after, limit_rows).await?,
            );
        }
        let mut page: Vec<RunOrganization> =
            rows.iter().map(|row| self.organization_row(row)).collect::<PortResult<_>>()?;
        page.sort_unstable_by_key(|row| row.organization);
        page.truncate(limit);
        Ok(page)
    }

    async fn page_of_state(
        &self,
        tx: &mut Tx,
        (run, state): (i64, State),
        error_class: &Option<String>,
        after: i64,
        limit: i64,
    ) -> PortResult<Vec<SqliteRow>> {
        sqlx::query(concat!(
            "SELECT ",
            organization_columns!(),
            " FROM run_organizations AS o INDEXED BY run_organizations_by_state
              WHERE o.run = ?1 AND o.state = ?2 AND o.organization > ?3 AND (?5 IS NULL OR o.error_class = ?5)
              ORDER BY o.organization LIMIT ?4"
        ))
        .bind(run)
        .bind(state.as_str())
        .bind(after)
        .bind(limit)
        .bind(error_class)
        .fetch_all(&mut **tx)
        .await
        .map_err(|e| self.database.error(e))
    }

    pub(super) async fn runs_of(
        &self,
        organization: OrganizationId,
        limit: usize,
    ) -> PortResult<Vec<(RunId, RunOrganization)>> {
        // From the runs, of which there are few, to the one row in each.
        let rows = sqlx::query(concat!(
            "SELECT r.run AS run_name, ",
            organization_columns!(),
            " FROM runs AS r CROSS JOIN run_organizations AS o
              WHERE o.run = r.number AND o.organization = ?1 AND r.run NOT GLOB 'pruned/*' ORDER BY r.opened_at DESC, r.number DESC LIMIT ?2"
        ))
        .bind(organization.as_i64())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.database.reader())
        .await
        .map_err(|e| self.database.error(e))?;
        rows.iter()
            .map(|row| {
                let run = row.try_get("run_name").map_err(|e| self.database.error(e))?;
                Ok((self.run_id(run)?, self.organization_row(row)?))
            })
            .collect()
    }
}
