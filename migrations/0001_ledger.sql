-- The ledger: a cache of the logs in the stores, and a notebook about windows that are not in them yet.
-- Losing it costs a listing and the notebook, never an archive. Times are integer milliseconds since 1970 (UTC).

-- What each stream's log says, as far as it was read.
CREATE TABLE streams (
    stream     TEXT    NOT NULL PRIMARY KEY,
    definition TEXT    NOT NULL,               -- JSON, from the newest `stream` entry
    head_seq   INTEGER NOT NULL CHECK (head_seq > 0),
    head_hash  TEXT    NOT NULL CHECK (length(head_hash) = 64)
) STRICT, WITHOUT ROWID;

-- Every window that something is known of. A window without a row was never tried.
CREATE TABLE windows (
    stream           TEXT    NOT NULL,
    start_ms         INTEGER NOT NULL,
    end_ms           INTEGER NOT NULL CHECK (end_ms > start_ms),
    state            TEXT    NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'parked', 'archived', 'lost')),
    -- settled windows: what the log says
    seq              INTEGER CHECK ((seq IS NOT NULL) = (state IN ('archived', 'lost'))),
    revision         INTEGER CHECK ((revision IS NOT NULL) = (state = 'archived')),
    settled_at_ms    INTEGER,
    -- open and parked windows: how they failed
    failures         INTEGER NOT NULL DEFAULT 0,
    corrupt          INTEGER NOT NULL DEFAULT 0,
    retry_at_ms      INTEGER,
    failure_kind     TEXT CHECK (failure_kind IS NOT NULL OR state <> 'parked'),
    failure_message  TEXT,
    failed_at_ms     INTEGER,
    fingerprint      TEXT,
    -- the lease; its generation only ever grows
    lease_generation INTEGER NOT NULL DEFAULT 0,
    lease_holder     TEXT,
    leased_until_ms  INTEGER CHECK ((leased_until_ms IS NULL) = (lease_holder IS NULL)),
    PRIMARY KEY (stream, start_ms, end_ms)
) STRICT, WITHOUT ROWID;

-- Every data object that the log names.
CREATE TABLE objects (
    stream         TEXT    NOT NULL,
    object_key     TEXT    NOT NULL,           -- relative to the stream's folder
    start_ms       INTEGER NOT NULL,
    end_ms         INTEGER NOT NULL,
    seq            INTEGER NOT NULL,           -- the entry that names it
    role           TEXT    NOT NULL CHECK (role IN ('archived', 'orphan')),
    bytes          INTEGER NOT NULL,
    sha256         TEXT    NOT NULL CHECK (length(sha256) = 64),
    rows           INTEGER,                    -- not known of an orphan
    content_digest TEXT,
    PRIMARY KEY (stream, object_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX objects_of_window ON objects (stream, start_ms, end_ms);

-- Every try at a window, kept for audit.
CREATE TABLE attempts (
    attempt       INTEGER PRIMARY KEY AUTOINCREMENT,
    stream        TEXT    NOT NULL,
    start_ms      INTEGER NOT NULL,
    end_ms        INTEGER NOT NULL,
    holder        TEXT    NOT NULL,
    started_at_ms INTEGER NOT NULL,
    ended_at_ms   INTEGER,                     -- NULL while it goes on, and for ever where the process died
    outcome       TEXT CHECK (outcome IN ('archived', 'already_archived', 'lost', 'failed', 'interrupted')),
    failure_kind  TEXT,
    message       TEXT,
    request_ids   TEXT    NOT NULL DEFAULT '[]' -- JSON
) STRICT;
CREATE INDEX attempts_of_window ON attempts (stream, start_ms, end_ms);

-- What windows share and are held up by.
CREATE TABLE holds (
    resource        TEXT    NOT NULL PRIMARY KEY, -- JSON
    until_ms        INTEGER NOT NULL,
    since_ms        INTEGER NOT NULL,
    failures        INTEGER NOT NULL CHECK (failures > 0),
    failure_kind    TEXT    NOT NULL,
    failure_message TEXT    NOT NULL,
    failed_at_ms    INTEGER NOT NULL,
    fingerprint     TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
