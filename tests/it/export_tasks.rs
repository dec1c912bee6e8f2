//! The v3 export, by the real program against the simulator's export centre: tasks created, waited for, fetched, deleted.

use std::collections::BTreeSet;

use connvault::adapters::sqlite_ledger::SqliteLedger;
use connvault::adapters::system_clock::SystemClock;
use connvault::adapters::workspace::upkeep::tell_strangers;
use connvault::domain::export::ExportApi;
use connvault::domain::log_entry::{EntryBody, ExportFacts};
use connvault::ports::checkpoint::Step;
use connvault::ports::clock::Clock;
use connvault::ports::notebook::Notebook;
use connvault_sim::{Builder, Endpoint, Fate, Fault, Rule};
use futures_util::{StreamExt, stream};
use jiff::SignedDuration;

use crate::support::vault::{self, Audit, Vault, WINDOWS, text};

/// The v3 API.
const TASKS: &str = "api = \"v3\"\n";
const ANSWER_LOST: &str = "the answer to a request for an export task was lost";

/// A vault whose source is asked through the v3 API, with more lines in its section.
pub async fn by_tasks(more: &str) -> Vault {
    let vault = Vault::in_directory().await;
    vault.configure_with(&format!("{TASKS}{more}"), "");
    vault
}

pub fn exports(audit: &Audit) -> Vec<ExportFacts> {
    let archived = audit.entries.iter().filter_map(|entry| match &entry.entry().body {
        EntryBody::Archived(archived) => Some(archived.export.clone()),
        _ => None,
    });
    archived.collect()
}

/// Runs `once` until at most so many tasks are left, and returns the log: a task that cannot be deleted yet is left to the next
/// run.
pub async fn runs_until_tasks_are_left(vault: &Vault, left: usize) -> String {
    let (began, mut log) = (std::time::Instant::now(), String::new());
    loop {
        log += &text(&vault.once().await.stderr);
        if vault.sim.tasks().all().len() <= left || began.elapsed().as_secs() > 100 {
            return log;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

pub async fn everything_is_archived_and_nothing_left(vault: &Vault, when: &str) {
    everything_is_archived_after("", vault, when).await;
}

/// As above, after a run that was killed; `log` is that of the next run. A task may be left for each request whose answer that
/// log calls lost, and for no other.
async fn everything_is_archived_after(log: &str, vault: &Vault, when: &str) {
    let unknown = log.matches(ANSWER_LOST).count();
    if vault.sim.tasks().all().len() > unknown {
        runs_until_tasks_are_left(vault, unknown).await;
    }
    let audit = vault.audit().await;
    assert_eq!(audit.windows.len(), WINDOWS, "{when}");
    assert_eq!(audit.entries.len(), WINDOWS + 1, "{when}: one entry a window, and the stream's own");
    assert!(exports(&audit).iter().all(|export| export.api == ExportApi::V3), "{when}");
    let left = vault.sim.tasks().all();
    assert!(left.len() <= unknown, "{when}: {left:?}");
    assert!(vault.spooled().is_empty(), "{when}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_window_is_pulled_by_one_task_which_is_deleted_once_the_window_is_committed() {
    let vault = by_tasks("").await;
    vault.once().await;
    everything_is_archived_and_nothing_left(&vault, "once").await;
    assert_eq!(vault.sim.tasks().created(), WINDOWS as u64);
    assert_eq!(vault.sim.request_count(Endpoint::Export), 0);
    let requests = vault.sim.requests();
    let created = requests.iter().find(|request| request.endpoint == Endpoint::CreateTask).unwrap();
    for bound in ["start_time", "end_time"] {
        assert_eq!(created.parameter(bound).unwrap().len(), "2016-08-20T21:11:11Z".len());
    }
    let deleted = requests.iter().position(|request| request.endpoint == Endpoint::DeleteTasks).unwrap();
    let fetched = requests.iter().position(|request| request.endpoint == Endpoint::Download).unwrap();
    assert!(fetched < deleted);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_come_to_nothing_are_deleted_and_asked_for_anew() {
    let vault = by_tasks("task_timeout = \"2s\"\n").await;
    let failed = Fate::Fail { error_code: "WKS.0007".into(), reason: "out of\nspace".into() };
    for fate in [failed, Fate::Expired, Fate::ExpiresOnDownload, Fate::Never, Fate::Vanishes] {
        vault.sim.tasks().fate(fate);
    }
    let output = vault.once().await;
    everything_is_archived_and_nothing_left(&vault, "once").await;
    assert_eq!(vault.sim.tasks().created(), 2 * WINDOWS as u64);
    let log = text(&output.stderr);
    assert!(log.contains("could not make the file (WKS.0007, out of space)"), "{log}");
    assert!(
        log.contains("was not done after 1s; raise task_timeout (2s)")
            || log.contains("was not done after 2s; raise task_timeout (2s)"),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_a_run_that_died_is_gone_on_with() {
    for step in [Step::TaskKnown, Step::TaskReady, Step::Pulled] {
        let vault = by_tasks("").await;
        vault.once_killed_at(step, 1).await;
        let before = vault.sim.tasks().created();
        let output = vault.once().await;
        everything_is_archived_after(&text(&output.stderr), &vault, step.as_str()).await;
        // Tasks that were known are not made again; of the others in flight at most those that were not.
        assert!(vault.sim.tasks().created() < WINDOWS as u64 + before, "{step}");
        assert!(text(&output.stderr).contains("export task of an earlier run found"), "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_answer_was_lost_is_told_once_and_never_deleted() {
    let vault = by_tasks("").await;
    // The provider makes the task, and its id never arrives.
    vault.sim.faults().add(Rule::new(Fault::DropConnection).on(Endpoint::CreateTask).skip(2).times(1));
    let mut log = text(&vault.once().await.stderr);
    log += &runs_until_tasks_are_left(&vault, 1).await;
    log += &text(&vault.once().await.stderr);
    assert_eq!(log.matches(ANSWER_LOST).count(), 1, "{log}");
    assert_eq!(vault.sim.tasks().all().len(), 1, "what is not known to be ours is not deleted");
    assert_eq!(vault.sim.tasks().created(), WINDOWS as u64 + 1);
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_tasks_whose_ids_came_in_an_answer_are_ever_deleted() {
    let vault = by_tasks("").await;
    one_at_once(&vault);
    // Killed between the creation of a task and its answer, twice; and others have tasks of the same kind and time.
    for nth in [2, 1] {
        vault.once_killed_at(Step::TaskCreated, nth).await;
    }
    let now = SystemClock.now();
    let tasks = vault.sim.tasks();
    let others = ["desktops_20261123120000_1.xlsx", "connection_records_20261123120000_1.xlsx"]
        .map(|name| tasks.put_foreign(name, now));
    let log = runs_until_tasks_are_left(&vault, 2 + others.len()).await;
    let left: BTreeSet<_> = tasks.all().into_iter().map(|task| task.id).collect();
    assert!(others.iter().all(|other| left.contains(other)), "{log}");
    assert_eq!(left.len(), 2 + others.len(), "{log}");
    let requests = vault.sim.requests();
    let answered = |endpoint| requests.iter().filter(move |request| request.endpoint == endpoint);
    assert!(answered(Endpoint::DeleteTasks).count() > 0);
    assert_eq!(answered(Endpoint::ListTasks).filter(|list| list.parameter("task_id").is_none()).count(), 0);
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_none_is_not_fetched_again_from_the_same_task() {
    let vault = by_tasks("").await;
    vault.sim.faults().add(Rule::new(Fault::HtmlBody).on(Endpoint::Download).times(1));
    vault.once().await;
    everything_is_archived_and_nothing_left(&vault, "once").await;
    assert_eq!(vault.sim.tasks().created(), WINDOWS as u64 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_said_against_a_task_costs_that_task_and_holds_nothing_up() {
    let vault = by_tasks("").await;
    for (code, error_code) in [(400, "WKS.00000400"), (404, ""), (404, "WKS.00010404"), (409, ""), (410, "")]
    {
        let refusal = Fault::Status { code, error_code: error_code.into(), retry_after: None };
        vault.sim.faults().add(Rule::new(refusal).on(Endpoint::Download).times(1));
    }
    let output = vault.once().await;
    everything_is_archived_and_nothing_left(&vault, "once").await;
    assert_eq!(vault.sim.tasks().created(), 5 + WINDOWS as u64);
    let log = text(&output.stderr);
    assert!(!log.contains("held up") && !log.contains("parked"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_always_refused_parks_its_window_after_three_tasks() {
    let vault = by_tasks("").await;
    vault.sim.faults().add(Rule::new(Fault::status(409)).on(Endpoint::Download));
    let (start, end) = (vault.start.to_string(), (vault.start + SignedDuration::from_hours(24)).to_string());
    let one = vault.connvault(&["backfill", "logins", "--from", &start, "--to", &end]).await;
    assert_eq!(one.status.code(), Some(1), "{}", text(&one.stderr));
    assert!(text(&vault.connvault(&["status"]).await.stdout).contains("parked"));
    assert_eq!((vault.sim.tasks().created(), vault.sim.tasks().all()), (3, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_not_in_the_list_yet_is_waited_for() {
    let late = |sim: Builder| sim.task_lag(2);
    let vault = Vault::with(|dir| vault::Place::Directory(dir.join("archive")), late).await;
    vault.configure_with(TASKS, "");
    vault.once().await;
    everything_is_archived_and_nothing_left(&vault, "once").await;
    assert_eq!(vault.sim.tasks().created(), WINDOWS as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_refused_for_one_task_deletes_the_others() {
    let vault = by_tasks("").await;
    one_at_once(&vault);
    vault.sim.tasks().delete_strictly();
    // What was deleted last is not known to be deleted.
    vault.once_killed_at(Step::TaskDeleted, 1).await;
    let log = text(&vault.once().await.stderr);
    everything_is_archived_after(&log, &vault, "once").await;
    assert!(!log.contains("left in the export centre"), "{log}");
    let refused = || {
        let requests = vault.sim.requests();
        requests.iter().filter(|r| r.endpoint == Endpoint::DeleteTasks && r.status == Some(400)).count()
    };
    assert_eq!(refused(), 1);
    vault.once().await;
    assert_eq!(refused(), 1, "nothing is owed any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_fails_is_made_again_by_a_later_run() {
    let vault = by_tasks("").await;
    vault.sim.faults().add(Rule::new(Fault::status(429)).on(Endpoint::DeleteTasks).times(1));
    // One window, so that there is nothing else to go on for.
    let (start, end) = (vault.start.to_string(), (vault.start + SignedDuration::from_hours(24)).to_string());
    let one = vault.connvault(&["backfill", "logins", "--from", &start, "--to", &end]).await;
    assert!(one.status.success(), "{}", text(&one.stderr));
    assert_eq!((vault.sim.tasks().created(), vault.sim.tasks().all().len()), (1, 1));
    assert!(vault.sim.faults().is_spent());
    everything_is_archived_and_nothing_left(&vault, "once").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_cleared_away_whichever_api_is_chosen_since() {
    let vault = by_tasks("").await;
    vault.once_killed_at(Step::TaskReady, 1).await;
    assert!(!vault.sim.tasks().all().is_empty());
    vault.configure_with("api = \"v2\"\n", "");
    vault.once().await;
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
    assert_eq!(vault.sim.tasks().all(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_configured_and_not_used_is_not_said_to_be_gone() {
    let vault = by_tasks("").await;
    vault.once_killed_at(Step::TaskReady, 1).await;
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let (_, source) = config.split_once("[sources.hq]").unwrap();
    let (unused, _) = source.split_once("[signing]").unwrap();
    let unused = unused.replace(&format!("project_id = \"{}\"\n", vault.sim.project_id()), "");
    let renamed = config.replace("sources.hq", "sources.main").replace("\"hq\"", "\"main\"");
    std::fs::write(vault.path("config.toml"), format!("{renamed}\n[sources.hq]{unused}")).unwrap();
    let log = text(&vault.once().await.stderr);
    assert!(!log.contains("not configured any more"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_a_source_that_is_called_otherwise_now_are_spoken_of_and_forgotten_in_time() {
    let vault = by_tasks("").await;
    vault.once_killed_at(Step::TaskReady, 1).await;
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let renamed = config.replace("sources.hq", "sources.main").replace("\"hq\"", "\"main\"");
    std::fs::write(vault.path("config.toml"), renamed).unwrap();
    let log = text(&vault.once().await.stderr);
    assert_eq!(log.matches("not configured any more").count(), 1, "{log}");
    let left = vault.sim.tasks().all().len();
    assert!(left > 0, "nobody may delete them");

    let ledger = SqliteLedger::open(&vault.state_dir().join("ledger.sqlite3")).await.unwrap();
    let owed = async |days: i64| {
        let now = SystemClock.now() + SignedDuration::from_hours(24 * days);
        let configured = BTreeSet::from(["main".parse().unwrap()]);
        tell_strangers(&ledger, &configured, now).await.unwrap().values().sum::<usize>()
    };
    assert_eq!((owed(89).await, owed(91).await), (left, 0));
    assert_eq!(ledger.orders().await.unwrap(), []);
    ledger.close().await;
}

/// One window after the other.
pub fn one_at_once(vault: &Vault) {
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let one_at_once = config.replace("[daemon]\n", "[daemon]\nconcurrency = 1\n");
    std::fs::write(vault.path("config.toml"), one_at_once).unwrap();
}

/// Twenty seeds, each of them at one step, all steps in turn; all seeds at all steps where
/// `CONNVAULT_TEST_EVERY_SEED_AT_EVERY_STEP` is set, which takes minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_of_a_task_leaves_each_window_archived_once_and_no_task_with_a_known_id() {
    const SEEDS: usize = 20;
    let all = std::env::var_os("CONNVAULT_TEST_EVERY_SEED_AT_EVERY_STEP").is_some();
    let of_seed = |seed: usize| {
        let steps = Step::ALL.iter().enumerate();
        steps.filter(move |(i, _)| all || seed % Step::ALL.len() == *i).map(move |(_, step)| (seed, *step))
    };
    let runs: Vec<_> = (0..SEEDS).flat_map(of_seed).collect();
    let run: BTreeSet<_> = runs.iter().map(|(_, step)| *step).collect();
    assert_eq!(run.len(), Step::ALL.len(), "each step has a seed");
    let runs = stream::iter(runs).map(|(seed, step)| tokio::spawn(killed_and_finished(seed, step)));
    runs.buffer_unordered(4).for_each(async |run| run.unwrap()).await;
}

async fn killed_and_finished(seed: usize, step: Step) {
    let vault = by_tasks("task_timeout = \"2s\"\n").await;
    // A little of everything, another for each seed.
    let fates = [Fate::Success, Fate::ExpiresOnDownload, Fate::Vanishes, Fate::Success, Fate::Expired];
    fates.iter().cycle().skip(seed).take(seed % 4).for_each(|fate| vault.sim.tasks().fate(fate.clone()));
    let nth = match step {
        Step::StreamOpened | Step::TaskDeleted => 1,
        _ => 1 + seed % WINDOWS,
    };
    vault.once_killed_at(step, nth).await;
    let log = text(&vault.once().await.stderr);
    everything_is_archived_after(&log, &vault, &format!("{step}, seed {seed}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_nobody_knows_is_named_long_before_its_task_is_given_up() {
    let vault = by_tasks("task_timeout = \"8s\"\n").await;
    vault.sim.tasks().fate(Fate::Queued);
    let output = vault.once().await;
    everything_is_archived_and_nothing_left(&vault, "once").await;
    let log = text(&output.stderr);
    let unknown = log.find("has a status that this version does not know: \"QUEUED\"");
    let late = log
        .find("was not done after 7s, and has the unknown status")
        .or(log.find("was not done after 8s, and has the unknown status"));
    assert!(unknown.is_some() && unknown < late, "{log}");
    // The task was kept in between.
    assert_eq!(vault.sim.tasks().created(), 1 + WINDOWS as u64);
}
