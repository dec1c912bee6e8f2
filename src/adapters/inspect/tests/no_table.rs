//! Files that say nothing, files that may hold records all the same, and messages.

use super::{assert_refused, assert_unread, digest, gzip, look, xlsx_of, zip_of};
use crate::adapters::inspect::{HeaderFound, Wholeness};
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
        let doubted = matches!(found.header, HeaderFound::Words { say_none: false, .. });
        assert!(!doubted, "{shown:?}: {:?}", found.header);
    }
}

/// Text in UTF-16, the lower half of a unit first, after a byte order mark.
fn utf16(text: &str) -> Vec<u8> {
    [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_message_of_a_failure_is_no_table_whatever_stands_between_its_words() {
    for text in [
        "Service Unavailable, try again later\n",
        "Error, internal server error",
        "error\tcode 500",
        "error|denied",
        "{error: 500, message: \"bad\"}",
        "Service Unavailable, try again later\nrequest 4711\n",
    ] {
        for bytes in [text.as_bytes().to_vec(), utf16(text), gzip(text.as_bytes())] {
            let error = look(&bytes).expect_err(text);
            assert_eq!(error.wholeness(), Wholeness::NotAnExport, "{text:?}: {error}");
        }
    }
    // Several rows of two cells may be records as well: the bytes are kept.
    for text in ["Error, code\n500, Internal Server Error\n", "Time,What\n08:00,access denied\n"] {
        assert_unread(text.as_bytes(), "may be a message");
        assert_unread(&utf16(text), "may be a message");
    }
    for lines in [&["Error,500"][..], &["Error,code", "denied,500"], &["Report", "Error,500"]] {
        assert_unread(&sheet_of(lines), "may be a message");
    }
    // Under a known header they are records, and so are many.
    assert_eq!(look(b"User,Failure Cause\nli,Timeout\n").unwrap().rows, 1);
    assert_eq!(look(&sheet_of(&["User,Failure Cause", "li,error"])).unwrap().rows, 1);
    assert_eq!(look(format!("A,B\n{}", "li,error\n".repeat(9)).as_bytes()).unwrap().rows, 9);
}

#[test]
fn words_are_believed_to_say_that_there_are_no_records_only_where_they_say_so() {
    let says_none = |bytes: &[u8]| match look(bytes) {
        Ok(found) => !matches!(found.header, HeaderFound::Words { say_none: false, .. }),
        Err(error) => panic!("{:?}: {error}", String::from_utf8_lossy(bytes)),
    };
    for text in [
        "No records found.",
        "No connection records",
        "There is no data for this period",
        "0 records\n",
        "Total: 0",
        "(empty)",
        "没有符合条件的记录",
        "共0条记录",
        "暂无数据",
        "Login records",
        "Connection failure records",
        "Desktop user connections 2026-11-22 - 2026-11-23",
        "桌面登录记录导出",
        "连接失败记录",
        "用户名",
        "Connection records\nExported at 2026-11-22 08:00:00\n",
        "A,B\n",
        "Alpha, Beta, Gamma",
    ] {
        assert!(says_none(text.as_bytes()), "{text:?}");
    }
    for text in [
        "Hello",
        "No database",
        "No data source",
        "You have to login",
        "Export",
        "Export is in progress",
        "10 records",
        "共10条",
        "正在导出",
        "The records are being made. Come back soon, or ask somebody.",
        "{status: down, since: today}",
        "Connection records\nCome back soon\n",
    ] {
        assert!(!says_none(text.as_bytes()), "{text:?}");
        assert!(!says_none(&sheet_of(&text.lines().collect::<Vec<_>>())), "{text:?}");
    }
}

#[test]
fn the_words_of_common_failures_are_known() {
    for text in [
        "Request failed",
        "Internal failure",
        "Not Found",
        "404 page not found",
        "Request Entity Too Large",
        "Invalid token",
        "The system is busy. Please retry later.",
        "You are not authorized to see this",
        "Quota exceeded",
        "Service under maintenance",
        "导出失败",
        "导出记录失败",
        "Failed to export records",
        "无权限访问",
        "没有权限",
        "请先登录",
        "系统暂无法访问",
    ] {
        let error = look(text.as_bytes()).expect_err(text);
        assert_eq!(error.wholeness(), Wholeness::NotAnExport, "{text:?}: {error}");
        assert_unread(&sheet_of(&[text]), "may be a message");
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
