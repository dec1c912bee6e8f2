//! A file that was cut off never passes for a whole one.

use super::{gzip, look, records, text_of, xlsx_of};
use crate::adapters::inspect::Wholeness;

const RECORDS: &str = "transaction_id,user_name,connection_start_time,note\r\n\
    t1,li,2026-11-22T08:00:00Z,a\r\n\
    t2,\"wang, er\",2026-11-22T09:00:00Z,\"b\r\nc\"\r\n\
    t3,王,2026-11-22T10:00:00Z,d";

#[test]
fn packed_files_that_are_cut_were_cut_off() {
    let xlsx = xlsx_of(&records()[..2], 2026);
    let with_mark = [b"\xef\xbb\xbf".as_slice(), &xlsx].concat();
    for whole in [gzip(&xlsx), gzip(RECORDS.as_bytes()), xlsx, with_mark] {
        assert!(look(&whole).is_ok());
        let end = whole.len().saturating_sub(300);
        for cut in (1..8).chain((8..end).step_by(7)).chain(end..whole.len()) {
            if whole[..cut] == b"\xef\xbb\xbf"[..cut.min(3)] {
                continue;
            }
            let error = look(&whole[..cut]).expect_err(&format!("cut at {cut} of {}", whole.len()));
            assert_eq!(error.wholeness(), Wholeness::CutOff, "cut at {cut} of {}: {error}", whole.len());
        }
    }
}

#[test]
fn text_that_is_cut_inside_a_row_was_cut_off() {
    let last_cells: Vec<usize> = RECORDS.match_indices(['\n', ',']).map(|(place, _)| place + 1).collect();
    for end in ["", "\r\n"] {
        let whole = format!("{RECORDS}{end}");
        assert_eq!(look(whole.as_bytes()).unwrap().rows, 3);
        for cut in 1..RECORDS.len() {
            // A cut in the last cell of a row, or at a line end, cannot be seen in the text.
            let in_last_row = cut > RECORDS.rfind('\n').unwrap() + 1;
            let in_last_cell = cut >= *last_cells.last().unwrap();
            match look(&whole.as_bytes()[..cut]) {
                Ok(found) if in_last_row && !in_last_cell => panic!("cut at {cut}: {} rows", found.rows),
                Ok(found) => assert!(found.rows <= 3),
                Err(error) => assert_ne!(error.wholeness(), Wholeness::Unread, "cut at {cut}: {error}"),
            }
        }
    }
}

#[test]
fn a_short_last_line_without_an_end_is_whole_only_where_other_lines_are_as_short() {
    let cut = |text: &str| look(text.as_bytes()).err().map(|error| error.wholeness());
    assert_eq!(cut("User,Desktop,Note\nli,d1\nwang,d2"), None);
    assert_eq!(cut("User,Desktop,Note\nli,d1,x\nwang,d2"), Some(Wholeness::CutOff));
    assert_eq!(cut("User,Desktop,Note\nli,d1\nwang,"), Some(Wholeness::CutOff));
    assert_eq!(cut("User,Desktop,Note\nli,d1\nwang"), Some(Wholeness::CutOff));
    assert_eq!(cut("User,Desktop,Note\nli,d1"), Some(Wholeness::CutOff));
    assert_eq!(cut("User,Desktop,Note\nli,d1\n"), None);
    // Shorter rows than the last one say nothing of a row that is as long as it.
    let wide = "User,Desktop,Note,Started,A,B,C,D,E,F,G\nli,d1,x\nwang,d2,x,,1,2,3,4,5,6,7\n";
    assert_eq!(cut(&format!("{wide}zhao,d3,x,,1,2,3,4,5")), Some(Wholeness::CutOff));
    assert_eq!(cut(&format!("{wide}zhao,d3,x,,1,2,3,4,5\n")), None);
    assert_eq!(cut(&format!("{wide}zhao,d3,x")), None);
    // A last word of a total is no record that was cut; any other word may be.
    let table = "User,Desktop,Note,Started\nli,d1,x,2026-11-22 08:00:00\n";
    assert_eq!(cut(&format!("{table}Total: 1")), None);
    assert_eq!(cut(&format!("{table}a: b")), Some(Wholeness::CutOff));
}

#[test]
fn text_in_quotes_that_is_cut_at_any_byte_never_has_all_its_rows() {
    let whole = text_of(&records(), ",");
    let last_cell = whole.rfind("\",\"").unwrap() + 2;
    for cut in 1..last_cell {
        if let Ok(found) = look(&whole.as_bytes()[..cut]) {
            assert!(found.rows < 6, "cut at {cut}");
        }
    }
}
