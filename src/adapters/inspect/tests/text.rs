//! Delimited text.

use encoding_rs::GB18030;

use super::{assert_refused, digest, gzip, look};
use crate::domain::digest::ContentDigest;

#[test]
fn a_header_without_records_is_an_export_of_none() {
    for text in ["User,Age", "User,Age\n", "\r\n\n,,,\nUser,Age\r\n\r\n,\n"] {
        let found = look(text.as_bytes()).unwrap();
        assert_eq!((found.rows, found.content_digest), (0, ContentDigest::EMPTY), "{text:?}");
    }
}

#[test]
fn a_row_with_too_few_or_too_many_cells_is_damage() {
    assert_refused(b"User,Age\nli,7\nwang", "line 3 has 1 cells where the header has 2");
    assert_refused(b"User,Age\nli,7,8\n", "line 2 has 3 cells");
}

#[test]
fn a_quoted_field_that_is_open_at_the_end_is_damage() {
    for text in ["User,Age\nli,\"7", "User,Age\nli,\"7\n", "User,Age\nli,\"7\"\"", "User,\"Age\n"] {
        assert_refused(text.as_bytes(), "ends inside a quoted field");
        assert_refused(&gzip(text.as_bytes()), "ends inside a quoted field");
    }
    let inches = digest(b"User,Size\nli,5\" pipe\n");
    assert_eq!(inches, digest(b"User,Size\nli,\"5\"\" pipe\"\n"));
}

#[test]
fn the_charset_is_the_one_that_every_cell_fits() {
    // The first name is good text in both charsets, and only the second tells which one it is.
    let both = "中国".as_bytes();
    let (as_gb18030, ..) = GB18030.decode(both);
    let (name, ..) = GB18030.encode("王");
    let bytes = [b"User,Age\n", both, b",7\nli,8\n", &name, b",9\n"].concat();
    let text = format!("User,Age\n{as_gb18030},7\nli,8\n王,9\n");
    assert_eq!(digest(&bytes), digest(text.as_bytes()));
    assert_eq!(look(&bytes).unwrap().rows, 3);

    let under_such_a_header = [both, b",Age\nli,8\n", &name, b",9\n"].concat();
    let text_of_it = format!("{as_gb18030},Age\nli,8\n王,9\n");
    assert_eq!(digest(&under_such_a_header), digest(text_of_it.as_bytes()));

    let mixed = [text.as_bytes(), &name, b",1\n"].concat();
    assert_refused(&mixed, "record 4 is text in neither UTF-8 nor GB18030");
    assert_refused(b"User,Age\n\xff\xff,7\n", "record 1 is");
    assert_refused(b"User\xff,Age\n", "neither");
    let marked = [b"\xef\xbb\xbfUser,Age\n", name.as_ref(), b",7\n"].concat();
    assert_refused(&marked, "neither");
}

#[test]
fn half_a_character_in_each_of_two_cells_is_no_text() {
    // Put together, the two cells would be valid UTF-8.
    assert_refused(b"User,Age\n\xe7\x8e,\x8b\n", "neither");
}

#[test]
fn a_nul_or_a_record_without_end_is_damage() {
    let rows = "li,7\n".repeat(20_000);
    let holed = [b"User,Age\n", rows.as_bytes(), b"\0\0\0\0"].concat();
    assert_refused(&holed, "NUL");
    let endless = [b"User,Age\nli,", vec![b'7'; 3 << 20].as_slice()].concat();
    assert_refused(&endless, "the record at byte 9 does not end");
    let open_early = format!("User,Age\nli,\"7\n{}", "li,7\n".repeat(400_000));
    assert_refused(open_early.as_bytes(), "does not end");
}

#[test]
fn a_gzip_stream_that_was_cut_is_damage() {
    let whole = gzip(b"User,Age\nli,7\nwang,8\n");
    assert!(look(&whole).is_ok());
    for cut in 2..whole.len() {
        assert!(look(&whole[..cut]).is_err(), "cut at {cut}");
    }
    let second_cut = [whole.as_slice(), &whole[..whole.len() - 1]].concat();
    assert!(look(&second_cut).is_err());
}
