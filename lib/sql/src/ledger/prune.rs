//! What is old goes, a short transaction at a time.
//!
//! The first transaction renames the runs to what no run can be called: they are out of sight, their names are free, and what is
//! left of them is found again after a kill.

use chat::PortResult;
use chat::ledger::{Old, Pruned};

use super::{STATEMENT_ROWS_MAX, SqlLedger};
use crate::database::{Tx, ms, rows_max};
use crate::statement::Value;

/// The run in work, or NULL.
fn except(old: &Old) -> Value<'_> {
    old.except.as_ref().map_or(Value::Text(None), |run| run.as_str().into())
}

impl SqlLedger {
    pub(super) async fn count_old(&self, old: &Old) -> PortResult<Pruned> {
        // One statement, and so one state.
        let sql = "
            SELECT
                count(DISTINCT r.number) AS runs,
                count(o.organization) AS organizations,
                (SELECT count(*) FROM unreadable_messages WHERE at < :before) AS unreadable
            FROM runs AS r
            LEFT JOIN run_organizations AS o ON o.run = r.number
            WHERE r.run LIKE 'pruned/%' OR (r.opened_at < :before AND (:except IS NULL OR r.run <> :except))";
        let rows = self.database.fetch(sql, &[("before", ms(old.before).into()), ("except", except(old))]).await?;
        let mut pruned = Pruned::default();
        for row in &rows {
            pruned.runs = row.whole("runs")?;
            pruned.organizations = row.whole("organizations")?;
            pruned.unreadable = row.whole("unreadable")?;
        }
        pruned.more = pruned.runs + pruned.unreadable > 0;
        Ok(pruned)
    }

    pub(super) async fn prune_old(&self, old: &Old, most: usize) -> PortResult<Pruned> {
        let mut tx = self.database.begin().await?;
        let sql = "UPDATE runs SET run = concat('pruned/', number)
                   WHERE opened_at < :before AND (:except IS NULL OR run <> :except) AND run NOT LIKE 'pruned/%'";
        tx.execute(sql, &[("before", ms(old.before).into()), ("except", except(old))]).await?;
        let mut pruned = Pruned::default();
        let mut left = rows_max(most.max(1)).unsigned_abs();
        while left > 0 {
            let sql = "SELECT number FROM runs WHERE run LIKE 'pruned/%' ORDER BY number LIMIT 1";
            let Some(number) = tx.fetch(sql, &[]).await?.first().map(|row| row.whole::<i64>("number")).transpose()?
            else {
                break;
            };
            let deleted = prune_organizations(&mut tx, number, left).await?;
            pruned.organizations += deleted;
            left -= deleted.min(left);
            if left > 0 {
                pruned.runs += tx.execute("DELETE FROM runs WHERE number = :run", &[("run", number.into())]).await?;
            }
        }
        if left > 0 {
            pruned.unreadable = prune_unreadable(&mut tx, ms(old.before), left).await?;
            left -= pruned.unreadable.min(left);
        }
        tx.commit().await?;
        // Where the bound was reached exactly, the next call finds out.
        pruned.more = left == 0;
        Ok(pruned)
    }
}

/// Deletes the lowest `most` organizations of the run with their room lists; answers how many organizations there were.
async fn prune_organizations(tx: &mut Tx, run: i64, most: u64) -> PortResult<u64> {
    let sql =
        "SELECT organization FROM run_organizations WHERE run = :run ORDER BY organization LIMIT 1 OFFSET :others";
    let others = i64::try_from(most - 1).unwrap_or(i64::MAX);
    let highest = tx.fetch(sql, &[("run", run.into()), ("others", others.into())]).await?;
    let highest = highest.first().map(|row| row.whole("organization")).transpose()?.unwrap_or(i64::MAX);
    let through = [("run", run.into()), ("highest", highest.into())];
    let deleted =
        tx.execute("DELETE FROM run_organizations WHERE run = :run AND organization <= :highest", &through).await?;
    // Now that their organizations are gone, nobody puts another one.
    tx.execute("DELETE FROM room_lists WHERE run = :run AND organization <= :highest", &through).await?;
    Ok(deleted)
}

async fn prune_unreadable(tx: &mut Tx, before: i64, most: u64) -> PortResult<u64> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let sql = "SELECT number FROM unreadable_messages WHERE at < :before ORDER BY at, number LIMIT :most";
    let rows = tx.fetch(sql, &[("before", before.into()), ("most", most.into())]).await?;
    let numbers: Vec<i64> = rows.iter().map(|row| row.whole("number")).collect::<PortResult<_>>()?;
    let mut deleted = 0;
    for chunk in numbers.chunks(STATEMENT_ROWS_MAX) {
        let sql = "DELETE FROM unreadable_messages WHERE number IN (:numbers)";
        deleted += tx.execute(sql, &[("numbers", chunk.into())]).await?;
    }
    Ok(deleted)
}
