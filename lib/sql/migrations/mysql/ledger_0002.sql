-- Rooms of an organization that is not terminal, where they are too many for a queue message. In parts, each far below what any
-- server takes in one packet.

CREATE TABLE IF NOT EXISTS room_lists (
    run BIGINT NOT NULL,
    organization BIGINT NOT NULL,
    -- From 0.
    part BIGINT NOT NULL,
    collected_at BIGINT NOT NULL,
    bytes MEDIUMBLOB NOT NULL,
    PRIMARY KEY (run, organization, part),
    FOREIGN KEY (run) REFERENCES runs (number) ON DELETE CASCADE
) ENGINE = InnoDB;
