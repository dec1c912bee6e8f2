//! docs/auditor.md: its very commands, over the demo's archive and over copies of it with each kind of damage.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use connvault::adapters::signature::SigningKey;
use connvault::domain::digest::Sha256;
use connvault::domain::log_entry::{LogEntry, SealedEntry};

use crate::demo::{STREAM_FOLDER, finished_demo, text};

const ENTRIES: usize = 31;

/// What stands on the page between the lines ```` ```kind ```` and ```` ``` ````, as one script.
pub fn commands(kind: &str) -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/auditor.md");
    let page = fs::read_to_string(page).unwrap();
    let open = format!("```{kind}\n");
    let script: String = page.split(&open).skip(1).map(|rest| rest.split_once("```\n").unwrap().0).collect();
    assert!(script.lines().count() > 3, "docs/auditor.md has no commands of kind {kind}");
    script
}

/// Runs a script with what the page says that is said first, as somebody does who pastes it.
pub fn run(script: &str, folder: &Path, archive: &Path, signers: &Path, head: &str) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_connvault")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let mut bash = Command::new("bash");
    bash.args(["-uc", script]).current_dir(folder).env("PATH", path);
    bash.env("archive", archive).env("signers", signers).env("head", head).output().unwrap()
}

/// The demo's archive, and what an auditor has of it.
struct Case {
    demo: tempfile::TempDir,
    head: String,
}

impl Case {
    fn new() -> Self {
        let demo = finished_demo();
        let last = demo.path().join(STREAM_FOLDER).join(format!("log/{ENTRIES:012}.json"));
        let head = format!("{ENTRIES}:{}", Sha256::of(&fs::read(last).unwrap()));
        Self { demo, head }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.demo.path().join(STREAM_FOLDER).join(name)
    }

    fn entry(&self, seq: usize) -> PathBuf {
        self.path(&format!("log/{seq:012}.json"))
    }

    fn signature(&self, seq: usize) -> PathBuf {
        let hash = Sha256::of(&fs::read(self.entry(seq)).unwrap()).to_string();
        self.entry(seq).with_extension(format!("{}.sig", &hash[..16]))
    }

    /// The file that entry `seq` names.
    fn object(&self, seq: usize) -> PathBuf {
        let entry: serde_json::Value = serde_json::from_slice(&fs::read(self.entry(seq)).unwrap()).unwrap();
        self.path(entry["object"]["key"].as_str().unwrap())
    }

    fn run(&self, script: &str) -> Output {
        let (archive, signers) = (self.path(""), self.demo.path().join("allowed_signers"));
        run(script, self.demo.path(), &archive, &signers, &self.head)
    }

    /// The lines that say that something is wrong.
    fn wrong(&self, script: &str) -> Vec<String> {
        let output = self.run(script);
        assert_eq!(text(&output.stderr), "", "{}", text(&output.stdout));
        let said = text(&output.stdout);
        said.lines().filter(|line| line.starts_with("WRONG")).map(str::to_owned).collect()
    }
}

#[test]
fn an_auditors_commands_find_a_whole_archive_whole_and_say_its_head() {
    let case = Case::new();
    // The bucket's server is gone with the demo; its files are a directory store as they are.
    let config = fs::read_to_string(case.demo.path().join("config.toml")).unwrap();
    let (before, store) = config.split_once("[stores.archive]").unwrap();
    let (_, after) = store.split_once("[signing]").unwrap();
    let folder = case.path("..").display().to_string();
    let store = format!("[stores.archive]\nkind = \"directory\"\npath = \"{folder}\"\n");
    fs::write(case.demo.path().join("auditor.toml"), format!("{before}{store}[signing]{after}")).unwrap();

    let script = commands("bash");
    assert_eq!(script.matches("connvault verify").count(), 4);
    let output = case.run(&format!("set -e\n{script}"));
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    assert_eq!(said.matches(&format!("nothing is wrong; head {}", case.head)).count(), 3, "{said}");
    assert!(said.contains(&format!("logins: {ENTRIES} entries, head {}", case.head)), "{said}");

    damage::flip(&case.object(9));
    let output = case.run(&format!("set -e\n{script}"));
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stdout));
}

#[test]
#[ignore = "needs ssh-keygen and jq: run scripts/test"]
fn an_auditors_steps_without_connvault_find_a_whole_archive_whole_and_each_damage_to_it() {
    let case = Case::new();
    let script = commands("sh");
    let output = case.run(&script);
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert_eq!((complained.as_str(), said.contains("WRONG")), ("", false), "{said}{complained}");
    for good in [
        "31 entries read",
        "256 SHA256:",
        &format!("the head is {}", case.head),
        "the head that was written down is there: entry 31",
        "31 entries say that they are signed; 0 before them are not",
        "30 objects held against the log",
        "30 windows archived, 0 known gaps",
        "30 exports, 30 of them counted",
    ] {
        assert!(said.contains(good), "{good:?} is not in {said}");
    }
    // Two at a time: a run is a few hundred short processes.
    let (some, others) = damage::ALL.split_at(damage::ALL.len() / 2);
    std::thread::scope(|scope| {
        for damages in [some, others] {
            scope.spawn(|| damages.iter().for_each(|damage| damage::is_told(&case, &script, damage)));
        }
    });
    assert_eq!(case.wrong(&script), [""; 0], "the damage was done to the archive and not to a copy");
}

/// Each damage by itself, and what must be said of it.
mod damage {
    use super::*;

    pub type Damage = (&'static str, fn(&Case), &'static [&'static str]);

    pub const ALL: &[Damage] = &[
        (
            "an entry's byte",
            |case| change(&case.entry(17)),
            &["log/000000000017.json has no signature on its bytes", "entry 18 does not follow entry 17"],
        ),
        (
            "the last entry's byte",
            |case| change(&case.entry(31)),
            &[
                "log/000000000031.json has no signature on its bytes",
                "entry 31, which was the head, is gone or is another one",
            ],
        ),
        (
            "an emptied entry",
            |case| write(&case.entry(17), b""),
            &["log/000000000017.json does not read", "entry 18 does not follow entry 17"],
        ),
        (
            "a signature's byte",
            |case| flip(&case.signature(17)),
            &["the signature of log/000000000017.json does not"],
        ),
        (
            "a missing signature",
            |case| fs::remove_file(case.signature(17)).unwrap(),
            &["log/000000000017.json has no signature on its bytes"],
        ),
        ("an object's byte", |case| flip(&case.object(17)), &[".r1.xlsx was changed"]),
        ("a missing object", |case| fs::remove_file(case.object(17)).unwrap(), &[".r1.xlsx is missing"]),
        (
            "a missing entry",
            |case| fs::remove_file(case.entry(17)).unwrap(),
            &["entry 17 is missing", "nothing is said of the time from"],
        ),
        (
            "two missing entries",
            |case| (17..=18).for_each(|n| fs::remove_file(case.entry(n)).unwrap()),
            &["entry 17 is missing", "entry 18 is missing", "nothing is said of the time from"],
        ),
        (
            "two entries in each other's place",
            swap,
            &[
                "log/000000000017.json says that it is entry 18",
                "log/000000000018.json says that it is entry 17",
            ],
        ),
        ("a forged entry without a key", |case| forge(case, None), &["log/000000000032.json is not signed"]),
        (
            "a forged entry by another key",
            |case| forge(case, Some([7; 32])),
            &["the signature of log/000000000032.json does not count"],
        ),
        ("an end that was cut off", cut_off, &["entry 31, which was the head, is gone"]),
        (
            "a log that was written anew, unsigned",
            strip,
            &["no entry is signed", "which was the head, is gone or is"],
        ),
    ];

    /// Does the damage to a copy, and asserts that the script says what must be said.
    pub fn is_told(case: &Case, script: &str, (what, harm, named): &Damage) {
        let harmed = copy_of(case);
        harm(&harmed);
        let wrong = harmed.wrong(script);
        for named in *named {
            assert!(wrong.iter().any(|line| line.contains(named)), "{what}: {named:?} is not in {wrong:#?}");
        }
    }

    fn copy_of(case: &Case) -> Case {
        let demo = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").arg("-a").arg(case.demo.path().join(".")).arg(demo.path()).status();
        assert!(copied.unwrap().success());
        Case { demo, head: case.head.clone() }
    }

    /// Objects are stored read-only.
    fn write(path: &Path, bytes: &[u8]) {
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Another digit in an entry, which stays readable.
    fn change(path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        let digit = bytes.iter().rposition(u8::is_ascii_digit).unwrap();
        bytes[digit] = if bytes[digit] == b'0' { b'1' } else { b'0' };
        write(path, &bytes);
    }

    pub fn flip(path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        write(path, &bytes);
    }

    fn swap(case: &Case) {
        let (one, other) = (fs::read(case.entry(17)).unwrap(), fs::read(case.entry(18)).unwrap());
        write(&case.entry(17), &other);
        write(&case.entry(18), &one);
    }

    /// An entry more, which follows the last one and is well made.
    fn forge(case: &Case, seed: Option<[u8; 32]>) {
        let last = fs::read(case.entry(ENTRIES)).unwrap();
        let mut entry: LogEntry = serde_json::from_slice(&last).unwrap();
        entry.seq = entry.seq.next();
        entry.previous = Sha256::of(&last);
        let key = seed.map(|seed| {
            let pair = ssh_key::private::Ed25519Keypair::from_seed(&seed);
            let key = ssh_key::PrivateKey::from(pair).to_openssh(ssh_key::LineEnding::LF).unwrap();
            SigningKey::parse(&key.to_string().into()).unwrap()
        });
        entry.writer.key_fingerprint = key.as_ref().map(SigningKey::fingerprint);
        let forged = SealedEntry::seal(entry);
        fs::write(case.entry(ENTRIES + 1), forged.bytes()).unwrap();
        if let Some(key) = key {
            fs::write(case.signature(ENTRIES + 1), key.sign(forged.bytes())).unwrap();
        }
    }

    fn cut_off(case: &Case) {
        fs::remove_file(case.object(ENTRIES)).unwrap();
        fs::remove_file(case.signature(ENTRIES)).unwrap();
        fs::remove_file(case.entry(ENTRIES)).unwrap();
    }

    /// What one can do who has no key: the same entries again, chained anew, with nobody's signature.
    fn strip(case: &Case) {
        let mut previous = Sha256::ZERO;
        for n in 1..=ENTRIES {
            fs::remove_file(case.signature(n)).unwrap();
            let mut entry: LogEntry = serde_json::from_slice(&fs::read(case.entry(n)).unwrap()).unwrap();
            entry.previous = previous;
            entry.writer.key_fingerprint = None;
            let sealed = SealedEntry::seal(entry);
            previous = sealed.hash();
            write(&case.entry(n), sealed.bytes());
        }
    }
}
