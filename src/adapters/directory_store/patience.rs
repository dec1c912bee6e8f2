//! Work that blocks, with a limit that goes by what it gets done and not by its size.
//!
//! A file system that freezes (its server is away, somebody froze it) answers no system call, and a thread that waits
//! for one cannot be ended. So each work says what it does, step by step; whoever waits for it gives up once no step has
//! ended and no byte has moved for so long. The thread stays, and what it does is gone through with should the file system
//! come back: see the parent module for why that is harmless.
//!
//! Threads that stay must not pile up. They are none of the runtime's few, which the spool and the secrets need. There are
//! at most [`AT_ONCE`] of them for one store, and while [`HANDFUL`] of these are silent, nothing else is begun: whoever
//! comes is told so at once. Nothing is remembered of it: as soon as they get on, so does the store.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout_at;

/// Works of one store that go on at the same time; others wait for their turn.
const AT_ONCE: usize = 8;
/// While so many of them are silent, no other one is begun.
const HANDFUL: usize = 4;

/// What a work does just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// As it follows "cannot".
    pub(super) doing: &'static str,
    /// To what.
    pub(super) path: PathBuf,
    /// Whether that is a file of this machine, and none of the store.
    pub(super) is_local: bool,
}

/// How far a work has got: it tells, and whoever waits for it listens.
#[derive(Debug)]
pub(super) struct Steps(Mutex<(Step, Instant)>);

impl Steps {
    fn new(first: Step) -> Self {
        Self(Mutex::new((first, Instant::now())))
    }

    /// The last step has ended, and the next one begins.
    pub(super) fn begin(&self, doing: &'static str, path: &Path) {
        *self.0.lock() = (Step { doing, path: path.to_owned(), is_local: false }, Instant::now());
    }

    /// As [`Self::begin`], of a step that is none of the store's.
    pub(super) fn begin_here(&self, doing: &'static str, path: &Path) {
        *self.0.lock() = (Step { doing, path: path.to_owned(), is_local: true }, Instant::now());
    }

    /// Something has moved, and the step goes on.
    pub(super) fn moved(&self) {
        self.0.lock().1 = Instant::now();
    }

    fn last_moved(&self) -> Instant {
        self.0.lock().1
    }

    fn step(&self) -> Step {
        self.0.lock().0.clone()
    }
}

/// A work has no outcome.
#[derive(Debug)]
pub(super) enum NoOutcome {
    /// It went silent in this step. It goes on should the step end, and nobody will hear of it.
    Silent(Step),
    /// It was not begun: too many are silent, the oldest of them in this step.
    NotBegun(Step),
    /// It was not begun: there is no thread for it.
    NoThread(io::Error),
    /// It broke off.
    BrokeOff,
}

/// How long works on one store are waited for; clones share the works.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    /// So long a work may be silent.
    pub(super) limit: Duration,
    places: Arc<Semaphore>,
    /// Those that go on, and some that have ended.
    works: Arc<Mutex<Vec<Weak<Steps>>>>,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, places: Arc::new(Semaphore::new(AT_ONCE)), works: Arc::default() }
    }

    /// Does `work` on a thread of its own, and waits for as long as it gets on.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        first: Step,
        work: impl FnOnce(&Steps) -> T + Send + 'static,
    ) -> Result<T, NoOutcome> {
        let place = self.place().await?;
        let steps = Arc::new(Steps::new(first));
        self.works.lock().push(Arc::downgrade(&steps));
        let (tell, mut told) = oneshot::channel();
        let worker = Arc::clone(&steps);
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(move || {
            let done = work(&worker);
            drop((worker, place));
            // Nobody may wait any more.
            _ = tell.send(done);
        });
        thread.map_err(NoOutcome::NoThread)?;
        loop {
            let end = steps.last_moved() + self.limit;
            match timeout_at(end.into(), &mut told).await {
                Ok(done) => return done.map_err(|_| NoOutcome::BrokeOff),
                Err(_) if self.is_silent(steps.last_moved()) => return Err(NoOutcome::Silent(steps.step())),
                Err(_) => {}
            }
        }
    }

    /// A place for one more work, once there is one.
    async fn place(&self) -> Result<OwnedSemaphorePermit, NoOutcome> {
        let mut place = pin!(Arc::clone(&self.places).acquire_owned());
        loop {
            let works = self.going_on();
            let end = match works.get(HANDFUL - 1) {
                Some((moved, _)) if self.is_silent(*moved) => {
                    return Err(NoOutcome::NotBegun(works[0].1.step()));
                }
                Some((moved, _)) => *moved + self.limit,
                None => Instant::now() + self.limit,
            };
            drop(works);
            if let Ok(place) = timeout_at(end.into(), &mut place).await {
                // Nobody closes it.
                return place.map_err(|_| NoOutcome::BrokeOff);
            }
        }
    }

    fn is_silent(&self, moved: Instant) -> bool {
        moved.elapsed() >= self.limit
    }

    /// The works that go on, each with when it last moved; the longest silent first.
    fn going_on(&self) -> Vec<(Instant, Arc<Steps>)> {
        let mut works = self.works.lock();
        works.retain(|work| work.strong_count() > 0);
        let mut going_on: Vec<_> =
            works.iter().filter_map(Weak::upgrade).map(|steps| (steps.last_moved(), steps)).collect();
        going_on.sort_by_key(|(moved, _)| *moved);
        going_on
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    fn step(doing: &'static str) -> Step {
        Step { doing, path: "/a".into(), is_local: false }
    }

    /// Work that says what it does, and waits until `gate` opens.
    fn waiting(gate: &Arc<Mutex<mpsc::Receiver<()>>>, doing: &'static str) -> impl FnOnce(&Steps) + use<> {
        let gate = Arc::clone(gate);
        move |steps| {
            steps.begin(doing, Path::new("/a/b"));
            _ = gate.lock().recv();
        }
    }

    fn gate() -> (mpsc::Sender<()>, Arc<Mutex<mpsc::Receiver<()>>>) {
        let (open, gate) = mpsc::channel();
        (open, Arc::new(Mutex::new(gate)))
    }

    #[tokio::test]
    async fn work_in_which_nothing_moves_is_given_up_in_the_step_that_it_is_in() {
        let patience = Patience::new(LIMIT);
        let (_open, gate) = gate();
        let given_up = patience.run(step("begin"), waiting(&gate, "sync")).await;
        let Err(NoOutcome::Silent(Step { doing, path, is_local })) = given_up else { panic!("{given_up:?}") };
        assert_eq!((doing, path.as_path(), is_local), ("sync", Path::new("/a/b"), false));
    }

    #[tokio::test]
    async fn work_that_gets_on_is_waited_for_however_long_it_takes() {
        let patience = Patience::new(LIMIT);
        let began = Instant::now();
        let worked = patience.run(step("copy"), move |steps| {
            while began.elapsed() < LIMIT * 4 {
                steps.moved();
            }
            steps.begin("sync", Path::new("/a"));
        });
        worked.await.unwrap();
    }

    #[tokio::test]
    async fn while_a_handful_is_silent_nothing_else_is_begun_and_once_they_get_on_it_is() {
        let patience = Patience::new(LIMIT);
        let (open, gate) = gate();
        for _ in 0..HANDFUL {
            assert!(matches!(
                patience.run(step("begin"), waiting(&gate, "list")).await,
                Err(NoOutcome::Silent(_))
            ));
        }
        for _ in 0..100 {
            let refused = patience.run(step("begin"), |_| panic!("it was begun")).await;
            let Err(NoOutcome::NotBegun(Step { doing, .. })) = refused else { panic!("{refused:?}") };
            assert_eq!(doing, "list");
        }
        drop(open);
        while patience.run(step("begin"), |_| ()).await.is_err() {}
    }

    #[tokio::test]
    async fn many_that_come_at_the_same_time_leave_no_more_than_so_many_threads_behind() {
        let patience = Patience::new(LIMIT);
        let (open, gate) = gate();
        let begun = Arc::new(Mutex::new(0));
        let works = (0..100).map(|_| {
            let (begun, wait) = (Arc::clone(&begun), waiting(&gate, "put"));
            patience.run(step("begin"), move |steps| {
                *begun.lock() += 1;
                wait(steps);
            })
        });
        let ended = futures_util::future::join_all(works).await;
        assert!(ended.iter().all(Result::is_err));
        assert_eq!(*begun.lock(), AT_ONCE);
        drop(open);
    }

    #[tokio::test]
    async fn work_that_panics_breaks_off() {
        let patience = Patience::new(Duration::from_secs(60));
        let broken = patience.run(step("begin"), |_| panic!("of its own")).await;
        assert!(matches!(broken, Err(NoOutcome::BrokeOff)));
    }
}
