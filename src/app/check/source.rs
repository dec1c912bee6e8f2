//! A source: credentials, the clock, and each permission by itself, with a real export of one minute.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use super::{Check, Checks, region};
use crate::adapters::inspect::inspect;
use crate::adapters::workspace::api_choice::may_be_withdrawn;
use crate::adapters::workspace::notice;
use crate::adapters::workspace::probe::{Cause, INTOLERABLE, NOTABLE, ProbeError, SourceProbe};
use crate::app::compose::{self, Injected};
use crate::app::projects;
use crate::config::Source;
use crate::domain::digest::Sha256;
use crate::domain::duration::{spelled, spelled_std};
use crate::domain::export::{ApiChoice, Bounds, ExportApi, Filters};
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::name::SourceName;
use crate::domain::snapshot::Snapshot;
use crate::domain::window::Window;
use crate::ports::record_source::{ByteSink, ExportRequest};

/// The minute that is exported ended so long ago: what is asked for must be over, by the source's clock too, which may be
/// almost [`INTOLERABLE`] behind.
const AGO: SignedDuration = SignedDuration::from_mins(20);
/// A task for one minute's records is waited for no longer, though an export would be.
const PATIENCE: Duration = Duration::from_secs(120);

const API: &str = "export API";
const PROJECT: &str = "project";
const CREDENTIALS: &str = "credentials";
const QUERY: &str = "query";
const CLOCK: &str = "clock";
const EXPORT_V2: &str = "v2 export of one minute";
const LIST: &str = "list of export tasks";
const EXPORT_V3: &str = "v3 export of one minute";
const DOWNLOAD: &str = "download of an export task";
const DELETE: &str = "deletion of an export task";
const ROWS: [&str; 10] =
    [API, PROJECT, CREDENTIALS, QUERY, CLOCK, EXPORT_V2, LIST, EXPORT_V3, DOWNLOAD, DELETE];

const STOPPED: &str = "it was told to stop";
const SET_THE_CLOCK: &str = "run timedatectl, and set up time synchronisation";
const CHANGE_THE_KEYS: &str = "mend the source's credentials section and its files: the keys are wrong, do not belong together, \
     were revoked, or have run out";
const SEE_TO_THE_NETWORK: &str = "see to network, proxy and certificates, and run check again";

pub(super) async fn check(
    name: &SourceName,
    source: &Source,
    snapshot: &Snapshot,
    injected: &Injected,
    stop: &CancellationToken,
) -> Vec<Check> {
    let mut checks = Checks::of(format!("source {name}"));
    region::check(source.region.as_str(), Some(source.endpoint.url()), &mut checks);
    let status = notice::status(name, source.api, &snapshot.notes);
    match status.notice {
        None => checks.ok(API, &status.way),
        Some(notice) => checks.note(
            API,
            format!("{}: {notice}", status.way),
            match source.api {
                ApiChoice::V2 => "set api = \"auto\"",
                ApiChoice::Auto | ApiChoice::V3 => "nothing needs to be done while api = \"auto\"",
            },
        ),
    }
    if let Some(probe) = probe(name, source, injected, &mut checks).await {
        let request = one_minute(injected);
        let queried = query(&probe, &request, &mut checks).await;
        clock(&probe, &mut checks);
        let in_use = match notice::in_use(name, source.api, &snapshot.notes) {
            ExportApi::V2 => v2(&probe, &request, (source.api, &queried), &mut checks).await,
            ExportApi::V3 => ExportApi::V3,
        };
        checks.skip_rest(&[EXPORT_V2], "exports go through v3");
        if source.api == ApiChoice::V2 {
            checks.skip_rest(&ROWS, "api = \"v2\" makes no tasks");
        } else {
            let tasks =
                Tasks { probe: &probe, in_use: in_use == ExportApi::V3, limit: source.task_timeout, stop };
            tasks.check(&request, &mut checks).await;
        }
    }
    checks.skip_rest(&ROWS, "waits for what failed above");
    checks.list
}

/// The source, ready to be asked, where its project is known and there is something to be let in with.
async fn probe(
    name: &SourceName,
    source: &Source,
    injected: &Injected,
    checks: &mut Checks,
) -> Option<SourceProbe> {
    let mut source = source.clone();
    if source.project_id.is_none() {
        match projects::look_up(name, &source, injected).await {
            Ok(id) => source.project_id = Some(id),
            Err(failure) => {
                let fix = match failure.kind {
                    FailureKind::Transient => {
                        "see to network, proxy, iam_endpoint and certificates, or set project_id"
                    }
                    _ => "set project_id, or mend credentials, region and iam_endpoint",
                };
                checks.failed(PROJECT, failure.message, fix);
                return None;
            }
        }
    }
    let probe = match compose::probe(&source, injected) {
        Ok(probe) => probe,
        Err(error) => {
            checks.failed(PROJECT, error, "mend the source's section");
            return None;
        }
    };
    let id = source.project_id.as_ref().map_or("", |id| id.as_str());
    checks.ok(PROJECT, format!("{id} at {}", source.endpoint.url()));
    match probe.credentials().await {
        Ok(()) => checks.ok(CREDENTIALS, "there; whether they are let in, the next rows show"),
        Err(error) => {
            let fix = match error.cause {
                Cause::Credentials => "mend the source's credentials section and its files",
                _ => SEE_TO_THE_NETWORK,
            };
            checks.failed(CREDENTIALS, error.failure.message, fix);
            return None;
        }
    }
    Some(probe)
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
        after: None,
        expires_at: Timestamp::MAX,
        filters: Filters::default(),
    }
}

async fn query(probe: &SourceProbe, request: &ExportRequest, checks: &mut Checks) -> Result<u64, Failure> {
    let queried = probe.query(request).await;
    match &queried {
        Ok(records) => {
            let Bounds { start, end } = request.bounds;
            checks.ok(QUERY, format!("{records} records from {start} to {end}"));
        }
        Err(error) => {
            let (detail, fix) = (said(error), fix(error));
            match error.cause {
                Cause::Permission(_) => {
                    checks.note(
                        QUERY,
                        detail,
                        &format!("{fix}; without it windows are archived as uncounted"),
                    );
                }
                _ => checks.failed(QUERY, detail, &fix),
            }
        }
    }
    queried.map_err(|error| error.failure)
}

fn clock(probe: &SourceProbe, checks: &mut Checks) {
    // The source has not answered: why, the query says.
    let Some(ahead) = probe.clock_ahead() else {
        return checks.skip_rest(&[CLOCK], "the source has not answered");
    };
    let by = spelled(ahead);
    let detail = match ahead.as_secs() {
        0 => "as the source's".to_owned(),
        1.. => format!("{by} behind the source's"),
        _ => format!("{by} ahead of the source's"),
    };
    match ahead.abs() {
        by if by > INTOLERABLE => checks.failed(CLOCK, detail, SET_THE_CLOCK),
        by if by > NOTABLE => checks.note(CLOCK, detail, SET_THE_CLOCK),
        _ => checks.ok(CLOCK, detail),
    }
}

/// The v2 export; says which API the next pull goes through, which finds out as well when v2 is withdrawn.
async fn v2(
    probe: &SourceProbe,
    request: &ExportRequest,
    (api, queried): (ApiChoice, &Result<u64, Failure>),
    checks: &mut Checks,
) -> ExportApi {
    let error = match exported(async |sink| probe.export_v2(request, sink).await).await {
        Ok(detail) => {
            checks.ok(EXPORT_V2, detail);
            return ExportApi::V2;
        }
        Err(error) => error,
    };
    let withdrawn = error.failure.kind == FailureKind::Gone && may_be_withdrawn(queried);
    if withdrawn && api == ApiChoice::Auto {
        let detail = format!("{}; v3 takes over with the first window that is pulled", error.failure.message);
        checks.note(EXPORT_V2, detail, "nothing needs to be done, where the v3 export works");
        return ExportApi::V3;
    }
    let fix = if withdrawn {
        "set api = \"auto\" or \"v3\": this one is withdrawn".to_owned()
    } else {
        fix(&error)
    };
    checks.failed(EXPORT_V2, said(&error), &fix);
    ExportApi::V2
}

/// The v3 export.
struct Tasks<'a> {
    probe: &'a SourceProbe,
    /// While it is not in use, what only it needs is told ahead of time and fails nothing.
    in_use: bool,
    /// How long an export waits for its task.
    limit: Duration,
    stop: &'a CancellationToken,
}

impl Tasks<'_> {
    async fn check(&self, request: &ExportRequest, checks: &mut Checks) {
        let Self { probe, stop, .. } = self;
        if let Err(error) = probe.list_tasks().await {
            self.tell(LIST, &error, checks);
            // A task that could not be followed would be left behind.
            return checks.skip_rest(&ROWS, "tasks cannot be listed");
        }
        checks.ok(LIST, "allowed");
        if stop.is_cancelled() {
            return checks.skip_rest(&ROWS, STOPPED);
        }
        let task = match probe.create_task(request).await {
            Ok(task) => task,
            Err(error) => {
                self.tell(EXPORT_V3, &error, checks);
                return checks.skip_rest(&ROWS, "there is no task");
            }
        };
        checks.ok(EXPORT_V3, format!("task {task}"));
        let patience = PATIENCE.min(self.limit);
        let downloaded = tokio::select! {
            downloaded = exported(async |sink| probe.download(&task, patience, sink).await) => Some(downloaded),
            () = stop.cancelled() => None,
        };
        let unfinished = matches!(&downloaded, Some(Err(ProbeError { cause: Cause::Unfinished, .. })) | None);
        match downloaded {
            Some(Ok(detail)) => checks.ok(DOWNLOAD, detail),
            Some(Err(error)) => self.tell(DOWNLOAD, &error, checks),
            None => checks.skip_rest(&[DOWNLOAD], STOPPED),
        }
        match probe.delete_task(&task).await {
            Ok(()) => checks.ok(DELETE, "the task is deleted"),
            Err(error) if unfinished && error.failure.kind == FailureKind::Rejected => {
                let fix = format!("delete task {task} in the export centre when it is done");
                checks.note(DELETE, said(&error), &fix);
            }
            Err(mut error) => {
                error.failure.message += &format!("; task {task} is left in the export centre");
                self.tell(DELETE, &error, checks);
            }
        }
    }

    fn tell(&self, check: &'static str, error: &ProbeError, checks: &mut Checks) {
        tell(check, error, (self.limit, self.in_use), checks);
    }
}

/// What became of a row of the v3 export, for a source whose exports wait for a task for so long, and go this way or not yet.
fn tell(check: &'static str, error: &ProbeError, (limit, in_use): (Duration, bool), checks: &mut Checks) {
    let (detail, fix) = (said(error), fix(error));
    match error.cause {
        // Whatever else is asked for meets them as well.
        Cause::Clock | Cause::Credentials => checks.failed(check, detail, &fix),
        Cause::Unfinished if limit > PATIENCE => {
            let fix =
                format!("run check again later; an export waits for {} (task_timeout)", spelled_std(limit));
            checks.note(check, detail, &fix);
        }
        _ if in_use => checks.failed(check, detail, &fix),
        _ => checks.note(check, detail, &format!("before v2 is withdrawn: {fix}")),
    }
}

/// Has an export flow into a file, and looks into it.
async fn exported(
    export: impl AsyncFnOnce(&mut dyn ByteSink) -> Result<(), ProbeError>,
) -> Result<String, ProbeError> {
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
            Err(Failure::new(error.kind(), Scope::Window, message).into())
        }
        Err(error) => Err(local(io::Error::other(error)).into()),
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

/// What was said of it, with the request id that the provider's support asks for.
fn said(error: &ProbeError) -> String {
    let Failure { message, request_ids, .. } = &error.failure;
    match request_ids.last() {
        Some(id) => format!("{message} (request {id})"),
        None => message.to_string(),
    }
}

/// What helps against it.
fn fix(error: &ProbeError) -> String {
    let fix = match error.cause {
        Cause::Permission(Some(permission)) => {
            return format!("grant the permission {permission} to the user or agency of these credentials");
        }
        Cause::Permission(None) => {
            "give the user or agency of these credentials a role that may: the provider's documentation names no permission for \
             this call"
        }
        Cause::Clock => SET_THE_CLOCK,
        Cause::Credentials => CHANGE_THE_KEYS,
        Cause::Task => "run check again; where it goes on, ask the provider's support why",
        Cause::Unfinished => "raise task_timeout, and run check again later",
        Cause::Provider => {
            "run check again later; where it goes on, ask the provider's support, with the request's id"
        }
        Cause::Kind => match error.failure.kind {
            FailureKind::Transient => SEE_TO_THE_NETWORK,
            FailureKind::Throttled => {
                "run check again later, and lower requests_per_second where this goes on"
            }
            FailureKind::Auth => CHANGE_THE_KEYS,
            FailureKind::Gone | FailureKind::Rejected => {
                "check region, project_id and endpoint; where these are right, ask the provider's support"
            }
            FailureKind::Corrupt | FailureKind::Unread => {
                "see what stands between here and the source: a proxy answers like this"
            }
            FailureKind::Damaged | FailureKind::Local | FailureKind::Clock => {
                "free some space in the folder for temporary files (TMPDIR)"
            }
        },
    };
    fix.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::check::Outcome;

    fn told(error: &ProbeError, limit: Duration, in_use: bool) -> (Outcome, String) {
        let mut checks = Checks::of("source hq");
        tell(DOWNLOAD, error, (limit, in_use), &mut checks);
        let check = checks.list.remove(0);
        (check.outcome, check.fix.unwrap_or_default())
    }

    #[test]
    fn a_task_that_is_not_done_yet_is_no_failure_while_an_export_would_wait_for_it() {
        let failure = Failure::new(FailureKind::Transient, Scope::Window, "not done");
        let error = ProbeError { failure, cause: Cause::Unfinished };
        for in_use in [true, false] {
            let (outcome, fix) = told(&error, PATIENCE * 2, in_use);
            assert_eq!(outcome, Outcome::Note);
            assert!(fix.contains("waits for 4m (task_timeout)"), "{fix}");
        }
        let (outcome, fix) = told(&error, PATIENCE, true);
        assert!(outcome == Outcome::Failed && fix.contains("raise task_timeout"), "{fix}");
    }
}
