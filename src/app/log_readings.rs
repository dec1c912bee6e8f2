//! Logs that are read at the same time. A look waits for them, but where there is other work it goes on without those that
//! take long: a store that hangs keeps no other stream waiting. They are read on meanwhile, and a later look takes them up.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::select_all;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::stream::Stream;
use crate::domain::duration::spelled_std;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::name::StreamName;

/// A log that takes longer to read is gone on with at the next look: what was read by then is kept.
const LONGEST_READ: Duration = Duration::from_secs(120);
/// Other work waits for logs so long, once for each reading.
const OTHERS_WAIT: Duration = Duration::from_secs(5);

/// A log that is being read.
struct Reading {
    outcome: AbortOnDropHandle<Result<(), Failure>>,
    /// Set when the reading is over, and when a look goes on without it. The second of the two sees the first.
    is_over: Arc<AtomicBool>,
    is_left_behind: Arc<AtomicBool>,
}

/// Readings that a look went on without.
#[derive(Default)]
pub struct Readings {
    left: Mutex<BTreeMap<StreamName, Reading>>,
    /// One of them is over: a look takes it up.
    over: Arc<Notify>,
}

impl Readings {
    /// Reads the logs of `streams`, each with whether it was opened before, and says how that ended where it did. Those that
    /// take long are left behind where whoever asks `goes_on_without` them.
    pub async fn read(
        &self,
        streams: Vec<(Arc<Stream>, bool)>,
        goes_on_without: impl Fn(&BTreeSet<&StreamName>) -> bool,
    ) -> Vec<(Arc<Stream>, Result<(), Failure>)> {
        // A log that is not to be read any more belongs to a stream on hold. Its reading is given up, since it would be old.
        let mut before = std::mem::take(&mut *self.left.lock());
        let is_news = streams.iter().any(|(stream, _)| !before.contains_key(stream.name()));
        let mut take_up = |(stream, opened): (Arc<Stream>, bool)| {
            let reading = before.remove(stream.name());
            let reading = reading.unwrap_or_else(|| self.begin(Arc::clone(&stream), opened));
            (stream, reading)
        };
        let mut going_on: Vec<_> = streams.into_iter().map(&mut take_up).collect();
        let mut ended = Vec::new();
        let mut patience = pin!(tokio::time::sleep(if is_news { OTHERS_WAIT } else { Duration::ZERO }));
        while !going_on.is_empty() {
            let names = going_on.iter().map(|(stream, _)| stream.name()).collect();
            if patience.is_elapsed() && goes_on_without(&names) {
                break;
            }
            let first = select_all(going_on.iter_mut().map(|(_, reading)| &mut reading.outcome));
            tokio::select! {
                biased;
                (outcome, at, _) = first => {
                    let (stream, _) = going_on.swap_remove(at);
                    ended.push((stream, outcome.unwrap_or_else(|error| Err(broke_off(&error)))));
                }
                () = &mut patience, if !patience.is_elapsed() => {}
            }
        }
        for (stream, reading) in going_on {
            reading.is_left_behind.store(true, Ordering::SeqCst);
            if reading.is_over.load(Ordering::SeqCst) {
                self.over.notify_one();
            }
            self.left.lock().insert(stream.name().clone(), reading);
        }
        ended
    }

    fn begin(&self, stream: Arc<Stream>, opened: bool) -> Reading {
        let [is_over, is_left_behind] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let (over, told) = (Arc::clone(&self.over), [&is_over, &is_left_behind].map(Arc::clone));
        let outcome = tokio::spawn(async move {
            let outcome = read(stream, opened).await;
            let [is_over, is_left_behind] = told;
            is_over.store(true, Ordering::SeqCst);
            if is_left_behind.load(Ordering::SeqCst) {
                over.notify_one();
            }
            outcome
        });
        Reading { outcome: AbortOnDropHandle::new(outcome), is_over, is_left_behind }
    }

    /// Ends when a reading is over that a look went on without: the next look takes it up.
    pub async fn over(&self) {
        self.over.notified().await;
    }

    /// Whether the last look went on without some log.
    pub fn any_goes_on(&self) -> bool {
        !self.left.lock().is_empty()
    }

    /// Whether the last look went on without this stream's log.
    pub fn go_on(&self, stream: &StreamName) -> bool {
        self.left.lock().contains_key(stream)
    }
}

async fn read(stream: Arc<Stream>, opened: bool) -> Result<(), Failure> {
    // Nothing holds the stream up any more: how it is now, its log and its next object will show.
    stream.locks.trust_again();
    let read =
        async { if opened { stream.log.follow().await } else { stream.log.open(&stream.definition).await } };
    let outcome = tokio::time::timeout(LONGEST_READ, read).await;
    outcome.unwrap_or_else(|_| Err(not_read(stream.name(), opened)))
}

/// A log that was not read in time. Whole logs are long: only one that was `opened` before, and has little to add, shows that
/// its store is slow.
fn not_read(stream: &StreamName, opened: bool) -> Failure {
    let longest = spelled_std(LONGEST_READ);
    let message = format!(
        "the log of stream {stream} was not read to its end within {longest}; the rest is read later"
    );
    Failure::new(FailureKind::Transient, if opened { Scope::Store } else { Scope::Stream }, message)
}

fn broke_off(error: &tokio::task::JoinError) -> Failure {
    let message = format!("the reading of a log broke off: {error}; please report this as a bug");
    Failure::new(FailureKind::Local, Scope::Daemon, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_takes_long_to_read_for_the_first_time_holds_up_its_own_stream_only() {
        let stream = "logins".parse().unwrap();
        assert_eq!(
            [false, true].map(|opened| not_read(&stream, opened).scope),
            [Scope::Stream, Scope::Store]
        );
    }
}
