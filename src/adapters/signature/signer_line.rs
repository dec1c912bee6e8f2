//! One line of an `allowed_signers` file: whose key, for what, from when until when. See ALLOWED SIGNERS in
//! `ssh-keygen(1)`.
//!
//! What is read here is read by `ssh-keygen` in the same way, or refused: two verifiers that disagree in silence
//! would be worse than an error. Refused are `cert-authority`, other keys than ed25519, and times without a zone, which
//! `ssh-keygen` reads in the time zone of the machine that it happens to run on.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use ssh_key::{Algorithm, PublicKey};

/// A key that may sign, and when and for what.
#[derive(Debug, Clone)]
pub(super) struct SignerLine {
    principals: Patterns,
    namespaces: Option<Patterns>,
    pub(super) validity: Validity,
    pub(super) key: PublicKey,
}

/// Why a line is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSigner {
    /// A quotation mark without the other.
    #[error("a quotation mark is not closed")]
    OpenQuote,
    /// Nothing after the principals.
    #[error("there is no key; a line is NAME [OPTIONS] ssh-ed25519 BASE64")]
    NoKey,
    /// No such option.
    #[error(
        "unknown option {0:?}; known are namespaces=, valid-after= and valid-before=, with values in quotes"
    )]
    UnknownOption(String),
    /// An option twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// An option's value stands bare.
    #[error("the value of {0} must be in quotation marks")]
    NotQuoted(&'static str),
    /// A certificate authority, or a certificate.
    #[error("certificates are not read here; take cert-authority out and list each signer's own key")]
    Certificates,
    /// Neither of the forms of a time.
    #[error("{0} = {1:?} is no time; use YYYYMMDDZ, YYYYMMDDHHMMZ or YYYYMMDDHHMMSSZ")]
    BadTime(&'static str, String),
    /// A time that means another instant on another machine.
    #[error(
        "{0} = {1:?} has no time zone, and would mean another instant on another machine; put a Z, for UTC, at its end"
    )]
    LocalTime(&'static str, String),
    /// No instant lies between.
    #[error("valid-before is not after valid-after")]
    NeverValid,
    /// Another algorithm than ed25519.
    #[error("{0:?} is a kind of key that never signs a log; list ssh-ed25519 keys only")]
    Algorithm(String),
    /// The key cannot be read.
    #[error("the key cannot be read ({0})")]
    BadKey(String),
}

/// From when until when a key may sign, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// `valid-after`
    pub after: Option<Timestamp>,
    /// `valid-before`
    pub before: Option<Timestamp>,
}

impl Validity {
    /// Whole seconds are compared, as `ssh-keygen -O verify-time=…` knows no others.
    pub(super) fn holds(&self, at: Timestamp) -> bool {
        let at = at.as_second();
        self.after.is_none_or(|after| at >= after.as_second())
            && self.before.is_none_or(|before| at <= before.as_second())
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.after, self.before) {
            (None, None) => f.write_str("always"),
            (Some(after), None) => write!(f, "from {after}"),
            (None, Some(before)) => write!(f, "until {before}"),
            (Some(after), Some(before)) => write!(f, "from {after} until {before}"),
        }
    }
}

impl SignerLine {
    /// What `line` says; `None` where it is empty or a comment.
    pub(super) fn parse(line: &str) -> Result<Option<Self>, BadSigner> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (principals, rest) = principals(line)?;
        let (first, _) = word(rest);
        let (options, rest) = if first.is_empty() {
            return Err(BadSigner::NoKey);
        } else if is_key_type(first) {
            (Options::default(), rest)
        } else {
            let (options, rest) = options_word(rest)?;
            (Options::parse(options)?, rest)
        };
        Ok(Some(Self {
            principals: Patterns(principals.to_owned()),
            namespaces: options.namespaces.map(Patterns),
            validity: Validity { after: options.valid_after, before: options.valid_before },
            key: key(rest)?,
        }))
    }

    pub(super) fn is_for(&self, principal: &str) -> bool {
        self.principals.admit(principal)
    }

    pub(super) fn may_sign_in(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|namespaces| namespaces.admit(namespace))
    }
}

const BLANK: [char; 2] = [' ', '\t'];

/// The first word, and what comes after it.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(BLANK).unwrap_or((text, ""));
    (word, rest.trim_start_matches(BLANK))
}

/// The patterns at the head of the line; quotation marks may stand around all of them.
fn principals(line: &str) -> Result<(&str, &str), BadSigner> {
    match line.strip_prefix('"') {
        None => Ok(word(line)),
        Some(quoted) => {
            let (principals, rest) = quoted.split_once('"').ok_or(BadSigner::OpenQuote)?;
            Ok((principals, rest.trim_start_matches(BLANK)))
        }
    }
}

/// As [`word`], with blanks in quotation marks as a part of it.
fn options_word(text: &str) -> Result<(&str, &str), BadSigner> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' if !quoted => return Ok((&text[..at], text[at..].trim_start_matches(BLANK))),
            _ => {}
        }
        escaped = c == '\\';
    }
    if quoted { Err(BadSigner::OpenQuote) } else { Ok((text, "")) }
}

fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start)) && !word.contains(['=', ',', '"'])
}

fn key(text: &str) -> Result<PublicKey, BadSigner> {
    let (kind, rest) = word(text);
    let (base64, _comment) = word(rest);
    if kind.contains("-cert-v0") {
        return Err(BadSigner::Certificates);
    }
    if kind.is_empty() || (is_key_type(kind) && base64.is_empty()) {
        return Err(BadSigner::NoKey);
    }
    if kind != Algorithm::Ed25519.as_str() {
        return Err(BadSigner::Algorithm(kind.to_owned()));
    }
    PublicKey::from_openssh(&format!("{kind} {base64}")).map_err(|error| BadSigner::BadKey(error.to_string()))
}

#[derive(Debug, Default)]
struct Options {
    namespaces: Option<String>,
    valid_after: Option<Timestamp>,
    valid_before: Option<Timestamp>,
}

const NAMESPACES: &str = "namespaces";
const VALID_AFTER: &str = "valid-after";
const VALID_BEFORE: &str = "valid-before";

impl Options {
    fn parse(mut text: &str) -> Result<Self, BadSigner> {
        let mut options = Self::default();
        loop {
            let end = text.find(['=', ',']).unwrap_or(text.len());
            let (name, rest) = text.split_at(end);
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            if is("cert-authority") {
                return Err(BadSigner::Certificates);
            }
            let known = [NAMESPACES, VALID_AFTER, VALID_BEFORE].into_iter().find(|known| is(known));
            let (Some(known), Some(value)) = (known, rest.strip_prefix('=')) else {
                return Err(BadSigner::UnknownOption(name.to_owned()));
            };
            let (value, rest) = unquote(known, value)?;
            match known {
                NAMESPACES => once(known, &mut options.namespaces, value)?,
                VALID_AFTER => once(known, &mut options.valid_after, instant(known, value)?)?,
                _ => once(known, &mut options.valid_before, instant(known, value)?)?,
            }
            if rest.is_empty() {
                break;
            }
            text = rest.strip_prefix(',').ok_or_else(|| BadSigner::UnknownOption(rest.to_owned()))?;
        }
        match (options.valid_after, options.valid_before) {
            (Some(after), Some(before)) if before <= after => Err(BadSigner::NeverValid),
            _ => Ok(options),
        }
    }
}

fn once<T>(name: &'static str, place: &mut Option<T>, value: T) -> Result<(), BadSigner> {
    if place.replace(value).is_some() { Err(BadSigner::Twice(name)) } else { Ok(()) }
}

/// What stands in quotation marks at the head of `text`, and what comes after them; `\"` is a mark inside.
fn unquote<'t>(name: &'static str, text: &'t str) -> Result<(String, &'t str), BadSigner> {
    let quoted = text.strip_prefix('"').ok_or(BadSigner::NotQuoted(name))?;
    let mut value = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &quoted[at + 1..])),
            '\\' if chars.next_if(|(_, next)| *next == '"').is_some() => value.push('"'),
            c => value.push(c),
        }
    }
    Err(BadSigner::OpenQuote)
}

fn instant(name: &'static str, text: String) -> Result<Timestamp, BadSigner> {
    let upper = text.to_ascii_uppercase();
    let zoned = upper.strip_suffix('Z').or_else(|| upper.strip_suffix("UTC"));
    let digits = zoned.unwrap_or(&upper);
    match (civil_time(digits), zoned) {
        (None, _) => Err(BadSigner::BadTime(name, text)),
        (Some(_), None) => Err(BadSigner::LocalTime(name, text)),
        (Some(time), Some(_)) => TimeZone::UTC.to_timestamp(time).map_err(|_| BadSigner::BadTime(name, text)),
    }
}

/// `YYYYMMDD[HHMM[SS]]`
fn civil_time(digits: &str) -> Option<DateTime> {
    if ![8, 12, 14].contains(&digits.len()) || digits.bytes().any(|b| !b.is_ascii_digit()) {
        return None;
    }
    let year = digits[..4].parse().ok()?;
    let mut parts =
        (4..14).step_by(2).map(|at| digits.get(at..at + 2).map_or(Some(0), |two| two.parse::<i8>().ok()));
    let mut part = || parts.next().flatten();
    let (month, day, hour, minute, second) = (part()?, part()?, part()?, part()?, part()?);
    civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()
}

/// A pattern list as `ssh_config(5)` has them: `*` and `?` stand for anything and for one character, `!` before a
/// pattern takes out what it matches.
#[derive(Debug, Clone)]
struct Patterns(String);

impl Patterns {
    fn admit(&self, text: &str) -> bool {
        let mut admitted = false;
        for pattern in self.0.split(',') {
            match pattern.strip_prefix('!') {
                Some(not) if matches(not, text) => return false,
                Some(_) => {}
                None => admitted |= matches(pattern, text),
            }
        }
        admitted
    }
}

/// Goes back to the last `*` only, so that no pattern takes longer than its length times the text's.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_ssh_config_says() {
        for (patterns, text, admitted) in [
            ("connvault", "connvault", true),
            ("connvault", "connvault2", false),
            ("*", "anyone", true),
            ("*@example.com", "a@example.com", true),
            ("*@example.com", "a@example.com.evil", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b", false),
            ("other,connvault", "connvault", true),
            ("*,!connvault", "connvault", false),
            ("!connvault,*", "connvault", false),
            ("!other", "connvault", false),
            ("", "connvault", false),
        ] {
            assert_eq!(Patterns(patterns.to_owned()).admit(text), admitted, "{patterns} {text}");
        }
    }

    #[test]
    fn a_time_is_a_day_a_minute_or_a_second_in_utc() {
        let read = |text: &str| instant(VALID_AFTER, text.to_owned());
        for (text, instant) in [
            ("20261101Z", "2026-11-01T00:00:00Z"),
            ("202611012359Z", "2026-11-01T23:59:00Z"),
            ("20261101235958z", "2026-11-01T23:59:58Z"),
            ("20261101UTC", "2026-11-01T00:00:00Z"),
        ] {
            assert_eq!(read(text).unwrap(), instant.parse::<Timestamp>().unwrap(), "{text}");
        }
        assert!(matches!(read("20261101"), Err(BadSigner::LocalTime(..))));
        for bad in [
            "",
            "Z",
            "2026Z",
            "20261301Z",
            "20260230Z",
            "202611012460Z",
            "2026-11-01Z",
            "２０２６1101Z",
            "+0261101Z",
        ] {
            assert!(matches!(read(bad), Err(BadSigner::BadTime(..))), "{bad}");
        }
    }
}
