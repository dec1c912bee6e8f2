//! The daemon as systemd sees it: a real process, real signals, a real notification socket.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use connvault_sim::{Fault, Rule};
use jiff::SignedDuration;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::vault::{Running, Vault, WINDOWS, text};

fn signal(daemon: &Running, signal: Signal) {
    kill_process(Pid::from_child(daemon), signal).unwrap();
}

/// Waits for the process to end, and fails when it takes longer than the design allows.
async fn ended(mut daemon: Running) -> std::process::ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = daemon.try_wait().unwrap() {
            return status;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Messages that arrive until one of them has `word`.
fn messages_until(socket: &UnixDatagram, word: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < Duration::from_secs(60), "no {word:?} but {seen:?}");
        let length = socket.recv(&mut buffer).unwrap_or_else(|e| panic!("no {word:?} but {seen:?}: {e}"));
        let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
        seen.push(message.clone());
        if message.contains(word) {
            return seen;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_ready_status_watchdog_and_stopping() {
    let vault = Vault::in_directory().await;
    let path = vault.path("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut command = vault.daemon_command();
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "600000");
    let daemon = Running(command.spawn().unwrap());
    let socket = tokio::task::spawn_blocking(move || {
        let before = messages_until(&socket, "READY=1");
        assert!(before.iter().any(|message| message.contains("STATUS=opening the ledger")), "{before:?}");
        messages_until(&socket, "WATCHDOG=1");
        messages_until(&socket, &format!("{WINDOWS} archived since the start"));
        messages_until(&socket, "WATCHDOG=1");
        socket
    })
    .await
    .unwrap();
    signal(&daemon, Signal::TERM);
    tokio::task::spawn_blocking(move || messages_until(&socket, "STOPPING=1")).await.unwrap();
    assert!(ended(daemon).await.success());
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_socket_in_the_abstract_namespace_is_told_too() {
    let vault = Vault::in_directory().await;
    let name = format!("connvault-test-{}", vault.dir.path().display());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut command = vault.daemon_command();
    command.env("NOTIFY_SOCKET", format!("@{name}"));
    let _daemon = Running(command.spawn().unwrap());
    tokio::task::spawn_blocking(move || messages_until(&socket, "READY=1")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_of_a_project_that_is_not_found_until_it_is() {
    let vault = Vault::in_directory().await;
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let (id, iam) = (vault.sim.project_id(), vault.sim.endpoint());
    let config = config.replace(&format!("project_id = \"{id}\""), &format!("iam_endpoint = \"{iam}\""));
    std::fs::write(vault.path("config.toml"), config).unwrap();
    vault.sim.faults().add(Rule::new(Fault::status(503)).on(connvault_sim::Endpoint::IamProjects).times(1));
    let path = vault.path("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut command = vault.daemon_command();
    command.env("NOTIFY_SOCKET", &path);
    let _daemon = Running(command.spawn().unwrap());
    tokio::task::spawn_blocking(move || {
        let told = messages_until(&socket, "not all is archived");
        assert!(told.last().unwrap().contains("sources.hq.project_id"), "{told:?}");
        messages_until(&socket, "nothing to do until");
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_the_middle_of_a_stalled_pull_ends_in_time_and_a_restart_takes_it_up() {
    let vault =
        Vault::with(|dir| crate::support::vault::Place::Directory(dir.join("archive")), |sim| sim).await;
    vault.configure_with("stall_timeout = \"5m\"\n", "");
    vault.sim.faults().add(Rule::new(Fault::StallAfter { bytes: 100 }).on(connvault_sim::Endpoint::Export));
    let daemon = vault.daemon();
    vault.until(|| vault.sim.request_count(connvault_sim::Endpoint::Export) > 0).await;
    signal(&daemon, Signal::TERM);
    assert!(ended(daemon).await.success());
    vault.sim.faults().clear();
    vault.once().await;
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
    assert!(vault.spooled().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_makes_it_look_again_at_once() {
    let vault = Vault::in_directory().await;
    vault.sim.faults().always(Fault::status(400));
    let daemon = vault.daemon();
    let parked = async || text(&vault.connvault(&["gaps"]).await.stdout).matches(" parked ").count();
    while parked().await < WINDOWS {}
    vault.sim.faults().clear();
    let retried = text(&vault.connvault(&["retry"]).await.stdout);
    assert!(retried.starts_with(&format!("{WINDOWS} windows are due again")), "{retried}");
    signal(&daemon, Signal::HUP);
    let mut daemon = daemon;
    vault.until_archived(&mut daemon).await;
    signal(&daemon, Signal::TERM);
    assert!(ended(daemon).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_was_killed_starts_again_and_a_second_one_beside_it_ends_with_4() {
    let vault = Vault::in_directory().await;
    let mut daemon = vault.daemon();
    vault.until_archived(&mut daemon).await;
    assert_eq!(vault.connvault(&["run"]).await.status.code(), Some(4));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let again = vault.daemon();
    vault.until(|| vault.path("state/lock").exists()).await;
    let mut again = again;
    vault.until_archived(&mut again).await;
    signal(&again, Signal::TERM);
    ended(again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_wakes_it_when_a_window_becomes_due() {
    let vault = Vault::in_directory().await;
    let text = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let now = jiff::Timestamp::from_second(
        i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap() / 60 * 60,
    )
    .unwrap();
    let start = vault.start.to_string();
    // The minute that has just ended is due when another one has gone by, for clocks that differ.
    let text = text
        .replace("window = \"1d\"", "window = 1\nmargin = \"0s\"")
        .replace(&start, &(now - SignedDuration::from_mins(1)).to_string())
        .replace("[daemon]\n", "[daemon]\nschedule = \"* * * * * *\"\n");
    std::fs::write(vault.path("config.toml"), text).unwrap();
    let daemon = vault.daemon();
    // The minute that is running ends, and the one before is archived.
    let began = Instant::now();
    loop {
        let folder = vault.path("archive/logins/data");
        if folder.exists() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "the minute is over and not archived");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    signal(&daemon, Signal::TERM);
    ended(daemon).await;
}
