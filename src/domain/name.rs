//! Names that an operator gives: of streams, sources and stores.
//!
//! A stream's name becomes a folder in the bucket and a part of every object key for years, so the alphabet is
//! the one that every store, file system and shell takes as it stands.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::text::ForeignText;

/// A name was not made of 1 to 64 of `a-z 0-9 - _`, or began or ended with a sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is not a name: use 1 to 64 of a-z, 0-9, `-` and `_`, beginning and ending with a letter or digit"
)]
pub struct BadName {
    name: ForeignText,
}

fn parse(name: &str) -> Result<String, BadName> {
    let sign = |c: char| c == '-' || c == '_';
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = (1..=64).contains(&name.len())
        && name.chars().all(|c| plain(c) || sign(c))
        && !name.starts_with(sign)
        && !name.ends_with(sign);
    if good { Ok(name.to_owned()) } else { Err(BadName { name: ForeignText::new(name) }) }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadName;
            fn from_str(name: &str) -> Result<Self, BadName> {
                parse(name).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(name: String) -> Result<Self, BadName> {
                name.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// What is archived: a source, filters, a window length and a store, under one name.
    StreamName
}
name_type! {
    /// One Workspace project in one region, with its credentials.
    SourceName
}
name_type! {
    /// One place for archives: a bucket or a directory.
    StoreName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_safe_as_a_folder_everywhere() {
        for good in ["logins", "hq-2", "a", "0", "a_b"] {
            assert_eq!(good.parse::<StreamName>().unwrap().as_str(), good);
        }
        for bad in ["", "Logins", "a/b", "..", "-a", "a-", "ü", "a b", &"a".repeat(65)] {
            assert!(bad.parse::<StreamName>().is_err(), "{bad:?}");
        }
    }
}
