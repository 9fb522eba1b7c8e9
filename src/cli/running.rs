//! A server from its start to its end: signals, the server that comes after it, and systemd's watchdog.

use std::cell::Cell;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::control::Control;
use crate::life::notify::{self, News};
use crate::life::takeover::{Giver, Step};
use crate::serve;

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
        } else if serve::probe(address, every).await.is_ok() {
            notify::tell(News::Alive);
        } else {
            warn!("{address} does not answer: systemd is not told that the server is alive");
        }
    }
}
