//! The daemon as a process: what it does when it is told to stop, and when it is told to look.

use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use connvault_sim::{Endpoint, Fault, Rule};
use rustix::process::{Pid, Signal, kill_process};

use super::day;
use crate::support::place::Place;
use crate::support::world::{World, said};

/// The longest that anything here may take, before it counts as never.
const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon that is killed if it is still there in the end.
struct Daemon(Child);

impl Daemon {
    fn start(world: &World) -> Self {
        let mut command = world.command(&["run"]);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Waits until it has ended.
    async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the daemon has ended", async || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Gone already, where all went well.
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Waits until `condition` holds.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

#[tokio::test]
async fn sigterm_in_the_middle_of_a_pull_ends_the_daemon_in_order_and_a_restart_archives_all() {
    let world = World::now(Place::directory(), 3).await;
    let stall = Rule::new(Fault::StallAfter { bytes: 10 }).on(Endpoint::Export);
    world.sim.faults().add(stall);
    let mut daemon = Daemon::start(&world);
    until("pulls go on", async || world.sim.request_count(Endpoint::Export) >= 2).await;
    daemon.signal(Signal::TERM);
    let status = daemon.ended().await;
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(world.archive().await.archived().is_empty());

    world.sim.faults().clear();
    let ended = world.connvault(&["once"]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
    world.archive().await.assert_complete(&world.windows);
    assert_eq!(world.spooled(), Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn sigterm_while_nothing_is_done_ends_the_daemon_at_once() {
    let world = World::now(Place::directory(), 2).await;
    let mut daemon = Daemon::start(&world);
    until("all is archived", async || world.archive_so_far().await == world.windows.len()).await;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0));
    world.archive().await.assert_complete(&world.windows);
}

#[tokio::test]
async fn a_second_sigterm_ends_the_daemon_without_more_ado_and_a_restart_archives_all() {
    let world = World::now(Place::directory(), 2).await;
    world.sim.faults().add(Rule::new(Fault::StallAfter { bytes: 10 }).on(Endpoint::Export));
    let mut daemon = Daemon::start(&world);
    until("pulls go on", async || world.sim.request_count(Endpoint::Export) >= 2).await;
    daemon.signal(Signal::TERM);
    // Two of a kind that come together are one: the second is sent until it has been heard.
    until("the daemon has ended", async || {
        let ended = daemon.0.try_wait().unwrap();
        if ended.is_none() {
            daemon.signal(Signal::TERM);
        }
        ended.is_some_and(|status| status.code() == Some(128 + 15))
    })
    .await;
    world.sim.faults().clear();
    let ended = world.connvault(&["once"]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", said(&ended));
    world.archive().await.assert_complete(&world.windows);
}

#[tokio::test]
async fn sighup_makes_the_daemon_take_up_a_window_that_an_operator_retries() {
    let world = World::now(Place::directory(), 3).await;
    let bad = &world.windows[1];
    let refused = Rule::new(Fault::status(400)).on(Endpoint::Export);
    world.sim.faults().add(refused.for_start_time(super::start_time(bad)));
    let mut daemon = Daemon::start(&world);
    until("the others are archived", async || world.archive_so_far().await == 2).await;
    until("one is parked", async || world.gaps().await.contains("\"parked\"")).await;

    world.sim.faults().clear();
    let window = day(bad).to_string();
    let retried = world.connvault(&["retry", "logins", &window]).await;
    assert_eq!(retried.status.code(), Some(0), "{}", said(&retried));
    assert!(said(&retried).contains("1 window is due again"), "{}", said(&retried));
    daemon.signal(Signal::HUP);
    until("it is archived", async || world.archive_so_far().await == 3).await;
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0));
    world.archive().await.assert_complete(&world.windows);
}

#[tokio::test]
async fn a_second_daemon_over_the_same_state_directory_is_kept_out() {
    let world = World::now(Place::directory(), 1).await;
    let mut daemon = Daemon::start(&world);
    until("all is archived", async || world.archive_so_far().await == world.windows.len()).await;
    let second = world.connvault(&["once"]).await;
    assert_eq!(second.status.code(), Some(4), "{}", said(&second));
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.ended().await.code(), Some(0));
}
