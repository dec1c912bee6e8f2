//! `once`, and what it shares with `backfill`: a run that ends by itself, and says how.

use std::sync::Arc;

use indicatif::MultiProgress;
use serde::Serialize;

use super::progress::Bar;
use super::{CliError, output, signals};
use crate::app::compose::Injected;
use crate::app::observer::{NoObserver, Observer};
use crate::app::planning::Look;
use crate::app::reconcile::{Reconciler, Tally, Until};
use crate::app::selection::Selection;
use crate::app::session::Session;
use crate::app::survey::{Judged, survey};
use crate::config::Config;
use crate::domain::verdict::Verdict;
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
    let session = Session::begin(config, injected).await?;
    run(config, session, Selection::All, &stop, json, bars).await
}

/// What a run leaves.
#[derive(Serialize)]
struct Outcome {
    archived: u64,
    already_archived: u64,
    lost: u64,
    failed_tries: u64,
    /// Windows that are due and not archived.
    gaps: Vec<Judged>,
}

/// Reconciles what `selection` chooses until nothing of it is due.
pub(super) async fn run(
    config: &Config,
    session: Session,
    selection: Selection,
    controls: &crate::app::daemon::Controls,
    json: bool,
    bars: Option<MultiProgress>,
) -> Result<Exit, CliError> {
    let look = Arc::new(Look::new(
        Arc::clone(&session.services),
        session.streams.clone(),
        selection,
    ));
    let observer: Arc<dyn Observer> = match &bars {
        Some(bars) => Arc::new(Bar::new(bars)),
        None => Arc::new(NoObserver),
    };
    let reconciler = Reconciler {
        look: Arc::clone(&look),
        concurrency: config.daemon.concurrency.into(),
        wake: controls.wake.clone(),
        stop: controls.stop.clone(),
        observer,
        alive_every: ALIVE_EVERY,
    };
    let tally = reconciler.run(Until::NothingDue).await;
    drop(reconciler);
    let outcome = outcome(&session, &look.selection, tally).await?;
    session.end().await;
    if json {
        output::json(&outcome)?;
    } else {
        output::text(&summary(&outcome))?;
    }
    Ok(exit(&outcome))
}

async fn outcome(session: &Session, selection: &Selection, tally: Tally) -> Result<Outcome, CliError> {
    let snapshot = session
        .services
        .ledger
        .snapshot()
        .await
        .map_err(super::ledger_view::failed)?;
    let now = session.services.clock.now();
    let rules: Vec<_> = session
        .streams
        .values()
        .map(|stream| stream.rules.clone())
        .collect();
    let mut windows = survey(&rules, &snapshot, now);
    windows.retain(|judged| selection.includes(&judged.stream, judged.window));
    let archived = windows
        .iter()
        .filter(|judged| judged.verdict.word() == "archived")
        .count() as u64;
    windows.retain(|judged| judged.is_gap(now));
    Ok(Outcome {
        archived: tally.archived,
        already_archived: archived.saturating_sub(tally.archived),
        lost: tally.lost,
        failed_tries: tally.failed,
        gaps: windows,
    })
}

fn summary(outcome: &Outcome) -> String {
    let Outcome {
        archived,
        already_archived,
        lost,
        gaps,
        ..
    } = outcome;
    let mut text = format!("{archived} windows archived, {already_archived} were in the log already");
    if *lost > 0 {
        text += &format!(", {lost} attested as lost");
    }
    if gaps.is_empty() {
        return text + "; nothing is due\n";
    }
    text + &format!(
        "; {} are not archived:\n{}",
        gaps.len(),
        super::status::windows(gaps)
    )
}

/// Windows that need an operator weigh more than windows that only need time; lost ones are past mending.
fn exit(outcome: &Outcome) -> Exit {
    let any = |word: &str| outcome.gaps.iter().any(|judged| judged.verdict.word() == word);
    let unattested = outcome
        .gaps
        .iter()
        .any(|judged| matches!(judged.verdict, Verdict::Lost { seq: None, .. }));
    if any("parked") {
        Exit::Failed
    } else if any("waiting") || unattested {
        Exit::Temporary
    } else {
        Exit::Done
    }
}
