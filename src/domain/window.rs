//! A window: the half-open stretch of time `[start, end)` that one export covers.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::text::ForeignText;

/// Half-open `[start, end)`, in whole minutes (the resolution of the provider's API), never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "WindowText", into = "WindowText")]
pub struct Window {
    start: Timestamp,
    end: Timestamp,
}

/// The bounds do not make a window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadWindow {
    /// `end` is not after `start`.
    #[error("a window must end after it starts: {start} to {end}")]
    Empty {
        /// Where it would start.
        start: Timestamp,
        /// Where it would end.
        end: Timestamp,
    },
    /// A bound has seconds.
    #[error("a window is cut at whole minutes, and {0} is none")]
    NotAMinute(Timestamp),
    /// Not of the form `20261122T000000Z_20261123T000000Z`.
    #[error("{0:?} is not a window: write it as 20261122T000000Z_20261123T000000Z")]
    BadId(ForeignText),
}

impl Window {
    /// The window `[start, end)`.
    ///
    /// # Errors
    /// When it would be empty, or a bound is not a whole minute.
    pub fn new(start: Timestamp, end: Timestamp) -> Result<Self, BadWindow> {
        if start >= end {
            return Err(BadWindow::Empty { start, end });
        }
        for bound in [start, end] {
            if bound.as_second().rem_euclid(60) != 0 || bound.subsec_nanosecond() != 0 {
                return Err(BadWindow::NotAMinute(bound));
            }
        }
        Ok(Self { start, end })
    }

    /// The first instant inside.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// The first instant after.
    pub fn end(&self) -> Timestamp {
        self.end
    }
}

const ID_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// As it stands in object keys, commands and logs: `20261122T000000Z_20261123T000000Z`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}", self.start.strftime(ID_FORMAT), self.end.strftime(ID_FORMAT))
    }
}

impl FromStr for Window {
    type Err = BadWindow;

    fn from_str(id: &str) -> Result<Self, BadWindow> {
        let bad = || BadWindow::BadId(ForeignText::new(id));
        let instant = |text: &str| {
            let civil = jiff::civil::DateTime::strptime(ID_FORMAT, text).map_err(|_| bad())?;
            jiff::tz::TimeZone::UTC.to_timestamp(civil).map_err(|_| bad())
        };
        let (start, end) = id.split_once('_').ok_or_else(bad)?;
        let window = Self::new(instant(start)?, instant(end)?)?;
        // One window has one spelling: the id is a part of object keys.
        if window.to_string() == id { Ok(window) } else { Err(bad()) }
    }
}

/// The shape in JSON: `{"start": "2026-11-22T00:00:00Z", "end": "2026-11-23T00:00:00Z"}`.
#[derive(Serialize, Deserialize)]
struct WindowText {
    start: Timestamp,
    end: Timestamp,
}

impl TryFrom<WindowText> for Window {
    type Error = BadWindow;
    fn try_from(text: WindowText) -> Result<Self, BadWindow> {
        Self::new(text.start, text.end)
    }
}

impl From<Window> for WindowText {
    fn from(window: Window) -> Self {
        Self { start: window.start, end: window.end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_reads_back_from_its_id() {
        let window: Window = "20261122T000000Z_20261123T000000Z".parse().unwrap();
        assert_eq!(window.start().to_string(), "2026-11-22T00:00:00Z");
        assert_eq!(window.to_string(), "20261122T000000Z_20261123T000000Z");
        let json = serde_json::to_string(&window).unwrap();
        assert_eq!(json, r#"{"start":"2026-11-22T00:00:00Z","end":"2026-11-23T00:00:00Z"}"#);
        assert_eq!(serde_json::from_str::<Window>(&json).unwrap(), window);
    }

    #[test]
    fn a_window_is_never_empty_and_never_cut_inside_a_minute() {
        for bad in [
            "20261122T000000Z_20261122T000000Z",
            "20261123T000000Z_20261122T000000Z",
            "20261122T000030Z_20261123T000000Z",
            "2026-11-22_2026-11-23",
            "20261122T000000Z",
            "",
        ] {
            assert!(bad.parse::<Window>().is_err(), "{bad:?}");
        }
    }
}
