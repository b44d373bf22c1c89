//! The ledger's statements as PostgreSQL takes them.

use super::Statements;

macro_rules! insert_history {
    ($condition:literal) => {
        concat!(
            "
        INSERT INTO limit_history (organization, as_of, run, old, new, cause)
        SELECT b.organization, b.as_of, b.run, b.old, b.new, b.cause
        FROM json_to_recordset(:batch::json) AS b(
            organization bigint, as_of bigint, run text, old bigint, new bigint, cause text
        ) ",
            $condition
        )
    };
}

pub(super) const STATEMENTS: Statements = Statements {
    open_run: "
        INSERT INTO runs (run, scope, as_of, max_messages, max_age_ms, opened_at)
        VALUES (:run, :scope, :as_of, :max_messages, :max_age_ms, :opened_at)
        ON CONFLICT DO NOTHING",
    register: "
        INSERT INTO run_organizations (run, organization, state, queued_at)
        SELECT :run, value::bigint, 'pending', :at FROM json_array_elements_text(:batch::json) AS b(value)
        ON CONFLICT DO NOTHING",
    lock: "
        SELECT o.organization, o.state, o.stage, o.attempts
        FROM json_array_elements_text(:batch::json) AS b(value)
        JOIN run_organizations AS o ON o.run = :run AND o.organization = b.value::bigint
        ORDER BY o.organization
        FOR UPDATE OF o",
    begin: "
        UPDATE run_organizations AS o
        SET state = 'running', stage = :stage, attempts = (b.value ->> 1)::bigint, started_at = coalesce(o.started_at, :at)
        FROM json_array_elements(:batch::json) AS b(value)
        WHERE o.run = :run AND o.organization = (b.value ->> 0)::bigint",
    forgive: "
        UPDATE run_organizations AS o
        SET attempts = (b.value ->> 1)::bigint
        FROM json_array_elements(:batch::json) AS b(value)
        WHERE o.run = :run AND o.organization = (b.value ->> 0)::bigint",
    fail: "
        UPDATE run_organizations AS o
        SET state = 'retrying', error_class = b.class, error = b.error
        FROM json_to_recordset(:batch::json) AS b(organization bigint, class text, error text)
        WHERE o.run = :run AND o.organization = b.organization",
    settle: "
        UPDATE run_organizations AS o
        SET
            state = b.state,
            rooms = b.rooms,
            rooms_opened = b.rooms_opened,
            messages_read = b.messages_read,
            read_units = b.read_units,
            visible_messages = b.visible_messages,
            first_visible_message_id = b.first_visible,
            previous_first_visible_message_id = b.previous,
            error_class = coalesce(b.class, o.error_class),
            error = coalesce(b.error, o.error),
            finished_at = b.finished_at
        FROM json_to_recordset(:batch::json) AS b(
            organization bigint,
            state text,
            rooms bigint,
            rooms_opened bigint,
            messages_read bigint,
            read_units double precision,
            visible_messages bigint,
            first_visible bigint,
            previous bigint,
            class text,
            error text,
            finished_at bigint
        )
        WHERE o.run = :run AND o.organization = b.organization",
    reopen: "
        UPDATE run_organizations AS o
        SET state = 'pending', stage = NULL, attempts = 0, started_at = NULL, finished_at = NULL
        FROM json_array_elements_text(:batch::json) AS b(value)
        WHERE o.run = :run AND o.organization = b.value::bigint",
    add_history: insert_history!(""),
    add_history_once: insert_history!(
        "WHERE NOT EXISTS (
            SELECT 1 FROM limit_history AS h WHERE h.organization = b.organization AND h.run = b.run
        )"
    ),
};
