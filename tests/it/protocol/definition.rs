//! What a stream is, is fixed when it is opened; only its start may move, and only back.

use jiff::SignedDuration;

use crate::support::place::Place;
use crate::support::world::{Settings, World, said};

const DAYS: u32 = 3;

/// Runs `once` with `settings`; it must end with `code`.
async fn once(world: &mut World, settings: Settings, code: i32) -> String {
    world.settings = settings;
    let ended = world.connvault(&["once"]).await;
    assert_eq!(ended.status.code(), Some(code), "{}", said(&ended));
    said(&ended)
}

async fn archived() -> World {
    let mut world = World::now(Place::directory(), DAYS).await;
    let settings = world.settings.clone();
    once(&mut world, settings, 0).await;
    world.archive().await.assert_complete(&world.windows);
    world
}

#[tokio::test]
async fn a_configuration_that_contradicts_the_log_holds_its_stream_and_writes_nothing() {
    let mut world = archived().await;
    let (opened, before) = (world.settings.clone(), world.place.objects().await);
    let changed = [
        (Settings { window: "12h".to_owned(), ..opened.clone() }, "window"),
        (Settings { timezone: "Africa/Abidjan".to_owned(), ..opened.clone() }, "timezone"),
        (
            Settings { start: opened.start + SignedDuration::from_hours(24), ..opened.clone() },
            "start may only move back",
        ),
    ];
    for (settings, word) in changed {
        for state in ["state", "a-new-machine"] {
            let settings = Settings { state: state.to_owned(), ..settings.clone() };
            let said = once(&mut world, settings, 1).await;
            assert!(said.contains("stream logins") && said.contains(word), "{said}");
            assert!(said.contains("give the changed stream a new name"), "{said}");
            assert_eq!(world.place.objects().await, before);
        }
    }
    once(&mut world, opened, 0).await;
}

#[tokio::test]
async fn a_start_that_moves_back_is_said_in_the_log_and_the_earlier_windows_are_archived() {
    let mut world = archived().await;
    let two_days = SignedDuration::from_hours(48);
    let earlier = Settings { start: world.settings.start - two_days, ..world.settings.clone() };
    let mut windows: Vec<_> =
        [0, 24].map(|hours| (earlier.start + SignedDuration::from_hours(hours)).to_string()).into();
    windows.append(&mut world.windows);
    world.windows = windows;
    once(&mut world, earlier.clone(), 0).await;
    let archive = world.archive().await;
    archive.assert_complete(&world.windows);
    let starts: Vec<_> =
        archive.of_kind("stream").iter().map(|entry| entry["definition"]["start"].clone()).collect();
    assert_eq!(starts, [(earlier.start + two_days).to_string(), earlier.start.to_string()]);
    // Said once, whoever asks again, and on a new machine too.
    once(&mut world, earlier.clone(), 0).await;
    world.lose_state();
    once(&mut world, earlier, 0).await;
    assert_eq!(world.archive().await, archive);
}

#[tokio::test]
async fn settle_and_margin_may_change_freely() {
    let mut world = archived().await;
    let other = Settings { settle: "1h".to_owned(), margin: "5m".to_owned(), ..world.settings.clone() };
    once(&mut world, other, 0).await;
    world.archive().await.assert_complete(&world.windows);
}
