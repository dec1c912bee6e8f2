//! A server for tests that says over TCP exactly what it was told to, right or wrong: one script a connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What becomes of a connection after the answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Then {
    /// A proper end.
    Close,
    /// A TCP reset.
    Reset,
    /// Nothing more comes, and nothing ends.
    Hang,
    /// The answer's last byte over and over, until the client has had enough.
    Repeat,
}

/// The answer to the request on one connection.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub answer: String,
    pub then: Then,
}

/// A whole answer with its length, after which the connection ends.
pub(super) fn answer(status: &str, headers: &str, body: &str) -> Script {
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    Script { answer, then: Then::Close }
}

/// The very bytes given.
pub(super) fn raw(answer: &str, then: Then) -> Script {
    Script { answer: answer.to_owned(), then }
}

/// Answers the n-th connection with the n-th script, and refuses to talk after the last.
pub(super) struct ScriptedServer {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl ScriptedServer {
    pub(super) async fn start(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            for script in scripts {
                let (stream, _) = listener.accept().await.unwrap();
                open.extend(play(stream, script, &heard).await);
            }
            std::future::pending::<()>().await;
        });
        Self { address, requests, task }
    }

    /// The heads of the requests so far, as they were sent.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Plays one script; gives the connection back where it is to stay open.
async fn play(mut stream: TcpStream, script: Script, heard: &Mutex<Vec<String>>) -> Option<TcpStream> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return None,
        }
    }
    heard.lock().unwrap().push(String::from_utf8(head).unwrap());
    stream.write_all(script.answer.as_bytes()).await.unwrap();
    match script.then {
        Then::Close => None,
        Then::Hang => Some(stream),
        Then::Reset => {
            stream.set_zero_linger().unwrap();
            None
        }
        Then::Repeat => {
            let last = script.answer.as_bytes().last().copied().unwrap();
            while stream.write_all(&[last; 4096]).await.is_ok() {}
            None
        }
    }
}
