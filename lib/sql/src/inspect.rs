//! What a database says about a statement before it runs: its columns, and whether it reads whole tables.

use chat::PortResult;
use sqlx::{AssertSqlSafe, Column as _, Executor as _, SqlSafeStr as _, Statement as _, TypeInfo as _};

use crate::Dialect;
use crate::database::{Database, Tx};
use crate::statement::{Bound, Values, bind};

impl Database {
    /// Names and types of a statement's columns.
    pub(crate) async fn columns(&self, text: &str, values: Values<'_, '_>) -> PortResult<Vec<(String, String)>> {
        let (sql, bound) = bind(text, self.dialect(), values)?;
        let sql = AssertSqlSafe(sql).into_sql_str();
        let prepared = match self.pools() {
            Ok(mysql) => mysql.prepare(sql).await.map(|statement| {
                let columns = statement.columns().iter();
                columns.map(|column| (column.name().to_owned(), column.type_info().name().to_owned())).collect()
            }),
            Err(postgres) => {
                // Else PostgreSQL would guess the types of the placeholders.
                let types: Vec<_> = bound.iter().map(postgres_type).collect();
                postgres.prepare_with(sql, &types).await.map(|statement| {
                    let columns = statement.columns().iter();
                    columns.map(|column| (column.name().to_owned(), column.type_info().name().to_owned())).collect()
                })
            }
        };
        prepared.map_err(|e| self.error(e))
    }

    /// A table that the statement reads from end to end because no index leads to its rows; `None` where there is none.
    pub(crate) async fn scanned(&self, text: &str, values: Values<'_, '_>) -> PortResult<Option<String>> {
        let mut tx = self.begin().await?;
        let scanned = match self.dialect() {
            Dialect::MySql => mysql_scanned(&mut tx, text, values).await?,
            Dialect::Postgres => postgres_scanned(&mut tx, text, values).await?,
        };
        tx.commit().await?;
        Ok(scanned)
    }
}

fn postgres_type(bound: &Bound<'_>) -> sqlx::postgres::PgTypeInfo {
    use sqlx::{Postgres, Type};
    match bound {
        Bound::Whole(_) => <i64 as Type<Postgres>>::type_info(),
        Bound::Text(_) => <str as Type<Postgres>>::type_info(),
        Bound::Bytes(_) => <[u8] as Type<Postgres>>::type_info(),
    }
}

/// A small table is read from end to end even where an index would do: what counts is that none is possible.
async fn mysql_scanned(tx: &mut Tx, text: &str, values: Values<'_, '_>) -> PortResult<Option<String>> {
    for row in tx.fetch(&format!("EXPLAIN {text}"), values).await? {
        let all = row.text_or_none("type")?.is_some_and(|access| access == "ALL" || access == "index");
        let table = row.text_or_none("table")?.unwrap_or_default();
        // Tables in <> are the results of other lines.
        if all && row.text_or_none("possible_keys")?.is_none() && !table.starts_with('<') {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

/// Told that reading a whole table is dear, PostgreSQL does so only where it has no other way.
async fn postgres_scanned(tx: &mut Tx, text: &str, values: Values<'_, '_>) -> PortResult<Option<String>> {
    tx.execute("SET LOCAL enable_seqscan = off", &[]).await?;
    for row in tx.fetch(&format!("EXPLAIN {text}"), values).await? {
        let line = row.text("QUERY PLAN")?;
        if let Some((_, rest)) = line.split_once("Seq Scan on ") {
            return Ok(rest.split_whitespace().next().map(str::to_owned));
        }
    }
    Ok(None)
}
