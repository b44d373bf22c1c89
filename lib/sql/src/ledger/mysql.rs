//! The ledger's statements as MySQL 8 and MariaDB take them.
//!
//! `STRAIGHT_JOIN` reads the batch first and finds each row by the primary key: without it the optimizer may walk, and lock, all
//! rows of the run.

use super::Statements;

macro_rules! insert_history {
    ($condition:literal) => {
        concat!(
            "
        INSERT INTO limit_history (organization, as_of, run, old, new, cause)
        SELECT b.organization, b.as_of, b.run, b.old, b.new, b.cause
        FROM JSON_TABLE(:batch, '$[*]' COLUMNS (
            organization BIGINT PATH '$.organization',
            as_of BIGINT PATH '$.as_of',
            run VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$.run',
            old BIGINT PATH '$.old',
            new BIGINT PATH '$.new',
            cause VARCHAR(16) PATH '$.cause'
        )) AS b ",
            $condition
        )
    };
}

pub(super) const STATEMENTS: Statements = Statements {
    open_run: "
        INSERT INTO runs (run, scope, as_of, max_messages, max_age_ms, opened_at)
        VALUES (:run, :scope, :as_of, :max_messages, :max_age_ms, :opened_at)
        ON DUPLICATE KEY UPDATE run = VALUES(run)",
    register: "
        INSERT INTO run_organizations (run, organization, state, queued_at)
        SELECT :run, b.organization, 'pending', :at
        FROM JSON_TABLE(:batch, '$[*]' COLUMNS (organization BIGINT PATH '$')) AS b
        ON DUPLICATE KEY UPDATE run_organizations.queued_at = run_organizations.queued_at",
    lock: "
        SELECT o.organization, o.state, o.stage, o.attempts
        FROM JSON_TABLE(:batch, '$[*]' COLUMNS (organization BIGINT PATH '$')) AS b
        STRAIGHT_JOIN run_organizations AS o
        WHERE o.run = :run AND o.organization = b.organization
        FOR UPDATE",
    begin: "
        UPDATE JSON_TABLE(:batch, '$[*]' COLUMNS (organization BIGINT PATH '$[0]', attempts BIGINT PATH '$[1]')) AS b
        STRAIGHT_JOIN run_organizations AS o
        SET o.state = 'running', o.stage = :stage, o.attempts = b.attempts, o.started_at = coalesce(o.started_at, :at)
        WHERE o.run = :run AND o.organization = b.organization",
    forgive: "
        UPDATE JSON_TABLE(:batch, '$[*]' COLUMNS (organization BIGINT PATH '$[0]', attempts BIGINT PATH '$[1]')) AS b
        STRAIGHT_JOIN run_organizations AS o
        SET o.attempts = b.attempts
        WHERE o.run = :run AND o.organization = b.organization",
    fail: "
        UPDATE JSON_TABLE(:batch, '$[*]' COLUMNS (
            organization BIGINT PATH '$.organization',
            class VARCHAR(64) CHARACTER SET utf8mb4 PATH '$.class',
            error TEXT CHARACTER SET utf8mb4 PATH '$.error'
        )) AS b
        STRAIGHT_JOIN run_organizations AS o
        SET o.state = 'retrying', o.error_class = b.class, o.error = b.error
        WHERE o.run = :run AND o.organization = b.organization",
    settle: "
        UPDATE JSON_TABLE(:batch, '$[*]' COLUMNS (
            organization BIGINT PATH '$.organization',
            state VARCHAR(16) PATH '$.state',
            rooms BIGINT PATH '$.rooms',
            rooms_opened BIGINT PATH '$.rooms_opened',
            messages_read BIGINT PATH '$.messages_read',
            read_units DOUBLE PATH '$.read_units',
            visible_messages BIGINT PATH '$.visible_messages',
            first_visible BIGINT PATH '$.first_visible',
            previous BIGINT PATH '$.previous',
            class VARCHAR(64) CHARACTER SET utf8mb4 PATH '$.class',
            error TEXT CHARACTER SET utf8mb4 PATH '$.error',
            finished_at BIGINT PATH '$.finished_at'
        )) AS b
        STRAIGHT_JOIN run_organizations AS o
        SET
            o.state = b.state,
            o.rooms = b.rooms,
            o.rooms_opened = b.rooms_opened,
            o.messages_read = b.messages_read,
            o.read_units = b.read_units,
            o.visible_messages = b.visible_messages,
            o.first_visible_message_id = b.first_visible,
            o.previous_first_visible_message_id = b.previous,
            o.error_class = coalesce(b.class, o.error_class),
            o.error = coalesce(b.error, o.error),
            o.finished_at = b.finished_at
        WHERE o.run = :run AND o.organization = b.organization",
    reopen: "
        UPDATE JSON_TABLE(:batch, '$[*]' COLUMNS (organization BIGINT PATH '$')) AS b
        STRAIGHT_JOIN run_organizations AS o
        SET o.state = 'pending', o.stage = NULL, o.attempts = 0, o.started_at = NULL, o.finished_at = NULL
        WHERE o.run = :run AND o.organization = b.organization",
    add_history: insert_history!(""),
    add_history_once: insert_history!(
        "LEFT JOIN limit_history AS h FORCE INDEX (limit_history_by_organization)
            ON h.organization = b.organization AND h.run = b.run
        WHERE h.number IS NULL"
    ),
};
