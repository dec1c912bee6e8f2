//! What is known of requests besides their answers: the ids for the provider's support, and how far the last one came.

use jiff::Timestamp;
use reqwest::StatusCode;

use crate::domain::export::ExportApi;
use crate::domain::failure::Failure;
use crate::domain::text::ForeignText;
use crate::ports::record_source::{ExportReceipt, SourceError};

/// A task is looked at for hours; the provider's support needs no more ids than these.
const MOST_REQUEST_IDS: usize = 32;

/// What is left of requests, whatever came of them.
#[derive(Debug, Default)]
pub(super) struct Trail {
    /// The provider's request ids, in the order of the requests: the first and the newest.
    pub request_ids: Vec<ForeignText>,
    /// How far the last request came.
    pub last: Reached,
}

/// How far a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Reached {
    /// It was not sent.
    #[default]
    Nobody,
    /// It was sent, perhaps heard, and not answered.
    Perhaps,
    /// It was answered.
    Answer(StatusCode),
}

impl Trail {
    /// Adds request ids; of many, the first and the newest are kept.
    pub(super) fn noted(&mut self, request_ids: impl IntoIterator<Item = ForeignText>) {
        for request_id in request_ids {
            if self.request_ids.len() >= MOST_REQUEST_IDS {
                self.request_ids.remove(1);
            }
            self.request_ids.push(request_id);
        }
    }

    /// The receipt of an export whose last byte arrived just now, where it did, and which was made then, where that is known.
    pub(super) fn receipt(
        self,
        pulled: Result<Option<Timestamp>, Failure>,
        api: ExportApi,
        now: Timestamp,
    ) -> Result<ExportReceipt, SourceError> {
        match pulled {
            Ok(made_at) => {
                let made_at = made_at.unwrap_or(now);
                Ok(ExportReceipt { api, request_ids: self.request_ids, made_at, pulled_at: now })
            }
            Err(failure) => Err(self.blame(failure)),
        }
    }

    /// The failure, with the request ids for the provider's support.
    pub(super) fn blame(self, failure: Failure) -> SourceError {
        SourceError(Failure { request_ids: self.request_ids, ..failure })
    }
}
