//! Verifying an archive: what lies in its store is held against its log, and the log against itself.
//!
//! Three levels, each with what the one before it checks: the log; every object that the log names, by what the store says
//! of it; every byte, or every byte of a sample. Nothing is written, and no lock is taken: it may run beside the daemon, which
//! stores an object before the entry that names it. So the log is listed first, and an object that no entry names is no
//! finding.

mod locks;
mod log;
mod objects;
mod signatures;
pub mod targets;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::adapters::signature::AllowedSigners;
use crate::domain::audit::{Audit, Bound, ExpectedHead, Finding, Note, Terms, audit};
use crate::domain::definition::Difference;
use crate::domain::digest::Sha256;
use crate::domain::failure::Failure;
use crate::domain::log_entry::{Definition, Head};
use crate::domain::name::StreamName;
use crate::domain::object_key::ObjectKey;
use crate::ports::object_store::{ObjectStore, StoreError};

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Chain, signatures, and a verdict for each window.
    Log,
    /// Also that each object is there as the store describes it.
    Objects,
    /// Also every byte.
    Bytes,
}

/// Which objects have their bytes read: a part of them, drawn by a seed.
///
/// Whoever may have changed something must not know beforehand which objects will not be read; whoever checks must be able to
/// read the same ones again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Objects in a million.
    pub in_a_million: u32,
    /// By what they are drawn.
    pub seed: u64,
}

impl Sample {
    /// Whether the object called `key` is in it.
    pub fn takes(self, key: &str) -> bool {
        let [a, b, c, d, e, f, g, h, ..] = *Sha256::of(format!("{} {key}", self.seed).as_bytes()).as_bytes();
        let drawn = u64::from_be_bytes([a, b, c, d, e, f, g, h]) % 1_000_000;
        drawn < u64::from(self.in_a_million)
    }
}

/// What is asked for, of every stream.
#[derive(Debug, Clone)]
pub struct Asked {
    /// How much is checked.
    pub level: Level,
    /// Windows that start here or later.
    pub from: Option<Bound>,
    /// Windows that start before this.
    pub to: Option<Bound>,
    /// Which objects have their bytes read; `None`: all of them.
    pub sample: Option<Sample>,
    /// An entry that must be there.
    pub expected_head: Option<ExpectedHead>,
    /// What time it is.
    pub now: Timestamp,
    /// Whose signatures count.
    pub signers: Option<Arc<AllowedSigners>>,
}

/// One stream to be verified.
pub struct Target {
    /// Which.
    pub stream: StreamName,
    /// Where it lies.
    pub store: Arc<dyn ObjectStore>,
    /// What the configuration says that the stream is; an empty project id is one that the configuration leaves out. `None`
    /// where there is no configuration.
    pub configured: Option<Definition>,
    /// How long after its end a window need not have a verdict yet.
    pub tolerance: SignedDuration,
    /// How many objects have their bytes read at the same time.
    pub readers: usize,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// The log's last entry.
    pub head: Option<Head>,
    /// What the log says that the stream is.
    pub definition: Option<Definition>,
    /// Entries that are there.
    pub entries: u64,
    /// Windows that are archived, in the stretch of time.
    pub windows: u64,
    /// Windows that are attested as lost, in the stretch of time.
    pub lost: u64,
    /// Windows that are parked, in the stretch of time.
    pub parked: u64,
    /// Windows that are lost or unread and acknowledged, in the stretch of time.
    pub acknowledged: u64,
    /// Objects that the store was asked for.
    pub objects_checked: u64,
    /// Objects that were read and hashed.
    pub objects_hashed: u64,
    /// Bytes that were read and hashed.
    pub bytes_hashed: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What is worth knowing.
    pub notes: Vec<Note>,
    /// What could not be read, so that nothing can be said of it.
    pub unread: Vec<Unread>,
}

/// One object that the store would not show or send. It keeps nobody from hearing of the others.
#[derive(Debug)]
pub struct Unread {
    /// Which.
    pub key: ObjectKey,
    /// Why.
    pub error: StoreError,
}

/// So many that cannot be read are no longer single ones: the store is out of reach.
const MOST_UNREAD: usize = 100;

impl Unread {
    fn add(all: &mut Vec<Self>, key: ObjectKey, error: StoreError) -> Result<(), StoreError> {
        if all.len() == MOST_UNREAD {
            return Err(error);
        }
        all.push(Self { key, error });
        Ok(())
    }
}

/// How far it is, for whoever looks on.
#[derive(Debug, Default)]
pub struct Meter {
    what: Mutex<String>,
    total: AtomicU64,
    done: Mutex<Arc<AtomicU64>>,
}

impl Meter {
    /// What is being done, how much of it is done, and how much there is.
    pub fn read(&self) -> (String, u64, u64) {
        let what = self.what.lock().clone();
        let done = self.done.lock().load(Ordering::Relaxed);
        (what, done, self.total.load(Ordering::Relaxed))
    }

    /// Something else is being done now. What is returned counts it.
    fn begin(&self, what: String, total: u64) -> Arc<AtomicU64> {
        let done = Arc::new(AtomicU64::new(0));
        *self.what.lock() = what;
        *self.done.lock() = Arc::clone(&done);
        self.total.store(total, Ordering::Relaxed);
        done
    }
}

/// Verifies one stream.
///
/// # Errors
/// When the store does not let it be read, so that nothing can be said.
pub async fn verify(target: &Target, asked: &Asked, meter: &Meter) -> Result<Report, Failure> {
    let gathered = log::gather(target, asked.signers.as_ref(), meter).await?;
    let terms = Terms {
        stream: target.stream.clone(),
        now: asked.now,
        tolerance: target.tolerance,
        from: asked.from,
        to: asked.to,
        expected_head: asked.expected_head.clone(),
        signers_known: asked.signers.is_some(),
    };
    let Audit {
        mut findings,
        mut notes,
        head,
        definition,
        entries,
        archived,
        lost,
        parked,
        objects,
        locked,
        acknowledged,
        ..
    } = audit(&terms, &gathered.found);
    findings.extend(not_as_configured(target.configured.as_ref(), definition.as_ref()));
    notes.extend(gathered.foreign);
    let (mut objects_checked, mut objects_hashed, mut bytes_hashed, mut unread) = (0, 0, 0, Vec::new());
    if asked.level >= Level::Objects {
        let wanted: Vec<_> = objects.iter().filter(|object| object.in_range).cloned().collect();
        let mut locks = locks::Locks::at(asked.now);
        let looked = objects::look(target, wanted, meter, &mut locks).await?;
        unread.extend(locks::look(target, &locked, meter, &mut locks).await?);
        objects_checked = looked.looked_at;
        findings.extend(looked.findings);
        unread.extend(looked.unread);
        notes.extend(locks.notes());
        notes.extend(objects::unnamed(target, &objects).await?);
        if asked.level >= Level::Bytes {
            let there = (looked.there, looked.has_md5_etags);
            let hashed = objects::hash(target, there, asked.sample, meter).await?;
            (objects_hashed, bytes_hashed) = (hashed.objects, hashed.bytes);
            findings.extend(hashed.findings);
            notes.extend(hashed.notes);
            unread.extend(hashed.unread);
        } else {
            let (suspected, etags_differ) = objects::unsettled(looked.there, looked.has_md5_etags);
            findings.extend(suspected);
            notes.extend(etags_differ);
        }
        findings.extend(locks.findings);
    }
    let windows = archived.len() as u64;
    let (lost, parked) = (lost.len() as u64, parked.len() as u64);
    let acknowledged = acknowledged.len() as u64;
    Ok(Report {
        head,
        definition,
        entries,
        windows,
        lost,
        parked,
        acknowledged,
        objects_checked,
        objects_hashed,
        bytes_hashed,
        findings,
        notes,
        unread,
    })
}

/// In what the log says something else of the stream than the configuration.
fn not_as_configured(configured: Option<&Definition>, archived: Option<&Definition>) -> Vec<Finding> {
    let Some((configured, archived)) = configured.zip(archived) else { return Vec::new() };
    let is_said = |field: &str| field != "project_id" || !configured.project_id.is_empty();
    let differences = configured.differences(archived).into_iter().filter(|differs| is_said(differs.field));
    let finding = |Difference { field, here, there }| Finding::NotAsConfigured {
        field: field.to_owned(),
        configured: here,
        archived: there,
    };
    differences.map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_part_again_and_another_one_another() {
        let keys: Vec<_> = (0..1000).map(|n| format!("data/{n}")).collect();
        let drawn = |seed| {
            let sample = Sample { in_a_million: 200_000, seed };
            keys.iter().filter(|key| sample.takes(key)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert!((100..300).contains(&drawn(3).len()), "{}", drawn(3).len());
        let all = Sample { in_a_million: 1_000_000, seed: 4 };
        assert!(keys.iter().all(|key| all.takes(key)));
    }
}
