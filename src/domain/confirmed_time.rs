//! Whether this machine's clock is believed: only where the `Date` of somebody else's answer confirms it.
//!
//! A machine has two clocks. The wall clock says what time it is, and anybody can set it. The monotonic clock only
//! counts, and nobody sets it. A [`Sighting`] keeps both with the `Date`, so the host's time can be worked out later
//! without asking again: a jump of the wall clock afterwards shows at once.
//!
//! [`ConfirmedTime`] cannot be made but from such a witness. Whoever writes what cannot be taken back asks for one.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The clock agrees with a `Date` up to this difference, either way.
pub const AGREEMENT: SignedDuration = SignedDuration::from_mins(5);
/// A `Date` counts for so long after its answer.
pub const FRESH: Duration = Duration::from_secs(60 * 60);
/// A clock that is further than this behind a time that was known before is wrong.
pub const BEHIND: SignedDuration = SignedDuration::from_mins(15);
/// An answer that took longer says too little of when its `Date` was written.
const LONGEST_ANSWER: Duration = Duration::from_secs(60);
/// The two clocks of one machine run apart by less than this in an hour, unless one of them was set.
const DRIFT: SignedDuration = SignedDuration::from_secs(60);
/// A `Date` has no fractions of a second.
const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// So many hosts have to agree before a time that was confirmed earlier counts as mistaken.
const OVERRULE: usize = 2;

/// Both clocks of this machine, read at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// What the machine says that time it is.
    pub wall: Timestamp,
    /// Time since an arbitrary instant, which is the same for all readings of a run.
    pub monotonic: Duration,
}

impl Reading {
    /// Time that has passed since `earlier`, by the clock that nobody sets.
    pub fn since(self, earlier: Self) -> Duration {
        self.monotonic.saturating_sub(earlier.monotonic)
    }

    /// By how much the wall clock was set since `earlier`; positive where it was set forward.
    pub fn jump_since(self, earlier: Self) -> SignedDuration {
        self.wall.duration_since(earlier.wall).saturating_sub(signed(self.since(earlier)))
    }

    /// Whether the wall clock went on since `earlier` without being set.
    pub fn continues(self, earlier: Self) -> bool {
        self.jump_since(earlier).abs() <= DRIFT
    }
}

/// The `Date` of one answer of a host, with what both clocks of this machine said when it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    date: Timestamp,
    received: Reading,
    /// How long the answer was under way: the `Date` may be so old when it arrives.
    took: Duration,
}

impl Sighting {
    /// An answer that says `date`, to a request that was sent at `sent`, received at `received`. `None` where it took
    /// too long to say what time it is.
    pub fn new(date: Timestamp, sent: Reading, received: Reading) -> Option<Self> {
        let took = received.since(sent);
        (took <= LONGEST_ANSWER).then_some(Self { date, received, took })
    }

    /// The earliest time that it can be at `now` by the host's clock.
    fn time_at(&self, now: Reading) -> Timestamp {
        self.date.saturating_add(signed(now.since(self.received))).unwrap_or(Timestamp::MAX)
    }

    /// By how much the wall clock is ahead of the host's at `now`; negative where it is behind. Zero where the time that
    /// the answer took, and the second that a `Date` is exact to, explain the difference.
    pub fn ahead(&self, now: Reading) -> SignedDuration {
        let ahead = now.wall.duration_since(self.time_at(now));
        let unknown = signed(self.took).saturating_add(SECOND);
        if ahead.is_negative() { ahead } else { ahead.saturating_sub(unknown).max(SignedDuration::ZERO) }
    }

    /// Whether the wall clock agrees with it at `now`.
    pub fn agrees(&self, now: Reading) -> bool {
        self.ahead(now).abs() <= AGREEMENT
    }

    /// Whether it says something of the wall clock at `now`: it is fresh, and the clock was not set away from it since.
    /// A machine that slept, or whose clock was set, has to ask again.
    fn counts(&self, now: Reading) -> bool {
        now.since(self.received) <= FRESH && (now.continues(self.received) || self.agrees(now))
    }
}

/// The newest answer of each host.
#[derive(Debug, Default, Clone)]
pub struct Witnesses(BTreeMap<String, Sighting>);

/// What was known of the time before: no later instant can be earlier.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct KnownTime {
    /// The newest time that was confirmed, by this run or an earlier one, with the host that confirmed it.
    pub confirmed: Option<Confirmation>,
    /// The newest `recorded_at` of a log that is followed.
    pub recorded: Option<Timestamp>,
}

/// A time that was confirmed, as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// When, by the clock that was confirmed.
    pub at: Timestamp,
    /// The host whose `Date` did.
    pub host: String,
}

/// A time that somebody else confirmed, and that is not later than any fresh `Date` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfirmedTime {
    wall: Timestamp,
    at: Timestamp,
    host: String,
}

impl ConfirmedTime {
    /// The time: the earliest of the wall clock and of what each host says that was asked within the hour.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The host whose `Date` agrees.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The date of an entry that is written now, after one that is dated `last`: what the wall clock says, and never earlier
    /// than `last` where that is a little ahead. A clock that is set right by minutes dates no entry back.
    pub fn date_after(&self, last: Option<Timestamp>) -> Timestamp {
        let ahead = |last: &Timestamp| *last > self.wall && last.duration_since(self.wall) <= BEHIND;
        last.filter(ahead).unwrap_or(self.wall)
    }
}

/// Why the clock is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unconfirmed {
    /// No answer within the hour said what time it is.
    NoWitness,
    /// Every host that answered within the hour has another time. `ahead` is by how much the clock is ahead of the
    /// nearest; negative where it is behind.
    Skewed {
        /// The host with the nearest time.
        host: String,
        /// By how much.
        ahead: SignedDuration,
    },
    /// The clock is earlier than a time that was known before.
    Behind {
        /// By how much.
        by: SignedDuration,
        /// That time.
        known: Timestamp,
        /// Who confirmed it; `None` where it is of a log entry.
        host: Option<String>,
    },
}

impl Unconfirmed {
    /// Whether the clock is known to be wrong, and not only unknown to be right.
    pub fn is_wrong(&self) -> bool {
        !matches!(self, Self::NoWitness)
    }
}

impl Witnesses {
    /// Takes the answer of `host`, in place of its answer before.
    pub fn saw(&mut self, host: &str, sighting: Sighting) {
        self.0.insert(host.to_owned(), sighting);
    }

    /// The confirmed time at `now`. One host that agrees is enough, unless as many others say that the clock is ahead
    /// by more than a log bears: an entry of the future stays in it for good. The time itself is the earliest that any of them says: what may only be
    /// done after an instant waits for all of them.
    ///
    /// # Errors
    /// When no fresh answer agrees with the clock, or the clock is behind a time that was known before.
    pub fn confirm(&self, now: Reading, known: &KnownTime) -> Result<ConfirmedTime, Unconfirmed> {
        let fresh: Vec<_> = self.0.iter().filter(|(_, sighting)| sighting.counts(now)).collect();
        let agreeing: Vec<_> = fresh.iter().filter(|(_, sighting)| sighting.agrees(now)).collect();
        let newest = agreeing.iter().max_by_key(|(_, sighting)| sighting.received.monotonic);
        let Some((host, _)) = newest else {
            return Err(nobody_agrees(&fresh, now, known));
        };
        let is_late = |(_, sighting): &&(&String, &Sighting)| sighting.ahead(now) > BEHIND;
        let late: Vec<_> = fresh.iter().filter(is_late).collect();
        if let Some((host, sighting)) = late.first().filter(|_| late.len() >= agreeing.len()) {
            return Err(Unconfirmed::Skewed { host: (*host).clone(), ahead: sighting.ahead(now) });
        }
        let overruled = agreeing.len() >= OVERRULE;
        if let Some(behind) = behind_confirmed(now, known).filter(|_| !overruled) {
            return Err(behind);
        }
        let earliest = fresh.iter().map(|(_, sighting)| sighting.time_at(now)).min();
        let at = earliest.map_or(now.wall, |time| time.min(now.wall));
        Ok(ConfirmedTime { wall: now.wall, at, host: (*host).clone() })
    }
}

fn nobody_agrees(fresh: &[(&String, &Sighting)], now: Reading, known: &KnownTime) -> Unconfirmed {
    let nearest = fresh.iter().min_by_key(|(_, sighting)| sighting.ahead(now).abs());
    if let Some((host, sighting)) = nearest {
        return Unconfirmed::Skewed { host: (*host).clone(), ahead: sighting.ahead(now) };
    }
    let recorded = known.recorded.and_then(|recorded| behind(now, recorded, None));
    behind_confirmed(now, known).or(recorded).unwrap_or(Unconfirmed::NoWitness)
}

fn behind_confirmed(now: Reading, known: &KnownTime) -> Option<Unconfirmed> {
    let confirmed = known.confirmed.as_ref()?;
    behind(now, confirmed.at, Some(&confirmed.host))
}

fn behind(now: Reading, known: Timestamp, host: Option<&String>) -> Option<Unconfirmed> {
    let by = known.duration_since(now.wall);
    (by > BEHIND).then(|| Unconfirmed::Behind { by, known, host: host.cloned() })
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "2026-11-23T02:00:00Z";

    /// The clocks so many seconds after the start, the wall clock set forward by `set` seconds.
    fn reading(seconds: u64, set: i64) -> Reading {
        let passed = i64::try_from(seconds).unwrap();
        let start: Timestamp = START.parse().unwrap();
        Reading {
            wall: start + SignedDuration::from_secs(passed + set),
            monotonic: Duration::from_secs(1_000 + seconds),
        }
    }

    /// An answer at `at` of a host whose clock is `theirs` seconds ahead of the true time.
    fn answer(at: Reading, set: i64, theirs: i64) -> Sighting {
        Sighting::new(at.wall + SignedDuration::from_secs(theirs - set), at, at).unwrap()
    }

    fn seen(answers: &[(&str, Sighting)]) -> Witnesses {
        let mut witnesses = Witnesses::default();
        answers.iter().for_each(|(host, sighting)| witnesses.saw(host, sighting.clone()));
        witnesses
    }

    fn unknown() -> KnownTime {
        KnownTime::default()
    }

    #[test]
    fn a_clock_is_believed_up_to_five_minutes_from_a_date_of_the_last_hour() {
        let at = reading(0, 0);
        for (theirs, believed) in [(0, true), (300, true), (-300, true), (302, false), (-302, false)] {
            let witnesses = seen(&[("source", answer(at, 0, theirs))]);
            assert_eq!(witnesses.confirm(at, &unknown()).is_ok(), believed, "{theirs}");
        }
        let witnesses = seen(&[("source", answer(at, 0, 0))]);
        assert!(witnesses.confirm(reading(3600, 0), &unknown()).is_ok());
        assert_eq!(witnesses.confirm(reading(3601, 0), &unknown()), Err(Unconfirmed::NoWitness));
        assert_eq!(Witnesses::default().confirm(at, &unknown()), Err(Unconfirmed::NoWitness));
    }

    #[test]
    fn a_jump_of_the_wall_clock_takes_the_confirmation_away_and_its_return_gives_it_back() {
        let witnesses = seen(&[("source", answer(reading(0, 0), 0, 0))]);
        for jump in [35 * 86_400, -35 * 86_400, 302, -302] {
            assert_eq!(
                witnesses.confirm(reading(60, jump), &unknown()),
                Err(Unconfirmed::NoWitness),
                "{jump}: what was seen before the jump says nothing of what the clock is now"
            );
        }
        assert!(witnesses.confirm(reading(120, 0), &unknown()).is_ok());
    }

    #[test]
    fn a_clock_that_every_answer_contradicts_is_wrong_by_the_least_of_them() {
        let now = reading(0, 86_400);
        let witnesses = seen(&[("source", answer(now, 86_400, 0)), ("store", answer(now, 86_400, 3_600))]);
        let wrong = witnesses.confirm(now, &unknown()).unwrap_err();
        let Unconfirmed::Skewed { host, ahead } = &wrong else { panic!("{wrong:?}") };
        assert_eq!((host.as_str(), ahead.as_hours()), ("store", 22));
        assert!(wrong.is_wrong());
        // Set right, it needs no new answer.
        assert!(witnesses.confirm(reading(60, 0), &unknown()).is_ok());
    }

    #[test]
    fn more_hosts_must_agree_than_say_that_the_clock_is_ahead_and_the_earliest_says_how_late_it_is() {
        let now = reading(0, 0);
        let day = 86_400;
        let (late, right) = (answer(now, 0, -day), answer(now, 0, 0));
        let one = seen(&[("source", late.clone()), ("store", right.clone())]);
        let Unconfirmed::Skewed { host, .. } = one.confirm(now, &unknown()).unwrap_err() else { panic!() };
        assert_eq!(host, "source");
        let witnesses = seen(&[("source", late), ("store", right.clone()), ("other", right)]);
        let confirmed = witnesses.confirm(now, &unknown()).unwrap();
        assert_eq!(confirmed.at(), now.wall - SignedDuration::from_secs(day));
        let ahead = seen(&[("source", answer(now, 0, day)), ("store", answer(now, 0, 0))]);
        assert_eq!(ahead.confirm(now, &unknown()).unwrap().at(), now.wall, "never later than the clock");
    }

    #[test]
    fn a_clock_behind_what_was_known_is_wrong_until_somebody_agrees_with_it() {
        let now = reading(0, 0);
        let recorded = |minutes| KnownTime {
            recorded: Some(now.wall + SignedDuration::from_mins(minutes)),
            confirmed: None,
        };
        let nobody = Witnesses::default();
        assert_eq!(nobody.confirm(now, &recorded(15)), Err(Unconfirmed::NoWitness));
        assert!(matches!(nobody.confirm(now, &recorded(16)), Err(Unconfirmed::Behind { host: None, .. })));
        // A wrong clock of an earlier version may have dated the log.
        let one = seen(&[("source", answer(now, 0, 0))]);
        assert!(one.confirm(now, &recorded(400 * 24 * 60)).is_ok());
    }

    #[test]
    fn a_clock_behind_a_confirmed_time_needs_two_hosts_that_agree() {
        let now = reading(0, 0);
        let at = now.wall + SignedDuration::from_hours(24);
        let known = KnownTime { confirmed: Some(Confirmation { at, host: "before".into() }), recorded: None };
        let one = seen(&[("source", answer(now, 0, 0))]);
        let Err(Unconfirmed::Behind { host, by, .. }) = one.confirm(now, &known) else { panic!() };
        assert_eq!((host.as_deref(), by.as_hours()), (Some("before"), 24));
        let two = seen(&[("source", answer(now, 0, 0)), ("store", answer(now, 0, 1))]);
        assert!(two.confirm(now, &known).is_ok());
    }

    #[test]
    fn an_entry_is_dated_by_the_clock_and_not_before_the_last_one_that_is_a_little_ahead() {
        let now = reading(0, 0);
        let confirmed = seen(&[("source", answer(now, 0, 0))]).confirm(now, &unknown()).unwrap();
        let minutes = |minutes| now.wall + SignedDuration::from_mins(minutes);
        assert_eq!(confirmed.date_after(None), now.wall);
        for (last, date) in [(-1, 0), (0, 0), (4, 4), (15, 15), (16, 0), (400 * 24 * 60, 0)] {
            assert_eq!(confirmed.date_after(Some(minutes(last))), minutes(date), "{last}");
        }
    }

    #[test]
    fn an_answer_that_was_long_under_way_is_no_difference_of_clocks_and_no_witness_beyond_a_minute() {
        let (sent, soon, late) = (reading(0, 0), reading(60, 0), reading(61, 0));
        let sighting = Sighting::new(sent.wall, sent, soon).unwrap();
        assert_eq!(sighting.ahead(soon), SignedDuration::ZERO);
        assert_eq!(Sighting::new(sent.wall, sent, late), None);
    }
}
