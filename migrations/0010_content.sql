-- The content of an archived window's newest revision.

-- Why its bytes could not be read; NULL where they were read.
ALTER TABLE windows ADD COLUMN unread TEXT CHECK (unread IS NULL OR state = 'archived');
-- Records without an end time; NULL where that is not known.
ALTER TABLE windows ADD COLUMN open_records INTEGER CHECK (open_records >= 0);
-- Whether some records start outside of the bounds that were asked for.
ALTER TABLE windows ADD COLUMN out_of_bounds INTEGER NOT NULL DEFAULT 0 CHECK (out_of_bounds IN (0, 1));
-- The entry of another window that has the very same records.
ALTER TABLE windows ADD COLUMN same_content_as INTEGER CHECK (same_content_as > 0);

-- Other windows with the same records are found without reading all of them. Exports without records all look the same.
CREATE INDEX objects_of_content ON objects (stream, content_digest, seq) WHERE rows > 0;
