-- Attempts that ended with the process (killed, out of memory, power cut), and what is looked up at each start.

-- In a row. An attempt that ends in any other way than by an interruption makes it 0 again.
ALTER TABLE windows ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0 CHECK (crashes >= 0);
-- Whether an end of the process that nobody announced counts against the window. Only while it is leased.
ALTER TABLE windows ADD COLUMN in_work INTEGER NOT NULL DEFAULT 0 CHECK (in_work IN (0, 1));

CREATE INDEX windows_leased ON windows (lease_holder) WHERE lease_holder IS NOT NULL;
CREATE INDEX windows_crashed ON windows (crashes) WHERE crashes > 0;
CREATE INDEX attempts_open ON attempts (outcome) WHERE outcome IS NULL;
-- Old attempts are forgotten in the order of their age.
CREATE INDEX attempts_by_age ON attempts (started_at_ms);
