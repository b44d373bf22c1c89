-- Who is who. Ids are whole numbers from 0 to 2^63 - 1.

CREATE TABLE organizations (
    id BIGINT PRIMARY KEY,
    plan TEXT NOT NULL CHECK (plan IN ('free', 'paid')),
    -- Never falls; grows with every change of the plan.
    plan_version BIGINT NOT NULL
);

-- The pages of free organizations.
CREATE INDEX organizations_by_plan ON organizations (plan, id);

CREATE TABLE accounts (
    id BIGINT PRIMARY KEY,
    organization BIGINT NOT NULL REFERENCES organizations (id),
    active BOOLEAN NOT NULL
);

CREATE INDEX accounts_by_organization ON accounts (organization, active);

CREATE TABLE rooms (
    id BIGINT PRIMARY KEY
);

-- Current memberships.
CREATE TABLE memberships (
    account BIGINT NOT NULL REFERENCES accounts (id),
    room BIGINT NOT NULL REFERENCES rooms (id),
    PRIMARY KEY (account, room)
);

CREATE INDEX memberships_by_room ON memberships (room);
