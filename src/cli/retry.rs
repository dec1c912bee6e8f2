//! `retry`: makes windows that are parked or pausing due at once. A running daemon takes them up at its next look.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;

use super::ledger_view::{failed, open, try_at_once};
use super::{CliError, output};
use crate::adapters::state_dir::is_closed_to_us;
use crate::app::compose::{self, Injected};
use crate::app::survey::{Judged, survey};
use crate::config::{Config, nearest};
use crate::domain::name::StreamName;
use crate::domain::planner::plan;
use crate::domain::snapshot::{Resource, Snapshot};
use crate::domain::verdict::{StreamRules, Verdict, Waiting};
use crate::domain::window::Window;
use crate::exit_code::Exit;
use crate::ports::ledger::Ledger;

/// Windows named for people; `--json` names them all.
const SHOWN: usize = 40;

pub(super) async fn run(
    config: &Config,
    injected: &Injected,
    stream: Option<StreamName>,
    window: Option<Window>,
    as_json: bool,
) -> Result<Exit, CliError> {
    if let Some(stream) = stream.as_ref().filter(|stream| !config.streams.contains_key(stream)) {
        return Err(unknown_stream(config, stream));
    }
    let no_secret = compose::recorded_rules(config, &Snapshot::default());
    if let (Some(stream), Some(window)) = (&stream, window) {
        check_window(&no_secret, stream, window)?;
    }
    if is_closed_to_us(&config.daemon.state_dir) {
        return Err(not_allowed(config, "retry"));
    }
    let (lifted, freed) = match open(config).await? {
        None => (BTreeSet::new(), BTreeSet::new()),
        Some(ledger) => {
            let known = ledger.snapshot().await.map_err(failed)?;
            let rules = compose::recorded_rules(config, &known);
            let before = Freed::of(&rules, &known, injected.clock.now());
            ledger.retry(stream.as_ref(), window).await.map_err(failed)?;
            let concerned =
                rules.iter().filter(|rules| stream.as_ref().is_none_or(|name| rules.name == *name));
            let freed = try_at_once(&ledger, concerned, injected.clock.now()).await?;
            let now_known = ledger.snapshot().await.map_err(failed)?;
            let after = Freed::of(&rules, &now_known, injected.clock.now());
            ledger.close().await;
            (after.since(&before), freed)
        }
    };
    if as_json {
        let windows: Vec<_> =
            lifted.iter().map(|(stream, window)| json!({ "stream": stream, "window": window })).collect();
        let document = json!({ "windows": windows.len(), "lifted": windows, "tried_at_once": freed });
        return output::json(&document);
    }
    output::text(&words(&lifted, &freed))
}

/// What was freed, each by its name.
fn words(lifted: &BTreeSet<(StreamName, Window)>, freed: &BTreeSet<Resource>) -> String {
    let next = match lifted.len() {
        0 if !freed.is_empty() => "systemctl reload connvault has the daemon look at once",
        0 => "nothing was parked or pausing there (`connvault gaps` lists what is not archived)",
        _ => "a running daemon takes them up at its next look, or at once: systemctl reload connvault",
    };
    let are = if lifted.len() == 1 { "is" } else { "are" };
    let mut text = format!("{} {are} due again; {next}\n", output::count(lifted.len() as u64, "window"));
    for (stream, window) in lifted.iter().take(SHOWN) {
        text += &format!("  {stream} {window}\n");
    }
    for resource in freed {
        text += &format!("  {resource} is tried again at once; `connvault status` lists it until it works\n");
    }
    if let more @ 1.. = lifted.len().saturating_sub(SHOWN) {
        text += &format!("  … and {more} more (--json lists all)\n");
    }
    text
}

/// Whoever may not write to the ledger cannot do with `command` what it is for.
pub(super) fn not_allowed(config: &Config, command: &str) -> CliError {
    let message = format!(
        "{command} changes the ledger in {}, which this user may not: run it as root (sudo connvault {command} …), or as the \
         daemon's user",
        config.daemon.state_dir.display()
    );
    CliError::new(Exit::Failed, message)
}

/// What a retry frees is the difference between two looks: the end of a hold makes windows due of which the ledger knows
/// nothing by itself.
struct Freed {
    /// What the plan would pull.
    due: BTreeSet<(StreamName, Window)>,
    /// What a running daemon has taken up, or archived, already.
    taken_up: BTreeSet<(StreamName, Window)>,
}

impl Freed {
    fn of(rules: &[StreamRules], snapshot: &Snapshot, now: Timestamp) -> Self {
        let due = plan(rules, snapshot, now).actions.into_iter();
        let due = due.filter(|action| !action.task.is_attest());
        let is_taken_up = |judged: &Judged| match &judged.verdict {
            Verdict::Waiting { why: Waiting::Attempt, .. } => true,
            verdict => matches!(verdict, Verdict::Archived { .. }) && !verdict.is_unread(),
        };
        let taken_up = survey(rules, snapshot, now).into_iter().filter(is_taken_up);
        Self {
            due: due.map(|action| (action.stream, action.window)).collect(),
            taken_up: taken_up.map(|judged| (judged.stream, judged.window)).collect(),
        }
    }

    /// Windows that were neither due nor taken up `before`, and are now.
    fn since(&self, before: &Self) -> BTreeSet<(StreamName, Window)> {
        let was = |window: &&(StreamName, Window)| {
            before.due.contains(*window) || before.taken_up.contains(*window)
        };
        self.due.union(&self.taken_up).filter(|window| !was(window)).cloned().collect()
    }
}

/// A window that the stream's calendar does not cut was mistyped, and trying it again would do nothing.
pub(super) fn check_window(
    rules: &[StreamRules],
    stream: &StreamName,
    window: Window,
) -> Result<(), CliError> {
    let own = rules.iter().find(|rules| rules.name == *stream);
    match own.and_then(|rules| rules.calendar.window_at(window.start())) {
        Some(cut) if cut != window => {
            let message = format!("stream {stream} has no window {window}; around its start it has {cut}");
            Err(CliError::new(Exit::Usage, message))
        }
        _ => Ok(()),
    }
}

/// The stream is not in the configuration.
pub(super) fn unknown_stream(config: &Config, stream: &StreamName) -> CliError {
    let known: Vec<_> = config.streams.keys().map(StreamName::as_str).collect();
    let has = match nearest(stream.as_str(), known.iter().copied()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("it has: {}", known.join(", ")),
    };
    CliError::new(Exit::Usage, format!("there is no stream {stream} in the configuration; {has}"))
}
