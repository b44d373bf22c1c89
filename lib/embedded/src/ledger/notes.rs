//! What people did, and messages that nobody can read.

use chat::PortResult;
use chat::ledger::{AuditEntry, AuditFilter, UnreadableMessage};

use super::SqliteLedger;
use crate::sqlite::{instant, ms};

impl SqliteLedger {
    pub(super) async fn record_action(&self, entry: &AuditEntry) -> PortResult<()> {
        sqlx::query("INSERT INTO audit (at, actor, action, target, reason, outcome) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .bind(ms(entry.at))
            .bind(&entry.actor)
            .bind(&entry.action)
            .bind(&entry.target)
            .bind(&entry.reason)
            .bind(&entry.outcome)
            .execute(self.database.writer()?)
            .await
            .map_err(|e| self.database.error(e))?;
        Ok(())
    }

    pub(super) async fn newest_audits(&self, filter: &AuditFilter, limit: usize) -> PortResult<Vec<AuditEntry>> {
        let rows: Vec<(i64, String, String, String, String, String)> = sqlx::query_as(
            "SELECT at, actor, action, target, reason, outcome FROM audit
             WHERE at >= ?2 AND at < ?3 AND (?4 IS NULL OR action = ?4) AND (?5 IS NULL OR instr(target, ?5) > 0)
             ORDER BY at DESC, number DESC LIMIT ?1",
        )
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(filter.since.map_or(i64::MIN, ms))
        .bind(filter.until.map_or(i64::MAX, ms))
        .bind(&filter.action)
        .bind(&filter.target)
        .fetch_all(self.database.reader())
        .await
        .map_err(|e| self.database.error(e))?;
        let entry = |(at, actor, action, target, reason, outcome)| AuditEntry {
            at: instant(at),
            actor,
            action,
            target,
            reason,
            outcome,
        };
        Ok(rows.into_iter().map(entry).collect())
    }

    pub(super) async fn keep_unreadable(&self, message: &UnreadableMessage) -> PortResult<()> {
        sqlx::query("INSERT INTO unreadable_messages (queue, body, cause, at) VALUES (?1, ?2, ?3, ?4)")
            .bind(&message.queue)
            .bind(&message.body)
            .bind(&message.cause)
            .bind(ms(message.at))
            .execute(self.database.writer()?)
            .await
            .map_err(|e| self.database.error(e))?;
        Ok(())
    }

    pub(super) async fn newest_unreadable(&self, limit: usize) -> PortResult<Vec<UnreadableMessage>> {
        let rows: Vec<UnreadableRow> = sqlx::query_as(
            "SELECT number, queue, body, cause, at FROM unreadable_messages ORDER BY at DESC, number DESC LIMIT ?1",
        )
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(self.database.reader())
        .await
        .map_err(|e| self.database.error(e))?;
        Ok(rows.into_iter().map(unreadable).collect())
    }

    pub(super) async fn unreadable_of(&self, id: u64) -> PortResult<Option<UnreadableMessage>> {
        let row: Option<UnreadableRow> =
            sqlx::query_as("SELECT number, queue, body, cause, at FROM unreadable_messages WHERE number = ?1")
                .bind(i64::try_from(id).unwrap_or(i64::MAX))
                .fetch_optional(self.database.reader())
                .await
                .map_err(|e| self.database.error(e))?;
        Ok(row.map(unreadable))
    }
}

/// Number, queue, body, cause, when.
type UnreadableRow = (i64, String, Vec<u8>, String, i64);

fn unreadable((number, queue, body, cause, at): UnreadableRow) -> UnreadableMessage {
    UnreadableMessage { id: u64::try_from(number).ok(), queue, body, cause, at: instant(at) }
}
