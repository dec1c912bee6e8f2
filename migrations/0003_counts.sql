-- The independent count: what the provider's own number of records said of an archived window's newest revision.
ALTER TABLE windows ADD COLUMN count TEXT CHECK (count IN ('matched', 'mismatched', 'uncounted'));
-- Before this schema nobody counted.
UPDATE windows SET count = 'uncounted' WHERE state = 'archived';
