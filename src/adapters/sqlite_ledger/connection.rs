//! Opens the database file, and turns what SQLite says into what an operator can act on.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqliteConnection};

use super::SqliteLedger;
use crate::ports::ledger::LedgerError;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

const READERS: u32 = 2;

impl SqliteLedger {
    /// Opens the ledger at `path`, making it and bringing its schema up to date.
    ///
    /// # Errors
    /// When the file cannot be used, or was written by a later version.
    pub async fn open(path: &Path) -> Result<Self, LedgerError> {
        let options = options(path).create_if_missing(true);
        let writer = pool(1, options.clone()).await.map_err(|e| explain(path, e))?;
        MIGRATIONS.run(&writer).await.map_err(|e| explain_migration(path, e))?;
        let readers = pool(READERS, options).await.map_err(|e| explain(path, e))?;
        Ok(Self { writer, readers })
    }

    /// Opens the ledger beside a running daemon; `None` where there is none. Changes nothing in its schema.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub async fn open_beside(path: &Path) -> Result<Option<Self>, LedgerError> {
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(e) => {
                return Err(LedgerError::Storage(format!(
                    "cannot look at the ledger {}: {e}",
                    path.display()
                )));
            }
        }
        let writer = pool(1, options(path)).await.map_err(|e| explain(path, e))?;
        let known = MIGRATIONS.iter().count();
        let applied: i64 = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations")
            .fetch_one(&writer)
            .await
            .map_err(|e| explain(path, e))?;
        let applied = usize::try_from(applied).map_err(|e| unreadable("a number of migrations", e))?;
        let versions = format!(
            "the ledger {} has schema version {applied}, and this program needs {known}",
            path.display()
        );
        if applied < known {
            let message = format!("{versions}: start the daemon (or run once), which brings it up to date");
            return Err(LedgerError::Outdated(message));
        }
        if applied > known {
            let message = format!("{versions}: use the version of connvault that the daemon runs");
            return Err(LedgerError::Unusable(message));
        }
        let readers = pool(READERS, options(path)).await.map_err(|e| explain(path, e))?;
        Ok(Some(Self { writer, readers }))
    }

    /// Closes every connection, so that the write-ahead log is folded into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// A transaction that may write, and that nobody else's write can make fail later.
    pub(super) async fn begin(&self) -> Result<Write, LedgerError> {
        let connection = self.writer.acquire().await.map_err(storage)?;
        let mut write = Write { connection, committed: false };
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *write).await.map_err(storage)?;
        Ok(write)
    }
}

/// A transaction that writes. Dropped before [`Write::commit`], it takes its connection with it.
///
/// Not sqlx's own: SQLite ends a transaction by itself when the disk is full, sqlx goes on counting it as open, and
/// the one writing connection would be of no use any more. A closed connection leaves nothing open, whatever happened.
pub(super) struct Write {
    connection: PoolConnection<Sqlite>,
    committed: bool,
}

impl Write {
    /// Commits.
    pub(super) async fn commit(mut self) -> Result<(), LedgerError> {
        sqlx::query("COMMIT").execute(&mut *self.connection).await.map_err(storage)?;
        self.committed = true;
        Ok(())
    }
}

impl Deref for Write {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if !self.committed {
            self.connection.close_on_drop();
        }
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10))
        // Large enough for years of windows, small enough for a small daemon.
        .pragma("cache_size", "-1024")
}

async fn pool(connections: u32, options: SqliteConnectOptions) -> Result<sqlx::SqlitePool, sqlx::Error> {
    SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(30))
        .connect_with(options)
        .await
}

/// What became of a statement, in words for an operator.
pub(super) fn storage(error: sqlx::Error) -> LedgerError {
    ledger_error(&error, words(&error))
}

/// Damage, a file that is none of ours and a directory that cannot be written do not mend themselves.
fn ledger_error(error: &sqlx::Error, message: String) -> LedgerError {
    match primary_code(error) {
        Some(8 | 11 | 14 | 26) => LedgerError::Unusable(message),
        _ => LedgerError::Storage(message),
    }
}

/// The primary result code is the low byte (https://www.sqlite.org/rescode.html).
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error().and_then(|e| e.code());
    code.and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff)
}

/// A stored value is not one that this program writes.
pub(super) fn unreadable(what: &str, error: impl std::fmt::Display) -> LedgerError {
    LedgerError::Unusable(format!("the ledger holds {what} that does not read back ({error}): {REBUILD}"))
}

const REBUILD: &str = "stop the daemon and run: connvault rebuild (it makes the ledger anew from the log in the store, and nothing is uploaded twice)";

fn words(error: &sqlx::Error) -> String {
    match primary_code(error) {
        Some(13) => "the disk of the state directory is full: free some space".to_owned(),
        Some(8) => "the ledger cannot be written to: mount the state directory writable, owned by this user"
            .to_owned(),
        Some(10) => format!("the disk of the state directory fails ({error}): look at the kernel's log"),
        Some(11 | 26) => format!("the ledger is damaged ({error}): {REBUILD}"),
        Some(14) => "the ledger cannot be opened: does its directory exist, and does it belong to this user?"
            .to_owned(),
        Some(5 | 6) => "the ledger was locked for too long by another process".to_owned(),
        _ => format!("the ledger's database failed: {error}"),
    }
}

fn explain(path: &Path, error: sqlx::Error) -> LedgerError {
    let message = format!("{}: {}", path.display(), words(&error));
    ledger_error(&error, message)
}

fn explain_migration(path: &Path, error: MigrateError) -> LedgerError {
    match error {
        MigrateError::VersionMissing(_)
        | MigrateError::VersionMismatch(_)
        | MigrateError::VersionTooNew(..) => LedgerError::Unusable(format!(
            "{} was written by another version of connvault ({error}): use that version or a later one, or {REBUILD}",
            path.display()
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => explain(path, error),
        error => LedgerError::Unusable(format!("{}: {error}", path.display())),
    }
}
