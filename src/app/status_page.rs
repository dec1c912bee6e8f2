//! The status page: what `status` shows, for a browser and for programs that watch, without a login on the machine.
//!
//! Every answer is made from the ledger when it is asked for. A port that cannot be had is tried again and again: archiving
//! is worth more than the page that tells of it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;

use super::daemon_status::DaemonStatus;
use super::plan_at::PlanAt;
use super::pulse::Pulse;
use super::services::Services;
use super::status::{HeldUp, Status, time_left};
use super::survey::{Judged, StreamSummary};
use crate::adapters::http::{Kind, OwnNames, Page, Server, Site};
use crate::config::WrittenConfig;
use crate::domain::log_entry::Head;
use crate::domain::snapshot::Snapshot;
use crate::domain::text::{clean, json_escaped};
use crate::ports::source_status::{SourceStatus, SourceStatuses};

/// After so long a port that was taken is tried again.
const AGAIN: Duration = Duration::from_secs(60);
/// Windows listed for people; `/status.json` lists them all.
const SHOWN: usize = 200;

/// What it goes by.
pub struct StatusPage {
    /// What the daemon goes by.
    pub services: Arc<Services>,
    /// Every source.
    pub sources: SourceStatuses,
    /// Whether the reconciler lives.
    pub pulse: Arc<Pulse>,
    /// The configuration file that the daemon started with.
    pub written: Option<WrittenConfig>,
}

impl StatusPage {
    /// Shows it at `address`, to those who ask for it by one of `names`, until it is dropped.
    pub async fn run(self, address: SocketAddr, names: OwnNames) {
        let mut said = false;
        let server = loop {
            match Server::bind(address).await {
                Ok(server) => break server,
                Err(error) if !said => {
                    said = true;
                    tracing::error!(%address, %error,
                        "the status page cannot be shown there: free the port, or set daemon.listen; archiving goes on");
                }
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN).await;
        };
        // With port 0, which one it is.
        let address = server.address().unwrap_or(address);
        tracing::info!(%address, "status page shown");
        server.serve(Arc::new(self), names).await;
    }

    async fn status(&self) -> Result<Status, Page> {
        let Services { clock, roster, .. } = &*self.services;
        let snapshot = self.snapshot().await?;
        let written = self.written.clone();
        let now = tokio::task::spawn_blocking(move || written.map(|written| written.again())).await;
        let now = now.ok().flatten();
        let config = now.as_ref().and_then(WrittenConfig::digest);
        // The ledger may not have been told of this run.
        let run = self.services.run.run(snapshot.run.as_ref().and_then(|run| run.looked_at));
        let daemon = DaemonStatus::of(Some(&run), true, config).unwritten(self.services.run.unwritten());
        Ok(Status::of(&roster.rules(), &self.sources, &snapshot, daemon, clock.now()))
    }

    /// What the ledger knows, and what it could not be told.
    async fn snapshot(&self) -> Result<Snapshot, Page> {
        let Services { ledger, machine, owed, .. } = &*self.services;
        let snapshot = ledger.snapshot().await;
        let mut snapshot =
            snapshot.map_err(|error| plain(false, format!("the ledger cannot be read: {error}\n")))?;
        machine.add_to(&mut snapshot);
        owed.take_from(&mut snapshot);
        Ok(snapshot)
    }

    /// Whether all that the streams need works, as far as anybody knows; else a line for each thing that does not.
    async fn ready(&self) -> Result<Page, Page> {
        let snapshot = self.snapshot().await?;
        let held = HeldUp::all(&self.services.roster.rules(), &snapshot, self.services.clock.now());
        let line = |held: &HeldUp| {
            format!("{} is held up since {:.0}: {}\n", held.resource, held.since, held.failure.message)
        };
        let why: String = held.iter().map(line).collect();
        Ok(match (why.is_empty(), self.pulse.has_looked()) {
            (false, _) => plain(false, why),
            (true, false) => plain(false, "what is due was not looked at yet\n"),
            (true, true) => plain(true, "ready\n"),
        })
    }

    async fn plan(&self) -> Result<PlanAt, Page> {
        let snapshot = self.snapshot().await?;
        let Services { clock, roster, .. } = &*self.services;
        Ok(PlanAt::of(&roster.rules(), &snapshot, clock.now()))
    }
}

#[async_trait]
impl Site for StatusPage {
    async fn page(&self, path: &str) -> Option<Page> {
        let page = match path {
            "/" => {
                self.status().await.map(|status| Page { well: true, kind: Kind::Html, text: html(&status) })
            }
            "/status.json" => self.status().await.map(|status| json(&status)),
            "/plan.json" => self.plan().await.map(|plan| json(&plan)),
            "/healthz" if self.pulse.is_alive() => Ok(plain(true, "alive\n")),
            "/healthz" => Ok(plain(false, "the reconciler does not go round\n")),
            "/readyz" => self.ready().await,
            _ => return None,
        };
        Some(page.unwrap_or_else(|page| page))
    }

    fn is_vital(&self, path: &str) -> bool {
        path == "/healthz"
    }
}

fn plain(well: bool, text: impl Into<String>) -> Page {
    Page { well, kind: Kind::Plain, text: text.into() }
}

fn json(document: &impl Serialize) -> Page {
    match serde_json::to_string_pretty(document) {
        Ok(text) => Page { well: true, kind: Kind::Json, text: json_escaped(&(text + "\n")).into_owned() },
        Err(error) => plain(false, format!("{error}\n")),
    }
}

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
<meta http-equiv=\"refresh\" content=\"60\">\n<title>connvault</title>\n<style>\n\
body { font: 14px/1.4 sans-serif; margin: 2em }\ntable { border-collapse: collapse; margin-bottom: 2em }\n\
th, td { border: 1px solid #ccc; padding: .2em .6em; text-align: left; vertical-align: top }\n\
td.head { font-family: monospace; word-break: break-all }\n</style>\n</head>\n<body>\n<h1>connvault</h1>\n";

fn html(status: &Status) -> String {
    let mut page = HEAD.to_owned();
    // Writing to a text cannot fail.
    _ = writeln!(page, "<p>{}</p>", escaped(&status.daemon.words()));
    _ = writeln!(page, "<p>version {}, at {:.0}</p>", env!("CARGO_PKG_VERSION"), status.now);
    let streams = status.streams.iter().map(|stream| stream.cells(status.now, Head::to_string));
    page += &table("streams", StreamSummary::COLUMNS, streams);
    for notice in status.streams.iter().flat_map(StreamSummary::notices) {
        _ = writeln!(page, "<p>{}</p>", escaped(&notice));
    }
    page += &table("sources", SourceStatus::COLUMNS, status.sources.iter().map(SourceStatus::cells));
    if let Some(clock) = &status.clock {
        _ = writeln!(page, "<p><strong>{}</strong></p>", escaped(&clock.words()));
    }
    if !status.holds.is_empty() {
        page += &table("held up", HeldUp::COLUMNS, status.holds.iter().map(|hold| hold.cells(status.now)));
    }
    let (acknowledged, open): (Vec<_>, Vec<_>) =
        status.windows.iter().partition(|judged| judged.acknowledged.is_some());
    if !open.is_empty() {
        let windows = open.iter().take(SHOWN).map(|judged| {
            let (when, why) = judged.words();
            let left = time_left(judged.expires_at, status.now);
            [judged.stream.to_string(), judged.window.to_string(), judged.word(), when, left, why]
        });
        let names = ["stream", "window", "verdict", "since or until", "time left", "why, and what to do"];
        page += &table("not archived", names, windows);
        page += &more(open.len());
    }
    if !acknowledged.is_empty() {
        let rows = acknowledged.iter().take(SHOWN).filter_map(|judged| judged.acknowledged_cells());
        page += &table("not archived, and acknowledged", Judged::ACKNOWLEDGED_COLUMNS, rows);
        page += &more(acknowledged.len());
    }
    page + "</body>\n</html>\n"
}

/// A line that says how many of so many rows are not shown.
fn more(rows: usize) -> String {
    match rows.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("<p>… and {more} more, in <a href=\"status.json\">status.json</a></p>\n"),
    }
}

/// A table; a column called `log head` is set so that it can be read and copied.
fn table<const N: usize>(title: &str, names: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut text = format!("<h2>{title}</h2>\n<table>\n<tr>");
    names.iter().for_each(|name| text += &format!("<th>{name}</th>"));
    text += "</tr>\n";
    for row in rows {
        text += "<tr>";
        for (name, cell) in names.iter().zip(&row) {
            let class = if *name == "log head" { " class=\"head\"" } else { "" };
            _ = write!(text, "<td{class}>{}</td>", escaped(cell));
        }
        text += "</tr>\n";
    }
    text + "</table>\n"
}

/// Messages hold what others have said.
fn escaped(text: &str) -> String {
    let text = clean(text, usize::MAX);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_said_is_only_shown() {
        let page = table("x", ["why"], [["<script>\"a\" & b</script>\u{202e}".to_owned()]].into_iter());
        assert!(page.contains("<td>&lt;script&gt;&quot;a&quot; &amp; b&lt;/script&gt; </td>"), "{page}");
    }
}
