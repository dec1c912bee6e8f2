//! The least rate of a transfer: one that drips is ended, so that its place is free for another.
//!
//! A byte now and then keeps every other time-out from passing. So what comes is counted over minutes. Only the time that is
//! spent waiting for the other side counts: a slow disk here is not its fault. What has come to its end is never refused.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::domain::duration::spelled_std;

/// How much a transfer must bring at the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeastRate {
    /// In bytes a second, on the average of the span.
    pub bytes_per_second: u64,
    /// Over so long.
    pub span: Duration,
}

impl LeastRate {
    /// Short breaks of a network are no drip.
    pub const SPAN: Duration = Duration::from_secs(5 * 60);

    /// So many bytes a second, over [`Self::SPAN`].
    pub fn per_second(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, span: Self::SPAN }
    }

    /// The bytes that one span must bring.
    pub fn bytes(self) -> u64 {
        let bytes = u128::from(self.bytes_per_second) * self.span.as_millis() / 1000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

impl Default for LeastRate {
    fn default() -> Self {
        Self::per_second(4 << 10)
    }
}

/// What helps where the line itself is slow.
pub const LOWER_THE_RATE: &str = "where the line brings no more, lower least_rate";

/// A transfer brought less than it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooSlow {
    /// What one span brought.
    pub bytes: u64,
    /// What it must bring.
    pub least: LeastRate,
}

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, least: LeastRate { bytes_per_second, span } } = self;
        write!(
            f,
            "it is too slow: {bytes} bytes within {}, and {bytes_per_second} bytes a second are wanted",
            spelled_std(*span)
        )
    }
}

impl std::error::Error for TooSlow {}

/// Counts what one transfer brings.
#[derive(Debug)]
pub struct Meter {
    least: LeastRate,
    /// In this span.
    waited: Duration,
    /// In this span.
    bytes: u64,
    /// Since the transfer began.
    waited_in_all: Duration,
}

impl Meter {
    /// Of a transfer that begins now.
    pub fn new(least: LeastRate) -> Self {
        Self { least, waited: Duration::ZERO, bytes: 0, waited_in_all: Duration::ZERO }
    }

    /// How long the other side was waited for since the transfer began.
    pub fn waited_in_all(&self) -> Duration {
        self.waited_in_all
    }

    /// Waits for the next piece, whose size `bytes` tells.
    ///
    /// # Errors
    /// When a span has brought too little, and the next piece is still not there.
    pub async fn next<P>(
        &mut self,
        piece: impl Future<Output = P>,
        bytes: impl FnOnce(&P) -> u64,
    ) -> Result<P, TooSlow> {
        let mut piece = pin!(piece);
        loop {
            let began = Instant::now();
            let came = timeout(self.least.span.saturating_sub(self.waited), piece.as_mut()).await;
            let waited = began.elapsed();
            self.waited += waited;
            self.waited_in_all += waited;
            if let Ok(piece) = came {
                self.bytes += bytes(&piece);
                return Ok(piece);
            }
            if self.bytes < self.least.bytes() {
                return Err(TooSlow { bytes: self.bytes, least: self.least });
            }
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    /// A span that is over at once, with a piece of so many bytes in it, and nothing after it.
    async fn after_a_piece_of(bytes: u64) -> Result<(), TooSlow> {
        let mut meter = Meter::new(LeastRate { bytes_per_second: 10_000, span: Duration::from_millis(10) });
        meter.next(ready(()), |()| bytes).await?;
        meter.next(pending(), |()| 0).await
    }

    #[tokio::test]
    async fn a_span_that_brings_too_little_ends_a_transfer_and_says_what_came_and_what_was_wanted() {
        let slow = after_a_piece_of(99).await.unwrap_err();
        assert_eq!(slow.bytes, 99);
        let text = slow.to_string();
        assert!(text.contains("99 bytes within 10ms") && text.contains("10000 bytes a second"), "{text}");
    }

    #[tokio::test]
    async fn each_span_is_judged_by_what_it_brought_itself() {
        // The first span brought enough; the second nothing.
        assert_eq!(after_a_piece_of(100).await.unwrap_err().bytes, 0);
    }

    #[tokio::test]
    async fn a_piece_that_is_there_is_taken_however_slow_it_was() {
        let mut meter = Meter::new(LeastRate { bytes_per_second: 10_000, span: Duration::ZERO });
        for _ in 0..3 {
            assert_eq!(meter.next(ready(7), |_| 1).await, Ok(7));
        }
    }
}
