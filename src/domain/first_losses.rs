//! Losses that were there from the beginning: windows that the provider no longer had when their stream was opened.
//!
//! Nobody promised these windows in time, and mostly a mistyped `start` asks for them. A loss in the log is for good, so it
//! is recorded only where the configuration accepts it (`accept_lost_before`); until then the window stays a gap.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::name::StreamName;
use super::snapshot::{Snapshot, WindowState};
use super::stream_rules::StreamRules;
use super::verdict::Verdict;
use super::window::Window;

/// Windows of one stream that had expired before it was opened, and whose loss nobody has accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstLosses {
    /// The stream.
    pub stream: StreamName,
    /// How many windows are lost: nothing is done with them before `accept_lost_before` covers them.
    pub windows: u64,
    /// How many more have expired and are asked for once, as the source may have them all the same.
    pub to_be_asked: u64,
    /// The end of the last of them, as the configuration spells it: what `accept_lost_before` must say at least.
    pub accept_before: String,
    /// The start of the first window that the provider still has to have, as the configuration spells it.
    pub kept_since: Option<String>,
}

impl FirstLosses {
    /// Those of the stream of `rules` at `now`; `None` where there are none.
    pub fn of(rules: &StreamRules, snapshot: &Snapshot, now: Timestamp) -> Option<Self> {
        let (mut windows, mut to_be_asked, mut last) = (0, 0, None);
        // Windows expire in their order: the first that can still be had ends it.
        let is_expired = |window: &Window| rules.expires_at(*window) <= now;
        for window in rules.completed(now).take_while(is_expired) {
            match super::verdict::judge(rules, window, snapshot, now) {
                Verdict::Lost { unaccepted: true, to_be_asked: false, .. } => windows += 1,
                Verdict::Lost { unaccepted: true, .. } => to_be_asked += 1,
                _ => continue,
            }
            last = Some(window.end());
        }
        let kept = rules.calendar.windows_from(rules.start).find(|window| !is_expired(window));
        last.map(|end| Self {
            stream: rules.name.clone(),
            windows,
            to_be_asked,
            accept_before: rules.calendar.spelled(end),
            kept_since: kept.map(|window| rules.calendar.spelled(window.start())),
        })
    }
}

impl StreamRules {
    /// Whether the loss of an expired `window` may be recorded: it was still to be had when its stream was opened, or the
    /// configuration accepts it.
    pub fn accepts_loss(&self, window: Window, snapshot: &Snapshot) -> bool {
        let accepted = self.accept_lost_before.is_some_and(|before| window.end() <= before);
        accepted || self.opened_at(window, snapshot).is_some_and(|opened| self.expires_at(window) > opened)
    }

    /// When the stream's log first promised `window`; `None` where it has not yet.
    pub fn opened_at(&self, window: Window, snapshot: &Snapshot) -> Option<Timestamp> {
        let promises = snapshot.openings.get(&self.name)?;
        promises.range(..=window.start()).map(|(_, opened)| *opened).min()
    }

    /// Whether nothing is to be done with an expired `window` until the configuration accepts its loss, or an operator asks for
    /// it: the source is not asked for such windows, or was asked in vain already, under this very configuration.
    pub(super) fn waits_for_acceptance(&self, window: Window, snapshot: &Snapshot) -> bool {
        if self.accepts_loss(window, snapshot) {
            return false;
        }
        if !self.asks_past_horizon(snapshot) {
            return true;
        }
        let state = snapshot.windows.get(&self.name).and_then(|windows| windows.get(&window));
        let Some(WindowState::Parked { failure, fingerprint: Some(fingerprint), .. }) = state else {
            return false;
        };
        // One that was parked before it expired has not been asked for since.
        failure.at >= self.expires_at(window) && *fingerprint == self.fingerprints.stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::export::PastHorizon;
    use crate::domain::failure::FailureKind;
    use crate::domain::planner::tests::{at, fingerprint, note, rules, with};
    use crate::domain::planner::{Task, plan};
    use crate::domain::snapshot::Note;
    use crate::domain::stream_rules::Answers;

    /// Opened on the 20th, with ten windows of October that had expired by then.
    fn opened() -> (StreamRules, Snapshot) {
        let rules = StreamRules { accept_lost_before: None, ..rules("logins", "2026-10-11T00:00:00Z") };
        let mut snapshot = Snapshot::default();
        let openings = snapshot.openings.entry(rules.name.clone()).or_default();
        openings.insert(rules.start, at("2026-11-20T02:00:00Z"));
        (rules, snapshot)
    }

    #[test]
    fn what_was_lost_before_the_stream_was_opened_is_told_from_what_was_lost_later() {
        let (mut rules, snapshot) = opened();
        let first = |rules: &StreamRules, snapshot: &Snapshot, now: &str| {
            let losses = FirstLosses::of(rules, snapshot, at(now))?;
            assert_eq!(losses.to_be_asked, 0, "v3 is not asked for what it need not have");
            Some((losses.windows, losses.accept_before))
        };
        rules.answers_past_horizon = Answers::Never;
        let expected = Some((11, "2026-10-22".to_owned()));
        assert_eq!(first(&rules, &snapshot, "2026-11-20T02:00:00Z"), expected);
        // Ten days later ten more have expired, which were promised while they could be had.
        assert_eq!(first(&rules, &snapshot, "2026-11-30T02:00:00Z"), expected);
        // Not opened yet, it would be now.
        assert_eq!(first(&rules, &Snapshot::default(), "2026-11-20T02:00:00Z"), expected);
        rules.accept_lost_before = Some(at("2026-10-22T00:00:00Z"));
        assert_eq!(first(&rules, &snapshot, "2026-11-20T02:00:00Z"), None);
        rules.accept_lost_before = Some(at("2026-10-21T00:00:00Z"));
        assert_eq!(first(&rules, &snapshot, "2026-11-20T02:00:00Z"), Some((1, "2026-10-22".to_owned())));
    }

    #[test]
    fn a_start_that_moves_back_opens_the_earlier_windows_only_then() {
        let (mut rules, mut snapshot) = opened();
        rules.start = at("2026-10-01T00:00:00Z");
        let openings = snapshot.openings.get_mut(&rules.name).unwrap();
        openings.insert(at("2026-10-11T00:00:00Z"), at("2026-10-12T00:00:00Z"));
        openings.insert(rules.start, at("2026-11-20T02:00:00Z"));
        let losses = FirstLosses::of(&rules, &snapshot, at("2026-11-20T02:00:00Z")).unwrap();
        assert_eq!(
            (losses.windows, losses.to_be_asked, losses.accept_before.as_str()),
            (0, 10, "2026-10-11")
        );
        assert_eq!(losses.kept_since.as_deref(), Some("2026-10-22"));
    }

    #[test]
    fn what_was_asked_for_in_vain_waits_for_acceptance_and_for_nothing_else() {
        let (mut rules, mut snapshot) = opened();
        let now = at("2026-11-21T02:00:00Z");
        let window = rules.completed(now).next().unwrap();
        let parked = |when: &str| WindowState::Parked {
            since: at(when),
            failure: note(FailureKind::Rejected, at(when)),
            fingerprint: Some(fingerprint("now")),
            seq: None,
        };
        let planned = |rules: &StreamRules, snapshot: &Snapshot| {
            plan(std::slice::from_ref(rules), snapshot, now)
                .actions
                .iter()
                .any(|action| action.window == window)
        };
        assert!(planned(&rules, &snapshot), "it was not asked for yet");
        with(&mut snapshot, &rules, window, parked("2026-11-01T00:00:00Z"));
        assert!(planned(&rules, &snapshot), "that was before it had expired");
        with(&mut snapshot, &rules, window, parked("2026-11-20T03:00:00Z"));
        assert!(!planned(&rules, &snapshot));
        rules.accept_lost_before = Some(at("2026-10-22T00:00:00Z"));
        assert!(planned(&rules, &snapshot));
        rules.accept_lost_before = None;
        rules.fingerprints.stream = fingerprint("then");
        assert!(planned(&rules, &snapshot), "other keys may have more luck");
    }

    #[test]
    fn a_loss_that_nobody_has_accepted_is_asked_for_at_most_and_never_planned_as_one() {
        let (mut rules, mut snapshot) = opened();
        let now = at("2026-11-21T02:00:00Z");
        let lost = |rules: &StreamRules, snapshot: &Snapshot| {
            let actions = plan(std::slice::from_ref(rules), snapshot, now).actions;
            actions.into_iter().filter(|a| a.expires_at <= now).map(|a| a.task).collect::<Vec<_>>()
        };
        let counted = |rules: &StreamRules, snapshot: &Snapshot| {
            FirstLosses::of(rules, snapshot, now).map(|losses| (losses.windows, losses.to_be_asked))
        };
        // The twelfth expired after the stream was opened.
        let asked = [vec![Task::AskPastHorizon; 11], vec![Task::AttestLost]].concat();
        assert_eq!((lost(&rules, &snapshot), counted(&rules, &snapshot)), (asked, Some((0, 11))));
        let of_later = (vec![Task::AttestLost], Some((11, 0)));
        let note = Note { at: now, reason: "it is gone".into() };
        snapshot.notes.insert(rules.source.clone(), [("gone".to_owned(), note)].into());
        assert_eq!((lost(&rules, &snapshot), counted(&rules, &snapshot)), of_later);
        (rules.answers_past_horizon, rules.past_horizon) = (Answers::Always, PastHorizon::Lose);
        assert_eq!((lost(&rules, &snapshot), counted(&rules, &snapshot)), of_later);
        rules.accept_lost_before = Some(at("2026-10-22T00:00:00Z"));
        assert_eq!((lost(&rules, &snapshot).len(), counted(&rules, &snapshot)), (12, None));
        assert!(lost(&rules, &snapshot).iter().all(|task| *task == Task::AttestLost));
    }
}
