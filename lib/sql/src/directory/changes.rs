//! Which organizations changed, for who follows: noted in our own tables by every change that no event of the log tells, in its own
//! transaction; told by the query of a chat where the tables are its own.

use std::collections::BTreeSet;

use chat::{ChangeCursor, OrganizationId, PortError, PortResult};

use super::{STATEMENT_ROWS_MAX, SqlDirectory};
use crate::database::{Tx, json, rows_max};
use crate::row::Row;

/// What differs between the dialects. What is noted stands above all that was noted before, also where a clock was set back or is
/// behind another one's.
struct Statements {
    /// `[organization]`
    note: &'static str,
    /// All that are there, and those that are gone.
    note_all: &'static str,
}

// Without WHERE, MySQL takes ON for the join's.
const MYSQL: Statements = Statements {
    note: "
        INSERT INTO organization_changes (organization, changed)
        SELECT b.id, greatest(:now, newest.changed + 1)
        FROM JSON_TABLE(:batch, '$[*]' COLUMNS (id BIGINT PATH '$')) AS b
        CROSS JOIN (SELECT coalesce(max(changed), 0) AS changed FROM organization_changes) AS newest
        WHERE TRUE
        ON DUPLICATE KEY UPDATE changed = VALUES(changed)",
    note_all: "
        INSERT INTO organization_changes (organization, changed)
        SELECT known.id, greatest(:now, newest.changed + 1)
        FROM (SELECT id FROM organizations UNION SELECT organization FROM organization_changes) AS known
        CROSS JOIN (SELECT coalesce(max(changed), 0) AS changed FROM organization_changes) AS newest
        WHERE TRUE
        ON DUPLICATE KEY UPDATE changed = VALUES(changed)",
};

const POSTGRES: Statements = Statements {
    note: "
        INSERT INTO organization_changes (organization, changed)
        SELECT value::bigint, greatest(:now, newest.changed + 1)
        FROM json_array_elements_text(:batch::json) AS b(value)
        CROSS JOIN (SELECT coalesce(max(changed), 0) AS changed FROM organization_changes) AS newest
        ON CONFLICT (organization) DO UPDATE SET changed = excluded.changed",
    note_all: "
        INSERT INTO organization_changes (organization, changed)
        SELECT known.id, greatest(:now, newest.changed + 1)
        FROM (SELECT id FROM organizations UNION SELECT organization FROM organization_changes) AS known
        CROSS JOIN (SELECT coalesce(max(changed), 0) AS changed FROM organization_changes) AS newest
        ON CONFLICT (organization) DO UPDATE SET changed = excluded.changed",
};

impl SqlDirectory {
    fn change_statements(&self) -> &'static Statements {
        self.database.pick(&MYSQL, &POSTGRES)
    }

    /// Notes that `organizations` change now.
    pub(super) async fn note_changed(&self, tx: &mut Tx, organizations: &BTreeSet<i64>) -> PortResult<()> {
        let organizations: Vec<i64> = organizations.iter().copied().collect();
        for chunk in organizations.chunks(STATEMENT_ROWS_MAX) {
            let values = [("now", now().into()), ("batch", json(chunk)?.into())];
            tx.execute(self.change_statements().note, &values).await?;
        }
        Ok(())
    }

    /// Notes that every organization changes now, in one statement.
    pub(super) async fn note_all_changed(&self, tx: &mut Tx) -> PortResult<()> {
        tx.execute(self.change_statements().note_all, &[("now", now().into())]).await.map(drop)
    }

    pub(super) async fn ask_changes(&self, after: ChangeCursor, limit: usize) -> PortResult<Vec<ChangeCursor>> {
        let query = self.queries.changed_organizations()?;
        let values = [
            ("after", whole(after.changed).into()),
            ("after_organization", after.organization.as_i64().into()),
            ("limit", rows_max(limit).into()),
        ];
        let rows = self.database.repeat(true, || query.fetch(&self.database, &values)).await?;
        let page: Vec<ChangeCursor> = rows.iter().map(change).collect::<PortResult<_>>()?;
        // A page that does not go on behind the last one would be told for ever.
        let ascending = page.is_sorted_by(|a, b| a < b) && page.first().is_none_or(|first| *first > after);
        if ascending && page.len() <= limit {
            return Ok(page);
        }
        Err(PortError::refused(
            "the query changed_organizations must answer changes above :after and :after_organization, ascending by changed, then \
             organization, at most :limit: write WHERE changed >= :after AND (changed > :after OR organization > :after_organization) \
             ORDER BY changed, organization LIMIT :limit",
        ))
    }
}

fn change(row: &Row) -> PortResult<ChangeCursor> {
    let organization: OrganizationId = row.whole("organization")?;
    Ok(ChangeCursor { changed: row.whole("changed")?, organization })
}

fn now() -> i64 {
    whole(ChangeCursor::changed_now())
}

fn whole(changed: u64) -> i64 {
    i64::try_from(changed).unwrap_or(i64::MAX)
}
