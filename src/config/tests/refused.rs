//! Every value that is refused, with the very line that the operator reads.

mod sources;
mod stores;
mod streams;

use super::{Files, with};

/// Section, line, and what the report says of the key, after file and line.
type Refused = (&'static str, &'static str, &'static str);

/// That each line gives the one line of a report that is said of it, with file, line and key.
fn check(table: &[Refused]) {
    let files = Files::new();
    for (section, line, said) in table {
        let text = with(section, line);
        let number = text.lines().position(|other| other == *line).unwrap() + 1;
        let key = line.split(" =").next().unwrap();
        let space = if said.starts_with('=') { " " } else { "" };
        let expected = format!("config.toml:{number}: {section}.{key}{space}{said}");
        assert_eq!(files.report(&text), [expected], "{line}");
    }
}

const DAEMON: &[Refused] = &[
    ("daemon", "state_dir = \"data\"", "= \"data\": must be an absolute path, beginning with `/`"),
    ("daemon", "state_dir = 5", "= 5: must be a text in quotes, and this is a whole number"),
    ("daemon", "concurrency = 0", "= 0: must be a whole number from 1 to 64"),
    ("daemon", "concurrency = 65", "= 65: must be a whole number from 1 to 64"),
    ("daemon", "concurrency = -1", "= -1: must be a whole number from 1 to 64"),
    ("daemon", "concurrency = \"4\"", "= \"4\": must be a whole number, and this is a text"),
    ("daemon", "concurrency = 4.5", "= 4.5: must be a whole number, and this is a number with a point"),
    ("daemon", "concurrency = [4]", ": must be a whole number, and this is a list"),
    (
        "daemon",
        "schedule = \"*/5 * * * *\"",
        "= \"*/5 * * * *\": must be a cron expression of six fields (second minute hour day month weekday, UTC), such as \
         \"0 */5 * * * *\": Invalid pattern: Pattern must have 6 or 7 fields when seconds are required and years are \
         optional",
    ),
    (
        "daemon",
        "listen = \"localhost:9464\"",
        "= \"localhost:9464\": must be an address and a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\", or \"\" for \
         none",
    ),
    (
        "daemon",
        "page_hosts = [\"vault.example\", \"http://vault\"]",
        "= [\"vault.example\", \"http://vault\"]: must be names of this machine such as \"vault.example.com\", without ports; \
         \"http://vault\" is none",
    ),
];

#[test]
fn every_wrong_value_of_the_daemon_is_told() {
    check(DAEMON);
}
