-- Windows that are lost or unread and that a person has taken note of. The newest acknowledgement of each window: it counts
-- as long as the window's state rests on the entry that it names.
CREATE TABLE acknowledgements (
    stream   TEXT    NOT NULL,
    start_ms INTEGER NOT NULL,
    end_ms   INTEGER NOT NULL CHECK (end_ms > start_ms),
    entry    INTEGER NOT NULL CHECK (entry > 0),   -- the entry that is acknowledged
    seq      INTEGER NOT NULL CHECK (seq > entry), -- the entry that says so
    by_whom  TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    at_ms    INTEGER NOT NULL,
    PRIMARY KEY (stream, start_ms, end_ms)
) STRICT, WITHOUT ROWID;

-- Acknowledgements that were asked for and are not in the log yet: whoever holds the state directory writes them.
CREATE TABLE acknowledge_requests (
    request  INTEGER PRIMARY KEY AUTOINCREMENT,
    stream   TEXT    NOT NULL,
    start_ms INTEGER NOT NULL,
    end_ms   INTEGER NOT NULL CHECK (end_ms > start_ms),
    entry    INTEGER NOT NULL CHECK (entry > 0),
    by_whom  TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    UNIQUE (stream, start_ms, end_ms) ON CONFLICT REPLACE
) STRICT;

-- What the entry parked_seq says: the same reason needs no second entry.
ALTER TABLE windows ADD COLUMN parked_since_ms INTEGER;
ALTER TABLE windows ADD COLUMN parked_kind TEXT;
ALTER TABLE windows ADD COLUMN parked_reason TEXT;
-- Before this schema parked_seq was forgotten with the next failure, so the failure is still the entry's own.
UPDATE windows SET parked_since_ms = failed_at_ms, parked_kind = failure_kind, parked_reason = failure_message
WHERE parked_seq IS NOT NULL AND failure_kind IS NOT NULL;
