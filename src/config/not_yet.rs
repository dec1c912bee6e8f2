//! Keys that a later version will know what to do with. To set one is an error that says so: an archive that looks
//! locked or watched and is not would be worse than none.
//!
//! A key that gets its function leaves [`NOT_YET`] and becomes a field in [`super::raw`].

use config::{Value, ValueKind};

use super::error::ProblemKind;
use super::tree::{KeyPath, Report};

/// When a key that is there counts as set.
enum Refused {
    /// Unless it is an empty text, list or table.
    NonEmpty,
    /// With one of these texts; with others it is an ordinary key.
    Values(&'static [&'static str]),
}

/// A key (`*` for any name), when it is refused, and what to do.
struct NotYet(&'static str, Refused, &'static str);

const NOT_YET: &[NotYet] = &[
    NotYet(
        "sources.*.credentials.kind",
        Refused::Values(&["token", "ecs-agency"]),
        "IAM tokens and ECS agencies come in a later version; use kind = \"aksk\"",
    ),
    NotYet(
        "alerts.webhook_url_file",
        Refused::NonEmpty,
        "alerts by webhook come in a later version; leave it out (heartbeat_url_file is there)",
    ),
];

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
        } else if is_refused(&rule.1, &below.kind) {
            report.add(&path, text_of(&below.kind), ProblemKind::NotYet(rule.2));
            // An alternative that is not there yet would otherwise be reported once more, as missing or wrong.
            if let Refused::Values(_) = rule.1 { retract(below) } else { drop(table.remove(&name)) }
        } else if !matches!(rule.1, Refused::Values(_)) {
            table.remove(&name);
        }
    }
}

fn is_refused(when: &Refused, value: &ValueKind) -> bool {
    match (when, value) {
        (Refused::NonEmpty, ValueKind::String(text)) => !text.is_empty(),
        (Refused::NonEmpty, ValueKind::Array(list)) => !list.is_empty(),
        (Refused::NonEmpty, ValueKind::Table(table)) => !table.is_empty(),
        (Refused::NonEmpty, _) => true,
        (Refused::Values(refused), ValueKind::String(text)) => refused.contains(&text.as_str()),
        (Refused::Values(_), _) => false,
    }
}

/// Leaves a mark that [`is_retracted`] knows: the value was reported already.
fn retract(value: &mut Value) {
    value.kind = ValueKind::Nil;
}

/// Whether a value was taken back by [`refuse`]. TOML itself has no such value.
pub(super) fn is_retracted(value: &Value) -> bool {
    matches!(value.kind, ValueKind::Nil)
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
        // Alternatives of an ordinary key are known through that key.
        (here && !matches!(rule.1, Refused::Values(_))).then_some(last)
    })
}
