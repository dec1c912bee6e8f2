//! Text that a provider or a store makes up reaches no terminal, log or entry as it came.

use std::process::Output;

use connvault_sim::Endpoint;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

use crate::support::vault::{Vault, WINDOWS, days_ago, text};

/// Longer than any message of ours.
const LONG: usize = 8 * 1024;
const NASTY: &str = "\\u001b[2J\\u009b31m\\u202edne\\u2066";

/// Answers for a source: those to `path` come from `answer`, all others from the simulator.
async fn source_that_says(vault: &Vault, path: &'static str, status: &str, body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let simulator = vault.sim.endpoint().to_string();
    let simulator = simulator.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let (simulator, answer) = (simulator.clone(), answer.clone());
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = client.read_u8().await else { return };
                    head.push(byte);
                }
                let request = String::from_utf8(head).unwrap();
                if request.split(' ').nth(1).unwrap().split('?').next().unwrap().ends_with(path) {
                    _ = client.write_all(answer.as_bytes()).await;
                } else {
                    let mut server = TcpStream::connect(&simulator).await.unwrap();
                    let request = request.replacen("\r\n", "\r\nConnection: close\r\n", 1);
                    server.write_all(request.as_bytes()).await.unwrap();
                    _ = copy(&mut server, &mut client).await;
                }
                _ = client.shutdown().await;
            });
        }
    });
    endpoint
}

fn point_to(vault: &Vault, endpoint: &str) {
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let config = config
        .replace(&format!("endpoint = \"{}\"", vault.sim.endpoint()), &format!("endpoint = \"{endpoint}\""));
    assert!(config.contains(endpoint));
    std::fs::write(vault.path("config.toml"), config).unwrap();
}

/// Nothing in it but plain lines, none of them long.
fn assert_harmless(what: &str, bytes: &[u8]) {
    let shown = String::from_utf8(bytes.to_vec()).unwrap();
    for line in shown.lines() {
        let bad = line.chars().find(|c| {
            c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        });
        assert_eq!(bad, None, "{what}: {line:?}");
        assert!(line.len() < LONG, "{what}: a line of {} bytes: {:.300}", line.len(), line);
    }
}

fn harmless(what: &str, output: &Output) {
    assert_harmless(what, &output.stdout);
    assert_harmless(what, &output.stderr);
}

/// Every command that shows what the ledger, the log or the store holds.
async fn all_shown_is_harmless(vault: &Vault) {
    for command in ["status", "gaps", "plan", "verify"] {
        for more in [&[][..], &["--json"]] {
            harmless(command, &vault.connvault(&[&[command], more].concat()).await);
        }
    }
    for format in ["text", "json"] {
        assert!(vault.connvault(&["retry"]).await.status.success());
        harmless(format, &vault.connvault(&["once", "--log-format", format, "--log", "debug"]).await);
    }
}

/// Nothing long or harmful is kept.
async fn all_kept_is_harmless(vault: &Vault) {
    for entry in vault.audit().await.entries {
        assert!(entry.bytes().len() < 64 * 1024, "an entry of {} bytes", entry.bytes().len());
        assert_harmless("an entry", entry.bytes());
    }
    let ledger = std::fs::metadata(vault.state_dir().join("ledger.sqlite3")).unwrap().len();
    assert!(ledger < 1 << 20, "a ledger of {ledger} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_count_answer_is_not_quoted_at_length() {
    for bytes in [2 << 20, 1 << 19] {
        let vault = Vault::in_directory().await;
        let body = format!("{{\"total_count\": \"{NASTY}{}\"}}", "9".repeat(bytes));
        let endpoint = source_that_says(&vault, "/connections/desktops", "200 OK", body).await;
        point_to(&vault, &endpoint);
        harmless("once", &vault.connvault(&["once"]).await);
        assert!(vault.sim.request_count(Endpoint::Export) > 0);
        all_shown_is_harmless(&vault).await;
        all_kept_is_harmless(&vault).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_an_error_are_one_short_harmless_line() {
    for (bytes, told) in [(10, "said so"), (50 << 10, "said so"), (2 << 20, "400 Bad Request")] {
        let vault = Vault::in_directory().await;
        let message = format!("said so {NASTY}{}", "x".repeat(bytes));
        let body = format!("{{\"error_code\": \"WKS.1\", \"error_msg\": \"{message}\"}}");
        let endpoint =
            source_that_says(&vault, "/connections/desktops/export", "400 Bad Request", body).await;
        point_to(&vault, &endpoint);
        let once = vault.connvault(&["once"]).await;
        assert_eq!(once.status.code(), Some(1), "{}", text(&once.stderr));
        harmless("once", &once);
        let status = vault.connvault(&["status", "--json"]).await;
        let status: Value = serde_json::from_slice(&status.stdout).unwrap();
        let failure = &status["windows"][0]["failure"]["message"];
        assert!(failure.as_str().unwrap().contains(told), "{failure}");
        assert_eq!(status["streams"][0]["parked"], WINDOWS as u64);
        all_shown_is_harmless(&vault).await;
        all_kept_is_harmless(&vault).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_somebody_else_put_beside_an_object_is_shown_without_its_tricks() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    let window =
        format!("{}_{}", days_ago(2).strftime("%Y%m%dT%H%M%SZ"), days_ago(1).strftime("%Y%m%dT%H%M%SZ"));
    let folder = vault.path("archive/logins/data").join(days_ago(2).strftime("%Y/%m/%d").to_string());
    for name in ["\u{1b}[2J\u{202e}vsc", "\u{2066}x\nlogins: nothing is wrong"] {
        std::fs::write(folder.join(format!("{window}.r1.{name}")), "x").unwrap();
        std::fs::write(vault.path("archive/logins/log").join(format!("000000000099.json.{name}")), "x")
            .unwrap();
    }
    let verified = vault.connvault(&["verify"]).await;
    assert!(text(&verified.stdout).contains("is named by no entry"), "{}", text(&verified.stdout));
    all_shown_is_harmless(&vault).await;
    let from = days_ago(3).to_string();
    let again = ["backfill", "logins", "--from", &from, "--redo", "all", "--log", "debug"];
    harmless("backfill", &vault.connvault(&again).await);
}
