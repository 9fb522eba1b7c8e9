//! A Heroku space topology (design §2.4), as the vendor's tools write it.
//!
//! The samples disagree with the schema and with each other, so this reader takes every form of them: `formation` and
//! `formations`, a dyno twice, a hostname that is missing or lacks its process type, numbers in any order. What the
//! names of its apps are is for the registry to find.

use std::collections::HashMap;

use crate::name::{Label, Name};

use super::app::NAMES_MAX;
use super::component::COMPONENTS_MAX;
use super::network::private_address;
use super::reader::{Keys, checked, each, text, whole};
use super::registration::{ADDRESSES_MAX, INSTANCES_MAX};
use super::report::{Report, quote};
use super::tree::Node;
use super::{At, InstanceSpec, Place, State, TopologyApp, names};

/// Reads a topology document.
pub(super) fn read<'n>(mut keys: Keys<'n>, report: &mut Report<'n>) -> Option<Vec<TopologyApp>> {
    let before = report.fault_count();
    let apps = keys.read("apps", report, |node, report| Some(each(node, report, app))).unwrap_or_default();
    keys.finish("a topology", &["version"], report);
    (report.fault_count() == before).then_some(apps)
}

fn app<'n>(node: &'n Node<'n>, report: &mut Report<'n>) -> Option<TopologyApp> {
    let mut keys = Keys::of(node, "an app of the topology", report)?;
    let domains = keys.read("domains", report, |node, report| {
        let domains = each(node, report, |node, report| checked(node, report, names::domain_or_wildcard));
        if let Some(At { place, .. }) = domains.get(NAMES_MAX) {
            report.fault(*place, format!("the app has more than {NAMES_MAX} domains"), "leave some out");
        }
        Some(domains)
    });
    let mut app = Builder::default();
    for key in ["formation", "formations"] {
        keys.read(key, report, |node, report| {
            each(node, report, |node, report| {
                app.read_process(node, report);
                Some(())
            });
            Some(())
        });
    }
    keys.finish("an app of a topology", &["id", "name"], report);
    Some(TopologyApp {
        place: node.place,
        domains: domains.unwrap_or_default(),
        hostnames: app.hostnames,
        processes: app.processes.into_iter().map(|(label, _)| label).collect(),
        instances: app.instances,
    })
}

/// An app whose dynos are being read.
#[derive(Default)]
struct Builder<'n> {
    hostnames: Vec<At<Name>>,
    /// The process types, and how each was written.
    processes: Vec<(At<Label>, &'n str)>,
    instances: Vec<At<InstanceSpec>>,
    /// Where a dyno stands in `instances`.
    index: HashMap<(Label, u32), usize>,
    counts: HashMap<Label, usize>,
}

impl<'n> Builder<'n> {
    fn read_process(&mut self, node: &'n Node<'n>, report: &mut Report<'n>) {
        let Some(mut keys) = Keys::of(node, "a formation", report) else { return };
        let process = keys.read("process_type", report, |node, report| {
            let written = text(node, report)?;
            Some((checked(node, report, names::process)?, written))
        });
        if !keys.has("process_type") {
            keys.missing("process_type", "name the process type, as `web`", report);
        }
        // A broken name must not hide the faults of its dynos.
        let component = process.as_ref().map(|(label, _)| label.value.clone());
        if let Some((label, written)) = process {
            self.add_process(label, written, report);
        }
        keys.read("dynos", report, |node, report| {
            each(node, report, |node, report| {
                self.read_dyno(component.as_ref(), node, report);
                Some(())
            });
            Some(())
        });
        keys.finish("a formation", &["id"], report);
    }

    fn add_process(&mut self, label: At<Label>, written: &'n str, report: &mut Report<'n>) {
        match self.processes.iter().find(|(known, _)| known.value == label.value) {
            None if self.processes.len() > COMPONENTS_MAX => {}
            None => {
                if self.processes.len() == COMPONENTS_MAX {
                    let fault = format!("the app has more than {COMPONENTS_MAX} process types");
                    report.fault(label.place, fault, "leave some out");
                }
                self.processes.push((label, written));
            }
            // One process type in two formations: its dynos add up.
            Some((_, known)) if *known == written => {}
            Some((first, known)) => {
                let fault = format!(
                    "{} and {} at {} are both `{}` as names",
                    quote(written),
                    quote(known),
                    first.place,
                    label.value
                );
                report.fault(label.place, fault, "rename one of the two process types");
            }
        }
    }

    fn read_dyno(&mut self, component: Option<&Label>, node: &'n Node<'n>, report: &mut Report<'n>) {
        let Some(mut keys) = Keys::of(node, "a dyno", report) else { return };
        let number = keys.read("number", report, |node, report| whole(node, 1..=u32::MAX, report));
        if !keys.has("number") {
            keys.missing("number", "give the dyno's number", report);
        }
        let address = keys.read("private_ip", report, |node, report| checked(node, report, private_address));
        if !keys.has("private_ip") {
            report.warn(
                node.place,
                "the dyno has no `private_ip`; it is left out",
                "take the topology again when it is up",
            );
        }
        if let Some(hostname) = keys.read("hostname", report, hostname) {
            self.hostnames.push(hostname);
        }
        keys.finish("a dyno", &["id", "host_entry"], report);
        let (Some(component), Some(number), Some(address)) = (component, number, address) else { return };
        self.add_dyno(component, number.value, address, node.place, report);
    }

    fn add_dyno(
        &mut self,
        component: &Label,
        number: u32,
        address: At<std::net::IpAddr>,
        place: Place,
        report: &mut Report<'n>,
    ) {
        if let Some(known) =
            self.index.get(&(component.clone(), number)).and_then(|index| self.instances.get_mut(*index))
        {
            let fault = format!("the dyno `{component}.{number}` is given twice, first at {}; both count", known.place);
            report.warn(place, fault, "nothing to do while a deploy runs: the topology shows the old and the new");
            if !known.value.addresses.contains(&address.value) && known.value.addresses.len() < ADDRESSES_MAX {
                known.value.addresses.push(address.value);
            }
            return;
        }
        let count = self.counts.entry(component.clone()).or_default();
        *count += 1;
        if *count > INSTANCES_MAX {
            if *count == INSTANCES_MAX + 1 {
                let fault = format!("`{component}` has more than {INSTANCES_MAX} dynos");
                report.fault(place, fault, "one answer holds no more: leave some out");
            }
            return;
        }
        self.index.insert((component.clone(), number), self.instances.len());
        let value = InstanceSpec {
            component: component.clone(),
            number,
            addresses: vec![address.value],
            ports: Vec::new(),
            state: State::Up,
            lease: None,
            shared_address: true,
        };
        self.instances.push(At { value, place });
    }
}

/// A hostname is a hint at the app's name: one that is no name is passed over with a warning.
fn hostname<'n>(node: &'n Node<'n>, report: &mut Report<'n>) -> Option<At<Name>> {
    let written = text(node, report)?;
    match names::host(written) {
        Ok(value) => Some(At { value, place: node.place }),
        Err(refusal) => {
            report.warn(node.place, format!("{}; it is ignored", refusal.fault), refusal.remedy);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Document, Format, Reading};

    fn read_text(text: &str) -> Reading {
        crate::spec::read(text.as_bytes(), Format::Json, "stem")
    }

    fn apps(text: &str) -> Vec<TopologyApp> {
        let reading = read_text(text);
        assert_eq!(reading.faults, []);
        let Some(Document::Topology(apps)) = reading.documents.into_iter().next() else { panic!("not a topology") };
        apps
    }

    #[test]
    fn both_spellings_of_formation_and_every_gap_are_taken() {
        let apps = apps(
            r#"{"version": 1, "apps": [{"id": "x", "domains": ["*.example.com", "Shop.herokuapp.com."],
                "formation": [{"id": "y", "process_type": "web", "dynos": [
                    {"id": "z", "number": 2, "private_ip": "10.0.0.2", "hostname": null},
                    {"number": 1, "private_ip": "10.0.0.2", "hostname": "1.shop.app.localspace", "host_entry": "x"}]}],
                "formations": [{"process_type": "Extra_Worker", "dynos": null}]}, {"domains": null}]}"#,
        );
        assert_eq!(apps.len(), 2);
        let app = &apps[0];
        assert_eq!(app.domains[0].value.to_string(), "*.example.com.");
        assert_eq!(app.hostnames.len(), 1);
        let processes: Vec<_> = app.processes.iter().map(|at| at.value.to_string()).collect();
        assert_eq!(processes, ["web", "extra-worker"]);
        assert_eq!(app.instances.iter().map(|at| at.value.number).collect::<Vec<_>>(), [2, 1]);
        assert!(app.instances.iter().all(|at| at.value.shared_address && at.value.lease.is_none()));
    }

    #[test]
    fn a_dyno_twice_keeps_both_addresses_with_a_warning() {
        let text = r#"{"apps": [{"formation": [{"process_type": "web", "dynos": [
            {"number": 1, "private_ip": "10.0.0.1"}, {"number": 1, "private_ip": "10.0.0.2"}, {"number": 2}]}]}]}"#;
        let apps = apps(text);
        assert_eq!(apps[0].instances.len(), 1);
        assert_eq!(apps[0].instances[0].value.addresses.len(), 2);
        assert_eq!(read_text(text).warnings.len(), 2);
    }

    #[test]
    fn an_app_has_so_many_domains_and_process_types_and_no_more() {
        let list = |count: usize, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<Vec<_>>().join(",\n");
        let text = |count: usize| {
            let domains = list(count, &|n| format!("\"d{n}.example.com\""));
            let processes = list(count, &|n| format!("{{\"process_type\": \"p{n}\"}}"));
            format!("{{\"apps\": [{{\"domains\": [{domains}], \"formation\": [{processes}]}}]}}")
        };
        assert_eq!(apps(&text(1_000))[0].processes.len(), 1_000);
        let faults: Vec<_> = read_text(&text(1_010)).faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults.len(), 2, "{faults:#?}");
        assert!(faults[0].starts_with("1001:1: apps[0].domains: the app has more than 1000 domains"), "{}", faults[0]);
        assert!(faults[1].contains("more than 1000 process types"), "{}", faults[1]);
    }

    #[test]
    fn process_types_that_collide_and_wrong_addresses_are_faults() {
        let reading = read_text(
            "{\"apps\": [{\"domains\": [\"a b\"], \"formation\": [\n{\"process_type\": \"a_b\"},\n{\"process_type\": \"a-b\", \
             \"dynos\": [\n{\"number\": 1, \"private_ip\": \"8.8.8.8\"}, {\"private_ip\": \"10.0.0.1\"}]}]}]}",
        );
        let faults: Vec<_> = reading.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults.len(), 4, "{faults:#?}");
        assert!(faults[0].starts_with("1:24: apps[0].domains[0]: `a b` is not a host name"), "{}", faults[0]);
        assert!(faults[1].starts_with("3:18: apps[0].formation[1]: `a-b` and `a_b` at 2:18 are both"), "{}", faults[1]);
        assert!(
            faults[2].starts_with("4:29: apps[0].formation[1].dynos[0].private_ip: `8.8.8.8` is a public"),
            "{}",
            faults[2]
        );
        assert!(faults[3].starts_with("4:41: apps[0].formation[1].dynos[1]: `number` is missing"), "{}", faults[3]);
    }
}
