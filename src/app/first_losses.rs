//! What is said of losses that were there from the beginning: by the first start, by `check` before it, and by `plan`.

use jiff::Timestamp;

use crate::domain::first_losses::FirstLosses;
use crate::domain::snapshot::Snapshot;
use crate::domain::verdict::StreamRules;

/// Whether the log says already what the configuration says of `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened<'a> {
    /// There is no log yet, so `start` may be anything.
    No,
    /// The log has a later `start`, this one: the next start of the daemon moves it back.
    Later(&'a str),
    /// It does, and `start` may only move back.
    Yes,
}

/// Says of each stream, which is open, how many windows had expired before it was, and stay gaps until they come or the
/// configuration accepts that.
pub fn say(streams: &[StreamRules], snapshot: &Snapshot, now: Timestamp) {
    for losses in all(streams, snapshot, now) {
        let (stream, advice) = (&losses.stream, advice(&losses, Opened::Yes));
        if losses.windows > 0 {
            tracing::error!(
                %stream,
                windows = losses.windows,
                "lost before the stream was opened, and not recorded: {advice}"
            );
        }
        if losses.to_be_asked > 0 {
            tracing::warn!(
                %stream,
                windows = losses.to_be_asked,
                "expired before the stream was opened: the source is asked for each once, and what it no longer has is lost; {advice}"
            );
        }
    }
}

/// Those of every stream that has any.
pub fn all(streams: &[StreamRules], snapshot: &Snapshot, now: Timestamp) -> Vec<FirstLosses> {
    streams.iter().filter_map(|rules| FirstLosses::of(rules, snapshot, now)).collect()
}

/// How many, and which of them may still come.
pub fn words(losses: &FirstLosses) -> String {
    let FirstLosses { windows, to_be_asked, accept_before, .. } = losses;
    let number = |count: &u64| if *count == 1 { "1 window".to_owned() } else { format!("{count} windows") };
    let [has, is] =
        [to_be_asked, windows].map(|count| if *count == 1 { ["has", "is"] } else { ["have", "are"] });
    let asked = "each is asked for once, and is lost where the source no longer has it";
    match (windows, to_be_asked) {
        (lost, 0) => format!("{} up to {accept_before} {} lost", number(lost), is[1]),
        (0, expired) => format!("{} up to {accept_before} {} expired: {asked}", number(expired), has[0]),
        (lost, expired) => format!(
            "{} {} lost, and {} more up to {accept_before} {} expired: {asked}",
            number(lost),
            is[1],
            number(expired),
            has[0]
        ),
    }
}

/// What to do about them.
pub fn advice(losses: &FirstLosses, opened: Opened<'_>) -> String {
    let FirstLosses { stream, accept_before, kept_since, .. } = losses;
    let accept = format!("accept_lost_before = \"{accept_before}\" in [streams.{stream}], then restart");
    let kept = kept_since
        .as_ref()
        .map(|kept| format!("start = \"{kept}\", the first window that the source still has"));
    match (opened, kept) {
        (Opened::No, Some(kept)) => {
            format!("before the stream is opened set {kept}; or accept the loss: {accept}")
        }
        (Opened::No, None) => format!("accept the loss: {accept}"),
        (Opened::Later(known), Some(kept)) => format!(
            "before the daemon starts put start = \"{known}\" back, or set {kept}; or accept the loss: {accept}"
        ),
        (Opened::Later(known), None) => {
            format!("before the daemon starts put start = \"{known}\" back; or accept the loss: {accept}")
        }
        (Opened::Yes, Some(kept)) => format!(
            "accept the loss: {accept}; where start is a mistake, give the stream a new name with {kept}: the start of an \
             opened stream only moves back"
        ),
        (Opened::Yes, None) => format!("accept the loss: {accept}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(windows: u64, to_be_asked: u64) -> FirstLosses {
        FirstLosses {
            stream: "logins".parse().unwrap(),
            windows,
            to_be_asked,
            accept_before: "2026-11-01".to_owned(),
            kept_since: Some("2026-11-02".to_owned()),
        }
    }

    #[test]
    fn only_what_nobody_can_be_asked_for_any_more_is_called_lost() {
        assert_eq!(words(&losses(3, 0)), "3 windows up to 2026-11-01 are lost");
        let asked = "each is asked for once, and is lost where the source no longer has it";
        assert_eq!(words(&losses(0, 1)), format!("1 window up to 2026-11-01 has expired: {asked}"));
        assert_eq!(
            words(&losses(1, 2)),
            format!("1 window is lost, and 2 windows more up to 2026-11-01 have expired: {asked}")
        );
    }

    #[test]
    fn nobody_is_told_to_move_the_start_of_an_opened_stream_forward() {
        let said = |opened| advice(&losses(3, 0), opened);
        assert!(said(Opened::No).contains("set start = \"2026-11-02\""));
        let later = said(Opened::Later("2026-11-05"));
        assert!(later.contains("put start = \"2026-11-05\" back, or set start = \"2026-11-02\""), "{later}");
        assert!(!said(Opened::Yes).contains(" set start") && said(Opened::Yes).contains("a new name"));
    }
}
