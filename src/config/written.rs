//! The configuration file as somebody wrote it: whether it has changed since a daemon read it.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// A configuration file, with the digest of what it said when it was read. Remarks and the order of keys do not count, nor
/// do variables of the environment, which differ between a daemon and those who ask about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenConfig {
    path: PathBuf,
    digest: Option<String>,
}

impl WrittenConfig {
    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Self {
        Self { path: path.to_owned(), digest: digest(path) }
    }

    /// The digest; `None` where the file cannot be read.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// The file as it is now.
    pub fn again(&self) -> Self {
        Self::read(&self.path)
    }
}

/// Half of SHA-256, in hex: enough to tell two files apart.
const BYTES: usize = 16;

fn digest(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    // Its keys in their order; a file that does not parse is another one than any that was read.
    let said = text.parse::<toml::Table>().ok().and_then(|table| serde_json::to_string(&table).ok());
    Some(hex::encode(&Sha256::digest(said.unwrap_or(text))[..BYTES]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_and_the_order_of_keys_are_no_change_and_values_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let of = |text: &str| {
            std::fs::write(&path, text).unwrap();
            WrittenConfig::read(&path)
        };
        let before = of("[a]\nx = 1\ny = 2\n");
        for same in ["# A remark.\n[a]\ny = 2\nx = 1\n", "a = { x = 1, y = 2 }\n"] {
            assert_eq!(of(same), before, "{same}");
        }
        for other in ["[a]\nx = 1\ny = 3\n", "[a]\nx = 1\n", "[a\nx = 1\n"] {
            assert_ne!(of(other), before, "{other}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(before.again().digest(), None);
    }
}
