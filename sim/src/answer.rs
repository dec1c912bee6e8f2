//! An answer before it goes out: faults still have their way with it.

use std::io;

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream, stream::BoxStream};
use serde_json::{Value, json};

pub(crate) type ByteStream = BoxStream<'static, io::Result<Bytes>>;

pub(crate) enum Payload {
    Whole(Bytes),
    /// Sent in chunks, without a length.
    Streamed(ByteStream),
}

impl Payload {
    /// In bytes, where it is known.
    pub(crate) fn len(&self) -> Option<u64> {
        match self {
            Self::Whole(bytes) => Some(bytes.len() as u64),
            Self::Streamed(_) => None,
        }
    }

    pub(crate) fn into_stream(self) -> ByteStream {
        match self {
            Self::Whole(bytes) => stream::iter([Ok(bytes)]).boxed(),
            Self::Streamed(stream) => stream,
        }
    }
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) payload: Payload,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, content_type: &str, payload: Payload) -> Self {
        Self { status, headers: vec![(header::CONTENT_TYPE, content_type.to_owned())], payload }
    }

    /// A status, and not a word.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self::new(status, "text/plain", Payload::Whole(Bytes::new()))
    }

    pub(crate) fn json(status: StatusCode, value: &Value) -> Self {
        let body = Payload::Whole(value.to_string().into());
        Self::new(status, "application/json", body)
    }

    /// The API's error body.
    pub(crate) fn error(status: StatusCode, code: &str, message: &str, request_id: &str) -> Self {
        let mut body = json!({ "error_code": code, "error_msg": message, "request_id": request_id });
        if status == StatusCode::FORBIDDEN {
            body["encoded_authorization_message"] = json!("simulated, hence nothing to decode");
        }
        Self::json(status, &body)
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let body = match self.payload {
            Payload::Whole(bytes) => Body::from(bytes),
            Payload::Streamed(stream) => Body::from_stream(stream),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            // A value that no header can hold (a script's doing) is left out rather than answered wrongly.
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
