-- Memberships of accounts that are not known yet wait for them. The constraint's name differs between servers.
SET @forget_accounts = (
    SELECT concat('ALTER TABLE memberships DROP FOREIGN KEY `', constraint_name, '`')
    FROM information_schema.key_column_usage
    WHERE table_schema = database() AND table_name = 'memberships'
        AND column_name = 'account' AND referenced_table_name = 'accounts'
);
SET @forget_accounts = coalesce(@forget_accounts, 'DO 0');
PREPARE forget_accounts FROM @forget_accounts;
EXECUTE forget_accounts;
DEALLOCATE PREPARE forget_accounts;

-- Where the newest changes stood in their log. Changes arrive in any order, more than once: an older one must not undo a newer one.
-- A position is kept as a signed number, 2^63 less than itself. A membership without one is older than every change.

CREATE TABLE IF NOT EXISTS room_positions (
    room BIGINT PRIMARY KEY,
    -- The newest change that is no deletion; the room is known if it is newer than the newest deletion.
    alive BIGINT,
    -- The newest deletion: no older join counts, whenever it arrives.
    deleted BIGINT
) ENGINE = InnoDB;

-- The newest join or leave, where it is newer than the deletion of the room. Whether it was a join stands in memberships.
CREATE TABLE IF NOT EXISTS membership_positions (
    room BIGINT NOT NULL,
    account BIGINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (room, account)
) ENGINE = InnoDB;
