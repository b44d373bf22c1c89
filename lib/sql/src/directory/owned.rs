//! `OwnedDirectory`: organizations with their counts, and changes of plan.

use std::collections::HashMap;

use async_trait::async_trait;
use chat::{Organization, OrganizationId, OrganizationRecord, OwnedDirectory, Plan, PortResult};

use super::{QUERY_IDS_MAX, SqlDirectory, numbers, organization};
use crate::database::rows_max;
use crate::row::Row;
use crate::statement::{Value, Values};

/// Organizations with what [`record`] reads; the condition follows.
macro_rules! records {
    ($($condition:literal)+) => {
        concat!(
            "SELECT o.id, o.plan, o.plan_version,
                (SELECT n.name FROM names AS n WHERE n.kind = 'organization' AND n.id = o.id) AS name,
                (SELECT count(*) FROM accounts AS a WHERE a.organization = o.id) AS accounts,
                (SELECT count(*) FROM accounts AS a WHERE a.organization = o.id AND a.active) AS active_accounts,
                (SELECT count(DISTINCT m.room) FROM accounts AS a JOIN memberships AS m ON m.account = a.id
                 WHERE a.organization = o.id AND a.active) AS rooms
             FROM organizations AS o WHERE ",
            $($condition),+
        )
    };
}

impl SqlDirectory {
    async fn records_by(&self, sql: &str, values: Values<'_, '_>) -> PortResult<Vec<OrganizationRecord>> {
        self.check_owned()?;
        self.database.fetch(sql, values).await?.iter().map(record).collect()
    }
}

fn record(row: &Row) -> PortResult<OrganizationRecord> {
    Ok(OrganizationRecord {
        organization: stored(row)?,
        name: row.text_or_none("name")?,
        accounts: row.whole("accounts")?,
        active_accounts: row.whole("active_accounts")?,
        rooms: row.whole("rooms")?,
    })
}

/// An organization of our own table.
pub(super) fn stored(row: &Row) -> PortResult<Organization> {
    organization(row, row.word("plan", |word| word.parse().ok())?)
}

#[async_trait]
impl OwnedDirectory for SqlDirectory {
    async fn page(
        &self,
        plan: Option<Plan>,
        after: Option<OrganizationId>,
        limit: usize,
    ) -> PortResult<Vec<OrganizationRecord>> {
        let sql = records!("o.id > :after AND (:plan IS NULL OR o.plan = :plan) ORDER BY o.id LIMIT :limit");
        let values = [
            ("after", after.map_or(-1, OrganizationId::as_i64).into()),
            ("plan", plan.map_or(Value::Text(None), |plan| plan.as_str().into())),
            ("limit", rows_max(limit).into()),
        ];
        self.database.repeat(true, || self.records_by(sql, &values)).await
    }

    async fn records(&self, ids: &[OrganizationId]) -> PortResult<Vec<Option<OrganizationRecord>>> {
        let sql = records!("o.id IN (:ids)");
        let asked = numbers(ids);
        let mut found = HashMap::with_capacity(asked.len());
        for chunk in asked.chunks(QUERY_IDS_MAX) {
            let values = [("ids", chunk.into())];
            let records = self.database.repeat(true, || self.records_by(sql, &values)).await?;
            found.extend(records.into_iter().map(|record| (record.organization.id, record)));
        }
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    async fn set_plan(&self, organization: OrganizationId, plan: Plan) -> PortResult<Organization> {
        SqlDirectory::set_plan(self, organization, plan).await
    }
}
