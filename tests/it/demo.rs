//! The demo as a person runs it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

/// Where its archive lies.
pub const STREAM_FOLDER: &str = "store/connection-records/workspace/logins";

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

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A finished demo in a folder of its own.
pub fn finished_demo() -> tempfile::TempDir {
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
