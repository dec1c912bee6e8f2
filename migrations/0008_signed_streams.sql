-- Whether a stream's log is signed, so that every later entry must be: an entry named a key, or a daemon with a key followed
-- the log to its end. Of what was read before this schema it is not known; the next entry that names a key says so again.
ALTER TABLE streams ADD COLUMN signed INTEGER NOT NULL DEFAULT 0 CHECK (signed IN (0, 1));
