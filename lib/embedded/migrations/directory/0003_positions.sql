-- Where the newest changes stood in their log. Changes arrive in any order, more than once: an older one must not undo a newer one.
-- A position is kept as a signed number, 2^63 less than itself. What an import brings has none, and is older than every change.

CREATE TABLE room_positions (
    room INTEGER PRIMARY KEY,
    -- The newest change that is no deletion; the room is known if it is newer than the newest deletion.
    alive INTEGER,
    -- The newest deletion: no older join counts, whenever it arrives.
    deleted INTEGER
);

-- The newest join or leave, where it is newer than the deletion of the room. Whether it was a join stands in memberships.
CREATE TABLE membership_positions (
    room INTEGER NOT NULL,
    account INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (room, account)
) WITHOUT ROWID;
