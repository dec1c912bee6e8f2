//! Slow sources and silent stores hold no more than their own places: the real program over several of them.

use connvault::domain::object_key::log_prefix;
use connvault_sim::{Endpoint, Fault, Rule, Simulator};
use serde_json::Value;

use crate::support::content::{self, list, read};
use crate::support::s3s::Puts;
use crate::support::second::{SecondStore, another_source, set_places};
use crate::support::vault::{Vault, WINDOWS, text};

/// Windows of `stream` that the first store's log names as archived, looked at while the daemon writes.
async fn archived(vault: &Vault, stream: &str) -> usize {
    let (store, stream) = (vault.store(), stream.parse().unwrap());
    let mut archived = 0;
    for key in list(store.as_ref(), &log_prefix(&stream), None).await {
        let entry = read(store.as_ref(), &content::key(&key)).await.unwrap();
        archived += usize::from(text(&entry).contains("\"kind\": \"archived\""));
    }
    archived
}

fn exports(sim: &Simulator) -> usize {
    sim.request_count(Endpoint::Export) as usize
}

/// An export that never comes to its end.
fn stall(sim: &Simulator) {
    sim.faults().add(Rule::new(Fault::StallAfter { bytes: 100 }).on(Endpoint::Export));
}

/// What is on hold. A daemon that has just begun may not have made its ledger yet.
async fn holds(vault: &Vault) -> Vec<Value> {
    let output = vault.connvault(&["status", "--json"]).await;
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    status["holds"].as_array().cloned().unwrap_or_default()
}

async fn is_held(vault: &Vault, name: &str) -> bool {
    holds(vault).await.iter().any(|hold| hold["resource"]["name"] == name)
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = std::time::Instant::now();
    while !condition().await {
        assert!(began.elapsed().as_secs() < 100, "waited in vain: {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sources_that_drip_leave_a_place_to_the_third() {
    for places in [3, 4] {
        let vault = Vault::in_directory().await;
        std::fs::create_dir(vault.path("archive")).unwrap();
        vault.configure_with("stall_timeout = \"5m\"\n", "");
        let branch = another_source(&vault, "branch").await;
        let healthy = another_source(&vault, "healthy").await;
        set_places(&vault, places);
        stall(&vault.sim);
        stall(&branch);
        let _daemon = vault.daemon();
        until("the third source is archived", async || {
            let held = exports(&vault.sim) + exports(&branch);
            assert!(held < places, "two sources hold all {places} places");
            archived(&vault, "healthy").await == WINDOWS
        })
        .await;
        until("the others hold what is left", async || exports(&vault.sim) + exports(&branch) == places - 1)
            .await;
        assert!(exports(&vault.sim) > 0 && exports(&branch) > 0, "each has a place");
        assert_eq!(exports(&healthy), WINDOWS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_answers_no_put_leaves_a_place_to_the_other() {
    for places in [2, 4] {
        let vault = Vault::in_directory().await;
        std::fs::create_dir(vault.path("archive")).unwrap();
        let second = SecondStore::open().await;
        second.configure(&vault);
        set_places(&vault, places);
        let server = second.server.as_ref().unwrap();
        server.let_puts(Puts::Hang);
        let _daemon = vault.daemon();
        until("the other store has its windows", async || {
            assert!(server.hanging() < places, "one store holds all {places} places");
            archived(&vault, "logins").await == WINDOWS
        })
        .await;
        until("it holds what is left", async || server.hanging() == places - 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_window_tries_a_store_that_failed_and_the_others_begin_when_it_has_worked() {
    let vault = Vault::in_directory().await;
    let second = SecondStore::open().await;
    second.configure(&vault);
    let server = second.server.as_ref().unwrap();
    server.let_puts(Puts::Fail);
    let daemon = vault.daemon();
    // What was in flight when the first of them failed is no try.
    until("the store is on hold, and nothing goes on", async || {
        let status = text(&vault.connvault(&["status"]).await.stdout);
        is_held(&vault, "second").await && !status.contains("being worked on")
    })
    .await;
    server.let_puts(Puts::Hang);
    until("it is tried again", async || server.hanging() > 0).await;
    for _ in 0..3 {
        // A look reads the log in the store.
        let before = server.requests();
        until("the daemon has looked again", async || {
            daemon.wake();
            server.requests() > before
        })
        .await;
        assert_eq!(server.hanging(), 1, "one window tries it");
    }
    assert!(is_held(&vault, "second").await, "nothing has worked yet");
    server.let_puts(Puts::Work);
    until("all are archived", async || vault.connvault(&["gaps"]).await.status.success()).await;
    assert!(!is_held(&vault, "second").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_place_a_source_that_drips_pauses_for_the_other() {
    let vault = Vault::in_directory().await;
    std::fs::create_dir(vault.path("archive")).unwrap();
    vault.configure_with("stall_timeout = \"11s\"\n", "");
    let healthy = another_source(&vault, "healthy").await;
    set_places(&vault, 1);
    stall(&vault.sim);
    let _daemon = vault.daemon();
    until("the other source is archived", async || archived(&vault, "healthy").await == WINDOWS).await;
    assert!(exports(&vault.sim) <= 2, "it takes every second turn: {}", exports(&vault.sim));
    assert_eq!(exports(&healthy), WINDOWS);
    until("the source is on hold", async || is_held(&vault, "hq").await).await;
    vault.sim.faults().clear();
    until("it is archived once it works", async || archived(&vault, "logins").await == WINDOWS).await;
    until("nothing is on hold", async || holds(&vault).await.is_empty()).await;
}
