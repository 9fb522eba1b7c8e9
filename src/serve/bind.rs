//! Binds every socket there is, in one place, before any thread exists: what fails here fails the start.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::holder::{self, Holder};
use super::inherited::Inherited;
use super::{batch, udp};

/// Bound sockets that nobody serves yet.
#[derive(Debug)]
pub struct Sockets {
    pub(super) listens: Vec<Listen>,
    pub(super) tls: Vec<TcpListener>,
    pub(super) quic: Vec<UdpSocket>,
}

/// The sockets of one listening address.
#[derive(Debug)]
pub(super) struct Listen {
    address: SocketAddr,
    /// One for each worker: the kernel spreads clients over them.
    pub(super) udp: Vec<UdpSocket>,
    pub(super) tcp: TcpListener,
}

impl Sockets {
    /// The addresses that are listened on, in the order they were asked for, with the ports that were got for port 0.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listens.iter().map(|listen| listen.address).collect()
    }

    /// Binds TCP on `addresses` as well, for DNS over TLS (RFC 7858), or takes what is inherited.
    ///
    /// # Errors
    /// At the first address that cannot be had; no socket stays bound then.
    pub fn with_tls(mut self, addresses: &[SocketAddr], inherited: &mut Inherited) -> Result<Self, BindError> {
        for &address in addresses {
            self.tls.push(tcp(address, inherited).map_err(BindError::on(address, "TLS"))?);
        }
        Ok(self)
    }

    /// Binds UDP on `addresses` as well, for DNS over QUIC (RFC 9250), or takes what is inherited.
    ///
    /// # Errors
    /// At the first address that cannot be had; no socket stays bound then.
    pub fn with_quic(mut self, addresses: &[SocketAddr], inherited: &mut Inherited) -> Result<Self, BindError> {
        for &address in addresses {
            self.quic.push(quic(address, inherited).map_err(BindError::on(address, "QUIC"))?);
        }
        Ok(self)
    }

    /// A second descriptor of each, for the server that will come after this one.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn duplicate(&self) -> io::Result<Vec<OwnedFd>> {
        let udp = self.listens.iter().flat_map(|listen| &listen.udp).chain(&self.quic);
        let tcp = self.listens.iter().map(|listen| &listen.tcp).chain(&self.tls);
        let udp = udp.map(|socket| socket.as_fd().try_clone_to_owned());
        udp.chain(tcp.map(|listener| listener.as_fd().try_clone_to_owned())).collect()
    }

    /// The addresses that TLS is listened on, as [`addresses`](Self::addresses) gives the others.
    #[must_use]
    pub fn tls_addresses(&self) -> Vec<SocketAddr> {
        self.tls.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// The addresses that QUIC is listened on.
    #[must_use]
    pub fn quic_addresses(&self) -> Vec<SocketAddr> {
        self.quic.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }
}

/// Binds UDP, a socket for each of `workers`, and TCP on every address, but for those that are `inherited`. Port 0 means any port
/// that both can have.
///
/// # Errors
/// At the first address that cannot be had; no socket stays bound then.
pub fn bind(listen: &[SocketAddr], workers: NonZeroUsize, inherited: &mut Inherited) -> Result<Sockets, BindError> {
    let listens = listen.iter().map(|address| bind_address(*address, workers, inherited)).collect::<Result<_, _>>()?;
    Ok(Sockets { listens, tls: Vec::new(), quic: Vec::new() })
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({protocol}): {reason}; {}", remedy(*.address, .reason, .holder.as_ref()))]
pub struct BindError {
    /// The address as it was asked for.
    pub address: SocketAddr,
    /// `UDP`, `TCP`, `TLS`, `QUIC` or `admin`.
    pub protocol: &'static str,
    /// What the system said.
    pub reason: io::Error,
    /// Who has the port already, as far as this process may see.
    pub holder: Option<Holder>,
}

impl BindError {
    pub(super) fn on(address: SocketAddr, protocol: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |reason| {
            let is_taken = reason.kind() == io::ErrorKind::AddrInUse;
            let transport = if matches!(protocol, "UDP" | "QUIC") { Protocol::UDP } else { Protocol::TCP };
            let holder = if is_taken { holder::of(address, transport) } else { None };
            Self { address, protocol, reason, holder }
        }
    }
}

fn remedy(address: SocketAddr, reason: &io::Error, holder: Option<&Holder>) -> String {
    match reason.kind() {
        io::ErrorKind::AddrInUse if holder.is_some() => {
            let holder = holder.map(ToString::to_string).unwrap_or_default();
            format!("{holder} has the port: stop it, or listen on one address or another port")
        }
        io::ErrorKind::AddrInUse if address.port() == 53 => {
            "another server has the port (systemd-resolved has 127.0.0.53:53): stop it, or listen on one address or another port"
                .to_owned()
        }
        io::ErrorKind::AddrInUse => {
            let port = address.port();
            format!("another process has the port, or it is given twice: `ss -lntup sport = :{port}` shows who, or choose another")
        }
        io::ErrorKind::PermissionDenied if (1..1024).contains(&address.port()) => {
            "ports below 1024 need root or CAP_NET_BIND_SERVICE: grant it, or choose a port from 1024 on".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this machine has that address: `ip address` lists those that one has".to_owned()
        }
        io::ErrorKind::Unsupported => "this machine has that address family turned off: leave the address out".to_owned(),
        _ if reason.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            "this machine has that address family turned off: leave the address out".to_owned()
        }
        _ if matches!(reason.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
            "too many open files: raise the limit (`ulimit -n`), or use fewer workers".to_owned()
        }
        _ => "choose another address".to_owned(),
    }
}

fn bind_address(asked: SocketAddr, workers: NonZeroUsize, inherited: &mut Inherited) -> Result<Listen, BindError> {
    if let Some(listen) = adopt(asked, workers, inherited) {
        return listen;
    }
    let mut attempts = if asked.port() == 0 { PORT_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match bind_both(asked, workers) {
            Err(error) if attempts > 0 && error.reason.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
}

/// TCP goes first: `SO_REUSEPORT` lets a second server of the same user take the UDP port too, and half of its queries.
/// A TCP port cannot be had twice.
fn bind_both(asked: SocketAddr, workers: NonZeroUsize) -> Result<Listen, BindError> {
    let tcp = bind_tcp(asked).map_err(BindError::on(asked, "TCP"))?;
    let address = tcp.local_addr().map_err(BindError::on(asked, "TCP"))?;
    let udp = (0..workers.get()).map(|_| bind_udp(address)).collect::<io::Result<_>>();
    Ok(Listen { address, udp: udp.map_err(BindError::on(asked, "UDP"))?, tcp })
}

/// Takes what is inherited of an address, and binds what is missing; `None` where nothing is.
fn adopt(asked: SocketAddr, workers: NonZeroUsize, inherited: &mut Inherited) -> Option<Result<Listen, BindError>> {
    let tcp = inherited.tcp(asked);
    let at = tcp.as_ref().and_then(|tcp| tcp.local_addr().ok()).unwrap_or(asked);
    let udp = inherited.udp(at);
    let at = udp.first().and_then(|udp| udp.local_addr().ok()?.as_socket()).unwrap_or(at);
    if tcp.is_none() && udp.is_empty() {
        return None;
    }
    let tcp = tcp.map_or_else(|| bind_tcp(at), |tcp| tcp.set_nonblocking(true).map(|()| tcp));
    let tcp = tcp.map_err(BindError::on(asked, "TCP"));
    Some(tcp.and_then(|tcp| {
        let udp = adopt_udp(udp, at, workers).map_err(BindError::on(asked, "UDP"))?;
        Ok(Listen { address: at, udp, tcp })
    }))
}

/// Every inherited UDP socket gets a worker, however many there are: the kernel gives each its share of the queries. Workers
/// beyond these get sockets of their own where the first allow that, and share one where not.
fn adopt_udp(inherited: Vec<Socket>, address: SocketAddr, workers: NonZeroUsize) -> io::Result<Vec<UdpSocket>> {
    let mut udp = Vec::new();
    for socket in inherited {
        socket.set_nonblocking(false)?;
        prepare_udp(&socket, address)?;
        udp.push(UdpSocket::from(socket));
    }
    let own = udp.len();
    while udp.len() < workers.get() {
        let shared: Option<&UdpSocket> = udp.get(udp.len().checked_rem(own).unwrap_or_default());
        let more = match (bind_udp(address), shared) {
            (Err(_), Some(shared)) => shared.try_clone(),
            (bound, _) => bound,
        };
        udp.push(more?);
    }
    Ok(udp)
}

/// Listens on an address over TCP, or takes what is inherited of it.
pub(super) fn tcp(address: SocketAddr, inherited: &mut Inherited) -> io::Result<TcpListener> {
    let Some(listener) = inherited.tcp(address) else { return bind_tcp(address) };
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn quic(address: SocketAddr, inherited: &mut Inherited) -> io::Result<UdpSocket> {
    inherited.udp(address).into_iter().next().map_or_else(|| bind_quic(address), |socket| Ok(socket.into()))
}

pub(super) fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(address, Type::STREAM, Protocol::TCP)?;
    // A restart need not wait for the connections of the server before it to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address, Type::DGRAM, Protocol::UDP)?;
    socket.set_reuse_port(true)?;
    prepare_udp(&socket, address)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// What a worker's socket needs, whoever bound it.
fn prepare_udp(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    // Attempts: the kernel gives as much as its limits (`net.core.rmem_max`) allow, and any amount works.
    socket.set_recv_buffer_size(BUFFER).or_else(ignore_refusal)?;
    socket.set_send_buffer_size(BUFFER).or_else(ignore_refusal)?;
    batch::ignore_path_mtu(socket, address)?;
    if address.ip().is_unspecified() {
        batch::report_local_address(socket, address)?;
    }
    socket.set_read_timeout(Some(udp::LOOK))
}

/// One socket, whose port nobody shares: packets of a connection must all come to the endpoint that knows it. The endpoint sets
/// what else it needs.
fn bind_quic(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address, Type::DGRAM, Protocol::UDP)?;
    socket.set_recv_buffer_size(BUFFER).or_else(ignore_refusal)?;
    socket.set_send_buffer_size(BUFFER).or_else(ignore_refusal)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn ignore_refusal(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::PermissionDenied { Ok(()) } else { Err(error) }
}

fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // `[::]` takes IPv6 only, so that `0.0.0.0` may stand beside it, and no IPv4 caller comes in IPv6's clothes.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Tries for a port that UDP and TCP can both have, when any will do.
const PORT_ATTEMPTS: usize = 16;

/// Connections that wait to be accepted: as many as may be open at once; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// Octets of socket buffers: 4 MiB hold some 5,000 queries, 10 ms at 500,000 a second.
const BUFFER: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NonZeroUsize = NonZeroUsize::MIN;

    fn bind_one(address: &str) -> Result<Sockets, BindError> {
        bind(&[address.parse().unwrap()], ONE, &mut Inherited::none())
    }

    #[test]
    fn udp_and_tcp_get_the_same_port() {
        let listen = ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
        let sockets = bind(&listen, ONE.saturating_add(2), &mut Inherited::none()).unwrap();
        for (listen, address) in sockets.listens.iter().zip(sockets.addresses()) {
            assert_ne!(address.port(), 0);
            assert_eq!(listen.tcp.local_addr().unwrap(), address);
            assert_eq!(listen.udp.len(), 3);
            for udp in &listen.udp {
                assert_eq!(udp.local_addr().unwrap(), address);
            }
        }
        assert!(sockets.addresses()[1].is_ipv6());
    }

    #[test]
    fn both_wildcards_stand_side_by_side() {
        let first = bind_one("0.0.0.0:0").unwrap();
        let port = first.addresses()[0].port();
        let second = bind_one(&format!("[::]:{port}")).unwrap();
        assert_eq!(second.addresses(), [format!("[::]:{port}").parse().unwrap()]);
    }

    #[test]
    fn a_port_that_is_taken_is_said_with_address_reason_and_remedy() {
        let first = bind_one("127.0.0.1:0").unwrap();
        let address = first.addresses()[0];
        let error = bind_one(&address.to_string()).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("cannot listen on {address} (TCP): Address already in use")), "{text}");
        assert!(text.contains(&format!("process {} (", std::process::id())), "{text}");
        drop(first);
        bind_one(&address.to_string()).unwrap();
    }

    #[test]
    fn an_address_of_another_machine_is_said_with_its_remedy() {
        let text = bind_one("192.0.2.1:0").unwrap_err().to_string();
        assert!(text.contains("no interface of this machine has that address"), "{text}");
    }

    #[test]
    fn each_refusal_has_its_remedy() {
        let remedy = |address: &str, code| remedy(address.parse().unwrap(), &io::Error::from_raw_os_error(code), None);
        assert!(remedy("0.0.0.0:53", libc::EACCES).contains("CAP_NET_BIND_SERVICE"));
        assert!(remedy("0.0.0.0:53", libc::EADDRINUSE).contains("systemd-resolved"));
        assert!(remedy("0.0.0.0:5300", libc::EADDRINUSE).contains("ss -lntup sport = :5300"));
        assert!(remedy("[::]:5300", libc::EAFNOSUPPORT).contains("family turned off"));
        assert!(remedy("[::]:5300", libc::EMFILE).contains("ulimit"));
        assert!(!remedy("0.0.0.0:5300", libc::EACCES).contains("1024"), "that is not why");
    }
}
