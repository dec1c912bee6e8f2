//! A daemon that a test looks at: its log line by line, and its status page.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use super::vault::{Running, Vault};

/// A daemon, its log line by line, and its status page's address.
pub struct Watched {
    pub daemon: Running,
    log: mpsc::Receiver<Value>,
}

/// The longest that anything here may take, before it counts as never.
pub const PATIENCE: Duration = Duration::from_secs(60);

impl Watched {
    pub fn start(vault: &Vault, listen: &str, more: &str) -> Self {
        Self::start_as(vault.daemon_command(), vault, listen, more)
    }

    /// As [`Self::start`], by a command of one's own.
    pub fn start_as(mut command: Command, vault: &Vault, listen: &str, more: &str) -> Self {
        let config = vault.path("config.toml");
        let old = std::fs::read_to_string(&config).unwrap();
        let new = old.replace("listen = \"\"", &format!("listen = \"{listen}\"")) + more;
        std::fs::write(&config, new).unwrap();
        command.args(["--log-format", "json"]).stderr(Stdio::piped());
        let mut daemon = Running(command.spawn().unwrap());
        let lines = BufReader::new(daemon.stderr.take().unwrap()).lines();
        let (send, log) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                _ = send.send(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        Self { daemon, log }
    }

    /// The next event with this message.
    pub fn event(&self, message: &str) -> Value {
        loop {
            let event = self.log.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("no {message:?}: {e}"));
            if event["message"].as_str().is_some_and(|text| text.contains(message)) {
                return event;
            }
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.event("status page shown")["address"].as_str().unwrap().parse().unwrap()
    }

    /// Everything that it has logged when it has ended.
    pub fn end(mut self) -> String {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
        self.log.iter().map(|event| event.to_string() + "\n").collect()
    }
}

/// The answer's status, head and body.
pub fn request(address: SocketAddr, line: &str) -> (u16, String, String) {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "{line} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{line}: {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
}

pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let (status, _, body) = request(address, &format!("GET {path}"));
    (status, body)
}

pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
