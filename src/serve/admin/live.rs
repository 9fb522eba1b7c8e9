//! `/livez`: whether queries are answered, by asking one through the socket that clients ask through.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hyper::StatusCode;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::Sources;
use super::pages::{Refusal, Reply, text};

pub(super) async fn page(sources: &Sources) -> Result<Reply, Refusal> {
    match timeout(PATIENCE, ask(sources.dns)).await {
        Ok(Ok(())) => Ok(text(StatusCode::OK, "live")),
        Ok(Err(error)) => {
            Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, format!("no query can be asked: {error}").into()))
        }
        Err(_) => Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, "a query was not answered within a second".into())),
    }
}

/// Asks one query; any response will do, for who may ask this here is not what is asked.
async fn ask(dns: SocketAddr) -> io::Result<()> {
    let dns = reachable(dns);
    let any: IpAddr = if dns.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(dns).await?;
    socket.send(&QUERY).await?;
    let mut response = [0; 512];
    loop {
        let length = socket.recv(&mut response).await?;
        if response.get(..length).is_some_and(|response| response.starts_with(&ID)) {
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

/// How long a response may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// The socket is this query's alone, so any ID does.
const ID: [u8; 2] = *b"LV";

/// `localhost. IN A`: a special-use name (RFC 6761 §6.3), so nobody else is ever asked for it.
const QUERY: [u8; 27] = *b"LV\0\0\0\x01\0\0\0\0\0\0\x09localhost\0\0\x01\0\x01";
