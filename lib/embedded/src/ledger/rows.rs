//! Rows as they stand in the tables, and back.

use chat::ledger::{Run, RunOrganization, Scope, Stage, State};
use chat::{Policy, PortResult, RunId, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::SqliteLedger;

/// The columns that [`SqliteLedger::run_row`] reads, of `runs`.
macro_rules! run_columns {
    () => {
        "run, scope, as_of, max_messages, max_age_ms, opened_at, sent_through, extracted_at, cancelled_at"
    };
}
/// The columns that [`SqliteLedger::organization_row`] reads, of `run_organizations AS o`.
macro_rules! organization_columns {
    () => {
        "o.organization, o.state, o.stage, o.attempts, o.rooms, o.rooms_opened, o.messages_read, o.read_units, \
         o.visible_messages, o.first_visible_message_id, o.previous_first_visible_message_id, o.error_class, o.error, \
         o.queued_at, o.started_at, o.finished_at"
    };
}
pub(super) use {organization_columns, run_columns};

impl SqliteLedger {
    /// A column that cannot be NULL.
    pub(super) fn column<'r, T>(&self, row: &'r SqliteRow, name: &str) -> PortResult<T>
    where
        T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        row.try_get(name).map_err(|e| self.database.error(e))
    }

    /// An integer column that cannot be NULL, in the range of `T`.
    pub(super) fn whole<T: TryFrom<i64>>(&self, row: &SqliteRow, name: &str) -> PortResult<T> {
        let value: i64 = self.column(row, name)?;
        T::try_from(value).map_err(|_| self.database.corrupt(format_args!("{value} in column {name}")))
    }

    /// An integer column, in the range of `T`.
    pub(super) fn whole_or_none<T: TryFrom<i64>>(&self, row: &SqliteRow, name: &str) -> PortResult<Option<T>> {
        let value: Option<i64> = self.column(row, name)?;
        let whole =
            |value| T::try_from(value).map_err(|_| self.database.corrupt(format_args!("{value} in column {name}")));
        value.map(whole).transpose()
    }

    fn instant(&self, row: &SqliteRow, name: &str) -> PortResult<Timestamp> {
        self.whole(row, name).map(Timestamp::from_millis)
    }

    fn instant_or_none(&self, row: &SqliteRow, name: &str) -> PortResult<Option<Timestamp>> {
        Ok(self.whole_or_none(row, name)?.map(Timestamp::from_millis))
    }

    /// A column with a word of ours.
    fn word<T>(&self, row: &SqliteRow, name: &str, of: impl Fn(&str) -> Option<T>) -> PortResult<T> {
        let word: &str = self.column(row, name)?;
        of(word).ok_or_else(|| self.database.corrupt(format_args!("'{word}' in column {name}")))
    }

    pub(super) fn state_of(&self, word: &str) -> PortResult<State> {
        State::of(word).ok_or_else(|| self.database.corrupt(format_args!("state '{word}'")))
    }

    pub(super) fn run_id(&self, name: String) -> PortResult<RunId> {
        RunId::new(name).map_err(|e| self.database.corrupt(e))
    }

    pub(super) fn run_row(&self, row: &SqliteRow) -> PortResult<Run> {
        let policy = Policy::new(self.whole(row, "max_messages")?, self.whole_or_none(row, "max_age_ms")?);
        Ok(Run {
            id: self.run_id(self.column(row, "run")?)?,
            scope: self.word(row, "scope", Scope::of)?,
            as_of: self.instant(row, "as_of")?,
            policy: policy.map_err(|e| self.database.corrupt(e))?,
            opened_at: self.instant(row, "opened_at")?,
            sent_through: self.whole_or_none(row, "sent_through")?,
            extracted_at: self.instant_or_none(row, "extracted_at")?,
            cancelled_at: self.instant_or_none(row, "cancelled_at")?,
        })
    }

    pub(super) fn organization_row(&self, row: &SqliteRow) -> PortResult<RunOrganization> {
        let stage: Option<&str> = self.column(row, "stage")?;
        Ok(RunOrganization {
            organization: self.whole(row, "organization")?,
            state: self.word(row, "state", State::of)?,
            stage: stage.map(|_| self.word(row, "stage", Stage::of)).transpose()?,
            attempts: self.whole(row, "attempts")?,
            rooms: self.whole(row, "rooms")?,
            rooms_opened: self.whole(row, "rooms_opened")?,
            messages_read: self.whole(row, "messages_read")?,
            read_units: self.column(row, "read_units")?,
            visible_messages: self.whole(row, "visible_messages")?,
            first_visible_message_id: self.whole_or_none(row, "first_visible_message_id")?,
            previous_first_visible_message_id: self.whole_or_none(row, "previous_first_visible_message_id")?,
            error_class: self.column(row, "error_class")?,
            error: self.column(row, "error")?,
            queued_at: self.instant(row, "queued_at")?,
            started_at: self.instant_or_none(row, "started_at")?,
            finished_at: self.instant_or_none(row, "finished_at")?,
        })
    }
}
