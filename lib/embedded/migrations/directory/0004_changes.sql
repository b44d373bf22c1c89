-- Organizations of which something changed that no event of the log tells: the plan, accounts that came, moved or were (de)activated,
-- the organization itself. One row for each, with its newest change: microseconds since 1970 of who writes, above all others here.
-- Whoever else changes these tables upserts a row, in the same transaction, for each organization that it concerns; for an account
-- that moves, of both. A row stays when its organization goes.
CREATE TABLE organization_changes (
    organization INTEGER PRIMARY KEY,
    changed INTEGER NOT NULL
);

CREATE INDEX organization_changes_by_changed ON organization_changes (changed, organization);

-- What was here before is older than every change.
INSERT INTO organization_changes (organization, changed) SELECT id, 1 FROM organizations;
