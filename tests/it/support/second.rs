//! What stands beside the first source and the first store of a vault, each with a stream of its own: a bucket that comes and goes,
//! and sources.

use std::net::SocketAddr;

use connvault_sim::{Key, Records, Simulator};
use jiff::SignedDuration;

use super::buckets::InProcess;
use super::s3s::{ACCESS_KEY, Dialect, S3sServer, SECRET_KEY};
use super::vault::{self, Vault, WINDOWS};

/// A source whose stream, called like the source, goes into the first store of a vault.
pub async fn another_source(vault: &Vault, name: &str) -> Simulator {
    let day = SignedDuration::from_hours(24);
    let records = Records::seeded(9, vault.start - day, vault.start + day * (WINDOWS as i32 + 2), 40);
    let key = Key::permanent(vault::ACCESS_KEY, vault::SECRET_KEY);
    let sim = Simulator::builder().key(key).records(records).start().await.unwrap();
    let dir = vault.dir.path().display();
    let more = format!(
        "[sources.{name}]\nkind = \"huaweicloud-workspace\"\nregion = \"sim\"\nendpoint = \"{}\"\n\
         project_id = \"{}\"\nrequests_per_second = 1000\nstall_timeout = \"5m\"\n\
         [sources.{name}.credentials]\nkind = \"aksk\"\naccess_key_file = \"{dir}/source-ak\"\n\
         secret_key_file = \"{dir}/source-sk\"\n\
         [streams.{name}]\nsource = \"{name}\"\nstore = \"archive\"\nwindow = \"1d\"\ntimezone = \"UTC\"\n\
         start = \"{}\"\nsettle = \"0s\"\nrevisit = []\n",
        sim.endpoint(),
        sim.project_id(),
        vault.start
    );
    let path = vault.path("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + &more).unwrap();
    sim
}

/// Gives the vault so many places for windows.
pub fn set_places(vault: &Vault, places: usize) {
    let path = vault.path("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replacen("[daemon]\n", &format!("[daemon]\nconcurrency = {places}\n"), 1);
    std::fs::write(&path, text).unwrap();
}

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
