//! Rows as digests, by the first byte of their identity, on disk where they are many.
//!
//! All parts share one file, in pieces, and each piece's place is remembered: so however many parts there are, it is
//! one file, without a name, and nothing is left of it whatever happens.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::super::error::InspectError;
use crate::adapters::disk::Room;
use crate::domain::digest::Sha256;

/// One for each first byte.
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

/// The rows of a file.
pub(super) struct Buckets {
    file: File,
    /// Bytes written.
    end: u64,
    room: Room,
    buckets: Vec<Bucket>,
}

#[derive(Default)]
struct Bucket {
    /// Where its pieces begin.
    pieces: Vec<u64>,
    /// Less than a piece.
    pending: Vec<u8>,
}

impl Buckets {
    pub(super) fn new(scratch: &Path) -> Result<Self, InspectError> {
        let file = tempfile::tempfile_in(scratch).map_err(InspectError::Io)?;
        let room = Room::to_unpack(scratch);
        Ok(Self { file, end: 0, room, buckets: (0..BUCKETS).map(|_| Bucket::default()).collect() })
    }

    pub(super) fn push(&mut self, record: Record) -> Result<(), InspectError> {
        let bucket = &mut self.buckets[usize::from(record.identity[0])];
        bucket.pending.extend_from_slice(&record.identity);
        bucket.pending.extend_from_slice(&record.content);
        if bucket.pending.len() >= PIECE {
            self.room.take(PIECE as u64).map_err(InspectError::of_scratch)?;
            self.file.write_all(&bucket.pending).map_err(InspectError::Io)?;
            bucket.pieces.push(self.end);
            self.end += PIECE as u64;
            bucket.pending.clear();
        }
        Ok(())
    }

    /// Hands out the rows of one bucket. After the first call nothing may be pushed any more.
    pub(super) fn read(&mut self, bucket: usize, mut take: impl FnMut(Record)) -> Result<(), InspectError> {
        let Bucket { pieces, pending } = std::mem::take(&mut self.buckets[bucket]);
        let mut hand_out = |bytes: &[u8]| {
            for record in bytes.chunks_exact(RECORD) {
                let (mut identity, mut content) = (Half::default(), Half::default());
                identity.copy_from_slice(&record[..16]);
                content.copy_from_slice(&record[16..]);
                take(Record { identity, content });
            }
        };
        hand_out(&pending);
        let mut piece = vec![0; PIECE];
        for place in pieces {
            self.file.seek(SeekFrom::Start(place)).map_err(InspectError::Io)?;
            self.file.read_exact(&mut piece).map_err(InspectError::Io)?;
            hand_out(&piece);
        }
        Ok(())
    }
}
