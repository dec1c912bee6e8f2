//! Opening a log: it is followed, and says what the stream is.

use jiff::Timestamp;

use super::{Appended, ROUNDS, StreamLog};
use crate::app::log_walk::check_head;
use crate::domain::calendar::{Calendar, zones};
use crate::domain::definition::{filter_values, window_spelled};
use crate::domain::export::Filters;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::log_entry::{Definition, EntryBody, StreamOpened};
use crate::domain::name::StreamName;
use crate::domain::window_length::WindowLength;

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
                self.ledger.must_be_signed(&self.stream).await?;
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

/// How the configuration, which says `wanted`, contradicts the log, which says `known`: both values as the configuration
/// spells them; with what to do.
pub(in crate::app) fn contradiction(wanted: &Definition, known: &Definition) -> Option<String> {
    let field = wanted.contradiction(known)?.field;
    let (is, was) = (spelled(wanted, known, field), spelled(known, wanted, field));
    let what = match field {
        "start" => format!(
            "the config says {is}, but the windows since {was} are promised already: start may only move back"
        ),
        _ => format!("the config says {is}, but the stream was opened with {was}"),
    };
    Some(format!("{what}; give the changed stream a new name, or put the configuration back"))
}

/// What `definition` says of `field`, as the configuration spells it; of the filters, those that `other` has otherwise.
fn spelled(definition: &Definition, other: &Definition, field: &str) -> String {
    let Definition { region, project_id, window, timezone, start, filters } = definition;
    let value = match field {
        "region" => region,
        "project_id" => project_id,
        "window" => &window_spelled(window),
        "timezone" => timezone,
        "start" => &start_spelled(timezone, *start),
        _ => return filters_spelled(filters, &other.filters),
    };
    format!("{field} = {value:?}")
}

/// A `start` as the configuration spells it.
fn start_spelled(timezone: &str, start: Timestamp) -> String {
    let zone = zones().get(timezone);
    zone.map_or_else(|_| start.to_string(), |zone| Calendar::new(zone, WindowLength::Day).spelled(start))
}

/// How `start` moves back, where the configuration, which says `wanted`, has it earlier than the log, which says `known`: what
/// the log says, and both in words.
pub(in crate::app) fn moved_back(wanted: &Definition, known: &Definition) -> Option<(String, String)> {
    let said = |definition: &Definition| start_spelled(&definition.timezone, definition.start);
    let (is, was) = (said(wanted), said(known));
    let words = format!("the log says start = {was:?}, and the config says start = {is:?}");
    (wanted.start < known.start).then_some((was, words))
}

/// The filters of one that are not those of the other.
fn filters_spelled(filters: &Filters, other: &Filters) -> String {
    let pairs = filter_values(filters).into_iter().zip(filter_values(other));
    let differing = pairs.filter(|(one, two)| one != two);
    let spelled = differing.map(|((name, value), _)| format!("filters.{name} = {value:?}"));
    spelled.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_shown_as_the_configuration_spells_it_before_and_after() {
        let known = Definition {
            region: "ap-southeast-3".into(),
            project_id: "0123456789abcdef".into(),
            window: "1d".into(),
            timezone: "Asia/Shanghai".into(),
            start: "2026-10-31T16:00:00Z".parse().unwrap(),
            filters: Filters::default(),
        };
        let mut wanted = known.clone();
        wanted.filters.user_name = "li \"x\"".into();
        let said = contradiction(&wanted, &known).unwrap();
        assert!(
            said.starts_with(
                "the config says filters.user_name = \"li \\\"x\\\"\", but the stream was opened with filters.user_name = \"\";"
            ),
            "{said}"
        );
        let wanted = Definition { start: "2026-11-01T16:00:00Z".parse().unwrap(), ..known.clone() };
        let said = contradiction(&wanted, &known).unwrap();
        assert!(said.contains("start = \"2026-11-02\"") && said.contains("start = \"2026-11-01\""), "{said}");
        let wanted = Definition { window: "60m".into(), ..known.clone() };
        let said = contradiction(&wanted, &known).unwrap();
        assert!(said.contains("window = \"1h\"") && said.contains("window = \"1d\""), "{said}");
    }
}
