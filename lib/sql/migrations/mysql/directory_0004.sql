-- Organizations of which something changed that no event of the log tells: the plan, accounts that came, moved or were (de)activated,
-- the organization itself. One row for each, with its newest change: microseconds since 1970 of who writes, above all others here.
-- Whoever else changes these tables upserts a row, in the same transaction, for each organization that it concerns; for an account
-- that moves, of both. A row stays when its organization goes.
CREATE TABLE IF NOT EXISTS organization_changes (
    organization BIGINT PRIMARY KEY,
    changed BIGINT NOT NULL,
    INDEX organization_changes_by_changed (changed, organization)
) ENGINE = InnoDB;

-- What was here before is older than every change.
INSERT IGNORE INTO organization_changes (organization, changed) SELECT id, 1 FROM organizations;
