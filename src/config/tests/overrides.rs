//! The environment over the file.

use super::{Files, MINIMAL};

#[test]
fn a_variable_overrides_the_file_and_has_the_type_of_its_key() {
    let variables = [
        ("CONNVAULT__DAEMON__CONCURRENCY", "8"),
        ("CONNVAULT__STORES__ARCHIVE__PATH_STYLE", "true"),
        ("CONNVAULT__STREAMS__LOGINS__WINDOW", "15"),
        ("CONNVAULT__STREAMS__LOGINS__REVISIT", "3d, 14d"),
        ("CONNVAULT__SOURCES__HQ__PROJECT_ID", "000123"),
        ("CONNVAULT__STREAMS__LOGINS__FILTERS__USER_NAME", "true"),
        ("CONNVAULT__STORES__ARCHIVE__TAGS__TEAM", "1e3"),
        ("PATH", "/bin"),
        ("CONNVAULT_LOG", "debug"),
        ("CONNVAULT", "x"),
    ];
    let config = Files::new().load_with(MINIMAL, &variables).unwrap();
    let effective = config.effective();
    assert_eq!(effective["daemon"]["concurrency"], 8);
    assert_eq!(effective["stores"]["archive"]["path_style"], true);
    assert_eq!(effective["streams"]["logins"]["window"], "15m");
    assert_eq!(effective["streams"]["logins"]["revisit"], serde_json::json!(["3d", "14d"]));
    // Guessing by the looks would have made a number, a flag and another number of these.
    assert_eq!(effective["sources"]["hq"]["project_id"], "000123");
    assert_eq!(effective["streams"]["logins"]["filters"]["user_name"], "true");
    assert_eq!(effective["stores"]["archive"]["tags"]["team"], "1e3");
}

#[test]
fn a_stream_with_a_hyphen_can_be_overridden() {
    let text = MINIMAL.replace("[streams.logins]", "[streams.hq-logins]");
    let config = Files::new().load_with(&text, &[("CONNVAULT__STREAMS__HQ-LOGINS__SETTLE", "3h")]).unwrap();
    assert_eq!(config.effective()["streams"]["hq-logins"]["settle"], "3h");
}

#[test]
fn a_wrong_variable_is_named_by_its_name() {
    let files = Files::new();
    for (variable, value, said) in [
        (
            "CONNVAULT__DAEMON__CONCURRENCY",
            "many",
            "daemon.concurrency = \"many\": must be a whole number, and this is a text",
        ),
        (
            "CONNVAULT__DAEMON__CONCURRENCY",
            "99",
            "daemon.concurrency = \"99\": must be a whole number from 1 to 64",
        ),
        ("CONNVAULT__DAEMON__CONCURENCY", "9", "daemon.concurency: unknown key; did you mean `concurrency`?"),
        ("CONNVAULT__DAEMON", "9", "daemon: must be a table (a section of its own), and this is a text"),
        ("CONNVAULT_DAEMON__CONCURRENCY", "9", "overrides begin with CONNVAULT__, with two underscores"),
        (
            "connvault__stores__archive__secret_key",
            "s3cret",
            "stores.archive.secret_key: unknown key; did you mean `secret_key_file`?",
        ),
        ("CONNVAULT__DAEMON__", "9", "names no key; write it as CONNVAULT__SECTION__KEY"),
    ] {
        let report = files.report_with(MINIMAL, &[(variable, value)]);
        assert_eq!(report, [format!("environment variable {variable}: {said}")]);
    }
}

#[test]
fn the_environment_alone_does_not_make_up_for_the_file() {
    let files = Files::new();
    let gone = files.directory.path().join("gone.toml");
    let error = super::Config::load(&gone, std::iter::empty(), super::super::Secrets::all(None))
        .unwrap_err()
        .to_string();
    assert!(error.ends_with("gone.toml: there is no such file; copy config.example.toml, which comes with connvault, there and fill it in, or name another file with --config"), "{error}");
}
