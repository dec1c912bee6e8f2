-- The newest run of a process over this ledger: what `status` says of the daemon. One row at the most.
CREATE TABLE run (
    one           INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    daemon        INTEGER NOT NULL CHECK (daemon IN (0, 1)), -- 0: a command that ends by itself
    pid           INTEGER NOT NULL,
    started_at_ms INTEGER NOT NULL,
    looked_at_ms  INTEGER,          -- when it last looked what is due, as far as it was written down
    config        TEXT              -- the digest of the configuration file as it was at the start
) STRICT, WITHOUT ROWID;
