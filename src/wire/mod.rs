//! Messages: octets → [`Query`], [`Writer`] → octets.
//!
//! The reading side takes what our clients may send: one question and what stands in the additional section, OPT among it. It is
//! no general message parser, because a query is all that a server is sent; responses of upstreams are another module's.
//! The writing side is the only place that knows size, compression, counts, truncation and where OPT goes.
//! `hickory-proto` could do both, and allocates for each name and each record.

mod edns;
mod header;
mod numbered;
mod query;
mod whole;
mod writer;

pub use edns::{Cookie, Edns, Explanation, Extras, InfoCode, Keepalive, OptResponse, ServerCookie, Subnet};
pub use header::{Admission, Flags, HEADER_LENGTH, Header, Opcode, Rcode, admit};
pub use numbered::Numbered;
pub use query::{Class, Fault, Form, Query, Unreadable};
pub use whole::{Service, Soa};
pub use writer::{Age, Earlier, Full, Owner, Relay, Section, Writer};

/// The most octets a UDP response may carry, however much the client offers.
///
/// 1232 is the smallest IPv6 MTU (1280) less the IPv6 and UDP headers (40 + 8), so no response is ever fragmented.
/// RFC 6891 §6.2.4 leaves the number to the responder; RFC 9715 says why to keep it small. It is what OPT says that we take, too.
pub const UDP_RESPONSE_MAX: u16 = 1232;

/// The most octets of a UDP response to a client that says nothing of its own (RFC 1035 §2.3.4), and the least that one can say
/// (RFC 6891 §6.2.3).
pub const UDP_RESPONSE_MIN: u16 = 512;
