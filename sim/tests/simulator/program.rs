//! The simulator as a program.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

use connvault_sim::{DEFAULT_PROJECT_ID, system_clock};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::client::{Client, create_path, export_path, tasks_path, unsigned};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_connvault-sim"))
}

/// A program that runs until it is dropped.
struct Running {
    child: Child,
    /// The two lines with which it begins.
    lines: [String; 2],
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let lines = [lines.next().unwrap(), lines.next().unwrap()];
        Self { child, lines }
    }

    fn address(&self) -> SocketAddr {
        self.lines[0].strip_prefix("http://").unwrap().parse().unwrap()
    }

    fn client(&self) -> Client {
        let mut client = Client::to(self.address());
        client.date = system_clock();
        client
    }

    /// Everything it had to say on stderr.
    fn end(mut self) -> String {
        self.child.kill().unwrap();
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        errors
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[test]
fn the_program_prints_its_address_and_no_secret() {
    let running = Running::start(
        program()
            .args(["--access-key", "ACCESS", "--secret-key", "hush-secret", "--fault", "export:status=503x3"])
            .args(["--iam-user", "acme/archivist"])
            .env("CONNVAULT_SIM_IAM_PASSWORD", "hush-password"),
    );
    assert!(TcpStream::connect(running.address()).is_ok());
    let lines = running.lines.concat();
    assert!(lines.contains("ACCESS"));
    assert!(!format!("{lines}{}", running.end()).contains("hush"));
}

#[test]
fn the_program_refuses_to_listen_to_the_world() {
    let output = program().args(["--listen", "0.0.0.0:0"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("not a loopback address"));
}

#[test]
fn an_argument_that_cannot_be_read_is_named() {
    for (arguments, said) in [
        (["--fault", "export:typo"], "no fault is called `typo`"),
        (["--fault", "exports:drop"], "no endpoint is called `exports`"),
        (["--withdraw-v2", "typo"], "not-found, no-such-api, not-allowed, gone, proxy-404"),
        (["--metadata", "typo"], "off, without-tokens or with-tokens"),
        (["--iam-user", "typo"], "DOMAIN/NAME"),
    ] {
        let output = program().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(said), "{errors}");
    }
}

#[test]
fn a_user_without_a_password_is_refused() {
    let mut command = program();
    command.args(["--iam-user", "acme/archivist"]).env_remove("CONNVAULT_SIM_IAM_PASSWORD");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("CONNVAULT_SIM_IAM_PASSWORD"));
}

#[tokio::test]
async fn v2_is_withdrawn_after_as_many_exports_as_were_said() {
    let later = Running::start(program().args(["--withdraw-v2-after", "1", "--withdraw-v2", "gone"]));
    let by_default = Running::start(program().args(["--withdraw-v2-after", "1"]));
    let at_once = Running::start(program().args(["--withdraw-v2", "not-allowed"]));
    for (running, expected) in [(&later, [200, 410]), (&by_default, [200, 404]), (&at_once, [405, 405])] {
        let client = running.client();
        for status in expected {
            assert_eq!(client.get(&export_path(), &[]).await.unwrap().status(), status);
        }
    }
}

#[tokio::test]
async fn tasks_take_as_long_and_go_as_far_back_as_was_said() {
    let running = Running::start(program().args(["--task-polls", "0", "--horizon-days", "2"]));
    let client = running.client();
    let (now, day) = (client.date, SignedDuration::from_hours(24));
    let end = second(now);
    for (days, status) in [(3, 400), (1, 200)] {
        let start = second(now - day * days);
        let bounds = [("start_time", start.as_str()), ("end_time", end.as_str())];
        assert_eq!(client.get(&create_path(), &bounds).await.unwrap().status(), status, "{days}");
    }
    let list: serde_json::Value = client.get(&tasks_path(), &[]).await.unwrap().json().await.unwrap();
    assert_eq!((&list["count"], &list["export_tasks"][0]["status"]), (&json!(1), &json!("SUCCESS")));
}

#[tokio::test]
async fn a_user_logs_in_and_a_machine_has_keys() {
    let running = Running::start(
        program()
            .args(["--iam-user", "acme/archivist", "--region", "ap-west-9", "--metadata", "with-tokens"])
            .env("CONNVAULT_SIM_IAM_PASSWORD", "hush/password"),
    );
    let user = json!({ "domain": { "name": "acme" }, "name": "archivist", "password": "hush/password" });
    let body = json!({ "auth": {
        "identity": { "methods": ["password"], "password": { "user": user } },
        "scope": { "project": { "name": "ap-west-9" } },
    }});
    let endpoint = &running.lines[0];
    let login = unsigned().post(format!("{endpoint}/v3/auth/tokens")).json(&body).send().await.unwrap();
    assert_eq!(login.status(), 201);
    let token: serde_json::Value = login.json().await.unwrap();
    assert_eq!(token["token"]["project"]["id"], DEFAULT_PROJECT_ID);
    let keys = unsigned().get(format!("{endpoint}/openstack/latest/securitykey")).send().await.unwrap();
    assert_eq!(keys.status(), 401);
}

#[test]
fn the_help_names_every_kind_there_is() {
    let output = program().arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for name in ["xlsx-gz", "proxy-404", "with-tokens", "create-task", "security-key", "iam-projects"] {
        assert!(help.contains(name), "{name}");
    }
}
