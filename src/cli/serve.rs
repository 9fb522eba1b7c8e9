//! `spacedns serve`: configuration → bind everything → threads (design §5), then wait for signals.

use std::error::Error;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use super::config::HiArgs;
use super::{clock, log};
use crate::publish::Publisher;
use crate::zone::Snapshot;
use crate::{control, serve, watch};

/// Serves until a signal says stop.
///
/// # Errors
///
/// The directory is not there, an address cannot be had, a thread cannot be started.
pub(crate) fn run(args: HiArgs) -> Result<ExitCode, Box<dyn Error>> {
    // Looked at before anything starts: a slip in its name is better said than served.
    let listed = std::fs::read_dir(&args.dir);
    listed.map_err(|error| {
        let dir = args.dir.display();
        format!("{dir}: the spec directory cannot be read: {error}; create it, or name another: spacedns serve DIR")
    })?;
    let root = std::path::absolute(&args.dir)?;
    let sockets = serve::bind(&args.listen, args.workers)?;
    log::start(args.log);
    let addresses: Vec<String> = sockets.addresses().iter().map(ToString::to_string).collect();
    info!("answering on {} over UDP and TCP", addresses.join(", "));
    info!("reading {}", root.display());

    let publisher = Publisher::new(Snapshot::starting());
    let config = serve::Config { trust_subnet_from: args.trust_subnet_from, ..serve::Config::default() };
    let running = serve::start(sockets, config, &publisher.subscribe())?;
    let (control, inbox) = control::channel();
    let owner = watch::start(root, args.tombstone, publisher, (control.clone(), inbox), clock::start())?;

    follow_signals(&control)?;
    info!("stopping: what was asked is still answered");
    running.stop();
    control.stop();
    if owner.join().is_err() {
        error!("the owner task had ended before; changes were no longer served");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for SIGTERM or SIGINT; each SIGHUP on the way is a rescan.
fn follow_signals(control: &control::Control) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = hang_up.recv() => control.rescan(),
            }
        }
    })
}
