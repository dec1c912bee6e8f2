//! Exports held against the provider's own count.

use connvault::domain::count::Counted;
use connvault::domain::log_entry::{EntryBody, ExportFacts};
use connvault_sim::{Endpoint, Fault, Rule};

use crate::support::vault::{Audit, Vault, WINDOWS, text};

fn exports(audit: &Audit) -> Vec<(u64, ExportFacts)> {
    let bodies = audit.entries.iter().map(|entry| entry.entry().body.clone());
    bodies
        .filter_map(|body| match body {
            EntryBody::Archived(archived) => Some((archived.object.rows.unwrap(), archived.export)),
            _ => None,
        })
        .collect()
}

/// Exports that are two records short, by whatever the query counts.
fn short_exports(vault: &Vault) {
    vault.sim.faults().add(Rule::new(Fault::OmitRecords { records: 2 }).on(Endpoint::Export));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_export_is_counted_before_and_after_and_both_counts_stand_in_its_entry() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    let exports = exports(&vault.audit().await);
    assert_eq!(exports.len(), WINDOWS);
    for (rows, export) in exports {
        assert_eq!(export.counted, Some(Counted { before: rows, after: rows }));
        assert!(!export.count_mismatch && export.uncounted.is_none());
    }
    assert_eq!(vault.sim.request_count(Endpoint::Query), 2 * WINDOWS as u64);
    let status = text(&vault.connvault(&["status"]).await.stdout);
    assert!(!status.contains("count"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_short_three_times_parks_its_window_and_says_both_numbers() {
    let vault = Vault::in_directory().await;
    let bad = (vault.start - jiff::SignedDuration::from_mins(1)).strftime("%Y-%m-%dT%H:%MZ").to_string();
    let short = Rule::new(Fault::OmitRecords { records: 2 }).on(Endpoint::Export);
    vault.sim.faults().add(short.for_start_time(&bad));
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(vault.sim.request_count(Endpoint::Export), WINDOWS as u64 - 1 + 3);
    assert_eq!(vault.audit().await.windows.len(), WINDOWS - 1);
    let gaps = text(&vault.connvault(&["gaps"]).await.stdout);
    for word in ["parked", "records, and the provider counts", "on_count_mismatch = \"flag\""] {
        assert!(gaps.contains(word), "{gaps}");
    }
    vault.sim.faults().clear();
    assert!(vault.connvault(&["retry"]).await.status.success());
    vault.once().await;
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mismatch_that_is_flagged_is_archived_with_a_mark_and_an_error_and_shown_by_status() {
    let vault = Vault::in_directory().await;
    vault.configure("on_count_mismatch = \"flag\"");
    short_exports(&vault);
    let said = text(&vault.once().await.stderr);
    assert_eq!(said.matches("the provider counts another number").count(), WINDOWS, "{said}");
    for (rows, export) in exports(&vault.audit().await) {
        assert_eq!(export.counted, Some(Counted { before: rows + 2, after: rows + 2 }));
        assert!(export.count_mismatch);
    }
    let status = text(&vault.connvault(&["status"]).await.stdout);
    assert!(status.contains(&format!("{WINDOWS} against it")), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mismatch_that_is_ignored_is_archived_with_its_counts_and_no_mark() {
    let vault = Vault::in_directory().await;
    vault.configure("on_count_mismatch = \"ignore\"");
    short_exports(&vault);
    vault.once().await;
    for (rows, export) in exports(&vault.audit().await) {
        assert_eq!(export.counted, Some(Counted { before: rows + 2, after: rows + 2 }));
        assert!(!export.count_mismatch);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_permission_to_query_windows_are_archived_as_uncounted_and_it_is_said() {
    let vault = Vault::in_directory().await;
    vault.sim.faults().add(Rule::new(Fault::status(403)).on(Endpoint::Query));
    let said = text(&vault.once().await.stderr);
    assert_eq!(said.matches("without the provider's own count").count(), 1, "{said}");
    for (_, export) in exports(&vault.audit().await) {
        assert_eq!((export.counted, export.count_mismatch), (None, false));
        let reason = export.uncounted.unwrap();
        assert!(reason.contains("403") && reason.contains("workspace:connections:securityList"), "{reason}");
        assert!(!reason.contains("grant"), "no advice goes into an entry: {reason}");
    }
    let status = vault.connvault(&["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["streams"][0]["uncounted"], WINDOWS);
    // The ledger can be lost: the log says the same.
    std::fs::remove_dir_all(vault.state_dir()).unwrap();
    vault.once().await;
    let status = vault.connvault(&["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["streams"][0]["uncounted"], WINDOWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_fails_for_now_is_asked_for_again_and_costs_only_time() {
    let vault = Vault::in_directory().await;
    vault.sim.faults().add(Rule::new(Fault::status(503)).on(Endpoint::Query).times(2));
    vault.once().await;
    assert!(exports(&vault.audit().await).iter().all(|(_, export)| export.counted.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused_after_an_export_only_is_a_wrong_key_and_no_export_stays_uncounted() {
    let vault = Vault::in_directory().await;
    let first = (vault.start - jiff::SignedDuration::from_mins(1)).strftime("%Y-%m-%dT%H:%MZ").to_string();
    // The count before the export passes; the one after it is refused, with the key that was read anew as well.
    let refused = Rule::new(Fault::status(401)).on(Endpoint::Query).for_start_time(&first).skip(1).times(2);
    vault.sim.faults().add(refused);
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("held up until an operator looks"), "{}", text(&output.stderr));
    // What the key was refused for is over.
    vault.once().await;
    let exports = exports(&vault.audit().await);
    assert_eq!(exports.len(), WINDOWS);
    assert!(exports.iter().all(|(_, export)| export.counted.is_some()), "{exports:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_key_is_refused_for_the_count_the_source_is_on_hold_and_nothing_is_archived_uncounted() {
    let vault = Vault::in_directory().await;
    vault.sim.faults().add(Rule::new(Fault::status(401)).on(Endpoint::Query));
    let output = vault.connvault(&["once"]).await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("held up until an operator looks"), "{said}");
    assert_eq!(vault.audit().await.windows.len(), 0, "{said}");
    let status = vault.connvault(&["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let hold = status["holds"][0].to_string();
    for word in ["source", "hq", "auth", "401", "streams.logins.on_count_mismatch = "] {
        assert!(hold.contains(word), "{word}: {hold}");
    }
    vault.sim.faults().clear();
    vault.once().await;
    let exports = exports(&vault.audit().await);
    assert_eq!(exports.len(), WINDOWS);
    assert!(exports.iter().all(|(_, export)| export.counted.is_some()), "{exports:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_counts_do_not_matter_a_key_that_is_refused_for_them_alone_holds_nothing_up() {
    let vault = Vault::in_directory().await;
    vault.configure("on_count_mismatch = \"ignore\"");
    vault.sim.faults().add(Rule::new(Fault::status(401)).on(Endpoint::Query));
    vault.once().await;
    let exports = exports(&vault.audit().await);
    assert_eq!(exports.len(), WINDOWS);
    assert!(exports.iter().all(|(_, export)| export.uncounted.is_some()), "{exports:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_is_refused_before_an_export_only_is_asked_for_again() {
    let vault = Vault::in_directory().await;
    let first = (vault.start - jiff::SignedDuration::from_mins(1)).strftime("%Y-%m-%dT%H:%MZ").to_string();
    let refused = Rule::new(Fault::status(403)).on(Endpoint::Query).for_start_time(&first).times(1);
    vault.sim.faults().add(refused);
    vault.once().await;
    assert!(exports(&vault.audit().await).iter().all(|(_, export)| export.counted.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn advice_is_shown_to_people_and_stands_in_no_entry() {
    let vault = Vault::in_directory().await;
    short_exports(&vault);
    let mut reasons: Vec<String> = Vec::new();
    // A run may end before it has said of each window that it is parked; the next one goes on with that.
    while reasons.is_empty() {
        vault.connvault(&["once"]).await;
        let entries = vault.audit().await.entries;
        reasons.extend(entries.iter().filter_map(|entry| match &entry.entry().body {
            EntryBody::Parked(parked) => Some(parked.reason.to_string()),
            _ => None,
        }));
    }
    for reason in reasons {
        assert!(
            reason.contains("records, and the provider counts") && !reason.contains("set streams."),
            "{reason}"
        );
    }
    let status = text(&vault.connvault(&["status"]).await.stdout);
    assert!(status.contains("on_count_mismatch"), "{status}");
}
