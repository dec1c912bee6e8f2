//! Wrong clocks for the real program, all of it: what the C library says of the time is shifted by libfaketime.

use std::process::Output;

use serde_json::Value;

use crate::support::place::Place;
use crate::support::world::{World, said};

const MINUTE: i64 = 60;
const DAY: i64 = 86_400;

/// Runs the program to its end by a clock that is `seconds` ahead. The clock that only counts is left alone: waiting rests on it.
async fn connvault(world: &World, seconds: i64, arguments: &[&str]) -> Output {
    let library = std::env::var("CONNVAULT_TEST_FAKETIME").expect("scripts/test says where libfaketime is");
    let mut command = world.command(arguments);
    command.env("LD_PRELOAD", library).env("FAKETIME", format!("{seconds:+}s"));
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn log_entries(world: &World) -> usize {
    world.place.objects().await.keys().filter(|key| key.contains("/log/")).count()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs libfaketime: run scripts/test"]
async fn by_a_wrong_clock_the_program_writes_nothing_and_by_the_right_one_it_archives_all() {
    for seconds in [15 * MINUTE, 35 * DAY, 400 * DAY, -365 * DAY] {
        for place in [Place::directory(), Place::s3s().await] {
            let mut world = World::now(place, 3).await;
            world.settings.source = "past_horizon = \"lose\"\n".to_owned();
            let output = connvault(&world, seconds, &["once", "--json"]).await;
            assert_eq!(output.status.code(), Some(75), "{seconds}: {}", said(&output));
            let ended: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!((&ended["lost"], &ended["archived"]), (&0.into(), &0.into()), "{seconds}: {ended}");
            assert!(said(&output).contains("the clock of this machine is"), "{seconds}: {}", said(&output));
            assert_eq!(log_entries(&world).await, 0, "{seconds}");

            let output = world.connvault(&["once"]).await;
            assert!(output.status.success(), "{seconds}: {}", said(&output));
            world.archive().await.assert_complete(&world.windows);
            // Wrong again, with everything archived.
            let output = connvault(&world, seconds, &["once", "--json"]).await;
            assert_eq!(output.status.code(), Some(75), "{seconds}: {}", said(&output));
            world.archive().await.assert_complete(&world.windows);
            let verified = world.connvault(&["verify", "--level", "bytes"]).await;
            assert!(verified.status.success(), "{seconds}: {}", said(&verified));
        }
    }
}
