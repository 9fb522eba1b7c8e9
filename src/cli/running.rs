//! A server from its start to its end: signals, the server that comes after it, and systemd's watchdog.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use crate::control::Control;
use crate::life::notify::{self, News};
use crate::life::takeover::{Giver, Step};

/// Why a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was told to, and the sockets end with it.
    Told,
    /// Another process has the sockets.
    Replaced,
}

/// What goes on beside answering.
pub(crate) struct Events {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What the next server is given.
pub(crate) struct Estate {
    pub(crate) giver: Giver,
    pub(crate) descriptors: Vec<OwnedFd>,
}

impl Events {
    /// Catches the signals from now on.
    ///
    /// # Errors
    /// When there are no descriptors left for it.
    pub(crate) fn catch() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let context = runtime.enter();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hang_up = signal(SignalKind::hangup())?;
        drop(context);
        Ok(Self { runtime, terminate, interrupt, hang_up })
    }

    /// Waits for SIGTERM or SIGINT, or until the next server has taken over; each SIGHUP on the way is a rescan.
    ///
    /// `is_whole` says whether every thread is at work, `address` is one that is listened on.
    pub(crate) fn follow(
        self,
        control: &Control,
        estate: Option<Estate>,
        address: Option<SocketAddr>,
        is_whole: impl Fn() -> bool,
    ) -> End {
        let Self { runtime, mut terminate, mut interrupt, mut hang_up } = self;
        // While the next server has the sockets, they are not ours to close.
        let is_given = Cell::new(false);
        let tell = |step: Step| {
            is_given.set(matches!(step, Step::Given | Step::Ready));
            match step {
                Step::Given => info!("the next server has the sockets; answering until it does"),
                Step::Ready => info!("the next server answers"),
                Step::Gone => warn!("the next server ended before it answered; nothing has changed"),
                Step::Failed(error) => warn!("the next server could not be given the sockets: {error}"),
            }
        };
        let end = runtime.block_on(async {
            let give = async {
                match &estate {
                    Some(estate) => estate.giver.give(&estate.descriptors, tell).await,
                    None => std::future::pending().await,
                }
            };
            tokio::pin!(give);
            let alive = tell_alive(address, is_whole);
            tokio::pin!(alive);
            loop {
                tokio::select! {
                    _ = terminate.recv() => return End::Told,
                    _ = interrupt.recv() => return End::Told,
                    () = &mut give => return End::Replaced,
                    () = &mut alive => {}
                    _ = hang_up.recv() => control.rescan(),
                }
            }
        });
        match (end, is_given.get()) {
            (End::Told, false) => {
                if let Some(estate) = estate {
                    estate.giver.remove();
                }
                End::Told
            }
            _ => End::Replaced,
        }
    }
}

/// Tells systemd's watchdog that the server is alive, as long as it is; never ends.
async fn tell_alive(address: Option<SocketAddr>, is_whole: impl Fn() -> bool) {
    let (Some(every), Some(address)) = (notify::watchdog(), address) else { return std::future::pending().await };
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if !is_whole() {
            warn!("a thread has ended: systemd is not told that the server is alive");
        } else if answers(address, every).await {
            notify::tell(News::Alive);
        } else {
            warn!("{address} does not answer: systemd is not told that the server is alive");
        }
    }
}

/// Whether a query through the real socket gets any response.
async fn answers(address: SocketAddr, patience: Duration) -> bool {
    let (local, loopback): (IpAddr, IpAddr) = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()),
    };
    let to = if address.ip().is_unspecified() { loopback } else { address.ip() };
    let asked = async {
        let socket = UdpSocket::bind((local, 0)).await?;
        socket.connect((to, address.port())).await?;
        socket.send(QUERY).await?;
        socket.recv(&mut [0; 12]).await
    };
    matches!(timeout(patience, asked).await, Ok(Ok(12..)))
}

/// `invalid. A`: never forwarded, whatever the settings (RFC 6761 §6.4).
const QUERY: &[u8] = b"\0\x01\0\0\0\x01\0\0\0\0\0\0\x07invalid\0\0\x01\0\x01";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_answers_or_it_does_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = server.local_addr().unwrap();
            let respond = async {
                let mut query = [0; 512];
                let (length, from) = server.recv_from(&mut query).await.unwrap();
                server.send_to(&query[..length], from).await.unwrap();
            };
            assert!(tokio::join!(answers(address, Duration::from_secs(10)), respond).0);
            assert!(!answers(address, Duration::from_millis(20)).await, "nobody responds");
        });
    }
}
