//! Room lists that are too large for a queue message, kept while their organization is not terminal.
//!
//! Who writes a list holds the row of its organization, as does who ends or prunes the organization: no list outlives it. A list
//! is in parts, so that neither `max_allowed_packet` nor the size of a redo log matters.

use chat::ledger::{Item, check_room_list};
use chat::{PortResult, Timestamp};

use super::{STATEMENT_ROWS_MAX, SqlLedger};
use crate::database::{Tx, ms};
use crate::statement::Value;

/// Bytes of a part: half of the smallest packet that servers are set up with.
const PART_BYTES: usize = 512 * 1024;

impl SqlLedger {
    pub(super) async fn keep_room_list(&self, item: &Item, collected_at: Timestamp, list: &[u8]) -> PortResult<bool> {
        check_room_list(list)?;
        let mut tx = self.database.begin().await?;
        let Some(head) = self.head(&mut tx, &item.run).await? else { return Ok(false) };
        let organization = item.organization.as_i64();
        let locked = self.lock(&mut tx, head.number, &[organization]).await?;
        let open = locked.get(&organization).is_some_and(|row| !row.state.is_terminal());
        if head.cancelled || !open {
            return Ok(false);
        }
        let key = [("run", head.number.into()), ("organization", organization.into())];
        let sql = "SELECT collected_at FROM room_lists WHERE run = :run AND organization = :organization AND part = 0";
        if let Some(kept) = tx.fetch(sql, &key).await?.first()
            && kept.instant("collected_at")? > collected_at
        {
            return Ok(true);
        }
        tx.execute("DELETE FROM room_lists WHERE run = :run AND organization = :organization", &key).await?;
        // An empty list is one empty part.
        let parts = list.chunks(PART_BYTES).chain(list.is_empty().then_some(list));
        for (part, bytes) in (0_i64..).zip(parts) {
            let sql = "INSERT INTO room_lists (run, organization, part, collected_at, bytes)
                       VALUES (:run, :organization, :part, :collected_at, :bytes)";
            let values = [
                ("run", head.number.into()),
                ("organization", organization.into()),
                ("part", part.into()),
                ("collected_at", ms(collected_at).into()),
                ("bytes", Value::Bytes(bytes)),
            ];
            tx.execute(sql, &values).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn kept_room_list(&self, item: &Item) -> PortResult<Option<Vec<u8>>> {
        // Put in order here: a database may refuse to sort what is so large.
        let sql = "SELECT l.part, l.bytes FROM runs AS r JOIN room_lists AS l ON l.run = r.number
                   WHERE r.run = :run AND l.organization = :organization";
        let values = [("run", item.run.as_str().into()), ("organization", item.organization.as_i64().into())];
        let rows = self.database.fetch(sql, &values).await?;
        let mut parts = Vec::with_capacity(rows.len());
        for row in rows {
            parts.push((row.whole::<i64>("part")?, row.bytes("bytes")?));
        }
        parts.sort_unstable_by_key(|(part, _)| *part);
        let parts: Vec<Vec<u8>> = parts.into_iter().map(|(_, bytes)| bytes).collect();
        Ok(if parts.is_empty() { None } else { Some(parts.concat()) })
    }

    /// Deletes the lists of organizations of a run; the transaction holds the rows of those that are there.
    pub(super) async fn drop_room_lists(&self, tx: &mut Tx, run: i64, organizations: &[i64]) -> PortResult<()> {
        for chunk in organizations.chunks(STATEMENT_ROWS_MAX) {
            let sql = "DELETE FROM room_lists WHERE run = :run AND organization IN (:organizations)";
            tx.execute(sql, &[("run", run.into()), ("organizations", chunk.into())]).await?;
        }
        Ok(())
    }
}
