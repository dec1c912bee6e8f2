//! Durations (`30d`, `1h30m`) and sizes (`5GiB`) as the configuration writes them.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;

use crate::domain::duration::UNITS;

/// Ten thousand days: more than anything here may last, and far from any overflow.
const LONGEST: u64 = 10_000 * 86_400;

/// As long as a duration can be.
pub(super) const LONGEST_DURATION: SignedDuration = SignedDuration::from_hours(10_000 * 24);

pub(super) const DURATION_FORM: &str =
    "must be a duration in whole days (of 24 hours), hours, minutes and seconds, such as \"2h\" or \"1h30m\"";

/// A duration: numbers with the units `d`, `h`, `m`, `s`, each at most once and from large to small.
pub(super) fn parse_duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text;
    let mut seconds = 0u64;
    for (unit, scale) in UNITS {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if let Some(after) = rest[digits..].strip_prefix(unit) {
            let number: u64 = rest[..digits].parse().ok()?;
            seconds = seconds.checked_add(number.checked_mul(scale)?)?;
            rest = after;
        }
    }
    let seconds = i64::try_from(seconds).ok().filter(|s| s.unsigned_abs() <= LONGEST)?;
    (rest.is_empty() && !text.is_empty()).then(|| SignedDuration::from_secs(seconds))
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// 5 GiB: what a single put takes at most.
    pub const SINGLE_PUT: Self = Self(5 << 30);

    /// 4 KiB: what a transfer must bring a second, where nobody says otherwise.
    pub const LEAST_RATE: Self = Self(4 << 10);

    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

/// Not a number and a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a size in B, KB, MB, GB, KiB, MiB or GiB, such as \"5GiB\"")]
pub struct BadSize;

impl FromStr for ByteSize {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let (digits, scale) =
            SIZES.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale))).ok_or(BadSize)?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BadSize);
        }
        let number: u64 = digits.parse().map_err(|_| BadSize)?;
        number.checked_mul(*scale).map(Self).ok_or(BadSize)
    }
}

/// In the largest unit that gives a whole number.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = SIZES.iter().find(|(_, scale)| self.0 > 0 && self.0.is_multiple_of(*scale));
        let (unit, scale) = whole.copied().unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::domain::duration::spelled;

    #[test]
    fn a_duration_is_numbers_with_units_from_large_to_small() {
        for (text, seconds) in
            [("30d", 2_592_000), ("12h", 43_200), ("90m", 5_400), ("45s", 45), ("1h30m", 5_400)]
        {
            assert_eq!(parse_duration(text), Some(SignedDuration::from_secs(seconds)), "{text}");
        }
        for bad in [
            "",
            "1",
            "d",
            "-1d",
            "+1d",
            "1.5h",
            "1h 30m",
            "30m1h",
            "1h1h",
            "1w",
            "2H",
            "99999999999999999999d",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
        assert_eq!(parse_duration("10001d"), None);
    }

    #[test]
    fn a_size_has_a_unit_and_fits() {
        for (text, bytes) in [("5GiB", 5 << 30), ("1KB", 1000), ("0B", 0), ("7MiB", 7 << 20), ("12B", 12)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for bad in ["", "5", "GiB", "-1B", "5 GiB", "5gib", "1.5GiB", "99999999999GiB", "+1B"] {
            assert_eq!(bad.parse::<ByteSize>(), Err(BadSize), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(seconds in 0..=LONGEST, bytes: u64) {
            let duration = SignedDuration::from_secs(seconds as i64);
            prop_assert_eq!(parse_duration(&spelled(duration)), Some(duration));
            prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }
    }
}
