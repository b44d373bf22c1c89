-- The ledger. Instants are integers: milliseconds since 1970-01-01T00:00:00Z. An id is an integer from 0 to 2^63 - 1.

CREATE TABLE runs (
    -- Stands for the run in run_organizations: names are long and there is a row for each organization.
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run TEXT NOT NULL UNIQUE,
    scope TEXT NOT NULL,
    as_of BIGINT NOT NULL,
    max_messages BIGINT NOT NULL,
    -- Milliseconds; NULL = any age.
    max_age_ms BIGINT,
    opened_at BIGINT NOT NULL,
    sent_through BIGINT,
    extracted_at BIGINT,
    cancelled_at BIGINT
);

CREATE INDEX runs_by_opened_at ON runs (opened_at, number);

CREATE TABLE run_organizations (
    -- runs.number; the views show the run's name.
    run BIGINT NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    organization BIGINT NOT NULL,
    state TEXT NOT NULL,
    -- The stage that was begun last, and its attempts.
    stage TEXT,
    attempts BIGINT NOT NULL DEFAULT 0,
    rooms BIGINT NOT NULL DEFAULT 0,
    rooms_opened BIGINT NOT NULL DEFAULT 0,
    messages_read BIGINT NOT NULL DEFAULT 0,
    read_units DOUBLE PRECISION NOT NULL DEFAULT 0,
    visible_messages BIGINT NOT NULL DEFAULT 0,
    first_visible_message_id BIGINT,
    previous_first_visible_message_id BIGINT,
    error_class TEXT,
    error TEXT,
    queued_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    PRIMARY KEY (run, organization)
);

-- Answers the counts of a run and the pages of one state without reading the rows.
CREATE INDEX run_organizations_by_state ON run_organizations (run, state, organization, finished_at);

-- Outlives its runs, which are pruned: hence the run's name.
CREATE TABLE limit_history (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization BIGINT NOT NULL,
    as_of BIGINT NOT NULL,
    run TEXT NOT NULL,
    old BIGINT,
    new BIGINT,
    cause TEXT NOT NULL
);

CREATE INDEX limit_history_by_organization ON limit_history (organization, as_of, number);

CREATE TABLE audit (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    reason TEXT NOT NULL,
    outcome TEXT NOT NULL
);

CREATE INDEX audit_by_at ON audit (at, number);

CREATE TABLE unreadable_messages (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue TEXT NOT NULL,
    body BYTEA NOT NULL,
    cause TEXT NOT NULL,
    at BIGINT NOT NULL
);

CREATE INDEX unreadable_messages_by_at ON unreadable_messages (at, number);

CREATE VIEW run_progress AS
SELECT
    r.run,
    r.scope,
    r.as_of,
    r.opened_at,
    r.extracted_at,
    r.cancelled_at,
    count(o.state) AS expected,
    count(*) FILTER (WHERE o.state = 'pending') AS pending,
    count(*) FILTER (WHERE o.state = 'running') AS running,
    count(*) FILTER (WHERE o.state = 'retrying') AS retrying,
    count(*) FILTER (WHERE o.state = 'done') AS done,
    count(*) FILTER (WHERE o.state = 'superseded') AS superseded,
    count(*) FILTER (WHERE o.state = 'released') AS released,
    count(*) FILTER (WHERE o.state = 'failed') AS failed,
    count(*) FILTER (WHERE o.state = 'parked') AS parked,
    max(o.finished_at) AS last_finished_at
FROM runs AS r
LEFT JOIN run_organizations AS o ON o.run = r.number
GROUP BY r.number;

-- What the newest run (by as_of) that settled an organization found. A released organization has no limit.
CREATE VIEW latest_limits AS
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

CREATE VIEW failed_organizations AS
SELECT r.run, o.organization, o.state, o.stage, o.attempts, o.error_class, o.error, o.queued_at, o.started_at, o.finished_at
FROM run_organizations AS o
JOIN runs AS r ON r.number = o.run
WHERE o.state IN ('failed', 'parked');
