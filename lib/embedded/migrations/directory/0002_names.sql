-- Names that an import gave ids to, for people to read and for the next import to find again.
CREATE TABLE names (
    kind TEXT NOT NULL CHECK (kind IN ('organization', 'room', 'account')),
    id INTEGER NOT NULL,
    -- The organization within which the name means this id; NULL: everywhere.
    organization INTEGER,
    name TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
