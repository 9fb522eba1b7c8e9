//! What `--upstream` and its kin come to: files are read, and our own addresses are kept out.

use std::error::Error;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;

use crate::forward::{Channel, Config, Routes, Setting};
use crate::name::{Name, NameError};

/// A zone, as people write it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Zone(pub(crate) Name);

impl FromStr for Zone {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.parse().map(Self)
    }
}

impl TryFrom<String> for Zone {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

/// How to forward; not at all where no upstream is named. `ours` are the addresses that we listen on.
///
/// # Errors
/// When a file cannot be read, or an upstream is ourselves.
pub(crate) fn config(
    upstream: &[Setting],
    allow_private: &[Zone],
    authorities: &Path,
    ours: &[SocketAddr],
) -> Result<Option<Config>, Box<dyn Error>> {
    if upstream.is_empty() {
        return Ok(None);
    }
    let routes = Routes::new(upstream, |path| fs::read_to_string(path), |address| is_ours(address, ours))?;
    let mut config = Config::new(routes);
    config.allow_private = allow_private.iter().map(|Zone(name)| name.clone()).collect();
    let mut servers = config.routes.all().iter().flat_map(|route| &route.servers);
    if servers.any(|server| matches!(server.channel, Channel::Tls(_))) {
        config.authorities = fs::read(authorities).map_err(|error| {
            let file = authorities.display();
            format!(
                "{file}: cannot be read: {error}; name the certificates to trust for tls:// with --upstream-ca FILE"
            )
        })?;
    }
    Ok(Some(config))
}

/// Whether we answer at `address`: we listen on it, or on every address and it is one of this host's.
fn is_ours(address: SocketAddr, ours: &[SocketAddr]) -> bool {
    ours.iter().any(|own| {
        let everywhere = own.ip().is_unspecified() && (own.is_ipv6() || address.is_ipv4());
        own.port() == address.port() && (own.ip().to_canonical() == address.ip() || everywhere && is_of_host(address))
    })
}

/// Whether this host has an address: nobody else can take a port of it.
fn is_of_host(address: SocketAddr) -> bool {
    UdpSocket::bind((address.ip(), 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_ours_by_itself_or_by_a_wildcard() {
        let ours = |address: &str, own: &str| is_ours(address.parse().unwrap(), &[own.parse().unwrap()]);
        assert!(ours("127.0.0.1:53", "127.0.0.1:53"));
        assert!(!ours("127.0.0.1:54", "127.0.0.1:53"));
        assert!(!ours("127.0.0.2:53", "127.0.0.1:53"));
        assert!(ours("127.0.0.2:53", "0.0.0.0:53"));
        assert!(!ours("192.0.2.1:53", "0.0.0.0:53"));
    }

    #[test]
    fn without_an_upstream_nothing_is_read() {
        assert!(config(&[], &[], Path::new("/nowhere"), &[]).unwrap().is_none());
        let tls = ["tls://192.0.2.1#dns.example".parse().unwrap()];
        let error = config(&tls, &[], Path::new("/nowhere"), &[]).unwrap_err().to_string();
        assert!(error.contains("--upstream-ca"), "{error}");
    }
}
