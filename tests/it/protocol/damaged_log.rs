//! A log that is not what it was: its stream is held up, nothing is written to it, and the others go on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use connvault::domain::failure::FailureKind;
use connvault::domain::snapshot::Resource;
use jiff::{SignedDuration, Timestamp};

use super::{NOW, clock, later_today};
use crate::support::archive::Archive;
use crate::support::clock::TestClock;
use crate::support::inside::{begin, reconcile, verdicts};
use crate::support::place::Place;
use crate::support::world::World;

const DAYS: u32 = 3;

struct Damaged {
    world: World,
    clock: TestClock,
}

impl Damaged {
    /// Two streams, archived; what is asked for is the path of entry `seq` of one of them.
    async fn archived() -> Self {
        let clock = clock();
        let mut world = World::at(Place::directory(), &clock, DAYS).await;
        world.settings.streams = vec!["logins".to_owned(), "others".to_owned()];
        let session = begin(&world.config(), &clock).await.unwrap();
        let ran = reconcile(&session, &clock, 2, later_today()).await;
        assert_eq!(ran.tally.archived, 2 * u64::from(DAYS));
        session.end().await;
        Self { world, clock }
    }

    fn entry(&self, seq: u64) -> PathBuf {
        let Place::Directory(folder) = &self.world.place else { unreachable!() };
        folder.path().join(format!("logins/log/{seq:012}.json"))
    }

    /// What lies in the store of the stream that was damaged.
    async fn stored(&self) -> BTreeMap<String, Vec<u8>> {
        let mut objects = self.world.place.objects().await;
        objects.retain(|key, _| key.starts_with("logins/"));
        objects
    }

    /// A day later: the damaged stream is held up and untouched, the message says `words`, the other goes on.
    async fn assert_held_up(self, words: &[&str]) {
        let before = self.stored().await;
        let tomorrow = NOW.parse::<Timestamp>().unwrap() + SignedDuration::from_hours(24);
        self.clock.reach(tomorrow);
        let session = begin(&self.world.config(), &self.clock).await.unwrap();
        let ran = reconcile(&session, &self.clock, 2, tomorrow + SignedDuration::from_hours(1)).await;
        assert_eq!(ran.tally.archived, 1, "the other stream's new window");
        assert_eq!(self.stored().await, before);
        let others = Archive::of(&self.world.place.objects().await, "others");
        assert_eq!(others.archived().len(), DAYS as usize + 1);

        let snapshot = session.services.ledger.snapshot().await.unwrap();
        let hold = &snapshot.holds[&Resource::Stream("logins".parse().unwrap())];
        assert_eq!(hold.failure.kind, FailureKind::Damaged);
        for words in words {
            assert!(hold.failure.message.contains(words), "{}", hold.failure.message);
        }
        let due = verdicts(&session).await;
        let due = due.iter().rfind(|judged| judged.stream.as_str() == "logins").unwrap();
        assert_eq!(due.verdict.word(), "parked", "an operator must look: {due:?}");
        session.end().await;
    }
}

#[tokio::test]
async fn a_last_entry_that_is_gone_holds_up_its_stream() {
    let damaged = Damaged::archived().await;
    std::fs::remove_file(damaged.entry(4)).unwrap();
    damaged.assert_held_up(&["000000000004.json", "is gone from the store"]).await;
}

#[tokio::test]
async fn a_tail_that_is_gone_holds_up_its_stream() {
    let damaged = Damaged::archived().await;
    for seq in [3, 4] {
        std::fs::remove_file(damaged.entry(seq)).unwrap();
    }
    damaged.assert_held_up(&["000000000004.json", "is gone from the store"]).await;
}

#[tokio::test]
async fn a_byte_that_is_changed_in_the_last_entry_holds_up_its_stream() {
    let damaged = Damaged::archived().await;
    change_a_byte(&damaged.entry(4));
    damaged.assert_held_up(&["000000000004.json", "when it was written"]).await;
}

#[tokio::test]
async fn an_entry_that_is_gone_from_the_middle_holds_up_its_stream_on_a_new_machine() {
    let damaged = Damaged::archived().await;
    std::fs::remove_file(damaged.entry(2)).unwrap();
    damaged.world.lose_state();
    damaged.assert_held_up(&["000000000002.json", "is gone from the store"]).await;
}

#[tokio::test]
async fn a_byte_that_is_changed_in_the_middle_holds_up_its_stream_on_a_new_machine() {
    let damaged = Damaged::archived().await;
    change_a_byte(&damaged.entry(2));
    damaged.world.lose_state();
    damaged.assert_held_up(&["000000000003.json", "it follows an entry with SHA-256"]).await;
}

#[tokio::test]
async fn an_entry_of_a_later_format_holds_up_its_stream_on_a_new_machine() {
    let damaged = Damaged::archived().await;
    let path = damaged.entry(4);
    let text = std::fs::read_to_string(&path).unwrap().replacen("\"format\": 1", "\"format\": 2", 1);
    overwrite(&path, text.as_bytes());
    damaged.world.lose_state();
    damaged.assert_held_up(&["000000000004.json", "format 2"]).await;
}

/// Makes a digit of the entry's time another digit.
fn change_a_byte(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(11).position(|text| text == b"recorded_at").unwrap() + 15;
    bytes[at] = if bytes[at] == b'2' { b'3' } else { b'2' };
    overwrite(path, &bytes);
}

fn overwrite(path: &std::path::Path, bytes: &[u8]) {
    // Objects are read-only: what overwrites one does so on purpose.
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}
