//! Stand-in.
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use ipnet::IpNet;

use crate::publish::Subscriber;

/// Stand-in.
#[derive(Debug)]
pub struct Sockets(Vec<std::net::UdpSocket>);
/// Stand-in.
#[derive(Debug, thiserror::Error)]
#[error("{address}: {error}")]
pub struct BindError {
    address: SocketAddr,
    error: io::Error,
}
/// Stand-in.
#[derive(Debug, Default, Clone)]
pub struct Config {
    /// Stand-in.
    pub trust_subnet_from: Vec<IpNet>,
    /// Stand-in.
    pub other: u8,
}
/// Stand-in.
#[derive(Debug)]
pub struct Running {
    _sockets: Sockets,
    _subscriber: Subscriber,
}
/// Stand-in.
///
/// # Errors
///
/// Stand-in.
pub fn bind(listen: &[SocketAddr], _workers: NonZeroUsize) -> Result<Sockets, BindError> {
    let bind = |&address| std::net::UdpSocket::bind(address).map_err(|error| BindError { address, error });
    Ok(Sockets(listen.iter().map(bind).collect::<Result<_, _>>()?))
}
impl Sockets {
    /// Stand-in.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }
}
/// Stand-in.
///
/// # Errors
///
/// Stand-in.
pub fn start(sockets: Sockets, _config: Config, subscriber: Subscriber) -> io::Result<Running> {
    Ok(Running { _sockets: sockets, _subscriber: subscriber })
}
impl Running {
    /// Stand-in.
    pub fn stop(self) {}
}
