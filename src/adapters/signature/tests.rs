//! Tests of signatures that need no `ssh-keygen`; `tests/it/signatures.rs` holds both against each other.

use jiff::Timestamp;
use secrecy::SecretString;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey, Signature, SshSig};

use super::*;

const MESSAGE: &[u8] = b"{ \"seq\": 42 }\n";

/// The key that the vectors below were made with.
const SEED: u8 = 7;

/// `ssh-keygen -l` of it.
const FINGERPRINT: &str = "SHA256:z/fSv0Z0RZS+Lccbc6ZoOWwt/fbj1VFJGSBKQbo4icE";

/// `ssh-keygen -Y sign -n connvault-log` of it over [`MESSAGE`].
const STOCK_SIGNATURE: &str = "\
-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAg6kpsY+KcUgq+9VB7Ey7F+ZVHdq
6+vnuSQh7qaRRG0iwAAAANY29ubnZhdWx0LWxvZwAAAAAAAAAGc2hhNTEyAAAAUwAAAAtz
c2gtZWQyNTUxOQAAAEABq/3sFfwzesBmqAjIHZfBzhZmX9BH1un4HltpYEYa0PEw2tqhrh
US98rOw54wqcIG6jWA86NmnX7YcgwDrFsA
-----END SSH SIGNATURE-----
";

fn private(seed: u8) -> PrivateKey {
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&[seed; 32])), "somebody@host").unwrap()
}

fn pem(seed: u8) -> String {
    private(seed).to_openssh(LineEnding::LF).unwrap().to_string()
}

fn key(seed: u8) -> SigningKey {
    SigningKey::parse(&SecretString::from(pem(seed))).unwrap()
}

fn allowed(line: &str) -> AllowedSigners {
    AllowedSigners::parse(&line.replace("KEY", key(SEED).public_key_line())).unwrap()
}

fn bad_line(line: &str) -> BadSigner {
    let text = format!("# signers\n\n{}\n", line.replace("KEY", key(SEED).public_key_line()));
    match AllowedSigners::parse(&text).unwrap_err() {
        BadAllowedSigners::Line { line: 3, error } => error,
        other => panic!("{other}"),
    }
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn noon() -> Timestamp {
    time("2026-11-22T12:00:00.5Z")
}

fn verify(line: &str) -> Result<SignerFingerprint, SignatureError> {
    allowed(line).verify(Some("connvault"), MESSAGE, &key(SEED).sign(MESSAGE), noon())
}

#[test]
fn a_signature_and_a_fingerprint_are_those_of_ssh_keygen_to_the_byte() {
    let key = key(SEED);
    assert_eq!(key.fingerprint(), FINGERPRINT);
    assert_eq!(String::from_utf8(key.sign(MESSAGE)).unwrap(), STOCK_SIGNATURE);
    let signer = allowed("connvault KEY").verify(None, MESSAGE, STOCK_SIGNATURE.as_bytes(), noon()).unwrap();
    assert_eq!(signer.as_str(), FINGERPRINT);
    assert_eq!(key.public_key_line().split(' ').count(), 2);
}

#[test]
fn a_signing_key_shows_nothing_but_its_fingerprint() {
    assert_eq!(format!("{:?}", key(SEED)), format!("SigningKey({FINGERPRINT:?})"));
}

#[test]
fn a_key_is_read_without_its_last_line_feed_and_with_line_ends_of_other_systems() {
    for text in
        [pem(SEED).trim_end().to_owned(), pem(SEED).replace('\n', "\r\n"), format!("\n{}\n\n", pem(SEED))]
    {
        assert_eq!(SigningKey::parse(&SecretString::from(text)).unwrap().fingerprint(), FINGERPRINT);
    }
}

#[test]
fn what_is_no_signing_key_is_refused_with_the_reason_and_never_quoted() {
    let refused = |text: &str| SigningKey::parse(&SecretString::from(text)).unwrap_err();
    let other = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIBcX\n-----END PRIVATE KEY-----\n";
    assert_eq!(refused(key(SEED).public_key_line()), BadSigningKey::Public);
    assert_eq!(refused(other), BadSigningKey::OtherForm);
    let cut = &pem(SEED)[..200];
    for text in ["hunter2", cut, &pem(SEED).replace("b3Bl", "c3Bl")] {
        let error = refused(text);
        assert!(matches!(error, BadSigningKey::NotAKey(_)), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn a_tampered_message_or_signature_is_refused() {
    let allowed = allowed("connvault KEY");
    let good = key(SEED).sign(MESSAGE);
    let mismatch = |result: Result<_, _>| matches!(result, Err(SignatureError::DoesNotMatch { .. }));
    assert!(mismatch(allowed.verify(None, b"{ \"seq\": 43 }\n", &good, noon())));
    assert!(mismatch(allowed.verify(None, MESSAGE, &key(SEED).sign(b"another"), noon())));
    let parsed = SshSig::from_pem(&good).unwrap();
    for at in 0..64 {
        let mut bytes = parsed.signature_bytes().to_vec();
        bytes[at] ^= 1;
        let tampered = Signature::new(parsed.algorithm(), bytes).unwrap();
        let tampered =
            SshSig::new(parsed.public_key().clone(), NAMESPACE, HashAlg::Sha512, tampered).unwrap();
        assert!(mismatch(allowed.verify(None, MESSAGE, tampered.to_string().as_bytes(), noon())), "{at}");
    }
    // Somebody else's signature under the name of a listed key.
    let theirs = SshSig::from_pem(key(8).sign(MESSAGE)).unwrap();
    let forged =
        SshSig::new(parsed.public_key().clone(), NAMESPACE, HashAlg::Sha512, theirs.signature().clone())
            .unwrap();
    assert!(mismatch(allowed.verify(None, MESSAGE, forged.to_string().as_bytes(), noon())));
}

#[test]
fn what_is_no_signature_is_refused_as_such() {
    let good = String::from_utf8(key(SEED).sign(MESSAGE)).unwrap();
    for bad in ["", "hunter2", &good[..good.len() / 2], &good.replace("SSH SIGNATURE", "PGP SIGNATURE")] {
        let refused = allowed("connvault KEY").verify(None, MESSAGE, bad.as_bytes(), noon());
        assert!(matches!(refused, Err(SignatureError::NotASignature(_))), "{bad}: {refused:?}");
    }
}

#[test]
fn a_signature_for_another_purpose_is_refused() {
    let mail = private(SEED).sign("email", HashAlg::Sha512, MESSAGE).unwrap().to_string();
    let refused = allowed("connvault KEY").verify(None, MESSAGE, mail.as_bytes(), noon());
    assert_eq!(refused, Err(SignatureError::WrongNamespace { found: "email".into() }));
}

#[test]
fn a_key_that_is_not_listed_is_named() {
    let refused = allowed("connvault KEY").verify(None, MESSAGE, &key(8).sign(MESSAGE), noon()).unwrap_err();
    assert!(
        matches!(&refused, SignatureError::UnknownKey { key: found } if found.as_str() == key(8).fingerprint())
    );
    assert!(refused.to_string().contains(&key(8).fingerprint()));
}

#[test]
fn a_key_counts_for_its_principals_and_its_namespaces_alone() {
    for good in [
        "connvault KEY",
        "connvault KEY with a comment",
        "  connvault\tKEY",
        "\"connvault\" KEY",
        "someone,conn* KEY",
        "connvault namespaces=\"connvault-log\" KEY",
        "connvault NameSpaces=\"git,connvault-*\" KEY",
        "someone KEY\nconnvault KEY",
        "connvault namespaces=\"git\" KEY\nconnvault KEY",
    ] {
        assert!(verify(good).is_ok(), "{good}");
    }
    for bad in ["someone KEY", "*,!connvault KEY", "someone KEY\nother namespaces=\"connvault-log\" KEY"] {
        assert!(matches!(verify(bad), Err(SignatureError::OtherPrincipal { .. })), "{bad}");
        let anyone = allowed(bad).verify(None, MESSAGE, &key(SEED).sign(MESSAGE), noon());
        assert!(anyone.is_ok(), "{bad}");
    }
    for bad in ["connvault namespaces=\"git\" KEY", "connvault namespaces=\"*,!connvault-log\" KEY"] {
        assert!(matches!(verify(bad), Err(SignatureError::NotForLogs { .. })), "{bad}");
    }
}

#[test]
fn a_key_counts_for_what_was_written_in_its_time() {
    for good in [
        "valid-after=\"20261122Z\"",
        "valid-before=\"20261122120000Z\"",
        "valid-after=\"20261122120000Z\"",
        "valid-after=\"20261101Z\",valid-before=\"20261201Z\",namespaces=\"connvault-log\"",
    ] {
        assert!(verify(&format!("connvault {good} KEY")).is_ok(), "{good}");
    }
    for bad in
        ["valid-after=\"20261122120001Z\"", "valid-before=\"20261122115959Z\"", "valid-after=\"20261123Z\""]
    {
        let refused = verify(&format!("connvault {bad} KEY"));
        assert!(matches!(refused, Err(SignatureError::NotValidThen { .. })), "{bad}");
    }
    let refused = verify("connvault valid-before=\"20260101Z\" KEY\nconnvault valid-after=\"20270101Z\" KEY")
        .unwrap_err();
    let said = refused.to_string();
    assert!(said.ends_with("may sign until 2026-01-01T00:00:00Z, or from 2027-01-01T00:00:00Z"), "{said}");
    // One line of a key that was out of use for a while is enough.
    assert!(
        verify("connvault valid-before=\"20260101Z\" KEY\nconnvault valid-after=\"20261101Z\" KEY").is_ok()
    );
}

#[test]
fn a_forgery_is_called_one_even_where_the_key_had_expired() {
    let allowed = allowed("connvault valid-before=\"20260101Z\" KEY");
    let refused = allowed.verify(None, b"changed", &key(SEED).sign(MESSAGE), noon());
    assert!(matches!(refused, Err(SignatureError::DoesNotMatch { .. })));
}

#[test]
fn a_line_that_cannot_be_read_is_named_with_what_is_wrong() {
    use BadSigner::*;
    for (line, error) in [
        ("connvault", NoKey),
        ("connvault ssh-ed25519", NoKey),
        ("connvault namespaces=\"git\"", NoKey),
        ("connvault cert-authority KEY", Certificates),
        ("connvault Cert-Authority,namespaces=\"git\" KEY", Certificates),
        ("connvault ssh-ed25519-cert-v01@openssh.com AAAA", Certificates),
        ("connvault namespaces=git KEY", NotQuoted("namespaces")),
        ("connvault namespaces=\"git KEY", OpenQuote),
        ("\"connvault KEY", OpenQuote),
        ("connvault namespaces=\"a\",namespaces=\"b\" KEY", Twice("namespaces")),
        ("connvault no-touch KEY", UnknownOption("no-touch".into())),
        ("connvault namespaces=\"a\"x KEY", UnknownOption("x".into())),
        ("connvault namespaces=\"a\", KEY", UnknownOption("".into())),
        ("connvault valid-after=\"20261101\" KEY", LocalTime("valid-after", "20261101".into())),
        ("connvault valid-before=\"soon\" KEY", BadTime("valid-before", "soon".into())),
        ("connvault valid-after=\"20261101Z\",valid-before=\"20261101Z\" KEY", NeverValid),
        ("connvault ssh-rsa AAAAB3NzaC1yc2E=", Algorithm("ssh-rsa".into())),
    ] {
        assert_eq!(bad_line(line), error, "{line}");
    }
    assert!(matches!(bad_line("connvault ssh-ed25519 AAAA"), BadKey(_)));
    for nobody in ["", "# nobody\n\n"] {
        assert_eq!(AllowedSigners::parse(nobody).unwrap_err(), BadAllowedSigners::Empty);
    }
}

proptest::proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(text in "(connvault|\"| |,|=|\\\\|namespaces|valid-after|ssh-ed25519|AAAA|Z|20261101|é|\t|\n){0,12}") {
        let _ = AllowedSigners::parse(&text);
    }
}
