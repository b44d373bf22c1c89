//! A row of either database, read by the names of its columns.

use std::sync::Arc;

use chat::{PortError, PortResult, Timestamp};
use sqlx::mysql::MySqlRow;
use sqlx::postgres::PgRow;
use sqlx::{Column as _, Decode, Row as _, Type, TypeInfo as _, ValueRef as _};

/// A row, and where it comes from.
pub(crate) struct Row {
    /// For errors: `the ledger mysql://host/database`.
    what: Arc<str>,
    inner: Inner,
}

enum Inner {
    MySql(MySqlRow),
    Postgres(PgRow),
}

impl Row {
    pub(crate) fn mysql(what: &Arc<str>, row: MySqlRow) -> Self {
        Self { what: what.clone(), inner: Inner::MySql(row) }
    }

    pub(crate) fn postgres(what: &Arc<str>, row: PgRow) -> Self {
        Self { what: what.clone(), inner: Inner::Postgres(row) }
    }

    /// A stored value that cannot be.
    pub(crate) fn corrupt(&self, value: impl std::fmt::Display) -> PortError {
        PortError::corrupt(format!("{} holds {value}", self.what))
    }

    fn unreadable(&self, e: sqlx::Error) -> PortError {
        PortError::Corrupt { what: format!("{} does not read back", self.what), source: Some(e.into()) }
    }

    fn get<'r, T>(&'r self, column: &str) -> PortResult<T>
    where
        T: Decode<'r, sqlx::MySql> + Type<sqlx::MySql> + Decode<'r, sqlx::Postgres> + Type<sqlx::Postgres>,
    {
        match &self.inner {
            Inner::MySql(row) => row.try_get(column),
            Inner::Postgres(row) => row.try_get(column),
        }
        .map_err(|e| self.unreadable(e))
    }

    /// An integer of any width, or a truth value as 0 or 1.
    fn integer(&self, column: &str) -> PortResult<Option<i64>> {
        let of_mysql = |row: &MySqlRow| -> Result<Option<i64>, sqlx::Error> {
            let value = row.try_get_raw(column)?;
            if value.is_null() {
                return Ok(None);
            }
            if !value.type_info().name().ends_with("UNSIGNED") {
                return row.try_get(column);
            }
            let value: u64 = row.try_get(column)?;
            let whole = i64::try_from(value);
            whole.map(Some).map_err(|e| sqlx::Error::ColumnDecode { index: column.to_owned(), source: e.into() })
        };
        let of_postgres = |row: &PgRow| -> Result<Option<i64>, sqlx::Error> {
            let value = row.try_get_raw(column)?;
            if value.is_null() {
                return Ok(None);
            }
            match value.type_info().name() {
                "INT2" => row.try_get::<i16, _>(column).map(|value| Some(value.into())),
                "INT4" => row.try_get::<i32, _>(column).map(|value| Some(value.into())),
                "BOOL" => row.try_get::<bool, _>(column).map(|value| Some(value.into())),
                _ => row.try_get(column),
            }
        };
        match &self.inner {
            Inner::MySql(row) => of_mysql(row),
            Inner::Postgres(row) => of_postgres(row),
        }
        .map_err(|e| self.unreadable(e))
    }

    /// An integer column in the range of `T`, or NULL.
    pub(crate) fn whole_or_none<T: TryFrom<i64>>(&self, column: &str) -> PortResult<Option<T>> {
        let Some(value) = self.integer(column)? else { return Ok(None) };
        T::try_from(value).map(Some).map_err(|_| self.corrupt(format_args!("{value} in column {column}")))
    }

    /// An integer column in the range of `T`.
    pub(crate) fn whole<T: TryFrom<i64>>(&self, column: &str) -> PortResult<T> {
        self.whole_or_none(column)?.ok_or_else(|| self.corrupt(format_args!("NULL in column {column}")))
    }

    /// True for anything but 0.
    pub(crate) fn truth(&self, column: &str) -> PortResult<bool> {
        Ok(self.whole::<i64>(column)? != 0)
    }

    /// Milliseconds since 1970, or NULL.
    pub(crate) fn instant_or_none(&self, column: &str) -> PortResult<Option<Timestamp>> {
        Ok(self.whole_or_none(column)?.map(Timestamp::from_millis))
    }

    /// Milliseconds since 1970.
    pub(crate) fn instant(&self, column: &str) -> PortResult<Timestamp> {
        self.whole(column).map(Timestamp::from_millis)
    }

    /// A text, or NULL.
    pub(crate) fn text_or_none(&self, column: &str) -> PortResult<Option<String>> {
        self.get(column)
    }

    /// A text.
    pub(crate) fn text(&self, column: &str) -> PortResult<String> {
        self.get(column)
    }

    /// A column with a word of ours.
    pub(crate) fn word<T>(&self, column: &str, of: impl Fn(&str) -> Option<T>) -> PortResult<T> {
        let word = self.text(column)?;
        of(&word).ok_or_else(|| self.corrupt(format_args!("'{word}' in column {column}")))
    }

    /// A floating point number.
    pub(crate) fn float(&self, column: &str) -> PortResult<f64> {
        self.get(column)
    }

    /// Bytes.
    pub(crate) fn bytes(&self, column: &str) -> PortResult<Vec<u8>> {
        self.get(column)
    }

    /// True where the row has such a column.
    pub(crate) fn has(&self, column: &str) -> bool {
        match &self.inner {
            Inner::MySql(row) => row.columns().iter().any(|known| known.name() == column),
            Inner::Postgres(row) => row.columns().iter().any(|known| known.name() == column),
        }
    }
}
