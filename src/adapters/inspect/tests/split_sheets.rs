//! Records that go on in other sheets of a workbook, whose headers say the same in other words.

use super::odd_workbooks::of_sheets;
use super::{assert_unread, digest, look};

const TABLE: &str = "User Name,Desktop Name,Started,Remark\nli,d1,2026-11-22 08:00:00,a\n";

#[test]
fn a_header_that_says_the_same_in_other_words_is_the_same_header() {
    let whole = digest(format!("{TABLE}wang,d2,2026-11-22 09:00:00,b\n").as_bytes());
    for second in [
        "USER NAME,desktop name,started,REMARK\nwang,d2,2026-11-22 09:00:00,b\n",
        " User Name , DesktopName,Started ,Remark \nwang,d2,2026-11-22 09:00:00,b\n",
        "user_name,computer_name,connection_start_time,remark\nwang,d2,2026-11-22 09:00:00,b\n",
        "用户名,桌面名称,开始时间,Remark\nwang,d2,2026-11-22 09:00:00,b\n",
        "Remark,开始连接时间,登录用户,计算机名\nb,2026-11-22 09:00:00,wang,d2\n",
        ",User Name,Desktop Name,Started,Remark\n,wang,d2,2026-11-22 09:00:00,b\n",
        "User Name,,Desktop Name,Started,Remark\nwang,,d2,2026-11-22 09:00:00,b\n",
        "Records of the second half\nUSER NAME,desktop name,started,REMARK\nwang,d2,2026-11-22 09:00:00,b\n",
        "wang,d2,2026-11-22 09:00:00,b\n",
    ] {
        let found = look(&of_sheets(&[TABLE, second])).unwrap_or_else(|error| panic!("{second:?}: {error}"));
        assert_eq!((found.rows, found.content_digest), (2, whole), "{second:?}");
    }
    // A cell in a column without a name counts without one.
    let named = ",User Name,Desktop Name,Started,Remark\nx,wang,d2,2026-11-22 09:00:00,b\n";
    let beside = digest(
        format!("{TABLE}wang,d2,2026-11-22 09:00:00,b,x\n").replace("Remark\n", "Remark,\n").as_bytes(),
    );
    assert_eq!(look(&of_sheets(&[TABLE, named])).unwrap().content_digest, beside);
    let unknown = digest(b"A a,B\n1,2\n3,4\n");
    assert_eq!(look(&of_sheets(&["A a,B\n1,2\n", "a A,b\n3,4\n"])).unwrap().content_digest, unknown);
}

#[test]
fn a_header_that_says_something_else_is_another_table() {
    for second in [
        "User Name,Desktop Name,Ended,Remark\nwang,d2,2026-11-22 09:00:00,b\n",
        "User Name,Desktop Name,Started,Other\nwang,d2,2026-11-22 09:00:00,b\n",
        "User Name,Desktop Name,Started (UTC+08:00),Remark\nwang,d2,2026-11-22 09:00:00,b\n",
        "User Name,Login User,Desktop Name,Started,Remark\nwang,x,d2,2026-11-22 09:00:00,b\n",
    ] {
        let outcome = look(&of_sheets(&[TABLE, second]));
        match outcome {
            // A sheet without start times is not of the table.
            Ok(found) => assert!(found.rows == 1 && found.notes.len() == 1, "{second:?}"),
            Err(_) => assert_unread(&of_sheets(&[TABLE, second]), "different headers"),
        }
    }
}

#[test]
fn rows_about_as_full_as_a_record_are_never_left_out_with_a_sheet() {
    let table =
        "User,Desktop,Terminal IP,Started,Ended\nli,d1,10.0.0.1,2026-11-22 08:00:00,2026-11-22 09:00:00\n";
    let without_start = "wang,d2,10.0.0.2,,2026-11-22 09:00:00\n";
    let with_start = "zhao,d3,10.0.0.3,2026-11-22 08:00:00,2026-11-22 09:00:00\n";
    for second in [
        without_start.repeat(4),
        format!("{}{}", without_start.repeat(33), with_start.repeat(2)),
        // Narrow rows, and records where nobody looks for them.
        format!("{}{}", "a,b\n".repeat(33), with_start.repeat(2)),
        // Other orders of the columns.
        "d2,10.0.0.2,2026-11-22 08:00:00,2026-11-22 09:00:00,wang\n".repeat(2),
        "2026-11-22 08:00:00,wang,d2,10.0.0.2,2026-11-22 09:00:00\n".to_owned(),
        // Shifted by one, either way.
        ",wang,d2,10.0.0.2,2026-11-22 08:00:00,2026-11-22 09:00:00\n".to_owned(),
        "d2,10.0.0.2,2026-11-22 08:00:00,2026-11-22 09:00:00\n".to_owned(),
    ] {
        assert_unread(&of_sheets(&[table, &second]), "different headers");
    }
    assert_unread(&of_sheets(&["User,Desktop,Note\nli,d1,a\n", "wang,d2\n"]), "different headers");
    // A record whose start time nobody wrote down, between others, is one.
    let mixed = format!("{with_start}{without_start}");
    assert_eq!(look(&of_sheets(&[table, &mixed])).unwrap().rows, 3);
    // Lists and sums are narrower, and a footer below the records says nothing of how full they are.
    let footed = format!("{table}Total,1\n");
    for beside in ["Windows\nLinux\n", "Logins,1\nUsers,1\n"] {
        let found =
            look(&of_sheets(&[&footed, beside])).unwrap_or_else(|error| panic!("{beside:?}: {error}"));
        assert_eq!((found.rows, found.notes.len()), (1, 2), "{beside:?}: {:?}", found.notes);
    }
}
