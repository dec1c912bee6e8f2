//! `status`: every stream in numbers, and every completed window that is not archived, with what to do.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::CliError;
use super::ledger_view;
use super::output;
use crate::app::compose::Injected;
use crate::app::status::{HeldUp, time_left};
use crate::app::survey::{Judged, StreamSummary};
use crate::config::Config;
use crate::domain::log_entry::Head;
use crate::domain::message::Message;
use crate::domain::snapshot::Resource;
use crate::domain::verdict::{Verdict, Waiting};
use crate::exit_code::Exit;
use crate::ports::source_status::SourceStatus;

/// Windows listed for people; `--json` lists them all.
const SHOWN: usize = 40;

pub(super) async fn run(config: &Config, injected: &Injected, json: bool) -> Result<Exit, CliError> {
    let status = ledger_view::status(config, injected).await?;
    if json {
        return output::json(&status);
    }
    let mut text = status.daemon.words() + "\n\n";
    text += &(streams(&status.streams, status.now) + "\n" + &sources(&status.sources));
    if let Some(clock) = &status.clock {
        text += &format!("\n{}\n", clock.words());
    }
    if !status.holds.is_empty() {
        text += "\nheld up:\n";
        text += &holds(&status.holds, status.now);
    }
    let (known, open): (Vec<_>, Vec<_>) = status.windows.iter().partition(|j| j.acknowledged.is_some());
    if !open.is_empty() {
        text += "\nnot archived:\n";
        text += &windows(&open, status.now);
    }
    if !known.is_empty() {
        text += "\nnot archived, and acknowledged:\n";
        text += &acknowledged(&known);
    }
    output::text(&text)
}

fn sources(sources: &[SourceStatus]) -> String {
    let mut table = output::table(SourceStatus::COLUMNS);
    sources.iter().for_each(|source| table.add_row(source.cells()));
    output::lines(&table)
}

fn streams(streams: &[StreamSummary], now: Timestamp) -> String {
    let mut table = output::table(StreamSummary::COLUMNS);
    let head = |head: &Head| format!("{}:{:.16}…", head.seq, head.hash.to_string());
    streams.iter().for_each(|stream| table.add_row(stream.cells(now, head)));
    let counts = streams.iter().filter(|s| s.uncounted + s.mismatched > 0).map(|s| {
        format!(
            "{}: of {} archived, {} without the provider's own count, {} against it (log entries: counted, uncounted)\n",
            s.stream, s.archived, s.uncounted, s.mismatched
        )
    });
    let unread = streams.iter().filter(|s| s.unread + s.acknowledged > 0).map(|s| {
        format!(
            "{}: {} archived unread; of {} lost or unread, {} acknowledged\n",
            s.stream,
            s.unread,
            s.lost + s.unread,
            s.acknowledged
        )
    });
    let notices = streams.iter().flat_map(StreamSummary::notices).map(|notice| notice + "\n");
    output::lines(&table) + &counts.chain(unread).chain(notices).collect::<String>()
}

fn holds(holds: &[HeldUp], now: Timestamp) -> String {
    let mut table = output::table(HeldUp::COLUMNS);
    holds.iter().for_each(|hold| table.add_row(hold.cells(now)));
    output::lines(&table) + MENDED
}

const MENDED: &str = "when mended: connvault retry\n";

/// What is held up, until when, and why: each once, however many windows wait for it.
fn held_up(holds: &BTreeMap<Resource, (Timestamp, Message)>) -> String {
    let mut table = output::table(HeldUp::COLUMNS);
    for (resource, (until, why)) in holds {
        table.add_row([resource.to_string(), format!("{until:.0}"), why.to_string()]);
    }
    output::lines(&table) + MENDED
}

/// Windows for people, after what holds them up, and acknowledged ones apart.
pub(super) fn windows_and_holds(judged: &[Judged], now: Timestamp) -> String {
    let (known, open): (Vec<_>, Vec<_>) = judged.iter().partition(|j| j.acknowledged.is_some());
    let known = if known.is_empty() { String::new() } else { acknowledged(&known) };
    let open = if open.is_empty() { String::new() } else { open_and_holds(&open, now) };
    let apart = if open.is_empty() || known.is_empty() { "" } else { "\nacknowledged:\n" };
    open + apart + &known
}

/// Gaps that a person has taken note of, the first of them.
fn acknowledged(judged: &[&Judged]) -> String {
    let mut table = output::table(Judged::ACKNOWLEDGED_COLUMNS);
    let rows = judged.iter().take(SHOWN).filter_map(|judged| judged.acknowledged_cells());
    rows.for_each(|row| table.add_row(row));
    output::lines(&table) + &more(judged.len())
}

fn open_and_holds(judged: &[&Judged], now: Timestamp) -> String {
    let held = judged.iter().filter_map(|judged| match &judged.verdict {
        Verdict::Parked { failure, next, .. }
        | Verdict::Waiting { why: Waiting::Hold { failure, .. }, next } => {
            Some((judged.held_by()?.clone(), (*next, failure.message.clone())))
        }
        _ => None,
    });
    let held: BTreeMap<_, _> = held.collect();
    if held.is_empty() {
        return windows(judged, now);
    }
    format!("held up:\n{}\nnot archived, or not read:\n{}", held_up(&held), windows(judged, now))
}

/// Windows for people, the first of them.
fn windows(windows: &[&Judged], now: Timestamp) -> String {
    let mut table =
        output::table(["stream", "window", "verdict", "since or until", "time left", "why, and what to do"]);
    for judged in windows.iter().take(SHOWN) {
        let (when, why) = judged.words();
        let why = judged.held_by().map_or(why, |resource| format!("{resource} is held up, see above"));
        let left = time_left(judged.expires_at, now);
        table.add_row([judged.stream.to_string(), judged.window.to_string(), judged.word(), when, left, why]);
    }
    output::lines(&table) + &more(windows.len())
}

/// A line that says how many of so many rows are not shown.
fn more(rows: usize) -> String {
    match rows.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("… and {more} more (--json lists all)\n"),
    }
}

/// The verdict, why, and what to do, in one line that is equal for windows with one cause.
pub(super) fn cause(judged: &Judged) -> String {
    let (when, why) = judged.words();
    match &judged.verdict {
        Verdict::Waiting { .. } => format!("waiting {when}, {why}"),
        Verdict::Lost { to_be_asked: true, .. } => {
            "expired before the stream was opened, and to be asked for once".to_owned()
        }
        Verdict::Lost { unaccepted: true, .. } => {
            "lost before the stream was opened: the loss waits for accept_lost_before".to_owned()
        }
        Verdict::Lost { .. } => "lost, the provider no longer has it".to_owned(),
        verdict => format!("{}, {why}", if verdict.is_unread() { "unread" } else { verdict.word() }),
    }
}
