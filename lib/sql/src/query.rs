//! Queries that an operator configures, so that somebody else's tables are read as they are.
//!
//! A query is one `SELECT` with named placeholders. It is checked when the adapter is opened: that it only reads, that it has the
//! columns in types that can be read, and, as a warning, that it finds its rows by an index. It runs in read-only transactions.

use chat::{PortError, PortResult};

use crate::Dialect;
use crate::database::Database;
use crate::row::Row;
use crate::statement::{Piece, Values, pieces};

/// Words that make a statement more than reading, wherever they stand.
const WRITING: [&str; 6] = ["insert", "update", "delete", "merge", "into", "lock"];

/// What a column has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// A whole number.
    Whole,
    /// A truth value, or a whole number where 0 is false.
    Truth,
}

/// A column that a query has to have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    pub(crate) column: &'static str,
    pub(crate) holds: Holds,
    pub(crate) optional: bool,
}

impl Needs {
    pub(crate) const fn whole(column: &'static str) -> Self {
        Self { column, holds: Holds::Whole, optional: false }
    }

    pub(crate) const fn whole_if_any(column: &'static str) -> Self {
        Self { column, holds: Holds::Whole, optional: true }
    }

    pub(crate) const fn truth(column: &'static str) -> Self {
        Self { column, holds: Holds::Truth, optional: false }
    }
}

/// A configured query.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// The setting that holds it.
    setting: &'static str,
    text: String,
}

impl Query {
    /// Takes a query that only reads.
    pub(crate) fn new(dialect: Dialect, setting: &'static str, text: &str) -> PortResult<Self> {
        let text = text.trim().trim_end_matches(';').trim_end();
        let refuse = |why: &str| PortError::refused(format!("the query {setting} {why}: write one SELECT without a ;"));
        let mut words = Vec::new();
        for piece in pieces(text, dialect) {
            match piece {
                Piece::Code(code) if code.contains(';') => return Err(refuse("is more than one statement")),
                Piece::Code(code) => {
                    let of_name = |c: char| !(c.is_alphanumeric() || c == '_');
                    words.extend(code.split(of_name).filter(|word| !word.is_empty()).map(str::to_ascii_lowercase));
                }
                // MySQL runs what stands in /*! and /*M! comments.
                Piece::Quoted(text) if text.starts_with("/*!") || text.starts_with("/*M!") => {
                    return Err(refuse("has a comment that is a statement"));
                }
                Piece::Quoted(_) | Piece::Placeholder(_) => {}
            }
        }
        if !matches!(words.first().map(String::as_str), Some("select" | "with")) {
            return Err(refuse("does not begin with SELECT or WITH"));
        }
        match words.iter().find(|word| WRITING.contains(&word.as_str())) {
            Some(word) => Err(refuse(&format!("has the word {word}, which does more than read"))),
            None => Ok(Self { setting, text: text.to_owned() }),
        }
    }

    /// Its text with `_suffix` behind the name of each placeholder, so that it can stand in a statement several times.
    pub(crate) fn renamed(&self, dialect: Dialect, suffix: &str) -> String {
        let mut text = String::with_capacity(self.text.len() + 16);
        for piece in pieces(&self.text, dialect) {
            match piece {
                Piece::Code(code) | Piece::Quoted(code) => text.push_str(code),
                Piece::Placeholder(name) => text.extend([":", name, "_", suffix]),
            }
        }
        text
    }

    /// Checks the columns. Answers a warning where no index is used.
    pub(crate) async fn check(
        &self,
        database: &Database,
        values: Values<'_, '_>,
        needs: &[Needs],
    ) -> PortResult<Option<String>> {
        let columns = database.columns(&self.text, values).await.map_err(|e| self.named(e))?;
        for need in needs {
            let Some((_, found)) = columns.iter().find(|(name, _)| name == need.column) else {
                if need.optional {
                    continue;
                }
                let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
                return Err(PortError::refused(format!(
                    "the query {} has no column '{}', it has: {}; name it with AS",
                    self.setting,
                    need.column,
                    names.join(", ")
                )));
            };
            let (fits, wanted) = match need.holds {
                Holds::Whole => (is_whole(found), "a whole number: write CAST(… AS BIGINT), on MySQL AS SIGNED"),
                Holds::Truth => (is_whole(found) || found == "BOOL", "a truth value or 0 and 1"),
            };
            if !fits {
                return Err(PortError::refused(format!(
                    "the query {} has column '{}' of type {found}, it must be {wanted}",
                    self.setting, need.column
                )));
            }
        }
        let scanned = database.scanned(&self.text, values).await.map_err(|e| self.named(e))?;
        Ok(scanned.map(|table| format!("the query {} reads all of {table}: it needs an index", self.setting)))
    }

    /// Runs it.
    pub(crate) async fn fetch(&self, database: &Database, values: Values<'_, '_>) -> PortResult<Vec<Row>> {
        database.fetch(&self.text, values).await.map_err(|e| self.named(e))
    }

    /// Says which query it was, where the query is what is wrong.
    fn named(&self, e: PortError) -> PortError {
        match e {
            PortError::Refused { what, source } => {
                PortError::Refused { what: format!("the query {}: {what}", self.setting), source }
            }
            e => e,
        }
    }
}

/// Whether [`Row::whole`] reads columns of this type.
fn is_whole(name: &str) -> bool {
    let name = name.strip_suffix(" UNSIGNED").unwrap_or(name);
    matches!(name, "INT2" | "INT4" | "INT8" | "TINYINT" | "SMALLINT" | "MEDIUMINT" | "INT" | "BIGINT" | "BOOLEAN")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> Option<String> {
        let refused = [Dialect::MySql, Dialect::Postgres].map(|dialect| Query::new(dialect, "rooms", text).err());
        let [mysql, postgres] = refused.map(|e| e.map(|e| e.to_string()));
        assert_eq!(mysql, postgres);
        mysql
    }

    #[test]
    fn what_reads_is_taken() {
        for text in [
            "SELECT 1",
            " select id from t where updated_at > 1 ; ",
            "WITH x AS (SELECT 1 AS id) SELECT id FROM x",
            "-- which rooms\nSELECT 'insert; update', \"delete\" FROM t /* merge; */",
            "SELECT replace(name, 'a', 'b'), deleted, unlocked FROM t",
        ] {
            assert_eq!(refusal(text), None, "{text}");
        }
    }

    #[test]
    fn what_does_more_than_read_is_refused_with_the_name_of_the_setting() {
        for text in [
            "",
            "DELETE FROM t",
            "INSERT INTO t SELECT 1",
            "SELECT 1; DELETE FROM t",
            "SELECT * FROM t FOR UPDATE",
            "SELECT * FROM t LOCK IN SHARE MODE",
            "SELECT * INTO u FROM t",
            "WITH gone AS (DELETE FROM t RETURNING id) SELECT id FROM gone",
            "SELECT 1 /*! INTO OUTFILE 'rows' */",
            "EXPLAIN ANALYZE SELECT 1",
            "SET x = 1",
        ] {
            let refused = refusal(text).unwrap_or_else(|| panic!("{text:?} was taken"));
            assert!(refused.contains("the query rooms"), "{refused}");
        }
    }
}
