//! How two statements of what a stream is differ: those of the configuration, of the ledger and of log entries.
//!
//! Every field is named in one place. A field that is added to [`Definition`] does not compile until it is compared here.

use std::fmt;

use serde::Serialize;

use super::export::Filters;
use super::log_entry::Definition;
use super::window_length::WindowLength;

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The field's name, as log entries and the configuration spell it.
    pub field: &'static str,
    /// Its value in the first definition, as the configuration writes it (TOML).
    pub here: String,
    /// Its value in the other definition, in the same form.
    pub there: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, here, there } = self;
        write!(f, "{field} {here}, and not {there}")
    }
}

/// What the stream is, in one line for people.
impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, project_id, window, timezone, start, filters } = self;
        let Filters { user_name, computer_name, terminal_type, language } = filters;
        write!(
            f,
            "connection records of project {project_id} in region {region}, windows of {} in time zone {timezone}, \
             since {start}, in {}",
            window_spelled(window),
            language.as_str()
        )?;
        let mut narrowed = false;
        let filters =
            [("user_name", user_name), ("computer_name", computer_name), ("terminal_type", terminal_type)];
        for (name, value) in filters.into_iter().filter(|(_, value)| !value.is_empty()) {
            narrowed = true;
            write!(f, ", only {name} {value:?}")?;
        }
        if narrowed { Ok(()) } else { f.write_str(", of all users") }
    }
}

impl Definition {
    /// Every field in which `self` and `other` differ, in the order of the log's format.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let Self { region, project_id, window, timezone, start, filters } = self;
        let fields = [
            ("region", quoted(region), quoted(&other.region)),
            ("project_id", quoted(project_id), quoted(&other.project_id)),
            ("window", quoted(&window_spelled(window)), quoted(&window_spelled(&other.window))),
            ("timezone", quoted(timezone), quoted(&other.timezone)),
            ("start", start.to_string(), other.start.to_string()),
            ("filters", table(filters), table(&other.filters)),
        ];
        let differing = fields.into_iter().filter(|(_, here, there)| here != there);
        differing.map(|(field, here, there)| Difference { field, here, there }).collect()
    }

    /// The first field in which `self` may not follow `known`: `start` may move back, and everything else is fixed when a
    /// stream is opened.
    pub fn contradiction(&self, known: &Self) -> Option<Difference> {
        let moved_back = self.start <= known.start;
        self.differences(known).into_iter().find(|difference| difference.field != "start" || !moved_back)
    }
}

/// The length of a window as the configuration writes it (`6h`). Entries hold it in minutes (`360m`).
pub fn window_spelled(window: &str) -> String {
    window.parse().map_or_else(|_| window.to_owned(), WindowLength::spelled)
}

/// A text as TOML writes it. A JSON string is one of TOML's, too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Each filter: its key in the configuration, and its value.
pub fn filter_values(filters: &Filters) -> [(&'static str, &str); 4] {
    let Filters { user_name, computer_name, terminal_type, language } = filters;
    [
        ("user_name", user_name),
        ("computer_name", computer_name),
        ("terminal_type", terminal_type),
        ("language", language.as_str()),
    ]
}

/// Filters as the configuration writes them: without those that ask for all.
fn table(filters: &Filters) -> String {
    let given = filter_values(filters).into_iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<_> = given.map(|(key, value)| format!("{key} = {}", quoted(value))).collect();
    format!("{{ {} }}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Definition {
        Definition {
            region: "ap-southeast-3".into(),
            project_id: "0123456789abcdef".into(),
            window: "1d".into(),
            timezone: "Asia/Shanghai".into(),
            start: "2026-10-31T16:00:00Z".parse().unwrap(),
            filters: Filters::default(),
        }
    }

    #[test]
    fn every_field_that_differs_is_named_and_only_a_start_that_moves_back_is_no_contradiction() {
        let known = definition();
        assert_eq!(known.contradiction(&known), None);
        type Change = fn(&mut Definition);
        let changes: [(&str, Change); 6] = [
            ("region", |d| d.region.push('x')),
            ("project_id", |d| d.project_id.push('x')),
            ("window", |d| d.window = "60m".into()),
            ("timezone", |d| d.timezone = "UTC".into()),
            ("start", |d| d.start = "2026-11-01T00:00:00Z".parse().unwrap()),
            ("filters", |d| d.filters.user_name = "li".into()),
        ];
        for (field, change) in changes {
            let mut other = definition();
            change(&mut other);
            assert_eq!(other.contradiction(&known).unwrap().field, field);
            assert_eq!(known.differences(&other).len(), 1, "{field}");
        }
        let earlier = Definition { start: "2026-01-01T00:00:00Z".parse().unwrap(), ..definition() };
        assert_eq!(earlier.contradiction(&known), None);
        assert_eq!(earlier.differences(&known).len(), 1);
    }

    #[test]
    fn a_window_is_told_as_the_configuration_writes_it_and_not_in_minutes() {
        let of = |window: &str| Definition { window: window.into(), ..definition() };
        assert!(of("360m").to_string().contains("windows of 6h in"), "{}", of("360m"));
        let Difference { here, there, .. } = of("60m").contradiction(&of("1d")).unwrap();
        assert_eq!((here.as_str(), there.as_str()), ("\"1h\"", "\"1d\""));
    }

    #[test]
    fn filters_that_differ_are_shown_as_the_configuration_writes_them() {
        let filters =
            Filters { user_name: "li \"x\" \\".into(), terminal_type: "张".into(), ..Filters::default() };
        let changed = Definition { filters: filters.clone(), ..definition() };
        let Difference { field, here, there } = changed.contradiction(&definition()).unwrap();
        assert_eq!(there, r#"{ language = "en_US" }"#);
        assert_eq!(here, r#"{ user_name = "li \"x\" \\", terminal_type = "张", language = "en_US" }"#);
        let read: toml::Table = format!("{field} = {here}").parse().unwrap();
        assert_eq!(read[field].clone().try_into::<Filters>().unwrap(), filters);
    }
}
