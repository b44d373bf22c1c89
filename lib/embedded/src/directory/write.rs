//! Changes of the directory. Each is one transaction, which renews the room lists it touches.

use std::collections::BTreeSet;

use chat::{AccountId, Organization, OrganizationId, Plan, PortError, PortResult, RoomId};
use import::{Account, Membership};
use sqlx::SqliteConnection;

use super::{SqliteDirectory, room_list};
use crate::sqlite::Tx;

impl SqliteDirectory {
    /// Adds organizations or changes known ones. The plan version never falls: it becomes the given one or, where greater, the
    /// stored one, counted one up if the plan differs.
    pub async fn put_organizations(&self, organizations: &[Organization]) -> PortResult<()> {
        let mut transaction = self.begin().await?;
        let sql = "INSERT INTO organizations (id, plan, plan_version) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET \
                   plan = excluded.plan, \
                   plan_version = max(excluded.plan_version, plan_version + (plan <> excluded.plan))";
        for organization in organizations {
            let version = i64::try_from(organization.plan_version)
                .map_err(|_| PortError::refused(format!("organization {}: plan version too large", organization.id)))?;
            let query = sqlx::query(sql).bind(organization.id.as_i64()).bind(organization.plan.as_str());
            query.bind(version).execute(&mut *transaction).await.map_err(|e| self.error(e))?;
        }
        self.note_changed(&mut transaction, organizations.iter().map(|organization| organization.id.as_i64())).await?;
        self.commit(transaction).await
    }

    /// Adds accounts or changes known ones: to which organization they belong and whether they are active. Their organizations
    /// must be known. Memberships that were waiting for an account count from here on.
    pub async fn put_accounts(&self, accounts: &[Account]) -> PortResult<()> {
        let mut transaction = self.begin().await?;
        let mut touched = BTreeSet::new();
        for account in accounts {
            let known = self.exists(&mut transaction, Known::Organization, account.organization.as_i64()).await?;
            if !known {
                return Err(unknown("organization", account.organization));
            }
            touched.extend(self.organization_of(&mut transaction, account.id).await?);
            touched.insert(account.organization.as_i64());
            let sql = "INSERT INTO accounts (id, organization, active) VALUES (?1, ?2, ?3) \
                       ON CONFLICT (id) DO UPDATE SET organization = excluded.organization, active = excluded.active";
            let query = sqlx::query(sql).bind(account.id.as_i64()).bind(account.organization.as_i64());
            query.bind(account.active).execute(&mut *transaction).await.map_err(|e| self.error(e))?;
        }
        self.note_changed(&mut transaction, touched.iter().copied()).await?;
        self.renew(transaction, touched).await
    }

    /// Adds rooms; known ones stay as they are.
    pub async fn put_rooms(&self, rooms: &[RoomId]) -> PortResult<()> {
        let mut transaction = self.begin().await?;
        for room in rooms {
            let query = sqlx::query("INSERT INTO rooms (id) VALUES (?1) ON CONFLICT DO NOTHING").bind(room.as_i64());
            query.execute(&mut *transaction).await.map_err(|e| self.error(e))?;
        }
        self.commit(transaction).await
    }

    /// Sets a plan; the plan version grows by one if the plan differs. Answers the organization as it is now.
    pub async fn set_plan(&self, organization: OrganizationId, plan: Plan) -> PortResult<Organization> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE organizations SET plan = ?2, plan_version = plan_version + 1 WHERE id = ?1 AND plan <> ?2";
        let query = sqlx::query(sql).bind(organization.as_i64()).bind(plan.as_str());
        let changed = query.execute(&mut *transaction).await.map_err(|e| self.error(e))?.rows_affected() > 0;
        let sql = "SELECT id, plan, plan_version FROM organizations WHERE id = ?1";
        let query = sqlx::query(sql).bind(organization.as_i64());
        let row = query.fetch_optional(&mut *transaction).await.map_err(|e| self.error(e))?;
        let found = self.organization(&row.ok_or_else(|| unknown("organization", organization))?)?;
        if changed {
            self.note_changed(&mut transaction, [organization.as_i64()].into_iter()).await?;
        }
        self.commit(transaction).await?;
        Ok(found)
    }

    /// Adds memberships as an import brings them: without a position, for a directory that no change was applied to. Accounts and
    /// rooms must be known.
    pub async fn put_memberships(&self, memberships: &[Membership]) -> PortResult<()> {
        let mut transaction = self.begin().await?;
        let mut touched = BTreeSet::new();
        for membership in memberships {
            let Some(organization) = self.organization_of(&mut transaction, membership.account).await? else {
                return Err(unknown("account", membership.account));
            };
            if !self.exists(&mut transaction, Known::Room, membership.room.as_i64()).await? {
                return Err(unknown("room", membership.room));
            }
            touched.insert(organization);
            let sql = "INSERT INTO memberships (account, room) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            let query = sqlx::query(sql).bind(membership.account.as_i64()).bind(membership.room.as_i64());
            query.execute(&mut *transaction).await.map_err(|e| self.error(e))?;
        }
        self.renew(transaction, touched).await
    }

    /// Moves an account to another organization; its memberships go with it.
    pub async fn transfer(&self, account: AccountId, organization: OrganizationId) -> PortResult<()> {
        let mut transaction = self.begin().await?;
        if !self.exists(&mut transaction, Known::Organization, organization.as_i64()).await? {
            return Err(unknown("organization", organization));
        }
        let Some(before) = self.organization_of(&mut transaction, account).await? else {
            return Err(unknown("account", account));
        };
        let query = sqlx::query("UPDATE accounts SET organization = ?2 WHERE id = ?1").bind(account.as_i64());
        query.bind(organization.as_i64()).execute(&mut *transaction).await.map_err(|e| self.error(e))?;
        let touched = BTreeSet::from([before, organization.as_i64()]);
        self.note_changed(&mut transaction, touched.iter().copied()).await?;
        self.renew(transaction, touched).await
    }

    /// Activates or deactivates an account; its memberships stay.
    pub async fn set_active(&self, account: AccountId, active: bool) -> PortResult<()> {
        let mut transaction = self.begin().await?;
        let Some(organization) = self.organization_of(&mut transaction, account).await? else {
            return Err(unknown("account", account));
        };
        let query = sqlx::query("UPDATE accounts SET active = ?2 WHERE id = ?1").bind(account.as_i64());
        query.bind(active).execute(&mut *transaction).await.map_err(|e| self.error(e))?;
        self.note_changed(&mut transaction, [organization].into_iter()).await?;
        self.renew(transaction, BTreeSet::from([organization])).await
    }

    async fn exists(&self, connection: &mut SqliteConnection, what: Known, id: i64) -> PortResult<bool> {
        let sql = match what {
            Known::Organization => "SELECT EXISTS (SELECT 1 FROM organizations WHERE id = ?1)",
            Known::Room => "SELECT EXISTS (SELECT 1 FROM rooms WHERE id = ?1)",
        };
        sqlx::query_scalar(sql).bind(id).fetch_one(connection).await.map_err(|e| self.error(e))
    }

    async fn organization_of(&self, connection: &mut SqliteConnection, account: AccountId) -> PortResult<Option<i64>> {
        let query = sqlx::query_scalar("SELECT organization FROM accounts WHERE id = ?1").bind(account.as_i64());
        query.fetch_optional(connection).await.map_err(|e| self.error(e))
    }

    /// Computes the room lists of `organizations` anew and commits.
    async fn renew(&self, mut transaction: Tx, organizations: BTreeSet<i64>) -> PortResult<()> {
        for organization in organizations {
            let sql = "SELECT DISTINCT room FROM memberships JOIN accounts ON accounts.id = memberships.account \
                   WHERE accounts.organization = ?1 AND accounts.active ORDER BY room";
            let query = sqlx::query_scalar(sql).bind(organization);
            let rooms: Vec<i64> = query.fetch_all(&mut *transaction).await.map_err(|e| self.error(e))?;
            let rooms: Result<Vec<RoomId>, _> = rooms.into_iter().map(RoomId::try_from).collect();
            let rooms = rooms.map_err(|e| self.database.corrupt(format!("a membership: {e}")))?;
            self.put_room_list(&mut transaction, organization, &rooms).await?;
        }
        self.commit(transaction).await
    }

    /// Keeps the rooms that an organization sees, ascending.
    pub(super) async fn put_room_list(
        &self,
        connection: &mut SqliteConnection,
        organization: i64,
        rooms: &[RoomId],
    ) -> PortResult<()> {
        let query = match rooms.is_empty() {
            true => sqlx::query("DELETE FROM organization_rooms WHERE organization = ?1").bind(organization),
            false => {
                let sql = "INSERT INTO organization_rooms (organization, rooms) VALUES (?1, ?2) \
                           ON CONFLICT (organization) DO UPDATE SET rooms = excluded.rooms";
                sqlx::query(sql).bind(organization).bind(room_list::pack(rooms))
            }
        };
        query.execute(connection).await.map_err(|e| self.error(e))?;
        Ok(())
    }
}

fn unknown(what: &str, id: impl std::fmt::Display) -> PortError {
    PortError::refused(format!("{what} {id} is unknown to the directory"))
}

/// What is looked up by [`exists`].
enum Known {
    Organization,
    Room,
}
