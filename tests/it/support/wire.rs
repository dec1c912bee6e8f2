//! A wire between a client and a server: it keeps what the client sends, and can swallow answers.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[derive(Default)]
struct State {
    sent: Mutex<Vec<u8>>,
    /// So many answers pass before the first is swallowed.
    skip: AtomicUsize,
    swallow: AtomicUsize,
    /// Every so many-th answer to a put is swallowed; 0: none.
    every: AtomicUsize,
    answers: AtomicUsize,
}

/// The wire, until dropped.
pub struct Wire {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Wire {
    /// A wire to `server`, an `http://host:port`.
    pub async fn to(server: &str) -> Self {
        let server = server.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<State>::default();
        let task = tokio::spawn(accept(listener, server, Arc::clone(&state)));
        Self { address, state, task }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets the server carry out what it is asked, but cuts the connection instead of passing its answer on, for
    /// the next `count` answers.
    pub fn swallow_answers(&self, count: usize) {
        self.state.swallow.store(count, Ordering::SeqCst);
    }

    /// As [`Self::swallow_answers`], once `skip` answers have passed.
    pub fn swallow_answers_after(&self, skip: usize, count: usize) {
        self.state.skip.store(skip, Ordering::SeqCst);
        self.swallow_answers(count);
    }

    /// As [`Self::swallow_answers`], for every `nth` answer to a put from now on.
    pub fn swallow_every_put(&self, nth: usize) {
        self.state.every.store(nth, Ordering::SeqCst);
    }

    /// All that went to the server so far.
    pub fn sent(&self) -> Vec<u8> {
        self.state.sent.lock().unwrap().clone()
    }

    /// The heads of the requests of one method, each in lower case.
    pub fn heads(&self, method: &str) -> Vec<String> {
        let sent = String::from_utf8_lossy(&self.sent()).into_owned();
        let begin = format!("{method} /");
        let starts = sent
            .match_indices(&begin)
            .filter(|(at, _)| sent[*at..].split("\r\n").next().unwrap().ends_with(" HTTP/1.1"));
        starts.map(|(at, _)| sent[at..].split("\r\n\r\n").next().unwrap().to_lowercase()).collect()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: String, state: Arc<State>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (server, state) = (server.clone(), Arc::clone(&state));
        connections.spawn(async move {
            let server = TcpStream::connect(server).await.unwrap();
            carry(client, server, &state).await;
        });
    }
}

/// Carries both ways until one side closes, or an answer is to be swallowed.
async fn carry(client: TcpStream, server: TcpStream, state: &State) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let is_put = AtomicBool::new(false);
    let is_put = &is_put;
    let up = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            state.sent.lock().unwrap().extend_from_slice(&buffer[..read]);
            // A client sends its next request once it has its answer.
            let method =
                [&b"PUT "[..], b"GET ", b"HEAD"].into_iter().find(|method| buffer.starts_with(method));
            if let Some(method) = method {
                is_put.store(method == b"PUT ", Ordering::SeqCst);
            }
            if to_server.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
        // The client is done, or the server has hung up on it: what the server still says is passed on.
        drop(to_server);
        std::future::pending().await
    };
    let down = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            let swallow = |left: usize| left.checked_sub(1);
            let passes = state.skip.fetch_update(Ordering::SeqCst, Ordering::SeqCst, swallow).is_ok();
            if !passes && state.swallow.fetch_update(Ordering::SeqCst, Ordering::SeqCst, swallow).is_ok() {
                break;
            }
            let answers =
                state.answers.fetch_add(usize::from(is_put.load(Ordering::SeqCst)), Ordering::SeqCst) + 1;
            if is_put.load(Ordering::SeqCst)
                && answers.checked_rem(state.every.load(Ordering::SeqCst)) == Some(0)
            {
                break;
            }
            if to_client.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! { () = up => {}, () = down => {} }
}
