//! Registrations: which instances run (design §2.3), by key from the located tree.
//!
//! The rules stand apart from the readers, so that the fast path ([`quick`](super::quick)) judges by the same ones.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::name::Label;

use super::network::private_address;
use super::reader::{Keys, Refusal, boolean, checked, choice, chosen, each, port, whole, whole_number};
use super::report::{Report, Step, quote};
use super::tree::{Content, Node};
use super::{At, InstanceSpec, Place, State, names};

/// The most instances of one component in a document: what one answer of 64 KiB holds.
pub(super) const INSTANCES_MAX: usize = 1000;
/// The most addresses of one instance: one of each family, and room for machines with more networks than that.
pub(super) const ADDRESSES_MAX: usize = 8;
/// The most named ports of one instance: each is an SRV record set of its own.
pub(super) const PORTS_MAX: usize = 32;
/// The shortest lease: anything less is lost to one missed write.
const LEASE_MIN: Duration = Duration::from_secs(5);
/// The longest lease. A longer one is no lease, and a sum of times must not overflow.
const LEASE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// The keys that make a document a registration of one instance.
pub(super) const KEYS: [&str; 14] = [
    "component",
    "component_name",
    "process_type",
    "number",
    "instance",
    "address",
    "ip",
    "private_ip",
    "addresses",
    "port",
    "ports",
    "state",
    "lease",
    "shared_address",
];

/// The instances of a document so far, each once.
#[derive(Debug, Default)]
pub(super) struct Instances {
    list: Vec<At<InstanceSpec>>,
    first: HashMap<(Label, u32), Place>,
    counts: HashMap<Label, usize>,
}

impl Instances {
    /// Takes one more; one that is there already, or one too many, is a fault.
    pub(super) fn add(&mut self, instance: At<InstanceSpec>, report: &mut Report<'_>) {
        let At { value: InstanceSpec { component, number, .. }, place } = &instance;
        if let Some(first) = self.first.insert((component.clone(), *number), *place) {
            let fault = format!("the instance `{component}.{number}` is given twice, first at {first}");
            report.fault(*place, fault, "remove one of the two, or correct its number");
            return;
        }
        let count = self.counts.entry(component.clone()).or_default();
        *count += 1;
        if *count == INSTANCES_MAX + 1 {
            let fault = format!("`{component}` has more than {INSTANCES_MAX} instances");
            report.fault(*place, fault, "spread them over several components: one answer holds no more");
        }
        if *count <= INSTANCES_MAX {
            self.list.push(instance);
        }
    }

    /// The instances in the order of the document.
    pub(super) fn into_list(self) -> Vec<At<InstanceSpec>> {
        self.list
    }
}

/// Reads `instances:`.
pub(super) fn read_list<'n>(node: &'n Node<'n>, instances: &mut Instances, report: &mut Report<'n>) {
    each(node, report, |node, report| {
        let mut keys = Keys::of(node, "an instance", report)?;
        let instance = read(&mut keys, report);
        keys.finish("an instance", &["id", "name", "host_entry", "hostname"], report);
        instances.add(instance?, report);
        Some(())
    });
}

/// Reads the keys of one instance.
pub(super) fn read<'n>(keys: &mut Keys<'n>, report: &mut Report<'n>) -> Option<At<InstanceSpec>> {
    let place = keys.place;
    let before = report.fault_count();
    let (component, number) = identity(keys, report);
    let addresses = addresses(keys, report);
    let ports = ports(keys, report);
    let state = keys.read("state", report, |node, report| choice(node, &STATES, report));
    let lease = keys.read("lease", report, |node, report| checked(node, report, lease));
    let shared_address = keys.read("shared_address", report, boolean);
    if report.fault_count() > before {
        return None;
    }
    let value = InstanceSpec {
        component: component?,
        number: number?,
        addresses,
        ports,
        state: state.map_or(State::Up, |at| at.value),
        lease: lease.map(|at| at.value),
        shared_address: shared_address.is_some_and(|at| at.value),
    };
    Some(At { value, place })
}

/// The rule of `state`.
pub(super) fn state(written: &str) -> Result<State, Refusal> {
    chosen(written, &STATES)
}

/// The rule of `lease`: whole seconds, or a number with `s`, `m` or `h`.
pub(super) fn lease(written: &str) -> Result<Duration, Refusal> {
    let (digits, unit) = match written.as_bytes().last() {
        Some(b's') => (written.strip_suffix('s'), 1),
        Some(b'm') => (written.strip_suffix('m'), 60),
        Some(b'h') => (written.strip_suffix('h'), 3600),
        _ => (Some(written), 1),
    };
    let seconds = whole_number(digits.unwrap_or_default(), 0..=u32::MAX).map_err(|_| {
        Refusal::new(
            format!("{} is not a time", quote(written)),
            "write seconds, or a number with `s`, `m` or `h`, as `30s`",
        )
    })?;
    let lease = Duration::from_secs(u64::from(seconds) * unit);
    if lease < LEASE_MIN {
        let fault = format!("a lease of {} is too short to be renewed in time", quote(written));
        return Err(Refusal::new(fault, "give at least `5s`"));
    }
    if lease > LEASE_MAX {
        let fault = format!("a lease of {} is longer than a year", quote(written));
        return Err(Refusal::new(fault, "leave `lease` out: the registration then holds until the file goes"));
    }
    Ok(lease)
}

/// The component and the number, from `component` and `number` or from `instance: web.1`.
fn identity<'n>(keys: &mut Keys<'n>, report: &mut Report<'n>) -> (Option<Label>, Option<u32>) {
    let both = keys.read("instance", report, |node, report| checked(node, report, instance_name));
    let component = keys.read_one_of(&["component", "component_name", "process_type"], report, |node, report| {
        checked(node, report, names::process)
    });
    let number = keys.read("number", report, |node, report| whole(node, 1..=u32::MAX, report));
    let At { value: (named, numbered), place } = match both {
        Some(both) => both,
        None if keys.has("instance") => return (None, None),
        None => {
            if !["component", "component_name", "process_type"].iter().any(|key| keys.has(key)) {
                keys.missing("component", "say of which component, as `component: web`", report);
            }
            if !keys.has("number") {
                keys.missing("number", "say which one, as `number: 1`", report);
            }
            return (component.map(|at| at.value), number.map(|at| at.value));
        }
    };
    if component.is_some_and(|component| component.value != named) {
        report.fault(place, "`instance` and `component` name different components", "keep one of them");
    }
    if number.is_some_and(|number| number.value != numbered) {
        report.fault(place, "`instance` and `number` give different numbers", "keep one of them");
    }
    (Some(named), Some(numbered))
}

fn instance_name(written: &str) -> Result<(Label, u32), Refusal> {
    let Some((component, number)) = written.rsplit_once('.') else {
        let fault = format!("{} is not an instance's name", quote(written));
        return Err(Refusal::new(fault, "write the component, a dot and the number, as `web.1`"));
    };
    Ok((names::process(component)?, whole_number(number, 1..=u32::MAX)?))
}

/// The addresses of every spelling together: some write one of each family under keys of their own.
fn addresses<'n>(keys: &mut Keys<'n>, report: &mut Report<'n>) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    let mut is_given = false;
    for key in ["address", "ip", "private_ip", "addresses"] {
        is_given |= keys.has(key);
        keys.read(key, report, |node, report| {
            if matches!(&node.content, Content::List(items) if items.is_empty()) {
                report.fault(node.place, "the list of addresses is empty", "give at least one, as 10.0.130.56");
            }
            for address in each(node, report, |node, report| checked(node, report, private_address)) {
                if addresses.contains(&address.value) {
                    continue;
                }
                if addresses.len() == ADDRESSES_MAX {
                    let fault = format!("an instance has more than {ADDRESSES_MAX} addresses");
                    report.fault(address.place, fault, "give those that callers are to reach it by");
                    break;
                }
                addresses.push(address.value);
            }
            Some(())
        });
    }
    if !is_given {
        keys.missing("address", "say where it is, as `address: 10.0.130.56`", report);
    }
    addresses
}

fn ports<'n>(keys: &mut Keys<'n>, report: &mut Report<'n>) -> Vec<(Label, u16)> {
    let mut ports: Vec<(Label, u16)> = Vec::new();
    let http = names::port("http").ok();
    let single = keys.read("port", report, port);
    ports.extend(http.zip(single));
    let place = keys.place_of("port");
    keys.read("ports", report, |node, report| {
        if !matches!(node.content, Content::Mapping(_)) {
            report.fault(node.place, "ports have no names", "name each, as `ports: {http: 8080, metrics: 9100}`");
            return None;
        }
        let named = Keys::of(node, "`ports`", report)?;
        for entry in named.entries() {
            report.within(Step::Key(&entry.key), |report| {
                let name = match names::port(&entry.key) {
                    Ok(name) => name,
                    Err(Refusal { fault, remedy }) => return report.fault(entry.place, fault, remedy),
                };
                let Some(number) = port(&entry.value, report) else { return };
                match ports.iter().find(|(other, _)| *other == name) {
                    None if ports.len() == PORTS_MAX => {
                        report.fault(
                            entry.place,
                            format!("an instance has more than {PORTS_MAX} ports"),
                            "remove some",
                        );
                    }
                    None => ports.push((name, number)),
                    Some((_, other)) if *other == number => {}
                    Some((_, other)) => {
                        let fault = format!("the port `{name}` is {number} here and {other} before, `port` at {place}");
                        report.fault(entry.place, fault, "keep one of the two");
                    }
                }
            });
        }
        Some(())
    });
    ports
}

const STATES: [(&str, State); 4] =
    [("up", State::Up), ("starting", State::Starting), ("draining", State::Draining), ("down", State::Down)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::{app, faults};

    #[test]
    fn a_lease_is_seconds_minutes_or_hours_from_five_seconds_up() {
        for (written, seconds) in [("30s", 30), ("5", 5), ("2m", 120), ("1h", 3600)] {
            assert_eq!(lease(written), Ok(Duration::from_secs(seconds)), "{written}");
        }
        for wrong in ["", "s", "4s", "0", "500ms", "1d", "1.5h", "-5s", "30 s", "9000h", "4294967295h"] {
            assert!(lease(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_instance_is_named_by_component_and_number() {
        let (component, number) = instance_name("Extra_Worker.12").unwrap();
        assert_eq!((component.octets(), number), (&b"extra-worker"[..], 12));
        for wrong in ["web", "web.", "web.0", ".1", "web.x", "web.1.x"] {
            assert!(instance_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_spelling_of_a_registration_is_the_same_instance() {
        let expected = app("app: shop\ncomponent: web\nnumber: 1\naddress: 10.0.130.56\n").instances[0].value.clone();
        assert_eq!((expected.state, expected.lease, expected.shared_address), (State::Up, None, false));
        for text in [
            "component_name: web\nnumber: \"1\"\nip: 10.0.130.56\n",
            "process_type: WEB\nnumber: 1\nprivate_ip: 10.0.130.56\nstate: UP\n",
            "instance: web.1\naddresses: [10.0.130.56, 10.0.130.56]\n",
            "instance: web.1\nnumber: 1\naddresses: 10.0.130.56\nlease: ~\n",
            "instances: [{component: web, number: 1, address: 10.0.130.56}]\n",
            "instances: {component: web, number: 1, address: \"::ffff:10.0.130.56\"}\n",
        ] {
            assert_eq!(app(&format!("app: shop\n{text}")).instances[0].value, expected, "{text}");
        }
    }

    #[test]
    fn a_registration_has_ports_a_state_and_a_lease() {
        let app = app(
            "app: shop\ninstance: web.2\naddresses: [10.0.0.1, fd00::56]\nport: 8080\nports: {metrics: 9100, http: 8080}\n\
             state: draining\nlease: 2m\nshared_address: true\nweb: api\n",
        );
        let instance = &app.instances[0].value;
        assert_eq!(instance.addresses.len(), 2);
        let ports: Vec<_> = instance.ports.iter().map(|(name, port)| (name.to_string(), *port)).collect();
        assert_eq!(ports, [("http".to_owned(), 8080), ("metrics".to_owned(), 9100)]);
        assert_eq!((instance.state, instance.lease), (State::Draining, Some(Duration::from_secs(120))));
        assert!(instance.shared_address);
        assert_eq!(app.settings.web.unwrap().value.octets(), b"api");
    }

    #[test]
    fn what_a_registration_lacks_or_contradicts_is_a_fault() {
        for (text, expected) in [
            ("number: 1\naddress: 10.0.0.1\n", "1:1: `component` is missing"),
            ("component: web\naddress: 10.0.0.1\n", "1:1: `number` is missing"),
            ("component: web\nnumber: 1\n", "1:1: `address` is missing"),
            ("component: web\nnumber: 0\naddress: 10.0.0.1\n", "3:9: number: `0` is out of range"),
            ("component: web\nnumber: 1\naddresses: []\n", "4:12: addresses: the list of addresses is empty"),
            (
                "component: web\nprocess_type: web\nnumber: 1\nip: 10.0.0.1\n",
                "3:1: `component` at 2:1 and `process_type`",
            ),
            ("instance: web.1\nnumber: 2\nip: 10.0.0.1\n", "2:11: `instance` and `number` give different numbers"),
            (
                "instance: web.1\nip: 10.0.0.1\nstate: gone\n",
                "4:8: state: `gone` is not one of the values; write one of `up`",
            ),
            ("instance: web.1\nip: 10.0.0.1\nlease: 4s\n", "4:8: lease: a lease of `4s` is too short"),
            ("instance: web.1\nip: 10.0.0.1\nports: [80]\n", "4:8: ports: ports have no names"),
            (
                "instance: web.1\nip: 10.0.0.1\nport: 80\nports: {http: 81}\n",
                "5:9: ports.http: the port `http` is 81 here",
            ),
            ("instance: web.1\nip: 169.254.0.1\n", "3:5: ip: `169.254.0.1` is a link-local address"),
        ] {
            let faults = faults(&format!("app: shop\n{text}"));
            assert!(faults.len() == 1 && faults[0].starts_with(expected), "{text}: {faults:?}");
        }
    }

    #[test]
    fn an_instance_twice_in_a_document_is_a_fault_of_both_places() {
        assert_eq!(
            faults(
                "app: shop\ninstances:\n- {component: web_a, number: 1, ip: 10.0.0.1}\n- {instance: web-a.1, ip: 10.0.0.2}\n"
            ),
            [
                "4:3: instances[1]: the instance `web-a.1` is given twice, first at 3:3; remove one of the two, or correct its number"
            ]
        );
    }

    #[test]
    fn a_component_has_at_most_a_thousand_instances() {
        let list = |count: u32| -> String {
            let items = (1..=count).map(|n| format!("- {{instance: web.{n}, ip: 10.0.{}.{}}}\n", n / 250, n % 250));
            format!("app: shop\ninstances:\n{}", items.collect::<String>())
        };
        assert_eq!(app(&list(1000)).instances.len(), 1000);
        let faults = faults(&list(1010));
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("1003:3: instances[1000]: `web` has more than 1000 instances"), "{faults:?}");
    }
}
