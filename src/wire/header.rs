//! The twelve octets that every message begins with (RFC 1035 §4.1.1), and the one function that lets a message in.

/// Octets of a header.
pub const HEADER_LENGTH: usize = 12;

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// The message ID.
    pub id: u16,
    /// Everything between the ID and the counts.
    pub flags: Flags,
    /// QDCOUNT.
    pub questions: u16,
    /// ANCOUNT.
    pub answers: u16,
    /// NSCOUNT.
    pub authorities: u16,
    /// ARCOUNT.
    pub additionals: u16,
}

impl Header {
    /// Reads the header of `message`; `None` when it is shorter than one.
    #[inline(always)]
    #[must_use]
    pub fn read(message: &[u8]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *message.first_chunk::<HEADER_LENGTH>()?;
        Some(Self {
            id: u16::from_be_bytes([a, b]),
            flags: Flags(u16::from_be_bytes([c, d])),
            questions: u16::from_be_bytes([e, f]),
            answers: u16::from_be_bytes([g, h]),
            authorities: u16::from_be_bytes([i, j]),
            additionals: u16::from_be_bytes([k, l]),
        })
    }

    /// Reads the header of a standard query with one question and one additional record at most, as almost every message has; `None` when it
    /// is another. It is one load and two comparisons, and what of it is known is not read.
    #[inline(always)]
    pub(super) fn read_plain(message: &[u8]) -> Option<Self> {
        /// QR, the opcode, QDCOUNT and ANCOUNT, in the first eight octets.
        const LOOKED_AT: u64 = 0xf800_ffff_ffff;
        const ONE_QUESTION: u64 = 0x0001_0000;
        let (head, tail) = message.first_chunk::<HEADER_LENGTH>()?.split_first_chunk::<8>()?;
        let (head, tail) = (u64::from_be_bytes(*head), u32::from_be_bytes(*tail.first_chunk()?));
        if head & LOOKED_AT != ONE_QUESTION || tail > 1 {
            return None;
        }
        let [_, _, _, additionals] = tail.to_be_bytes();
        let ([a, b, c, d, ..], additionals) = (head.to_be_bytes(), u16::from(additionals));
        let (id, flags) = (u16::from_be_bytes([a, b]), Flags(u16::from_be_bytes([c, d])));
        Some(Self { id, flags, questions: 1, answers: 0, authorities: 0, additionals })
    }

    /// The octets.
    #[must_use]
    pub const fn octets(self) -> [u8; HEADER_LENGTH] {
        let [a, b] = self.id.to_be_bytes();
        let [c, d] = self.flags.0.to_be_bytes();
        let [e, f] = self.questions.to_be_bytes();
        let [g, h] = self.answers.to_be_bytes();
        let [i, j] = self.authorities.to_be_bytes();
        let [k, l] = self.additionals.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

/// The second sixteen bits of a header: flags, opcode and rcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u16);

impl Flags {
    /// The message is a response.
    pub const QR: Self = Self(0x8000);
    /// The response is about a name of ours.
    pub const AA: Self = Self(0x0400);
    /// The response was cut.
    pub const TC: Self = Self(0x0200);
    /// The client wants recursion.
    pub const RD: Self = Self(0x0100);
    /// The server has recursion.
    pub const RA: Self = Self(0x0080);
    /// The client checks signatures itself (RFC 4035 §3.2.2).
    pub const CD: Self = Self(0x0010);

    const OPCODE: Self = Self(0x7800);

    /// Whether every bit of `other` is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits of these that are in `mask`.
    #[must_use]
    pub const fn only(self, mask: Self) -> Self {
        Self(self.0 & mask.0)
    }

    /// These and the low four bits of `rcode`; the others go into OPT (RFC 6891 §6.1.3).
    #[must_use]
    pub const fn with_rcode(self, rcode: Rcode) -> Self {
        Self(self.0 | (rcode.0 & 0x000f))
    }

    /// The opcode.
    #[must_use]
    pub const fn opcode(self) -> Opcode {
        Opcode(self.0.to_be_bytes()[0] >> 3 & 0x0f)
    }

    /// What a response's flags begin with: QR, and what is copied from the query: opcode, RD and CD (RFC 1035 §4.1.1,
    /// RFC 4035 §3.1.6). AA, TC, AD and Z are the server's own and start cleared.
    #[must_use]
    pub const fn response(self) -> Self {
        self.only(Self::OPCODE.with(Self::RD).with(Self::CD)).with(Self::QR)
    }
}

/// What kind of query it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opcode(pub u8);

impl Opcode {
    /// A standard query (RFC 1035).
    pub const QUERY: Self = Self(0);
    /// A zone has changed (RFC 1996).
    pub const NOTIFY: Self = Self(4);
    /// Change a zone (RFC 2136).
    pub const UPDATE: Self = Self(5);
}

/// How a query ended, with the eight bits that EDNS adds (RFC 6895 §2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rcode(pub u16);

impl Rcode {
    /// No error: an answer, or no data.
    pub const NOERROR: Self = Self(0);
    /// The query could not be read.
    pub const FORMERR: Self = Self(1);
    /// The server failed.
    pub const SERVFAIL: Self = Self(2);
    /// The name does not exist.
    pub const NXDOMAIN: Self = Self(3);
    /// The server does not do this.
    pub const NOTIMP: Self = Self(4);
    /// The server will not do this.
    pub const REFUSED: Self = Self(5);
    /// The server has no authority for this; for a signed query, it does not know the key (RFC 8945 §5.2.1).
    pub const NOTAUTH: Self = Self(9);
    /// The EDNS version is not spoken here (RFC 6891 §9).
    pub const BADVERS: Self = Self(16);
    /// The server cookie is none of ours (RFC 7873 §8).
    pub const BADCOOKIE: Self = Self(23);
}

/// What happens to a message, going by its header alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is a standard query with one question, or one with none and perhaps a cookie: read on.
    Query(Header),
    /// It gets a header with this rcode, and nothing else of it is read.
    Respond(Header, Rcode),
    /// It gets no response.
    Drop,
}

/// Decides by its header what happens to a message: the same for every transport, before anything else of it is decoded.
#[inline(always)]
#[must_use]
pub fn admit(message: &[u8]) -> Admission {
    // Too short to have an ID to respond to.
    let Some(header) = Header::read(message) else { return Admission::Drop };
    // A response is never responded to: two servers that did would do so forever (RFC 1035 §7.3; "Loop DoS", 2024).
    if header.flags.has(Flags::QR) {
        return Admission::Drop;
    }
    match header.flags.opcode() {
        // RFC 9619 §4: a query has one question. None at all is for cookies only (RFC 7873 §5.4), which stand in OPT.
        Opcode::QUERY if header.questions == 1 || header.questions == 0 && header.additionals != 0 => {
            Admission::Query(header)
        }
        Opcode::QUERY => Admission::Respond(header, Rcode::FORMERR),
        // We have no primary that could notify us, and nobody changes our zones but through files.
        Opcode::NOTIFY | Opcode::UPDATE => Admission::Respond(header, Rcode::REFUSED),
        // RFC 8906 §3.1.4, RFC 3425 (IQUERY), RFC 8490 §5.1.2 (DSO on a server that has none).
        _ => Admission::Respond(header, Rcode::NOTIMP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(flags: u16, questions: u16) -> Admission {
        admit(&Header { id: 7, flags: Flags(flags), questions, ..Header::default() }.octets())
    }

    fn rcode(flags: u16, questions: u16) -> Option<Rcode> {
        match admitted(flags, questions) {
            Admission::Respond(_, rcode) => Some(rcode),
            Admission::Query(_) | Admission::Drop => None,
        }
    }

    #[test]
    fn a_header_is_written_as_it_is_read() {
        let octets = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        assert_eq!(Header::read(&octets).unwrap().octets(), octets);
        assert_eq!(Header::read(&octets[..11]), None);
    }

    #[test]
    fn fewer_than_twelve_octets_and_responses_are_dropped() {
        for length in 0..HEADER_LENGTH {
            assert_eq!(admit(&[0; HEADER_LENGTH][..length]), Admission::Drop);
        }
        for flags in 0x8000..=0xffff {
            assert_eq!(admitted(flags, 1), Admission::Drop);
        }
    }

    #[test]
    fn each_opcode_has_its_rcode() {
        assert!(matches!(admitted(0, 1), Admission::Query(_)));
        for opcode in 1..16_u16 {
            let expected = if matches!(opcode, 4 | 5) { Rcode::REFUSED } else { Rcode::NOTIMP };
            for questions in [0, 1, 2] {
                assert_eq!(rcode(opcode << 11, questions), Some(expected), "opcode {opcode}");
            }
        }
    }

    #[test]
    fn a_query_has_one_question() {
        for questions in [0, 2, 65535] {
            assert_eq!(rcode(0x0100, questions), Some(Rcode::FORMERR));
        }
        let with_additional = Header { additionals: 1, ..Header::default() };
        assert!(matches!(admit(&with_additional.octets()), Admission::Query(_)), "there may be a cookie");
    }

    #[test]
    fn a_response_copies_opcode_rd_and_cd_and_clears_the_rest() {
        assert_eq!(Flags(0x7fff).response(), Flags(0x8000 | 0x7800 | 0x0100 | 0x0010));
        assert_eq!(Flags(0).response(), Flags::QR);
    }
}
