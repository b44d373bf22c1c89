-- Who is who. Ids are whole numbers from 0 to 2^63 - 1. What refers to what is checked by whoever writes.

CREATE TABLE organizations (
    id INTEGER PRIMARY KEY,
    plan TEXT NOT NULL CHECK (plan IN ('free', 'paid')),
    -- Never falls; grows with every change of the plan.
    plan_version INTEGER NOT NULL
);

CREATE TABLE accounts (
    id INTEGER PRIMARY KEY,
    organization INTEGER NOT NULL,
    active INTEGER NOT NULL CHECK (active IN (0, 1))
);

CREATE INDEX accounts_by_organization ON accounts (organization);

CREATE TABLE rooms (
    id INTEGER PRIMARY KEY
);

-- Current memberships. By account, so that the rooms of an organization follow from its accounts without a second index.
CREATE TABLE memberships (
    account INTEGER NOT NULL,
    room INTEGER NOT NULL,
    PRIMARY KEY (account, room)
) WITHOUT ROWID;

-- A projection, kept true by every transaction that changes one of the tables above: the distinct rooms in which an active
-- account of the organization is a member, ascending, each as the difference to the one before, in base 128, low bits first.
-- No row where there is no room.
CREATE TABLE organization_rooms (
    organization INTEGER PRIMARY KEY,
    rooms BLOB NOT NULL
);

-- The last import. Unfinished between the moment when its directory becomes visible and the moment when all messages are.
CREATE TABLE imports (
    only INTEGER PRIMARY KEY CHECK (only = 0),
    fingerprint TEXT NOT NULL,
    finished INTEGER NOT NULL CHECK (finished IN (0, 1))
);
