-- The tables of an existing chat, as far as Lanner reads them. The same text makes them on MySQL, MariaDB and PostgreSQL.

CREATE TABLE workspaces (
    id INTEGER PRIMARY KEY,
    name VARCHAR(100) NOT NULL,
    -- free, team, business
    billing_plan VARCHAR(16) NOT NULL,
    -- Grows with every change of the plan.
    billing_plan_changes INTEGER NOT NULL,
    deleted_at TIMESTAMP NULL,
    -- Milliseconds since 1970, renewed with every change of the workspace, its users and their memberships.
    changed_at BIGINT NOT NULL
);
CREATE INDEX workspaces_by_plan ON workspaces (billing_plan, id);
CREATE INDEX workspaces_by_change ON workspaces (changed_at, id);

CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    workspace_id INTEGER NOT NULL,
    deactivated_at TIMESTAMP NULL
);
CREATE INDEX users_by_workspace ON users (workspace_id);

CREATE TABLE channels (
    id INTEGER PRIMARY KEY,
    name VARCHAR(100) NOT NULL
);

-- A user who leaves and comes back has two rows.
CREATE TABLE channel_members (
    id INTEGER PRIMARY KEY,
    channel_id INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    joined_at TIMESTAMP NOT NULL,
    left_at TIMESTAMP NULL
);
CREATE INDEX channel_members_by_user ON channel_members (user_id, left_at, channel_id);
