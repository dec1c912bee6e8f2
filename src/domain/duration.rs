//! Durations as people write them, and as the configuration takes them: `6h`, `30d`, `1d12h`, `45s`.

use std::time::Duration;

use jiff::SignedDuration;

/// The units of a duration, each with its seconds, from large to small.
pub const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// A duration in its largest units, exact to the second. Signs are left out.
pub fn spelled(duration: SignedDuration) -> String {
    spelled_seconds(duration.as_secs().unsigned_abs())
}

/// As [`spelled`]; below a second in milliseconds (`300ms`), which no configuration takes.
pub fn spelled_std(duration: Duration) -> String {
    match duration.as_secs() {
        0 if duration.as_millis() > 0 => format!("{}ms", duration.as_millis()),
        seconds => spelled_seconds(seconds),
    }
}

fn spelled_seconds(mut seconds: u64) -> String {
    if seconds == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, scale) in UNITS {
        let number = seconds / scale;
        if number > 0 {
            text.push_str(&format!("{number}{unit}"));
        }
        seconds %= scale;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_spelled_in_its_largest_units_and_exactly() {
        for (seconds, text) in [
            (21_600, "6h"),
            (2_592_000, "30d"),
            (129_600, "1d12h"),
            (5_400, "1h30m"),
            (240, "4m"),
            (59, "59s"),
            (0, "0s"),
            (90_061, "1d1h1m1s"),
        ] {
            assert_eq!(spelled(SignedDuration::from_secs(seconds)), text);
            assert_eq!(spelled_std(Duration::from_secs(seconds.unsigned_abs())), text);
            assert_eq!(spelled(SignedDuration::from_secs(-seconds)), text);
        }
        assert_eq!(spelled_std(Duration::from_millis(300)), "300ms");
        assert_eq!(spelled_std(Duration::from_millis(1300)), "1s");
    }
}
