//! The watch over this machine's clock: what answers say of the time, who is asked for it, and what follows.
//!
//! Every answer of a source or a store is dated, and [`Dates`] keeps the newest of each host. Whoever writes an entry asks
//! [`ClockWatch::confirm`] first. Where no answer of the last hour agrees with the clock, all hosts are asked once more,
//! for the sake of the `Date` alone. The first answer that confirms it is enough, and those who would contradict it have a
//! second more: a host that hangs keeps nobody waiting. A look asks as well ([`ClockWatch::look`]): a wrong clock shows while nothing is due.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::domain::confirmed_time::{
    AGREEMENT, Confirmation, ConfirmedTime, KnownTime, Reading, Sighting, Unconfirmed, Witnesses,
};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::message::Message;
use crate::domain::name::StreamName;
use crate::domain::snapshot::{FailureNote, Fingerprint, Hold, Resource, Snapshot};
use crate::ports::clock::{AnswerWatch, Clock};
use crate::ports::ledger::Ledger;
use crate::ports::object_store::ObjectStore;
use crate::ports::record_source::RecordSource;

/// No host is waited for longer when it is asked for the time.
const LONGEST_QUESTION: Duration = Duration::from_secs(10);
/// Once an answer has confirmed the clock, others have so long to contradict it.
const TO_CONTRADICT: Duration = Duration::from_secs(1);
/// All hosts are asked anew no sooner than this, while the clock is not confirmed.
const AGAIN: Duration = Duration::from_secs(5);
/// Before a window is recorded as lost, all hosts were asked no longer ago than this.
const BEFORE_A_LOSS: Duration = Duration::from_secs(10 * 60);
/// A hold for a wrong clock; each look sets it anew, or ends it. So long it is shown after a run that has ended.
const HOLD: SignedDuration = SignedDuration::from_hours(1);
/// A confirmed time that is not this much later than the one in the ledger is not written down.
const NOTABLY_LATER: SignedDuration = SignedDuration::from_mins(10);

/// What the answers of a run say of the time.
pub struct Dates {
    clock: Arc<dyn Clock>,
    began: Instant,
    heard: Mutex<Heard>,
    /// Tells of each answer.
    news: tokio::sync::watch::Sender<()>,
}

#[derive(Default)]
struct Heard {
    witnesses: Witnesses,
    /// Hosts of which it was said that they do not date their answers.
    undated: BTreeSet<String>,
    /// Hosts of which it was said that their time is another one.
    differing: BTreeSet<String>,
}

impl AnswerWatch for Dates {
    fn reading(&self) -> Reading {
        Reading { wall: self.clock.now(), monotonic: self.began.elapsed() }
    }

    fn answered(&self, host: &str, date: Option<Timestamp>, sent: Reading) {
        let now = self.reading();
        let mut heard = self.heard.lock();
        let Some(date) = date else {
            if heard.undated.insert(host.to_owned()) {
                tracing::warn!(
                    host,
                    "an answer does not say when it was written (no Date, or from a cache): it confirms no clock"
                );
            }
            return;
        };
        let Some(sighting) = Sighting::new(date, sent, now) else { return };
        let ahead = sighting.ahead(now);
        if ahead.abs() <= AGREEMENT {
            heard.differing.remove(host);
        } else if heard.differing.insert(host.to_owned()) {
            tracing::warn!(
                host,
                skew_seconds = ahead.as_secs(),
                "the clock of this machine differs from the clock of a host: run timedatectl here, or see to the host"
            );
        }
        heard.witnesses.saw(host, sighting);
        drop(heard);
        self.news.send_replace(());
    }
}

/// Somebody who can be asked for the time.
pub enum Teller {
    /// A source.
    Source(Arc<dyn RecordSource>),
    /// A store.
    Store(Arc<dyn ObjectStore>),
}

impl Teller {
    /// Asks; says why no answer came, where none did.
    async fn tell_time(&self) -> Option<Failure> {
        match self {
            Self::Source(source) => source.tell_time().await,
            Self::Store(store) => store.tell_time().await,
        }
    }
}

/// Whether this machine's clock is believed.
pub struct ClockWatch {
    dates: Arc<Dates>,
    tellers: Mutex<Vec<Arc<Teller>>>,
    /// Held by whoever waits for all hosts: whoever comes meanwhile uses their answers.
    asking: tokio::sync::Mutex<Option<Round>>,
    state: Mutex<State>,
}

/// All hosts are asked for the time, each by a task of its own.
struct Round {
    began: Reading,
    /// Those who were not heard to the end, whether or not they have answered.
    open: JoinSet<Option<Failure>>,
    /// Why some did not answer.
    silent: Vec<Message>,
    /// How long it was waited for: nothing that it asks takes longer than [`LONGEST_QUESTION`].
    took: Duration,
}

impl Round {
    fn begin(tellers: Vec<Arc<Teller>>, began: Reading) -> Self {
        // A host that is silent for so long is asked for more than its time elsewhere, and is named there.
        let ask = async |teller: Arc<Teller>| {
            tokio::time::timeout(LONGEST_QUESTION, teller.tell_time()).await.ok().flatten()
        };
        let open = tellers.into_iter().map(ask).collect();
        Self { began, open, silent: Vec::new(), took: Duration::ZERO }
    }
}

#[derive(Default)]
struct State {
    known: KnownTime,
    /// When the clock was last confirmed in this run.
    believed: Option<Reading>,
    /// What was said of a wrong clock, so that it is not said again.
    said: Option<String>,
    /// Why hosts did not answer that were asked for the time last.
    silent: Vec<Message>,
}

/// What the clock is like, as a look finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Somebody else confirmed it.
    Confirmed(ConfirmedTime),
    /// Nobody could be asked.
    Unknown,
    /// It is known to be wrong: everything waits.
    Wrong(Failure),
}

impl ClockWatch {
    /// A watch over `clock` that has heard of nobody yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            dates: Arc::new(Dates {
                clock,
                began: Instant::now(),
                heard: Mutex::default(),
                news: Default::default(),
            }),
            tellers: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            state: Mutex::default(),
        }
    }

    /// Who is to be told the `Date` of each answer.
    pub fn answers(&self) -> Arc<dyn AnswerWatch> {
        Arc::clone(&self.dates) as _
    }

    /// The clock that is watched.
    pub fn clock(&self) -> &dyn Clock {
        &*self.dates.clock
    }

    /// From now on `teller` is asked too.
    pub fn may_ask(&self, teller: Teller) {
        self.tellers.lock().push(Arc::new(teller));
    }

    /// Takes over what the ledger knows of the time before.
    pub fn know(&self, snapshot: &Snapshot) {
        self.state.lock().known = snapshot.known_time();
    }

    /// The confirmed time, for an entry in the log of `stream`. Asks where no answer confirms it yet.
    ///
    /// # Errors
    /// When the clock is wrong, which holds up everything, or nobody said what time it is, which holds up the stream.
    pub async fn confirm(&self, stream: &StreamName) -> Result<ConfirmedTime, Failure> {
        if let Ok(confirmed) = self.judge() {
            return Ok(confirmed);
        }
        self.ask_until_confirmed().await;
        self.judge().map_err(|unconfirmed| self.failure(&unconfirmed, Some(stream)))
    }

    /// As [`Self::confirm`], for the loss of a window: every host is asked before, and the time is the earliest of all.
    ///
    /// # Errors
    /// As [`Self::confirm`].
    pub async fn confirm_for_loss(&self, stream: &StreamName) -> Result<ConfirmedTime, Failure> {
        self.ask(BEFORE_A_LOSS).await;
        self.confirm(stream).await
    }

    /// How the clock stands. Asks where no answer of the last hour confirms it.
    pub async fn look(&self) -> Standing {
        if self.judge().is_err() {
            self.ask_until_confirmed().await;
        }
        self.standing()
    }

    /// How the clock stands, by the answers that have come.
    pub fn standing(&self) -> Standing {
        match self.judge() {
            Ok(confirmed) => Standing::Confirmed(confirmed),
            Err(unconfirmed) if unconfirmed.is_wrong() => Standing::Wrong(self.failure(&unconfirmed, None)),
            Err(_) => Standing::Unknown,
        }
    }

    /// Whether the clock was confirmed in this run, and was not set since: so it is still right, though the answer may be old.
    pub fn is_believed(&self) -> bool {
        match self.judge() {
            Ok(_) => true,
            Err(unconfirmed) if unconfirmed.is_wrong() => false,
            Err(_) => {
                let (now, believed) = (self.dates.reading(), self.state.lock().believed);
                believed.is_some_and(|then| now.jump_since(then).abs() <= AGREEMENT)
            }
        }
    }

    /// Looks how the clock stands, and writes that into the ledger and into `snapshot`: a hold while it is wrong, the
    /// confirmed time while it is right. Says so where it is news.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn look_and_record(
        &self,
        ledger: &dyn Ledger,
        snapshot: &mut Snapshot,
    ) -> Result<Standing, Failure> {
        self.know(snapshot);
        let standing = self.look().await;
        match &standing {
            Standing::Wrong(failure) => {
                self.say_wrong(failure);
                let hold = hold(failure, snapshot, self.clock().now());
                ledger.hold(&Resource::Clock, &hold).await?;
                snapshot.holds.insert(Resource::Clock, hold);
            }
            Standing::Confirmed(confirmed) => {
                self.say_right(confirmed);
                if snapshot.holds.remove(&Resource::Clock).is_some() {
                    ledger.lift(&Resource::Clock, Timestamp::MAX).await?;
                }
                let confirmation = Confirmation { at: confirmed.at(), host: confirmed.host().to_owned() };
                if is_news(snapshot.confirmed.as_ref(), &confirmation) {
                    ledger.confirm(&confirmation).await?;
                    snapshot.confirmed = Some(confirmation);
                    self.know(snapshot);
                }
            }
            // Nobody says that a clock is right that was wrong, nor that it is wrong still.
            Standing::Unknown => {}
        }
        Ok(standing)
    }

    fn judge(&self) -> Result<ConfirmedTime, Unconfirmed> {
        let now = self.dates.reading();
        let known = self.state.lock().known.clone();
        let judged = self.dates.heard.lock().witnesses.confirm(now, &known);
        if judged.is_ok() {
            self.state.lock().believed = Some(now);
        }
        judged
    }

    fn failure(&self, unconfirmed: &Unconfirmed, stream: Option<&StreamName>) -> Failure {
        let failure = failure(unconfirmed, stream, &self.dates.heard.lock().undated);
        match (unconfirmed, self.state.lock().silent.first()) {
            // It is no matter of the clock then: this is what an operator can mend.
            (Unconfirmed::NoWitness, Some(silent)) => {
                let cause = format!("{}; {}", failure.message.cause(), silent.cause());
                let advice = silent.whole().strip_prefix(silent.cause().as_str()).unwrap_or_default();
                let message = Message::new(cause).advise(advice.trim_start_matches("; "));
                Failure { message, ..failure }
            }
            _ => failure,
        }
    }

    /// Asks every host for the time, until one has confirmed it. The answers of the others count when they come.
    async fn ask_until_confirmed(&self) {
        let mut news = self.dates.news.subscribe();
        let confirmed = async {
            while self.judge().is_err() {
                while self.judge().is_err() {
                    // The sender is ours, so it is there.
                    _ = news.changed().await;
                }
                tokio::time::sleep(TO_CONTRADICT).await;
            }
        };
        tokio::select! {
            () = self.ask(AGAIN) => {}
            () = confirmed => {}
        }
    }

    /// Asks every host for the time and waits for all of them, unless that was done within `pause` and the clock has not been
    /// set since. A round that nobody waits for any more goes on, and is taken up by whoever comes next.
    async fn ask(&self, pause: Duration) {
        let mut asking = self.asking.lock().await;
        loop {
            if let Some(round) = asking.as_mut() {
                while let Some(answer) = round.open.join_next().await {
                    round.silent.extend(answer.ok().flatten().map(|failure| failure.message));
                    round.took = self.dates.reading().since(round.began).min(LONGEST_QUESTION);
                    self.state.lock().silent.clone_from(&round.silent);
                }
                let now = self.dates.reading();
                if now.since(round.began) < pause + round.took && now.continues(round.began) {
                    return;
                }
            }
            let tellers = self.tellers.lock().clone();
            *asking = Some(Round::begin(tellers, self.dates.reading()));
        }
    }

    fn say_wrong(&self, failure: &Failure) {
        let mut state = self.state.lock();
        if state.said.is_none() {
            tracing::error!(
                kind = failure.kind.as_str(),
                "everything waits for the clock: {}",
                failure.message
            );
        }
        state.said = Some(failure.message.to_string());
    }

    fn say_right(&self, confirmed: &ConfirmedTime) {
        if self.state.lock().said.take().is_some() {
            tracing::info!(host = confirmed.host(), at = %confirmed.at(), "the clock is right again");
        }
    }
}

fn is_news(known: Option<&Confirmation>, now: &Confirmation) -> bool {
    let later = |known: &Confirmation| now.at.duration_since(known.at);
    known.is_none_or(|known| later(known) >= NOTABLY_LATER || later(known) <= -NOTABLY_LATER)
}

fn hold(failure: &Failure, snapshot: &Snapshot, now: Timestamp) -> Hold {
    let before = snapshot.holds.get(&Resource::Clock).filter(|hold| hold.is_on(now));
    Hold {
        until: now.saturating_add(HOLD).unwrap_or(Timestamp::MAX),
        since: before.map_or(now, |hold| hold.since),
        failures: before.map_or(1, |hold| hold.failures),
        failure: FailureNote { kind: failure.kind, message: failure.message.clone(), at: now },
        // The clock is of no configuration.
        fingerprint: Fingerprint(String::new()),
    }
}

/// Why no entry is written. The answers of the hosts in `undated` said nothing of the time.
fn failure(unconfirmed: &Unconfirmed, stream: Option<&StreamName>, undated: &BTreeSet<String>) -> Failure {
    let wrong = |message: String| Failure::new(FailureKind::Clock, Scope::Daemon, message);
    let advice =
        "set it right (timedatectl) and set up time synchronisation; archiving goes on by itself then";
    match unconfirmed {
        Unconfirmed::NoWitness => {
            let stream = stream.map_or_else(String::new, |stream| format!(" in the log of stream {stream}"));
            let undated = match undated.iter().map(String::as_str).collect::<Vec<_>>().join(", ") {
                hosts if hosts.is_empty() => hosts,
                hosts => format!("; answers of {hosts} bear no Date, or come from a cache"),
            };
            let message = format!(
                "no entry is written{stream} before an answer of a source or a store has confirmed this machine's clock by \
                 its Date, and none has within the hour{undated}"
            );
            let message = Message::new(message).advise("it is tried again");
            Failure::new(FailureKind::Transient, Scope::Stream, message)
        }
        Unconfirmed::Skewed { host, ahead } => {
            let direction = if ahead.is_negative() { "behind" } else { "ahead of" };
            wrong(format!(
                "the clock of this machine is {} {direction} that of {host}, and no other answer agrees with it: {advice}",
                for_people(*ahead)
            ))
        }
        Unconfirmed::Behind { by, known, host } => {
            let (by, known) = (for_people(*by), format!("{known:.0}"));
            wrong(match host {
                Some(host) => format!(
                    "the clock of this machine is {by} behind {known}, which the Date of {host} confirmed before: {advice}"
                ),
                None => format!(
                    "the clock of this machine is {by} behind {known}, when the last entry of a log was written, and nobody \
                     confirms it: {advice}"
                ),
            })
        }
    }
}

/// A difference for people, in whole seconds below an hour, else in days, hours and minutes.
fn for_people(difference: SignedDuration) -> String {
    let seconds = difference.as_secs().unsigned_abs();
    let seconds = if seconds < 3_600 { seconds } else { (seconds + 30) / 60 * 60 };
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes}m {}s", seconds % 60),
        (0, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}
