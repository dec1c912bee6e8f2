-- Parked windows stand in the log too, so that a lost ledger loses none of them. This is the entry that says of a parked
-- window that it was parked at failed_at_ms; one that is parked anew is to be said anew.
ALTER TABLE windows ADD COLUMN parked_seq INTEGER CHECK (parked_seq > 0);
