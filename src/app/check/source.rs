//! A source: credentials, the clock, and each permission by itself, with a real export of one minute.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use super::{Check, Checks};
use crate::adapters::inspect::inspect;
use crate::adapters::workspace::api_choice::may_be_withdrawn;
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
const STOPPED: &str = "it was told to stop";

pub(super) async fn check(
    name: &SourceName,
    source: &Source,
    snapshot: &Snapshot,
    injected: &Injected,
    stop: &CancellationToken,
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
    let queried = query(&probe, &request, &mut checks).await;
    clock(&probe, &mut checks);
    let in_use = match status.in_use {
        ExportApi::V2 => v2(&probe, &request, (source.api, &queried), &mut checks).await,
        ExportApi::V3 => ExportApi::V3,
    };
    if source.api != ApiChoice::V2 {
        let tasks = Tasks { probe: &probe, in_use: in_use == ExportApi::V3, stop };
        tasks.check(&request, &mut checks).await;
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

async fn query(probe: &SourceProbe, request: &ExportRequest, checks: &mut Checks) -> Result<u64, Failure> {
    let queried = probe.query(request).await;
    match &queried {
        Ok(records) => checks.ok(QUERY, format!("{records} records in one minute")),
        Err(failure) if failure.kind == FailureKind::Auth && !is_off(probe) => checks.note(
            QUERY,
            failure.message.clone(),
            "grant the permission to query connection records; without it windows are archived as uncounted",
        ),
        Err(failure) => checks.failed(QUERY, failure.message.clone(), fix(failure.kind)),
    }
    queried
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

/// The v2 export; says which API the next pull goes through, which finds out as well when v2 is withdrawn.
async fn v2(
    probe: &SourceProbe,
    request: &ExportRequest,
    (api, queried): (ApiChoice, &Result<u64, Failure>),
    checks: &mut Checks,
) -> ExportApi {
    let exported = exported(async |sink| probe.export_v2(request, sink).await).await;
    match exported {
        Ok(detail) => checks.ok(EXPORT_V2, detail),
        Err(failure)
            if api == ApiChoice::Auto && failure.kind == FailureKind::Gone && may_be_withdrawn(queried) =>
        {
            let detail = format!("{}; v3 takes over with the first window that is pulled", failure.message);
            checks.note(EXPORT_V2, detail, "nothing needs to be done, where the v3 export works");
            return ExportApi::V3;
        }
        Err(failure) => checks.failed(EXPORT_V2, failure.message, fix(failure.kind)),
    }
    ExportApi::V2
}

/// The v3 export.
struct Tasks<'a> {
    probe: &'a SourceProbe,
    /// While it is not in use, what does not work is told ahead of time and fails nothing.
    in_use: bool,
    stop: &'a CancellationToken,
}

impl Tasks<'_> {
    async fn check(&self, request: &ExportRequest, checks: &mut Checks) {
        let Self { probe, stop, .. } = self;
        if let Err(failure) = probe.list_tasks().await {
            self.tell(LIST, &failure, checks);
            // A task that could not be followed would be left behind.
            return checks.skipped(&[EXPORT_V3, DOWNLOAD, DELETE], "tasks cannot be listed");
        }
        checks.ok(LIST, "given");
        if stop.is_cancelled() {
            return checks.skipped(&[EXPORT_V3, DOWNLOAD, DELETE], STOPPED);
        }
        let task = match probe.create_task(request).await {
            Ok(task) => task,
            Err(failure) => {
                self.tell(EXPORT_V3, &failure, checks);
                return checks.skipped(&[DOWNLOAD, DELETE], "there is no task");
            }
        };
        checks.ok(EXPORT_V3, format!("task {task}"));
        let downloaded = tokio::select! {
            downloaded = exported(async |sink| probe.download(&task, PATIENCE, sink).await) => Some(downloaded),
            () = stop.cancelled() => None,
        };
        match downloaded {
            Some(Ok(detail)) => checks.ok(DOWNLOAD, detail),
            Some(Err(failure)) => self.tell(DOWNLOAD, &failure, checks),
            None => checks.skipped(&[DOWNLOAD], STOPPED),
        }
        match probe.delete_task(&task).await {
            Ok(()) => checks.ok(DELETE, "done"),
            Err(mut failure) => {
                failure.message += &format!("; task {task} is left in the export centre");
                self.tell(DELETE, &failure, checks);
            }
        }
    }

    fn tell(&self, check: &'static str, failure: &Failure, checks: &mut Checks) {
        if self.in_use {
            checks.failed(check, failure.message.clone(), fix(failure.kind));
        } else {
            let fix = format!("{}, before v2 is withdrawn", fix(failure.kind));
            checks.note(check, failure.message.clone(), &fix);
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
            "check region, project_id and endpoint; where the provider has withdrawn the API, set api = \"auto\" or \"v3\""
        }
        FailureKind::Rejected => "check region, project_id and endpoint",
        FailureKind::Corrupt => "see what stands between here and the source: a proxy answers like this",
        FailureKind::Damaged | FailureKind::Local => {
            "free some space in the folder for temporary files (TMPDIR)"
        }
    }
}
