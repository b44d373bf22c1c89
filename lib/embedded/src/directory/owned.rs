//! `OwnedDirectory`: organizations with their counts, and changes of plan.

use std::collections::HashMap;

use async_trait::async_trait;
use chat::{Organization, OrganizationId, OrganizationRecord, OwnedDirectory, Plan, PortResult};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{SqliteDirectory, json_ids, room_list};

impl SqliteDirectory {
    fn record(&self, row: &SqliteRow) -> PortResult<OrganizationRecord> {
        let organization = self.organization(row)?;
        let read = || {
            let rooms = row.try_get::<Option<&[u8]>, _>(5)?;
            Ok((row.try_get::<i64, _>(3)?, row.try_get::<i64, _>(4)?, rooms, row.try_get::<Option<String>, _>(6)?))
        };
        let (accounts, active, rooms, name) = read().map_err(|e| self.error(e))?;
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        let unreadable = || {
            let id = organization.id;
            self.database.corrupt(format!("a room list of organization {id} that does not read: import again"))
        };
        let rooms = rooms.map(|bytes| room_list::unpack(bytes).ok_or_else(unreadable)).transpose()?;
        let rooms = rooms.map_or(0, |rooms| rooms.len() as u64);
        let (accounts, active_accounts) = (count(accounts), count(active));
        Ok(OrganizationRecord { organization, name, accounts, active_accounts, rooms })
    }
}

#[async_trait]
impl OwnedDirectory for SqliteDirectory {
    async fn page(
        &self,
        plan: Option<Plan>,
        after: Option<OrganizationId>,
        limit: usize,
    ) -> PortResult<Vec<OrganizationRecord>> {
        // The page is cut before anything is counted.
        let sql = "SELECT o.id, o.plan, o.plan_version, count(a.id), coalesce(sum(a.active), 0),
                (SELECT rooms FROM organization_rooms WHERE organization = o.id),
                (SELECT name FROM names WHERE kind = 'organization' AND names.id = o.id)
             FROM (
                 SELECT * FROM organizations WHERE id > ?1 AND plan = coalesce(?2, plan) ORDER BY id LIMIT ?3
             ) AS o LEFT JOIN accounts AS a ON a.organization = o.id
             GROUP BY o.id ORDER BY o.id";
        let query = sqlx::query(sql).bind(after.map_or(-1, OrganizationId::as_i64)).bind(plan.map(Plan::as_str));
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows = query.fetch_all(self.database.reader()).await.map_err(|e| self.error(e))?;
        rows.iter().map(|row| self.record(row)).collect()
    }

    async fn records(&self, ids: &[OrganizationId]) -> PortResult<Vec<Option<OrganizationRecord>>> {
        let sql = "SELECT o.id, o.plan, o.plan_version, count(a.id), coalesce(sum(a.active), 0),
                (SELECT rooms FROM organization_rooms WHERE organization = o.id),
                (SELECT name FROM names WHERE kind = 'organization' AND names.id = o.id)
             FROM organizations AS o LEFT JOIN accounts AS a ON a.organization = o.id
             WHERE o.id IN (SELECT value FROM json_each(?1)) GROUP BY o.id";
        let query = sqlx::query(sql).bind(json_ids(ids.iter().map(|id| id.as_i64())));
        let rows = query.fetch_all(self.database.reader()).await.map_err(|e| self.error(e))?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            let record = self.record(row)?;
            found.insert(record.organization.id, record);
        }
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    async fn set_plan(&self, organization: OrganizationId, plan: Plan) -> PortResult<Organization> {
        SqliteDirectory::set_plan(self, organization, plan).await
    }
}
