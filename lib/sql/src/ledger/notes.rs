//! What people did, and messages that nobody can read.

use chat::PortResult;
use chat::ledger::{AuditEntry, AuditFilter, UnreadableMessage};

use super::SqlLedger;
use crate::database::{ms, rows_max};
use crate::row::Row;
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

    pub(super) async fn newest_audits(&self, filter: &AuditFilter, limit: usize) -> PortResult<Vec<AuditEntry>> {
        let sql = "
            SELECT at, actor, action, target, reason, outcome FROM audit
            WHERE at >= :since AND at < :until
                AND (:action IS NULL OR action = :action)
                AND (:target IS NULL OR position(:target IN target) > 0)
            ORDER BY at DESC, number DESC LIMIT :limit";
        let text = |text: &'_ Option<String>| text.as_deref().map_or(Value::Text(None), |text| text.to_owned().into());
        let values = [
            ("since", filter.since.map_or(i64::MIN, ms).into()),
            ("until", filter.until.map_or(i64::MAX, ms).into()),
            ("action", text(&filter.action)),
            ("target", text(&filter.target)),
            ("limit", rows_max(limit).into()),
        ];
        let rows = self.database.fetch(sql, &values).await?;
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
        let sql = "SELECT number, queue, body, cause, at FROM unreadable_messages
                   ORDER BY at DESC, number DESC LIMIT :limit";
        self.database.fetch(sql, &[("limit", rows_max(limit).into())]).await?.iter().map(unreadable).collect()
    }

    pub(super) async fn unreadable_of(&self, id: u64) -> PortResult<Option<UnreadableMessage>> {
        let sql = "SELECT number, queue, body, cause, at FROM unreadable_messages WHERE number = :id";
        let id = i64::try_from(id).unwrap_or(i64::MAX);
        self.database.fetch(sql, &[("id", id.into())]).await?.first().map(unreadable).transpose()
    }
}

fn unreadable(row: &Row) -> PortResult<UnreadableMessage> {
    Ok(UnreadableMessage {
        id: Some(row.whole("number")?),
        queue: row.text("queue")?,
        body: row.bytes("body")?,
        cause: row.text("cause")?,
        at: row.instant("at")?,
    })
}
