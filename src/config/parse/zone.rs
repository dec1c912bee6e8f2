//! Time zones by their names: those of the IANA database, and what is meant by others.

use jiff::tz::TimeZone;

use super::super::nearest::nearest;
use crate::domain::calendar::zones;

/// A zone of the IANA database that comes with the program, so that every machine cuts the same windows. (A system's
/// own list also has `localtime`, which is another zone on another machine, and zones with leap seconds.)
pub(super) fn time_zone(name: &str) -> Result<TimeZone, String> {
    let listed = zones();
    if name != "Etc/Unknown"
        && let Ok(zone) = listed.get(name)
    {
        return Ok(zone);
    }
    let rule = "must be a time zone of the IANA database, such as \"Asia/Shanghai\"";
    if let Some(meant) = of_abbreviation(name) {
        let meant: Vec<_> = meant.iter().map(|zone| format!("{zone:?}")).collect();
        let why = if meant.len() > 1 { "an abbreviation that several zones use" } else { "an abbreviation" };
        return Err(format!("{rule}; {name} is {why}: write {}", meant.join(" or ")));
    }
    if is_offset(name) {
        return Err(format!("{rule}; an offset is no zone: write the place whose calendar counts"));
    }
    let names: Vec<String> = listed.available().map(|name| name.as_str().to_owned()).collect();
    // Between abbreviations one letter is another part of the world.
    let is_abbreviation = name.len() <= 5 && name.bytes().all(|b| b.is_ascii_uppercase());
    let meant = nearest(name, names.iter().map(String::as_str)).filter(|_| !is_abbreviation);
    let meant = meant.map_or_else(String::new, |meant| format!("; did you mean {meant:?}?"));
    Err(format!("{rule}{meant}"))
}

/// Zones whose clocks are commonly said to show this time, the provider's own first.
fn of_abbreviation(name: &str) -> Option<&'static [&'static str]> {
    Some(match name.to_ascii_uppercase().as_str() {
        "CST" => &["Asia/Shanghai", "America/Chicago", "America/Havana"],
        "BJT" | "PRC-CST" => &["Asia/Shanghai"],
        "HKT" => &["Asia/Hong_Kong"],
        "SGT" => &["Asia/Singapore"],
        "MYT" => &["Asia/Kuala_Lumpur"],
        "PHT" => &["Asia/Manila"],
        "ICT" => &["Asia/Bangkok"],
        "WIB" => &["Asia/Jakarta"],
        "JST" => &["Asia/Tokyo"],
        "KST" => &["Asia/Seoul"],
        "IST" => &["Asia/Kolkata", "Europe/Dublin", "Asia/Jerusalem"],
        "GST" => &["Asia/Dubai"],
        "AST" => &["Asia/Riyadh", "America/Halifax"],
        "MSK" => &["Europe/Moscow"],
        "TRT" => &["Europe/Istanbul"],
        "BST" => &["Europe/London", "Asia/Dhaka"],
        "CEST" => &["Europe/Berlin", "Europe/Paris"],
        "EEST" => &["Europe/Athens", "Europe/Kyiv"],
        "WEST" => &["Europe/Lisbon"],
        "SAST" => &["Africa/Johannesburg"],
        "CAT" => &["Africa/Maputo"],
        "EAT" => &["Africa/Nairobi"],
        "WAT" => &["Africa/Lagos"],
        "EDT" => &["America/New_York"],
        "CDT" => &["America/Chicago", "America/Havana"],
        "MDT" => &["America/Denver"],
        "PST" | "PDT" => &["America/Los_Angeles"],
        "BRT" => &["America/Sao_Paulo"],
        "ART" => &["America/Argentina/Buenos_Aires"],
        "CLT" => &["America/Santiago"],
        "COT" => &["America/Bogota"],
        "PET" => &["America/Lima"],
        "AEST" | "AEDT" => &["Australia/Sydney", "Australia/Brisbane"],
        "ACST" => &["Australia/Adelaide", "Australia/Darwin"],
        "AWST" => &["Australia/Perth"],
        "NZST" | "NZDT" => &["Pacific/Auckland"],
        _ => return None,
    })
}

/// `UTC+8`, `GMT+08:00`, `+0800`.
fn is_offset(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let rest = upper.trim_start_matches("UTC").trim_start_matches("GMT").trim_start();
    let digits = rest.strip_prefix(['+', '-']);
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abbreviation_is_told_with_the_zones_that_it_may_stand_for_and_never_taken_for_another_one() {
        for (name, said) in [
            ("CST", "\"Asia/Shanghai\" or \"America/Chicago\" or \"America/Havana\""),
            ("IST", "\"Asia/Kolkata\" or \"Europe/Dublin\""),
            ("HKT", "HKT is an abbreviation: write \"Asia/Hong_Kong\""),
            ("UTC+8", "an offset is no zone"),
            ("GMT+08:00", "an offset is no zone"),
            ("+0800", "an offset is no zone"),
        ] {
            let refused = time_zone(name).unwrap_err();
            assert!(refused.contains(said) && !refused.contains("did you mean"), "{name}: {refused}");
        }
        assert!(!time_zone("XST").unwrap_err().contains("did you mean"));
        assert!(time_zone("Asia/Shangai").unwrap_err().contains("did you mean \"Asia/Shanghai\"?"));
        assert!(time_zone("CET").is_ok() && time_zone("UTC").is_ok());
    }

    #[test]
    fn every_zone_that_is_advised_is_there() {
        let letters = || b'A'..=b'Z';
        let mut advised = 0;
        for name in letters().flat_map(|a| letters().map(move |b| [a, b])) {
            for end in letters().map(|c| vec![c]).chain(letters().map(|c| vec![c, b'T'])) {
                let name = String::from_utf8([name.to_vec(), end].concat()).unwrap();
                for zone in of_abbreviation(&name).into_iter().flatten() {
                    advised += 1;
                    assert!(time_zone(zone).is_ok(), "{name}: {zone}");
                }
            }
        }
        assert!(advised > 40, "{advised}");
    }
}
