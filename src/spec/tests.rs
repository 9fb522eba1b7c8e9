//! What the tests of the documents read them with.

use super::{AppSpec, Document, Format, Reading};

pub(super) fn read_text(text: &str) -> Reading {
    super::read(text.as_bytes(), Format::Yaml, "stem")
}

/// The app that the first document tells of; the file has no fault.
pub(super) fn app(text: &str) -> AppSpec {
    let reading = read_text(text);
    assert_eq!(reading.faults, []);
    let Some(Document::App(app)) = reading.documents.into_iter().next() else { panic!("not an app") };
    app
}

pub(super) fn faults(text: &str) -> Vec<String> {
    read_text(text).faults.iter().map(ToString::to_string).collect()
}
