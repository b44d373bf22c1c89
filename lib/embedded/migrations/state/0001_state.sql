-- Small records. Instants are integers: milliseconds since 1970-01-01T00:00:00Z.

CREATE TABLE records (
    -- family/name. Compared by its bytes.
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    -- Random, new with every write.
    version INTEGER NOT NULL,
    -- NULL: it stays.
    expires_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX records_by_expiry ON records (expires_at) WHERE expires_at IS NOT NULL;
