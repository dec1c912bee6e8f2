//! `plan`: what would be done now, in order. The same function makes it that the daemon works by.

use super::CliError;
use super::ledger_view;
use super::output;
use crate::app::compose::Injected;
use crate::app::plan_at::PlanAt;
use crate::app::status::time_left;
use crate::config::Config;
use crate::domain::first_losses::FirstLosses;
use crate::domain::planner::{Plan, Task, Turn};
use crate::domain::verdict::DueReason;
use crate::exit_code::Exit;

pub(super) async fn run(config: &Config, injected: &Injected, json: bool) -> Result<Exit, CliError> {
    let at = ledger_view::plan(config, injected).await?;
    if json {
        return output::json(&at);
    }
    let PlanAt { now, plan, first_losses, clock } = at;
    if let Some(clock) = clock {
        output::say(&format!("{}; nothing of this is done until it is right", clock.words()));
    }
    let waiting: String = first_losses.iter().filter_map(waits).collect();
    output::text(&(table(&plan, now) + &waiting))
}

/// Lost windows that are not planned, and what they wait for.
fn waits(losses: &FirstLosses) -> Option<String> {
    let wait = if losses.windows == 1 { "waits" } else { "wait" };
    (losses.windows > 0).then(|| {
        format!(
            "{}: {} lost before the stream was opened {wait} for accept_lost_before = \"{}\" in [streams.{0}]\n",
            losses.stream,
            output::count(losses.windows, "window"),
            losses.accept_before
        )
    })
}

/// Prints a plan for people.
pub(super) fn print(plan: &Plan, now: jiff::Timestamp) -> Result<Exit, CliError> {
    output::text(&table(plan, now))
}

fn table(plan: &Plan, now: jiff::Timestamp) -> String {
    if plan.actions.is_empty() {
        let next = plan.next_wake.map_or_else(String::new, |next| format!("; next look at {next:.0}"));
        return format!("nothing to do{next}\n");
    }
    let mut table = output::table(["#", "stream", "window", "what", "why", "time left"]);
    for (i, action) in plan.actions.iter().enumerate() {
        let (what, why) = words(action.task);
        let apart = if action.turn == Turn::Alone {
            "; last and alone: its last attempts ended with the process"
        } else {
            ""
        };
        table.add_row([
            (i + 1).to_string(),
            action.stream.to_string(),
            action.window.to_string(),
            what.to_owned(),
            format!("{why}{apart}"),
            time_left(action.expires_at, now),
        ]);
    }
    output::lines(&table)
}

fn words(task: Task) -> (&'static str, &'static str) {
    match task {
        Task::AttestLost => (
            "attest lost",
            "past the provider's horizon; where past_horizon = \"try\", a source that may still answer is asked once before",
        ),
        Task::AskPastHorizon => (
            "ask once",
            "expired before the stream was opened; a loss is recorded only where accept_lost_before covers it",
        ),
        Task::AttestParked => ("attest parked", "it cannot be had until an operator looks"),
        Task::Acknowledge => ("acknowledge", "a person has taken note of the gap"),
        Task::Archive { reason } => ("archive", reason_words(reason)),
        Task::Revisit { reason } => ("revisit", reason_words(reason)),
    }
}

fn reason_words(reason: DueReason) -> &'static str {
    match reason {
        DueReason::Due => "over and settled",
        DueReason::PauseOver => "failed before, the pause is over",
        DueReason::ConfigChanged => "was parked, the config or a key has changed",
        DueReason::ParkedLongEnough => "parked, and looked at again now and then",
        DueReason::Asked => "asked for",
        DueReason::LossNotBelieved => "recorded as lost by a clock that was ahead",
        DueReason::Revisit => "archived, and time to look for records that came late",
    }
}
