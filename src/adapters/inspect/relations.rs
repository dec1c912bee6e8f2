//! Which parts of a workbook belong together: `_rels/.rels` names the workbook, and the workbook's own relations name its
//! sheets and its shared texts. Targets are paths, from the part's folder or from the archive's root.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use super::error::InspectError;
use super::parts::Parts;
use super::xml::{Node, Xml};

/// More relations, or sheets, than any export has.
pub(super) const MAX_LISTED: usize = 4096;

/// Longer than any id of a relation, and any path of a part, in bytes.
const MAX_ID: usize = 255;
const MAX_PATH: usize = 1024;

/// What a part says of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    /// The last word of its type: `worksheet`, `sharedStrings`.
    pub(super) kind: String,
    /// The path of the other part.
    pub(super) target: String,
}

/// The relations of a part by their ids.
#[derive(Debug, Default)]
pub(super) struct Relations(BTreeMap<String, Relation>);

impl Relations {
    fn read(mut part: Xml<'_>) -> Result<Self, InspectError> {
        let mut relations = Self::default();
        loop {
            match part.next()? {
                Node::Start(element) if element.name() == "Relationship" => {
                    let id = element.text("Id", MAX_ID)?;
                    let (kind, target) = (element.text("Type", MAX_PATH)?, element.text("Target", MAX_PATH)?);
                    // A relation without all three, or with longer ones than any, is none that is needed here.
                    let (Some(id), Some(kind), Some(target)) = (id, kind, target) else { continue };
                    let kind = kind.rsplit('/').next().unwrap_or_default().to_owned();
                    relations.add(id, Relation { kind, target })?;
                }
                Node::Eof => return Ok(relations),
                _ => {}
            }
        }
    }

    fn add(&mut self, id: String, relation: Relation) -> Result<(), InspectError> {
        if self.0.len() >= MAX_LISTED {
            return Err(InspectError::unread("the workbook has more relations than any export"));
        }
        match self.0.get(&id) {
            Some(known) if *known != relation => {
                Err(InspectError::unread("the workbook names two parts by the same id"))
            }
            Some(_) => Ok(()),
            None => {
                self.0.insert(id, relation);
                Ok(())
            }
        }
    }

    /// The relation with this id.
    pub(super) fn get(&self, id: &str) -> Option<&Relation> {
        self.0.get(id)
    }

    /// The first relation of this kind.
    pub(super) fn of_kind(&self, kind: &str) -> Option<&Relation> {
        self.0.values().find(|relation| relation.kind == kind)
    }
}

/// The folder of a part, with a `/` at its end; empty for the root.
pub(super) fn folder(part: &str) -> &str {
    &part[..part.rfind('/').map_or(0, |slash| slash + 1)]
}

/// The relations of the part `part`; `None` where it has none. An empty name stands for the archive.
pub(super) fn relations<R: Read + Seek>(
    parts: &mut Parts<'_, R>,
    part: &str,
) -> Result<Option<Relations>, InspectError> {
    let folder = folder(part);
    match parts.find(&format!("{folder}_rels/{}.rels", &part[folder.len()..])) {
        Some(name) => parts.read(&name, Relations::read).map(Some),
        None => Ok(None),
    }
}

/// The name of the part that `target` names in a relation of `part`: a path from the root if it begins with a slash,
/// else from the part's folder, and, as some makers write it, from the root all the same.
pub(super) fn resolve<R: Read + Seek>(parts: &Parts<'_, R>, part: &str, target: &str) -> Option<String> {
    let beside = || parts.find(&format!("{}{target}", folder(part)));
    let from_root = || parts.find(target);
    if target.starts_with(['/', '\\']) { from_root().or_else(beside) } else { beside().or_else(from_root) }
}

/// The name of the workbook's main part; `None` where the archive has none.
pub(super) fn main_part<R: Read + Seek>(parts: &mut Parts<'_, R>) -> Result<Option<String>, InspectError> {
    let relations = relations(parts, "")?;
    let named = relations.as_ref().and_then(|relations| relations.of_kind("officeDocument"));
    let named = named.and_then(|relation| resolve(parts, "", &relation.target));
    Ok(named.or_else(|| parts.find("xl/workbook.xml")))
}
