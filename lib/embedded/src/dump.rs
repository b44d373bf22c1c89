//! The embedded stores read whole: the directory from SQLite, ids of messages from the packed index.

use async_trait::async_trait;
use chat::{AccountId, Organization, OrganizationId, PortError, PortResult, RoomId};
use import::{Account, Counts, Dump, Membership, Name, NameKind, RoomMessages};
use sqlx::Row as _;

use crate::{PackedIndex, SqliteDirectory};

/// The embedded stores as tables. Each page is one snapshot of its store.
#[derive(Clone)]
pub struct EmbeddedDump {
    directory: SqliteDirectory,
    index: PackedIndex,
}

impl EmbeddedDump {
    /// Reads from `directory` and `index`.
    pub fn new(directory: SqliteDirectory, index: PackedIndex) -> Self {
        Self { directory, index }
    }

    fn corrupt(&self, what: &'static str) -> impl Fn(chat::id::NotAnId) -> PortError {
        let directory = self.directory.clone();
        move |e| directory.corrupt(format!("{what}: {e}"))
    }
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[async_trait]
impl Dump for EmbeddedDump {
    async fn counts(&self) -> PortResult<Counts> {
        let sql = "SELECT (SELECT count(*) FROM organizations), (SELECT count(*) FROM accounts), \
                   (SELECT count(*) FROM rooms), \
                   (SELECT count(*) FROM memberships WHERE account IN (SELECT id FROM accounts)), \
                   (SELECT count(*) FROM names)";
        let row = sqlx::query(sql).fetch_one(self.directory.reader()).await.map_err(|e| self.directory.error(e))?;
        let count = |place| row.try_get::<i64, _>(place).map(i64::cast_unsigned).map_err(|e| self.directory.error(e));
        let messages = self.index.counts()?;
        Ok(Counts {
            organizations: count(0)?,
            accounts: count(1)?,
            rooms: count(2)?,
            memberships: count(3)?,
            names: count(4)?,
            messages: messages.live_ids + messages.tombstones,
        })
    }

    async fn organizations(&self, after: Option<OrganizationId>, limit: usize) -> PortResult<Vec<Organization>> {
        self.directory.organizations_after(after, limit).await
    }

    async fn accounts(&self, after: Option<AccountId>, limit: usize) -> PortResult<Vec<Account>> {
        let sql = "SELECT id, organization, active FROM accounts WHERE id > ?1 ORDER BY id LIMIT ?2";
        let query = sqlx::query_as(sql).bind(after.map_or(-1, AccountId::as_i64)).bind(rows(limit));
        let found: Vec<(i64, i64, bool)> =
            query.fetch_all(self.directory.reader()).await.map_err(|e| self.directory.error(e))?;
        let account = |(id, organization, active)| {
            Ok(Account { id: AccountId::try_from(id)?, organization: OrganizationId::try_from(organization)?, active })
        };
        found.into_iter().map(account).collect::<Result<_, _>>().map_err(self.corrupt("an account"))
    }

    async fn rooms(&self, after: Option<RoomId>, limit: usize) -> PortResult<Vec<RoomId>> {
        let sql = "SELECT id FROM rooms WHERE id > ?1 ORDER BY id LIMIT ?2";
        let query = sqlx::query_scalar(sql).bind(after.map_or(-1, RoomId::as_i64)).bind(rows(limit));
        let found: Vec<i64> = query.fetch_all(self.directory.reader()).await.map_err(|e| self.directory.error(e))?;
        found.into_iter().map(RoomId::try_from).collect::<Result<_, _>>().map_err(self.corrupt("a room"))
    }

    async fn memberships(&self, after: Option<Membership>, limit: usize) -> PortResult<Vec<Membership>> {
        let (account, room) = after.map_or((-1, -1), |after| (after.account.as_i64(), after.room.as_i64()));
        // Those that wait for their account are not part of a whole directory.
        let sql = "SELECT account, room FROM memberships WHERE (account, room) > (?1, ?2) \
                   AND EXISTS (SELECT 1 FROM accounts WHERE id = account) ORDER BY account, room LIMIT ?3";
        let query = sqlx::query_as(sql).bind(account).bind(room).bind(rows(limit));
        let found: Vec<(i64, i64)> =
            query.fetch_all(self.directory.reader()).await.map_err(|e| self.directory.error(e))?;
        let membership =
            |(account, room)| Ok(Membership { account: AccountId::try_from(account)?, room: RoomId::try_from(room)? });
        found.into_iter().map(membership).collect::<Result<_, _>>().map_err(self.corrupt("a membership"))
    }

    async fn names(&self, after: Option<(NameKind, u64)>, limit: usize) -> PortResult<Vec<Name>> {
        self.directory.names_after(after, limit).await
    }

    async fn messages(&self, after: Option<RoomId>, ids: usize) -> PortResult<Vec<RoomMessages>> {
        self.index.rooms_after(after, ids)
    }
}
