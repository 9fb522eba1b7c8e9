//! A TCP connection: whatever pieces the octets arrive in, the responses are those of the messages in them.
//!
//! The server itself runs, on loopback, in this process, so nothing of it has to be made public for this. The input is a run of pieces: an
//! octet with the length, and so many octets, written at once. What must come back is worked out here from the frames (RFC 1035 §4.2.2) and
//! the engine.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::LazyLock;
use std::time::Duration;

use spacedns::engine::{Recursion, Transport, Trust};
use spacedns::publish::Publisher;
use spacedns::serve::{Config, Inherited, Running, bind, start};

use crate::respond::{Question, SILENT};
use crate::world::SNAPSHOT;

struct Server {
    _publisher: Publisher,
    _running: Running,
    address: SocketAddr,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let publisher = Publisher::new(SNAPSHOT.clone());
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let sockets = bind(&[anywhere], NonZeroUsize::MIN, &mut Inherited::default()).expect("a port of loopback");
    let address = sockets.addresses()[0];
    let running = start(sockets, Config::default(), publisher.subscribe()).expect("threads");
    Server { _publisher: publisher, _running: running, address }
});

/// Sends the pieces over a connection, and holds what comes back to what should.
///
/// # Panics
/// When it does not hold.
pub fn run(input: &[u8]) {
    let pieces = pieces(input);
    let stream: Vec<u8> = pieces.concat();
    let expected = expected(&stream);
    let mut connection = TcpStream::connect(SERVER.address).expect("the server listens");
    // Long before the patience of whoever runs this, and long after any of the server's own.
    connection.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
    connection.set_nodelay(true).expect("no delay");
    for piece in pieces {
        if connection.write_all(piece).is_err() {
            assert!(expected.ending == Ending::Refused, "it closed on what is in order");
            break;
        }
    }
    let _ = connection.shutdown(Shutdown::Write);
    let mut responses = Vec::new();
    match connection.read_to_end(&mut responses) {
        Ok(_) => {}
        // What is not read when a socket closes resets the connection, and the reset may overtake responses.
        Err(error) if error.kind() == ErrorKind::ConnectionReset && expected.ending == Ending::Refused => {
            assert!(expected.responses.starts_with(&responses), "other responses than the engine's");
            return;
        }
        Err(error) => panic!("{error}; {} of {} octets came", responses.len(), expected.responses.len()),
    }
    assert!(responses == expected.responses, "other responses than the engine's");
}

fn pieces(input: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let mut rest = input;
    while let Some((length, after)) = rest.split_first() {
        let (piece, after) = after.split_at(usize::from(*length).min(after.len()));
        if !piece.is_empty() {
            pieces.push(piece);
        }
        rest = after;
    }
    pieces
}

struct Expected {
    responses: Vec<u8>,
    ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The client ends it.
    Ours,
    /// The server will have no more.
    Refused,
}

fn expected(stream: &[u8]) -> Expected {
    let mut responses = Vec::new();
    let mut room = vec![0; 65_535];
    let mut rest = stream;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length));
        if length < 12 {
            return Expected { responses, ending: Ending::Refused };
        }
        let Some((query, after)) = after.split_at_checked(length) else { break };
        let question = Question {
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            trust: Trust::Nobody,
            transport: Transport::Tcp,
            recursion: Recursion::Unavailable,
            turn: 0,
            settings: &SILENT,
            secrets: None,
            query,
        };
        let Some(length) = question.respond(&SNAPSHOT, &mut room) else {
            return Expected { responses, ending: Ending::Refused };
        };
        responses.extend(u16::try_from(length).expect("65,535 at most").to_be_bytes());
        responses.extend(&room[..length]);
        rest = after;
    }
    Expected { responses, ending: Ending::Ours }
}
