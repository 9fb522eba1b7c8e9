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
pub(super) const COMPONENTS_MAX: usize = 1000;

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
        let protocol = protocol(&mut keys);
        health_check = keys.read("health_check", report, |node, report| read_health_check(node, protocol, report));
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

/// What a service speaks on its HTTP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    /// HTTP/2 without TLS and without being asked (RFC 9113 §3.3).
    Http2,
}

/// Any other word than the vendor's is passed over, as most of a spec is.
fn protocol(keys: &mut Keys<'_>) -> Protocol {
    let is_http2 = keys.find("protocol").is_some_and(|entry| match &entry.value.content {
        Content::Scalar(scalar) => scalar.text.eq_ignore_ascii_case("HTTP2"),
        _ => false,
    });
    if is_http2 { Protocol::Http2 } else { Protocol::Http1 }
}

/// Reads `health_check`; a number beyond the vendor's bounds is brought back to them with a warning.
fn read_health_check<'n>(node: &'n Node<'n>, protocol: Protocol, report: &mut Report<'n>) -> Option<HealthCheck> {
    let mut keys = Keys::of(node, "`health_check`", report)?;
    let mut http_path =
        keys.read_one_of(&["http_path", "path"], report, |node, report| checked(node, report, http_path));
    if let (Protocol::Http2, Some(path)) = (protocol, &http_path) {
        // A GET in HTTP/1.1 is no request to it, and would fail an instance that is well.
        report.warn(
            path.place,
            "checks speak HTTP/1.1 and the service HTTP/2: it is checked by connecting alone".to_owned(),
            "give `port` one that speaks HTTP/1.1 and leave `protocol` out, or leave it so".to_owned(),
        );
        http_path = None;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::{app, faults, read_text};

    #[test]
    fn a_list_may_be_one_mapping_or_null_or_empty() {
        let app =
            app("name: shop\nservices:\n  name: web\n  internal_ports: 3000\nworkers:\njobs: []\nstatic_sites: ~\n");
        assert_eq!(app.components.len(), 1);
        assert_eq!((app.components[0].http_port, app.components[0].internal_ports.as_slice()), (None, &[3000][..]));
    }

    #[test]
    fn a_service_without_ports_has_the_vendors() {
        let app = app(
            "name: shop\nservices:\n- name: ab\n- name: cd\n  internal_ports: [8080, 80, 80]\n- name: ef\n  http_port: 3000\n  \
             internal_ports: [9000]\n- name: gh\n  internal_ports: []\nworkers:\n- name: ij\n",
        );
        let ports: Vec<_> = app.components.iter().map(|c| (c.http_port, c.internal_ports.clone())).collect();
        assert_eq!(
            ports,
            [
                (Some(8080), vec![]),
                (None, vec![8080, 80]),
                (Some(3000), vec![9000]),
                (Some(8080), vec![]),
                (None, vec![])
            ]
        );
    }

    #[test]
    fn documented_keys_are_silent_and_unknown_ones_warn_with_their_place() {
        let reading = read_text(
            "name: shop\nregion: fra\nenvs: []\nalerts: []\nfeatures: [x]\ningress: {rules: []}\negress: {}\nvpc: {}\n\
             regoin: fra\nservices:\n- name: web\n  envs: [{key: A, value: secret}]\n  protocol: http2\n  htp_port: 80\n  \
             autoscaling: {min_instances: 2}\nworkers:\n- name: worker\n  http_port: 80\n",
        );
        assert_eq!(reading.faults, []);
        let warnings: Vec<_> = reading.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            warnings,
            [
                "9:1: regoin: an app spec has no key `regoin`; it is ignored; did you mean `region`?",
                "14:3: services[0].htp_port: a service has no key `htp_port`; it is ignored; did you mean `http_port`?",
                "15:17: services[0].autoscaling.min_instances: `autoscaling` has no key `min_instances`; it is ignored; \
                 remove it, or check its place",
                "18:3: workers[0].http_port: a worker has no key `http_port`; it is ignored; remove it, or check its place",
            ]
        );
    }

    #[test]
    fn a_name_is_unique_across_all_kinds() {
        assert_eq!(
            faults("name: shop\nservices: [{name: web}]\njobs:\n- name: web\nformation: {WEB: {quantity: 1}}\n"),
            [
                "4:9: jobs[0]: the component `web` is declared twice, first at 2:19; rename one of the two: a name is \
                 unique across all kinds of components",
                "5:13: formation.WEB: `WEB` and `web` at 2:19 are both `web` as names; rename one of the two: a name is \
                 unique across all kinds of components",
            ]
        );
    }

    #[test]
    fn process_types_become_labels_and_two_that_collide_are_a_fault() {
        let app = app(
            "app: shop\nformation: {web: {quantity: 2, size: x}, Extra_Worker: {quantity: \"1\"}, run: ~, cron: 3}\n",
        );
        let components: Vec<_> = app.components.iter().map(|c| (c.name.value.to_string(), c.quantity)).collect();
        assert_eq!(
            components,
            [
                ("web".to_owned(), Some(2)),
                ("extra-worker".to_owned(), Some(1)),
                ("run".to_owned(), None),
                ("cron".to_owned(), Some(3))
            ]
        );
        assert!(app.components.iter().all(|component| component.kind == ComponentKind::Process));
        let faults = faults("app: shop\nformation:\n  a_b: {}\n  A-B: {}\n");
        assert!(
            faults[0].starts_with("4:3: formation.A-B: `A-B` and `a_b` at 3:3 are both `a-b` as names"),
            "{faults:?}"
        );
    }

    #[test]
    fn the_quantity_is_the_count_or_the_least_of_autoscaling() {
        let app = app(
            "name: shop\nservices:\n- {name: ab, instance_count: 3}\n- {name: cd, autoscaling: {min_instance_count: 2, \
             max_instance_count: 4}}\n- {name: ef}\n",
        );
        assert_eq!(app.components.iter().map(|c| c.quantity).collect::<Vec<_>>(), [Some(3), Some(2), None]);
        assert!(faults("name: shop\nservices: {name: ab, instance_count: 1001}\n")[0].contains("0 to 1000"));
    }

    #[test]
    fn ports_in_quotes_are_taken_with_a_warning() {
        let text = "name: shop\nservices: {name: web, http_port: \"3000\"}\n";
        assert_eq!(app(text).components[0].http_port, Some(3000));
        assert!(
            read_text(text).warnings[0].to_string().starts_with("2:34: services.http_port: a port is written as text")
        );
        for port in ["0", "65536", "http", "-1", "08", "${PORT}"] {
            assert_eq!(
                faults(&format!("name: shop\nservices: {{name: web, http_port: \"{port}\"}}\n")).len(),
                1,
                "{port}"
            );
        }
    }

    #[test]
    fn a_service_that_speaks_http2_is_checked_by_connecting() {
        let text = |protocol: &str| {
            format!(
                "name: shop\nservices:\n  name: web\n  protocol: {protocol}\n  health_check: {{http_path: /healthz, port: 81}}\n"
            )
        };
        for (protocol, path) in
            [("HTTP2", None), ("http2", None), ("HTTP", Some("/healthz")), ("[x]", Some("/healthz"))]
        {
            let check = app(&text(protocol)).components[0].health_check.clone().unwrap();
            assert_eq!((check.http_path.as_deref(), check.port), (path, Some(81)), "{protocol}");
            assert_eq!(read_text(&text(protocol)).warnings.len(), usize::from(path.is_none()), "{protocol}");
        }
        let warning = read_text(&text("HTTP2")).warnings[0].to_string();
        assert!(warning.starts_with("5:29: services.health_check"), "{warning}");
    }

    #[test]
    fn a_health_check_has_the_vendors_defaults_and_bounds() {
        let text = "name: shop\nservices:\n  name: web\n  health_check: {path: healthz, period_seconds: 400, failure_threshold: 3}\n";
        let check = app(text).components[0].health_check.clone().unwrap();
        assert_eq!(check.http_path.as_deref(), Some("/healthz"));
        assert_eq!((check.period, check.timeout), (Duration::from_secs(300), Duration::from_secs(1)));
        assert_eq!((check.initial_delay, check.success_threshold, check.failure_threshold), (Duration::ZERO, 1, 3));
        assert!(read_text(text).warnings[0].to_string().contains("400 is out of bounds; 300 is taken"));
        let faults = faults("name: shop\nservices: {name: web, health_check: {http_path: \"/a b\\r\\nHost: x\"}}\n");
        assert!(faults[0].contains("has spaces"), "{faults:?}");
    }

    #[test]
    fn components_by_name_are_told_to_be_a_list() {
        let faults = faults("name: shop\nservices:\n  web: {http_port: 80}\n  api: {http_port: 81}\n");
        assert_eq!(faults.len(), 1);
        assert!(faults[0].contains("write a list, each item beginning with `- name:`"), "{faults:?}");
    }
}
