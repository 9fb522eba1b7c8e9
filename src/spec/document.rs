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
        && octets.len() <= SPEC_MAX
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
        return refuse(json_place(text, &error), json_fault(&error), "correct it there, or just before");
    }
    // In valid JSON a tab is white space between values: YAML takes none at the start of a line.
    if text.contains('\t') { read_text(&text.replace('\t', " "), size, stem) } else { read_text(text, size, stem) }
}

fn read_text(text: &str, size: usize, stem: &str) -> Reading {
    let mut report = Report::default();
    let nodes = tree::parse(text, &mut report);
    if nodes.is_empty() && report.fault_count() == 0 {
        return refuse(Place::START, "the file is empty", "write a document, or remove the file");
    }
    let mut documents = Vec::with_capacity(nodes.len());
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
    matches!(document, Document::Space(_) | Document::App(AppSpec { role: Role::Spec, .. }))
}

/// Tells the kind of a document by its keys, never by its place.
fn read_document<'n>(node: &'n Node<'n>, stem: &str, report: &mut Report<'n>) -> Option<Document> {
    let mut keys = Keys::of(node, "the document", report)?;
    let present: Vec<_> = KIND_KEYS.iter().copied().filter(|key| keys.has(key)).collect();
    match *present.as_slice() {
        ["space"] => space::read(keys, report).map(Document::Space),
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
            None
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
