//! What a source must not forget between two runs: the exports that it has ordered from its provider, and what it has found out
//! about the provider.
//!
//! Placing an order is not idempotent, so the intent is kept before the request, and the order's id before anything else is done
//! with it. An order without an id means that the provider may have made something whose id never arrived.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use jiff::Timestamp;

use super::ledger::LedgerError;
use crate::domain::digest::Sha256;
use crate::domain::export::Bounds;
use crate::domain::name::{SourceName, StreamName};
use crate::domain::snapshot::Note;
use crate::domain::window::Window;

/// The longest id that is taken, in bytes. The ids of Workspace have 32.
const LONGEST_ID: usize = 128;

/// The provider's id of an order: 1 to 128 ASCII letters, digits, `-` and `_`. It becomes a part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(String);

impl OrderId {
    /// As the provider spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no order's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("such an id has 1 to {LONGEST_ID} letters, digits, `-` and `_`")]
pub struct BadOrderId;

impl FromStr for OrderId {
    type Err = BadOrderId;
    fn from_str(text: &str) -> Result<Self, BadOrderId> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let good = (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(plain);
        good.then(|| Self(text.to_owned())).ok_or(BadOrderId)
    }
}

/// The number of an order in this machine's notebook. A later order has a greater number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderNumber(pub i64);

/// What an order is for. An export goes on only with an order for the very same subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The source that has placed the order.
    pub source: SourceName,
    /// For which stream.
    pub stream: StreamName,
    /// For which of its windows.
    pub window: Window,
    /// Between which bounds.
    pub bounds: Bounds,
    /// The digest of the stream's definition, which decides which records the export holds.
    pub definition: Sha256,
}

/// How far an order has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderState {
    /// The request is on its way, or its answer was lost: the order may exist, and its id is not known.
    Asked,
    /// The order stands at the provider, and its export is wanted.
    Created(OrderId),
    /// The export is wanted no more: the order is to be deleted at the provider.
    Finished(OrderId),
}

/// An order, as this machine knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Its number in this notebook.
    pub number: OrderNumber,
    /// What it is for.
    pub subject: Subject,
    /// When it was asked for, by this machine's clock.
    pub asked_at: Timestamp,
    /// How far it has come.
    pub state: OrderState,
}

/// An order that stands at the provider, and whose export is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its number in this notebook.
    pub number: OrderNumber,
    /// Its id at the provider.
    pub id: OrderId,
    /// When it was asked for, by this machine's clock.
    pub asked_at: Timestamp,
}

/// The notebook of all sources. Each call is one transaction.
#[async_trait]
pub trait Notebook: Send + Sync {
    /// The newest order for this very subject that stands and is wanted.
    async fn standing(&self, subject: &Subject) -> Result<Option<Standing>, LedgerError>;

    /// An order is about to be placed.
    async fn ask(&self, subject: &Subject, now: Timestamp) -> Result<OrderNumber, LedgerError>;

    /// The provider has accepted the order under this id.
    async fn created(&self, order: OrderNumber, id: &OrderId) -> Result<(), LedgerError>;

    /// The export is wanted no more.
    async fn finished(&self, order: OrderNumber) -> Result<(), LedgerError>;

    /// As [`Self::finished`], for every order that stands for this subject.
    async fn discard(&self, subject: &Subject) -> Result<(), LedgerError>;

    /// The order is not at the provider (any more): it is forgotten.
    async fn gone(&self, order: OrderNumber) -> Result<(), LedgerError>;

    /// Forgets an order whose id is not known. Returns whether it was one: its id may have come meanwhile.
    async fn forget_unknown(&self, order: OrderNumber) -> Result<bool, LedgerError>;

    /// Every order that is remembered, oldest first.
    async fn orders(&self) -> Result<Vec<Order>, LedgerError>;

    /// Writes down what the source has found out under `topic`, where nothing is noted yet. Returns whether that is news.
    async fn note(&self, source: &SourceName, topic: &str, note: &Note) -> Result<bool, LedgerError>;

    /// Forgets what is noted under `topic`. Returns whether anything was.
    async fn erase(&self, source: &SourceName, topic: &str) -> Result<bool, LedgerError>;

    /// What is noted under `topic`.
    async fn noted(&self, source: &SourceName, topic: &str) -> Result<Option<Note>, LedgerError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_lead_elsewhere_is_none() {
        assert!("0123abcDEF-_".parse::<OrderId>().is_ok());
        for text in ["", "a/b", "..", "a?b", "a b", "a%2f", &"a".repeat(129)] {
            assert_eq!(text.parse::<OrderId>(), Err(BadOrderId), "{text}");
        }
    }
}
