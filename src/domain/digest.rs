//! Digests as types: of bytes ([`Sha256`], [`Md5`]) and of rows, in any order ([`ContentDigest`]).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest;

/// Not as many lower-case hex digits as the digest has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a digest in {digits} lower-case hex digits")]
pub struct BadDigest {
    text: String,
    digits: usize,
}

fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], BadDigest> {
    let bad = || BadDigest { text: text.to_owned(), digits: 2 * N };
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(bad());
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| bad())?;
    Ok(bytes)
}

macro_rules! digest_type {
    ($(#[$doc:meta])* $name:ident of $bytes:literal bytes) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Its bytes.
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = BadDigest;
            fn from_str(text: &str) -> Result<Self, BadDigest> {
                parse_hex(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadDigest;
            fn try_from(text: String) -> Result<Self, BadDigest> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(digest: $name) -> String {
                digest.to_string()
            }
        }
    };
}

digest_type! {
    /// The SHA-256 of bytes as they are stored.
    Sha256 of 32 bytes
}

digest_type! {
    /// The digest of a set of rows: the sum, modulo 2^256, of the SHA-256 of each row's canonical form.
    ///
    /// Equal for the same rows in any order and in any file format, at constant memory. It tells whether content
    /// differs; integrity never rests on it (sums can be forged), but on [`Sha256`].
    ContentDigest of 32 bytes
}

digest_type! {
    /// The MD5 of bytes as they are stored: the one check that every S3-compatible store makes on arrival and says again
    /// afterwards (as the ETag). It finds accidents; against an adversary there is [`Sha256`].
    Md5 of 16 bytes
}

impl Md5 {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(md5::Md5::digest(bytes).into())
    }
}

impl From<[u8; 16]> for Md5 {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl Sha256 {
    /// What the first entry of a log names as the entry before it.
    pub const ZERO: Self = Self([0; 32]);

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The digest that a streaming hasher arrived at.
    pub fn finish(hasher: sha2::Sha256) -> Self {
        Self(hasher.finalize().into())
    }
}

impl ContentDigest {
    /// The digest of no rows at all.
    pub const EMPTY: Self = Self([0; 32]);

    /// Adds one row, given the SHA-256 of its canonical form (big-endian sum modulo 2^256).
    pub fn add(&mut self, row: Sha256) {
        let mut carry = 0u16;
        for (mine, theirs) in self.0.iter_mut().zip(row.0).rev() {
            let sum = u16::from(*mine) + u16::from(theirs) + carry;
            *mine = (sum & 0xff) as u8;
            carry = sum >> 8;
        }
    }
}

/// What a store's ETag of an object is to the object's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Etag {
    /// The MD5 of the bytes: whoever looks at the object later can compare the two.
    Md5,
    /// Something else that has the form of an MD5: it says nothing of the bytes.
    #[serde(other)]
    Other,
}

impl Etag {
    /// What an ETag that was `seen` is to bytes with MD5 `md5`.
    pub fn of(seen: Md5, md5: Md5) -> Self {
        if seen == md5 { Self::Md5 } else { Self::Other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_in_lower_case_hex_only() {
        let digest = Sha256::of(b"");
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse::<Sha256>().unwrap(), digest);
        assert!(text.to_uppercase().parse::<Sha256>().is_err());
        assert!(text[1..].parse::<Sha256>().is_err());
    }

    #[test]
    fn a_content_digest_forgets_the_order_and_keeps_the_count() {
        let rows = [Sha256::of(b"a"), Sha256::of(b"b"), Sha256::of(b"b")];
        let sum = |order: &[usize]| {
            let mut digest = ContentDigest::EMPTY;
            order.iter().for_each(|&i| digest.add(rows[i]));
            digest
        };
        assert_eq!(sum(&[0, 1, 2]), sum(&[2, 1, 0]));
        assert_ne!(sum(&[0, 1]), sum(&[0, 1, 2]));
    }

    #[test]
    fn the_sum_carries_across_every_byte_and_wraps() {
        let mut digest = ContentDigest([0xff; 32]);
        let mut one = [0; 32];
        one[31] = 1;
        digest.add(Sha256(one));
        assert_eq!(digest, ContentDigest::EMPTY);
    }
}
