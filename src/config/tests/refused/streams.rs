//! `[streams.*]`

use super::{Refused, check};

const REFUSED: &[Refused] = &[
    ("streams.logins", "source = \"hp\"", "= \"hp\": there is no such source; did you mean \"hq\"?"),
    (
        "streams.logins",
        "store = \"elsewhere\"",
        "= \"elsewhere\": there is no such store; add a section [stores.…] or name one that there is",
    ),
    (
        "streams.logins",
        "window = \"25m\"",
        "= \"25m\": must be \"1d\", or a number of minutes that divides a day, such as \"1h\", \"15m\" or 15",
    ),
    (
        "streams.logins",
        "window = 1440",
        "= 1440: must be \"1d\", or a number of minutes that divides a day, such as \"1h\", \"15m\" or 15",
    ),
    (
        "streams.logins",
        "window = true",
        "= true: must be a text in quotes or a whole number, and this is true or false",
    ),
    (
        "streams.logins",
        "timezone = \"Asia/Shangai\"",
        "= \"Asia/Shangai\": must be a time zone of the IANA database, such as \"Asia/Shanghai\"; did you mean \
         \"Asia/Shanghai\"?",
    ),
    (
        "streams.logins",
        "timezone = \"\"",
        "= \"\": must be a time zone of the IANA database, such as \"Asia/Shanghai\"",
    ),
    (
        "streams.logins",
        "start = \"last week\"",
        "= \"last week\": must be a day such as \"2026-11-01\", a local time such as \"2026-11-01T06:00\", or an instant such \
         as \"2026-11-01T00:00:00Z\"",
    ),
    (
        "streams.logins",
        "start = \"2026-11-01T00:00:30Z\"",
        "= \"2026-11-01T00:00:30Z\": must be a whole minute, as windows are cut at minutes",
    ),
    ("streams.logins", "margin = \"1d\"", "= \"1d\": must be less than a day"),
    ("streams.logins", "deadline = \"0s\"", "= \"0s\": must be more than 0s"),
    (
        "streams.logins",
        "settle = \"22d\"",
        "= \"22d\": with window, settle and margin, records are 23d1h1m old when they are pulled, too near to the source's \
         horizon of 30d: they would be forgotten before there is time for it; use a shorter settle or margin (at most three \
         quarters may be used up)",
    ),
    ("streams.logins", "revisit = \"3d\"", "= \"3d\": must be a list of texts in quotes, and this is a text"),
    ("streams.logins", "revisit = [3]", ": must be a list of texts in quotes, and this is a list"),
    (
        "streams.logins",
        "revisit = [\"3d\", \"0s\"]",
        "= [\"3d\", \"0s\"]: each must be a duration in whole days (of 24 hours), hours, minutes and seconds, such as \
         \"2h\" or \"1h30m\", and more than 0s",
    ),
    (
        "streams.logins",
        "revisit = [\"3d\", \"72h\"]",
        "= [\"3d\", \"72h\"]: must go from short to long, none of them twice",
    ),
    (
        "streams.logins",
        "revisit = [\"2h\", \"3d\"]",
        "= [\"2h\", \"3d\"]: must be more than 2h: before that, by settle and margin, a window is not pulled at all",
    ),
    (
        "streams.logins",
        "revisit = [\"3d\", \"28d22h59m\"]",
        "= [\"3d\", \"28d22h59m\"]: cannot be reached: a window and its margin leave less than 28d22h59m of the source's \
         horizon of 30d after the window's end, and what is pulled later may lack records; use shorter ones",
    ),
    ("streams.logins.filters", "language = \"de_DE\"", "= \"de_DE\": must be \"en_US\" or \"zh_CN\""),
];

#[test]
fn every_wrong_value_of_a_stream_is_told() {
    check(REFUSED);
}
