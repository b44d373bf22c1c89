-- The columns of a Zulip-like chat that Lanner reads. The same text makes them on PostgreSQL, MySQL and MariaDB.

CREATE TABLE zerver_realm (
    id INTEGER PRIMARY KEY,
    string_id VARCHAR(40) NOT NULL,
    -- 2 = limited: the history is cut.
    plan_type SMALLINT NOT NULL,
    deactivated BOOLEAN NOT NULL
);
CREATE INDEX zerver_realm_by_plan_type ON zerver_realm (plan_type, id);

-- Whom messages go to: a person (type 1), a stream (type 2), a group (type 3).
CREATE TABLE zerver_recipient (
    id INTEGER PRIMARY KEY,
    type SMALLINT NOT NULL,
    type_id INTEGER NOT NULL
);

CREATE TABLE zerver_userprofile (
    id INTEGER PRIMARY KEY,
    realm_id INTEGER NOT NULL,
    is_active BOOLEAN NOT NULL,
    recipient_id INTEGER
);
CREATE INDEX zerver_userprofile_by_realm ON zerver_userprofile (realm_id);

CREATE TABLE zerver_stream (
    id INTEGER PRIMARY KEY,
    realm_id INTEGER NOT NULL,
    recipient_id INTEGER
);
CREATE INDEX zerver_stream_by_realm ON zerver_stream (realm_id);

-- Who receives what is sent to a recipient; who unsubscribes stays, inactive.
CREATE TABLE zerver_subscription (
    id INTEGER PRIMARY KEY,
    user_profile_id INTEGER NOT NULL,
    recipient_id INTEGER NOT NULL,
    active BOOLEAN NOT NULL,
    UNIQUE (user_profile_id, recipient_id)
);

-- The journal of changes. Of its types: 101 to 104 are accounts that come, are activated or deactivated; 201, 202, 204, 215 are the
-- realm: deactivated, reactivated, its plan, created; 601 is a new stream.
CREATE TABLE zerver_realmauditlog (
    id INTEGER PRIMARY KEY,
    realm_id INTEGER NOT NULL,
    event_type SMALLINT NOT NULL,
    event_time TIMESTAMP NOT NULL
);

-- A deleted message is moved away.
CREATE TABLE zerver_message (
    id INTEGER PRIMARY KEY,
    realm_id INTEGER NOT NULL,
    recipient_id INTEGER NOT NULL,
    sender_id INTEGER NOT NULL,
    date_sent TIMESTAMP NOT NULL
);
CREATE INDEX zerver_message_by_realm ON zerver_message (realm_id, id);
CREATE INDEX zerver_message_by_recipient ON zerver_message (recipient_id, id);
