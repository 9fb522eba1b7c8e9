//! Reads a response octet by octet and holds it to what every response is held to.
//!
//! This reader is for responses of ours alone and takes nothing on trust: a count that is off, a pointer that does not point backwards, an
//! octet after the last record is a panic. It shares no code with what it checks.

use std::collections::HashSet;

/// A response in its parts.
#[derive(Debug)]
pub struct Response<'r> {
    octets: &'r [u8],
    /// The question's octets; empty where there is none.
    pub question: &'r [u8],
    /// Records by section; OPT is not among them.
    pub records: Vec<Record>,
    /// OPT's options.
    pub options: Option<Vec<(u16, &'r [u8])>>,
}

/// A record, as far as it is checked here.
#[derive(Debug)]
pub struct Record {
    /// The section: 1 is answer, 2 authority, 3 additional.
    pub section: usize,
    /// Its type.
    pub rtype: u16,
    /// How many octets it takes.
    pub length: usize,
}

impl<'r> Response<'r> {
    /// Reads `octets`, to the last one.
    ///
    /// # Panics
    /// When that is not possible.
    #[must_use]
    pub fn read(octets: &'r [u8]) -> Self {
        let mut response = Self { octets, question: &[], records: Vec::new(), options: None };
        let counts: Vec<usize> = (0..4).map(|section| usize::from(response.word(4 + 2 * section))).collect();
        assert!(counts[0] <= 1, "{} questions", counts[0]);
        let mut at = 12;
        if counts[0] == 1 {
            // The question's name was the client's: it is plain.
            while octets[at] != 0 {
                assert!(octets[at] < 64, "a pointer in the question");
                at += 1 + usize::from(octets[at]);
            }
            at += 5;
            response.question = &octets[12..at];
        }
        let mut seen = HashSet::new();
        for (section, count) in counts.iter().enumerate().skip(1) {
            for index in 0..*count {
                let start = at;
                at = response.record(section, start, section == 3 && index + 1 == *count);
                // By octets: a record of ours that means the same as another is the same, and this is cheap.
                assert!(seen.insert((section, &octets[start..at])), "a record of section {section} is there twice");
            }
        }
        assert_eq!(at, octets.len(), "octets after the last record");
        response
    }

    /// Flags, opcode and rcode.
    #[must_use]
    pub fn flags(&self) -> u16 {
        self.word(2)
    }

    /// The low four bits of the rcode.
    #[must_use]
    pub fn rcode(&self) -> u16 {
        self.flags() & 0x000f
    }

    /// The fewest octets in which all that matters of this would be: no additional records, no text in an extended error, and nothing that
    /// is said over streams alone (keepalive and padding).
    #[must_use]
    pub fn length_min(&self) -> usize {
        let records: usize = self.records.iter().filter(|record| record.section < 3).map(|record| record.length).sum();
        let length = |(code, data): &(u16, &[u8])| match code {
            11 | 12 => 0,
            15 => 6,
            _ => 4 + data.len(),
        };
        let options = self.options.as_ref().map_or(0, |options| 11 + options.iter().map(length).sum::<usize>());
        12 + self.question.len() + records + options
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.octets[at], self.octets[at + 1]])
    }

    fn record(&mut self, section: usize, start: usize, is_last: bool) -> usize {
        let head = self.name(start, Pointers::Allowed).1;
        let rtype = self.word(head);
        let rdata = head + 10;
        let end = rdata + usize::from(self.word(head + 8));
        assert!(end <= self.octets.len(), "data after the end");
        if rtype == 41 {
            assert!(is_last && self.octets[start] == 0, "OPT is the last additional record, at the root");
            assert_eq!(self.octets[head + 5], 0, "OPT's version");
            self.options = Some(options(&self.octets[rdata..end]));
            return end;
        }
        let class = if rtype == 16 { 3 } else { 1 };
        assert_eq!(self.word(head + 2), class, "class IN, but for the texts of class CH");
        let data_end = match rtype {
            1 => rdata + 4,
            28 => rdata + 16,
            // RFC 2782: the target is not compressed.
            33 => self.name(rdata + 6, Pointers::Forbidden).1,
            2 | 5 | 12 => self.name(rdata, Pointers::Allowed).1,
            6 => self.name(self.name(rdata, Pointers::Allowed).1, Pointers::Allowed).1 + 20,
            16 => end,
            other => panic!("a record of type {other}"),
        };
        assert_eq!(data_end, end, "the data's length is not what RDLENGTH says");
        self.records.push(Record { section, rtype, length: end - start });
        end
    }

    /// The name at `start`, lower-cased, and where it ends.
    fn name(&self, start: usize, pointers: Pointers) -> (Vec<u8>, usize) {
        let (mut at, mut end, mut least) = (start, None, start);
        let mut name = Vec::new();
        loop {
            let length = self.octets[at];
            match length {
                0 => {
                    name.push(0);
                    assert!(name.len() <= 255, "a name of {} octets", name.len());
                    return (name, end.unwrap_or(at + 1));
                }
                1..=63 => {
                    let next = at + 1 + usize::from(length);
                    name.extend(self.octets[at..next].to_ascii_lowercase());
                    at = next;
                }
                0xc0.. => {
                    assert!(pointers == Pointers::Allowed, "a pointer where none may be");
                    let target = usize::from(self.word(at) & 0x3fff);
                    // RFC 1035 §4.1.4: to a prior occurrence. Not into the header, which is no name.
                    assert!((12..least).contains(&target), "a pointer from {at} to {target}");
                    end = end.or(Some(at + 2));
                    (at, least) = (target, target);
                }
                _ => panic!("a label of {length:#x}"),
            }
        }
    }
}

/// Whether a name may end in a pointer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pointers {
    Allowed,
    Forbidden,
}

fn options(data: &[u8]) -> Vec<(u16, &[u8])> {
    let mut options = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        options.push((u16::from_be_bytes([rest[0], rest[1]]), &rest[4..4 + length]));
        rest = &rest[4 + length..];
    }
    options
}
