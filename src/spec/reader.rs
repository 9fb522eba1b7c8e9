//! Small readers that walk the located tree: the keys of a mapping, lists in their loose forms, scalars by meaning.
//!
//! Each takes a value and the report, and gives what it read or nothing; where it gives nothing it has reported why. A
//! null stands for an absent key everywhere, because that is what a template leaves behind.

use std::ops::RangeInclusive;

use super::report::{Report, Step, quote};
use super::tree::{Content, Entry, Node};
use super::{At, Place};

/// Why a text is not what it should be. The rules of [`names`](super::names) and [`network`](super::network) give it
/// without a place, so that the fast path can use them too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What is wrong.
    pub(super) fault: String,
    /// What to do.
    pub(super) remedy: String,
}

impl Refusal {
    /// Makes a refusal.
    pub(super) fn new(fault: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { fault: fault.into(), remedy: remedy.into() }
    }
}

/// The keys of a mapping: which were there, which were asked for.
#[derive(Debug)]
pub(super) struct Keys<'n> {
    /// Where the mapping starts.
    pub(super) place: Place,
    entries: &'n [Entry<'n>],
    known: Vec<&'static str>,
}

impl<'n> Keys<'n> {
    /// Takes a value as a mapping; `what` names it in the fault when it is none.
    pub(super) fn of(node: &'n Node<'n>, what: &str, report: &mut Report<'n>) -> Option<Self> {
        let Content::Mapping(entries) = &node.content else {
            report.fault(
                node.place,
                format!("{what} is not a mapping"),
                "write its keys below it, each as `key: value`, indented alike",
            );
            return None;
        };
        Some(Self { place: node.place, entries, known: Vec::new() })
    }

    /// Whether a key is there and not null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key && entry.value.content != Content::Null)
    }

    /// Every entry, whether asked for or not.
    pub(super) fn entries(&self) -> &'n [Entry<'n>] {
        self.entries
    }

    /// Where a key stands, or where the mapping does.
    pub(super) fn place_of(&self, key: &str) -> Place {
        self.entries.iter().find(|entry| entry.key == key).map_or(self.place, |entry| entry.place)
    }

    /// The value of a key that is there and not null.
    pub(super) fn find(&mut self, key: &'static str) -> Option<&'n Entry<'n>> {
        self.known.push(key);
        self.entries.iter().find(|entry| entry.key == key && entry.value.content != Content::Null)
    }

    /// Reads a key that may be absent.
    pub(super) fn read<R>(
        &mut self,
        key: &'static str,
        report: &mut Report<'n>,
        read: impl FnOnce(&'n Node<'n>, &mut Report<'n>) -> Option<R>,
    ) -> Option<R> {
        let entry = self.find(key)?;
        report.within(Step::Key(key), |report| read(&entry.value, report))
    }

    /// Reads a key that has several spellings; two of them at once are a fault, whatever they say.
    pub(super) fn read_one_of<R>(
        &mut self,
        keys: &'static [&'static str],
        report: &mut Report<'n>,
        read: impl FnOnce(&'n Node<'n>, &mut Report<'n>) -> Option<R>,
    ) -> Option<R> {
        let mut found: Option<&'n Entry<'n>> = None;
        for &key in keys {
            let Some(entry) = self.find(key) else { continue };
            if let Some(first) = found {
                let fault = format!("`{}` at {} and `{}` say the same thing twice", first.key, first.place, entry.key);
                report.fault(entry.place, fault, "keep one of them");
            } else {
                found = Some(entry);
            }
        }
        let entry = found?;
        report.within(Step::Key(&entry.key), |report| read(&entry.value, report))
    }

    /// Reports that a key must be there.
    pub(super) fn missing(&self, key: &str, remedy: impl Into<String>, report: &mut Report<'n>) {
        report.fault(self.place, format!("`{key}` is missing"), remedy);
    }

    /// Warns of every key that was neither asked for nor is in `ignored`, with the nearest key that there is.
    pub(super) fn finish(self, what: &str, ignored: &[&'static str], report: &mut Report<'n>) {
        for entry in self.entries {
            let key = &*entry.key;
            if self.known.contains(&key) || ignored.contains(&key) {
                continue;
            }
            if report.has_warned_enough() {
                // Only counted: the search for the nearest key would be for nobody.
                report.warn(entry.place, "", "");
                continue;
            }
            let known = self.known.iter().chain(ignored).copied();
            let remedy = nearest(key, known)
                .map_or_else(|| "remove it, or check its place".to_owned(), |near| format!("did you mean `{near}`?"));
            report.within(Step::Key(key), |report| {
                report.warn(entry.place, format!("{what} has no key {}; it is ignored", quote(key)), remedy);
            });
        }
    }
}

/// Reads each item of a list; a single value is a list of one (the vendor's own page writes it so), null is empty.
pub(super) fn each<'n, R>(
    node: &'n Node<'n>,
    report: &mut Report<'n>,
    mut read: impl FnMut(&'n Node<'n>, &mut Report<'n>) -> Option<R>,
) -> Vec<R> {
    let Content::List(items) = &node.content else {
        return if node.content == Content::Null { Vec::new() } else { read(node, report).into_iter().collect() };
    };
    let mut values = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        report.within(Step::Item(index), |report| {
            if item.content == Content::Null {
                report.warn(item.place, "the item is empty; it is ignored", "remove it, or write a value");
            } else {
                values.extend(read(item, report));
            }
        });
    }
    values
}

/// Reads a text; numbers and booleans are taken as they were written.
pub(super) fn text<'n>(node: &'n Node<'n>, report: &mut Report<'n>) -> Option<&'n str> {
    match &node.content {
        Content::Scalar(scalar) => return Some(&scalar.text),
        Content::Null => report.fault(node.place, "the value is empty", "write one"),
        Content::List(_) => report.fault(node.place, "a list stands where one value is due", "write the value alone"),
        Content::Mapping(_) => {
            report.fault(node.place, "a mapping stands where one value is due", "write the value alone");
        }
    }
    None
}

/// Reads a text by a rule.
pub(super) fn checked<'n, R>(
    node: &'n Node<'n>,
    report: &mut Report<'n>,
    rule: impl FnOnce(&str) -> Result<R, Refusal>,
) -> Option<At<R>> {
    let written = text(node, report)?;
    match rule(written) {
        Ok(value) => return Some(At { value, place: node.place }),
        Err(_) if is_placeholder(written) => report_placeholder(node.place, written, report),
        Err(Refusal { fault, remedy }) => report.fault(node.place, fault, remedy),
    }
    None
}

/// Reads `true` or `false`, in any case and nothing else: `no` is a country.
pub(super) fn boolean<'n>(node: &'n Node<'n>, report: &mut Report<'n>) -> Option<At<bool>> {
    checked(node, report, |written| {
        if written.eq_ignore_ascii_case("true") {
            Ok(true)
        } else if written.eq_ignore_ascii_case("false") {
            Ok(false)
        } else {
            Err(Refusal::new(format!("{} is neither true nor false", quote(written)), "write `true` or `false`"))
        }
    })
}

/// Reads a whole number in decimal digits; quoted digits are taken, which is what environment variables leave behind.
pub(super) fn whole<'n>(node: &'n Node<'n>, range: RangeInclusive<u32>, report: &mut Report<'n>) -> Option<At<u32>> {
    checked(node, report, |written| whole_number(written, range))
}

/// Reads a port; quoted digits are taken with a warning.
pub(super) fn port<'n>(node: &'n Node<'n>, report: &mut Report<'n>) -> Option<u16> {
    let number = whole(node, 1..=u32::from(u16::MAX), report)?.value;
    if matches!(&node.content, Content::Scalar(scalar) if !scalar.plain) {
        report.warn(node.place, "a port is written as text", "remove the quotation marks");
    }
    u16::try_from(number).ok()
}

/// The rule of [`whole`].
pub(super) fn whole_number(written: &str, range: RangeInclusive<u32>) -> Result<u32, Refusal> {
    let bounds = || format!("write a number from {} to {}", range.start(), range.end());
    if written.is_empty() || !written.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(Refusal::new(format!("{} is not a whole number", quote(written)), bounds()));
    }
    if written.len() > 1 && written.starts_with('0') {
        let fault = format!("{} begins with a zero, which some readers take as octal", quote(written));
        return Err(Refusal::new(fault, "write it without"));
    }
    written
        .parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| Refusal::new(format!("{} is out of range", quote(written)), bounds()))
}

/// Reads one of a few words, in any case.
pub(super) fn choice<'n, R: Copy>(node: &'n Node<'n>, choices: &[(&str, R)], report: &mut Report<'n>) -> Option<At<R>> {
    checked(node, report, |written| chosen(written, choices))
}

/// The rule of [`choice`].
pub(super) fn chosen<R: Copy>(written: &str, choices: &[(&str, R)]) -> Result<R, Refusal> {
    choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(written)).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = choices.iter().map(|(word, _)| format!("`{word}`")).collect();
        Refusal::new(
            format!("{} is not one of the values", quote(written)),
            format!("write one of {}", words.join(", ")),
        )
    })
}

/// Whether a text still has a template's variable in it.
pub(super) fn is_placeholder(written: &str) -> bool {
    written.contains("${") || written.contains("{{") || written.contains("<%")
}

fn report_placeholder(place: Place, written: &str, report: &mut Report<'_>) {
    report.fault(
        place,
        format!("{} is a template's placeholder that has not been filled in", quote(written)),
        "fill the template in, and put the result here instead",
    );
}

/// The key that is at most two edits away, or nothing when none is near enough to be meant.
fn nearest<'k>(key: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let limit = match key.len() {
        0..=2 => return None,
        3..=5 => 1,
        6..=40 => 2,
        _ => return None,
    };
    known.map(|known| (distance(key, known), known)).min().filter(|(edits, _)| *edits <= limit).map(|(_, known)| known)
}

/// How many octets must be inserted, removed or replaced to make one of the other.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, left) in left.bytes().enumerate() {
        let mut diagonal = index;
        let mut previous = index + 1;
        if let Some(first) = row.first_mut() {
            *first = previous;
        }
        for (right, cell) in right.bytes().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(left != right);
            diagonal = *cell;
            *cell = replaced.min(diagonal + 1).min(previous + 1);
            previous = *cell;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_meant() {
        let known = || ["name", "http_port", "internal_ports", "git"].into_iter();
        assert_eq!(nearest("ame", known()), Some("name"));
        assert_eq!(nearest("internal_port", known()), Some("internal_ports"));
        assert_eq!(nearest("htpp-port", known()), Some("http_port"));
        assert_eq!(nearest("gti", known()), None);
        assert_eq!(nearest("colour", known()), None);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn whole_numbers_are_plain_decimal() {
        assert_eq!(whole_number("8080", 1..=65535), Ok(8080));
        for wrong in ["", "0x50", "8_080", "80.0", "-1", "+1", "010", "65536", "99999999999999999999", "٣"] {
            assert!(whole_number(wrong, 1..=65535).is_err(), "{wrong}");
        }
    }
}
