//! `reread`: reads what was archived unread again, with this version's reader.

use serde::Serialize;

use super::{CliError, output, reconcile, retry, signals};
use crate::app::archive::{Job, Reread};
use crate::app::compose::{self, Injected};
use crate::app::session::Session;
use crate::app::start_error::StartError;
use crate::config::Config;
use crate::domain::count::CountVerdict;
use crate::domain::export::Format;
use crate::domain::failure::{Failure, Scope};
use crate::domain::name::StreamName;
use crate::domain::object_key::Revision;
use crate::domain::snapshot::Snapshot;
use crate::domain::window::Window;
use crate::exit_code::Exit;

#[derive(Default, Serialize)]
struct Document {
    /// Windows whose records are in the log now.
    read: Vec<ReadNow>,
    /// Windows that are still unread.
    unread: Vec<StillUnread>,
}

#[derive(Serialize)]
struct ReadNow {
    stream: StreamName,
    window: Window,
    revision: Revision,
    format: Format,
    rows: u64,
    count: CountVerdict,
    /// The log entry that says so.
    seq: u64,
}

#[derive(Serialize)]
struct StillUnread {
    stream: StreamName,
    window: Window,
    /// Absent where the object could not be looked into at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    reason: String,
}

pub(super) async fn run(
    config: &Config,
    injected: &Injected,
    stream: Option<StreamName>,
    window: Option<Window>,
    as_json: bool,
) -> Result<Exit, CliError> {
    if let Some(stream) = stream.as_ref().filter(|stream| !config.streams.contains_key(stream)) {
        return Err(retry::unknown_stream(config, stream));
    }
    if let (Some(stream), Some(window)) = (&stream, window) {
        retry::check_window(&compose::recorded_rules(config, &Snapshot::default()), stream, window)?;
    }
    let controls = signals::controls()?;
    let Some(session) = reconcile::begin_and_open(config, injected, &controls).await? else {
        return Ok(Exit::Temporary);
    };
    let document = tokio::select! {
        document = all(&session, stream.as_ref(), window) => document,
        () = controls.stop.cancelled() => return Ok(Exit::Temporary),
    };
    session.end().await;
    let document =
        document.map_err(|(stream, failure)| StartError::from_failure(stream.as_str(), &failure))?;
    if as_json {
        output::json(&document)?;
    } else {
        output::text(&text(&document))?;
    }
    Ok(if document.unread.is_empty() { Exit::Done } else { Exit::Found })
}

/// Reads the windows that are asked for. What is wrong with one of them keeps none of the others from being read.
async fn all(
    session: &Session,
    only: Option<&StreamName>,
    window: Option<Window>,
) -> Result<Document, (StreamName, Failure)> {
    let services = &session.services;
    let mut document = Document::default();
    for (name, stream) in services.roster.streams() {
        if only.is_some_and(|only| *only != name) {
            continue;
        }
        let failed = |failure| (name.clone(), failure);
        let windows = services.unread_windows(&stream.rules).await.map_err(failed)?;
        for window in windows.into_iter().filter(|unread| window.is_none_or(|window| window == *unread)) {
            match (Job { services, stream: &stream, window }).reread().await {
                Ok(Reread::NotUnread) => {}
                Ok(Reread::Read { revision, format, rows, count, seq }) => {
                    let (stream, seq) = (name.clone(), seq.get());
                    document.read.push(ReadNow { stream, window, revision, format, rows, count, seq });
                }
                Ok(Reread::Unread { key, reason }) => document.unread.push(StillUnread {
                    stream: name.clone(),
                    window,
                    key: Some(key.to_string()),
                    reason: reason.to_string(),
                }),
                Err(failure) if failure.scope == Scope::Window => document.unread.push(StillUnread {
                    stream: name.clone(),
                    window,
                    key: None,
                    reason: failure.message.to_string(),
                }),
                Err(failure) => return Err(failed(failure)),
            }
        }
    }
    Ok(document)
}

fn text(document: &Document) -> String {
    let mut text = String::new();
    for ReadNow { stream, window, revision, format, rows, count, seq } in &document.read {
        text += &format!(
            "{stream} {window}: read, {revision} is {format} with {}, {}; log entry {seq}\n",
            output::count(*rows, "record"),
            count.as_str()
        );
    }
    for StillUnread { stream, window, reason, .. } in &document.unread {
        text += &format!("{stream} {window}: still unread: {}\n", output::printable(reason));
    }
    let (read, unread) = (document.read.len() as u64, document.unread.len());
    match read as usize + unread {
        0 => "nothing is archived unread there\n".to_owned(),
        _ => text + &format!("{} read, {unread} still unread\n", output::count(read, "window")),
    }
}
