//! From the file's shape to checked types.
//!
//! In every section all settings are read before the first `?`: the report then holds all problems of it.

mod source;
mod store;
mod stream;
mod zone;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::str::FromStr;

use config::Value;
use jiff::SignedDuration;
use secrecy::SecretString;

use super::error::ProblemKind;
use super::model::{AkSk, Alerts, Config, Daemon, Signing};
use super::raw::{RawAlerts, RawConfig, RawDaemon, RawSigning};
use super::secret::{SecretError, SecretFile, Secrets};
use super::secret_shape::Shape;
use super::setting::{SecretText, Setting, TextList};
use super::text::Schedule;
use super::tree::{Field, KeyPath, Named, Report};
use super::units::{BadSize, ByteSize, DURATION_FORM, LONGEST_DURATION, parse_duration};

/// All of it; `None` where there is a problem in the report.
pub(super) fn config(root: Value, secrets: Secrets, report: &mut Report) -> Option<Config> {
    let raw = RawConfig::read(KeyPath::default(), Some(root), report);
    if raw.streams.entries.is_empty() {
        let missing = "there is nothing to archive; add a section such as [streams.logins]";
        report.add(&raw.streams.key, None, ProblemKind::Missing(missing));
    }
    let names = stream::Names {
        sources: raw.sources.entries.keys().cloned().collect(),
        stores: raw.stores.entries.keys().cloned().collect(),
    };
    let daemon = daemon(raw.daemon, report);
    let sources =
        named(raw.sources, report, |raw, report| source::source(raw, secrets.unless_of_stores(), report));
    let stores = named(raw.stores, report, |raw, report| store::store(raw, secrets, report));
    // A stream is checked against its source as far as the source is right.
    let streams = named(raw.streams, report, |raw, report| stream::stream(raw, &names, &sources, report));
    let signing = match raw.signing {
        Some(raw) => signing(raw, secrets.unless_of_stores(), report).map(Some),
        None => Some(None),
    };
    let alerts = match raw.alerts {
        Some(raw) => alerts(raw, secrets.unless_of_stores(), report),
        None => Some(Alerts::default()),
    };
    Some(Config { daemon: daemon?, sources, stores, streams, signing: signing?, alerts: alerts? })
}

/// Sections by their names. Those with problems are left out; the report has them.
fn named<N: FromStr<Err: ToString> + Ord, R, T>(
    raw: Named<R>,
    report: &mut Report,
    mut parse: impl FnMut(R, &mut Report) -> Option<T>,
) -> BTreeMap<N, T> {
    let mut parsed = BTreeMap::new();
    for (name, section) in raw.entries {
        let read_name = name.parse::<N>();
        if let Err(error) = &read_name {
            report.add(&raw.key.child(&name), None, ProblemKind::BadValue(error.to_string()));
        }
        if let (Some(value), Ok(name)) = (parse(section, report), read_name) {
            parsed.insert(name, value);
        }
    }
    parsed
}

fn daemon(raw: RawDaemon, report: &mut Report) -> Option<Daemon> {
    let state_dir = raw.state_dir.map(absolute, report).or(PathBuf::from("/var/lib/connvault"));
    let schedule = raw.schedule.map(|text| text.parse(), report).or(Schedule::default());
    let concurrency = raw.concurrency.map(concurrency, report).or(DEFAULT_CONCURRENCY);
    let range = (MONTH, LONGEST_DURATION);
    let keep_attempts = duration(raw.keep_attempts, range, "must be 30d or more", report).or(DEFAULT_KEEP);
    let listen = raw.listen.map(listen, report).or(Some(DEFAULT_LISTEN));
    let page_hosts = raw.page_hosts.map(page_hosts, report).or(Vec::new());
    Some(Daemon {
        state_dir: state_dir?,
        schedule: schedule?,
        concurrency: concurrency?,
        keep_attempts: keep_attempts?,
        listen: listen?,
        page_hosts: page_hosts?,
    })
}

const DEFAULT_KEEP: SignedDuration = SignedDuration::from_hours(400 * 24);

/// Attempts are asked for as long as the provider keeps records.
const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

fn listen(text: String) -> Result<Option<SocketAddr>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(
        |_| "must be an address and a port, such as \"127.0.0.1:9464\" or \"[::1]:9464\", or \"\" for none",
    )
}

/// Names as browsers and programs send them: no scheme, no port, no pattern.
fn page_hosts(TextList(names): TextList) -> Result<Vec<String>, String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_name = |name: &&String| !name.is_empty() && name.len() <= 253 && name.chars().all(is_part);
    match names.iter().find(|name| !is_name(name)) {
        None => Ok(names),
        Some(name) => Err(format!(
            "must be names of this machine such as \"vault.example.com\", without ports; {name:?} is none"
        )),
    }
}

fn alerts(raw: RawAlerts, secrets: Secrets, report: &mut Report) -> Option<Alerts> {
    let url = secret_read_by(SecretFile::read_url, raw.heartbeat_url_file, (Shape::Word, secrets), report);
    Some(Alerts { heartbeat_url: url.optional()? })
}

/// Without a key the section would sign nothing, and so may not stand there.
fn signing(raw: RawSigning, secrets: Secrets, report: &mut Report) -> Option<Signing> {
    let key = secret(raw.key_file, (Shape::Text, secrets), report)
        .required("name the file with the private key (ssh-keygen -t ed25519 -N '')", report);
    let allowed_signers_file = raw.allowed_signers_file.map(readable(secrets), report).optional();
    Some(Signing { key: key?, allowed_signers_file: allowed_signers_file? })
}

const DEFAULT_CONCURRENCY: NonZeroU8 = NonZeroU8::new(4).expect("4 is not 0");

fn concurrency(number: i64) -> Result<NonZeroU8, &'static str> {
    let in_range = u8::try_from(number).ok().filter(|number| *number <= 64);
    in_range.and_then(NonZeroU8::new).ok_or("must be a whole number from 1 to 64")
}

/// An absolute path: the daemon's working directory is nobody's business.
fn absolute(text: String) -> Result<PathBuf, &'static str> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("must be an absolute path, beginning with `/`") }
}

/// An absolute path of a file that can be read now, unless no file is to be read.
fn readable(secrets: Secrets) -> impl Fn(String) -> Result<PathBuf, String> {
    move |text| {
        let path = absolute(text)?;
        if !secrets.other_files_are_read() {
            return Ok(path);
        }
        match std::fs::read(&path) {
            Ok(_) => Ok(path),
            Err(error) => {
                Err(format!("cannot read it: {error}; name a file that the daemon's user can read"))
            }
        }
    }
}

/// The bytes that a transfer must bring a second.
fn least_rate(setting: Setting<String>, report: &mut Report) -> Option<ByteSize> {
    let within = |text: String| {
        let size: ByteSize = text.parse().map_err(|error: BadSize| error.to_string())?;
        let in_range = (1..=1 << 30).contains(&size.bytes());
        if in_range { Ok(size) } else { Err("must be from 1B to 1GiB, for each second".to_owned()) }
    };
    setting.map(within, report).or(ByteSize::LEAST_RATE)
}

/// A duration within bounds, which `range` says in words.
fn duration(
    setting: Setting<String>,
    (least, most): (SignedDuration, SignedDuration),
    range: &'static str,
    report: &mut Report,
) -> Setting<SignedDuration> {
    let within = |text: String| {
        let duration = parse_duration(&text).ok_or(DURATION_FORM)?;
        if (least..=most).contains(&duration) { Ok(duration) } else { Err(range) }
    };
    setting.map(within, report)
}

/// A secret file. It is read once, so that an unreadable one is found now and not in the night; nothing is kept.
fn secret(setting: Setting<SecretText>, how: (Shape, Secrets), report: &mut Report) -> Setting<SecretFile> {
    secret_read_by(SecretFile::read, setting, how, report)
}

/// As [`secret`], where the secret must be something that `read` takes.
fn secret_read_by(
    read: fn(&SecretFile) -> Result<SecretString, SecretError>,
    setting: Setting<SecretText>,
    (shape, secrets): (Shape, Secrets),
    report: &mut Report,
) -> Setting<SecretFile> {
    let file = setting.map(|SecretText(text)| secrets.file(&text, shape), report);
    file.try_map(
        |file| {
            if secrets.are_read() {
                read(&file)?;
            }
            Ok(file)
        },
        report,
    )
}

fn ak_sk(
    (access_key, secret_key): (Setting<SecretText>, Setting<SecretText>),
    security_token: Setting<SecretText>,
    secrets: Secrets,
    report: &mut Report,
) -> Option<AkSk> {
    let how = (Shape::Word, secrets);
    let access_key =
        secret(access_key, how, report).required("name the file with the access key's id", report);
    let secret_key = secret(secret_key, how, report).required("name the file with the secret key", report);
    let security_token = secret(security_token, how, report).optional();
    Some(AkSk { access_key: access_key?, secret_key: secret_key?, security_token: security_token? })
}
