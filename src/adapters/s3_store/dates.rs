//! The `Date` of what a store answers.
//!
//! Only questions without a body are listened to: they are answered within the time of one attempt, a minute. A put may take
//! hours to send, and nobody knows when in that time its answer was dated.

use std::fmt;
use std::sync::Arc;

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

use super::S3Settings;
use crate::ports::clock::{AnswerWatch, date_of};

/// Hands on the `Date` of answers, refusals too.
#[derive(Clone)]
pub(super) struct Dates {
    host: String,
    answers: Arc<dyn AnswerWatch>,
}

impl Dates {
    /// Of the store that `settings` name, for `answers`.
    pub(super) fn of(settings: &S3Settings, answers: Arc<dyn AnswerWatch>) -> Self {
        let endpoint = settings.endpoint.as_ref().and_then(|url| Some((url.host_str()?, url.port())));
        let host = match endpoint {
            Some((host, Some(port))) => format!("{host}:{port}"),
            Some((host, None)) => host.to_owned(),
            None => format!("s3.{}.amazonaws.com", settings.region),
        };
        Self { host, answers }
    }
}

impl fmt::Debug for Dates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dates").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Intercept for Dates {
    fn name(&self) -> &'static str {
        "Dates"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.response().headers();
        let date = date_of(headers.get("date"), headers.get("age"));
        self.answers.answered(&self.host, date, self.answers.reading());
        Ok(())
    }
}
