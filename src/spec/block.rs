//! The fast path of YAML: the plain block style that people and `doctl` write, straight into the located tree.
//!
//! YAML's grammar has two hundred productions, and specs use a dozen of them: keys and dashes by indentation, values of one line, comments.
//! A general parser takes a third of a microsecond for each token of these; here each line is looked at once. It takes only what
//! has one reading, and gives the tree that the parser gives (tests hold it to that, over texts that are broken in every
//! way). Everything else is left to the parser, which has the words for what is wrong too: flow style, text over several lines,
//! escapes, anchors, several documents, a value that is missing, a mapping that is not small.

use std::borrow::Cow;

use super::Place;
use super::text::to_u32;
use super::tree::{Content, Entry, Node, is_plainly_settled, scalar};

/// Reads a text of one document, or gives nothing.
pub(super) fn read(text: &str) -> Option<Node<'_>> {
    if text.len() > TEXT_MAX || !text.bytes().all(|octet| matches!(octet, b' '..=b'~' | b'\n')) {
        return None;
    }
    let mut reader = Reader::default();
    for (number, text) in (1..).zip(text.split('\n')) {
        let line = Line { number, text };
        let column = text.bytes().take_while(|octet| *octet == b' ').count();
        if !is_over(line.behind(column)?) {
            reader.take(line, column)?;
        }
    }
    reader.end()
}

/// A line, numbered from 1. Columns are counted in octets, which are characters here, from 0.
#[derive(Clone, Copy)]
struct Line<'t> {
    number: u32,
    text: &'t str,
}

impl<'t> Line<'t> {
    fn behind(self, column: usize) -> Option<&'t str> {
        self.text.get(column..)
    }

    fn place(self, column: usize) -> Place {
        Place { line: self.number, column: to_u32(column + 1) }
    }

    /// Where the next value begins, from a column on.
    fn skip_blanks(self, column: usize) -> Option<usize> {
        let blanks = self.behind(column)?.bytes().take_while(|octet| *octet == b' ').count();
        Some(column + blanks)
    }
}

/// What is open, outermost first, and the document where nothing is.
#[derive(Default)]
struct Reader<'t> {
    open: Vec<Open<'t>>,
    root: Option<Node<'t>>,
}

/// A list or a mapping that may go on.
struct Open<'t> {
    /// Where its dashes or keys stand.
    column: usize,
    place: Place,
    collection: Collection<'t>,
}

enum Collection<'t> {
    List(Vec<Node<'t>>),
    /// With the last key, while its value is to come.
    Mapping(Vec<Entry<'t>>, Option<(&'t str, Place)>),
}

impl<'t> Reader<'t> {
    /// Takes a line whose first item stands at `column`.
    fn take(&mut self, line: Line<'t>, column: usize) -> Option<()> {
        let is_dash = dash(line, column).is_some();
        while let Some(last) = self.open.last() {
            let is_list = matches!(last.collection, Collection::List(_));
            // A list may stand at the column of the key that it belongs to: what is no dash there is the next key.
            if last.column > column || (last.column == column && is_list && !is_dash) { self.close()? } else { break }
        }
        let at = self.open.last().map(|last| (last.column, &last.collection));
        match at {
            None if column == 0 && self.root.is_none() => {}
            Some((here, Collection::List(_))) if here == column && is_dash => {}
            Some((here, Collection::Mapping(_, None))) if here == column && !is_dash => {}
            // What is below a key is its value.
            Some((here, Collection::Mapping(_, Some(_)))) if here < column || (here == column && is_dash) => {}
            _ => return None,
        }
        let mut column = column;
        while let Some(behind) = dash(line, column) {
            let last = self.open.last();
            let here = last.filter(|last| last.column == column).map(|last| &last.collection);
            if !matches!(here, Some(Collection::List(_))) {
                // At the column of its key the parser has it begin with its first item.
                let start = if here.is_some() { behind } else { column };
                self.open(Open { column, place: line.place(start), collection: Collection::List(Vec::new()) })?;
            }
            column = behind;
        }
        let Some((key, behind)) = key(line, column) else {
            // Only an item may stand by itself: the value of a key that begins in a line of its own may go on in the next.
            let is_item = matches!(self.open.last(), Some(Open { collection: Collection::List(_), .. }));
            let content = value(line, column).filter(|_| is_item)?;
            return self.put(Node { place: line.place(column), content });
        };
        if !matches!(self.open.last(), Some(Open { column: here, collection: Collection::Mapping(..), .. }) if *here == column)
        {
            let collection = Collection::Mapping(Vec::new(), None);
            self.open(Open { column, place: line.place(column), collection })?;
        }
        let Some(Open { collection: Collection::Mapping(_, waiting), .. }) = self.open.last_mut() else { return None };
        if waiting.replace((key, line.place(column))).is_some() {
            return None;
        }
        let column = line.skip_blanks(behind)?;
        if is_over(line.behind(column)?) {
            return Some(());
        }
        let content = value(line, column)?;
        self.put(Node { place: line.place(column), content })
    }

    fn open(&mut self, open: Open<'t>) -> Option<()> {
        (self.open.len() < DEPTH_MAX).then(|| self.open.push(open))
    }

    /// Ends the innermost collection.
    fn close(&mut self) -> Option<()> {
        let Open { place, collection, .. } = self.open.pop()?;
        let content = match collection {
            Collection::List(items) => Content::List(items),
            Collection::Mapping(entries, None) if is_plainly_settled(&entries) => Content::Mapping(entries),
            Collection::Mapping(..) => return None,
        };
        self.put(Node { place, content })
    }

    /// Puts a whole value where it belongs.
    fn put(&mut self, value: Node<'t>) -> Option<()> {
        match self.open.last_mut().map(|last| &mut last.collection) {
            None => self.root = Some(value),
            Some(Collection::List(items)) => items.push(value),
            Some(Collection::Mapping(entries, key)) => {
                let (key, place) = key.take()?;
                entries.push(Entry { key: Cow::Borrowed(key), place, value });
            }
        }
        Some(())
    }

    fn end(mut self) -> Option<Node<'t>> {
        while !self.open.is_empty() {
            self.close()?;
        }
        self.root
    }
}

/// Where the item behind a dash begins, if there is a dash at a column and an item behind it.
fn dash(line: Line<'_>, column: usize) -> Option<usize> {
    line.behind(column)?.strip_prefix("- ")?;
    line.skip_blanks(column + 2).filter(|behind| line.behind(*behind).is_some_and(|rest| !is_over(rest)))
}

/// The key at a column, and where what is behind its colon begins.
fn key(line: Line<'_>, column: usize) -> Option<(&str, usize)> {
    let rest = line.behind(column)?;
    let is_in_key = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b'-' | b'.' | b'/');
    let length = rest.bytes().take_while(|octet| is_in_key(*octet)).count();
    let (key, behind) = rest.split_at_checked(length)?;
    let is_plain = key.len() <= KEY_MAX && key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let is_key = is_plain && (behind == ":" || behind.starts_with(": "));
    // A key that is nothing is at fault.
    (is_key && scalar(Cow::Borrowed(key), true) != Content::Null).then_some((key, column + length + 1))
}

/// The value that fills the rest of a line, from a column on.
fn value<'t>(line: Line<'t>, column: usize) -> Option<Content<'t>> {
    let rest = line.behind(column)?;
    let quoted = |quote: char| {
        let (inside, behind) = rest.strip_prefix(quote)?.split_once(quote)?;
        let is_alone = behind.is_empty() || (behind.starts_with(' ') && is_over(behind.trim_start_matches(' ')));
        // Either quotation mark has an escape: one in the text, the other right behind it.
        (is_alone && !inside.contains('\\')).then(|| scalar(Cow::Borrowed(inside), false))
    };
    match rest.bytes().next()? {
        b'"' => quoted('"'),
        b'\'' => quoted('\''),
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'/' | b'.' | b'$' | b'~' | b'(' | b'+' => {
            let text = rest.split_once(" #").map_or(rest, |(text, _)| text).trim_end_matches(' ');
            let is_one = !text.ends_with(':') && !text.contains(": ");
            is_one.then(|| scalar(Cow::Borrowed(text), true))
        }
        _ => None,
    }
}

/// Whether nothing stands in the rest of a line but perhaps a comment.
fn is_over(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('#')
}

/// The longest text: it has fewer values than a file may have, whatever stands in it.
const TEXT_MAX: usize = 64 << 10;

/// The longest key: YAML takes some of a thousand characters on one line.
const KEY_MAX: usize = 128;

/// The deepest nesting: half of what a file may have.
const DEPTH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::report::Report;
    use super::super::tree::parse_any;
    use super::*;

    /// What the fast path takes, the parser takes too, and to the same tree.
    fn agrees(text: &str) -> bool {
        let Some(node) = read(text) else { return false };
        let mut report = Report::default();
        let documents = parse_any(text, &mut report);
        let (faults, warnings) = report.into_findings();
        assert_eq!((faults, warnings), (Vec::new(), Vec::new()), "{text}");
        assert_eq!(documents, [node], "{text}");
        true
    }

    /// As `doctl apps spec get` prints them, and as people write them.
    const SPECS: [&str; 4] = [
        "name: shop\nregion: ams\ninternal_routing: true\nservices:\n- name: web\n  github:\n    repo: example/shop\n    \
         branch: main\n    deploy_on_push: true\n  http_port: 8080\n  envs:\n  - key: LOG_LEVEL\n    value: info\n  - key: URL\n    \
         value: ${db.URL}\n\nworkers:\n- name: queue\n",
        "# a comment\n\nname: shop # another\nalerts:\n  - rule: DEPLOYMENT_FAILED\n  -   rule: DOMAIN_FAILED\n      \
         disabled: false\n  # in between\ndomains:\n  - domain: \"api.example.com\"   # quoted\n    type: 'PRIMARY'\n",
        "app: shop\ninstances:\n- - component: web\n    number: 1\n  - address: 10.0.0.1\n- a b\n- \"\"\nstate: ~\nlease: null\n",
        "- 1\n- a: b\n  c:\n  - d\n  - e:\n      f: g:h#i\n  j: k\n- ...\n",
    ];

    #[test]
    fn what_people_write_takes_the_fast_path() {
        for text in SPECS {
            assert!(agrees(text), "{text}");
            assert!(agrees(text.trim_end()), "{text}");
        }
    }

    #[test]
    fn what_has_another_reading_is_left_to_the_parser() {
        for text in [
            "",
            "# nothing\n",
            "a\n",
            "a: b\n c\n",
            "a:\n",
            "a: b: c\n",
            "a: b:\n",
            "a: [b]\n",
            "a: {}\n",
            "a: |\n  b\n",
            "a: &b c\n",
            "a: *b\n",
            "a: !!str b\n",
            "a: 'b''c'\n",
            "a: \"b\\n\"\n",
            "a: \"b\nc\"\n",
            "a: \"b\"c\n",
            "\"a\": b\n",
            "a :b\n",
            "a:b\n",
            "? a\n: b\n",
            "---\na: b\n",
            "a: b\n---\nc: d\n",
            "a: b\n...\n",
            "%YAML 1.2\n",
            "a:\tb\n",
            "a: é\n",
            "a: b\r\n",
            " a: b\n",
            "a: b\n  c: d\n",
            "a:\n  b: c\n d: e\n",
            "- a\nb: c\n",
            "a: b\n- c\n",
            "-\n  a\n",
            "- \n",
            "a: 1\na: 2\n",
            "<<: b\n",
            "null: a\n",
            "a:\n  b\n",
            "a: -1\n",
            "a: - b\n",
            "a: @b\n",
            "a: b\n- c: d\n",
            "a:\n- b\n  c\n",
            "a: ,b\n",
            "a: #b\n",
            "a: 'b' 'c'\n",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    /// What lines are made of, so that many are nearly right.
    const PIECES: [&str; 40] = [
        " ", "  ", "    ", "\n", "\n", "\n  ", "\n    ", "\n- ", "\n  - ", "- ", "-", "a", "b", "name", "key: ", ": ",
        ":", "a: b", "c: ", "d:", "'", "\"", "''", "\\", "#", " # x", "~", "null", "[", "]", "{", "}", ",", "&", "*",
        "!", "|", ">", "---", "...",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_fast_path_and_the_parser_agree_on_whatever_is_made_of_pieces(
            pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..24),
        ) {
            agrees(&pieces.concat());
        }

        #[test]
        fn they_agree_on_specs_that_were_tampered_with(
            spec in prop::sample::select(SPECS.to_vec()),
            edits in prop::collection::vec((any::<prop::sample::Index>(), 0..3_usize, prop::sample::select(PIECES.to_vec())), 1..4),
        ) {
            let mut text = spec.to_owned();
            for (index, removed, piece) in edits {
                let at = index.index(text.len() + 1);
                let end = (at + removed).min(text.len());
                text.replace_range(at..end, piece);
            }
            agrees(&text);
        }
    }
}
