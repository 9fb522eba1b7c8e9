//! The files of a state directory: a base, and the changes since.
//!
//! Everything saved is a record, a key and a value. A **base** `base.N` holds every record there was at one moment, in the
//! order of keys, in blocks that each have a checksum; it is written beside its place, synced, and renamed into it. What
//! changes after that moment is appended to `changes.N`, a batch at a time, each batch with a checksum, whole or not there.
//! When that has grown, `changes.N+1` is begun and the two before it are merged into `base.N+1` meanwhile.
//!
//! The base before the newest is kept, and the changes from it on: together they hold the same as the newest, so a base in
//! which any octet is wrong costs nothing but time. Changes in which one is wrong are used up to there: what is read is
//! always what was, at some moment. A file knows how long the one before it was, so that a batch that was cut off by the end
//! of a process can be told from one that was lost.
//!
//! One file a key was weighed (ten thousand small files to sync), and a database (a page of it per change, and its own ideas
//! of recovery); what is needed here is to read everything once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Records by key; no value says that there is no such record any more.
pub(super) type Records = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What the files of a directory are called.
#[derive(Debug, Clone)]
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    pub(super) fn directory(&self) -> &Path {
        &self.0
    }

    fn base(&self, number: u64) -> PathBuf {
        self.0.join(format!("{BASE}{number}"))
    }

    fn changes(&self, number: u64) -> PathBuf {
        self.0.join(format!("{CHANGES}{number}"))
    }

    /// The numbers of what is there: bases and changes.
    pub(super) fn list(&self) -> io::Result<(BTreeSet<u64>, BTreeSet<u64>)> {
        let (mut bases, mut changes) = (BTreeSet::new(), BTreeSet::new());
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            let number = |prefix| name.strip_prefix(prefix)?.parse::<u64>().ok();
            bases.extend(number(BASE));
            changes.extend(number(CHANGES));
        }
        Ok((bases, changes))
    }

    /// Removes the bases and changes that are older than the base before `newest`, and what was left unfinished.
    pub(super) fn prune(&self, newest: u64) -> io::Result<()> {
        let (bases, changes) = self.list()?;
        let kept = bases.range(..newest).next_back().copied().unwrap_or(newest);
        for old in bases.range(..kept) {
            fs::remove_file(self.base(*old))?;
        }
        for old in changes.range(..kept) {
            fs::remove_file(self.changes(*old))?;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error("is damaged")]
    Damaged,
    /// Another version of this program wrote it.
    #[error("is in the format {0}, and this version of spacedns reads {FORMAT}")]
    Foreign(u32),
}

/// A base as it was read: all of its octets, and where its blocks are.
#[derive(Debug)]
pub(super) struct Base {
    octets: Vec<u8>,
    blocks: Vec<std::ops::Range<usize>>,
}

/// Which part of a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// What is served.
    Served,
    /// The rest.
    Rest,
}

impl Base {
    /// Reads a part of a base, and checks its header; the blocks are checked by [`records`].
    pub(super) fn read(place: &Place, number: u64, part: Part) -> Result<Self, Unusable> {
        let mut file = File::open(place.base(number))?;
        let header = Header::read(&mut file, BASE_MAGIC)?;
        let length = file.metadata()?.len();
        if header.number != number || header.total != length || header.served > length {
            return Err(Unusable::Damaged);
        }
        let (from, to) = match part {
            Part::Served => (HEADER_LENGTH, header.served),
            Part::Rest => (header.served, header.total),
        };
        let octets = read_exactly(&mut file, from, to)?;
        let blocks = blocks_of(&octets).ok_or(Unusable::Damaged)?;
        Ok(Self { octets, blocks })
    }

    /// The blocks, each to be read by [`records`].
    pub(super) fn blocks(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.blocks.iter().map(|range| self.octets.get(range.clone()).unwrap_or_default())
    }
}

fn read_exactly(file: &mut File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(to.saturating_sub(from)).map_err(io::Error::other)?;
    file.seek(SeekFrom::Start(from))?;
    let mut octets = Vec::new();
    octets.try_reserve_exact(length).map_err(io::Error::other)?;
    file.take(to.saturating_sub(from)).read_to_end(&mut octets)?;
    if octets.len() == length { Ok(octets) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn blocks_of(octets: &[u8]) -> Option<Vec<std::ops::Range<usize>>> {
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < octets.len() {
        let length = octets.get(at..)?.first_chunk::<4>().map(|length| u32::from_le_bytes(*length))?;
        let end = at.checked_add(FRAME)?.checked_add(usize::try_from(length).ok()?)?;
        blocks.push(at..end);
        at = end;
    }
    (at == octets.len()).then_some(blocks)
}

/// The records of a block or batch; `None` when its checksum says that it is not what was written.
pub(super) fn records(frame: &[u8]) -> Option<impl Iterator<Item = Record<'_>>> {
    let (length, rest) = frame.split_first_chunk::<4>()?;
    let (sum, payload) = rest.split_first_chunk::<4>()?;
    let whole = usize::try_from(u32::from_le_bytes(*length)).ok()? == payload.len();
    if !whole || crc32fast::hash(payload) != u32::from_le_bytes(*sum) {
        return None;
    }
    let mut rest = payload;
    Some(std::iter::from_fn(move || {
        let (record, after) = Record::split(rest)?;
        rest = after;
        Some(record)
    }))
}

/// One record in what was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'o> {
    pub(super) key: &'o [u8],
    /// `None` when it says that there is no such record any more.
    pub(super) value: Option<&'o [u8]>,
}

impl<'o> Record<'o> {
    fn split(octets: &'o [u8]) -> Option<(Self, &'o [u8])> {
        let (key_length, rest) = octets.split_first_chunk::<2>()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*key_length)))?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        match u32::from_le_bytes(*length) {
            GONE => Some((Self { key, value: None }, rest)),
            length => {
                let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                Some((Self { key, value: Some(value) }, rest))
            }
        }
    }

    /// Adds one to what will be a block or batch.
    fn push(key: &[u8], value: Option<&[u8]>, to: &mut Vec<u8>) -> io::Result<()> {
        let too_long = || io::Error::other("a record is too long");
        let key_length = u16::try_from(key.len()).map_err(|_| too_long())?;
        to.extend_from_slice(&key_length.to_le_bytes());
        to.extend_from_slice(key);
        let length = match value {
            Some(value) => u32::try_from(value.len()).ok().filter(|length| *length != GONE).ok_or_else(too_long)?,
            None => GONE,
        };
        to.extend_from_slice(&length.to_le_bytes());
        to.extend_from_slice(value.unwrap_or_default());
        Ok(())
    }
}

/// What changed after a base, and where going on from there begins.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// The newest value of each record that changed.
    pub(super) records: HashMap<Vec<u8>, Option<Vec<u8>>>,
    /// How many octets these took.
    pub(super) length: u64,
    /// The number of the last file read, and how much of it holds.
    pub(super) last: u64,
    pub(super) last_length: u64,
    /// The number of the file that could not be read on from, though there was more.
    pub(super) damage: Option<u64>,
}

impl Replay {
    /// Reads what changed after `base`, in files up to number `to`, as far as it can be read.
    pub(super) fn read(place: &Place, base: u64, to: u64) -> io::Result<Self> {
        let mut replay = Self { last: base.saturating_sub(1), ..Self::default() };
        let mut number = base;
        let (_, numbers) = place.list()?;
        while number <= to {
            let damage = Some(number);
            let octets = match fs::read(place.changes(number)) {
                Ok(octets) => octets,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // The files are made in order, so one that is not there is the end, or was taken away.
                    replay.damage = damage.filter(|_| numbers.range(number..=to).next().is_some());
                    if number == base {
                        replay.last_length = whole_length(place, replay.last);
                    }
                    break;
                }
                Err(error) => return Err(error),
            };
            let Ok(header) = Header::parse(&octets, CHANGES_MAGIC) else {
                // A process that ends while it makes a file leaves less than a header, and nothing after it.
                let unfinished = octets.len() < usize::try_from(HEADER_LENGTH).unwrap_or(0);
                replay.damage = damage.filter(|_| !unfinished || numbers.range(number + 1..=to).next().is_some());
                break;
            };
            let follows = number == base || header.served == replay.last_length;
            if header.number != number || !follows {
                replay.damage = damage;
                break;
            }
            let end = replay.take_batches(&octets);
            (replay.last, replay.last_length) = (number, end);
            number += 1;
        }
        Ok(replay)
    }

    /// Takes in the batches of one file; says where the last whole one ends.
    fn take_batches(&mut self, octets: &[u8]) -> u64 {
        let mut at = usize::try_from(HEADER_LENGTH).unwrap_or(usize::MAX);
        loop {
            let rest = octets.get(at..).unwrap_or_default();
            let length = rest.first_chunk::<4>().map(|length| u32::from_le_bytes(*length));
            let length = length.and_then(|length| usize::try_from(length).ok()?.checked_add(FRAME));
            let batch = length.and_then(|length| rest.get(..length));
            let Some((batch, records)) = batch.and_then(|batch| Some((batch, records(batch)?))) else { break };
            for Record { key, value } in records {
                self.records.insert(key.to_vec(), value.map(<[u8]>::to_vec));
            }
            at += batch.len();
        }
        let end = u64::try_from(at).unwrap_or(u64::MAX);
        self.length += end;
        end
    }
}

/// How much holds of the file of changes with this number; nothing where there is none.
fn whole_length(place: &Place, number: u64) -> u64 {
    fs::read(place.changes(number)).map_or(0, |octets| Replay::default().take_batches(&octets))
}

/// A file of changes being written.
#[derive(Debug)]
pub(super) struct Changes {
    file: File,
    /// Its number.
    pub(super) number: u64,
    /// How much of it holds.
    pub(super) length: u64,
}

impl Changes {
    /// Begins the file with this number, after one of which `before` octets hold.
    pub(super) fn create(place: &Place, number: u64, before: u64) -> io::Result<Self> {
        let mut file = create(&place.changes(number))?;
        file.write_all(&Header { number, served: before, total: 0 }.octets(CHANGES_MAGIC))?;
        place.sync()?;
        Ok(Self { file, number, length: HEADER_LENGTH })
    }

    /// Appends a batch: after this it outlives the process. After an error nothing may be appended any more.
    pub(super) fn append(&mut self, records: &Records) -> io::Result<()> {
        let mut payload = Vec::new();
        for (key, value) in records {
            Record::push(key, value.as_deref(), &mut payload)?;
        }
        let framed = frame(&payload)?;
        self.file.write_all(&framed)?;
        self.length += u64::try_from(framed.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// A second handle on the file, for whoever syncs it: after that it outlives the machine.
    pub(super) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

fn frame(payload: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    let mut framed = Vec::with_capacity(FRAME + payload.len());
    framed.extend_from_slice(&length.to_le_bytes());
    framed.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    framed.extend_from_slice(payload);
    Ok(framed)
}

/// A base being written. Until it is [finished](Self::finish) it is not there.
#[derive(Debug)]
pub(super) struct BaseWriter<'p> {
    place: &'p Place,
    file: BufWriter<File>,
    header: Header,
    block: Vec<u8>,
    /// The last octet that a key begins with of what is read first.
    served: u8,
    in_served: bool,
}

impl<'p> BaseWriter<'p> {
    /// Begins the base with this number; records whose keys begin with `served` or less are read first.
    pub(super) fn create(place: &'p Place, number: u64, served: u8) -> io::Result<Self> {
        let mut file = create(&place.0.join(UNFINISHED))?;
        file.write_all(&[0; HEADER_LENGTH_USIZE])?;
        let file = BufWriter::with_capacity(BLOCK_MAX, file);
        let header = Header { number, served: HEADER_LENGTH, total: HEADER_LENGTH };
        Ok(Self { place, file, header, block: Vec::with_capacity(BLOCK_MAX), served, in_served: true })
    }

    /// Adds a record; they come in the order of their keys.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let is_served = key.first().is_some_and(|kind| *kind <= self.served);
        if is_served != self.in_served {
            self.flush()?;
            (self.in_served, self.header.served) = (false, self.header.total);
        } else if self.block.len() >= BLOCK_MAX {
            self.flush()?;
        }
        Record::push(key, Some(value), &mut self.block)
    }

    /// Puts the base in its place; says how long it is.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        if self.in_served {
            self.header.served = self.header.total;
        }
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&self.header.octets(BASE_MAGIC))?;
        file.sync_all()?;
        fs::rename(self.place.0.join(UNFINISHED), self.place.base(self.header.number))?;
        self.place.sync()?;
        Ok(self.header.total)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            let framed = frame(&self.block)?;
            self.file.write_all(&framed)?;
            self.block.clear();
            self.header.total += u64::try_from(framed.len()).unwrap_or(0);
        }
        Ok(())
    }
}

/// Merges a base and the changes since, up to those of number `to`, into the base `number`; says how long that is.
pub(super) fn merge(place: &Place, base: u64, to: u64, number: u64, served: u8) -> Result<u64, Unusable> {
    let replay = Replay::read(place, base, to)?;
    if replay.damage.is_some() || replay.last != to {
        return Err(Unusable::Damaged);
    }
    let mut changed: Vec<(Vec<u8>, Option<Vec<u8>>)> = replay.records.into_iter().collect();
    changed.sort_unstable();
    let mut changed = changed.into_iter().peekable();
    let mut writer = BaseWriter::create(place, number, served)?;
    let mut file = File::open(place.base(base))?;
    let header = Header::read(&mut file, BASE_MAGIC)?;
    if header.number != base || header.total != file.metadata()?.len() {
        return Err(Unusable::Damaged);
    }
    let mut file = io::BufReader::with_capacity(BLOCK_MAX, file);
    while let Some(block) = next_frame(&mut file)? {
        for Record { key, value } in records(&block).ok_or(Unusable::Damaged)? {
            while let Some((changed, value)) = changed.next_if(|(changed, _)| changed.as_slice() < key) {
                value.map_or(Ok(()), |value| writer.push(&changed, &value))?;
            }
            // What changed comes in its turn.
            if changed.peek().is_none_or(|(changed, _)| changed != key) {
                value.map_or(Ok(()), |value| writer.push(key, value))?;
            }
        }
    }
    for (key, value) in changed {
        value.map_or(Ok(()), |value| writer.push(&key, &value))?;
    }
    Ok(writer.finish()?)
}

fn next_frame(file: &mut impl BufRead) -> Result<Option<Vec<u8>>, Unusable> {
    if file.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let rest = u64::from(u32::from_le_bytes(length)) + 4;
    let mut block = length.to_vec();
    file.take(rest).read_to_end(&mut block)?;
    Ok(Some(block))
}

/// Only its owner may read what is saved: a spec may hold secrets.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// What stands at the beginning of every file.
#[derive(Debug, Clone, Copy)]
struct Header {
    number: u64,
    /// Of a base: where the records that are served end. Of changes: how long the file before it was.
    served: u64,
    /// Of a base: its length.
    total: u64,
}

impl Header {
    fn octets(self, magic: [u8; 12]) -> Vec<u8> {
        let mut octets = [&magic[..], &FORMAT.to_le_bytes()].concat();
        for number in [self.number, self.served, self.total] {
            octets.extend_from_slice(&number.to_le_bytes());
        }
        octets.extend_from_slice(&crc32fast::hash(&octets).to_le_bytes());
        octets
    }

    fn read(file: &mut File, magic: [u8; 12]) -> Result<Self, Unusable> {
        let mut octets = [0; HEADER_LENGTH_USIZE];
        match file.read_exact(&mut octets) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Unusable::Damaged),
            read => read?,
        }
        Self::parse(&octets, magic)
    }

    fn parse(octets: &[u8], magic: [u8; 12]) -> Result<Self, Unusable> {
        let (body, rest) = octets.split_first_chunk::<{ HEADER_LENGTH_USIZE - 4 }>().ok_or(Unusable::Damaged)?;
        let (found, fields) = body.split_first_chunk::<12>().ok_or(Unusable::Damaged)?;
        let (format, fields) = fields.split_first_chunk::<4>().ok_or(Unusable::Damaged)?;
        let sum = rest.first_chunk::<4>().ok_or(Unusable::Damaged)?;
        if *found != magic || crc32fast::hash(body) != u32::from_le_bytes(*sum) {
            return Err(Unusable::Damaged);
        }
        let format = u32::from_le_bytes(*format);
        if format != FORMAT {
            return Err(Unusable::Foreign(format));
        }
        let mut numbers = fields.as_chunks::<8>().0.iter().map(|number| u64::from_le_bytes(*number));
        let mut next = || numbers.next().ok_or(Unusable::Damaged);
        Ok(Self { number: next()?, served: next()?, total: next()? })
    }
}

/// The format of everything here: what is written in another one is passed over.
const FORMAT: u32 = 2;
const BASE_MAGIC: [u8; 12] = *b"spacedns ba\n";
const CHANGES_MAGIC: [u8; 12] = *b"spacedns ch\n";
const HEADER_LENGTH_USIZE: usize = 12 + 4 + 3 * 8 + 4;
const HEADER_LENGTH: u64 = HEADER_LENGTH_USIZE as u64;
/// What stands before a block or batch: its length and its checksum.
const FRAME: usize = 8;
/// In place of the length of a value: there is none.
const GONE: u32 = u32::MAX;
/// From how many octets on a block is closed: enough to be read by several threads, few enough to hold.
const BLOCK_MAX: usize = 256 * 1024;
const BASE: &str = "base.";
const CHANGES: &str = "changes.";
/// A base that is being written.
const UNFINISHED: &str = ".base.unfinished";
