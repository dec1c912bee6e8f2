//! Whether the daemon's user can write to a directory store, where another user asks: what that one puts proves nothing.

use std::path::Path;

use super::Checks;
use super::readable::Daemon;
use crate::config::closed_to_writing;
use crate::domain::name::StreamName;

const WRITABLE: &str = "writable by the daemon";

/// Whether the store in `root` is to be tried by this process as well.
pub(super) fn check(root: &Path, streams: &[&StreamName], daemon: &Daemon, checks: &mut Checks) -> bool {
    let Daemon::User { name, who } = daemon else { return true };
    let directory = root.display();
    if !root.exists() {
        let parent = root.parent().unwrap_or(root);
        let fix = format!("make it and give it to that user: install -d -m 0750 -o {name} {directory}");
        match closed_to_writing(parent, who) {
            Some(closed) => {
                let detail = format!("{directory} is not there, and user {name} cannot make it: {closed}");
                checks.failed(WRITABLE, detail, &fix);
            }
            None => {
                checks.note(WRITABLE, format!("{directory} is not there; the first start makes it"), &fix)
            }
        }
        return false;
    }
    // Those that a daemon makes at its start, and one for each stream: in all of them it goes on making files.
    let own = [".connvault", ".connvault/tmp"].map(|folder| root.join(folder));
    let of_streams = streams.iter().flat_map(|stream| {
        let folder = root.join(stream.as_str());
        [folder.join("log"), folder]
    });
    let inside = own.into_iter().chain(of_streams).filter(|folder| folder.exists());
    let closed = std::iter::once(root.to_owned())
        .chain(inside)
        .find_map(|folder| closed_to_writing(&folder, who).map(|closed| (folder, closed)));
    let Some((folder, closed)) = closed else {
        // What this process makes there goes to the directory's owner. Where that is somebody else, it makes nothing.
        if is_of(root, who.user) || root.join(".connvault/tmp").exists() {
            checks.ok(WRITABLE, format!("{directory}, by user {name}"));
            return true;
        }
        let detail =
            format!("{directory}, by user {name}; what another user makes there would not be that user's");
        checks.note(WRITABLE, detail, "run check as that user, to try the store itself");
        return false;
    };
    let detail = format!("user {name} cannot write to {}: {closed}", folder.display());
    let is_inside = folder.canonicalize().is_ok_and(|folder| folder == closed.path);
    let fix = match is_inside {
        true => format!(
            "give it to that user, who must be able to write there: chown -R {name} {directory} && chmod u+rwx {directory}"
        ),
        false => format!("let that user in: {}", closed.remedy()),
    };
    checks.failed(WRITABLE, detail, &fix);
    false
}

fn is_of(root: &Path, user: Option<u32>) -> bool {
    use std::os::unix::fs::MetadataExt;
    root.metadata().is_ok_and(|metadata| Some(metadata.uid()) == user)
}
