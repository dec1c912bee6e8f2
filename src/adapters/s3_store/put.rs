//! One put, with all that every put carries.

use std::time::Duration;

use aws_sdk_s3::config::Config;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use md5::Digest;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::errors::Trouble;
use super::outflow::Outflow;
use super::{S3Settings, S3Store, Sse, client, lock as object_lock};
use crate::adapters::local_content;
use crate::domain::failure::{Failure, FailureKind, Scope};
use crate::domain::lock::Lock;
use crate::domain::message::Message;
use crate::domain::object_key::ObjectKey;
use crate::domain::text::ForeignText;
use crate::ports::object_store::{Content, CreateOnly, LARGEST_OBJECT, PutOutcome, StoreError};

/// The pause before a put is tried again by us; the next one is four times as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// What is read of a file at a time, and held in memory.
const FILE_BUFFER: usize = 256 * 1024;

/// The bytes that need no escape in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl S3Store {
    /// Puts `content` under `key`, refused as `mode` says where the key is taken.
    ///
    /// A put whose answer was lost may have been done, and so may one that was answered with an error of the server. Where the
    /// store refuses to overwrite, the SDK's own next attempt is refused then. Where it does not, the SDK makes no second
    /// attempt (see [`Self::try_put`]), and before each attempt of ours the key is looked at.
    pub(super) async fn put(
        &self,
        key: &ObjectKey,
        content: &Content,
        mode: CreateOnly,
        lock: &Lock,
    ) -> Result<PutOutcome, StoreError> {
        let mut attempts = if mode == CreateOnly::HeadThenPut { client::ATTEMPTS } else { 1 };
        let mut pause = FIRST_PAUSE;
        loop {
            let trouble = match self.try_put(key, content, mode, lock).await? {
                Ok(outcome) => return Ok(outcome),
                Err(trouble) => trouble,
            };
            // A store that refuses a large body before its end, and hangs up, is often not heard. Tried again, it would
            // be the same: so what stands there by now, ours or another's, decides.
            if trouble.may_have_been_done() && self.stands(key).await.is_ok_and(|stands| stands) {
                return Ok(PutOutcome::AlreadyExists);
            }
            let error = object_lock::refused(&self.place, key, lock, trouble);
            attempts -= 1;
            if attempts == 0 || error.kind() != FailureKind::Transient {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause *= 4;
            if self.is_taken(key).await? {
                return Ok(PutOutcome::AlreadyExists);
            }
        }
    }

    /// Whether something stands under `key`, on the word of two answers where the first says no: a put into a store that
    /// overwrites rests on nothing else.
    pub(super) async fn is_taken(&self, key: &ObjectKey) -> Result<bool, StoreError> {
        Ok(self.stands(key).await? || self.stands(key).await?)
    }

    /// As [`Self::put`], but leaves it to the caller to say what the store's trouble means. The outer error is ours.
    pub(super) async fn try_put(
        &self,
        key: &ObjectKey,
        content: &Content,
        mode: CreateOnly,
        lock: &Lock,
    ) -> Result<Result<PutOutcome, Trouble>, StoreError> {
        match self.send_put(key, content, mode, lock).await? {
            Ok(created) => Ok(Ok(created)),
            Err(trouble) => self.read_refusal(key, mode, trouble).await,
        }
    }

    /// One put, with whatever the store answers to it. The outer error is ours.
    pub(super) async fn send_put(
        &self,
        key: &ObjectKey,
        content: &Content,
        mode: CreateOnly,
        lock: &Lock,
    ) -> Result<Result<PutOutcome, Trouble>, StoreError> {
        let (body, bytes, md5) = open(key, content).await?;
        let length = i64::try_from(bytes).map_err(|_| too_large(key, bytes))?;
        let request = self.client.put_object().bucket(&self.settings.bucket).key(self.full_key(key));
        let request = request.body(body).content_length(length).content_md5(STANDARD.encode(md5));
        let request = object_lock::ask(with_options(request, &self.settings), lock);
        let request = match mode {
            CreateOnly::IfNoneMatch => request.if_none_match("*"),
            _ => request,
        };
        let timeouts = client::timeouts(&self.settings.timeouts, bytes);
        let changed = Config::builder().timeout_config(timeouts);
        let changed = match mode {
            // A second attempt behind our back would write over the first, whose answer was lost.
            CreateOnly::HeadThenPut => changed.retry_config(RetryConfig::disabled()),
            _ => changed,
        };
        let request = request.customize().disable_payload_signing().config_override(changed).mutate_request(
            move |request| {
                if mode == CreateOnly::ObsForbidOverwrite {
                    request.headers_mut().insert("x-obs-forbid-overwrite", "true");
                }
            },
        );
        let (outflow, least_rate) = (Outflow::default(), self.settings.timeouts.least_rate);
        let patience = client::patience(&self.settings.timeouts, bytes);
        let request = request.interceptor(outflow.clone());
        let sent = tokio::select! {
            sent = request.send() => sent.map_err(Trouble::of),
            why = outflow.gives_up(least_rate, patience) => Err(Trouble::NoAnswer(why.into())),
        };
        Ok(sent.map(|answer| PutOutcome::Created { version_id: answer.version_id().map(ForeignText::new) }))
    }

    /// Whether the store refused because the key is taken.
    ///
    /// A 412 says so. A 409 can say so (OBS), or that somebody else is just putting there (AWS, whose advice is to
    /// put again): what stands there by now decides.
    pub(super) async fn read_refusal(
        &self,
        key: &ObjectKey,
        mode: CreateOnly,
        trouble: Trouble,
    ) -> Result<Result<PutOutcome, Trouble>, StoreError> {
        let conditional = matches!(mode, CreateOnly::IfNoneMatch | CreateOnly::ObsForbidOverwrite);
        let taken = match trouble.status() {
            Some(412) if conditional => true,
            // 304 is what some stores say for a condition that does not hold, whatever was asked.
            Some(304 | 409) if conditional => self.stands(key).await?,
            _ => false,
        };
        Ok(if taken { Ok(PutOutcome::AlreadyExists) } else { Err(trouble) })
    }
}

/// The body, its size and its MD5. A file is opened anew, from its path, by every attempt to send it.
async fn open(key: &ObjectKey, content: &Content) -> Result<(ByteStream, u64, [u8; 16]), StoreError> {
    match content {
        Content::Bytes(bytes) => Ok((body_of(bytes), bytes.len() as u64, md5::Md5::digest(bytes).into())),
        // There is no multipart here: conditions and locks are not honoured there by several stores.
        Content::File { bytes, .. } if *bytes > LARGEST_OBJECT => Err(too_large(key, *bytes)),
        Content::File { path, bytes, md5, .. } => {
            local_content::check_size(path, *bytes).await?;
            let body = ByteStream::read_from()
                .path(path)
                .length(Length::Exact(*bytes))
                .buffer_size(FILE_BUFFER)
                .build()
                .await
                .map_err(|error| local_content::changed(path, &error.to_string()))?;
            Ok((body, *bytes, *md5.as_bytes()))
        }
    }
}

fn body_of(bytes: &Bytes) -> ByteStream {
    ByteStream::from(bytes.clone())
}

fn too_large(key: &ObjectKey, bytes: u64) -> StoreError {
    let message =
        Message::new(format!("{key} has {bytes} bytes, and one put carries {LARGEST_OBJECT} at most"))
            .advise("archive this stream under a new name with a shorter window");
    StoreError(Failure::new(FailureKind::Rejected, Scope::Window, message))
}

/// Storage class, encryption and tags, as configured.
fn with_options(request: PutObjectFluentBuilder, settings: &S3Settings) -> PutObjectFluentBuilder {
    let request = match &settings.sse {
        None => request,
        Some(Sse::Aes256) => request.server_side_encryption(ServerSideEncryption::Aes256),
        Some(Sse::Kms { key_id }) => {
            request.server_side_encryption(ServerSideEncryption::AwsKms).set_ssekms_key_id(key_id.clone())
        }
    };
    let request = request.set_storage_class(settings.storage_class.as_deref().map(StorageClass::from));
    let escaped = |text: &str| utf8_percent_encode(text, QUERY).to_string();
    let tags = settings.tags.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    let tags = tags.collect::<Vec<_>>().join("&");
    request.set_tagging((!tags.is_empty()).then_some(tags))
}
