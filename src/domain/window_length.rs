//! How long a stream's windows are: a calendar day, or a number of minutes that divides a day.
//!
//! Only lengths that divide a day are taken, so that every day of a time zone's calendar begins with a window.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use jiff::SignedDuration;

use super::duration::spelled;
use super::text::ForeignText;

const MINUTES_OF_A_DAY: u16 = 24 * 60;

/// The length of a window. Fixed when a stream is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowLength {
    /// A day of the time zone's calendar: 23, 24 or 25 hours.
    Day,
    /// So many minutes, less than a day; made by [`WindowLength::minutes`], they divide 1440.
    Minutes(NonZeroU16),
}

/// A text or number is not the length of a window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no window length: use \"1d\", or a number of minutes that divides a day, such as \"1h\" or \"15m\""
)]
pub struct BadWindowLength(ForeignText);

impl WindowLength {
    /// A window of `minutes`.
    ///
    /// # Errors
    /// When they do not divide a day, or are a whole day: 1440 minutes and a calendar day are not the same where
    /// clocks are put forward and back, so a day is written `1d`.
    pub fn minutes(minutes: u16) -> Result<Self, BadWindowLength> {
        NonZeroU16::new(minutes)
            .filter(|minutes| minutes.get() < MINUTES_OF_A_DAY && MINUTES_OF_A_DAY % *minutes == 0)
            .map(Self::Minutes)
            .ok_or_else(|| BadWindowLength(ForeignText::new(format!("{minutes}m"))))
    }
}

impl WindowLength {
    /// As the configuration writes it, in the largest unit that gives a whole number: `1d`, `6h`, `15m`.
    pub fn spelled(self) -> String {
        match self {
            Self::Day => "1d".to_owned(),
            Self::Minutes(minutes) => spelled(SignedDuration::from_mins(minutes.get().into())),
        }
    }
}

/// `1d`, or the minutes as `60m`: one spelling for each length, as it stands in a stream's definition.
impl fmt::Display for WindowLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day => f.write_str("1d"),
            Self::Minutes(minutes) => write!(f, "{minutes}m"),
        }
    }
}

impl FromStr for WindowLength {
    type Err = BadWindowLength;

    fn from_str(text: &str) -> Result<Self, BadWindowLength> {
        let bad = || BadWindowLength(ForeignText::new(text));
        if text == "1d" {
            return Ok(Self::Day);
        }
        let (digits, scale) = match (text.strip_suffix('h'), text.strip_suffix('m')) {
            (Some(hours), _) => (hours, 60),
            (None, Some(minutes)) => (minutes, 1),
            (None, None) => return Err(bad()),
        };
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let number: u16 = digits.parse().map_err(|_| bad())?;
        let minutes = number.checked_mul(scale).ok_or_else(bad)?;
        Self::minutes(minutes).map_err(|_| bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_one_spelling_and_reads_back_from_it() {
        for (text, spelling) in [("1d", "1d"), ("1h", "60m"), ("6h", "360m"), ("15m", "15m"), ("1m", "1m")] {
            let length: WindowLength = text.parse().unwrap();
            assert_eq!(length.to_string(), spelling);
            assert_eq!(spelling.parse::<WindowLength>().unwrap(), length);
            assert_eq!(length.spelled(), text);
            assert_eq!(length.spelled().parse::<WindowLength>().unwrap(), length);
        }
    }

    #[test]
    fn a_length_that_does_not_divide_a_day_is_refused() {
        for bad in [
            "", "1", "m", "d", "2d", "7m", "0m", "5h", "24h", "1440m", "+15m", "1.5h", "99999h", "15 m", "1D",
        ] {
            let refused = bad.parse::<WindowLength>().unwrap_err().to_string();
            assert!(refused.starts_with(&format!("{bad:?} is no window length")), "{refused}");
        }
    }

    #[test]
    fn exactly_the_divisors_below_a_day_are_taken() {
        let taken = (0..=u16::MAX).filter(|&m| WindowLength::minutes(m).is_ok()).count();
        assert_eq!(taken, 35);
    }
}
