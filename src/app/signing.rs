//! The key that signs, and whose signatures count: both read from the files that the configuration names.

use std::path::PathBuf;

use jiff::Timestamp;

use super::start_error::StartError;
use crate::adapters::signature::{AllowedSigners, PRINCIPAL, SignatureError, SignerFingerprint, SigningKey};
use crate::config::Config;

/// What a daemon with a signing key goes by: the key, and whose signatures count on the log that it follows.
#[derive(Debug)]
pub struct Signing {
    /// The key that entries are signed with.
    pub key: SigningKey,
    /// Whose signatures count: the allowed signers, else this key alone.
    signers: AllowedSigners,
    /// The file of the allowed signers, where the configuration names one.
    file: Option<PathBuf>,
}

impl Signing {
    /// `key`, and the keys in `file` (its path and its content); without a file only the signatures of `key` count.
    ///
    /// # Errors
    /// Never for a key that was parsed: its public line is a line of an `allowed_signers` file.
    pub fn new(key: SigningKey, file: Option<(PathBuf, AllowedSigners)>) -> Result<Self, StartError> {
        let (file, signers) = match file {
            Some((path, signers)) => (Some(path), signers),
            None => {
                let own = AllowedSigners::parse(&format!("{PRINCIPAL} {}", key.public_key_line()));
                (None, own.map_err(|e| StartError::config(format!("signing.key_file: {e}")))?)
            }
        };
        Ok(Self { key, signers, file })
    }

    /// Whose signatures count: the allowed signers, else the daemon's own key alone.
    pub fn signers(&self) -> &AllowedSigners {
        &self.signers
    }

    /// Whether the configuration names a file of allowed signers.
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Whether a key that counts signed `message`, which says that it was written at `at`; which key.
    ///
    /// # Errors
    /// In words, with the setting to change where the key is not known.
    pub fn verify(&self, message: &[u8], armored: &[u8], at: Timestamp) -> Result<SignerFingerprint, String> {
        self.signers.verify(Some(PRINCIPAL), message, armored, at).map_err(|error| match (&error, &self.file) {
            (SignatureError::UnknownKey { .. }, Some(file)) => format!(
                "{error}; if that is an earlier key of this log, add its public key to {} (signing.allowed_signers_file) \
                 and restart the daemon",
                file.display()
            ),
            (SignatureError::UnknownKey { key }, None) => format!(
                "signed with the key {key}, and only the daemon's own key {} counts; if that is an earlier key of this log, \
                 list both public keys in a file, name the file in signing.allowed_signers_file, and restart the daemon",
                self.key.fingerprint()
            ),
            _ => error.to_string(),
        })
    }
}

/// The key that signs and whose signatures count, where the configuration names a key.
///
/// # Errors
/// As [`signing_key`] and [`allowed_signers`].
pub fn signing(config: &Config, now: Timestamp) -> Result<Option<Signing>, StartError> {
    let Some(key) = signing_key(config, now)? else { return Ok(None) };
    let file = config.signing.as_ref().and_then(|signing| signing.allowed_signers_file.clone());
    Signing::new(key, file.zip(allowed_signers(config)?)).map(Some)
}

/// The key that log entries are signed with, where the configuration names one. Where it also says whose signatures
/// count, those of this key must: a log that its own `verify` refuses would only be found out by the auditor.
///
/// # Errors
/// When its file cannot be read, holds no key that can sign, or its signatures never count. Whether they count at a time is
/// found out when an entry is dated.
pub fn signing_key(config: &Config, now: Timestamp) -> Result<Option<SigningKey>, StartError> {
    let Some(signing) = &config.signing else { return Ok(None) };
    let failed = |e: String| StartError::config(format!("signing.key_file: {e}"));
    let text = signing.key.read().map_err(|e| failed(e.to_string()))?;
    let key = SigningKey::parse(&text).map_err(|e| failed(format!("{}: {e}", signing.key)))?;
    if let (Some(signers), Some(file)) = (allowed_signers(config)?, &signing.allowed_signers_file) {
        const MESSAGE: &[u8] = b"whether a signature of this key counts";
        match signers.verify(Some(PRINCIPAL), MESSAGE, &key.sign(MESSAGE), now) {
            // Nobody has confirmed the clock yet: each entry is compared with the key's time when it is dated.
            Ok(_) | Err(SignatureError::NotValidThen { .. }) => {}
            Err(error) => {
                let (own, file, line) = (&signing.key, file.display(), key.public_key_line());
                return Err(failed(format!(
                    "{own}: what it signs would not count by {file}: {error}; add this line to {file}: connvault {line}"
                )));
            }
        }
    }
    Ok(Some(key))
}

/// Whose signatures count, where the configuration says so.
///
/// # Errors
/// When the file cannot be read, or a line of it is wrong.
pub fn allowed_signers(config: &Config) -> Result<Option<AllowedSigners>, StartError> {
    let Some(path) = config.signing.as_ref().and_then(|signing| signing.allowed_signers_file.as_ref()) else {
        return Ok(None);
    };
    let failed =
        |e: String| StartError::config(format!("signing.allowed_signers_file: {}: {e}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
    AllowedSigners::parse(&text).map(Some).map_err(|e| failed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::Secrets;

    fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path
    }

    fn config(folder: &Path, signing: &str) -> Config {
        let key = file(folder, "access-key", "secret");
        let text = format!(
            "[sources.hq]\nkind = \"huaweicloud-workspace\"\nregion = \"r\"\nproject_id = \"0\"\n\
             [sources.hq.credentials]\nkind = \"aksk\"\naccess_key_file = {key:?}\nsecret_key_file = {key:?}\n\
             [stores.disk]\nkind = \"directory\"\npath = \"/srv/records\"\n\
             [streams.logins]\nsource = \"hq\"\nstore = \"disk\"\nwindow = \"1d\"\ntimezone = \"UTC\"\nstart = \"2026-11-01\"\n\
             {signing}"
        );
        let path = file(folder, "config.toml", &text);
        Config::load(&path, std::iter::empty(), Secrets::all(None)).unwrap()
    }

    #[test]
    fn a_file_that_holds_no_signing_key_is_an_error_of_the_configuration_by_its_key() {
        let folder = tempfile::tempdir().unwrap();
        assert!(signing_key(&config(folder.path(), ""), now()).unwrap().is_none());
        let key = file(folder.path(), "key", "hunter2");
        let error = signing_key(&config(folder.path(), &format!("[signing]\nkey_file = {key:?}\n")), now())
            .unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with(&format!("signing.key_file: {}: this is no private key", key.display())),
            "{said}"
        );
        assert!(!said.contains("hunter2"), "{said}");
        assert_eq!(error.exit(), crate::exit_code::Exit::Usage);
    }

    fn now() -> Timestamp {
        "2026-11-24T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_signing_key_whose_signatures_would_not_count_is_an_error_with_the_line_that_lacks() {
        let folder = tempfile::tempdir().unwrap();
        let pem = |seed: u8| {
            let pair = ssh_key::private::Ed25519Keypair::from_seed(&[seed; 32]);
            let key = ssh_key::PrivateKey::from(pair);
            key.to_openssh(ssh_key::LineEnding::LF).unwrap().to_string()
        };
        let key = file(folder.path(), "key", &pem(1));
        let other = SigningKey::parse(&pem(2).into()).unwrap();
        let own = SigningKey::parse(&pem(1).into()).unwrap();
        let signers = folder.path().join("allowed");
        let signing = format!("[signing]\nkey_file = {key:?}\nallowed_signers_file = {signers:?}\n");
        {
            std::fs::write(&signers, format!("connvault {}", other.public_key_line())).unwrap();
            let said = signing_key(&config(folder.path(), &signing), now()).unwrap_err().to_string();
            assert!(said.ends_with(&format!(": connvault {}", own.public_key_line())), "{said}");
        }
        // The clock of a start may be wrong: whether a key counts at a time is found out when an entry is dated.
        std::fs::write(&signers, format!("connvault valid-before=\"20261123Z\" {}", own.public_key_line()))
            .unwrap();
        assert!(signing_key(&config(folder.path(), &signing), now()).unwrap().is_some());
        std::fs::write(&signers, format!("connvault {}", own.public_key_line())).unwrap();
        assert!(signing_key(&config(folder.path(), &signing), now()).unwrap().is_some());
    }

    #[test]
    fn a_bad_line_of_the_allowed_signers_is_an_error_by_key_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let key = file(folder.path(), "key", "secret");
        let signers = file(folder.path(), "allowed", "# nobody\nconnvault\n");
        let signing = format!("[signing]\nkey_file = {key:?}\nallowed_signers_file = {signers:?}\n");
        let said = allowed_signers(&config(folder.path(), &signing)).unwrap_err().to_string();
        let start = format!("signing.allowed_signers_file: {}: line 2: there is no key", signers.display());
        assert!(said.starts_with(&start), "{said}");
    }
}
