//! Whether queries are answered, found out as a client would: by asking one through the real socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Why a query got no response.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// It could not be asked.
    #[error("no query can be asked: {0}")]
    Unasked(#[from] io::Error),
    /// Nobody responded in time.
    #[error("a query was not answered within {0:?}")]
    Unanswered(Duration),
}

/// Asks one query at `address`; any response will do, for who may ask this here is not what is asked.
///
/// # Errors
///
/// There is no response within `patience`, or the query cannot be sent.
pub async fn probe(address: SocketAddr, patience: Duration) -> Result<(), Silence> {
    let asked = timeout(patience, ask(reachable(address))).await;
    asked.map_err(|_| Silence::Unanswered(patience))?.map_err(Silence::from)
}

async fn ask(address: SocketAddr) -> io::Result<()> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    socket.send(&QUERY).await?;
    let mut response = [0; 512];
    loop {
        let length = socket.recv(&mut response).await?;
        if length >= HEADER_LENGTH && response.starts_with(&ID) {
            return Ok(());
        }
    }
}

/// An address at which whoever listens on `address` can be asked.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, v6.port()).into(),
        other => other,
    }
}

/// Octets of a header (RFC 1035 §4.1.1): what is shorter is no response.
const HEADER_LENGTH: usize = 12;

/// The socket is this query's alone, so any ID does.
const ID: [u8; 2] = *b"LV";

/// `localhost. IN A`: a special-use name (RFC 6761 §6.3) that no rule sends elsewhere, so nobody else is ever asked for it.
const QUERY: [u8; 27] = *b"LV\0\0\0\x01\0\0\0\0\0\0\x09localhost\0\0\x01\0\x01";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_answers_or_it_does_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = server.local_addr().unwrap();
            let respond = async {
                let mut query = [0; 512];
                let (length, from) = server.recv_from(&mut query).await.unwrap();
                server.send_to(&query[..length], from).await.unwrap();
            };
            assert!(tokio::join!(probe(address, Duration::from_secs(10)), respond).0.is_ok());
            let silence = probe(address, Duration::from_millis(20)).await;
            assert!(matches!(silence, Err(Silence::Unanswered(_))), "nobody responds");
        });
    }
}
