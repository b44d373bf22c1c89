//! Room lists that are too large for a queue message, kept while their organization is not terminal.

use chat::ledger::{Item, check_room_list};
use chat::{PortResult, Timestamp};

use super::SqliteLedger;
use crate::sqlite::{Tx, json, ms};

impl SqliteLedger {
    pub(super) async fn keep_room_list(&self, item: &Item, collected_at: Timestamp, list: &[u8]) -> PortResult<bool> {
        check_room_list(list)?;
        // The transaction has the write lock: nobody ends the organization before the list is there.
        let mut tx = self.database.begin().await?;
        let open: Option<i64> = sqlx::query_scalar(
            "SELECT r.number FROM runs AS r JOIN run_organizations AS o ON o.run = r.number
             WHERE r.run = ?1 AND r.cancelled_at IS NULL AND o.organization = ?2
                 AND +o.state IN ('pending', 'running', 'retrying')",
        )
        .bind(item.run.as_str())
        .bind(item.organization.as_i64())
        .fetch_optional(&mut *tx)
        .await
        .map_err(|e| self.database.error(e))?;
        let Some(run) = open else { return Ok(false) };
        sqlx::query(
            "INSERT INTO room_lists (run, organization, collected_at, list) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET collected_at = excluded.collected_at, list = excluded.list
             WHERE excluded.collected_at >= room_lists.collected_at",
        )
        .bind(run)
        .bind(item.organization.as_i64())
        .bind(ms(collected_at))
        .bind(list)
        .execute(&mut *tx)
        .await
        .map_err(|e| self.database.error(e))?;
        self.database.commit(tx).await?;
        Ok(true)
    }

    pub(super) async fn kept_room_list(&self, item: &Item) -> PortResult<Option<Vec<u8>>> {
        sqlx::query_scalar(
            "SELECT l.list FROM runs AS r JOIN room_lists AS l ON l.run = r.number
             WHERE r.run = ?1 AND l.organization = ?2",
        )
        .bind(item.run.as_str())
        .bind(item.organization.as_i64())
        .fetch_optional(self.database.reader())
        .await
        .map_err(|e| self.database.error(e))
    }

    /// Deletes the lists of organizations of a run.
    pub(super) async fn drop_room_lists(&self, tx: &mut Tx, run: i64, organizations: &[i64]) -> PortResult<()> {
        // The + has the lists of the run looked through, which are few: where there is none, the batch is not even read.
        sqlx::query("DELETE FROM room_lists WHERE run = ?1 AND +organization IN (SELECT value FROM json_each(?2))")
            .bind(run)
            .bind(json(organizations)?)
            .execute(&mut **tx)
            .await
            .map_err(|e| self.database.error(e))?;
        Ok(())
    }
}
