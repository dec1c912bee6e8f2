//! Start and end times of records: which instant a cell names, and what the records of a file say together.
//!
//! In which time zone the provider writes its cells is published nowhere. A time with a zone (`Z`, `+08:00`) is an
//! instant, and so is one under a header that names a zone (`Start Time (UTC+08:00)`). Any other time is taken as UTC,
//! and the file's times are marked as such ([`RecordTimes::zoned`] is false).

use csv::ByteRecord;
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::Offset;

use super::columns::{Columns, Meaning};
use super::rows::{Charset, Head};
use crate::domain::export::RecordTimes;

/// Days that a spreadsheet's number may mean as a date: 1954 to 2119. Other numbers are no dates.
const SERIALS: std::ops::Range<f64> = 20_000.0..80_000.0;

/// Days between 1899-12-30, from which spreadsheets count, and 1970-01-01.
const EPOCH: f64 = 25_569.0;

/// Days between 1900 and 1904 as spreadsheets count them.
const FROM_1904: f64 = 1_462.0;

/// Gathers the times of a file's records.
#[derive(Debug, Clone)]
pub(super) struct TimesOfRecords {
    start: Option<usize>,
    end: Option<usize>,
    /// The zone that the header names.
    header_zone: Option<Offset>,
    dates_from_1904: bool,
    times: Option<RecordTimes>,
    /// Whether a start time was no time.
    unknown: bool,
    open: u64,
}

impl TimesOfRecords {
    /// Looks for the columns in a header that is written in `charset`.
    pub(super) fn under(head: &Head<'_>, charset: Charset) -> Self {
        let columns = Columns::find(head.names, charset);
        let start = columns.place(Meaning::Start);
        let name = start.and_then(|place| head.names.get(place)).and_then(|name| charset.read(name));
        Self {
            start,
            end: columns.place(Meaning::End),
            header_zone: name.and_then(|name| zone_in_parentheses(&name)),
            dates_from_1904: head.dates_from_1904,
            times: None,
            unknown: false,
            open: 0,
        }
    }

    /// Adds a record.
    pub(super) fn add(&mut self, cells: &ByteRecord) {
        let cell = |place: Option<usize>| {
            let cell = place.and_then(|place| cells.get(place)).unwrap_or_default();
            std::str::from_utf8(cell).unwrap_or("?").trim()
        };
        self.open += u64::from(self.end.is_some() && is_blank(cell(self.end)));
        let start = cell(self.start);
        if self.unknown || is_blank(start) {
            return;
        }
        match instant(start, self.header_zone, self.dates_from_1904) {
            None => self.unknown = true,
            Some((time, zoned)) => {
                let so_far = self.times.get_or_insert(RecordTimes { first: time, last: time, zoned: true });
                so_far.first = so_far.first.min(time);
                so_far.last = so_far.last.max(time);
                so_far.zoned &= zoned;
            }
        }
    }

    /// The first and the last start time.
    pub(super) fn times(&self) -> Option<RecordTimes> {
        self.times.filter(|_| !self.unknown)
    }

    /// Records without an end time, where the file has a column for it.
    pub(super) fn open_records(&self) -> Option<u64> {
        self.end.map(|_| self.open)
    }
}

/// Whether a cell says that there is no time.
fn is_blank(cell: &str) -> bool {
    matches!(cell, "" | "-" | "--" | "null" | "NULL" | "N/A")
}

/// Whether a cell is a time.
pub(super) fn is_time(cell: &[u8]) -> bool {
    std::str::from_utf8(cell).is_ok_and(|cell| instant(cell.trim(), None, false).is_some())
}

/// The instant that a cell names, and whether its zone is known.
fn instant(cell: &str, header_zone: Option<Offset>, dates_from_1904: bool) -> Option<(Timestamp, bool)> {
    if let Some(instant) = serial(cell, dates_from_1904) {
        return zoned(instant, None, header_zone);
    }
    let mut rest = cell;
    let year = number(&mut rest, 4..=4)?;
    let between = separator(&mut rest, &['-', '/', '.', '年'])?;
    let month = number(&mut rest, 1..=2)?;
    separator(&mut rest, if between == '年' { &['月'] } else { std::slice::from_ref(&between) })?;
    let day = number(&mut rest, 1..=2)?;
    if between == '年' {
        separator(&mut rest, &['日'])?;
    }
    let date = Date::new(year as i16, month as i8, day as i8).ok()?;
    let after_date = rest.trim_start_matches([' ', '\u{a0}']);
    let after_date = after_date.strip_prefix(['T', 't']).unwrap_or(after_date);
    if after_date.len() == rest.len() && between != '年' {
        return None;
    }
    rest = after_date;
    let time = time(&mut rest)?;
    let civil = date.to_datetime(time);
    let utc = Offset::UTC.to_timestamp(civil).ok()?;
    match rest.trim() {
        "" => zoned(utc, None, header_zone),
        zone => zoned(utc, Some(offset(zone)?), header_zone),
    }
}

/// The instant of a time that would be `utc` in UTC, in the zone that the cell names, or else the header.
fn zoned(utc: Timestamp, cell: Option<Offset>, header: Option<Offset>) -> Option<(Timestamp, bool)> {
    let zone = cell.or(header);
    let seconds = zone.map_or(0, Offset::seconds);
    Some((utc.checked_sub(jiff::SignedDuration::from_secs(i64::from(seconds))).ok()?, zone.is_some()))
}

/// `8:01`, `08:01:02`, `08:01:02.123`.
fn time(rest: &mut &str) -> Option<Time> {
    let hour = number(rest, 1..=2)?;
    separator(rest, &[':'])?;
    let minute = number(rest, 2..=2)?;
    let mut second = 0;
    let mut nanosecond = 0;
    if separator(rest, &[':']).is_some() {
        second = number(rest, 2..=2)?;
        if separator(rest, &['.', ',']).is_some() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let nine: String = rest[..digits].chars().chain("000000000".chars()).take(9).collect();
            nanosecond = nine.parse().ok().filter(|_| digits > 0)?;
            *rest = &rest[digits..];
        }
    }
    Time::new(hour as i8, minute as i8, second as i8, nanosecond).ok()
}

/// A day as spreadsheets count them, such as `45987.5`, to the millisecond.
fn serial(cell: &str, dates_from_1904: bool) -> Option<Timestamp> {
    if !cell.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let days: f64 = cell.parse().ok().filter(|days| SERIALS.contains(days))?;
    let days = days + if dates_from_1904 { FROM_1904 } else { 0.0 };
    Timestamp::from_millisecond(((days - EPOCH) * 86_400_000.0).round() as i64).ok()
}

/// A number of so many digits.
fn number(rest: &mut &str, digits: std::ops::RangeInclusive<usize>) -> Option<u16> {
    let count = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, after) = rest.split_at(count);
    *rest = after;
    number.parse().ok().filter(|_| digits.contains(&count))
}

fn separator(rest: &mut &str, any: &[char]) -> Option<char> {
    let first = rest.chars().next().filter(|first| any.contains(first))?;
    *rest = &rest[first.len_utf8()..];
    Some(first)
}

/// A zone: `Z`, `UTC`, `GMT`, `+08:00`, `+0800`, `+8`, `UTC+08:00`, each in parentheses or not.
fn offset(zone: &str) -> Option<Offset> {
    let zone = zone.trim_matches(['(', ')', '（', '）', ' ']).to_ascii_uppercase();
    let rest = ["UTC", "GMT"].iter().find_map(|word| zone.strip_prefix(word));
    match rest {
        None if zone == "Z" => return Some(Offset::UTC),
        Some("") => return Some(Offset::UTC),
        _ => {}
    }
    let mut rest = rest.unwrap_or(&zone).trim_start();
    let sign = if separator(&mut rest, &['+', '-'])? == '-' { -1 } else { 1 };
    let digits: String = rest.chars().filter(|&c| c != ':').collect();
    let well_formed = digits.bytes().all(|digit| digit.is_ascii_digit()) && rest.matches(':').count() <= 1;
    let (hours, minutes) = match digits.len() {
        _ if !well_formed => return None,
        1 | 2 => (digits.as_str(), "0"),
        4 => digits.split_at(2),
        _ => return None,
    };
    let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok().filter(|&m| m < 60)? * 60;
    Offset::from_seconds(sign * seconds).ok()
}

/// The zone that a header names: `Start Time (UTC+08:00)`.
fn zone_in_parentheses(name: &str) -> Option<Offset> {
    let (_, inside) = name.split_once(['(', '（'])?;
    offset(inside.split([')', '）']).next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(cell: &str) -> Option<(String, bool)> {
        instant(cell, None, false).map(|(time, zoned)| (time.to_string(), zoned))
    }

    #[test]
    fn times_are_read_as_the_field_writes_them() {
        let cases = [
            ("2026-11-22 08:01:02", "2026-11-22T08:01:02Z", false),
            ("2026-11-22T08:01:02Z", "2026-11-22T08:01:02Z", true),
            ("2026/11/22 8:01", "2026-11-22T08:01:00Z", false),
            ("2026/1/2 08:01:02", "2026-01-02T08:01:02Z", false),
            ("2026-11-22T08:01:02.5+08:00", "2026-11-22T00:01:02.5Z", true),
            ("2026-11-22 08:01:02 +0800", "2026-11-22T00:01:02Z", true),
            ("2026-11-22 08:01:02 UTC", "2026-11-22T08:01:02Z", true),
            ("2026-11-22 08:01:02 (UTC-03:30)", "2026-11-22T11:31:02Z", true),
            ("2026年11月22日 08:01:02", "2026-11-22T08:01:02Z", false),
            ("45987.5", "2025-11-26T12:00:00Z", false),
            ("45987.33405092593", "2025-11-26T08:01:02Z", false),
        ];
        for (cell, time, zoned) in cases {
            assert_eq!(read(cell), Some((time.to_owned(), zoned)), "{cell}");
        }
        let from_1904 = instant("44525.5", None, true).unwrap().0;
        assert_eq!(from_1904.to_string(), "2025-11-26T12:00:00Z");
    }

    #[test]
    fn other_cells_are_no_times() {
        for cell in [
            "",
            "x",
            "7",
            "2026-11-22",
            "2026-13-22 08:01:02",
            "2026-11-22 25:00:00",
            "2026-11-22 08:01:02 CST",
            "2026-11-2208:01:02",
            "20261122",
            "1e9",
            "2026-11-22 08:01:02 +08:00:00",
            "2026-11/22 08:01:02",
            "١٢",
        ] {
            assert_eq!(read(cell), None, "{cell}");
        }
    }

    #[test]
    fn a_header_may_name_the_zone() {
        let head = |name: &str| {
            let names = ByteRecord::from(vec![name, "Ended", "User"]);
            let head = Head { names: &names, charsets: &Charset::ALL, dates_from_1904: false };
            let mut times = TimesOfRecords::under(&head, Charset::Utf8);
            times.add(&ByteRecord::from(vec!["2026-11-22 08:00:00", "x", "li"]));
            times.add(&ByteRecord::from(vec!["2026-11-22 09:00:00Z", "--", "li"]));
            times.add(&ByteRecord::from(vec!["", "", "li"]));
            (times.times().map(|times| (times.first.to_string(), times.zoned)), times.open_records())
        };
        assert_eq!(head("Started (UTC+08:00)"), (Some(("2026-11-22T00:00:00Z".into(), true)), Some(2)));
        assert_eq!(head("Started (local)"), (Some(("2026-11-22T08:00:00Z".into(), false)), Some(2)));
        assert_eq!(head("Begun"), (None, Some(2)));
    }
}
