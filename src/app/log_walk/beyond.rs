//! What stands beyond a gap of a log: whether it shows that entries are missing, read again before it is passed over.

use futures_util::future::try_join_all;

use super::Walk;
use super::belief::LogSoFar;
use super::proof::Placed;
use crate::domain::beyond_gap::BeyondGap;
use crate::domain::failure::Failure;
use crate::domain::name::StreamName;
use crate::domain::object_key::Seq;

impl Walk<'_> {
    /// The first entry beyond the place that is expected which shows that entries are missing there; `None` where nothing
    /// does. Then the log ends before that place, and what is beyond it is passed over.
    pub(super) async fn shown_missing(&mut self) -> Result<Option<Seq>, Failure> {
        if self.ahead.is_empty() {
            return Ok(None);
        }
        self.date_head().await?;
        let known = match &self.waiting {
            Some(newest) => self.known.with(&newest.entry),
            None => self.known.clone(),
        };
        let (mut gap, mut index, mut doubtful) = (self.gap(&known), 0, Vec::new());
        while index < self.ahead.len() || self.list_on().await? {
            let Some((seq, placed)) = self.ahead.get(index) else { break };
            if !gap.looks_at(*seq) {
                break;
            }
            index += 1;
            let Some(placed) = placed else {
                doubtful.push(index - 1);
                continue;
            };
            if gap.shows_missing(self.prover.stands(placed, &known)) {
                return Ok(Some(*seq));
            }
            if !self.prover.reader.is_passed_over(*seq, placed.reading.hash()) {
                doubtful.push(index - 1);
            }
        }
        if !doubtful.is_empty() {
            self.read_again(&doubtful).await?;
            let mut gap = self.gap(&known);
            let mut stands = self.ahead.iter().take(index).filter_map(|(_, placed)| placed.as_ref());
            let shows = |placed: &&Placed| gap.shows_missing(self.prover.stands(placed, &known));
            if let Some(shows) = stands.find(shows) {
                return Ok(Some(shows.seq));
            }
        }
        self.say_passed_over(index);
        Ok(None)
    }

    fn gap(&self, known: &LogSoFar) -> BeyondGap {
        BeyondGap::at(self.expected, known.signed)
    }

    /// Reads again, with care, what one answer says of the places at `indices`.
    async fn read_again(&mut self, indices: &[usize]) -> Result<(), Failure> {
        let prover = self.prover;
        let again =
            indices.iter().filter_map(|index| self.ahead.get(*index)).map(|(seq, placed)| async move {
                match placed {
                    Some(placed) => prover.careful(placed).await,
                    None => prover.by_key(*seq).await,
                }
            });
        let again = try_join_all(again).await?;
        for (index, again) in indices.iter().zip(again) {
            if let Some((_, placed)) = self.ahead.get_mut(*index) {
                *placed = again;
            }
        }
        Ok(())
    }

    /// Says once what is passed over: the first so many that are listed beyond the gap, and the next one.
    fn say_passed_over(&self, looked_at: usize) {
        let reader = self.prover.reader;
        for (seq, placed) in self.ahead.iter().take(looked_at + 1) {
            let Some(placed) = placed else { continue };
            if reader.pass_over(*seq, placed.reading.hash()) {
                say_passed_over(reader.stream(), *seq);
            }
        }
    }
}

/// Says that what stands at `seq` is no part of the log of `stream`.
pub fn say_passed_over(stream: &StreamName, seq: Seq) {
    tracing::warn!(
        %stream, %seq,
        "entry passed over: it stands beyond the end of the log, and nothing shows that entries are missing before it"
    );
}
