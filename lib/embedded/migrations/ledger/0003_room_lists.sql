-- Rooms of an organization that is not terminal, where they are too many for a queue message. A table with row ids: what is looked
-- for and deleted is found without reading lists.
CREATE TABLE room_lists (
    run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    organization INTEGER NOT NULL,
    collected_at INTEGER NOT NULL,
    list BLOB NOT NULL,
    PRIMARY KEY (run, organization)
) STRICT;
