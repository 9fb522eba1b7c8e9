//! Tells systemd what becomes of the server (`Type=notify`, `WatchdogSec=`), and takes the sockets that it passes on.
//!
//! Where systemd did not start the process, nothing here does anything.

use std::os::fd::OwnedFd;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Queries are answered, by this process: the one that systemd started may be another, whose sockets it took over.
    Ready,
    /// It was looked, and the server is well.
    Alive,
    /// The server is about to end.
    Stopping,
}

/// Whether systemd waits to be told (`NOTIFY_SOCKET`).
#[must_use]
pub fn is_wanted() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Tells systemd.
pub fn tell(news: News) {
    let told = match news {
        News::Ready => sd_notify::notify(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]),
        News::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
        News::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
    };
    if let Err(error) = told {
        tracing::warn!("systemd cannot be told: {error}; is NOTIFY_SOCKET in reach?");
    }
}

/// How often systemd has to hear that the server is alive: in half the time that it waits.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|patience| patience / 2)
}

/// The sockets that systemd passes on (`LISTEN_FDS`); to be called once, before anything else opens descriptors.
#[must_use]
pub fn sockets() -> Vec<OwnedFd> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        // What is neither stays open and is nobody's.
        let listener = passed.take_tcp_listener(index).ok().flatten().map(OwnedFd::from);
        sockets.extend(listener.or_else(|| passed.take_udp_socket(index).ok().flatten().map(OwnedFd::from)));
    }
    sockets
}
