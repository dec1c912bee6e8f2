//! The ways the API writes an instant, all UTC: the signing date, the minutes and seconds of bounds, a record's
//! seconds, a task's milliseconds, a token's microseconds.

use jiff::{Timestamp, civil::DateTime, tz::Offset};

/// The system's clock: what a simulator goes by unless it is given another.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads it; everything else is given a Clock"
)]
pub fn system_clock() -> Timestamp {
    Timestamp::now()
}

const SIGNING: &str = "%Y%m%dT%H%M%SZ";
const MINUTE: &str = "%Y-%m-%dT%H:%MZ";
const SECOND: &str = "%Y-%m-%dT%H:%M:%SZ";

/// Reads `YYYYMMDDTHHMMSSZ`, the form of `X-Sdk-Date`.
pub(crate) fn parse_signing_date(text: &str) -> Option<Timestamp> {
    parse(SIGNING, text)
}

/// Reads `YYYY-MM-DDTHH:MMZ`, the form of `start_time` and `end_time`.
pub(crate) fn parse_minute(text: &str) -> Option<Timestamp> {
    parse(MINUTE, text)
}

/// Writes `YYYYMMDDTHHMMSSZ`.
pub(crate) fn signing_date(at: Timestamp) -> String {
    at.strftime(SIGNING).to_string()
}

/// Reads `YYYY-MM-DDTHH:MM:SSZ`, the form of the v3 export's `start_time` and `end_time`.
pub(crate) fn parse_second(text: &str) -> Option<Timestamp> {
    parse(SECOND, text)
}

/// Writes `YYYY-MM-DDTHH:MM:SS.fffZ`, the form of the export centre.
pub(crate) fn millis(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Writes `YYYY-MM-DDTHH:MM:SS.ffffffZ`, the form of the identity and metadata services.
pub(crate) fn micros(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Writes `YYYY-MM-DDTHH:MM:SSZ`, the form of a record's times; a fraction of a second is not shown.
pub(crate) fn second(at: Timestamp) -> String {
    at.strftime(SECOND).to_string()
}

fn parse(format: &str, text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime(format, text).ok()?;
    let at = Offset::UTC.to_timestamp(civil).ok()?;
    // The parser is lenient about padding; the API is not.
    (at.strftime(format).to_string() == text).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_read_only_in_its_documented_form() {
        let expected: Timestamp = "2016-08-20T21:11:00Z".parse().unwrap();
        assert_eq!(parse_minute("2016-08-20T21:11Z"), Some(expected));
        for wrong in [
            "2016-08-20T21:11:00Z",
            "2016-08-20 21:11Z",
            "2016-8-20T21:11Z",
            "2016-08-20T21:11",
            "2016-08-20T24:11Z",
            "",
        ] {
            assert_eq!(parse_minute(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_signing_date_comes_back_as_written() {
        let at = parse_signing_date("20261123T120000Z").unwrap();
        assert_eq!(signing_date(at), "20261123T120000Z");
        assert_eq!(second(at), "2026-11-23T12:00:00Z");
        assert_eq!(millis(at), "2026-11-23T12:00:00.000Z");
        assert_eq!(micros(at), "2026-11-23T12:00:00.000000Z");
    }
}
