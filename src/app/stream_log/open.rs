//! Opening a log: it is followed, and says what the stream is.

use super::{Appended, ROUNDS, StreamLog};
use crate::app::failure_policy::of_ledger;
use crate::app::log_walk::check_head;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::log_entry::{Definition, EntryBody, StreamOpened};
use crate::domain::name::StreamName;

impl StreamLog {
    /// Makes sure that the log is begun and says what `definition` says; moves `start` back where it must.
    ///
    /// # Errors
    /// When the definition contradicts the log, the log is damaged, or the store or the ledger fails.
    pub async fn open(&self, definition: &Definition) -> Result<(), Failure> {
        if let Some(state) = self.state().await? {
            let is_signed = check_head(&self.reader, state.head, self.signing.as_deref()).await?;
            // The ledger of an earlier version did not note it.
            if is_signed && !state.signed {
                self.ledger.must_be_signed(&self.stream).await.map_err(of_ledger)?;
            }
        }
        for _ in 0..ROUNDS {
            self.follow().await?;
            let known = self.state().await?.map(|state| state.definition);
            if !must_be_said(&self.stream, known.as_ref(), definition)? {
                return Ok(());
            }
            let body = EntryBody::Stream(StreamOpened { definition: definition.clone() });
            if let Appended::Committed(head) = self.append(body, None).await? {
                tracing::info!(stream = %self.stream, %head, "stream opened");
                return Ok(());
            }
        }
        let message = format!(
            "stream {}: others keep taking the next place of its log; it is opened later",
            self.stream
        );
        Err(Failure::new(FailureKind::Transient, Scope::Stream, message))
    }
}

/// Whether a `stream` entry is due: the log has none, or `start` has moved back.
fn must_be_said(
    stream: &StreamName,
    known: Option<&Definition>,
    wanted: &Definition,
) -> Result<bool, Failure> {
    let Some(known) = known else { return Ok(true) };
    match contradiction(wanted, known) {
        None => Ok(wanted.start < known.start),
        Some(contradiction) => {
            let message = format!("stream {stream}: {contradiction}");
            Err(Failure::new(FailureKind::Rejected, Scope::Stream, message))
        }
    }
}

/// How the configuration, which says `wanted`, contradicts the log, which says `known`; with what to do.
pub(in crate::app) fn contradiction(wanted: &Definition, known: &Definition) -> Option<String> {
    let difference = wanted.contradiction(known)?;
    let (field, is, was) = (difference.field, difference.here, difference.there);
    let what = match field {
        "start" => format!(
            "the config says start {is}, but windows since {was} are promised already: start may only move back"
        ),
        _ => format!("the config says {field} = {is}, but the stream was opened with {field} = {was}"),
    };
    Some(format!("{what}; give the changed stream a new name, or put the configuration back"))
}
