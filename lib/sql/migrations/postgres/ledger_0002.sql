-- Rooms of an organization that is not terminal, where they are too many for a queue message. In parts, each far below what any
-- server takes in one packet.

CREATE TABLE room_lists (
    run BIGINT NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    organization BIGINT NOT NULL,
    -- From 0.
    part BIGINT NOT NULL,
    collected_at BIGINT NOT NULL,
    bytes BYTEA NOT NULL,
    PRIMARY KEY (run, organization, part)
);
