//! `spacedns run`: a container's entry point. Registers an instance, runs a command, keeps the lease, and leaves with it.
//!
//! The command is what matters: once it runs, nothing that happens to the spec directory or to the server ends it. What
//! cannot be written is said once and tried again at the next renewal. The registration has a lease, so that whatever kills
//! this process kills the registration too.
//!
//! As the first process of a container it has that process's two duties: signals are handed on, and orphans are reaped. So
//! children are waited for here and not by tokio, which would wait for its own only.
//!
//! - `claim`: the file, the number, and everything that is written.
//! - `address`: which address of this machine is meant.

mod address;
mod claim;

use std::error::Error;
use std::ffi::OsString;
use std::future::{pending, poll_fn};
use std::io::{self, IsTerminal};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::process::{Command, ExitCode};
use std::task::Poll;
use std::time::Duration;

use clap::Args;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::signal::unix::{self, SignalKind};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use self::claim::Claim;
use super::args::InDirectory;
use super::config::HiArgs;
use super::env::variables;
use super::registration::{DetailArgs, InstanceArgs, Registration, UnderArgs};
use super::server::{self, Server, ServerArgs, WAIT, Waited, patience};
use super::{FAILURE, clock, complain, survey};
use crate::control::{Contents, Hash};

/// What to run, and as whom.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The app
    #[arg(value_name = "APP")]
    app: String,
    /// The component, or process type
    #[arg(value_name = "COMPONENT")]
    component: String,
    /// Be this one of them [default: the lowest number that is free]
    #[arg(long, value_name = "NUMBER", value_parser = super::registration::number)]
    number: Option<u32>,
    /// Where it is reached; may be repeated [default: the private address of this machine]
    #[arg(long = "address", value_name = "ADDRESS", conflicts_with = "interface", value_parser = super::registration::address)]
    addresses: Vec<IpAddr>,
    /// Be reached at the private address of this interface
    #[arg(long, value_name = "INTERFACE")]
    interface: Option<String>,
    /// With a --port, it takes no traffic before the command listens on the first one
    #[command(flatten)]
    details: DetailArgs,
    /// How long to be believed alive after the last sign of life; one is given three times as often
    #[arg(long, value_name = "TIME", default_value = "30s")]
    lease: String,
    /// Before a signal to end is handed on, wait until no cache holds the address any more; at most this time
    /// [default of the time: 30s]
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = WAIT, value_parser = patience)]
    drain: Option<Duration>,
    #[command(flatten)]
    pub(super) directory: InDirectory,
    #[command(flatten)]
    under: UnderArgs,
    #[command(flatten)]
    server: ServerArgs,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", required = true, last = true)]
    command: Vec<OsString>,
}

/// Runs the command; the exit code is its own, or 128 and the number of the signal that ended it. 125 says that it did not come to
/// that, 126 and 127 that there is no such command.
pub(crate) fn run(args: &HiArgs, run: &Run) -> ExitCode {
    match begin(args, run) {
        Ok(Ok(begun)) => begun.go(args, &run.command),
        Ok(Err(code)) => code,
        Err(error) => complain(&error.to_string(), NOT_BEGUN),
    }
}

/// What is there before the command runs.
struct Begun {
    claim: Claim,
    /// Where the command listens once it takes traffic.
    listens: Option<SocketAddr>,
    server: Option<Server>,
    drain: Option<Duration>,
}

fn begin(args: &HiArgs, run: &Run) -> Result<Result<Begun, ExitCode>, Box<dyn Error>> {
    let addresses =
        if run.addresses.is_empty() { vec![address::choose(run.interface.as_deref())?] } else { run.addresses.clone() };
    let port = run.details.ports.first().map(|port| port.number);
    let listens = addresses.first().copied().zip(port).map(SocketAddr::from);
    let number = run.number.unwrap_or(1);
    let instance = InstanceArgs { app: run.app.clone(), component: run.component.clone(), number };
    let mut registration = Registration::new(&instance, addresses, &run.details);
    registration.lease = Some(run.lease.clone());
    registration.state = listens.map(|_| "starting".to_owned());
    if let Err(faults) = registration.octets() {
        faults.tell();
        return Ok(Err(ExitCode::from(NOT_BEGUN)));
    }
    let claim = match run.number {
        Some(_) => Claim::of_this(&args.dir, &run.under, registration)?,
        None => Claim::of_lowest(&args.dir, &run.under, registration, clock::start()().wall)?,
    };
    // Without a server everything goes on, but for the waiting.
    let server = Server::choose(&run.server, args).ok();
    Ok(Ok(Begun { claim, listens, server, drain: run.drain }))
}

impl Begun {
    fn go(mut self, args: &HiArgs, command: &[OsString]) -> ExitCode {
        let code = match self.start(args, command) {
            Ok((runtime, signals, child)) => runtime.block_on(self.follow(child, signals)),
            Err(error) => {
                let code = if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
                let program = command.first().map(|program| program.display().to_string()).unwrap_or_default();
                complain(&format!("{program}: cannot be run: {error}"), code);
                code
            }
        };
        self.claim.leave();
        ExitCode::from(code)
    }

    fn start(&self, args: &HiArgs, command: &[OsString]) -> io::Result<(Runtime, Signals, Pid)> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::NotFound)?;
        let runtime = server::runtime()?;
        let entered = runtime.enter();
        // Before the child is there: nothing that happens to it may be missed.
        let signals = Signals::catch()?;
        drop(entered);
        let child = Command::new(program).args(arguments).envs(self.variables(args)).spawn()?;
        let child = i32::try_from(child.id()).map_err(io::Error::other)?;
        Ok((runtime, signals, Pid::from_raw(child)))
    }

    /// The variables that an instance has, and its port as programs expect to be told it.
    fn variables(&self, args: &HiArgs) -> Vec<(&'static str, String)> {
        let meant = self.claim.meant();
        let address = meant.instance.addresses.first().copied();
        // Without a directory that can be read, the command runs without them.
        let survey = survey(args, "run -C DIR").ok();
        let known = survey.and_then(|survey| variables(&survey.registry, self.claim.file(), meant, address));
        let mut variables = known.unwrap_or_default();
        variables.extend(self.listens.map(|listens| ("PORT", listens.port().to_string())));
        variables
    }

    /// Stands by the command until it ends; its exit code.
    async fn follow(&mut self, child: Pid, signals: Signals) -> u8 {
        let Signals { child: mut changed, mut handed } = signals;
        let mut renewals = interval((self.claim.lease() / RENEWALS).max(RENEWAL_MIN));
        renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut listening: Doing = Box::pin(listening(self.listens));
        let mut receipt: Doing = match self.listens {
            Some(_) => Box::pin(pending()),
            None => self.tell_if_unserved(self.claim.hash()),
        };
        let mut outlived: Doing = Box::pin(pending());
        let mut ending = None;
        loop {
            tokio::select! {
                _ = changed.recv() => {
                    if let Some(code) = reap(child) {
                        return code;
                    }
                }
                signal = next(&mut handed) => {
                    let is_first = ending.is_none();
                    if ENDING.contains(&signal) && is_first {
                        ending = Some(signal);
                        listening = Box::pin(pending());
                        let hash = self.claim.change("draining");
                        if let Some(patience) = self.drain {
                            outlived = self.outlived(hash, patience);
                            continue;
                        }
                    }
                    hand_on(child, signal);
                }
                () = &mut outlived => {
                    outlived = Box::pin(pending());
                    if let Some(signal) = ending {
                        hand_on(child, signal);
                    }
                }
                () = &mut listening => {
                    listening = Box::pin(pending());
                    if let Some(hash) = self.claim.change("up") {
                        receipt = self.tell_if_unserved(hash);
                    }
                }
                () = &mut receipt => receipt = Box::pin(pending()),
                _ = renewals.tick() => self.claim.renew(),
            }
        }
    }

    /// Says it, when the server does not serve what was written.
    fn tell_if_unserved(&self, hash: Hash) -> Doing {
        let Some(server) = self.server.clone() else { return Box::pin(pending()) };
        let file = self.claim.file().to_owned();
        Box::pin(async move {
            match server::wait(&server, &file, Contents::Octets(hash), RECEIPT_TIME).await {
                Ok(Waited::Served { .. }) => {}
                Ok(Waited::Rejected(faults)) => faults.iter().for_each(|fault| _ = complain(fault, FAILURE)),
                Ok(Waited::TimedOut(why)) => {
                    complain(&format!("the command runs, and may not be known yet: {why}"), FAILURE);
                }
                Err(error) => _ = complain(&error.to_string(), FAILURE),
            }
        })
    }

    /// Waits until no cache holds the address, or for as long as `patience` says.
    fn outlived(&self, hash: Option<Hash>, patience: Duration) -> Doing {
        let file = self.claim.file().to_owned();
        let server = self.server.clone();
        Box::pin(async move {
            let (Some(server), Some(hash)) = (server, hash) else { return };
            let outlived = async {
                match server::wait(&server, &file, Contents::Octets(hash), patience).await {
                    Ok(Waited::Served { outlived }) => sleep(outlived).await,
                    Ok(Waited::Rejected(faults)) => faults.iter().for_each(|fault| _ = complain(fault, FAILURE)),
                    Ok(Waited::TimedOut(why)) => _ = complain(&format!("not known to be drained: {why}"), FAILURE),
                    Err(error) => _ = complain(&error.to_string(), FAILURE),
                }
            };
            let _ = timeout(patience, outlived).await;
        })
    }
}

/// Something that is done beside following the command.
type Doing = Pin<Box<dyn Future<Output = ()>>>;

/// Waits until something listens there; for ever, if that is nowhere.
async fn listening(address: Option<SocketAddr>) {
    let Some(address) = address else { return pending().await };
    while !matches!(timeout(CONNECT_TIME, TcpStream::connect(address)).await, Ok(Ok(_))) {
        sleep(CONNECT_AGAIN).await;
    }
}

/// The signals that are caught from now on.
struct Signals {
    /// That a child has changed.
    child: unix::Signal,
    /// Those that are handed on.
    handed: Vec<(Signal, unix::Signal)>,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        // A terminal has sent its own to the command as well.
        let of_terminal = if io::stdin().is_terminal() { &OF_TERMINAL[..] } else { &[] };
        let caught = |signal: &Signal| Ok((*signal, unix::signal(SignalKind::from_raw(*signal as i32))?));
        let handed = HANDED_ON.iter().filter(|signal| !of_terminal.contains(signal));
        Ok(Self { child: unix::signal(SignalKind::child())?, handed: handed.map(caught).collect::<io::Result<_>>()? })
    }
}

/// The next signal that is to be handed on.
async fn next(handed: &mut [(Signal, unix::Signal)]) -> Signal {
    poll_fn(|context| {
        for (signal, caught) in &mut *handed {
            if caught.poll_recv(context).is_ready() {
                return Poll::Ready(*signal);
            }
        }
        Poll::Pending
    })
    .await
}

fn hand_on(child: Pid, signal: Signal) {
    // A child that is gone is reaped in a moment.
    let _ = kill(child, signal);
}

/// Takes in every child that has ended, our own and orphans; the exit code of our own if it is among them.
fn reap(child: Pid) -> Option<u8> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(ended, status)) if ended == child => code = u8::try_from(status).ok(),
            Ok(WaitStatus::Signaled(ended, signal, _)) if ended == child => {
                code = Some(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX));
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return code,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return code,
        }
    }
}

/// The signals that are handed on.
const HANDED_ON: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];

/// Those that ask the command to end.
const ENDING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT];

/// Those that a terminal sends to whoever runs in it.
const OF_TERMINAL: [Signal; 2] = [Signal::SIGINT, Signal::SIGQUIT];

/// How often a lease is renewed before it would run out: two may be missed.
const RENEWALS: u32 = 3;

/// The shortest time between two renewals.
const RENEWAL_MIN: Duration = Duration::from_secs(1);

/// How long the server may take to serve what is written before somebody is told.
const RECEIPT_TIME: Duration = Duration::from_secs(30);

/// How long the command may take to accept a connection that asks whether it listens.
const CONNECT_TIME: Duration = Duration::from_secs(1);

/// How soon to ask again.
const CONNECT_AGAIN: Duration = Duration::from_millis(50);

/// The runner itself did not get as far as the command; as `env` and `timeout` say it.
const NOT_BEGUN: u8 = 125;
/// The command cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// There is no such command.
const NOT_FOUND: u8 = 127;
