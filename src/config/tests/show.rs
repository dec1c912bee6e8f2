//! What is printed, and what the fingerprint covers.

use super::super::Config;
use super::{Files, MINIMAL, example_file, with};

#[test]
fn the_effective_configuration_reads_back_as_itself() {
    let files = Files::new();
    let tagged = with("stores.archive", "tags = { team = \"audit\" }");
    let encrypted = with("stores.archive", "sse = \"aws:kms\"");
    let revisited = with("streams.logins", "revisit = [\"3d\", \"14d\", \"28d22h58m59s\"]");
    let signed = with("signing", "key_file = \"${CREDENTIALS_DIRECTORY}/signing-key\"");
    let locked = with("stores.archive", "object_lock = { mode = \"compliance\", retain = \"2557d\" }");
    let held = with("stores.archive", "legal_hold = true");
    for text in [MINIMAL, &example_file(), &tagged, &encrypted, &revisited, &signed, &locked, &held] {
        let config = files.load(text).unwrap();
        assert_eq!(files.load(&config.effective_toml()).unwrap(), config);
    }
}

#[test]
fn defaults_are_filled_in_and_secrets_are_paths() {
    let files = Files::new();
    let printed = files.load(MINIMAL).unwrap().effective_toml();
    let printed = printed.replace(files.directory.path().to_str().unwrap(), "");
    insta::assert_snapshot!(printed, @r#"
    [daemon]
    concurrency = 4
    keep_attempts = "400d"
    listen = "127.0.0.1:9464"
    page_hosts = []
    schedule = "0 */5 * * * *"
    state_dir = "/var/lib/connvault"

    [sources.hq]
    api = "auto"
    connect_timeout = "10s"
    endpoint = "https://workspace.ap-southeast-3.myhuaweicloud.com"
    first_byte_timeout = "2m"
    horizon = "30d"
    iam_endpoint = "https://iam.ap-southeast-3.myhuaweicloud.com"
    kind = "huaweicloud-workspace"
    least_rate = "4KiB"
    max_body = "5GiB"
    past_horizon = "try"
    project_id = "0123"
    region = "ap-southeast-3"
    requests_per_second = 5
    stall_timeout = "1m"
    task_timeout = "30m"

    [sources.hq.credentials]
    access_key_file = "${CREDENTIALS_DIRECTORY}/source-access-key"
    kind = "aksk"
    secret_key_file = "${CREDENTIALS_DIRECTORY}/source-secret-key"

    [stores.archive]
    access_key_file = "${CREDENTIALS_DIRECTORY}/store-access-key"
    bucket = "records"
    create_only = "auto"
    kind = "s3"
    least_rate = "4KiB"
    legal_hold = false
    path_style = false
    prefix = ""
    readback = "full"
    region = "ap-southeast-3"
    secret_key_file = "${CREDENTIALS_DIRECTORY}/store-secret-key"

    [stores.archive.tags]

    [stores.disk]
    kind = "directory"
    path = "/srv/records"
    readback = "full"

    [streams.logins]
    deadline = "12h"
    margin = "1m"
    on_count_mismatch = "park"
    revisit = [
        "3d",
        "25d",
    ]
    settle = "2h"
    source = "hq"
    start = "2026-10-31T16:00:00Z"
    store = "archive"
    timezone = "Asia/Shanghai"
    window = "1d"

    [streams.logins.filters]
    computer_name = ""
    language = "en_US"
    terminal_type = ""
    user_name = ""
    "#);
}

#[test]
fn the_identity_service_of_the_european_site_is_under_its_own_domain() {
    let files = Files::new();
    let config = files.load(&with("sources.hq", "region = \"eu-west-101\"")).unwrap();
    let source = &config.sources[&"hq".parse().unwrap()];
    assert_eq!(source.iam_endpoint.as_str(), "https://iam.eu-west-101.myhuaweicloud.eu");
    assert_eq!(source.endpoint.as_str(), "https://workspace.eu-west-101.myhuaweicloud.com");
}

#[test]
fn no_secret_is_ever_shown() {
    let files = Files::new();
    let config = files.load(&with("signing", "key_file = \"${CREDENTIALS_DIRECTORY}/signing-key\"")).unwrap();
    assert!(config.effective_toml().contains("${CREDENTIALS_DIRECTORY}/signing-key"));
    for shown in [config.effective_toml(), config.effective().to_string(), format!("{config:?}")] {
        assert!(!shown.contains("content-of"), "{shown}");
    }
}

#[test]
fn the_fingerprint_changes_with_anything_that_bears_on_the_stream_and_with_nothing_else() {
    let files = Files::new();
    let logins = "logins".parse().unwrap();
    let fingerprint = |config: &Config| config.stream_fingerprint(&logins).unwrap();
    let first = fingerprint(&files.load(MINIMAL).unwrap());
    assert_eq!(first.len(), 32);
    for same in [
        MINIMAL.to_owned(),
        format!("# another comment\n{MINIMAL}"),
        with("daemon", "concurrency = 5"),
        with("streams.logins", "settle = \"120m\""),
        with("stores.disk", "path = \"/elsewhere\""),
    ] {
        assert_eq!(fingerprint(&files.load(&same).unwrap()), first, "{same}");
    }
    for other in [
        with("streams.logins", "settle = \"121m\""),
        with("sources.hq", "requests_per_second = 6"),
        with("stores.archive", "prefix = \"x\""),
        with("stores.archive", "object_lock = { mode = \"governance\", retain = \"1d\" }"),
        with("stores.archive", "legal_hold = true"),
    ] {
        assert_ne!(fingerprint(&files.load(&other).unwrap()), first, "{other}");
    }
    let config = files.load(MINIMAL).unwrap();
    for name in ["source-access-key", "source-secret-key", "store-access-key", "store-secret-key"] {
        let path = files.secret(name, "another");
        assert_ne!(fingerprint(&config), first, "{name}");
        std::fs::remove_file(path).unwrap();
        assert_ne!(fingerprint(&config), first, "{name}");
        files.secret(name, &format!("content-of-{name}"));
        assert_eq!(fingerprint(&config), first, "{name}");
    }
    assert_eq!(config.stream_fingerprint(&"nobody".parse().unwrap()), None);
}
