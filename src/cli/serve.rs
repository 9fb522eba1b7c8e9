//! `spacedns serve`: configuration → bind everything → threads (design §5), then wait for signals.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use super::config::{Admin, HiArgs};
use super::{clock, identity, log, panics, upstreams};
use crate::observe::{Counters, FileGauges, QueryLog};
use crate::publish::Publisher;
use crate::serve::admin::{self, Listeners};
use crate::state::State;
use crate::zone::Snapshot;
use crate::{control, health, serve, watch};

/// Serves until a signal says stop.
///
/// # Errors
///
/// The directory is not there, an address cannot be had, a thread cannot be started.
pub(crate) fn run(args: HiArgs) -> Result<ExitCode, Box<dyn Error>> {
    // Looked at before anything starts: a slip in its name is better said than served.
    let listed = std::fs::read_dir(&args.dir).map(drop).map_err(|error| unreadable(&args.dir, &error));
    if let (Err(error), None) = (&listed, &args.state_dir) {
        return Err(format!("{error}; create it, or name another: spacedns serve DIR").into());
    }
    let root = std::path::absolute(&args.dir)?;
    let credentials = args.certificate.map(|files| serve::Credentials::load(&files.certificate, &files.key));
    let credentials = credentials.transpose()?;
    let secrets = identity::secrets(args.cookie_secret.as_deref())?;
    let sockets = serve::bind(&args.listen, args.workers)?.with_tls(&args.tls_listen)?.with_quic(&args.quic_listen)?;
    let (mut listeners, without) = listen_admin(args.admin)?;
    let ours = [sockets.addresses(), sockets.tls_addresses(), sockets.quic_addresses()].concat();
    let forward = upstreams::config(&args.upstream, &args.allow_private, &args.upstream_ca, &ours)?;
    log::start(args.log, clock::monotonic());
    panics::log(clock::monotonic());
    // Before anything says that it is ready: a signal that nobody waits for would end the process.
    let signals = Signals::catch()?;
    info!("answering on {} over UDP and TCP", list(&sockets.addresses()));
    for (addresses, transport) in [(sockets.tls_addresses(), "TLS"), (sockets.quic_addresses(), "QUIC")] {
        if !addresses.is_empty() {
            info!("answering on {} over {transport}", list(&addresses));
        }
    }
    for route in forward.iter().flat_map(|forward| forward.routes.all()) {
        let servers: Vec<SocketAddr> = route.servers.iter().map(|server| server.address).collect();
        info!("asking {} about foreign names below {}", list(&servers), route.zone);
    }
    match (listeners.address(), without) {
        (Some(address), _) => info!("saying how things stand at http://{address}/status"),
        (None, Some(why)) => warn!("no admin address: {why}"),
        (None, None) => {}
    }
    // Where the state directory is not there yet it is made when it is opened, and the socket after that.
    let (state, served) = args.state_dir.as_deref().map(State::open).unzip();
    if let Some(directory) = &args.state_dir {
        match listeners.add_socket(&directory.join(CONTROL_SOCKET)) {
            Ok(()) => info!("saying so on {} as well", directory.join(CONTROL_SOCKET).display()),
            Err(error) => warn!("no control socket: {error}"),
        }
    }
    info!("reading {}", root.display());

    let publisher = match (served.flatten(), listed) {
        (None, Err(error)) => {
            return Err(format!(
                "{error}, and there is no saved state to serve; create it, or name another: spacedns serve DIR"
            )
            .into());
        }
        (None, Ok(())) => Publisher::new(Snapshot::starting()),
        (Some(served), listed) => {
            let (apps, generation) = (served.apps.iter().count(), served.generation);
            info!(apps, generation, "ready: what was served before is served, until the directory is read");
            listed.unwrap_or_else(|error| warn!("{error}; what was served before stays until it can be"));
            Publisher::new(served)
        }
    };
    let query_log = QueryLog::start(args.query_log, |line| info!(target: log::QUERIES, "{line}"))?.map(Arc::new);
    let config = serve::Config {
        query_log,
        trust_subnet_from: args.trust_subnet_from,
        limits: args.limits,
        credentials,
        settings: args.settings,
        secrets: Some(secrets),
        forward,
    };
    let dns = sockets.addresses().first().copied();
    let subscriber = publisher.subscribe();
    let running = serve::start(sockets, config, subscriber.clone())?;
    let (control, inbox) = control::channel();
    let gauges = Arc::new(FileGauges::default());
    let settings = watch::Settings { root, tombstone: args.tombstone, removal_hold: args.removal_hold };
    // Counts whether or not there is anything to count, so that no metric comes and goes.
    let checking = Arc::new(Counters::default());
    let checks = args.health_checks.map(|policy| (policy, control::checks::checklist()));
    let (readiness, changes) = checks.map(|(policy, (list, changes))| ((policy, list), changes)).unzip();
    if let Some(changes) = changes {
        // It ends with the list, which is the owner task's.
        let counters = Arc::clone(&checking);
        health::start(changes, control.clone(), Box::new(clock::monotonic()), clock::seed(), counters)?;
        info!("carrying out the readiness checks of app specs");
    }
    let ends = (control.clone(), inbox);
    let owner = watch::start(settings, publisher, ends, Arc::clone(&gauges), clock::start(), readiness, state)?;
    let counters = running.counters().into_iter().chain([checking]);
    let metrics = serve::Metrics::new(counters, Arc::clone(&gauges), &subscriber);
    let sources = dns.filter(|_| !listeners.is_empty());
    let sources = sources.map(|dns| admin::Sources { control: control.clone(), subscriber, metrics, dns });
    let admin = sources.map(|sources| admin::start(listeners, sources)).transpose()?;

    signals.follow(&control);
    info!("stopping: what was asked is still answered");
    let totals = running.stop();
    drop(admin);
    control.stop();
    info!("counted: {totals}{gauges}");
    if owner.join().is_err() {
        error!("the owner task had ended before; changes were no longer served");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn unreadable(dir: &Path, error: &std::io::Error) -> String {
    let dir = dir.display();
    format!("{dir}: the spec directory cannot be read: {error}")
}

/// The name of the control socket in the state directory.
pub(super) const CONTROL_SOCKET: &str = "control.sock";

/// Takes the admin address; where it is left out, says why.
fn listen_admin(setting: Admin) -> Result<(Listeners, Option<String>), Box<dyn Error>> {
    let listeners = Listeners::default();
    match setting {
        Admin::Off => Ok((listeners, None)),
        Admin::At(address) => match listeners.with_tcp(address) {
            Ok(listeners) => Ok((listeners, None)),
            Err(error) => {
                Err(format!("{error}; --admin ADDRESS:PORT chooses another, --admin off does without").into())
            }
        },
        Admin::IfFree(address) => match listeners.with_tcp(address) {
            Ok(listeners) => Ok((listeners, None)),
            Err(error) => Ok((Listeners::default(), Some(format!("{error}; --admin ADDRESS:PORT chooses another")))),
        },
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The signals that are caught from now on.
struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let context = runtime.enter();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hang_up = signal(SignalKind::hangup())?;
        drop(context);
        Ok(Self { runtime, terminate, interrupt, hang_up })
    }

    /// Waits for SIGTERM or SIGINT; each SIGHUP on the way is a rescan.
    fn follow(self, control: &control::Control) {
        let Self { runtime, mut terminate, mut interrupt, mut hang_up } = self;
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = terminate.recv() => return,
                    _ = interrupt.recv() => return,
                    _ = hang_up.recv() => control.rescan(),
                }
            }
        });
    }
}
