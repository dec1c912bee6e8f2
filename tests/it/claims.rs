//! One answer of a store is a claim, not a fact: nothing false comes into a log by it, and nothing is put twice for it.

use std::path::PathBuf;
use std::sync::Arc;

use connvault::adapters::s3_store::S3Settings;
use connvault::app::observer::Ending;
use connvault::app::session::Session;
use connvault::app::verify::{Asked, Level, Meter, Report, Target, verify};
use connvault::domain::audit::{Finding, Note};
use connvault::domain::failure::FailureKind;
use connvault::ports::clock::Clock;
use connvault::ports::object_store::{ObjectStore, Readback};
use connvault_sim::Record;
use jiff::{SignedDuration, Timestamp};

use crate::support::buckets::InProcess;
use crate::support::clock::TestClock;
use crate::support::inside::{begin, put_store, reconcile, store_of, with_lies};
use crate::support::lying_store::{Lie, LyingStore};
use crate::support::place::Place;
use crate::support::s3s::Dialect;
use crate::support::vault::{self, Vault, WINDOWS, days_ago};
use crate::support::wire::Wire;
use crate::support::world::World;

/// Three o'clock at night, five days into November.
const NOW: &str = "2026-11-06T03:00:00Z";

async fn world(clock: &TestClock, days: u32) -> World {
    World::at(Place::directory(), clock, days).await
}

fn later_today() -> Timestamp {
    NOW.parse::<Timestamp>().unwrap() + SignedDuration::from_hours(12)
}

fn folder(world: &World) -> PathBuf {
    let Place::Directory(folder) = &world.place else { unreachable!("it is a directory") };
    folder.path().join("logins")
}

/// A run of a world of one window whose store lies.
async fn run(world: &World, clock: &TestClock, tell: impl FnOnce(&LyingStore)) -> (LyingStore, Vec<Ending>) {
    let session = begin(&world.config(), clock).await.unwrap();
    let store = with_lies(&session);
    tell(&store);
    let ran = reconcile(&session, clock, 1, later_today()).await;
    session.end().await;
    (store, ran.endings.into_iter().map(|(_, ending)| ending).collect())
}

fn is_archived(ending: &Ending) -> bool {
    matches!(ending, Ending::Archived { .. })
}

#[tokio::test]
async fn one_damaged_read_of_an_object_that_was_put_is_no_damaged_object() {
    let clock = TestClock::at(NOW);
    let world = world(&clock, 1).await;
    let (store, endings) = run(&world, &clock, |store| store.tell(Lie::Flip, "/data/", 1)).await;
    assert_eq!(store.left(Lie::Flip), 0);
    assert!(endings.iter().all(is_archived), "{endings:?}");
    world.archive().await.assert_complete(&world.windows);
}

#[tokio::test]
async fn an_object_that_never_reads_back_stays_the_only_one_of_its_window() {
    let clock = TestClock::at(NOW);
    for lie in [Lie::FlipFirst, Lie::Flip] {
        let world = world(&clock, 1).await;
        let (store, endings) = run(&world, &clock, |store| store.tell(lie, "/data/", 40)).await;
        assert_eq!(store.puts("/data/").len(), 1, "{lie:?}: {endings:?}");
        let failures = endings.iter().filter(|ending| matches!(ending, Ending::Failed(_))).count();
        assert!(failures >= 3, "{lie:?}: {endings:?}");
    }
}

#[tokio::test]
async fn an_object_that_is_not_shown_right_after_its_put_is_asked_for_again() {
    let clock = TestClock::at(NOW);
    let world = world(&clock, 1).await;
    let (store, endings) = run(&world, &clock, |store| store.tell(Lie::Absent, "/data/", 2)).await;
    assert_eq!(store.left(Lie::Absent), 0);
    assert!(endings.iter().all(is_archived), "{endings:?}");
    world.archive().await.assert_complete(&world.windows);
}

/// Puts a foreign object under the key of the world's only window.
async fn plant(world: &World, bytes: &[u8]) -> PathBuf {
    let start: Timestamp = world.windows[0].parse().unwrap();
    let end = start + SignedDuration::from_hours(24);
    let day = folder(world).join("data").join(start.strftime("%Y/%m/%d").to_string());
    std::fs::create_dir_all(&day).unwrap();
    let path =
        day.join(format!("{}_{}.r1.xlsx", start.strftime("%Y%m%dT%H%M%SZ"), end.strftime("%Y%m%dT%H%M%SZ")));
    std::fs::write(&path, bytes).unwrap();
    path
}

#[tokio::test]
async fn one_damaged_read_of_an_unnamed_object_never_stands_in_an_entry() {
    let clock = TestClock::at(NOW);
    for lie in [Lie::Flip, Lie::Absent, Lie::Size] {
        let world = world(&clock, 1).await;
        plant(&world, b"no export of ours").await;
        let (store, endings) = run(&world, &clock, |store| store.tell(lie, ".r1.xlsx", 1)).await;
        assert_eq!(store.left(lie), 0, "{lie:?}");
        assert!(endings.iter().all(is_archived), "{lie:?}: {endings:?}");
        // Which holds every hash that an entry names against the object's bytes.
        let archive = world.archive().await;
        assert_eq!(archive.orphans().len(), 1, "{lie:?}");
        assert_eq!(archive.of_kind("archived")[0]["revision"], 2, "{lie:?}");
    }
}

/// A world whose only window has an object, and neither a log nor a state directory any more.
async fn with_object_left(clock: &TestClock) -> World {
    let world = world(clock, 1).await;
    let (_, endings) = run(&world, clock, |_| ()).await;
    assert!(is_archived(&endings[0]), "{endings:?}");
    std::fs::remove_dir_all(folder(&world).join("log")).unwrap();
    world.lose_state();
    clock.reach(clock.now() + SignedDuration::from_mins(5));
    world
}

#[tokio::test]
async fn an_unnamed_object_with_the_very_rows_is_adopted_with_its_own_hash_whatever_one_read_says() {
    for lie in [Lie::Flip, Lie::Absent, Lie::Size] {
        let clock = TestClock::at(NOW);
        let world = with_object_left(&clock).await;
        let (store, endings) = run(&world, &clock, |store| store.tell(lie, "/data/", 1)).await;
        assert_eq!(store.left(lie), 0, "{lie:?}");
        assert!(endings.iter().all(is_archived), "{lie:?}: {endings:?}");
        assert_eq!(store.puts("/data/"), [""; 0], "{lie:?}");
        world.archive().await.assert_complete(&world.windows);
    }
}

#[tokio::test]
async fn an_unnamed_object_that_lacks_a_row_is_named_and_the_export_goes_under_the_next_revision() {
    let clock = TestClock::at(NOW);
    let world = with_object_left(&clock).await;
    let noon = world.windows[0].parse::<Timestamp>().unwrap() + SignedDuration::from_hours(12);
    world.sim.records().push(Record::at(noon, 991));
    let (_, endings) = run(&world, &clock, |_| ()).await;
    assert!(endings.iter().all(is_archived), "{endings:?}");
    let archive = world.archive().await;
    assert_eq!((archive.data.len(), archive.orphans().len()), (2, 1));
}

#[tokio::test]
async fn while_a_list_is_stale_our_own_object_is_asked_for_by_its_key() {
    let clock = TestClock::at(NOW);
    let world = world(&clock, 1).await;
    let tell = |store: &LyingStore| {
        store.tell(Lie::PutAnswerLost, "/data/", 1);
        store.tell(Lie::Unlisted, "/data/", usize::MAX);
    };
    let (store, endings) = run(&world, &clock, tell).await;
    assert_eq!(store.puts("/data/").len(), 1, "{endings:?}");
    assert_eq!(endings.iter().filter(|ending| is_archived(ending)).count(), 1, "{endings:?}");
    world.archive().await.assert_complete(&world.windows);
}

#[tokio::test]
async fn planted_objects_take_neither_revisions_away_nor_the_log() {
    let clock = TestClock::at(NOW);
    let world = world(&clock, 1).await;
    let first = plant(&world, b"planted").await;
    let name = first.file_name().unwrap().to_str().unwrap();
    for revision in (2..80).chain([u32::MAX]) {
        std::fs::write(first.with_file_name(name.replace(".r1.", &format!(".r{revision}."))), "planted")
            .unwrap();
    }
    let session = begin(&world.config(), &clock).await.unwrap();
    let ran = reconcile(&session, &clock, 1, later_today()).await;
    session.end().await;
    assert_eq!(ran.tally.archived, 1, "{:?}", ran.endings);
    let entry = std::fs::read_to_string(folder(&world).join("log/000000000002.json")).unwrap();
    assert!(entry.len() < 64 << 10, "{} bytes", entry.len());
    let entry: serde_json::Value = serde_json::from_str(&entry).unwrap();
    assert_eq!(entry["revision"], 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_damaged_read_of_the_revision_before_is_no_damage() {
    let now = days_ago(0) + SignedDuration::from_hours(1);
    let clock = TestClock::at(&now.to_string());
    let of_the_source = clock.clone();
    let by_the_clock = |sim: connvault_sim::Builder| sim.clock(move || of_the_source.now());
    let vault = Vault::with(|dir| vault::Place::Directory(dir.join("archive")), by_the_clock).await;
    vault.configure("revisit = [\"36h\"]");
    let unsigned = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let unsigned =
        unsigned.replace(&format!("[signing]\nkey_file = \"{}\"\n", vault.path("signing-key").display()), "");
    std::fs::write(vault.path("config.toml"), unsigned).unwrap();
    let session = begin(&vault.path("config.toml"), &clock).await.unwrap();
    let store = with_lies(&session);
    assert_eq!(reconcile(&session, &clock, 1, now).await.tally.archived, WINDOWS as u64);
    let last = vault.start + SignedDuration::from_hours(24 * (WINDOWS as i64 - 2) + 5);
    vault.sim.records().push(Record::at(last, 991));
    store.tell(Lie::Flip, ".r1.", 1);
    let ran = reconcile(&session, &clock, 1, now + SignedDuration::from_hours(12)).await;
    assert_eq!((ran.tally.revised, ran.tally.failed), (1, 0), "{:?}", ran.endings);
    assert_eq!(store.left(Lie::Flip), 0);
    session.end().await;
}

/// A finished session's archive, by `store`, checked to `level`.
async fn checked(store: Arc<dyn ObjectStore>, clock: &TestClock, level: Level) -> Report {
    let stream = "logins".parse().unwrap();
    let tolerance = SignedDuration::from_hours(24);
    let target = Target { stream, store, tolerance, readers: 2, configured: None };
    let asked = Asked {
        level,
        from: None,
        to: None,
        sample: None,
        expected_head: None,
        now: clock.now(),
        signers: None,
    };
    verify(&target, &asked, &Meter::default()).await.unwrap()
}

/// Archives two windows in a store whose ETags are `etags`, and gives that store.
async fn archived_with(etags: Option<Lie>, readback: Readback) -> (World, TestClock, Session, LyingStore) {
    let clock = TestClock::at(NOW);
    let world = world(&clock, 2).await;
    let session = begin(&world.config(), &clock).await.unwrap();
    let mut store = LyingStore::new(store_of(&session));
    if let Some(etags) = etags {
        store.tell(etags, "/data/", usize::MAX);
        store.has_md5_etags = Some(etags == Lie::Md5Etag);
    }
    put_store(&session, Arc::new(store.clone()), readback, None);
    let ran = reconcile(&session, &clock, 1, later_today()).await;
    assert_eq!((ran.tally.archived, ran.tally.failed), (2, 0), "{:?}", ran.endings);
    (world, clock, session, store)
}

async fn etags(world: &World) -> Vec<serde_json::Value> {
    world.archive().await.of_kind("archived").iter().map(|entry| entry["object"]["etag"].clone()).collect()
}

#[tokio::test]
async fn what_an_etag_was_at_the_put_decides_whether_it_is_compared() {
    for readback in [Readback::Full, Readback::Metadata] {
        let (world, clock, session, store) = archived_with(Some(Lie::OtherEtag), readback).await;
        assert_eq!(etags(&world).await, ["other", "other"]);
        for level in [Level::Objects, Level::Bytes] {
            let report = checked(Arc::new(store.clone()), &clock, level).await;
            assert_eq!(report.findings, []);
        }
        session.end().await;
        let (world, clock, session, store) = archived_with(Some(Lie::Md5Etag), readback).await;
        assert_eq!(etags(&world).await, ["md5", "md5"]);
        assert_eq!(checked(Arc::new(store.clone()), &clock, Level::Objects).await.findings, []);
        let changed = LyingStore::new(store_of(&session));
        changed.tell(Lie::OtherEtag, "/data/", usize::MAX);
        let report = checked(Arc::new(changed), &clock, Level::Objects).await;
        assert_eq!(report.findings.len(), 2);
        assert!(report.findings.iter().all(|finding| matches!(finding, Finding::ObjectMd5 { .. })));
        session.end().await;
    }
}

#[tokio::test]
async fn where_an_entry_says_nothing_of_its_etag_another_one_is_only_noted() {
    let (world, clock, session, store) = archived_with(None, Readback::Full).await;
    assert_eq!(etags(&world).await, [serde_json::Value::Null, serde_json::Value::Null]);
    let others = LyingStore::new(Arc::new(store.clone()));
    others.tell(Lie::OtherEtag, "/data/", usize::MAX);
    let report = checked(Arc::new(others.clone()), &clock, Level::Objects).await;
    assert_eq!(report.findings, []);
    assert!(
        report.notes.iter().any(|note| matches!(note, Note::EtagsDiffer { objects: 2, .. })),
        "{:?}",
        report.notes
    );
    let report = checked(Arc::new(others), &clock, Level::Bytes).await;
    assert_eq!(report.findings, []);
    assert!(
        !report.notes.iter().any(|note| matches!(note, Note::EtagsDiffer { .. })),
        "the bytes have settled it"
    );
    // One object's ETag is its MD5: then they are MD5s here, and the other object is suspicious.
    let one = LyingStore::new(Arc::new(store));
    one.tell(Lie::Md5Etag, "20261104T", usize::MAX);
    one.tell(Lie::OtherEtag, "20261105T000000Z_20261106T", usize::MAX);
    let report = checked(Arc::new(one), &clock, Level::Objects).await;
    assert!(matches!(report.findings[..], [Finding::ObjectMd5 { .. }]), "{:?}", report.findings);
    session.end().await;
}

#[tokio::test]
async fn metadata_that_is_odd_is_settled_by_the_bytes() {
    let clock = TestClock::at(NOW);
    for lie in [Lie::Size, Lie::Absent, Lie::OtherEtag] {
        let world = world(&clock, 1).await;
        let session = begin(&world.config(), &clock).await.unwrap();
        let mut store = LyingStore::new(store_of(&session));
        store.has_md5_etags = Some(true);
        store.tell(lie, "/data/", 1);
        put_store(&session, Arc::new(store.clone()), Readback::Metadata, None);
        let ran = reconcile(&session, &clock, 1, later_today()).await;
        assert_eq!((ran.tally.archived, ran.tally.failed), (1, 0), "{lie:?}: {:?}", ran.endings);
        assert_eq!(store.left(lie), 0, "{lie:?}");
        world.archive().await.assert_complete(&world.windows);
        session.end().await;
    }
}

#[tokio::test]
async fn one_wrong_answer_is_no_finding() {
    let (_world, clock, session, store) = archived_with(None, Readback::Full).await;
    for lie in [Lie::Flip, Lie::Absent, Lie::Size] {
        for level in [Level::Objects, Level::Bytes] {
            store.tell(lie, "/data/", usize::from(lie != Lie::Flip || level == Level::Bytes));
            let report = checked(Arc::new(store.clone()), &clock, level).await;
            assert_eq!(report.findings, [], "{lie:?}");
        }
        // Two wrong answers in a row that do not agree are none, either.
        store.tell(Lie::Absent, "/data/", 1);
    }
    let damaged = LyingStore::new(store_of(&session));
    damaged.tell(Lie::FlipFirst, "/data/", usize::MAX);
    let report = checked(Arc::new(damaged), &clock, Level::Bytes).await;
    assert_eq!(report.findings.len(), 2, "{:?}", report.findings);
    session.end().await;
}

#[tokio::test]
async fn a_store_whose_reads_are_damaged_at_random_fails_windows_for_now_and_not_for_good() {
    let clock = TestClock::at(NOW);
    let world = world(&clock, 1).await;
    let (_, endings) = run(&world, &clock, |store| store.tell(Lie::Flip, "/data/", 5)).await;
    let [Ending::Failed(failure), Ending::Archived { .. }] = &endings[..] else { panic!("{endings:?}") };
    assert_eq!(failure.kind, FailureKind::Transient, "{failure:?}");
    world.archive().await.assert_complete(&world.windows);
}

/// A vault in a bucket behind a wire, where nothing refuses overwriting.
async fn behind_a_wire() -> (Vault, Arc<Wire>, InProcess) {
    let home = InProcess::start(Dialect::Heedless).await;
    let wire = Arc::new(Wire::to(&home.server.endpoint()).await);
    let settings = S3Settings { endpoint: Some(wire.endpoint().parse().unwrap()), ..home.settings() };
    let vault = Vault::with(|_| vault::Place::Bucket(Box::new(settings)), |sim| sim).await;
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let config = config.replace("[streams.logins]", "create_only = \"head\"\n[streams.logins]");
    std::fs::write(vault.path("config.toml"), config).unwrap();
    (vault, wire, home)
}

#[tokio::test(flavor = "multi_thread")]
async fn with_every_second_answer_to_a_put_lost_nothing_is_put_twice_where_nothing_refuses_overwriting() {
    let (vault, wire, _home) = behind_a_wire().await;
    wire.swallow_every_put(2);
    vault.once().await;
    wire.swallow_every_put(0);
    let audit = vault.audit().await;
    assert_eq!(audit.windows.len(), WINDOWS);
    let mut puts = std::collections::BTreeMap::<String, usize>::new();
    for head in wire.heads("PUT") {
        let key = head.split(' ').nth(1).unwrap().split('?').next().unwrap();
        *puts.entry(key.to_owned()).or_default() += 1;
    }
    puts.retain(|key, _| !key.contains("/.connvault/"));
    assert_eq!(puts.len(), 3 * WINDOWS + 2, "an object, an entry and a signature each: {puts:?}");
    assert!(puts.values().all(|times| *times == 1), "{puts:?}");
}
