//! What came instead of an export, and whose failure it is.

use std::cell::Cell;

use super::{assert_refused, assert_unread, gzip, look, records, text_of, xlsx_of, zip_of};
use crate::adapters::inspect::{
    InspectError, JsonAnswer, Limits, NotAnExport, Wholeness, inspect, inspect_within,
};
use crate::domain::failure::FailureKind;

#[test]
fn what_is_no_export_is_named() {
    use Wholeness::{CutOff, NotAnExport, Unread};
    let cases: [(&[u8], &str, Wholeness); 20] = [
        (b"<html><body>Sign in</body></html>", "HTML", NotAnExport),
        (b"\xef\xbb\xbf\n <?xml version=\"1.0\"?><Error/>", "HTML or XML", NotAnExport),
        (
            b"<?xml version=\"1.0\"?><Workbook xmlns=\"urn:schemas-microsoft-com:office:spreadsheet\"/>",
            "Excel 2003",
            Unread,
        ),
        (b"Service Unavailable\n", "about a failure", NotAnExport),
        (b"Service Unavailable\nXID 12\n", "about a failure", NotAnExport),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 old", "password-protected", Unread),
        (b"PK\x05\x06\0\0\0\0", "ZIP archive without a workbook", Unread),
        (b"PK", "ends after its first bytes", CutOff),
        (b"PK\x03", "ends after its first bytes", CutOff),
        (b"PK\x03\x04", "end record is missing", CutOff),
        (b"\x1f\x8b", "damaged", CutOff),
        (b"\x1f", "ends after its first bytes", CutOff),
        (b"%PDF-1.7\n\0\0\0", "PDF", Unread),
        (b"BZh91AY&SY\0", "bzip2", Unread),
        (b"\x89PNG\r\n\x1a\n\0\0", "neither a spreadsheet nor text", Unread),
        (b"\xff\xfe<\0h\0t\0m\0l\0>\0", "HTML", NotAnExport),
        (b"\xff\xfeU\0,\0s\0\n", "inside a character", CutOff),
        (b"[1]", "JSON, without an error code", NotAnExport),
        (b"{\"total_count\":1,\"records\":[{\"sid\":\"x\"}]}", "JSON that holds a list", Unread),
        (b"[{\"sid\":\"x\"}]", "JSON that holds a list", Unread),
    ];
    for (bytes, word, wholeness) in cases {
        assert_refused(bytes, word);
        assert_eq!(look(bytes).unwrap_err().wholeness(), wholeness, "{word}");
    }
    assert_refused(&gzip(b"<html>"), "HTML");
    assert_unread(&gzip(&gzip(b"User,Age\n")), "gzip within gzip");
    assert_unread(&zip_of(&[("report.csv", "User,Age\nli,7\n")]), "ZIP archive without a workbook");
    assert_unread(&zip_of(&[("xl/workbook.bin", ""), ("[Content_Types].xml", "")]), "without a workbook");
    let long = "Service Unavailable\n".repeat(1000);
    assert_unread(long.as_bytes(), "two columns");
}

#[test]
fn a_header_that_begins_like_something_else_is_a_header() {
    for name in ["[User]", "{User}", "<User>"] {
        let found = look(format!("{name},Desktop\nli,d1\n").as_bytes()).unwrap();
        assert_eq!((found.rows, found.columns[0].as_str()), (1, name));
    }
    assert_eq!(look(b"[A],B\n1,2\n").unwrap().rows, 1);
}

#[test]
fn objects_in_json_one_after_the_other_came_whole_and_cannot_be_read() {
    assert_unread(b"{\"user\": \"a\", \"x\": 1}\n{\"user\": \"b\", \"x\": 2}\n", "several objects");
    assert_refused(
        b"{\"error_code\": \"WKS.1\", \"error_msg\": \"x\"}\n{\"error_code\": \"WKS.1\"}\n",
        "JSON, without",
    );
}

#[test]
fn an_error_in_json_is_classified_by_the_gateways_codes() {
    let body =
        |code: &str| format!(r#" {{"error_msg":"slow\ndown","error_code":"{code}","request_id":"x"}}"#);
    let kinds = [
        ("APIG.0308", FailureKind::Throttled),
        ("APIGW.0308", FailureKind::Throttled),
        ("APIGW.0301", FailureKind::Auth),
        ("APIGW.0303", FailureKind::Auth),
        ("WKS.00211102", FailureKind::Corrupt),
    ];
    for (code, kind) in kinds {
        let error = look(body(code).as_bytes()).unwrap_err();
        assert_eq!(error.kind(), kind, "{code}");
        assert!(error.to_string().contains(&format!("{code} slow down")), "{error}");
    }
    let in_iam_shape = look(br#"{"error":{"code":401,"message":"no"}}"#).unwrap_err();
    let InspectError::NotAnExport(NotAnExport::Json(answer)) = in_iam_shape else { panic!("{in_iam_shape}") };
    assert_eq!(answer, JsonAnswer { error_code: Some("401".into()), error_msg: Some("no".into()) });
    assert_refused(br#"{"error_code":"APIG.0308""#, "without an error code");
}

#[test]
fn a_spreadsheet_without_rows_holds_no_records() {
    assert_eq!(look(&xlsx_of(&[], 2026)).unwrap().rows, 0);
}

#[test]
fn a_file_or_folder_that_is_not_there_is_a_local_failure() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let error = inspect(&missing, folder.path(), &|| false).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Local, "{error}");
    let error = inspect(folder.path(), folder.path(), &|| false).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Local, "{error}");

    let path = folder.path().join("spooled");
    let spreadsheet = xlsx_of(&records(), 2026);
    std::fs::write(&path, &spreadsheet).unwrap();
    let spill = Limits { strings_in_memory: 0, ..Limits::default() };
    let error = inspect_within(spill, &path, &missing, &|| false).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Local, "{error}");
    std::fs::write(&path, gzip(&spreadsheet)).unwrap();
    let error = inspect(&path, &missing, &|| false).unwrap_err();
    assert_eq!(error.kind(), FailureKind::Local, "{error}");
}

#[test]
fn an_inspection_stops_at_whichever_chunk_it_is_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spooled");
    let text = text_of(&records(), ",").into_bytes();
    for bytes in [xlsx_of(&records(), 2026), gzip(&xlsx_of(&records(), 2026)), gzip(&text), text] {
        std::fs::write(&path, bytes).unwrap();
        let asked = Cell::new(0u32);
        let asks = |after: u32| {
            asked.set(0);
            let stop = || asked.replace(asked.get() + 1) >= after;
            inspect(&path, folder.path(), &stop)
        };
        asks(u32::MAX).unwrap();
        for after in 0..asked.get() {
            assert!(matches!(asks(after), Err(InspectError::Stopped)), "after {after}");
        }
    }
}
