//! A small disk, to be filled. Mounting one needs root.

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
