//! Rows as digests, spread over parts by a secret hash of their identity, on disk where they are many.
//!
//! The hash is secret, new for each comparison, so that no file can put all of its rows into one part.
//!
//! All parts share one file, in pieces, and each piece names the one before it of its part: so however many parts and rows
//! there are, it is one file, without a name, and memory holds one piece of each part. Nothing is left of it whatever happens.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::super::error::InspectError;
use crate::adapters::disk::Room;
use crate::domain::digest::Sha256;

/// How many parts.
pub(super) const BUCKETS: usize = 256;

/// Bytes of a bucket that are written at once.
const PIECE: usize = 128 * RECORD;
const RECORD: usize = 32;

/// Half of a SHA-256: rows are counted by it, no integrity rests on it.
pub(super) type Half = [u8; 16];

/// The first half of a digest.
pub(super) fn half(digest: Sha256) -> Half {
    let mut half = [0; 16];
    half.copy_from_slice(&digest.as_bytes()[..16]);
    half
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    /// Equal for rows that are the same row. It comes first in the order.
    pub(super) identity: Half,
    /// Equal for rows with the same content.
    pub(super) content: Half,
}

/// The secret by which rows are spread, the same for both files of a comparison.
#[derive(Debug, Clone, Default)]
pub(super) struct Spread(RandomState);

impl Spread {
    /// The bucket of an identity.
    fn bucket(&self, identity: Half) -> usize {
        (self.0.hash_one(identity) % BUCKETS as u64) as usize
    }

    /// Which of so many shares of a bucket an identity belongs to.
    pub(super) fn share(&self, identity: Half, shares: u64) -> u64 {
        self.0.hash_one(identity) / BUCKETS as u64 % shares
    }

    /// Which of so many shares of an identity's rows a row belongs to.
    pub(super) fn part(&self, record: &Record, parts: u64) -> u64 {
        self.0.hash_one((record.identity, record.content)) % parts
    }
}

/// The rows of a file.
pub(super) struct Buckets {
    file: File,
    spread: Spread,
    /// Bytes written.
    end: u64,
    room: Room,
    buckets: Vec<Bucket>,
}

#[derive(Default)]
struct Bucket {
    /// Where its last piece on disk begins.
    last: Option<u64>,
    /// Less than a piece.
    pending: Vec<u8>,
}

/// In place of the beginning of a piece, where there is none before.
const NONE: u64 = u64::MAX;

impl Buckets {
    pub(super) fn new(spread: &Spread, scratch: &Path) -> Result<Self, InspectError> {
        let file = tempfile::tempfile_in(scratch).map_err(InspectError::Io)?;
        let room = Room::to_unpack(scratch);
        let buckets = (0..BUCKETS).map(|_| Bucket::default()).collect();
        Ok(Self { file, spread: spread.clone(), end: 0, room, buckets })
    }

    pub(super) fn push(&mut self, record: Record) -> Result<(), InspectError> {
        let bucket = &mut self.buckets[self.spread.bucket(record.identity)];
        bucket.pending.extend_from_slice(&record.identity);
        bucket.pending.extend_from_slice(&record.content);
        if bucket.pending.len() >= PIECE {
            let before = bucket.last.unwrap_or(NONE).to_le_bytes();
            let bytes = (before.len() + bucket.pending.len()) as u64;
            self.room.take(bytes).map_err(InspectError::of_scratch)?;
            self.file.write_all(&before).map_err(InspectError::Io)?;
            self.file.write_all(&bucket.pending).map_err(InspectError::Io)?;
            bucket.last = Some(self.end);
            self.end += bytes;
            bucket.pending.clear();
        }
        Ok(())
    }

    /// Hands out the rows of one bucket, in any order, until `take` returns `false`. After the first call nothing may be
    /// pushed any more.
    pub(super) fn read(
        &mut self,
        bucket: usize,
        mut take: impl FnMut(Record) -> bool,
    ) -> Result<(), InspectError> {
        let mut hand_out = |bytes: &[u8]| {
            bytes.chunks_exact(RECORD).all(|record| {
                let (mut identity, mut content) = (Half::default(), Half::default());
                identity.copy_from_slice(&record[..16]);
                content.copy_from_slice(&record[16..]);
                take(Record { identity, content })
            })
        };
        let Bucket { last, pending } = &self.buckets[bucket];
        let (mut next, mut going) = (*last, hand_out(pending));
        let (mut before, mut piece) = ([0; 8], vec![0; PIECE]);
        while let Some(place) = next.filter(|_| going) {
            self.file.seek(SeekFrom::Start(place)).map_err(InspectError::Io)?;
            self.file.read_exact(&mut before).map_err(InspectError::Io)?;
            self.file.read_exact(&mut piece).map_err(InspectError::Io)?;
            going = hand_out(&piece);
            next = Some(u64::from_le_bytes(before)).filter(|place| *place != NONE);
        }
        Ok(())
    }
}
