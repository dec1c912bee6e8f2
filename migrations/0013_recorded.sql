-- What the daemon goes by, for commands that only look: they read no secret, and so cannot come to it themselves.

-- The digest of the settings and secrets in force for a stream, a source or a store, as of the last run over this ledger.
CREATE TABLE fingerprints (
    resource    TEXT NOT NULL PRIMARY KEY, -- JSON, as in holds
    fingerprint TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- From when on a stream was to be archived, and when its log said so first: `start` may move back later. A window that had
-- expired by then was lost from the beginning, and its loss is recorded only where the configuration accepts that.
CREATE TABLE openings (
    stream       TEXT    NOT NULL,
    start_ms     INTEGER NOT NULL,
    opened_at_ms INTEGER NOT NULL,
    PRIMARY KEY (stream, start_ms)
) STRICT, WITHOUT ROWID;

-- Of streams that were opened before this schema it is not known when: no loss of theirs counts as one from the beginning.
INSERT OR IGNORE INTO openings (stream, start_ms, opened_at_ms)
SELECT stream, CAST(strftime('%s', json_extract(definition, '$.start')) AS INTEGER) * 1000, 0
FROM streams WHERE strftime('%s', json_extract(definition, '$.start')) IS NOT NULL;
