//! Object Lock: what keeps a stored object from being deleted, and until when.
//!
//! Retention counts from what an object is about (a window's end), not from when it happened to be put. So every try
//! at a window asks for the same lock, and what an earlier try left can be held against what a later one asks for.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A store refuses a retention that is over by its clock, and takes requests whose clock is a quarter of an hour off.
/// So retention that ends sooner than this is not asked for: it would be over before it could matter.
const LEAST: SignedDuration = SignedDuration::from_hours(1);

/// Who may shorten a retention. The weaker comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetentionMode {
    /// Users with a right of their own to it.
    Governance,
    /// Nobody.
    Compliance,
}

impl fmt::Display for RetentionMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Governance => "governance",
            Self::Compliance => "compliance",
        })
    }
}

/// Until when an object cannot be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Who may shorten it.
    pub mode: RetentionMode,
    /// The first instant at which the object may be deleted.
    pub until: Timestamp,
}

/// What keeps one object from being deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Until when it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Whether it is kept until somebody takes the hold off.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub legal_hold: bool,
}

impl Lock {
    /// Nothing keeps it.
    pub const NONE: Self = Self { retention: None, legal_hold: false };

    /// Whether nothing keeps it.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// What of it must still be there at `now`.
    pub fn due_at(&self, now: Timestamp) -> Self {
        Self { retention: self.retention.filter(|retention| retention.until > now), ..*self }
    }

    /// Whether this is at least as strong as `asked`. Stores keep whole seconds, so those are compared.
    pub fn covers(&self, asked: &Self) -> bool {
        let retained = match (self.retention, asked.retention) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(found), Some(asked)) => {
                found.mode >= asked.mode && found.until.as_second() >= asked.until.as_second()
            }
        };
        retained && (self.legal_hold || !asked.legal_hold)
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.retention, self.legal_hold) {
            (None, false) => f.write_str("no lock"),
            (None, true) => f.write_str("legal hold"),
            (Some(Retention { mode, until }), hold) => {
                write!(f, "{mode} retention until {until}{}", if hold { " and legal hold" } else { "" })
            }
        }
    }
}

/// For how long objects are retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retain {
    /// Who may shorten it.
    pub mode: RetentionMode,
    /// How long after what it counts from.
    pub period: SignedDuration,
}

/// What lock the objects of a store are to have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LockPolicy {
    /// For how long they are retained, if they are.
    pub retain: Option<Retain>,
    /// Whether they are put under legal hold.
    pub legal_hold: bool,
}

impl LockPolicy {
    /// Whether no object is to have a lock.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The lock of an object whose retention counts from `from`, as it is to be asked for `now`.
    pub fn lock_from(&self, from: Timestamp, now: Timestamp) -> Lock {
        let retention = self.retain.map(|Retain { mode, period }| {
            let until = from.saturating_add(period).unwrap_or(Timestamp::MAX);
            Retention { mode, until: whole_seconds(until) }
        });
        Lock {
            retention: retention.filter(|retention| is_worth_it(retention, now)),
            legal_hold: self.legal_hold,
        }
    }

    /// What of `asked`, asked for at some time, still holds `now` and is still wanted.
    pub fn still_wanted(&self, asked: &Lock, now: Timestamp) -> Lock {
        let wanted = |retention: &Retention| self.retain.is_some() && is_worth_it(retention, now);
        Lock { retention: asked.retention.filter(wanted), legal_hold: asked.legal_hold && self.legal_hold }
    }
}

fn is_worth_it(retention: &Retention, now: Timestamp) -> bool {
    retention.until.duration_since(now) > LEAST
}

/// Rounded up, so that a store that cuts off fractions keeps no object for less than was asked.
fn whole_seconds(instant: Timestamp) -> Timestamp {
    let up = i64::from(instant.subsec_nanosecond() > 0);
    Timestamp::from_second(instant.as_second().saturating_add(up)).unwrap_or(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: &str = "2026-11-23T00:00:00Z";

    fn instant(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn policy(days: i64) -> LockPolicy {
        let period = SignedDuration::from_hours(24 * days);
        LockPolicy { retain: Some(Retain { mode: RetentionMode::Compliance, period }), legal_hold: false }
    }

    fn until(mode: RetentionMode, until: &str, legal_hold: bool) -> Lock {
        Lock { retention: Some(Retention { mode, until: instant(until) }), legal_hold }
    }

    #[test]
    fn every_try_at_a_window_asks_for_the_same_lock() {
        let asked = until(RetentionMode::Compliance, "2026-12-23T00:00:00Z", false);
        for now in ["2026-11-23T02:00:00Z", "2026-12-20T12:34:56.789Z"] {
            assert_eq!(policy(30).lock_from(instant(END), instant(now)), asked);
        }
    }

    #[test]
    fn a_fraction_of_a_second_is_rounded_to_the_longer_side() {
        let lock = policy(1).lock_from(instant("2026-11-23T00:00:00.001Z"), instant(END));
        assert_eq!(lock, until(RetentionMode::Compliance, "2026-11-24T00:00:01Z", false));
    }

    #[test]
    fn a_retention_that_is_over_or_almost_over_is_not_asked_for_and_a_legal_hold_always_is() {
        let held = LockPolicy { legal_hold: true, ..policy(1) };
        for now in ["2026-11-23T23:30:00Z", "2026-12-24T00:00:00Z"] {
            assert_eq!(policy(1).lock_from(instant(END), instant(now)), Lock::NONE);
            assert_eq!(
                held.lock_from(instant(END), instant(now)),
                Lock { retention: None, legal_hold: true }
            );
        }
    }

    #[test]
    fn a_lock_covers_what_is_as_strong_or_weaker() {
        use RetentionMode::{Compliance, Governance};
        let asked = until(Governance, END, false);
        for strong in
            [asked, until(Compliance, END, false), until(Governance, "2026-11-23T00:00:00.5Z", true)]
        {
            assert!(strong.covers(&asked), "{strong}");
        }
        for (weak, asked) in [
            (Lock::NONE, asked),
            (until(Governance, "2026-11-22T23:59:59Z", false), asked),
            (until(Governance, END, false), until(Compliance, END, false)),
            (until(Compliance, END, false), until(Compliance, END, true)),
        ] {
            assert!(!weak.covers(&asked), "{weak} for {asked}");
            assert!(weak.covers(&Lock::NONE));
        }
    }

    #[test]
    fn of_what_was_asked_once_only_what_is_wanted_now_still_counts() {
        let asked = until(RetentionMode::Compliance, END, true);
        let (before, later) = (instant("2026-11-01T00:00:00Z"), instant("2026-12-01T00:00:00Z"));
        assert_eq!(LockPolicy::default().still_wanted(&asked, before), Lock::NONE);
        assert_eq!(policy(1).still_wanted(&asked, before), until(RetentionMode::Compliance, END, false));
        assert_eq!(policy(1).still_wanted(&asked, later), Lock::NONE);
    }

    #[test]
    fn the_stored_form_of_a_lock_leaves_out_what_is_not() {
        let json = |lock: &Lock| serde_json::to_string(lock).unwrap();
        let full = r#"{"retention":{"mode":"compliance","until":"2026-11-23T00:00:00Z"},"legal_hold":true}"#;
        assert_eq!(json(&until(RetentionMode::Compliance, END, true)), full);
        assert_eq!(serde_json::from_str::<Lock>("{}").unwrap(), Lock::NONE);
        assert_eq!(json(&Lock::NONE), "{}");
    }
}
