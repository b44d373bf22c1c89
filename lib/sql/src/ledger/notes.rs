//! What people did, and messages that nobody can read.

use chat::PortResult;
use chat::ledger::{AuditEntry, UnreadableMessage};

use super::SqlLedger;
use crate::database::{ms, rows_max};
use crate::statement::Value;

impl SqlLedger {
    pub(super) async fn record_action(&self, entry: &AuditEntry) -> PortResult<()> {
        let mut tx = self.database.begin().await?;
        let sql = "INSERT INTO audit (at, actor, action, target, reason, outcome)
                   VALUES (:at, :actor, :action, :target, :reason, :outcome)";
        let values = [
            ("at", ms(entry.at).into()),
            ("actor", entry.actor.as_str().into()),
            ("action", entry.action.as_str().into()),
            ("target", entry.target.as_str().into()),
            ("reason", entry.reason.as_str().into()),
            ("outcome", entry.outcome.as_str().into()),
        ];
        tx.execute(sql, &values).await?;
        tx.commit().await
    }

    pub(super) async fn newest_audits(&self, limit: usize) -> PortResult<Vec<AuditEntry>> {
        let sql =
            "SELECT at, actor, action, target, reason, outcome FROM audit ORDER BY at DESC, number DESC LIMIT :limit";
        let rows = self.database.fetch(sql, &[("limit", rows_max(limit).into())]).await?;
        rows.iter()
            .map(|row| {
                Ok(AuditEntry {
                    at: row.instant("at")?,
                    actor: row.text("actor")?,
                    action: row.text("action")?,
                    target: row.text("target")?,
                    reason: row.text("reason")?,
                    outcome: row.text("outcome")?,
                })
            })
            .collect()
    }

    pub(super) async fn keep_unreadable(&self, message: &UnreadableMessage) -> PortResult<()> {
        let mut tx = self.database.begin().await?;
        let sql = "INSERT INTO unreadable_messages (queue, body, cause, at) VALUES (:queue, :body, :cause, :at)";
        let values = [
            ("queue", message.queue.as_str().into()),
            ("body", Value::Bytes(&message.body)),
            ("cause", message.cause.as_str().into()),
            ("at", ms(message.at).into()),
        ];
        tx.execute(sql, &values).await?;
        tx.commit().await
    }

    pub(super) async fn newest_unreadable(&self, limit: usize) -> PortResult<Vec<UnreadableMessage>> {
        let sql = "SELECT queue, body, cause, at FROM unreadable_messages ORDER BY at DESC, number DESC LIMIT :limit";
        let rows = self.database.fetch(sql, &[("limit", rows_max(limit).into())]).await?;
        rows.iter()
            .map(|row| {
                Ok(UnreadableMessage {
                    queue: row.text("queue")?,
                    body: row.bytes("body")?,
                    cause: row.text("cause")?,
                    at: row.instant("at")?,
                })
            })
            .collect()
    }
}
