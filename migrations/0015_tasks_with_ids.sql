-- A task whose id was never learnt is not searched for any more: a list of tasks proves nothing about whose they are. So the
-- state 'lost' goes, with the instant that it was known since, and so do the names by which such tasks were sought.
CREATE TABLE tasks_with_ids (
    task        INTEGER PRIMARY KEY AUTOINCREMENT,
    source      TEXT    NOT NULL,
    stream      TEXT    NOT NULL,
    start_ms    INTEGER NOT NULL,
    end_ms      INTEGER NOT NULL CHECK (end_ms > start_ms),
    from_ms     INTEGER NOT NULL,              -- the bounds that were asked for
    to_ms       INTEGER NOT NULL,
    definition  TEXT    NOT NULL CHECK (length(definition) = 64),
    asked_at_ms INTEGER NOT NULL,
    state       TEXT    NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'created', 'finished')),
    task_id     TEXT    CHECK ((task_id IS NOT NULL) = (state IN ('created', 'finished')))
) STRICT;

-- A lost task becomes an intent without an answer, which is told once and then forgotten.
INSERT INTO tasks_with_ids
SELECT task, source, stream, start_ms, end_ms, from_ms, to_ms, definition, asked_at_ms,
       CASE state WHEN 'lost' THEN 'asked' ELSE state END, task_id
FROM export_tasks;

DROP TABLE export_tasks;
ALTER TABLE tasks_with_ids RENAME TO export_tasks;
DROP TABLE export_names;
