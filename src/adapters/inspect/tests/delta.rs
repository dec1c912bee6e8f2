//! Differences between exports, held against a count that was written without digests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use encoding_rs::GB18030;
use proptest::prelude::*;

use super::{gzip, records, text_of, xlsx_of};
use crate::adapters::inspect::delta::delta_within;
use crate::adapters::inspect::{Delta, InspectError, delta};
use crate::domain::failure::FailureKind;

fn compare(older: &[u8], newer: &[u8]) -> Result<Delta, InspectError> {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (folder.path().join("older"), folder.path().join("newer"));
    std::fs::write(&one, older).unwrap();
    std::fs::write(&other, newer).unwrap();
    let outcome = delta(&one, &other, folder.path(), &|| false);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 2, "scratch files are left behind");
    outcome
}

#[track_caller]
fn assert_delta(older: &str, newer: &str, added: u64, removed: u64, changed: u64) {
    let found = compare(older.as_bytes(), newer.as_bytes()).unwrap();
    assert_eq!(found, Delta { added, removed, changed });
    let back = compare(newer.as_bytes(), older.as_bytes()).unwrap();
    assert_eq!(back, Delta { added: removed, removed: added, changed });
}

#[test]
fn exports_of_equal_rows_have_no_differences_whatever_their_bytes() {
    let mut table = records();
    let text = text_of(&table, ",");
    let older = xlsx_of(&table, 2025);
    table[1..].reverse();
    let gb18030 = GB18030.encode(&text_of(&table, ";")).0.into_owned();
    for newer in [xlsx_of(&table, 2026), gzip(text.as_bytes()), gzip(&gb18030), gb18030, gzip(&older)] {
        assert_eq!(compare(&older, &newer).unwrap(), Delta::default());
        assert_eq!(compare(&newer, &older).unwrap(), Delta::default());
    }
}

#[test]
fn rows_are_the_same_by_their_transaction_id() {
    let older = "Transaction ID,User,End\nt1,li,\nt2,wang,5\nt3,li,6\n";
    let newer = "User,End,transaction_id\nli,9,t1\nwang,5,t2\nzhao,7,t4\n";
    // The same column under another name is another column: only identities see through names.
    assert_delta(older, &older.replace("t1,li,", "t1,li,9").replace("t3,li,6", "t4,zhao,7"), 1, 1, 1);
    assert_delta(older, newer, 1, 1, 2);
}

#[test]
fn rows_without_a_transaction_id_are_the_same_by_start_user_and_computer() {
    let older = "Connection Start Time,User name,Computer name,End\n1,li,d1,\n2,li,d1,8\n3,li,d2,8\n";
    let newer = "Connection Start Time,User name,Computer name,End\n1,li,d1,9\n2,li,d3,8\n3,li,d2,8\n";
    assert_delta(older, newer, 1, 1, 1);
    let older = "事务ID,开始时间,用户名,桌面名称,End\n,1,li,d1,\nt2,2,li,d1,\n";
    let newer = "事务ID,开始时间,用户名,桌面名称,End\n,1,li,d1,9\nt3,2,li,d1,\n";
    assert_delta(older, newer, 1, 1, 1);
    // Where one file has no transaction ids, they are of no use in the other.
    let older = "Start Time,User,Computer,Transaction ID\n1,li,d1,t1\n";
    assert_delta(older, "Start Time,User,Computer,End\n1,li,d1,5\n", 0, 0, 1);
}

/// Rows of few and of many identities, some of them several times.
fn many(seed: u64, identities: u64) -> String {
    let mut text = "Transaction ID,End\n".to_owned();
    for row in 0..3000_u64 {
        let mixed = (row + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        writeln!(text, "t{},{}", mixed % identities, mixed / 7 % 1000).unwrap();
    }
    text
}

#[test]
fn however_few_rows_are_held_at_once_the_differences_are_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let [older, newer] = ["older", "newer"].map(|name| folder.path().join(name));
    for identities in [1, 3, 1000, u64::MAX] {
        std::fs::write(&older, many(0, identities)).unwrap();
        std::fs::write(&newer, many(1500, identities)).unwrap();
        let within = |most| delta_within(most, [&older, &newer], folder.path(), &|| false).unwrap();
        let whole = within(usize::MAX);
        assert!(whole.changed + whole.added > 0, "{identities}: {whole:?}");
        assert_eq!((within(16), within(100)), (whole, whole), "{identities}");
    }
}

#[test]
fn rows_that_nothing_identifies_are_added_and_removed_and_never_changed() {
    assert_delta("User,End\nli,1\nli,2\nwang,1\n", "User,End\nli,1\nli,3\nwang,1\n", 1, 1, 0);
    let header = "Start Time,User,Computer,Note";
    assert_delta(&format!("{header}\n,,,a\n"), &format!("{header}\n,,,b\n"), 1, 1, 0);
}

#[test]
fn of_several_rows_of_one_identity_equal_ones_cancel_first() {
    let older = "Transaction ID,End\nt,1\nt,1\nt,2\nt,3\n";
    assert_delta(older, "Transaction ID,End\nt,3\nt,1\nt,4\n", 0, 1, 1);
    assert_delta(older, "Transaction ID,End\nt,1\nt,1\nt,1\nt,2\nt,3\n", 1, 0, 0);
    assert_delta(older, "Transaction ID,End\n", 0, 4, 0);
}

#[test]
fn what_is_no_export_is_refused_on_either_side_and_stopping_is_no_damage() {
    let good = b"User,End\nli,1\n".as_slice();
    for (older, newer) in [(good, b"<html></html>".as_slice()), (b"User,End\n\"li", good)] {
        assert_eq!(compare(older, newer).unwrap_err().kind(), FailureKind::Corrupt);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export");
    std::fs::write(&path, good).unwrap();
    assert!(matches!(delta(&path, &path, folder.path(), &|| true), Err(InspectError::Stopped)));
    assert!(matches!(
        delta(&path, &folder.path().join("none"), folder.path(), &|| false),
        Err(InspectError::Io(_))
    ));
}

type Table = Vec<Vec<String>>;

/// Rows of few identities and few contents, so that all of them meet.
fn rows() -> impl Strategy<Value = Table> {
    let cell = |pattern: &'static str| proptest::string::string_regex(pattern).unwrap();
    let row = (cell("(t[12])?"), cell("[12]?"), cell("(李|b)?"), cell("d?"), cell("[xy王]?"));
    let row = row.prop_map(|(transaction, start, user, computer, note)| {
        vec![transaction, start, user, computer, note]
    });
    prop::collection::vec(row, 0..14)
}

/// What a row is known by, and what it says; `None` for a row that does not count.
fn key(row: &[String], columns: &[bool; 5]) -> Option<(Vec<String>, Vec<String>)> {
    let seen = |place: usize| if columns[place] { row[place].clone() } else { String::new() };
    let content: Vec<_> = (0..5).map(seen).collect();
    let connection = columns[1] && columns[2] && columns[3];
    let identity = if !seen(0).is_empty() {
        vec![seen(0)]
    } else if connection && (1..4).any(|place| !seen(place).is_empty()) {
        vec!["connection".to_owned(), seen(1), seen(2), seen(3)]
    } else {
        [vec!["content".to_owned()], content.clone()].concat()
    };
    content.iter().any(|cell| !cell.is_empty()).then_some((identity, content))
}

/// Counts differences by looking for each row's like.
fn naive(older: &Table, newer: &Table, columns: &[bool; 5]) -> Delta {
    let mut groups: BTreeMap<Vec<String>, [Vec<Vec<String>>; 2]> = BTreeMap::new();
    for (side, table) in [older, newer].into_iter().enumerate() {
        for (identity, content) in table.iter().filter_map(|row| key(row, columns)) {
            groups.entry(identity).or_default()[side].push(content);
        }
    }
    let mut delta = Delta::default();
    for [older, mut newer] in groups.into_values() {
        let mut gone: u64 = 0;
        for row in older {
            match newer.iter().position(|other| *other == row) {
                Some(place) => drop(newer.remove(place)),
                None => gone += 1,
            }
        }
        let come = newer.len() as u64;
        delta.changed += gone.min(come);
        delta.removed += gone.saturating_sub(come);
        delta.added += come.saturating_sub(gone);
    }
    delta
}

/// A file with the columns that are switched on, and one more that is always empty.
fn file(table: &Table, columns: &[bool; 5], kind: u8) -> Vec<u8> {
    let names = ["Transaction ID", "Connection Start Time", "User name", "Computer name", "Note"];
    let header: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let pick = |row: &Vec<String>| {
        let cells = row.iter().zip(columns).filter(|(_, on)| **on).map(|(cell, _)| cell.clone());
        cells.chain([String::new()]).collect::<Vec<_>>()
    };
    let mut rows: Vec<_> = std::iter::once(&header).chain(table).map(pick).collect();
    // A header names two columns at least.
    rows[0].pop();
    rows[0].push("Empty".to_owned());
    match kind {
        0 => text_of(&rows, ",").into_bytes(),
        1 => GB18030.encode(&text_of(&rows, "\t")).0.into_owned(),
        2 => gzip(text_of(&rows, ";").as_bytes()),
        _ => xlsx_of(&rows, 2026),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn differences_are_those_that_a_naive_count_finds(
        older in rows(),
        newer in rows(),
        common in prop::sample::subsequence(vec![0usize, 1, 2, 3], 0..=4),
        kinds in (0..4u8, 0..4u8),
    ) {
        let mut columns = [false, false, false, false, true];
        common.into_iter().for_each(|place| columns[place] = true);
        let found = compare(&file(&older, &columns, kinds.0), &file(&newer, &columns, kinds.1)).unwrap();
        prop_assert_eq!(found, naive(&older, &newer, &columns));
    }
}

/// The most memory that this process has used since `forget` was last called, in KiB.
fn peak(forget: bool) -> u64 {
    if forget {
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn million(path: &Path, order: u64, row: impl Fn(u64) -> Option<(u64, &'static str)>) {
    const ROWS: u64 = 1_000_000;
    let mut file = BufWriter::new(std::fs::File::create(path).unwrap());
    writeln!(file, "Transaction ID,User name,Computer name,Address,Connection End Time,Remark").unwrap();
    let mut line = String::new();
    for number in (0..ROWS).map(|number| number * order % ROWS) {
        let Some((id, end)) = row(number) else { continue };
        line.clear();
        let (user, desk) = (id % 5_000, id % 300);
        write!(line, "00000000-0000-4000-8000-{id:012x},user-{user:04},desk-{desk:03},10.0.{}.7,", id % 250)
            .unwrap();
        writeln!(file, "{line}{end},连接正常 and a remark of some length in every row").unwrap();
    }
    file.flush().unwrap();
}

#[test]
#[ignore = "takes half a minute"]
fn a_million_rows_are_compared_in_less_than_64_mib() {
    const ALONE: &str = "CONNVAULT_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        // What is measured is the whole process, so this test is to be all that it does.
        let module = module_path!().trim_start_matches("connvault::");
        let test = format!("{module}::a_million_rows_are_compared_in_less_than_64_mib");
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let alone =
            alone.args([test.as_str(), "--exact", "--include-ignored"]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&alone.stdout).into_owned();
        assert!(alone.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (older, newer) = (folder.path().join("older"), folder.path().join("newer"));
    million(&older, 1, |number| Some((number, "2026-11-22T10:00:00Z")));
    // Every thousandth row is gone, every five hundredth another one's, every two hundred and fiftieth has an end.
    million(&newer, 7_919, |number| match number {
        _ if number % 1_000 == 0 => None,
        _ if number % 500 == 0 => Some((number + 1_000_000, "2026-11-22T10:00:00Z")),
        _ if number % 250 == 0 => Some((number, "2026-11-22T11:00:00Z")),
        _ => Some((number, "2026-11-22T10:00:00Z")),
    });
    let before = peak(true);
    let found = delta(&older, &newer, folder.path(), &|| false).unwrap();
    let after = peak(false);
    println!("peak RSS: {before} KiB before, {after} KiB in all");
    assert_eq!(found, Delta { added: 1_000, removed: 2_000, changed: 2_000 });
    assert!(after < 64 << 10, "{after} KiB");
}
