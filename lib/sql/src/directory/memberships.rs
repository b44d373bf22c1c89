//! `Memberships`: joins, leaves and rooms as a log tells them, each batch in one transaction.
//!
//! Whoever writes first locks the rooms of its batch, in the order of their ids: what it then reads of them is the newest, and
//! what it writes are absolute values.

use std::collections::{BTreeMap, HashMap, HashSet};

use async_trait::async_trait;
use chat::memberships::{NewestChanges, RoomMark};
use chat::{MembershipChange, Memberships, PortResult, Position, RoomId};
use serde::Serialize;

use super::{STATEMENT_ROWS_MAX, SqlDirectory};
use crate::database::{Tx, json};
use crate::row::Row;

/// Keeps an import, which locks the same row, from replacing the directory meanwhile.
const NO_IMPORT_MYSQL: &str = "SELECT id FROM imports WHERE id = 0 LOCK IN SHARE MODE";
const NO_IMPORT_POSTGRES: &str = "SELECT id FROM imports WHERE id = 0 FOR SHARE";

/// What differs between the dialects. On MySQL `STRAIGHT_JOIN` reads the batch first and finds each row by its key.
struct Statements {
    /// `[room]`, as the next two
    add_room_positions: &'static str,
    lock_rooms: &'static str,
    remove_rooms: &'static str,
    /// `{room, alive, deleted}`
    raise_rooms: &'static str,
    /// `[room, position of its deletion]`, as the next
    end_deleted: &'static str,
    forget_deleted: &'static str,
    /// `[account, room, position]`, as the next two
    positions: &'static str,
    raise_members: &'static str,
    leave: &'static str,
}

const MYSQL: Statements = Statements {
    add_room_positions: "
        INSERT INTO room_positions (room)
        SELECT b.room FROM JSON_TABLE(:batch, '$[*]' COLUMNS (room BIGINT PATH '$')) AS b
        ON DUPLICATE KEY UPDATE room = VALUES(room)",
    lock_rooms: "
        SELECT p.room, p.alive, p.deleted
        FROM JSON_TABLE(:batch, '$[*]' COLUMNS (room BIGINT PATH '$')) AS b
        STRAIGHT_JOIN room_positions AS p
        WHERE p.room = b.room
        FOR UPDATE",
    remove_rooms: "
        DELETE r FROM JSON_TABLE(:batch, '$[*]' COLUMNS (room BIGINT PATH '$')) AS b
        STRAIGHT_JOIN rooms AS r
        WHERE r.id = b.room",
    raise_rooms: "
        INSERT INTO room_positions (room, alive, deleted)
        SELECT b.room, b.alive, b.deleted
        FROM JSON_TABLE(:batch, '$[*]' COLUMNS (
            room BIGINT PATH '$.room', alive BIGINT PATH '$.alive', deleted BIGINT PATH '$.deleted'
        )) AS b
        ON DUPLICATE KEY UPDATE alive = VALUES(alive), deleted = VALUES(deleted)",
    end_deleted: "
        DELETE m
        FROM JSON_TABLE(:batch, '$[*]' COLUMNS (room BIGINT PATH '$[0]', deleted BIGINT PATH '$[1]')) AS b
        STRAIGHT_JOIN memberships AS m ON m.room = b.room
        LEFT JOIN membership_positions AS p ON p.room = m.room AND p.account = m.account
        WHERE p.position IS NULL OR p.position <= b.deleted",
    forget_deleted: "
        DELETE p
        FROM JSON_TABLE(:batch, '$[*]' COLUMNS (room BIGINT PATH '$[0]', deleted BIGINT PATH '$[1]')) AS b
        STRAIGHT_JOIN membership_positions AS p
        WHERE p.room = b.room AND p.position <= b.deleted",
    positions: "
        SELECT p.room, p.account, p.position
        FROM JSON_TABLE(:batch, '$[*]' COLUMNS (account BIGINT PATH '$[0]', room BIGINT PATH '$[1]')) AS b
        STRAIGHT_JOIN membership_positions AS p
        WHERE p.room = b.room AND p.account = b.account
        FOR UPDATE",
    raise_members: "
        INSERT INTO membership_positions (room, account, position)
        SELECT b.room, b.account, b.position
        FROM JSON_TABLE(:batch, '$[*]' COLUMNS (
            account BIGINT PATH '$[0]', room BIGINT PATH '$[1]', position BIGINT PATH '$[2]'
        )) AS b
        ON DUPLICATE KEY UPDATE position = VALUES(position)",
    leave: "
        DELETE m
        FROM JSON_TABLE(:batch, '$[*]' COLUMNS (account BIGINT PATH '$[0]', room BIGINT PATH '$[1]')) AS b
        STRAIGHT_JOIN memberships AS m
        WHERE m.account = b.account AND m.room = b.room",
};

const POSTGRES: Statements = Statements {
    add_room_positions: "
        INSERT INTO room_positions (room) SELECT value::bigint FROM json_array_elements_text(:batch::json) AS b(value)
        ON CONFLICT DO NOTHING",
    lock_rooms: "
        SELECT p.room, p.alive, p.deleted
        FROM json_array_elements_text(:batch::json) AS b(value)
        JOIN room_positions AS p ON p.room = b.value::bigint
        ORDER BY p.room
        FOR UPDATE OF p",
    remove_rooms: "
        DELETE FROM rooms AS r
        USING json_array_elements_text(:batch::json) AS b(value)
        WHERE r.id = b.value::bigint",
    raise_rooms: "
        INSERT INTO room_positions (room, alive, deleted)
        SELECT room, alive, deleted FROM json_to_recordset(:batch::json) AS b(room bigint, alive bigint, deleted bigint)
        ON CONFLICT (room) DO UPDATE SET alive = excluded.alive, deleted = excluded.deleted",
    end_deleted: "
        DELETE FROM memberships AS m
        USING json_array_elements(:batch::json) AS b(value)
        WHERE m.room = (b.value ->> 0)::bigint AND NOT EXISTS (
            SELECT 1 FROM membership_positions AS p
            WHERE p.room = m.room AND p.account = m.account AND p.position > (b.value ->> 1)::bigint
        )",
    forget_deleted: "
        DELETE FROM membership_positions AS p
        USING json_array_elements(:batch::json) AS b(value)
        WHERE p.room = (b.value ->> 0)::bigint AND p.position <= (b.value ->> 1)::bigint",
    positions: "
        SELECT p.room, p.account, p.position
        FROM json_array_elements(:batch::json) AS b(value)
        JOIN membership_positions AS p ON p.room = (b.value ->> 1)::bigint AND p.account = (b.value ->> 0)::bigint
        ORDER BY p.room, p.account
        FOR UPDATE OF p",
    raise_members: "
        INSERT INTO membership_positions (room, account, position)
        SELECT (value ->> 1)::bigint, (value ->> 0)::bigint, (value ->> 2)::bigint
        FROM json_array_elements(:batch::json) AS b(value)
        ON CONFLICT (room, account) DO UPDATE SET position = excluded.position",
    leave: "
        DELETE FROM memberships AS m
        USING json_array_elements(:batch::json) AS b(value)
        WHERE m.account = (b.value ->> 0)::bigint AND m.room = (b.value ->> 1)::bigint",
};

/// What is to be remembered of a room; what is left out is NULL.
#[derive(Serialize)]
struct RoomRow {
    room: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    alive: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<i64>,
}

/// An account, a room, and the position of the newest change of its membership.
type MemberRow = (i64, i64, i64);

#[async_trait]
impl Memberships for SqlDirectory {
    async fn apply(&self, changes: &[MembershipChange]) -> PortResult<()> {
        let newest = NewestChanges::of(changes);
        self.database.repeat(true, || self.apply_once(&newest)).await
    }
}

impl SqlDirectory {
    async fn apply_once(&self, newest: &NewestChanges) -> PortResult<()> {
        let mut tx = self.begin().await?;
        tx.fetch(self.database.pick(NO_IMPORT_MYSQL, NO_IMPORT_POSTGRES), &[]).await?;
        let before = self.lock_rooms(&mut tx, newest).await?;
        let rooms = newest
            .rooms
            .iter()
            .map(|(room, mark)| (*room, mark.newest(before.get(&room.as_i64()).copied().unwrap_or_default())));
        let rooms: BTreeMap<RoomId, RoomMark> = rooms.collect();
        self.raise_rooms(&mut tx, &before, &rooms).await?;
        self.raise_members(&mut tx, newest, &rooms).await?;
        tx.commit().await
    }

    fn changes(&self) -> &'static Statements {
        self.database.pick(&MYSQL, &POSTGRES)
    }

    /// Lets nobody else change the rooms of a batch, and answers what is remembered of them.
    async fn lock_rooms(&self, tx: &mut Tx, newest: &NewestChanges) -> PortResult<HashMap<i64, RoomMark>> {
        let ids: Vec<i64> = newest.rooms.keys().map(|room| room.as_i64()).collect();
        run(tx, self.changes().add_room_positions, &ids).await?;
        let rows = ask(tx, self.changes().lock_rooms, &ids).await?;
        let mark = |row: &Row| {
            let position = |column| Ok(row.whole_or_none(column)?.map(Position::from_i64));
            Ok((row.whole("room")?, RoomMark { alive: position("alive")?, deleted: position("deleted")? }))
        };
        rows.iter().map(mark).collect()
    }

    /// Notes the newest changes of rooms, adds those that are known by them, ends the memberships that are older than the
    /// deletion of their room, and removes rooms that are deleted.
    async fn raise_rooms(
        &self,
        tx: &mut Tx,
        before: &HashMap<i64, RoomMark>,
        rooms: &BTreeMap<RoomId, RoomMark>,
    ) -> PortResult<()> {
        let (mut raised, mut known, mut unknown, mut deleted) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (room, mark) in rooms {
            let room = room.as_i64();
            let before = before.get(&room).copied().unwrap_or_default();
            if *mark == before {
                continue;
            }
            let [alive, deletion] = [mark.alive, mark.deleted].map(|position| position.map(Position::as_i64));
            raised.push(RoomRow { room, alive, deleted: deletion });
            if mark.is_known() { &mut known } else { &mut unknown }.push(room);
            if mark.deleted > before.deleted {
                deleted.push((room, deletion));
            }
        }
        run(tx, self.changes().raise_rooms, &raised).await?;
        run(tx, self.statements().put_rooms, &known).await?;
        run(tx, self.changes().end_deleted, &deleted).await?;
        run(tx, self.changes().forget_deleted, &deleted).await?;
        run(tx, self.changes().remove_rooms, &unknown).await
    }

    /// Notes the newest joins and leaves, and makes and ends memberships accordingly.
    async fn raise_members(
        &self,
        tx: &mut Tx,
        newest: &NewestChanges,
        rooms: &BTreeMap<RoomId, RoomMark>,
    ) -> PortResult<()> {
        let (mut rows, mut joins) = (Vec::new(), HashSet::new());
        for ((room, account), member) in &newest.members {
            if !rooms.get(room).is_some_and(|mark| mark.outlives(member.position)) {
                continue;
            }
            let row = (account.as_i64(), room.as_i64(), member.position.as_i64());
            rows.push(row);
            if member.joined {
                joins.insert(row);
            }
        }
        let mut known: HashMap<(i64, i64), i64> = HashMap::with_capacity(rows.len());
        for row in ask(tx, self.changes().positions, &rows).await? {
            known.insert((row.whole("account")?, row.whole("room")?), row.whole("position")?);
        }
        rows.retain(|(account, room, position)| known.get(&(*account, *room)).is_none_or(|known| known < position));
        run(tx, self.changes().raise_members, &rows).await?;
        let (joined, left): (Vec<MemberRow>, Vec<MemberRow>) = rows.into_iter().partition(|row| joins.contains(row));
        run(tx, self.statements().put_memberships, &joined).await?;
        run(tx, self.changes().leave, &left).await
    }
}

/// Runs a statement over rows.
async fn run<T: Serialize>(tx: &mut Tx, sql: &str, rows: &[T]) -> PortResult<()> {
    for chunk in rows.chunks(STATEMENT_ROWS_MAX) {
        tx.execute(sql, &[("batch", json(chunk)?.into())]).await?;
    }
    Ok(())
}

/// Asks about rows.
async fn ask<T: Serialize>(tx: &mut Tx, sql: &str, rows: &[T]) -> PortResult<Vec<Row>> {
    let mut answer = Vec::with_capacity(rows.len());
    for chunk in rows.chunks(STATEMENT_ROWS_MAX) {
        answer.extend(tx.fetch(sql, &[("batch", json(chunk)?.into())]).await?);
    }
    Ok(answer)
}
