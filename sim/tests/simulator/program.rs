//! The simulator as a program.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_connvault-sim"))
}

#[test]
fn the_program_prints_its_address_and_no_secret() {
    let mut child = program()
        .args(["--access-key", "ACCESS", "--secret-key", "hush-secret", "--fault", "export:status=503x3"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let endpoint = lines.next().unwrap().unwrap();
    let about = lines.next().unwrap().unwrap();
    let listens = std::net::TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).is_ok();
    child.kill().unwrap();
    child.wait().unwrap();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(listens);
    assert!(about.contains("ACCESS"));
    assert!(!format!("{endpoint}{about}{errors}").contains("hush"));
}

#[test]
fn the_program_refuses_to_listen_to_the_world() {
    let output = program().args(["--listen", "0.0.0.0:0"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("not a loopback address"));
}

#[test]
fn a_fault_that_cannot_be_read_is_named() {
    let output = program().args(["--fault", "export:typo"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no fault is called `typo`"));
}
