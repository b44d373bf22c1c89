//! How boundaries moved.

use std::collections::HashSet;

use chat::ledger::{HistoryEntry, HistoryRow};
use chat::{MessageId, OrganizationId, PortResult};

use super::SqliteLedger;
use crate::sqlite::{Tx, instant, json, ms};

/// `as_of`, run, old and new boundary, cause.
type Columns = (i64, String, Option<i64>, Option<i64>, String);

macro_rules! insert {
    ($condition:literal) => {
        concat!(
            "INSERT INTO limit_history (organization, as_of, run, old, new, cause)
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?1) AS b ",
            $condition
        )
    };
}

impl SqliteLedger {
    /// Adds what is not there yet. The transaction has the write lock: nobody else adds it meanwhile.
    pub(super) async fn add_history_once(&self, rows: &[HistoryRow]) -> PortResult<()> {
        let mut seen = HashSet::new();
        let rows: Vec<_> = rows.iter().filter(|row| seen.insert((row.organization, &row.run))).cloned().collect();
        let sql = insert!(
            "WHERE NOT EXISTS (
                 SELECT 1 FROM limit_history AS h WHERE h.organization = b.value ->> 0 AND h.run = b.value ->> 2
             )"
        );
        let mut tx = self.database.begin().await?;
        self.insert(&mut tx, sql, &rows).await?;
        self.database.commit(tx).await
    }

    /// Adds what a run has settled just now: a name can be that of an earlier run, which was pruned.
    pub(super) async fn insert_history(&self, tx: &mut Tx, rows: &[HistoryRow]) -> PortResult<()> {
        self.insert(tx, insert!(""), rows).await
    }

    async fn insert(&self, tx: &mut Tx, sql: &'static str, rows: &[HistoryRow]) -> PortResult<()> {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                let (old, new) = (row.change.old.map(|id| id.as_i64()), row.change.new.map(|id| id.as_i64()));
                (row.organization.as_i64(), ms(row.as_of), row.run.as_str(), old, new, row.change.cause)
            })
            .collect();
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(sql).bind(json(&rows)?).execute(&mut **tx).await.map_err(|e| self.database.error(e))?;
        Ok(())
    }

    pub(super) async fn history_of(&self, organization: OrganizationId, limit: usize) -> PortResult<Vec<HistoryEntry>> {
        let rows: Vec<Columns> = sqlx::query_as(
            "SELECT as_of, run, old, new, cause FROM limit_history
             WHERE organization = ?1 ORDER BY as_of DESC, number DESC LIMIT ?2",
        )
        .bind(organization.as_i64())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.database.reader())
        .await
        .map_err(|e| self.database.error(e))?;
        let boundary = |id: Option<i64>| id.map(MessageId::try_from).transpose().map_err(|e| self.database.corrupt(e));
        rows.into_iter()
            .map(|(as_of, run, old, new, cause)| {
                Ok(HistoryEntry {
                    as_of: instant(as_of),
                    run: self.run_id(run)?,
                    old: boundary(old)?,
                    new: boundary(new)?,
                    cause,
                })
            })
            .collect()
    }
}
