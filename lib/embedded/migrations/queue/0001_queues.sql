-- Queues. Instants are integers: milliseconds since 1970-01-01T00:00:00Z.

CREATE TABLE queues (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE messages (
    -- Never given twice (AUTOINCREMENT): an old receipt cannot answer for a new message.
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    queue INTEGER NOT NULL REFERENCES queues (number),
    -- Hidden before this instant.
    visible_from INTEGER NOT NULL,
    -- How often it was received. Part of the receipt: the next receive makes the last receipt void.
    receive_count INTEGER NOT NULL DEFAULT 0,
    sent_at INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE INDEX messages_by_visibility ON messages (queue, visible_from);
