//! An auditor's look at a stream: keys, bytes and plain JSON, with nothing of connvault's own reading of them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sha2::{Digest, Sha256};

/// A stream as it lies in a store.
#[derive(Debug, Clone, PartialEq)]
pub struct Archive {
    /// The log, in order.
    pub entries: Vec<Value>,
    /// By key relative to the stream's folder.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl Archive {
    /// The stream called `stream` among `objects`. Panics unless the log is a chain without a gap or a fork, and
    /// holds nothing but entries.
    pub fn of(objects: &BTreeMap<String, Vec<u8>>, stream: &str) -> Self {
        let folder = format!("{stream}/");
        let (mut entries, mut data) = (Vec::new(), BTreeMap::new());
        let mut previous = "0".repeat(64);
        for (key, bytes) in objects {
            let Some(key) = key.strip_prefix(&folder) else {
                continue;
            };
            if key.starts_with("data/") {
                data.insert(key.to_owned(), bytes.clone());
                continue;
            }
            let seq = entries.len() + 1;
            assert_eq!(key, format!("log/{seq:012}.json"), "the log of {stream} has a gap");
            let entry: Value = serde_json::from_slice(bytes).unwrap();
            assert_eq!(entry["seq"], seq, "{key}");
            assert_eq!(entry["stream"], stream, "{key}");
            assert_eq!(entry["previous"], previous, "{key}: the chain is broken");
            previous = sha256(bytes);
            entries.push(entry);
        }
        let archive = Self { entries, data };
        if let Some(first) = archive.entries.first() {
            assert_eq!(first["kind"], "stream");
        }
        archive.assert_named();
        archive
    }

    /// The entries of one kind.
    pub fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.entries.iter().filter(|entry| entry["kind"] == kind).collect()
    }

    /// The starts of the windows that are archived, in order; one that is archived twice stands there twice.
    pub fn archived(&self) -> Vec<String> {
        self.starts("archived")
    }

    /// The starts of the windows of the entries of `kind`, in order.
    pub fn starts(&self, kind: &str) -> Vec<String> {
        let start = |entry: &&Value| entry["window"]["start"].as_str().unwrap().to_owned();
        let mut starts: Vec<_> = self.of_kind(kind).iter().map(start).collect();
        starts.sort();
        starts
    }

    /// The keys of all orphans that entries name.
    pub fn orphans(&self) -> BTreeSet<String> {
        let orphans = self.entries.iter().flat_map(|entry| entry["orphans"].as_array()).flatten();
        orphans.map(|orphan| text(&orphan["key"])).collect()
    }

    /// What an entry says of an object is so, and there is no object that no entry speaks of.
    fn assert_named(&self) {
        let mut named = BTreeSet::new();
        for entry in &self.entries {
            let objects = entry.get("object").into_iter();
            for object in objects.chain(entry["orphans"].as_array().into_iter().flatten()) {
                let key = text(&object["key"]);
                let bytes = self.data.get(&key).unwrap_or_else(|| panic!("{key} is named and not there"));
                assert_eq!(object["sha256"], sha256(bytes), "{key}");
                assert_eq!(object["bytes"], bytes.len(), "{key}");
                assert!(named.insert(key.clone()), "{key} is named twice");
            }
        }
        let there: BTreeSet<_> = self.data.keys().cloned().collect();
        assert_eq!(there, named, "objects that no entry names");
    }

    /// Each of `windows` (by start) is archived once, by one entry, in one object, and nothing else is there.
    pub fn assert_complete(&self, windows: &[String]) {
        assert_eq!(self.archived(), windows, "archived windows");
        assert_eq!(self.data.len(), windows.len(), "{:?}", self.data.keys());
        assert_eq!(self.orphans(), BTreeSet::new());
        let others = self.of_kind("stream").len() + self.of_kind("parked").len();
        assert_eq!(self.entries.len(), windows.len() + others);
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
