//! Organizations, accounts, rooms and memberships in SQLite.
//!
//! The rooms of an organization are kept as a projection, one packed list per organization, so that no membership is read when
//! a run asks: a batch of organizations is one query. Every write renews the lists it touches in its own transaction.

mod changes;
mod memberships;
mod names;
mod owned;
pub(crate) mod room_list;
mod write;

use std::collections::HashMap;

use async_trait::async_trait;
use chat::{
    AccountId, ChangeCursor, Directory, Organization, OrganizationId, Participant, PortError, PortResult, RoomId,
};
use sqlx::{Row, sqlite::SqliteRow};

use crate::{
    DataDir,
    sqlite::{Database, Schema, Tx, json},
};

const SCHEMA: Schema = Schema {
    what: "the directory",
    migrations: &[
        (1, "directory", include_str!("../migrations/directory/0001_directory.sql")),
        (2, "names", include_str!("../migrations/directory/0002_names.sql")),
        (3, "positions", include_str!("../migrations/directory/0003_positions.sql")),
        (4, "changes", include_str!("../migrations/directory/0004_changes.sql")),
    ],
};

/// `[account, room]`; answers the place of the question, the organization, and whether it is so.
const PARTICIPANTS: &str = "SELECT q.key, a.organization,
        EXISTS (SELECT 1 FROM memberships AS m WHERE m.account = a.id AND m.room = q.value ->> 1)
    FROM json_each(?1) AS q
    CROSS JOIN accounts AS a ON a.id = q.value ->> 0
    WHERE a.active";

/// The directory in `directory.sqlite`.
#[derive(Clone, Debug)]
pub struct SqliteDirectory {
    database: Database,
}

impl SqliteDirectory {
    /// Opens the directory in `dir`, which was opened for writing if this one is to be written.
    pub async fn open(dir: &DataDir) -> PortResult<Self> {
        Ok(Self { database: Database::open(dir, dir.directory_sqlite(), &SCHEMA).await? })
    }

    /// Several changes that take effect together.
    pub(crate) async fn begin(&self) -> PortResult<Tx> {
        self.database.begin().await
    }

    /// Makes them take effect.
    pub(crate) async fn commit(&self, transaction: Tx) -> PortResult<()> {
        self.database.commit(transaction).await
    }

    /// The connections that read.
    pub(crate) fn reader(&self) -> &sqlx::SqlitePool {
        self.database.reader()
    }

    /// A stored value that cannot be.
    pub(crate) fn corrupt(&self, value: impl std::fmt::Display) -> PortError {
        self.database.corrupt(value)
    }

    /// Organizations of every plan with an id above `after`, ascending, at most `limit`.
    pub(crate) async fn organizations_after(
        &self,
        after: Option<OrganizationId>,
        limit: usize,
    ) -> PortResult<Vec<Organization>> {
        let sql = "SELECT id, plan, plan_version FROM organizations WHERE id > ?1 ORDER BY id LIMIT ?2";
        let query = sqlx::query(sql).bind(after.map_or(-1, OrganizationId::as_i64));
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(self.database.reader()).await.map_err(|e| self.error(e))?;
        rows.iter().map(|row| self.organization(row)).collect()
    }

    /// What SQLite's failure means.
    pub(crate) fn error(&self, e: sqlx::Error) -> PortError {
        self.database.error(e)
    }

    /// True when an import has replaced the directory and has not yet brought all messages: it is under way or was killed, and
    /// must be run again.
    pub async fn unfinished_import(&self) -> PortResult<bool> {
        let query = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM imports WHERE NOT finished)");
        query.fetch_one(self.database.reader()).await.map_err(|e| self.error(e))
    }

    /// Notes that the last import has brought everything, and gives back the disk space of its log where nobody reads it.
    pub(crate) async fn finish_import(&self) -> PortResult<()> {
        let sql = "UPDATE imports SET finished = 1; PRAGMA wal_checkpoint(TRUNCATE)";
        sqlx::raw_sql(sql).execute(self.database.writer()?).await.map_err(|e| self.error(e))?;
        Ok(())
    }

    /// The room lists of those of `organizations` that see a room.
    async fn room_lists(
        &self,
        executor: impl sqlx::Executor<'_, Database = sqlx::Sqlite>,
        organizations: impl Iterator<Item = i64>,
    ) -> PortResult<HashMap<i64, Vec<RoomId>>> {
        let sql = "SELECT organization, rooms FROM organization_rooms WHERE organization IN (SELECT value FROM json_each(?1))";
        let query = sqlx::query_as(sql).bind(json_ids(organizations));
        let rows: Vec<(i64, Vec<u8>)> = query.fetch_all(executor).await.map_err(|e| self.error(e))?;
        let unpacked = |(id, bytes): (i64, Vec<u8>)| {
            let unreadable =
                || self.corrupt(format_args!("a room list of organization {id} that does not read: import again"));
            Ok((id, room_list::unpack(&bytes).ok_or_else(unreadable)?))
        };
        rows.into_iter().map(unpacked).collect()
    }

    fn organization(&self, row: &SqliteRow) -> PortResult<Organization> {
        let read = || Ok((row.try_get::<i64, _>(0)?, row.try_get::<&str, _>(1)?, row.try_get::<i64, _>(2)?));
        let (id, plan, version) = read().map_err(|e| self.error(e))?;
        let corrupt = |what: &str| self.database.corrupt(format!("organization {id} with {what}"));
        Ok(Organization {
            id: OrganizationId::try_from(id).map_err(|_| corrupt("an id below 0"))?,
            plan: plan.parse().map_err(|_| corrupt("an unknown plan"))?,
            plan_version: u64::try_from(version).map_err(|_| corrupt("a plan version below 0"))?,
        })
    }
}

/// Ids as a JSON array for `json_each`: one statement for any number of them.
pub(crate) fn json_ids(ids: impl Iterator<Item = i64>) -> String {
    let mut json = String::from("[");
    for id in ids {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&id.to_string());
    }
    json.push(']');
    json
}

#[async_trait]
impl Directory for SqliteDirectory {
    async fn free_organizations(&self, after: Option<OrganizationId>, limit: usize) -> PortResult<Vec<Organization>> {
        let sql =
            "SELECT id, plan, plan_version FROM organizations WHERE plan = 'free' AND id > ?1 ORDER BY id LIMIT ?2";
        let query = sqlx::query(sql).bind(after.map_or(-1, OrganizationId::as_i64));
        let rows = query
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(self.database.reader())
            .await
            .map_err(|e| self.error(e))?;
        rows.iter().map(|row| self.organization(row)).collect()
    }

    async fn organizations(&self, ids: &[OrganizationId]) -> PortResult<Vec<Option<Organization>>> {
        let sql = "SELECT id, plan, plan_version FROM organizations WHERE id IN (SELECT value FROM json_each(?1))";
        let query = sqlx::query(sql).bind(json_ids(ids.iter().map(|id| id.as_i64())));
        let rows = query.fetch_all(self.database.reader()).await.map_err(|e| self.error(e))?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            let organization = self.organization(row)?;
            found.insert(organization.id, organization);
        }
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    async fn rooms_of(&self, ids: &[OrganizationId]) -> PortResult<Vec<Vec<RoomId>>> {
        let found = self.room_lists(self.database.reader(), ids.iter().map(|id| id.as_i64())).await?;
        Ok(ids.iter().map(|id| found.get(&id.as_i64()).cloned().unwrap_or_default()).collect())
    }

    async fn participants(&self, asked: &[(AccountId, RoomId)]) -> PortResult<Vec<Option<Participant>>> {
        let pairs: Vec<_> = asked.iter().map(|(account, room)| (account.as_i64(), room.as_i64())).collect();
        let query = sqlx::query_as(PARTICIPANTS).bind(json(&pairs)?);
        let rows: Vec<(i64, i64, bool)> = query.fetch_all(self.database.reader()).await.map_err(|e| self.error(e))?;
        let mut answers = vec![None; asked.len()];
        for (place, organization, is_member) in rows {
            let organization = OrganizationId::try_from(organization);
            let organization = organization.map_err(|e| self.corrupt(format_args!("an account: {e}")))?;
            if let Some(answer) = usize::try_from(place).ok().and_then(|place| answers.get_mut(place)) {
                *answer = Some(Participant { organization, is_member });
            }
        }
        Ok(answers)
    }
    async fn changed_organizations(&self, after: ChangeCursor, limit: usize) -> PortResult<Vec<ChangeCursor>> {
        self.changes_after(after, limit).await
    }
}
