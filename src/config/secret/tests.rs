//! What a secret file may be, and what is said of one that is none.

use std::fs;

use super::*;

fn file(directory: &Path, content: &[u8], mode: u32) -> PathBuf {
    let path = directory.join("secret");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn read(path: &Path, credentials: Option<&Path>) -> Result<String, String> {
    let secret = SecretFile::parse(path.to_str().unwrap(), Shape::Word, credentials).unwrap().read();
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
    let expanded = SecretFile::parse("${CREDENTIALS_DIRECTORY}/secret", Shape::Word, credentials).unwrap();
    assert_eq!((expanded.to_string(), expanded.read().is_ok()), (path.display().to_string(), true));
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
    let refused = SecretFile::parse("AKIAEXAMPLE", Shape::Word, None).unwrap_err();
    assert!(!refused.to_string().contains("AKIA"));
}

#[test]
fn a_credential_that_nobody_says_the_place_of_is_told_where_it_can_be_and_is_not_missed_by_those_who_do_not_read_it()
 {
    let text = "${CREDENTIALS_DIRECTORY}/sk";
    for secrets in [Secrets::all(None), Secrets::of_stores(None)] {
        let refused = secrets.file(text, Shape::Word).unwrap_err().to_string();
        assert!(refused.contains("sudo CREDENTIALS_DIRECTORY="), "{refused}");
    }
    for secrets in [Secrets::unread(None), Secrets::never()] {
        let file = secrets.file(text, Shape::Word).unwrap();
        assert_eq!((file.as_written(), file.to_string().as_str(), file.own_path()), (text, text, None));
        assert!(file.read().unwrap_err().to_string().starts_with(text));
    }
}

#[test]
fn a_credential_that_was_not_handed_over_is_told_with_the_drop_in_that_does() {
    let directory = tempfile::tempdir().unwrap();
    let file = SecretFile::parse("${CREDENTIALS_DIRECTORY}/signing-key", Shape::Text, Some(directory.path()));
    let refused = file.unwrap().read().unwrap_err().to_string();
    let drop_in = "[Service] LoadCredential=signing-key:/etc/connvault/credentials/signing-key";
    assert!(refused.contains(drop_in) && refused.contains("systemctl edit connvault"), "{refused}");
}

#[test]
fn what_stands_around_a_secret_is_named_and_the_secret_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let contents: [(&[u8], &str); 9] = [
        (b"\xef\xbb\xbfs3cret\n", "begins with a byte order mark"),
        (b"\xff\xfes\x003\x00", "is UTF-16"),
        (b" s3cret\n", "begins with a blank"),
        (b"s3cret\t\n", "ends with a blank"),
        (b"s3 cret\n", "has a blank in the middle"),
        (b"\"s3cret\"\n", "is in quotes"),
        (b"'s3cret'\n", "is in quotes"),
        (b"s3cret\nsk\n", "has a second line"),
        (b"\ns3cret\n", "has a second line"),
    ];
    for (content, why) in contents {
        let path = file(directory.path(), content, 0o600);
        let refused = read(&path, None).unwrap_err();
        assert!(refused.contains(why) && !refused.contains("3cret"), "{refused}");
        assert!(refused.starts_with(&path.display().to_string()), "{refused}");
    }
    let of = |shape, content: &[u8]| {
        let path = file(directory.path(), content, 0o600);
        SecretFile::parse(path.to_str().unwrap(), shape, None).unwrap()
    };
    // A password may have all of these, but for a second line; a private key has many lines.
    for content in [&b"correct horse"[..], b" correct", b"\"correct\""] {
        let password = of(Shape::Line, content);
        assert!(password.read().is_ok());
        assert_eq!(password.doubt().is_some(), content != b"correct horse");
    }
    assert!(of(Shape::Line, b"correct\nhorse").read().is_err());
    assert!(of(Shape::Text, b"-----BEGIN\nAAAA\n").read().is_ok());
    assert!(of(Shape::Text, b"\xef\xbb\xbf-----BEGIN\nAAAA\n").read().is_err());
}

#[test]
fn what_an_editor_a_shell_or_a_clipboard_put_into_a_key_is_named_and_the_key_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let contents = [
        ("\u{201c}s3cret\u{201d}\n", "is in quotes"),
        ("\u{2018}s3cret\u{2019}\n", "is in quotes"),
        ("\u{ab}s3cret\u{bb}\n", "is in quotes"),
        ("\u{201e}s3cret\u{201c}\n", "is in quotes"),
        ("\u{201d}s3cret\n", "is in quotes"),
        ("`s3cret`\n", "is in quotes"),
        ("s3cret\"\n", "is in quotes"),
        ("<s3cret>\n", "stands in brackets"),
        ("{\"secret\":\"s3cret\"}\n", "stands in brackets"),
        ("\u{300c}s3cret\u{300d}\n", "U+300C"),
        ("s3\u{441}ret\n", "U+0441"),
        ("s3cret\u{3164}\n", "U+3164"),
        ("s3\u{200b}cret\n", "U+200B"),
        ("s3cret\u{feff}\n", "U+FEFF"),
        ("\u{200b}\n", "U+200B"),
        ("s3cret\u{0}\n", "U+0000"),
        ("s3\u{1b}[0mcret\n", "U+001B"),
        ("s3\u{ad}cret\n", "U+00AD"),
        ("s3cret\u{2060}", "U+2060"),
        ("HUAWEICLOUD_SDK_SK=s3cret\n", "the name of a variable"),
        ("export HUAWEICLOUD_SDK_SK=s3cret\n", "the name of a variable"),
        ("export sk=s3cret\n", "the name of a variable"),
        ("AWS_SECRET_ACCESS_KEY=\"s3cret\"\n", "the name of a variable"),
    ];
    for (content, why) in contents {
        let path = file(directory.path(), content.as_bytes(), 0o600);
        let refused = read(&path, None).unwrap_err();
        assert!(refused.contains(why), "{content:?}: {refused}");
        for part in ["s3", "3cret", "HUAWEI", "AWS_"] {
            assert!(!refused.replace(&path.display().to_string(), "").contains(part), "{refused}");
        }
    }
    // What base64 and URLs look like is no assignment.
    let keys = [
        "QUJD_REVG=",
        "QUJD_REVG==",
        "abc_def=ghi",
        "SECRET=",
        "AB=cd",
        "QUJDRA==",
        "https://a.example/?A_B=c",
    ];
    for key in keys {
        assert_eq!(read(&file(directory.path(), key.as_bytes(), 0o600), None).as_deref(), Ok(key), "{key}");
    }
    // A password may have all of these, but for control characters; `check` says so.
    let password = |content: &str| {
        let path = file(directory.path(), content.as_bytes(), 0o600);
        SecretFile::parse(path.to_str().unwrap(), Shape::Line, None).unwrap()
    };
    for content in ["\u{201c}correct\u{201d}", "cor\u{200b}rect", "OS_PASSWORD=correct"] {
        let password = password(content);
        assert!(password.read().is_ok() && password.doubt().is_some(), "{content:?}");
    }
    assert!(password("cor\u{0}rect").read().unwrap_err().to_string().contains("U+0000"));
}
