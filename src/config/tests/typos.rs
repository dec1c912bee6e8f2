//! A slip in any key is found and put right.

use super::super::not_yet::keys_below;
use super::super::raw::{
    RawAkSk, RawConfig, RawDaemon, RawDirectory, RawFilters, RawS3, RawStream, RawWorkspace,
};
use super::super::tree::KeyPath;
use super::{Files, MINIMAL, with};

/// Sections of [`MINIMAL`] with the keys that belong there.
fn sections() -> Vec<(&'static str, Vec<&'static str>)> {
    let kinds = ["kind"];
    let sections: [(&str, &[&str], &[&str]); 7] = [
        ("daemon", RawDaemon::KEYS, &[]),
        ("sources.hq", RawWorkspace::KEYS, &kinds),
        ("sources.hq.credentials", RawAkSk::KEYS, &kinds),
        ("stores.archive", RawS3::KEYS, &kinds),
        ("stores.disk", RawDirectory::KEYS, &kinds),
        ("streams.logins", RawStream::KEYS, &[]),
        ("streams.logins.filters", RawFilters::KEYS, &[]),
    ];
    let with_later = |(section, keys, kind): (&'static str, &[&'static str], &[&'static str])| {
        let later = keys_below(&section.split('.').collect::<KeyPath>());
        (section, keys.iter().chain(kind).copied().chain(later).collect())
    };
    sections.into_iter().map(with_later).collect()
}

/// `key` with one character left out, in every way.
fn slips(key: &str) -> impl Iterator<Item = String> {
    (0..key.len()).map(|at| format!("{}{}", &key[..at], &key[at + 1..]))
}

#[test]
fn a_dropped_character_in_any_key_is_named_with_the_key_that_was_meant() {
    let files = Files::new();
    let mut tried = 0;
    for (section, keys) in sections() {
        for key in &keys {
            for slip in slips(key).filter(|slip| !keys.contains(&slip.as_str())) {
                let report = files.report(&with(section, &format!("{slip} = 0")));
                let said = format!("{section}.{slip}: unknown key; did you mean `{key}`?");
                assert!(report.len() == 1 && report[0].ends_with(&said), "{report:#?} without {said}");
                tried += 1;
            }
        }
    }
    assert!(tried > 400, "{tried}");
}

#[test]
fn a_dropped_character_in_a_section_is_named_with_the_section_that_was_meant() {
    let files = Files::new();
    let later = keys_below(&KeyPath::default());
    for section in RawConfig::KEYS.iter().copied().chain(later) {
        for slip in slips(section) {
            let report = files.report(&format!("{MINIMAL}[{slip}]\n"));
            let said = format!(": {slip}: unknown key; did you mean `{section}`?");
            assert!(report.len() == 1 && report[0].ends_with(&said), "{report:#?}");
        }
    }
}

#[test]
fn a_misspelt_kind_is_found_although_the_kind_is_missing_then() {
    let report = Files::new()
        .report(&with("stores.disk", "knd = \"directory\"").replace("kind = \"directory\"\n", ""));
    assert_eq!(
        report,
        [
            "config.toml:16: stores.disk.kind: missing: say which kind it is",
            "config.toml:17: stores.disk.knd: unknown key; did you mean `kind`?"
        ]
    );
}

#[test]
fn a_key_like_no_other_is_answered_with_the_keys_that_there_are() {
    let report = Files::new().report(&with("daemon", "colour = \"blue\""));
    assert_eq!(
        report,
        [
            "config.toml:26: daemon.colour: unknown key; known here: state_dir, schedule, concurrency, keep_attempts, listen, page_hosts"
        ]
    );
}
