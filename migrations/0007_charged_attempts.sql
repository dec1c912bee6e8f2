-- Whether a failed attempt was charged to its window, and not to what the window shares with others. Of earlier ones that is
-- not known, and they are not counted.
ALTER TABLE attempts ADD COLUMN charged INTEGER NOT NULL DEFAULT 0 CHECK (charged IN (0, 1));
