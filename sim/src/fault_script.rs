//! Fault rules as text, for the command line: `ENDPOINT:FAULT[=ARGUMENT][xTIMES]`.

use std::{error::Error, fmt, str::FromStr, time::Duration};

use bytes::Bytes;

use crate::faults::{Fault, RetryAfter, Rule};

/// A text that is no rule; its message says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFaultScript(String);

impl fmt::Display for BadFaultScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for BadFaultScript {}

/// Reads for example `export:status=503x3`, `create-task:throttle=5`, `any:drop`. The endpoint is `any`, or named as
/// [`Endpoint`](crate::Endpoint) shows it; without `xTIMES` the rule is never spent.
///
/// | fault | argument |
/// |---|---|
/// | `status` | HTTP status |
/// | `throttle`, `throttle-date` | seconds of `Retry-After`, which `throttle` may go without |
/// | `delay` | milliseconds before the first byte |
/// | `drip` | milliseconds before each byte |
/// | `stall`, `truncate`, `cut`, `reset` | bytes of the body that come first |
/// | `omit` | records that are missing |
/// | `body` | the path of a file, whose bytes are the body |
/// | `html`, `json-error`, `empty`, `no-content`, `content-type`, `drop` | none |
impl FromStr for Rule {
    type Err = BadFaultScript;

    fn from_str(text: &str) -> Result<Self, BadFaultScript> {
        let (endpoint, rest) = text
            .split_once(':')
            .ok_or_else(|| BadFaultScript(format!("`{text}` has no `:` after the endpoint")))?;
        let (fault, times) = match rest.rsplit_once('x') {
            Some((fault, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                (fault, Some(number(Some(digits), "the number of times")?))
            }
            _ => (rest, None),
        };
        let mut rule = Self::new(read_fault(fault)?);
        if endpoint != "any" {
            rule = rule.on(endpoint.parse().map_err(BadFaultScript)?);
        }
        Ok(match times {
            Some(times) => rule.times(times),
            None => rule,
        })
    }
}

fn read_fault(text: &str) -> Result<Fault, BadFaultScript> {
    let (name, argument) = match text.split_once('=') {
        Some((name, argument)) => (name, Some(argument)),
        None => (text, None),
    };
    let needed = || number(argument, name);
    let fault = match name {
        "status" => match u16::try_from(needed()?) {
            Ok(code @ 200..=599) => Fault::status(code),
            _ => return Err(BadFaultScript("status: 200 to 599".to_owned())),
        },
        "throttle" => {
            Fault::Throttle { retry_after: argument.map(|_| needed()).transpose()?.map(RetryAfter::Seconds) }
        }
        "throttle-date" => Fault::Throttle { retry_after: Some(RetryAfter::HttpDate(needed()?)) },
        "delay" => Fault::DelayFirstByte(Duration::from_millis(needed()?)),
        "drip" => Fault::Drip(Duration::from_millis(needed()?)),
        "stall" => Fault::StallAfter { bytes: needed()? },
        "truncate" => Fault::TruncateAfter { bytes: needed()? },
        "cut" => Fault::TruncateCleanly { bytes: needed()? },
        "reset" => Fault::ResetAfter { bytes: needed()? },
        "omit" => Fault::OmitRecords { records: needed()? },
        "body" => Fault::Body(file(argument)?),
        "html" => Fault::HtmlBody,
        "json-error" => Fault::JsonErrorBody,
        "empty" => Fault::EmptyBody,
        "no-content" => Fault::NoContent,
        "content-type" => Fault::WrongContentType,
        "drop" => Fault::DropConnection,
        _ => return Err(BadFaultScript(format!("no fault is called `{name}`"))),
    };
    let takes_none = matches!(name, "html" | "json-error" | "empty" | "no-content" | "content-type" | "drop");
    match argument {
        Some(_) if takes_none => Err(BadFaultScript(format!("`{name}` takes no argument"))),
        _ => Ok(fault),
    }
}

fn file(path: Option<&str>) -> Result<Bytes, BadFaultScript> {
    let path = path.ok_or_else(|| BadFaultScript("body: the path of a file is needed".to_owned()))?;
    std::fs::read(path).map(Bytes::from).map_err(|error| BadFaultScript(format!("{path}: {error}")))
}

fn number(text: Option<&str>, of: &str) -> Result<u64, BadFaultScript> {
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| BadFaultScript(format!("{of}: a whole number is needed")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;

    fn rule(text: &str) -> Rule {
        text.parse().unwrap()
    }

    #[test]
    fn a_rule_is_read_from_text() {
        assert_eq!(rule("export:status=503x3"), Rule::new(Fault::status(503)).on(Endpoint::Export).times(3));
        assert_eq!(rule("any:drop"), Rule::new(Fault::DropConnection));
        assert_eq!(rule("security-key:empty"), Rule::new(Fault::EmptyBody).on(Endpoint::SecurityKey));
        assert_eq!(
            rule("query:throttle-date=5x1"),
            Rule::new(Fault::Throttle { retry_after: Some(RetryAfter::HttpDate(5)) })
                .on(Endpoint::Query)
                .times(1)
        );
        assert_eq!(rule("any:throttle"), Rule::new(Fault::Throttle { retry_after: None }));
        assert_eq!(rule("any:delay=1500"), Rule::new(Fault::DelayFirstByte(Duration::from_millis(1500))));
    }

    #[test]
    fn a_text_that_is_no_rule_is_refused() {
        for text in
            ["drop", "export:", "export:status", "export:status=9", "else:drop", "any:html=1", "any:cut=x2"]
        {
            assert!(text.parse::<Rule>().is_err(), "{text}");
        }
    }
}
