//! Domain names: parse, print, compare without case, match by label.
//!
//! A name is kept as its octets on the wire, lower-cased once when it is made, so that equality, order and hashing are
//! those of plain octets (RFC 4343 §3 compares only ASCII letters without case; every other octet is itself). The text
//! form with its escapes (RFC 1035 §5.1) exists at the edges only: files, logs, zone files.
//!
//! Three shapes, one encoding: [`Label`] is one label, [`Name`] owns a whole name, [`NameBuffer`] is a name on the
//! stack with the place of each label, which is what a query is read into: it never allocates.
//! A borrowed-name type was tried and dropped: a `&[u8]` of wire octets and the functions here do the same.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// The most octets of a name on the wire, the root's zero octet included (RFC 1035 §2.3.4).
pub const NAME_MAX: usize = 255;
/// The most octets of one label (RFC 1035 §2.3.4).
pub const LABEL_MAX: usize = 63;
/// The most labels of a name: 127 labels of one octet and the root fill 255 octets.
pub const LABELS_MAX: usize = 127;

/// Why octets or text are not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A label has no octets where one is needed.
    #[error("a label is empty")]
    EmptyLabel,
    /// A label is longer than [`LABEL_MAX`].
    #[error("a label is longer than 63 octets")]
    LabelTooLong,
    /// The name is longer than [`NAME_MAX`].
    #[error("the name is longer than 255 octets")]
    NameTooLong,
    /// A backslash is followed by neither one character nor three digits up to 255.
    #[error("an escape is neither `\\` and a character nor `\\` and three digits up to 255")]
    BadEscape,
    /// The octets end before the name does, or hold a compression pointer.
    #[error("the octets are not one whole uncompressed name")]
    NotWire,
}

/// One label: 1 to 63 octets, lower-cased.
///
/// Nearly all are short, and there are a dozen for each app: such a one lies in the value itself, with no allocation of its own.
#[derive(Clone)]
pub struct Label(Place);

/// Where a label's octets are.
#[derive(Clone)]
enum Place {
    /// Here, the first so many.
    Here(u8, [u8; LABEL_HERE]),
    /// Elsewhere: they are more than that.
    Elsewhere(Box<[u8]>),
}

/// As many octets as fit beside a length in three words: an app's name may have 32, and few have more than these.
const LABEL_HERE: usize = 22;
const LABEL_LONG: usize = LABEL_HERE + 1;

impl Label {
    /// Makes a label of plain octets, which stand for themselves (no escapes).
    ///
    /// # Errors
    /// When `octets` is empty or longer than [`LABEL_MAX`].
    pub fn from_octets(octets: &[u8]) -> Result<Self, NameError> {
        match octets.len() {
            0 => Err(NameError::EmptyLabel),
            length @ 1..=LABEL_HERE => {
                let mut here = [0; LABEL_HERE];
                here.iter_mut().zip(octets).for_each(|(to, from)| *to = from.to_ascii_lowercase());
                Ok(Self(Place::Here(length.to_le_bytes()[0], here)))
            }
            LABEL_LONG..=LABEL_MAX => Ok(Self(Place::Elsewhere(octets.to_ascii_lowercase().into()))),
            _ => Err(NameError::LabelTooLong),
        }
    }

    /// The octets, without the length octet that stands before them on the wire.
    #[inline]
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        match &self.0 {
            Place::Here(length, octets) => octets.get(..usize::from(*length)).unwrap_or_default(),
            Place::Elsewhere(octets) => octets,
        }
    }
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        self.octets() == other.octets()
    }
}

impl Eq for Label {}

impl PartialOrd for Label {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Label {
    fn cmp(&self, other: &Self) -> Ordering {
        self.octets().cmp(other.octets())
    }
}

impl Hash for Label {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.octets().hash(state);
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_label(self.octets(), f)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An absolute domain name: lower-cased wire octets, ending in the root's zero octet.
///
/// Shared when it is cloned: who wants a name, who has it and what is served of it are three, of one name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// The root, `.`.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::new([0]))
    }

    /// Takes one whole uncompressed name and lower-cases it.
    ///
    /// # Errors
    /// When `octets` is not exactly one name.
    pub fn from_wire(octets: &[u8]) -> Result<Self, NameError> {
        let mut buffer = NameBuffer::new();
        if buffer.read(octets, 0)? == octets.len() { Ok(buffer.to_name()) } else { Err(NameError::NotWire) }
    }

    /// Joins labels, leftmost first, in front of `parent`.
    ///
    /// # Errors
    /// When the result would be longer than [`NAME_MAX`].
    pub fn join<'a>(labels: impl IntoIterator<Item = &'a Label>, parent: &Self) -> Result<Self, NameError> {
        let mut wire = Vec::with_capacity(NAME_MAX);
        for label in labels {
            push_label(&mut wire, label.octets());
        }
        wire.extend_from_slice(&parent.0);
        if wire.len() > NAME_MAX { Err(NameError::NameTooLong) } else { Ok(Self(wire.into())) }
    }

    /// Puts one label in front.
    ///
    /// # Errors
    /// When the result would be longer than [`NAME_MAX`].
    pub fn child(&self, label: &Label) -> Result<Self, NameError> {
        Self::join([label], self)
    }

    /// The octets as they go on the wire, the root's zero octet included.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// The labels, leftmost first, without the root.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> + Clone {
        labels(&self.0)
    }

    /// How many labels there are, the root not counted.
    #[must_use]
    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// The name without its leftmost label; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let first = usize::from(*self.0.first()?);
        if first == 0 { None } else { Some(Self(self.0.get(first + 1..)?.into())) }
    }

    /// Whether this is `ancestor` or lies below it.
    #[must_use]
    pub fn is_within(&self, ancestor: &Self) -> bool {
        let mut rest = &*self.0;
        loop {
            if rest == &*ancestor.0 {
                return true;
            }
            match after_first_label(rest) {
                Some(parent) if rest.len() > ancestor.0.len() => rest = parent,
                _ => return false,
            }
        }
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// Reads the text form; the trailing dot may be missing, `.` is the root.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "." {
            return Ok(Self::root());
        }
        let mut wire = Vec::with_capacity(text.len() + 2);
        let mut label = Vec::with_capacity(LABEL_MAX);
        let mut octets = text.bytes();
        let mut ended = false;
        while let Some(octet) = octets.next() {
            ended = octet == b'.';
            match octet {
                b'.' => take_label(&mut wire, &mut label)?,
                b'\\' => label.push(unescape(&mut octets)?),
                _ => label.push(octet),
            }
        }
        if !ended {
            take_label(&mut wire, &mut label)?;
        }
        wire.push(0);
        if wire.len() > NAME_MAX { Err(NameError::NameTooLong) } else { Ok(Self(wire.into())) }
    }
}

impl fmt::Display for Name {
    /// Writes the text form with a trailing dot; octets that are not plain are escaped, so a log line stays a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(&self.0, f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A name on the stack, lower-cased, with the place of each of its labels.
///
/// What a query's name is read into: 400 octets, no allocation.
#[derive(Clone)]
pub struct NameBuffer {
    /// A word more than a name has, so that one can be read from any octet of it; what is behind the name is anything.
    octets: [u8; NAME_MAX + 9],
    /// Where each label starts, and behind the last of them the root.
    starts: [u8; LABELS_MAX + 1],
    length: u8,
    labels: u8,
    /// That of the octets.
    hash: u64,
}

impl NameBuffer {
    /// Makes the root.
    #[must_use]
    pub const fn new() -> Self {
        Self { octets: [0; NAME_MAX + 9], starts: [0; LABELS_MAX + 1], length: 1, labels: 0, hash: ROOT_HASH }
    }

    /// Reads the uncompressed name that starts at `at` in `message`, lower-cases it, and returns where it ends.
    ///
    /// # Errors
    /// When the octets end too early, a label's length is over 63 (a pointer among them: no name that a query holds
    /// has anything to point at), or the name is too long. The buffer is the root then.
    #[inline(always)]
    pub fn read(&mut self, message: &[u8], at: usize) -> Result<usize, NameError> {
        let read = self.read_labels(message, at);
        if read.is_err() {
            self.clear();
        }
        read
    }

    #[inline(always)]
    fn read_labels(&mut self, message: &[u8], at: usize) -> Result<usize, NameError> {
        let octets = message.get(at..).ok_or(NameError::NotWire)?;
        let mut position = 0_usize;
        let mut count = 0_u8;
        loop {
            let length = usize::from(*octets.get(position).ok_or(NameError::NotWire)?);
            // The last label leaves one octet for the root, so a start fits an octet and there are at most 127: the mask is for the
            // compiler, which then checks nothing.
            if let Some(start) = self.starts.get_mut(usize::from(count) & LABELS_MAX) {
                *start = position.to_le_bytes()[0];
            }
            match length {
                1..=LABEL_MAX => position += length + 1,
                0 => break,
                _ => return Err(NameError::NotWire),
            }
            count = count.wrapping_add(1);
            if position >= NAME_MAX {
                return Err(NameError::NameTooLong);
            }
        }
        let length = position + 1;
        self.labels = count;
        self.length = length.to_le_bytes()[0];
        self.hash = self.take(octets.get(..length).ok_or(NameError::NotWire)?).ok_or(NameError::NotWire)?;
        Ok(at + length)
    }

    #[cold]
    fn clear(&mut self) {
        (self.length, self.labels, self.hash) = (1, 0, ROOT_HASH);
        self.octets.first_mut().into_iter().chain(self.starts.first_mut()).for_each(|octet| *octet = 0);
    }

    /// Copies a name, lower-cases it on the way, and returns its [`hash`]: all three in one pass of blocks.
    ///
    /// A length octet is at most 63, below every letter, and so is its own lower case.
    #[inline(always)]
    fn take(&mut self, wire: &[u8]) -> Option<u64> {
        let mut state = seed(wire.len());
        let Some(end) = wire.last_chunk::<BLOCK>() else { return self.take_short(wire) };
        let (blocks, _) = wire.get(..wire.len() - 1)?.as_chunks::<BLOCK>();
        for (place, block) in self.octets.as_chunks_mut::<BLOCK>().0.iter_mut().zip(blocks) {
            *place = block.map(|octet| octet.to_ascii_lowercase());
            state = step(state, place);
        }
        let place = self.octets.get_mut(..wire.len())?.last_chunk_mut()?;
        *place = *end;
        place.make_ascii_lowercase();
        Some(finish(state, place))
    }

    #[inline(always)]
    fn take_short(&mut self, wire: &[u8]) -> Option<u64> {
        self.octets.get_mut(..wire.len())?.iter_mut().zip(wire).for_each(|(to, from)| *to = from.to_ascii_lowercase());
        Some(hash(self.wire()))
    }

    /// The octets, the root's zero octet included.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        self.octets.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The [`hash`] of the octets, made when they were read.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// How many labels there are, the root not counted.
    #[must_use]
    pub fn label_count(&self) -> usize {
        usize::from(self.labels)
    }

    /// The octets of label `index`, leftmost 0, without its length octet; empty when there is no such label.
    #[must_use]
    pub fn label(&self, index: usize) -> &[u8] {
        let start = self.offset(index);
        let length = usize::from(self.octets.get(start).copied().unwrap_or(0));
        self.octets.get(start + 1..start + 1 + length).unwrap_or_default()
    }

    /// The [`hash`] of label `index`.
    #[inline(always)]
    #[must_use]
    pub fn label_hash(&self, index: usize) -> u64 {
        hash(self.label(index))
    }

    /// The eight octets from here on, the first of them lowest. What is behind the name is anything.
    #[inline(always)]
    #[must_use]
    pub fn word(&self, at: usize) -> u64 {
        self.octets.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |octets| u64::from_le_bytes(*octets))
    }

    /// Where label `index` starts in [`wire`](Self::wire); the root's place when `index` is the count or more.
    #[inline(always)]
    #[must_use]
    pub fn offset(&self, index: usize) -> usize {
        self.starts.get(index.min(self.label_count()) & LABELS_MAX).map_or(0, |start| usize::from(*start))
    }

    /// The wire octets from label `index` on: an ancestor, or the name itself for 0, or the root.
    #[inline(always)]
    #[must_use]
    pub fn suffix(&self, index: usize) -> &[u8] {
        self.wire().get(self.offset(index)..).unwrap_or_default()
    }

    /// Whether this name, from label `index` on, is the one with these octets.
    #[inline(always)]
    #[must_use]
    pub fn ends_as(&self, index: usize, wire: &[u8]) -> bool {
        let start = self.offset(index);
        let end = usize::from(self.length);
        start + wire.len() == end && self.octets.get(start..end).is_some_and(|suffix| same(suffix, wire))
    }

    /// Whether this name and another one may end in the same label. The last octet of both is the root, and the two before it are the end of a
    /// label or all of one; names in which these differ have nothing in common.
    #[inline(always)]
    #[must_use]
    pub fn may_end_as(&self, wire: &[u8]) -> bool {
        let own = self.word(usize::from(self.length).saturating_sub(3)) & 0xff_ffff;
        wire.last_chunk::<4>().is_none_or(|end| u64::from(u32::from_le_bytes(*end) >> 8) == own)
    }

    /// Which label `ancestor` starts at when this name is `ancestor` or lies below it.
    #[must_use]
    pub fn position_of(&self, ancestor: &Name) -> Option<usize> {
        let index = self.label_count().checked_sub(ancestor_labels(ancestor))?;
        (self.suffix(index) == ancestor.wire()).then_some(index)
    }

    /// An owned copy.
    #[must_use]
    pub fn to_name(&self) -> Name {
        Name(self.wire().into())
    }
}

impl Default for NameBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl From<&Name> for NameBuffer {
    fn from(name: &Name) -> Self {
        let mut buffer = Self::new();
        // A `Name` is a whole name by construction; were it not, the buffer would be the root.
        let _ = buffer.read(&name.0, 0);
        buffer
    }
}

impl fmt::Display for NameBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self.wire(), f)
    }
}

impl fmt::Debug for NameBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether two runs of octets are the same: a word at a time and in line, where `==` calls a function that first finds out how long and how
/// aligned they are. For names, which are short and mostly the same when they have come as far as this.
#[inline(always)]
#[must_use]
pub fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a_end), Some(b_end)) => {
            a_end == b_end && a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0).all(|(a, b)| a == b)
        }
        _ => same_short(a, b),
    }
}

/// The same for labels, most of which have fewer than eight octets.
#[inline(always)]
#[must_use]
pub fn same_label(a: &[u8], b: &[u8]) -> bool {
    if a.len() < 8 { a.len() == b.len() && short(a) == short(b) } else { same(a, b) }
}

#[inline(never)]
fn same_short(a: &[u8], b: &[u8]) -> bool {
    short(a) == short(b)
}

/// Hashes octets.
///
/// A multiply-and-fold over sixteen octets at a time (the step that wyhash and `foldhash` use): the octets are names and addresses from
/// the operator's files and are compared after the look-up, so collisions cost time and nothing else. The last block overlaps the one before
/// it, and the last of two words the first: octets that are looked at twice cost less than a loop over those that are left.
#[inline(always)]
#[must_use]
pub fn hash(octets: &[u8]) -> u64 {
    let mut state = seed(octets.len());
    let Some(end) = octets.last_chunk::<BLOCK>() else { return hash_short(state, octets) };
    for block in octets.get(..octets.len() - 1).unwrap_or_default().as_chunks::<BLOCK>().0 {
        state = step(state, block);
    }
    finish(state, end)
}

#[inline(always)]
fn hash_short(seed: u64, octets: &[u8]) -> u64 {
    let (first, last) = match (octets.first_chunk::<8>(), octets.last_chunk::<8>()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (0, short(octets)),
    };
    fold(seed ^ first, last ^ HASH_LAST)
}

#[inline(always)]
fn step(state: u64, block: &[u8; BLOCK]) -> u64 {
    let [first, last] = halves(block);
    fold(state ^ first, last ^ HASH_BLOCK)
}

#[inline(always)]
fn finish(state: u64, end: &[u8; BLOCK]) -> u64 {
    let [first, last] = halves(end);
    fold(state ^ first, last ^ HASH_LAST)
}

#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the two halves are what is wanted")]
const fn halves(block: &[u8; BLOCK]) -> [u64; 2] {
    let word = u128::from_le_bytes(*block);
    [word as u64, (word >> 64) as u64]
}

const fn seed(length: usize) -> u64 {
    0x9e37_79b9_7f4a_7c15 ^ length as u64
}

/// Octets that are copied, lower-cased and hashed at once: what a vector register holds.
const BLOCK: usize = 16;
const HASH_BLOCK: u64 = 0x94d0_49bb_1331_11eb;
const HASH_LAST: u64 = 0xd6e8_feb8_6659_fd93;
/// The hash of the root: one octet, zero.
const ROOT_HASH: u64 = fold(seed(1), HASH_LAST);

/// Up to seven octets as a number: two loads that overlap, as a loop would cost more than all the rest.
#[inline(always)]
fn short(octets: &[u8]) -> u64 {
    match (octets.first_chunk::<4>(), octets.last_chunk::<4>()) {
        (Some(first), Some(last)) => u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32,
        _ => match octets {
            [first, middle, last] => u64::from(u32::from_le_bytes([*first, *middle, *last, 0])),
            [first, last] => u64::from(u16::from_le_bytes([*first, *last])),
            [only] => u64::from(*only),
            _ => 0,
        },
    }
}

/// One step of [`hash`].
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the two halves of the product are what is wanted")]
pub const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    (product as u64) ^ ((product >> 64) as u64)
}

fn ancestor_labels(name: &Name) -> usize {
    name.labels().count()
}

fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let mut rest = wire;
    std::iter::from_fn(move || {
        let (first, tail) = rest.split_first()?;
        let (label, after) = tail.split_at_checked(usize::from(*first)).filter(|(label, _)| !label.is_empty())?;
        rest = after;
        Some(label)
    })
}

fn after_first_label(wire: &[u8]) -> Option<&[u8]> {
    let first = usize::from(*wire.first()?);
    if first == 0 { None } else { wire.get(first + 1..) }
}

fn push_label(wire: &mut Vec<u8>, octets: &[u8]) {
    wire.push(octets.len().to_le_bytes()[0]);
    wire.extend_from_slice(octets);
}

fn take_label(wire: &mut Vec<u8>, label: &mut Vec<u8>) -> Result<(), NameError> {
    let checked = Label::from_octets(label)?;
    push_label(wire, checked.octets());
    label.clear();
    Ok(())
}

fn unescape(octets: &mut std::str::Bytes<'_>) -> Result<u8, NameError> {
    let first = octets.next().ok_or(NameError::BadEscape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u32::from(first - b'0');
    for _ in 0..2 {
        let digit = octets.next().filter(u8::is_ascii_digit).ok_or(NameError::BadEscape)?;
        value = value * 10 + u32::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| NameError::BadEscape)
}

fn write_name(wire: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if wire.len() <= 1 {
        return f.write_str(".");
    }
    for label in labels(wire) {
        write_label(label, f)?;
        f.write_str(".")?;
    }
    Ok(())
}

fn write_label(octets: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for &octet in octets {
        match octet {
            b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => write!(f, "\\{}", char::from(octet))?,
            0x21..=0x7e => write!(f, "{}", char::from(octet))?,
            _ => write!(f, "\\{octet:03}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn text_and_wire_agree() {
        let web = name("WEB.Shop.app.localspace");
        assert_eq!(web.wire(), b"\x03web\x04shop\x03app\x0alocalspace\x00");
        assert_eq!(web.to_string(), "web.shop.app.localspace.");
        assert_eq!(name("web.shop.app.localspace."), web);
        assert_eq!(Name::from_wire(web.wire()), Ok(web));
    }

    #[test]
    fn the_root_is_a_dot() {
        assert_eq!(name("."), Name::root());
        assert_eq!(Name::root().to_string(), ".");
        assert_eq!(Name::root().parent(), None);
        assert_eq!(Name::root().label_count(), 0);
    }

    #[test]
    fn odd_octets_are_escaped_and_come_back() {
        let odd = Name::from_wire(b"\x05a.b\x00\xff\x00").unwrap();
        assert_eq!(odd.to_string(), "a\\.b\\000\\255.");
        assert_eq!(name(&odd.to_string()), odd);
        assert_eq!("a\\25".parse::<Name>(), Err(NameError::BadEscape));
        assert_eq!("a\\256".parse::<Name>(), Err(NameError::BadEscape));
    }

    #[test]
    fn a_name_has_at_most_255_octets_and_a_label_63() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(name(&longest).wire().len(), 255);
        assert_eq!(format!("{label}.{label}.{label}.{}", "a".repeat(62)).parse::<Name>(), Err(NameError::NameTooLong));
        assert_eq!("a".repeat(64).parse::<Name>(), Err(NameError::LabelTooLong));
        assert_eq!("a..b".parse::<Name>(), Err(NameError::EmptyLabel));
        assert_eq!("".parse::<Name>(), Err(NameError::EmptyLabel));
        assert_eq!(NameBuffer::from(&name(&longest)).wire(), name(&longest).wire());
    }

    #[test]
    fn a_buffer_refuses_pointers_and_names_of_256_octets() {
        let mut buffer = NameBuffer::new();
        assert_eq!(buffer.read(b"\xc0\x0c", 0), Err(NameError::NotWire));
        assert_eq!(buffer.read(b"\x40a", 0), Err(NameError::NotWire));
        assert_eq!(buffer.read(b"\x80a", 0), Err(NameError::NotWire));
        assert_eq!(buffer.read(b"\x03we", 0), Err(NameError::NotWire));
        let mut long = b"\x01a".repeat(127);
        long.push(0);
        assert_eq!(buffer.read(&long, 0), Ok(255));
        assert_eq!(buffer.label_count(), 127);
        let mut longer = b"\x01a".repeat(125);
        longer.extend_from_slice(b"\x04abcd\x00");
        assert_eq!(buffer.read(&longer, 0), Err(NameError::NameTooLong));
    }

    #[test]
    fn a_buffer_lower_cases_ascii_letters_and_nothing_else() {
        for octet in 0..=255_u8 {
            for length in [1, 6, 7, 8, 9, 63] {
                let wire =
                    [&[length][..], &vec![octet; usize::from(length)], b"\0\x00\x01\x00\x01AAAAAAAAAAA"].concat();
                let mut buffer = NameBuffer::new();
                let end = usize::from(length) + 2;
                assert_eq!(buffer.read(&wire, 0), Ok(end));
                assert_eq!(buffer.wire(), wire[..end].to_ascii_lowercase(), "{octet} {length}");
                // The message may end with the name.
                assert_eq!(buffer.read(&wire[..end], 0), Ok(end));
                assert_eq!(buffer.wire(), wire[..end].to_ascii_lowercase(), "{octet} {length}");
            }
        }
    }

    #[test]
    fn a_buffer_has_the_hash_of_what_was_read() {
        let mut buffer = NameBuffer::new();
        assert_eq!(buffer.hash(), hash(b"\0"));
        for text in ["a", "web", "WEB.Shop.app.localspace"] {
            let name = name(text);
            assert_eq!(buffer.read(name.wire(), 0), Ok(name.wire().len()));
            assert_eq!(buffer.hash(), hash(name.wire()));
            assert!(buffer.read(b"\xc0\0", 0).is_err());
            assert_eq!(buffer.hash(), hash(b"\0"));
        }
    }

    #[test]
    fn suffixes_match_by_label_not_by_octet() {
        let buffer = NameBuffer::from(&name("1.web.shop.app.localspace"));
        assert_eq!(buffer.position_of(&name("app.localspace")), Some(3));
        assert_eq!(buffer.position_of(&name("pp.localspace")), None);
        assert_eq!(buffer.position_of(&Name::root()), Some(5));
        assert_eq!(buffer.label(1), b"web");
        assert_eq!(buffer.label(9), b"");
        assert_eq!(buffer.suffix(3), name("app.localspace").wire());
        assert!(name("a.b.c").is_within(&name("b.c")));
        assert!(name("b.c").is_within(&name("b.c")));
        assert!(!name("ab.c").is_within(&name("b.c")));
        assert!(name("b.c").is_within(&Name::root()));
    }
}
