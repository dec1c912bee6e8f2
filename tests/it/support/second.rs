//! A second store beside the first one of a vault: a bucket that comes and goes, with a stream of its own.

use std::net::SocketAddr;

use super::buckets::InProcess;
use super::s3s::{ACCESS_KEY, Dialect, S3sServer, SECRET_KEY};
use super::vault::Vault;

/// A bucket of a server in this process that can be taken away and brought back, always at the same address.
pub struct SecondStore {
    pub folder: tempfile::TempDir,
    pub address: SocketAddr,
    pub server: Option<S3sServer>,
}

impl SecondStore {
    /// One that is there.
    pub async fn open() -> Self {
        let InProcess { server, folder } = InProcess::start(Dialect::Aws).await;
        let address = server.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
        Self { folder, address, server: Some(server) }
    }

    /// One that is away.
    pub async fn closed() -> Self {
        let mut store = Self::open().await;
        store.close();
        store
    }

    /// Takes it away.
    pub fn close(&mut self) {
        self.server = None;
    }

    /// Brings it back.
    pub async fn come_back(&mut self) {
        // The port may not be given back yet.
        while self.server.is_none() {
            self.server = S3sServer::start_on(self.folder.path(), Dialect::Aws, self.address).await.ok();
            tokio::task::yield_now().await;
        }
    }

    /// Has the vault archive a stream called `second` in it.
    pub fn configure(&self, vault: &Vault) {
        vault.secret("second-ak", ACCESS_KEY);
        vault.secret("second-sk", SECRET_KEY);
        let dir = vault.dir.path().display();
        let more = format!(
            "[stores.second]\nkind = \"s3\"\nbucket = \"audit\"\nregion = \"us-east-1\"\nendpoint = \"http://{}\"\n\
             path_style = true\nprefix = \"workspace\"\naccess_key_file = \"{dir}/second-ak\"\n\
             secret_key_file = \"{dir}/second-sk\"\n\
             [streams.second]\nsource = \"hq\"\nstore = \"second\"\nwindow = \"1d\"\ntimezone = \"UTC\"\nstart = \"{}\"\n\
             settle = \"0s\"\nrevisit = []\n",
            self.address, vault.start
        );
        let path = vault.path("config.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text + &more).unwrap();
    }
}
