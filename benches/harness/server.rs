//! A server under test: a process of its own, with its log, its CPU time and its memory.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

/// The server that all of this is about, as it was built with the benchmark.
pub(crate) const SPACEDNS: &str = env!("CARGO_BIN_EXE_spacedns");

/// Where a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Core {
    /// On the one of whoever is measured.
    Server,
    /// On the one of the load.
    Load,
    /// Wherever there is room.
    Any,
}

impl Core {
    /// What stands before a command that is to run there.
    pub(crate) fn prefix(self) -> Vec<String> {
        let core = match self {
            Self::Server => "0",
            Self::Load if thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) => "1",
            Self::Load => "0",
            Self::Any => return Vec::new(),
        };
        ["taskset", "-c", core].map(str::to_owned).to_vec()
    }
}

/// A server at work; it ends with this.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddrV4,
    /// When it was started.
    pub(crate) begun: Instant,
    /// What it says: shown when it does not come up.
    log: NamedTempFile,
}

impl Server {
    /// Starts a command whose server will listen at `address`.
    ///
    /// # Errors
    ///
    /// It is not installed, or cannot be started: why.
    pub(crate) fn start(prefix: &[String], command: &[String], address: SocketAddrV4) -> Result<Self, String> {
        let program = command.first().ok_or("no command")?;
        let path = path();
        if !is_installed(program) {
            return Err(format!("{program} is not installed: not measured"));
        }
        let log = NamedTempFile::new().expect("a file of our own can be made");
        let words: Vec<&String> = prefix.iter().chain(command).collect();
        let reopen = || log.reopen().expect("it is there");
        let begun = Instant::now();
        let child = Command::new(words[0])
            .args(&words[1..])
            .env("PATH", path)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(reopen())
            .stderr(reopen())
            .spawn()
            .map_err(|error| format!("{}: {error}: not measured", words[0]))?;
        Ok(Self { child, address, begun, log })
    }

    /// Starts spacedns on a directory, without an admin address unless `more` gives one.
    pub(crate) fn spacedns(directory: &Path, core: Core, more: &[&str]) -> Self {
        let address = free_address();
        let command = spacedns(directory, address, more);
        Self::start(&core.prefix(), &command, address).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Waits until `is_ready` says so; yields how long that was from the start.
    ///
    /// # Errors
    ///
    /// It has ended, or takes too long: what it said.
    pub(crate) fn wait_until(&mut self, mut is_ready: impl FnMut(&Self) -> bool) -> Result<Duration, String> {
        while !is_ready(self) {
            let ended = !matches!(self.child.try_wait(), Ok(None));
            if ended || self.begun.elapsed() > START_MAX {
                let log = fs::read_to_string(self.log.path()).unwrap_or_default();
                let what = if ended { "has ended" } else { "does not come up" };
                return Err(format!("the server at {} {what}:\n{log}", self.address));
            }
            thread::sleep(LOOK);
        }
        let ready = self.begun.elapsed();
        // Else it was another who answered at this address.
        if matches!(self.child.try_wait(), Ok(None)) { Ok(ready) } else { Err("the server has ended".to_owned()) }
    }

    /// Waits until a server of ours is at rest: it scans its directory a second time 5 s after the first, and then seldom.
    pub(crate) fn settle(&self) {
        thread::sleep(SECOND_SCAN);
        let begun = Instant::now();
        let mut before = Duration::ZERO;
        while self.cpu().saturating_sub(before) > RESTING && begun.elapsed() < START_MAX {
            before = self.cpu();
            thread::sleep(QUIET);
        }
    }

    /// Octets in memory, those shared with others in part (PSS), of it and its children.
    pub(crate) fn pss(&self) -> f64 {
        let sizes = self.processes().into_iter().filter_map(|id| {
            let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().trim_end_matches(" kB").parse::<f64>().ok()
        });
        sizes.sum::<f64>() * 1024.0
    }

    /// Its threads and those of all below it that are wanted by their names, of those that are there now.
    pub(crate) fn threads(&self, is_wanted: impl Fn(&str) -> bool) -> Threads {
        let tasks =
            self.processes().into_iter().flat_map(|id| fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten());
        let is_wanted = |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| is_wanted(name.trim()));
        Threads(tasks.flatten().map(|task| task.path()).filter(is_wanted).map(|task| task.join("schedstat")).collect())
    }

    /// What all threads have spent that are there now.
    pub(crate) fn cpu(&self) -> Duration {
        self.threads(|_| true).cpu()
    }

    /// User and system time since the start, of threads that have ended too; to a hundredth of a second.
    pub(crate) fn cpu_since_start(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        // utime and stime are fields 14 and 15 (proc_pid_stat(5)); what stands behind the name begins with field 3.
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        // USER_HZ is 100 on every Linux that there is.
        Duration::from_millis(ticks * 10)
    }

    /// It and all below it.
    fn processes(&self) -> Vec<u32> {
        let mut found = Vec::new();
        let mut todo = vec![self.child.id()];
        while let Some(id) = todo.pop() {
            found.push(id);
            for task in fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten() {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                todo.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
        }
        found
    }
}

/// Some threads, by the files that tell what they spend.
pub(crate) struct Threads(Vec<PathBuf>);

impl Threads {
    /// What they have spent, to the nanosecond where they are asleep.
    pub(crate) fn cpu(&self) -> Duration {
        let spent = self.0.iter().filter_map(|file| {
            let text = fs::read_to_string(file).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(spent.sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Children first: NSD's parent would start them again, and Knot's leave nothing behind.
        for id in self.processes().into_iter().rev() {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).stderr(Stdio::null()).status();
        }
        let _ = self.child.wait();
    }
}

/// The command that serves a directory. The admin address is off where `more` does not say otherwise: the usual one may be another's.
pub(crate) fn spacedns(directory: &Path, address: SocketAddrV4, more: &[&str]) -> Vec<String> {
    let mut command = [SPACEDNS, "serve", &directory.display().to_string()].map(str::to_owned).to_vec();
    if !more.contains(&"--listen") {
        command.extend(["--listen".to_owned(), address.to_string()]);
    }
    if !more.contains(&"--admin") {
        command.extend(["--admin", "off"].map(str::to_owned));
    }
    command.extend(more.iter().map(|word| (*word).to_owned()));
    command
}

/// An address of loopback that is free, for TCP and for UDP: a server needs both, and the echo has UDP alone.
///
/// Two servers that share ports, as an upgrade needs, would both be at one that two of these had seen to be free. Who was given a port has
/// the abstract socket of its number until this process ends; the tests know it by the same name.
pub(crate) fn free_address() -> SocketAddrV4 {
    static RESERVED: Mutex<Vec<UnixDatagram>> = Mutex::new(Vec::new());
    for _ in 0..PORT_ATTEMPTS {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let Ok(SocketAddr::V4(address)) = listener.local_addr() else { continue };
        let name = format!("spacedns-test-port-{}", address.port());
        if UdpSocket::bind(address).is_ok()
            && let Ok(name) = unix::net::SocketAddr::from_abstract_name(name)
            && let Ok(reserved) = UnixDatagram::bind_addr(&name)
        {
            RESERVED.lock().unwrap_or_else(PoisonError::into_inner).push(reserved);
            return address;
        }
    }
    panic!("loopback has no port that is free for TCP and UDP");
}

pub(crate) fn is_installed(program: &str) -> bool {
    Path::new(program).is_absolute() || path().split(':').any(|folder| Path::new(folder).join(program).exists())
}

/// Where programs are, those of daemons too, which not every user's path has.
fn path() -> String {
    format!("{}:/usr/local/sbin:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// More than there are servers here.
const PORT_ATTEMPTS: u32 = 1_000;
/// Octets.
pub(crate) const MIB: f64 = 1_048_576.0;
/// How long a server may take to read its names.
const START_MAX: Duration = Duration::from_secs(600);
/// A while after the start, in which the second scan begins.
const SECOND_SCAN: Duration = Duration::from_millis(5_500);
/// Who spends no more CPU time than this in so long has nothing to do.
const RESTING: Duration = Duration::from_millis(3);
const QUIET: Duration = Duration::from_millis(300);
/// Between two looks at whether it is ready.
const LOOK: Duration = Duration::from_millis(1);
