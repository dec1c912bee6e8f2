//! Exports that come whole and cannot be read are kept, and exports without records are believed where the counts say so.

use std::collections::BTreeMap;

use bytes::Bytes;
use connvault::adapters::system_clock::SystemClock;
use connvault::app::stream_log::Appended;
use connvault::app::survey::summarize;
use connvault::domain::count::Counted;
use connvault::domain::digest::Sha256;
use connvault::domain::export::{Bounds, ExportApi, Format};
use connvault::domain::lock::Lock;
use connvault::domain::log_entry::{Archived, EntryBody, ExportFacts, StoredObject};
use connvault::domain::object_key::{DataKey, Revision};
use connvault::domain::window::Window;
use connvault::ports::clock::Clock;
use connvault::ports::object_store::Content;
use connvault_sim::{Endpoint, Fault, Record, Rule};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::support::clock::TestClock;
use crate::support::inside::{Ran, begin, reconcile, verdicts};
use crate::support::place::Place;
use crate::support::world::{World, said};

/// The last two o'clock at night that is hours ago by the machine's own clock, so that the program agrees.
pub(crate) fn tonight() -> TestClock {
    let now = SystemClock.now() - SignedDuration::from_hours(4);
    let midnight = Timestamp::from_second(now.as_second() - now.as_second().rem_euclid(86_400)).unwrap();
    TestClock::at(&(midnight + SignedDuration::from_hours(2)).to_string())
}

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A file that is no table for this version, whatever the reader learns: a ZIP archive with one CSV file in it.
pub(crate) fn odd(name: &str) -> Bytes {
    let path = format!("{}/tests/fixtures/odd-files/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap().into()
}

pub(crate) const UNREADABLE: &str = "x32-zip-of-csv.xlsx";
pub(crate) const OTHER_UNREADABLE: &str = "x44c-charref-nul.xlsx";

/// One stream whose windows are the days before the clock's, the first of which meets `fault`.
pub(crate) async fn world(days: u32, fault: Fault) -> (World, TestClock) {
    let clock = tonight();
    let world = World::at(Place::directory(), &clock, days).await;
    meets(&world, fault);
    (world, clock)
}

/// From now on the export of the first window meets `fault`, and no other.
pub(crate) fn meets(world: &World, fault: Fault) {
    let start: Timestamp = world.windows[0].parse().unwrap();
    let start = (start - SignedDuration::from_mins(1)).strftime("%Y-%m-%dT%H:%MZ").to_string();
    world.sim.faults().clear();
    world.sim.faults().add(Rule::new(fault).on(Endpoint::Export).for_start_time(start));
}

pub(crate) fn first(world: &World) -> Window {
    let start: Timestamp = world.windows[0].parse().unwrap();
    Window::new(start, start + DAY).unwrap()
}

/// Runs a daemon of its own for so long.
pub(crate) async fn run(world: &World, clock: &TestClock, hours: i64) -> Ran {
    let session = begin(&world.config(), clock).await.unwrap();
    let ran = reconcile(&session, clock, 1, clock.now() + SignedDuration::from_hours(hours)).await;
    session.end().await;
    ran
}

/// The `archived` entries of the first window.
pub(crate) async fn entries(world: &World) -> Vec<Value> {
    let archive = world.archive().await;
    let entries = archive.of_kind("archived").into_iter().cloned();
    entries.filter(|entry| entry["window"]["start"] == world.windows[0].as_str()).collect()
}

pub(crate) fn unread_reason(entry: &Value) -> &str {
    entry["export"]["unread"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn the_third_whole_export_in_a_row_that_cannot_be_read_is_archived_as_it_came() {
    let (world, clock) = world(2, Fault::Body(odd(UNREADABLE))).await;
    let ran = run(&world, &clock, 1).await;
    assert_eq!((ran.tally.archived, ran.tally.failed), (2, 2));
    let [entry] = &entries(&world).await[..] else { panic!("not archived once") };
    assert!(unread_reason(entry).contains("cannot read"), "{entry}");
    let object = &entry["object"];
    assert_eq!(
        (&object["format"], object["bytes"].as_u64()),
        (&"bin".into(), Some(odd(UNREADABLE).len() as u64))
    );
    assert!(object.get("rows").is_none() && object.get("content_digest").is_none(), "{object}");
    assert!(entry["export"].get("count_mismatch").is_none(), "{entry}");
    let key = object["key"].as_str().unwrap();
    assert!(key.ends_with(".r1.bin"), "{key}");
    assert_eq!(world.archive().await.data[key], odd(UNREADABLE));
    assert!(world.spooled().is_empty());

    // It needs an operator, is not lost, and is not exported again and again.
    let requests = world.sim.request_count(Endpoint::Export);
    assert_eq!(run(&world, &clock, 12).await.endings, []);
    assert_eq!(world.sim.request_count(Endpoint::Export), requests);
    let gaps = world.connvault(&["gaps"]).await;
    assert_eq!(gaps.status.code(), Some(3), "{}", said(&gaps));
    let status = said(&world.connvault(&["status"]).await);
    for word in ["archived, unread", "cannot read", "connvault reread logins", "connvault retry logins"] {
        assert!(status.contains(word) && said(&gaps).contains(word), "{status}\n{}", said(&gaps));
    }
    let verified = world.connvault(&["verify", "--level", "bytes"]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
    assert!(said(&verified).contains("archived unread"), "{}", said(&verified));
    // A lost ledger learns it from the log.
    world.lose_state();
    let rebuilt = world.connvault(&["rebuild"]).await;
    assert_eq!(rebuilt.status.code(), Some(0), "{}", said(&rebuilt));
    let gaps = world.connvault(&["gaps", "--json"]).await;
    assert_eq!(gaps.status.code(), Some(3), "{}", said(&gaps));
    let json: Value = serde_json::from_slice(&gaps.stdout).unwrap();
    assert_eq!((&json[0]["verdict"], &json[0]["content"]), (&"archived".into(), &"unread".into()), "{json}");
    assert!(json[0]["unread"].as_str().unwrap().contains("cannot read"), "{json}");
}

#[tokio::test]
async fn whole_exports_that_cannot_be_read_are_counted_over_restarts_and_in_a_row() {
    let (world, clock) = world(1, Fault::Body(odd(UNREADABLE))).await;
    let again = async || {
        let session = begin(&world.config(), &clock).await.unwrap();
        session.services.ledger.retry(None, None).await.unwrap();
        let ran = reconcile(&session, &clock, 1, clock.now()).await;
        session.end().await;
        ran.tally.archived
    };
    assert_eq!((again().await, again().await), (0, 0));
    // Something else came in between: the row begins anew.
    meets(&world, Fault::HtmlBody);
    assert_eq!(again().await, 0);
    meets(&world, Fault::Body(odd(UNREADABLE)));
    assert_eq!((again().await, again().await, again().await), (0, 0, 1));
    assert_eq!(entries(&world).await.len(), 1);
}

#[tokio::test]
async fn what_is_no_export_is_not_kept_before_the_last_day() {
    for fault in [Fault::HtmlBody, Fault::JsonErrorBody, Fault::TruncateCleanly { bytes: 4000 }] {
        let (world, clock) = world(2, fault).await;
        let ran = run(&world, &clock, 1).await;
        assert_eq!((ran.tally.archived, ran.tally.failed), (1, 3));
        assert_eq!(entries(&world).await.len(), 0);
    }
}

#[tokio::test]
async fn on_its_last_day_whatever_came_whole_is_kept_and_a_better_export_becomes_the_next_revision() {
    for fault in [Fault::HtmlBody, Fault::JsonErrorBody, Fault::TruncateCleanly { bytes: 4000 }] {
        let (world, clock) = world(29, fault.clone()).await;
        let ran = run(&world, &clock, 0).await;
        assert_eq!((ran.tally.archived, ran.tally.failed), (29, 0), "{fault:?}");
        let [entry] = &entries(&world).await[..] else { panic!("{fault:?}: not archived once") };
        assert_eq!(entry["object"]["format"], "bin");
        assert!(unread_reason(entry).contains("the export of"), "{entry}");
        // While it goes on nothing more is stored.
        run(&world, &clock, 13).await;
        assert_eq!(entries(&world).await.len(), 1, "{fault:?}");
        world.sim.faults().clear();
        run(&world, &clock, 8).await;
        let [_, revision] = &entries(&world).await[..] else { panic!("{fault:?}: no revision") };
        assert_eq!((&revision["revision"], &revision["supersedes"]["seq"]), (&2.into(), &entry["seq"]));
        assert!(revision["supersedes"].get("rows_added").is_none(), "{revision}");
        assert!(revision["object"]["rows"].as_u64() > Some(0) && revision["export"].get("unread").is_none());
        let session = begin(&world.config(), &clock).await.unwrap();
        let judged = verdicts(&session).await;
        assert!(judged.iter().all(|judged| judged.window != first(&world) || !judged.verdict.is_unread()));
        session.end().await;
    }
}

#[tokio::test]
async fn what_was_kept_on_the_last_day_keeps_no_export_out_that_is_better_and_not_perfect() {
    let (world, clock) = world(29, Fault::HtmlBody).await;
    run(&world, &clock, 0).await;
    let start: Timestamp = world.windows[0].parse().unwrap();
    // From now on the export lacks a record, and the count cannot be had.
    world.sim.faults().clear();
    let short =
        Rule::new(Fault::OmitRecords { records: 1 }).on(Endpoint::Export).for_start_time(asked(start));
    world.sim.faults().add(short);
    run(&world, &clock, 21).await;
    let [_, revision] = &entries(&world).await[..] else { panic!("the readable export is lost") };
    assert_eq!(revision["export"]["count_mismatch"], true, "{revision}");
}

#[tokio::test]
async fn a_message_with_a_comma_is_no_export_without_records_where_nobody_counted() {
    for message in
        ["Internal error, try again later\n", "Internal error, try again later\nrequest: 5, node 7\n"]
    {
        let (world, clock) = world(2, Fault::Body(Bytes::from_static(message.as_bytes()))).await;
        world.sim.faults().add(Rule::new(Fault::status(403)).on(Endpoint::Query));
        run(&world, &clock, 3).await;
        let entries = entries(&world).await;
        assert!(entries.iter().all(|entry| !unread_reason(entry).is_empty()), "{entries:#?}");
    }
}

#[tokio::test]
async fn a_transfer_that_broke_off_or_a_throttling_answer_is_never_kept() {
    let throttled = Bytes::from_static(br#"{"error_code":"APIGW.0308","error_msg":"too many"}"#);
    for fault in [Fault::TruncateAfter { bytes: 4000 }, Fault::Body(throttled)] {
        let (world, clock) = world(29, fault).await;
        run(&world, &clock, 0).await;
        assert_eq!(entries(&world).await.len(), 0);
    }
}

#[tokio::test]
async fn an_empty_answer_is_an_export_without_records_where_the_counts_say_so() {
    let empty_sheet = odd("x37-empty-sheet.xlsx");
    for (fault, body) in [
        (Fault::EmptyBody, Bytes::new()),
        (Fault::NoContent, Bytes::new()),
        (Fault::Body(empty_sheet.clone()), empty_sheet),
    ] {
        let (world, clock) = world(2, fault.clone()).await;
        // The first day has no records.
        let start: Timestamp = world.windows[0].parse().unwrap();
        world.sim.faults().clear();
        world.sim.faults().add(
            Rule::new(Fault::OmitRecords { records: 1000 }).on(Endpoint::Query).for_start_time(asked(start)),
        );
        world.sim.faults().add(Rule::new(fault.clone()).on(Endpoint::Export).for_start_time(asked(start)));
        let ran = run(&world, &clock, 1).await;
        assert_eq!((ran.tally.archived, ran.tally.failed), (2, 0), "{fault:?}");
        let [entry] = &entries(&world).await[..] else { panic!("{fault:?}: not archived once") };
        assert_eq!(entry["object"]["rows"], 0, "{entry}");
        assert_eq!(entry["object"]["content_digest"], "0".repeat(64));
        assert!(entry["export"].get("unread").is_none());
        let key = entry["object"]["key"].as_str().unwrap();
        assert_eq!(world.archive().await.data[key], body);
        for arguments in [&["gaps"][..], &["verify", "--level", "bytes"], &["rebuild"], &["gaps"]] {
            let output = world.connvault(arguments).await;
            assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
        }
    }
}

pub(crate) fn asked(start: Timestamp) -> String {
    (start - SignedDuration::from_mins(1)).strftime("%Y-%m-%dT%H:%MZ").to_string()
}

/// A world of one window, whose export is a task's file that meets `fault` when it is fetched.
async fn by_task(fault: Fault) -> (World, TestClock) {
    let clock = tonight();
    let mut world = World::at(Place::directory(), &clock, 1).await;
    world.settings.source = "api = \"v3\"\n".to_owned();
    world.sim.faults().add(Rule::new(fault).on(Endpoint::Download));
    (world, clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_task_file_is_an_export_without_records_where_the_counts_say_so() {
    let empty_sheet = odd("x37-empty-sheet.xlsx");
    for (fault, body) in [(Fault::EmptyBody, Bytes::new()), (Fault::Body(empty_sheet.clone()), empty_sheet)] {
        let (world, clock) = by_task(fault.clone()).await;
        world.sim.faults().add(Rule::new(Fault::OmitRecords { records: 1000 }).on(Endpoint::Query));
        let ran = run(&world, &clock, 1).await;
        assert_eq!((ran.tally.archived, ran.tally.failed), (1, 0), "{fault:?}: {:?}", ran.endings);
        let [entry] = &entries(&world).await[..] else { panic!("{fault:?}: not archived once") };
        assert_eq!((&entry["export"]["api"], &entry["object"]["rows"]), (&"v3".into(), &0.into()), "{entry}");
        let counted = &entry["export"]["counted"];
        assert_eq!((&counted["before"], &counted["after"]), (&0.into(), &0.into()), "{entry}");
        assert_eq!(world.archive().await.data[entry["object"]["key"].as_str().unwrap()], body);
        assert_eq!(world.connvault(&["gaps"]).await.status.code(), Some(0));
    }
    // Against a count it is not believed.
    let (world, clock) = by_task(Fault::EmptyBody).await;
    let ran = run(&world, &clock, 1).await;
    assert_eq!((ran.tally.archived, ran.tally.failed), (0, 3), "{:?}", ran.endings);
    assert_eq!(entries(&world).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_third_whole_task_file_in_a_row_that_cannot_be_read_is_archived_as_it_came() {
    let (world, clock) = by_task(Fault::Body(odd(UNREADABLE))).await;
    let ran = run(&world, &clock, 1).await;
    assert_eq!((ran.tally.archived, ran.tally.failed), (1, 2), "{:?}", ran.endings);
    let [entry] = &entries(&world).await[..] else { panic!("not archived once") };
    assert!(unread_reason(entry).contains("cannot read"), "{entry}");
    assert_eq!((&entry["export"]["api"], &entry["object"]["format"]), (&"v3".into(), &"bin".into()));
    assert!(entry["export"]["counted"]["after"].as_u64() > Some(0), "{entry}");
    assert_eq!(world.archive().await.data[entry["object"]["key"].as_str().unwrap()], odd(UNREADABLE));
    // Each try had a task of its own, and none is left at the provider.
    assert_eq!((world.sim.tasks().created(), world.sim.tasks().all().len()), (3, 0));
    assert_eq!(world.connvault(&["gaps"]).await.status.code(), Some(3));
    let verified = world.connvault(&["verify", "--level", "bytes"]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
}

#[tokio::test]
async fn an_empty_answer_is_not_believed_against_a_count_and_kept_unread_without_one() {
    let (world, clock) = world(1, Fault::EmptyBody).await;
    let ran = run(&world, &clock, 1).await;
    assert_eq!((ran.tally.archived, ran.tally.failed), (0, 3));
    let gaps = said(&world.connvault(&["gaps"]).await);
    assert!(gaps.contains("has no rows, and the provider counts"), "{gaps}");

    let (world, clock) = self::world(1, Fault::EmptyBody).await;
    world.sim.faults().add(Rule::new(Fault::status(403)).on(Endpoint::Query));
    let ran = run(&world, &clock, 1).await;
    assert_eq!((ran.tally.archived, ran.tally.failed), (1, 2));
    let [entry] = &entries(&world).await[..] else { panic!("not archived once") };
    assert!(unread_reason(entry).contains("empty and uncounted"), "{entry}");
    assert_eq!(entry["object"]["bytes"], 0);
    let verified = world.connvault(&["verify", "--level", "bytes"]).await;
    assert_eq!(verified.status.code(), Some(0), "{}", said(&verified));
}

#[tokio::test]
async fn a_window_that_is_archived_unread_is_still_revisited() {
    let (mut world, clock) = world(1, Fault::Body(odd(UNREADABLE))).await;
    world.settings.stream = "revisit = [\"2d\", \"3d\", \"4d\"]\n".to_owned();
    assert_eq!(run(&world, &clock, 1).await.tally.archived, 1);
    let revisits = async || {
        run(&world, &clock, 24).await;
        entries(&world).await
    };
    // The same bytes, then others, then those again, then a table.
    assert_eq!(revisits().await.len(), 1);
    meets(&world, Fault::Body(odd(OTHER_UNREADABLE)));
    let [_, second] = &revisits().await[..] else { panic!("other bytes are no revision") };
    assert!(
        !unread_reason(second).is_empty() && second["object"]["key"].as_str().unwrap().ends_with(".r2.bin")
    );
    world.sim.faults().clear();
    let [_, _, third] = &revisits().await[..] else { panic!("a table is no revision") };
    assert!(third["object"]["rows"].as_u64() > Some(0), "{third}");
    let gaps = world.connvault(&["gaps"]).await;
    assert!(!said(&gaps).contains("unread"), "{}", said(&gaps));
}

#[tokio::test]
async fn an_operator_can_have_a_window_that_is_archived_unread_exported_anew() {
    for arguments in
        [&["retry", "logins", "WINDOW"][..], &["backfill", "logins", "--redo", "failed", "--from", "START"]]
    {
        let world = World::now(Place::directory(), 2).await;
        meets(&world, Fault::Body(odd(UNREADABLE)));
        let output = world.connvault(&["once"]).await;
        assert_eq!(output.status.code(), Some(1), "a window needs an operator: {}", said(&output));
        world.sim.faults().clear();
        let window = first(&world).to_string();
        let arguments: Vec<_> = arguments
            .iter()
            .map(|word| word.replace("WINDOW", &window).replace("START", &world.windows[0]))
            .collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let output = world.connvault(&arguments).await;
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        world.connvault(&["once"]).await;
        let [_, second] = &entries(&world).await[..] else { panic!("{arguments:?}") };
        assert!(second["object"]["rows"].as_u64() > Some(0), "{second}");
        assert_eq!(world.connvault(&["gaps"]).await.status.code(), Some(0));
    }
}

#[tokio::test]
async fn records_of_another_day_are_marked_and_shown() {
    let (world, clock) = world(3, Fault::HtmlBody).await;
    // The provider answers the first day with the file of the second.
    let (second, records): (Timestamp, Vec<Record>) =
        (world.windows[1].parse().unwrap(), world.sim.records().all());
    let margin = SignedDuration::from_mins(1);
    let within =
        |record: &&Record| (second - margin..second + DAY + margin).contains(&record.connection_start_time);
    let rows: Vec<_> = records.iter().filter(within).collect();
    assert!(rows.len() > 10);
    world.sim.faults().clear();
    let file = export_of(&world, &clock, second).await;
    meets(&world, Fault::Body(file));
    let ran = run(&world, &clock, 1).await;
    assert_eq!(ran.tally.archived, 3);
    let archive = world.archive().await;
    let marked: Vec<_> = archive
        .of_kind("archived")
        .into_iter()
        .filter(|entry| entry["export"].get("same_content_as").is_some())
        .collect();
    let [later] = &marked[..] else { panic!("{marked:?}") };
    let seq = later["export"]["same_content_as"].as_u64().unwrap();
    assert!(seq < later["seq"].as_u64().unwrap());
    let [entry] = &entries(&world).await[..] else { panic!("not archived once") };
    assert_eq!(entry["export"]["out_of_bounds"], true, "{entry}");
    assert!(entry["export"]["records"]["first"].as_str() >= Some(world.windows[1].as_str()), "{entry}");
    let status = said(&world.connvault(&["status"]).await);
    for word in ["1 archived with records outside of the bounds", "1 archived with the same records"] {
        assert!(status.contains(word), "{status}");
    }
    let json: Value = serde_json::from_slice(&world.connvault(&["status", "--json"]).await.stdout).unwrap();
    assert_eq!(json["streams"][0]["out_of_bounds"]["newest"], entry["window"], "{json}");
    // What the log says, a lost ledger finds out again.
    world.lose_state();
    run(&world, &clock, 0).await;
    assert!(said(&world.connvault(&["status"]).await).contains("with the same records"));
}

/// The file that the provider sends for the day that begins at `start`.
async fn export_of(world: &World, clock: &TestClock, start: Timestamp) -> Bytes {
    let mut settings = world.settings.clone();
    settings.state = "another".to_owned();
    settings.start = start;
    settings.streams = vec!["another".to_owned()];
    let session = begin(&world.config_of(&settings), clock).await.unwrap();
    reconcile(&session, clock, 1, clock.now()).await;
    session.end().await;
    let data = world.archive_of("another").await.data;
    let stamp = start.strftime("%Y%m%dT%H%M%SZ").to_string();
    data.iter().find(|(key, _)| key.contains(&format!("/{stamp}_"))).unwrap().1.clone().into()
}

/// A store in which an earlier version, which could not read them, archived these bytes as the export of the first window.
async fn archived_unread_by_an_earlier_version(
    world: &World,
    clock: &TestClock,
    file: &Bytes,
    counted: Option<u64>,
) {
    let session = begin(&world.config(), clock).await.unwrap();
    let (name, stream) = session.services.roster.streams().pop_first().unwrap();
    let key = DataKey::new(first(world), Revision::FIRST, Format::Bin);
    stream.locks.put(&key.in_stream(&name), &Content::Bytes(file.clone()), &Lock::NONE).await.unwrap();
    let bounds = Bounds::around(first(world), SignedDuration::from_mins(1));
    let body = EntryBody::Archived(Box::new(Archived {
        window: first(world),
        revision: Revision::FIRST,
        object: StoredObject {
            key,
            version_id: None,
            bytes: file.len() as u64,
            sha256: Sha256::of(file),
            md5: None,
            etag: None,
            format: Format::Bin,
            rows: None,
            content_digest: None,
        },
        export: ExportFacts {
            counted: counted.map(|rows| Counted { before: rows, after: rows }),
            unread: Some("it is a table of a later kind".into()),
            ..ExportFacts::new(ExportApi::V2, bounds, clock.now())
        },
        supersedes: None,
        orphans: Vec::new(),
    }));
    assert!(matches!(stream.log.append(body, None).await.unwrap(), Appended::Committed(_)));
    session.end().await;
}

#[tokio::test]
async fn what_was_archived_unread_is_read_again_by_a_version_that_can() {
    let clock = TestClock::at(&SystemClock.now().to_string());
    let world = World::now(Place::directory(), 2).await;
    let none = world.connvault(&["reread"]).await;
    assert_eq!(none.status.code(), Some(0), "{}", said(&none));
    assert!(said(&none).contains("nothing is archived unread"), "{}", said(&none));
    let file = export_of(&world, &clock, world.windows[0].parse().unwrap()).await;
    let rows = world.archive_of("another").await.of_kind("archived")[0]["object"]["rows"].as_u64().unwrap();
    archived_unread_by_an_earlier_version(&world, &clock, &file, Some(rows)).await;
    let verified = world.connvault(&["verify", "--stream", "logins"]).await;
    assert!(said(&verified).contains("archived unread"), "{}", said(&verified));

    let window = first(&world).to_string();
    let output = world.connvault(&["reread", "logins", &window, "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&json["read"][0]["rows"], &json["read"][0]["count"]),
        (&rows.into(), &"matched".into()),
        "{json}"
    );
    let archive = world.archive().await;
    let [inspected] = &archive.of_kind("inspected")[..] else { panic!("{:?}", archive.entries) };
    let [entry] = &entries(&world).await[..] else { panic!("not archived once") };
    assert_eq!(
        (&inspected["rows"], &inspected["object_format"], &inspected["revision"]),
        (&rows.into(), &"xlsx".into(), &1.into())
    );
    assert_eq!(inspected["sha256"], entry["object"]["sha256"]);
    assert_eq!(inspected["counted"], entry["export"]["counted"]);
    assert!(
        inspected["content_digest"].is_string() && inspected["records"]["first"].is_string(),
        "{inspected}"
    );

    // It counts as read, also after the ledger is lost, and nothing is left to be read.
    world.lose_state();
    for arguments in
        [&["once"][..], &["gaps"], &["reread"], &["verify", "--level", "bytes"], &["rebuild"], &["gaps"]]
    {
        let output = world.connvault(arguments).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
    }
    let verified = said(&world.connvault(&["verify", "--stream", "logins"]).await);
    assert!(
        verified.contains("read later, by entries") && !verified.contains("until somebody can read"),
        "{verified}"
    );
    assert_eq!(world.archive().await.of_kind("inspected").len(), 1);
}

#[tokio::test]
async fn what_cannot_be_read_again_stays_unread_and_says_why() {
    let clock = TestClock::at(&SystemClock.now().to_string());
    let world = World::now(Place::directory(), 1).await;
    archived_unread_by_an_earlier_version(&world, &clock, &odd(UNREADABLE), Some(20)).await;
    let output = world.connvault(&["reread"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("still unread: the file came whole"), "{}", said(&output));
    // An object that is not the one that was archived is not believed.
    let key = world.archive().await.data.keys().next().unwrap().clone();
    let Place::Directory(folder) = &world.place else { unreachable!() };
    std::fs::write(folder.path().join("logins").join(&key), "User,Age\nli,7\n").unwrap();
    let output = world.connvault(&["reread", "--json"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("has SHA-256"), "{}", said(&output));
    for wrong in [&["reread", "nobody"][..], &["reread", "logins", "20261122T000001Z_20261123T000000Z"]] {
        assert_eq!(world.connvault(wrong).await.status.code(), Some(2));
    }
}

#[tokio::test]
async fn a_session_that_was_open_gets_its_end_by_the_default_revisits() {
    let clock = tonight();
    let mut world = World::at(Place::directory(), &clock, 1).await;
    world.settings.stream = String::new();
    let start: Timestamp = world.windows[0].parse().unwrap();
    let mut record = Record::at(start + SignedDuration::from_hours(12), 991);
    record.connection_end_time = Some(start + SignedDuration::from_hours(40));
    world.sim.records().push(record);
    let mut endless = Record::at(start + SignedDuration::from_hours(13), 992);
    endless.connection_end_time = None;
    world.sim.records().push(endless);
    run(&world, &clock, 1).await;
    let [entry] = &entries(&world).await[..] else { panic!("not archived once") };
    let open = entry["export"]["open_records"].as_u64().unwrap();
    run(&world, &clock, 3 * 24).await;
    let [_, revision] = &entries(&world).await[..] else { panic!("not completed") };
    let still_open = revision["export"]["open_records"].as_u64().unwrap();
    assert!(0 < still_open && still_open < open, "{open} and then {still_open}");
    let follows = &revision["supersedes"];
    assert_eq!(
        (&follows["rows_added"], &follows["rows_changed"]),
        (&0.into(), &(open - still_open).into()),
        "{follows}"
    );
    let never_ended = async || {
        let session = begin(&world.config(), &clock).await.unwrap();
        let (rules, now) = (session.services.roster.rules(), clock.now());
        let snapshot = session.services.ledger.snapshot().await.unwrap();
        session.end().await;
        summarize(&rules, &snapshot, now)[0].never_ended
    };
    assert!(never_ended().await.is_none(), "it may still end");
    run(&world, &clock, 23 * 24).await;
    assert_eq!(entries(&world).await.len(), 2);
    assert_eq!(never_ended().await.newest, Some(first(&world)));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_odd_file_is_parked_with_no_byte_kept() {
    let folder = format!("{}/tests/fixtures/odd-files", env!("CARGO_MANIFEST_DIR"));
    let names =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names.collect();
    let clock = tonight();
    let world = World::at(Place::directory(), &clock, u32::try_from(names.len()).unwrap()).await;
    for (name, window) in names.iter().zip(&world.windows) {
        let records = match &name[..3] {
            "c22" => 500,
            "c26" | "x37" => 0,
            _ => 3,
        };
        let count = Bytes::from(format!("{{\"total_count\": {records}, \"records\": []}}"));
        let start = asked(window.parse().unwrap());
        for (endpoint, body) in [(Endpoint::Export, odd(name)), (Endpoint::Query, count)] {
            world.sim.faults().add(Rule::new(Fault::Body(body)).on(endpoint).for_start_time(&start));
        }
    }
    let ran = run(&world, &clock, 2).await;
    assert_eq!(ran.tally.archived, names.len() as u64, "{:?}", ran.endings);
    let archive = world.archive().await;
    let entries: BTreeMap<_, _> = archive
        .of_kind("archived")
        .into_iter()
        .map(|entry| (entry["window"]["start"].as_str().unwrap(), entry))
        .collect();
    for (name, window) in names.iter().zip(&world.windows) {
        let entry = entries[window.as_str()];
        let (object, export) = (&entry["object"], &entry["export"]);
        assert_eq!(archive.data[object["key"].as_str().unwrap()], odd(name), "{name}");
        match unread_reason(entry) {
            "" => assert_eq!(
                (&object["rows"], &export["count_mismatch"]),
                (&export["counted"]["after"], &Value::Null),
                "{name}"
            ),
            _ => assert!(object.get("rows").is_none() && object["format"] == "bin", "{name}: {object}"),
        }
        // These are made to be unreadable; of others this reader may learn more.
        let is_unreadable = matches!(&name[..3], "x32" | "x44" | "x45");
        assert!(!is_unreadable || !unread_reason(entry).is_empty(), "{name}: {entry}");
    }
}
