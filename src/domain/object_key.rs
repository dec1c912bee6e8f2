//! The names of objects in a store: the only place where they are made and taken apart.
//!
//! ```text
//! {prefix}/{stream}/data/2026/11/22/20261122T000000Z_20261123T000000Z.r1.xlsx
//! {prefix}/{stream}/log/000000000042.json
//! {prefix}/{stream}/log/000000000042.0123456789abcdef.sig
//! {prefix}/.connvault/create-only-probe
//! ```
//! The prefix belongs to the store, so the types here begin at the stream's folder. The day in a data key is the
//! UTC day of the window's start, so a key follows from the window alone.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::digest::Sha256;
use super::export::Format;
use super::name::StreamName;
use super::text::{FOREIGN_LIMIT, ForeignText, clean};
use super::window::Window;

/// A key below a store's prefix, `/`-separated, without a leading slash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

/// A key is not one that a store may be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an object key of an archive")]
pub struct BadKey(ForeignText);

impl ObjectKey {
    /// A key from text that came from a store's listing.
    ///
    /// # Errors
    /// When it is empty, or a segment is empty, `.` or `..`: such a key could leave the folder of a directory store.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let bad_segment = |s: &str| s.is_empty() || s == "." || s == ".." || s.contains(['\0', '\\']);
        if text.split('/').any(bad_segment) {
            Err(BadKey(ForeignText::new(text)))
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// The key that a store's create-only behaviour is found out with. It stays, is overwritten at will, and beside
    /// [`Self::check`] is the only key outside the streams' folders.
    pub fn probe() -> Self {
        Self(".connvault/create-only-probe".to_owned())
    }

    /// The key that `check` puts an object under to see whether it can be deleted. It stays only where it cannot.
    pub fn check() -> Self {
        Self(".connvault/delete-check".to_owned())
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// For messages: somebody else may have put the object, under any name. [`ObjectKey::as_str`] is the key itself.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clean(&self.0, FOREIGN_LIMIT))
    }
}

/// What keys are listed by: their beginning, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPrefix(String);

impl KeyPrefix {
    /// The beginning as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The number of a pull of a window whose content differed from the one before; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(NonZeroU32);

impl Revision {
    /// The first.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// Revision `number`; `None` for 0.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The number, from 1.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// The place of an entry in its stream's log; the first is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(NonZeroU64);

impl Seq {
    /// The first entry, which says what the stream is.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// Whether the number has a log key: at most twelve digits.
    pub fn has_key(self) -> bool {
        self.get() < 1_000_000_000_000
    }

    /// Entry `number`; `None` for 0.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The number, from 1.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A data object's key relative to its stream's folder, as log entries name it: `data/2026/11/22/….r1.xlsx`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DataKey {
    window: Window,
    revision: Revision,
    format: Format,
}

impl DataKey {
    /// The key of one revision of a window.
    pub fn new(window: Window, revision: Revision, format: Format) -> Self {
        Self { window, revision, format }
    }

    /// The revision that the key names.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The window that the key names.
    pub fn window(&self) -> Window {
        self.window
    }

    /// The format that the key's extension names.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The whole key, below the store's prefix.
    pub fn in_stream(&self, stream: &StreamName) -> ObjectKey {
        ObjectKey(format!("{stream}/{self}"))
    }

    /// What every data key of a window begins with, below the store's prefix.
    pub fn prefix_of_window(stream: &StreamName, window: Window) -> KeyPrefix {
        KeyPrefix(format!("{stream}/data/{}/{window}.r", day(window)))
    }
}

fn day(window: Window) -> impl fmt::Display {
    window.start().strftime("%Y/%m/%d")
}

impl fmt::Display for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "data/{}/{}.{}.{}", day(self.window), self.window, self.revision, self.format.extension())
    }
}

impl FromStr for DataKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let parts = || {
            let (window, rest) = text.rsplit_once('/')?.1.split_once(".r")?;
            let (revision, extension) = rest.split_once('.')?;
            let format = Format::ALL.into_iter().find(|format| format.extension() == extension)?;
            Some(Self::new(window.parse().ok()?, Revision::new(revision.parse().ok()?)?, format))
        };
        parts().filter(|key| key.to_string() == text).ok_or_else(|| BadKey(ForeignText::new(text)))
    }
}

impl TryFrom<String> for DataKey {
    type Error = BadKey;
    fn try_from(text: String) -> Result<Self, BadKey> {
        text.parse()
    }
}

impl From<DataKey> for String {
    fn from(key: DataKey) -> String {
        key.to_string()
    }
}

/// What a key below a stream's `log/` folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogObject {
    /// `log/000000000042.json`
    Entry(Seq),
    /// `log/000000000042.{h}.sig`
    Signature {
        /// The entry's place.
        seq: Seq,
        /// Which bytes were signed. An entry that lost the race for its place may leave a signature: it is another's.
        hash_prefix: HashPrefix,
    },
    /// Anything else.
    Other,
}

/// The first 8 bytes of an entry's SHA-256, 16 hex digits in the key of its signature.
///
/// It keeps signatures of different entries for one place apart, and proves nothing: what a signature covers is shown by
/// checking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HashPrefix([u8; 8]);

impl HashPrefix {
    /// That of `entry_hash`.
    pub fn of(entry_hash: &Sha256) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *entry_hash.as_bytes();
        Self([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Display for HashPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The key of entry `seq`, below the store's prefix.
pub fn log_key(stream: &StreamName, seq: Seq) -> ObjectKey {
    ObjectKey(format!("{stream}/log/{seq:012}.json", seq = seq.get()))
}

/// The key of the signature on entry `seq`, whose bytes have the hash `entry_hash`, below the store's prefix.
pub fn signature_key(stream: &StreamName, seq: Seq, entry_hash: &Sha256) -> ObjectKey {
    signature_key_of(stream, seq, HashPrefix::of(entry_hash))
}

/// As [`signature_key`], of a hash of which only the beginning is known.
pub fn signature_key_of(stream: &StreamName, seq: Seq, hash_prefix: HashPrefix) -> ObjectKey {
    ObjectKey(format!("{stream}/log/{seq:012}.{hash_prefix}.sig", seq = seq.get()))
}

/// What every key that belongs to entry `seq` of a stream begins with: its signatures', and its own.
pub fn signatures_at(stream: &StreamName, seq: Seq) -> KeyPrefix {
    KeyPrefix(format!("{stream}/log/{seq:012}.", seq = seq.get()))
}

/// What every data key of a stream begins with, below the store's prefix.
pub fn data_prefix(stream: &StreamName) -> KeyPrefix {
    KeyPrefix(format!("{stream}/data/"))
}

/// What every key of a stream's log begins with, below the store's prefix.
pub fn log_prefix(stream: &StreamName) -> KeyPrefix {
    KeyPrefix(format!("{stream}/log/"))
}

/// The digits of a sequence number in a log key. A name with more or fewer is no part of any log.
const SEQ_DIGITS: usize = 12;

/// What `key` is, listed below [`log_prefix`] of `stream`.
pub fn read_log_key(stream: &StreamName, key: &ObjectKey) -> LogObject {
    let name = key.as_str().strip_prefix(log_prefix(stream).as_str());
    let name = name.filter(|name| name.find('.') == Some(SEQ_DIGITS));
    let entry = |name: &str| {
        let seq = Seq::new(name.strip_suffix(".json")?.parse().ok()?)?;
        (log_key(stream, seq) == *key).then_some(LogObject::Entry(seq))
    };
    let signature = |name: &str| {
        let (seq, hash) = name.strip_suffix(".sig")?.split_once('.')?;
        let seq = Seq::new(seq.parse().ok()?)?;
        let mut bytes = [0; 8];
        hex::decode_to_slice(hash, &mut bytes).ok()?;
        let hash_prefix = HashPrefix(bytes);
        // The key made anew is the key: no second spelling of a name is taken for it.
        (signature_key_of(stream, seq, hash_prefix) == *key)
            .then_some(LogObject::Signature { seq, hash_prefix })
    };
    name.and_then(|name| entry(name).or_else(|| signature(name))).unwrap_or(LogObject::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> StreamName {
        "logins".parse().unwrap()
    }

    #[test]
    fn a_data_key_follows_from_the_window_and_reads_back() {
        let window: Window = "20261122T000000Z_20261123T000000Z".parse().unwrap();
        for format in Format::ALL {
            let key = DataKey::new(window, Revision::FIRST.next(), format);
            let text = format!("data/2026/11/22/{window}.r2.{}", format.extension());
            assert_eq!(key.to_string(), text);
            assert_eq!(text.parse::<DataKey>().unwrap(), key);
            let whole = key.in_stream(&stream());
            assert!(whole.as_str().starts_with(DataKey::prefix_of_window(&stream(), window).as_str()));
        }
        for bad in ["data/2026/11/23/20261122T000000Z_20261123T000000Z.r1.xlsx", "x", "data/a.r1.csv"] {
            assert!(bad.parse::<DataKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn only_entries_are_read_as_entries() {
        let seq = Seq::new(42).unwrap();
        let key = log_key(&stream(), seq);
        assert_eq!(key.as_str(), "logins/log/000000000042.json");
        assert_eq!(read_log_key(&stream(), &key), LogObject::Entry(seq));
        for other in [
            "logins/log/000000000042.abc.sig",
            "logins/log/42.json",
            "logins/log/000000000000.json",
            "logins/log/1000000000042.json",
            "logins/log/0000000000042.json",
            "logins/log/00000000042.json",
            "logins/log/+00000000042.json",
        ] {
            assert_eq!(read_log_key(&stream(), &ObjectKey::parse(other).unwrap()), LogObject::Other);
        }
    }

    #[test]
    fn a_signature_is_named_by_its_entry_and_reads_back() {
        let (seq, hash) = (Seq::new(42).unwrap(), Sha256::of(b"entry"));
        let key = signature_key(&stream(), seq, &hash);
        assert_eq!(key.as_str(), format!("logins/log/000000000042.{}.sig", &hash.to_string()[..16]));
        let hash_prefix = HashPrefix::of(&hash);
        assert_eq!(read_log_key(&stream(), &key), LogObject::Signature { seq, hash_prefix });
        let upper = key.as_str().to_uppercase().replace("LOGINS/LOG", "logins/log").replace(".SIG", ".sig");
        for other in [
            "logins/log/42.0123456789abcdef.sig",
            "logins/log/000000000000.0123456789abcdef.sig",
            "logins/log/000000000042.0123456789abcde.sig",
            "logins/log/000000000042.0123456789abcdef0.sig",
            "logins/log/000000000042.sig",
            "logins/log/1000000000042.0123456789abcdef.sig",
            "logins/log/000000000042.0123456789abcdef.json",
            "others/log/000000000042.0123456789abcdef.sig",
            &upper,
        ] {
            let key = ObjectKey::parse(other).unwrap();
            assert_eq!(read_log_key(&stream(), &key), LogObject::Other, "{other}");
        }
    }

    #[test]
    fn a_key_that_somebody_else_made_up_is_shown_in_one_short_harmless_line() {
        let text = format!("logins/data/\u{1b}[2J\u{202e}{}", "x".repeat(1000));
        let key = ObjectKey::parse(&text).unwrap();
        assert_eq!(key.as_str(), text);
        let bad = format!("{text}/../").parse::<DataKey>().unwrap_err();
        for shown in [key.to_string(), bad.to_string()] {
            assert!(shown.len() < FOREIGN_LIMIT + 100 && !shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
        }
    }

    #[test]
    fn a_key_cannot_leave_its_folder() {
        for bad in ["", "/a", "a//b", "a/../b", "./a", "a/"] {
            assert!(ObjectKey::parse(bad).is_err(), "{bad:?}");
        }
    }
}
