//! Files: whatever stands in one, it is read without a panic, faults have places in it, and what is accepted can be served.

use std::sync::Arc;
use std::time::Duration;

use spacedns::compile::{Compiler, canonical};
use spacedns::registry::{FileChange, FileContent, Now, Registry};
use spacedns::spec::{self, Document, Fault, Format, Reading};
use spacedns::zone::Snapshot;

/// Reads YAML: plain block style the fast way, and the slow way too.
///
/// # Panics
/// When something does not hold, or the two ways differ.
pub fn run_yaml(text: &[u8]) {
    let reading = spec::read(text, Format::Yaml, "shop");
    hold(text, &reading);
    // The fast path takes no letter beyond ASCII, not in a comment either. In text over several lines it would be no comment.
    if reading.faults.is_empty() && text.len() < FAST_MAX && !text.contains(&b'|') && !text.contains(&b'>') {
        let slow = spec::read(&[text, COMMENT].concat(), Format::Yaml, "shop");
        assert_eq!(reading, slow, "the fast way and the slow way");
    }
    serve("shop.yaml", reading);
}

/// Reads JSON: a registration the fast way, if it can be, and the slow way too.
///
/// # Panics
/// When something does not hold, or the two ways differ.
pub fn run_registration(text: &[u8]) {
    let reading = spec::read(text, Format::Json, "shop");
    hold(text, &reading);
    // The fast path takes no byte order mark; the slow one passes over it, and places stay what they are.
    if !text.starts_with(MARK) {
        let slow = spec::read(&[MARK, text].concat(), Format::Json, "shop");
        // A mark that is not the file's own changes how a broken encoding is guessed at; what is read is the same.
        if reading.faults.is_empty() || slow.faults.is_empty() {
            assert_eq!(reading, slow, "the fast way and the slow way");
        }
    }
    serve("shop.json", reading);
}

/// Reads a topology, or whatever else stands there under `apps`, by both formats.
///
/// # Panics
/// When something does not hold.
pub fn run_topology(text: &[u8]) {
    let reading = spec::read(text, Format::Json, "topology");
    hold(text, &reading);
    if reading.faults.is_empty() && reading.documents.iter().all(|document| matches!(document, Document::Topology(_))) {
        let yaml = spec::read(text, Format::Yaml, "topology");
        // YAML takes fewer tabs and carriage returns; where it takes the file, it means the same.
        if yaml.faults.is_empty() && !text.contains(&b'\r') {
            assert_eq!(reading.documents, yaml.documents, "as JSON and as YAML");
        }
    }
    serve("topology.json", reading);
}

const MARK: &[u8] = "\u{feff}".as_bytes();
const COMMENT: &[u8] = "\n# \u{e9}\n".as_bytes();
/// Longer texts are not read the fast way, and a comment more could be too much for a file.
const FAST_MAX: usize = 64 << 10;

/// Findings stand in order, have a place in the file, and are one line of plain characters each: they go into logs.
fn hold(text: &[u8], reading: &Reading) {
    let lines = text.split(|octet| matches!(octet, b'\n' | b'\r')).count();
    for findings in [&reading.faults, &reading.warnings] {
        assert!(findings.iter().is_sorted_by_key(|finding| finding.place), "out of order: {findings:#?}");
        for finding @ Fault { place, field, fault, remedy } in findings {
            assert!(place.line >= 1 && place.column >= 1, "{finding}");
            assert!(usize::try_from(place.line).is_ok_and(|line| line <= lines + 1), "{finding} of {lines} lines");
            assert!(usize::try_from(place.column).is_ok_and(|column| column <= text.len() + 2), "{finding}");
            for words in [field, fault, remedy] {
                assert!(!words.contains(|c: char| c.is_control()), "a control character: {words:?}");
                assert!(words.len() <= WORDS_MAX, "{} octets: {words}", words.len());
            }
            assert!(!fault.is_empty() && !remedy.is_empty());
        }
        assert!(findings.len() <= FINDINGS_MAX, "{} findings", findings.len());
    }
}

/// The most octets of a part of a finding: a log line is no place to repeat a file.
const WORDS_MAX: usize = 4096;
/// The most findings of one kind.
const FINDINGS_MAX: usize = 1000;

/// What is accepted is taken in, compiled, and is the same when compiled again.
fn serve(path: &str, reading: Reading) {
    if !reading.faults.is_empty() || reading.documents.is_empty() {
        return;
    }
    let mut registry = Registry::new(Duration::from_secs(60));
    let now = Now { monotonic: Duration::ZERO, wall: 1_795_192_782 };
    let content = FileContent { documents: reading.documents.into(), modified: 7 };
    let change = FileChange { file: Arc::from(path), content: Some(content) };
    let touched = registry.apply(vec![change.clone()], now);
    let mut compiler = Compiler::new();
    let snapshot = compiler.compile(&registry, &touched, &Snapshot::starting()).unwrap_or_else(Snapshot::starting);
    let _ = (registry.faults(), registry.warnings());
    let touched = registry.apply(vec![change], now);
    assert!(compiler.compile(&registry, &touched, &snapshot).is_none(), "the same file makes no new snapshot");
    let removed = FileChange { file: Arc::from(path), content: None };
    let touched = registry.apply(vec![removed], now);
    let after = compiler.compile(&registry, &touched, &snapshot).unwrap_or(snapshot);
    let touched = registry.advance(Now { monotonic: Duration::from_secs(61), ..now });
    let after = compiler.compile(&registry, &touched, &after).unwrap_or(after);
    let nothing = registry.everything();
    let from_nothing =
        Compiler::new().compile(&registry, &nothing, &Snapshot::starting()).unwrap_or_else(Snapshot::starting);
    assert_eq!(canonical(&after), canonical(&from_nothing), "nothing is left of a file that went");
}
