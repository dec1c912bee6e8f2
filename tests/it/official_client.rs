//! The provider's own client and connvault, asked for the same windows: what is archived is what that client gets.

use std::ffi::OsString;
use std::path::Path;

use connvault::domain::export::ExportApi;
use connvault::domain::log_entry::EntryBody;
use connvault_sim::Format;

use crate::support::content::{key, read};
use crate::support::vault::{ACCESS_KEY, Place, SECRET_KEY, Vault, WINDOWS, text};

/// Where the official SDK is.
fn sdk() -> OsString {
    std::env::var_os("CONNVAULT_TEST_SDK").expect("CONNVAULT_TEST_SDK is not set: run scripts/test")
}

/// What the official client gets.
async fn export(vault: &Vault, operation: &str, start: String, end: String) -> Vec<u8> {
    let file = vault.path("by-the-official-client");
    let mut client = std::process::Command::new("python3");
    client
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/sdk-client.py"))
        .args([&vault.sim.endpoint(), vault.sim.project_id(), operation, &start, &end])
        .arg(&file)
        .env("PYTHONPATH", sdk())
        .env("CONNVAULT_SDK_ACCESS_KEY", ACCESS_KEY)
        .env("CONNVAULT_SDK_SECRET_KEY", SECRET_KEY);
    let output = tokio::task::spawn_blocking(move || client.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    std::fs::read(file).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the official SDK: run scripts/test"]
async fn the_official_client_and_connvault_get_the_same_rows_by_v2_and_by_v3() {
    let ways = [
        ("v2", ExportApi::V2, "export-v2", "%Y-%m-%dT%H:%MZ"),
        ("v3", ExportApi::V3, "export-v3", "%Y-%m-%dT%H:%M:%SZ"),
    ];
    for (api, expected, operation, form) in ways {
        // Delimited text says nothing of when it was made: the same rows are the same bytes.
        let in_text = |sim: connvault_sim::Builder| sim.format(Format::Csv);
        let vault = Vault::with(|dir| Place::Directory(dir.join("archive")), in_text).await;
        vault.configure_with(&format!("api = \"{api}\"\n"), "");
        vault.once().await;
        let mut compared = 0;
        for entry in vault.audit().await.entries {
            let EntryBody::Archived(archived) = &entry.entry().body else { continue };
            assert_eq!(archived.export.api, expected);
            let stored = key(archived.object.key.in_stream(&"logins".parse().unwrap()).as_str());
            let ours = read(vault.store().as_ref(), &stored).await.unwrap();
            let bounds = archived.export.requested;
            let [start, end] = [bounds.start, bounds.end].map(|at| at.strftime(form).to_string());
            let theirs = export(&vault, operation, start, end).await;
            assert_eq!(ours, theirs, "{api}: {}", archived.window);
            assert_eq!(
                theirs.iter().filter(|byte| **byte == b'\n').count() as u64,
                archived.object.rows.unwrap() + 1
            );
            assert!(archived.object.rows > Some(0));
            compared += 1;
        }
        assert_eq!(compared, WINDOWS);
        assert!(vault.sim.tasks().all().is_empty());
    }
}
