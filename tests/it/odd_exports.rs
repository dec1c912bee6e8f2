//! Exports that hold no table, exports that may hold records all the same, and a reader that fails on a file.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use connvault::adapters::inspect::{Delta, InspectError, Inspection, Inspector, Reader};
use connvault::adapters::system_clock::SystemClock;
use connvault::app::compose::Injected;
use connvault::app::session::Session;
use connvault::config::{Config, Secrets};
use connvault::domain::object_key::Seq;
use connvault::domain::snapshot::AcknowledgeRequest;
use connvault::ports::clock::Clock;
use connvault_sim::{Endpoint, Fault, Rule};
use jiff::{SignedDuration, Timestamp};

use crate::support::inside::{begin, rebuild, reconcile, verdicts};
use crate::support::world::{World, said};
use crate::unread::{
    OTHER_UNREADABLE, UNREADABLE, asked, entries, first, meets, odd, run, unread_reason, world,
};

fn body(text: &'static str) -> Fault {
    Fault::Body(Bytes::from_static(text.as_bytes()))
}

/// A workbook of one sheet with one cell.
fn title(text: &str) -> Bytes {
    let mut workbook = rust_xlsxwriter::Workbook::new();
    workbook.add_worksheet().write_string(0, 0, text).unwrap();
    workbook.save_to_buffer().unwrap().into()
}

/// From now on the provider counts no records of the first day.
fn counts_none(world: &World) {
    let start: Timestamp = world.windows[0].parse().unwrap();
    let none = Rule::new(Fault::OmitRecords { records: 1000 }).on(Endpoint::Query);
    world.sim.faults().add(none.for_start_time(asked(start)));
}

#[tokio::test]
async fn an_export_of_words_and_no_table_has_no_records_where_the_counts_say_so() {
    let sheet = title("Connection records");
    for (fault, bytes) in [
        (body("No data\n"), Bytes::from_static(b"No data\n")),
        (body("Connection records\nA,B\n"), Bytes::from_static(b"Connection records\nA,B\n")),
        (body("[]"), Bytes::from_static(b"[]")),
        (Fault::Body(sheet.clone()), sheet),
    ] {
        let (world, clock) = world(2, fault.clone()).await;
        counts_none(&world);
        let ran = run(&world, &clock, 1).await;
        assert_eq!((ran.tally.archived, ran.tally.failed), (2, 0), "{fault:?}");
        let [entry] = &entries(&world).await[..] else { panic!("{fault:?}: not archived once") };
        assert_eq!((&entry["object"]["rows"], unread_reason(entry)), (&0.into(), ""), "{entry}");
        let key = entry["object"]["key"].as_str().unwrap();
        assert_eq!(world.archive().await.data[key], bytes);
        for arguments in [&["gaps"][..], &["verify", "--level", "bytes"], &["rebuild"], &["gaps"]] {
            let output = world.connvault(arguments).await;
            assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
        }
    }
}

#[tokio::test]
async fn a_text_that_may_hold_records_is_kept_at_the_third_pull_and_a_message_is_not() {
    for (text, kept) in [
        ("user1\nuser2\nuser3\n", 1),
        ("Users\nuser1\n", 1),
        ("Please sign in\n", 0),
        ("Service Unavailable\n", 0),
        ("Internal Server Error\nrequest 4711\n", 0),
        ("{\"error_code\":\"WKS.1\",\"error_msg\":\"x\"}", 0),
        ("<html></html>", 0),
    ] {
        let (world, clock) = world(2, body(text)).await;
        let ran = run(&world, &clock, 1).await;
        assert_eq!((ran.tally.archived, ran.tally.failed), (1 + kept, 3 - kept), "{text:?}");
        let entries = entries(&world).await;
        assert_eq!(entries.len() as u64, kept, "{text:?}");
        assert!(entries.iter().all(|entry| !unread_reason(entry).is_empty()), "{text:?}: {entries:#?}");
    }
}

#[tokio::test]
async fn a_message_of_an_error_is_no_export_without_records_whatever_the_counts_say() {
    for text in ["Service Unavailable\n", "{\"error_code\":\"WKS.1\",\"error_msg\":\"x\"}", "<html></html>"] {
        let (world, clock) = world(2, body(text)).await;
        counts_none(&world);
        let ran = run(&world, &clock, 1).await;
        assert_eq!((ran.tally.archived, entries(&world).await.len()), (1, 0), "{text:?}");
    }
}

#[tokio::test]
async fn what_was_kept_as_a_possible_message_is_not_believed_when_it_is_read_again() {
    for text in ["Internal fault, come back later\n", "Internal fault, come back later\nrequest: 5, node 7\n"]
    {
        let (world, clock) = world(1, body(text)).await;
        world.sim.faults().add(Rule::new(Fault::status(403)).on(Endpoint::Query));
        run(&world, &clock, 2).await;
        assert_eq!(entries(&world).await.len(), 1, "{text:?}");
        // The provider's clock is the test's, and the program's is the machine's.
        clock.set(SystemClock.now());
        let output = world.connvault(&["reread"]).await;
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        assert_eq!(world.archive().await.of_kind("inspected").len(), 0, "{text:?}");
    }
}

#[tokio::test]
async fn an_acknowledged_window_stays_so_when_other_bytes_come_that_cannot_be_read_either() {
    let (mut world, clock) = world(1, Fault::Body(odd(UNREADABLE))).await;
    world.settings.stream = "revisit = [\"2d\", \"3d\"]\n".to_owned();
    run(&world, &clock, 1).await;
    let [entry] = &entries(&world).await[..] else { panic!("not archived once") };
    let request = AcknowledgeRequest {
        entry: entry["seq"].as_u64().and_then(Seq::new).unwrap(),
        by: "Ada".into(),
        reason: "known".into(),
    };
    let acknowledged = async |request: Option<AcknowledgeRequest>| {
        let session = begin(&world.config(), &clock).await.unwrap();
        let requests: Vec<_> = request.into_iter().map(|request| (first(&world), request)).collect();
        session.services.ledger.ask_to_acknowledge(&"logins".parse().unwrap(), &requests).await.unwrap();
        reconcile(&session, &clock, 1, clock.now()).await;
        let judged = verdicts(&session).await;
        session.end().await;
        judged.iter().find(|judged| judged.window == first(&world)).unwrap().acknowledged.is_some()
    };
    assert!(!acknowledged(None).await);
    assert!(acknowledged(Some(request)).await);
    meets(&world, Fault::Body(odd(OTHER_UNREADABLE)));
    run(&world, &clock, 48).await;
    assert_eq!(entries(&world).await.len(), 2, "other bytes are no revision");
    assert!(acknowledged(None).await);
    world.lose_state();
    rebuild(&world.config(), &clock).await;
    assert!(acknowledged(None).await, "after a rebuild");
}

/// Panics on files that begin with `Poison`.
#[derive(Debug)]
struct Fragile;

impl Inspector for Fragile {
    fn inspect(
        &self,
        path: &Path,
        scratch: &Path,
        stop: &dyn Fn() -> bool,
    ) -> Result<Inspection, InspectError> {
        assert!(!std::fs::read(path).unwrap().starts_with(b"Poison"), "this reader fails on it");
        Reader.inspect(path, scratch, stop)
    }

    fn delta(
        &self,
        older: &Path,
        newer: &Path,
        scratch: &Path,
        stop: &dyn Fn() -> bool,
    ) -> Result<Delta, InspectError> {
        Reader.delta(older, newer, scratch, stop)
    }
}

#[tokio::test]
async fn a_panic_in_the_reader_is_that_windows_failure_and_the_bytes_are_kept() {
    let (world, clock) = world(3, body("Poison,b\n1,2\n")).await;
    let config = Config::load(&world.config(), std::iter::empty(), Secrets::all(None)).unwrap();
    let inspector = Arc::new(Fragile);
    let injected = Injected { clock: Arc::new(clock.clone()), inspector, ..Injected::default() };
    let session = Session::begin(&config, &injected).await.unwrap();
    let ran = reconcile(&session, &clock, 1, clock.now() + SignedDuration::from_hours(1)).await;
    session.end().await;
    // The other windows are archived, nothing is on hold, and the third try keeps the bytes as they came.
    assert_eq!((ran.tally.archived, ran.tally.failed), (3, 2), "{:?}", ran.endings);
    let [entry] = &entries(&world).await[..] else { panic!("the bytes are not kept") };
    assert!(unread_reason(entry).contains("panicked"), "{entry}");
    // A reader without the fault reads them.
    assert_eq!(world.connvault(&["gaps"]).await.status.code(), Some(3));
}
