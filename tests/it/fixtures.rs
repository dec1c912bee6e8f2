//! Archives as released versions left them, in tests/fixtures/: whatever is changed, they read as they did.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::auditor;
use crate::demo::text;

/// One archive, and all that `verify` must say of it. A new one gets a folder and its place in [`ALL`].
struct Fixture {
    /// Below tests/fixtures/.
    folder: &'static str,
    /// Of its log, as it was when the archive was made.
    head: (u64, &'static str),
    /// The day after its last window.
    to: &'static str,
    windows: u64,
    lost: u64,
    parked: u64,
    acknowledged: u64,
    /// Entries of the second key, which do not count by the first one alone.
    of_the_second_key: usize,
    objects: u64,
    bytes: u64,
    /// The kinds of notes.
    notes: &'static [&'static str],
    /// Lines that the steps without connvault must print.
    said: &'static [&'static str],
}

const ALL: &[Fixture] = &[FIRST, CONTENT];

const FIRST: Fixture = Fixture {
    folder: "archive-format-1",
    head: (11, "211a0c5afa6dcd61308d18ff301a84f3ad66a3fd8951585d0cbfc410b8211e25"),
    to: "2026-03-10",
    windows: 6,
    lost: 1,
    parked: 1,
    acknowledged: 0,
    of_the_second_key: 3,
    objects: 8,
    bytes: 17_975,
    notes: &["unsigned_before", "counts_differ", "not_counted", "windows_parked", "windows_lost"],
    said: &[
        "9 entries say that they are signed; 2 before them are not",
        "8 objects held against the log",
        "known gap: from 2026-03-01T16:00:00Z to 2026-03-02T16:00:00Z, lost: the provider keeps records for 5 days",
        "the windows go from 2026-03-01T16:00:00Z to 2026-03-09T16:00:00Z",
        "known gap: from 2026-03-08T16:00:00Z to 2026-03-09T16:00:00Z, parked: 127.0.0.1",
        "6 windows archived, 2 known gaps",
        "note: entry 9 names what a crash left: data/2026/03/06/20260306T160000Z_20260307T160000Z.r1.csv",
        "note: entry 6 is revision 2 of the window from 2026-03-03T16:00:00Z, after entry 3: 1 rows added, 0 removed",
        "note: entry 4, window from 2026-03-04T16:00:00Z: not counted: ",
        "note: entry 5, window from 2026-03-05T16:00:00Z: the export has 4 rows, and the provider counted 6 before",
        "7 exports, 6 of them counted by the provider too",
    ],
};

/// What is in the exports, and who took note of what.
const CONTENT: Fixture = Fixture {
    folder: "archive-format-1-content",
    head: (12, "d7d946dbfd1676c3f0a2b0c3f73dec62e53e2e88d13e068818efd702d25a7b51"),
    to: "2026-03-09",
    windows: 6,
    lost: 1,
    parked: 0,
    acknowledged: 2,
    of_the_second_key: 5,
    objects: 6,
    bytes: 9_681,
    notes: &[
        "archived_unread",
        "read_later",
        "counts_differ",
        "windows_lost",
        "acknowledged",
        "acknowledged",
    ],
    said: &[
        "12 entries say that they are signed; 0 before them are not",
        "6 objects held against the log",
        "known gap: from 2026-03-01T16:00:00Z to 2026-03-02T16:00:00Z, lost: the provider keeps records for 7 days, and the \
         window was not archived before 2026-03-08T15:59:00Z (acknowledged by Example Keeper: the archive was set up too late",
        "6 windows archived, 1 known gaps",
        "note: entry 3, window from 2026-03-03T16:00:00Z: archived unread, as the bytes came: the export of 318 bytes is none",
        "note: entry 5, window from 2026-03-04T16:00:00Z: archived unread, as the bytes came: the file came whole",
        "note: entry 6 says that revision 1 of the window from 2026-03-04T16:00:00Z, archived unread, holds 9 records",
        "note: entry 8, window from 2026-03-06T16:00:00Z: the export has 6 rows, and the provider counted 5 before it",
        "6 exports, 6 of them counted by the provider too",
    ],
};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

impl Fixture {
    fn path(&self, name: &str) -> PathBuf {
        fixtures().join(self.folder).join(name)
    }

    fn head(&self) -> String {
        format!("{}:{}", self.head.0, self.head.1)
    }
}

#[test]
fn every_archive_that_a_released_version_left_is_still_whole_to_its_last_byte() {
    for fixture in ALL {
        let mut verify = Command::new(env!("CARGO_BIN_EXE_connvault"));
        verify.env_clear().args(["verify", "--json", "--level", "bytes", "--to", fixture.to]);
        verify.arg("--dir").arg(fixture.path("archive"));
        verify.arg("--allowed-signers").arg(fixture.path("allowed_signers"));
        let output = verify.args(["--expect-head", &fixture.head()]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}: {output:?}", fixture.folder);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut stream = said["streams"][0].clone();
        let notes: Vec<_> = stream["notes"].as_array().unwrap().iter().map(|n| n["kind"].clone()).collect();
        stream["notes"] = notes.into();
        // Not there where nothing is acknowledged.
        let acknowledged = stream.as_object_mut().unwrap().remove("acknowledged");
        let acknowledged = acknowledged.map_or(0, |number| number.as_u64().unwrap());
        assert_eq!(acknowledged, fixture.acknowledged, "{}", fixture.folder);
        let wanted = json!({
            "stream": "logins",
            "head": {"seq": fixture.head.0, "hash": fixture.head.1},
            "definition": {
                "region": "example-1",
                "project_id": "00000000000000000000000000000001",
                "window": "1d",
                "timezone": "Asia/Shanghai",
                "start": "2026-03-01T16:00:00Z",
                "filters": {"language": "en_US"},
            },
            "entries": fixture.head.0,
            "windows": fixture.windows,
            "lost": fixture.lost,
            "parked": fixture.parked,
            "unread": [],
            "objects_checked": fixture.objects,
            "objects_hashed": fixture.objects,
            "bytes_hashed": fixture.bytes,
            "findings": [],
            "notes": fixture.notes,
        });
        assert_eq!(stream, wanted, "{}", fixture.folder);
    }
}

#[test]
#[ignore = "needs ssh-keygen and jq: run scripts/test"]
fn stock_tools_find_every_archive_that_a_released_version_left_whole() {
    for fixture in ALL {
        let (archive, signers) = (fixture.path("archive/logins"), fixture.path("allowed_signers"));
        let folder = tempfile::tempdir().unwrap();
        let steps = auditor::commands("sh");
        let output = auditor::run(&steps, folder.path(), &archive, &signers, &fixture.head());
        let said = text(&output.stdout);
        assert_eq!((text(&output.stderr).as_str(), said.contains("WRONG")), ("", false), "{said}");
        for wanted in fixture.said {
            assert!(said.lines().any(|line| line.starts_with(wanted)), "{wanted:?} is not in {said}");
        }
        // The key that was replaced does not count for what was written after that.
        let text = std::fs::read_to_string(&signers).unwrap();
        let replaced = folder.path().join("replaced");
        std::fs::write(&replaced, text.lines().next().unwrap()).unwrap();
        let output = auditor::run(&steps, folder.path(), &archive, &replaced, &fixture.head());
        let said = String::from_utf8(output.stdout).unwrap();
        let refused = said.lines().filter(|line| line.starts_with("WRONG: the signature of"));
        assert_eq!(refused.count(), fixture.of_the_second_key, "{said}");
    }
}

#[test]
#[ignore = "needs ssh-keygen and jq: run scripts/test"]
fn the_steps_run_nothing_that_an_archive_says() {
    let fixture = &FIRST;
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("logins");
    let copied = Command::new("cp").arg("-r").arg(fixture.path("archive/logins")).arg(&archive).status();
    assert!(copied.unwrap().success());
    // Twelve characters, as an entry's name has; in an arithmetic expression they would run a program.
    std::fs::write(archive.join("x"), "touch was-run\n").unwrap();
    std::fs::write(archive.join("log/0+a[$(sh x)].json"), "{}").unwrap();
    std::fs::write(archive.join("log/\u{1b}[2J.sig"), "").unwrap();
    let steps = auditor::commands("sh");
    let output =
        auditor::run(&steps, folder.path(), &archive, &fixture.path("allowed_signers"), &fixture.head());
    let said = text(&output.stdout);
    assert!(!archive.join("was-run").exists(), "{said}");
    assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{said:?}");
    assert!(!said.contains("WRONG"), "{said}");
}

/// The names of all fields in `value`, those inside of others too.
fn fields(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                names.insert(name.clone());
                fields(inner, names);
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| fields(inner, names)),
        _ => {}
    }
}

#[test]
fn every_field_and_kind_in_an_archive_is_explained_in_the_format() {
    let page = std::fs::read_to_string(fixtures().join("../../docs/archive-format.md")).unwrap();
    // What stands in backticks anywhere else than in the examples, its parts apart: `object.key` explains both.
    let prose: String = page.split("```").step_by(2).collect();
    let quoted = prose.split('`').skip(1).step_by(2);
    let is_apart = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let explained: BTreeSet<_> = quoted.flat_map(|text| text.split(is_apart)).collect();
    let (mut names, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    for fixture in ALL {
        for entry in std::fs::read_dir(fixture.path("archive/logins/log")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let entry: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
                kinds.insert(entry["kind"].as_str().unwrap().to_owned());
                fields(&entry, &mut names);
            }
        }
    }
    assert_eq!(kinds.len(), 6, "{kinds:?}");
    for new in ["unread", "open_records", "first", "last", "by", "sha256", "same_content_as", "notes"] {
        assert!(names.contains(new), "no fixture has {new}");
    }
    let unexplained: Vec<_> =
        names.iter().chain(&kinds).filter(|name| !explained.contains(name.as_str())).collect();
    assert!(unexplained.is_empty(), "docs/archive-format.md does not explain {unexplained:?}");
}

#[test]
fn no_fixture_archive_is_left_out_and_none_holds_a_private_key() {
    let folders = std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut there: Vec<_> = folders.filter_map(|name| name.into_string().ok()).collect();
    there.retain(|name| name.starts_with("archive-format-"));
    there.sort_unstable();
    assert_eq!(there, ALL.iter().map(|fixture| fixture.folder).collect::<Vec<_>>());
    for fixture in ALL {
        let mut names: Vec<_> =
            std::fs::read_dir(fixture.path("")).unwrap().collect::<Result<_, _>>().unwrap();
        names.sort_by_key(std::fs::DirEntry::file_name);
        let names: Vec<_> = names.iter().map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["README.md", "allowed_signers", "archive"], "{}", fixture.folder);
    }
}
