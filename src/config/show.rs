//! The effective configuration: every key with the value in force, as TOML that reads back as the same
//! configuration, and as JSON. Of secrets the files are named as they were written; nothing here opens them.

use serde_json::{Map, Value, json};

use super::model::{
    AkSk, Config, CreateOnlyMode, Credentials, ReadbackMode, S3Store, Signing, Source, Sse, Store, Stream,
    TokenUser,
};
use super::text::ProjectId;
use crate::domain::duration::{spelled, spelled_std};

impl Config {
    /// Every key with the value in force. Keys without a value are left out.
    pub fn effective(&self) -> Value {
        let sources = self.sources.iter().map(|(name, source)| (name.to_string(), show_source(source)));
        let stores = self.stores.iter().map(|(name, store)| (name.to_string(), show_store(store)));
        let streams = self.streams.iter().map(|(name, stream)| (name.to_string(), show_stream(stream)));
        without_nulls(json!({
            "daemon": {
                "state_dir": self.daemon.state_dir,
                "schedule": self.daemon.schedule.as_str(),
                "concurrency": self.daemon.concurrency,
                "keep_attempts": spelled(self.daemon.keep_attempts),
                "listen": self.daemon.listen.map_or_else(String::new, |address| address.to_string()),
                "page_hosts": self.daemon.page_hosts,
            },
            "sources": sources.collect::<Map<_, _>>(),
            "stores": stores.collect::<Map<_, _>>(),
            "streams": streams.collect::<Map<_, _>>(),
            "signing": self.signing.as_ref().map(show_signing),
            "alerts": self.alerts.heartbeat_url.as_ref().map(|file| json!({ "heartbeat_url_file": file.as_written() })),
        }))
    }

    /// [`Config::effective`] as TOML, which [`Config::load`] reads as this very configuration.
    pub fn effective_toml(&self) -> String {
        toml::to_string_pretty(&self.effective())
            .expect("the tree holds texts, whole numbers below 2^63, flags and maps with text keys: TOML has them all")
    }
}

/// Leaves out what has no value: TOML knows no null.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => map.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        other => other,
    }
}

fn show_signing(signing: &Signing) -> Value {
    without_nulls(json!({
        "key_file": signing.key.as_written(),
        "allowed_signers_file": signing.allowed_signers_file,
    }))
}

pub(super) fn show_source(source: &Source) -> Value {
    without_nulls(json!({
        "kind": "huaweicloud-workspace",
        "region": source.region.as_str(),
        "endpoint": source.endpoint.as_str(),
        "project_id": source.project_id.as_ref().map(ProjectId::as_str),
        "iam_endpoint": source.iam_endpoint.as_str(),
        "api": source.api.as_str(),
        "requests_per_second": source.requests_per_second,
        "horizon": spelled(source.horizon),
        "past_horizon": source.past_horizon.as_str(),
        "task_timeout": spelled_std(source.task_timeout),
        "ca_file": source.ca_file,
        "connect_timeout": spelled_std(source.connect_timeout),
        "first_byte_timeout": spelled_std(source.first_byte_timeout),
        "stall_timeout": spelled_std(source.stall_timeout),
        "least_rate": source.least_rate.to_string(),
        "max_body": source.max_body.to_string(),
        "credentials": show_credentials(&source.credentials),
    }))
}

fn show_credentials(credentials: &Credentials) -> Value {
    match credentials {
        Credentials::AkSk(keys) => {
            let mut map = keys_of(keys);
            map.insert("kind".to_owned(), "aksk".into());
            map.into()
        }
        Credentials::Token(TokenUser { domain, user, password }) => {
            json!({ "kind": "token", "domain": domain, "user": user, "password_file": password.as_written() })
        }
        Credentials::EcsAgency(endpoint) => {
            json!({ "kind": "ecs-agency", "metadata_endpoint": endpoint.as_str() })
        }
    }
}

fn keys_of(keys: &AkSk) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("access_key_file".to_owned(), json!(keys.access_key.as_written()));
    map.insert("secret_key_file".to_owned(), json!(keys.secret_key.as_written()));
    if let Some(token) = &keys.security_token {
        map.insert("security_token_file".to_owned(), json!(token.as_written()));
    }
    map
}

pub(super) fn show_store(store: &Store) -> Value {
    match store {
        Store::Directory(store) => json!({
            "kind": "directory",
            "path": store.path,
            "readback": readback(store.readback),
        }),
        Store::S3(store) => show_s3(store),
    }
}

fn show_s3(store: &S3Store) -> Value {
    let (sse, kms_key_id) = match &store.sse {
        None => (None, None),
        Some(Sse::Aes256) => (Some("AES256"), None),
        Some(Sse::Kms { key_id }) => (Some("aws:kms"), key_id.as_ref().map(|id| id.as_str())),
    };
    let tags = store.tags.iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
    let mut map = keys_of(&store.credentials);
    let rest = json!({
        "kind": "s3",
        "bucket": store.bucket.as_str(),
        "region": store.region.as_str(),
        "endpoint": store.endpoint.as_ref().map(|endpoint| endpoint.as_str()),
        "path_style": store.path_style,
        "prefix": store.prefix.as_str(),
        "ca_file": store.ca_file,
        "least_rate": store.least_rate.to_string(),
        "create_only": match store.create_only {
            CreateOnlyMode::Auto => "auto",
            CreateOnlyMode::IfNoneMatch => "if-none-match",
            CreateOnlyMode::ObsForbidOverwrite => "obs-forbid-overwrite",
            CreateOnlyMode::Head => "head",
        },
        "readback": readback(store.readback),
        "storage_class": store.storage_class.as_ref().map(|class| class.as_str()),
        "sse": sse,
        "kms_key_id": kms_key_id,
        "tags": tags.collect::<Map<_, _>>(),
        "object_lock": store.object_lock.map(|lock| json!({
            "mode": lock.mode.to_string(),
            "retain": spelled(lock.retain),
        })),
        "legal_hold": store.legal_hold,
    });
    if let Value::Object(rest) = rest {
        map.extend(rest);
    }
    without_nulls(Value::Object(map))
}

fn readback(mode: ReadbackMode) -> &'static str {
    match mode {
        ReadbackMode::Full => "full",
        ReadbackMode::Metadata => "metadata",
    }
}

pub(super) fn show_stream(stream: &Stream) -> Value {
    without_nulls(json!({
        "source": stream.source.as_str(),
        "store": stream.store.as_str(),
        "window": stream.window.spelled(),
        "timezone": stream.timezone.iana_name(),
        "start": stream.start.to_string(),
        "accept_lost_before": stream.accept_lost_before.map(|before| before.to_string()),
        "settle": spelled(stream.settle),
        "margin": spelled(stream.margin),
        "revisit": stream.revisit.iter().map(|after| spelled(*after)).collect::<Vec<_>>(),
        "deadline": spelled(stream.deadline),
        "on_count_mismatch": stream.on_count_mismatch,
        "filters": {
            "user_name": stream.filters.user_name,
            "computer_name": stream.filters.computer_name,
            "terminal_type": stream.filters.terminal_type,
            "language": stream.filters.language.as_str(),
        },
    }))
}
