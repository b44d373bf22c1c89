//! How boundaries moved.

use std::collections::HashSet;

use chat::ledger::{HistoryEntry, HistoryRow};
use chat::{OrganizationId, PortResult};
use serde::Serialize;

use super::rows::run_id;
use super::{SCHEMA, STATEMENT_ROWS_MAX, SqlLedger};
use crate::database::{Tx, json, ms, rows_max};

/// A changed boundary as its statement takes it; what is left out is NULL.
#[derive(Serialize)]
struct ChangeRow<'a> {
    organization: i64,
    as_of: i64,
    run: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<i64>,
    cause: &'static str,
}

impl SqlLedger {
    /// Adds what is not there yet.
    pub(super) async fn add_history_once(&self, rows: &[HistoryRow]) -> PortResult<()> {
        let mut seen = HashSet::new();
        let rows: Vec<_> = rows.iter().filter(|row| seen.insert((row.organization, &row.run))).cloned().collect();
        let mut tx = self.database.begin().await?;
        // Who adds the same waits here until this is committed, and sees it. It is rare: nobody waits long.
        tx.fetch(&format!("SELECT version FROM {} WHERE version = 1 FOR UPDATE", SCHEMA.table), &[]).await?;
        self.insert(&mut tx, self.statements().add_history_once, &rows).await?;
        tx.commit().await
    }

    /// Adds what a run has settled just now: a name can be that of an earlier run, which was pruned.
    pub(super) async fn insert_history(&self, tx: &mut Tx, rows: &[HistoryRow]) -> PortResult<()> {
        self.insert(tx, self.statements().add_history, rows).await
    }

    async fn insert(&self, tx: &mut Tx, sql: &'static str, rows: &[HistoryRow]) -> PortResult<()> {
        let rows: Vec<ChangeRow<'_>> = rows
            .iter()
            .map(|row| ChangeRow {
                organization: row.organization.as_i64(),
                as_of: ms(row.as_of),
                run: row.run.as_str(),
                old: row.change.old.map(|id| id.as_i64()),
                new: row.change.new.map(|id| id.as_i64()),
                cause: row.change.cause,
            })
            .collect();
        for chunk in rows.chunks(STATEMENT_ROWS_MAX) {
            tx.execute(sql, &[("batch", json(chunk)?.into())]).await?;
        }
        Ok(())
    }

    pub(super) async fn history_of(&self, organization: OrganizationId, limit: usize) -> PortResult<Vec<HistoryEntry>> {
        let sql = "SELECT as_of, run, old, new, cause FROM limit_history
                   WHERE organization = :organization ORDER BY as_of DESC, number DESC LIMIT :limit";
        let values = [("organization", organization.as_i64().into()), ("limit", rows_max(limit).into())];
        let rows = self.database.fetch(sql, &values).await?;
        rows.iter()
            .map(|row| {
                Ok(HistoryEntry {
                    as_of: row.instant("as_of")?,
                    run: run_id(row, "run")?,
                    old: row.whole_or_none("old")?,
                    new: row.whole_or_none("new")?,
                    cause: row.text("cause")?,
                })
            })
            .collect()
    }
}
