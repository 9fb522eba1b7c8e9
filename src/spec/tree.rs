//! YAML text → one located tree a document: every value knows its line and column.
//!
//! serde stops at the first fault and a person wants them all, so the typed readers walk this tree instead. It keeps
//! scalars as they were written (`010` is not 8, `no` is not false: what a scalar means is for the reader of its key to
//! say), finds every duplicate key, and goes on with the next document after one that does not parse.
//!
//! Everything is bounded, whatever the octets: nesting, values, and the values that aliases stand for.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Span, options};

use super::report::{Report, Step, quote};
use super::text::to_u32;
use super::{Place, SPEC_MAX, block};

/// The most values of a file, keys included.
///
/// Some fourteen thousand instances; the parser takes about a third of a microsecond for each value, so this is the bound
/// on the time a file can take: 50 ms. Longer lists of registrations are for JSON, which does not come here.
const VALUES_MAX: usize = 100_000;
/// The most values that anchors may hold and aliases may stand for: many times what a real spec shares.
const ALIASED_VALUES_MAX: usize = 20_000;
/// The deepest nesting. The documented formats are less than ten deep.
const DEPTH_MAX: usize = 64;

/// A value and where it starts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node<'t> {
    /// Where.
    pub(super) place: Place,
    /// What.
    pub(super) content: Content<'t>,
}

/// What a value is, as far as its form tells.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content<'t> {
    /// Nothing, `~` or `null`.
    Null,
    /// Any other scalar.
    Scalar(Scalar<'t>),
    /// A sequence.
    List(Vec<Node<'t>>),
    /// A mapping; no key stands twice.
    Mapping(Vec<Entry<'t>>),
}

/// A scalar as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scalar<'t> {
    /// Its text, quotes and escapes resolved.
    pub(super) text: Cow<'t, str>,
    /// Whether it was written without quotes, and so may be a number or a boolean.
    pub(super) plain: bool,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry<'t> {
    /// The key.
    pub(super) key: Cow<'t, str>,
    /// Where the key stands.
    pub(super) place: Place,
    /// The value.
    pub(super) value: Node<'t>,
}

/// Reads every document of `text`; what does not parse is reported and left out, and so are empty documents.
pub(super) fn parse<'t>(text: &'t str, report: &mut Report<'_>) -> Vec<Node<'t>> {
    match block::read(text) {
        Some(document) => vec![document],
        None => parse_any(text, report),
    }
}

/// The same of whatever is YAML.
pub(super) fn parse_any<'t>(text: &'t str, report: &mut Report<'_>) -> Vec<Node<'t>> {
    let options = options! {
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
        // Nobody writes them at the head of a long list, and the parser keeps each.
        disallow_directives: text.len() > SPEC_MAX,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut tree = Tree::default();
    let mut documents = Vec::new();
    // The stream's end is an event, and the parser gives nothing after it.
    while let Some(event) = parser.next_event() {
        match event {
            Ok((Event::DocumentEnd, _)) => documents.extend(tree.finish_document()),
            Ok((event, span)) => {
                if tree.take(event, &span, report).is_err() {
                    return documents;
                }
            }
            Err(error) => {
                report_syntax(text, &error, report);
                tree.abandon_document();
                // A parser that cannot find a next document has said so already.
                if report.is_full() || !parser.proceed_next_document().unwrap_or(false) {
                    return documents;
                }
            }
        }
    }
    documents
}

/// The file holds too much to be read any further, and the report says so.
struct TooMuch;

/// What is being built.
#[derive(Default)]
struct Tree<'t> {
    /// The collections that are open, outermost first.
    open: Vec<Open<'t>>,
    root: Option<Node<'t>>,
    anchors: HashMap<usize, Node<'t>>,
    values: usize,
    aliased: usize,
}

struct Open<'t> {
    place: Place,
    anchor: usize,
    collection: Collection<'t>,
}

enum Collection<'t> {
    List(Vec<Node<'t>>),
    Mapping { entries: Vec<Entry<'t>>, key: Option<Key<'t>> },
}

/// A key that waits for its value.
struct Key<'t> {
    /// `None` when the key is not a scalar: reported, and dropped with its value.
    text: Option<Cow<'t, str>>,
    place: Place,
}

impl<'t> Tree<'t> {
    fn take(&mut self, event: Event<'t>, span: &Span, report: &mut Report<'_>) -> Result<(), TooMuch> {
        let place = place_of(&span.start);
        if event.is_node() {
            self.count(place, report)?;
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                self.finish_value(Node { place, content: scalar(text, plain) }, anchor, report)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open.push(Open { place, anchor, collection: Collection::List(Vec::new()) });
                Ok(())
            }
            Event::MappingStart(_, anchor, _) => {
                let collection = Collection::Mapping { entries: Vec::new(), key: None };
                self.open.push(Open { place, anchor, collection });
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let content = match open.collection {
                    Collection::List(items) => Content::List(items),
                    Collection::Mapping { entries, .. } => Content::Mapping(self.settle(entries, report)),
                };
                self.finish_value(Node { place: open.place, content }, open.anchor, report)
            }
            Event::Alias(anchor) => {
                let node = self.resolve(anchor, place, report)?;
                self.finish_value(node, 0, report)
            }
            Event::UnresolvedAlias(name) => {
                let fault = format!("the alias {} has no anchor before it in its document", quote(&format!("*{name}")));
                self.fault(place, fault, "define it before its use, or quote the value", report);
                self.finish_value(Node { place, content: Content::Null }, 0, report)
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self, place: Place, report: &mut Report<'_>) -> Result<(), TooMuch> {
        self.values += 1;
        if self.values <= VALUES_MAX {
            return Ok(());
        }
        report.fault(
            place,
            format!("the file holds more than {VALUES_MAX} values"),
            "split it into several files, or write registrations as JSON",
        );
        Err(TooMuch)
    }

    /// Puts a whole value where it belongs: the open list, the open mapping as key or value, or the document.
    fn finish_value(&mut self, node: Node<'t>, anchor: usize, report: &mut Report<'_>) -> Result<(), TooMuch> {
        if anchor != 0 {
            let copy = self.copy(&node, node.place, report)?;
            self.anchors.insert(anchor, copy);
        }
        match self.open.last_mut().map(|open| &mut open.collection) {
            None => self.root = Some(node),
            Some(Collection::List(items)) => items.push(node),
            Some(Collection::Mapping { entries, key }) => match key.take() {
                Some(Key { text, place }) => entries.extend(text.map(|key| Entry { key, place, value: node })),
                None => {
                    let place = node.place;
                    let text = key_text(node.content);
                    let is_text = text.is_some();
                    *key = Some(Key { text, place });
                    if !is_text {
                        self.fault(
                            place,
                            "a key is not plain text".to_owned(),
                            "write a word before the colon",
                            report,
                        );
                    }
                }
            },
        }
        Ok(())
    }

    fn resolve(&mut self, anchor: usize, place: Place, report: &mut Report<'_>) -> Result<Node<'t>, TooMuch> {
        if let Some(anchored) = self.anchors.remove(&anchor) {
            let copy = self.copy(&anchored, place, report);
            self.anchors.insert(anchor, anchored);
            return copy;
        }
        self.fault(place, "an alias stands inside of what it stands for".to_owned(), "write the value out", report);
        Ok(Node { place, content: Content::Null })
    }

    fn copy(&mut self, node: &Node<'t>, place: Place, report: &mut Report<'_>) -> Result<Node<'t>, TooMuch> {
        self.aliased += value_count(node, ALIASED_VALUES_MAX);
        if self.aliased > ALIASED_VALUES_MAX {
            let fault = format!("anchors and aliases stand for more than {ALIASED_VALUES_MAX} values");
            report.fault(place, fault, "write the values out, or share less");
            return Err(TooMuch);
        }
        Ok(Node { place, content: node.content.clone() })
    }

    /// Finds duplicate keys, drops the later ones, and takes in what `<<` merges.
    fn settle(&self, entries: Vec<Entry<'t>>, report: &mut Report<'_>) -> Vec<Entry<'t>> {
        if is_plainly_settled(&entries) {
            return entries;
        }
        let mut seen: HashMap<Cow<'t, str>, Place> = HashMap::with_capacity(entries.len());
        let mut settled = Vec::with_capacity(entries.len());
        let mut merged = Vec::new();
        for entry in entries {
            if let Some(first) = seen.get(&entry.key) {
                let fault = format!("the key {} is given twice, first at {first}", quote(&entry.key));
                self.fault(entry.place, fault, "remove one of the two", report);
                continue;
            }
            seen.insert(entry.key.clone(), entry.place);
            if entry.key == MERGE { merged.push(entry.value) } else { settled.push(entry) }
        }
        for node in merged {
            let sources = if let Content::List(items) = node.content { items } else { vec![node] };
            for source in sources {
                let Content::Mapping(entries) = source.content else {
                    let fault = "`<<` merges something that is not a mapping".to_owned();
                    self.fault(source.place, fault, "give it the alias of a mapping", report);
                    continue;
                };
                for entry in entries {
                    if !seen.contains_key(&entry.key) {
                        seen.insert(entry.key.clone(), entry.place);
                        settled.push(entry);
                    }
                }
            }
        }
        settled
    }

    /// Reports a fault of what is being built, under the keys that are open.
    fn fault(&self, place: Place, fault: String, remedy: impl Into<String>, report: &mut Report<'_>) {
        let path: Vec<_> = self.open.iter().filter_map(Open::step).collect();
        report.fault_under(&path, place, fault, remedy);
    }

    fn finish_document(&mut self) -> Option<Node<'t>> {
        let root = self.root.take().filter(|root| root.content != Content::Null);
        self.abandon_document();
        root
    }

    fn abandon_document(&mut self) {
        self.open.clear();
        self.root = None;
        self.anchors.clear();
    }
}

impl Open<'_> {
    fn step(&self) -> Option<Step<'_>> {
        match &self.collection {
            Collection::List(items) => Some(Step::Item(items.len())),
            Collection::Mapping { key: Some(Key { text: Some(text), .. }), .. } => Some(Step::Key(text)),
            Collection::Mapping { .. } => None,
        }
    }
}

/// What a scalar is, by its text and whether it was written without quotes.
pub(super) fn scalar(text: Cow<'_, str>, plain: bool) -> Content<'_> {
    // The core schema's nulls (YAML 1.2.2 §10.3.2).
    if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
        Content::Null
    } else {
        Content::Scalar(Scalar { text, plain })
    }
}

fn key_text(content: Content<'_>) -> Option<Cow<'_, str>> {
    match content {
        Content::Scalar(scalar) => Some(scalar.text),
        _ => None,
    }
}

/// Whether a mapping is small, has no key twice, and merges nothing: all but a few are, and need no table.
pub(super) fn is_plainly_settled(entries: &[Entry<'_>]) -> bool {
    entries.len() <= 16
        && entries.iter().enumerate().all(|(index, entry)| {
            entry.key != MERGE && entries.iter().take(index).all(|earlier| earlier.key != entry.key)
        })
}

/// Counts the values of a subtree, and stops soon after `limit`.
fn value_count(node: &Node<'_>, limit: usize) -> usize {
    let mut count = 1;
    let mut add = |value: &Node<'_>| {
        if count <= limit {
            count += value_count(value, limit);
        }
    };
    match &node.content {
        Content::Null | Content::Scalar(_) => {}
        Content::List(items) => items.iter().for_each(&mut add),
        Content::Mapping(entries) => entries.iter().map(|entry| &entry.value).for_each(&mut add),
    }
    count
}

fn place_of(marker: &Marker) -> Place {
    Place { line: to_u32(marker.line()), column: to_u32(marker.col() + 1) }
}

/// Words for the mistakes that people make; the parser's own for the rest, which quote at most one character.
fn report_syntax(text: &str, error: &ScanError, report: &mut Report<'_>) {
    let place = place_of(error.marker());
    if let Some(tab) = leading_tab(text, error) {
        report.fault_under(&[], tab, "a tab is used for indentation", "indent with spaces: YAML takes no tabs there");
        return;
    }
    let (fault, remedy) = match error.kind() {
        ErrorKind::RecursionLimitExceeded => (
            format!("lists and mappings are nested more than {DEPTH_MAX} deep"),
            "nest less: no document needs a tenth of it",
        ),
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping => {
            ("a bracket or brace is opened and never closed".to_owned(), "close it, or write the rest of the file")
        }
        ErrorKind::UnclosedQuotedScalar => {
            ("a quotation mark is opened and never closed".to_owned(), "close it, or write the rest of the file")
        }
        _ => (format!("not YAML: {}", error.info()), "correct the line, or the one before it"),
    };
    report.fault_under(&[], place, fault, remedy);
}

/// The tab that a syntax error comes from, if it is in the leading blanks of its line or of the next.
///
/// The parser has several errors for it, and some name the value before.
fn leading_tab(text: &str, error: &ScanError) -> Option<Place> {
    let marker = error.marker();
    let before = text.get(..marker.byte_offset()?)?;
    let line_start = before.rfind('\n').map_or(0, |position| position + 1);
    (marker.line()..).zip(text.get(line_start..)?.lines()).take(2).find_map(|(line, content)| {
        let column = content.find(|character| character != ' ')?;
        content.get(column..)?.starts_with('\t').then(|| Place { line: to_u32(line), column: to_u32(column + 1) })
    })
}

/// The key of YAML 1.1 that takes in another mapping's keys.
const MERGE: &str = "<<";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Fault;

    fn read(text: &str) -> (Vec<Node<'_>>, Vec<Fault>) {
        let mut report = Report::default();
        let documents = parse(text, &mut report);
        (documents, report.into_findings().0)
    }

    fn faults(text: &str) -> Vec<String> {
        read(text).1.iter().map(ToString::to_string).collect()
    }

    fn entries<'n, 't>(node: &'n Node<'t>) -> &'n [Entry<'t>] {
        match &node.content {
            Content::Mapping(entries) => entries,
            other => panic!("not a mapping: {other:?}"),
        }
    }

    #[test]
    fn every_value_knows_its_line_and_column_in_characters() {
        let (documents, faults) = read("é: [1,\n  ü, \"x\"]\r\nb:\r\n  c: ~\r\n");
        assert_eq!(faults, []);
        let top = entries(&documents[0]);
        assert_eq!((top[0].place, top[0].value.place), (Place { line: 1, column: 1 }, Place { line: 1, column: 4 }));
        let Content::List(items) = &top[0].value.content else { panic!() };
        assert_eq!(items[1].place, Place { line: 2, column: 3 });
        assert_eq!(items[2].place, Place { line: 2, column: 6 });
        assert_eq!(entries(&top[1].value)[0].place, Place { line: 4, column: 3 });
        assert_eq!(entries(&top[1].value)[0].value.content, Content::Null);
    }

    #[test]
    fn every_duplicate_key_is_reported_with_its_path() {
        assert_eq!(
            faults("a:\n  - b: 1\n    b: 2\nc: 1\nc: 2\n"),
            [
                "3:5: a[0]: the key `b` is given twice, first at 2:5; remove one of the two",
                "5:1: the key `c` is given twice, first at 4:1; remove one of the two",
            ]
        );
        let many: String = (0..40).map(|n| format!("k{n}: 1\n")).chain(["k7: 2\n".to_owned()]).collect();
        assert_eq!(faults(&many), ["41:1: the key `k7` is given twice, first at 8:1; remove one of the two"]);
    }

    #[test]
    fn a_document_after_a_broken_one_is_still_read() {
        let (documents, faults) = read("a: [\n---\nb: 1\nb: 2\n---\nc: \"\n---\nd: 1\n");
        assert_eq!(documents.len(), 2, "{documents:?}");
        assert_eq!(faults.len(), 3, "{faults:?}");
    }

    #[test]
    fn aliases_and_merges_are_resolved() {
        let (documents, faults) = read("base: &base {x: 1, y: 2}\nuse:\n  <<: *base\n  y: 3\nagain: *base\n");
        assert_eq!(faults, []);
        let top = entries(&documents[0]);
        let keys: Vec<_> = entries(&top[1].value).iter().map(|entry| &*entry.key).collect();
        assert_eq!(keys, ["y", "x"]);
        assert_eq!(top[2].value.place, Place { line: 5, column: 8 });
        assert_eq!(entries(&top[2].value).len(), 2);
    }

    #[test]
    fn an_alias_bomb_is_a_fault() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..20 {
            let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        let faults = faults(&bomb);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].contains("anchors and aliases stand for more than 20000 values"), "{faults:?}");
    }

    #[test]
    fn aliases_of_nothing_and_of_themselves_are_faults() {
        assert_eq!(
            faults("a: *none\nb: &b [*b]\n"),
            [
                "1:4: a: the alias `*none` has no anchor before it in its document; define it before its use, or quote the value",
                "2:8: b[0]: an alias stands inside of what it stands for; write the value out",
            ]
        );
    }

    #[test]
    fn tabs_and_deep_nesting_are_named() {
        assert!(faults("a:\n\tb: 1\n")[0].contains("a tab is used for indentation"), "{:?}", faults("a:\n\tb: 1\n"));
        assert!(faults("a: b\n \tc: 1\n")[0].starts_with("2:2: a tab is used"), "{:?}", faults("a: b\n \tc: 1\n"));
        let brackets = faults(&"[".repeat(20_000));
        assert_eq!(brackets.len(), 1);
        assert!(brackets[0].starts_with("1:65: lists and mappings are nested more than 64 deep"), "{brackets:?}");
        let dashes = faults(&"- ".repeat(20_000));
        assert!(dashes[0].contains("nested more than 64 deep"), "{dashes:?}");
    }

    #[test]
    fn too_many_values_are_a_fault() {
        let faults = faults(&format!("[{}]", "1,".repeat(VALUES_MAX)));
        assert_eq!(faults.len(), 1);
        assert!(faults[0].contains("more than 100000 values"), "{faults:?}");
    }

    #[test]
    fn a_key_that_is_not_text_is_a_fault_and_its_value_goes_with_it() {
        let (documents, faults) = read("? [a]\n: 1\nb: 2\n");
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(entries(&documents[0]).len(), 1);
    }
}
