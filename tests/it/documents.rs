//! The documents say what is so: files that they name are there, tests too, and their examples read.

use std::path::{Path, PathBuf};

use connvault::config::{Config, Secrets};
use connvault::domain::log_entry::LogEntry;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below `folder` with this extension.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found
}

fn documents() -> Vec<PathBuf> {
    let mut documents = files("docs", "md");
    documents.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name)));
    documents
}

/// What stands between `open` and `close`, each time.
fn between<'t>(text: &'t str, open: &str, close: &'t str) -> Vec<&'t str> {
    text.split(open).skip(1).filter_map(|rest| rest.split_once(close)).map(|(inside, _)| inside).collect()
}

#[test]
fn the_architecture_names_every_file_of_the_program_and_no_other() {
    let page = read("docs/architecture.md");
    let named: Vec<_> = between(&page, "| `src/", "` | ");
    let mut there: Vec<_> = files("src", "rs")
        .iter()
        .map(|path| {
            let path = path.strip_prefix(root().join("src")).unwrap();
            path.to_str().unwrap().to_owned()
        })
        .collect();
    there.sort_unstable();
    let missing: Vec<_> = there.iter().filter(|path| !named.contains(&path.as_str())).collect();
    assert!(missing.is_empty(), "docs/architecture.md lacks {missing:?}");
    let gone: Vec<_> = named.iter().filter(|path| !there.iter().any(|there| there == *path)).collect();
    assert!(gone.is_empty(), "docs/architecture.md still names {gone:?}");
}

#[test]
fn the_tests_that_the_guarantees_rest_on_are_there() {
    let page = read("docs/guarantees.md");
    let code: String = ["src", "tests"].iter().flat_map(|folder| files(folder, "rs")).map(read).collect();
    let is_test = |name: &&str| {
        name.matches('_').count() >= 3 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let quoted: Vec<_> = page.split('`').skip(1).step_by(2).filter(is_test).collect();
    assert!(quoted.len() > 30, "only {} tests are named", quoted.len());
    for name in quoted {
        assert!(code.contains(&format!("fn {name}(")), "there is no test {name}");
    }
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    for document in documents() {
        let text = read(&document);
        for target in between(&text, "](", ")") {
            if target.starts_with("https://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => document.clone(),
                file => document.parent().unwrap().join(file),
            };
            assert!(path.exists(), "{}: {target} leads nowhere", document.display());
            let anchor = |line: &str| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            let has_heading =
                || read(&path).lines().any(|line| line.starts_with('#') && anchor(line) == heading);
            assert!(
                heading.is_empty() || has_heading(),
                "{}: {target} has no such heading",
                document.display()
            );
        }
    }
}

#[test]
fn the_example_entries_are_entries_as_they_are_stored() {
    let page = read("docs/archive-format.md");
    let examples = between(&page, "```json\n", "```");
    assert_eq!(examples.len(), 6);
    for example in examples {
        let entry: LogEntry = serde_json::from_str(example).unwrap();
        let stored = serde_json::to_string_pretty(&entry).unwrap() + "\n";
        assert_eq!(stored, example);
    }
}

#[test]
fn the_configuration_in_the_readme_loads() {
    let page = read("README.md");
    let [example] = between(&page, "```toml\n", "```")[..] else {
        panic!("the README has one configuration");
    };
    let folder = tempfile::tempdir().unwrap();
    for name in between(&read("systemd/connvault.service"), "\nLoadCredential=", ":") {
        let path = folder.path().join(name);
        std::fs::write(&path, "secret").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    }
    let path = folder.path().join("config.toml");
    std::fs::write(&path, example).unwrap();
    let config = Config::load(&path, std::iter::empty(), Secrets::all(Some(folder.path())));
    assert!(config.is_ok(), "{}", config.unwrap_err());
}

#[test]
fn the_auditors_page_explains_every_finding_and_every_note() {
    let page = read("docs/auditor.md");
    let code = read("src/domain/audit/finding.rs");
    let mut kinds = 0;
    for declared in between(&code, "pub enum ", "\n}") {
        let variants = declared.lines().skip(1).filter_map(|line| line.strip_prefix("    "));
        for variant in variants.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase())) {
            let name: String = variant.chars().take_while(char::is_ascii_alphanumeric).collect();
            let spread = name.chars().flat_map(|c| [c.is_ascii_uppercase().then_some('_'), Some(c)]);
            let kind = spread.flatten().collect::<String>().trim_start_matches('_').to_lowercase();
            assert!(page.contains(&format!("`{kind}`")), "docs/auditor.md does not explain `{kind}`");
            kinds += 1;
        }
    }
    assert!(kinds > 30, "only {kinds} kinds were looked for");
}
