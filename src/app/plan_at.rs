//! The plan at one instant: what `plan` prints, and one document of the daemon's page.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::first_losses;
use super::status::WrongClock;
use crate::domain::first_losses::FirstLosses;
use crate::domain::planner::{Plan, plan};
use crate::domain::snapshot::Snapshot;
use crate::domain::verdict::StreamRules;

/// What would be done, and when that was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanAt {
    /// When it was looked.
    pub now: Timestamp,
    /// What is to be done then.
    #[serde(flatten)]
    pub plan: Plan,
    /// Windows that had expired before their streams were opened, by streams: those that are lost are not planned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first_losses: Vec<FirstLosses>,
    /// What is wrong with this machine's clock; absent while nothing is known to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<WrongClock>,
}

impl PlanAt {
    /// What is to be done at `now`.
    pub fn of(streams: &[StreamRules], snapshot: &Snapshot, now: Timestamp) -> Self {
        Self {
            now,
            plan: plan(streams, snapshot, now),
            first_losses: first_losses::all(streams, snapshot, now),
            clock: WrongClock::of(snapshot, now),
        }
    }
}
