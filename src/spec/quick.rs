//! The fast path: plain registrations in JSON, one or a list with plain settings beside it, straight into their type.
//!
//! A hundred thousand of these are read at a start, and `spacedns register` writes no other form. It takes only what
//! the located tree would take without a fault or a warning, and gives the same document (a test holds it to that);
//! everything else is left to the tree, which knows places. That is also why it may be strict: an escape in a string, a
//! number in quotes or a key of ours that it does not know only costs the slower way.

use std::fmt;

use serde::Deserialize;
use serde::de::{Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::app::AUDIENCES;
use super::network::private_address;
use super::reader::chosen;
use super::registration::{ADDRESSES_MAX, Instances, PORTS_MAX, lease, state};
use super::report::Report;
use super::text::place_of;
use super::{AppSpec, At, Document, InstanceSpec, Place, Role, Settings, State, names};
use crate::name::Label;

/// Reads one plain registration, or a plain list of them, or gives nothing.
pub(super) fn read(octets: &[u8]) -> Option<Document> {
    let text = std::str::from_utf8(octets).ok()?;
    // A guess at the form, which reading it then proves: to try the other first costs an error each time.
    let app = if text.contains("\"instances\"") { read_list(text)? } else { read_one(text)? };
    Some(Document::App(app))
}

fn read_one(text: &str) -> Option<AppSpec> {
    let written: Registration<'_> = serde_json::from_str(text).ok()?;
    let place = place_of(text.as_bytes(), text.find('{')?);
    let app = app(text, written.app?)?;
    let instances = vec![At { value: instance(written)?, place }];
    Some(AppSpec { app, role: Role::Addition, components: Vec::new(), settings: Settings::default(), instances })
}

fn read_list(text: &str) -> Option<AppSpec> {
    let written: Registrations<'_> = serde_json::from_str(text).ok()?;
    let settings = Settings {
        internal_routing: setting(text, written.internal_routing, |written| serde_json::from_str(written).ok())?,
        web: setting(text, written.web, |written| names::process(string(written)?).ok())?,
        discovery: setting(text, written.discovery, |written| chosen(string(written)?, &AUDIENCES).ok())?,
        ..Settings::default()
    };
    let mut instances = Instances::default();
    let mut report = Report::default();
    let (mut place, mut seen) = (Place::START, 0);
    for raw in written.instances {
        let registration: Registration<'_> = serde_json::from_str(raw.get()).ok()?;
        if registration.app.is_some() {
            return None;
        }
        // Places are counted on from the one before: counting each from the start would be quadratic.
        let start = offset_in(text, raw.get())?;
        for character in text.get(seen..start)?.chars() {
            match character {
                '\n' => place = Place { line: place.line + 1, column: 1 },
                _ => place.column += 1,
            }
        }
        seen = start;
        instances.add(At { value: instance(registration)?, place }, &mut report);
        if report.fault_count() > 0 {
            return None;
        }
    }
    let mut instances = instances.into_list();
    instances.shrink_to_fit();
    let app = app(text, written.app)?;
    Some(AppSpec { app, role: Role::Addition, components: Vec::new(), settings, instances })
}

fn app(text: &str, written: &str) -> Option<At<Label>> {
    // What is borrowed starts one octet after its quotation mark.
    let place = place_of(text.as_bytes(), offset_in(text, written)?.checked_sub(1)?);
    Some(At { value: names::app(written).ok()?, place })
}

/// A setting and its place: nothing where it is silent, `None` where the fast path cannot tell.
#[allow(clippy::option_option, reason = "outside is whether the fast path goes on, inside whether it is written")]
fn setting<T>(text: &str, written: Option<&RawValue>, value: impl Fn(&str) -> Option<T>) -> Option<Option<At<T>>> {
    let Some(written) = written else { return Some(None) };
    let place = place_of(text.as_bytes(), offset_in(text, written.get())?);
    Some(Some(At { value: value(written.get())?, place }))
}

/// A JSON string without an escape.
fn string(written: &str) -> Option<&str> {
    serde_json::from_str(written).ok()
}

fn instance(written: Registration<'_>) -> Option<InstanceSpec> {
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
    Some(InstanceSpec {
        component: names::process(written.component).ok()?,
        number: written.number,
        addresses,
        ports,
        state: written.state.map_or(Ok(State::Up), state).ok()?,
        lease: written.lease.map(lease).transpose().ok()?,
        shared_address: written.shared_address.unwrap_or_default(),
    })
}

/// Where a piece that is borrowed from a text stands in it.
fn offset_in(text: &str, piece: &str) -> Option<usize> {
    piece.as_ptr().addr().checked_sub(text.as_ptr().addr())
}

/// The form of many at once: each is read by itself, so that its place is known.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registrations<'a> {
    app: &'a str,
    #[serde(default, borrow)]
    internal_routing: Option<&'a RawValue>,
    #[serde(default, borrow)]
    web: Option<&'a RawValue>,
    #[serde(default, borrow)]
    discovery: Option<&'a RawValue>,
    #[serde(borrow)]
    instances: Vec<&'a RawValue>,
}

/// What is written, borrowed: a string with an escape in it does not fit, and takes the other way.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration<'a> {
    /// Only where it stands alone.
    #[serde(default)]
    app: Option<&'a str>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::document::read_by_tree;
    use proptest::prelude::*;

    /// What the fast path takes, the tree takes too, and to the same document.
    fn agrees(text: &str) -> bool {
        let Some(document) = read(text.as_bytes()) else { return false };
        let reading = read_by_tree(text, text.len(), "stem");
        assert_eq!(reading.faults, [], "{text}");
        assert_eq!(reading.warnings, [], "{text}");
        assert_eq!(reading.documents, [document], "{text}");
        true
    }

    #[test]
    fn what_register_writes_takes_the_fast_path() {
        assert!(agrees(r#"{"app":"shop","component":"web","number":1,"address":"10.0.130.56"}"#));
        assert!(agrees(
            "\n {\"number\": 2, \"process_type\": \"Extra_Worker\",\n  \"app\": \"shop\", \"addresses\": [\"10.0.0.1\", \
             \"fd00::1\"], \"ports\": {\"http\": 8080, \"metrics\": 9100}, \"state\": \"Draining\", \"lease\": \"30s\", \
             \"shared_address\": true}\n"
        ));
        assert!(agrees(
            "{\"app\": \"shop\", \"instances\": [\n  {\"component\": \"web\", \"number\": 1, \"ip\": \"10.0.0.1\", \
             \"port\": 80, \"lease\": null}, {\"component\": \"web\", \"number\": 2,\n \"private_ip\": \"10.0.0.2\"},\n\n \
             {\"component\": \"job\", \"number\": 1, \"address\": \"10.0.0.3\"}]}"
        ));
    }

    #[test]
    fn settings_may_stand_beside_a_list() {
        let list = r#""instances": [{"component":"web","number":1,"address":"10.0.0.1"}]"#;
        assert!(agrees(&format!(r#"{{"app": "shop", "internal_routing": true, {list}}}"#)));
        assert!(agrees(&format!(
            "{{\n \"discovery\":\n  \"Space\", \"web\": \"Api_2\",\n\"internal_routing\": false, {list},\n \"app\": \"shop\"}}"
        )));
        assert!(agrees(&format!(r#"{{"app": "shop", "internal_routing": null, "web": null, {list}}}"#)));
        for setting in [
            r#""internal_routing": "true""#,
            r#""internal_routing": 1"#,
            r#""web": "a.b""#,
            r#""discovery": "all""#,
            r#""hostnames": ["a.herokuapp.com"]"#,
            r#""component": "web""#,
        ] {
            let text = format!(r#"{{"app": "shop", {setting}, {list}}}"#);
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_needs_a_word_is_left_to_the_tree() {
        for text in [
            r#"{"app":"shop","component":"web","number":0,"address":"10.0.130.56"}"#,
            r#"{"app":"shop","component":"web","number":1,"address":"8.8.8.8"}"#,
            r#"{"app":"shop","component":"web","number":1,"address":"10.0.0.1","colour":"red"}"#,
            r#"{"app":"shop","component":"web","number":1,"address":"10.0.0.1","lease":"1s"}"#,
            r#"{"app":"shop","component":"web","number":1,"address":"10.0.0.1","port":0}"#,
            r#"{"app":"shop","component":"web","component":"web","number":1,"address":"10.0.0.1"}"#,
            r#"{"app":"shop","component":"web","number":1,"addresses":[]}"#,
            r#"{"component":"web","number":1,"address":"10.0.0.1"}"#,
            r#"{"app":"shop","instances":[{"component":"web","number":1,"address":"10.0.0.1"},{"component":"web","number":1,"address":"10.0.0.2"}]}"#,
            r#"{"app":"shop","component":"web","number":1,"address":"10.0.0.1"} x"#,
        ] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_fast_path_and_the_tree_agree(
            app in "(shop|a|Shop|wpad|b-2)",
            component in "(web|Web_1|_x|a\\.b|run)",
            number in 0_u32..4,
            addresses in proptest::collection::vec("(10\\.0\\.0\\.[0-9]|fd00::[0-9a-f]|127\\.0\\.0\\.1)", 0..4),
            state in "(up|down|Starting|gone)",
            lease in "([0-9]{1,3}[smh]?)",
            port in 0_u16..3,
            gap in "[ \\t\\r\\n]{0,3}",
        ) {
            let list: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
            agrees(&format!(
                "{gap}{{{gap}\"app\":{gap}\"{app}\",{gap}\"component\":\"{component}\",\"number\":{number},{gap}\
                 \"addresses\":[{}],\"state\":\"{state}\",\"lease\":{gap}\"{lease}\",\"ports\":{{\"http\":{port}}}}}",
                list.join(&format!(",{gap}"))
            ));
        }
    }
}
