//! What is old goes, a short transaction at a time.
//!
//! The first transaction renames the runs to what no run can be called: they are out of sight, their names are free, and what is
//! left of them is found again after a kill.

use chat::ledger::{Old, Pruned};
use chat::{PortResult, RunId};

use super::SqliteLedger;
use crate::sqlite::{Tx, ms};

impl SqliteLedger {
    pub(super) async fn count_old(&self, old: &Old) -> PortResult<Pruned> {
        let mut tx = self.database.snapshot().await?;
        let (runs, organizations): (i64, i64) = sqlx::query_as(
            "SELECT count(*), coalesce(sum((SELECT count(*) FROM run_organizations WHERE run = r.number)), 0)
             FROM runs AS r WHERE r.run GLOB 'pruned/*' OR (r.opened_at < ?1 AND r.run IS NOT ?2)",
        )
        .bind(ms(old.before))
        .bind(old.except.as_ref().map(RunId::as_str))
        .fetch_one(&mut *tx)
        .await
        .map_err(|e| self.database.error(e))?;
        let unreadable: i64 = sqlx::query_scalar("SELECT count(*) FROM unreadable_messages WHERE at < ?1")
            .bind(ms(old.before))
            .fetch_one(&mut *tx)
            .await
            .map_err(|e| self.database.error(e))?;
        let [runs, organizations, unreadable] = [runs, organizations, unreadable].map(i64::unsigned_abs);
        Ok(Pruned { runs, organizations, unreadable, more: runs + unreadable > 0 })
    }

    pub(super) async fn prune_old(&self, old: &Old, rows_max: usize) -> PortResult<Pruned> {
        let mut tx = self.database.begin().await?;
        sqlx::query(
            "UPDATE runs SET run = 'pruned/' || number
             WHERE opened_at < ?1 AND run IS NOT ?2 AND run NOT GLOB 'pruned/*'",
        )
        .bind(ms(old.before))
        .bind(old.except.as_ref().map(RunId::as_str))
        .execute(&mut *tx)
        .await
        .map_err(|e| self.database.error(e))?;
        let mut pruned = Pruned::default();
        let mut left = u64::try_from(rows_max).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64);
        while left > 0 {
            let number: Option<i64> =
                sqlx::query_scalar("SELECT number FROM runs WHERE run GLOB 'pruned/*' ORDER BY number LIMIT 1")
                    .fetch_optional(&mut *tx)
                    .await
                    .map_err(|e| self.database.error(e))?;
            let Some(number) = number else { break };
            let deleted = self.prune_organizations(&mut tx, number, left).await?;
            pruned.organizations += deleted;
            left -= deleted.min(left);
            if left > 0 {
                self.prune_run(&mut tx, number).await?;
                pruned.runs += 1;
            }
        }
        if left > 0 {
            let deleted = sqlx::query(
                "DELETE FROM unreadable_messages WHERE number IN (
                     SELECT number FROM unreadable_messages WHERE at < ?1 ORDER BY at, number LIMIT ?2
                 )",
            )
            .bind(ms(old.before))
            .bind(i64::try_from(left).unwrap_or(i64::MAX))
            .execute(&mut *tx)
            .await
            .map_err(|e| self.database.error(e))?;
            pruned.unreadable = deleted.rows_affected();
            left -= pruned.unreadable.min(left);
        }
        self.database.commit(tx).await?;
        // Where the bound was reached exactly, the next call finds out.
        pruned.more = left == 0;
        Ok(pruned)
    }

    /// Deletes the lowest `most` organizations of the run with their room lists; answers how many organizations there were.
    async fn prune_organizations(&self, tx: &mut Tx, run: i64, most: u64) -> PortResult<u64> {
        let beyond: Option<i64> = sqlx::query_scalar(
            "SELECT organization FROM run_organizations WHERE run = ?1 ORDER BY organization LIMIT 1 OFFSET ?2",
        )
        .bind(run)
        .bind(i64::try_from(most - 1).unwrap_or(i64::MAX))
        .fetch_optional(&mut **tx)
        .await
        .map_err(|e| self.database.error(e))?;
        let highest = beyond.unwrap_or(i64::MAX);
        let mut delete = async |sql: &'static str| {
            let query = sqlx::query(sql).bind(run).bind(highest);
            query.execute(&mut **tx).await.map_err(|e| self.database.error(e))
        };
        delete("DELETE FROM room_lists WHERE run = ?1 AND organization <= ?2").await?;
        let deleted = delete("DELETE FROM run_organizations WHERE run = ?1 AND organization <= ?2").await?;
        Ok(deleted.rows_affected())
    }

    /// Deletes the run, which has no organizations any more.
    async fn prune_run(&self, tx: &mut Tx, run: i64) -> PortResult<()> {
        sqlx::query("DELETE FROM runs WHERE number = ?1")
            .bind(run)
            .execute(&mut **tx)
            .await
            .map_err(|e| self.database.error(e))?;
        Ok(())
    }
}
