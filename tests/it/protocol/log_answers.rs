//! A store that gives wrong answers about the log: changed bytes, old lists, objects that are shown late. Nothing false is
//! believed, no loop runs without a pause, and a good log is not taken for a damaged one.

use std::sync::Arc;

use connvault::adapters::signature::SigningKey;
use connvault::app::log_reader::{LogReader, READ_LIMIT};
use connvault::app::object_locks::ObjectLocks;
use connvault::app::signing::Signing;
use connvault::app::stream_log::{Appended, StreamLog};
use connvault::domain::failure::{FailureKind, Scope};
use connvault::domain::lock::{Lock, LockPolicy};
use connvault::domain::log_entry::{Definition, EntryBody, LARGEST_ENTRY, Lost, Writer};
use connvault::domain::name::StreamName;
use connvault::domain::object_key::{KeyPrefix, ObjectKey, Seq, log_prefix};
use connvault::ports::checkpoint::NoCheckpoint;
use connvault::ports::ledger::Ledger;
use connvault::ports::object_store::{
    Content, CreateOnly, ObjectBody, ObjectMeta, ObjectStore, PutOutcome, StoreError,
};

use super::{clock, later_today};
use crate::support::clock::TestClock;
use crate::support::faulty_store::{Call, FaultyStore};
use crate::support::inside::{begin, reconcile, with_faults};
use crate::support::ledger::OwnLedger;
use crate::support::place::Place;
use crate::support::vault::signing_key;
use crate::support::world::{Settings, World};

/// An archive, and the store that it lies in, which gives wrong answers when told to.
struct Archived {
    world: World,
    clock: TestClock,
    store: FaultyStore,
    definition: Definition,
}

impl Archived {
    async fn days(days: u32) -> Self {
        let clock = clock();
        let world = World::at(Place::directory(), &clock, days).await;
        let session = begin(&world.config(), &clock).await.unwrap();
        let stream = session.services.roster.streams().pop_first().unwrap().1;
        assert_eq!(reconcile(&session, &clock, 4, later_today()).await.tally.archived, u64::from(days));
        let (store, definition) = (FaultyStore::new(Arc::clone(&stream.store)), stream.definition.clone());
        session.end().await;
        Self { world, clock, store, definition }
    }

    /// The log, read by somebody who knows nothing yet.
    async fn reader(&self, signing: Option<Arc<Signing>>) -> (StreamLog, OwnLedger) {
        let ledger = OwnLedger::open().await;
        let store: Arc<dyn ObjectStore> = Arc::new(self.store.clone());
        let locks = ObjectLocks::new(store, "archive".parse().unwrap(), LockPolicy::default());
        let log = StreamLog::new(
            stream(),
            Arc::new(locks),
            Arc::new(ledger.ledger.clone()),
            self.clock.confirmed(),
            Arc::new(NoCheckpoint),
            Writer {
                version: "0.0.0".to_owned(),
                host: "test".to_owned(),
                key_fingerprint: signing.as_ref().map(|signing| signing.key.fingerprint()),
            },
            signing,
        );
        (log, ledger)
    }
}

fn stream() -> StreamName {
    "logins".parse().unwrap()
}

async fn head(ledger: &OwnLedger) -> u64 {
    ledger.ledger.stream(&stream()).await.unwrap().map_or(0, |state| state.head.seq.get())
}

/// An entry that says that a window long ago is lost.
fn lost() -> EntryBody {
    lost_for("a test")
}

fn lost_for(reason: &str) -> EntryBody {
    let window = super::day("2026-10-01T00:00:00Z");
    EntryBody::Lost(Lost { window, reason: reason.into(), last_attempt: None })
}

fn signing() -> Option<Arc<Signing>> {
    let key = SigningKey::parse(&signing_key().into()).unwrap();
    Some(Arc::new(Signing::new(key, None).unwrap()))
}

#[tokio::test]
async fn a_wrong_reading_of_the_newest_entry_neither_holds_a_good_log_nor_forks_it() {
    let archived = Archived::days(2).await;
    for seq in 3..=9 {
        let (log, ledger) = archived.reader(None).await;
        // Each wrong answer is wrong in another place.
        archived.store.wrong_reads(&format!("{seq:012}.json"), 1, 1);
        log.open(&archived.definition).await.unwrap();
        assert_eq!(head(&ledger).await, seq);
        assert!(matches!(log.append(lost(), None).await.unwrap(), Appended::Committed(_)));
        assert_eq!(archived.world.archive().await.entries.len() as u64, seq + 1);
    }
    assert_eq!(archived.store.lies(), 7);
}

#[tokio::test]
async fn a_log_is_read_right_from_a_store_that_answers_one_read_in_a_few_wrongly() {
    let archived = Archived::days(12).await;
    archived.store.wrong_reads("/log/", 5, usize::MAX);
    for _ in 0..20 {
        let (log, ledger) = archived.reader(None).await;
        // Five readings that are nearly all wrong prove nothing, and are no damage: it is read again later.
        while let Err(failure) = log.open(&archived.definition).await {
            assert_eq!(failure.kind, FailureKind::Transient, "{failure:?}");
        }
        assert_eq!(head(&ledger).await, 13);
        let windows = ledger.ledger.snapshot().await.unwrap().windows[&stream()].len();
        assert_eq!(windows, 12);
    }
    assert!(archived.store.lies() > 40, "{}", archived.store.lies());
}

#[tokio::test]
async fn what_two_readings_agree_on_is_damage() {
    let archived = Archived::days(3).await;
    let Place::Directory(folder) = &archived.world.place else { unreachable!() };
    let path = folder.path().join("logins/log/000000000003.json");
    let text = std::fs::read_to_string(&path).unwrap().replace("\"kind\"", "\"kinb\"");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, text).unwrap();
    let (log, _ledger) = archived.reader(None).await;
    let failure = log.open(&archived.definition).await.unwrap_err();
    assert_eq!((failure.kind, failure.scope), (FailureKind::Damaged, Scope::Stream), "{failure:?}");
    assert!(failure.message.contains("000000000003.json"), "{failure:?}");
}

#[tokio::test]
async fn an_old_list_hides_no_entry_and_costs_no_put() {
    let archived = Archived::days(2).await;
    let (log, ledger) = archived.reader(signing()).await;
    log.open(&archived.definition).await.unwrap();
    archived.store.freeze_lists(&log_prefix(&stream())).await;
    // Somebody else goes on, and the list does not show it.
    let (other, _other_ledger) = archived.reader(signing()).await;
    other.open(&archived.definition).await.unwrap();
    for _ in 0..5 {
        assert!(matches!(other.append(lost_for("others"), None).await.unwrap(), Appended::Committed(_)));
    }
    let before = archived.store.calls(Call::Put);
    assert!(matches!(log.append(lost(), None).await.unwrap(), Appended::Overtaken));
    assert_eq!(head(&ledger).await, 8);
    assert!(archived.store.calls(Call::Put) <= before + 2, "a signature and an entry, once");
    assert!(matches!(log.append(lost(), None).await.unwrap(), Appended::Committed(_)));
}

#[tokio::test]
async fn a_place_that_is_taken_and_not_shown_is_a_failure_with_a_pause_and_gets_one_signature() {
    let archived = Archived::days(1).await;
    let (log, _ledger) = archived.reader(signing()).await;
    log.open(&archived.definition).await.unwrap();
    let (other, _other_ledger) = archived.reader(signing()).await;
    other.open(&archived.definition).await.unwrap();
    other.append(lost_for("others"), None).await.unwrap();
    archived.store.hide("000000000003.json", usize::MAX);
    let before = archived.store.calls(Call::Put);
    let failure = log.append(lost(), None).await.unwrap_err();
    assert_eq!((failure.kind, failure.scope), (FailureKind::Transient, Scope::Stream), "{failure:?}");
    assert_eq!(archived.store.calls(Call::Put), before + 2);
}

#[tokio::test]
async fn an_entry_that_is_shown_late_is_waited_for() {
    let archived = Archived::days(1).await;
    let (log, ledger) = archived.reader(signing()).await;
    log.open(&archived.definition).await.unwrap();
    archived.store.hide("000000000003.", 2);
    assert!(matches!(log.append(lost(), None).await.unwrap(), Appended::Committed(_)));
    assert_eq!(head(&ledger).await, 3);
    // The same for the newest entry that a ledger knows, and for one that a list shows already.
    archived.store.hide("000000000003.json", 2);
    log.open(&archived.definition).await.unwrap();
    let (late, late_ledger) = archived.reader(signing()).await;
    archived.store.hide("000000000002.json", 2);
    late.open(&archived.definition).await.unwrap();
    assert_eq!(head(&late_ledger).await, 3);
}

#[tokio::test]
async fn an_entry_that_a_list_leaves_out_of_the_middle_is_asked_for_by_its_key() {
    let archived = Archived::days(4).await;
    // The list of a moment between two puts that were made out of order, by a store that shows keys late.
    archived.store.leave_out_of_lists("000000000003.json");
    let (log, ledger) = archived.reader(None).await;
    log.open(&archived.definition).await.unwrap();
    assert_eq!(head(&ledger).await, 5);
}

#[tokio::test]
async fn an_entry_of_more_than_64_kib_is_a_failure_of_its_window_and_is_never_put() {
    let archived = Archived::days(1).await;
    let (log, _ledger) = archived.reader(signing()).await;
    log.open(&archived.definition).await.unwrap();
    let entry: connvault::domain::log_entry::LogEntry =
        serde_json::from_value(archived.world.archive().await.of_kind("archived")[0].clone()).unwrap();
    let EntryBody::Archived(mut body) = entry.body else { panic!("{entry:?}") };
    let orphan = connvault::domain::log_entry::Orphan {
        key: body.object.key.clone(),
        bytes: 1,
        sha256: body.object.sha256,
    };
    body.orphans = vec![orphan; LARGEST_ENTRY / 100];
    let before = archived.store.calls(Call::Put);
    let failure = log.append(EntryBody::Archived(body), None).await.unwrap_err();
    assert_eq!((failure.kind, failure.scope), (FailureKind::Rejected, Scope::Window), "{failure:?}");
    assert_eq!(archived.store.calls(Call::Put), before);
    assert!(matches!(log.append(lost(), None).await.unwrap(), Appended::Committed(_)));
}

#[tokio::test]
async fn two_daemons_with_old_lists_archive_all_once_with_few_puts() {
    let clock = clock();
    let world = World::at(Place::directory(), &clock, 6).await;
    let other = Settings { state: "other".to_owned(), ..world.settings.clone() };
    let one = begin(&world.config(), &clock).await.unwrap();
    let two = begin(&world.config_of(&other), &clock).await.unwrap();
    let stores = [with_faults(&one), with_faults(&two)];
    for store in &stores {
        store.freeze_lists(&log_prefix(&stream())).await;
    }
    let (first, second) =
        tokio::join!(reconcile(&one, &clock, 4, later_today()), reconcile(&two, &clock, 4, later_today()));
    assert_eq!(first.tally.archived + second.tally.archived, 6, "{:#?} {:#?}", first.endings, second.endings);
    let archive = world.archive().await;
    assert_eq!(archive.archived(), world.windows);
    let puts: usize = stores.iter().map(|store| store.calls(Call::Put)).sum();
    assert!(puts <= 4 * 6 * 2, "{puts} puts for six windows");
    one.end().await;
    two.end().await;
}

/// A store that sends more than it promises, and never ends.
struct Endless(Arc<std::sync::atomic::AtomicUsize>);

#[async_trait::async_trait]
impl ObjectStore for Endless {
    async fn prove(&self) -> Result<CreateOnly, StoreError> {
        unreachable!()
    }

    async fn put_if_absent(&self, _: &ObjectKey, _: &Content, _: &Lock) -> Result<PutOutcome, StoreError> {
        unreachable!()
    }

    async fn head(&self, _: &ObjectKey) -> Result<Option<ObjectMeta>, StoreError> {
        unreachable!()
    }

    async fn get(&self, _: &ObjectKey) -> Result<Option<ObjectBody>, StoreError> {
        let meta = ObjectMeta { bytes: 10, md5: None, version_id: None, lock: None };
        let sent = Arc::clone(&self.0);
        let chunks = futures_util::stream::repeat_with(move || {
            sent.fetch_add(1 << 16, std::sync::atomic::Ordering::Relaxed);
            Ok(bytes::Bytes::from_static(&[b' '; 1 << 16]))
        });
        Ok(Some(ObjectBody { meta, bytes: futures_util::StreamExt::boxed(chunks) }))
    }

    fn list(
        &self,
        _: &KeyPrefix,
        _: Option<&ObjectKey>,
    ) -> futures_util::stream::BoxStream<'_, Result<ObjectKey, StoreError>> {
        unreachable!()
    }
}

#[tokio::test]
async fn the_limit_holds_for_what_arrives_and_not_for_what_is_promised() {
    let sent = Arc::default();
    let reader = LogReader::new(stream(), Arc::new(Endless(Arc::clone(&sent))));
    let key = connvault::domain::object_key::log_key(&stream(), Seq::FIRST);
    let reading = reader.agreed(&key, None, None).await.unwrap().unwrap();
    assert!(reading.is_too_large());
    assert_eq!(reading.bytes().len(), READ_LIMIT + 1);
    let sent = sent.load(std::sync::atomic::Ordering::Relaxed);
    assert!(sent <= 2 * (READ_LIMIT + (1 << 17)), "{sent} bytes were read");
}
