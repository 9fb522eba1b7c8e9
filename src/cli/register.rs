//! `spacedns register`, `deregister` and `drain`: one instance, by one file, and a receipt for whoever wants one.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::Value;

use super::args::InDirectory;
use super::config::HiArgs;
use super::registration::{
    DetailArgs, InstanceArgs, Manner, Meant, Registration, UnderArgs, address, put, remove, shown,
};
use super::server::{self, Server, ServerArgs, WAIT, Waited, patience};
use super::{FAILURE, TIMED_OUT, complain};
use crate::control::{Contents, Hash};

/// What to register.
#[derive(Debug, Args)]
pub(crate) struct Register {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Where it is reached; may be repeated
    #[arg(long = "address", value_name = "ADDRESS", required = true, value_parser = address)]
    addresses: Vec<IpAddr>,
    #[command(flatten)]
    details: DetailArgs,
    /// Whether it takes traffic: up, starting, draining or down [default: up]
    #[arg(long, value_name = "STATE", value_parser = PossibleValuesParser::new(["up", "starting", "draining", "down"]), hide_possible_values = true)]
    state: Option<String>,
    /// Forget it unless the file is written or touched every so often, as in 30s [default: it holds until the file goes]
    #[arg(long, value_name = "TIME")]
    lease: Option<String>,
    #[command(flatten)]
    pub(super) directory: InDirectory,
    #[command(flatten)]
    under: UnderArgs,
    #[command(flatten)]
    wait: Waiting,
}

/// Which registration to end, or to end soon.
#[derive(Debug, Args)]
pub(crate) struct Registered {
    #[command(flatten)]
    instance: InstanceArgs,
    #[command(flatten)]
    pub(super) directory: InDirectory,
    #[command(flatten)]
    under: UnderArgs,
    #[command(flatten)]
    wait: Waiting,
}

/// Whether to wait, and whom to ask.
#[derive(Debug, Args)]
struct Waiting {
    /// Return when it is done; exit 3 when the server has not said so after this time [default of the time: 30s]. What `drain` waits
    /// for old answers to run out comes on top
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = WAIT, value_parser = patience)]
    wait: Option<Duration>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Registers an instance.
///
/// # Errors
///
/// The server would not take it, or it cannot be written.
pub(crate) fn register(args: &HiArgs, register: &Register) -> Result<ExitCode, Box<dyn Error>> {
    let mut registration = Registration::new(&register.instance, register.addresses.clone(), &register.details);
    registration.state.clone_from(&register.state);
    registration.lease.clone_from(&register.lease);
    let (octets, meant) = match registration.octets() {
        Ok(written) => written,
        Err(faults) => return Ok(faults.tell()),
    };
    let file = meant.file(&register.under);
    put(&args.dir, &file, &octets, Manner::Replace).map_err(|error| unwritten(&args.dir, &file, &error))?;
    writeln!(io::stdout(), "{}", shown(&args.dir, &file).display())?;
    let served = |_| ExitCode::SUCCESS;
    receive(args, &register.wait, &file, Contents::Octets(Hash::of(&octets)), served)
}

/// Removes a registration.
///
/// # Errors
///
/// There is none, or it cannot be removed.
pub(crate) fn deregister(args: &HiArgs, registered: &Registered) -> Result<ExitCode, Box<dyn Error>> {
    let file = match Meant::of(&registered.instance) {
        Ok(meant) => meant.file(&registered.under),
        Err(faults) => return Ok(faults.tell()),
    };
    remove(&args.dir, &file).map_err(|error| unfound(&args.dir, &file, &error))?;
    receive(args, &registered.wait, &file, Contents::Gone, |_| ExitCode::SUCCESS)
}

/// Takes an instance out of the answers, and leaves it its own name.
///
/// # Errors
///
/// There is no registration, or it cannot be written.
pub(crate) fn drain(args: &HiArgs, registered: &Registered) -> Result<ExitCode, Box<dyn Error>> {
    let file = match Meant::of(&registered.instance) {
        Ok(meant) => meant.file(&registered.under),
        Err(faults) => return Ok(faults.tell()),
    };
    let octets = fs::read(args.dir.join(&file)).map_err(|error| unfound(&args.dir, &file, &error))?;
    let octets = draining(&octets).map_err(|why| format!("{}: {why}", shown(&args.dir, &file).display()))?;
    put(&args.dir, &file, &octets, Manner::Replace).map_err(|error| unwritten(&args.dir, &file, &error))?;
    receive(args, &registered.wait, &file, Contents::Octets(Hash::of(&octets)), |outlived| {
        std::thread::sleep(outlived);
        ExitCode::SUCCESS
    })
}

/// The same registration, draining.
pub(crate) fn draining(octets: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    Meant::read(octets)?;
    let mut document: Value = serde_json::from_slice(octets)?;
    let keys = document.as_object_mut().ok_or("it is no registration")?;
    keys.insert("state".to_owned(), "draining".into());
    let mut octets = serde_json::to_vec_pretty(&document)?;
    octets.push(b'\n');
    Ok(octets)
}

/// Waits for the receipt, if one is wanted; then `served` is told how long caches may keep what was there before.
fn receive(
    args: &HiArgs,
    waiting: &Waiting,
    file: &str,
    contents: Contents,
    served: impl FnOnce(Duration) -> ExitCode,
) -> Result<ExitCode, Box<dyn Error>> {
    let Some(patience) = waiting.wait else { return Ok(ExitCode::SUCCESS) };
    let server = Server::choose(&waiting.server, args)?;
    let waited = server::runtime()?.block_on(server::wait(&server, file, contents, patience))?;
    Ok(match waited {
        Waited::Served { outlived } => served(outlived),
        unserved => tell(&args.dir, &unserved),
    })
}

/// Says why there was no receipt.
pub(crate) fn tell(dir: &Path, waited: &Waited) -> ExitCode {
    match waited {
        Waited::Served { .. } => ExitCode::SUCCESS,
        Waited::Rejected(faults) => {
            let mut code = ExitCode::from(FAILURE);
            for fault in faults {
                code = complain(&shown(dir, fault).to_string_lossy(), FAILURE);
            }
            code
        }
        Waited::TimedOut(why) => complain(&format!("waited in vain: {why}"), TIMED_OUT),
    }
}

fn unwritten(dir: &Path, file: &str, error: &io::Error) -> String {
    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
        return format!("{}: there is no such spec directory; name another with -C DIR", dir.display());
    }
    format!("{}: cannot be written: {error}", shown(dir, file).display())
}

fn unfound(dir: &Path, file: &str, error: &io::Error) -> String {
    let place = shown(dir, file);
    let place = place.display();
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!(
                "{place}: no such registration; what is registered in another file is changed there, another directory is named with -C DIR"
            )
        }
        _ => format!("{place}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draining_changes_the_state_and_keeps_the_rest() {
        let text = r#"{"component": "web", "app": "shop", "number": 1, "ip": "10.0.0.1", "port": 80, "lease": "1m"}"#;
        let octets = draining(text.as_bytes()).unwrap();
        let (before, after) = (Meant::read(text.as_bytes()).unwrap(), Meant::read(&octets).unwrap());
        assert_eq!(after.instance.state, crate::spec::State::Draining);
        let state = before.instance.state;
        assert_eq!(Meant { instance: crate::spec::InstanceSpec { state, ..after.instance }, ..after }, before);
        assert_eq!(draining(&octets).unwrap(), octets);
        assert!(draining(b"[]").is_err());
    }
}
