//! What reading a file collects: faults and warnings, each with the path of keys that leads to it.
//!
//! Readers do not return errors: they add what they find and go on, so that a person sees every fault at once. The path
//! is a stack that follows the readers down, and becomes text only when there is something to say.
//!
//! Messages quote little and never at length: a file may hold secrets, and a log line must stay a line.

use std::fmt::Write as _;

use super::{Fault, Place};

/// The most faults, and the most warnings, that one file gives; what is beyond is counted in one more.
///
/// Nobody reads more than this, and 4 MiB of faults would be a gibibyte of text.
const FINDINGS_MAX: usize = 100;
/// The most characters of a file that a message quotes.
const QUOTE_MAX: usize = 40;

/// One step from a value to a value in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'t> {
    /// To the value of a key.
    Key(&'t str),
    /// To an item of a list, from 0.
    Item(usize),
}

/// What has been found in a file so far, and where the reader is.
#[derive(Debug, Default)]
pub(super) struct Report<'t> {
    path: Vec<Step<'t>>,
    faults: Findings,
    warnings: Findings,
}

impl<'t> Report<'t> {
    /// Reads one step further down.
    pub(super) fn within<R>(&mut self, step: Step<'t>, read: impl FnOnce(&mut Self) -> R) -> R {
        self.path.push(step);
        let result = read(self);
        self.path.pop();
        result
    }

    /// Adds a fault of the value that is being read.
    pub(super) fn fault(&mut self, place: Place, fault: impl Into<String>, remedy: impl Into<String>) {
        self.faults.add(place, &self.path, fault.into(), remedy.into());
    }

    /// Adds a fault of a value that is not the one being read, under the path of its own.
    pub(super) fn fault_under(
        &mut self,
        path: &[Step<'_>],
        place: Place,
        fault: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.faults.add(place, path, fault.into(), remedy.into());
    }

    /// Adds a warning about the value that is being read.
    pub(super) fn warn(&mut self, place: Place, fault: impl Into<String>, remedy: impl Into<String>) {
        self.warnings.add(place, &self.path, fault.into(), remedy.into());
    }

    /// How many faults there are so far: a reader that adds none has read well.
    pub(super) fn fault_count(&self) -> usize {
        self.faults.count
    }

    /// Whether further faults would only be counted.
    pub(super) fn is_full(&self) -> bool {
        self.faults.count >= FINDINGS_MAX
    }

    /// Whether further warnings would only be counted.
    pub(super) fn has_warned_enough(&self) -> bool {
        self.warnings.count >= FINDINGS_MAX
    }

    /// The faults and the warnings, each by place.
    pub(super) fn into_findings(self) -> (Vec<Fault>, Vec<Fault>) {
        (self.faults.into_sorted("faults"), self.warnings.into_sorted("warnings"))
    }
}

#[derive(Debug, Default)]
struct Findings {
    kept: Vec<Fault>,
    count: usize,
}

impl Findings {
    fn add(&mut self, place: Place, path: &[Step<'_>], fault: String, remedy: String) {
        self.count += 1;
        if self.count <= FINDINGS_MAX {
            self.kept.push(Fault { place, field: write_path(path), fault, remedy });
        }
    }

    fn into_sorted(mut self, what: &str) -> Vec<Fault> {
        self.kept.sort();
        if let (Some(more @ 1..), Some(last)) = (self.count.checked_sub(FINDINGS_MAX), self.kept.last()) {
            let place = last.place;
            let fault = format!("there are at least {more} {what} more");
            self.kept.push(Fault { place, field: String::new(), fault, remedy: "mend these first".to_owned() });
        }
        self.kept
    }
}

/// Writes a path as `services[0].name`; keys that are not plain words are quoted.
fn write_path(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        // Writing to a string cannot fail.
        let _ = match step {
            Step::Item(index) => write!(text, "[{index}]"),
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.write_str(&excerpt(key))
            }
        };
    }
    text
}

/// A short piece of a file in backticks, fit for a message: at most 40 characters, control characters escaped.
pub(super) fn quote(text: &str) -> String {
    format!("`{}`", excerpt(text))
}

fn excerpt(text: &str) -> String {
    let mut characters = text.chars();
    let mut piece = String::new();
    for character in characters.by_ref().take(QUOTE_MAX) {
        // Directional overrides and the like are not control characters, and would turn a terminal's line around.
        if character.is_control() || (!character.is_ascii() && !character.is_alphanumeric()) {
            piece.extend(character.escape_unicode());
        } else {
            piece.push(character);
        }
    }
    if characters.next().is_some() {
        piece.push('…');
    }
    piece
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_in_a_program() {
        let mut report = Report::default();
        report.within(Step::Key("services"), |report| {
            report.within(Step::Item(2), |report| {
                report.within(Step::Key("name"), |report| report.fault(Place::START, "a", "b"));
            });
        });
        assert_eq!(report.into_findings().0[0].field, "services[2].name");
    }

    #[test]
    fn a_quotation_is_short_and_of_one_line() {
        assert_eq!(quote("web"), "`web`");
        assert_eq!(quote("a\nb\u{202e}"), "`a\\u{a}b\\u{202e}`");
        assert_eq!(quote(&"x".repeat(41)), format!("`{}…`", "x".repeat(40)));
    }

    #[test]
    fn faults_beyond_the_hundredth_are_counted() {
        let mut report = Report::default();
        for line in 1..=250 {
            report.fault(Place { line, column: 1 }, "a", "b");
        }
        let (faults, warnings) = report.into_findings();
        assert_eq!(faults.len(), FINDINGS_MAX + 1);
        assert_eq!(faults.last().unwrap().fault, "there are at least 150 faults more");
        assert!(warnings.is_empty());
    }
}
