//! What every memory of sources must do, whatever it is made of: one suite over `dyn SourceMemory`, run for each adapter.
//!
//! Another adapter joins by implementing [`Adapter`] and one more line of `conformance!`.

use std::sync::Arc;

use connvault::domain::digest::Sha256;
use connvault::domain::export::Bounds;
use connvault::domain::export_task::{Pull, TaskId, TaskNumber, TaskState, Wanted};
use connvault::domain::snapshot::Withdrawal;
use connvault::domain::window::Window;
use connvault::ports::ledger::Ledger;
use connvault::ports::source_memory::SourceMemory;
use jiff::{SignedDuration, Timestamp};

use crate::support::ledger::OwnLedger;

/// A memory of a test's own.
trait Adapter: Sized {
    /// A new one that knows nothing.
    async fn open() -> Self;
    fn memory(&self) -> Arc<dyn SourceMemory>;
    /// Closes it and opens it again.
    async fn reopen(self) -> Self;
}

type Sqlite = OwnLedger;

impl Adapter for Sqlite {
    async fn open() -> Self {
        Self::open().await
    }

    fn memory(&self) -> Arc<dyn SourceMemory> {
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
    a_task_stands_from_the_moment_its_id_is_known_until_it_is_finished,
    of_several_tasks_for_a_pull_the_last_one_stands,
    a_pull_that_differs_in_anything_has_no_task,
    what_is_discarded_is_all_that_stands_for_the_pull_and_nothing_else,
    a_withdrawal_is_news_once_and_keeps_its_first_words,
    a_withdrawal_that_was_none_is_forgotten_and_can_be_news_again,
    everything_is_kept_when_it_is_closed,
}

fn now() -> Timestamp {
    "2026-11-23T02:00:00Z".parse().unwrap()
}

fn pull(day: i64) -> Pull {
    let start = "2026-11-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_hours(24 * day);
    let end = start + SignedDuration::from_hours(24);
    Pull {
        source: "hq".parse().unwrap(),
        stream: "logins".parse().unwrap(),
        window: Window::new(start, end).unwrap(),
        bounds: Bounds { start, end },
        definition: Sha256::of(b"definition"),
    }
}

fn id(text: &str) -> TaskId {
    text.parse().unwrap()
}

fn wanted(number: TaskNumber, task: &str) -> Wanted {
    Wanted { number, id: id(task), asked_at: now() }
}

async fn created(memory: &dyn SourceMemory, pull: &Pull, task: &str) -> TaskNumber {
    let number = memory.ask(pull, now()).await.unwrap();
    memory.created(number, &id(task)).await.unwrap();
    number
}

async fn states(memory: &dyn SourceMemory) -> Vec<TaskState> {
    memory.tasks().await.unwrap().into_iter().map(|task| task.state).collect()
}

async fn a_task_stands_from_the_moment_its_id_is_known_until_it_is_finished<A: Adapter>() {
    let adapter = A::open().await;
    let memory = adapter.memory();
    let number = memory.ask(&pull(1), now()).await.unwrap();
    assert_eq!(memory.standing(&pull(1)).await.unwrap(), None);
    memory.created(number, &id("t1")).await.unwrap();
    assert_eq!(memory.standing(&pull(1)).await.unwrap(), Some(wanted(number, "t1")));
    memory.finished(number).await.unwrap();
    assert_eq!(memory.standing(&pull(1)).await.unwrap(), None);
    assert_eq!(states(&*memory).await, [TaskState::Finished(id("t1"))], "it is still to be deleted");
    memory.gone(number).await.unwrap();
    assert_eq!(memory.tasks().await.unwrap(), []);
}

async fn of_several_tasks_for_a_pull_the_last_one_stands<A: Adapter>() {
    let adapter = A::open().await;
    let memory = adapter.memory();
    created(&*memory, &pull(1), "t1").await;
    let last = created(&*memory, &pull(1), "t2").await;
    assert_eq!(memory.standing(&pull(1)).await.unwrap(), Some(wanted(last, "t2")));
}

async fn a_pull_that_differs_in_anything_has_no_task<A: Adapter>() {
    let adapter = A::open().await;
    let memory = adapter.memory();
    created(&*memory, &pull(1), "t1").await;
    let later =
        Bounds { start: pull(1).bounds.start, end: pull(1).bounds.end + SignedDuration::from_mins(1) };
    let others = [
        pull(2),
        Pull { source: "branch".parse().unwrap(), ..pull(1) },
        Pull { stream: "others".parse().unwrap(), ..pull(1) },
        Pull { bounds: later, ..pull(1) },
        Pull { definition: Sha256::of(b"another"), ..pull(1) },
    ];
    for other in others {
        assert_eq!(memory.standing(&other).await.unwrap(), None, "{other:?}");
    }
}

async fn what_is_discarded_is_all_that_stands_for_the_pull_and_nothing_else<A: Adapter>() {
    let adapter = A::open().await;
    let memory = adapter.memory();
    created(&*memory, &pull(1), "t1").await;
    created(&*memory, &pull(1), "t2").await;
    created(&*memory, &pull(2), "t3").await;
    memory.ask(&pull(1), now()).await.unwrap();
    memory.discard(&pull(1)).await.unwrap();
    let (finished, created) = (TaskState::Finished, TaskState::Created);
    let expected = [finished(id("t1")), finished(id("t2")), created(id("t3")), TaskState::Asked];
    assert_eq!(states(&*memory).await, expected);
}

async fn a_withdrawal_is_news_once_and_keeps_its_first_words<A: Adapter>() {
    let adapter = A::open().await;
    let memory = adapter.memory();
    let hq = "hq".parse().unwrap();
    assert_eq!(memory.withdrawal(&hq).await.unwrap(), None);
    let first = Withdrawal { at: now(), reason: "404".into() };
    let second = Withdrawal { at: now() + SignedDuration::from_mins(1), reason: "410".into() };
    assert!(memory.withdrawn(&hq, &first).await.unwrap());
    assert!(!memory.withdrawn(&hq, &second).await.unwrap());
    assert_eq!(memory.withdrawal(&hq).await.unwrap(), Some(first));
    assert_eq!(memory.withdrawal(&"branch".parse().unwrap()).await.unwrap(), None);
}

async fn a_withdrawal_that_was_none_is_forgotten_and_can_be_news_again<A: Adapter>() {
    let adapter = A::open().await;
    let memory = adapter.memory();
    let (hq, branch) = ("hq".parse().unwrap(), "branch".parse().unwrap());
    let withdrawal = Withdrawal { at: now(), reason: "404".into() };
    memory.withdrawn(&hq, &withdrawal).await.unwrap();
    memory.withdrawn(&branch, &withdrawal).await.unwrap();
    assert!(memory.restored(&hq).await.unwrap());
    assert!(!memory.restored(&hq).await.unwrap());
    assert_eq!(memory.withdrawal(&hq).await.unwrap(), None);
    assert_eq!(memory.withdrawal(&branch).await.unwrap(), Some(withdrawal.clone()));
    assert!(memory.withdrawn(&hq, &withdrawal).await.unwrap());
}

async fn everything_is_kept_when_it_is_closed<A: Adapter>() {
    let adapter = A::open().await;
    let memory = adapter.memory();
    let hq = "hq".parse().unwrap();
    created(&*memory, &pull(1), "t1").await;
    memory.withdrawn(&hq, &Withdrawal { at: now(), reason: "404".into() }).await.unwrap();
    let before = memory.tasks().await.unwrap();
    drop(memory);
    let adapter = adapter.reopen().await;
    let memory = adapter.memory();
    assert_eq!(memory.tasks().await.unwrap(), before);
    assert!(memory.withdrawal(&hq).await.unwrap().is_some());
}

#[tokio::test]
async fn the_planner_sees_which_sources_have_lost_v2() {
    let sqlite = Sqlite::open().await;
    let hq = "hq".parse().unwrap();
    let withdrawal = Withdrawal { at: now(), reason: "404".into() };
    sqlite.ledger.withdrawn(&hq, &withdrawal).await.unwrap();
    assert_eq!(sqlite.ledger.snapshot().await.unwrap().withdrawals.get(&hq), Some(&withdrawal));
}
