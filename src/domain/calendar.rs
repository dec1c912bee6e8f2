//! Cuts time into windows, by the calendar of a time zone.
//!
//! A day begins at its first instant in the zone, so it lasts 23, 24 or 25 hours, and a date that a zone left out has
//! no window. Shorter windows are cut from each day's first instant on, by elapsed minutes; where a day is not as
//! long as usual, its last window ends with the day. Each boundary is the end of one window and the start of the
//! next, computed by the one function `Calendar::day_begin`, so windows tile the time line by construction.
//!
//! The rules of the zones come with the program, not from the machine: one version of connvault cuts the same
//! windows everywhere, and an auditor with that version cuts them again.

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

use super::window::Window;
use super::window_length::WindowLength;

/// How a stream's time is cut.
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: TimeZone,
    length: WindowLength,
}

/// The time zones that come with the program.
pub fn zones() -> TimeZoneDatabase {
    TimeZoneDatabase::bundled()
}

impl Calendar {
    /// Windows of `length`, by the calendar of `zone`.
    pub fn new(zone: TimeZone, length: WindowLength) -> Self {
        Self { zone, length }
    }

    /// The window that holds `instant`; `None` only at the ends of the range of timestamps.
    pub fn window_at(&self, instant: Timestamp) -> Option<Window> {
        let (begin, next) = self.day_at(instant)?;
        match self.length {
            WindowLength::Day => Window::new(begin, next).ok(),
            WindowLength::Minutes(minutes) => {
                let length = i64::from(minutes.get()) * 60;
                let passed = (instant.as_second() - begin.as_second()) / length * length;
                let start = begin.checked_add(SignedDuration::from_secs(passed)).ok()?;
                let end = start.checked_add(SignedDuration::from_secs(length)).ok()?;
                Window::new(start, end.min(next)).ok()
            }
        }
    }

    /// The windows from the one that holds `instant` on, in order, without end.
    pub fn windows_from(&self, instant: Timestamp) -> impl Iterator<Item = Window> + '_ {
        std::iter::successors(self.window_at(instant), |window| self.window_at(window.end()))
    }

    /// Whether a window starts at `instant`.
    pub fn is_boundary(&self, instant: Timestamp) -> bool {
        self.window_at(instant).is_some_and(|window| window.start() == instant)
    }

    /// An instant as the configuration spells it: the day that begins then, or the instant itself.
    pub fn spelled(&self, instant: Timestamp) -> String {
        match self.day_at(instant) {
            Some((begin, _)) if begin == instant => self.zone.to_datetime(instant).date().to_string(),
            _ => instant.to_string(),
        }
    }

    /// The first instant of the day that holds `instant`, and of the day after.
    fn day_at(&self, instant: Timestamp) -> Option<(Timestamp, Timestamp)> {
        // The local date is a first guess only: where clocks go back across midnight, the date that a clock shows
        // repeats, and a date that was left out begins where the next one does.
        let mut date = self.zone.to_datetime(instant).date();
        while self.day_begin(date)? > instant {
            date = date.yesterday().ok()?;
        }
        loop {
            let begin = self.day_begin(date)?;
            date = date.tomorrow().ok()?;
            let next = self.day_begin(date)?;
            if next > instant {
                return Some((begin, next));
            }
        }
    }

    /// The first instant of `date`, in whole minutes (offsets of times long past have seconds).
    fn day_begin(&self, date: Date) -> Option<Timestamp> {
        let begin = date.to_zoned_datetime(self.zone.clone()).ok()?.timestamp().as_second();
        Timestamp::from_second(begin - begin.rem_euclid(60)).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use proptest::prelude::*;

    use super::*;

    fn calendar(zone: &str, length: WindowLength) -> Calendar {
        Calendar::new(zones().get(zone).unwrap(), length)
    }

    fn minutes(minutes: u16) -> WindowLength {
        WindowLength::Minutes(NonZeroU16::new(minutes).unwrap())
    }

    fn instant(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn hours(window: Window) -> i64 {
        window.end().duration_since(window.start()).as_hours()
    }

    /// Walks from `from` to `until`, asserting that each window begins where the last one ended.
    fn assert_tiled(calendar: &Calendar, from: Timestamp, until: Timestamp, what: &str) -> usize {
        let mut count = 0;
        let mut end = calendar.window_at(from).unwrap().start();
        for window in calendar.windows_from(from).take_while(|window| window.start() < until) {
            assert_eq!(window.start(), end, "{what}: a gap or an overlap before {window}");
            assert_eq!(calendar.window_at(window.start()), Some(window), "{what}");
            let last = window.end().saturating_sub(SignedDuration::from_nanos(1)).unwrap();
            assert_eq!(calendar.window_at(last), Some(window), "{what}");
            end = window.end();
            count += 1;
        }
        assert!(end >= until, "{what}: the windows end at {end}");
        count
    }

    #[test]
    fn days_tile_ten_years_in_every_zone_and_begin_at_local_midnight_or_after_a_gap() {
        let (from, until) = (instant("2020-01-01T00:00:00Z"), instant("2030-01-01T00:00:00Z"));
        let mut seen = 0;
        for name in zones().available() {
            let calendar = calendar(name.as_str(), WindowLength::Day);
            let days = assert_tiled(&calendar, from, until, name.as_str());
            assert!((3653..=3655).contains(&days), "{name}: {days} days");
            // Antarctic stations move their clocks by up to four hours.
            for window in calendar.windows_from(from).take(days) {
                let local = calendar.zone.to_datetime(window.start());
                let before = window.start().saturating_sub(SignedDuration::from_secs(1)).unwrap();
                let eve = calendar.zone.to_datetime(before);
                assert!(local.hour() == 0 || eve.date() != local.date(), "{name}: a day begins at {local}");
                assert!((20..=28).contains(&hours(window)), "{name}: {window}");
            }
            seen += 1;
        }
        assert!(seen > 500, "only {seen} zones");
    }

    #[test]
    fn hours_tile_in_every_zone_across_every_change_of_ten_years() {
        let (from, until) = (instant("2020-01-01T00:00:00Z"), instant("2030-01-01T00:00:00Z"));
        let day = SignedDuration::from_hours(24);
        for name in zones().available() {
            let calendar = calendar(name.as_str(), minutes(60));
            let zone = calendar.zone.clone();
            for change in zone.following(from).take_while(|change| change.timestamp() < until) {
                let at = change.timestamp();
                assert_tiled(&calendar, at - day - day, at + day + day, name.as_str());
            }
        }
    }

    proptest! {
        #[test]
        fn any_window_length_tiles_any_stretch_of_any_zone(
            zone in 0..500usize, divisor in prop::sample::select(vec![1u16, 2, 15, 45, 90, 240, 480, 720, 1440]),
            from in 1_577_836_800i64..1_893_456_000,
        ) {
            let database = zones();
            let name = database.available().nth(zone).unwrap();
            let from = Timestamp::from_second(from).unwrap();
            let until = from + SignedDuration::from_hours(if divisor < 15 { 3 } else { 72 });
            assert_tiled(&calendar(name.as_str(), minutes(divisor)), from, until, name.as_str());
        }
    }

    #[test]
    fn a_day_has_23_24_or_25_hours_as_the_zone_has_it() {
        let berlin = calendar("Europe/Berlin", WindowLength::Day);
        for (at, expected) in [("2026-03-29", 23), ("2026-10-25", 25), ("2026-07-01", 24)] {
            let window = berlin.window_at(instant(&format!("{at}T12:00:00Z"))).unwrap();
            assert_eq!(hours(window), expected, "{window}");
        }
        let shanghai = calendar("Asia/Shanghai", WindowLength::Day);
        let window = shanghai.window_at(instant("2026-11-22T15:59:59Z")).unwrap();
        assert_eq!(window.to_string(), "20261121T160000Z_20261122T160000Z");
    }

    #[test]
    fn a_short_day_has_23_hours_of_one_hour_and_a_long_one_25() {
        let berlin = calendar("Europe/Berlin", minutes(60));
        for (day, expected) in [("2026-03-29", 23), ("2026-10-25", 25), ("2026-07-01", 24)] {
            let date: Date = day.parse().unwrap();
            let from = date.to_zoned_datetime(berlin.zone.clone()).unwrap().timestamp();
            let to = date.tomorrow().unwrap().to_zoned_datetime(berlin.zone.clone()).unwrap().timestamp();
            let windows = berlin.windows_from(from).take_while(|window| window.end() <= to).count();
            assert_eq!(windows, expected, "{day}");
        }
    }

    #[test]
    fn windows_that_do_not_fit_an_odd_day_end_with_it() {
        let berlin = calendar("Europe/Berlin", minutes(240));
        let of = |from: &str| berlin.windows_from(instant(from)).take(6).map(hours).collect::<Vec<_>>();
        assert_eq!(of("2026-03-28T23:00:00Z"), [4, 4, 4, 4, 4, 3]);
        assert_eq!(
            berlin.windows_from(instant("2026-10-24T22:00:00Z")).take(7).map(hours).collect::<Vec<_>>(),
            [4, 4, 4, 4, 4, 4, 1]
        );
    }

    #[test]
    fn a_date_that_a_zone_left_out_has_no_window() {
        // Samoa went from 29 to 31 December 2011.
        let apia = calendar("Pacific/Apia", WindowLength::Day);
        let windows: Vec<_> = apia.windows_from(instant("2011-12-29T12:00:00Z")).take(2).collect();
        assert_eq!(windows[0].to_string(), "20111229T100000Z_20111230T100000Z");
        assert_eq!(windows[1].to_string(), "20111230T100000Z_20111231T100000Z");
    }

    #[test]
    fn a_day_whose_midnight_does_not_exist_begins_when_the_clocks_have_changed() {
        let havana = calendar("America/Havana", WindowLength::Day);
        let window = havana.window_at(instant("2026-03-08T12:00:00Z")).unwrap();
        assert_eq!(window.to_string(), "20260308T050000Z_20260309T040000Z");
    }
}
