//! A ledger of a test's own, in a folder of its own.

use connvault::adapters::sqlite_ledger::SqliteLedger;

pub struct OwnLedger {
    folder: tempfile::TempDir,
    pub ledger: SqliteLedger,
}

impl OwnLedger {
    /// A new one that knows nothing.
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = SqliteLedger::open(&folder.path().join("ledger.sqlite3")).await.unwrap();
        Self { folder, ledger }
    }

    /// Closes it and opens it again.
    pub async fn reopen(self) -> Self {
        self.ledger.close().await;
        let ledger = SqliteLedger::open(&self.folder.path().join("ledger.sqlite3")).await.unwrap();
        Self { ledger, ..self }
    }

    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}
