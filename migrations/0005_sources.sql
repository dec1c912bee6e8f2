-- What sources must not forget: export tasks of the v3 API, what their files are called, and that the v2 export is gone.

-- A task from the wish for it until it is gone from the provider's export centre. 'asked': whether it exists is not known
-- yet. 'lost': whoever asked never learnt its id, so it may stand there unknown. 'finished': to be deleted there.
CREATE TABLE export_tasks (
    task        INTEGER PRIMARY KEY AUTOINCREMENT,
    source      TEXT    NOT NULL,
    stream      TEXT    NOT NULL,
    start_ms    INTEGER NOT NULL,
    end_ms      INTEGER NOT NULL CHECK (end_ms > start_ms),
    from_ms     INTEGER NOT NULL,              -- the bounds that were asked for
    to_ms       INTEGER NOT NULL,
    definition  TEXT    NOT NULL CHECK (length(definition) = 64),
    asked_at_ms INTEGER NOT NULL,
    state       TEXT    NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'created', 'lost', 'finished')),
    task_id     TEXT    CHECK ((task_id IS NOT NULL) = (state IN ('created', 'finished')))
) STRICT;

-- What files of our tasks are called, every number in them written as 0: how an orphan is known from others' tasks.
CREATE TABLE export_names (
    source TEXT NOT NULL,
    shape  TEXT NOT NULL,
    PRIMARY KEY (source, shape)
) STRICT, WITHOUT ROWID;

-- Sources whose v2 export is gone for good.
CREATE TABLE withdrawals (
    source TEXT    NOT NULL PRIMARY KEY,
    at_ms  INTEGER NOT NULL,
    reason TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
