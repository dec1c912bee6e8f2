//! `once`, and what it shares with `backfill`: a run that ends by itself, and says how.

use std::sync::Arc;

use indicatif::MultiProgress;
use serde::Serialize;

use super::progress::Bar;
use super::{CliError, output, signals};
use crate::app::compose::Injected;
use crate::app::daemon::{Controls, damaged_ledger};
use crate::app::observer::{NoObserver, Observer};
use crate::app::open_work::OpenWork;
use crate::app::planning::Look;
use crate::app::reconcile::{Reconciler, Tally, Until};
use crate::app::selection::Selection;
use crate::app::session::Session;
use crate::app::start_error::StartError;
use crate::app::survey::{Judged, survey};
use crate::config::Config;
use crate::domain::failure::FailureKind;
use crate::domain::snapshot::{FailureNote, Hold};
use crate::domain::text::Line;
use crate::domain::verdict::{StreamRules, Verdict};
use crate::exit_code::Exit;

/// How often the reconciler shows itself to nobody.
const ALIVE_EVERY: std::time::Duration = std::time::Duration::from_secs(10);

pub(super) async fn once(
    config: &Config,
    injected: &Injected,
    json: bool,
    bars: Option<MultiProgress>,
) -> Result<Exit, CliError> {
    let stop = signals::controls()?;
    let Some(session) = begin(config, injected, &stop).await? else { return Ok(Exit::Temporary) };
    run(config, session, Selection::All, &stop, json, bars).await
}

/// A session, unless the program is told to stop before there is one.
pub(super) async fn begin(
    config: &Config,
    injected: &Injected,
    controls: &Controls,
) -> Result<Option<Session>, CliError> {
    tokio::select! {
        session = Session::begin(config, injected) => Ok(Some(session?)),
        () = controls.stop.cancelled() => Ok(None),
    }
}

/// As [`begin`], with the logs read, as far as they can be: for what rests on them and on no plan.
pub(super) async fn begin_and_open(
    config: &Config,
    injected: &Injected,
    controls: &Controls,
) -> Result<Option<Session>, CliError> {
    let Some(session) = begin(config, injected, controls).await? else { return Ok(None) };
    let look = Look::new(Arc::clone(&session.services), Selection::All);
    match controls.stop.run_until_cancelled(look.open()).await {
        None => Ok(None),
        Some(Ok(())) => Ok(Some(session)),
        Some(Err(failure)) => Err(StartError::from_failure("ledger", &failure).into()),
    }
}

/// What a run leaves.
#[derive(Serialize)]
struct Outcome {
    archived: u64,
    already_archived: u64,
    /// Revisions stored of windows that were archived before.
    revised: u64,
    /// Windows pulled again whose records are the same.
    unchanged: u64,
    lost: u64,
    failed_tries: u64,
    /// Whether a signal ended it before its time.
    stopped: bool,
    /// Windows that are due and not archived.
    gaps: Vec<Judged>,
    /// What is held up, whether or not a window needs it now.
    held_up: Vec<FailureNote>,
    /// What the sources have to tell.
    notices: Vec<Line>,
}

/// Reconciles what `selection` chooses until nothing of it is due.
pub(super) async fn run(
    config: &Config,
    session: Session,
    selection: Selection,
    controls: &Controls,
    json: bool,
    bars: Option<MultiProgress>,
) -> Result<Exit, CliError> {
    let look = Arc::new(Look::new(Arc::clone(&session.services), selection));
    let observer: Arc<dyn Observer> = match &bars {
        Some(bars) => Arc::new(Bar::new(bars)),
        None => Arc::new(NoObserver),
    };
    let tally = until_nothing_is_due(config, &look, observer, controls).await;
    if tally.ledger_damaged {
        session.end().await;
        return Err(damaged_ledger().into());
    }
    let outcome = outcome(&session, &look.selection, tally, controls.stop.is_cancelled()).await?;
    session.end().await;
    if json {
        output::json(&outcome)?;
    } else {
        output::text(&summary(&outcome))?;
    }
    Ok(exit(&outcome))
}

/// As [`run`], and leaves it to the caller to say what came of it, and to end the session.
pub(super) async fn quietly(config: &Config, session: &Session, selection: Selection, controls: &Controls) {
    let look = Arc::new(Look::new(Arc::clone(&session.services), selection));
    until_nothing_is_due(config, &look, Arc::new(NoObserver), controls).await;
}

async fn until_nothing_is_due(
    config: &Config,
    look: &Arc<Look>,
    observer: Arc<dyn Observer>,
    controls: &Controls,
) -> Tally {
    let reconciler = Reconciler {
        look: Arc::clone(look),
        concurrency: config.daemon.concurrency.into(),
        wake: controls.wake.clone(),
        stop: controls.stop.clone(),
        observer,
        alive_every: ALIVE_EVERY,
    };
    reconciler.run(Until::NothingDue).await
}

async fn outcome(
    session: &Session,
    selection: &Selection,
    tally: Tally,
    stopped: bool,
) -> Result<Outcome, CliError> {
    let snapshot = session.services.ledger.snapshot().await.map_err(super::ledger_view::failed)?;
    let now = session.services.clock.now();
    let rules = session.services.roster.rules();
    let mut windows = survey(&rules, &snapshot, now);
    windows.retain(|judged| selection.includes(&judged.stream, judged.window));
    let archived = windows.iter().filter(|judged| judged.verdict.word() == "archived").count() as u64;
    windows.retain(|judged| judged.is_gap(now));
    let held_up = rules.iter().filter(|rules| selection.concerns(&rules.name));
    // Also what failed in this run and is being tried again: nobody has seen it work.
    let began = snapshot.run.as_ref().map_or(now, |run| run.started_at);
    let counts = |hold: &&Hold| hold.is_on(now) || hold.failure.at >= began;
    let held_by = |rules: &StreamRules| {
        let needed: Vec<_> = rules.needs().collect();
        let holds = needed.iter().filter_map(|resource| snapshot.holds.get(resource)).filter(counts);
        holds.max_by_key(|hold| hold.until)
    };
    let held_up = held_up.filter_map(held_by);
    // A wrong clock holds everything up, and what else is wrong is said by that clock.
    let clock = snapshot.clock_hold(now);
    let held_up = clock.into_iter().chain(held_up.filter(|_| clock.is_none()));
    let held_up = held_up.map(|hold| hold.failure.clone()).collect();
    let states = Arc::new(snapshot.windows);
    let mut notices = Vec::new();
    for (name, source) in session.services.roster.sources() {
        let told = source.notices(&OpenWork::of(&name, &rules, &states, &session.services.in_work)).await;
        notices.extend(told.map_err(|error| CliError::from(StartError::from_failure("source", &error.0)))?);
    }
    Ok(Outcome {
        archived: tally.archived,
        already_archived: archived.saturating_sub(tally.archived),
        revised: tally.revised,
        unchanged: tally.unchanged,
        lost: tally.lost,
        failed_tries: tally.failed,
        stopped,
        gaps: windows,
        held_up,
        notices,
    })
}

fn summary(outcome: &Outcome) -> String {
    let Outcome { archived, already_archived, revised, unchanged, lost, gaps, held_up, .. } = outcome;
    let mut text =
        format!("{} archived, {already_archived} in the log already", output::count(*archived, "window"));
    if revised + unchanged > 0 {
        text +=
            &format!(", {} pulled again: {revised} revised", output::count(revised + unchanged, "window"));
    }
    if *lost > 0 {
        text += &format!(", {lost} attested as lost");
    }
    for notice in &outcome.notices {
        text += &format!(", {notice}");
    }
    if outcome.stopped {
        text += ", then stopped: run it again to go on";
    }
    if let (true, Some(failure)) = (gaps.is_empty(), held_up.first()) {
        return text + &format!("; nothing is due, but: {}\n", failure.message);
    }
    if gaps.is_empty() {
        return text + "; nothing is due\n";
    }
    text + &format!("; {} are not archived, or not read:\n{}", gaps.len(), by_cause(gaps))
}

/// One line for each stream and cause: what holds up thirty windows is said once.
fn by_cause(gaps: &[Judged]) -> String {
    let mut causes: Vec<(String, Vec<&Judged>)> = Vec::new();
    for gap in gaps {
        let cause = super::status::cause(gap);
        match causes.iter_mut().find(|(known, windows)| *known == cause && windows[0].stream == gap.stream) {
            Some((_, windows)) => windows.push(gap),
            None => causes.push((cause, vec![gap])),
        }
    }
    let line = |(cause, windows): &(String, Vec<&Judged>)| match windows.as_slice() {
        [] => String::new(),
        [only] => format!("  {} {}: {cause}\n", only.stream, only.window),
        [first, more @ .., last] => {
            let more = more.len() + 1;
            format!("  {} {} and {more} more up to {}: {cause}\n", first.stream, first.window, last.window)
        }
    };
    causes.iter().map(line).collect()
}

/// Windows that need an operator weigh more than windows that only need time; lost ones are past mending.
fn exit(outcome: &Outcome) -> Exit {
    let any = |word: &str| outcome.gaps.iter().any(|judged| judged.verdict.word() == word);
    let lost = |is: bool| {
        let is = |verdict: &Verdict| matches!(verdict, Verdict::Lost { seq: None, unaccepted, .. } if *unaccepted == is);
        outcome.gaps.iter().any(|judged| is(&judged.verdict))
    };
    // One that nobody has accepted is not attested until an operator has decided.
    let (unattested, unaccepted) = (lost(false), lost(true));
    let operator = outcome.held_up.iter().any(|failure| failure.kind.needs_operator());
    // An unread window needs an operator, too; one that is archived and read is no gap.
    let unread = any("archived");
    if outcome.held_up.iter().any(|failure| failure.kind == FailureKind::Clock) {
        Exit::Temporary
    } else if any("parked") || unread || operator || unaccepted {
        Exit::Failed
    } else if any("waiting") || unattested || !outcome.held_up.is_empty() {
        Exit::Temporary
    } else {
        Exit::Done
    }
}
