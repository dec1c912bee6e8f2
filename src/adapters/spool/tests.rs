//! The spool, held to what its module doc promises.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::domain::digest::ContentDigest;
use crate::domain::export::{Bounds, ExportApi, Filters, Format};
use crate::domain::log_entry::{Definition, ExportFacts};
use crate::domain::text::ForeignText;
use crate::ports::record_source::ByteSink;

const WINDOW: &str = "20261122T000000Z_20261123T000000Z";

fn stream() -> StreamName {
    "logins".parse().unwrap()
}

fn window() -> Window {
    WINDOW.parse().unwrap()
}

fn definition() -> Definition {
    Definition {
        region: "ap-southeast-3".into(),
        project_id: "0123".into(),
        window: "1d".into(),
        timezone: "UTC".into(),
        start: "2026-11-01T00:00:00Z".parse().unwrap(),
        filters: Filters { user_name: "ada".into(), ..Filters::default() },
    }
}

fn digest() -> Sha256 {
    definition_digest(&definition())
}

fn facts() -> SpoolFacts {
    let window = window();
    SpoolFacts {
        export: ExportFacts {
            request_ids: vec![ForeignText::new("r-1")],
            ..ExportFacts::new(
                ExportApi::V2,
                Bounds { start: window.start(), end: window.end() },
                "2026-11-23T02:00:05Z".parse().unwrap(),
            )
        },
        definition: digest(),
        format: Format::Csv,
        rows: Some(1),
        content_digest: Some(ContentDigest::EMPTY),
    }
}

/// A spool in a folder of its own, reopened as after a crash by being asked anew.
struct Bench {
    dir: TempDir,
    spool: Spool,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path().join("spool")).await.unwrap();
        Self { dir, spool }
    }

    fn path(&self, extension: &str) -> PathBuf {
        self.dir.path().join(format!("spool/logins/{WINDOW}.{extension}"))
    }

    async fn begin(&self) -> SpoolWriter {
        self.spool.begin(&stream(), window()).await.unwrap()
    }

    async fn download(&self, bytes: &'static [u8]) -> Downloaded {
        let mut writer = self.begin().await;
        writer.write(Bytes::from_static(bytes)).await.unwrap();
        writer.finish_bytes().await.unwrap()
    }

    async fn commit(&self, bytes: &'static [u8]) -> SpooledExport {
        self.download(bytes).await.commit(facts()).await.unwrap()
    }

    async fn find(&self) -> Option<SpooledExport> {
        self.spool.find(&stream(), window(), digest()).await.unwrap()
    }

    /// The extensions of the window's files.
    fn left(&self) -> Vec<String> {
        let mut names: Vec<_> = files::list(&self.dir.path().join("spool/logins"))
            .unwrap()
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        names.sort();
        names.iter().map(|name| name.replace(&format!("{WINDOW}."), "")).collect()
    }
}

#[tokio::test]
async fn what_was_committed_is_found_again_as_it_was() {
    let bench = Bench::new().await;
    let export = bench.commit(b"a,b\n").await;
    assert_eq!(export.bytes, 4);
    assert_eq!(export.sha256, Sha256::of(b"a,b\n"));
    assert_eq!(export.md5.to_string(), "f69f5b72bc79a92dc70c63c9aa142e36");
    assert_eq!(fs::read(&export.path).unwrap(), b"a,b\n");
    assert_eq!(bench.find().await, Some(export));
    assert_eq!(bench.left(), ["export", "json"]);
}

#[tokio::test]
async fn an_export_of_many_batches_and_odd_pieces_is_hashed_and_written_in_order() {
    let bench = Bench::new().await;
    let mut writer = bench.begin().await;
    let all: Vec<u8> = (0..3_500_000u32).map(|i| (i % 251) as u8).collect();
    let mut rest = Bytes::from(all.clone());
    for size in [1, 65_536, 0, 7, 417_792].into_iter().cycle() {
        let piece = rest.split_to(size.min(rest.len()));
        writer.write(piece).await.unwrap();
        if rest.is_empty() {
            break;
        }
    }
    let downloaded = writer.finish_bytes().await.unwrap();
    assert_eq!((downloaded.bytes(), downloaded.sha256()), (3_500_000, Sha256::of(&all)));
    assert!(fs::read(downloaded.path()).unwrap() == all);
}

#[tokio::test]
async fn nobody_else_may_read_the_spool() {
    let bench = Bench::new().await;
    let export = bench.commit(b"x").await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&export.path), 0o600);
    assert_eq!(mode(&bench.path("json")), 0o600);
    assert_eq!(mode(export.path.parent().unwrap()), 0o700);
    assert_eq!(mode(&bench.dir.path().join("spool")), 0o700);
}

type Spoil = fn(&Bench);

#[tokio::test]
async fn what_a_power_cut_leaves_is_never_taken_for_an_export() {
    let cut: [(&str, Spoil); 10] = [
        ("nothing but a part", |bench| {
            fs::rename(bench.path("export"), bench.path("part")).unwrap();
            fs::remove_file(bench.path("json")).unwrap();
        }),
        ("a file without facts", |bench| fs::remove_file(bench.path("json")).unwrap()),
        ("facts not yet renamed", |bench| fs::rename(bench.path("json"), bench.path("json.new")).unwrap()),
        ("facts without a file", |bench| fs::remove_file(bench.path("export")).unwrap()),
        ("a file cut short", |bench| fs::write(bench.path("export"), b"a,").unwrap()),
        ("a file of zeros", |bench| fs::write(bench.path("export"), [0; 4]).unwrap()),
        ("a flipped bit", |bench| fs::write(bench.path("export"), b"a,c\n").unwrap()),
        ("empty facts", |bench| fs::write(bench.path("json"), b"").unwrap()),
        ("facts of another SHA-256", |bench| {
            let text = fs::read_to_string(bench.path("json")).unwrap();
            let sha256 = Sha256::of(b"a,b\n").to_string();
            fs::write(bench.path("json"), text.replace(&sha256, &Sha256::ZERO.to_string())).unwrap();
        }),
        ("facts of another MD5", |bench| {
            let text = fs::read_to_string(bench.path("json")).unwrap();
            fs::write(bench.path("json"), text.replace("f69f5b72", "00000000")).unwrap();
        }),
    ];
    for (what, spoil) in cut {
        let bench = Bench::new().await;
        bench.commit(b"a,b\n").await;
        spoil(&bench);
        assert_eq!(bench.find().await, None, "{what}");
        assert_eq!(bench.left(), [""; 0], "{what}");
    }
}

#[tokio::test]
async fn an_export_of_another_window_or_stream_is_not_believed() {
    let bench = Bench::new().await;
    bench.commit(b"x").await;
    let other: Window = "20261123T000000Z_20261124T000000Z".parse().unwrap();
    for extension in ["export", "json"] {
        let copy = bench.path(extension).with_file_name(format!("{other}.{extension}"));
        fs::copy(bench.path(extension), copy).unwrap();
    }
    assert_eq!(bench.spool.find(&stream(), other, digest()).await.unwrap(), None);
    assert!(bench.find().await.is_some());
}

#[tokio::test]
async fn a_stream_that_was_changed_does_not_use_what_it_asked_for_before() {
    let bench = Bench::new().await;
    bench.commit(b"x").await;
    let mut changed = definition();
    changed.filters.user_name = "bob".into();
    let found = bench.spool.find(&stream(), window(), definition_digest(&changed)).await.unwrap();
    assert_eq!(found, None);
    assert_eq!(bench.left(), [""; 0]);
}

#[test]
fn what_decides_the_records_decides_the_digest_and_nothing_else_does() {
    let changed = |change: fn(&mut Definition)| {
        let mut definition = definition();
        change(&mut definition);
        definition_digest(&definition) != digest()
    };
    assert!(!changed(|d| d.start = "2026-10-01T00:00:00Z".parse().unwrap()));
    assert!(changed(|d| d.region = "x".into()));
    assert!(changed(|d| d.project_id = "x".into()));
    assert!(changed(|d| d.filters.language = crate::domain::export::Language::ZhCn));
    assert!(changed(|d| {
        d.filters.computer_name = std::mem::take(&mut d.filters.user_name);
    }));
}

#[tokio::test]
async fn a_download_that_is_given_up_leaves_nothing() {
    let bench = Bench::new().await;
    let mut writer = bench.begin().await;
    writer.write(Bytes::from_static(b"half")).await.unwrap();
    assert_eq!(bench.left(), ["part"]);
    drop(writer);
    assert_eq!(bench.left(), [""; 0]);
    drop(bench.download(b"no export").await);
    assert_eq!(bench.left(), [""; 0]);
}

#[tokio::test]
async fn a_new_download_takes_the_place_of_the_old_facts_at_once() {
    let bench = Bench::new().await;
    bench.commit(b"old").await;
    let writer = bench.begin().await;
    assert_eq!(bench.left(), ["part"]);
    writer.finish_bytes().await.unwrap().commit(facts()).await.unwrap();
    assert_eq!(bench.find().await.unwrap().bytes, 0);
}

#[tokio::test]
async fn a_commit_that_fails_leaves_no_export_and_says_where() {
    let bench = Bench::new().await;
    let downloaded = bench.download(b"x").await;
    // A file that is in the way of the facts, once the export has got its name.
    fs::write(bench.path("json.new"), b"").unwrap();
    let error = downloaded.commit(facts()).await.unwrap_err();
    assert_eq!((error.0.kind, error.0.scope), (FailureKind::Local, Scope::Daemon));
    assert!(error.to_string().contains(WINDOW), "{error}");
    assert_eq!(bench.left(), [""; 0]);
}

#[tokio::test]
async fn a_sweep_takes_what_nobody_needs_and_nothing_else() {
    let bench = Bench::new().await;
    bench.commit(b"needed").await;
    let spool = bench.dir.path().join("spool");
    let other = "20261123T000000Z_20261124T000000Z";
    for name in
        [format!("{other}.part"), format!("{other}.json.new"), "notes.txt".into(), format!("{other}.txt")]
    {
        fs::write(spool.join("logins").join(name), b"").unwrap();
    }
    fs::create_dir(spool.join("gone")).unwrap();
    fs::write(spool.join("gone").join(format!("{other}.export")), b"").unwrap();
    fs::create_dir(spool.join("Not A Stream")).unwrap();
    fs::write(spool.join("file"), b"").unwrap();

    let swept = bench.spool.sweep(&|name, asked| *name == stream() && asked == window()).await.unwrap();
    assert_eq!(swept, 2);
    assert_eq!(bench.left(), ["export", "json", &format!("{other}.txt"), "notes.txt"]);
    assert!(bench.find().await.is_some());
    assert!(!spool.join("gone").exists());
    assert!(spool.join("Not A Stream").exists() && spool.join("file").exists());
}

#[tokio::test]
async fn what_is_archived_is_removed_and_removing_it_again_is_no_error() {
    let bench = Bench::new().await;
    bench.commit(b"x").await;
    for _ in 0..2 {
        bench.spool.remove(&stream(), window()).await.unwrap();
        assert_eq!(bench.left(), [""; 0]);
    }
}
