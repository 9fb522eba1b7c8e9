//! Processes that a test starts, on loopback and ports of their own, and ends by their id when it is done with them.
#![allow(clippy::disallowed_methods, reason = "a test of a process runs on the clock that the process runs on")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as SocketName, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::message::Query;

/// How long anything may take that is waited for, on a machine that has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The built binary.
pub(crate) const SPACEDNS: &str = env!("CARGO_BIN_EXE_spacedns");

/// A name server process; it ends when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// What it says: shown when something goes wrong.
    log: tempfile::NamedTempFile,
    /// Given back after the process has ended.
    _port: Port,
}

impl Server {
    /// Serves a spec directory, with callers told by Client Subnet from loopback, and waits until it answers.
    pub(crate) fn spacedns(directory: &Path) -> Self {
        Self::spacedns_with(directory, &[])
    }

    /// The same, with further arguments.
    pub(crate) fn spacedns_with(directory: &Path, arguments: &[&str]) -> Self {
        Self::start(|port| {
            let mut command = Command::new(SPACEDNS);
            command.arg("serve").arg(directory).args(arguments);
            command.args(["--listen", &format!("127.0.0.1:{port}"), "--trust-subnet-from", "127.0.0.0/8"]);
            command.args(["--admin", "127.0.0.1:0"]);
            command
        })
    }

    /// Starts a name server on a free port and waits until it answers anything but SERVFAIL.
    ///
    /// A port that was free may be another program's by the time the server binds it: then the server ends, and is started on another.
    pub(crate) fn start(command: impl Fn(u16) -> Command) -> Self {
        let mut ended = String::new();
        for _ in 0..3 {
            match Self::start_on(Port::free(), &command) {
                Ok(server) => return server,
                Err(fault) => ended += &fault,
            }
        }
        panic!("{ended}");
    }

    /// Starts a name server on `port`; when it ends before it answers, gives its words.
    fn start_on(port: Port, command: impl Fn(u16) -> Command) -> Result<Self, String> {
        let log = tempfile::NamedTempFile::new().unwrap();
        let output = || Stdio::from(File::options().append(true).open(log.path()).unwrap());
        let mut command = command(port.number);
        let started = command.process_group(0).stdin(Stdio::null()).stdout(output()).stderr(output()).spawn();
        let child = started.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let address = (Ipv4Addr::LOCALHOST, port.number).into();
        let mut server = Self { child, address, log, _port: port };
        let query = Query::new("app.localspace", 6).octets();
        let ready = poll(PATIENCE, || {
            if let Some(status) = server.child.try_wait().unwrap() {
                return Some(Err(format!("{command:?} ended: {status}\n{}", server.log())));
            }
            server.ask(&query, Duration::from_millis(200)).filter(|response| response[3] & 15 != 2).map(|_| Ok(()))
        });
        match ready {
            Some(Ok(())) => Ok(server),
            Some(Err(ended)) => Err(ended),
            None => panic!("{command:?} does not answer:\n{}", server.log()),
        }
    }

    /// The process, for `/proc`.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Starts another process that is to take the place of this one, and waits until this one has ended, in order.
    pub(crate) fn replace(&mut self, mut command: Command) {
        let output = || Stdio::from(File::options().append(true).open(self.log.path()).unwrap());
        let mut next = command.process_group(0).stdin(Stdio::null()).stdout(output()).stderr(output()).spawn().unwrap();
        let ended = poll(PATIENCE, || {
            if let Some(status) = next.try_wait().unwrap() {
                return Some(Err(status));
            }
            self.child.try_wait().unwrap().map(Ok)
        });
        let is_well = matches!(ended, Some(Ok(status)) if status.success());
        assert!(is_well, "{ended:?}:\n{}", self.log());
        self.child = next;
    }

    /// Sends a signal, by its name.
    pub(crate) fn signal(&self, signal: &str) {
        let told = Command::new("sh").arg("-c").arg(format!("kill -s {signal} {}", self.child.id())).status();
        assert!(told.is_ok_and(|status| status.success()), "{signal}");
    }

    /// Asks the process to end and waits until it has; gives what it has written.
    pub(crate) fn end(mut self) -> String {
        self.signal("TERM");
        let ended = poll(PATIENCE, || self.child.try_wait().unwrap());
        assert!(ended.is_some_and(|status| status.success()), "{ended:?}:\n{}", self.log());
        self.log()
    }

    /// Where a server that [`spacedns`](Self::spacedns) started says how things stand.
    pub(crate) fn admin(&self) -> SocketAddr {
        let log = self.log();
        let (_, after) = log.split_once("http://").unwrap_or_else(|| panic!("no admin address:\n{log}"));
        after.split('/').next().unwrap().parse().unwrap()
    }

    /// Ends the process as a crash does, at once; gives what it has written.
    pub(crate) fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log()
    }

    /// What the process has written.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    /// One query over UDP; `None` when nothing comes in time.
    pub(crate) fn ask(&self, query: &[u8], patience: Duration) -> Option<Vec<u8>> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(self.address).unwrap();
        ask(&socket, query, patience)
    }

    /// One query over TCP; `None` when the connection ends, or nothing comes in time.
    pub(crate) fn ask_stream(&self, query: &[u8], patience: Duration) -> Option<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&self.address, patience).ok()?;
        stream.set_read_timeout(Some(patience)).unwrap();
        stream.write_all(&[&u16::try_from(query.len()).unwrap().to_be_bytes()[..], query].concat()).ok()?;
        let mut length = [0; 2];
        stream.read_exact(&mut length).ok()?;
        let mut response = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut response).ok()?;
        Some(response)
    }
}

impl Drop for Server {
    /// Ends the process and those that it started: NSD answers from children of its own.
    fn drop(&mut self) {
        let group = self.child.id();
        // Nobody may be left of the group: then there is nothing to say.
        let signal = |signal: &str| {
            let kill = format!("kill -s {signal} -- -{group} 2>/dev/null");
            Command::new("sh").arg("-c").arg(kill).status()
        };
        let _ = signal("TERM");
        let ended = poll(Duration::from_secs(2), || self.child.try_wait().ok().flatten());
        if ended.is_none() {
            let _ = signal("KILL");
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// One query over a connected socket; late responses to earlier queries are passed over.
pub(crate) fn ask(socket: &UdpSocket, query: &[u8], patience: Duration) -> Option<Vec<u8>> {
    let until = Instant::now() + patience;
    socket.send(query).ok()?;
    let mut response = vec![0; 65_535];
    loop {
        let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        socket.set_read_timeout(Some(left)).unwrap();
        let length = socket.recv(&mut response).ok()?;
        if length >= 12 && response[..2] == query[..2] {
            response.truncate(length);
            return Some(response);
        }
    }
}

/// Tries until there is something, or the time is up.
pub(crate) fn poll<T>(patience: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + patience;
    loop {
        if let Some(found) = attempt() {
            return Some(found);
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port that was free for both UDP and TCP, and is no other test's while this is held.
///
/// Servers share a port where another bound it so that it can be shared, as an upgrade needs. So a port that two tests had seen to be
/// free would be both servers', and each would answer some of the other's queries. Who has a port has the abstract socket of its
/// number, which is of one network namespace as ports are, and goes with the process. A port that any other program takes is
/// no port that a server can bind: then it ends, and says so.
pub(crate) struct Port {
    pub(crate) number: u16,
    _reserved: UnixDatagram,
}

impl Port {
    pub(crate) fn free() -> Self {
        let free = poll(PATIENCE, || {
            let stream = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
            let number = stream.local_addr().ok()?.port();
            UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
            let name = SocketName::from_abstract_name(format!("spacedns-test-port-{number}")).ok()?;
            Some(Self { number, _reserved: UnixDatagram::bind_addr(&name).ok()? })
        });
        free.expect("loopback has a free port")
    }
}

/// Writes a file as a careful program does: beside its place, then renamed into it.
pub(crate) fn drop_file(directory: &Path, path: &str, content: &str) {
    let place = directory.join(path);
    let parent = place.parent().unwrap();
    std::fs::create_dir_all(parent).unwrap();
    let beside = parent.join(format!(".{}.new", place.file_name().unwrap().to_str().unwrap()));
    std::fs::write(&beside, content).unwrap();
    std::fs::rename(beside, place).unwrap();
}

/// Whether a program is there; where `SPACEDNS_TEST_REQUIRE_PEERS` is set it has to be.
pub(crate) fn is_installed(program: &str) -> bool {
    let found = std::env::var_os("PATH")
        .is_some_and(|paths| std::env::split_paths(&paths).any(|path| path.join(program).is_file()))
        || Path::new("/usr/sbin").join(program).is_file();
    let required = std::env::var_os("SPACEDNS_TEST_REQUIRE_PEERS").is_some();
    assert!(found || !required, "{program} is not installed, and SPACEDNS_TEST_REQUIRE_PEERS is set");
    found
}
