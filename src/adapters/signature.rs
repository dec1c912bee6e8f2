//! Signatures on log entries, in OpenSSH's own form (SSHSIG), so that anyone checks them with stock `ssh-keygen -Y verify`.
//!
//! [`SigningKey`] makes them, [`AllowedSigners`] says whose count. Keys are ed25519 and nothing else: its signatures
//! have no random part, so that an entry signed again after a crash has the very signature that may lie there already.

mod allowed_signers;
mod signer_line;
#[cfg(test)]
mod tests;

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use ssh_key::{Algorithm, Error, HashAlg, LineEnding, PrivateKey, PublicKey};

pub use allowed_signers::{AllowedSigners, BadAllowedSigners, SignatureError, SignatureMark, signed_by};
pub use signer_line::{BadSigner, Validity};

/// What signatures are bound to: one made for anything else, a mail or a commit, is none on a log.
pub const NAMESPACE: &str = "connvault-log";

/// A public key's SHA-256 as `ssh-keygen -l` prints it: `SHA256:` and 43 characters of base64.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignerFingerprint(String);

impl SignerFingerprint {
    fn of(key: &ssh_key::public::KeyData) -> Self {
        Self(key.fingerprint(HashAlg::Sha256).to_string())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SignerFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The private key that entries are signed with.
///
/// It is wiped from memory when it is dropped, and `Debug` shows its fingerprint alone.
pub struct SigningKey {
    key: PrivateKey,
    fingerprint: SignerFingerprint,
    public_line: String,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&self.fingerprint.0).finish()
    }
}

/// Why a text is no key that entries can be signed with. Never quotes the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSigningKey {
    /// A passphrase would be needed.
    #[error(
        "the key is protected by a passphrase, and a daemon has nobody to ask for it; take the passphrase off a copy \
         that only the daemon can read: ssh-keygen -p -N '' -f COPY"
    )]
    Encrypted,
    /// Another algorithm than ed25519.
    #[error(
        "this is a key for {0}, and the log is signed with ed25519; make one: ssh-keygen -t ed25519 -N '' -f FILE"
    )]
    Algorithm(String),
    /// The other half.
    #[error("this is a public key; name the file of the private one, which ssh-keygen writes without .pub")]
    Public,
    /// A private key as OpenSSL and others write it.
    #[error(
        "this is a private key in another form than OpenSSH's; make one that is: ssh-keygen -t ed25519 -N '' -f FILE"
    )]
    OtherForm,
    /// No key, or a broken one.
    #[error(
        "this is no private key as OpenSSH writes it ({0}); make one: ssh-keygen -t ed25519 -N '' -f FILE"
    )]
    NotAKey(String),
}

/// Whose signatures count on a log: the name at the head of a line of `allowed_signers`, and what `ssh-keygen -Y verify -I` is
/// given. One for all, so that both come to the same answer.
pub const PRINCIPAL: &str = "connvault";

impl SigningKey {
    /// The key in `openssh_pem`, what `ssh-keygen -t ed25519 -N ''` writes.
    ///
    /// # Errors
    /// When it is protected by a passphrase, of another algorithm, or no key.
    pub fn parse(openssh_pem: &SecretString) -> Result<Self, BadSigningKey> {
        let text = openssh_pem.expose_secret().trim();
        // A key that went through an editor of another system still is one.
        let key = PrivateKey::from_openssh(text).map_err(|error| refusal(text, error))?;
        if key.is_encrypted() {
            return Err(BadSigningKey::Encrypted);
        }
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(BadSigningKey::Algorithm(key.algorithm().to_string()));
        }
        // Without its comment, which may be anything and is nobody's business.
        let public = PublicKey::from(key.public_key().key_data().clone());
        let public_line = public.to_openssh().map_err(|error| BadSigningKey::NotAKey(error.to_string()))?;
        Ok(Self { fingerprint: SignerFingerprint::of(public.key_data()), key, public_line })
    }

    /// The signature on `message`, as `ssh-keygen -Y sign -n connvault-log` writes it. The same message always has
    /// the same signature.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signed = self.key.sign(NAMESPACE, HashAlg::Sha512, message);
        let armored = signed.and_then(|signature| signature.to_pem(LineEnding::LF));
        // An error would be an encrypted key, another algorithm, an empty namespace or a length above 4 GiB: `parse`
        // refused the first two, the namespace is a constant, and the message enters as its hash.
        armored
            .expect("an ed25519 key in the clear signs any hash under a namespace that is not empty")
            .into_bytes()
    }

    /// The key's fingerprint: `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.0.clone()
    }

    /// The public key: `ssh-ed25519 AAAA…`, without a comment and without a line feed. With a name before it, it is a
    /// line of an `allowed_signers` file.
    pub fn public_key_line(&self) -> &str {
        &self.public_line
    }
}

fn refusal(text: &str, error: Error) -> BadSigningKey {
    let first = text.lines().next().unwrap_or_default();
    let is_public =
        ["ssh-", "ecdsa-", "sk-", "---- BEGIN SSH2 PUBLIC"].iter().any(|start| first.starts_with(start));
    match error {
        Error::AlgorithmUnsupported { algorithm } => BadSigningKey::Algorithm(algorithm.to_string()),
        Error::AlgorithmUnknown => BadSigningKey::Algorithm("an algorithm that is not known here".to_owned()),
        Error::Encrypted => BadSigningKey::Encrypted,
        _ if is_public || first.contains(" PUBLIC KEY") => BadSigningKey::Public,
        _ if first.starts_with("-----BEGIN ")
            && first.contains("PRIVATE KEY")
            && !first.contains("OPENSSH") =>
        {
            BadSigningKey::OtherForm
        }
        error => BadSigningKey::NotAKey(error.to_string()),
    }
}
