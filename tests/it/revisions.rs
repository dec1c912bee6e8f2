//! Windows that are pulled again: what has changed becomes a revision, what has not leaves no trace.

use connvault::domain::log_entry::{Archived, EntryBody};
use connvault::ports::clock::Clock;
use connvault_sim::{Endpoint, Fault, Record, Rule};
use jiff::{SignedDuration, Timestamp};

use crate::support::clock::TestClock;
use crate::support::inside::{begin, rebuild, reconcile};
use crate::support::vault::{Audit, Place, Vault, WINDOWS, days_ago, text};

/// Pulls every window of the vault again.
async fn redo_all(vault: &Vault) -> (Option<i32>, String) {
    let from = vault.start.to_string();
    let output = vault.connvault(&["backfill", "logins", "--from", &from, "--redo", "all"]).await;
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// The entries of revisions, in order.
fn revisions(audit: &Audit) -> Vec<Archived> {
    let bodies = audit.entries.iter().map(|entry| entry.entry().body.clone());
    bodies
        .filter_map(|body| match body {
            EntryBody::Archived(archived) if archived.supersedes.is_some() => Some(*archived),
            _ => None,
        })
        .collect()
}

/// A record at noon of the vault's first day.
fn late(vault: &Vault, number: u64) -> Record {
    Record::at(vault.start + SignedDuration::from_hours(12), number)
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_rows_in_other_bytes_are_no_revision() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    let before = vault.audit().await;
    let (code, said) = redo_all(&vault).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("{WINDOWS} windows pulled again: 0 revised")), "{said}");
    let after = vault.audit().await;
    assert_eq!((after.entries, after.objects), (before.entries, before.objects));
    assert!(vault.spooled().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_came_late_become_a_revision_that_says_what_it_follows_and_how_it_differs() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    let first = vault.audit().await;
    vault.sim.records().push(late(&vault, 991));
    vault.sim.records().push(late(&vault, 992));
    let (code, said) = redo_all(&vault).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 revised"), "{said}");
    let audit = vault.audit().await;
    let [revision] = &revisions(&audit)[..] else { panic!("{:?}", revisions(&audit)) };
    let follows = revision.supersedes.unwrap();
    let rows = follows.rows.unwrap();
    assert_eq!((rows.rows_added, rows.rows_removed, rows.rows_changed), (2, 0, 0));
    let followed = &audit.entries[usize::try_from(follows.seq.get()).unwrap() - 1];
    let EntryBody::Archived(followed) = &followed.entry().body else { panic!("it follows no revision") };
    assert_eq!((followed.window, followed.revision.get() + 1), (revision.window, revision.revision.get()));
    assert_eq!(revision.object.rows.unwrap(), followed.object.rows.unwrap() + 2);
    // The revision before stays as it was, and nothing else is new.
    assert_eq!(audit.objects.len(), first.objects.len() + 1);
    assert!(first.objects.iter().all(|(key, sha256)| audit.objects.get(key) == Some(sha256)));
    // Once more, and with the ledger lost: nothing has changed since.
    std::fs::remove_dir_all(vault.state_dir()).unwrap();
    let (code, said) = redo_all(&vault).await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(vault.audit().await.entries, audit.entries);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_is_not_stored_beside_an_object_that_is_not_what_the_log_says() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    let before = vault.audit().await;
    let window = *before.windows.first().unwrap();
    let key = before.objects.keys().find(|key| key.contains(&window.to_string())).unwrap();
    let path = vault.path("archive/logins").join(key);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    vault.sim.records().push(late(&vault, 991));
    let (code, said) = redo_all(&vault).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("has SHA-256") && said.contains(key.as_str()), "{said}");
    assert!(!vault.path(&format!("archive/logins/{}", key.replace(".r1.", ".r2."))).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_are_revisited_once_when_the_time_for_it_has_come() {
    // An hour after the last window's end, by everybody's clock.
    let now = days_ago(0) + SignedDuration::from_hours(1);
    let clock = TestClock::at(&now.to_string());
    let of_the_source = clock.clone();
    let by_the_clock = |sim: connvault_sim::Builder| sim.clock(move || of_the_source.now());
    let vault = Vault::with(|dir| Place::Directory(dir.join("archive")), by_the_clock).await;
    vault.configure("revisit = [\"36h\"]");
    let session = begin(&vault.path("config.toml"), &clock).await.unwrap();
    let ran = reconcile(&session, &clock, 2, now).await;
    assert_eq!((ran.tally.archived, ran.tally.unchanged), (WINDOWS as u64, 0));
    // The last two of the windows ended less than 36 hours ago.
    let later: Timestamp = now + SignedDuration::from_hours(12);
    let ran = reconcile(&session, &clock, 2, later).await;
    assert_eq!((ran.tally.archived, ran.tally.revised, ran.tally.unchanged), (0, 0, 1));
    vault
        .sim
        .records()
        .push(Record::at(vault.start + SignedDuration::from_hours(24 * (WINDOWS as i64 - 1) + 5), 991));
    let later: Timestamp = now + SignedDuration::from_hours(36);
    let ran = reconcile(&session, &clock, 2, later).await;
    // A day later another window has ended, and the last one of before is revisited.
    assert_eq!((ran.tally.archived, ran.tally.revised, ran.tally.unchanged), (1, 1, 0));
    assert_eq!(revisions(&vault.audit().await).len(), 1);
    session.end().await;
    // That the one of before was pulled again and had not changed stands in no log. The log's last entry is later than the
    // time for it, so a ledger that is made from the log does not ask for it once more.
    std::fs::remove_dir_all(vault.state_dir()).unwrap();
    rebuild(&vault.path("config.toml"), &clock).await;
    // But for the time, it is asked for nothing.
    let asked =
        || vault.sim.requests().iter().filter(|request| request.endpoint != Endpoint::Unknown).count();
    let requests = asked();
    let session = begin(&vault.path("config.toml"), &clock).await.unwrap();
    let ran = reconcile(&session, &clock, 2, later).await;
    assert_eq!((ran.tally.archived, ran.tally.revised, ran.tally.unchanged), (0, 0, 0));
    assert_eq!(asked(), requests);
    session.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revisit_that_was_due_while_a_tasks_file_waited_is_due_still() {
    let now = days_ago(0) + SignedDuration::from_hours(1);
    let clock = TestClock::at(&now.to_string());
    let of_the_source = clock.clone();
    let by_the_clock = |sim: connvault_sim::Builder| sim.clock(move || of_the_source.now());
    let vault = Vault::with(|dir| Place::Directory(dir.join("archive")), by_the_clock).await;
    let more = "revisit = [\"36h\"]\non_count_mismatch = \"ignore\"";
    vault.configure_with("api = \"v3\"\nstall_timeout = \"5s\"\n", more);
    let away = Fault::status(503);
    vault.sim.faults().add(Rule::new(away).on(Endpoint::Download));
    let session = begin(&vault.path("config.toml"), &clock).await.unwrap();
    let ran = reconcile(&session, &clock, 1, now).await;
    assert_eq!(ran.tally.archived, 0, "{:?}", ran.endings);
    let asked = vault.sim.tasks().created();
    assert!(asked > 0);
    session.end().await;
    // The daemon is away for three days. A record of the last day comes in.
    let last_day = days_ago(1);
    vault.sim.records().push(Record::at(last_day + SignedDuration::from_hours(12), 991));
    let later = now + SignedDuration::from_hours(72);
    clock.reach(later);
    vault.sim.faults().clear();
    let session = begin(&vault.path("config.toml"), &clock).await.unwrap();
    let ran = reconcile(&session, &clock, 1, later).await;
    session.end().await;
    let audit = vault.audit().await;
    let first = audit.entries.iter().find_map(|entry| match &entry.entry().body {
        EntryBody::Archived(archived) if archived.window.start() == last_day => Some(archived.clone()),
        _ => None,
    });
    let pulled_at = first.unwrap().export.pulled_at;
    assert!(pulled_at < now + SignedDuration::from_hours(1), "{pulled_at} is when the file was fetched");
    let [revision] = &revisions(&audit)[..] else { panic!("{:?}", ran.endings) };
    assert_eq!(revision.window.start(), last_day);
    assert_eq!(revision.supersedes.unwrap().rows.unwrap().rows_added, 1);
    assert!(revision.export.pulled_at >= later);
}
