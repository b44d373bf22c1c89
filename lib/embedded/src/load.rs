//! Takes an import into the data directory: the directory into SQLite in one transaction, then messages into the packed index.

mod rows;

use async_trait::async_trait;
use chat::{Content, Message, MessageId, Organization, PortError, PortResult, RoomId};
use import::{Account, Load, Membership, MessageBody, Name, NameKind, OrganizationRooms, RoomMessages, Source};
use sqlx::AssertSqlSafe;

use crate::{
    DataDir, LmdbMessages, MapSize, OpenError, PackedIndex, SqliteDirectory,
    directory::room_list,
    packed::{Known, Loader},
    sqlite::Tx,
};
use rows::Insert;

/// An import into the embedded stores.
///
/// The directory replaces the one before, in one transaction that is committed by [`Load::publish`]. Messages are added to those
/// which are there, room by room: what was deleted stays deleted, and rooms that are not imported keep theirs, unseen by
/// anybody who has no membership in them. Between `publish` and [`Load::finish`], [`SqliteDirectory::unfinished_import`] is
/// true. Writing messages blocks the thread, some 50 ms at a time.
///
/// What messages say goes to an environment of its own, made by the first import that brings bodies. The packed index decides
/// which are kept.
pub struct EmbeddedLoad {
    dir: DataDir,
    map_size: MapSize,
    directory: SqliteDirectory,
    /// Which source; its name in the directory and in the index.
    source: String,
    /// From `begin` to `publish`.
    transaction: Option<Tx>,
    /// From `begin` to `finish`.
    loader: Option<Loader>,
    /// Beside the loader: the index it writes to, and what messages say, where an import has ever brought that.
    index: Option<PackedIndex>,
    messages: Option<LmdbMessages>,
}

impl EmbeddedLoad {
    /// Into `dir`, which is opened for nobody else's writing ([`crate::Access::Exclusive`]). `map_size` is that of the index.
    pub async fn open(dir: &DataDir, map_size: MapSize) -> PortResult<Self> {
        let directory = SqliteDirectory::open(dir).await?;
        let (dir, source) = (dir.clone(), String::new());
        let (transaction, loader, index, messages) = (None, None, None, None);
        Ok(Self { dir, map_size, directory, source, transaction, loader, index, messages })
    }

    async fn insert(&mut self, insert: Insert) -> PortResult<()> {
        let transaction = self.transaction.as_mut().ok_or_else(out_of_order)?;
        let Some(sql) = insert.finish() else { return Ok(()) };
        // Numbers and fixed words only: nothing in it was written by anybody else.
        let sql = sqlx::raw_sql(AssertSqlSafe(sql));
        sql.execute(&mut **transaction).await.map_err(|e| self.directory.error(e))?;
        Ok(())
    }
}

fn out_of_order() -> PortError {
    PortError::refused("a load is begun, then published, then finished; this call came at another time")
}

/// Sets the old content aside as far as it decides plan versions, and empties the tables. The positions of changes go with what
/// they had brought; the index goes because filling it would cost more than making it when it is asked for.
const BEGIN: &str = "CREATE TEMP TABLE previous (id INTEGER PRIMARY KEY, plan TEXT, plan_version INTEGER);
INSERT INTO previous SELECT id, plan, plan_version FROM organizations;
DELETE FROM organizations;
DELETE FROM accounts;
DELETE FROM rooms;
DROP INDEX IF EXISTS memberships_by_room;
DELETE FROM memberships;
DELETE FROM membership_positions;
DELETE FROM room_positions;
DELETE FROM names;
DELETE FROM organization_rooms;";

/// Lets no plan version fall.
const PUBLISH: &str = "UPDATE organizations
SET plan_version = max(organizations.plan_version, previous.plan_version + (previous.plan <> organizations.plan))
FROM previous WHERE previous.id = organizations.id;
DROP TABLE previous;";

#[async_trait]
impl Load for EmbeddedLoad {
    async fn known_names(&mut self, after: Option<(NameKind, u64)>, limit: usize) -> PortResult<Vec<Name>> {
        if self.directory.is_nameless().await? {
            let path = self.dir.path().display();
            return Err(PortError::refused(format!(
                "{path} holds organizations without names, whose ids were given elsewhere: import into another data directory"
            )));
        }
        self.directory.names_after(after, limit).await
    }

    async fn begin(&mut self, source: &Source) -> PortResult<()> {
        self.source = format!("{:016x}", source.fingerprint);
        let disagrees = |e: OpenError| PortError::Refused { what: e.to_string(), source: Some(e.into()) };
        self.dir.fix_epoch(source.epoch).await.map_err(disagrees)?;
        let index = PackedIndex::open(&self.dir.live_ids(), self.map_size, source.epoch)?;
        self.loader = Some(index.loader(&self.source)?);
        self.index = Some(index);
        if self.dir.messages().exists() {
            self.messages = Some(LmdbMessages::open(&self.dir.messages(), self.map_size)?);
        }
        let mut transaction = self.directory.begin().await?;
        sqlx::raw_sql(BEGIN).execute(&mut *transaction).await.map_err(|e| self.directory.error(e))?;
        self.transaction = Some(transaction);
        Ok(())
    }

    async fn organizations(&mut self, rows: &[Organization]) -> PortResult<()> {
        let mut insert = Insert::into("organizations (id, plan_version, plan)");
        for row in rows {
            insert.row(&[row.id.get(), row.plan_version], Some(row.plan.as_str()));
        }
        self.insert(insert).await
    }

    async fn accounts(&mut self, rows: &[Account]) -> PortResult<()> {
        let mut insert = Insert::into("accounts (id, organization, active)");
        for row in rows {
            insert.row(&[row.id.get(), row.organization.get(), row.active.into()], None);
        }
        self.insert(insert).await
    }

    async fn rooms(&mut self, rows: &[RoomId]) -> PortResult<()> {
        let mut insert = Insert::into("rooms (id)");
        for row in rows {
            insert.row(&[row.get()], None);
        }
        self.insert(insert).await
    }

    async fn memberships(&mut self, rows: &[Membership]) -> PortResult<()> {
        let mut insert = Insert::into("memberships (account, room)");
        for row in rows {
            insert.row(&[row.account.get(), row.room.get()], None);
        }
        self.insert(insert).await
    }

    async fn organization_rooms(&mut self, rows: &[OrganizationRooms]) -> PortResult<()> {
        let transaction = self.transaction.as_mut().ok_or_else(out_of_order)?;
        for row in rows {
            let query = sqlx::query("INSERT INTO organization_rooms (organization, rooms) VALUES (?1, ?2)");
            let query = query.bind(row.organization.as_i64()).bind(room_list::pack(&row.rooms));
            query.execute(&mut **transaction).await.map_err(|e| self.directory.error(e))?;
        }
        Ok(())
    }

    async fn names(&mut self, rows: &[Name]) -> PortResult<()> {
        let transaction = self.transaction.as_mut().ok_or_else(out_of_order)?;
        self.directory.put_names_within(transaction, rows).await
    }

    async fn publish(&mut self) -> PortResult<Option<RoomId>> {
        let mut transaction = self.transaction.take().ok_or_else(out_of_order)?;
        sqlx::raw_sql(PUBLISH).execute(&mut *transaction).await.map_err(|e| self.directory.error(e))?;
        self.directory.note_all_changed(&mut transaction).await?;
        let sql = "INSERT OR REPLACE INTO imports (only, fingerprint, finished) VALUES (0, ?1, 0)";
        let query = sqlx::query(sql).bind(&self.source);
        query.execute(&mut *transaction).await.map_err(|e| self.directory.error(e))?;
        self.directory.commit(transaction).await?;
        Ok(self.loader.as_ref().and_then(Loader::resume_point))
    }

    async fn messages(&mut self, rooms: &[RoomMessages]) -> PortResult<()> {
        let loader = self.loader.as_mut().ok_or_else(out_of_order)?;
        if let Some(messages) = &self.messages {
            // First, so that a resumed load need not look at these rooms again.
            let deleted = rooms.iter().flat_map(|row| row.tombstoned.iter().map(|id| (row.room, *id)));
            messages.bury(&deleted.collect::<Vec<_>>())?;
        }
        rooms.iter().try_for_each(|messages| loader.add(messages.room, &messages.live, &messages.tombstoned))
    }

    async fn bodies(&mut self, rows: &[MessageBody]) -> PortResult<()> {
        let (Some(loader), Some(index)) = (&mut self.loader, &self.index) else { return Err(out_of_order()) };
        loader.flush()?;
        if self.messages.is_none() {
            self.messages = Some(LmdbMessages::open(&self.dir.messages(), self.map_size)?);
        }
        let ids: Vec<(RoomId, MessageId)> = rows.iter().map(|row| (row.room, row.id)).collect();
        let mut kept = Vec::with_capacity(rows.len());
        for (row, known) in rows.iter().zip(index.known(&ids)?) {
            let content = match known {
                Some(Known::Live) => Some(Content::imported(row.author, row.body.clone())),
                Some(Known::Deleted) => None,
                None => continue,
            };
            kept.push(Message::imported(row.room, row.id, content));
        }
        self.messages.as_ref().map_or(Ok(()), |messages| messages.put(&kept))
    }

    async fn finish(&mut self) -> PortResult<()> {
        self.loader.take().ok_or_else(out_of_order)?.finish()?;
        self.directory.finish_import().await
    }
}

#[cfg(test)]
mod tests;
