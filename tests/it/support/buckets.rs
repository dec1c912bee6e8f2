//! Buckets to test in: of a server in this process, and of SeaweedFS where the environment says where it is.

use std::sync::Arc;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use connvault::adapters::s3_store::{CreateOnlySetting, S3Settings, S3Store, Timeouts};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::s3s::{ACCESS_KEY, Dialect, S3sServer, SECRET_KEY};

/// Settings for a bucket at a loopback `endpoint`.
pub fn settings(endpoint: &str, bucket: &str, access_key: &str, secret_key: &str) -> S3Settings {
    S3Settings {
        bucket: bucket.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(Url::parse(endpoint).unwrap()),
        path_style: true,
        prefix: Some("workspace".to_owned()),
        access_key: SecretString::from(access_key),
        secret_key: SecretString::from(secret_key),
        security_token: None,
        ca_pem: None,
        create_only: CreateOnlySetting::Auto,
        storage_class: None,
        sse: None,
        tags: Default::default(),
        timeouts: Timeouts::default(),
    }
}

/// A server in this process with one bucket, `audit`.
pub struct InProcess {
    pub server: S3sServer,
    pub folder: tempfile::TempDir,
}

impl InProcess {
    pub async fn start(dialect: Dialect) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = S3sServer::start(folder.path(), dialect).await.unwrap();
        server.make_bucket("audit").unwrap();
        Self { server, folder }
    }

    pub fn settings(&self) -> S3Settings {
        settings(&self.server.endpoint(), "audit", ACCESS_KEY, SECRET_KEY)
    }

    pub fn store(&self) -> Arc<S3Store> {
        Arc::new(S3Store::new(self.settings()).unwrap())
    }
}

/// A bucket of its own on SeaweedFS.
pub struct Seaweed {
    pub settings: S3Settings,
    pub client: aws_sdk_s3::Client,
}

impl Seaweed {
    /// A new bucket. Whoever runs the tests says where the server is.
    pub async fn bucket(versioned: bool) -> Self {
        let variable = |name: &str| {
            std::env::var(name).unwrap_or_else(|_| {
                panic!("{name} is not set: run these tests with scripts/test, which starts SeaweedFS")
            })
        };
        let bucket = format!("it-{}", uuid::Uuid::now_v7());
        let settings = settings(
            &variable("CONNVAULT_TEST_S3_ENDPOINT"),
            &bucket,
            &variable("CONNVAULT_TEST_S3_ACCESS_KEY"),
            &variable("CONNVAULT_TEST_S3_SECRET_KEY"),
        );
        let client = plain_client(&settings);
        client.create_bucket().bucket(&bucket).send().await.unwrap();
        if versioned {
            let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
            let request = client.put_bucket_versioning().bucket(&bucket).versioning_configuration(enabled);
            request.send().await.unwrap();
        }
        Self { settings, client }
    }

    pub fn store(&self) -> Arc<S3Store> {
        Arc::new(S3Store::new(self.settings.clone()).unwrap())
    }
}

/// A client that is none of ours, to make buckets and to look from outside.
pub fn plain_client(settings: &S3Settings) -> aws_sdk_s3::Client {
    let (key, secret) = (settings.access_key.expose_secret(), settings.secret_key.expose_secret());
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(settings.region.clone()))
        .credentials_provider(Credentials::new(key, secret, None, None, "tests"))
        .endpoint_url(settings.endpoint.as_ref().unwrap().as_str())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .force_path_style(true);
    aws_sdk_s3::Client::from_conf(config.build())
}
