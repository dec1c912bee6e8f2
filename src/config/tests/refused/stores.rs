//! `[stores.*]`

use super::{Refused, check};

const REFUSED: &[Refused] = &[
    ("stores.archive", "kind = \"s4\"", "= \"s4\": must be \"directory\" or \"s3\"; did you mean \"s3\"?"),
    (
        "stores.archive",
        "bucket = \"A/B\"",
        "= \"A/B\": must be a bucket's name: 3 to 63 of a-z, 0-9, `-` and `.`, beginning and ending with a letter or digit",
    ),
    (
        "stores.archive",
        "endpoint = \"s3\"",
        "= \"s3\": must be a URL such as \"https://obs.ap-southeast-3.myhuaweicloud.com\"",
    ),
    ("stores.archive", "endpoint = \"s3://a\"", "= \"s3://a\": must begin with https://"),
    (
        "stores.archive",
        "endpoint = \"https://a/b\"",
        "= \"https://a/b\": must end after the host or port, without a path, a query or a fragment",
    ),
    ("stores.archive", "path_style = \"yes\"", "= \"yes\": must be true or false, and this is a text"),
    (
        "stores.archive",
        "prefix = \"a/../b\"",
        "= \"a/../b\": must be folders joined by `/`, at most 512 bytes, without a leading or trailing slash, `.` or `..` as a \
         folder, `\\` or control characters",
    ),
    (
        "stores.archive",
        "create_only = \"if_none_match\"",
        "= \"if_none_match\": must be \"auto\" or \"head\" or \"if-none-match\" or \"obs-forbid-overwrite\"; did you mean \
         \"if-none-match\"?",
    ),
    ("stores.archive", "least_rate = \"2GiB\"", "= \"2GiB\": must be from 1B to 1GiB, for each second"),
    ("stores.archive", "readback = \"no\"", "= \"no\": must be \"full\" or \"metadata\""),
    (
        "stores.archive",
        "storage_class = \"cold\"",
        "= \"cold\": must be a storage class in A-Z, 0-9 and `_`, such as \"STANDARD_IA\"",
    ),
    (
        "stores.archive",
        "sse = \"AES-256\"",
        "= \"AES-256\": must be \"AES256\" or \"aws:kms\"; did you mean \"AES256\"?",
    ),
    (
        "stores.archive",
        "kms_key_id = \"alias/a\"",
        "= \"alias/a\": goes with sse = \"aws:kms\" only; take it out or change sse",
    ),
    (
        "stores.archive",
        "tags = { a = \"\", b = \"\", c = \"\", d = \"\", e = \"\", f = \"\", g = \"\", h = \"\", i = \"\", j = \"\", k = \"\" }",
        ": 11 tags are too many; an object takes 10 at most",
    ),
    ("stores.archive", "tags = \"a\"", ": must be a table (a section of its own), and this is a text"),
    (
        "stores.archive",
        "path = \"/srv\"",
        ": goes with kind = \"directory\", not with kind = \"s3\"; take it out or change the kind",
    ),
    (
        "stores.disk",
        "bucket = \"b\"",
        ": goes with kind = \"s3\", not with kind = \"directory\"; take it out or change the kind",
    ),
    (
        "stores.archive",
        "object_lock = { mode = \"complience\", retain = \"1d\" }",
        ".mode = \"complience\": must be \"compliance\" or \"governance\"; did you mean \"compliance\"?",
    ),
    (
        "stores.archive",
        "object_lock = { mode = \"compliance\", retain = \"0d\" }",
        ".retain = \"0d\": must be 1d to 10000d",
    ),
    (
        "stores.archive",
        "object_lock = { mode = \"compliance\" }",
        ".retain: missing: say how long after a window's end, such as \"2557d\"",
    ),
    (
        "stores.archive",
        "object_lock = { retain = \"2557d\" }",
        ".mode: missing: say \"compliance\" or \"governance\"",
    ),
    (
        "stores.archive",
        "object_lock = \"compliance\"",
        ": must be a table (a section of its own), and this is a text",
    ),
    ("stores.archive", "legal_hold = 1", "= 1: must be true or false, and this is a whole number"),
    (
        "stores.disk",
        "object_lock = { mode = \"compliance\", retain = \"2557d\" }",
        ": goes with kind = \"s3\", not with kind = \"directory\"; take it out or change the kind",
    ),
    (
        "stores.disk",
        "legal_hold = true",
        ": goes with kind = \"s3\", not with kind = \"directory\"; take it out or change the kind",
    ),
    ("stores.disk", "path = \"srv\"", "= \"srv\": must be an absolute path, beginning with `/`"),
];

#[test]
fn every_wrong_value_of_a_store_is_told() {
    check(REFUSED);
}
