//! Which organizations changed, for who follows: noted by every change that no event of the log tells, in its own transaction.

use chat::{ChangeCursor, OrganizationId, PortResult};
use sqlx::SqliteConnection;

use super::{SqliteDirectory, json_ids};

/// `[organization]`. Above all that was noted before, also where the clock was set back.
const NOTE: &str = "INSERT INTO organization_changes (organization, changed)
    SELECT value, max(?2, (SELECT coalesce(max(changed), 0) + 1 FROM organization_changes)) FROM json_each(?1) WHERE true
    ON CONFLICT (organization) DO UPDATE SET changed = excluded.changed";

/// All that are there, and those that are gone.
const NOTE_ALL: &str = "INSERT INTO organization_changes (organization, changed)
    SELECT id, max(?1, (SELECT coalesce(max(changed), 0) + 1 FROM organization_changes))
    FROM (SELECT id FROM organizations UNION SELECT organization FROM organization_changes) WHERE true
    ON CONFLICT (organization) DO UPDATE SET changed = excluded.changed";

const AFTER: &str = "SELECT changed, organization FROM organization_changes
    WHERE (changed, organization) > (?1, ?2) ORDER BY changed, organization LIMIT ?3";

impl SqliteDirectory {
    /// Notes that `organizations` change now.
    pub(super) async fn note_changed(
        &self,
        connection: &mut SqliteConnection,
        organizations: impl Iterator<Item = i64>,
    ) -> PortResult<()> {
        let query = sqlx::query(NOTE).bind(json_ids(organizations)).bind(now());
        query.execute(connection).await.map_err(|e| self.error(e))?;
        Ok(())
    }

    /// Notes that every organization changes now, in one statement.
    pub(crate) async fn note_all_changed(&self, connection: &mut SqliteConnection) -> PortResult<()> {
        sqlx::query(NOTE_ALL).bind(now()).execute(connection).await.map_err(|e| self.error(e))?;
        Ok(())
    }

    pub(super) async fn changes_after(&self, after: ChangeCursor, limit: usize) -> PortResult<Vec<ChangeCursor>> {
        let query = sqlx::query_as(AFTER).bind(whole(after.changed)).bind(after.organization.as_i64());
        let query = query.bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let rows: Vec<(i64, i64)> = query.fetch_all(self.reader()).await.map_err(|e| self.error(e))?;
        rows.into_iter().map(|row| self.change(row)).collect()
    }

    fn change(&self, (changed, organization): (i64, i64)) -> PortResult<ChangeCursor> {
        let corrupt = || self.corrupt(format_args!("a change {changed} of organization {organization}"));
        Ok(ChangeCursor {
            changed: u64::try_from(changed).map_err(|_| corrupt())?,
            organization: OrganizationId::try_from(organization).map_err(|_| corrupt())?,
        })
    }
}

fn now() -> i64 {
    whole(ChangeCursor::changed_now())
}

fn whole(changed: u64) -> i64 {
    i64::try_from(changed).unwrap_or(i64::MAX)
}
