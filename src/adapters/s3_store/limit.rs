//! No more of an answer is taken into memory than an answer of S3 can have. The SDK reads every answer but an object's own
//! bytes to its end first, however long it goes on.

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use http_body_util::Limited;

/// The largest answer, in bytes: a page of a thousand keys of a kilobyte each, with room to spare.
const LARGEST_ANSWER: usize = 8 << 20;

/// Ends answers that are larger than [`LARGEST_ANSWER`].
#[derive(Debug, Clone, Copy)]
pub(super) enum AnswerLimit {
    /// Refusals only: what else comes may be an object.
    OfRefusals,
    /// Every answer.
    OfAll,
}

impl Intercept for AnswerLimit {
    fn name(&self) -> &'static str {
        "AnswerLimit"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response_mut();
        if matches!(self, Self::OfAll) || !answer.status().is_success() {
            let body = std::mem::replace(answer.body_mut(), SdkBody::taken());
            *answer.body_mut() = SdkBody::from_body_1_x(Limited::new(body, LARGEST_ANSWER));
        }
        Ok(())
    }
}
