//! What time it is: asked of nobody else in the crate, so that tests and the demo can say what time it is.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::confirmed_time::Reading;

/// The clock that decides what is due. (Timeouts run on the machine's monotonic clock and do not ask here.)
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// Told what each answer of another host says of the time. Sources and stores share one.
pub trait AnswerWatch: Send + Sync {
    /// Both clocks of this machine now: for [`Self::answered`], when the request is sent.
    fn reading(&self) -> Reading;

    /// The head of an answer of `host` has come just now, to a request that was sent at `sent`. `date` is when the host wrote
    /// it; `None` where the answer does not say, or comes from a cache on the way.
    fn answered(&self, host: &str, date: Option<Timestamp>, sent: Reading);
}

/// Listens to no answer: for commands that decide nothing by the time.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoAnswerWatch;

impl AnswerWatch for NoAnswerWatch {
    fn reading(&self) -> Reading {
        Reading { wall: Timestamp::UNIX_EPOCH, monotonic: Duration::ZERO }
    }

    fn answered(&self, _host: &str, _date: Option<Timestamp>, _sent: Reading) {}
}

/// When an answer was written, by its `Date`. `None` where it says that it lay in a cache (`Age`): its `Date` is of then.
pub fn date_of(date: Option<&str>, age: Option<&str>) -> Option<Timestamp> {
    let is_fresh = age.is_none_or(|age| age.trim() == "0");
    let date = date.filter(|_| is_fresh)?;
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_from_a_cache_says_nothing() {
        let date = Some("Mon, 23 Nov 2026 02:00:00 GMT");
        assert_eq!(date_of(date, None), "2026-11-23T02:00:00Z".parse().ok());
        assert_eq!(date_of(date, Some("0")), date_of(date, None));
        for age in ["1", "3600", "", "soon"] {
            assert_eq!(date_of(date, Some(age)), None, "{age}");
        }
        assert_eq!(date_of(None, None), None);
        assert_eq!(date_of(Some("yesterday"), None), None);
    }
}
