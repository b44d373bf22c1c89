-- The last active day of each room, counted from 1970-01-01 in UTC.

CREATE TABLE IF NOT EXISTS room_heads (
    room BIGINT PRIMARY KEY,
    last_active_day BIGINT NOT NULL
) ENGINE = InnoDB;
