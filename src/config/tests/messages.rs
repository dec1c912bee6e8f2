//! Reports as wholes: what is told, how often, in which order.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Files, MINIMAL, with};

#[test]
fn every_missing_key_is_told_at_its_section() {
    let files = Files::new();
    for (section, key, said) in [
        ("sources.hq", "kind", "say which kind it is"),
        ("sources.hq", "region", "the region is a part of what a stream is, even with an endpoint given"),
        ("sources.hq.credentials", "kind", "say which kind it is"),
        ("sources.hq.credentials", "access_key_file", "name the file with the access key's id"),
        ("sources.hq.credentials", "secret_key_file", "name the file with the secret key"),
        ("stores.archive", "bucket", "name the bucket"),
        ("stores.archive", "region", "name the region that requests are signed for"),
        ("stores.disk", "path", "name the directory"),
        ("streams.logins", "source", "name one of the sources"),
        ("streams.logins", "store", "name one of the stores"),
        ("streams.logins", "window", "say how long a window is, such as \"1d\""),
        ("streams.logins", "timezone", "name the time zone whose calendar cuts the windows, such as \"UTC\""),
        ("streams.logins", "start", "say where the first window starts, such as \"2026-11-01\""),
    ] {
        let text = with(section, &format!("{key} = 0")).replace(&format!("{key} = 0\n"), "");
        let header = text.lines().position(|line| line == format!("[{section}]")).unwrap() + 1;
        assert_eq!(files.report(&text), [format!("config.toml:{header}: {section}.{key}: missing: {said}")]);
    }
}

#[test]
fn sections_of_a_later_version_are_refused_unless_they_do_nothing() {
    let files = Files::new();
    let alerts = format!("{MINIMAL}[alerts]\nwebhook_url_file = \"/w\"\n");
    assert_eq!(
        files.report(&alerts),
        [
            "config.toml:26: alerts.webhook_url_file = \"/w\": alerts by webhook come in a later version; leave it out (heartbeat_url_file is there)"
        ]
    );
    let harmless = with("daemon", "listen = \"\"");
    let harmless = harmless + "[alerts]\n";
    assert_eq!(files.report(&harmless), [""; 0]);
}

#[test]
fn a_heartbeat_goes_to_a_url_that_is_safe_and_never_shown() {
    let files = Files::new();
    let section = "[alerts]\nheartbeat_url_file = \"${CREDENTIALS_DIRECTORY}/heartbeat-url\"\n";
    let text = format!("{MINIMAL}{section}");
    assert!(files.load(&text).unwrap().effective_toml().contains("${CREDENTIALS_DIRECTORY}/heartbeat-url\""));
    for good in ["http://127.0.0.1:8080/hunter2", "http://[::1]/", "https://watch.example/?key=hunter2"] {
        files.secret("heartbeat-url-2", good);
        assert_eq!(files.report(&text.replace("heartbeat-url\"", "heartbeat-url-2\"")), [""; 0], "{good}");
        fs::remove_file(files.credentials().join("heartbeat-url-2")).unwrap();
    }
    for bad in ["http://watch.example/hunter2", "hunter2", "ftp://watch.example/hunter2", "https://"] {
        files.secret("heartbeat-url-2", bad);
        let said = files.report(&text.replace("heartbeat-url\"", "heartbeat-url-2\""));
        let wanted = "config.toml:26: alerts.heartbeat_url_file: credentials/heartbeat-url-2 holds no URL that begins with \
                      https:// (http:// to this machine only); put one into it";
        assert_eq!(said, [wanted], "{bad}");
        fs::remove_file(files.credentials().join("heartbeat-url-2")).unwrap();
    }
}

#[test]
fn a_signing_section_without_a_usable_key_is_refused_by_its_key() {
    let files = Files::new();
    let missing =
        "signing.key_file: missing: name the file with the private key (ssh-keygen -t ed25519 -N '')";
    let allowed = files.directory.path().join("allowed_signers");
    fs::write(&allowed, "").unwrap();
    for section in ["[signing]\n".to_owned(), format!("[signing]\nallowed_signers_file = {allowed:?}\n")] {
        assert_eq!(files.report(&format!("{MINIMAL}{section}")), [format!("config.toml:25: {missing}")]);
    }
    let open = files.directory.path().join("key");
    fs::write(&open, "hunter2").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let report = |line: &str| files.report(&format!("{MINIMAL}[signing]\n{line}\n"));
    assert_eq!(
        report(&format!("key_file = {open:?}")),
        [
            "config.toml:26: signing.key_file: key can be read or changed by others (mode 0644); run: chmod 600 key"
        ]
    );
    let good = "key_file = \"${CREDENTIALS_DIRECTORY}/signing-key\"";
    assert_eq!(report(good), [""; 0]);
    assert_eq!(
        report(&format!("{good}\nallowed_signer_file = \"/x\"")),
        ["config.toml:27: signing.allowed_signer_file: unknown key; did you mean `allowed_signers_file`?"]
    );
    let unreadable = report(&format!("{good}\nallowed_signers_file = \"/nowhere/allowed\""));
    assert!(
        unreadable.len() == 1
            && unreadable[0].contains("signing.allowed_signers_file = \"/nowhere/allowed\": cannot read it"),
        "{unreadable:?}"
    );
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = MINIMAL
        .replace("region = \"ap-southeast-3\"\nproject_id", "regoin = \"ap-southeast-3\"\nproject_id")
        .replace("bucket = \"records\"", "bucket = 5")
        .replace("window = \"1d\"", "window = \"2d\"\non_count_mismatch = \"prak\"");
    let files = Files::new();
    let report = files.report_with(&text, &[("CONNVAULT__DAEMON__CONCURRENCY", "0")]);
    let starts = [
        "config.toml:2: sources.hq.region: missing",
        "config.toml:4: sources.hq.regoin: unknown key",
        "config.toml:12: stores.archive.bucket = 5: must be",
        "config.toml:22: streams.logins.window = \"2d\": must be",
        "config.toml:23: streams.logins.on_count_mismatch = \"prak\": must be",
        "environment variable CONNVAULT__DAEMON__CONCURRENCY: daemon.concurrency = \"0\": must be",
    ];
    assert_eq!(report.len(), starts.len(), "{report:#?}");
    for (line, start) in report.iter().zip(starts) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn every_syntax_error_has_line_and_column() {
    let report = Files::new().report("[daemon]\nconcurrency = = 4\nschedule = \"0 0\nstate_dir = \"/a\"\n");
    assert_eq!(report.len(), 3, "{report:#?}");
    assert!(report[0].starts_with("config.toml:2: column 15: not valid TOML: "), "{}", report[0]);
    assert!(report[2].starts_with("config.toml:3: column 16: not valid TOML: "), "{}", report[2]);
}

#[test]
fn a_number_too_large_for_anything_is_told_with_its_key() {
    let report = Files::new().report(&with("daemon", "concurrency = 99999999999999999999"));
    assert_eq!(report, ["config.toml:26: daemon.concurrency: the number is too large; use a smaller one"]);
}

#[test]
fn a_bad_name_of_a_section_is_told() {
    let report = Files::new().report(&MINIMAL.replace("[streams.logins]", "[streams.\"Log ins\"]"));
    let said = "config.toml:19: streams.\"Log ins\": \"Log ins\" is not a name: use 1 to 64 of a-z, 0-9, `-` and `_`, \
                beginning and ending with a letter or digit";
    assert_eq!(report, [said]);
}

#[test]
fn a_configuration_without_streams_is_refused() {
    let (before, _) = MINIMAL.split_once("[streams").unwrap();
    let said = ": streams: missing: there is nothing to archive; add a section such as [streams.logins]";
    for text in [before, "", "[streams]\n"] {
        let report = Files::new().report(text);
        assert!(report.len() == 1 && report[0].ends_with(said), "{report:?}");
    }
}

#[test]
fn a_secret_that_others_can_read_is_refused_by_its_key() {
    let files = Files::new();
    let path = files.directory.path().join("sk");
    fs::write(&path, "hunter2").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let text = with("sources.hq.credentials", &format!("secret_key_file = {path:?}"));
    let said = "config.toml:7: sources.hq.credentials.secret_key_file: sk can be read or changed by others (mode 0640); \
                run: chmod 600 sk";
    assert_eq!(files.report(&text), [said]);
}

#[test]
fn a_wrong_source_is_told_once_and_not_again_at_its_streams() {
    let report = Files::new().report(&with("sources.hq", "region = \"?\""));
    assert_eq!(report.len(), 1, "{report:?}");
}

#[test]
fn the_deadline_must_come_before_the_records_are_forgotten() {
    let report = Files::new().report(&with("streams.logins", "deadline = \"29d\""));
    let said = "config.toml:20: streams.logins.deadline = \"29d\": with window, settle, margin and deadline, records are \
                30d3h1m old when the alarm comes, and the source's horizon is 30d: they would be forgotten by then; use a \
                shorter deadline or settle";
    assert_eq!(report, [said]);
}

#[test]
fn a_margin_that_makes_windows_due_after_they_are_forgotten_is_refused() {
    let text = with("sources.hq", "horizon = \"17h\"").replace("window = \"1d\"", "window = \"1h\"");
    let text = text.replace("[streams.logins]", "[streams.logins]\nmargin = \"12h\"\nsettle = \"0s\"");
    let report = Files::new().report(&text);
    assert!(
        report.iter().any(|line| line.contains("records are 1d1h1m old when they are pulled")),
        "{report:?}"
    );
}

#[test]
fn a_revisit_that_would_come_before_the_first_pull_is_refused() {
    let report = |revisit: &str| {
        let stream = format!("[streams.logins]\nmargin = \"90m\"\nsettle = \"0s\"\nrevisit = [{revisit:?}]");
        Files::new().report(&MINIMAL.replace("[streams.logins]", &stream))
    };
    assert!(report("1h").iter().any(|line| line.contains("must be more than 1h31m")), "{:?}", report("1h"));
    assert_eq!(report("92m"), Vec::<String>::new());
}

#[test]
fn a_start_is_a_day_a_local_time_or_an_instant() {
    let files = Files::new();
    let start = |timezone: &str, start: &str| {
        let text = with("streams.logins", &format!("start = {start}"));
        let text = text.replace("\"Asia/Shanghai\"", &format!("{timezone:?}"));
        let text = text.replace("window = \"1d\"", "window = \"1h\"");
        files.load(&text).map(|config| config.effective()["streams"]["logins"]["start"].clone())
    };
    for (timezone, given, instant) in [
        ("Asia/Shanghai", "\"2026-11-01\"", "2026-10-31T16:00:00Z"),
        ("Asia/Shanghai", "2026-11-01", "2026-10-31T16:00:00Z"),
        ("Asia/Shanghai", "\"2026-11-01T06:00\"", "2026-10-31T22:00:00Z"),
        ("Asia/Shanghai", "2026-11-01T06:00:00", "2026-10-31T22:00:00Z"),
        ("Asia/Shanghai", "\"2026-11-01T06:00:00+08:00\"", "2026-10-31T22:00:00Z"),
        ("asia/shanghai", "2026-11-01T06:00:00Z", "2026-11-01T06:00:00Z"),
        // Clocks go forward at midnight there: the day begins at one.
        ("America/Santiago", "\"2026-09-06\"", "2026-09-06T04:00:00Z"),
    ] {
        assert_eq!(start(timezone, given).unwrap(), instant, "{timezone} {given}");
    }
    assert!(start("UTC", "\"2026-11-01T06:00[Asia/Tokyo]\"").is_err());
    for (given, why) in
        [("\"2026-03-29T02:30\"", "is skipped"), ("\"2026-10-25T02:30\"", "is skipped or occurs twice")]
    {
        assert!(start("Europe/Berlin", given).unwrap_err().to_string().contains(why), "{given}");
    }
}

#[test]
fn a_start_inside_a_window_is_refused_with_the_starts_around_it() {
    let files = Files::new();
    let text = with("streams.logins", "start = \"2026-11-01T06:00\"");
    let error = files.load(&text).unwrap_err().to_string();
    let starts = "such as \"2026-10-31T16:00:00Z\" or \"2026-11-01T16:00:00Z\"";
    assert!(error.contains("streams.logins.start") && error.contains(starts), "{error}");
}

#[test]
fn tags_are_what_a_store_takes() {
    let files = Files::new();
    for (tags, said) in [
        ("{ \"aws:x\" = \"a\" }", "tags.\"aws:x\": a tag's name must be 1 to 128"),
        ("{ x = \"a&b\" }", "tags.x = \"a&b\": must be a tag's value"),
        ("{ x = 1 }", "tags.x = 1: must be a text in quotes, and this is a whole number"),
    ] {
        let report = files.report(&with("stores.archive", &format!("tags = {tags}")));
        assert!(report.len() == 1 && report[0].contains(said), "{report:?}");
    }
}

#[test]
fn a_time_zone_has_its_own_spelling_and_no_leap_seconds() {
    let files = Files::new();
    let config = files.load(&with("streams.logins", "timezone = \"asia/shanghai\"")).unwrap();
    assert_eq!(config.effective()["streams"]["logins"]["timezone"], "Asia/Shanghai");
    for bad in ["right/Asia/Shanghai", "posix/Asia/Shanghai", "Etc/Unknown", "Asia", "localtime", "CST-8"] {
        let report = files.report(&with("streams.logins", &format!("timezone = {bad:?}")));
        assert!(report.len() == 1 && report[0].contains("must be a time zone"), "{bad}: {report:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_file_is_refused_without_a_word(at in 0..MINIMAL.len(), cut in 0..12usize, put in "[ -~\n]{0,6}") {
        let end = (at + cut).min(MINIMAL.len());
        let text = format!("{}{put}{}", &MINIMAL[..at], &MINIMAL[end..]);
        if let Err(error) = Files::new().load(&text) {
            proptest::prop_assert!(!error.problems.is_empty(), "{text}");
            proptest::prop_assert_eq!(error.to_string().lines().count(), error.problems.len(), "{}", error);
        }
    }
}

#[test]
fn a_window_is_revisited_by_default_as_far_as_the_horizon_allows_it() {
    let revisit = |source: &str, stream: &str| {
        let text =
            with("sources.hq", source).replace("[streams.logins]", &format!("[streams.logins]\n{stream}"));
        Files::new().load(&text).unwrap().effective()["streams"]["logins"]["revisit"].clone()
    };
    assert_eq!(revisit("", ""), serde_json::json!(["3d", "25d"]));
    assert_eq!(revisit("", "revisit = []"), serde_json::json!([]));
    assert_eq!(revisit("horizon = \"20d\"", ""), serde_json::json!(["3d"]));
    assert_eq!(revisit("", "settle = \"4d\""), serde_json::json!(["25d"]));
    assert_eq!(revisit("horizon = \"4d\"", ""), serde_json::json!([]));
}
