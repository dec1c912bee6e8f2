//! What is down holds up what needs it and nothing else, from the start on, and is told for as long as it is down.

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use connvault_sim::{Endpoint, Fault, RetryAfter, Rule};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::disk::Tmpfs;
use crate::support::second::SecondStore;
use crate::support::vault::{Place, Vault, WINDOWS, text};
use crate::support::watched::{PATIENCE, Watched, blocking, get};

/// Waits until `condition` holds.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
    }
}

async fn status(vault: &Vault) -> Value {
    let output = vault.connvault(&["status", "--json"]).await;
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output.stderr)))
}

/// Windows of `stream` that are archived, as `status` says.
async fn archived(vault: &Vault, stream: &str) -> u64 {
    let status = status(vault).await;
    let streams = status["streams"].as_array().unwrap();
    streams.iter().find(|of| of["stream"] == stream).unwrap()["archived"].as_u64().unwrap()
}

/// The hold on the resource of this kind and name, in a document of `status`.
fn hold<'d>(document: &'d Value, kind: &str, name: Option<&str>) -> Option<&'d Value> {
    let is = |hold: &&Value| {
        hold["resource"]["kind"] == kind && name.is_none_or(|name| hold["resource"]["name"] == name)
    };
    document["holds"].as_array().unwrap().iter().find(is)
}

async fn page(address: SocketAddr, path: &'static str) -> (u16, String) {
    blocking(move || get(address, path)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_at_the_start_holds_up_its_own_streams_and_is_taken_up_when_it_comes() {
    let vault = Vault::in_directory().await;
    let mut second = SecondStore::closed().await;
    second.configure(&vault);
    let socket = UnixDatagram::bind(vault.path("notify.sock")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = vault.daemon_command();
    command.env("NOTIFY_SOCKET", vault.path("notify.sock"));
    let watched = Watched::start_as(command, &vault, "127.0.0.1:0", "");
    let mut told = [0; 4096];
    while let length = socket.recv(&mut told).unwrap()
        && !text(&told[..length]).contains("READY=1")
    {}
    drop(socket);
    until("the other stream is archived", async || archived(&vault, "logins").await == WINDOWS as u64).await;
    until("the store is on hold", async || hold(&status(&vault).await, "store", Some("second")).is_some())
        .await;
    let address = watched.address();
    let (code, why) = page(address, "/readyz").await;
    assert!(code == 503 && why.contains("store second"), "{code} {why}");
    assert_eq!(page(address, "/healthz").await.0, 200, "a watchdog mends nothing here");

    second.come_back().await;
    assert!(vault.connvault(&["retry"]).await.status.success());
    watched.daemon.wake();
    until("its stream is archived", async || archived(&vault, "second").await == WINDOWS as u64).await;
    let writes = second.server.as_ref().unwrap().writes();
    assert!(writes[0].1.ends_with(".connvault/create-only-probe"), "{writes:?}");
    until("it is ready", async || page(address, "/readyz").await == (200, "ready\n".to_owned())).await;
    assert!(status(&vault).await["holds"].as_array().unwrap().is_empty());
    watched.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_down_while_nothing_was_due_is_on_hold_until_its_log_was_read() {
    let vault = Vault::in_directory().await;
    let mut second = SecondStore::open().await;
    second.configure(&vault);
    vault.once().await;
    second.close();
    let watched = Watched::start(&vault, "127.0.0.1:0", "");
    let address = watched.address();
    until("it is not ready", async || page(address, "/readyz").await.1.contains("store second")).await;
    assert!(hold(&status(&vault).await, "store", Some("second")).is_some());
    second.come_back().await;
    until("it is ready", async || {
        watched.daemon.wake();
        page(address, "/readyz").await.0 == 200
    })
    .await;
    watched.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn once_archives_what_it_can_beside_a_store_that_is_down_and_names_it() {
    let vault = Vault::in_directory().await;
    let mut second = SecondStore::closed().await;
    second.configure(&vault);
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(75), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("store second"), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("store second"), "{}", text(&output.stdout));
    assert_eq!(archived(&vault, "logins").await, WINDOWS as u64);
    second.come_back().await;
    assert!(vault.connvault(&["retry"]).await.status.success());
    vault.once().await;
    assert_eq!(archived(&vault, "second").await, WINDOWS as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused_at_the_start_and_a_probe_with_other_bytes_hold_up_no_other_store() {
    for probe_is_wrong in [false, true] {
        let vault = Vault::in_directory().await;
        let second = SecondStore::open().await;
        second.configure(&vault);
        let probe = second.folder.path().join("audit/workspace/.connvault/create-only-probe");
        if probe_is_wrong {
            std::fs::create_dir_all(probe.parent().unwrap()).unwrap();
            std::fs::write(&probe, "somebody else's").unwrap();
        } else {
            vault.secret("second-sk", "not-the-secret-key-of-the-store");
        }
        let watched = Watched::start(&vault, "127.0.0.1:0", "");
        let event = watched.event("held up until an operator looks");
        assert_eq!((&event["level"], &event["resource"]), (&"ERROR".into(), &"store second".into()));
        until("the other stream is archived", async || archived(&vault, "logins").await == WINDOWS as u64)
            .await;
        assert_eq!(vault.connvault(&["gaps"]).await.status.code(), Some(3));
        let below = std::fs::read_dir(second.folder.path().join("audit/workspace"));
        let below: Vec<_> = below.into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
        assert!(below.iter().all(|name| name == ".connvault"), "nothing is put there yet: {below:?}");
        // Key files are read for each request.
        vault.secret("second-sk", crate::support::s3s::SECRET_KEY);
        if probe_is_wrong {
            std::fs::remove_file(&probe).unwrap();
        }
        assert!(vault.connvault(&["retry"]).await.status.success());
        watched.daemon.wake();
        until("its stream is archived", async || archived(&vault, "second").await == WINDOWS as u64).await;
        watched.end();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_waits_for_a_store_that_says_nothing_ends_when_it_is_told_to() {
    let vault = Vault::in_directory().await;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let second = SecondStore { address: silent.local_addr().unwrap(), ..SecondStore::closed().await };
    second.configure(&vault);
    let mut watched = Watched::start(&vault, "", "");
    // It is asked, and the others go on.
    let asked = blocking(move || silent.accept().map(|(socket, _)| (silent, socket))).await.unwrap();
    until("the other stream is archived", async || archived(&vault, "logins").await == WINDOWS as u64).await;
    kill_process(Pid::from_child(&watched.daemon), Signal::TERM).unwrap();
    watched.event("stopped");
    assert!(watched.daemon.wait().unwrap().success());
    drop(asked);
}

/// That the hold is listed wherever one can ask, until it was tried `tries` times.
async fn is_listed_through(vault: &Vault, address: SocketAddr, (kind, name): (&str, &str), tries: u64) {
    let (mut polls, mut seen) = (0, false);
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "it is not tried so often");
        let (code, document) = page(address, "/status.json").await;
        assert_eq!(code, 200, "{document}");
        let document: Value = serde_json::from_str(&document).unwrap();
        let held = hold(&document, kind, Some(name));
        assert!(held.is_some() || !seen, "after {polls} polls it is not listed any more: {document}");
        if let Some(held) = held {
            (seen, polls) = (true, polls + 1);
            let (code, why) = page(address, "/readyz").await;
            assert!(code == 503 && why.contains(&format!("{kind} {name}")), "poll {polls}: {code} {why}");
            if polls % 5 == 0 {
                let asked = status(vault).await;
                assert!(hold(&asked, kind, Some(name)).is_some(), "poll {polls}: {asked}");
            }
            if held["failures"].as_u64().unwrap() >= tries {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_on_hold_stays_listed_while_it_is_tried_again() {
    let vault = Vault::in_directory().await;
    let mut second = SecondStore::open().await;
    second.configure(&vault);
    vault.sim.faults().always(Fault::DelayFirstByte(std::time::Duration::from_secs(1)));
    let watched = Watched::start(&vault, "127.0.0.1:0", "");
    let address = watched.address();
    let opened = |second: &SecondStore| {
        let writes = second.server.as_ref().unwrap().writes();
        writes.iter().any(|(_, path)| path.contains("/second/log/"))
    };
    vault.until(|| opened(&second)).await;
    second.close();
    vault.sim.faults().clear();
    is_listed_through(&vault, address, ("store", "second"), 3).await;
    second.come_back().await;
    assert!(vault.connvault(&["retry"]).await.status.success());
    watched.daemon.wake();
    until("all is archived", async || archived(&vault, "second").await == WINDOWS as u64).await;
    until("it is ready", async || page(address, "/readyz").await.0 == 200).await;
    watched.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_from_the_start_stays_listed_while_it_is_tried_again() {
    let vault = Vault::in_directory().await;
    SecondStore::closed().await.configure(&vault);
    let watched = Watched::start(&vault, "127.0.0.1:0", "");
    let address = watched.address();
    is_listed_through(&vault, address, ("store", "second"), 3).await;
    watched.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_on_hold_stays_listed_while_it_is_tried_again() {
    let vault = Vault::in_directory().await;
    let busy = Fault::Throttle { retry_after: Some(RetryAfter::Seconds(1)) };
    vault.sim.faults().add(Rule::new(busy).on(Endpoint::Export));
    let slow = Fault::DelayFirstByte(std::time::Duration::from_secs(1));
    vault.sim.faults().add(Rule::new(slow).on(Endpoint::Query));
    let watched = Watched::start(&vault, "127.0.0.1:0", "");
    let address = watched.address();
    is_listed_through(&vault, address, ("source", "hq"), 3).await;
    vault.sim.faults().clear();
    assert!(vault.connvault(&["retry"]).await.status.success());
    watched.daemon.wake();
    until("it is ready", async || page(address, "/readyz").await.0 == 200).await;
    watched.end();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, to mount a small disk: run scripts/test"]
async fn a_full_disk_is_listed_until_there_is_room_again() {
    let large = |sim: connvault_sim::Builder| sim.bulk_csv_rows(20_000);
    let vault = Vault::with(|dir| Place::Directory(dir.join("archive")), large).await;
    let disk = Tmpfs::mount(vault.state_dir(), "1m");
    vault.sim.faults().always(Fault::DelayFirstByte(std::time::Duration::from_secs(1)));
    // The port is known to the configuration, so that `status` can ask there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let watched = Watched::start(&vault, &free.to_string(), "");
    let address = watched.address();
    // Leases are taken; from here on neither an export nor a word in the ledger fits.
    vault.until(|| vault.sim.request_count(Endpoint::Export) > 0).await;
    let ballast = vault.state_dir().join("ballast");
    _ = std::fs::write(&ballast, vec![1; 1 << 20]);
    until("it is told", async || page(address, "/readyz").await.0 == 503).await;
    watched.event("everything waits");
    vault.sim.faults().clear();
    for poll in 0..100 {
        let (code, why) = page(address, "/readyz").await;
        assert!(code == 503 && why.contains("this machine"), "poll {poll}: {code} {why}");
        let (code, document) = page(address, "/status.json").await;
        let document: Value = serde_json::from_str(&document).unwrap();
        assert!(code == 200 && hold(&document, "daemon", None).is_some(), "poll {poll}: {document}");
        if poll % 20 == 0 {
            let asked = status(&vault).await;
            assert!(hold(&asked, "daemon", None).is_some(), "poll {poll}: {asked}");
            let words = text(&vault.connvault(&["status"]).await.stdout);
            assert!(words.contains("this machine"), "{words}");
        }
    }
    until("nobody is said to work on what was given up", async || {
        let words = text(&vault.connvault(&["status"]).await.stdout);
        let (_, shown) = page(address, "/").await;
        let waits = |shown: &str| {
            assert!(shown.contains("this machine"), "{shown}");
            !shown.contains("being worked on")
        };
        waits(&words) && waits(&shown)
    })
    .await;
    let first_line = async || {
        let words = text(&vault.connvault(&["status"]).await.stdout);
        words.lines().next().unwrap_or_default().to_owned()
    };
    until("it is told that it looks, and when it last wrote", async || {
        let line = first_line().await;
        line.contains("; it last looked at ") && line.contains("; it last wrote to its ledger at ")
    })
    .await;
    std::fs::remove_file(&ballast).unwrap();
    disk.remount("size=64m");
    until("it is ready", async || page(address, "/readyz").await.0 == 200).await;
    until("all is archived", async || archived(&vault, "logins").await == WINDOWS as u64).await;
    assert!(!first_line().await.contains("last wrote"), "{}", first_line().await);
    watched.end();
    drop(vault);
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_away_at_the_first_start_is_named_and_a_retry_hides_no_outage() {
    let vault = Vault::in_directory().await;
    let path = vault.path("config.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replace(vault.sim.endpoint().as_str(), "http://127.0.0.1:1")).unwrap();
    let output = vault.connvault(&["once"]).await;
    assert_eq!(output.status.code(), Some(75), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("cannot reach 127.0.0.1:1"), "{}", text(&output.stderr));
    let held = async || status(&vault).await["holds"].as_array().unwrap().len();
    assert_ne!(held().await, 0);
    let retried = vault.connvault(&["retry"]).await;
    assert!(text(&retried.stdout).contains(" is tried again at once"), "{}", text(&retried.stdout));
    assert_ne!(held().await, 0, "nothing has worked yet");
}
