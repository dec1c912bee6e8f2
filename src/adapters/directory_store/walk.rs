//! Keys of a directory tree in the byte order of whole keys, one folder in memory at a time per level.
//!
//! Byte order of keys is not the order of names: `a-b` comes before `a/b`, as `-` comes before `/`. So a folder is
//! sorted with its names as they stand in keys: a folder's name with its slash.

use std::io;
use std::path::Path;

use futures_util::stream::{self, BoxStream, StreamExt};

use super::{DirectoryStore, OWN_FOLDER, Steps, Work};
use crate::domain::object_key::ObjectKey;
use crate::ports::object_store::StoreError;

/// What is still to be walked, what comes last first. A folder's name ends with a slash.
type Pending = Vec<String>;

/// Every key that begins with `prefix` and sorts after `after`.
pub(super) fn keys(
    store: &DirectoryStore,
    prefix: String,
    after: Option<String>,
) -> BoxStream<'_, Result<ObjectKey, StoreError>> {
    let wanted = Wanted { prefix, after };
    stream::unfold(Some(vec![store.within.clone()]), move |pending| {
        let wanted = wanted.clone();
        async move {
            match next_key(store, wanted, pending?).await {
                Ok((Some(key), pending)) => Some((Ok(key), Some(pending))),
                Ok((None, _)) => None,
                Err(error) => Some((Err(error), None)),
            }
        }
    })
    .boxed()
}

async fn next_key(
    store: &DirectoryStore,
    wanted: Wanted,
    mut pending: Pending,
) -> Result<(Option<ObjectKey>, Pending), StoreError> {
    while let Some(name) = pending.pop() {
        if name.is_empty() || name.ends_with('/') {
            let wanted = wanted.clone();
            let inside = store.blocking(move |work| read_folder(work, &name, &wanted)).await?;
            pending.extend(inside);
        } else {
            match ObjectKey::parse(&name) {
                Ok(key) => return Ok((Some(key), pending)),
                Err(error) => tracing::warn!(%error, "a file that is none of ours is passed over"),
            }
        }
    }
    Ok((None, pending))
}

/// What is listed.
#[derive(Clone)]
struct Wanted {
    prefix: String,
    after: Option<String>,
}

impl Wanted {
    /// Whether `name` is a wanted key, or a folder that may hold one.
    fn takes(&self, name: &str) -> bool {
        let is_folder = name.ends_with('/');
        let begins = name.starts_with(&self.prefix) || is_folder && self.prefix.starts_with(name);
        let later = |after: &str| name > after || is_folder && after.starts_with(name);
        begins && self.after.as_deref().is_none_or(later)
    }
}

/// What is wanted of a folder, last first. A folder that is gone is an empty one; the root has to be there.
fn read_folder(work: &Work<'_>, folder: &str, wanted: &Wanted) -> Result<Pending, StoreError> {
    let path = work.store.located(folder);
    let mut names = match read_twice(work.steps, &path, folder) {
        Err(error) if !folder.is_empty() && error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(|error| work.store.error("list", &path, &error))?,
    };
    names.retain(|name| wanted.takes(name));
    names.sort_unstable_by(|one, other| other.cmp(one));
    Ok(names)
}

/// The files and folders in `path`, as of one instant as far as order goes: whatever was there before another name that is
/// listed is listed too.
///
/// A folder that is read while it grows may show the newer of two files without the older. The older was there before the
/// newer was seen, so a second reading shows it; what that one shows beyond the first is left for the next listing.
fn read_twice(steps: &Steps, path: &Path, folder: &str) -> io::Result<Vec<String>> {
    let mut names = read_names(steps, path, folder)?;
    if let Some(last) = names.iter().max().cloned() {
        let again = read_names(steps, path, folder)?;
        names.extend(again.into_iter().filter(|name| *name < last));
        names.sort_unstable();
        names.dedup();
    }
    Ok(names)
}

/// The files and folders in `path`, named as in keys.
fn read_names(steps: &Steps, path: &Path, folder: &str) -> io::Result<Vec<String>> {
    steps.begin("list", path);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        steps.moved();
        let kind = entry.file_type()?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            tracing::warn!(file.path = %entry.path().display(), "a file whose name is no text is passed over");
            continue;
        };
        if folder.is_empty() && name == OWN_FOLDER {
            continue;
        }
        if kind.is_dir() {
            names.push(format!("{folder}{name}/"));
        } else if kind.is_file() {
            names.push(format!("{folder}{name}"));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_that_may_hold_a_wanted_key_are_walked() {
        let wanted = Wanted { prefix: "a/log/".to_owned(), after: Some("a/log/02".to_owned()) };
        for taken in ["a/", "a/log/", "a/log/03", "a/log/02/", "a/log/1/"] {
            assert!(wanted.takes(taken), "{taken}");
        }
        for passed in ["a", "b/", "a/data/", "a/log/02", "a/log/01/", "a/log"] {
            assert!(!wanted.takes(passed), "{passed}");
        }
    }
}
