//! Secrets: always in files, read when they are needed, never kept by the configuration.
//!
//! A file is named as the configuration writes it, and found where `${CREDENTIALS_DIRECTORY}` leads. Only the first is the
//! same for whoever asks, so only the first is shown, and goes into fingerprints.
//!
//! The order in [`SecretFile::read`] matters: the file is opened first and asked for its kind, mode and size
//! through the open handle, so that what is checked is what is read.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::secret_shape::{Blemish, Shape};
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
    /// Every one, now.
    All,
    /// Whoever only reads archives has no business with the provider's keys, nor with the one that signs.
    OfStores,
    /// None now: each is tried by itself later.
    Later,
    /// None at all, nor any other file that the configuration names.
    Never,
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
        Secrets { credentials, needed: Needed::Later }
    }

    /// None is read, now or later, nor any other file that the configuration names: for commands that only look.
    pub fn never() -> Secrets<'static> {
        Secrets { credentials: None, needed: Needed::Never }
    }

    /// For a section that is none of a store.
    pub(super) fn unless_of_stores(self) -> Self {
        match self.needed {
            Needed::OfStores => Self { needed: Needed::Never, ..self },
            Needed::All | Needed::Later | Needed::Never => self,
        }
    }

    pub(super) fn are_read(self) -> bool {
        matches!(self.needed, Needed::All | Needed::OfStores)
    }

    /// Whether certificates and other public files that a section names are looked into.
    pub(super) fn other_files_are_read(self) -> bool {
        self.needed != Needed::Never
    }

    /// The file that `text` names. Of one that is not read now it does not matter whether the credentials are there.
    pub(super) fn file(self, text: &str, shape: Shape) -> Result<SecretFile, BadSecretPath> {
        let file = SecretFile::parse(text, shape, self.credentials)?;
        match file.location {
            Location::Unknown if self.are_read() => Err(BadSecretPath::NoCredentialsDirectory),
            _ => Ok(file),
        }
    }
}

/// A file that holds one secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile {
    /// As the configuration writes it.
    written: String,
    location: Location,
    shape: Shape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Location {
    At {
        path: PathBuf,
        /// Bits of the file's mode that must not be set.
        forbidden: u32,
    },
    /// In the credentials directory, of which nobody has said where it is.
    Unknown,
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
    /// Not among what systemd has handed over.
    #[error(
        "{} is not there: put the secret into it; for the service, hand it over in a drop-in (systemctl edit connvault): \
         [Service] LoadCredential={name}:/etc/connvault/credentials/{name}, and restart", .path.display()
    )]
    NotHandedOver {
        /// The file.
        path: PathBuf,
        /// What the configuration calls it below `${CREDENTIALS_DIRECTORY}`.
        name: String,
    },
    /// In the credentials directory, and nobody says where that is.
    #[error("{written}: {why}", why = BadSecretPath::NoCredentialsDirectory)]
    NoCredentialsDirectory {
        /// As the configuration writes it.
        written: String,
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
    /// The secret, and something around it that would be taken for a part of it.
    #[error("{} {blemish}", .path.display())]
    Blemished {
        /// The file.
        path: PathBuf,
        /// What is around the secret.
        blemish: Blemish,
    },
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
        "names ${{CREDENTIALS_DIRECTORY}}, and that variable is not set: systemd sets it for the service (LoadCredential=); \
         by hand say where the files lie, such as: sudo CREDENTIALS_DIRECTORY=/etc/connvault/credentials connvault check"
    )]
    NoCredentialsDirectory,
}

/// The file's path where that is known, else as it is written.
impl fmt::Display for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Location::At { path, .. } => path.display().fmt(f),
            Location::Unknown => f.write_str(&self.written),
        }
    }
}

impl SecretFile {
    /// The file that `text` names; `credentials` is the credentials directory, where there is one.
    ///
    /// systemd owns the files in there, keeps everyone else out of the directory, and makes them readable for the
    /// unit's user by their group (0440) where it cannot use an access list: so a group may read there.
    pub(super) fn parse(text: &str, shape: Shape, credentials: Option<&Path>) -> Result<Self, BadSecretPath> {
        let file = |location| Ok(Self { written: text.to_owned(), location, shape });
        let path = match (text.strip_prefix(PLACEHOLDER), credentials) {
            (Some(name), Some(directory)) => directory.join(name),
            (Some(_), None) => return file(Location::Unknown),
            (None, _) => PathBuf::from(text),
        };
        if !path.is_absolute() {
            return Err(BadSecretPath::NotAbsolute);
        }
        let leaves = path.components().any(|part| part == std::path::Component::ParentDir);
        let in_credentials = credentials.is_some_and(|directory| path.starts_with(directory)) && !leaves;
        file(Location::At { path, forbidden: if in_credentials { 0o037 } else { 0o077 } })
    }

    /// As the configuration writes it: the same wherever the credentials directory is.
    pub fn as_written(&self) -> &str {
        &self.written
    }

    /// Where it is, unless systemd decides that.
    pub fn own_path(&self) -> Option<&Path> {
        match &self.location {
            Location::At { path, .. } if !self.written.starts_with(PLACEHOLDER) => Some(path),
            _ => None,
        }
    }

    /// The secret, without the line feeds at its end.
    ///
    /// # Errors
    /// When the file cannot be read, is open to others, or holds no text, or more than the secret.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        let Location::At { path: own, forbidden } = &self.location else {
            return Err(SecretError::NoCredentialsDirectory { written: self.written.clone() });
        };
        let path = || own.clone();
        let unreadable = |cause: std::io::Error| match self.written.strip_prefix(PLACEHOLDER) {
            Some(name) if cause.kind() == ErrorKind::NotFound => {
                SecretError::NotHandedOver { path: path(), name: name.to_owned() }
            }
            _ => SecretError::Unreadable { path: path(), cause },
        };
        // Without NONBLOCK, opening a pipe would wait for its other end for ever.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(own).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(SecretError::NotAFile(path()));
        }
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & forbidden != 0 {
            return Err(SecretError::OpenToOthers { path: path(), mode });
        }
        // The whole room at once: a buffer that grows would leave copies of the secret behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST as usize + 1));
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > LARGEST {
            return Err(SecretError::TooLarge(path()));
        }
        let blemished = |blemish| SecretError::Blemished { path: path(), blemish };
        Blemish::of_bytes(&bytes).map_or(Ok(()), |blemish| Err(blemished(blemish)))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::NotUtf8(path()))?;
        let text = text.trim_end_matches(['\n', '\r']);
        if text.trim().is_empty() {
            return Err(SecretError::Empty(path()));
        }
        self.shape.blemish(text).map_or(Ok(()), |blemish| Err(blemished(blemish)))?;
        Ok(SecretString::from(text))
    }

    /// What may be wrong with a secret that can be read: blanks or quotes around a password are hardly ever a part of it.
    pub fn doubt(&self) -> Option<Blemish> {
        let text = self.read().ok()?;
        self.shape.doubt(text.expose_secret())
    }

    /// The secret, where it is to be a URL: https, or http to this machine.
    ///
    /// # Errors
    /// As [`Self::read`], and when it is none. The URL is in no message: whoever knows it may post there.
    pub fn read_url(&self) -> Result<SecretString, SecretError> {
        let text = self.read()?;
        let url = Url::parse(text.expose_secret()).ok().filter(is_private);
        url.map(|_| text).ok_or_else(|| SecretError::NotAUrl(self.to_string().into()))
    }
}

#[cfg(test)]
mod tests;
