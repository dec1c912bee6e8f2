//! placeholder
use std::num::NonZeroU16;
/// Length
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowLength {
    /// day
    Day,
    /// minutes
    Minutes(NonZeroU16),
}
