//! Users of this machine, by their names. `id` is asked, as it knows those that systemd makes up while a service runs.

use std::process::{Command, Stdio};

/// The ids of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserIds {
    /// The user's own.
    pub user: u32,
    /// Of the groups that the user is in.
    pub groups: Vec<u32>,
}

/// The ids of the user called `name`; `None` where there is no such user now.
pub fn ids(name: &str) -> Option<UserIds> {
    let user = id("-u", name)?.first().copied()?;
    Some(UserIds { user, groups: id("-G", name)? })
}

/// Whether this process may read any file.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn id(what: &str, name: &str) -> Option<Vec<u32>> {
    let output = Command::new("id").args([what, "--", name]).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    text.split_whitespace().map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_by_name_and_nobody_is_made_up() {
        let root = ids("root").unwrap();
        assert_eq!((root.user, root.groups.contains(&0)), (0, true));
        assert_eq!(ids("no-such-user-of-this-machine"), None);
        assert_eq!(ids("--help"), None);
    }
}
