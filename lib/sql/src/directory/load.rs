//! Takes an import into our own directory: one transaction from the first row until everything becomes visible.

use std::time::Duration;

use async_trait::async_trait;
use chat::{Organization, PortError, PortResult, RoomId};
use import::{Account, LoadDirectory, Membership, Name, NameKind, OrganizationRooms, Source};
use tokio::time::{Instant, sleep};

use super::write::{account_rows, organization_rows, pairs};
use super::{STATEMENT_ROWS_MAX, SqlDirectory};
use crate::Dialect;
use crate::database::{Tx, json};

/// Rows that one statement deletes, about: far below what the time for a statement allows.
const DELETE_ROWS: i64 = 8_192;
/// How long another import is waited for, which may be in the middle of being undone.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Rows that go together, in the order of their key, to which an index leads.
struct Rows {
    table: &'static str,
    key: &'static str,
    /// A condition before that on the key, with its AND.
    which: &'static str,
}

impl Rows {
    const fn of(table: &'static str, key: &'static str, which: &'static str) -> Self {
        Self { table, key, which }
    }
}

const ORGANIZATIONS: Rows = Rows::of("organizations", "id", "");

/// What is deleted and written anew, that which refers to others first.
const REPLACED: [Rows; 8] = [
    Rows::of("membership_positions", "room", ""),
    Rows::of("room_positions", "room", ""),
    Rows::of("memberships", "account", ""),
    Rows::of("accounts", "id", ""),
    Rows::of("rooms", "id", ""),
    Rows::of("names", "id", "kind = 'organization' AND"),
    Rows::of("names", "id", "kind = 'room' AND"),
    Rows::of("names", "id", "kind = 'account' AND"),
];

/// An import into our own directory.
///
/// One transaction holds everything until it is published: readers see the old directory, and a load that is dropped is rolled
/// back. It locks the row of `imports`, so that of several imports one writes. Organizations are changed in place, because their
/// plan versions never fall; what refers to them is deleted and written anew.
///
/// Between `publish` and `finish`, [`SqlDirectory::unfinished_import`] is true.
pub struct SqlLoad {
    directory: SqlDirectory,
    /// Which source: its name in the table `imports`.
    source: String,
    /// From `begin` to `publish`.
    tx: Option<Tx>,
    /// The last organization that was given; -1 before the first.
    last: i64,
}

impl SqlDirectory {
    /// True when an import has replaced the directory and has not yet brought all messages: it is under way or was killed, and
    /// must be run again. Never true of a chat's directory.
    pub async fn unfinished_import(&self) -> PortResult<bool> {
        if self.check_owned().is_err() {
            return Ok(false);
        }
        let sql = "SELECT EXISTS (SELECT 1 FROM imports WHERE NOT finished) AS unfinished";
        let rows = self.database.repeat(true, || self.database.fetch(sql, &[])).await?;
        rows.first().map_or(Ok(false), |row| row.truth("unfinished"))
    }

    /// Lets PostgreSQL look at the new tables, else it plans the first run for the old ones. MySQL does so by itself.
    async fn renew_statistics(&self) {
        let sql = "ANALYZE organizations, accounts, rooms, memberships, organization_changes";
        if self.database.dialect() == Dialect::Postgres
            && let Err(e) = self.database.fetch(sql, &[]).await
        {
            tracing::warn!("{} keeps its old statistics for a while: {e}", self.database.what());
        }
    }
}

impl SqlLoad {
    /// Into `directory`.
    ///
    /// # Errors
    ///
    /// Refused where the directory is a chat's.
    pub fn new(directory: &SqlDirectory) -> PortResult<Self> {
        directory.check_owned()?;
        Ok(Self { directory: directory.clone(), source: String::new(), tx: None, last: -1 })
    }

    /// Locks the row of imports and answers which source it names, if that is unfinished.
    async fn lock(&self, tx: &mut Tx) -> PortResult<Option<String>> {
        let give_up = Instant::now() + WAIT_FOR_OTHERS;
        loop {
            let sql = "SELECT fingerprint, finished FROM imports WHERE id = 0 FOR UPDATE SKIP LOCKED";
            if let Some(row) = tx.fetch(sql, &[]).await?.first() {
                let source = row.text("fingerprint")?;
                return Ok(if row.truth("finished")? { None } else { Some(source) });
            }
            if Instant::now() > give_up {
                let what = self.directory.database.what();
                return Err(PortError::Conflict {
                    what: format!("another import writes to {what}, or is being undone: try again when it has ended"),
                });
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Removes rows whose key is above `after` and at most `through`, but those `kept`, a bounded number with each statement.
    async fn remove(&mut self, rows: &Rows, mut after: i64, through: i64, kept: &[i64]) -> PortResult<()> {
        let tx = self.tx.as_mut().ok_or_else(out_of_order)?;
        // A list for IN is never empty; no key is below 0.
        let kept = if kept.is_empty() { &[-1] } else { kept };
        let Rows { table, key, which } = rows;
        let within = format!("FROM {table} WHERE {which} {key} > :after AND {key} <= :through");
        let bound = format!("SELECT {key} AS bound {within} ORDER BY {key} LIMIT 1 OFFSET :rows");
        let delete = format!("DELETE {within} AND {key} NOT IN (:kept)");
        loop {
            let values = [("after", after.into()), ("through", through.into()), ("rows", DELETE_ROWS.into())];
            let found = tx.fetch(&bound, &values).await?;
            let next: Option<i64> = found.first().map(|row| row.whole("bound")).transpose()?;
            let upto = next.unwrap_or(through);
            tx.execute(&delete, &[("after", after.into()), ("through", upto.into()), ("kept", kept.into())]).await?;
            match next {
                Some(next) => after = next,
                None => return Ok(()),
            }
        }
    }

    async fn insert<T: serde::Serialize>(&mut self, sql: &str, rows: &[T]) -> PortResult<()> {
        let tx = self.tx.as_mut().ok_or_else(out_of_order)?;
        for chunk in rows.chunks(STATEMENT_ROWS_MAX) {
            tx.execute(sql, &[("batch", json(chunk)?.into())]).await?;
        }
        Ok(())
    }
}

fn out_of_order() -> PortError {
    PortError::refused("a load is begun, then published, then finished; this call came at another time")
}

#[async_trait]
impl LoadDirectory for SqlLoad {
    async fn known_names(&mut self, after: Option<(NameKind, u64)>, limit: usize) -> PortResult<Vec<Name>> {
        if self.directory.is_nameless().await? {
            let what = self.directory.database.what();
            return Err(PortError::refused(format!(
                "{what} holds organizations without names, whose ids were given elsewhere: import into another database"
            )));
        }
        self.directory.names_after(after, limit).await
    }

    async fn begin(&mut self, source: &Source) -> PortResult<bool> {
        self.source = format!("{:016x}", source.fingerprint);
        self.last = -1;
        let mut tx = self.directory.begin().await?;
        let unfinished = self.lock(&mut tx).await?;
        self.tx = Some(tx);
        for rows in &REPLACED {
            self.remove(rows, -1, i64::MAX, &[]).await?;
        }
        Ok(unfinished.is_some_and(|unfinished| unfinished == self.source))
    }

    async fn organizations(&mut self, rows: &[Organization]) -> PortResult<()> {
        let rows = organization_rows(rows)?;
        for chunk in rows.chunks(STATEMENT_ROWS_MAX) {
            let ids: Vec<i64> = chunk.iter().map(|(id, ..)| *id).collect();
            let through = ids.last().copied().unwrap_or(self.last);
            self.remove(&ORGANIZATIONS, self.last, through, &ids).await?;
            self.last = through;
        }
        self.insert(self.directory.statements().put_organizations, &rows).await
    }

    async fn accounts(&mut self, rows: &[Account]) -> PortResult<()> {
        self.insert(self.directory.statements().put_accounts, &account_rows(rows)).await
    }

    async fn rooms(&mut self, rows: &[RoomId]) -> PortResult<()> {
        let rows: Vec<i64> = rows.iter().map(|room| room.as_i64()).collect();
        self.insert(self.directory.statements().put_rooms, &rows).await
    }

    async fn memberships(&mut self, rows: &[Membership]) -> PortResult<()> {
        self.insert(self.directory.statements().put_memberships, &pairs(rows)).await
    }

    /// They follow from accounts and memberships, which the database joins.
    async fn organization_rooms(&mut self, _: &[OrganizationRooms]) -> PortResult<()> {
        Ok(())
    }

    async fn names(&mut self, rows: &[Name]) -> PortResult<()> {
        let tx = self.tx.as_mut().ok_or_else(out_of_order)?;
        self.directory.put_names_within(tx, rows).await
    }

    async fn publish(&mut self) -> PortResult<()> {
        self.remove(&ORGANIZATIONS, self.last, i64::MAX, &[]).await?;
        let mut tx = self.tx.take().ok_or_else(out_of_order)?;
        self.directory.note_all_changed(&mut tx).await?;
        let sql = "UPDATE imports SET fingerprint = :source, finished = FALSE WHERE id = 0";
        tx.execute(sql, &[("source", self.source.as_str().into())]).await?;
        tx.commit().await
    }

    async fn finish(&mut self) -> PortResult<()> {
        if self.tx.is_some() || self.source.is_empty() {
            return Err(out_of_order());
        }
        let directory = &self.directory;
        let finished = || async {
            let mut tx = directory.begin().await?;
            let sql = "UPDATE imports SET finished = TRUE WHERE id = 0 AND fingerprint = :source";
            let found = tx.execute(sql, &[("source", self.source.as_str().into())]).await?;
            tx.commit().await.map(|()| found)
        };
        // MySQL, too, answers how many rows were found, not how many changed: repeating finds the row again.
        match directory.database.repeat(true, finished).await? {
            0 => Err(PortError::Conflict {
                what: format!("another import has replaced {} since: run this one again", directory.database.what()),
            }),
            _ => {
                directory.renew_statistics().await;
                Ok(())
            }
        }
    }
}
