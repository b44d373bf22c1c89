//! `Memberships`: joins, leaves and rooms as a log tells them, each batch in one transaction with the room lists that it changes.
//!
//! Of a room list only what changed is looked at: a room that somebody joined is added; one that somebody left stays if another
//! active account of the organization is in it. That question needs the members of a room, for which an import, the one bulk
//! writer, keeps no index: it is made by the first change that ends memberships.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use chat::memberships::{NewestChanges, RoomMark};
use chat::{MembershipChange, Memberships, PortResult, Position, RoomChange, RoomId};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, SqliteConnection};

use super::SqliteDirectory;
use crate::sqlite::json;

/// An organization and a room.
type Sight = (i64, i64);
/// A room and an account.
type Pair = (i64, i64);

/// Large indexes are sorted in a file: memory must not grow with the directory. Not inside a transaction.
const INDEX_BY_ROOM: &str = "PRAGMA temp_store = FILE;
    CREATE INDEX IF NOT EXISTS memberships_by_room ON memberships (room);
    PRAGMA temp_store = MEMORY;";

/// `[room, alive, deleted]`
const RAISE_ROOMS: &str = "INSERT OR REPLACE INTO room_positions (room, alive, deleted)
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1)";

/// `[room]`
const ADD_ROOMS: &str = "INSERT OR IGNORE INTO rooms (id) SELECT value FROM json_each(?1)";
const REMOVE_ROOMS: &str = "DELETE FROM rooms WHERE id IN (SELECT value FROM json_each(?1))";

/// `[room, position of its deletion]`
const SIGHTS_OF_DELETED: &str = "SELECT DISTINCT a.organization, m.room FROM json_each(?1) AS d
    CROSS JOIN memberships AS m INDEXED BY memberships_by_room ON m.room = d.value ->> 0
    CROSS JOIN accounts AS a ON a.id = m.account
    WHERE a.active";
const END_DELETED: &str = "DELETE FROM memberships WHERE (account, room) IN (
    SELECT m.account, m.room FROM json_each(?1) AS d
    CROSS JOIN memberships AS m INDEXED BY memberships_by_room ON m.room = d.value ->> 0
    LEFT JOIN membership_positions AS p ON p.room = m.room AND p.account = m.account
    WHERE p.position IS NULL OR p.position <= d.value ->> 1)";
const FORGET_DELETED: &str = "DELETE FROM membership_positions WHERE (room, account) IN (
    SELECT p.room, p.account FROM json_each(?1) AS d
    CROSS JOIN membership_positions AS p ON p.room = d.value ->> 0
    WHERE p.position <= d.value ->> 1)";

/// `[room, account, position]`; answers the pairs of which that is news.
const RAISE_MEMBERS: &str = "INSERT INTO membership_positions (room, account, position)
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1) WHERE true
    ON CONFLICT (room, account) DO UPDATE SET position = excluded.position WHERE excluded.position > position
    RETURNING room, account";

/// `[room, account]`
const JOIN: &str = "INSERT OR IGNORE INTO memberships (account, room)
    SELECT value ->> 1, value ->> 0 FROM json_each(?1)";
const LEAVE: &str = "DELETE FROM memberships
    WHERE (account, room) IN (SELECT value ->> 1, value ->> 0 FROM json_each(?1))";
const SIGHTS_OF: &str = "SELECT DISTINCT a.organization, p.value ->> 0 FROM json_each(?1) AS p
    CROSS JOIN accounts AS a ON a.id = p.value ->> 1
    WHERE a.active";

/// `[organization, room]`; answers those that are true.
const STILL_SEEN: &str = "SELECT s.value ->> 0, s.value ->> 1 FROM json_each(?1) AS s WHERE EXISTS (
    SELECT 1 FROM memberships AS m INDEXED BY memberships_by_room
    CROSS JOIN accounts AS a ON a.id = m.account
    WHERE m.room = s.value ->> 1 AND a.organization = s.value ->> 0 AND a.active)";

#[async_trait]
impl Memberships for SqliteDirectory {
    async fn apply(&self, changes: &[MembershipChange]) -> PortResult<()> {
        if changes.iter().any(|change| matches!(change.what, RoomChange::Deleted | RoomChange::Left(_))) {
            self.index_by_room().await?;
        }
        let newest = NewestChanges::of(changes);
        let mut transaction = self.begin().await?;
        let tx = &mut *transaction;
        let rooms = self.raise_rooms(tx, &newest).await?;
        let mut doubtful = self.end_deleted(tx, &rooms).await?;
        let (joined, left) = self.raise_members(tx, &newest, &rooms).await?;
        let seen: BTreeSet<Sight> = self.ask(tx, SIGHTS_OF, &joined).await?.into_iter().collect();
        doubtful.extend(self.ask::<_, Sight>(tx, SIGHTS_OF, &left).await?);
        self.renew_sights(tx, seen, doubtful).await?;
        self.commit(transaction).await
    }
}

/// What is remembered of a room.
struct Room {
    mark: RoomMark,
    /// The batch brought its newest deletion.
    deleted_now: bool,
}

impl SqliteDirectory {
    /// Sees to it that the members of a room are found by it.
    async fn index_by_room(&self) -> PortResult<()> {
        let writer = self.database.writer()?;
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'memberships_by_room')";
        let there: bool = sqlx::query_scalar(sql).fetch_one(writer).await.map_err(|e| self.error(e))?;
        if !there {
            sqlx::raw_sql(INDEX_BY_ROOM).execute(writer).await.map_err(|e| self.error(e))?;
        }
        Ok(())
    }

    /// Notes the newest changes of rooms, adds those that are known by them, and removes those that are deleted. Answers what is
    /// remembered of every room of the batch.
    async fn raise_rooms(
        &self,
        tx: &mut SqliteConnection,
        newest: &NewestChanges,
    ) -> PortResult<BTreeMap<RoomId, Room>> {
        let ids: Vec<i64> = newest.rooms.keys().map(|room| room.as_i64()).collect();
        let sql = "SELECT room, alive, deleted FROM room_positions WHERE room IN (SELECT value FROM json_each(?1))";
        let stored: Vec<(i64, Option<i64>, Option<i64>)> = self.ask(tx, sql, &ids).await?;
        let mark = |alive: Option<i64>, deleted: Option<i64>| RoomMark {
            alive: alive.map(Position::from_i64),
            deleted: deleted.map(Position::from_i64),
        };
        let stored: HashMap<i64, RoomMark> =
            stored.into_iter().map(|(room, alive, deleted)| (room, mark(alive, deleted))).collect();
        let (mut rooms, mut raised, mut known, mut unknown) = (BTreeMap::new(), Vec::new(), Vec::new(), Vec::new());
        for (room, mark) in &newest.rooms {
            let id = room.as_i64();
            let before = stored.get(&id).copied().unwrap_or_default();
            let mark = mark.newest(before);
            rooms.insert(*room, Room { mark, deleted_now: mark.deleted > before.deleted });
            if mark != before {
                raised.push((id, mark.alive.map(Position::as_i64), mark.deleted.map(Position::as_i64)));
                if mark.is_known() { &mut known } else { &mut unknown }.push(id);
            }
        }
        self.run(tx, RAISE_ROOMS, &raised).await?;
        self.run(tx, ADD_ROOMS, &known).await?;
        self.run(tx, REMOVE_ROOMS, &unknown).await?;
        Ok(rooms)
    }

    /// Ends the memberships that are older than the deletion of their room. Answers which organizations may no longer see which
    /// rooms.
    async fn end_deleted(
        &self,
        tx: &mut SqliteConnection,
        rooms: &BTreeMap<RoomId, Room>,
    ) -> PortResult<BTreeSet<Sight>> {
        let deleted = rooms.iter().filter(|(_, room)| room.deleted_now);
        let deleted: Vec<_> =
            deleted.map(|(id, room)| (id.as_i64(), room.mark.deleted.map(Position::as_i64))).collect();
        let sights = self.ask(tx, SIGHTS_OF_DELETED, &deleted).await?;
        self.run(tx, END_DELETED, &deleted).await?;
        self.run(tx, FORGET_DELETED, &deleted).await?;
        Ok(sights.into_iter().collect())
    }

    /// Notes the newest joins and leaves and makes and ends memberships accordingly. Answers who joined and who left, as far as
    /// that was news.
    async fn raise_members(
        &self,
        tx: &mut SqliteConnection,
        newest: &NewestChanges,
        rooms: &BTreeMap<RoomId, Room>,
    ) -> PortResult<(Vec<Pair>, Vec<Pair>)> {
        let (mut rows, mut joins) = (Vec::new(), BTreeSet::new());
        for ((room, account), member) in &newest.members {
            if !rooms.get(room).is_some_and(|room| room.mark.outlives(member.position)) {
                continue;
            }
            let pair = (room.as_i64(), account.as_i64());
            rows.push((pair.0, pair.1, member.position.as_i64()));
            if member.joined {
                joins.insert(pair);
            }
        }
        let news: Vec<Pair> = self.ask(tx, RAISE_MEMBERS, &rows).await?;
        let (joined, left): (Vec<Pair>, Vec<Pair>) = news.into_iter().partition(|pair| joins.contains(pair));
        self.run(tx, JOIN, &joined).await?;
        self.run(tx, LEAVE, &left).await?;
        Ok((joined, left))
    }

    /// Brings the room lists up to date: organizations see the rooms of `seen`, and those of `doubtful` only if one of their
    /// active accounts is still in them.
    async fn renew_sights(
        &self,
        tx: &mut SqliteConnection,
        seen: BTreeSet<Sight>,
        doubtful: BTreeSet<Sight>,
    ) -> PortResult<()> {
        let doubtful: Vec<Sight> = doubtful.difference(&seen).copied().collect();
        let still: Vec<Sight> = self.ask(tx, STILL_SEEN, &doubtful).await?;
        let mut edits: BTreeMap<i64, BTreeMap<RoomId, bool>> = BTreeMap::new();
        let sights = doubtful.into_iter().map(|sight| (sight, false));
        for ((organization, room), there) in sights.chain(seen.into_iter().chain(still).map(|sight| (sight, true))) {
            let room = RoomId::try_from(room).map_err(|e| self.corrupt(format_args!("a membership: {e}")))?;
            edits.entry(organization).or_default().insert(room, there);
        }
        let mut lists = self.room_lists(&mut *tx, edits.keys().copied()).await?;
        for (organization, edits) in edits {
            let before = lists.remove(&organization).unwrap_or_default();
            let mut rooms: Vec<RoomId> = before.iter().copied().filter(|room| !edits.contains_key(room)).collect();
            rooms.extend(edits.into_iter().filter_map(|(room, there)| there.then_some(room)));
            // Two ascending runs, which a stable sort merges.
            rooms.sort();
            if rooms != before {
                self.put_room_list(&mut *tx, organization, &rooms).await?;
            }
        }
        Ok(())
    }

    /// Runs a statement over a batch.
    async fn run<T: Serialize + Sync>(
        &self,
        tx: &mut SqliteConnection,
        sql: &'static str,
        batch: &[T],
    ) -> PortResult<()> {
        if !batch.is_empty() {
            sqlx::query(sql).bind(json(batch)?).execute(tx).await.map_err(|e| self.error(e))?;
        }
        Ok(())
    }

    /// Asks a question about a batch.
    async fn ask<T, R>(&self, tx: &mut SqliteConnection, sql: &'static str, batch: &[T]) -> PortResult<Vec<R>>
    where
        T: Serialize + Sync,
        R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        sqlx::query_as(sql).bind(json(batch)?).fetch_all(tx).await.map_err(|e| self.error(e))
    }
}

#[cfg(test)]
mod tests;
