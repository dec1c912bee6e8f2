//! What systemd is told: READY, STATUS, the watchdog's food, STOPPING. Without systemd every word goes nowhere.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager, if there is one.
#[derive(Debug, Clone, Copy, Default)]
pub struct ServiceManager;

impl ServiceManager {
    /// How often the watchdog must be fed at least; `None` where there is none.
    pub fn watchdog(self) -> Option<Duration> {
        sd_notify::watchdog_enabled()
    }

    /// The service is up.
    pub fn ready(self) {
        tell(&[NotifyState::Ready]);
    }

    /// The service goes down.
    pub fn stopping(self) {
        tell(&[NotifyState::Stopping]);
    }

    /// Feeds the watchdog.
    pub fn alive(self) {
        tell(&[NotifyState::Watchdog]);
    }

    /// One line for `systemctl status`.
    pub fn status(self, status: &str) {
        tell(&[NotifyState::Status(status)]);
    }
}

fn tell(words: &[NotifyState<'_>]) {
    let socket = std::env::var_os("NOTIFY_SOCKET");
    let told = match socket.as_ref().and_then(|socket| socket.as_bytes().strip_prefix(b"@")) {
        Some(name) => tell_abstract(name, words),
        None => sd_notify::notify(words),
    };
    if let Err(error) = told {
        tracing::debug!(%error, "the service manager was not told");
    }
}

/// Tells a service manager whose socket has no place in the file system (a container's, mostly): sd-notify knows no such.
fn tell_abstract(name: &[u8], words: &[NotifyState<'_>]) -> io::Result<()> {
    let text: String = words.iter().map(|word| format!("{word}\n")).collect();
    let socket = UnixDatagram::unbound()?;
    socket.send_to_addr(text.as_bytes(), &SocketAddr::from_abstract_name(name)?).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_manager_in_the_abstract_namespace_hears_every_word() {
        let name = format!("connvault-notify-{}", std::process::id());
        let heard = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        tell_abstract(name.as_bytes(), &[NotifyState::Ready, NotifyState::Status("up")]).unwrap();
        let mut buffer = [0; 64];
        let length = heard.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1\nSTATUS=up\n");
    }
}
