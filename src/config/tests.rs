//! The configuration from outside: whole files in, types or lines of a report out.

mod example;
mod messages;
mod overrides;
mod refused;
mod show;
mod typos;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Config, ConfigError, Secrets};

/// A configuration file and a credentials directory beside it.
struct Files {
    directory: TempDir,
}

const SECRETS: [&str; 8] = [
    "signing-key",
    "source-access-key",
    "source-secret-key",
    "source-password",
    "source-security-token",
    "store-access-key",
    "store-secret-key",
    "store-security-token",
];

impl Files {
    fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(files.credentials()).unwrap();
        for name in SECRETS {
            files.secret(name, &format!("content-of-{name}\n"));
        }
        files.secret("heartbeat-url", "https://watch.example/ping/of-this-daemon\n");
        files
    }

    fn credentials(&self) -> PathBuf {
        self.directory.path().join("credentials")
    }

    fn secret(&self, name: &str, content: &str) -> PathBuf {
        let path = self.credentials().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        path
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("config.toml")
    }

    fn load(&self, text: &str) -> Result<Config, ConfigError> {
        self.load_with(text, &[])
    }

    fn load_with(&self, text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        fs::write(self.path(), text).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(&self.path(), environment, Secrets::all(Some(&self.credentials())))
    }

    /// The report on `text`, without the directory.
    fn report(&self, text: &str) -> Vec<String> {
        self.report_with(text, &[])
    }

    fn report_with(&self, text: &str, environment: &[(&str, &str)]) -> Vec<String> {
        let directory = format!("{}/", self.directory.path().display());
        let Err(error) = self.load_with(text, environment) else {
            return Vec::new();
        };
        error.to_string().lines().map(|line| line.replace(&directory, "")).collect()
    }
}

/// Everything that has no default.
const MINIMAL: &str = r#"
[sources.hq]
kind = "huaweicloud-workspace"
region = "ap-southeast-3"
project_id = "0123"
[sources.hq.credentials]
kind = "aksk"
access_key_file = "${CREDENTIALS_DIRECTORY}/source-access-key"
secret_key_file = "${CREDENTIALS_DIRECTORY}/source-secret-key"
[stores.archive]
kind = "s3"
bucket = "records"
region = "ap-southeast-3"
access_key_file = "${CREDENTIALS_DIRECTORY}/store-access-key"
secret_key_file = "${CREDENTIALS_DIRECTORY}/store-secret-key"
[stores.disk]
kind = "directory"
path = "/srv/records"
[streams.logins]
source = "hq"
store = "archive"
window = "1d"
timezone = "Asia/Shanghai"
start = "2026-11-01"
"#;

/// [`MINIMAL`] with `line` at the head of `section`, in place of a line for the same key.
fn with(section: &str, line: &str) -> String {
    let header = format!("[{section}]\n");
    let text = if MINIMAL.contains(&header) { MINIMAL.to_owned() } else { format!("{MINIMAL}{header}") };
    let (before, after) = text.split_once(&header).unwrap();
    let key = line.split(" =").next().unwrap();
    let (own, others) = after.split_once("\n[").map_or((after, None), |(own, others)| (own, Some(others)));
    let own: Vec<_> = own.lines().filter(|old| old.split(" =").next() != Some(key)).collect();
    let others = others.map_or_else(String::new, |others| format!("\n[{others}"));
    format!("{before}{header}{line}\n{}\n{others}", own.join("\n"))
}

fn example_file() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
    fs::read_to_string(path).unwrap()
}
