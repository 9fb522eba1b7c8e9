//! Components: DigitalOcean's lists of them, and Heroku's `formation` (design §2.2).
//!
//! What the vendor documents and we have no use for is listed here by kind, so that a slip in a key is told from a key
//! that is none of our business.

use std::collections::HashMap;
use std::time::Duration;

use crate::name::Label;

use super::reader::{Keys, Refusal, checked, each, port, text, whole};
use super::registration::INSTANCES_MAX;
use super::report::{Report, Step, quote};
use super::text::to_u32;
use super::tree::{Content, Node};
use super::{At, ComponentKind, ComponentSpec, HealthCheck, Place, names};

/// The port of a service that names none (the vendor's default).
const HTTP_PORT_DEFAULT: u16 = 8080;
/// The most ports of one service: each is an SRV record set of its own.
const PORTS_MAX: usize = 64;
/// The most components of an app: several times the vendors' limits.
const COMPONENTS_MAX: usize = 1000;

/// The lists of an app spec: key, kind, what one is called, and its documented keys that we have no use for.
pub(super) const LISTS: [(&str, ComponentKind, &str, &[&str]); 6] = [
    ("services", ComponentKind::Service, "a service", SERVICE_KEYS),
    ("workers", ComponentKind::Worker, "a worker", WORKER_KEYS),
    ("jobs", ComponentKind::Job, "a job", JOB_KEYS),
    ("static_sites", ComponentKind::StaticSite, "a static site", STATIC_SITE_KEYS),
    ("functions", ComponentKind::Function, "a function", FUNCTION_KEYS),
    ("databases", ComponentKind::Database, "a database", DATABASE_KEYS),
];

/// The components of a document so far: one name, one component, whatever its kind.
#[derive(Debug, Default)]
pub(super) struct Components {
    list: Vec<ComponentSpec>,
    first: HashMap<Label, (Place, String)>,
}

impl Components {
    /// Takes one more, written so; a name that is there already is a fault that names both places.
    fn add(&mut self, component: ComponentSpec, written: &str, report: &mut Report<'_>) {
        let At { value: name, place } = &component.name;
        if let Some((first, other)) = self.first.get(name) {
            let fault = if other == written {
                format!("the component {} is declared twice, first at {first}", quote(written))
            } else {
                format!("{} and {} at {first} are both `{name}` as names", quote(written), quote(other))
            };
            report.fault(*place, fault, "rename one of the two: a name is unique across all kinds of components");
            return;
        }
        if self.list.len() == COMPONENTS_MAX {
            report.fault(*place, format!("the app has more than {COMPONENTS_MAX} components"), "split the app");
        }
        self.first.insert(name.clone(), (*place, written.to_owned()));
        if self.list.len() < COMPONENTS_MAX {
            self.list.push(component);
        }
    }

    /// The components in the order of the document.
    pub(super) fn into_list(self) -> Vec<ComponentSpec> {
        self.list
    }
}

/// Reads every list of components and `formation` of a document.
pub(super) fn read_all<'n>(keys: &mut Keys<'n>, report: &mut Report<'n>) -> Components {
    let mut components = Components::default();
    for (key, kind, what, ignored) in LISTS {
        keys.read(key, report, |node, report| {
            each(node, report, |node, report| {
                read(node, kind, what, ignored, &mut components, report);
                Some(())
            });
            Some(())
        });
    }
    keys.read("formation", report, |node, report| {
        let formation = Keys::of(node, "`formation`", report)?;
        for entry in formation.entries() {
            report.within(Step::Key(&entry.key), |report| {
                read_process(&entry.key, entry.place, &entry.value, &mut components, report);
            });
        }
        Some(())
    });
    components
}

fn read<'n>(
    node: &'n Node<'n>,
    kind: ComponentKind,
    what: &str,
    ignored: &'static [&'static str],
    components: &mut Components,
    report: &mut Report<'n>,
) {
    let Some(mut keys) = Keys::of(node, what, report) else { return };
    let name =
        keys.read("name", report, |node, report| Some((checked(node, report, names::component)?, text(node, report)?)));
    if !keys.has("name") {
        keys.missing("name", missing_name_remedy(&keys, what), report);
    }
    let quantity = quantity(&mut keys, report);
    let (mut http_port, mut internal_ports, mut health_check) = (None, Vec::new(), None);
    if kind == ComponentKind::Service {
        http_port = keys.read("http_port", report, port);
        let has_internal_ports = keys.has("internal_ports");
        internal_ports = keys.read("internal_ports", report, read_internal_ports).unwrap_or_default();
        // An `internal_ports` that could not be read still says that the service is internal-only.
        if !keys.has("http_port") && (!has_internal_ports || is_empty_list(&mut keys, "internal_ports")) {
            http_port = Some(HTTP_PORT_DEFAULT);
        }
        health_check = keys.read("health_check", report, read_health_check);
    }
    keys.finish(what, ignored, report);
    if let Some((name, written)) = name {
        let component = ComponentSpec { name, kind, http_port, internal_ports, quantity, health_check };
        components.add(component, written, report);
    }
}

/// Reads one entry of `formation` (app.json's form): its key is the process type.
fn read_process<'n>(
    written: &'n str,
    place: Place,
    node: &'n Node<'n>,
    components: &mut Components,
    report: &mut Report<'n>,
) {
    let quantity = match &node.content {
        Content::Null => None,
        Content::Scalar(_) => whole(node, 0..=to_u32(INSTANCES_MAX), report).map(|at| at.value),
        _ => Keys::of(node, "a process type", report).and_then(|mut keys| {
            let quantity = keys.read("quantity", report, |node, report| whole(node, 0..=to_u32(INSTANCES_MAX), report));
            keys.finish("a process type", &["size", "command", "id", "type"], report);
            quantity.map(|at| at.value)
        }),
    };
    match names::process(written) {
        Err(Refusal { fault, remedy }) => report.fault(place, fault, remedy),
        Ok(value) => {
            let component = ComponentSpec {
                name: At { value, place },
                kind: ComponentKind::Process,
                http_port: None,
                internal_ports: Vec::new(),
                quantity,
                health_check: None,
            };
            components.add(component, written, report);
        }
    }
}

fn missing_name_remedy(keys: &Keys<'_>, what: &str) -> String {
    let is_by_name = keys.entries().iter().all(|entry| matches!(entry.value.content, Content::Mapping(_)));
    if is_by_name && !keys.entries().is_empty() {
        format!("write a list, each item beginning with `- name:` and then the keys of {what}")
    } else {
        format!("name {what}, as `name: web`")
    }
}

/// How many instances are declared: `instance_count`, else the least that autoscaling keeps.
fn quantity<'n>(keys: &mut Keys<'n>, report: &mut Report<'n>) -> Option<u32> {
    let range = 0..=to_u32(INSTANCES_MAX);
    let count = keys.read("instance_count", report, |node, report| whole(node, range.clone(), report));
    let least = keys.read("autoscaling", report, |node, report| {
        let mut keys = Keys::of(node, "`autoscaling`", report)?;
        let least = keys.read("min_instance_count", report, |node, report| whole(node, range.clone(), report));
        keys.finish("`autoscaling`", &["max_instance_count", "metrics"], report);
        least
    });
    count.or(least).map(|at| at.value)
}

fn read_internal_ports<'n>(node: &'n Node<'n>, report: &mut Report<'n>) -> Option<Vec<u16>> {
    let mut ports = Vec::new();
    for port in each(node, report, port) {
        // The vendor's own example repeats the public port; repeating one is no mistake.
        if !ports.contains(&port) {
            ports.push(port);
        }
        if ports.len() > PORTS_MAX {
            report.fault(node.place, format!("a service has more than {PORTS_MAX} internal ports"), "remove some");
            return None;
        }
    }
    Some(ports)
}

fn is_empty_list(keys: &mut Keys<'_>, key: &'static str) -> bool {
    keys.find(key).is_none_or(|entry| matches!(&entry.value.content, Content::List(items) if items.is_empty()))
}

/// Reads `health_check`; a number beyond the vendor's bounds is brought back to them with a warning.
fn read_health_check<'n>(node: &'n Node<'n>, report: &mut Report<'n>) -> Option<HealthCheck> {
    let mut keys = Keys::of(node, "`health_check`", report)?;
    let http_path = keys.read_one_of(&["http_path", "path"], report, |node, report| checked(node, report, http_path));
    let port = keys.read("port", report, port);
    let mut number = |key, default, least, most| {
        let read = keys.read(key, report, |node, report| {
            let number = whole(node, 0..=u32::MAX, report)?.value;
            if (least..=most).contains(&number) {
                return Some(number);
            }
            let bounded = number.clamp(least, most);
            report.warn(
                node.place,
                format!("{number} is out of bounds; {bounded} is taken"),
                format!("give {least} to {most}"),
            );
            Some(bounded)
        });
        read.unwrap_or(default)
    };
    let seconds = |number| Duration::from_secs(u64::from(number));
    let check = HealthCheck {
        http_path: http_path.map(|at| at.value),
        port,
        initial_delay: seconds(number("initial_delay_seconds", 0, 0, 3600)),
        period: seconds(number("period_seconds", 10, 1, 300)),
        timeout: seconds(number("timeout_seconds", 1, 1, 120)),
        success_threshold: number("success_threshold", 1, 1, 50),
        failure_threshold: number("failure_threshold", 9, 1, 50),
    };
    keys.finish("`health_check`", &["host", "scheme"], report);
    Some(check)
}

/// The rule of a path that goes into an HTTP request line: nothing in it may end the line.
fn http_path(written: &str) -> Result<String, Refusal> {
    if written.len() > 2048 {
        return Err(Refusal::new("the path is longer than 2048 octets", "shorten it"));
    }
    if !written.bytes().all(|octet| octet.is_ascii_graphic()) {
        let fault = format!("{} has spaces, control characters or non-ASCII in it", quote(written));
        return Err(Refusal::new(fault, "write them as %20 and so on"));
    }
    // The vendor takes a path without its slash.
    Ok(if written.starts_with('/') { written.to_owned() } else { format!("/{written}") })
}

const SERVICE_KEYS: &[&str] = &[
    "alerts",
    "bitbucket",
    "build_command",
    "cors",
    "dockerfile_path",
    "environment_slug",
    "envs",
    "git",
    "github",
    "gitlab",
    "image",
    "inactivity_sleep",
    "instance_size_slug",
    "liveness_health_check",
    "log_destinations",
    "protocol",
    "routes",
    "run_command",
    "source_dir",
    "termination",
];
const WORKER_KEYS: &[&str] = &[
    "alerts",
    "bitbucket",
    "build_command",
    "dockerfile_path",
    "environment_slug",
    "envs",
    "git",
    "github",
    "gitlab",
    "image",
    "inactivity_sleep",
    "instance_size_slug",
    "liveness_health_check",
    "log_destinations",
    "run_command",
    "source_dir",
    "termination",
];
const JOB_KEYS: &[&str] = &[
    "alerts",
    "bitbucket",
    "build_command",
    "dockerfile_path",
    "environment_slug",
    "envs",
    "git",
    "github",
    "gitlab",
    "image",
    "instance_size_slug",
    "kind",
    "log_destinations",
    "run_command",
    "schedule",
    "source_dir",
    "termination",
    "timeout",
];
const STATIC_SITE_KEYS: &[&str] = &[
    "bitbucket",
    "build_command",
    "catchall_document",
    "cors",
    "dockerfile_path",
    "environment_slug",
    "envs",
    "error_document",
    "git",
    "github",
    "gitlab",
    "image",
    "index_document",
    "output_dir",
    "routes",
    "run_command",
    "source_dir",
];
const FUNCTION_KEYS: &[&str] =
    &["alerts", "bitbucket", "cors", "envs", "git", "github", "gitlab", "log_destinations", "routes", "source_dir"];
const DATABASE_KEYS: &[&str] =
    &["cluster_name", "db_name", "db_user", "engine", "num_nodes", "production", "size", "version"];
