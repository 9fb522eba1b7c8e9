//! EDNS(0): what OPT says in a query, and what it says in a response (RFC 6891).
//!
//! Options that a query has and that are not read here are ignored and not echoed (RFC 6891 §6.1.2).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;

use super::query::Fault;
use super::{UDP_RESPONSE_MAX, UDP_RESPONSE_MIN};

/// What a query's OPT says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// How many octets of UDP payload the client takes; at least 512.
    pub udp_size: u16,
    /// The version; only 0 is read further.
    pub version: u8,
    /// The DO bit (RFC 3225), copied into the response.
    pub dnssec_ok: bool,
    /// For whom the client asks, as it says. Whether it is believed is not decided here.
    pub subnet: Option<Subnet>,
    /// The client's cookie, and the server's if it has one.
    pub cookie: Option<Cookie>,
    /// Whether the client asks which server this is (RFC 5001).
    pub asks_node_id: bool,
    /// Whether the client asks how long a connection is kept.
    pub keepalive: Option<Keepalive>,
    /// Whether the client pads its queries, and so wants responses padded (RFC 7830 §4).
    pub is_padded: bool,
}

/// An edns-tcp-keepalive option (RFC 7828 §3.1). What it says matters on a stream alone, so whether it is a fault is not decided here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keepalive {
    /// It is empty, as a client's is.
    Asked,
    /// It has data, which only a server's may.
    Malformed,
}

/// A cookie as it came (RFC 7873 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie {
    /// The client's part.
    pub client: [u8; 8],
    /// The server's part.
    pub server: ServerCookie,
}

/// The server's part of a cookie, which may be any server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerCookie {
    /// The client has none.
    Absent,
    /// It has the length of those that all servers can make (RFC 9018 §4).
    Interoperable {
        /// Version, reserved octets and time.
        head: [u8; 8],
        /// The hash of it all.
        hash: [u8; 8],
    },
    /// It has another length.
    Other,
}

/// An EDNS Client Subnet option (RFC 7871 §6), as far as it can stand for a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subnet {
    /// A whole address: /32 or /128.
    Address(IpAddr),
    /// No address at all: /0. The family is kept for the echo.
    Hidden(u16),
    /// Part of an address, or a family that we do not know: it tells nobody's view.
    Partial,
    /// Not what RFC 7871 §6 says, or there twice.
    Malformed,
}

impl Edns {
    /// Reads an OPT of version 0 that has no options, if that is what `records` begin with: what almost every query has.
    #[inline(always)]
    pub(super) fn read_plain(records: &[u8]) -> Option<Self> {
        /// The owner, the type, the extended rcode and the version, in the first eight octets.
        const LOOKED_AT: u64 = 0xffff_ff00_00ff_ff00;
        const ROOT_OPT: u64 = 0x0000_2900_0000_0000;
        let (head, tail) = records.first_chunk::<OPT_HEAD>()?.split_first_chunk::<8>()?;
        let head = u64::from_be_bytes(*head);
        let [_, length @ ..] = *tail.first_chunk::<3>()?;
        if head & LOOKED_AT != ROOT_OPT || length != [0, 0] {
            return None;
        }
        let [_, _, _, size_high, size_low, _, _, flags] = head.to_be_bytes();
        Some(Self::new(u16::from_be_bytes([size_high, size_low]), u32::from_be_bytes([0, 0, flags, 0])))
    }

    /// Takes the fixed fields: class is the client's size, TTL holds extended rcode, version and flags (RFC 6891 §6.1.3).
    #[inline(always)]
    pub(super) fn new(class: u16, ttl: u32) -> Self {
        let [_, version, flags, _] = ttl.to_be_bytes();
        Self {
            udp_size: class.max(UDP_RESPONSE_MIN),
            version,
            dnssec_ok: flags & 0x80 != 0,
            subnet: None,
            cookie: None,
            asks_node_id: false,
            keepalive: None,
            is_padded: false,
        }
    }

    /// Whether the client asks for any of what [`Extras`] hold.
    #[must_use]
    pub const fn asks_extras(&self) -> bool {
        self.cookie.is_some() || self.asks_node_id || self.keepalive.is_some() || self.is_padded
    }

    pub(super) fn read_options(&mut self, rdata: &[u8]) -> Result<(), Fault> {
        let mut rest = rdata;
        while !rest.is_empty() {
            let ([a, b, c, d], after) = rest.split_first_chunk::<4>().ok_or(Fault::Format)?;
            let length = usize::from(u16::from_be_bytes([*c, *d]));
            let (data, after) = after.split_at_checked(length).ok_or(Fault::Format)?;
            match u16::from_be_bytes([*a, *b]) {
                OPTION_SUBNET => {
                    self.subnet = Some(if self.subnet.is_none() { Subnet::read(data) } else { Subnet::Malformed });
                }
                // RFC 7873 §5.2: of several cookies only the first counts.
                OPTION_COOKIE if self.cookie.is_none() => self.cookie = Some(Cookie::read(data).ok_or(Fault::Format)?),
                // RFC 5001 §2.1: what it holds is ignored.
                OPTION_NODE_ID => self.asks_node_id = true,
                OPTION_KEEPALIVE if data.is_empty() && self.keepalive.is_none() => {
                    self.keepalive = Some(Keepalive::Asked);
                }
                OPTION_KEEPALIVE => self.keepalive = Some(Keepalive::Malformed),
                OPTION_PADDING => self.is_padded = true,
                _ => {}
            }
            rest = after;
        }
        Ok(())
    }
}

impl Cookie {
    /// RFC 7873 §5.2.2: eight octets of the client's, and eight to 32 of a server's or none.
    fn read(data: &[u8]) -> Option<Self> {
        let (client, server) = data.split_first_chunk::<8>()?;
        let server = match (server.len(), server.as_chunks::<8>().0) {
            (0, _) => ServerCookie::Absent,
            (16, [head, hash]) => ServerCookie::Interoperable { head: *head, hash: *hash },
            (8..=32, _) => ServerCookie::Other,
            _ => return None,
        };
        Some(Self { client: *client, server })
    }
}

impl Subnet {
    fn read(data: &[u8]) -> Self {
        let Some(([a, b, source, scope], address)) = data.split_first_chunk::<4>() else { return Self::Malformed };
        let family = u16::from_be_bytes([*a, *b]);
        let full = match family {
            // RFC 7871 leaves family 0 unnamed; stubs use it to say /0.
            0 => 0,
            FAMILY_IPV4 => 32,
            FAMILY_IPV6 => 128,
            _ => return Self::Partial,
        };
        // RFC 7871 §6: SCOPE is 0 in queries, the address is cut to whole octets, the bits past the prefix are 0.
        let octets = usize::from(*source).div_ceil(8);
        let spare = address.last().map_or(0, |last| last & !(u8::MAX << ((8 - source % 8) % 8)));
        if *scope != 0 || *source > full || address.len() != octets || spare != 0 {
            return Self::Malformed;
        }
        if *source == 0 {
            return Self::Hidden(family);
        }
        if let Ok(address) = <[u8; 4]>::try_from(address)
            && *source == 32
            && family == FAMILY_IPV4
        {
            return Self::Address(Ipv4Addr::from(address).into());
        }
        if let Ok(address) = <[u8; 16]>::try_from(address)
            && *source == 128
        {
            return Self::Address(Ipv6Addr::from(address).into());
        }
        Self::Partial
    }

    /// Octets of the option in a response; 0 for what is not echoed.
    const fn echo_length(self) -> usize {
        match self {
            Self::Address(IpAddr::V4(_)) => 12,
            Self::Address(IpAddr::V6(_)) => 24,
            Self::Hidden(_) => 8,
            Self::Partial | Self::Malformed => 0,
        }
    }

    /// The option as it is echoed, SCOPE the same as SOURCE: the answer is for this address alone (RFC 7871 §7.2.1).
    fn echo(self) -> ([u8; 24], usize) {
        let mut octets = [0; 24];
        let length = self.echo_length();
        let (family, prefix) = match self {
            Self::Address(IpAddr::V4(_)) => (FAMILY_IPV4, 32),
            Self::Address(IpAddr::V6(_)) => (FAMILY_IPV6, 128),
            Self::Hidden(family) => (family, 0),
            Self::Partial | Self::Malformed => return (octets, 0),
        };
        let [code_high, code_low] = OPTION_SUBNET.to_be_bytes();
        let [family_high, family_low] = family.to_be_bytes();
        let data_length = length.to_le_bytes()[0] - 4;
        if let Some(head) = octets.first_chunk_mut::<8>() {
            *head = [code_high, code_low, 0, data_length, family_high, family_low, prefix, prefix];
        }
        match (self, octets.get_mut(8..length)) {
            (Self::Address(IpAddr::V4(address)), Some(place)) => place.copy_from_slice(&address.octets()),
            (Self::Address(IpAddr::V6(address)), Some(place)) => place.copy_from_slice(&address.octets()),
            _ => {}
        }
        (octets, length)
    }
}

/// What a response's OPT says.
#[derive(Clone, Copy, Default)]
pub struct OptResponse<'a> {
    /// The DO bit of the query.
    pub dnssec_ok: bool,
    /// The subnet that is echoed.
    pub subnet: Option<Subnet>,
    /// Why the response is what it is.
    pub explanation: Option<Explanation<'a>>,
    /// What few clients ask for.
    pub extras: Option<&'a Extras<'a>>,
}

/// Options that few clients ask for: kept apart, so that a response to the others carries nothing of them about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extras<'a> {
    /// The client's cookie and ours.
    pub cookie: Option<[u8; 24]>,
    /// Which server this is.
    pub node_id: Option<&'a [u8]>,
    /// How long the connection is kept when it is idle, in units of 100 ms.
    pub keepalive: Option<u16>,
    /// What the response's length is made a multiple of, as far as its limit lets it.
    pub block: Option<NonZeroUsize>,
}

/// An extended DNS error (RFC 8914).
#[derive(Clone, Copy)]
pub struct Explanation<'a> {
    /// What kind of reason it is.
    pub code: InfoCode,
    /// The reason in words; at most 200 octets of it are sent.
    pub text: &'a dyn fmt::Display,
}

/// An INFO-CODE (RFC 8914 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InfoCode(pub u16);

impl InfoCode {
    /// The text says it.
    pub const OTHER: Self = Self(0);
    /// The answer has run out, and there is no newer one to be had (RFC 8767).
    pub const STALE: Self = Self(3);
    /// The server is not up yet.
    pub const NOT_READY: Self = Self(14);
    /// Part of the answer was taken out by the server's own rules.
    pub const BLOCKED: Self = Self(15);
    /// The client may not ask.
    pub const PROHIBITED: Self = Self(18);
    /// As [`STALE`](Self::STALE), and the answer is that the name does not exist.
    pub const STALE_NXDOMAIN: Self = Self(19);
    /// The name is not ours, and recursion is off.
    pub const NOT_AUTHORITATIVE: Self = Self(20);
    /// Nobody answers who could.
    pub const NO_REACHABLE_AUTHORITY: Self = Self(22);
    /// Asking whoever could answer failed.
    pub const NETWORK_ERROR: Self = Self(23);
}

impl OptResponse<'_> {
    /// The octets that must be kept free for it. The explanation's text takes what is left over besides.
    pub(super) const fn length_min(&self) -> usize {
        let subnet = match self.subnet {
            Some(subnet) => subnet.echo_length(),
            None => 0,
        };
        let extras = match self.extras {
            Some(extras) => extras.length(),
            None => 0,
        };
        let explanation = if self.explanation.is_some() { EXPLANATION_HEAD } else { 0 };
        OPT_HEAD + subnet + extras + explanation
    }

    /// Writes it to the head of `room`, which begins `before` octets into the response, and returns how many octets that took; 0 if it
    /// does not fit.
    pub(super) fn write(&self, rcode: super::Rcode, before: usize, room: &mut [u8]) -> usize {
        let Some((head, options)) = room.split_first_chunk_mut::<OPT_HEAD>() else { return 0 };
        let mut length = 0;
        if let Some(extras) = self.extras {
            length += extras.write(options);
        }
        if let Some(subnet) = self.subnet {
            let (octets, echoed) = subnet.echo();
            length += copy(octets.get(..echoed).unwrap_or_default(), options.get_mut(length..).unwrap_or_default());
        }
        if let Some(explanation) = self.explanation {
            length += explanation.write(options.get_mut(length..).unwrap_or_default());
        }
        // Last, when the length is known.
        if let Some(block) = self.extras.and_then(|extras| extras.block) {
            length += pad(block, before + OPT_HEAD + length, options.get_mut(length..).unwrap_or_default());
        }
        *head = opt_head(rcode, self.dnssec_ok, length);
        OPT_HEAD + length
    }
}

/// An OPT record up to its options, which have `length` octets.
#[inline(always)]
pub(super) const fn opt_head(rcode: super::Rcode, dnssec_ok: bool, length: usize) -> [u8; OPT_HEAD] {
    let [size_high, size_low] = UDP_RESPONSE_MAX.to_be_bytes();
    // RFC 6891 §6.1.3: the upper eight bits of the rcode, version 0, DO copied (RFC 3225 §3), every other flag 0.
    let extended = (rcode.0 >> 4).to_be_bytes()[1];
    let flags = if dnssec_ok { 0x80 } else { 0 };
    let [.., length_high, length_low] = length.to_be_bytes();
    [0, 0, 41, size_high, size_low, extended, 0, flags, 0, length_high, length_low]
}

impl Extras<'_> {
    /// The octets of all but the padding, which takes what is left over.
    const fn length(&self) -> usize {
        let cookie = if self.cookie.is_some() { OPTION_HEAD + COOKIE_LENGTH } else { 0 };
        let node_id = match self.node_id {
            Some(node_id) => OPTION_HEAD + node_id.len(),
            None => 0,
        };
        let keepalive = if self.keepalive.is_some() { OPTION_HEAD + 2 } else { 0 };
        cookie + node_id + keepalive
    }

    /// Writes all but the padding to the head of `options`, and returns how many octets that took.
    fn write(&self, options: &mut [u8]) -> usize {
        let mut length = 0;
        if let Some(cookie) = &self.cookie {
            length += put_option(OPTION_COOKIE, cookie, options);
        }
        if let Some(node_id) = self.node_id {
            length += put_option(OPTION_NODE_ID, node_id, options.get_mut(length..).unwrap_or_default());
        }
        if let Some(keepalive) = self.keepalive {
            let room = options.get_mut(length..).unwrap_or_default();
            length += put_option(OPTION_KEEPALIVE, &keepalive.to_be_bytes(), room);
        }
        length
    }
}

impl Explanation<'_> {
    fn write(&self, room: &mut [u8]) -> usize {
        let Some((head, room)) = room.split_first_chunk_mut::<EXPLANATION_HEAD>() else { return 0 };
        let room_length = room.len().min(TEXT_MAX);
        let mut text = Text { room: room.get_mut(..room_length).unwrap_or_default(), length: 0 };
        // An error says that the text is cut, which is all right: RFC 8914 §2 has it for people.
        let _ = fmt::write(&mut text, format_args!("{}", self.text));
        let length = text.length;
        *head = explanation_head(self.code, length);
        EXPLANATION_HEAD + length
    }
}

/// Writes an extended error with a text that is not to be cut to the head of `room`, if it fits.
#[inline(always)]
pub(super) fn put_explanation(code: InfoCode, text: &str, room: &mut [u8]) -> Option<()> {
    let (head, place) = room.split_first_chunk_mut::<EXPLANATION_HEAD>()?;
    *head = explanation_head(code, text.len());
    place.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some(())
}

/// An extended error up to its text, which has `length` octets.
#[inline(always)]
const fn explanation_head(code: InfoCode, length: usize) -> [u8; EXPLANATION_HEAD] {
    let [code_high, code_low] = code.0.to_be_bytes();
    let [.., length_high, length_low] = (length + 2).to_be_bytes();
    [0, OPTION_EXPLANATION, length_high, length_low, code_high, code_low]
}

/// Writes text straight into the response, and stops at a whole character when the room ends.
struct Text<'r> {
    room: &'r mut [u8],
    length: usize,
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.room.get_mut(self.length..).unwrap_or_default();
        let mut fits = text.len().min(room.len());
        while !text.is_char_boundary(fits) {
            fits -= 1;
        }
        self.length += copy(text.as_bytes().get(..fits).unwrap_or_default(), room);
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

/// Writes an option to the head of `room`, and returns how many octets that took; 0 if it does not fit.
fn put_option(code: u16, data: &[u8], room: &mut [u8]) -> usize {
    let Some((head, place)) = room.split_first_chunk_mut::<OPTION_HEAD>() else { return 0 };
    let Some(place) = place.get_mut(..data.len()) else { return 0 };
    let ([code_high, code_low], [.., length_high, length_low]) = (code.to_be_bytes(), data.len().to_be_bytes());
    *head = [code_high, code_low, length_high, length_low];
    place.copy_from_slice(data);
    OPTION_HEAD + data.len()
}

/// Writes a Padding option that takes a response of `length` octets to a multiple of `block`, or to the end of `room` (RFC 8467 §4.1).
fn pad(block: NonZeroUsize, length: usize, room: &mut [u8]) -> usize {
    let Some((head, place)) = room.split_first_chunk_mut::<OPTION_HEAD>() else { return 0 };
    let wanted = (length + OPTION_HEAD).next_multiple_of(block.get()) - length - OPTION_HEAD;
    let padding = wanted.min(place.len());
    // RFC 7830 §3: zeroes, as anything else might compress.
    place.iter_mut().take(padding).for_each(|octet| *octet = 0);
    let ([code_high, code_low], [.., length_high, length_low]) = (OPTION_PADDING.to_be_bytes(), padding.to_be_bytes());
    *head = [code_high, code_low, length_high, length_low];
    OPTION_HEAD + padding
}

/// Copies `octets` to the head of `room`, and returns how many that were; none if they do not fit.
fn copy(octets: &[u8], room: &mut [u8]) -> usize {
    room.get_mut(..octets.len()).map_or(0, |place| {
        place.copy_from_slice(octets);
        octets.len()
    })
}

/// Octets of an OPT record without options.
pub(super) const OPT_HEAD: usize = 11;
/// Octets of an option without data.
const OPTION_HEAD: usize = 4;
/// Octets of a cookie that has both parts, in the form that we make.
const COOKIE_LENGTH: usize = 24;
/// Octets of an extended error without text.
pub(super) const EXPLANATION_HEAD: usize = 6;
/// The most octets of text: with it the longest negative answer stays far below 1232 octets.
pub(super) const TEXT_MAX: usize = 200;
/// NSID (RFC 5001).
const OPTION_NODE_ID: u16 = 3;
/// EDNS Client Subnet (RFC 7871).
const OPTION_SUBNET: u16 = 8;
/// DNS cookies (RFC 7873).
const OPTION_COOKIE: u16 = 10;
/// edns-tcp-keepalive (RFC 7828).
const OPTION_KEEPALIVE: u16 = 11;
/// Padding (RFC 7830).
const OPTION_PADDING: u16 = 12;
/// Extended DNS errors (RFC 8914).
const OPTION_EXPLANATION: u8 = 15;
/// IANA's address family numbers.
const FAMILY_IPV4: u16 = 1;
const FAMILY_IPV6: u16 = 2;
