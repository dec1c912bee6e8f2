//! Delimited text.

use encoding_rs::GB18030;

use super::{assert_cut_off, assert_unread, digest, gzip, look};
use crate::adapters::inspect::Wholeness;
use crate::domain::digest::{ContentDigest, Sha256};

#[test]
fn a_header_without_records_is_an_export_of_none() {
    for text in ["User,Age", "User,Age\n", "\r\n\n,,,\nUser,Age\r\n\r\n,\n"] {
        let found = look(text.as_bytes()).unwrap();
        assert_eq!((found.rows, found.content_digest), (0, ContentDigest::EMPTY), "{text:?}");
    }
}

#[test]
fn a_row_may_lack_cells_at_its_end_and_have_empty_ones_beyond_the_header() {
    let whole = digest(b"User,Age,Note\nli,7,x\nwang,,\n");
    for text in [
        "User,Age,Note\nli,7,x\nwang\n",
        "User,Age,Note\nli,7,x,\nwang,,,\n",
        "User,Age,Note,\nli,7,x\nwang,\n",
    ] {
        let found = look(text.as_bytes()).unwrap();
        assert_eq!((found.rows, found.content_digest), (2, whole), "{text:?}");
    }
    assert_unread(b"User,Age\nli,7,8\n", "line 2 has 3 cells");
    assert_unread(b"User,Age\nli,7\n\n\"wang\n\",8\nzhao,7,8\n", "line 6 has 3 cells");
}

#[test]
fn lines_that_say_nothing_are_no_rows() {
    let whole = digest(b"User,Age\nli,7\n");
    for text in [
        "User,Age\nli,7\n\x1a",
        "User,Age\nli,7\n  \n\t\n",
        "User,Age\nli,7\r\n\x1a\x1a\r\n",
        "\n \nUser,Age\nli,7\n",
    ] {
        let found = look(text.as_bytes()).unwrap();
        assert_eq!((found.rows, found.content_digest), (1, whole), "{text:?}");
    }
    assert_eq!(look(b"\x1a").unwrap().rows, 0);
}

#[test]
fn byte_order_marks_belong_to_no_cell_however_many_there_are() {
    let marked = "\u{feff}\u{feff}User,Age\nli,7\n";
    assert_eq!(digest(marked.as_bytes()), digest(b"User,Age\nli,7\n"));
}

#[test]
fn the_first_line_may_name_the_delimiter() {
    let whole = digest(b"User,Age\nli,\"7,5\"\n");
    for text in [
        "sep=;\r\nUser;Age\r\nli;7,5\r\n",
        "\"sep=;\"\nUser;Age\nli;7,5\n",
        "\u{feff}SEP=|\nUser|Age\nli|7,5\n",
    ] {
        let found = look(text.as_bytes()).unwrap();
        assert_eq!((found.rows, found.content_digest), (1, whole), "{text:?}");
    }
    assert_eq!(digest(b"User|Age\nli|7,5\n"), whole);
    assert_eq!(digest(b"Report, all of it\nUser\tDesktop\nli\t7,5\n"), digest(b"User,Desktop\nli,\"7,5\"\n"));
}

#[test]
fn titles_above_and_a_footer_below_are_no_records() {
    let table = "User,Desktop,IP,Started\nli,d1,x,2026-11-22 08:00:00\nwang,d2,y,2026-11-22 09:00:00\n";
    let whole = digest(table.as_bytes());
    for (above, below) in [
        ("Connection records\n", ""),
        ("Connection records\nfrom,to\n\n", ""),
        ("", "Total: 2\n"),
        ("", "Total,2,,\n"),
        ("", "合计：2\n"),
        ("", "\nTotal 2\nExported by li at 2026-11-23 00:00\n"),
        ("Connection records,,,\n", "共2条,,,"),
    ] {
        let text = format!("{above}{table}{below}");
        let found = look(text.as_bytes()).unwrap();
        assert_eq!((found.rows, found.content_digest), (2, whole), "{text:?}");
        assert_eq!(
            found.notes.len(),
            usize::from(!above.is_empty()) + usize::from(!below.is_empty()),
            "{text:?}"
        );
    }
}

#[test]
fn a_row_that_may_be_a_record_counts_as_one() {
    let table = "User,Desktop,IP,Started\nli,d1,x,2026-11-22 08:00:00\n";
    for row in [
        "total,d1,y,\n",
        ",,,2026-11-22 09:00:00\n",
        "wang\n",
        "Total: 1\nwang,d2,y,2026-11-22 09:00:00\n",
        "a:b,c\n",
    ] {
        let text = format!("{table}{row}");
        let rows = 1 + row.lines().count() as u64;
        assert_eq!(look(text.as_bytes()).unwrap().rows, rows, "{text:?}");
    }
    // Where a record has no start time either, only a word for totals makes a footer.
    let open = format!("{table}wang,d2,,\n");
    assert_eq!(look(format!("{open}note: x\n").as_bytes()).unwrap().rows, 3);
    assert_eq!(look(format!("{open}Total: 2\n").as_bytes()).unwrap().rows, 2);
    assert_eq!(look(b"A,B,C\n1,2,3\nx: y\n").unwrap().rows, 2);
    assert_eq!(look(b"A,B,C\n1,2,3\nTotal: 1\n").unwrap().rows, 1);
}

#[test]
fn a_blank_before_a_quote_and_a_backslash_in_quotes_are_read_where_nothing_else_fits() {
    let whole = digest(b"User,Note,Age\nli,\"said \"\"a, b\"\"\",7\n");
    for text in [
        "User,Note,Age\nli, \"said \"\"a, b\"\"\",7\n",
        "User,Note,Age\nli,\"said \\\"a, b\\\"\",7\n",
        "User, \"Note\",Age\nli, \"said \\\"a, b\\\"\",7\n",
    ] {
        let found = look(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((found.rows, found.content_digest), (1, whole), "{text:?}");
    }
    // What fits the strict rules is read by them, but where a blank before quotes is a habit.
    assert_eq!(digest(b"User,Age\nli, \"7\"\nwang,8\n"), digest(b"User,Age\nli,\" \"\"7\"\"\"\nwang,8\n"));
    assert_eq!(digest(b"User,Age\n\"C:\\\",7\n"), digest(b"User,Age\nC:\\,7\n"));
}

#[test]
fn a_quoted_field_that_is_open_at_the_end_is_damage() {
    for text in ["User,Age\nli,\"7", "User,Age\nli,\"7\n", "User,Age\nli,\"7\"\"", "User,\"Age\n"] {
        assert_cut_off(text.as_bytes(), "ends inside a quoted field");
        assert_cut_off(&gzip(text.as_bytes()), "ends inside a quoted field");
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
}

#[test]
fn a_cell_that_is_no_text_costs_its_text_and_not_the_file() {
    // One name was cut inside a character: its bytes count as they are.
    let mut digest = ContentDigest::EMPTY;
    digest.add(Sha256::of("3:Age,1:7,4:User,9:王小明,".as_bytes()));
    digest.add(Sha256::of(b"3:Age,1:8,4:User,2:\xe7\x8e,"));
    let found = look(&["User,Age\n王小明,7\n".as_bytes(), b"\xe7\x8e,8\n"].concat()).unwrap();
    assert_eq!((found.rows, found.content_digest), (2, digest));
    assert_eq!(found.notes.len(), 1, "{:?}", found.notes);

    // Half a character in each of two cells would be one if they were put together.
    assert_eq!(look(b"User,Age\n\xe7\x8e,\x8b\n\xe7\x8e\x8b,1\n\xe7\x8e\x8b,2\n").unwrap().rows, 3);
    // In GB18030 as well.
    let (name, ..) = GB18030.encode("王小明");
    let bytes = [b"User,Age\n", name.as_ref(), b",7\n", name.as_ref(), b",8\n\xcd,9\n"].concat();
    let found = look(&bytes).unwrap();
    let mut digest = ContentDigest::EMPTY;
    for (row, user) in [(7, "9:王小明"), (8, "9:王小明")] {
        digest.add(Sha256::of(format!("3:Age,1:{row},4:User,{user},").as_bytes()));
    }
    digest.add(Sha256::of(b"3:Age,1:9,4:User,1:\xcd,"));
    assert_eq!((found.rows, found.content_digest), (3, digest));
}

#[test]
fn text_in_a_charset_that_is_not_known_is_kept_by_a_known_header_only() {
    assert_unread(b"A,B\n\xff\xff,7\n", "neither UTF-8 nor GB18030");
    assert_eq!(look(b"User,Desktop\nJos\xe9,7\n").unwrap().rows, 1);
}

#[test]
fn a_pair_of_surrogates_of_three_bytes_each_is_the_character() {
    let cesu8 = b"User,Age\nli\xed\xa0\xbd\xed\xb8\x80,7\n";
    assert_eq!(digest(cesu8), digest("User,Age\nli😀,7\n".as_bytes()));
}

#[test]
fn text_in_utf16_with_a_byte_order_mark_reads_like_any_other() {
    let text = "User,Desktop\n王😀,\"a\nb\"\n";
    let little = [b"\xff\xfe".to_vec(), text.encode_utf16().flat_map(u16::to_le_bytes).collect()].concat();
    let big = [b"\xfe\xff".to_vec(), text.encode_utf16().flat_map(u16::to_be_bytes).collect()].concat();
    for bytes in [&little, &big, &gzip(&little)] {
        assert_eq!(digest(bytes), digest(text.as_bytes()));
    }
    assert_cut_off(&little[..little.len() - 1], "inside a character");
}

#[test]
fn quotes_after_a_blank_in_every_row_are_no_part_of_the_cells() {
    let plain = "User,Desktop,Started,Ended\nli,d1,2026-11-22 08:00:00,\nwang,d2,2026-11-22 09:00:00,2026-11-22 10:00:00\n";
    let plain = look(plain.as_bytes()).unwrap();
    for text in [
        "User, Desktop, Started, Ended\nli, \"d1\", \"2026-11-22 08:00:00\", \"\"\nwang, \"d2\", \"2026-11-22 09:00:00\", \"2026-11-22 10:00:00\"\n",
        "\"User\", \"Desktop\", \"Started\", \"Ended\"\n\"li\", \"d1\", \"2026-11-22 08:00:00\", \"\"\n\"wang\", \"d2\", \"2026-11-22 09:00:00\", \"2026-11-22 10:00:00\"\n",
        "User,Desktop,Started,Ended\nli,d1, \"2026-11-22 08:00:00\",\nwang,d2, \"2026-11-22 09:00:00\", \"2026-11-22 10:00:00\"\n",
    ] {
        let found = look(text.as_bytes()).unwrap();
        assert_eq!((found.rows, found.times, found.open_records), (2, plain.times, Some(1)), "{text}");
    }
    // Quotes that belong to the text stay.
    for note in [" \"a\" b", "x \"a\""] {
        let text = format!("User,Desktop,Note\nli,d1,{note}\nwang,d2,y\n");
        let quoted = format!("User,Desktop,Note\nli,d1,\"{}\"\nwang,d2,y\n", note.replace('"', "\"\""));
        assert_eq!(digest(text.as_bytes()), digest(quoted.as_bytes()), "{note}");
    }
}

#[test]
fn text_in_utf16_without_a_byte_order_mark_reads_like_any_other() {
    for text in [
        "User,Desktop\n王😀,\"a\nb\"\n",
        "连接用户,桌面名称,开始连接时间\r\n王小明,桌面一,2026-11-22 08:00:00\r\n",
        "A,B\r\nx,y\r\n",
    ] {
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [&little, &big, &gzip(&little)] {
            assert_eq!(digest(bytes), digest(text.as_bytes()), "{text}");
        }
        assert_cut_off(&little[..little.len() - 1], "inside a character");
    }
}

#[test]
fn a_nul_under_a_known_header_is_a_character_like_any_other() {
    let mut digest = ContentDigest::EMPTY;
    digest.add(Sha256::of(b"7:Desktop,2:d1,4:User,3:l\0i,"));
    let found = look(b"User,Desktop\nl\0i,d1\n").unwrap();
    assert_eq!((found.rows, found.content_digest, found.notes.len()), (1, digest, 1));
    // Padding after the last line is no row.
    let padded = [b"User,Desktop\nli,d1\n".as_slice(), &[0; 5000]].concat();
    let found = look(&padded).unwrap();
    assert_eq!((found.rows, found.notes.len()), (1, 1), "{:?}", found.notes);
}

#[test]
fn utf16_without_a_mark_bears_nul_units_and_no_wide_text_is_read_by_single_bytes() {
    let table =
        "User,Desktop,Started\n上海,d1,2026-11-22 08:00:00\n上\u{4e0a}\u{0a0d},d2,x\nwang,d\u{0}3,y\n";
    let whole = look(table.as_bytes()).unwrap();
    assert_eq!(whole.rows, 3);
    for text in [table.to_owned(), format!("{table}{}", "\0".repeat(500))] {
        for unit in [u16::to_le_bytes, u16::to_be_bytes] {
            let bytes: Vec<u8> = text.encode_utf16().flat_map(unit).collect();
            let found = look(&bytes).unwrap();
            assert_eq!((found.rows, found.content_digest), (3, whole.content_digest));
        }
    }
    for mark in ["", "\u{feff}"] {
        let text = format!("{mark}{table}");
        for unit in [u32::to_le_bytes, u32::to_be_bytes] {
            let bytes: Vec<u8> = text.chars().flat_map(|c| unit(u32::from(c))).collect();
            assert_unread(&bytes, "");
        }
    }
}

#[test]
fn a_row_with_more_cells_than_a_known_header_is_a_record_and_noted() {
    let found = look(b"User,Desktop\nli,d1\nwang,d2,x,\n").unwrap();
    let mut digest = ContentDigest::EMPTY;
    digest.add(Sha256::of(b"7:Desktop,2:d1,4:User,2:li,"));
    digest.add(Sha256::of(b"0:,1:x,7:Desktop,2:d2,4:User,4:wang,"));
    assert_eq!((found.rows, found.content_digest, found.notes.len()), (2, digest, 1), "{:?}", found.notes);
    // A quote that was never closed until another came has swallowed a record.
    assert_unread(b"User,Desktop\nli,\"d1\nwang,\"d2,x\n", "line 2 has 3 cells");
}

#[test]
fn a_nul_or_a_record_without_end_cannot_be_read() {
    let rows = "li,7\n".repeat(20_000);
    let holed = [b"User,Age\n", rows.as_bytes(), b"\0\0\0\0"].concat();
    assert_unread(&holed, "NUL");
    let endless = [b"User,Age\nli,", vec![b'7'; 3 << 20].as_slice()].concat();
    assert_unread(&endless, "the record at line 2 does not end");
    let open_early = format!("User,Age\nli,\"7\n{}", "li,7\n".repeat(400_000));
    assert_unread(open_early.as_bytes(), "does not end");
    let wide = format!("User,Desktop\nli,{}\n", ",".repeat(20_000));
    assert_unread(wide.as_bytes(), "more than 16384 cells");
}

#[test]
fn a_gzip_stream_that_was_cut_is_damage() {
    let whole = gzip(b"User,Age\nli,7\nwang,8\n");
    assert!(look(&whole).is_ok());
    for cut in 1..whole.len() {
        let error = look(&whole[..cut]).unwrap_err();
        assert_eq!(error.wholeness(), Wholeness::CutOff, "cut at {cut}: {error}");
    }
    let mut wrong_sum = whole.clone();
    wrong_sum[whole.len() - 8] ^= 1;
    assert_cut_off(&wrong_sum, "gzip");
    for after in [b"\0\0\0\0".as_slice(), b"\r\n", b"garbage"] {
        let found = look(&[&whole, after].concat()).unwrap();
        assert_eq!((found.rows, found.notes.len()), (2, 1));
    }
    let second_cut = [whole.as_slice(), &whole[..whole.len() - 1]].concat();
    assert!(look(&second_cut).is_err());
}
