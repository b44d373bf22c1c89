//! Names of organizations, rooms and accounts.

use std::collections::{BTreeMap, HashMap};

use chat::{OrganizationId, PortResult};
use import::{Name, NameKind};

use super::{QUERY_IDS_MAX, STATEMENT_ROWS_MAX, SqlDirectory};
use crate::database::{Tx, json, rows_max};

const PUT_MYSQL: &str = "
    INSERT INTO names (kind, id, organization, name)
    SELECT b.kind, b.id, b.organization, b.name
    FROM JSON_TABLE(:batch, '$[*]' COLUMNS (
        kind VARCHAR(12) PATH '$[0]',
        id BIGINT PATH '$[1]',
        organization BIGINT PATH '$[2]',
        name LONGTEXT CHARACTER SET utf8mb4 PATH '$[3]'
    )) AS b
    ON DUPLICATE KEY UPDATE organization = VALUES(organization), name = VALUES(name)";
const PUT_POSTGRES: &str = "
    INSERT INTO names (kind, id, organization, name)
    SELECT value ->> 0, (value ->> 1)::bigint, (value ->> 2)::bigint, value ->> 3
    FROM json_array_elements(:batch::json) AS b(value)
    ON CONFLICT (kind, id) DO UPDATE SET organization = excluded.organization, name = excluded.name";

impl SqlDirectory {
    /// The names of `ids`, in that order; `None` for what has none, as everything that was imported by its numbers alone, and
    /// everything in a chat's directory.
    pub async fn names_of(&self, kind: NameKind, ids: &[u64]) -> PortResult<Vec<Option<String>>> {
        if self.check_owned().is_err() {
            return Ok(vec![None; ids.len()]);
        }
        let asked: Vec<i64> = ids.iter().map(|id| id.cast_signed()).collect();
        let mut found: HashMap<i64, String> = HashMap::with_capacity(asked.len());
        for chunk in asked.chunks(QUERY_IDS_MAX) {
            let sql = "SELECT id, name FROM names WHERE kind = :kind AND id IN (:ids)";
            let values = [("kind", kind.word().into()), ("ids", chunk.into())];
            for row in self.database.repeat(true, || self.database.fetch(sql, &values)).await? {
                found.insert(row.whole("id")?, row.text("name")?);
            }
        }
        Ok(asked.iter().map(|id| found.get(id).cloned()).collect())
    }

    /// Writes names; of several for one kind and id the last holds.
    ///
    /// # Errors
    ///
    /// As all writes: refused on a chat's directory.
    pub async fn put_names(&self, names: &[Name]) -> PortResult<()> {
        let written = || async {
            let mut tx = self.begin().await?;
            self.put_names_within(&mut tx, names).await?;
            tx.commit().await
        };
        self.database.repeat(true, written).await
    }

    /// The same in a transaction under way.
    pub(super) async fn put_names_within(&self, tx: &mut Tx, names: &[Name]) -> PortResult<()> {
        // NUL, which PostgreSQL cannot store, becomes a space.
        let row = |name: &Name| {
            let within = name.within.map(OrganizationId::as_i64);
            (name.kind.word(), name.id.cast_signed(), within, name.name.replace('\0', " "))
        };
        let rows: BTreeMap<(NameKind, u64), _> = names.iter().map(|name| ((name.kind, name.id), row(name))).collect();
        let rows: Vec<_> = rows.into_values().collect();
        for chunk in rows.chunks(STATEMENT_ROWS_MAX) {
            let sql = self.database.pick(PUT_MYSQL, PUT_POSTGRES);
            tx.execute(sql, &[("batch", json(chunk)?.into())]).await?;
        }
        Ok(())
    }

    /// Names above `after` in the order of kind and id, at most `limit`; fewer mean the end.
    pub(super) async fn names_after(&self, after: Option<(NameKind, u64)>, limit: usize) -> PortResult<Vec<Name>> {
        let from = after.map_or((NameKind::Organization, -1), |(kind, id)| (kind, id.cast_signed()));
        let mut names = Vec::new();
        for kind in NameKind::ALL.into_iter().filter(|kind| *kind >= from.0) {
            let above = if kind == from.0 { from.1 } else { -1 };
            let sql =
                "SELECT id, organization, name FROM names WHERE kind = :kind AND id > :above ORDER BY id LIMIT :limit";
            let left = rows_max(limit - names.len());
            let values = [("kind", kind.word().into()), ("above", above.into()), ("limit", left.into())];
            for row in self.database.repeat(true, || self.database.fetch(sql, &values)).await? {
                let within = row.whole_or_none("organization")?;
                names.push(Name { kind, id: row.whole("id")?, within, name: row.text("name")? });
            }
        }
        Ok(names)
    }

    /// Whether there are organizations, but no name of anything.
    pub(super) async fn is_nameless(&self) -> PortResult<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM organizations) AND NOT EXISTS (SELECT 1 FROM names) AS nameless";
        let rows = self.database.repeat(true, || self.database.fetch(sql, &[])).await?;
        rows.first().map_or(Ok(false), |row| row.truth("nameless"))
    }
}
