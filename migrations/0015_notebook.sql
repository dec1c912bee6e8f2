-- What sources must not forget becomes a notebook that knows no provider's words: orders, and notes.

-- An order from the intent to place it until it is gone at the provider. 'asked': whether it exists is not known. 'created': its
-- export is wanted. 'finished': it is to be deleted there. A task whose id was never learnt ('lost') is not searched for any
-- more, since a list proves nothing about whose it is: it becomes an intent without an answer, is told once and forgotten.
CREATE TABLE orders (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    source      TEXT    NOT NULL,
    stream      TEXT    NOT NULL,
    start_ms    INTEGER NOT NULL,
    end_ms      INTEGER NOT NULL CHECK (end_ms > start_ms),
    from_ms     INTEGER NOT NULL,              -- the bounds that were asked for
    to_ms       INTEGER NOT NULL,
    definition  TEXT    NOT NULL CHECK (length(definition) = 64),
    asked_at_ms INTEGER NOT NULL,
    state       TEXT    NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'created', 'finished')),
    id          TEXT    CHECK ((id IS NOT NULL) = (state IN ('created', 'finished')))
) STRICT;

INSERT INTO orders
SELECT task, source, stream, start_ms, end_ms, from_ms, to_ms, definition, asked_at_ms,
       CASE state WHEN 'lost' THEN 'asked' ELSE state END, task_id
FROM export_tasks;

DROP TABLE export_tasks;
DROP TABLE export_names;

-- What a source has found out about its provider.
CREATE TABLE notes (
    source TEXT    NOT NULL,
    topic  TEXT    NOT NULL,
    at_ms  INTEGER NOT NULL,
    reason TEXT    NOT NULL,
    PRIMARY KEY (source, topic)
) STRICT, WITHOUT ROWID;

INSERT INTO notes SELECT source, 'v2_withdrawn', at_ms, reason FROM withdrawals;
DROP TABLE withdrawals;
