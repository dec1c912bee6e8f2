//! Bodies of answers: an export, streamed to the sink as it comes, or a short text that is read whole.
//!
//! What is decided here is whether all of it arrived. A body that is shorter than its `Content-Length`, ends inside a
//! chunk, or ends without TLS's own goodbye is an error, never a short export.

use std::io;

use bytes::Bytes;
use reqwest::Response;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::client::Client;
use super::errors::Operation;
use super::unanswered::broken_off;
use crate::adapters::least_rate::{LOWER_THE_RATE, Meter};
use crate::adapters::remote_text::{cause, not_json};
use crate::domain::duration::spelled_std;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::message::Message;
use crate::ports::record_source::{ByteSink, SinkFailure};

/// What the bytes of an export are called in messages.
const EXPORT: &str = "export";
/// A hundred tasks, or one record, are a few tens of kilobytes.
const TEXT_LIMIT: usize = 1 << 20;

/// Hands an export to the sink; it came whole if this is well.
pub(super) async fn receive(
    client: &Client,
    mut answer: Response,
    sink: &mut dyn ByteSink,
) -> Result<(), Failure> {
    let (host, max_body) = (client.host(), client.max_body());
    let announced = answer.content_length();
    if announced.is_some_and(|bytes| bytes > max_body) {
        return Err(too_large(max_body));
    }
    let (mut received, mut meter) = (0u64, Meter::new(client.timeouts().least_rate));
    while let Some(piece) = next(client, EXPORT, &mut answer, &mut meter, received).await? {
        received += piece.len() as u64;
        if received > max_body {
            return Err(too_large(max_body));
        }
        sink.write(piece).await.map_err(|error| not_kept(&error))?;
    }
    match announced {
        Some(bytes) if bytes != received => {
            Err(broken_off(EXPORT, host, received, &format!("{bytes} bytes were announced"))
                .after(meter.waited_in_all()))
        }
        _ => Ok(()),
    }
}

/// The JSON that answers `operation`.
pub(super) async fn json<T: DeserializeOwned>(
    client: &Client,
    operation: &Operation,
    mut answer: Response,
) -> Result<T, Failure> {
    let corrupt = |why: String| {
        let message = format!("{} answered the {} {why}", client.host(), operation.name);
        Failure::new(FailureKind::Corrupt, Scope::Window, message)
    };
    let (mut body, mut meter) = (Vec::new(), Meter::new(client.timeouts().least_rate));
    while let Some(piece) = next(client, operation.name, &mut answer, &mut meter, body.len() as u64).await? {
        if body.len() + piece.len() > TEXT_LIMIT {
            return Err(corrupt("with too much".to_owned()));
        }
        body.extend_from_slice(&piece);
    }
    serde_json::from_slice(&body)
        .map_err(|error| corrupt(format!("with something else than it should: {}", not_json(&error))))
}

async fn next(
    client: &Client,
    what: &str,
    answer: &mut Response,
    meter: &mut Meter,
    received: u64,
) -> Result<Option<Bytes>, Failure> {
    let stall = client.timeouts().stall;
    let size = |piece: &Result<Result<Option<Bytes>, _>, _>| match piece {
        Ok(Ok(Some(bytes))) => bytes.len() as u64,
        _ => 0,
    };
    let why = match meter.next(timeout(stall, answer.chunk()), size).await {
        Ok(Ok(Ok(piece))) => return Ok(piece),
        Ok(Ok(Err(error))) => cause(&error).to_string(),
        Ok(Err(_)) => format!("nothing came for {}", spelled_std(stall)),
        Err(slow) => {
            let failure = broken_off(what, client.host(), received, &slow.to_string());
            let message = failure.message.advise(LOWER_THE_RATE);
            return Err(Failure { message, ..failure }.after(meter.waited_in_all()));
        }
    };
    Err(broken_off(what, client.host(), received, &why).after(meter.waited_in_all()))
}

fn too_large(max_body: u64) -> Failure {
    let message = Message::new(format!("the export is larger than {max_body} bytes"))
        .advise("give the stream a shorter window, or raise max_body");
    Failure::new(FailureKind::Rejected, Scope::Window, message)
}

/// The sink's own words say what and where.
fn not_kept(error: &io::Error) -> Failure {
    let message = format!("an export cannot be kept: {error}");
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(SinkFailure(failure)) => {
            let message = failure.message.clone().at("an export cannot be kept");
            Failure { message, ..failure.clone() }
        }
        None => Failure::new(FailureKind::Local, Scope::Daemon, message),
    }
}
