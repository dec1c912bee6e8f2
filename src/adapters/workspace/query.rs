//! What is asked for, as the provider's API spells it.

use jiff::{SignedDuration, Timestamp};

use crate::domain::export::Bounds;
use crate::ports::record_source::ExportRequest;

/// Query pairs, each a name and a value.
pub(super) type Pairs = Vec<(&'static str, String)>;

/// The pairs as a request takes them.
pub(super) fn borrowed(pairs: &Pairs) -> Vec<(&str, &str)> {
    pairs.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// The query pairs of an export through the v2 API. An empty filter asks for all and is left out.
pub(super) fn export_v2(request: &ExportRequest) -> Pairs {
    export(request, minutes(request.bounds))
}

/// The query pairs of an export through the v3 API.
pub(super) fn export_v3(request: &ExportRequest) -> Pairs {
    export(request, seconds(request.bounds))
}

fn export(request: &ExportRequest, (start, end): (String, String)) -> Pairs {
    let filters = &request.filters;
    let mut pairs =
        vec![("start_time", start), ("end_time", end), ("language", filters.language.as_str().to_owned())];
    let texts = [
        ("user_name", &filters.user_name),
        ("computer_name", &filters.computer_name),
        ("terminal_type", &filters.terminal_type),
    ];
    pairs.extend(
        texts.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, text.clone())),
    );
    pairs
}

/// The query pairs that count what [`export_v2`] asks for. A count has no language.
pub(super) fn count_v2(request: &ExportRequest) -> Pairs {
    let mut pairs = export_v2(request);
    pairs.retain(|(name, _)| *name != "language");
    pairs.extend([("offset", "0".to_owned()), ("limit", "1".to_owned())]);
    pairs
}

/// Bounds in the resolution of the v2 API, as `2016-08-20T21:11Z`.
fn minutes(bounds: Bounds) -> (String, String) {
    outwards(bounds, "%Y-%m-%dT%H:%MZ", SignedDuration::new(59, 999_999_999))
}

/// Bounds in the resolution of the v3 API, as `2016-08-20T21:11:11Z`.
fn seconds(bounds: Bounds) -> (String, String) {
    outwards(bounds, "%Y-%m-%dT%H:%M:%SZ", SignedDuration::new(0, 999_999_999))
}

/// What is finer than `form` goes outwards, where `almost` is just less than its unit: rather a record twice than one lost.
fn outwards(bounds: Bounds, form: &str, almost: SignedDuration) -> (String, String) {
    let text = |instant: Timestamp| instant.strftime(form).to_string();
    let end = bounds.end.checked_add(almost).unwrap_or(bounds.end);
    (text(bounds.start), text(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::Sha256;
    use crate::domain::export::{Filters, Language};

    fn request(start: &str, end: &str, filters: Filters) -> ExportRequest {
        ExportRequest {
            stream: "logins".parse().unwrap(),
            window: "20160820T000000Z_20160821T000000Z".parse().unwrap(),
            definition: Sha256::of(b""),
            bounds: Bounds { start: start.parse().unwrap(), end: end.parse().unwrap() },
            filters,
            after: None,
            expires_at: Timestamp::MAX,
        }
    }

    #[test]
    fn without_filters_only_bounds_and_language_are_asked_for() {
        let plain = request("2016-08-20T21:11:00Z", "2016-08-21T21:11:00Z", Filters::default());
        let pairs = [
            ("start_time", "2016-08-20T21:11Z".to_owned()),
            ("end_time", "2016-08-21T21:11Z".to_owned()),
            ("language", "en_US".to_owned()),
        ];
        assert_eq!(export_v2(&plain), pairs);
    }

    #[test]
    fn every_filter_is_asked_for_as_it_stands() {
        let filters = Filters {
            user_name: " a&b ".into(),
            computer_name: "桌面".into(),
            terminal_type: "%".into(),
            language: Language::ZhCn,
        };
        let pairs = export_v2(&request("2016-08-20T21:11:00Z", "2016-08-20T21:12:00Z", filters));
        let rest: Vec<_> = pairs[2..].iter().map(|(name, value)| (*name, value.as_str())).collect();
        let expected = [
            ("language", "zh_CN"),
            ("user_name", " a&b "),
            ("computer_name", "桌面"),
            ("terminal_type", "%"),
        ];
        assert_eq!(rest, expected);
    }

    #[test]
    fn seconds_go_outwards() {
        let odd = request("2016-08-20T21:11:59Z", "2016-08-20T23:59:00.000000001Z", Filters::default());
        let pairs = export_v2(&odd);
        assert_eq!((pairs[0].1.as_str(), pairs[1].1.as_str()), ("2016-08-20T21:11Z", "2016-08-21T00:00Z"));
        let pairs = export_v3(&odd);
        assert_eq!(
            (pairs[0].1.as_str(), pairs[1].1.as_str()),
            ("2016-08-20T21:11:59Z", "2016-08-20T23:59:01Z")
        );
    }
}
