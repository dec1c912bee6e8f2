//! Secrets: always in files, read when they are needed, never kept by the configuration.
//!
//! The order in [`SecretFile::read`] matters: the file is opened first and asked for its kind, mode and size
//! through the open handle, so that what is checked is what is read.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::domain::loopback::is_private;

/// More than any key or token has.
const LARGEST: u64 = 64 * 1024;

/// What stands for the directory where systemd's `LoadCredential=` puts its files.
const PLACEHOLDER: &str = "${CREDENTIALS_DIRECTORY}/";

/// Which secrets a command reads, and where systemd has put them.
#[derive(Debug, Clone, Copy)]
pub struct Secrets<'a> {
    credentials: Option<&'a Path>,
    needed: Needed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needed {
    All,
    /// Whoever only reads archives has no business with the provider's keys, nor with the one that signs.
    OfStores,
    None,
}

impl Secrets<'_> {
    /// Every secret must be there; `credentials` is what systemd's `$CREDENTIALS_DIRECTORY` says.
    pub fn all(credentials: Option<&Path>) -> Secrets<'_> {
        Secrets { credentials, needed: Needed::All }
    }

    /// Only those of the stores must be there.
    pub fn of_stores(credentials: Option<&Path>) -> Secrets<'_> {
        Secrets { credentials, needed: Needed::OfStores }
    }

    /// None is read, whether it is there or not: each is looked at by itself.
    pub fn unread(credentials: Option<&Path>) -> Secrets<'_> {
        Secrets { credentials, needed: Needed::None }
    }

    /// For a section that is none of a store.
    pub(super) fn unless_of_stores(self) -> Self {
        match self.needed {
            Needed::OfStores => Self { needed: Needed::None, ..self },
            Needed::All | Needed::None => self,
        }
    }

    pub(super) fn are_read(self) -> bool {
        self.needed != Needed::None
    }

    /// The file that `text` names. Of one that is not read it does not matter whether the credentials are there.
    pub(super) fn file(self, text: &str) -> Result<SecretFile, BadSecretPath> {
        match SecretFile::parse(text, self.credentials) {
            Err(BadSecretPath::NoCredentialsDirectory) if !self.are_read() => {
                SecretFile::parse(text, Some(Path::new("/run/credentials")))
            }
            file => file,
        }
    }
}

/// A file that holds one secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile {
    path: PathBuf,
    /// Bits of the file's mode that must not be set.
    forbidden: u32,
}

/// Why a secret cannot be had. Names the file, never what is in it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Not there, or not for us.
    #[error("cannot read {}: {cause}; create it, or let the daemon's user read it", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// A directory, a socket, a pipe.
    #[error("{} is not a regular file; name a file that holds the secret", .0.display())]
    NotAFile(PathBuf),
    /// Others than its owner may read or write it.
    #[error("{} can be read or changed by others (mode {mode:04o}); run: chmod 600 {}", .path.display(), .path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Nothing in it but white space.
    #[error("{} is empty; put the secret into it", .0.display())]
    Empty(PathBuf),
    /// Far more in it than a secret has.
    #[error("{} is larger than 64 KiB, which no secret is; name the right file", .0.display())]
    TooLarge(PathBuf),
    /// Something else than a URL that may be posted to.
    #[error("{} holds no URL that begins with https:// (http:// to this machine only); put one into it", .0.display())]
    NotAUrl(PathBuf),
    /// Not text.
    #[error("{} is not UTF-8 text; name the right file", .0.display())]
    NotUtf8(PathBuf),
}

/// Why a text names no secret file. The text itself is left out: it might be the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecretPath {
    /// Neither absolute nor in the credentials directory.
    #[error(
        "must be the absolute path of a file that holds the secret, or ${{CREDENTIALS_DIRECTORY}}/NAME (the value is \
         not shown, it may be the secret itself)"
    )]
    NotAbsolute,
    /// The placeholder is there and the variable is not.
    #[error(
        "names ${{CREDENTIALS_DIRECTORY}}, and that variable is not set; systemd sets it for units with \
         LoadCredential=, elsewhere use an absolute path"
    )]
    NoCredentialsDirectory,
}

impl SecretFile {
    /// The file that `text` names; `credentials` is the credentials directory, where there is one.
    ///
    /// systemd owns the files in there, keeps everyone else out of the directory, and makes them readable for the
    /// unit's user by their group (0440) where it cannot use an access list: so a group may read there.
    pub(super) fn parse(text: &str, credentials: Option<&Path>) -> Result<Self, BadSecretPath> {
        let path = match (text.strip_prefix(PLACEHOLDER), credentials) {
            (Some(name), Some(directory)) => directory.join(name),
            (Some(_), None) => return Err(BadSecretPath::NoCredentialsDirectory),
            (None, _) => PathBuf::from(text),
        };
        if !path.is_absolute() {
            return Err(BadSecretPath::NotAbsolute);
        }
        let leaves = path.components().any(|part| part == std::path::Component::ParentDir);
        let in_credentials = credentials.is_some_and(|directory| path.starts_with(directory)) && !leaves;
        Ok(Self { path, forbidden: if in_credentials { 0o037 } else { 0o077 } })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The secret, without the line feeds at its end.
    ///
    /// # Errors
    /// When the file cannot be read, is open to others, or holds no text.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        let path = || self.path.clone();
        let unreadable = |cause| SecretError::Unreadable { path: path(), cause };
        // Without NONBLOCK, opening a pipe would wait for its other end for ever.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&self.path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(SecretError::NotAFile(path()));
        }
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & self.forbidden != 0 {
            return Err(SecretError::OpenToOthers { path: path(), mode });
        }
        // The whole room at once: a buffer that grows would leave copies of the secret behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST as usize + 1));
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > LARGEST {
            return Err(SecretError::TooLarge(path()));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::NotUtf8(path()))?;
        let text = text.trim_end_matches(['\n', '\r']);
        if text.trim().is_empty() {
            return Err(SecretError::Empty(path()));
        }
        Ok(SecretString::from(text))
    }

    /// The secret, where it is to be a URL: https, or http to this machine.
    ///
    /// # Errors
    /// As [`Self::read`], and when it is none. The URL is in no message: whoever knows it may post there.
    pub fn read_url(&self) -> Result<SecretString, SecretError> {
        let text = self.read()?;
        let url = Url::parse(text.expose_secret()).ok().filter(is_private);
        url.map(|_| text).ok_or_else(|| SecretError::NotAUrl(self.path.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn file(directory: &Path, content: &[u8], mode: u32) -> PathBuf {
        let path = directory.join("secret");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn read(path: &Path, credentials: Option<&Path>) -> Result<String, String> {
        let secret = SecretFile::parse(path.to_str().unwrap(), credentials).unwrap().read();
        secret.map(|s| s.expose_secret().to_owned()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_file_open_to_others_is_refused_with_the_command_that_closes_it() {
        let directory = tempfile::tempdir().unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601, 0o644] {
            let path = file(directory.path(), b"s3cret", mode);
            let refused = read(&path, None).unwrap_err();
            let said = format!("(mode {mode:04o}); run: chmod 600 {}", path.display());
            assert!(refused.ends_with(&said), "{refused}");
        }
        assert_eq!(read(&file(directory.path(), b"s3cret", 0o400), None).unwrap(), "s3cret");
    }

    #[test]
    fn a_group_may_read_inside_the_credentials_directory_and_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let credentials = Some(directory.path());
        let path = file(directory.path(), b"s3cret", 0o440);
        assert_eq!(read(&path, credentials).unwrap(), "s3cret");
        let expanded = SecretFile::parse("${CREDENTIALS_DIRECTORY}/secret", credentials).unwrap();
        assert_eq!((expanded.path(), expanded.read().is_ok()), (path.as_path(), true));
        for mode in [0o460, 0o444] {
            assert!(read(&file(directory.path(), b"s3cret", mode), credentials).is_err(), "{mode:o}");
        }
        let outside = tempfile::tempdir().unwrap();
        let path = file(outside.path(), b"s3cret", 0o440);
        assert!(read(&path, credentials).is_err());
        let roundabout = directory.path().join("..").join(outside.path().file_name().unwrap()).join("secret");
        assert!(read(&roundabout, credentials).is_err());
    }

    #[test]
    fn the_line_feed_at_the_end_is_no_part_of_the_secret() {
        let directory = tempfile::tempdir().unwrap();
        for content in ["s3cret", "s3cret\n", "s3cret\r\n", "s3cret\n\n"] {
            assert_eq!(read(&file(directory.path(), content.as_bytes(), 0o600), None).unwrap(), "s3cret");
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_and_never_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let large = "x".repeat(LARGEST as usize + 1);
        let contents: [(&[u8], &str); 5] = [
            (b"", "is empty"),
            (b"\n", "is empty"),
            (b" \t\n", "is empty"),
            (b"s3cret\xff", "is not UTF-8"),
            (large.as_bytes(), "is larger"),
        ];
        for (content, why) in contents {
            let refused = read(&file(directory.path(), content, 0o600), None).unwrap_err();
            assert!(refused.contains(why) && !refused.contains("s3cret"), "{refused}");
        }
        let gone = read(&directory.path().join("gone"), None).unwrap_err();
        assert!(gone.contains("/gone: No such file or directory"), "{gone}");
        let no_file = read(directory.path(), None).unwrap_err();
        assert!(no_file.contains("is not a regular file"), "{no_file}");
    }

    #[test]
    fn a_pipe_is_refused_without_waiting_for_its_other_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg("-m600").arg(&path).status().unwrap();
        assert!(made.success());
        assert!(read(&path, None).unwrap_err().contains("is not a regular file"));
    }

    #[test]
    fn a_relative_path_is_refused_without_repeating_it() {
        let refused = SecretFile::parse("AKIAEXAMPLE", None).unwrap_err();
        assert!(!refused.to_string().contains("AKIA"));
        let refused = SecretFile::parse("${CREDENTIALS_DIRECTORY}/sk", None).unwrap_err();
        assert!(refused.to_string().contains("LoadCredential="));
    }
}
