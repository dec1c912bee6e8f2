//! Opens the database file, and turns what SQLite says into what an operator can act on.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Sqlite, SqliteConnection, SqlitePool};

use super::SqliteLedger;
use crate::adapters::disk;
use crate::ports::ledger::LedgerError;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

const READERS: u32 = 2;

/// How long a lock that another process holds is waited for.
const BUSY: Duration = Duration::from_secs(10);

impl SqliteLedger {
    /// Opens the ledger at `path`, making it and bringing its schema up to date.
    ///
    /// # Errors
    /// When the file cannot be used, is damaged ([`LedgerError::Damaged`]), or was written by a later version.
    pub async fn open(path: &Path) -> Result<Self, LedgerError> {
        Self::check_own(path).await?;
        let options = options(path).create_if_missing(true);
        let writer = pool(1, options.clone()).await.map_err(|e| explain(path, e))?;
        let opened = async {
            check(&writer).await?;
            MIGRATIONS.run(&writer).await.map_err(|e| explain_migration(path, e))?;
            pool(READERS, options).await.map_err(|e| explain(path, e))
        };
        closed_unless(opened.await, writer).await
    }

    /// Whether what lies at `path`, if anything does, may be written over: it is no other program's database.
    ///
    /// # Errors
    /// When it is one.
    pub async fn check_own(path: &Path) -> Result<(), LedgerError> {
        let is_foreign = path.try_exists().unwrap_or_default() && kind_of(path).await == Some(Kind::Foreign);
        if is_foreign { Err(foreign(path)) } else { Ok(()) }
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
        match kind_of(path).await {
            Some(Kind::Empty) => return Ok(None),
            Some(Kind::Foreign) => return Err(foreign(path)),
            // What cannot be looked into shows below, with what SQLite says.
            Some(Kind::Ledger) | None => {}
        }
        let writer = pool(1, options(path)).await.map_err(|e| explain(path, e))?;
        let readers = Self::readers_beside(path, &writer).await;
        closed_unless(readers, writer).await.map(Some)
    }

    /// The reading connections, if the file has the schema of this program.
    async fn readers_beside(path: &Path, writer: &SqlitePool) -> Result<SqlitePool, LedgerError> {
        let known = MIGRATIONS.iter().count();
        let applied: i64 = sqlx::query_scalar("SELECT count(*) FROM _sqlx_migrations")
            .fetch_one(writer)
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
        pool(READERS, options(path)).await.map_err(|e| explain(path, e))
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

/// What a database file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing yet: the first start makes a ledger of it.
    Empty,
    /// A ledger of some version of this program.
    Ledger,
    /// Some other program's.
    Foreign,
}

/// What the file at `path` is; `None` where SQLite cannot say. Nothing is written to it, and no setting of it is changed: it may
/// be somebody else's.
async fn kind_of(path: &Path) -> Option<Kind> {
    if std::fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        return Some(Kind::Empty);
    }
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY);
    let mut connection = options.connect().await.ok()?;
    let named =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite@_%' ESCAPE '@'";
    let tables: Result<Vec<String>, _> = sqlx::query_scalar(named).fetch_all(&mut connection).await;
    // It was only looked at.
    _ = connection.close().await;
    let tables = tables.ok()?;
    let has = |name: &str| tables.iter().any(|table| table == name);
    Some(match tables.as_slice() {
        [] => Kind::Empty,
        // A first start that was killed had got no further.
        [only] if only == MIGRATED => Kind::Empty,
        _ if has(MIGRATED) && has("streams") => Kind::Ledger,
        _ => Kind::Foreign,
    })
}

/// The table in which the schema's versions are noted.
const MIGRATED: &str = "_sqlx_migrations";

fn foreign(path: &Path) -> LedgerError {
    LedgerError::Unusable(format!(
        "{} is not a ledger of connvault: name another state_dir, or move that file away",
        path.display()
    ))
}

/// The ledger, or the error once nothing holds the file open any more: whoever closes a database that was moved aside removes the
/// write-ahead log of the one that has its name now.
async fn closed_unless(
    readers: Result<SqlitePool, LedgerError>,
    writer: SqlitePool,
) -> Result<SqliteLedger, LedgerError> {
    match readers {
        Ok(readers) => Ok(SqliteLedger { writer, readers }),
        Err(error) => {
            writer.close().await;
            Err(error)
        }
    }
}

/// Reads the whole file for damage; a second for hundreds of megabytes.
pub(super) async fn check(pool: &SqlitePool) -> Result<(), LedgerError> {
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(pool).await.map_err(storage)?;
    if found == "ok" { Ok(()) } else { Err(LedgerError::Damaged(damaged(&found))) }
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
        .busy_timeout(BUSY)
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
    ledger_error(&error, words(code(&error), false, &error))
}

/// Damage, a file that is none of ours and a directory that cannot be written do not mend themselves.
fn ledger_error(error: &sqlx::Error, message: String) -> LedgerError {
    match primary_code(error) {
        Some(11 | 26) => LedgerError::Damaged(message),
        Some(8 | 14) => LedgerError::Unusable(message),
        _ => LedgerError::Storage(message),
    }
}

/// The extended result code (https://www.sqlite.org/rescode.html).
fn code(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse().ok())
}

/// The primary result code is the low byte.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    code(error).map(|code| code & 0xff)
}

/// A stored value is not one that this program writes.
pub(super) fn unreadable(what: &str, error: impl std::fmt::Display) -> LedgerError {
    LedgerError::Unusable(format!("the ledger holds {what} that does not read back ({error}): {REBUILD}"))
}

const REBUILD: &str = "stop the daemon and run: connvault rebuild (it makes the ledger anew from the log in the store, and nothing is uploaded twice)";

fn damaged(how: impl std::fmt::Display) -> String {
    format!(
        "the ledger is damaged ({how}): the next start makes it anew from the logs in the stores and keeps the damaged one beside it, or \
         {REBUILD}"
    )
}

/// `SQLITE_IOERR_SHMSIZE`: there is no room for the index of the write-ahead log.
const NO_ROOM_FOR_INDEX: u32 = 10 | 19 << 8;
/// `SQLITE_IOERR_WRITE`, `_FSYNC`, `_DIR_FSYNC` and `_TRUNCATE`: what a full disk is told by, too, where it notices late.
const NOT_WRITTEN: [u32; 4] = [10 | 3 << 8, 10 | 4 << 8, 10 | 5 << 8, 10 | 6 << 8];
/// `SQLITE_IOERR_UNLOCK`, `_RDLOCK`, `_CHECKRESERVEDLOCK`, `_LOCK` and `_SHMLOCK`: the file system did not do as it was asked.
const NOT_LOCKED: [u32; 5] = [10 | 8 << 8, 10 | 9 << 8, 10 | 14 << 8, 10 | 15 << 8, 10 | 20 << 8];

/// What an extended result code means for an operator. `read_only` says whether the ledger's file system is mounted so.
fn words(code: Option<u32>, read_only: bool, error: &dyn std::fmt::Display) -> String {
    const NO_LOCKS: &str = "no locks on this file system: keep the state directory on a local disk";
    match (code, code.map(|code| code & 0xff)) {
        (_, Some(13)) | (Some(NO_ROOM_FOR_INDEX), _) => {
            "the disk of the state directory is full: free some space".to_owned()
        }
        (_, Some(8 | 14)) if read_only => {
            "the file system of the state directory is mounted read-only: mount it writable".to_owned()
        }
        (_, Some(8)) => {
            "the ledger cannot be written to: mount the state directory writable, owned by this user"
                .to_owned()
        }
        (Some(code), _) if NOT_WRITTEN.contains(&code) => format!(
            "the disk of the state directory is full, or fails ({error}): free some space, or look at the kernel's log"
        ),
        (Some(code), _) if NOT_LOCKED.contains(&code) => format!("{NO_LOCKS} ({error})"),
        (_, Some(10)) => format!("the disk of the state directory fails ({error}): look at the kernel's log"),
        (_, Some(11 | 26)) => damaged(error),
        (_, Some(14)) => {
            "the ledger cannot be opened: does its directory exist, and does it belong to this user?"
                .to_owned()
        }
        // SQLite takes a file system's ENOLCK for a lock that somebody holds.
        (_, Some(5 | 6)) => {
            format!("the ledger was locked for too long by another process, or there are {NO_LOCKS}")
        }
        _ => format!("the ledger's database failed: {error}"),
    }
}

fn explain(path: &Path, error: sqlx::Error) -> LedgerError {
    let message = format!("{}: {}", path.display(), words(code(&error), is_read_only(path), &error));
    ledger_error(&error, message)
}

/// Whether the folder of `path` lies on a file system that is mounted read-only.
fn is_read_only(path: &Path) -> bool {
    let folder = path.parent().unwrap_or(path);
    disk::is_read_only(folder).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sqlite_says_in_numbers_is_said_in_words() {
        for (code, read_only, word) in [
            (13, false, "full"),
            (4874, false, "full"),
            (778, false, "full, or fails"),
            (1034, false, "full, or fails"),
            (266, false, "the disk of the state directory fails"),
            (14, true, "mounted read-only"),
            (14, false, "does its directory exist"),
            (1544, true, "mounted read-only"),
            (8, false, "owned by this user"),
            (3850, false, "no locks on this file system"),
            (5, false, "no locks on this file system"),
            (5, false, "locked for too long by another process"),
            (11, false, "the ledger is damaged"),
            (1, false, "the ledger's database failed"),
        ] {
            let said = words(Some(code), read_only, &"disk I/O error");
            assert!(said.contains(word), "{code}: {said}");
        }
    }
}
