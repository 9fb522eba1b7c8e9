//! Which servers are asked about foreign names: what `--upstream` says, and which of them a name goes to.
//!
//! A value is a server for every name (`192.0.2.1`, `[2001:db8::1]:5353`), a server for one zone (`corp.example=10.9.0.53`), either of
//! them over TLS (`tls://192.0.2.1#dns.example`), or the host's own list (`resolv.conf`, `resolv.conf=PATH`). Where zones overlap, the
//! longest wins. Our own listening addresses are refused: a query that we send to ourselves comes back until it times out.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::name::{Name, NameBuffer, NameError};

/// One value of `--upstream`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Setting {
    /// A server, for the names of one zone; the root's are all.
    Server {
        /// The zone.
        zone: Name,
        /// The server.
        server: Server,
    },
    /// The servers that this file lists, for every name.
    ResolvConf(PathBuf),
}

/// A server that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where it is.
    pub address: SocketAddr,
    /// How it is asked.
    pub channel: Channel,
}

impl fmt::Display for Server {
    /// Writes it as `--upstream` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.channel {
            Channel::Plain => self.address.fmt(f),
            Channel::Tls(name) => write!(f, "tls://{}#{}", self.address, name.to_str()),
        }
    }
}

/// How a server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// Over UDP, and over TCP where a response does not fit.
    Plain,
    /// Over TLS (RFC 7858), by a server that shows this name, or this address.
    Tls(ServerName<'static>),
}

/// Why upstreams cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The address cannot be read.
    #[error(
        "`{0}` is no upstream: write IP, IP:PORT, [IPV6]:PORT, tls://IP#NAME, one of these after ZONE=, or resolv.conf"
    )]
    NoAddress(String),
    /// Nobody can be asked at this address.
    #[error("`{0}` is no upstream: no single server has this address")]
    Nobody(String),
    /// The name of a server over TLS cannot be read.
    #[error("`{0}` is no upstream: what follows `#` is not the name of a server")]
    NoServerName(String),
    /// The zone cannot be read.
    #[error("`{0}` is no upstream: what stands before `=` is no zone: {1}")]
    NoZone(String, NameError),
    /// The zone is answered here, whatever rule there is.
    #[error("`{0}` is no upstream: names of {1} are about the machine that asks, and always answered here")]
    Here(String, Name),
    /// The list of servers cannot be read.
    #[error("{}: cannot be read: {}; name the upstreams with --upstream IP", .0.display(), .1)]
    Unreadable(PathBuf, io::Error),
    /// The list has no server.
    #[error("{}: lists no name server; name the upstreams with --upstream IP", .0.display())]
    NoneListed(PathBuf),
    /// We would ask ourselves.
    #[error("{0} is an address that this server answers on itself: it cannot be an upstream")]
    Ourselves(SocketAddr),
}

impl FromStr for Setting {
    type Err = UpstreamError;

    fn from_str(text: &str) -> Result<Self, UpstreamError> {
        if text == RESOLV_CONF {
            return Ok(Self::ResolvConf(PathBuf::from("/etc").join(RESOLV_CONF)));
        }
        let Some((zone, server)) = text.split_once('=') else {
            return Ok(Self::Server { zone: Name::root(), server: server_of(text)? });
        };
        if zone == RESOLV_CONF {
            return Ok(Self::ResolvConf(server.into()));
        }
        let zone: Name = zone.parse().map_err(|error| UpstreamError::NoZone(text.to_owned(), error))?;
        if zone.wire().ends_with(LOCALHOST) || zone.wire().ends_with(RESOLVER) {
            return Err(UpstreamError::Here(text.to_owned(), zone));
        }
        Ok(Self::Server { zone, server: server_of(server)? })
    }
}

impl TryFrom<String> for Setting {
    type Error = UpstreamError;

    fn try_from(text: String) -> Result<Self, UpstreamError> {
        text.parse()
    }
}

fn server_of(text: &str) -> Result<Server, UpstreamError> {
    let Some(rest) = text.strip_prefix("tls://") else {
        return Ok(Server { address: address_of(text, text, PORT)?, channel: Channel::Plain });
    };
    let (address, name) = rest.split_once('#').map_or((rest, None), |(address, name)| (address, Some(name)));
    let address = address_of(text, address, TLS_PORT)?;
    let name = match name {
        Some(name) => {
            ServerName::try_from(name.to_owned()).map_err(|_| UpstreamError::NoServerName(text.to_owned()))?
        }
        // RFC 8310 §8.1: without a name, the certificate has to be for the address.
        None => ServerName::from(address.ip()),
    };
    Ok(Server { address, channel: Channel::Tls(name) })
}

fn address_of(whole: &str, text: &str, port: u16) -> Result<SocketAddr, UpstreamError> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = match (bare.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
        (Ok(address), _) => SocketAddr::new(address, port),
        (Err(_), Ok(address)) => address,
        (Err(_), Err(_)) => return Err(UpstreamError::NoAddress(whole.to_owned())),
    };
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    let is_broadcast = matches!(address.ip(), IpAddr::V4(v4) if v4.is_broadcast());
    if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() || is_broadcast {
        return Err(UpstreamError::Nobody(whole.to_owned()));
    }
    Ok(address)
}

/// Which servers each name goes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes(Vec<Route>);

/// The servers of one zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The zone.
    pub zone: Name,
    /// Its servers, in the order in which they are asked; at least one.
    pub servers: Vec<Server>,
}

impl Routes {
    /// Puts settings together. `read` reads a file, `is_ours` says whether we answer at an address ourselves.
    ///
    /// # Errors
    /// When a list cannot be read or has no server, or a server would be ourselves.
    pub fn new(
        settings: &[Setting],
        read: impl Fn(&Path) -> io::Result<String>,
        is_ours: impl Fn(SocketAddr) -> bool,
    ) -> Result<Self, UpstreamError> {
        let mut routes = Self::default();
        for setting in settings {
            match setting {
                Setting::Server { zone, server } => routes.add(zone, server.clone()),
                Setting::ResolvConf(path) => {
                    let text = read(path).map_err(|error| UpstreamError::Unreadable(path.clone(), error))?;
                    let servers = listed(&text);
                    if servers.is_empty() {
                        return Err(UpstreamError::NoneListed(path.clone()));
                    }
                    for server in servers {
                        routes.add(&Name::root(), server);
                    }
                }
            }
        }
        let mut servers = routes.0.iter().flat_map(|route| &route.servers);
        if let Some(server) = servers.find(|server| is_ours(server.address)) {
            return Err(UpstreamError::Ourselves(server.address));
        }
        // Equal counts cannot both fit a name, so among them any order will do.
        routes.0.sort_by_key(|route| std::cmp::Reverse(route.zone.label_count()));
        Ok(routes)
    }

    fn add(&mut self, zone: &Name, server: Server) {
        match self.0.iter_mut().find(|route| route.zone == *zone) {
            Some(route) if route.servers.contains(&server) => {}
            Some(route) => route.servers.push(server),
            None => self.0.push(Route { zone: zone.clone(), servers: vec![server] }),
        }
    }

    /// Whether nothing is forwarded.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every route; the place of one is its number.
    #[must_use]
    pub fn all(&self) -> &[Route] {
        &self.0
    }

    /// Every server, by its zone and address as they are written, in the order of the routes.
    pub(super) fn servers(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().flat_map(|route| route.servers.iter().map(|server| (route.zone.to_string(), server.to_string())))
    }

    /// The number of the route that `name` takes, if any.
    #[must_use]
    pub fn of(&self, name: &NameBuffer) -> Option<usize> {
        self.0.iter().position(|route| name.position_of(&route.zone).is_some())
    }
}

/// The servers of a `resolv.conf` (resolv.conf(5)): as many as glibc uses. What cannot be read is passed over, as it does.
fn listed(text: &str) -> Vec<Server> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            return None;
        }
        address_of("", words.next()?, PORT).ok()
    });
    addresses.take(LISTED_MAX).map(|address| Server { address, channel: Channel::Plain }).collect()
}

const RESOLV_CONF: &str = "resolv.conf";
/// Servers that are taken of a list: `MAXNS` of glibc and musl.
const LISTED_MAX: usize = 3;
/// `localhost.` (RFC 6761 §6.3), and `resolver.arpa.`, where another server would only tell of itself (RFC 9462 §6.4).
const LOCALHOST: &[u8] = b"\x09localhost\x00";
const RESOLVER: &[u8] = b"\x08resolver\x04arpa\x00";
const PORT: u16 = 53;
/// RFC 7858 §3.1.
const TLS_PORT: u16 = 853;

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> (String, Server) {
        match text.parse() {
            Ok(Setting::Server { zone, server }) => (zone.to_string(), server),
            other => panic!("{text}: {other:?}"),
        }
    }

    fn routes(settings: &[&str]) -> Result<Routes, UpstreamError> {
        let settings: Vec<Setting> = settings.iter().map(|text| text.parse().unwrap()).collect();
        let read = |path: &Path| match path.to_str() {
            Some("/etc/resolv.conf") => Ok("# x\nsearch a\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n\
                                            nameserver 2001:db8::1\nnameserver 192.0.2.1\nnameserver 192.0.2.9\n"
                .to_owned()),
            Some("empty") => Ok("options ndots:5\n".to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        Routes::new(&settings, read, |address| address == "127.0.0.1:53".parse().unwrap())
    }

    #[test]
    fn a_server_is_an_address_with_or_without_a_port_and_a_zone() {
        for (text, zone, address) in [
            ("192.0.2.1", ".", "192.0.2.1:53"),
            ("192.0.2.1:5353", ".", "192.0.2.1:5353"),
            ("2001:db8::1", ".", "[2001:db8::1]:53"),
            ("[2001:db8::1]", ".", "[2001:db8::1]:53"),
            ("[2001:db8::1]:5353", ".", "[2001:db8::1]:5353"),
            ("::ffff:192.0.2.1", ".", "192.0.2.1:53"),
            ("Corp.Example=10.9.0.53", "corp.example.", "10.9.0.53:53"),
            (".=10.9.0.53:54", ".", "10.9.0.53:54"),
        ] {
            let (found, server) = server(text);
            assert_eq!((found.as_str(), server.address), (zone, address.parse().unwrap()), "{text}");
            assert_eq!(server.channel, Channel::Plain);
        }
    }

    #[test]
    fn a_server_over_tls_has_its_port_and_a_name_or_its_address() {
        let named = server("tls://192.0.2.1#dns.example").1;
        assert_eq!(named.address, "192.0.2.1:853".parse().unwrap());
        assert_eq!(named.channel, Channel::Tls("dns.example".try_into().unwrap()));
        let (zone, plain) = server("corp.example=tls://[2001:db8::1]:8853");
        assert_eq!((zone.as_str(), plain.address), ("corp.example.", "[2001:db8::1]:8853".parse().unwrap()));
        assert_eq!(plain.channel, Channel::Tls("2001:db8::1".try_into().unwrap()));
    }

    #[test]
    fn what_is_no_upstream_says_what_would_be() {
        for (text, part) in [
            ("", "write IP"),
            ("dns.example", "write IP"),
            ("192.0.2.1:", "write IP"),
            ("192.0.2.1:65536", "write IP"),
            ("192.0.2.1:0", "no single server"),
            ("0.0.0.0", "no single server"),
            ("224.0.0.251:5353", "no single server"),
            ("255.255.255.255", "no single server"),
            ("tls://192.0.2.1#", "name of a server"),
            ("a..b=192.0.2.1", "a label is empty"),
            ("=192.0.2.1", "a label is empty"),
            ("x.LocalHost=192.0.2.1", "always answered here"),
            ("resolver.arpa=192.0.2.1", "always answered here"),
            ("udp://192.0.2.1", "write IP"),
        ] {
            let error = text.parse::<Setting>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn the_longest_zone_takes_a_name_and_one_without_a_route_stays() {
        let routes = routes(&["example=192.0.2.1", "b.example=192.0.2.2", "b.example=192.0.2.3"]).unwrap();
        let route = |name: &str| {
            let route = routes.all().get(routes.of(&NameBuffer::from(&name.parse::<Name>().unwrap()))?)?;
            Some((route.zone.to_string(), route.servers.len()))
        };
        assert_eq!(route("a.b.example"), Some(("b.example.".into(), 2)));
        assert_eq!(route("b.example"), Some(("b.example.".into(), 2)));
        assert_eq!(route("cb.example"), Some(("example.".into(), 1)));
        assert_eq!(route("example.org"), None);
    }

    #[test]
    fn the_hosts_list_is_read_as_glibc_reads_it() {
        let routes = routes(&["resolv.conf"]).unwrap();
        let addresses: Vec<String> = routes.all()[0].servers.iter().map(|server| server.address.to_string()).collect();
        assert_eq!(addresses, ["192.0.2.1:53", "[2001:db8::1]:53"]);
    }

    #[test]
    fn a_list_that_helps_nobody_and_ourselves_are_refused() {
        assert!(matches!(routes(&["resolv.conf=empty"]), Err(UpstreamError::NoneListed(_))));
        assert!(matches!(routes(&["resolv.conf=gone"]), Err(UpstreamError::Unreadable(..))));
        assert!(matches!(routes(&["192.0.2.1", "x.example=127.0.0.1"]), Err(UpstreamError::Ourselves(_))));
    }
}
