//! The last active day of each room.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use chat::{Day, Head, Heads, PortResult, RoomId};

use crate::SqlSettings;
use crate::database::{Access, Database, json};
use crate::migrate::{Migrations, Schema};

const SCHEMA: Schema = Schema {
    table: "_lanner_heads_migrations",
    migrations: &[(
        1,
        "heads",
        include_str!("../migrations/mysql/heads_0001.sql"),
        include_str!("../migrations/postgres/heads_0001.sql"),
    )],
};

/// Rows of one statement at most.
const STATEMENT_ROWS_MAX: usize = 1_024;

const RAISE_MYSQL: &str = "
    INSERT INTO room_heads (room, last_active_day)
    SELECT b.room, b.day
    FROM JSON_TABLE(:batch, '$[*]' COLUMNS (room BIGINT PATH '$[0]', day BIGINT PATH '$[1]')) AS b
    ON DUPLICATE KEY UPDATE last_active_day = greatest(room_heads.last_active_day, VALUES(last_active_day))";
const RAISE_POSTGRES: &str = "
    INSERT INTO room_heads AS h (room, last_active_day)
    SELECT (value ->> 0)::bigint, (value ->> 1)::bigint FROM json_array_elements(:batch::json) AS b(value)
    ON CONFLICT (room) DO UPDATE SET last_active_day = excluded.last_active_day
    WHERE h.last_active_day < excluded.last_active_day";

/// The heads in a MySQL, MariaDB or PostgreSQL database: table `room_heads`.
#[derive(Clone, Debug)]
pub struct SqlHeads {
    database: Database,
}

impl SqlHeads {
    /// How far the tables are that [`SqlHeads::open`] makes and brings up to date. Changes nothing.
    ///
    /// # Errors
    ///
    /// Unavailable while the database cannot be reached; refused when it lets us not in.
    pub async fn migrations(settings: &SqlSettings) -> PortResult<Migrations> {
        SCHEMA.look(&Database::connect(settings, "the heads", Access::Read).await?).await
    }

    /// Opens the heads, making and migrating their table.
    ///
    /// # Errors
    ///
    /// Unavailable while the database cannot be reached; refused when it lets us not in or not make tables, and when a newer
    /// version made them.
    pub async fn open(settings: &SqlSettings) -> PortResult<Self> {
        let database = Database::connect(settings, "the heads", Access::Write).await?;
        SCHEMA.apply(&database).await?;
        Ok(Self { database })
    }

    async fn raise_all(&self, days: &[(i64, u32)]) -> PortResult<()> {
        let mut tx = self.database.begin().await?;
        for chunk in days.chunks(STATEMENT_ROWS_MAX) {
            let sql = self.database.pick(RAISE_MYSQL, RAISE_POSTGRES);
            tx.execute(sql, &[("batch", json(chunk)?.into())]).await?;
        }
        tx.commit().await
    }

    async fn days_of(&self, rooms: &[i64]) -> PortResult<HashMap<i64, Head>> {
        let mut found = HashMap::with_capacity(rooms.len());
        for chunk in rooms.chunks(STATEMENT_ROWS_MAX) {
            let sql = "SELECT room, last_active_day FROM room_heads WHERE room IN (:rooms)";
            for row in self.database.fetch(sql, &[("rooms", chunk.into())]).await? {
                found.insert(row.whole("room")?, Head::Day(Day(row.whole("last_active_day")?)));
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Heads for SqlHeads {
    async fn raise(&self, days: &[(RoomId, Day)]) -> PortResult<()> {
        // Each room once, in one order for everybody.
        let mut highest: BTreeMap<i64, u32> = BTreeMap::new();
        for (room, day) in days {
            let known = highest.entry(room.as_i64()).or_insert(day.0);
            *known = day.0.max(*known);
        }
        if highest.is_empty() {
            return Ok(());
        }
        let rows: Vec<(i64, u32)> = highest.into_iter().collect();
        self.database.repeat(true, || self.raise_all(&rows)).await
    }

    async fn of(&self, rooms: &[RoomId]) -> PortResult<Vec<Head>> {
        let ids: Vec<i64> = rooms.iter().map(|room| room.as_i64()).collect();
        let found = self.database.repeat(true, || self.days_of(&ids)).await?;
        Ok(ids.iter().map(|id| found.get(id).copied().unwrap_or(Head::Unknown)).collect())
    }
}
