-- Revisits: an archived window is pulled again some time after its end, to see whether records came late.

-- When an archived window was last pulled, whether a revision came of it or not. That nothing had changed stands in no
-- log. How revisits fail stands where failures of other windows do, and while one goes on the window is leased.
ALTER TABLE windows ADD COLUMN pulled_at_ms INTEGER;
-- Of a pull before this schema only the log says when it was. It was after the window's end, that much is sure; one
-- revisit too many does no harm.
UPDATE windows SET pulled_at_ms = end_ms WHERE state = 'archived';

-- A pull that found the same records ends as 'unchanged'. SQLite changes a CHECK by making the table anew.
CREATE TABLE attempts_anew (
    attempt       INTEGER PRIMARY KEY AUTOINCREMENT,
    stream        TEXT    NOT NULL,
    start_ms      INTEGER NOT NULL,
    end_ms        INTEGER NOT NULL,
    holder        TEXT    NOT NULL,
    started_at_ms INTEGER NOT NULL,
    ended_at_ms   INTEGER,                     -- NULL while it goes on, and for ever where the process died
    outcome       TEXT CHECK (outcome IN
                      ('archived', 'already_archived', 'unchanged', 'lost', 'failed', 'interrupted')),
    failure_kind  TEXT,
    message       TEXT,
    request_ids   TEXT    NOT NULL DEFAULT '[]' -- JSON
) STRICT;
INSERT INTO attempts_anew
    SELECT attempt, stream, start_ms, end_ms, holder, started_at_ms, ended_at_ms, outcome, failure_kind, message,
           request_ids
    FROM attempts;
DROP TABLE attempts;
ALTER TABLE attempts_anew RENAME TO attempts;
CREATE INDEX attempts_of_window ON attempts (stream, start_ms, end_ms);
