//! Changes of our own directory. Each is one transaction, whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use chat::{AccountId, Organization, OrganizationId, Plan, PortError, PortResult, RoomId};
use import::{Account, Membership};
use serde::Serialize;

use super::owned::stored;
use super::{STATEMENT_ROWS_MAX, SqlDirectory};
use crate::database::{Tx, json};

/// What differs between the dialects.
pub(super) struct Statements {
    pub(super) put_organizations: &'static str,
    pub(super) put_accounts: &'static str,
    pub(super) put_rooms: &'static str,
    pub(super) put_memberships: &'static str,
}

// On MySQL the assignments after ON DUPLICATE KEY UPDATE are made from left to right: the version is counted before the plan
// changes.
const MYSQL: Statements = Statements {
    put_organizations: "
        INSERT INTO organizations (id, plan, plan_version)
        SELECT b.id, b.plan, b.plan_version
        FROM JSON_TABLE(:batch, '$[*]' COLUMNS (
            id BIGINT PATH '$[0]', plan VARCHAR(4) PATH '$[1]', plan_version BIGINT PATH '$[2]'
        )) AS b
        ON DUPLICATE KEY UPDATE
            plan_version = greatest(VALUES(plan_version), organizations.plan_version + (organizations.plan <> VALUES(plan))),
            plan = VALUES(plan)",
    put_accounts: "
        INSERT INTO accounts (id, organization, active)
        SELECT b.id, b.organization, b.active
        FROM JSON_TABLE(:batch, '$[*]' COLUMNS (
            id BIGINT PATH '$[0]', organization BIGINT PATH '$[1]', active TINYINT PATH '$[2]'
        )) AS b
        ON DUPLICATE KEY UPDATE organization = VALUES(organization), active = VALUES(active)",
    put_rooms: "
        INSERT INTO rooms (id) SELECT b.id FROM JSON_TABLE(:batch, '$[*]' COLUMNS (id BIGINT PATH '$')) AS b
        ON DUPLICATE KEY UPDATE id = VALUES(id)",
    put_memberships: "
        INSERT INTO memberships (account, room)
        SELECT b.account, b.room
        FROM JSON_TABLE(:batch, '$[*]' COLUMNS (account BIGINT PATH '$[0]', room BIGINT PATH '$[1]')) AS b
        ON DUPLICATE KEY UPDATE account = VALUES(account)",
};

const POSTGRES: Statements = Statements {
    put_organizations: "
        INSERT INTO organizations AS o (id, plan, plan_version)
        SELECT (value ->> 0)::bigint, value ->> 1, (value ->> 2)::bigint FROM json_array_elements(:batch::json) AS b(value)
        ON CONFLICT (id) DO UPDATE SET
            plan_version = greatest(excluded.plan_version, o.plan_version + (o.plan <> excluded.plan)::int),
            plan = excluded.plan",
    put_accounts: "
        INSERT INTO accounts (id, organization, active)
        SELECT (value ->> 0)::bigint, (value ->> 1)::bigint, (value ->> 2)::int <> 0
        FROM json_array_elements(:batch::json) AS b(value)
        ON CONFLICT (id) DO UPDATE SET organization = excluded.organization, active = excluded.active",
    put_rooms: "
        INSERT INTO rooms (id) SELECT value::bigint FROM json_array_elements_text(:batch::json) AS b(value)
        ON CONFLICT DO NOTHING",
    put_memberships: "
        INSERT INTO memberships (account, room)
        SELECT (value ->> 0)::bigint, (value ->> 1)::bigint FROM json_array_elements(:batch::json) AS b(value)
        ON CONFLICT DO NOTHING",
};

/// A table of things that others refer to.
#[derive(Clone, Copy)]
enum Known {
    Organization,
    Account,
    Room,
}

impl SqlDirectory {
    /// Adds organizations or changes known ones. The plan version never falls: it becomes the given one or, where greater, the
    /// stored one, counted one up if the plan differs. Of an organization that stands twice the last entry counts.
    ///
    /// # Errors
    ///
    /// As all writes: refused on a chat's directory.
    pub async fn put_organizations(&self, organizations: &[Organization]) -> PortResult<()> {
        let rows = organization_rows(organizations)?;
        let changed = rows.iter().map(|(id, ..)| *id).collect();
        let put = || async {
            let mut tx = self.begin().await?;
            self.put(&mut tx, self.statements().put_organizations, &rows).await?;
            self.note_changed(&mut tx, &changed).await?;
            tx.commit().await
        };
        self.database.repeat(true, put).await
    }

    /// Adds accounts or changes known ones: to which organization they belong and whether they are active. Their organizations
    /// must be known. Of an account that stands twice the last entry counts. Memberships that were waiting for an account count
    /// from here on.
    pub async fn put_accounts(&self, accounts: &[Account]) -> PortResult<()> {
        let rows = account_rows(accounts);
        let ids: Vec<i64> = rows.iter().map(|(id, ..)| *id).collect();
        let organizations = rows.iter().map(|(_, organization, _)| *organization).collect();
        let put = || async {
            let mut tx = self.begin().await?;
            self.find_all(&mut tx, Known::Organization, &organizations).await?;
            let mut changed = self.organizations_of(&mut tx, &ids).await?;
            changed.extend(&organizations);
            self.put(&mut tx, self.statements().put_accounts, &rows).await?;
            self.note_changed(&mut tx, &changed).await?;
            tx.commit().await
        };
        self.database.repeat(true, put).await
    }

    /// Adds rooms; known ones stay as they are.
    pub async fn put_rooms(&self, rooms: &[RoomId]) -> PortResult<()> {
        let rooms: BTreeSet<i64> = rooms.iter().map(|room| room.as_i64()).collect();
        self.write(self.statements().put_rooms, &Vec::from_iter(rooms), &[]).await
    }

    /// Sets a plan; the plan version grows by one if the plan differs. Answers the organization as it is now.
    pub async fn set_plan(&self, organization: OrganizationId, plan: Plan) -> PortResult<Organization> {
        self.database.repeat(true, || self.set_plan_once(organization.as_i64(), plan)).await
    }

    async fn set_plan_once(&self, id: i64, plan: Plan) -> PortResult<Organization> {
        let mut tx = self.begin().await?;
        let sql =
            "UPDATE organizations SET plan_version = plan_version + 1, plan = :plan WHERE id = :id AND plan <> :plan";
        let changed = tx.execute(sql, &[("plan", plan.as_str().into()), ("id", id.into())]).await?;
        let sql = "SELECT id, plan, plan_version FROM organizations WHERE id = :id";
        let rows = tx.fetch(sql, &[("id", id.into())]).await?;
        let organization = stored(rows.first().ok_or_else(|| unknown(Known::Organization, id))?)?;
        if changed > 0 {
            self.note_changed(&mut tx, &BTreeSet::from([id])).await?;
        }
        tx.commit().await?;
        Ok(organization)
    }

    /// Adds memberships as an import brings them: without a position, for a directory that no change was applied to. Accounts and
    /// rooms must be known.
    pub async fn put_memberships(&self, memberships: &[Membership]) -> PortResult<()> {
        let rows = pairs(memberships);
        let accounts = rows.iter().map(|(account, _)| *account).collect();
        let rooms = rows.iter().map(|(_, room)| *room).collect();
        self.write(self.statements().put_memberships, &rows, &[(Known::Account, accounts), (Known::Room, rooms)]).await
    }

    /// Moves an account to another organization; its memberships go with it.
    pub async fn transfer(&self, account: AccountId, organization: OrganizationId) -> PortResult<()> {
        let sql = "UPDATE accounts SET organization = :organization WHERE id = :id";
        let to = organization.as_i64();
        self.change_account(account.as_i64(), sql, &[("organization", to.into())], Some(to)).await
    }

    /// Activates or deactivates an account; its memberships stay.
    pub async fn set_active(&self, account: AccountId, active: bool) -> PortResult<()> {
        let sql = "UPDATE accounts SET active = (:active <> 0) WHERE id = :id";
        self.change_account(account.as_i64(), sql, &[("active", i64::from(active).into())], None).await
    }

    pub(super) fn statements(&self) -> &'static Statements {
        self.database.pick(&MYSQL, &POSTGRES)
    }

    pub(super) async fn begin(&self) -> PortResult<Tx> {
        self.check_owned()?;
        self.database.begin().await
    }

    /// Writes rows that are in the order of their key, after those they refer to were found. Repeating changes nothing.
    async fn write<T: Serialize + Sync>(
        &self,
        sql: &str,
        rows: &[T],
        refers: &[(Known, BTreeSet<i64>)],
    ) -> PortResult<()> {
        let written = || async {
            let mut tx = self.begin().await?;
            for (known, ids) in refers {
                self.find_all(&mut tx, *known, ids).await?;
            }
            self.put(&mut tx, sql, rows).await?;
            tx.commit().await
        };
        self.database.repeat(true, written).await
    }

    /// Writes rows, a bounded number with each statement.
    async fn put<T: Serialize + Sync>(&self, tx: &mut Tx, sql: &str, rows: &[T]) -> PortResult<()> {
        for chunk in rows.chunks(STATEMENT_ROWS_MAX) {
            tx.execute(sql, &[("batch", json(chunk)?.into())]).await?;
        }
        Ok(())
    }

    /// Changes the account with `id`, which must be there; `to` is the organization that it moves to, which must be there, too.
    /// Repeating changes nothing.
    async fn change_account(
        &self,
        id: i64,
        sql: &str,
        values: &[(&str, crate::statement::Value<'_>)],
        to: Option<i64>,
    ) -> PortResult<()> {
        let mut values = values.to_vec();
        values.push(("id", id.into()));
        let changed = || async {
            let mut tx = self.begin().await?;
            let mut organizations = BTreeSet::from_iter(to);
            self.find_all(&mut tx, Known::Organization, &organizations).await?;
            organizations.extend(self.organizations_of(&mut tx, &[id]).await?);
            if tx.execute(sql, &values).await? == 0 {
                return Err(unknown(Known::Account, id));
            }
            self.note_changed(&mut tx, &organizations).await?;
            tx.commit().await
        };
        self.database.repeat(true, changed).await
    }

    /// The organizations that accounts belong to, which stay theirs until the transaction ends.
    async fn organizations_of(&self, tx: &mut Tx, accounts: &[i64]) -> PortResult<BTreeSet<i64>> {
        let mut organizations = BTreeSet::new();
        for chunk in accounts.chunks(STATEMENT_ROWS_MAX) {
            let sql = "SELECT organization FROM accounts WHERE id IN (:ids) ORDER BY id FOR UPDATE";
            for row in tx.fetch(sql, &[("ids", chunk.into())]).await? {
                organizations.insert(row.whole("organization")?);
            }
        }
        Ok(organizations)
    }

    /// Refuses if one of `ids` is not there.
    async fn find_all(&self, tx: &mut Tx, what: Known, ids: &BTreeSet<i64>) -> PortResult<()> {
        let sql = match what {
            Known::Organization => "SELECT id FROM organizations WHERE id IN (:ids)",
            Known::Account => "SELECT id FROM accounts WHERE id IN (:ids)",
            Known::Room => "SELECT id FROM rooms WHERE id IN (:ids)",
        };
        let asked: Vec<i64> = ids.iter().copied().collect();
        for chunk in asked.chunks(STATEMENT_ROWS_MAX) {
            let rows = tx.fetch(sql, &[("ids", chunk.into())]).await?;
            let found: BTreeSet<i64> = rows.iter().map(|row| row.whole("id")).collect::<PortResult<_>>()?;
            if let Some(missing) = chunk.iter().find(|id| !found.contains(id)) {
                return Err(unknown(what, *missing));
            }
        }
        Ok(())
    }
}

/// Id, plan and plan version, in the order of the primary key; of an organization that stands twice the last.
pub(super) fn organization_rows(organizations: &[Organization]) -> PortResult<Vec<(i64, &'static str, i64)>> {
    let mut rows = BTreeMap::new();
    for organization in organizations {
        let version = i64::try_from(organization.plan_version)
            .map_err(|_| PortError::refused(format!("organization {}: plan version too large", organization.id)))?;
        let id = organization.id.as_i64();
        rows.insert(id, (id, organization.plan.as_str(), version));
    }
    Ok(rows.into_values().collect())
}

/// Id, organization and whether active, in the order of the primary key; of an account that stands twice the last.
pub(super) fn account_rows(accounts: &[Account]) -> Vec<(i64, i64, u8)> {
    let row = |a: &Account| (a.id.as_i64(), (a.id.as_i64(), a.organization.as_i64(), u8::from(a.active)));
    accounts.iter().map(row).collect::<BTreeMap<_, _>>().into_values().collect()
}

/// Account and room, in the order of the primary key, each pair once.
pub(super) fn pairs(memberships: &[Membership]) -> Vec<(i64, i64)> {
    let pairs: BTreeSet<(i64, i64)> = memberships.iter().map(|m| (m.account.as_i64(), m.room.as_i64())).collect();
    pairs.into_iter().collect()
}

fn unknown(what: Known, id: i64) -> PortError {
    let what = match what {
        Known::Organization => "organization",
        Known::Account => "account",
        Known::Room => "room",
    };
    PortError::refused(format!("{what} {id} is unknown to the directory"))
}
