//! File systems of their own: a small disk, to be filled, and one that can be frozen. Mounting them needs root.

/// A file system of its own over the state directory, gone with this.
pub struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    pub fn mount(at: std::path::PathBuf, size: &str) -> Self {
        std::fs::create_dir(&at).unwrap();
        let options = format!("size={size},mode=700");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&at)
            .status();
        assert!(mounted.unwrap().success(), "cannot mount a tmpfs");
        Self(at)
    }

    /// Makes it larger, or smaller.
    pub fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(
            std::process::Command::new("mount")
                .args(["-o", &options])
                .arg(&self.0)
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A folder that is shown at another place by a process that can be stopped: whoever asks there for anything then waits until
/// it goes on. Gone with this.
pub struct Shown {
    by: std::process::Child,
    at: std::path::PathBuf,
}

impl Shown {
    pub fn mount(folder: &std::path::Path, at: &std::path::Path) -> Self {
        std::fs::create_dir(folder).unwrap();
        std::fs::create_dir(at).unwrap();
        let mut command = std::process::Command::new("bindfs");
        let by = command.arg("-f").arg(folder).arg(at).spawn().unwrap_or_else(|e| panic!("bindfs: {e}"));
        let mut shown = Self { by, at: at.to_owned() };
        while !shown.is_mounted() {
            assert!(shown.by.try_wait().unwrap().is_none(), "bindfs shows nothing at {}", at.display());
        }
        shown
    }

    fn is_mounted(&self) -> bool {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.contains(&format!(" {} ", self.at.display()))
    }

    /// Says nothing any more.
    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Answers again, what it was asked meanwhile too.
    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.by), signal).unwrap();
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // Whoever waits for an answer fails then.
        _ = self.by.kill();
        _ = self.by.wait();
        _ = std::process::Command::new("umount").arg("-l").arg(&self.at).status();
    }
}
