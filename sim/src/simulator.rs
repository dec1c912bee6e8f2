//! Talking to a simulator while it runs, and stopping it.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinHandle};

use crate::{
    builder::Builder, endpoint::Endpoint, faults::Faults, keys::Keys, records::Records,
    request_log::LoggedRequest, server::Shared, tasks::Tasks, withdrawal::Withdrawal,
};

/// How long [`Simulator::stop`] waits for answers under way.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// A simulator that listens; it stops when dropped.
pub struct Simulator {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<io::Result<()>>,
}

impl Simulator {
    /// A simulator with the defaults of [`Builder`].
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn listening(
        address: SocketAddr,
        shared: Arc<Shared>,
        stop: watch::Sender<bool>,
        task: JoinHandle<io::Result<()>>,
    ) -> Self {
        Self { address, shared, stop, task }
    }

    /// `http://127.0.0.1:port`, without a slash at its end.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The project that exists.
    pub fn project_id(&self) -> &str {
        &self.shared.project_id
    }

    /// The keys accepted, to add to and revoke from.
    pub fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    /// The records served, to add to.
    pub fn records(&self) -> &Records {
        &self.shared.records
    }

    /// The scripted faults.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The export centre's tasks.
    pub fn tasks(&self) -> &Tasks {
        &self.shared.tasks
    }

    /// The v2 export is gone from now on; the query is not.
    pub fn withdraw_v2(&self, how: Withdrawal) {
        self.withdraw_v2_after(0, how);
    }

    /// As [`Self::withdraw_v2`], after so many more exports.
    pub fn withdraw_v2_after(&self, exports: u64, how: Withdrawal) {
        self.shared.withdrawn.after(exports, how);
    }

    /// No token that was given out is good any more.
    pub fn revoke_tokens(&self) {
        self.shared.iam.revoke();
    }

    /// How many tokens were given out.
    pub fn tokens_issued(&self) -> u64 {
        self.shared.iam.issued()
    }

    /// How many keys the metadata service has given out.
    pub fn security_keys_issued(&self) -> u64 {
        self.shared.metadata.keys_issued()
    }

    /// The requests so far, in the order of their answers; of more than 100 000, the latest.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.shared.log.all()
    }

    /// How many requests an operation has had, refused ones included.
    pub fn request_count(&self, endpoint: Endpoint) -> u64 {
        self.shared.log.count(endpoint)
    }

    /// Forgets the requests so far, and their counts.
    pub fn clear_requests(&self) {
        self.shared.log.clear();
    }

    /// Stops listening at once, lets go of whatever a fault holds up, and waits for answers under way, though not
    /// longer than three seconds.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(STOP_GRACE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}
