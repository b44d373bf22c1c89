-- Names that an import gave ids to, for people to read and for the next import to find again.
CREATE TABLE IF NOT EXISTS names (
    kind VARCHAR(12) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL CHECK (kind IN ('organization', 'room', 'account')),
    id BIGINT NOT NULL,
    -- The organization within which the name means this id; NULL: everywhere.
    organization BIGINT,
    name LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    PRIMARY KEY (kind, id)
) ENGINE = InnoDB;

-- The last import, in the one row 0, which whoever imports locks. Unfinished between the moment when its directory becomes
-- visible and the moment when all messages are.
CREATE TABLE IF NOT EXISTS imports (
    id BIGINT PRIMARY KEY CHECK (id = 0),
    fingerprint VARCHAR(16) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    finished BOOLEAN NOT NULL
) ENGINE = InnoDB;

INSERT IGNORE INTO imports (id, fingerprint, finished) VALUES (0, '', TRUE);
