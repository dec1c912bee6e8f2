//! Keys of a bucket, page by page, without the store's prefix.
//!
//! A list ends. A store that names the same page twice, sends pages without keys for ever, or never says that the list is over,
//! is told apart from a long list: by the pages that were asked for, and by a bound on their number. What a store lists beside
//! the asked-for prefix is passed over.

use std::collections::BTreeSet;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use super::S3Store;
use super::errors::Trouble;
use super::limit::AnswerLimit;
use crate::domain::failure::FailureKind;
use crate::domain::object_key::{KeyPrefix, ObjectKey};
use crate::domain::text::ForeignText;
use crate::ports::object_store::StoreError;

/// Pages of one list: twenty million keys where a page holds a thousand.
const MOST_PAGES: usize = 20_000;
/// Pages in a row that hold no key and say that more follows.
const MOST_EMPTY_PAGES: usize = 100;
/// The longest key that a bucket can have, in bytes.
const LONGEST_KEY: usize = 1024;
/// Foreign keys of one list that are told. More of them are more of the same.
const MOST_TOLD: usize = 10;

/// Which page comes next.
enum Next {
    First,
    After(String),
    End,
}

/// A list that is being read.
struct Listing {
    prefix: String,
    after: Option<String>,
    /// The pages that were asked for, by what they were asked for with.
    seen: BTreeSet<String>,
    /// The first key of the page before.
    first: Option<String>,
    pages: usize,
    empty: usize,
    told: usize,
    next: Next,
}

impl S3Store {
    /// Every key below `prefix` after `after`.
    pub(super) fn list_keys(
        &self,
        prefix: &KeyPrefix,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectKey, StoreError>> {
        let listing = Listing {
            prefix: format!("{}{}", self.prefix, prefix.as_str()),
            after: after.map(|key| self.full_key(key)),
            seen: BTreeSet::new(),
            first: None,
            pages: 0,
            empty: 0,
            told: 0,
            next: Next::First,
        };
        let pages = stream::unfold(listing, move |mut listing| async move {
            let token = match std::mem::replace(&mut listing.next, Next::End) {
                Next::First => None,
                Next::After(token) => Some(token),
                Next::End => return None,
            };
            let keys: Vec<_> = match self.page(&mut listing, token).await {
                Ok(keys) => keys.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            Some((keys, listing))
        });
        pages.flat_map(stream::iter).boxed()
    }

    async fn page(&self, listing: &mut Listing, token: Option<String>) -> Result<Vec<ObjectKey>, StoreError> {
        let doing = format!("list {}", listing.prefix);
        let request = self.client.list_objects_v2().bucket(&self.settings.bucket).prefix(&listing.prefix);
        let request = request.set_start_after(listing.after.clone()).set_continuation_token(token);
        let page = request.customize().interceptor(AnswerLimit::OfAll).send().await;
        let page = page.map_err(|error| self.place.error(&doing, Trouble::of(error)))?;
        let keys: Vec<_> =
            page.contents().iter().filter_map(|object| self.wanted_key(object.key()?, listing)).collect();
        let first = page.contents().first().and_then(|object| object.key()).map(str::to_owned);
        let is_same = first.is_some() && first == listing.first;
        listing.first = first;
        listing.pages += 1;
        listing.empty = if page.contents().is_empty() { listing.empty + 1 } else { 0 };
        if page.is_truncated() == Some(true) {
            let broken = |how: &str| {
                let message = format!("cannot {doing} in {}: {how}", self.place);
                StoreError::of_store(FailureKind::Transient, message)
            };
            let Some(next) = page.next_continuation_token() else {
                return Err(broken("it says that more follows, but not where"));
            };
            if is_same || !listing.seen.insert(next.to_owned()) {
                return Err(broken("it sends the same page twice, so the list would never end"));
            }
            if listing.pages == MOST_PAGES || listing.empty == MOST_EMPTY_PAGES {
                return Err(broken("the list does not end"));
            }
            listing.next = Next::After(next.to_owned());
        }
        Ok(keys)
    }

    /// `key` without the store's prefix; nothing for what was not asked for, or no archive puts there.
    fn wanted_key(&self, key: &str, listing: &mut Listing) -> Option<ObjectKey> {
        // Some stores forget where to start from on later pages.
        if listing.after.as_deref().is_some_and(|after| key <= after) {
            return None;
        }
        let wanted = key.len() <= LONGEST_KEY && key.starts_with(&listing.prefix);
        let own =
            key.strip_prefix(&self.prefix).filter(|_| wanted).and_then(|key| ObjectKey::parse(key).ok());
        if own.is_none() && listing.told < MOST_TOLD {
            listing.told += 1;
            let key = ForeignText::new(key);
            tracing::warn!(object.key = %key, store.place = %self.place, "a key that is none of ours is passed over");
        }
        own
    }

    /// The size that a list says, for a store that looks at an object without saying its size.
    pub(super) async fn listed_size(&self, key: &ObjectKey) -> Result<u64, StoreError> {
        let whole = self.full_key(key);
        let doing = format!("learn the size of {key}");
        let request = self.client.list_objects_v2().bucket(&self.settings.bucket).prefix(&whole).max_keys(1);
        let page = request.customize().interceptor(AnswerLimit::OfAll).send().await;
        let page = page.map_err(|error| self.place.error(&doing, Trouble::of(error)))?;
        let listed = page.contents().iter().find(|object| object.key() == Some(&whole));
        let size = listed.and_then(|object| object.size()).and_then(|size| u64::try_from(size).ok());
        size.ok_or_else(|| {
            let message = format!("cannot {doing} in {}: it does not say", self.place);
            StoreError::of_store(FailureKind::Transient, message)
        })
    }
}
