//! Who looks on while the daemon runs: the status page over HTTP, and the heartbeat that somebody else waits for.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use connvault::adapters::system_clock::SystemClock;
use connvault::ports::clock::Clock;
use connvault_sim::{Endpoint, Fault, Rule};
use serde_json::Value;

use crate::support::vault::{Vault, WINDOWS, days_ago, text};
use crate::support::watched::{PATIENCE, Watched, blocking, get, request};
use crate::support::world::example;

/// `status --json` but for its `now`.
async fn status(vault: &Vault) -> Value {
    without_now(&text(&vault.connvault(&["status", "--json"]).await.stdout))
}

fn without_now(document: &str) -> Value {
    let mut status: Value = serde_json::from_str(document).unwrap();
    status.as_object_mut().unwrap().remove("now");
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_page_shows_what_status_shows_with_the_whole_head() {
    let vault = Vault::in_directory().await;
    let mut watched = Watched::start(&vault, "127.0.0.1:0", "");
    vault.until_archived(&mut watched.daemon).await;
    let address = watched.address();
    let wanted = status(&vault).await;
    let head = &wanted["streams"][0]["head"];
    assert_eq!(head["seq"].as_u64().unwrap() as usize, WINDOWS + 1);
    let (code, json) = blocking(move || get(address, "/status.json")).await;
    assert_eq!((code, without_now(&json)), (200, wanted.clone()));
    let (code, page) = blocking(move || get(address, "/")).await;
    assert_eq!(code, 200);
    let whole = format!("{}:{}", head["seq"], head["hash"].as_str().unwrap());
    assert!(page.contains(&format!("<td class=\"head\">{whole}</td>")), "{page}");
    assert_eq!(blocking(move || get(address, "/healthz")).await, (200, "alive\n".to_owned()));
    assert_eq!(blocking(move || get(address, "/readyz")).await, (200, "ready\n".to_owned()));
    assert_eq!(blocking(move || get(address, "/etc/passwd")).await.0, 404);
    let (code, refused, _) = blocking(move || request(address, "POST /")).await;
    assert!(code == 405 && refused.contains("allow: get, head"), "{refused}");
    let (code, headers, body) = blocking(move || request(address, "HEAD /")).await;
    assert_eq!((code, body.as_str()), (200, ""));
    for header in ["no-store", "nosniff", "default-src 'none'", "text/html"] {
        assert!(headers.contains(header), "{headers}");
    }
    // Somebody who connects and says nothing keeps nobody else from being answered.
    let silent: Vec<_> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(blocking(move || get(address, "/healthz")).await.0, 200);
    drop(silent);
    watched.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_said_and_keeps_nothing_from_being_archived() {
    let vault = Vault::in_directory().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut watched = Watched::start(&vault, &address, "");
    vault.until_archived(&mut watched.daemon).await;
    let event = watched.event("the status page cannot be shown");
    assert_eq!((&event["level"], &event["address"]), (&"ERROR".into(), &address.into()));
    watched.end();
}

/// Takes one request's body, and answers with `status`.
fn take(listener: &TcpListener, status: &str) -> (String, Value) {
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    write!(socket, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

fn heartbeat_to(vault: &Vault, listener: &TcpListener) -> String {
    vault.secret(
        "heartbeat",
        &format!("http://{}/ping/hunter2-of-the-heartbeat", listener.local_addr().unwrap()),
    );
    format!("[alerts]\nheartbeat_url_file = \"{}\"\n", vault.path("heartbeat").display())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_heartbeat_tells_every_head_and_its_url_is_in_no_log() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let alerts = heartbeat_to(&vault, &listener);
    let watched = Watched::start(&vault, "", &alerts);
    let (head, body) = blocking(move || take(&listener, "500 Broken")).await;
    assert!(head.starts_with("POST /ping/hunter2-of-the-heartbeat HTTP/1.1"), "{head}");
    let wanted = status(&vault).await;
    let (said, known) = (&body["streams"][0], &wanted["streams"][0]);
    assert_eq!((&said["stream"], &said["head"]), (&known["stream"], &known["head"]));
    assert!(body["now"].is_string() && body["host"].is_string() && body["version"].is_string(), "{body}");
    let event = watched.event("heartbeat not sent");
    assert!(event["error"].as_str().unwrap().contains("it answers 500"), "{event}");
    assert!(!event.to_string().contains("hunter2"), "{event}");
    let log = watched.end();
    assert!(!log.contains("hunter2"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_heartbeat_while_a_stream_waits_for_an_operator_though_no_window_is_late() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    let planted = vault.path(&format!("archive/logins/log/{:012}.json", WINDOWS + 2));
    std::fs::write(&planted, "{}").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let alerts = heartbeat_to(&vault, &listener);
    let mut watched = Watched::start(&vault, "", &alerts);
    let event = watched.event("held up until an operator looks");
    assert!(event["message"].as_str().unwrap().contains("000000000007.json"), "{event}");
    watched.daemon.wake();
    vault.until_status_shows("000000000007.json", 1).await;
    let mended = SystemClock.now();
    std::fs::remove_file(&planted).unwrap();
    assert!(vault.connvault(&["retry"]).await.status.success());
    watched.daemon.wake();
    // The first one of all.
    let (_, body) = blocking(move || take(&listener, "204 Thanks")).await;
    let at: jiff::Timestamp = body["now"].as_str().unwrap().parse().unwrap();
    assert!(at > mended, "it was sent while the stream was on hold: {body}");
    assert_eq!(body["streams"][0]["head"]["seq"].as_u64().unwrap(), WINDOWS as u64 + 1, "{body}");
    watched.daemon.kill().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_heartbeat_while_the_clock_is_wrong() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let alerts = heartbeat_to(&vault, &listener);
    // A year behind: nothing is due.
    std::fs::write(vault.path("offset"), "-31536000").unwrap();
    let mut command = Command::new(example("wrong_clock"));
    command.arg(vault.path("offset")).args(["run", "--config"]).arg(vault.path("config.toml"));
    let watched = Watched::start_as(command, &vault, "", &alerts);
    let event = watched.event("everything waits for the clock");
    assert_eq!((&event["level"], &event["kind"]), (&"ERROR".into(), &"clock".into()));
    std::fs::write(vault.path("offset"), "0").unwrap();
    watched.daemon.wake();
    let (_, body) = blocking(move || take(&listener, "204 Thanks")).await;
    let now: jiff::Timestamp = body["now"].as_str().unwrap().parse().unwrap();
    assert!(now > days_ago(1), "the first one of all: {body}");
    watched.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_heartbeat_until_no_window_is_past_its_deadline() {
    let vault = Vault::in_directory().await;
    let broken = Fault::Status { code: 503, error_code: "WKS.0503".to_owned(), retry_after: None };
    vault.sim.faults().add(Rule::new(broken).on(Endpoint::Export));
    // A backlog is late by the deadline after the stream was opened.
    vault.configure("deadline = \"1s\"");
    vault.connvault(&["once"]).await;
    vault.until_status_shows("(late)", WINDOWS).await;
    assert!(vault.connvault(&["retry"]).await.status.success());
    let before = vault.sim.request_count(Endpoint::Export);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let alerts = heartbeat_to(&vault, &listener);
    let watched = Watched::start(&vault, "127.0.0.1:0", &alerts);
    let address = watched.address();
    vault.until(|| vault.sim.request_count(Endpoint::Export) > before).await;
    let (_, json) = blocking(move || get(address, "/status.json")).await;
    assert!(without_now(&json)["streams"][0]["late"].as_u64().unwrap() > 0, "{json}");
    vault.sim.faults().clear();
    let (_, body) = blocking(move || take(&listener, "204 Thanks")).await;
    let head = body["streams"][0]["head"]["seq"].as_u64().unwrap();
    assert_eq!(head, WINDOWS as u64 + 1, "the first one of all: {body}");
    watched.end();
}
