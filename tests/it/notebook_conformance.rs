//! What every notebook of sources must do, whatever it is made of: one suite over `dyn Notebook`, run for each adapter.
//!
//! Another adapter joins by implementing [`Adapter`] and one more line of `conformance!`.

use std::sync::Arc;

use connvault::domain::digest::Sha256;
use connvault::domain::export::Bounds;
use connvault::domain::snapshot::Note;
use connvault::domain::window::Window;
use connvault::ports::ledger::Ledger;
use connvault::ports::notebook::{Notebook, OrderId, OrderNumber, OrderState, Standing, Subject};
use jiff::{SignedDuration, Timestamp};

use crate::support::ledger::OwnLedger;

/// A notebook of a test's own.
trait Adapter: Sized {
    /// A new one that knows nothing.
    async fn open() -> Self;
    fn notebook(&self) -> Arc<dyn Notebook>;
    /// Closes it and opens it again.
    async fn reopen(self) -> Self;
}

const TOPIC: &str = "v2_withdrawn";

type Sqlite = OwnLedger;

impl Adapter for Sqlite {
    async fn open() -> Self {
        Self::open().await
    }

    fn notebook(&self) -> Arc<dyn Notebook> {
        Arc::new(self.ledger.clone())
    }

    async fn reopen(self) -> Self {
        self.reopen().await
    }
}

macro_rules! conformance {
    ($adapter:ident: $($case:ident,)*) => {
        mod conformance {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case::<super::$adapter>().await;
                }
            )*
        }
    };
}

conformance! { Sqlite:
    an_order_stands_from_the_moment_its_id_is_known_until_it_is_finished,
    of_several_orders_for_a_subject_the_last_one_stands,
    a_subject_that_differs_in_anything_has_no_order,
    what_is_discarded_is_all_that_stands_for_the_subject_and_nothing_else,
    a_note_is_news_once_and_keeps_its_first_words,
    a_note_that_is_erased_can_be_news_again,
    everything_is_kept_when_it_is_closed,
}

fn now() -> Timestamp {
    "2026-11-23T02:00:00Z".parse().unwrap()
}

fn subject(day: i64) -> Subject {
    let start = "2026-11-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(24 * day);
    let end = start + SignedDuration::from_hours(24);
    Subject {
        source: "hq".parse().unwrap(),
        stream: "logins".parse().unwrap(),
        window: Window::new(start, end).unwrap(),
        bounds: Bounds { start, end },
        definition: Sha256::of(b"definition"),
    }
}

fn id(text: &str) -> OrderId {
    text.parse().unwrap()
}

fn wanted(number: OrderNumber, task: &str) -> Standing {
    Standing { number, id: id(task), asked_at: now() }
}

async fn created(notebook: &dyn Notebook, pull: &Subject, task: &str) -> OrderNumber {
    let number = notebook.ask(pull, now()).await.unwrap();
    notebook.created(number, &id(task)).await.unwrap();
    number
}

async fn states(notebook: &dyn Notebook) -> Vec<OrderState> {
    notebook.orders().await.unwrap().into_iter().map(|order| order.state).collect()
}

async fn an_order_stands_from_the_moment_its_id_is_known_until_it_is_finished<A: Adapter>() {
    let adapter = A::open().await;
    let notebook = adapter.notebook();
    let number = notebook.ask(&subject(1), now()).await.unwrap();
    assert_eq!(notebook.standing(&subject(1)).await.unwrap(), None);
    notebook.created(number, &id("t1")).await.unwrap();
    assert_eq!(notebook.standing(&subject(1)).await.unwrap(), Some(wanted(number, "t1")));
    notebook.finished(number).await.unwrap();
    assert_eq!(notebook.standing(&subject(1)).await.unwrap(), None);
    assert_eq!(states(&*notebook).await, [OrderState::Finished(id("t1"))], "it is still to be deleted");
    notebook.gone(number).await.unwrap();
    assert_eq!(notebook.orders().await.unwrap(), []);
}

async fn of_several_orders_for_a_subject_the_last_one_stands<A: Adapter>() {
    let adapter = A::open().await;
    let notebook = adapter.notebook();
    created(&*notebook, &subject(1), "t1").await;
    let last = created(&*notebook, &subject(1), "t2").await;
    assert_eq!(notebook.standing(&subject(1)).await.unwrap(), Some(wanted(last, "t2")));
}

async fn a_subject_that_differs_in_anything_has_no_order<A: Adapter>() {
    let adapter = A::open().await;
    let notebook = adapter.notebook();
    created(&*notebook, &subject(1), "t1").await;
    let later =
        Bounds { start: subject(1).bounds.start, end: subject(1).bounds.end + SignedDuration::from_mins(1) };
    let others = [
        subject(2),
        Subject { source: "branch".parse().unwrap(), ..subject(1) },
        Subject { stream: "others".parse().unwrap(), ..subject(1) },
        Subject { bounds: later, ..subject(1) },
        Subject { definition: Sha256::of(b"another"), ..subject(1) },
    ];
    for other in others {
        assert_eq!(notebook.standing(&other).await.unwrap(), None, "{other:?}");
    }
}

async fn what_is_discarded_is_all_that_stands_for_the_subject_and_nothing_else<A: Adapter>() {
    let adapter = A::open().await;
    let notebook = adapter.notebook();
    created(&*notebook, &subject(1), "t1").await;
    created(&*notebook, &subject(1), "t2").await;
    created(&*notebook, &subject(2), "t3").await;
    notebook.ask(&subject(1), now()).await.unwrap();
    notebook.discard(&subject(1)).await.unwrap();
    let (finished, created) = (OrderState::Finished, OrderState::Created);
    let expected = [finished(id("t1")), finished(id("t2")), created(id("t3")), OrderState::Asked];
    assert_eq!(states(&*notebook).await, expected);
}

async fn a_note_is_news_once_and_keeps_its_first_words<A: Adapter>() {
    let adapter = A::open().await;
    let notebook = adapter.notebook();
    let hq = "hq".parse().unwrap();
    assert_eq!(notebook.noted(&hq, TOPIC).await.unwrap(), None);
    let first = Note { at: now(), reason: "404".into() };
    let second = Note { at: now() + SignedDuration::from_mins(1), reason: "410".into() };
    assert!(notebook.note(&hq, TOPIC, &first).await.unwrap());
    assert!(!notebook.note(&hq, TOPIC, &second).await.unwrap());
    assert_eq!(notebook.noted(&hq, TOPIC).await.unwrap(), Some(first));
    assert_eq!(notebook.noted(&"branch".parse().unwrap(), TOPIC).await.unwrap(), None);
}

async fn a_note_that_is_erased_can_be_news_again<A: Adapter>() {
    let adapter = A::open().await;
    let notebook = adapter.notebook();
    let (hq, branch) = ("hq".parse().unwrap(), "branch".parse().unwrap());
    let note = Note { at: now(), reason: "404".into() };
    notebook.note(&hq, TOPIC, &note).await.unwrap();
    notebook.note(&branch, TOPIC, &note).await.unwrap();
    assert!(notebook.erase(&hq, TOPIC).await.unwrap());
    assert!(!notebook.erase(&hq, TOPIC).await.unwrap());
    assert_eq!(notebook.noted(&hq, TOPIC).await.unwrap(), None);
    assert_eq!(notebook.noted(&branch, TOPIC).await.unwrap(), Some(note.clone()));
    assert!(notebook.note(&hq, TOPIC, &note).await.unwrap());
}

async fn everything_is_kept_when_it_is_closed<A: Adapter>() {
    let adapter = A::open().await;
    let notebook = adapter.notebook();
    let hq = "hq".parse().unwrap();
    created(&*notebook, &subject(1), "t1").await;
    notebook.note(&hq, TOPIC, &Note { at: now(), reason: "404".into() }).await.unwrap();
    let before = notebook.orders().await.unwrap();
    drop(notebook);
    let adapter = adapter.reopen().await;
    let notebook = adapter.notebook();
    assert_eq!(notebook.orders().await.unwrap(), before);
    assert!(notebook.noted(&hq, TOPIC).await.unwrap().is_some());
}

#[tokio::test]
async fn a_snapshot_shows_the_notes() {
    let sqlite = Sqlite::open().await;
    let hq = "hq".parse().unwrap();
    let note = Note { at: now(), reason: "404".into() };
    sqlite.ledger.note(&hq, TOPIC, &note).await.unwrap();
    assert_eq!(sqlite.ledger.snapshot().await.unwrap().notes[&hq][TOPIC], note);
}
