//! Rows as they stand in the tables, and back.

use chat::ledger::{Run, RunOrganization, Scope, Stage, State};
use chat::{Policy, PortResult, RunId};

use crate::row::Row;

/// The columns that [`run_of`] reads, of `runs AS r`.
macro_rules! run_columns {
    () => {
        "r.number, r.run, r.scope, r.as_of, r.max_messages, r.max_age_ms, r.opened_at, r.sent_through, r.extracted_at, \
         r.cancelled_at"
    };
}
/// The columns that [`organization_of`] reads, of `run_organizations AS o`.
macro_rules! organization_columns {
    () => {
        "o.organization, o.state, o.stage, o.attempts, o.rooms, o.rooms_opened, o.messages_read, o.read_units, \
         o.visible_messages, o.first_visible_message_id, o.previous_first_visible_message_id, o.error_class, o.error, \
         o.queued_at, o.started_at, o.finished_at"
    };
}
pub(super) use {organization_columns, run_columns};

/// The run named in `column`.
pub(super) fn run_id(row: &Row, column: &str) -> PortResult<RunId> {
    RunId::new(row.text(column)?).map_err(|e| row.corrupt(e))
}

pub(super) fn run_of(row: &Row) -> PortResult<Run> {
    let policy = Policy::new(row.whole("max_messages")?, row.whole_or_none("max_age_ms")?);
    Ok(Run {
        id: run_id(row, "run")?,
        scope: row.word("scope", Scope::of)?,
        as_of: row.instant("as_of")?,
        policy: policy.map_err(|e| row.corrupt(e))?,
        opened_at: row.instant("opened_at")?,
        sent_through: row.whole_or_none("sent_through")?,
        extracted_at: row.instant_or_none("extracted_at")?,
        cancelled_at: row.instant_or_none("cancelled_at")?,
    })
}

pub(super) fn organization_of(row: &Row) -> PortResult<RunOrganization> {
    let stage = row.text_or_none("stage")?;
    Ok(RunOrganization {
        organization: row.whole("organization")?,
        state: row.word("state", State::of)?,
        stage: stage.map(|_| row.word("stage", Stage::of)).transpose()?,
        attempts: row.whole("attempts")?,
        rooms: row.whole("rooms")?,
        rooms_opened: row.whole("rooms_opened")?,
        messages_read: row.whole("messages_read")?,
        read_units: row.float("read_units")?,
        visible_messages: row.whole("visible_messages")?,
        first_visible_message_id: row.whole_or_none("first_visible_message_id")?,
        previous_first_visible_message_id: row.whole_or_none("previous_first_visible_message_id")?,
        error_class: row.text_or_none("error_class")?,
        error: row.text_or_none("error")?,
        queued_at: row.instant("queued_at")?,
        started_at: row.instant_or_none("started_at")?,
        finished_at: row.instant_or_none("finished_at")?,
    })
}
