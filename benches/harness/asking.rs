//! One question after the other: what a server answers right now.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// A socket that asks one server, and takes only the response to its last query.
pub(crate) struct Asker {
    socket: UdpSocket,
    id: u16,
}

impl Asker {
    /// Waits so long for a response.
    pub(crate) fn new(server: SocketAddr, patience: Duration) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        socket.connect(server).expect("loopback is there");
        socket.set_read_timeout(Some(patience)).expect("it is not zero");
        Self { socket, id: 0 }
    }

    /// The response, if one comes.
    pub(crate) fn ask(&mut self, name: &str, rtype: u16) -> Option<Vec<u8>> {
        self.id = self.id.wrapping_add(1);
        let mut query = query(name, rtype, Edns::No);
        query.splice(..2, self.id.to_be_bytes());
        self.socket.send(&query).ok()?;
        let mut response = vec![0; 1500];
        loop {
            match self.socket.recv(&mut response) {
                // Late responses to earlier queries are passed over.
                Ok(length) if response.starts_with(&self.id.to_be_bytes()) => {
                    response.truncate(length);
                    return Some(response);
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// Whether an A record of the name holds this address.
    pub(crate) fn finds(&mut self, name: &str, address: Ipv4Addr) -> bool {
        let rdata = [&[0, 4][..], &address.octets()].concat();
        self.ask(name, 1).is_some_and(|response| response.windows(rdata.len()).any(|octets| octets == rdata))
    }
}

/// Whether a query says that it can EDNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edns {
    /// With an OPT record for 1232 octets (RFC 6891).
    Yes,
    /// As glibc and musl ask.
    No,
}

/// A query with message ID 0.
pub(crate) fn query(name: &str, rtype: u16, edns: Edns) -> Vec<u8> {
    let mut query = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns == Edns::Yes)];
    for label in name.split('.').chain([""]) {
        query.push(u8::try_from(label.len()).expect("a label is short"));
        query.extend(label.as_bytes());
    }
    query.extend(rtype.to_be_bytes());
    query.extend([0, 1]);
    if edns == Edns::Yes {
        query.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    }
    query
}
