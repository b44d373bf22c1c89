-- Who is who. Ids are whole numbers from 0 to 2^63 - 1.

CREATE TABLE IF NOT EXISTS organizations (
    id BIGINT PRIMARY KEY,
    plan VARCHAR(4) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL CHECK (plan IN ('free', 'paid')),
    -- Never falls; grows with every change of the plan.
    plan_version BIGINT NOT NULL,
    -- The pages of free organizations.
    INDEX organizations_by_plan (plan, id)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS accounts (
    id BIGINT PRIMARY KEY,
    organization BIGINT NOT NULL,
    active BOOLEAN NOT NULL,
    INDEX accounts_by_organization (organization, active),
    FOREIGN KEY (organization) REFERENCES organizations (id)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS rooms (
    id BIGINT PRIMARY KEY
) ENGINE = InnoDB;

-- Current memberships.
CREATE TABLE IF NOT EXISTS memberships (
    account BIGINT NOT NULL,
    room BIGINT NOT NULL,
    PRIMARY KEY (account, room),
    FOREIGN KEY (account) REFERENCES accounts (id),
    FOREIGN KEY (room) REFERENCES rooms (id)
) ENGINE = InnoDB;
