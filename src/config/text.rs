//! Texts with rules: names of regions, projects and buckets, key prefixes, the schedule, tags.
//!
//! Each type holds its text only if it passed; the message of a refusal begins with "must be" and follows the value.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use croner::parser::{CronParser, Seconds};

/// Why a text was refused: "must be …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadText(String);

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $check:ident, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadText;
            fn from_str(text: &str) -> Result<Self, BadText> {
                if $check(text) { Ok(Self(text.to_owned())) } else { Err(BadText($rule.to_owned())) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_type! {
    /// A region. It becomes a part of a host's name.
    Region, is_region, "must be a region's name in a-z, 0-9 and `-`, such as \"ap-southeast-3\""
}
text_type! {
    /// The id of a Workspace project. It becomes a part of a URL's path.
    ProjectId, is_project_id, "must be a project id: 1 to 64 letters, digits, `-` and `_`"
}
text_type! {
    /// The name of a bucket.
    Bucket, is_bucket, "must be a bucket's name: 3 to 63 of a-z, 0-9, `-` and `.`, beginning and ending with a letter \
        or digit"
}
text_type! {
    /// What every key in a bucket begins with, without the slash that follows; empty for none.
    Prefix, is_prefix, "must be folders joined by `/`, at most 512 bytes, without a leading or trailing slash, `.` or \
        `..` as a folder, `\\` or control characters"
}
text_type! {
    /// A storage class, as the store names it.
    StorageClass, is_storage_class, "must be a storage class in A-Z, 0-9 and `_`, such as \"STANDARD_IA\""
}
text_type! {
    /// The key that a store encrypts with: an id, an alias or an ARN.
    KmsKeyId, is_kms_key_id, "must be a key's id, alias or ARN, without spaces"
}

/// No prefix.
impl Default for Prefix {
    fn default() -> Self {
        Self(String::new())
    }
}

fn is_region(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(good) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_project_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_bucket(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (3..=63).contains(&text.len())
        && text.chars().all(|c| plain(c) || c == '-' || c == '.')
        && text.starts_with(plain)
        && text.ends_with(plain)
        && !text.contains("..")
}

fn is_prefix(text: &str) -> bool {
    let bad =
        |s: &str| s.is_empty() || s == "." || s == ".." || s.contains('\\') || s.contains(char::is_control);
    text.is_empty() || text.len() <= 512 && !text.split('/').any(bad)
}

fn is_storage_class(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(good)
}

fn is_kms_key_id(text: &str) -> bool {
    (1..=2048).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// When the daemon looks for due windows: cron with seconds, in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(String);

impl Schedule {
    /// The cron expression.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Every five minutes.
impl Default for Schedule {
    fn default() -> Self {
        Self("0 */5 * * * *".to_owned())
    }
}

impl FromStr for Schedule {
    type Err = BadText;

    /// Asks the parser that the scheduler uses, set up as the scheduler sets it up.
    fn from_str(text: &str) -> Result<Self, BadText> {
        let parser = CronParser::builder().seconds(Seconds::Required).dom_and_dow(true).build();
        match parser.parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(error) => Err(BadText(format!(
                "must be a cron expression of six fields (second minute hour day month weekday, UTC), such as \
                 \"0 */5 * * * *\": {}",
                error.to_string().trim_end_matches('.')
            ))),
        }
    }
}

/// Tags of every object in a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags(BTreeMap<String, String>);

impl Tags {
    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// How many tags an object can have.
pub(super) const MOST_TAGS: usize = 10;

impl From<BTreeMap<TagName, TagValue>> for Tags {
    fn from(tags: BTreeMap<TagName, TagValue>) -> Self {
        Self(tags.into_iter().map(|(name, value)| (name.0, value.0)).collect())
    }
}

text_type! {
    /// The name of a tag.
    TagName, is_tag_name, "a tag's name must be 1 to 128 letters, digits, spaces and `+ - = . _ : / @`, and must not \
        begin with `aws:`"
}
text_type! {
    /// The value of a tag.
    TagValue, is_tag_value, "must be a tag's value: at most 256 letters, digits, spaces and `+ - = . _ : / @`"
}

fn is_tag_text(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || " +-=._:/@".contains(c))
}

fn is_tag_name(text: &str) -> bool {
    (1..=128).contains(&text.chars().count()) && is_tag_text(text) && !text.to_lowercase().starts_with("aws:")
}

fn is_tag_value(text: &str) -> bool {
    text.chars().count() <= 256 && is_tag_text(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_cannot_leave_its_folder() {
        for good in ["", "workspace", "a/b c/ü"] {
            assert!(good.parse::<Prefix>().is_ok(), "{good:?}");
        }
        for bad in ["/", "/a", "a/", "a//b", "a/../b", ".", "a\\b", "a\nb", &"a".repeat(513)] {
            assert!(bad.parse::<Prefix>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_becomes_a_part_of_a_url_holds_nothing_that_changes_the_url() {
        for bad in ["", "a.b", "a/b", "a@b", "A", "-a", "a b", "…"] {
            assert!(bad.parse::<Region>().is_err(), "{bad:?}");
        }
        for bad in ["", "..", "a/b", "a?b", "…", &"a".repeat(65)] {
            assert!(bad.parse::<ProjectId>().is_err(), "{bad:?}");
        }
        for bad in ["ab", "Abc", "a/b", "-abc", "abc.", "a..b"] {
            assert!(bad.parse::<Bucket>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_default_schedule_is_a_schedule() {
        assert_eq!(Schedule::default().as_str().parse(), Ok(Schedule::default()));
    }

    #[test]
    fn a_schedule_has_seconds_and_values_in_range() {
        for good in ["0 */5 * * * *", "30 0 3 * * MON", "0 0 0 1 1 *"] {
            assert!(good.parse::<Schedule>().is_ok(), "{good}");
        }
        for bad in ["", "*/5 * * * *", "0 61 * * * *", "every 5 minutes", "0 0 0 1 1 * 2026 *"] {
            assert!(bad.parse::<Schedule>().is_err(), "{bad}");
        }
    }
}
