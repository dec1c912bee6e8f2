//! What keeps a user from reading a file, or from writing: the mode of the file, or of a directory on the way to it.
//!
//! Access lists and the like are not looked at: they are rare, and what is said names the mode that was found.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A user, as far as files are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The user's id; absent for somebody who owns nothing.
    pub user: Option<u32>,
    /// The groups that the user is in.
    pub groups: Vec<u32>,
}

impl Who {
    /// The user that this process runs as.
    pub fn this_process() -> Self {
        let mut groups: Vec<_> = rustix::process::getgroups().unwrap_or_default();
        groups.push(rustix::process::getegid());
        Self {
            user: Some(rustix::process::geteuid().as_raw()),
            groups: groups.into_iter().map(|group| group.as_raw()).collect(),
        }
    }

    /// Whether the user has the right that `bit` is for others: 4 to read, 2 to write, 1 to enter a directory.
    fn has(&self, bit: u32, of: &Metadata) -> bool {
        let shift = match self.user {
            Some(0) => return true,
            Some(user) if user == of.uid() => 6,
            _ if self.groups.contains(&of.gid()) => 3,
            _ => 0,
        };
        of.mode() & (bit << shift) != 0
    }
}

/// What keeps a user from reading a file, or from writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The file, or a directory on the way to it.
    pub path: PathBuf,
    is_directory: bool,
    mode: u32,
    owner: u32,
    group: u32,
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, mode, owner, group, .. } = self;
        write!(f, "{} has mode {mode:04o}, owner {owner} and group {group}", path.display())
    }
}

impl Closed {
    /// How everybody is let in.
    pub fn remedy(&self) -> String {
        let path = self.path.display();
        match self.is_directory {
            true => format!("chmod o+x {path}"),
            false => format!("chmod o+r {path}"),
        }
    }
}

/// What keeps `who` from reading the file at `path`; `None` where nothing does, or this process cannot see it.
pub fn closed(path: &Path, who: &Who) -> Option<Closed> {
    first_closed(path, who, |is_directory| if is_directory { &[1] } else { &[4] })
}

/// What keeps `who` from changing the file at `path`, or from making files in the directory there; as [`closed`].
pub fn closed_to_writing(path: &Path, who: &Who) -> Option<Closed> {
    first_closed(path, who, |is_directory| if is_directory { &[1, 2] } else { &[2] })
}

/// The first part of the way that lacks a right: directories on it must be entered, `wanted` is of its end.
fn first_closed(path: &Path, who: &Who, wanted: impl Fn(bool) -> &'static [u32]) -> Option<Closed> {
    // Where the way is closed to this process as well, the part that it sees is looked at.
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let way: Vec<_> = whole.ancestors().collect();
    for part in way.into_iter().rev() {
        let Ok(metadata) = part.metadata() else { return None };
        let is_directory = metadata.is_dir();
        let rights = if part == whole { wanted(is_directory) } else { &[1] };
        if rights.iter().any(|right| !who.has(*right, &metadata)) {
            let (mode, owner, group) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
            return Some(Closed { path: part.to_owned(), is_directory, mode, owner, group });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_first_thing_that_keeps_a_user_out_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let [inner, file] = ["inner", "inner/config.toml"].map(|name| folder.path().join(name));
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(&file, "").unwrap();
        let mode = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let owner = file.metadata().unwrap();
        let stranger = Who { user: Some(owner.uid() + 1), groups: vec![owner.gid() + 1] };
        let nobody = Who { user: None, groups: Vec::new() };
        mode(folder.path(), 0o755);
        for (of_inner, of_file, who, expected) in [
            (0o755, 0o644, &stranger, None),
            (0o755, 0o600, &stranger, Some((&file, "chmod o+r"))),
            (0o700, 0o644, &nobody, Some((&inner, "chmod o+x"))),
            (0o755, 0o640, &Who { user: None, groups: vec![owner.gid()] }, None),
            (0o700, 0o600, &Who { user: Some(owner.uid()), groups: Vec::new() }, None),
        ] {
            mode(&inner, of_inner);
            mode(&file, of_file);
            let found = closed(&file, who);
            assert_eq!(found.as_ref().map(|closed| &closed.path), expected.map(|(path, _)| path));
            if let (Some(found), Some((_, remedy))) = (found, expected) {
                assert!(found.remedy().starts_with(remedy), "{}", found.remedy());
            }
        }
    }
}
