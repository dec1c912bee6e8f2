//! Whom the status page answers, and what it says of the daemon itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::support::vault::{Vault, text};
use crate::support::watched::{Watched, blocking, get};

/// The answer's status and body for a request that names `host`.
fn get_as(address: SocketAddr, host: &str, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\n{host}\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{host}: {answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_answers_to_its_own_names_only() {
    let vault = Vault::in_directory().await;
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let named = config.replace("[daemon]\n", "[daemon]\npage_hosts = [\"vault.example\"]\n");
    std::fs::write(vault.path("config.toml"), named).unwrap();
    let watched = Watched::start(&vault, "127.0.0.1:0", "");
    let address = watched.address();
    let port = address.port();
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let asked = move |host: String| move || get_as(address, &host, "/status.json");
    let names = ["localhost", "LOCALHOST.", "127.0.0.1", "[::1]", own.trim(), "vault.example"];
    for name in names {
        for host in [format!("Host: {name}\r\n"), format!("Host: {name}:{port}\r\n")] {
            let (code, body) = blocking(asked(host.clone())).await;
            assert_eq!(code, 200, "{host}: {body}");
        }
    }
    let names = ["evil.example", "localhost.evil.example", "10.1.2.3", "127.0.0.1.evil.example", ""];
    for name in names {
        let (code, body) = blocking(asked(format!("Host: {name}\r\n"))).await;
        assert!(code == 421 && body.contains("daemon.page_hosts"), "{name}: {code} {body}");
    }
    let two = "Host: localhost\r\nHost: evil.example\r\n".to_owned();
    assert_eq!(blocking(asked(two)).await.0, 421);
    assert_eq!(blocking(asked(String::new())).await.0, 421);
    let (code, _) = blocking(move || get_as(address, "Host: evil.example\r\n", "/")).await;
    assert_eq!(code, 421);
    let (code, _) = blocking(move || get_as(address, "Host: localhost\r\n", "http://evil.example/")).await;
    assert_eq!(code, 421, "the address of the request counts more than its Host");
    watched.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_connects_and_says_nothing_keeps_nobody_from_the_health_check() {
    let vault = Vault::in_directory().await;
    let watched = Watched::start(&vault, "127.0.0.1:0", "");
    let address = watched.address();
    let silent: Vec<_> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    // And as many that ask for the page and do not take the answer.
    let slow: Vec<_> = (0..40)
        .map(|_| {
            let mut socket = TcpStream::connect(address).unwrap();
            write!(socket, "GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
            socket
        })
        .collect();
    assert_eq!(blocking(move || get(address, "/healthz")).await, (200, "alive\n".to_owned()));
    let open = |socket: &&TcpStream| {
        socket.set_nonblocking(true).unwrap();
        let read = (&mut &**socket).read(&mut [0]);
        read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    };
    assert!(silent.iter().filter(open).count() > 16, "it was answered before their time was over");
    drop(slow);
    watched.end();
}

fn first_line(output: &std::process::Output) -> String {
    text(&output.stdout).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_line_says_whether_the_daemon_runs_and_with_which_configuration() {
    let vault = Vault::in_directory().await;
    let line = first_line(&vault.connvault(&["status"]).await);
    assert_eq!(line, "the daemon does not run");
    let mut watched = Watched::start(&vault, "127.0.0.1:0", "");
    let address = watched.address();
    vault.until_archived(&mut watched.daemon).await;
    let line = first_line(&vault.connvault(&["status"]).await);
    assert!(line.starts_with("the daemon runs since ") && line.contains("; it last looked at "), "{line}");
    assert!(line.ends_with("; the configuration file is the one that it started with"), "{line}");
    let json = text(&vault.connvault(&["status", "--json"]).await.stdout);
    let asked: Value = serde_json::from_str(&json).unwrap();
    let (_, json) = blocking(move || get(address, "/status.json")).await;
    let shown: Value = serde_json::from_str(&json).unwrap();
    for status in [&asked, &shown] {
        assert_eq!(status["daemon"]["runs"], true, "{status}");
        assert_eq!(status["daemon"]["configuration_changed"], false, "{status}");
        assert_eq!(status["daemon"]["pid"], watched.daemon.id(), "{status}");
    }
    let (_, html) = blocking(move || get(address, "/")).await;
    assert!(html.contains("<p>the daemon runs since "), "{html}");

    // A remark changes nothing.
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    std::fs::write(vault.path("config.toml"), format!("# A remark.\n{config}")).unwrap();
    let line = first_line(&vault.connvault(&["status"]).await);
    assert!(line.contains("is the one that it started with"), "{line}");
    let changed = config.replace("[daemon]\n", "[daemon]\nconcurrency = 2\n");
    std::fs::write(vault.path("config.toml"), changed).unwrap();
    let line = first_line(&vault.connvault(&["status"]).await);
    assert!(line.contains("the configuration file has changed since") && line.contains("restart"), "{line}");
    let (_, json) = blocking(move || get(address, "/status.json")).await;
    let shown: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(shown["daemon"]["configuration_changed"], true, "{shown}");

    // Another command does not make it look as if the daemon ran.
    watched.end();
    let line = first_line(&vault.connvault(&["status"]).await);
    assert!(line.starts_with("the daemon does not run; connvault last looked at "), "{line}");
    vault.once().await;
    let line = first_line(&vault.connvault(&["status"]).await);
    assert!(line.starts_with("the daemon does not run; connvault last looked at "), "{line}");
}
