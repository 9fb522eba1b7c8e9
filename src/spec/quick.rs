//! The fast path: a plain registration in JSON, straight into its type.
//!
//! A hundred thousand of these are read at a start, and `spacedns register` writes no other form. It takes only what
//! the located tree would take without a fault or a warning, and gives the same document (a test holds it to that);
//! everything else is left to the tree, which knows places. That is also why it may be strict: an escape in a string, a
//! number in quotes or a key of ours that it does not know only costs the slower way.

use std::fmt;

use serde::Deserialize;
use serde::de::{Error, MapAccess, Visitor};

use super::network::private_address;
use super::registration::{ADDRESSES_MAX, PORTS_MAX, lease, state};
use super::text::place_of;
use super::{AppSpec, At, Document, InstanceSpec, Role, Settings, State, names};

/// Reads one plain registration, or gives nothing.
pub(super) fn read(octets: &[u8]) -> Option<Document> {
    let written: Registration<'_> = serde_json::from_slice(octets).ok()?;
    let mut addresses = Vec::with_capacity(1);
    for text in written.address.iter().chain(written.addresses.iter().flatten()) {
        let address = private_address(text).ok()?;
        if addresses.contains(&address) || addresses.len() == ADDRESSES_MAX {
            return None;
        }
        addresses.push(address);
    }
    if addresses.is_empty() || written.addresses.is_some_and(|list| list.is_empty()) || written.number == 0 {
        return None;
    }
    let mut ports = Vec::new();
    if let Some(port) = written.port {
        ports.push((names::port("http").ok()?, port));
    }
    for (name, port) in written.ports.map(|ports| ports.0).unwrap_or_default() {
        let name = names::port(name).ok()?;
        if ports.len() == PORTS_MAX || ports.iter().any(|(other, _)| *other == name) {
            return None;
        }
        ports.push((name, port));
    }
    if ports.iter().any(|(_, port)| *port == 0) {
        return None;
    }
    let instance = InstanceSpec {
        component: names::process(written.component).ok()?,
        number: written.number,
        addresses,
        ports,
        state: written.state.map_or(Ok(State::Up), state).ok()?,
        lease: written.lease.map(lease).transpose().ok()?,
        shared_address: written.shared_address.unwrap_or_default(),
    };
    let start = octets.iter().position(|octet| *octet == b'{')?;
    // The text is borrowed from the octets: its quotation mark stands one before it.
    let name_start = written.app.as_ptr().addr().checked_sub(octets.as_ptr().addr())?.checked_sub(1)?;
    Some(Document::App(AppSpec {
        app: At { value: names::app(written.app).ok()?, place: place_of(octets, name_start) },
        role: Role::Addition,
        components: Vec::new(),
        settings: Settings::default(),
        instances: vec![At { value: instance, place: place_of(octets, start) }],
    }))
}

/// What is written, borrowed: a string with an escape in it does not fit, and takes the other way.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration<'a> {
    app: &'a str,
    #[serde(alias = "component_name", alias = "process_type")]
    component: &'a str,
    number: u32,
    #[serde(default, alias = "ip", alias = "private_ip")]
    address: Option<&'a str>,
    #[serde(default, borrow)]
    addresses: Option<Vec<&'a str>>,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default, borrow)]
    ports: Option<Ports<'a>>,
    #[serde(default)]
    state: Option<&'a str>,
    #[serde(default)]
    lease: Option<&'a str>,
    #[serde(default)]
    shared_address: Option<bool>,
}

/// Ports in the order of the file, each name once.
struct Ports<'a>(Vec<(&'a str, u16)>);

impl<'de: 'a, 'a> Deserialize<'de> for Ports<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Vec<(&'de str, u16)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("ports by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut ports = Vec::new();
                while let Some(port) = map.next_entry()? {
                    if ports.len() == PORTS_MAX {
                        return Err(A::Error::custom("too many ports"));
                    }
                    ports.push(port);
                }
                Ok(ports)
            }
        }
        deserializer.deserialize_map(Reader).map(Self)
    }
}
