//! Files that say nothing, files that may hold records all the same, and messages.

use super::{assert_refused, assert_unread, digest, gzip, look, xlsx_of, zip_of};
use crate::adapters::inspect::Wholeness;
use crate::domain::digest::ContentDigest;

fn sheet_of(lines: &[&str]) -> Vec<u8> {
    let rows: Vec<Vec<String>> =
        lines.iter().map(|line| line.split(',').map(str::to_owned).collect()).collect();
    xlsx_of(&rows, 2026)
}

#[test]
fn a_file_that_holds_words_and_no_table_has_no_records() {
    for bytes in [
        b"No data\n".to_vec(),
        b"No data".to_vec(),
        "暂无数据\r\n".into(),
        b"Connection records\nNo data\n".to_vec(),
        b"Report\nA,B\n".to_vec(),
        b"User Name\n".to_vec(),
        b"null\n".to_vec(),
        b"[]".to_vec(),
        b"{}\n".to_vec(),
        b"{\"total_count\": 0, \"records\": []}".to_vec(),
        b"\xef\xbb\xbf[ ]\r\n".to_vec(),
        gzip(b"No data\n"),
        sheet_of(&["No data"]),
        sheet_of(&["Connection records", "No data"]),
        sheet_of(&["Connection records", "A,B"]),
        sheet_of(&["User Name"]),
        gzip(&sheet_of(&["No data"])),
    ] {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        let found = look(&bytes).unwrap_or_else(|error| panic!("{shown:?}: {error}"));
        assert_eq!((found.rows, found.content_digest), (0, ContentDigest::EMPTY), "{shown:?}");
    }
}

#[test]
fn messages_of_errors_are_no_exports_however_few_words_they_have() {
    for text in [
        "Service Unavailable\n",
        "502 Bad Gateway",
        "Internal Server Error\nrequest 4711\n",
        "upstream connect error or disconnect/reset before headers. reset reason: overflow",
        "Gateway Timeout\r\n",
        "系统繁忙，请稍后再试",
        "[\"an error\"]",
        "{\"status\": \"down\"}",
        "{\"message\": \"x\", \"records\": []}",
    ] {
        let error = look(text.as_bytes()).unwrap_err();
        assert_eq!(error.wholeness(), Wholeness::NotAnExport, "{text:?}: {error}");
    }
}

#[test]
fn many_lines_of_one_cell_may_be_records_that_cannot_be_read() {
    let names: String = (0..40).map(|number| format!("user{number}\n")).collect();
    assert_unread(names.as_bytes(), "two columns");
    let lines: Vec<String> = names.lines().map(str::to_owned).collect();
    assert_unread(&sheet_of(&lines.iter().map(String::as_str).collect::<Vec<_>>()), "two columns");
    assert_refused(&zip_of(&[("a.txt", "x")]), "without a workbook");
}

#[test]
fn a_table_is_read_whatever_stands_between_its_cells() {
    let whole = digest(b"User,Desktop,Started\nli,d1,2026-11-22 08:00:00\nwang,d2,2026-11-22 09:00:00\n");
    for delimiter in ["^", "|", ";", "\t", "\x01", "\x1f", "~", "#", "||"] {
        let line = |cells: [&str; 3]| cells.join(delimiter) + "\n";
        let text = line(["User", "Desktop", "Started"])
            + &line(["li", "d1", "2026-11-22 08:00:00"])
            + &line(["wang", "d2", "2026-11-22 09:00:00"]);
        let found = look(text.as_bytes()).unwrap_or_else(|error| panic!("{delimiter:?}: {error}"));
        assert_eq!((found.rows, found.content_digest), (2, whole), "{delimiter:?}");
        assert_eq!(found.times.unwrap().first.to_string(), "2026-11-22T08:00:00Z", "{delimiter:?}");
    }
    // Unknown names, by a delimiter that stands as often in each line.
    for delimiter in ["^", "|", "\x01", "~"] {
        let text = "A,B\n1,2\n3,4\n".replace(',', delimiter);
        assert_eq!(look(text.as_bytes()).unwrap().rows, 2, "{delimiter:?}");
    }
    assert_eq!(look(b"Hello~\nBye\n").unwrap().rows, 0);
}
