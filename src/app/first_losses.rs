//! What is said of losses that were there from the beginning: by the first start, and by `check` before it.

use jiff::Timestamp;

use crate::domain::first_losses::FirstLosses;
use crate::domain::name::StreamName;
use crate::domain::snapshot::Snapshot;
use crate::domain::verdict::StreamRules;

/// Says of each stream how many windows were lost before it was opened and stay gaps until the configuration accepts that.
pub fn say(streams: &[StreamRules], snapshot: &Snapshot, now: Timestamp) {
    for rules in streams {
        if let Some(losses) = FirstLosses::of(rules, snapshot, now) {
            tracing::error!(
                stream = %rules.name,
                windows = losses.windows,
                "lost before the stream was opened, and not recorded: {}",
                advice(&rules.name, &losses)
            );
        }
    }
}

/// What to do about them.
pub fn advice(stream: &StreamName, losses: &FirstLosses) -> String {
    format!(
        "move streams.{stream}.start to where the records begin that the provider still has, before the stream is opened; or \
         accept the loss: accept_lost_before = \"{}\" in [streams.{stream}], then restart",
        losses.accept_before
    )
}
