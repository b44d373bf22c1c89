-- The ledger. Instants are integers: milliseconds since 1970-01-01T00:00:00Z. An id is an integer from 0 to 2^63 - 1.

CREATE TABLE IF NOT EXISTS runs (
    -- Stands for the run in run_organizations: names are long and there is a row for each organization.
    number BIGINT AUTO_INCREMENT PRIMARY KEY,
    run VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL UNIQUE,
    scope VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    as_of BIGINT NOT NULL,
    max_messages BIGINT NOT NULL,
    -- Milliseconds; NULL = any age.
    max_age_ms BIGINT,
    opened_at BIGINT NOT NULL,
    sent_through BIGINT,
    extracted_at BIGINT,
    cancelled_at BIGINT,
    INDEX runs_by_opened_at (opened_at, number)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS run_organizations (
    -- runs.number; the views show the run's name.
    run BIGINT NOT NULL,
    organization BIGINT NOT NULL,
    state VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    -- The stage that was begun last, and its attempts.
    stage VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    attempts BIGINT NOT NULL DEFAULT 0,
    rooms BIGINT NOT NULL DEFAULT 0,
    rooms_opened BIGINT NOT NULL DEFAULT 0,
    messages_read BIGINT NOT NULL DEFAULT 0,
    read_units DOUBLE NOT NULL DEFAULT 0,
    visible_messages BIGINT NOT NULL DEFAULT 0,
    first_visible_message_id BIGINT,
    previous_first_visible_message_id BIGINT,
    error_class VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin,
    queued_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    PRIMARY KEY (run, organization),
    -- Answers the counts of a run and the pages of one state without reading the rows.
    INDEX run_organizations_by_state (run, state, organization, finished_at),
    FOREIGN KEY (run) REFERENCES runs (number) ON DELETE CASCADE
) ENGINE = InnoDB;

-- Outlives its runs, which are pruned: hence the run's name.
CREATE TABLE IF NOT EXISTS limit_history (
    number BIGINT AUTO_INCREMENT PRIMARY KEY,
    organization BIGINT NOT NULL,
    as_of BIGINT NOT NULL,
    run VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    old BIGINT,
    new BIGINT,
    cause VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    INDEX limit_history_by_organization (organization, as_of, number)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS audit (
    number BIGINT AUTO_INCREMENT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    action TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    target TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    reason TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    outcome TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    INDEX audit_by_at (at, number)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS unreadable_messages (
    number BIGINT AUTO_INCREMENT PRIMARY KEY,
    queue TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    body LONGBLOB NOT NULL,
    cause TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    at BIGINT NOT NULL,
    INDEX unreadable_messages_by_at (at, number)
) ENGINE = InnoDB;

CREATE OR REPLACE VIEW run_progress AS
SELECT
    r.run,
    r.scope,
    r.as_of,
    r.opened_at,
    r.extracted_at,
    r.cancelled_at,
    count(o.state) AS expected,
    count(CASE WHEN o.state = 'pending' THEN 1 END) AS pending,
    count(CASE WHEN o.state = 'running' THEN 1 END) AS running,
    count(CASE WHEN o.state = 'retrying' THEN 1 END) AS retrying,
    count(CASE WHEN o.state = 'done' THEN 1 END) AS done,
    count(CASE WHEN o.state = 'superseded' THEN 1 END) AS superseded,
    count(CASE WHEN o.state = 'released' THEN 1 END) AS released,
    count(CASE WHEN o.state = 'failed' THEN 1 END) AS failed,
    count(CASE WHEN o.state = 'parked' THEN 1 END) AS parked,
    max(o.finished_at) AS last_finished_at
FROM runs AS r
LEFT JOIN run_organizations AS o ON o.run = r.number
GROUP BY r.number;

-- What the newest run (by as_of) that settled an organization found. A released organization has no limit.
CREATE OR REPLACE VIEW latest_limits AS
SELECT organization, run, as_of, state, visible_messages, first_visible_message_id, rooms, finished_at
FROM (
    SELECT
        o.organization,
        r.run,
        r.as_of,
        o.state,
        o.visible_messages,
        o.first_visible_message_id,
        o.rooms,
        o.finished_at,
        row_number() OVER (PARTITION BY o.organization ORDER BY r.as_of DESC, o.finished_at DESC, r.number DESC) AS place
    FROM run_organizations AS o
    JOIN runs AS r ON r.number = o.run
    WHERE o.state IN ('done', 'released')
) AS settled
WHERE place = 1;

CREATE OR REPLACE VIEW failed_organizations AS
SELECT r.run, o.organization, o.state, o.stage, o.attempts, o.error_class, o.error, o.queued_at, o.started_at, o.finished_at
FROM run_organizations AS o
JOIN runs AS r ON r.number = o.run
WHERE o.state IN ('failed', 'parked');
