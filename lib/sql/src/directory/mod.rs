//! Organizations, accounts, rooms and memberships, and their names.
//!
//! The directory is ours, with our tables and a writer, or an existing chat's, read by configured queries and never written.

mod changes;
mod load;
mod memberships;
mod names;
mod owned;
mod participants;
mod queries;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chat::{
    AccountId, ChangeCursor, Directory, Organization, OrganizationId, Participant, Plan, PortError, PortResult, RoomId,
};

pub use self::load::SqlLoad;
use self::queries::Checked;
pub use self::queries::DirectoryQueries;
use crate::SqlSettings;
use crate::database::{Access, Database, rows_max};
use crate::migrate::{Migrations, Schema};
use crate::row::Row;

const SCHEMA: Schema = Schema {
    table: "_lanner_directory_migrations",
    migrations: &[
        (
            1,
            "directory",
            include_str!("../../migrations/mysql/directory_0001.sql"),
            include_str!("../../migrations/postgres/directory_0001.sql"),
        ),
        (
            2,
            "names and imports",
            include_str!("../../migrations/mysql/directory_0002.sql"),
            include_str!("../../migrations/postgres/directory_0002.sql"),
        ),
        (
            3,
            "positions",
            include_str!("../../migrations/mysql/directory_0003.sql"),
            include_str!("../../migrations/postgres/directory_0003.sql"),
        ),
        (
            4,
            "changes",
            include_str!("../../migrations/mysql/directory_0004.sql"),
            include_str!("../../migrations/postgres/directory_0004.sql"),
        ),
    ],
};

/// Ids that one query asks for at most.
const QUERY_IDS_MAX: usize = 512;
/// Rows of one writing statement at most; a larger batch is several statements of its transaction.
const STATEMENT_ROWS_MAX: usize = 1_024;

/// A directory in a MySQL, MariaDB or PostgreSQL database.
#[derive(Clone, Debug)]
pub struct SqlDirectory {
    database: Database,
    queries: Arc<Checked>,
    access: Access,
    /// Statements at the same time, at most.
    in_flight: usize,
}

impl SqlDirectory {
    /// How far the tables are that [`SqlDirectory::open`] makes and brings up to date. Changes nothing.
    ///
    /// # Errors
    ///
    /// Unavailable while the database cannot be reached; refused when it lets us not in.
    pub async fn migrations(settings: &SqlSettings) -> PortResult<Migrations> {
        SCHEMA.look(&Database::connect(settings, "the directory", Access::Read).await?).await
    }

    /// Opens our own directory, making and migrating its tables.
    ///
    /// # Errors
    ///
    /// Unavailable while the database cannot be reached; refused when it lets us not in or not make tables, and when a newer
    /// version made them.
    pub async fn open(settings: &SqlSettings) -> PortResult<Self> {
        let database = Database::connect(settings, "the directory", Access::Write).await?;
        SCHEMA.apply(&database).await?;
        let queries = Checked::new(&database, &DirectoryQueries::default()).await?;
        Ok(Self { database, queries: queries.into(), access: Access::Write, in_flight: in_flight(settings) })
    }

    /// Opens the directory of an existing chat, which is only read: by `queries`, in read-only transactions.
    ///
    /// # Errors
    ///
    /// Unavailable while the database cannot be reached; refused, naming the query, when it does more than read, does not run, or
    /// lacks a column or has it in a type that cannot be read.
    pub async fn open_chat(settings: &SqlSettings, queries: &DirectoryQueries) -> PortResult<Self> {
        let database = Database::connect(settings, "the directory", Access::Read).await?;
        let queries = Checked::new(&database, queries).await?;
        Ok(Self { database, queries: queries.into(), access: Access::Read, in_flight: in_flight(settings) })
    }

    /// Refuses where the directory is a chat's.
    fn check_owned(&self) -> PortResult<()> {
        match self.access {
            Access::Write => Ok(()),
            Access::Read => Err(PortError::refused(format!(
                "{} belongs to the chat (directory.owner = chat): it is only read",
                self.database.what()
            ))),
        }
    }

    /// What an operator should know: queries that read a whole table for want of an index.
    pub fn warnings(&self) -> &[String] {
        &self.queries.warnings
    }

    async fn free_page(&self, after: i64, limit: usize) -> PortResult<Vec<Organization>> {
        let values = [("after", after.into()), ("limit", rows_max(limit).into())];
        let rows = self.queries.free_organizations.fetch(&self.database, &values).await?;
        let page: Vec<Organization> =
            rows.iter().map(|row| organization(row, Plan::Free)).collect::<PortResult<_>>()?;
        // A page that does not go on behind the last one would be listed for ever.
        let ascending =
            page.is_sorted_by(|a, b| a.id < b.id) && page.first().is_none_or(|first| first.id.as_i64() > after);
        if ascending && page.len() <= limit {
            return Ok(page);
        }
        Err(PortError::refused(
            "the query free_organizations must answer ids above :after, ascending, at most :limit: \
             write id > :after ORDER BY id LIMIT :limit",
        ))
    }

    async fn organizations_in(&self, ids: &[i64]) -> PortResult<HashMap<i64, Organization>> {
        let mut found = HashMap::with_capacity(ids.len());
        for chunk in ids.chunks(QUERY_IDS_MAX) {
            for row in self.queries.organizations.fetch(&self.database, &[("ids", chunk.into())]).await? {
                let plan = if row.truth("free")? { Plan::Free } else { Plan::Paid };
                found.insert(row.whole("id")?, organization(&row, plan)?);
            }
        }
        Ok(found)
    }

    async fn rooms_in(&self, ids: &[i64]) -> PortResult<HashMap<i64, Vec<RoomId>>> {
        let mut found: HashMap<i64, Vec<RoomId>> = HashMap::with_capacity(ids.len());
        for chunk in ids.chunks(QUERY_IDS_MAX) {
            for row in self.queries.rooms.fetch(&self.database, &[("ids", chunk.into())]).await? {
                found.entry(row.whole("organization")?).or_default().push(row.whole("room")?);
            }
        }
        for rooms in found.values_mut() {
            rooms.sort_unstable();
            rooms.dedup();
        }
        Ok(found)
    }
}

fn in_flight(settings: &SqlSettings) -> usize {
    settings.connections_max.max(1) as usize
}

fn organization(row: &Row, plan: Plan) -> PortResult<Organization> {
    let plan_version = if row.has("plan_version") { row.whole_or_none("plan_version")?.unwrap_or(0) } else { 0 };
    Ok(Organization { id: row.whole("id")?, plan, plan_version })
}

fn numbers(ids: &[OrganizationId]) -> Vec<i64> {
    ids.iter().map(|id| id.as_i64()).collect()
}

#[async_trait]
impl Directory for SqlDirectory {
    async fn free_organizations(&self, after: Option<OrganizationId>, limit: usize) -> PortResult<Vec<Organization>> {
        let after = after.map_or(-1, OrganizationId::as_i64);
        self.database.repeat(true, || self.free_page(after, limit)).await
    }

    async fn organizations(&self, ids: &[OrganizationId]) -> PortResult<Vec<Option<Organization>>> {
        let ids = numbers(ids);
        let found = self.database.repeat(true, || self.organizations_in(&ids)).await?;
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    async fn rooms_of(&self, ids: &[OrganizationId]) -> PortResult<Vec<Vec<RoomId>>> {
        let ids = numbers(ids);
        let found = self.database.repeat(true, || self.rooms_in(&ids)).await?;
        Ok(ids.iter().map(|id| found.get(id).cloned().unwrap_or_default()).collect())
    }

    async fn participants(&self, asked: &[(AccountId, RoomId)]) -> PortResult<Vec<Option<Participant>>> {
        self.ask_participants(asked).await
    }

    async fn changed_organizations(&self, after: ChangeCursor, limit: usize) -> PortResult<Vec<ChangeCursor>> {
        self.ask_changes(after, limit).await
    }
}
