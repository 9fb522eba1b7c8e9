//! Sockets that somebody else bound: systemd, or the server before this one.
//!
//! A socket is told by what it is (UDP or TCP) and by its address, so whoever passes it on needs no names for it, and every address
//! that the configuration names finds what is there for it. Port 0 in the configuration is any port of that address.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use socket2::{Socket, Type};

/// Sockets that wait to be asked for by their addresses.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<(Type, SocketAddr, Socket)>,
}

impl Inherited {
    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Takes over descriptors. One that is no UDP socket and no listening TCP socket is closed.
    #[must_use]
    pub fn new(descriptors: impl IntoIterator<Item = OwnedFd>) -> Self {
        let sockets = descriptors.into_iter().map(Socket::from).filter_map(|socket| {
            let address = socket.local_addr().ok()?.as_socket()?;
            let kind = socket.r#type().ok()?;
            let is_open = kind == Type::DGRAM || kind == Type::STREAM && socket.is_listener().ok()?;
            is_open.then_some((kind, address, socket))
        });
        Self { sockets: sockets.collect() }
    }

    /// Whether there is nothing, or nothing any more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// The addresses that nobody asked for.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<_> = self.sockets.iter().map(|(_, address, _)| *address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Takes the listening socket at `address`.
    pub fn tcp(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let index = self.sockets.iter().position(|(kind, own, _)| *kind == Type::STREAM && is_at(*own, address))?;
        Some(self.sockets.remove(index).2.into())
    }

    /// Takes every UDP socket at `address`.
    pub(super) fn udp(&mut self, address: SocketAddr) -> Vec<Socket> {
        let wanted = |(kind, own, _): &mut (Type, SocketAddr, Socket)| *kind == Type::DGRAM && is_at(*own, address);
        self.sockets.extract_if(.., wanted).map(|(_, _, socket)| socket).collect()
    }
}

fn is_at(own: SocketAddr, asked: SocketAddr) -> bool {
    own.ip() == asked.ip() && (own.port() == asked.port() || asked.port() == 0)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::num::NonZeroUsize;

    use super::*;
    use crate::serve::bind;

    fn bind_two(listen: &str, inherited: &mut Inherited) -> crate::serve::Sockets {
        bind(&[listen.parse().unwrap()], NonZeroUsize::new(2).unwrap(), inherited).unwrap()
    }

    #[test]
    fn what_is_inherited_is_not_bound_again_and_every_socket_gets_a_worker() {
        let first = bind_two("127.0.0.1:0", &mut Inherited::none());
        let address = first.addresses()[0];
        let mut inherited = Inherited::new(first.duplicate().unwrap());
        let one = NonZeroUsize::MIN;
        let second = bind(&[address], one, &mut inherited).unwrap();
        assert!(inherited.is_empty());
        assert_eq!(second.listens[0].udp.len(), 2, "though one worker was asked for");
        let mut inherited = Inherited::new(first.duplicate().unwrap());
        let third = bind(&[address], one.saturating_add(3), &mut inherited).unwrap();
        assert_eq!(third.listens[0].udp.len(), 4);
    }

    #[test]
    fn workers_share_a_socket_that_cannot_be_bound_beside() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).unwrap();
        let mut inherited = Inherited::new([tcp.into(), udp.into()]);
        let sockets = bind_two(&address.to_string(), &mut inherited);
        assert_eq!(sockets.listens[0].udp.len(), 2);
    }

    #[test]
    fn what_is_missing_beside_an_inherited_socket_is_bound() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        let sockets = bind_two("127.0.0.1:0", &mut Inherited::new([udp.into()]));
        assert_eq!(sockets.addresses(), [address]);
        assert_eq!(sockets.listens[0].tcp.local_addr().unwrap(), address);
    }

    #[test]
    fn what_nobody_asks_for_is_listed_and_what_is_no_server_socket_is_closed() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        let address = tcp.local_addr().unwrap();
        let file = tempfile::tempfile().unwrap();
        let mut inherited = Inherited::new([tcp.into(), client.into(), file.into()]);
        assert_eq!(inherited.addresses(), [address]);
        assert!(inherited.tcp("127.0.0.2:0".parse().unwrap()).is_none());
        assert!(inherited.udp(address).is_empty());
        assert!(inherited.tcp("127.0.0.1:0".parse().unwrap()).is_some());
        assert!(inherited.is_empty());
    }
}
