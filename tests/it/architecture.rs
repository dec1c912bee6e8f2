//! The rules of the house that a compiler does not check.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Every source file of the program, by its path below `src/`.
fn sources() -> Vec<(String, String)> {
    let src = root().join("src");
    let name = |path: &Path| path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
    rust_files(&src).iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

/// The layer that a file belongs to: the first part of its path.
fn layer(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

#[test]
fn imports_point_one_way() {
    let allowed = |layer: &str| -> &[&str] {
        match layer {
            "domain" => &["domain"],
            "telemetry" => &["domain"],
            "ports" => &["domain", "ports"],
            "config" => &["domain", "config"],
            "adapters" => &["domain", "ports", "adapters"],
            "app" => &["domain", "ports", "adapters", "config", "app", "exit_code"],
            "cli" => &["domain", "ports", "adapters", "config", "app", "exit_code", "telemetry", "cli"],
            _ => &[],
        }
    };
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for import in line.split("crate::").skip(1) {
                let seen = import.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                if !allowed(layer(&file)).contains(&seen) && line.contains("crate::") {
                    wrong.push(format!("{file} sees {seen}: {}", line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_says_what_it_is_for_and_stays_small() {
    for (file, text) in sources() {
        assert!(text.starts_with("//!"), "{file} does not open with what it is for");
        let lines = text.lines().count();
        assert!(lines <= 450, "{file} has {lines} lines");
    }
}

#[test]
fn a_mod_rs_does_no_work() {
    for (file, text) in
        sources().iter().filter(|(file, _)| file.ends_with("mod.rs") && !file.contains("/tests/"))
    {
        let mut in_use = false;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let starts = ["//", "mod ", "pub mod ", "use ", "pub use ", "#[", "pub(crate) mod "];
            let plain = in_use || starts.iter().any(|start| line.starts_with(start));
            assert!(plain, "{file} does work: {line}");
            in_use = (in_use || line.contains("use ")) && !line.ends_with(';');
        }
    }
}
