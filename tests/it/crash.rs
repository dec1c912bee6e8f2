//! `kill -9` at every named step on a window's way. Whatever step it was: the next run finishes the work, and the
//! archive looks as if nothing had happened.

use connvault::domain::export::Format;
use connvault::ports::checkpoint::Step;
use connvault_sim::Record;
use jiff::SignedDuration;

use crate::support::buckets::{InProcess, Seaweed};
use crate::support::s3s::Dialect;
use crate::support::vault::{Place, Vault, WINDOWS, text};

/// The steps that a window comes by whose export needs no task.
fn steps() -> impl Iterator<Item = Step> {
    Step::ALL.iter().copied().filter(|step| !step.is_of_task())
}

/// The second window in the middle of it, where a step comes once a window.
fn occurrence(step: Step) -> usize {
    if step == Step::StreamOpened { 1 } else { 2 }
}

async fn in_bucket(server: &InProcess, folder: &str) -> Vault {
    let mut settings = server.settings();
    settings.bucket = folder.to_owned();
    server.server.make_bucket(folder).unwrap();
    Vault::with(|_| Place::Bucket(Box::new(settings)), |sim| sim).await
}

async fn killed_and_finished(vault: &Vault, step: Step, lose_state: bool) {
    killed_and_run(vault, step, lose_state).await;
    assert_finished(vault, step).await;
}

async fn killed_and_run(vault: &Vault, step: Step, lose_state: bool) {
    vault.once_killed_at(step, occurrence(step)).await;
    if lose_state {
        std::fs::remove_dir_all(vault.state_dir()).unwrap();
    }
    vault.once().await;
}

async fn assert_finished(vault: &Vault, step: Step) {
    let audit = vault.audit().await;
    assert_eq!(audit.windows.len(), WINDOWS, "{step}");
    assert_eq!(audit.objects.len(), WINDOWS, "{step}: one object a window");
    assert_eq!(audit.entries.len(), WINDOWS + 1, "{step}: one entry a window, and the stream's own");
    assert!(vault.spooled().is_empty(), "{step}: {:?}", vault.spooled());
}

#[test]
fn there_are_at_least_ten_steps_to_die_at() {
    assert!(Step::ALL.len() >= 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_leaves_one_object_a_window_and_an_unforked_chain() {
    for step in steps() {
        killed_and_finished(&Vault::in_directory().await, step, false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_with_the_state_directory_lost_leaves_one_object_a_window() {
    for step in steps() {
        killed_and_finished(&Vault::in_directory().await, step, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_is_as_harmless_in_a_bucket() {
    let server = InProcess::start(Dialect::Aws).await;
    for (i, step) in steps().enumerate() {
        killed_and_finished(&in_bucket(&server, &format!("kept-{i}")).await, step, false).await;
        killed_and_finished(&in_bucket(&server, &format!("lost-{i}")).await, step, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_is_as_harmless_in_a_bucket_that_answers_wrongly_now_and_then() {
    // One read in fifty is wrong in the field; one in fifteen is wrong here, so that each run meets some.
    let server = InProcess::start(Dialect::Aws).await;
    for (i, step) in steps().enumerate() {
        for lose_state in [false, true] {
            let vault = in_bucket(&server, &format!("state-{lose_state}-{i}")).await;
            server.server.answer_wrongly("/", 15);
            killed_and_run(&vault, step, lose_state).await;
            let verified = vault.connvault(&["verify", "--level", "log"]).await;
            let rebuilt = vault.connvault(&["rebuild"]).await;
            assert!(server.server.answer_rightly() > 50, "{step}: too few reads to be wrong");
            for output in [verified, rebuilt] {
                assert!(output.status.success(), "{step}: {}{}", text(&output.stdout), text(&output.stderr));
            }
            assert_finished(&vault, step).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_after_crash_the_work_still_gets_done() {
    let vault = Vault::in_directory().await;
    for step in
        [Step::Pulled, Step::Spooled, Step::BeforeDataPut, Step::DataPut, Step::ReadBack, Step::EntryPut]
    {
        vault.once_killed_at(step, 1).await;
    }
    // A window in whose work the process ended three times in a row waits for an operator.
    vault.connvault(&["once"]).await;
    vault.connvault(&["retry"]).await;
    vault.once().await;
    let audit = vault.audit().await;
    assert_eq!((audit.windows.len(), audit.objects.len()), (WINDOWS, WINDOWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_was_spooled_before_the_crash_is_not_pulled_again() {
    let vault = Vault::in_directory().await;
    vault.once_killed_at(Step::BeforeDataPut, 1).await;
    let pulled = vault.sim.request_count(connvault_sim::Endpoint::Export);
    let spooled =
        vault.spooled().iter().filter(|path| path.extension().is_some_and(|e| e == "json")).count() as u64;
    assert!(spooled >= 1);
    vault.once().await;
    let again = vault.sim.request_count(connvault_sim::Endpoint::Export) - pulled;
    assert_eq!(again, WINDOWS as u64 - spooled);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_came_late_make_the_orphan_of_a_crash_stay_and_be_named() {
    let vault = Vault::in_directory().await;
    vault.once_killed_at(Step::DataPut, 1).await;
    std::fs::remove_dir_all(vault.state_dir()).unwrap();
    for day in 0..WINDOWS {
        let noon = vault.start + SignedDuration::from_hours(24 * day as i64 + 12);
        vault.sim.records().push(Record::at(noon, 99));
    }
    let output = vault.once().await;
    let audit = vault.audit().await;
    assert_eq!(audit.windows.len(), WINDOWS);
    assert!(!audit.orphans.is_empty(), "{}", text(&output.stderr));
    assert_eq!(audit.objects.len(), WINDOWS + audit.orphans.len());
    for orphan in &audit.orphans {
        assert!(orphan.contains(".r1."), "{orphan}");
        let second = orphan.replace(".r1.", ".r2.");
        assert!(audit.objects.contains_key(&second), "{second} of {:?}", audit.objects);
        assert!(orphan.ends_with(Format::Xlsx.extension()));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs SeaweedFS: run scripts/test"]
async fn in_a_versioned_bucket_every_key_has_one_version_whatever_step_a_run_died_at() {
    for step in steps() {
        let bucket = Seaweed::bucket(true).await;
        let settings = bucket.settings.clone();
        let vault = Vault::with(|_| Place::Bucket(Box::new(settings)), |sim| sim).await;
        killed_and_finished(&vault, step, true).await;
        assert_one_version_of_each(&bucket, step.as_str()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs SeaweedFS: run scripts/test"]
async fn a_second_run_and_one_without_its_state_directory_put_nothing() {
    let bucket = Seaweed::bucket(true).await;
    let settings = bucket.settings.clone();
    let vault = Vault::with(|_| Place::Bucket(Box::new(settings)), |sim| sim).await;
    for run in ["first", "second", "without state"] {
        if run == "without state" {
            std::fs::remove_dir_all(vault.state_dir()).unwrap();
        }
        let output = vault.once().await;
        assert_eq!(vault.audit().await.windows.len(), WINDOWS);
        assert_one_version_of_each(&bucket, run).await;
        if run == "without state" {
            let said = text(&output.stderr).matches("window is in the log already").count();
            assert_eq!(said, WINDOWS, "{}", text(&output.stderr));
            assert!(text(&output.stdout).contains("0 windows archived, 5 in the log already"));
        }
    }
    assert_eq!(vault.sim.request_count(connvault_sim::Endpoint::Export), WINDOWS as u64);
}

async fn assert_one_version_of_each(bucket: &Seaweed, when: &str) {
    let listed = bucket.client.list_object_versions().bucket(&bucket.settings.bucket).send().await.unwrap();
    assert_eq!(listed.delete_markers().len(), 0, "{when}");
    let mut keys: Vec<_> = listed.versions().iter().filter_map(|version| version.key()).collect();
    keys.retain(|key| key.contains("/data/") || key.contains("/log/"));
    let versions = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(versions, keys.len(), "{when}: one version of each of {keys:?}");
    let signatures = keys.iter().filter(|key| key.ends_with(".sig")).count();
    assert_eq!(keys.len() - signatures, 2 * WINDOWS + 1, "{when}: {keys:?}");
    // A crash between a signature and its entry leaves the signature: the entry of the next run is another one.
    let left = usize::from(when == Step::SignaturePut.as_str());
    assert_eq!(signatures, WINDOWS + 1 + left, "{when}: {keys:?}");
}
