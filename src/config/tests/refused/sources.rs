//! `[sources.*]`

use super::{Refused, check};

const REFUSED: &[Refused] = &[
    ("sources.hq", "kind = \"aws\"", "= \"aws\": must be \"huaweicloud-workspace\""),
    (
        "sources.hq",
        "region = \"AP/1\"",
        "= \"AP/1\": must be a region's name in a-z, 0-9 and `-`, such as \"ap-southeast-3\"",
    ),
    (
        "sources.hq",
        "region = \"xn--a\"",
        "= \"xn--a\": must be a region's name that can stand in a host's name",
    ),
    (
        "sources.hq",
        "project_id = \"…\"",
        "= \"…\": must be a project id: 1 to 64 letters, digits, `-` and `_`",
    ),
    ("sources.hq", "api = \"v4\"", "= \"v4\": must be \"auto\" or \"v2\" or \"v3\"; did you mean \"v2\"?"),
    (
        "sources.hq",
        "past_horizon = \"loose\"",
        "= \"loose\": must be \"lose\" or \"try\"; did you mean \"lose\"?",
    ),
    ("sources.hq", "task_timeout = \"0s\"", "= \"0s\": must be from 1s to 6h"),
    (
        "sources.hq",
        "endpoint = \"http://workspace.example.com\"",
        "= \"http://workspace.example.com\": cleartext http:// is allowed to this machine only (127.0.0.0/8, ::1, \
         localhost); use https://",
    ),
    (
        "sources.hq",
        "endpoint = \"https://u:hunter2@example.com\"",
        ": must not hold a user or a password; credentials have keys of their own",
    ),
    ("sources.hq", "requests_per_second = 0", "= 0: must be a whole number from 1 to 1000"),
    ("sources.hq", "horizon = \"0d\"", "= \"0d\": must be more than 0s"),
    (
        "sources.hq",
        "horizon = \"30 days\"",
        "= \"30 days\": must be a duration in whole days (of 24 hours), hours, minutes and seconds, such as \"2h\" or \
         \"1h30m\"",
    ),
    ("sources.hq", "connect_timeout = \"0s\"", "= \"0s\": must be from 1s to 1h"),
    ("sources.hq", "first_byte_timeout = \"2h\"", "= \"2h\": must be from 1s to 1h"),
    ("sources.hq", "stall_timeout = 60", "= 60: must be a text in quotes, and this is a whole number"),
    ("sources.hq", "least_rate = \"0B\"", "= \"0B\": must be from 1B to 1GiB, for each second"),
    (
        "sources.hq",
        "max_body = \"6GiB\"",
        "= \"6GiB\": must be from 1B to 5GiB, which is what a single put takes",
    ),
    (
        "sources.hq",
        "max_body = \"0B\"",
        "= \"0B\": must be from 1B to 5GiB, which is what a single put takes",
    ),
    (
        "sources.hq",
        "max_body = \"5G\"",
        "= \"5G\": must be a size in B, KB, MB, GB, KiB, MiB or GiB, such as \"5GiB\"",
    ),
    (
        "sources.hq",
        "ca_file = \"/nowhere/ca.pem\"",
        "= \"/nowhere/ca.pem\": cannot read it: No such file or directory (os error 2); name a file that the daemon's \
         user can read",
    ),
    ("sources.hq.credentials", "kind = \"ak\"", "= \"ak\": must be \"aksk\" or \"ecs-agency\" or \"token\""),
    (
        "sources.hq",
        "iam_endpoint = \"http://iam.example.com\"",
        "= \"http://iam.example.com\": cleartext http:// is allowed to this machine only (127.0.0.0/8, ::1, localhost); \
         use https://",
    ),
    (
        "sources.hq.credentials",
        "secret_key_file = \"hunter2\"",
        ": must be the absolute path of a file that holds the secret, or ${CREDENTIALS_DIRECTORY}/NAME (the value is not \
         shown, it may be the secret itself)",
    ),
    (
        "sources.hq.credentials",
        "secret_key_file = 5",
        ": must be the path of a file in quotes, and this is a whole number",
    ),
    (
        "sources.hq.credentials",
        "secret_key_file = \"/nowhere/sk\"",
        ": cannot read /nowhere/sk: No such file or directory (os error 2); create it, or let the daemon's user read it",
    ),
];

#[test]
fn every_wrong_value_of_a_source_is_told() {
    check(REFUSED);
}
