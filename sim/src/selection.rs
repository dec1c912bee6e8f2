//! What a request asks for: bounds, filters, language, page.

use std::str::FromStr;

use jiff::Timestamp;

use crate::{instant, records::Record};

/// How the bounds of a request are read; the vendor says "after the start" and "before the end", and no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bounds {
    /// `start <= t <= end`
    Inclusive,
    /// `start < t < end`: the documentation taken by its letter, and the harshest reading.
    #[default]
    Exclusive,
    /// `start <= t < end`
    HalfOpen,
}

impl Bounds {
    fn hold(self, start: Timestamp, at: Timestamp, end: Timestamp) -> bool {
        match self {
            Self::Inclusive => start <= at && at <= end,
            Self::Exclusive => start < at && at < end,
            Self::HalfOpen => start <= at && at < end,
        }
    }
}

impl FromStr for Bounds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "inclusive" => Ok(Self::Inclusive),
            "exclusive" => Ok(Self::Exclusive),
            "half-open" => Ok(Self::HalfOpen),
            _ => Err("inclusive, exclusive or half-open".to_owned()),
        }
    }
}

/// The language of a file's header row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// `en_US`
    #[default]
    English,
    /// `zh_CN`
    Chinese,
}

/// A request that the API answers with 400; the text becomes its `error_msg`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadRequest(pub(crate) String);

/// The records asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) window: Option<(Timestamp, Timestamp)>,
    pub(crate) language: Language,
    user_name: Option<String>,
    computer_name: Option<String>,
    terminal_type: Option<TerminalType>,
}

/// Which types of terminals; the v3 export also takes those that hold the text anywhere, in capitals or not.
#[derive(Debug, PartialEq, Eq)]
enum TerminalType {
    Exactly(String),
    Like(String),
}

impl TerminalType {
    fn admits(&self, terminal_type: &str) -> bool {
        match self {
            Self::Exactly(wanted) => wanted == terminal_type,
            Self::Like(wanted) => terminal_type.to_lowercase().contains(&wanted.to_lowercase()),
        }
    }
}

impl Selection {
    /// Reads the parameters that the v2 operations share; an empty value is as good as none.
    pub(crate) fn read(pairs: &[(String, String)]) -> Result<Self, BadRequest> {
        Self::with(pairs, (instant::parse_minute, "yyyy-MM-ddTHH:mmZ"), TerminalType::Exactly)
    }

    /// As [`Self::read`], with times and types of terminals as the v3 export takes them.
    pub(crate) fn read_v3(pairs: &[(String, String)]) -> Result<Self, BadRequest> {
        Self::with(pairs, (instant::parse_second, "yyyy-MM-ddTHH:mm:ssZ"), TerminalType::Like)
    }

    fn with(
        pairs: &[(String, String)],
        (parse, form): (fn(&str) -> Option<Timestamp>, &str),
        terminal_type: fn(String) -> TerminalType,
    ) -> Result<Self, BadRequest> {
        let text = |name| parameter(pairs, name).map(str::to_owned);
        Ok(Self {
            window: window((parameter(pairs, "start_time"), parameter(pairs, "end_time")), parse, form)?,
            language: match parameter(pairs, "language") {
                None | Some("en_US") => Language::English,
                Some("zh_CN") => Language::Chinese,
                Some(_) => return Err(BadRequest("language must be en_US or zh_CN".to_owned())),
            },
            user_name: text("user_name"),
            computer_name: text("computer_name"),
            terminal_type: text("terminal_type").map(terminal_type),
        })
    }

    pub(crate) fn admits(&self, record: &Record, bounds: Bounds) -> bool {
        let equal = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        self.window.is_none_or(|(start, end)| bounds.hold(start, record.connection_start_time, end))
            && equal(&self.user_name, &record.user_name)
            && equal(&self.computer_name, &record.computer_name)
            && self.terminal_type.as_ref().is_none_or(|wanted| wanted.admits(&record.terminal_type))
    }
}

/// Which part of the records a query shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) offset: u64,
    pub(crate) limit: u64,
}

impl Page {
    pub(crate) fn read(pairs: &[(String, String)]) -> Result<Self, BadRequest> {
        let number = |name, default| match parameter(pairs, name) {
            None => Ok(default),
            Some(text) => {
                text.parse::<u64>().map_err(|_| BadRequest(format!("{name} must be a number, 0 or more")))
            }
        };
        let page = Self { offset: number("offset", 0)?, limit: number("limit", 20)? };
        if page.limit > 100 {
            return Err(BadRequest("limit must be 0 to 100".to_owned()));
        }
        Ok(page)
    }
}

pub(crate) fn parameter<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let (_, value) = pairs.iter().find(|(key, _)| key == name)?;
    (!value.is_empty()).then_some(value)
}

fn window(
    bounds: (Option<&str>, Option<&str>),
    parse: fn(&str) -> Option<Timestamp>,
    form: &str,
) -> Result<Option<(Timestamp, Timestamp)>, BadRequest> {
    let (start, end) = match bounds {
        (None, None) => return Ok(None),
        (Some(start), Some(end)) => (start, end),
        _ => return Err(BadRequest("start_time and end_time go together".to_owned())),
    };
    let instant =
        |name, text| parse(text).ok_or_else(|| BadRequest(format!("{name} must have the form {form}")));
    let (start, end) = (instant("start_time", start)?, instant("end_time", end)?);
    if start > end {
        return Err(BadRequest("start_time must not be after end_time".to_owned()));
    }
    Ok(Some((start, end)))
}
