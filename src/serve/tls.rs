//! DNS over TLS (RFC 7858): the handshake, within limits; what follows is a [`Connection`] like any other.
//!
//! TLS 1.3 and 1.2, as rustls has them. Sessions are resumed by tickets, so that we keep nothing for clients that do not come back;
//! there is no early data, which could be replayed. Any server name a client wants is fine: the certificate is the one there is.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::{self, Ticketer};
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::certificate::Credentials;
use super::connection::Connection;
use super::phase::Phase;
use super::roster::Place;
use super::streams::Shared;
use crate::engine::Transport;
use crate::observe::{Event, Limit};

/// What TLS and QUIC shake hands by.
pub(super) struct Encryption {
    pub(super) credentials: Credentials,
    pub(super) acceptor: TlsAcceptor,
    pub(super) quic: Arc<QuicServerConfig>,
}

impl Encryption {
    pub(super) fn new(credentials: Credentials) -> io::Result<Self> {
        let acceptor = TlsAcceptor::from(Arc::new(settings(&credentials, b"dot")?));
        let quic = QuicServerConfig::try_from(settings(&credentials, b"doq")?).map_err(io::Error::other)?;
        Ok(Self { credentials, acceptor, quic: Arc::new(quic) })
    }
}

fn settings(credentials: &Credentials, protocol: &[u8]) -> io::Result<ServerConfig> {
    let mut settings = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        // QUIC takes 1.3 of these.
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(credentials.shown());
    settings.alpn_protocols = vec![protocol.to_vec()];
    settings.ticketer = Ticketer::new().map_err(io::Error::other)?;
    settings.max_early_data_size = 0;
    Ok(settings)
}

/// Shakes hands over a stream that was accepted, then answers on it.
pub(super) async fn converse(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    source: SocketAddr,
    place: Place,
    shared: Rc<Shared>,
) {
    let shaken = shared.shake(&place, Phase::quiet, acceptor.accept(stream)).await;
    match shaken {
        Some(Ok(Ok(stream))) => {
            // Its new place first, so that whoever waits for both rosters to be empty misses nobody.
            let settled = shared.let_in(source);
            drop(place);
            return Connection::new(stream, Transport::Tls, source, settled, Rc::clone(&shared)).run().await;
        }
        Some(Ok(Err(_))) => shared.counters.event(Event::HandshakeFailed, 1),
        Some(Err(_)) => shared.counters.limit(Limit::Handshake, 1),
        None => {}
    }
    shared.counters.event(Event::Closed, 1);
}
