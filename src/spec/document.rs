//! A file → its documents: which reader each one is for, and what concerns the file as a whole.

use serde::de::IgnoredAny;

use super::reader::Keys;
use super::report::Report;
use super::text::{decode, place_of};
use super::tree::{self, Node};
use super::{
    AppSpec, Document, Fault, Format, Place, REGISTRATION_MAX, Reading, Role, SPEC_MAX, app, quick, space, topology,
};

/// See [`read`](super::read), which this is.
pub(super) fn read(octets: &[u8], format: Format, stem: &str) -> Reading {
    if octets.len() > REGISTRATION_MAX {
        let fault = format!("the file has {} octets, and {REGISTRATION_MAX} are the most", octets.len());
        return refuse(Place::START, fault, "split it: one file an instance is best");
    }
    if format == Format::Json
        && let Some(document) = quick::read(octets)
    {
        return Reading { documents: vec![document], ..Reading::default() };
    }
    match decode(octets) {
        Err(fault) => Reading { faults: vec![fault], ..Reading::default() },
        Ok(text) if format == Format::Json => read_json(text, octets.len(), stem),
        Ok(text) => read_text(text, octets.len(), stem),
    }
}

/// JSON is checked as such first, so that a cut or a sloppy file does not pass as YAML; the tree then gives places.
fn read_json(text: &str, size: usize, stem: &str) -> Reading {
    if text.trim_ascii().is_empty() {
        return refuse(Place::START, "the file is empty", "write a document, or remove the file");
    }
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        let refused = refuse(json_place(text, &error), json_fault(&error), "correct it there, or just before");
        let documents = if looks_like_a_space(text) { vec![Document::BrokenSpace] } else { Vec::new() };
        return Reading { documents, ..refused };
    }
    read_by_tree(text, size, stem)
}

/// Reads valid JSON as YAML.
pub(super) fn read_by_tree(text: &str, size: usize, stem: &str) -> Reading {
    // In valid JSON a tab or a carriage return is white space between values: YAML takes no tab at the start of a line,
    // and takes a lone carriage return for the end of one.
    if text.contains(['\t', '\r']) {
        read_text(&text.replace(['\t', '\r'], " "), size, stem)
    } else {
        read_text(text, size, stem)
    }
}

fn read_text(text: &str, size: usize, stem: &str) -> Reading {
    let mut report = Report::default();
    let nodes = tree::parse(text, &mut report);
    if nodes.is_empty() && report.fault_count() == 0 {
        return refuse(Place::START, "the file is empty", "write a document, or remove the file");
    }
    let mut documents = Vec::with_capacity(nodes.len());
    if report.fault_count() > 0 && looks_like_a_space(text) {
        documents.push(Document::BrokenSpace);
    }
    for node in &nodes {
        if report.is_full() {
            break;
        }
        let Some(document) = read_document(node, stem, &mut report) else { continue };
        if size > SPEC_MAX && is_spec(&document) {
            let fault =
                format!("an app spec or a space stands in a file of {size} octets, and {SPEC_MAX} are the most");
            report.fault(node.place, fault, "put registrations into files of their own");
        }
        documents.push(document);
    }
    let (faults, warnings) = report.into_findings();
    Reading { documents, faults, warnings }
}

fn is_spec(document: &Document) -> bool {
    let is_space = matches!(document, Document::Space(_) | Document::BrokenSpace);
    is_space || matches!(document, Document::App(AppSpec { role: Role::Spec, .. }))
}

/// Whether a text that cannot be parsed was to be a space: the key stands where a key of a document does.
fn looks_like_a_space(text: &str) -> bool {
    text.lines().any(|line| {
        let key = line.trim_start_matches('\u{feff}').trim_start_matches('{').trim_start();
        line.starts_with("space:") || key.starts_with("\"space\":") || key.starts_with("\"space\" :")
    })
}

/// Tells the kind of a document by its keys, never by its place.
fn read_document<'n>(node: &'n Node<'n>, stem: &str, report: &mut Report<'n>) -> Option<Document> {
    let mut keys = Keys::of(node, "the document", report)?;
    let present: Vec<_> = KIND_KEYS.iter().copied().filter(|key| keys.has(key)).collect();
    match *present.as_slice() {
        ["space"] => Some(space::read(keys, report).map_or(Document::BrokenSpace, Document::Space)),
        ["name"] => app::read_spec(keys, stem, report).map(Document::App),
        ["spec"] => {
            let spec = keys.read("spec", report, |node, report| {
                let keys = Keys::of(node, "`spec`", report)?;
                if keys.has("name") || is_fragment(&keys) {
                    return app::read_spec(keys, stem, report);
                }
                keys.missing("name", "name the app, as `name: shop`", report);
                None
            });
            keys.finish("a deploy template", &[], report);
            spec.map(Document::App)
        }
        ["app"] => app::read_addition(keys, report).map(Document::App),
        ["apps"] => topology::read(keys, report).map(Document::Topology),
        [] if is_fragment(&keys) => app::read_spec(keys, stem, report).map(Document::App),
        [] => {
            report.fault(keys.place, "the document has no key that tells what it is", KINDS);
            None
        }
        [..] => {
            let both: Vec<_> = present.iter().map(|key| format!("`{key}` at {}", keys.place_of(key))).collect();
            report.fault(keys.place, format!("the document is of two kinds: it has {}", both.join(" and ")), KINDS);
            present.contains(&"space").then_some(Document::BrokenSpace)
        }
    }
}

fn is_fragment(keys: &Keys<'_>) -> bool {
    ["services", "workers", "jobs"].iter().any(|key| keys.has(key))
}

fn refuse(place: Place, fault: impl Into<String>, remedy: &str) -> Reading {
    let fault = Fault { place, field: String::new(), fault: fault.into(), remedy: remedy.to_owned() };
    Reading { faults: vec![fault], ..Reading::default() }
}

/// serde_json counts columns in octets; ours are in characters.
fn json_place(text: &str, error: &serde_json::Error) -> Place {
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    place_of(text.as_bytes(), before + error.column().saturating_sub(1))
}

/// The parser's own words without its place, which is told in ours. They quote nothing of the file.
fn json_fault(error: &serde_json::Error) -> String {
    let words = error.to_string();
    let what = words.rsplit_once(" at line ").map_or(words.as_str(), |(what, _)| what);
    if error.is_eof() { "the JSON ends too early".to_owned() } else { format!("not JSON: {what}") }
}

const KIND_KEYS: [&str; 5] = ["space", "name", "spec", "app", "apps"];
const KINDS: &str = "give it one of `space:` (a space), `name:` (an app spec), `app:` (registrations or settings of an \
                     app) and `apps:` (a Heroku space topology)";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::spec::ComponentKind;

    fn yaml(text: impl AsRef<[u8]>) -> Reading {
        read(text.as_ref(), Format::Yaml, "stem")
    }

    fn json(text: impl AsRef<[u8]>) -> Reading {
        read(text.as_ref(), Format::Json, "stem")
    }

    fn faults(reading: &Reading) -> Vec<String> {
        reading.faults.iter().map(ToString::to_string).collect()
    }

    /// The one fault of a reading.
    fn fault(reading: &Reading) -> String {
        assert_eq!(reading.faults.len(), 1, "{:?}", reading.faults);
        reading.faults[0].to_string()
    }

    #[test]
    fn every_fault_of_a_file_is_reported_at_once_with_its_place() {
        let reading = yaml(
            "name: shop\n\
             services:\n\
             \x20 - name: Web\n\
             \x20   http_port: 0\n\
             \x20 - nme: api\n\
             internal_routing: yes\n\
             ---\n\
             app: shop\n\
             component: web\n\
             number: 1\n\
             number: 2\n\
             address: 127.0.0.1\n",
        );
        let places: Vec<_> =
            reading.faults.iter().map(|fault| (fault.place.to_string(), fault.field.as_str())).collect();
        assert_eq!(
            places,
            [
                ("3:11".to_owned(), "services[0].name"),
                ("4:16".to_owned(), "services[0].http_port"),
                ("5:5".to_owned(), "services[1]"),
                ("6:19".to_owned(), "internal_routing"),
                ("11:1".to_owned(), ""),
                ("12:10".to_owned(), "address"),
            ],
            "{:#?}",
            reading.faults
        );
        assert_eq!(reading.warnings[0].remedy, "did you mean `name`?");
        assert!(faults(&reading)[3].contains("`yes` is neither true nor false; write `true` or `false`"));
    }

    #[test]
    fn a_kind_is_told_by_its_key() {
        let reading = yaml(
            "space: acme\ncidr: 10.0.0.0/16\n---\nname: shop\n---\nspec:\n  name: blog\n---\napp: shop\nweb: api\n\
             ---\napps: []\n",
        );
        assert_eq!(reading.faults, []);
        assert!(matches!(
            reading.documents.as_slice(),
            [Document::Space(_), Document::App(_), Document::App(_), Document::App(_), Document::Topology(_)]
        ));
    }

    #[test]
    fn a_space_at_fault_is_a_space_still() {
        for text in [
            "space: acme\ncidr: 10.0.0.0/16\nttl: 0\n",
            "space: [\n",
            "space: acme\n  cidr: 10.0.0.0/16\n",
            "space: acme\nname: shop\n",
            "space: acme\ncidr: 10.0.0.0/16\n---\nname: Shop\n",
            "---\nname: shop\n---\nspace: acme\n\tcidr: x\n",
        ] {
            let reading = yaml(text);
            assert!(!reading.faults.is_empty(), "{text}");
            assert_eq!(reading.remains(), [Document::BrokenSpace], "{text}");
        }
        assert_eq!(json("{\n  \"space\": \"acme\",\n}").remains(), [Document::BrokenSpace]);
        for text in ["name: Shop\n", "name: [\nspaces: 1\n", "name: shop\nservices:\n  space: [\n"] {
            assert_eq!(yaml(text).remains(), [], "{text}");
        }
    }

    #[test]
    fn no_kind_and_two_kinds_are_faults_that_name_the_four() {
        for (text, place) in [
            ("colour: red\n", "1:1: the document has no key that tells what it is"),
            ("name: shop\napp: shop\n", "1:1: the document is of two kinds: it has `name` at 1:1 and `app` at 2:1"),
            ("space: acme\napps: []\n", "1:1: the document is of two kinds: it has `space` at 1:1 and `apps` at 2:1"),
        ] {
            let fault = fault(&yaml(text));
            assert!(fault.starts_with(place), "{fault}");
            for kind in ["`space:`", "`name:`", "`app:`", "`apps:`"] {
                assert!(fault.contains(kind), "{fault}");
            }
        }
        assert!(fault(&yaml("- a\n")).starts_with("1:1: the document is not a mapping"));
        assert!(fault(&yaml("spec:\n  region: fra\n")).starts_with("2:3: spec: `name` is missing"));
        assert!(fault(&yaml("spec: 1\n")).contains("`spec` is not a mapping"));
    }

    #[test]
    fn a_fragment_is_the_app_that_its_file_is_called() {
        // As the vendor's page on internal routing has it.
        let text = "services:\n  name: web\n  internal_ports: [8080, 3000]\n";
        let reading = read(text.as_bytes(), Format::Yaml, "two-ports");
        assert_eq!(reading.faults, []);
        assert_eq!(
            reading.warnings[0].to_string(),
            "1:1: the app spec has no `name`; the app is called `two-ports` after its file; add `name: two-ports`"
        );
        let [Document::App(app)] = reading.documents.as_slice() else { panic!("{reading:?}") };
        assert_eq!(app.app.value.octets(), b"two-ports");
        assert_eq!(app.components[0].internal_ports, [8080, 3000]);
        assert_eq!(app.components[0].http_port, None);
        assert!(fault(&read(text.as_bytes(), Format::Yaml, "app.prod")).contains("`name` is missing"));
    }

    #[test]
    fn a_byte_order_mark_and_carriage_returns_are_accepted() {
        assert_eq!(yaml("\u{feff}name: shop\r\nservices:\r\n- name: web\r\n").faults, []);
        let reading = json("\u{feff}{\r\n\t\"name\": \"shop\",\r\n\t\"web\": \"a b\"\r\n}");
        assert!(fault(&reading).starts_with("3:9: web: "), "{:?}", reading.faults);
    }

    #[test]
    fn an_empty_file_is_a_fault_and_an_empty_document_is_none() {
        for text in ["", "\n\n", "# nothing yet\n", "---\n---\n", "~\n"] {
            assert_eq!(fault(&yaml(text)), "1:1: the file is empty; write a document, or remove the file", "{text:?}");
        }
        assert!(fault(&json("")).contains("empty"));
        assert_eq!(yaml("---\nname: shop\n---\n").faults, []);
    }

    #[test]
    fn hostile_octets_are_faults_with_places() {
        assert!(fault(&yaml("name: shop\n\tregion: x\n")).starts_with("2:"), "{:?}", yaml("name: shop\n\tregion: x\n"));
        assert!(fault(&yaml("services:\n\t- name: x\n")).contains("a tab is used for indentation"));
        assert!(fault(&yaml("name: sh\0op\n")).starts_with("1:9: a NUL"));
        assert!(fault(&yaml(b"n\0a\0m\0e\0:\0")).contains("UTF-16"));
        assert!(fault(&yaml(b"name: shop\nregion: \xff\n")).starts_with("2:9: octet 0xff"));
        assert!(fault(&yaml("[".repeat(20_000))).contains("nested more than 64 deep"));
        assert!(fault(&json("[".repeat(20_000))).contains("the JSON ends too early"));
        let closed = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
        assert!(fault(&json(closed)).starts_with("1:65: lists and mappings are nested more than 64 deep"));
        assert!(fault(&yaml(vec![b'a'; REGISTRATION_MAX + 1])).contains("4194305 octets, and 4194304 are the most"));
    }

    #[test]
    fn json_is_not_yaml() {
        for (text, expected) in [
            ("{\"name\": \"shop\"", "1:15: the JSON ends too early"),
            ("name: shop\n", "1:2: not JSON: expected ident"),
            ("{\"name\": \"shop\",}", "1:17: not JSON: key must be a string"),
            ("{\"é\": é}", "1:7: not JSON: expected value"),
        ] {
            assert!(fault(&json(text)).starts_with(expected), "{}", fault(&json(text)));
        }
        let twice = json("{\n  \"app\": \"shop\",\n  \"app\": \"shop\",\n  \"web\": \"api\"\n}");
        assert_eq!(fault(&twice), "3:3: the key `app` is given twice, first at 2:3; remove one of the two");
    }

    #[test]
    fn a_spec_has_at_most_256_kib_and_registrations_4_mib() {
        let filler = format!("# {}\n", "x".repeat(SPEC_MAX));
        assert!(fault(&yaml(format!("name: shop\n{filler}"))).contains("262144 are the most"));
        assert!(fault(&yaml(format!("space: acme\ncidr: 10.0.0.0/8\n{filler}"))).contains("262144 are the most"));
        let registration = "app: shop\ncomponent: web\nnumber: 1\naddress: 10.0.0.1\n";
        assert_eq!(yaml(format!("{registration}{filler}")).faults, []);
        assert_eq!(yaml(format!("apps: []\n{filler}")).faults, []);
    }

    #[test]
    fn a_long_list_of_registrations_in_json_is_taken() {
        let list: Vec<_> = (0..30_000)
            .map(|n| {
                let (component, number, low, high) = (n / 1000, n % 1000 + 1, n % 250, n / 250);
                format!("{{\"component\":\"c{component}\",\"number\":{number},\"address\":\"10.1.{high}.{low}\"}}")
            })
            .collect();
        let reading = json(format!("{{\"app\":\"shop\",\"instances\":[\n{}]}}", list.join(",\n")));
        assert_eq!(reading.faults, []);
        let [Document::App(app)] = reading.documents.as_slice() else { panic!() };
        assert_eq!(app.instances.len(), 30_000);
        assert_eq!(app.instances[29_999].place, Place { line: 30_001, column: 1 });
    }

    #[test]
    fn a_message_quotes_little_and_stays_one_line() {
        let reading = yaml(format!("name: \"a\\nb{}\"\n", "s".repeat(500)));
        let fault = fault(&reading);
        assert!(!fault.contains('\n') && !fault.contains(&"s".repeat(50)), "{fault}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_octets_give_a_reading(octets in proptest::collection::vec(any::<u8>(), 0..400), is_json in any::<bool>()) {
            let format = if is_json { Format::Json } else { Format::Yaml };
            let reading = read(&octets, format, "stem");
            prop_assert!(!reading.faults.is_empty() || !reading.documents.is_empty());
        }

        #[test]
        fn any_arrangement_of_our_words_gives_a_reading(
            words in proptest::collection::vec(proptest::sample::select(WORDS), 0..60),
            is_json in any::<bool>(),
        ) {
            let format = if is_json { Format::Json } else { Format::Yaml };
            let reading = read(words.concat().as_bytes(), format, "stem");
            prop_assert!(!reading.faults.is_empty() || !reading.documents.is_empty());
            for fault in reading.faults.iter().chain(&reading.warnings) {
                prop_assert!(!fault.fault.is_empty() && !fault.remedy.is_empty() && !fault.to_string().contains('\n'));
            }
        }
    }

    /// What documents are made of, in pieces that fit together often enough.
    const WORDS: &[&str] = &[
        "\n",
        "\n  ",
        "\n    ",
        "\n- ",
        "\n  - ",
        "\n---\n",
        ": ",
        ":",
        ",",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "#",
        "|\n",
        "&a ",
        "*a",
        "<<: *a",
        "!!str ",
        "name: ",
        "app: ",
        "space: ",
        "apps: ",
        "spec: ",
        "services: ",
        "workers: ",
        "formation: ",
        "web: ",
        "instances: ",
        "component: ",
        "number: ",
        "address: ",
        "ports: ",
        "lease: ",
        "state: ",
        "cidr: ",
        "router: ",
        "domains: ",
        "domain: ",
        "hostnames: ",
        "health_check: ",
        "http_port: ",
        "internal_ports: ",
        "peers: ",
        "ttl: ",
        "shop",
        "web",
        "web.1",
        "10.0.0.0/8",
        "10.0.0.1",
        "fd00::1",
        "1",
        "0",
        "30s",
        "true",
        "null",
        "api.example.com",
        "*.example.com",
        "${X}",
        "é",
        "\t",
        "\r\n",
        "\u{feff}",
        "\"name\":",
        "\"app\":",
        "\"shop\"",
    ];

    /// What a file of the corpus is: the names of its services with their public ports, or where its faults are.
    enum Expected {
        Services(&'static [(&'static str, Option<u16>)]),
        Faults(&'static [&'static str]),
    }
    use Expected::{Faults, Services};

    /// Written down from the files and held against what another YAML reader (PyYAML) finds in them.
    const CORPUS: &[(&str, Expected)] = &[
        ("AbsintheLabs__absinthe-adapters.yaml", Services(&[("uniswapv2-indexer", Some(8080))])),
        ("AbsintheLabs__absinthe-adapters__do_deploy.template.yaml", Services(&[("printr-indexer", Some(8080))])),
        ("AbuMarketing__SuperAGI.yaml", Services(SUPERAGI)),
        ("AbuMarketing__SuperAGI__do_deploy.template.yaml", Services(SUPERAGI)),
        (
            "AppPlatform-Templates__grafana-observability-stack.yaml",
            Services(&[("loki", Some(3100)), ("grafana", Some(3000))]),
        ),
        (
            "AppPlatform-Templates__grafana-observability-stack__do_deploy.template.yaml",
            Services(&[("loki", None), ("grafana", Some(3000))]),
        ),
        // The second item of `services` has `cors` and nothing else.
        (
            "BigWhaleLabs__seal-hub-prover__do_deploy.template.yaml",
            Faults(&["10:7: spec.services[1]: `name` is missing"]),
        ),
        (
            "CoffeePeek__CoffeePeek-NET__.digitalocean_app.yaml",
            Services(&[
                ("gateway", Some(80)),
                ("authservice", Some(80)),
                ("userservice", Some(80)),
                ("shopsservice", Some(80)),
                ("moderationservice", Some(80)),
                ("jobvacancies", Some(80)),
                ("authservice-outbox", Some(80)),
            ]),
        ),
        ("Longwelwind__space-bots__do_app.yaml", Services(&[("api", Some(8080))])),
        ("SergeFan__zero2prod-axum__app-spec.yaml", Services(&[("zero2prod-axum", Some(3000))])),
        (
            "ShadowCodeCz__DigitalOcean-AppPlatform-Flask-ZmqClinet__do_app.spec.yaml",
            Faults(&[
                "1:7: name: `minimal.example.flask.zmq` cannot be the name of an app: it has dots in it; call it \
                      `minimal-example-flask-zmq`",
            ]),
        ),
        (
            "Spinnernicholas__label-studio-digital-ocean__app-spec.yaml",
            Services(&[("heartexlabs-label-studio", Some(8080))]),
        ),
        (
            "adammoore__enact-hyku__.digitalocean_app-deploy.yaml",
            Services(&[("web", Some(3000)), ("worker", Some(8080)), ("solr", None), ("fcrepo", None)]),
        ),
        ("digitalocean-labs__openclaw-appplatform__app.yaml", Services(&[])),
        ("digitalocean-labs__openclaw-appplatform__do_deploy.template-ghcr.yaml", Services(&[])),
        ("digitalocean-labs__openclaw-appplatform__do_deploy.template-repo.yaml", Services(&[])),
        ("digitalocean-labs__openclaw-appplatform__do_deploy.template.yaml", Services(&[])),
        ("digitalocean__sample-django.yaml", Services(&[("server", Some(8080))])),
        ("digitalocean__sample-django__do_deploy.yaml", Services(&[("sample-django", Some(8080))])),
        ("digitalocean__sample-flask.yaml", Services(&[("web", Some(8080))])),
        ("digitalocean__sample-flask__do_deploy.template.yaml", Services(&[("web", Some(8080))])),
        ("digitalocean__sample-websocket.yaml", Services(&[("sample-websocket", Some(8080))])),
        ("digitalocean__sample-websocket__do_deploy.template.yaml", Services(&[("sample-websocket", Some(8080))])),
        ("eduhub-org__eduhub.yaml", Services(&[("frontend", Some(25000))])),
        ("eduhub-org__eduhub__do_app-staging.yaml", Services(&[("frontend", Some(25000))])),
        ("scpwiki__wikijump.yaml", Services(&[("framerail", Some(8080)), ("deepwell", None)])),
        ("shmindmaster__synapse__app-spec.yaml", Services(&[("backend", Some(8000)), ("frontend", Some(3000))])),
        (
            "shmindmaster__synapse__do-app-spec.template.yaml",
            Faults(&[
                "11:7: name: `${APP_SLUG}` is a template's placeholder",
                "15:13: domains[0].domain: `${APP_SLUG}.${APP_DOMAIN_BASE}` is a template's placeholder",
                "18:13: domains[1].domain: `api.${APP_SLUG}.${APP_DOMAIN_BASE}` is a template's placeholder",
                "133:9: services[0].envs[2]: the key `scope` is given twice, first at 131:9",
                "134:9: services[0].envs[2]: the key `value` is given twice, first at 132:9",
            ]),
        ),
    ];
    const SUPERAGI: &[(&str, Option<u16>)] =
        &[("superagi-redis", None), ("superagi-backend", Some(8001)), ("superagi-gui", Some(3000))];

    /// The corpus beside the checkout: by file name, without its index.
    fn corpus(kind: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let directory = ["../shared/corpus", "../../shared/corpus"]
            .iter()
            .map(|candidate| manifest.join(candidate).join(kind))
            .find(|candidate| candidate.is_dir());
        let Some(directory) = directory else {
            println!("did not run: there is no corpus of {kind} beside this checkout");
            return None;
        };
        let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|extension| extension != "tsv"));
        Some(
            files
                .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
                .collect(),
        )
    }

    #[test]
    fn every_app_spec_of_the_corpus_is_taken_or_reported_as_it_should_be() {
        let Some(files) = corpus("app-specs") else { return };
        let named: Vec<_> = CORPUS.iter().map(|(name, _)| *name).collect();
        assert_eq!(files.keys().map(String::as_str).collect::<Vec<_>>(), named, "the table and the corpus differ");
        for (name, expected) in CORPUS {
            let reading = yaml(&files[*name]);
            match expected {
                Faults(expected) => {
                    let faults = faults(&reading);
                    assert_eq!(faults.len(), expected.len(), "{name}: {faults:#?}");
                    for (fault, expected) in faults.iter().zip(*expected) {
                        assert!(fault.starts_with(expected), "{name}: {fault}");
                    }
                }
                Services(expected) => {
                    assert_eq!((&reading.faults, &reading.warnings), (&vec![], &vec![]), "{name}");
                    let [Document::App(app)] = reading.documents.as_slice() else { panic!("{name}: {reading:?}") };
                    let services = app.components.iter().filter(|component| component.kind == ComponentKind::Service);
                    let services: Vec<_> =
                        services.map(|service| (service.name.value.to_string(), service.http_port)).collect();
                    let services: Vec<_> = services.iter().map(|(name, port)| (name.as_str(), *port)).collect();
                    assert_eq!(services, *expected, "{name}");
                }
            }
        }
    }

    #[test]
    fn every_topology_of_the_corpus_is_taken() {
        let Some(files) = corpus("heroku-topology") else { return };
        let expected: &[(&str, &[&str])] = &[
            ("cli-fixture.json", &["web.1 web.2"]),
            ("on-dyno-space-topology.v1.json", &["web.2 web.1 sideprocess.1", "web.1"]),
        ];
        assert_eq!(files.len(), expected.len());
        for (name, expected) in expected {
            let reading = json(&files[*name]);
            assert_eq!((&reading.faults, &reading.warnings), (&vec![], &vec![]), "{name}");
            let [Document::Topology(apps)] = reading.documents.as_slice() else { panic!("{name}: {reading:?}") };
            let instances: Vec<_> = apps
                .iter()
                .map(|app| {
                    let names = app.instances.iter().map(|at| format!("{}.{}", at.value.component, at.value.number));
                    names.collect::<Vec<_>>().join(" ")
                })
                .collect();
            assert_eq!(instances, *expected, "{name}");
        }
    }
}
