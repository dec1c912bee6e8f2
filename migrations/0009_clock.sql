-- What time it was before: a clock that says an earlier time is wrong.

-- The newest time that the `Date` of somebody else confirmed, and which host's. One row at the most.
CREATE TABLE confirmed_time (
    one   INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    at_ms INTEGER NOT NULL,
    host  TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- When the last entry that is known of a log was written, by its writer's clock. Of earlier entries that is not known.
ALTER TABLE streams ADD COLUMN recorded_at_ms INTEGER;
