//! Our signatures and those of stock `ssh-keygen`, held against each other: each takes the other's, and both refuse the same.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use connvault::adapters::signature::{AllowedSigners, BadSigningKey, NAMESPACE, SignatureError, SigningKey};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use secrecy::SecretString;
use tempfile::TempDir;

use crate::support::vault::{Vault, WINDOWS, allowed_signers};

const MESSAGE: &[u8] = b"{\n  \"format\": 1,\n  \"seq\": 42\n}\n";

struct Keygen(TempDir);

impl Keygen {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new("ssh-keygen");
        command.args(arguments).current_dir(self.0.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("ssh-keygen is there: install openssh-client");
        // Where it stops before it has read, its exit status says why.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    fn make(&self, name: &str, kind: &str, passphrase: &str) -> SecretString {
        let made = self.run(&["-q", "-t", kind, "-N", passphrase, "-C", "a comment", "-f", name], b"");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        SecretString::from(fs::read_to_string(self.path(name)).unwrap())
    }

    fn key(&self, name: &str) -> SigningKey {
        SigningKey::parse(&self.make(name, "ed25519", "")).unwrap()
    }

    /// What stock `ssh-keygen -Y sign` makes of [`MESSAGE`].
    fn sign(&self, key: &str, namespace: &str, hash: &str) -> Vec<u8> {
        let option = format!("hashalg={hash}");
        let signed = self.run(&["-Y", "sign", "-f", key, "-n", namespace, "-O", &option], MESSAGE);
        assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
        signed.stdout
    }

    /// Whether stock `ssh-keygen -Y verify` takes it.
    fn takes(&self, allowed: &str, message: &[u8], signature: &[u8], at: &str) -> bool {
        fs::write(self.path("allowed"), allowed).unwrap();
        fs::write(self.path("sig"), signature).unwrap();
        let time = format!("verify-time={at}");
        let arguments =
            ["-Y", "verify", "-f", "allowed", "-I", "connvault", "-n", NAMESPACE, "-s", "sig", "-O", &time];
        self.run(&arguments, message).status.success()
    }
}

fn ours(allowed: &str, message: &[u8], signature: &[u8], at: &str) -> Result<String, SignatureError> {
    let civil = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", at).unwrap();
    let at: Timestamp = TimeZone::UTC.to_timestamp(civil).unwrap();
    let allowed = AllowedSigners::parse(allowed).unwrap();
    allowed.verify(Some("connvault"), message, signature, at).map(|signer| signer.to_string())
}

const NOW: &str = "20261122120000Z";

/// Allowed signers, message, signature, when, and the error that is ours for it.
type Refused<'a> = (&'a str, &'a [u8], &'a [u8], &'a str, fn(&SignatureError) -> bool);

#[test]
#[ignore = "needs ssh-keygen: run scripts/test"]
fn stock_ssh_keygen_takes_our_signatures_and_we_take_its() {
    let keygen = Keygen::new();
    let key = keygen.key("id");
    let allowed = format!("connvault {}\n", key.public_key_line());
    assert!(keygen.takes(&allowed, MESSAGE, &key.sign(MESSAGE), NOW));
    assert!(!keygen.takes(&allowed, b"tampered", &key.sign(MESSAGE), NOW));
    for hash in ["sha512", "sha256"] {
        let signature = keygen.sign("id", NAMESPACE, hash);
        assert_eq!(ours(&allowed, MESSAGE, &signature, NOW).unwrap(), key.fingerprint(), "{hash}");
    }
    // ed25519 has no random part: it is the same signature, to the byte.
    assert_eq!(keygen.sign("id", NAMESPACE, "sha512"), key.sign(MESSAGE));
}

#[test]
#[ignore = "needs ssh-keygen: run scripts/test"]
fn a_fingerprint_and_a_public_key_are_what_ssh_keygen_prints() {
    let keygen = Keygen::new();
    let key = keygen.key("id");
    let printed = String::from_utf8(keygen.run(&["-l", "-f", "id.pub"], b"").stdout).unwrap();
    assert_eq!(printed.split(' ').nth(1), Some(key.fingerprint().as_str()));
    let public = fs::read_to_string(keygen.path("id.pub")).unwrap();
    assert_eq!(public.trim_end(), format!("{} a comment", key.public_key_line()));
}

#[test]
#[ignore = "needs ssh-keygen: run scripts/test"]
fn what_one_verifier_refuses_the_other_refuses_too() {
    let keygen = Keygen::new();
    let (key, other) = (keygen.key("id"), keygen.key("other"));
    let signature = key.sign(MESSAGE);
    let mut last = signature.clone();
    let at = last.len() - "\n-----END SSH SIGNATURE-----\n".len() - 9;
    last[at] = if last[at] == b'A' { b'B' } else { b'A' };
    let mail = keygen.sign("id", "email", "sha512");
    let listed = |options: &str| format!("# signers\n\nconnvault {options} {}\n", key.public_key_line());
    let stranger = format!("connvault {}\n", other.public_key_line());
    let someone = format!("someone,!connvault {}\n", key.public_key_line());
    let quoted = format!("\"conn*\" NAMESPACES=\"git,connvault-log\" {} c\n", key.public_key_line());
    let before = listed("valid-before=\"20261122120000Z\"");
    let between = listed("valid-after=\"202611220000Z\",valid-before=\"20261123Z\"");

    let taken: [(&str, &str); 7] = [
        (&listed(""), NOW),
        (&listed("namespaces=\"connvault-*\""), NOW),
        (&quoted, NOW),
        (&before, NOW),
        (&between, "20261122000000Z"),
        (&between, "20261123000000Z"),
        (&format!("{stranger}{someone}{between}"), NOW),
    ];
    for (allowed, at) in taken {
        assert_eq!(ours(allowed, MESSAGE, &signature, at), Ok(key.fingerprint()), "{allowed}");
        assert!(keygen.takes(allowed, MESSAGE, &signature, at), "{allowed}");
    }
    let refused: [Refused<'_>; 11] = [
        (&listed(""), b"tampered", &signature, NOW, |e| matches!(e, SignatureError::DoesNotMatch { .. })),
        (&listed(""), MESSAGE, &last, NOW, |e| matches!(e, SignatureError::DoesNotMatch { .. })),
        (&listed(""), MESSAGE, &mail, NOW, |e| matches!(e, SignatureError::WrongNamespace { .. })),
        (&listed(""), MESSAGE, b"hunter2", NOW, |e| matches!(e, SignatureError::NotASignature(_))),
        (&listed(""), MESSAGE, &signature[..120], NOW, |e| matches!(e, SignatureError::NotASignature(_))),
        (&stranger, MESSAGE, &signature, NOW, |e| matches!(e, SignatureError::UnknownKey { .. })),
        (&someone, MESSAGE, &signature, NOW, |e| matches!(e, SignatureError::OtherPrincipal { .. })),
        (&listed("namespaces=\"git\""), MESSAGE, &signature, NOW, |e| {
            matches!(e, SignatureError::NotForLogs { .. })
        }),
        (&before, MESSAGE, &signature, "20261122120001Z", |e| {
            matches!(e, SignatureError::NotValidThen { .. })
        }),
        (&between, MESSAGE, &signature, "20261121235959Z", |e| {
            matches!(e, SignatureError::NotValidThen { .. })
        }),
        (&between, MESSAGE, &signature, "20261123000001Z", |e| {
            matches!(e, SignatureError::NotValidThen { .. })
        }),
    ];
    for (allowed, message, signature, at, is) in refused {
        let error = ours(allowed, message, signature, at).unwrap_err();
        assert!(is(&error), "{allowed}: {error}");
        assert!(!keygen.takes(allowed, message, signature, at), "{allowed}");
    }
}

#[test]
#[ignore = "needs ssh-keygen: run scripts/test"]
fn keys_that_cannot_sign_are_refused_with_what_to_do() {
    let keygen = Keygen::new();
    let refused =
        |name: &str, kind, passphrase| SigningKey::parse(&keygen.make(name, kind, passphrase)).unwrap_err();
    let locked = refused("locked", "ed25519", "hunter22");
    assert_eq!(locked, BadSigningKey::Encrypted);
    assert!(locked.to_string().ends_with("ssh-keygen -p -N '' -f COPY"), "{locked}");
    assert_eq!(refused("locked-rsa", "rsa", "hunter22"), BadSigningKey::Encrypted);
    for kind in ["rsa", "ecdsa"] {
        let error = refused(kind, kind, "");
        assert!(matches!(error, BadSigningKey::Algorithm(_)), "{kind}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs ssh-keygen: run scripts/test"]
async fn stock_ssh_keygen_takes_every_entry_of_an_archive() {
    let vault = Vault::in_directory().await;
    vault.once().await;
    let keygen = Keygen::new();
    let log = vault.path("archive/logins/log");
    let mut entries = 0;
    for file in fs::read_dir(&log).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let hash = connvault::domain::digest::Sha256::of(&bytes).to_string();
        let signature = fs::read(path.with_extension(format!("{}.sig", &hash[..16]))).unwrap();
        assert!(keygen.takes(&allowed_signers(), &bytes, &signature, NOW), "{}", path.display());
        assert!(!keygen.takes(&allowed_signers(), &bytes[1..], &signature, NOW), "{}", path.display());
        entries += 1;
    }
    assert_eq!(entries, WINDOWS + 1);
}
