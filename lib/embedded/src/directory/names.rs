//! Names of organizations, rooms and accounts.

use std::collections::HashMap;

use chat::{OrganizationId, PortResult};
use import::{Name, NameKind};
use sqlx::SqliteConnection;

use super::{SqliteDirectory, json_ids};
use crate::sqlite::json;

impl SqliteDirectory {
    /// The names of `ids`, in that order; `None` for what has none, as everything that was imported by its numbers alone.
    pub async fn names_of(&self, kind: NameKind, ids: &[u64]) -> PortResult<Vec<Option<String>>> {
        let sql = "SELECT id, name FROM names WHERE kind = ?1 AND id IN (SELECT value FROM json_each(?2))";
        let ids_json = json_ids(ids.iter().map(|id| id.cast_signed()));
        let query = sqlx::query_as(sql).bind(kind.word()).bind(ids_json);
        let rows: Vec<(i64, String)> = query.fetch_all(self.database.reader()).await.map_err(|e| self.error(e))?;
        let found: HashMap<i64, String> = rows.into_iter().collect();
        Ok(ids.iter().map(|id| found.get(&id.cast_signed()).cloned()).collect())
    }

    /// Names above `after` in the order of kind and id, at most `limit`; fewer mean the end.
    pub async fn names_after(&self, after: Option<(NameKind, u64)>, limit: usize) -> PortResult<Vec<Name>> {
        let from = after.map_or((NameKind::Organization, -1), |(kind, id)| (kind, id.cast_signed()));
        let mut names = Vec::new();
        for kind in NameKind::ALL.into_iter().filter(|kind| *kind >= from.0) {
            let above = if kind == from.0 { from.1 } else { -1 };
            let sql = "SELECT id, organization, name FROM names WHERE kind = ?1 AND id > ?2 ORDER BY id LIMIT ?3";
            let query = sqlx::query_as(sql).bind(kind.word()).bind(above);
            let query = query.bind(i64::try_from(limit - names.len()).unwrap_or(i64::MAX));
            let rows: Vec<(i64, Option<i64>, String)> =
                query.fetch_all(self.database.reader()).await.map_err(|e| self.error(e))?;
            for (id, organization, name) in rows {
                let negative = || self.database.corrupt(format!("the name of {} {id}: an id below 0", kind.word()));
                let within = organization.map(OrganizationId::try_from).transpose().map_err(|_| negative())?;
                let id = u64::try_from(id).map_err(|_| negative())?;
                names.push(Name { kind, id, within, name });
            }
        }
        Ok(names)
    }

    /// Writes names; of several for one kind and id the last holds.
    pub async fn put_names(&self, names: &[Name]) -> PortResult<()> {
        let mut transaction = self.database.begin().await?;
        self.put_names_within(&mut transaction, names).await?;
        self.database.commit(transaction).await
    }

    /// The same in a transaction under way.
    pub(crate) async fn put_names_within(&self, transaction: &mut SqliteConnection, names: &[Name]) -> PortResult<()> {
        let row = |name: &Name| {
            let within = name.within.map(OrganizationId::as_i64);
            (name.kind.word(), name.id.cast_signed(), within, name.name.clone())
        };
        let sql = "INSERT OR REPLACE INTO names (kind, id, organization, name) \
                   SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1)";
        let query = sqlx::query(sql).bind(json(&names.iter().map(row).collect::<Vec<_>>())?);
        query.execute(transaction).await.map_err(|e| self.error(e))?;
        Ok(())
    }

    /// Whether there are organizations, but no name of anything.
    pub(crate) async fn is_nameless(&self) -> PortResult<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM organizations) AND NOT EXISTS (SELECT 1 FROM names)";
        sqlx::query_scalar(sql).fetch_one(self.database.reader()).await.map_err(|e| self.error(e))
    }
}
