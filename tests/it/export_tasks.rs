//! The v3 export, by the real program against the simulator's export centre: tasks created, waited for, fetched, deleted.

use std::collections::BTreeSet;

use connvault::adapters::sqlite_ledger::SqliteLedger;
use connvault::adapters::system_clock::SystemClock;
use connvault::app::export_tasks::untidy;
use connvault::domain::export::ExportApi;
use connvault::domain::log_entry::{EntryBody, ExportFacts};
use connvault::ports::checkpoint::Step;
use connvault::ports::clock::Clock;
use connvault::ports::ledger::Ledger;
use connvault::ports::source_memory::SourceMemory;
use connvault_sim::{Builder, Endpoint, Fate, Fault, Rule};
use futures_util::{StreamExt, stream};
use jiff::SignedDuration;

use crate::support::vault::{self, Audit, Vault, WINDOWS, text};

/// The v3 API, and a list that shows everything soon.
const TASKS: &str = "api = \"v3\"\nlist_lag = \"3s\"\n";

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

/// Runs `once` until so many tasks are left, and says what was logged: what cannot be deleted yet is left to the next run.
pub async fn runs_until_tasks_are_left(vault: &Vault, left: usize) -> String {
    let (began, mut log) = (std::time::Instant::now(), String::new());
    loop {
        log += &text(&vault.once().await.stderr);
        if vault.sim.tasks().all().len() == left || began.elapsed().as_secs() > 100 {
            return log;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

pub async fn everything_is_archived_and_nothing_left(vault: &Vault, when: &str) {
    if !vault.sim.tasks().all().is_empty() {
        runs_until_tasks_are_left(vault, 0).await;
    }
    let audit = vault.audit().await;
    assert_eq!(audit.windows.len(), WINDOWS, "{when}");
    assert_eq!(audit.entries.len(), WINDOWS + 1, "{when}: one entry a window, and the stream's own");
    assert!(exports(&audit).iter().all(|export| export.api == ExportApi::V3), "{when}");
    let left = vault.sim.tasks().all();
    assert!(left.is_empty(), "{when}: {left:?}");
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
    assert!(log.contains("was not done within 2s (task_timeout)"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_a_run_that_died_is_gone_on_with() {
    for step in [Step::TaskKnown, Step::TaskReady, Step::Pulled] {
        let vault = by_tasks("").await;
        vault.once_killed_at(step, 1).await;
        let before = vault.sim.tasks().created();
        let output = vault.once().await;
        everything_is_archived_and_nothing_left(&vault, step.as_str()).await;
        // Tasks that were known are not made again; of the others in flight at most those that were not.
        assert!(vault.sim.tasks().created() < WINDOWS as u64 + before, "{step}");
        assert!(text(&output.stderr).contains("export task of an earlier run found"), "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_lost_leaves_no_task_behind() {
    let vault = by_tasks("").await;
    // The task is made, and its maker never hears of it.
    vault.sim.faults().add(Rule::new(Fault::DropConnection).on(Endpoint::CreateTask).skip(2).times(1));
    vault.once().await;
    everything_is_archived_and_nothing_left(&vault, "once").await;
    assert_eq!(vault.sim.tasks().created(), WINDOWS as u64 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_that_made_no_task_costs_no_other_task() {
    let slow = |sim: Builder| sim.task_polls(3);
    let vault = Vault::with(|dir| vault::Place::Directory(dir.join("archive")), slow).await;
    vault.configure_with(TASKS, "");
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let two_at_once = config.replace("[daemon]\n", "[daemon]\nconcurrency = 2\n");
    std::fs::write(vault.path("config.toml"), two_at_once).unwrap();
    // Two windows, so that it is known what files of ours are called; three are left, the last one by itself.
    let (start, end) = (vault.start.to_string(), (vault.start + SignedDuration::from_hours(48)).to_string());
    let one = vault.connvault(&["backfill", "logins", "--from", &start, "--to", &end]).await;
    assert!(one.status.success(), "{}", text(&one.stderr));
    vault.once_killed_at(Step::TaskAsked, 1).await;
    let log = text(&vault.once().await.stderr);
    // While tasks were being made it was looked for one that is lost: none of them was taken for it.
    assert!(!log.contains("never learnt") && !log.contains("another one is asked for"), "{log}");
    assert_eq!(vault.sim.tasks().created(), WINDOWS as u64);
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_others_are_left_alone() {
    let vault = by_tasks("").await;
    let now = SystemClock.now();
    let tasks = vault.sim.tasks();
    let others = [
        tasks.put_foreign("desktops_20261123120000_1.xlsx", now),
        tasks.put_foreign("connection_records_20261123120000_1.xlsx", now - SignedDuration::from_hours(1)),
    ];
    vault.once_killed_at(Step::TaskCreated, 2).await;
    runs_until_tasks_are_left(&vault, others.len()).await;
    let left: Vec<_> = vault.sim.tasks().all().into_iter().map(|task| task.id).collect();
    assert_eq!(left, others);
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
async fn an_orphan_that_cannot_be_deleted_keeps_no_other_one() {
    let vault = with_an_orphan(|sim| sim).await;
    let first = vault.sim.tasks().all().last().unwrap().id.clone();
    vault.sim.tasks().refuse_to_delete(&first);
    vault.once_killed_at(Step::TaskCreated, 1).await;
    let log = runs_until_tasks_are_left(&vault, 1).await;
    let left: Vec<_> = vault.sim.tasks().all().into_iter().map(|task| task.id).collect();
    assert_eq!(left, [first], "{log}");
    assert!(log.contains("left in the export centre for now"), "{log}");
    assert_eq!(
        log.matches("whose id was never learnt is deleted").count(),
        1,
        "what is not is not said: {log}"
    );
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
    everything_is_archived_and_nothing_left(&vault, "once").await;
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
        let snapshot = ledger.snapshot().await.unwrap();
        let untidy = untidy(&ledger, &[], &snapshot, &BTreeSet::new(), now).await.unwrap();
        untidy.values().map(Vec::len).sum::<usize>()
    };
    assert_eq!((owed(89).await, owed(91).await), (left, 0));
    assert_eq!(ledger.tasks().await.unwrap(), []);
    ledger.close().await;
}

/// One window after the other.
pub fn one_at_once(vault: &Vault) {
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let one_at_once = config.replace("[daemon]\n", "[daemon]\nconcurrency = 1\n");
    std::fs::write(vault.path("config.toml"), one_at_once).unwrap();
}

/// A vault that was killed as its second task had just been created, one window after the other: an orphan is left, and it is
/// known what files of ours are called.
async fn with_an_orphan(sim: impl FnOnce(Builder) -> Builder) -> Vault {
    let vault = Vault::with(|dir| vault::Place::Directory(dir.join("archive")), sim).await;
    vault.configure_with(TASKS, "");
    one_at_once(&vault);
    vault.once_killed_at(Step::TaskCreated, 2).await;
    vault
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_is_known_though_the_clocks_differ() {
    for minutes in [4, -4] {
        let off =
            move |sim: Builder| sim.clock(move || SystemClock.now() + SignedDuration::from_mins(minutes));
        let vault = with_an_orphan(off).await;
        let log = runs_until_tasks_are_left(&vault, 0).await;
        assert!(log.contains("never learnt"), "{minutes}: {log}");
        everything_is_archived_and_nothing_left(&vault, &format!("{minutes} minutes ahead")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_tasks_that_could_be_the_orphan_none_is_deleted() {
    let vault = with_an_orphan(|sim| sim).await;
    let orphan = vault.sim.tasks().all().last().unwrap().clone();
    let foreign = vault.sim.tasks().put_foreign("connection_records_20261123120000_9.xlsx", orphan.created);
    vault.once().await;
    let mut left: Vec<_> = vault.sim.tasks().all().into_iter().map(|task| task.id).collect();
    let mut both = [orphan.id, foreign];
    left.sort();
    both.sort();
    assert_eq!(left, both);
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
}

/// Twenty seeds, each of them at one step, all steps in turn; all seeds at all steps where
/// `CONNVAULT_TEST_EVERY_SEED_AT_EVERY_STEP` is set, which takes minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_of_a_task_leaves_each_window_archived_once_and_no_task() {
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
    vault.once().await;
    everything_is_archived_and_nothing_left(&vault, &format!("{step}, seed {seed}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_nobody_knows_is_named_long_before_its_task_is_given_up() {
    let vault = by_tasks("task_timeout = \"8s\"\n").await;
    vault.sim.tasks().fate(Fate::Queued);
    let output = vault.once().await;
    everything_is_archived_and_nothing_left(&vault, "once").await;
    let log = text(&output.stderr);
    let unknown = log.find("has a status that this version does not know: \"QUEUED\"");
    let late = log.find("was not done within 8s (task_timeout), and has the unknown status");
    assert!(unknown.is_some() && unknown < late, "{log}");
    // The task was kept in between.
    assert_eq!(vault.sim.tasks().created(), 1 + WINDOWS as u64);
}
