//! One value of the configuration on its way to its type: absent, unusable (and reported), or given.
//!
//! A setting that was reported once is never reported again: it is [`State::Unusable`] from there on, and makes
//! nothing, so that a section reads all of its settings before it gives up.

use std::collections::BTreeMap;

use config::{Value, ValueKind};

use super::error::ProblemKind;
use super::nearest::nearest;
use super::tree::{Field, KeyPath, Report, found};

/// What a value can be as TOML has it.
pub(super) trait Scalar: Sized {
    const EXPECTED: &'static str;

    /// The value as a message shows it; `None` where it must not.
    fn shown(value: &Value) -> Option<String> {
        shown(value)
    }

    fn from_value(value: ValueKind) -> Option<Self>;

    /// Variables of the environment are texts; each is read as the type that its key has, never guessed: a project
    /// id of digits only stays the text that it is.
    fn from_variable(text: &str) -> Option<Self>;
}

impl Scalar for String {
    const EXPECTED: &'static str = "a text in quotes";

    fn from_value(value: ValueKind) -> Option<Self> {
        if let ValueKind::String(text) = value { Some(text) } else { None }
    }

    fn from_variable(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Scalar for i64 {
    const EXPECTED: &'static str = "a whole number";

    fn from_value(value: ValueKind) -> Option<Self> {
        if let ValueKind::I64(number) = value { Some(number) } else { None }
    }

    fn from_variable(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Scalar for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_value(value: ValueKind) -> Option<Self> {
        if let ValueKind::Boolean(flag) = value { Some(flag) } else { None }
    }

    fn from_variable(text: &str) -> Option<Self> {
        text.to_lowercase().parse().ok()
    }
}

/// A text or a whole number.
#[derive(Debug, Clone)]
pub(super) enum TextOrNumber {
    Text(String),
    Number(i64),
}

impl Scalar for TextOrNumber {
    const EXPECTED: &'static str = "a text in quotes or a whole number";

    fn from_value(value: ValueKind) -> Option<Self> {
        match value {
            ValueKind::String(text) => Some(Self::Text(text)),
            ValueKind::I64(number) => Some(Self::Number(number)),
            _ => None,
        }
    }

    fn from_variable(text: &str) -> Option<Self> {
        Some(text.parse().map_or_else(|_| Self::Text(text.to_owned()), Self::Number))
    }
}

/// A list of texts; in a variable of the environment they stand with commas between them.
#[derive(Debug)]
pub(super) struct TextList(pub Vec<String>);

impl Scalar for TextList {
    const EXPECTED: &'static str = "a list of texts in quotes";

    fn shown(value: &Value) -> Option<String> {
        match Self::from_value(value.kind.clone()) {
            Some(Self(texts)) => Some(format!("{texts:?}")),
            None => shown(value),
        }
    }

    fn from_value(value: ValueKind) -> Option<Self> {
        let ValueKind::Array(values) = value else { return None };
        values.into_iter().map(|value| String::from_value(value.kind)).collect::<Option<_>>().map(Self)
    }

    fn from_variable(text: &str) -> Option<Self> {
        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        Some(Self(texts.map(str::to_owned).collect()))
    }
}

/// The text of a `*_file` key: shown nowhere, as it might be the secret instead of the file's name.
#[derive(Debug)]
pub(super) struct SecretText(pub String);

impl Scalar for SecretText {
    const EXPECTED: &'static str = "the path of a file in quotes";

    fn shown(_: &Value) -> Option<String> {
        None
    }

    fn from_value(value: ValueKind) -> Option<Self> {
        String::from_value(value).map(Self)
    }

    fn from_variable(text: &str) -> Option<Self> {
        Some(Self(text.to_owned()))
    }
}

/// The text of an endpoint: not shown where it seems to hold a password.
#[derive(Debug)]
pub(super) struct UrlText(pub String);

impl Scalar for UrlText {
    const EXPECTED: &'static str = String::EXPECTED;

    fn shown(value: &Value) -> Option<String> {
        shown(value).filter(|text| !text.contains('@'))
    }

    fn from_value(value: ValueKind) -> Option<Self> {
        String::from_value(value).map(Self)
    }

    fn from_variable(text: &str) -> Option<Self> {
        Some(Self(text.to_owned()))
    }
}

/// A value on its way.
#[derive(Debug)]
pub(super) struct Setting<T> {
    key: KeyPath,
    shown: Option<String>,
    state: State<T>,
}

#[derive(Debug)]
enum State<T> {
    Absent,
    Unusable,
    Given(T),
}

impl<T: Scalar> Field for Setting<T> {
    fn read(key: KeyPath, value: Option<Value>, report: &mut Report) -> Self {
        let Some(value) = value else {
            return Self { key, shown: None, state: State::Absent };
        };
        let shown = T::shown(&value);
        let found = found(&value);
        let read = match &value.kind {
            ValueKind::String(text) if report.places().in_environment(&key) => T::from_variable(text),
            _ => T::from_value(value.kind),
        };
        let state = match read {
            Some(value) => State::Given(value),
            None => {
                report.add(&key, shown.clone(), ProblemKind::WrongType { expected: T::EXPECTED, found });
                State::Unusable
            }
        };
        Self { key, shown, state }
    }
}

fn shown(value: &Value) -> Option<String> {
    match &value.kind {
        ValueKind::String(text) => Some(format!("{text:?}")),
        ValueKind::Table(_) | ValueKind::Array(_) | ValueKind::Nil => None,
        other => Some(other.to_string()),
    }
}

impl<T> Setting<T> {
    /// The key's way.
    pub(super) fn key(&self) -> &KeyPath {
        &self.key
    }

    /// Whether the file or the environment names it.
    pub(super) fn is_set(&self) -> bool {
        !matches!(self.state, State::Absent)
    }

    /// Makes something better of it, or reports why not.
    pub(super) fn map<U, E: ToString>(
        self,
        f: impl FnOnce(T) -> Result<U, E>,
        report: &mut Report,
    ) -> Setting<U> {
        self.try_map(|value| f(value).map_err(|error| ProblemKind::BadValue(error.to_string())), report)
    }

    /// As [`Setting::map`], with the problem's kind.
    pub(super) fn try_map<U>(
        self,
        f: impl FnOnce(T) -> Result<U, ProblemKind>,
        report: &mut Report,
    ) -> Setting<U> {
        let state = match self.state {
            State::Absent => State::Absent,
            State::Unusable => State::Unusable,
            State::Given(value) => match f(value) {
                Ok(value) => State::Given(value),
                Err(problem) => {
                    report.add(&self.key, self.shown.clone(), problem);
                    State::Unusable
                }
            },
        };
        Setting { key: self.key, shown: self.shown, state }
    }

    /// Reports a value that is right by itself and wrong beside others.
    pub(super) fn refuse(&self, why: String, report: &mut Report) {
        report.add(&self.key, self.shown.clone(), ProblemKind::BadValue(why));
    }

    /// The value if there is one that can be used.
    pub(super) fn peek(&self) -> Option<&T> {
        if let State::Given(value) = &self.state { Some(value) } else { None }
    }

    /// The value; `None`, and reported, when it is absent or unusable.
    pub(super) fn required(self, what: &'static str, report: &mut Report) -> Option<T> {
        match self.state {
            State::Given(value) => Some(value),
            State::Unusable => None,
            State::Absent => {
                report.add(&self.key, None, ProblemKind::Missing(what));
                None
            }
        }
    }

    /// The value, or what stands for it; `None` when it is unusable.
    pub(super) fn or(self, default: T) -> Option<T> {
        match self.state {
            State::Given(value) => Some(value),
            State::Unusable => None,
            State::Absent => Some(default),
        }
    }

    /// The value if it is there; `None` when it is unusable.
    pub(super) fn optional(self) -> Option<Option<T>> {
        match self.state {
            State::Given(value) => Some(Some(value)),
            State::Unusable => None,
            State::Absent => Some(None),
        }
    }
}

impl Setting<String> {
    /// The choice that is spelled so.
    pub(super) fn one_of<U>(
        self,
        choices: impl IntoIterator<Item = (&'static str, U)>,
        report: &mut Report,
    ) -> Setting<U> {
        let mut choices: BTreeMap<&'static str, U> = choices.into_iter().collect();
        self.map(
            |text| {
                let allowed = choices.keys().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" or ");
                let nearest = nearest(&text, choices.keys().copied()).filter(|_| choices.len() > 1);
                let meant = nearest.map_or_else(String::new, |word| format!("; did you mean {word:?}?"));
                choices.remove(text.as_str()).ok_or_else(|| format!("must be {allowed}{meant}"))
            },
            report,
        )
    }
}
