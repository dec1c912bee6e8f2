-- A wish whose task is lost: since when nobody waits for an answer any more. A task that was born later is somebody else's.
ALTER TABLE export_tasks ADD COLUMN lost_at_ms INTEGER;

-- Of earlier ones no more is known than that the longest answer is waited for an hour.
UPDATE export_tasks SET lost_at_ms = asked_at_ms + 3600000 WHERE state = 'lost';
