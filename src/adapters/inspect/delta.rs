//! How the rows of one export differ from those of another: added, removed, changed.
//!
//! Rows are compared by their canonical form, the one that the content digest is taken of: so two exports with equal
//! digests have no differences, and order, columns that moved, charset, compression and file format make none.
//!
//! # Which rows are the same row
//!
//! 1. By transaction: where both files have a column for it, rows with equal transaction ids are the same row.
//! 2. By connection: where both files have columns for the start time, the user and the computer, rows are the same in
//!    which all three are equal. It also serves rows that have no transaction id although there is a column for it.
//! 3. By content: where neither can be said, a row is only the same as one with the same content. Then rows are added
//!    and removed, and none is ever changed.
//!
//! Columns are known by their names, in either language of the provider and as its API spells them, old and new
//! (`columns.rs` has them all). Case, white space and punctuation do not count, nor does what stands in parentheses.
//! Some of the names:
//!
//! | column | names |
//! |---|---|
//! | transaction | Transaction ID, 事务ID, 事务编号, 交易ID |
//! | start time | Connection Start Time, Connection Started, Started, 开始连接时间, 连接开始时间, 开始时间 |
//! | user | User Name, Connected User, Login User, User, 用户名, 连接用户, 登录用户 |
//! | computer | Computer Name, Desktop Name, Computer, 计算机名, 桌面名称 |
//!
//! Several rows may be the same row. Those with equal content cancel each other first; of what is left, as many are
//! changed as both sides have, and the rest is added or removed.
//!
//! # Memory
//!
//! Of each row 32 bytes are kept, in 256 parts by a secret hash of its identity; parts go to a file without a name, and are
//! compared one after the other, a bounded number of rows at a time (`counting.rs`). So any number of rows takes a few
//! megabytes, and nothing is left behind whatever happens. Each file is read twice: only at its end is known in which
//! charset it is written.

mod buckets;
mod counting;
mod identity;

use std::path::Path;

use csv::ByteRecord;

use super::charset::Contest;
use super::error::InspectError;
use super::read_rows;
use super::rows::{Charset, Head, Header, RowVisitor};
use crate::domain::digest::Sha256;
use buckets::{BUCKETS, Buckets, Record, Spread, half};
use identity::{Basis, Columns};

/// In how many rows a later export differs from an earlier one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delta {
    /// Rows that only the later one has.
    pub added: u64,
    /// Rows that only the earlier one has.
    pub removed: u64,
    /// Rows of the same identity with other content.
    pub changed: u64,
}

/// Compares the rows of two files. Blocking. Files for what does not fit into memory are made in the folder `scratch`,
/// without names. `stop` is asked at every chunk.
///
/// # Errors
/// When one of them is no whole export, could not be read, or `stop` said so.
pub fn delta(
    older: &Path,
    newer: &Path,
    scratch: &Path,
    stop: &dyn Fn() -> bool,
) -> Result<Delta, InspectError> {
    delta_within(counting::MOST_HELD, [older, newer], scratch, stop)
}

/// As [`delta`], with at most so many rows held at once.
pub(super) fn delta_within(
    most_held: usize,
    [older, newer]: [&Path; 2],
    scratch: &Path,
    stop: &dyn Fn() -> bool,
) -> Result<Delta, InspectError> {
    let shapes = [Shape::of(older, scratch, stop)?, Shape::of(newer, scratch, stop)?];
    let basis = Basis::common(&shapes[0].columns, &shapes[1].columns);
    let spread = Spread::default();
    let mut older = scatter(older, &shapes[0], basis, (&spread, scratch), stop)?;
    let mut newer = scatter(newer, &shapes[1], basis, (&spread, scratch), stop)?;
    let mut delta = Delta::default();
    for bucket in 0..BUCKETS {
        delta.add(counting::differences(bucket, [&mut older, &mut newer], &spread, most_held, stop)?);
    }
    Ok(delta)
}

impl Delta {
    fn add(&mut self, other: Self) {
        self.added += other.added;
        self.removed += other.removed;
        self.changed += other.changed;
    }

    /// Adds what is left of one identity.
    fn settle(&mut self, [older, newer]: [u64; 2]) {
        let changed = older.min(newer);
        self.changed += changed;
        self.removed += older - changed;
        self.added += newer - changed;
    }
}

/// What has to be known of a file before its rows can be told apart.
struct Shape {
    charset: Charset,
    columns: Columns,
}

impl Shape {
    fn of(path: &Path, scratch: &Path, stop: &dyn Fn() -> bool) -> Result<Self, InspectError> {
        let mut survey = Survey::default();
        read_rows(path, scratch, stop, &mut survey)?;
        let charset = survey.contest.winner().map_or(Charset::Utf8, |(charset, _)| charset);
        Ok(Self { charset, columns: Columns::find(&survey.names, charset) })
    }
}

/// Finds out which charset a file is written in, by the same rules as the content digest.
#[derive(Default)]
struct Survey {
    names: ByteRecord,
    contest: Contest,
}

impl RowVisitor for Survey {
    fn header(&mut self, head: &Head<'_>) -> Result<(), InspectError> {
        *self = Self { names: head.names.clone(), contest: Contest::between(head.charsets) };
        self.contest.add_row(head.names);
        Ok(())
    }

    fn row(&mut self, cells: &ByteRecord) -> Result<(), InspectError> {
        self.contest.add_row(cells);
        Ok(())
    }
}

fn scatter(
    path: &Path,
    shape: &Shape,
    basis: Basis,
    (spread, scratch): (&Spread, &Path),
    stop: &dyn Fn() -> bool,
) -> Result<Buckets, InspectError> {
    let records = Buckets::new(spread, scratch)?;
    let mut scatter = Scatter { shape, basis, spread, scratch, records, header: None, canonical: Vec::new() };
    read_rows(path, scratch, stop, &mut scatter)?;
    Ok(scatter.records)
}

/// Puts each row where those of its identity are.
struct Scatter<'s> {
    shape: &'s Shape,
    basis: Basis,
    spread: &'s Spread,
    scratch: &'s Path,
    records: Buckets,
    header: Option<Header>,
    /// The canonical form of one row, kept for its capacity.
    canonical: Vec<u8>,
}

impl RowVisitor for Scatter<'_> {
    fn header(&mut self, head: &Head<'_>) -> Result<(), InspectError> {
        if self.header.replace(Header::read(head.names, self.shape.charset)).is_some() {
            self.records = Buckets::new(self.spread, self.scratch)?;
        }
        Ok(())
    }

    fn row(&mut self, cells: &ByteRecord) -> Result<(), InspectError> {
        let charset = self.shape.charset;
        if let Some(header) = &mut self.header {
            header.canonical(cells, charset, &mut self.canonical);
        }
        let content = half(Sha256::of(&self.canonical));
        let named = self.shape.columns.identity(self.basis, cells, charset, &mut self.canonical);
        let identity = if named { half(Sha256::of(&self.canonical)) } else { content };
        self.records.push(Record { identity, content })
    }
}
