//! The demo as a person runs it, and the walk through its archive that docs/archive-format.md describes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

const STREAM_FOLDER: &str = "store/connection-records/workspace/logins";

/// `cargo test` builds every example beside the tests; `cargo test --test it` alone does not.
fn demo() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let demo = test.ancestors().nth(2).unwrap().join("examples/demo");
    assert!(demo.is_file(), "{} is missing: cargo build --examples", demo.display());
    demo
}

fn run_demo(folder: &Path) -> Output {
    Command::new(demo()).arg(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A finished demo in a folder of its own.
fn finished_demo() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let output = run_demo(folder.path());
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    folder
}

#[test]
fn the_demo_archives_thirty_windows_and_each_file_has_the_digest_in_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let output = run_demo(folder.path());
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    let mut keys = BTreeSet::new();
    for line in said.lines().filter(|line| line.starts_with("data/")) {
        let columns: Vec<_> = line.split_whitespace().collect();
        let [key, rows, bytes, sha256, "the", "same"] = columns[..] else {
            panic!("{line}");
        };
        let content = std::fs::read(folder.path().join(STREAM_FOLDER).join(key)).unwrap();
        assert_eq!(content.len().to_string(), bytes, "{key}");
        assert_eq!(hex::encode(Sha256::digest(&content)), sha256, "{key}");
        assert_ne!(rows, "0", "{key}");
        keys.insert(key.to_owned());
    }
    assert_eq!(keys.len(), 30, "{said}");
    for hiccup in ["503", "429"] {
        assert!(said.contains(hiccup), "{said}");
    }
}

#[test]
fn the_demo_takes_away_no_folder_but_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let precious = folder.path().join("precious");
    std::fs::write(&precious, "").unwrap();
    let output = run_demo(folder.path());
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("not made by the demo"), "{}", text(&output.stderr));
    assert!(precious.exists());
}

/// The commands of docs/archive-format.md, those between ```sh and ```, as one script.
fn walk() -> String {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/archive-format.md");
    let document = std::fs::read_to_string(document).unwrap();
    let blocks = document.split("```sh\n").skip(1);
    let script: String = blocks.map(|rest| rest.split_once("```").unwrap().0).collect();
    assert!(script.contains("sha256sum") && script.contains("jq"), "{script}");
    script
}

fn run_walk(stream_folder: &Path) -> Output {
    let jq = Command::new("jq").arg("--version").output();
    assert!(jq.is_ok(), "jq is missing: install it (Debian: apt-get install jq)");
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &walk()]);
    bash.current_dir(stream_folder).output().unwrap()
}

#[test]
fn the_documented_walk_finds_a_whole_archive_whole_and_each_damage_to_it() {
    let folder = finished_demo();
    let stream = folder.path().join(STREAM_FOLDER);
    let walked = run_walk(&stream);
    let said = text(&walked.stdout);
    assert!(walked.status.success(), "{said}{}", text(&walked.stderr));
    assert!(said.contains("30 windows, without a gap"), "{said}");

    let entry = stream.join("log/000000000017.json");
    let whole = std::fs::read_to_string(&entry).unwrap();
    let object = serde_json::from_str::<serde_json::Value>(&whole).unwrap()["object"]["key"].clone();
    let object = stream.join(object.as_str().unwrap());
    let last = stream.join("log/000000000031.json");

    for (what, path, damage) in [
        ("a changed object", &object, Damage::Changed),
        ("a missing object", &object, Damage::Gone),
        ("a changed entry", &entry, Damage::Changed),
        ("a missing entry", &entry, Damage::Gone),
        ("an entry that is not JSON", &last, Damage::Emptied),
    ] {
        let before = std::fs::read(path).unwrap();
        damage.to(path);
        let walked = run_walk(&stream);
        assert!(!walked.status.success(), "{what} was not found: {}", text(&walked.stdout));
        std::fs::write(path, before).unwrap();
    }
    assert!(run_walk(&stream).status.success(), "the damage was not mended as it should be");
}

#[derive(Clone, Copy)]
enum Damage {
    Changed,
    Gone,
    Emptied,
}

impl Damage {
    fn to(self, path: &Path) {
        match self {
            // An entry stays readable JSON: one digit of a size or a version is another one.
            Self::Changed => {
                let mut bytes = std::fs::read(path).unwrap();
                let digit = bytes.iter().rposition(u8::is_ascii_digit).unwrap();
                bytes[digit] = if bytes[digit] == b'0' { b'1' } else { b'0' };
                std::fs::write(path, bytes).unwrap();
            }
            Self::Gone => std::fs::remove_file(path).unwrap(),
            Self::Emptied => std::fs::write(path, "").unwrap(),
        }
    }
}
