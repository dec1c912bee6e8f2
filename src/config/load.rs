//! File and environment, merged into one tree, each value knowing where it was given.
//!
//! The file is parsed twice on purpose: first with `toml` alone, which knows lines and goes on after a syntax error,
//! then by `config`, which merges. What the first pass accepted, the second has no more to say about.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::Path;

use config::{Environment, File, FileFormat, Source as _, Value};
use toml::de::{DeTable, DeValue};

use super::closed::{Who, closed};
use super::error::{ConfigError, Origin, Problem, ProblemKind};
use super::model::Config;
use super::secret::Secrets;
use super::tree::{KeyPath, Places, Report};
use super::{not_yet, parse};
use crate::domain::proxy;

/// What every override's name begins with, in any case.
const PREFIX: &str = "CONNVAULT";
const SEPARATOR: &str = "__";

impl Config {
    /// Reads the file at `path`, lets the variables `CONNVAULT__…` of `environment` override it
    /// (`CONNVAULT__DAEMON__CONCURRENCY=8`), and checks all of it, the readability of the `secrets` included.
    ///
    /// # Errors
    /// All that is wrong, not only the first.
    pub fn load(
        path: &Path,
        environment: impl Iterator<Item = (String, String)>,
        secrets: Secrets<'_>,
    ) -> Result<Self, ConfigError> {
        let whole = |kind| Problem {
            origin: Origin::File { path: path.to_owned(), line: None },
            key: String::new(),
            value: None,
            kind,
        };
        let fatal = |kind| ConfigError { problems: vec![whole(kind)] };
        let text = std::fs::read_to_string(path).map_err(|error| fatal(unreadable(path, error)))?;
        let lines = read_lines(path, &text).map_err(|problems| ConfigError { problems })?;
        let environment: Vec<_> = environment.collect();
        let no_proxies = if secrets.other_files_are_read() { no_proxies(&environment) } else { Vec::new() };
        let variables = Variables::pick(environment.into_iter());

        let merged = config::Config::builder()
            .add_source(File::from_str(&text, FileFormat::Toml))
            .add_source(variables.source())
            .build()
            .and_then(|merged| merged.collect())
            .map_err(|error| fatal(ProblemKind::Merge(error.to_string().replace('\n', " "))))?;

        let places = Places { file: path.to_owned(), lines, environment: variables.names };
        let mut report = Report::new(places);
        let mut root = Value::from(merged);
        not_yet::refuse(&mut root, &mut report);
        let config = parse::config(root, secrets, &mut report);
        let mut problems = report.finish();
        problems.extend(variables.misspelt);
        problems.extend(no_proxies);
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError { problems }),
        }
    }
}

/// Why the file cannot be read: mostly it, or its directory, is not for everybody.
fn unreadable(path: &Path, error: std::io::Error) -> ProblemKind {
    if error.kind() == ErrorKind::NotFound {
        return ProblemKind::NotThere;
    }
    let closed = (error.kind() == ErrorKind::PermissionDenied).then(|| closed(path, &Who::this_process()));
    match closed.flatten() {
        Some(closed) => ProblemKind::Closed { closed },
        None => ProblemKind::Unreadable(error),
    }
}

/// The variables that name a proxy, and name none that can be asked: the HTTP clients would pass over them without a word.
/// Their values may hold a password.
fn no_proxies(environment: &[(String, String)]) -> Vec<Problem> {
    let is_none = |(name, value): &&(String, String)| {
        proxy::is_variable(name) && !value.is_empty() && !proxy::is_address(value)
    };
    let problem = |(name, _): &(String, String)| {
        Problem {
        origin: Origin::Environment(name.clone()),
        key: String::new(),
        value: None,
        kind: ProblemKind::BadValue(
            "is no address of a proxy: write http://HOST:PORT, or unset it (its value is not shown, it may hold a password)"
                .to_owned(),
        ),
    }
    };
    let mut problems: Vec<_> = environment.iter().filter(is_none).map(problem).collect();
    problems.sort_by(|a, b| a.origin.cmp(&b.origin));
    problems
}

/// The variables that override something.
#[derive(Default)]
struct Variables {
    given: HashMap<String, String>,
    names: BTreeMap<KeyPath, String>,
    misspelt: Vec<Problem>,
}

impl Variables {
    fn pick(environment: impl Iterator<Item = (String, String)>) -> Self {
        let mut variables = Self::default();
        for (name, value) in environment {
            let Some(rest) = strip_prefix_of_any_case(&name, PREFIX).and_then(|rest| rest.strip_prefix('_'))
            else {
                continue;
            };
            let is_override = rest.strip_prefix('_');
            let path = is_override.map(|key| key.to_lowercase().split(SEPARATOR).collect::<KeyPath>());
            match path {
                Some(path) if path.parts().iter().all(|part| is_bare(part)) => {
                    variables.names.insert(path, name.clone());
                    variables.given.insert(name, value);
                }
                Some(_) => variables.refuse(name, "names no key; write it as CONNVAULT__SECTION__KEY"),
                // One underscore too few, which would otherwise be passed over without a word.
                None if rest.contains(SEPARATOR) => {
                    variables.refuse(name, "overrides begin with CONNVAULT__, with two underscores");
                }
                None => {}
            }
        }
        variables.misspelt.sort_by(|a, b| a.origin.cmp(&b.origin));
        variables
    }

    fn refuse(&mut self, name: String, why: &str) {
        let kind = ProblemKind::Merge(why.to_owned());
        self.misspelt.push(Problem {
            origin: Origin::Environment(name),
            key: String::new(),
            value: None,
            kind,
        });
    }

    /// Values stay texts here: the key that they are for says what they are read as.
    fn source(&self) -> Environment {
        Environment::with_prefix(PREFIX)
            .prefix_separator(SEPARATOR)
            .separator(SEPARATOR)
            .source(Some(self.given.clone()))
    }
}

/// What the `config` crate takes as a part of a key's way; it would make other keys than the written ones of the rest.
fn is_bare(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn strip_prefix_of_any_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// The line of every key, or every syntax error.
fn read_lines(path: &Path, text: &str) -> Result<BTreeMap<KeyPath, usize>, Vec<Problem>> {
    let problem = |offset: usize, key: &KeyPath, make: &dyn Fn(usize) -> ProblemKind| {
        let (line, column) = position(text, offset);
        let origin = Origin::File { path: path.to_owned(), line: Some(line) };
        Problem { origin, key: key.to_string(), value: None, kind: make(column) }
    };
    let (table, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
    let mut problems: Vec<Problem> = Vec::new();
    for error in errors {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().replace('\n', " ");
        let kind = |column| ProblemKind::Syntax { column, message: message.clone() };
        problems.push(problem(offset, &KeyPath::default(), &kind));
    }
    let mut lines = BTreeMap::new();
    let mut too_large = Vec::new();
    walk(table.get_ref(), &KeyPath::default(), &mut |path, offset, value| {
        lines.insert(path.clone(), position(text, offset).0);
        if let DeValue::Integer(number) = value
            && i64::from_str_radix(number.as_str(), number.radix()).is_err()
        {
            too_large.push((offset, path.clone()));
        }
    });
    for (offset, key) in too_large {
        let kind = |_| ProblemKind::BadValue("the number is too large; use a smaller one".to_owned());
        problems.push(problem(offset, &key, &kind));
    }
    if problems.is_empty() { Ok(lines) } else { Err(problems) }
}

fn walk(table: &DeTable<'_>, path: &KeyPath, visit: &mut impl FnMut(&KeyPath, usize, &DeValue<'_>)) {
    for (key, value) in table {
        let path = path.child(key.get_ref());
        visit(&path, key.span().start, value.get_ref());
        if let DeValue::Table(below) = value.get_ref() {
            walk(below, &path, visit);
        }
    }
}

/// Line and column of a byte, both from 1, the column in characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
    (line, column)
}
