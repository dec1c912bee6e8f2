//! Keys that a later version will know what to do with. To set one is an error that says so: an archive that looks
//! locked or watched and is not would be worse than none.
//!
//! A key that gets its function leaves [`NOT_YET`] and becomes a field in [`super::raw`].

use config::{Value, ValueKind};

use super::error::ProblemKind;
use super::tree::{KeyPath, Report};

/// A key (`*` for any name), and what to do. It counts as set unless it is an empty text, list or table.
struct NotYet(&'static str, &'static str);

const NOT_YET: &[NotYet] = &[NotYet(
    "alerts.webhook_url_file",
    "alerts by webhook come in a later version; leave it out (heartbeat_url_file is there)",
)];

impl NotYet {
    fn parts(&self) -> impl Iterator<Item = &'static str> {
        self.0.split('.')
    }
}

/// Reports every such key that is set, and takes all of them out of the tree.
pub(super) fn refuse(root: &mut Value, report: &mut Report) {
    for rule in NOT_YET {
        let pattern: Vec<_> = rule.parts().collect();
        walk(root, &KeyPath::default(), &pattern, rule, report);
    }
}

fn walk(value: &mut Value, path: &KeyPath, pattern: &[&str], rule: &NotYet, report: &mut Report) {
    let (ValueKind::Table(table), Some((first, rest))) = (&mut value.kind, pattern.split_first()) else {
        return;
    };
    let mut names: Vec<String> = match *first {
        "*" => table.keys().cloned().collect(),
        name => table.keys().filter(|key| *key == name).cloned().collect(),
    };
    // A hash table's order would change from run to run.
    names.sort();
    for name in names {
        let Some(below) = table.get_mut(&name) else {
            continue;
        };
        let path = path.child(&name);
        if !rest.is_empty() {
            walk(below, &path, rest, rule, report);
        } else {
            if is_set(&below.kind) {
                report.add(&path, text_of(&below.kind), ProblemKind::NotYet(rule.1));
            }
            table.remove(&name);
        }
    }
}

fn is_set(value: &ValueKind) -> bool {
    match value {
        ValueKind::String(text) => !text.is_empty(),
        ValueKind::Array(list) => !list.is_empty(),
        ValueKind::Table(table) => !table.is_empty(),
        _ => true,
    }
}

fn text_of(value: &ValueKind) -> Option<String> {
    match value {
        ValueKind::String(text) => Some(format!("{text:?}")),
        ValueKind::Boolean(flag) => Some(flag.to_string()),
        ValueKind::I64(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The keys of this list that stand directly in the section `path`.
pub(super) fn keys_below(path: &KeyPath) -> impl Iterator<Item = &'static str> + use<> {
    let section: Vec<String> = path.parts().to_vec();
    NOT_YET.iter().filter_map(move |rule| {
        let mut parts: Vec<_> = rule.parts().collect();
        let last = parts.pop()?;
        let here = parts.len() == section.len()
            && parts.iter().zip(&section).all(|(pattern, part)| *pattern == "*" || pattern == part);
        here.then_some(last)
    })
}
