//! Whose signatures on a log count: an `allowed_signers` file, and the check of one signature against it.
//!
//! Keys rotate by their validity there, and it is asked at the time that an entry says it was written (`recorded_at`), not
//! now: a key that is out of use by now still vouches for what it signed in its time. The signature itself is checked
//! before what the file says of the key, so that a forgery is called one, and never "expired".

use jiff::Timestamp;
use ssh_key::{PublicKey, SshSig};

use super::signer_line::{BadSigner, SignerLine, Validity};
use super::{NAMESPACE, SignerFingerprint};

/// The keys that may sign a log.
#[derive(Debug, Clone)]
pub struct AllowedSigners(Vec<SignerLine>);

/// The file cannot be used: a line that is passed over might be the one that shuts a key out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAllowedSigners {
    /// A line is wrong.
    #[error("line {line}: {error}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        error: BadSigner,
    },
    /// Nobody may sign.
    #[error("there is no key in it; add a line: NAME ssh-ed25519 BASE64")]
    Empty,
}

/// A signature proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Something else, or cut short.
    #[error("this is no SSH signature ({0})")]
    NotASignature(String),
    /// Made for another purpose.
    #[error("the signature was made for {found:?}, not for {NAMESPACE:?}: it says nothing about a log")]
    WrongNamespace {
        /// What it was made for.
        found: String,
    },
    /// By a key that is not listed.
    #[error("signed with the key {key}, which is not among the allowed signers")]
    UnknownKey {
        /// That key.
        key: SignerFingerprint,
    },
    /// The message, or the signature, is not what it was.
    #[error(
        "the signature of the key {key} does not match: the signed bytes, or the signature, were changed"
    )]
    DoesNotMatch {
        /// The key that is named by the signature.
        key: SignerFingerprint,
    },
    /// The key is listed for other purposes.
    #[error(
        "signed with the key {key}, which the allowed signers do not list for {NAMESPACE:?} (namespaces=)"
    )]
    NotForLogs {
        /// That key.
        key: SignerFingerprint,
    },
    /// The key is somebody else's.
    #[error("signed with the key {key}, which the allowed signers do not list for {principal:?}")]
    OtherPrincipal {
        /// That key.
        key: SignerFingerprint,
        /// Who was to have signed.
        principal: String,
    },
    /// Before or after the key's time.
    #[error("signed at {at} with the key {key}, which may sign {}", times(.validity))]
    NotValidThen {
        /// That key.
        key: SignerFingerprint,
        /// When the entry was written.
        at: Timestamp,
        /// When the key may sign; one for each of its lines.
        validity: Vec<Validity>,
    },
}

fn times(validity: &[Validity]) -> String {
    validity.iter().map(Validity::to_string).collect::<Vec<_>>().join(", or ")
}

impl AllowedSigners {
    /// The keys in `text`, an `allowed_signers` file as `ssh-keygen(1)` describes it.
    ///
    /// # Errors
    /// When a line cannot be read, or none holds a key.
    pub fn parse(text: &str) -> Result<Self, BadAllowedSigners> {
        let mut signers = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let bad = |error| BadAllowedSigners::Line { line: index + 1, error };
            signers.extend(SignerLine::parse(line).map_err(bad)?);
        }
        if signers.is_empty() { Err(BadAllowedSigners::Empty) } else { Ok(Self(signers)) }
    }

    /// Whether a listed key signed `message`, and was allowed to do so at `at`. Where a key stands in several lines, one
    /// of them is enough; `principal` is who must have signed, `None` for anyone who is listed.
    ///
    /// # Errors
    /// When not, and why.
    pub fn verify(
        &self,
        principal: Option<&str>,
        message: &[u8],
        armored_sig: &[u8],
        at: Timestamp,
    ) -> Result<SignerFingerprint, SignatureError> {
        let signature = read(armored_sig)?;
        let key = SignerFingerprint::of(signature.public_key());
        let lines: Vec<_> =
            self.0.iter().filter(|line| line.key.key_data() == signature.public_key()).collect();
        let Some(first) = lines.first() else {
            return Err(SignatureError::UnknownKey { key });
        };
        if first.key.verify(NAMESPACE, message, &signature).is_err() {
            return Err(SignatureError::DoesNotMatch { key });
        }
        let lines: Vec<_> = lines.into_iter().filter(|line| line.may_sign_in(NAMESPACE)).collect();
        if lines.is_empty() {
            return Err(SignatureError::NotForLogs { key });
        }
        let lines: Vec<_> = lines
            .into_iter()
            .filter(|line| principal.is_none_or(|principal| line.is_for(principal)))
            .collect();
        match principal {
            Some(principal) if lines.is_empty() => {
                Err(SignatureError::OtherPrincipal { key, principal: principal.to_owned() })
            }
            _ if lines.iter().any(|line| line.validity.holds(at)) => Ok(key),
            _ => {
                let validity = lines.iter().map(|line| line.validity).collect();
                Err(SignatureError::NotValidThen { key, at, validity })
            }
        }
    }

    /// Whether the key `signer` is listed for `principal` and for logs, at whatever time.
    pub fn lists(&self, principal: &str, signer: &SignerFingerprint) -> bool {
        self.0.iter().any(|line| {
            SignerFingerprint::of(line.key.key_data()) == *signer
                && line.may_sign_in(NAMESPACE)
                && line.is_for(principal)
        })
    }
}

fn read(armored_sig: &[u8]) -> Result<SshSig, SignatureError> {
    let signature =
        SshSig::from_pem(armored_sig).map_err(|error| SignatureError::NotASignature(error.to_string()))?;
    if signature.namespace() != NAMESPACE {
        return Err(SignatureError::WrongNamespace { found: signature.namespace().to_owned() });
    }
    Ok(signature)
}

/// A signature on some log entry, of anybody's, without what may be written in more than one way around it.
///
/// Without the entry nobody can tell what it is a signature on, or whether it is one at all: these are the bytes and the key
/// that it names, no proof. Two files with the same mark hold the same signature.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SignatureMark {
    /// The key that it names.
    pub signer: SignerFingerprint,
    bytes: Vec<u8>,
}

impl SignatureMark {
    /// That of the signature in `armored_sig`; `None` where this is no signature on a log entry.
    pub fn of(armored_sig: &[u8]) -> Option<Self> {
        let signature = read(armored_sig).ok()?;
        let signer = SignerFingerprint::of(signature.public_key());
        Some(Self { signer, bytes: signature.signature_bytes().to_vec() })
    }
}

/// Which key signed `message`, whether or not it may: for those who were not told whose signatures count, and want to know
/// at least that none was damaged.
///
/// # Errors
/// When no key did.
pub fn signed_by(message: &[u8], armored_sig: &[u8]) -> Result<SignerFingerprint, SignatureError> {
    let signature = read(armored_sig)?;
    let key = SignerFingerprint::of(signature.public_key());
    let public = PublicKey::from(signature.public_key().clone());
    match public.verify(NAMESPACE, message, &signature) {
        Ok(()) => Ok(key),
        Err(_) => Err(SignatureError::DoesNotMatch { key }),
    }
}
