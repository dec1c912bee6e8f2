//! One bad window and one bad source harm no other: the real program, killed and starved, over two sources.

use connvault::app::services::Services;
use connvault::domain::object_key::log_prefix;
use connvault::domain::window::Window;
use connvault::ports::clock::Clock;
use connvault::ports::ledger::{LeaseOutcome, Purpose};
use connvault_sim::{Endpoint, Fault, Key, Records, Rule, Simulator};
use jiff::{SignedDuration, Timestamp};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::clock::TestClock;
use crate::support::content::{self, list, read};
use crate::support::disk::Tmpfs;
use crate::support::inside::only_begin;
use crate::support::place;
use crate::support::vault::{ACCESS_KEY, Audit, Place, Running, SECRET_KEY, Vault, WINDOWS, text};
use crate::support::world::World;

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A vault with a second source, `branch`, and its stream `visits`.
struct TwoSources {
    vault: Vault,
    branch: Simulator,
}

impl TwoSources {
    /// With so many places for windows. The first source gives up a pull that stalls after five minutes.
    async fn with_places(places: usize) -> Self {
        let vault = Vault::in_directory().await;
        std::fs::create_dir(vault.path("archive")).unwrap();
        let records = Records::seeded(8, vault.start - DAY, vault.start + DAY * (WINDOWS as i32 + 2), 40);
        let branch = Simulator::builder().key(Key::permanent(ACCESS_KEY, SECRET_KEY)).records(records);
        let branch = branch.start().await.unwrap();
        vault.configure_with("stall_timeout = \"5m\"\n", "");
        let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
        let config = config.replace("listen = \"\"\n", &format!("listen = \"\"\nconcurrency = {places}\n"));
        let (head, stream) = config.split_once("[streams.logins]\n").unwrap();
        let visits = stream.replace("source = \"hq\"", "source = \"branch\"");
        let source = head.split_once("[sources.hq]\n").unwrap().1.split_once("[signing]").unwrap().0;
        let source = source.replace("[sources.hq.", "[sources.branch.");
        let source = source.replace(&vault.sim.endpoint().to_string(), &branch.endpoint().to_string());
        let source = source.replace(vault.sim.project_id(), branch.project_id());
        let config = format!("{config}[sources.branch]\n{source}[streams.visits]\n{visits}");
        std::fs::write(vault.path("config.toml"), config).unwrap();
        Self { vault, branch }
    }

    /// Windows of `stream` that are archived.
    async fn archived(&self, stream: &str) -> usize {
        Audit::of(self.vault.store().as_ref(), &stream.parse().unwrap()).await.windows.len()
    }

    /// As [`Self::archived`], looked at while the daemon writes.
    async fn archived_so_far(&self, stream: &str) -> usize {
        let (store, stream) = (self.vault.store(), stream.parse().unwrap());
        let mut archived = 0;
        for key in list(store.as_ref(), &log_prefix(&stream), None).await {
            let entry = read(store.as_ref(), &content::key(&key)).await.unwrap();
            archived += usize::from(text(&entry).contains("\"kind\": \"archived\""));
        }
        archived
    }

    /// How often the first source was asked for the export of the window that starts then.
    fn asked_for(&self, window: Timestamp) -> usize {
        let asked = asked_at(window);
        let is_export = |request: &&connvault_sim::LoggedRequest| {
            request.endpoint == Endpoint::Export && request.parameter("start_time") == Some(asked.as_str())
        };
        self.vault.sim.requests().iter().filter(is_export).count()
    }
}

/// The start that is asked for where a window starts then, as it stands in a query.
fn asked_at(window: Timestamp) -> String {
    (window - SignedDuration::from_mins(1)).strftime("%Y-%m-%dT%H:%MZ").to_string()
}

fn signal(daemon: &Running, signal: Signal) {
    kill_process(Pid::from_child(daemon), signal).unwrap();
}

async fn killed(mut daemon: Running) {
    signal(&daemon, Signal::KILL);
    tokio::task::spawn_blocking(move || daemon.0.wait().unwrap()).await.unwrap();
}

/// Has the process killed each time that the window is in work, until the window is left alone; says how often that was.
async fn kills(two: &TwoSources, poison: Timestamp, is_over: impl AsyncFn(&TwoSources) -> bool) -> usize {
    let mut kills = 0;
    loop {
        let before = two.asked_for(poison);
        let daemon = two.vault.daemon();
        while two.asked_for(poison) == before {
            if is_over(two).await {
                return kills;
            }
        }
        killed(daemon).await;
        let status = text(&two.vault.connvault(&["status"]).await.stdout);
        assert!(!status.contains("being worked on"), "nobody does: {status}");
        kills += 1;
        assert!(kills <= 3, "it is tried on and on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_ends_the_process_is_parked_at_the_third_time_and_all_others_are_archived() {
    for places in [1, 4] {
        let two = TwoSources::with_places(places).await;
        let poison = two.vault.start;
        let stall = Rule::new(Fault::StallAfter { bytes: 100 }).on(Endpoint::Export);
        two.vault.sim.faults().add(stall.for_start_time(asked_at(poison)));
        let is_parked = async |two: &TwoSources| {
            // The log is written before the ledger is told: both must say so.
            let gaps = text(&two.vault.connvault(&["gaps", "--json"]).await.stdout);
            let is_left_alone = gaps.matches("\"verdict\"").count() == 1 && gaps.contains("\"parked\"");
            is_left_alone && two.archived_so_far("visits").await == WINDOWS
        };
        assert_eq!(kills(&two, poison, is_parked).await, 3);
        assert_eq!((two.archived("logins").await, two.archived("visits").await), (WINDOWS - 1, WINDOWS));
        let gaps = text(&two.vault.connvault(&["gaps", "--json"]).await.stdout);
        assert_eq!(gaps.matches("\"verdict\"").count(), 1, "{gaps}");
        assert!(gaps.contains("3 attempts in a row ended with the process"), "{gaps}");
        let status = text(&two.vault.connvault(&["status"]).await.stdout);
        assert!(status.contains("ended with the process"), "{status}");
        // What was wrong is mended, and an operator says so.
        two.vault.sim.faults().clear();
        let retried = text(&two.vault.connvault(&["retry"]).await.stdout);
        assert!(retried.starts_with("1 window is due again"), "{retried}");
        two.vault.once().await;
        assert_eq!(two.archived("logins").await, WINDOWS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_announced_counts_against_no_window() {
    let two = TwoSources::with_places(1).await;
    let slow = two.vault.start;
    let stall = Rule::new(Fault::StallAfter { bytes: 100 }).on(Endpoint::Export);
    two.vault.sim.faults().add(stall.for_start_time(asked_at(slow)));
    for times in 1..=4 {
        let daemon = two.vault.daemon();
        two.vault.until(|| two.asked_for(slow) == times).await;
        terminated(daemon).await;
    }
    two.vault.sim.faults().clear();
    two.vault.once().await;
    assert_eq!(two.archived("logins").await, WINDOWS);
    let kinds = Audit::of(two.vault.store().as_ref(), &"logins".parse().unwrap()).await.entries.len();
    assert_eq!(kinds, WINDOWS + 1, "no window was parked");
}

/// Has the daemon end by SIGTERM. It may still finish what is in flight; an impatient operator ends it at once.
async fn terminated(mut daemon: Running) {
    while daemon.try_wait().unwrap().is_none() {
        signal(&daemon, Signal::TERM);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

/// Fills the disk three times while windows are in work (`slow` keeps them there until `is_time` says so of the daemon's log), and
/// has the daemon end each time; then there is room, and all is archived.
async fn ends_on_a_full_disk(slow: Fault, is_time: impl Fn(&str) -> bool) {
    let large = |sim: connvault_sim::Builder| sim.bulk_csv_rows(20_000);
    let vault = Vault::with(|dir| Place::Directory(dir.join("archive")), large).await;
    vault.configure_with("stall_timeout = \"5m\"\n", "");
    let disk = Tmpfs::mount(vault.state_dir(), "1m");
    let (ballast, log) = (vault.state_dir().join("ballast"), vault.path("stderr"));
    vault.sim.faults().add(Rule::new(slow).on(Endpoint::Export));
    for _ in 0..3 {
        let asked = vault.sim.request_count(Endpoint::Export);
        let mut command = vault.daemon_command();
        let daemon = Running(command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap());
        vault.until(|| vault.sim.request_count(Endpoint::Export) > asked).await;
        // From here on no word in the ledger fits.
        _ = std::fs::write(&ballast, vec![1; 1 << 20]);
        vault.until(|| is_time(&std::fs::read_to_string(&log).unwrap())).await;
        terminated(daemon).await;
        std::fs::remove_file(&ballast).unwrap();
    }
    vault.sim.faults().clear();
    disk.remount("size=64m");
    let output = vault.connvault(&["once"]).await;
    let said = text(&output.stderr);
    assert!(output.status.success() && !said.contains("ended with the process"), "{said}");
    assert_eq!(vault.audit().await.windows.len(), WINDOWS);
    drop(vault);
    drop(disk);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, to mount a small disk: run scripts/test"]
async fn an_end_that_is_announced_on_a_full_disk_counts_against_no_window_in_work() {
    ends_on_a_full_disk(Fault::StallAfter { bytes: 100 }, |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, to mount a small disk: run scripts/test"]
async fn an_end_that_is_announced_on_a_full_disk_counts_against_no_window_that_was_given_up_for_it() {
    let slow = Fault::DelayFirstByte(std::time::Duration::from_secs(1));
    ends_on_a_full_disk(slow, |log| log.contains("everything waits")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_is_announced_without_the_ledger_is_known_to_the_next_start_and_to_no_later_one() {
    let clock = TestClock::at("2026-11-06T03:00:00Z");
    let world = World::at(place::Place::directory(), &clock, 1).await;
    let mut counted = Vec::new();
    for is_announced in [true, false, true, false] {
        let session = only_begin(&world.config(), &clock).await.unwrap();
        let Services { ledger, end_mark, .. } = &*session.services;
        let stream = "logins".parse().unwrap();
        let crashes = ledger.snapshot().await.unwrap().crashes;
        counted.push(crashes.values().flat_map(|windows| windows.values()).sum::<u32>());
        let start = clock.now() - DAY;
        let window = Window::new(start, clock.now()).unwrap();
        let lease = ledger.lease(&stream, window, Purpose::Settle, "test", start, clock.now()).await;
        assert!(matches!(lease, Ok(LeaseOutcome::Leased(_))), "{lease:?}");
        if is_announced {
            end_mark.announce().unwrap();
        }
        session.end().await;
    }
    assert_eq!(counted, [0, 0, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_drips_leaves_a_place_to_the_others() {
    for places in [2, 4] {
        let two = TwoSources::with_places(places).await;
        two.vault.sim.faults().add(Rule::new(Fault::StallAfter { bytes: 100 }).on(Endpoint::Export));
        let _daemon = two.vault.daemon();
        let began = std::time::Instant::now();
        while two.archived_so_far("visits").await < WINDOWS {
            assert!(began.elapsed().as_secs() < 60, "the other source gets no place");
        }
        let held =
            two.vault.sim.requests().iter().filter(|request| request.endpoint == Endpoint::Export).count();
        assert_eq!((held, two.archived_so_far("logins").await), (places - 1, 0));
        assert_eq!(two.branch.request_count(Endpoint::Export), WINDOWS as u64);
    }
}

/// What unpacks to so many bytes, and is a ZIP archive by its first ones, whose directory must be looked for at its end.
fn bomb(bytes: usize) -> Vec<u8> {
    use std::io::Write;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(b"PK\x03\x04").unwrap();
    let zeros = vec![0; 1 << 20];
    (0..bytes >> 20).for_each(|_| packed.write_all(&zeros).unwrap());
    packed.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, to mount a small disk: run scripts/test"]
async fn files_that_are_too_large_for_the_disk_are_their_windows_failure_and_hold_nothing_up() {
    let two = TwoSources::with_places(4).await;
    let disk = Tmpfs::mount(two.vault.state_dir(), "200m");
    let (packed, endless) = (two.vault.start, two.vault.start + DAY);
    let bomb = bomb(120 << 20);
    assert!(bomb.len() < 1 << 20);
    for (window, body) in [(packed, bomb), (endless, vec![b'x'; 190 << 20])] {
        let rule = Rule::new(Fault::Body(body.into())).on(Endpoint::Export);
        two.vault.sim.faults().add(rule.for_start_time(asked_at(window)));
    }
    let log = two.vault.path("stderr");
    let mut command = two.vault.daemon_command();
    let daemon = Running(command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap());
    let began = std::time::Instant::now();
    // What cannot be unpacked is archived as it came, at the third time; what cannot be fetched is parked.
    while (two.archived_so_far("visits").await, two.archived_so_far("logins").await) != (WINDOWS, WINDOWS - 1)
    {
        assert!(began.elapsed().as_secs() < 100, "{}", std::fs::read_to_string(&log).unwrap());
    }
    let gaps = text(&two.vault.connvault(&["gaps", "--json"]).await.stdout);
    drop(daemon);
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(!said.contains("everything waits"), "{said}");
    assert_eq!((gaps.matches("\"parked\"").count(), gaps.matches("\"verdict\"").count()), (1, 2), "{gaps}");
    assert!(gaps.contains("MiB free and keeps 20 MiB in reserve"), "{gaps}");
    assert!(said.contains("too large to be read here") && said.contains("window archived unread"), "{said}");
    assert!(two.vault.spooled().is_empty(), "{:?}", two.vault.spooled());
    let (vault, _) = (two.vault, drop(two.branch));
    drop(vault);
    drop(disk);
}
