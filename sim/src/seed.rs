//! Fictional records from a seed: the same seed always gives the same ones, on every machine.
//!
//! The names are made up and awkward on purpose (spaces, `+`, commas, quotes, Chinese, emoji); the addresses are
//! those set aside for documentation and private use.

use jiff::{SignedDuration, Timestamp};

use crate::records::Record;

const DAY_SECONDS: i64 = 86_400;

const USERS: [&str; 16] = [
    "alder.finch",
    "briar.vale",
    "night shift 01",
    "ops+backup",
    "Sample, Quill",
    "Example \"Ace\" Tester",
    "o'test",
    "示例用户甲",
    "测试员 乙",
    "演示账号-丙",
    "panda 🐼 desk",
    "zoë.örtlich",
    "train/room*7~b",
    "100% temp & co=1",
    "EXAMPLE\\robot",
    "=sum.of.parts",
];
const TERMINALS: [&str; 7] = ["Windows", "MacOS", "Linux", "Android", "iOS", "Web", "TC"];
const REASONS: [&str; 4] = [
    "Authentication failed",
    "Desktop unreachable, gave up after 30 s",
    "Session limit \"per user\" reached",
    "网络超时",
];

/// splitmix64: tiny, and good enough to scatter test data.
pub(crate) struct SplitMix(u64);

impl SplitMix {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..limit`; `limit` is small and not zero.
    fn below(&mut self, limit: u32) -> u32 {
        // The remainder is below a u32, so the cast loses nothing.
        (self.next() % u64::from(limit)) as u32
    }

    fn pick(&mut self, from: &[&str]) -> String {
        // A list here has a handful of entries, and the index is below their number.
        from[self.below(from.len() as u32) as usize].to_owned()
    }

    /// A random (version 4) UUID in form, and the same one for the same state.
    pub(crate) fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xFFFF,
            high & 0xFFF,
            0x8000 | ((low >> 48) & 0x3FFF),
            low & 0xFFFF_FFFF_FFFF
        )
    }
}

/// One record from its start and a seed.
pub(crate) fn record(start: Timestamp, seed: u64) -> Record {
    let mut random = SplitMix::new(seed);
    let user_name = random.pick(&USERS);
    let failed = random.below(20) == 0;
    let setup = start + SignedDuration::from_secs(1 + i64::from(random.below(14)));
    let end = setup + SignedDuration::from_secs(60 + i64::from(random.below(9 * 3600)));
    let rtt = 3 + random.below(180);
    let e2e = rtt + 5 + random.below(60);
    Record {
        computer_name: format!("DESK-{:04}", random.below(400)),
        user_name,
        terminal_mac: format!(
            "02-00-5E-{:02X}-{:02X}-{:02X}",
            random.below(256),
            random.below(256),
            random.below(256)
        ),
        terminal_name: format!("terminal {:03}", random.below(300)),
        terminal_type: random.pick(&TERMINALS),
        terminal_ip: format!("203.0.113.{}", 1 + random.below(254)),
        client_version: format!("25.{}.{}", random.below(12), random.below(10)),
        agent_version: format!("24.{}.0", random.below(12)),
        desktop_ip: format!("10.{}.{}.{}", random.below(8), random.below(256), 1 + random.below(254)),
        connection_start_time: start,
        connection_setup_time: (!failed).then_some(setup),
        connection_end_time: (!failed).then_some(end),
        is_reconnect: random.below(6) == 0,
        connection_failure_reason: failed.then(|| random.pick(&REASONS)),
        network_rtt: (!failed).then_some(rtt),
        e2e_rtt: (!failed).then_some(e2e),
        sid: format!("S-1-5-21-{}-{}", random.below(1_000_000), 1000 + random.below(9000)),
        transaction_id: random.uuid(),
    }
}

/// `per_day` records for each UTC day that `[from, to)` touches, less those outside it.
pub(crate) fn records(seed: u64, from: Timestamp, to: Timestamp, per_day: u32) -> Vec<Record> {
    let first_day = from.as_second().div_euclid(DAY_SECONDS);
    let last_day = to.as_second().div_euclid(DAY_SECONDS);
    let mut records = Vec::new();
    for day in first_day..=last_day {
        // Mixed, so that neighbouring days and seeds have nothing in common.
        let day_seed = SplitMix::new(seed).next() ^ SplitMix::new(day.cast_unsigned()).next();
        let mut random = SplitMix::new(day_seed);
        for n in 0..per_day {
            let second = if n == 0 { 0 } else { i64::from(random.below(86_400)) };
            let record_seed = random.next();
            let Ok(start) = Timestamp::from_second(day * DAY_SECONDS + second) else {
                continue;
            };
            if from <= start && start < to {
                records.push(record(start, record_seed));
            }
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_holds_the_same_records_whatever_range_it_is_seen_through() {
        let week = records(7, at("2026-11-01T00:00Z"), at("2026-11-08T00:00Z"), 50);
        let day = records(7, at("2026-11-03T00:00Z"), at("2026-11-04T00:00Z"), 50);
        assert_eq!(week.len(), 350);
        assert_eq!(day.len(), 50);
        assert!(day.iter().all(|record| week.contains(record)));
        assert_eq!(day[0].connection_start_time, at("2026-11-03T00:00Z"));
    }

    #[test]
    fn another_seed_gives_other_records() {
        let of = |seed| records(seed, at("2026-11-03T00:00Z"), at("2026-11-04T00:00Z"), 5);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    #[test]
    fn transaction_ids_have_the_form_of_a_uuid_and_do_not_repeat() {
        let mut ids: Vec<String> = records(3, at("2026-11-01T00:00Z"), at("2026-11-11T00:00Z"), 100)
            .into_iter()
            .map(|record| record.transaction_id)
            .collect();
        assert!(ids.iter().all(|id| id.len() == 36 && id.as_bytes()[14] == b'4'));
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 1000);
    }
}
