//! Whether what stands beyond a gap belongs to a log: one rule for following a log, `rebuild` and `verify`.
//!
//! Who may put can put any name into the folder of a log. So a name beyond the log's end says nothing by itself. An entry
//! there shows that entries before it are missing, which is damage, if
//! - it is an entry of this stream and this place, and
//! - a signature that counts is on it; or, in a log that is not signed, the entry in the place before it is the very one that
//!   it names.
//!
//! Both hold for what a deletion in the middle of a log leaves behind. Everything else beyond a gap is foreign: it is named, and
//! passed over. One entry alone beyond a gap of an unsigned log shows nothing: any text can name a hash.
//!
//! Two limits keep made-up names from costing much: an entry more than [`MOST_MISSING`] places beyond the gap's begin shows
//! nothing, and no more than [`MOST_LOOKED_AT`] names beyond a gap are looked at. They are the nearest ones: who can take those
//! away can cut off the end of the log as well.

use super::digest::Sha256;
use super::object_key::Seq;

/// So many entries may be missing in front of another one.
pub const MOST_MISSING: u64 = 1_000_000;

/// So many names beyond a gap are looked at.
pub const MOST_LOOKED_AT: usize = 64;

/// What stands in one place, as far as it shows whether it belongs to the log.
#[derive(Debug, Clone, Copy)]
pub struct Stands {
    /// The place that its key names.
    pub place: Seq,
    /// Of its bytes.
    pub hash: Sha256,
    /// The hash that it names as that of the entry before it; `None` where the bytes are no entry of this stream and place.
    pub previous: Option<Sha256>,
    /// Whether a signature that counts is on it.
    pub is_signed: bool,
}

/// What stands beyond one gap, looked at in the order of places.
#[derive(Debug)]
pub struct BeyondGap {
    /// The first place that nothing stands at.
    begin: Seq,
    log_is_signed: bool,
    looked_at: usize,
    before: Option<Stands>,
}

impl BeyondGap {
    /// Beyond the gap that begins at `begin`, in a log that is signed up to there or not.
    pub fn at(begin: Seq, log_is_signed: bool) -> Self {
        Self { begin, log_is_signed, looked_at: 0, before: None }
    }

    /// Whether what stands at `place` is looked at. Where it is not, nothing after it is.
    pub fn looks_at(&self, place: Seq) -> bool {
        self.looked_at < MOST_LOOKED_AT && place.get() <= self.begin.get().saturating_add(MOST_MISSING)
    }

    /// Whether `next` shows that entries are missing in the gap.
    pub fn shows_missing(&mut self, next: Stands) -> bool {
        if !self.looks_at(next.place) {
            return false;
        }
        self.looked_at += 1;
        let before = self.before.replace(next).filter(|before| before.place.next() == next.place);
        let Some(previous) = next.previous else { return false };
        let is_linked = before.is_some_and(|before| before.previous.is_some() && before.hash == previous);
        next.is_signed || (!self.log_is_signed && is_linked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seq(place: u64) -> Seq {
        Seq::new(place).unwrap()
    }

    fn hash(place: u64) -> Sha256 {
        Sha256::of(place.to_string().as_bytes())
    }

    /// An entry of its place, which names the one before it.
    fn entry(place: u64, is_signed: bool) -> Stands {
        Stands { place: seq(place), hash: hash(place), previous: Some(hash(place - 1)), is_signed }
    }

    fn garbage(place: u64) -> Stands {
        Stands { previous: None, ..entry(place, true) }
    }

    fn shows(log_is_signed: bool, stands: &[Stands]) -> Option<u64> {
        let mut gap = BeyondGap::at(seq(7), log_is_signed);
        stands.iter().find(|next| gap.shows_missing(**next)).map(|shows| shows.place.get())
    }

    #[test]
    fn a_signature_shows_that_entries_are_missing_and_in_an_unsigned_log_a_link_does() {
        assert_eq!(shows(true, &[garbage(8), entry(9, false), entry(10, true)]), Some(10));
        assert_eq!(shows(true, &[entry(9, false), entry(10, false), entry(11, false)]), None);
        assert_eq!(shows(false, &[garbage(8), entry(9, false), entry(10, false)]), Some(10));
        // A log that was not signed at first.
        assert_eq!(shows(false, &[entry(9, true)]), Some(9));
        for alone in [vec![entry(9, false)], vec![entry(9, false), entry(11, false)]] {
            assert_eq!(shows(false, &alone), None);
        }
        // What is no entry of its place names nothing and is named by nothing.
        assert_eq!(shows(false, &[garbage(9), entry(10, false), garbage(11)]), None);
    }

    #[test]
    fn what_stands_far_beyond_or_behind_many_names_shows_nothing() {
        assert_eq!(shows(true, &[entry(7 + MOST_MISSING, true)]), Some(7 + MOST_MISSING));
        assert_eq!(shows(true, &[entry(8 + MOST_MISSING, true)]), None);
        let many = |names: u64| {
            let names = (0..names).map(|name| garbage(10 + name)).collect::<Vec<_>>();
            [names, vec![entry(900, true)]].concat()
        };
        assert_eq!(shows(true, &many(MOST_LOOKED_AT as u64 - 1)), Some(900));
        assert_eq!(shows(true, &many(MOST_LOOKED_AT as u64)), None);
    }
}
