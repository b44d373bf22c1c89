-- Memberships of accounts that are not known yet wait for them.
ALTER TABLE memberships DROP CONSTRAINT IF EXISTS memberships_account_fkey;

-- Where the newest changes stood in their log. Changes arrive in any order, more than once: an older one must not undo a newer one.
-- A position is kept as a signed number, 2^63 less than itself. A membership without one is older than every change.

CREATE TABLE room_positions (
    room BIGINT PRIMARY KEY,
    -- The newest change that is no deletion; the room is known if it is newer than the newest deletion.
    alive BIGINT,
    -- The newest deletion: no older join counts, whenever it arrives.
    deleted BIGINT
);

-- The newest join or leave, where it is newer than the deletion of the room. Whether it was a join stands in memberships.
CREATE TABLE membership_positions (
    room BIGINT NOT NULL,
    account BIGINT NOT NULL,
    position BIGINT NOT NULL,
    PRIMARY KEY (room, account)
);
