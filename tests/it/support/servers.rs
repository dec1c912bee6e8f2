//! Real servers that `scripts/test` brings, and buckets of one's own on them.

use std::sync::Arc;

use connvault::adapters::s3_store::{S3Settings, S3Store};

use super::buckets::{plain_client, settings};

/// Which server; the environment says where it is.
#[derive(Debug, Clone, Copy)]
pub enum Server {
    SeaweedFs,
    Ceph,
    /// It ignores what it does not know.
    Rclone,
}

impl Server {
    fn variable(self, what: &str) -> String {
        let server = match self {
            Self::SeaweedFs => "S3",
            Self::Ceph => "CEPH",
            Self::Rclone => "RCLONE",
        };
        let name = format!("CONNVAULT_TEST_{server}_{what}");
        std::env::var(&name).unwrap_or_else(|_| {
            panic!("{name} is not set: run these tests with scripts/test, which starts {self:?}")
        })
    }
}

/// A new bucket.
pub struct Bucket {
    pub settings: S3Settings,
    pub client: aws_sdk_s3::Client,
}

impl Bucket {
    /// Without versions and locks.
    pub async fn plain(server: Server) -> Self {
        Self::on(server, false).await
    }

    /// With Object Lock, and so with versions.
    pub async fn with_object_lock(server: Server) -> Self {
        Self::on(server, true).await
    }

    async fn on(server: Server, object_lock: bool) -> Self {
        let bucket = format!("it-{}", uuid::Uuid::now_v7());
        let (access_key, secret_key) = (server.variable("ACCESS_KEY"), server.variable("SECRET_KEY"));
        let settings = settings(&server.variable("ENDPOINT"), &bucket, &access_key, &secret_key);
        let client = plain_client(&settings);
        let request = client.create_bucket().bucket(&bucket);
        let request = if object_lock { request.object_lock_enabled_for_bucket(true) } else { request };
        request.send().await.unwrap();
        Self { settings, client }
    }

    pub fn store(&self) -> Arc<S3Store> {
        Arc::new(S3Store::new(self.settings.clone()).unwrap())
    }

    /// A key below the store's prefix as the bucket has it.
    pub fn whole(&self, key: &str) -> String {
        format!("{}/{key}", self.settings.prefix.as_deref().unwrap())
    }
}
