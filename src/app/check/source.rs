//! A source: credentials, the clock, and each permission by itself, with a real export of one minute.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tempfile::NamedTempFile;

use super::{Check, Checks};
use crate::adapters::inspect::inspect;
use crate::adapters::workspace::probe::SourceProbe;
use crate::app::compose::{self, Injected};
use crate::app::status::SourceStatus;
use crate::config::Source;
use crate::domain::digest::Sha256;
use crate::domain::export::{ApiChoice, Bounds, ExportApi, Filters};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::name::SourceName;
use crate::domain::snapshot::Snapshot;
use crate::domain::window::Window;
use crate::ports::record_source::{ByteSink, ExportRequest};

/// A clock that is off by more is worth a word …
const NOTABLE: SignedDuration = SignedDuration::from_mins(5);
/// … and with more than this nothing is signed.
const INTOLERABLE: SignedDuration = SignedDuration::from_mins(14);
/// The minute that is exported ended so long ago: what is asked for must be over.
const AGO: SignedDuration = SignedDuration::from_mins(10);
/// A task for one minute's records that takes longer than this is not waited for.
const PATIENCE: Duration = Duration::from_secs(120);

const QUERY: &str = "query";
const EXPORT_V2: &str = "v2 export of one minute";
const LIST: &str = "list of export tasks";
const EXPORT_V3: &str = "v3 export of one minute";
const DELETE: &str = "deletion of an export task";
const DOWNLOAD: &str = "download of an export task";

pub(super) async fn check(
    name: &SourceName,
    source: &Source,
    snapshot: &Snapshot,
    injected: &Injected,
) -> Vec<Check> {
    let mut checks = Checks::of(format!("source {name}"));
    let probe = match compose::probe(source, injected) {
        Ok(probe) => probe,
        Err(error) => {
            checks.failed("settings", error, "mend the source's section");
            return checks.list;
        }
    };
    if let Err(failure) = probe.credentials().await {
        checks.failed("credentials", failure.message, "mend the source's credentials section and its files");
        checks.skipped(&[QUERY, EXPORT_V2, LIST, EXPORT_V3], "there is nothing to be let in with");
        return checks.list;
    }
    checks.ok("credentials", "there");
    let status = SourceStatus::of(name, source.api, snapshot.withdrawals.get(name));
    match status.notice {
        None => checks.ok("export API", status.in_use.as_str()),
        Some(notice) => checks.note(
            "export API",
            format!("{}: {notice}", status.in_use.as_str()),
            "nothing needs to be done while api = \"auto\"",
        ),
    }
    let request = one_minute(injected);
    query(&probe, &request, &mut checks).await;
    clock(&probe, &mut checks);
    if source.api == ApiChoice::V2 || status.in_use == ExportApi::V2 {
        v2(&probe, &request, &mut checks).await;
    }
    if source.api != ApiChoice::V2 {
        v3(&probe, &request, status.in_use == ExportApi::V3, &mut checks).await;
    }
    checks.list
}

/// What is asked for: all records of a minute that is over.
fn one_minute(injected: &Injected) -> ExportRequest {
    let second = injected.clock.now().as_second() - AGO.as_secs();
    let at = |second| Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH);
    let start = second - second.rem_euclid(60);
    let bounds = Bounds { start: at(start), end: at(start + 60) };
    ExportRequest {
        stream: "check".parse().expect("five small letters are a name"),
        window: Window::new(bounds.start, bounds.end).expect("a minute that begins on a minute is a window"),
        definition: Sha256::of(b"check"),
        bounds,
        filters: Filters::default(),
    }
}

async fn query(probe: &SourceProbe, request: &ExportRequest, checks: &mut Checks) {
    match probe.query(request).await {
        Ok(records) => checks.ok(QUERY, format!("{records} records in one minute")),
        Err(failure) if failure.kind == FailureKind::Auth && !is_off(probe) => checks.note(
            QUERY,
            failure.message,
            "grant the permission to query connection records; without it windows are archived as uncounted",
        ),
        Err(failure) => checks.failed(QUERY, failure.message, fix(failure.kind)),
    }
}

fn is_off(probe: &SourceProbe) -> bool {
    probe.clock_ahead().is_some_and(|ahead| ahead.abs() > INTOLERABLE)
}

fn clock(probe: &SourceProbe, checks: &mut Checks) {
    let fix = "run timedatectl, and set up time synchronisation";
    match probe.clock_ahead() {
        None => checks.skipped(&["clock"], "the source has not answered"),
        Some(ahead) => {
            let detail = format!("differs from the source's by {} s", ahead.as_secs().abs());
            match ahead.abs() {
                by if by > INTOLERABLE => checks.failed("clock", detail, fix),
                by if by > NOTABLE => checks.note("clock", detail, fix),
                _ => checks.ok("clock", detail),
            }
        }
    }
}

async fn v2(probe: &SourceProbe, request: &ExportRequest, checks: &mut Checks) {
    let exported = exported(async |sink| probe.export_v2(request, sink).await).await;
    match exported {
        Ok(detail) => checks.ok(EXPORT_V2, detail),
        Err(failure) => checks.failed(EXPORT_V2, failure.message, fix(failure.kind)),
    }
}

/// The v3 export: while it is not in use, what does not work is told ahead of time and fails nothing.
async fn v3(probe: &SourceProbe, request: &ExportRequest, in_use: bool, checks: &mut Checks) {
    let tell = |check, failure: &Failure, checks: &mut Checks| {
        if in_use {
            checks.failed(check, failure.message.clone(), fix(failure.kind));
        } else {
            let fix = format!("{}, before v2 is withdrawn", fix(failure.kind));
            checks.note(check, failure.message.clone(), &fix);
        }
    };
    match probe.list_tasks().await {
        Ok(()) => checks.ok(LIST, "given"),
        Err(failure) => {
            tell(LIST, &failure, checks);
            // A task that could not be followed would be left behind.
            return checks.skipped(&[EXPORT_V3, DOWNLOAD, DELETE], "tasks cannot be listed");
        }
    }
    let task = match probe.create_task(request).await {
        Ok(task) => task,
        Err(failure) => {
            tell(EXPORT_V3, &failure, checks);
            return checks.skipped(&[DOWNLOAD, DELETE], "there is no task");
        }
    };
    checks.ok(EXPORT_V3, format!("task {task}"));
    match exported(async |sink| probe.download(&task, PATIENCE, sink).await).await {
        Ok(detail) => checks.ok(DOWNLOAD, detail),
        Err(failure) => tell(DOWNLOAD, &failure, checks),
    }
    match probe.delete_task(&task).await {
        Ok(()) => checks.ok(DELETE, "done"),
        Err(mut failure) => {
            failure.message += &format!("; task {task} is left in the export centre");
            tell(DELETE, &failure, checks);
        }
    }
}

/// Has an export flow into a file, and looks into it.
async fn exported(
    export: impl AsyncFnOnce(&mut dyn ByteSink) -> Result<(), Failure>,
) -> Result<String, Failure> {
    let local = |error: io::Error| {
        let message = format!("no room for a file in {}: {error}", std::env::temp_dir().display());
        Failure::new(FailureKind::Local, Scope::Daemon, message)
    };
    let mut sink = TempSink(NamedTempFile::new().map_err(local)?, 0);
    export(&mut sink).await?;
    let TempSink(file, bytes) = sink;
    let looked = tokio::task::spawn_blocking(move || inspect(file.path(), &std::env::temp_dir(), &|| false));
    match looked.await {
        Ok(Ok(found)) => Ok(format!("{bytes} bytes of {}, {} records", found.format, found.rows)),
        Ok(Err(error)) => {
            let message = format!("{bytes} bytes that are no export: {error}");
            Err(Failure::new(error.kind(), Scope::Window, message))
        }
        Err(error) => Err(local(io::Error::other(error))),
    }
}

/// A file that goes when it is dropped, and how many bytes are in it.
struct TempSink(NamedTempFile, u64);

#[async_trait]
impl ByteSink for TempSink {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.1 += bytes.len() as u64;
        io::Write::write_all(&mut self.0, &bytes)
    }
}

/// What helps against a failure of this kind.
fn fix(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Transient => "see to network, proxy and certificates, and run check again",
        FailureKind::Throttled => "run check again later, and lower requests_per_second where this goes on",
        FailureKind::Auth => "grant the permission that is named to the user or agency of these credentials",
        FailureKind::Gone => {
            "set api = \"auto\" or \"v3\"; where that does not help either, check region and endpoint"
        }
        FailureKind::Rejected => "check region, project_id and endpoint",
        FailureKind::Corrupt => "see what stands between here and the source: a proxy answers like this",
        FailureKind::Damaged | FailureKind::Local => {
            "free some space in the folder for temporary files (TMPDIR)"
        }
    }
}
