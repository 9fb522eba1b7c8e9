//! Gets the response to a question from the servers of its route.
//!
//! One server is asked; after a quarter of a second without a response the next as well, and the first response wins. Each is asked over
//! UDP from a port of its own, with an ID and a spelling of the name that nobody can guess (RFC 5452 §9.2, 0x20), and whatever does not
//! fit these is passed over and the wait goes on: who forges responses must not win by being first. What does not fit a datagram is
//! fetched over TCP, from the same server.
//!
//! A message over TCP is two octets of length and itself, which tokio and rustls carry as they are: hickory-net's streams would bring
//! a queue whose bound is not ours, and more crates.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::crypto::{SecureRandom, ring};

use super::Clock;
use super::cache::Failure;
use super::peer::Peer;
use super::question::Question;
use super::response::Reading;
use super::upstream::{Channel, Routes, Server};
use crate::observe::Upstreams;
use crate::wire::{Flags, HEADER_LENGTH, Header, Opcode, Rcode, UDP_RESPONSE_MAX};

/// What asking needs, on the one thread that asks.
pub(super) struct Exchange {
    /// By the number of the route.
    routes: Vec<Vec<Rc<Peer>>>,
    tls: TlsConnector,
    random: &'static dyn SecureRandom,
    clock: Clock,
    /// Who may have a socket.
    sockets: Semaphore,
}

impl Exchange {
    pub(super) fn new(routes: &Routes, upstreams: &Arc<Upstreams>, tls: Arc<ClientConfig>, clock: Clock) -> Self {
        let mut numbers = 0..;
        let mut peer =
            |server: &Server| Some(Rc::new(Peer::new(server.clone(), Arc::clone(upstreams), numbers.next()?)));
        Self {
            routes: routes.all().iter().map(|route| route.servers.iter().filter_map(&mut peer).collect()).collect(),
            tls: tls.into(),
            random: ring::default_provider().secure_random,
            clock,
            sockets: Semaphore::new(SOCKETS_MAX),
        }
    }

    /// Asks until there is a response or there can be none any more.
    pub(super) async fn resolve(self: &Rc<Self>, question: &Question) -> Result<Reading, Failure> {
        let order = self.order(question);
        let mut tries = JoinSet::new();
        let mut open: Vec<usize> = Vec::new();
        let mut waiting = order.iter().enumerate();
        let mut start = |tries: &mut JoinSet<_>, open: &mut Vec<usize>| {
            let Some((index, peer)) = waiting.next() else { return };
            let (exchange, peer, question) = (Rc::clone(self), Rc::clone(peer), question.clone());
            open.push(index);
            tries.spawn_local(async move { (index, exchange.ask(&peer, &question).await) });
        };
        start(&mut tries, &mut open);
        let mut why = Failure::Silent;
        let (deadline, hedge) = (sleep(DEADLINE), sleep(HEDGE));
        tokio::pin!(deadline, hedge);
        let mut hedged = false;
        loop {
            tokio::select! {
                biased;
                Some(ended) = tries.join_next() => {
                    // A try that panicked is one that failed; which one is seen when time is up.
                    let Ok((index, ended)) = ended else { continue };
                    let before: Vec<usize> = open.iter().copied().take_while(|other| *other != index).collect();
                    open.retain(|other| *other != index);
                    match ended {
                        Ok(reading) => {
                            self.note(&order, index, true);
                            // Asked earlier, and later than this one.
                            before.into_iter().for_each(|slow| self.note(&order, slow, false));
                            return Ok(reading);
                        }
                        Err(failure) => {
                            // Who declines is there.
                            self.note(&order, index, failure == Failure::Declined);
                            why = failure;
                        }
                    }
                    start(&mut tries, &mut open);
                }
                () = &mut hedge, if !hedged => {
                    hedged = true;
                    start(&mut tries, &mut open);
                }
                () = &mut deadline => {
                    open.into_iter().for_each(|silent| self.note(&order, silent, false));
                    return Err(why);
                }
                else => return Err(why),
            }
            if tries.is_empty() {
                return Err(why);
            }
        }
    }

    /// Whom to ask, in this order: those that are well, or all when none is. Others are looked at beside it, when it is time.
    fn order(self: &Rc<Self>, question: &Question) -> Vec<Rc<Peer>> {
        let peers = self.routes.get(question.route()).map_or(&[][..], Vec::as_slice);
        let (well, ill): (Vec<_>, Vec<_>) = peers.iter().cloned().partition(|peer| peer.is_well());
        if well.is_empty() {
            return ill;
        }
        let now = (self.clock)();
        for peer in ill.into_iter().filter(|peer| peer.is_due(now)) {
            let (exchange, question) = (Rc::clone(self), question.clone());
            spawn_local(async move {
                match timeout(FIRST, exchange.ask(&peer, &question)).await {
                    Ok(Ok(_) | Err(Failure::Declined)) => peer.note_success(),
                    Ok(Err(_)) | Err(_) => peer.note_failure((exchange.clock)()),
                }
            });
        }
        well
    }

    fn note(&self, order: &[Rc<Peer>], index: usize, is_well: bool) {
        match order.get(index) {
            Some(peer) if is_well => peer.note_success(),
            Some(peer) => peer.note_failure((self.clock)()),
            None => {}
        }
    }

    /// Asks one server.
    async fn ask(&self, peer: &Peer, question: &Question) -> Result<Reading, Failure> {
        // It is never closed.
        let _socket = self.sockets.acquire().await.map_err(|_| Failure::Broken)?;
        peer.note_question();
        let begun = (self.clock)();
        let asked = match &peer.server.channel {
            Channel::Plain => match self.ask_datagram(peer, question).await {
                Ok(reading) if reading.flags.has(Flags::TC) => self.ask_stream(peer, question).await,
                asked => asked,
            },
            Channel::Tls(_) => self.ask_tls(peer, question).await,
        };
        if asked.is_ok() {
            peer.note_response((self.clock)().saturating_sub(begun));
        }
        match asked {
            // Over a stream too it is a part, and would be kept as the whole.
            Ok(reading) if reading.flags.has(Flags::TC) => Err(Failure::Declined),
            Ok(reading) if matches!(reading.rcode, Rcode::NOERROR | Rcode::NXDOMAIN) => Ok(reading),
            Ok(_) => Err(Failure::Declined),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Failure::Declined),
            Err(_) => Err(Failure::Network),
        }
    }

    async fn ask_datagram(&self, peer: &Peer, question: &Question) -> io::Result<Reading> {
        let address = peer.server.address;
        // Connected, so that the kernel passes over what comes from elsewhere, and tells us when nobody is there.
        let socket = UdpSocket::bind(any_port_like(address)).await?;
        socket.connect(address).await?;
        let mut query = self.query(peer, question)?;
        let mut buffer = vec![0; DATAGRAM_MAX];
        socket.send(&query.octets).await?;
        let mut is_first = true;
        loop {
            let received = async {
                loop {
                    let length = socket.recv(&mut buffer).await?;
                    if let Some(heard) = buffer.get(..length).and_then(|message| query.hear(message)) {
                        return heard;
                    }
                }
            };
            let heard = if is_first {
                match timeout(FIRST, received).await {
                    Ok(heard) => heard?,
                    Err(_) => {
                        // The same query again: an answer to either is one.
                        is_first = false;
                        socket.send(&query.octets).await?;
                        continue;
                    }
                }
            } else {
                received.await?
            };
            match heard {
                Heard::Response(reading) => return Ok(reading),
                Heard::NoEdns => {
                    peer.do_without_edns((self.clock)());
                    query = self.query(peer, question)?;
                    socket.send(&query.octets).await?;
                }
            }
        }
    }

    async fn ask_stream(&self, peer: &Peer, question: &Question) -> io::Result<Reading> {
        loop {
            let mut stream = TcpStream::connect(peer.server.address).await?;
            stream.set_nodelay(true)?;
            match converse(&mut stream, &self.query(peer, question)?).await? {
                Heard::Response(reading) => return Ok(reading),
                // It can be said once: the next query has no OPT.
                Heard::NoEdns => peer.do_without_edns((self.clock)()),
            }
        }
    }

    async fn ask_tls(&self, peer: &Peer, question: &Question) -> io::Result<Reading> {
        loop {
            match self.converse_tls(peer, question).await? {
                Heard::Response(reading) => return Ok(reading),
                Heard::NoEdns => peer.do_without_edns((self.clock)()),
            }
        }
    }

    async fn converse_tls(&self, peer: &Peer, question: &Question) -> io::Result<Heard> {
        let query = self.query(peer, question)?;
        let kept = match peer.take_idle() {
            Some(mut stream) => converse(&mut stream, &query).await.ok().map(|heard| (stream, heard)),
            None => None,
        };
        let (stream, heard) = match kept {
            Some(done) => done,
            // There was none, or the server has closed it in the meantime.
            None => {
                let mut stream = self.connect_tls(peer).await?;
                let heard = converse(&mut stream, &query).await?;
                (stream, heard)
            }
        };
        peer.keep_idle(stream);
        Ok(heard)
    }

    async fn connect_tls(&self, peer: &Peer) -> io::Result<TlsStream<TcpStream>> {
        let Channel::Tls(name) = &peer.server.channel else { return Err(io::ErrorKind::InvalidInput.into()) };
        let stream = TcpStream::connect(peer.server.address).await?;
        stream.set_nodelay(true)?;
        self.tls.connect(name.clone(), stream).await
    }

    /// Writes a query that only who sees it can answer.
    fn query(&self, peer: &Peer, question: &Question) -> io::Result<Outgoing> {
        let mut random = [0; RANDOM];
        self.random.fill(&mut random).map_err(|_| io::Error::other("no random octets"))?;
        let edns = if peer.is_plain((self.clock)()) { Edns::Without } else { Edns::With };
        Ok(Outgoing::new(question, edns, &random))
    }
}

/// Asks over a stream, and reads until the response is there.
async fn converse(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), query: &Outgoing) -> io::Result<Heard> {
    let length = u16::try_from(query.octets.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), &*query.octets].concat()).await?;
    stream.flush().await?;
    loop {
        let length = stream.read_u16().await?;
        let mut message = vec![0; length.into()];
        stream.read_exact(&mut message).await?;
        if let Some(heard) = query.hear(&message) {
            return heard;
        }
    }
}

/// A query on its way.
struct Outgoing {
    octets: Vec<u8>,
    question_end: usize,
    edns: Edns,
}

/// What a server says to a query.
enum Heard {
    /// A response to it.
    Response(Reading),
    /// That it cannot read it for its OPT.
    NoEdns,
}

/// Whether a query has OPT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edns {
    With,
    Without,
}

impl Outgoing {
    /// Writes a query with the ID of the first two octets of `random`, and the name spelled by the bits of the others.
    fn new(question: &Question, edns: Edns, random: &[u8; RANDOM]) -> Self {
        let [high, low, spelling @ ..] = random;
        let flags = if question.checking_disabled() { Flags::RD.with(Flags::CD) } else { Flags::RD };
        let header = Header {
            id: u16::from_be_bytes([*high, *low]),
            flags,
            questions: 1,
            additionals: u16::from(edns == Edns::With),
            ..Header::default()
        };
        let mut octets = header.octets().to_vec();
        octets.extend(question.qname().iter().enumerate().map(|(place, octet)| {
            let bits = spelling.get(place / 8).copied().unwrap_or(0);
            // A length is 63 at most, and so no letter.
            if bits >> (place % 8) & 1 == 1 { octet.to_ascii_uppercase() } else { *octet }
        }));
        octets.extend(question.qtype().0.to_be_bytes());
        octets.extend([0, 1]);
        let question_end = octets.len();
        if edns == Edns::With {
            let [size_high, size_low] = UDP_RESPONSE_MAX.to_be_bytes();
            let flags = if question.dnssec_ok() { 0x80 } else { 0 };
            octets.extend([0, 0, 41, size_high, size_low, 0, 0, flags, 0, 0, 0]);
        }
        Self { octets, question_end, edns }
    }

    /// What `message` says to this query; `None` when that is nothing, and the wait goes on.
    fn hear(&self, message: &[u8]) -> Option<io::Result<Heard>> {
        if self.fits(message) {
            let reading = Reading::of(message, self.question_end).or_else(|| Reading::of_part(message));
            let reading = reading.ok_or(io::ErrorKind::InvalidData);
            let is_refused = |reading: &Reading| reading.rcode == Rcode::FORMERR && !reading.has_opt;
            return Some(match reading {
                Ok(reading) if self.edns == Edns::With && is_refused(&reading) => Ok(Heard::NoEdns),
                reading => reading.map(Heard::Response).map_err(io::Error::from),
            });
        }
        (self.edns == Edns::With && self.is_unreadable_to(message)).then_some(Ok(Heard::NoEdns))
    }

    /// Whether `message` says no more than that this query could not be read: old servers send a bare header for that. It lacks the question
    /// by which forgeries are told, so it is never an answer; all that it can bring about is the same query without OPT.
    fn is_unreadable_to(&self, message: &[u8]) -> bool {
        let Some((header, sent)) = Header::read(message).zip(Header::read(&self.octets)) else { return false };
        let [_, rcode] = header.flags.0.to_be_bytes();
        message.len() == HEADER_LENGTH
            && header.id == sent.id
            && header.flags.has(Flags::QR)
            && header.flags.opcode() == Opcode::QUERY
            && Rcode(u16::from(rcode & 0x0f)) == Rcode::FORMERR
    }

    /// Whether `message` is a response to this query and no other.
    fn fits(&self, message: &[u8]) -> bool {
        let Some((header, sent)) = Header::read(message).zip(Header::read(&self.octets)) else { return false };
        let question = HEADER_LENGTH..self.question_end;
        header.id == sent.id
            && header.flags.has(Flags::QR)
            && header.flags.opcode() == Opcode::QUERY
            && header.questions == 1
            && message.get(question.clone()) == self.octets.get(question)
    }
}

const fn any_port_like(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        SocketAddr::V6(_) => SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    }
}

/// How long asking may take in all: the client has its response within four seconds.
const DEADLINE: Duration = Duration::from_millis(3_800);
/// How long a server has before another is asked as well.
const HEDGE: Duration = Duration::from_millis(250);
/// How long a server has before it is asked again.
const FIRST: Duration = Duration::from_secs(2);
/// Sockets at once. With 1,024 descriptors, which many systems give a process, the listeners and their clients must not run out.
const SOCKETS_MAX: usize = 384;
/// Octets of a datagram that are read: more than we say that we take (RFC 9715), for those who do not care.
const DATAGRAM_MAX: usize = 4096;
/// Random octets of a query: two for its ID, and a bit for each octet of the longest name.
const RANDOM: usize = 2 + 32;

#[cfg(test)]
mod tests {
    use super::super::response::tests::{message, record, wire};
    use super::*;
    use crate::record::Rtype;
    use crate::wire::Section;

    fn outgoing(edns: Edns) -> Outgoing {
        let question = Question::new(&wire("www.example"), Rtype::A, true, true, 0);
        let mut random = [0b0101_0101; RANDOM];
        random[..2].copy_from_slice(&[7, 9]);
        Outgoing::new(&question, edns, &random)
    }

    #[test]
    fn a_query_has_an_opt_of_ours_alone() {
        let query = outgoing(Edns::With);
        assert_eq!(query.octets[..12], [7, 9, 0x01, 0x10, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(
            query.octets[12..],
            *b"\x03wWw\x07eXaMpLe\x00\x00\x01\x00\x01\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00"
        );
        assert_eq!(outgoing(Edns::Without).octets.len(), 12 + 13 + 4);
    }

    #[test]
    fn only_the_response_to_the_very_query_fits() {
        let query = outgoing(Edns::With);
        let mut response =
            message("www.example", 1, 0, &[record(Section::Answer, "www.example", 1, 5, &[192, 0, 2, 1])]);
        response[..2].copy_from_slice(&[7, 9]);
        assert!(!query.fits(&response), "the name is spelled otherwise");
        response[12..25].copy_from_slice(&query.octets[12..25]);
        assert!(query.fits(&response));
        let with = |place: usize, octet: u8| {
            let mut other = response.clone();
            other[place] = octet;
            query.fits(&other)
        };
        assert!(!with(1, 8), "another ID");
        assert!(!with(2, 1), "a query");
        assert!(!with(2, 0x91), "another opcode");
        assert!(!with(5, 2) && !with(5, 0), "another count");
        assert!(!with(26, 28), "another type");
        assert!(!with(28, 3), "another class");
        assert!(!query.fits(&response[..20]));
    }

    #[test]
    fn a_bare_header_only_says_that_opt_is_not_known() {
        let query = outgoing(Edns::With);
        let bare = [7, 9, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(matches!(query.hear(&bare), Some(Ok(Heard::NoEdns))));
        assert!(outgoing(Edns::Without).hear(&bare).is_none(), "it cannot be that");
        for (place, octet) in [(0, 8), (2, 1), (2, 0x91), (3, 0x80), (3, 0x83)] {
            let mut other = bare;
            other[place] = octet;
            assert!(query.hear(&other).is_none(), "octet {place} is {octet}");
        }
        assert!(query.hear(&[&bare[..], &[0]].concat()).is_none());
    }
}
