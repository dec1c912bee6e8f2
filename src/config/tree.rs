//! The merged tree of values, and how it is taken apart: by sections with tables of known keys.
//!
//! [`section!`] declares a section's fields once and makes both of them out of it: the struct and the table of its
//! keys. What is left of a section after every field took its value is unknown by construction.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use config::Value;

use super::error::{Origin, Problem, ProblemKind};
use super::nearest::nearest;
use super::not_yet;

/// Keys and values of one section, in a fixed order, so that reports do not change from run to run.
pub(super) type Table = BTreeMap<String, Value>;

/// The way to a value: `streams`, `logins`, `timezone`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyPath(Vec<String>);

impl KeyPath {
    pub(super) fn child(&self, name: &str) -> Self {
        let mut parts = self.0.clone();
        parts.push(name.to_owned());
        Self(parts)
    }

    pub(super) fn parts(&self) -> &[String] {
        &self.0
    }

    fn parent(&self) -> Option<Self> {
        let (_, above) = self.0.split_last()?;
        Some(Self(above.to_vec()))
    }
}

impl<S: Into<String>> FromIterator<S> for KeyPath {
    fn from_iter<I: IntoIterator<Item = S>>(parts: I) -> Self {
        Self(parts.into_iter().map(Into::into).collect())
    }
}

/// As TOML writes it: parts that are not bare keys are quoted.
impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        for (index, part) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "." })?;
            if !part.is_empty() && part.chars().all(is_bare) {
                f.write_str(part)?
            } else {
                write!(f, "{part:?}")?
            }
        }
        Ok(())
    }
}

/// Where every value was given.
#[derive(Debug)]
pub(super) struct Places {
    pub file: PathBuf,
    /// Lines of the file, from 1.
    pub lines: BTreeMap<KeyPath, usize>,
    /// Names of variables.
    pub environment: BTreeMap<KeyPath, String>,
}

impl Places {
    pub(super) fn in_environment(&self, key: &KeyPath) -> bool {
        self.environment.contains_key(key)
    }

    /// Where `key` was given, or else the nearest section around it.
    pub(super) fn origin(&self, key: &KeyPath) -> Origin {
        if let Some(variable) = self.environment.get(key) {
            return Origin::Environment(variable.clone());
        }
        let mut place = Some(key.clone());
        while let Some(path) = place {
            if let Some(line) = self.lines.get(&path) {
                return Origin::File { path: self.file.clone(), line: Some(*line) };
            }
            place = path.parent();
        }
        Origin::File { path: self.file.clone(), line: None }
    }
}

/// The problems found so far.
#[derive(Debug)]
pub(super) struct Report {
    places: Places,
    problems: Vec<Problem>,
}

impl Report {
    pub(super) fn new(places: Places) -> Self {
        Self { places, problems: Vec::new() }
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    pub(super) fn add(&mut self, key: &KeyPath, value: Option<String>, kind: ProblemKind) {
        self.problems.push(Problem { origin: self.places.origin(key), key: key.to_string(), value, kind });
    }

    /// All problems, in the order of the file, then those of the environment.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.problems.sort_by(|a, b| a.origin.cmp(&b.origin));
        self.problems
    }
}

/// What a section, a value or a table of named sections is read from: its key, and the value if there is one.
pub(super) trait Field: Sized {
    fn read(key: KeyPath, value: Option<Value>, report: &mut Report) -> Self;
}

/// A section that may be left out as a whole; what must stand in it is asked for where it is there.
impl<F: Field> Field for Option<F> {
    fn read(key: KeyPath, value: Option<Value>, report: &mut Report) -> Self {
        let value = value?;
        if matches!(value.kind, config::ValueKind::Table(_)) {
            return Some(F::read(key, Some(value), report));
        }
        // That it is no section is all there is to say: what would be missing in one is not.
        table_of(&key, value, report);
        None
    }
}

/// A section that is being taken apart.
pub(super) struct Fields {
    pub path: KeyPath,
    table: Table,
}

impl Fields {
    pub(super) fn open(path: KeyPath, value: Option<Value>, report: &mut Report) -> Self {
        let table = value.map_or_else(Table::new, |value| table_of(&path, value, report));
        Self { path, table }
    }

    pub(super) fn take<F: Field>(&mut self, name: &str, report: &mut Report) -> F {
        F::read(self.path.child(name), self.table.remove(name), report)
    }

    /// Reports what no field took: `known` are the section's keys, `others` those of the other kinds of section that
    /// could stand here.
    pub(super) fn finish(self, known: &[&'static str], kind: Option<Kind>, report: &mut Report) {
        for name in self.table.keys() {
            let key = self.path.child(name);
            let other = kind.and_then(|kind| Some((kind.name, kind.elsewhere(name)?)));
            let problem = match other {
                Some((kind, other)) => ProblemKind::OtherKind { kind, other },
                None => {
                    let also =
                        kind.is_some().then_some("kind").into_iter().chain(not_yet::keys_below(&self.path));
                    unknown(name, known.iter().copied().chain(also).collect())
                }
            };
            report.add(&key, None, problem);
        }
    }

    /// Reports what is a key of no kind.
    pub(super) fn finish_without_kind(self, kinds: &[(&str, &[&'static str])], report: &mut Report) {
        let keys = kinds.iter().flat_map(|(_, keys)| keys.iter().copied());
        let known: Vec<_> = ["kind"].into_iter().chain(keys).chain(not_yet::keys_below(&self.path)).collect();
        for name in self.table.keys().filter(|name| !known.contains(&name.as_str())) {
            report.add(&self.path.child(name), None, unknown(name, known.clone()));
        }
    }
}

fn unknown(name: &str, known: Vec<&'static str>) -> ProblemKind {
    let nearest = nearest(name, known.iter().copied()).map(str::to_owned);
    ProblemKind::UnknownKey { nearest, known }
}

fn table_of(path: &KeyPath, value: Value, report: &mut Report) -> Table {
    let found = found(&value);
    match value.into_table() {
        Ok(table) => table.into_iter().collect(),
        Err(_) => {
            report.add(
                path,
                None,
                ProblemKind::WrongType { expected: "a table (a section of its own)", found },
            );
            Table::new()
        }
    }
}

/// The word for a value's type.
pub(super) fn found(value: &Value) -> &'static str {
    use config::ValueKind;
    match value.kind {
        ValueKind::Nil => "nothing",
        ValueKind::Boolean(_) => "true or false",
        ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => "a whole number",
        ValueKind::Float(_) => "a number with a point",
        ValueKind::String(_) => "a text",
        ValueKind::Table(_) => "a table",
        ValueKind::Array(_) => "a list",
    }
}

/// Things under names that the operator chooses: `[streams.logins]`, or the texts of `tags`.
#[derive(Debug)]
pub(super) struct Named<F> {
    pub key: KeyPath,
    pub entries: BTreeMap<String, F>,
}

impl<F: Field> Field for Named<F> {
    fn read(key: KeyPath, value: Option<Value>, report: &mut Report) -> Self {
        let table = value.map_or_else(Table::new, |value| table_of(&key, value, report));
        let read = |(name, value): (String, _)| {
            let entry = F::read(key.child(&name), Some(value), report);
            (name, entry)
        };
        let entries = table.into_iter().map(read).collect();
        Self { key, entries }
    }
}

/// One of the kinds of section that can stand in a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub name: &'static str,
    pub all: &'static [(&'static str, &'static [&'static str])],
}

impl Kind {
    fn elsewhere(&self, key: &str) -> Option<&'static str> {
        let mut others = self.all.iter().filter(|(name, _)| *name != self.name);
        others.find(|(_, keys)| keys.contains(&key)).map(|(name, _)| *name)
    }
}

/// Declares a section: a struct with one field for each key, and the table of its keys.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(super) struct $name {
            $(pub $field: $type),*
        }

        impl $name {
            pub(super) const KEYS: &'static [&'static str] = &[$(stringify!($field)),*];

            #[allow(unused_variables, unused_mut, reason = "a section may have no keys but its kind")]
            fn take(
                mut fields: $crate::config::tree::Fields,
                kind: Option<$crate::config::tree::Kind>,
                report: &mut $crate::config::tree::Report,
            ) -> Self {
                let section = Self {
                    $($field: fields.take(stringify!($field), report)),*
                };
                fields.finish(Self::KEYS, kind, report);
                section
            }
        }

        impl $crate::config::tree::Field for $name {
            fn read(
                key: $crate::config::tree::KeyPath,
                value: Option<config::Value>,
                report: &mut $crate::config::tree::Report,
            ) -> Self {
                let fields = $crate::config::tree::Fields::open(key, value, report);
                Self::take(fields, None, report)
            }
        }
    };
}

/// Declares a place where sections of several kinds can stand: `kind` says which.
macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($kind:literal => $variant:ident($section:ident)),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(super) enum $name {
            $($variant(Box<$section>),)*
            /// Its kind is missing or wrong, and reported.
            Unknown,
        }

        impl $name {
            /// The kinds with their keys.
            pub(super) const KINDS: &'static [(&'static str, &'static [&'static str])] =
                &[$(($kind, $section::KEYS)),*];
        }

        impl $crate::config::tree::Field for $name {
            fn read(
                key: $crate::config::tree::KeyPath,
                value: Option<config::Value>,
                report: &mut $crate::config::tree::Report,
            ) -> Self {
                let mut fields = $crate::config::tree::Fields::open(key, value, report);
                let kind = fields.take::<$crate::config::setting::Setting<String>>("kind", report);
                let kind = kind.one_of(Self::KINDS.iter().map(|(name, _)| (*name, *name)), report);
                let is_set = kind.is_set();
                match kind.required("say which kind it is", report) {
                    $(Some($kind) => {
                        let kind = $crate::config::tree::Kind { name: $kind, all: Self::KINDS };
                        Self::$variant(Box::new($section::take(fields, Some(kind), report)))
                    })*
                    // Which keys are right cannot be said of a kind that is wrong. One that is missing may stand
                    // there misspelt.
                    _ if is_set => Self::Unknown,
                    _ => {
                        fields.finish_without_kind(Self::KINDS, report);
                        Self::Unknown
                    }
                }
            }
        }
    };
}

pub(super) use {kinds, section};
