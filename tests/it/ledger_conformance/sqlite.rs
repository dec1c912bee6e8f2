//! The ledger in SQLite: the adapter for the suite, and what is true of its file alone.

use std::path::Path;
use std::sync::Arc;

use connvault::adapters::sqlite_ledger::SqliteLedger;
use connvault::domain::content::Content;
use connvault::domain::count::CountVerdict;
use connvault::domain::object_key::{Revision, Seq};
use connvault::domain::snapshot::WindowState;
use connvault::ports::ledger::{AttemptOutcome, Ledger, LedgerError};
use jiff::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use super::chain::Chain;
use super::{Adapter, day, leased, minute, state, stream};
use crate::support::ledger::OwnLedger;

pub type Sqlite = OwnLedger;

impl Adapter for Sqlite {
    async fn open() -> Self {
        Self::open().await
    }

    fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::new(self.ledger.clone())
    }

    async fn reopen(self) -> Self {
        self.reopen().await
    }
}

/// Runs `sql` on the file at `path`, which is made if it is not there.
async fn execute(path: &Path, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// The one line that an operator reads.
fn line(error: LedgerError) -> String {
    let (LedgerError::Unusable(line) | LedgerError::Damaged(line)) = error else { panic!("{error:?}") };
    assert!(!line.contains('\n') && line.contains("ledger.sqlite3"), "{line}");
    line
}

#[tokio::test]
async fn a_ledger_that_the_first_schema_wrote_is_opened_with_all_that_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite3");
    execute(&path, include_str!("../../fixtures/ledger-0001.sql")).await;
    let ledger = SqliteLedger::open(&path).await.unwrap();
    let snapshot = ledger.snapshot().await.unwrap();
    assert_eq!(snapshot.streams[&stream()].head.seq.get(), 4);
    assert_eq!(snapshot.streams[&stream()].definition.start, day(1).start());
    // When it was pulled is not known any more: after its end, and that is the careful answer.
    let Some(WindowState::Archived { last_pulled_at, .. }) = state(&snapshot, day(1)) else {
        panic!("{:?}", state(&snapshot, day(1)))
    };
    assert_eq!(*last_pulled_at, day(1).end());
    assert!(matches!(state(&snapshot, day(2)), Some(WindowState::Lost { .. })));
    assert!(matches!(state(&snapshot, day(3)), Some(WindowState::Archived { .. })));
    assert!(matches!(state(&snapshot, day(4)), Some(WindowState::Parked { .. })));
    assert!(matches!(state(&snapshot, day(5)), Some(WindowState::Open { leased_until: Some(_), .. })));
    assert_eq!(snapshot.holds.len(), 1);
    // When it was promised is not known any more, so no loss of it counts as one from the beginning.
    assert_eq!(snapshot.openings[&stream()], [(day(1).start(), Timestamp::UNIX_EPOCH)].into());
    let named = ledger.named_objects(&stream(), day(3)).await.unwrap();
    assert_eq!(named.len(), 2);
    let attempts = ledger.attempts(&stream(), day(4)).await.unwrap();
    assert_eq!(attempts[0].outcome, Some(AttemptOutcome::Failed));
    assert_eq!(attempts[0].request_ids, ["request-1", "request-2"]);
    assert_eq!(ledger.void_leases().await.unwrap(), 1);
    assert_eq!(leased(&ledger, day(5), "a", 0, 30).await.attempt.0, 3, "numbers are not given twice");
    ledger.close().await;
}

#[tokio::test]
async fn a_ledger_that_the_second_schema_wrote_is_opened_with_all_that_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite3");
    execute(&path, include_str!("../../fixtures/ledger-0002.sql")).await;
    let ledger = SqliteLedger::open(&path).await.unwrap();
    let snapshot = ledger.snapshot().await.unwrap();
    assert!(matches!(state(&snapshot, day(2)), Some(WindowState::Lost { .. })));
    assert!(matches!(state(&snapshot, day(4)), Some(WindowState::Parked { .. })));
    assert!(matches!(state(&snapshot, day(5)), Some(WindowState::Open { leased_until: Some(_), .. })));
    let archived = |revision, last_pulled_at, failures, retry_at, leased_until| {
        let seq = Seq::new(if revision == 1 { 2 } else { 4 }).unwrap();
        let revision = Revision::new(revision).unwrap();
        let count = CountVerdict::Uncounted;
        Some(WindowState::Archived {
            seq,
            revision,
            count,
            content: Content::default(),
            last_pulled_at,
            failures,
            corrupt: 0,
            retry_at,
            leased_until,
        })
    };
    let expected = archived(1, minute(61), 0, None, None);
    assert_eq!(state(&snapshot, day(1)), expected.as_ref());
    let expected = archived(2, minute(2), 1, Some(minute(90)), Some(minute(95)));
    assert_eq!(state(&snapshot, day(3)), expected.as_ref());
    let attempts = ledger.attempts(&stream(), day(1)).await.unwrap();
    assert_eq!(attempts[0].outcome, Some(AttemptOutcome::Unchanged));
    ledger.close().await;
}

#[tokio::test]
async fn a_ledger_of_a_later_schema_is_refused_in_words_that_help() {
    let sqlite = Sqlite::open().await;
    let path = sqlite.folder().join("ledger.sqlite3");
    sqlite.ledger.close().await;
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (9999, 'later', TRUE, x'00', 0)";
    execute(&path, later).await;
    let refused = line(SqliteLedger::open(&path).await.unwrap_err());
    assert!(refused.contains("was written by another version of connvault"), "{refused}");
    let refused = line(SqliteLedger::open_beside(&path).await.unwrap_err());
    assert!(refused.contains("use the version of connvault that the daemon runs"), "{refused}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_called_damaged_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite3");
    std::fs::write(&path, b"neither a database nor anything like it. ".repeat(200)).unwrap();
    for error in
        [SqliteLedger::open(&path).await.unwrap_err(), SqliteLedger::open_beside(&path).await.unwrap_err()]
    {
        let refused = line(error);
        assert!(refused.contains("damaged"), "{refused}");
        assert!(refused.contains("connvault rebuild"), "{refused}");
    }
}

#[tokio::test]
async fn a_page_that_was_overwritten_is_called_damaged_in_one_line() {
    let sqlite = Sqlite::open().await;
    let path = sqlite.folder().join("ledger.sqlite3");
    let (mut chain, first) = Chain::opened();
    let mut entries = vec![first];
    entries.extend((1..=300).map(|number| chain.archives(day(number), 1, &[])));
    sqlite.ledger.apply(&stream(), &entries).await.unwrap();
    sqlite.ledger.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8192..].fill(0xAA);
    std::fs::write(&path, bytes).unwrap();
    let error = match SqliteLedger::open(&path).await {
        Err(error) => error,
        Ok(ledger) => ledger.snapshot().await.unwrap_err(),
    };
    let LedgerError::Damaged(line) = error else { panic!("{error:?}") };
    assert!(line.contains("damaged") && !line.contains('\n'), "{line}");
}

#[tokio::test]
async fn there_is_no_ledger_beside_a_daemon_that_never_ran() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite3");
    assert!(SqliteLedger::open_beside(&path).await.unwrap().is_none());
    assert!(!path.exists());
}

/// Makes a database of some other program, and says what is in it.
async fn foreign(path: &std::path::Path, statement: &'static str) -> Vec<u8> {
    std::fs::write(path, b"").unwrap();
    execute(path, statement).await;
    std::fs::read(path).unwrap()
}

#[tokio::test]
async fn an_empty_file_is_no_ledger_yet_and_a_foreign_database_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite3");
    std::fs::write(&path, b"").unwrap();
    assert!(SqliteLedger::open_beside(&path).await.unwrap().is_none());
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    let others = [
        "CREATE TABLE bookmarks (url TEXT)",
        "CREATE TABLE _sqlx_migrations (version INTEGER); CREATE TABLE bookmarks (url TEXT)",
    ];
    for statement in others {
        let bytes = foreign(&path, statement).await;
        for error in [
            SqliteLedger::open_beside(&path).await.unwrap_err(),
            SqliteLedger::open(&path).await.unwrap_err(),
        ] {
            let refused = line(error);
            assert!(refused.contains("is not a ledger of connvault"), "{refused}");
            assert!(refused.contains("name another state_dir"), "{refused}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "it was written to");
        std::fs::remove_file(&path).unwrap();
    }
    std::fs::write(&path, b"").unwrap();
    SqliteLedger::open(&path).await.unwrap().close().await;
    assert!(SqliteLedger::open_beside(&path).await.unwrap().is_some());
}
