-- Names that an import gave ids to, for people to read and for the next import to find again.
CREATE TABLE names (
    kind TEXT NOT NULL CHECK (kind IN ('organization', 'room', 'account')),
    id BIGINT NOT NULL,
    -- The organization within which the name means this id; NULL: everywhere.
    organization BIGINT,
    name TEXT NOT NULL,
    PRIMARY KEY (kind, id)
);

-- The last import, in the one row 0, which whoever imports locks. Unfinished between the moment when its directory becomes
-- visible and the moment when all messages are.
CREATE TABLE imports (
    id BIGINT PRIMARY KEY CHECK (id = 0),
    fingerprint TEXT NOT NULL,
    finished BOOLEAN NOT NULL
);

INSERT INTO imports (id, fingerprint, finished) VALUES (0, '', TRUE);
