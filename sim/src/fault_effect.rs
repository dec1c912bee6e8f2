//! What a fault does to an answer.

use std::{io, time::Duration};

use axum::http::{StatusCode, header};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimePrinter};
use tokio::{sync::watch, time::sleep};

use crate::{
    answer::{Answer, ByteStream, Payload},
    faults::{Fault, RetryAfter},
    wire::Wire,
};

/// Before a connection is broken, what was written must have had the time to leave.
const FLUSH: Duration = Duration::from_millis(30);

const PROXY_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Access gateway</title></head>\
    <body><h1>Sign in to continue</h1><p>Your session with the proxy has expired.</p></body></html>\n";

/// Turns to `true` once, when the simulator stops; whatever waits must then let go.
pub(crate) type StopSignal = watch::Receiver<bool>;

/// What a fault needs to know of the request that met it.
pub(crate) struct Scene {
    pub(crate) request_id: String,
    pub(crate) now: Timestamp,
    pub(crate) wire: Wire,
    pub(crate) stop: StopSignal,
}

/// The answer as the fault leaves it. [`Fault::DelayFirstByte`] and [`Fault::OmitRecords`] are not this
/// function's work, and [`Fault::DropConnection`] shows only once the answer is written.
pub(crate) fn apply(fault: &Fault, answer: Answer, scene: Scene) -> Answer {
    match fault {
        Fault::Status { code, error_code, retry_after } => {
            let status = StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let refusal = Answer::error(status, error_code, "scripted fault", &scene.request_id);
            with_retry_after(refusal, *retry_after, scene.now)
        }
        Fault::Throttle { retry_after } => {
            let message = "The throttling threshold has been reached: policy user over ratelimit";
            let status = StatusCode::TOO_MANY_REQUESTS;
            let refusal = Answer::error(status, "APIGW.0308", message, &scene.request_id);
            with_retry_after(refusal, *retry_after, scene.now)
        }
        Fault::Drip(pause) => Answer {
            payload: Payload::Streamed(drip(answer.payload.into_stream(), *pause, scene.stop)),
            ..answer
        },
        Fault::StallAfter { bytes } => cut(answer, *bytes, Ending::Stall, scene),
        Fault::TruncateAfter { bytes } => cut(answer, *bytes, Ending::Break, scene),
        Fault::TruncateCleanly { bytes } => cut(answer, *bytes, Ending::Clean, scene),
        Fault::ResetAfter { bytes } => cut(answer, *bytes, Ending::Reset, scene),
        Fault::HtmlBody => {
            Answer::new(StatusCode::OK, "text/html; charset=utf-8", Payload::Whole(PROXY_PAGE.into()))
        }
        Fault::JsonErrorBody => Answer::error(
            StatusCode::OK,
            "WKS.00000500",
            "The export failed. Try again later.",
            &scene.request_id,
        ),
        Fault::EmptyBody => Answer { payload: Payload::Whole(Bytes::new()), ..answer },
        Fault::NoContent => Answer::empty(StatusCode::NO_CONTENT),
        Fault::Body(bytes) => Answer { payload: Payload::Whole(bytes.clone()), ..answer },
        Fault::WrongContentType => answer.with_header(header::CONTENT_TYPE, "text/html"),
        Fault::DropConnection => {
            scene.wire.close();
            answer
        }
        Fault::DelayFirstByte(_) | Fault::OmitRecords { .. } => answer,
    }
}

/// Waits for `delay`, or until the simulator stops.
pub(crate) async fn wait(delay: Duration, stop: &StopSignal) {
    tokio::select! {
        () = sleep(delay) => {}
        () = stopped(stop.clone()) => {}
    }
}

async fn stopped(mut stop: StopSignal) {
    // An error means that the simulator is gone, which is a stop as well.
    let _ = stop.wait_for(|stopped| *stopped).await;
}

fn with_retry_after(answer: Answer, retry_after: Option<RetryAfter>, now: Timestamp) -> Answer {
    let value = match retry_after {
        None => return answer,
        Some(RetryAfter::Seconds(seconds)) => seconds.to_string(),
        Some(RetryAfter::HttpDate(seconds)) => {
            let delay = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            http_date(now.checked_add(delay).unwrap_or(Timestamp::MAX))
        }
    };
    answer.with_header(header::RETRY_AFTER, value)
}

/// The form of `Date` and `Retry-After`: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn http_date(at: Timestamp) -> String {
    let printed = DateTimePrinter::new().timestamp_to_rfc9110_string(&at);
    // Only years before 0 cannot be printed; no clock shows them.
    printed.unwrap_or_default()
}

fn drip(source: ByteStream, pause: Duration, stop: StopSignal) -> ByteStream {
    stream::unfold((source, Bytes::new(), stop), move |(mut source, mut rest, stop)| async move {
        while rest.is_empty() {
            match source.next().await? {
                Ok(chunk) => rest = chunk,
                Err(error) => return Some((Err(error), (source, rest, stop))),
            }
        }
        wait(pause, &stop).await;
        let byte = rest.split_to(1);
        Some((Ok(byte), (source, rest, stop)))
    })
    .boxed()
}

#[derive(Clone, Copy)]
enum Ending {
    Clean,
    Break,
    Stall,
    Reset,
}

fn cut(answer: Answer, bytes: u64, ending: Ending, scene: Scene) -> Answer {
    let length = answer.payload.len();
    let bytes = length.map_or(bytes, |length| bytes.min(length.saturating_sub(1)));
    let declared = match (ending, length) {
        (Ending::Clean, _) => None,
        // A stream's length is not known; a promise of twice the bytes is broken just as well.
        (Ending::Break, None) => Some(bytes.saturating_mul(2).saturating_add(1)),
        (_, length) => length,
    };
    let mut answer = Answer {
        payload: Payload::Streamed(cut_stream(answer.payload.into_stream(), bytes, ending, scene)),
        ..answer
    };
    if let Some(declared) = declared {
        answer = answer.with_header(header::CONTENT_LENGTH, declared.to_string());
    }
    answer
}

fn cut_stream(source: ByteStream, bytes: u64, ending: Ending, scene: Scene) -> ByteStream {
    stream::unfold((source, bytes, scene), move |(mut source, mut left, scene)| async move {
        while left > 0 {
            match source.next().await {
                Some(Ok(mut chunk)) => {
                    chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    left -= chunk.len() as u64;
                    return Some((Ok(chunk), (source, left, scene)));
                }
                Some(Err(error)) => return Some((Err(error), (source, left, scene))),
                None => left = 0,
            }
        }
        match ending {
            Ending::Clean => return None,
            Ending::Break => sleep(FLUSH).await,
            Ending::Stall => stopped(scene.stop.clone()).await,
            Ending::Reset => {
                sleep(FLUSH).await;
                scene.wire.reset();
            }
        }
        // An error is how a body tells the server to break the connection off.
        Some((Err(io::Error::other("scripted fault")), (source, 0, scene)))
    })
    .boxed()
}
