//! What a put sends, counted as it goes, so that a store that takes it by drips does not hold a place for hours.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::adapters::least_rate::{LeastRate, TooSlow};
use crate::domain::duration::spelled_std;

/// How often it is looked at.
const TICK: Duration = Duration::from_secs(1);

/// What one put has sent so far, over all of its attempts.
#[derive(Debug, Clone, Default)]
pub(super) struct Outflow(Arc<Sent>);

#[derive(Debug, Default)]
struct Sent {
    bytes: AtomicU64,
    state: AtomicU8,
}

/// There is something left to send. (It is 0 before anything was.)
const SENDING: u8 = 1;
/// All was sent, and an answer is waited for.
const SENT: u8 = 2;

impl Outflow {
    /// Ends, with the reason, once a whole span was spent on sending less than `least` wants, or no answer has come for
    /// `patience` after the last byte.
    pub(super) async fn gives_up(&self, least: LeastRate, patience: Duration) -> String {
        let tick = TICK.min(least.span);
        let (mut sending, mut silent, mut before) = (Duration::ZERO, Duration::ZERO, 0);
        loop {
            tokio::time::sleep(tick).await;
            let (bytes, state) = (self.0.bytes.load(Ordering::Relaxed), self.0.state.load(Ordering::Relaxed));
            match state {
                SENDING => (sending, silent) = (sending + tick, Duration::ZERO),
                SENT => (sending, silent, before) = (Duration::ZERO, silent + tick, bytes),
                _ => {}
            }
            if silent >= patience {
                return format!("no answer came within {} after the last byte", spelled_std(patience));
            }
            if sending >= least.span {
                let bytes = bytes.saturating_sub(before);
                if bytes < least.bytes() {
                    return TooSlow { bytes, least }.to_string();
                }
                (sending, before) = (Duration::ZERO, before + bytes);
            }
        }
    }
}

impl Sent {
    fn set(&self, goes_on: bool) {
        self.state.store(if goes_on { SENDING } else { SENT }, Ordering::Relaxed);
    }
}

impl Intercept for Outflow {
    fn name(&self) -> &'static str {
        "Outflow"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let body = Box::pin(std::mem::replace(request.body_mut(), SdkBody::taken()));
        self.0.set(!body.is_end_stream());
        *request.body_mut() = SdkBody::from_body_1_x(Counted { body, sent: Arc::clone(&self.0) });
        Ok(())
    }
}

/// A body that counts what is taken from it.
struct Counted {
    body: Pin<Box<SdkBody>>,
    sent: Arc<Sent>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Body::poll_frame(self.body.as_mut(), cx));
        if let Some(bytes) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.sent.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        let goes_on = matches!(frame, Some(Ok(_))) && !self.body.is_end_stream();
        self.sent.set(goes_on);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&*self.body)
    }
}
