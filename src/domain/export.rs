//! What is asked of the provider, and what a file that came back is.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::window::Window;

/// The bounds that an export is asked for: the window, widened by the margin and rounded outwards to minutes.
///
/// Whether the provider reads "after the start" and "before the end" as inclusive is not documented, so a margin
/// of a minute makes the answer hold every record of the window under either reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    /// Not later than the window's start.
    pub start: Timestamp,
    /// Not earlier than the window's end.
    pub end: Timestamp,
}

impl Bounds {
    /// `window`, wider by `margin` on both sides, rounded outwards to whole minutes.
    pub fn around(window: Window, margin: SignedDuration) -> Self {
        let start = window.start().saturating_sub(margin).unwrap_or(Timestamp::MIN);
        let end = window.end().saturating_add(margin).unwrap_or(Timestamp::MAX);
        Self { start: floor_minute(start), end: ceil_minute(end) }
    }
}

fn floor_minute(instant: Timestamp) -> Timestamp {
    let second = instant.as_second();
    let floored = second - second.rem_euclid(60);
    let subsecond_before = i64::from(instant.subsec_nanosecond() < 0 && second.rem_euclid(60) == 0) * 60;
    Timestamp::from_second(floored - subsecond_before).unwrap_or(Timestamp::MIN)
}

fn ceil_minute(instant: Timestamp) -> Timestamp {
    let floored = floor_minute(instant);
    if floored == instant {
        instant
    } else {
        Timestamp::from_second(floored.as_second() + 60).unwrap_or(Timestamp::MAX)
    }
}

/// When the first and the last of an export's records start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordTimes {
    /// The earliest start time.
    pub first: Timestamp,
    /// The latest start time.
    pub last: Timestamp,
    /// Whether the file writes the offset from UTC beside each time, or in the header. Times without one are taken as UTC.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub zoned: bool,
}

/// Which records are asked for; an empty text asks for all. Fixed when a stream is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filters {
    /// The user's name, as the provider matches it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user_name: String,
    /// The desktop's computer name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub computer_name: String,
    /// The kind of terminal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub terminal_type: String,
    /// The language of the file's header.
    #[serde(default)]
    pub language: Language,
}

/// The language that the provider writes the file's header in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// English, the provider's default.
    #[default]
    #[serde(rename = "en_US")]
    EnUs,
    /// Chinese.
    #[serde(rename = "zh_CN")]
    ZhCn,
}

impl Language {
    /// As the provider's API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EnUs => "en_US",
            Self::ZhCn => "zh_CN",
        }
    }
}

/// Which of the provider's APIs answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportApi {
    /// `GET /v2/{project_id}/connections/desktops/export`: the file in the body.
    V2,
    /// `GET /v3/{project_id}/desktops/connections/export`: an asynchronous task.
    V3,
}

impl ExportApi {
    /// The word for it in entries and `--json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V3 => "v3",
        }
    }
}

/// Which of the provider's APIs is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiChoice {
    /// v2 until it is withdrawn, then v3 for good.
    Auto,
    /// The v2 export, come what may.
    V2,
    /// The v3 export.
    V3,
}

impl ApiChoice {
    /// The word for it in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::V2 => "v2",
            Self::V3 => "v3",
        }
    }

    /// Which API that is, where the v2 export was withdrawn or not.
    pub fn in_use(self, v2_withdrawn: bool) -> ExportApi {
        match self {
            Self::Auto if v2_withdrawn => ExportApi::V3,
            Self::Auto | Self::V2 => ExportApi::V2,
            Self::V3 => ExportApi::V3,
        }
    }
}

/// What is done about a window that the provider need not have any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PastHorizon {
    /// A source that may still answer is asked once.
    Try,
    /// It is lost, without a request.
    Lose,
}

impl PastHorizon {
    /// The word for it in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Try => "try",
            Self::Lose => "lose",
        }
    }
}

/// The format of a file, found by looking into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Format {
    /// A spreadsheet (Office Open XML).
    #[serde(rename = "xlsx")]
    Xlsx,
    /// Delimited text, in UTF-8 (with or without a byte order mark), GB18030 or UTF-16; or no byte at all.
    #[serde(rename = "csv")]
    Csv,
    /// A spreadsheet inside gzip.
    #[serde(rename = "xlsx.gz")]
    XlsxGz,
    /// Delimited text inside gzip.
    #[serde(rename = "csv.gz")]
    CsvGz,
    /// Bytes that came whole and that the version which archived them could not read.
    #[serde(rename = "bin")]
    Bin,
}

impl Format {
    /// Every format there is.
    pub const ALL: [Self; 5] = [Self::Xlsx, Self::Csv, Self::XlsxGz, Self::CsvGz, Self::Bin];

    /// The extension of the object's key, without the leading dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Xlsx => "xlsx",
            Self::Csv => "csv",
            Self::XlsxGz => "xlsx.gz",
            Self::CsvGz => "csv.gz",
            Self::Bin => "bin",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.extension())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_wider_than_the_window_and_whole_minutes() {
        let window: Window = "20261122T000000Z_20261123T000000Z".parse().unwrap();
        let bounds = Bounds::around(window, SignedDuration::from_secs(61));
        assert_eq!(bounds.start.to_string(), "2026-11-21T23:58:00Z");
        assert_eq!(bounds.end.to_string(), "2026-11-23T00:02:00Z");
        let exact = Bounds::around(window, SignedDuration::ZERO);
        assert_eq!((exact.start, exact.end), (window.start(), window.end()));
    }

    #[test]
    fn rounding_goes_outwards_before_1970_too() {
        let before: Timestamp = "1969-12-31T23:59:59.5Z".parse().unwrap();
        assert_eq!(floor_minute(before).to_string(), "1969-12-31T23:59:00Z");
        assert_eq!(ceil_minute(before).to_string(), "1970-01-01T00:00:00Z");
    }
}
