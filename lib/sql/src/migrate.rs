//! Our own tables: made and brought up to date when a store is opened.
//!
//! Each store keeps its migrations in a table of its own, so that several stores can share a database. MySQL commits every
//! definition by itself: its migrations are written so that one that was interrupted can be run again, and it is.

use chat::{PortError, PortResult};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use crate::database::Database;

/// Migrations of one store in both dialects: number, title, statements for MySQL, statements for PostgreSQL; ascending.
pub(crate) struct Schema {
    /// The table that notes which migrations were applied.
    pub(crate) table: &'static str,
    pub(crate) migrations: &'static [(i64, &'static str, &'static str, &'static str)],
}

/// How far the tables of a store are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrations {
    /// The newest that was applied; 0 where there are no tables.
    pub applied: i64,
    /// The newest that this program knows.
    pub known: i64,
}

impl Schema {
    /// How far the tables are. Changes nothing.
    pub(crate) async fn look(&self, database: &Database) -> PortResult<Migrations> {
        let known = self.newest();
        let schema = database.pick("database()", "current_schema()");
        let sql = format!(
            "SELECT count(*) AS tables FROM information_schema.tables \
             WHERE table_schema = {schema} AND table_name = :name"
        );
        let found = database.fetch(&sql, &[("name", self.table.into())]).await?;
        if found.first().map(|row| row.whole::<i64>("tables")).transpose()?.unwrap_or(0) == 0 {
            return Ok(Migrations { applied: 0, known });
        }
        let sql = format!("SELECT coalesce(max(version), 0) AS version FROM {} WHERE success", self.table);
        let rows = database.fetch(&sql, &[]).await?;
        let applied = rows.first().map(|row| row.whole("version")).transpose()?.unwrap_or(0);
        Ok(Migrations { applied, known })
    }

    fn newest(&self) -> i64 {
        self.migrations.iter().map(|(number, ..)| *number).max().unwrap_or(0)
    }

    fn migrator(&self, database: &Database) -> Migrator {
        let migration = |(number, title, mysql, postgres): &(i64, &'static str, &'static str, &'static str)| {
            let sql = database.pick(*mysql, *postgres).into_sql_str();
            Migration::new(*number, (*title).into(), MigrationType::Simple, sql, false)
        };
        let mut migrator = Migrator::with_migrations(self.migrations.iter().map(migration).collect());
        migrator.dangerous_set_table_name(self.table);
        migrator
    }

    /// Brings the tables up to date. Several processes may do so at once: one does it, the others wait.
    pub(crate) async fn apply(&self, database: &Database) -> PortResult<()> {
        let mut applied = self.run(database).await;
        if let Err(MigrateError::Dirty(_)) = applied {
            self.forget_interrupted(database).await?;
            applied = self.run(database).await;
        }
        match applied {
            Ok(()) => Ok(()),
            Err(MigrateError::VersionMissing(found)) => Err(PortError::refused(format!(
                "{} was made by a newer version of lanner (migration {found}, this one knows {})",
                database.what(),
                self.newest()
            ))),
            Err(MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _)) => Err(database.error(e)),
            Err(e) => Err(PortError::Corrupt { what: database.what().to_owned(), source: Some(e.into()) }),
        }
    }

    async fn run(&self, database: &Database) -> Result<(), MigrateError> {
        let migrator = self.migrator(database);
        match database.pools() {
            Ok(mysql) => migrator.run(mysql).await,
            Err(postgres) => migrator.run(postgres).await,
        }
    }

    /// Takes back the note of a migration that did not come to its end, as happens on MySQL alone.
    async fn forget_interrupted(&self, database: &Database) -> PortResult<()> {
        if let Ok(mysql) = database.pools() {
            let sql = format!("DELETE FROM {} WHERE NOT success", self.table);
            sqlx::query(AssertSqlSafe(sql)).execute(mysql).await.map_err(|e| database.error(e))?;
        }
        Ok(())
    }
}
