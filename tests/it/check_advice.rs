//! What `check` advises: the right words beside each row, and the same rows whatever fails.

use std::os::unix::fs::DirBuilderExt;

use connvault::adapters::sqlite_ledger::SqliteLedger;
use connvault::adapters::system_clock::SystemClock;
use connvault::ports::clock::Clock;
use connvault_sim::{Endpoint, Fate, Fault, Rule, Withdrawal};
use jiff::SignedDuration;
use serde_json::Value;
use sqlx::Row;

use crate::check::{checked, failures, outcome, row};
use crate::support::buckets::InProcess;
use crate::support::s3s::Dialect;
use crate::support::vault::{Place, Vault, text};

const V2: &str = "v2 export of one minute";
const LIST: &str = "list of export tasks";
const V3: &str = "v3 export of one minute";
const DOWNLOAD: &str = "download of an export task";
const DELETE: &str = "deletion of an export task";

fn fix<'c>(checks: &'c [Value], check: &str) -> &'c str {
    row(checks, check)["fix"].as_str().unwrap_or_default()
}

fn detail<'c>(checks: &'c [Value], check: &str) -> &'c str {
    row(checks, check)["detail"].as_str().unwrap()
}

fn rows(checks: &[Value]) -> Vec<(String, String)> {
    checks.iter().map(|row| (row["subject"].to_string(), row["check"].to_string())).collect()
}

/// A vault over a bucket of a server that speaks so.
async fn over(dialect: Dialect) -> (InProcess, Vault) {
    let server = InProcess::start(dialect).await;
    let settings = server.settings();
    let vault = Vault::with(|_| Place::Bucket(Box::new(settings)), |sim| sim).await;
    (server, vault)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_permission_that_lacks_is_named_beside_the_one_row_that_needs_it() {
    let needed = [
        (Endpoint::Query, "query", "workspace:connections:securityList"),
        (Endpoint::Export, V2, "workspace:connections:securityExport"),
        (Endpoint::ListTasks, LIST, "workspace:tenants:listExportTasks"),
        (Endpoint::CreateTask, V3, ""),
        (Endpoint::Download, DOWNLOAD, "workspace:tenants:exportData"),
        (Endpoint::DeleteTasks, DELETE, "workspace:tenants:deleteExportTasks"),
    ];
    for api in ["auto", "v3"] {
        for (endpoint, check, permission) in needed {
            let vault = Vault::in_directory().await;
            vault.configure_with(&format!("api = \"{api}\"\n"), "");
            vault.sim.faults().add(Rule::new(Fault::status(403)).on(endpoint));
            let (_, checks) = checked(&vault).await;
            let is_wrong = |row: &&Value| row["outcome"] != "ok" && row["outcome"] != "skipped";
            let wrong = checks.iter().filter(is_wrong).filter(|row| row["check"] != "export API");
            let wrong: Vec<_> = wrong.map(|row| row["check"].as_str().unwrap()).collect();
            if api == "v3" && check == V2 {
                assert_eq!(wrong, [""; 0], "it is not asked for");
                continue;
            }
            assert_eq!(wrong, [check], "{api}: {checks:#?}");
            let fails = check == V2 || api == "v3" && check != "query";
            assert_eq!(outcome(&checks, check), if fails { "failed" } else { "note" }, "{api}: {check}");
            // The documentation of the v3 export names none, and so must we.
            let named = match permission {
                "" => "the provider's documentation names no permission for this call".to_owned(),
                permission => format!("grant the permission {permission} to"),
            };
            assert!(fix(&checks, check).contains(&named), "{checks:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_refused_and_a_clock_that_is_off_are_no_permissions_that_lack() {
    let vault = Vault::in_directory().await;
    vault.secret("source-sk", "another-secret");
    let (_, checks) = checked(&vault).await;
    assert_eq!(failures(&checks), ["query", V2, LIST]);
    for check in failures(&checks) {
        assert!(fix(&checks, check).starts_with("mend the source's credentials section"), "{check}");
    }
    let behind =
        |sim: connvault_sim::Builder| sim.clock(|| SystemClock.now() - SignedDuration::from_mins(20));
    let vault = Vault::with(|dir| Place::Directory(dir.join("archive")), behind).await;
    let (_, checks) = checked(&vault).await;
    assert_eq!(failures(&checks), ["query", "clock", V2, LIST]);
    assert!(detail(&checks, "clock").contains("ahead of the source's"), "{checks:#?}");
    for check in failures(&checks) {
        assert!(
            fix(&checks, check).contains("timedatectl") && !fix(&checks, check).contains("grant"),
            "{check}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_let_in_exports_through_v3_too() {
    let behind =
        |sim: connvault_sim::Builder| sim.clock(|| SystemClock.now() - SignedDuration::from_mins(13));
    let vault = Vault::with(|dir| Place::Directory(dir.join("archive")), behind).await;
    let (output, checks) = checked(&vault).await;
    assert_eq!((output.status.code(), outcome(&checks, "clock")), (Some(0), "note"));
    assert_eq!((outcome(&checks, V3), outcome(&checks, DOWNLOAD)), ("ok", "ok"), "{checks:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_api_is_advised_only_where_v2_was_chosen_and_is_withdrawn() {
    let vault = Vault::in_directory().await;
    vault.configure_with("api = \"v2\"\n", "");
    vault.sim.withdraw_v2(Withdrawal::Gone);
    let (_, checks) = checked(&vault).await;
    assert_eq!(failures(&checks), [V2]);
    assert!(fix(&checks, V2).contains("api = \"auto\" or \"v3\""), "{checks:#?}");
    for api in ["v2", "v3", "auto"] {
        let vault = Vault::in_directory().await;
        vault.configure_with(&format!("api = \"{api}\"\n"), "");
        let nothing = Fault::Status { code: 404, error_code: "APIGW.0101".into(), retry_after: None };
        vault.sim.faults().always(nothing);
        let (_, checks) = checked(&vault).await;
        for check in failures(&checks) {
            let fix = fix(&checks, check);
            assert!(fix.contains("endpoint") && !fix.contains("api ="), "{api}: {check}: {fix}");
        }
        assert!(!failures(&checks).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_comes_to_nothing_is_the_providers_affair_and_one_that_is_too_slow_the_configurations() {
    let vault = Vault::in_directory().await;
    vault.configure_with("api = \"v3\"\ntask_timeout = \"1s\"\n", "");
    vault.sim.tasks().fate(Fate::Fail { error_code: "WKS.0007".into(), reason: "out of space".into() });
    let (_, checks) = checked(&vault).await;
    assert_eq!(failures(&checks), [DOWNLOAD]);
    assert!(fix(&checks, DOWNLOAD).contains("support"), "{checks:#?}");
    assert!(detail(&checks, DOWNLOAD).contains("out of space"), "{checks:#?}");
    vault.sim.tasks().fate(Fate::Never);
    let (_, checks) = checked(&vault).await;
    assert_eq!(failures(&checks), [DOWNLOAD]);
    assert!(fix(&checks, DOWNLOAD).contains("raise task_timeout"), "{checks:#?}");
    assert_eq!(vault.sim.tasks().all(), []);
    // One that is still being made may not be deleted yet, and that is no failure of its own.
    vault.sim.tasks().delete_strictly();
    vault.sim.tasks().fate(Fate::Never);
    let (_, checks) = checked(&vault).await;
    assert_eq!((failures(&checks), outcome(&checks, DELETE)), (vec![DOWNLOAD], "note"), "{checks:#?}");
    assert!(fix(&checks, DELETE).contains(&vault.sim.tasks().all()[0].id), "{checks:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_out_of_order_is_not_called_a_network_that_is() {
    let vault = Vault::in_directory().await;
    vault.sim.faults().add(Rule::new(Fault::status(503)).on(Endpoint::Query));
    let (_, checks) = checked(&vault).await;
    assert_eq!(failures(&checks), ["query"]);
    assert!(fix(&checks, "query").contains("support"), "{checks:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_has_the_same_rows_whatever_fails() {
    let (server, vault) = over(Dialect::Aws).await;
    let (_, checks) = checked(&vault).await;
    let all = rows(&checks);
    let config = std::fs::read_to_string(vault.path("config.toml")).unwrap();
    let id = format!("project_id = \"{}\"\n", vault.sim.project_id());
    let unknown = format!("iam_endpoint = \"{}\"\n", vault.sim.endpoint());
    vault.sim.faults().add(Rule::new(Fault::status(403)).on(Endpoint::IamProjects));
    for (from, to, skipped) in [
        (id.as_str(), unknown.as_str(), "credentials"),
        ("/source-ak", "/nothing", "clock"),
        ("/store-ak", "/nothing", "list"),
        ("bucket = \"audit\"", "bucket = \"elsewhere\"", "delete"),
        ("[sources.hq.credentials]", "api = \"v2\"\n[sources.hq.credentials]", DELETE),
        ("[sources.hq.credentials]", "api = \"v3\"\n[sources.hq.credentials]", V2),
    ] {
        assert!(config.contains(from));
        std::fs::write(vault.path("config.toml"), config.replace(from, to)).unwrap();
        let (_, checks) = checked(&vault).await;
        assert_eq!(rows(&checks), all, "{to}");
        assert_eq!(outcome(&checks, skipped), "skipped", "{to}");
    }
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_may_put_and_get_but_not_list_fail_the_check_as_they_would_fail_the_start() {
    let (_server, vault) = over(Dialect::Forbids("list-type=2")).await;
    let (output, checks) = checked(&vault).await;
    assert_eq!((output.status.code(), failures(&checks)), (Some(1), vec!["list"]));
    assert!(fix(&checks, "list").contains("s3:ListBucket"), "{checks:#?}");
    assert!(!vault.connvault(&["once"]).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bucket_does_not_say_is_never_taken_for_well() {
    for (what, check, permission) in [
        ("?versioning", "versioning", "s3:GetBucketVersioning"),
        ("?object-lock", "object lock", "s3:GetBucketObjectLockConfiguration"),
        ("?encryption", "encryption", "s3:GetEncryptionConfiguration"),
    ] {
        let (_server, vault) = over(Dialect::Forbids(what)).await;
        let (_, checks) = checked(&vault).await;
        assert_eq!(outcome(&checks, check), "note");
        assert!(detail(&checks, check).contains("could not be learnt"), "{checks:#?}");
        assert!(fix(&checks, check).contains(permission), "{checks:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_in_the_bucket_is_named() {
    let (_server, vault) = over(Dialect::Forbids("DELETE ")).await;
    let (output, checks) = checked(&vault).await;
    assert_eq!((output.status.code(), outcome(&checks, "delete")), (Some(0), "ok"), "{checks:#?}");
    assert!(detail(&checks, "delete").contains("workspace/.connvault/delete-check"), "{checks:#?}");
    let probe = detail(&checks, "probe put and read back");
    assert!(probe.contains("workspace/.connvault/create-only-probe"), "{probe}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_nothing_is_called_that() {
    let (_server, vault) = over(Dialect::Heedless).await;
    let (_, checks) = checked(&vault).await;
    assert_eq!(outcome(&checks, "create-only"), "note");
    assert!(detail(&checks, "create-only").contains("refuses nothing"), "{checks:#?}");
    assert!(fix(&checks, "create-only").contains("If-None-Match"), "{checks:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_be_read_is_no_empty_one() {
    let vault = Vault::in_directory().await;
    let (_, checks) = checked(&vault).await;
    assert!(detail(&checks, "ledger").contains("not there yet"), "{checks:#?}");
    std::fs::DirBuilder::new().mode(0o700).create(vault.state_dir()).unwrap();
    let path = vault.state_dir().join("ledger.sqlite3");
    SqliteLedger::open(&path).await.unwrap().close().await;
    let (output, checks) = checked(&vault).await;
    assert_eq!((output.status.code(), outcome(&checks, "ledger")), (Some(0), "ok"));
    let database = sqlx::SqlitePool::connect(path.to_str().unwrap()).await.unwrap();
    let newest = "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations) RETURNING *";
    let removed = sqlx::query(newest).fetch_one(&database).await.unwrap();
    let (output, checks) = checked(&vault).await;
    assert_eq!((output.status.code(), outcome(&checks, "ledger")), (Some(0), "note"), "{checks:#?}");
    assert!(fix(&checks, "ledger").contains("next start"), "{checks:#?}");
    let (version, checksum): (i64, Vec<u8>) = (removed.get("version"), removed.get("checksum"));
    let put_back = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                    VALUES (?, 'newest', 1, ?, 0)";
    sqlx::query(put_back).bind(version).bind(checksum).execute(&database).await.unwrap();
    let later = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9999, 'later', 1, x'00', 0)";
    sqlx::query(later).execute(&database).await.unwrap();
    database.close().await;
    let unread = async |what: &str| {
        let (output, checks) = checked(&vault).await;
        assert_eq!((output.status.code(), failures(&checks)), (Some(1), vec!["ledger"]), "{what}");
        assert!(detail(&checks, "ledger").contains(what), "{checks:#?}");
        assert!(fix(&checks, "ledger").contains("do what the details say"), "{checks:#?}");
        assert_eq!(outcome(&checks, V2), "ok", "the rest is tried");
    };
    unread("use the version of connvault that the daemon runs").await;
    std::fs::write(
        &path,
        "no database, and longer than a header of one would have to be for it to look at it",
    )
    .unwrap();
    unread("connvault rebuild").await;
    assert!(text(&vault.connvault(&["check", "--user", "root"]).await.stdout).contains("1 check failed"));
}
