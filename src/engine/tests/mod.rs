//! The engine's answers to a space put together by hand, each read by `hickory-proto` and by `domain`.

mod allocation;
mod answers;
mod edns;
mod header;
mod hostile;
mod message;
mod options;
mod plain;
mod properties;
mod withheld;
mod world;

use std::net::IpAddr;
use std::sync::LazyLock;

use super::{Ask, Opened, Recursion, Secrets, Settings, Text, Transport, Trust, Verdict, refuse_foreign, respond};
use crate::zone::Snapshot;
use message::Response;

static SILENT: Settings = Settings::new();

/// Whatever there is to say.
static TALKATIVE: LazyLock<Settings> = LazyLock::new(|| Settings {
    node_id: Some(Text::new(b"node-7").unwrap()),
    version: Some(Text::new(b"spacedns").unwrap()),
    identity: Some(Text::new(b"\xc3\xa9ast").unwrap()),
    keepalive: Some(100),
    opened: Opened::default(),
});

const SECRETS: Secrets = Secrets { current: [7; 16], previous: Some([8; 16]) };

/// A caller over UDP.
fn from(source: &str) -> Ask<'static> {
    let source: IpAddr = source.parse().unwrap();
    let (trust, transport) = (Trust::Nobody, Transport::Udp);
    Ask {
        source,
        trust,
        transport,
        turn: 0,
        recursion: Recursion::Unavailable,
        settings: &SILENT,
        secrets: None,
        now: 1_800_000_000,
    }
}

fn tcp(source: &str) -> Ask<'static> {
    Ask { transport: Transport::Tcp, ..from(source) }
}

/// A caller over `transport`, of a server that says what it can.
fn talkative(transport: Transport) -> Ask<'static> {
    Ask { transport, settings: &TALKATIVE, secrets: Some(&SECRETS), ..from("10.0.200.1") }
}

/// A caller for whom a trusted forwarder may speak.
fn forwarder() -> Ask<'static> {
    Ask { trust: Trust::Forwarder, ..from("10.0.0.2") }
}

/// Answers, and gives the octets of the response; a foreign name is refused.
fn octets_of(snapshot: &Snapshot, ask: &Ask<'_>, query: &[u8]) -> Option<Vec<u8>> {
    let mut response = vec![0xaa; 65_535];
    let verdict = match respond(snapshot, ask, query, &mut response) {
        Verdict::Forward => refuse_foreign(ask, query, &mut response),
        verdict => verdict,
    };
    match verdict {
        Verdict::Send(length) | Verdict::Withhold(length, _) => Some(response[..length].to_vec()),
        Verdict::Drop => None,
        Verdict::Forward => panic!("a refusal is not forwarded"),
    }
}

fn ask(snapshot: &Snapshot, ask: &Ask<'_>, query: &[u8]) -> Response {
    let octets = octets_of(snapshot, ask, query).expect("a response");
    Response::read(&octets)
}

fn verdict(snapshot: &Snapshot, ask: &Ask<'_>, query: &[u8]) -> Verdict {
    respond(snapshot, ask, query, &mut [0; 1232])
}

const A: u16 = 1;
const NS: u16 = 2;
const SOA: u16 = 6;
const PTR: u16 = 12;
const MX: u16 = 15;
const AAAA: u16 = 28;
const SRV: u16 = 33;
const DS: u16 = 43;
const HTTPS: u16 = 65;
const ANY: u16 = 255;

const NOERROR: u16 = 0;
const FORMERR: u16 = 1;
const SERVFAIL: u16 = 2;
const NXDOMAIN: u16 = 3;
const NOTIMP: u16 = 4;
const REFUSED: u16 = 5;
const NOTAUTH: u16 = 9;
const BADVERS: u16 = 16;
const BADCOOKIE: u16 = 23;
