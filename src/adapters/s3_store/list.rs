//! Keys of a bucket, page by page, without the store's prefix.

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use super::S3Store;
use super::errors::Trouble;
use crate::domain::failure::FailureKind;
use crate::domain::object_key::{KeyPrefix, ObjectKey};
use crate::ports::object_store::StoreError;

/// Which page comes next.
enum Next {
    First,
    After(String),
    End,
}

impl S3Store {
    /// Every key below `prefix` after `after`.
    pub(super) fn list_keys(
        &self,
        prefix: &KeyPrefix,
        after: Option<&ObjectKey>,
    ) -> BoxStream<'_, Result<ObjectKey, StoreError>> {
        let prefix = format!("{}{}", self.prefix, prefix.as_str());
        let after = after.map(|key| self.full_key(key));
        let pages = stream::unfold(Next::First, move |next| {
            let (prefix, after) = (prefix.clone(), after.clone());
            async move {
                let token = match next {
                    Next::First => None,
                    Next::After(token) => Some(token),
                    Next::End => return None,
                };
                match self.page(&prefix, after.as_deref(), token).await {
                    Ok((keys, next)) => Some((keys.into_iter().map(Ok).collect(), next)),
                    Err(error) => Some((vec![Err(error)], Next::End)),
                }
            }
        });
        pages.flat_map(stream::iter).boxed()
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        token: Option<String>,
    ) -> Result<(Vec<ObjectKey>, Next), StoreError> {
        let doing = format!("list {prefix}");
        let request = self.client.list_objects_v2().bucket(&self.settings.bucket).prefix(prefix);
        let request = request.set_start_after(after.map(str::to_owned)).set_continuation_token(token.clone());
        let page = request.send().await.map_err(|error| self.place.error(&doing, Trouble::of(error)))?;
        let keys = page.contents().iter().filter_map(|object| object.key());
        // Some stores forget where to start from on later pages.
        let keys =
            keys.filter(|key| after.is_none_or(|after| *key > after)).filter_map(|key| self.own_key(key));
        let keys = keys.collect();
        let next = match (page.is_truncated(), page.next_continuation_token()) {
            (Some(true), Some(next)) if token.as_deref() != Some(next) => Next::After(next.to_owned()),
            (Some(true), _) => {
                let message =
                    format!("cannot {doing} in {}: it says that more follows, but not where", self.place);
                return Err(StoreError::of_store(FailureKind::Transient, message));
            }
            _ => Next::End,
        };
        Ok((keys, next))
    }

    /// `key` without the store's prefix; nothing for what no archive puts there.
    fn own_key(&self, key: &str) -> Option<ObjectKey> {
        let own = key.strip_prefix(&self.prefix).and_then(|key| ObjectKey::parse(key).ok());
        if own.is_none() {
            tracing::warn!(object.key = key, store.place = %self.place, "a key that is none of ours is passed over");
        }
        own
    }
}
