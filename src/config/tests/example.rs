//! `config.example.toml` is what it says that it is.

use std::fs;

use super::super::not_yet::keys_below;
use super::super::raw::{
    RawAkSk, RawAlerts, RawCredentials, RawDaemon, RawDirectory, RawEcsAgency, RawFilters, RawObjectLock,
    RawS3, RawSigning, RawStream, RawToken, RawWorkspace,
};
use super::super::tree::KeyPath;
use super::{Files, example_file};

#[test]
fn the_example_loads_as_shipped() {
    let config = Files::new().load(&example_file()).unwrap();
    assert_eq!(config.streams.len(), 1);
}

#[test]
fn every_key_that_is_not_set_in_the_example_can_be_set() {
    let files = Files::new();
    let ca = files.directory.path().join("ca.pem");
    fs::write(&ca, "-----BEGIN CERTIFICATE-----").unwrap();
    let signers = files.directory.path().join("allowed_signers");
    fs::write(&signers, "").unwrap();
    let is_key = |rest: &str| rest.starts_with('[') || rest.starts_with(|c: char| c.is_ascii_lowercase());
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(rest) if is_key(rest) => rest
            .replace("/etc/connvault/ca.pem", ca.to_str().unwrap())
            .replace("/etc/connvault/allowed_signers", signers.to_str().unwrap()),
        _ => line.to_owned(),
    };
    let text: Vec<_> = example_file().lines().map(uncomment).collect();
    let config = files.load(&text.join("\n")).unwrap();
    assert_eq!((config.stores.len(), config.sources.len()), (2, 3));
    assert!(config.signing.as_ref().is_some_and(|signing| signing.allowed_signers_file.is_some()));
    assert!(config.effective_toml().contains("kms_key_id = \"alias/archive\""));
}

#[test]
fn every_default_in_the_example_is_the_default() {
    let files = Files::new();
    // A prefix is set there, although none is the default.
    let text = example_file().replace("prefix = \"workspace\"", "prefix = \"\"");
    let whole = files.load(&text).unwrap();
    let mut comment = String::new();
    let mut defaults = 0;
    for line in text.lines() {
        if line.starts_with("# ") {
            comment.push_str(line);
            continue;
        }
        if comment.contains("Default:") && line.contains(" = ") && !line.starts_with('#') {
            let value = line.split_once(" = ").unwrap().1;
            assert!(comment.contains(&format!("Default: {value}")), "{comment} over {line}");
            let without =
                text.replace(&format!("{comment_end}\n{line}\n", comment_end = last_line(&text, line)), "\n");
            assert_eq!(files.load(&without).unwrap(), whole, "{line}");
            defaults += 1;
        }
        comment.clear();
    }
    assert_eq!(defaults, 30);
}

/// The line before `line`, with which it is found again.
fn last_line<'a>(text: &'a str, line: &str) -> &'a str {
    let lines: Vec<_> = text.lines().collect();
    let index = lines.iter().position(|other| *other == line).unwrap();
    lines[index - 1]
}

#[test]
fn every_known_key_is_in_the_example() {
    let text = example_file();
    let sections: [&[&str]; 11] = [
        RawDaemon::KEYS,
        RawWorkspace::KEYS,
        RawAkSk::KEYS,
        RawEcsAgency::KEYS,
        RawToken::KEYS,
        RawS3::KEYS,
        RawDirectory::KEYS,
        RawStream::KEYS,
        RawFilters::KEYS,
        RawSigning::KEYS,
        RawAlerts::KEYS,
    ];
    for key in sections.into_iter().flatten().filter(|key| !["credentials", "filters"].contains(key)) {
        let is_there = |line: &str| line.trim_start_matches('#').starts_with(&format!("{key} = "));
        assert!(text.lines().any(is_there), "{key}");
    }
    for section in
        [&[] as &[&str], &["daemon"], &["sources", "x"], &["stores", "x"], &["streams", "x"], &["alerts"]]
    {
        for key in keys_below(&section.iter().copied().collect::<KeyPath>()) {
            let (as_key, as_section) = (format!("# later: {key} = "), format!("# later: [{key}]"));
            assert!(text.contains(&as_key) || text.contains(&as_section), "{key}");
        }
    }
    for key in RawObjectLock::KEYS {
        assert!(
            text.lines()
                .any(|line| line.starts_with("#object_lock = {") && line.contains(&format!(" {key} = ")))
        );
    }
    for (kind, _) in RawCredentials::KINDS {
        assert!(text.contains(&format!("kind = {kind:?}")), "{kind}");
    }
}
