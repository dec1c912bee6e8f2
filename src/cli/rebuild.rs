//! `rebuild`: the ledger anew, from the logs in the stores.

use std::sync::Arc;

use clap::Args;
use indicatif::MultiProgress;
use serde::Serialize;

use super::progress::MeterBar;
use super::verify::{Told, tell, wrong};
use super::{CliError, output};
use crate::app::compose::Injected;
use crate::app::rebuild::{self, Known, Rebuilt, Trust};
use crate::app::verify::Meter;
use crate::config::Config;
use crate::domain::audit::Finding;
use crate::domain::log_entry::Head;
use crate::domain::name::StreamName;
use crate::exit_code::Exit;

/// What is asked for.
#[derive(Debug, Args)]
pub(super) struct Asked {
    /// Go on with logs that do not verify, as far as they can be read
    #[arg(long)]
    accept_unverified: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    /// Whether the ledger was made anew.
    rebuilt: bool,
    streams: Vec<StreamDocument<'a>>,
}

#[derive(Serialize)]
struct StreamDocument<'a> {
    stream: &'a StreamName,
    head: Option<Head>,
    archived: u64,
    lost: u64,
    parked: u64,
    findings: Vec<Told<'a, Finding>>,
}

pub(super) async fn run(
    config: &Config,
    injected: &Injected,
    asked: &Asked,
    json: bool,
    bars: Option<MultiProgress>,
) -> Result<Exit, CliError> {
    let trust = if asked.accept_unverified { Trust::Unverified } else { Trust::Verified };
    let meter = Arc::new(Meter::default());
    let bar = bars.map(|bars| MeterBar::new(&bars, Arc::clone(&meter)));
    let streams = rebuild::rebuild(config, injected, trust, &meter).await?;
    drop(bar);
    let rebuilt = streams.iter().any(|stream| stream.known.is_some());
    if json {
        output::json(&Document { rebuilt, streams: streams.iter().map(document).collect() })?;
    } else {
        output::text(&text(&streams))?;
    }
    if rebuilt || streams.is_empty() {
        return Ok(Exit::Done);
    }
    output::say(
        "the ledger is as it was: these logs do not verify. Put them right from a copy; or go on with what of them can \
         be read, which leaves the damage in the archive for every audit to find: connvault rebuild --accept-unverified",
    );
    Ok(Exit::Found)
}

fn document(stream: &Rebuilt) -> StreamDocument<'_> {
    let Known { head, archived, lost, parked } = stream.known.unwrap_or_default();
    StreamDocument { stream: &stream.stream, head, archived, lost, parked, findings: tell(&stream.findings) }
}

fn text(streams: &[Rebuilt]) -> String {
    let mut text = wrong(streams.iter().map(|stream| (&stream.stream, stream.findings.as_slice())));
    for Rebuilt { stream, known, .. } in streams {
        text += &match known {
            None => continue,
            Some(Known { head: None, .. }) => format!("{stream}: there is no log in the store yet\n"),
            Some(Known { head: Some(head), archived, lost, parked }) => {
                let archived = output::count(*archived, "window");
                format!("{stream}: {archived} archived, {lost} lost, {parked} parked; head {head}\n")
            }
        };
    }
    text
}
