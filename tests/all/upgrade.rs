//! Upgrades under load of those who ask over TLS and QUIC: whoever connects anew loses nothing, and whoever is connected has an answer
//! to every query, from the server that goes until it closes, or from the next one after that.
#![allow(clippy::disallowed_methods, reason = "how long a client waits is by the clock that the server runs on")]

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use quinn::ConnectionError;
use tokio_rustls::rustls::version::TLS13;

use crate::message::Response;
use crate::process::{PATIENCE, poll};
use crate::tls::{self, Encrypted, framed, query, read_frame, run};

/// How often the server is replaced.
const UPGRADES: usize = 3;

/// What clients have seen.
#[derive(Default)]
struct Seen {
    over: AtomicBool,
    answered: AtomicUsize,
    /// Connections that were closed while they were used.
    closed: AtomicUsize,
    /// The longest that a query has taken, in milliseconds.
    slowest: AtomicUsize,
}

impl Seen {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn answer(&self, response: &[u8], begun: Instant) {
        let response = Response::read(response).unwrap();
        assert_eq!((response.rcode, response.answer.len()), (0, 1), "{response:?}");
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.slowest.fetch_max(usize::try_from(begun.elapsed().as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// Waits until so many more queries are answered.
    fn wait(&self, more: usize) {
        let until = self.answered.load(Ordering::Relaxed) + more;
        let reached = poll(2 * PATIENCE, || (self.answered.load(Ordering::Relaxed) >= until).then_some(()));
        assert!(reached.is_some(), "nobody is answered");
    }
}

#[test]
fn who_asks_over_tls_loses_no_query_while_servers_take_over_from_each_other() {
    let mut world = Encrypted::before_another();
    let (anew, kept) = (Seen::default(), Seen::default());
    let (address, settings) = (world.address, world.settings(&[&TLS13], b"dot"));
    let connect = || tls::connect(address, settings.clone()).unwrap();
    thread::scope(|scope| {
        // A connection for each query: every one of them is answered.
        scope.spawn(|| {
            while anew.goes_on() {
                let begun = Instant::now();
                let mut stream = connect();
                stream.write_all(&framed(&query(7))).unwrap();
                anew.answer(&read_frame(&mut stream).unwrap(), begun);
            }
        });
        // A connection for as long as it lasts; what it is closed on is asked again, as RFC 7766 §6.2.4 has it.
        scope.spawn(|| {
            let mut stream = connect();
            while kept.goes_on() {
                let begun = Instant::now();
                let asked = stream.write_all(&framed(&query(8))).and_then(|()| read_frame(&mut stream));
                let response = asked.unwrap_or_else(|_| {
                    kept.closed.fetch_add(1, Ordering::Relaxed);
                    stream = connect();
                    stream.write_all(&framed(&query(8))).unwrap();
                    read_frame(&mut stream).unwrap()
                });
                kept.answer(&response, begun);
                thread::sleep(Duration::from_millis(1));
            }
        });
        let finally = Over([&anew, &kept]);
        for _ in 0..UPGRADES {
            anew.wait(20);
            kept.wait(20);
            world.replace();
        }
        anew.wait(20);
        kept.wait(20);
        drop(finally);
    });
    assert_eq!(kept.closed.into_inner(), UPGRADES, "each server closes it once, when it goes");
    println!("over TLS: {} and {} queries, each answered", anew.answered.into_inner(), kept.answered.into_inner());
}

#[test]
fn who_asks_over_quic_loses_no_query_while_servers_take_over_from_each_other() {
    let mut world = Encrypted::before_another();
    let (seen, silent) = (Seen::default(), AtomicUsize::new(0));
    let (address, settings) = (world.address, world.settings(&[&TLS13], b"doq"));
    thread::scope(|scope| {
        let asking = || {
            run(async {
                let endpoint = tls::quic_endpoint(settings.clone());
                let mut kept = None;
                while seen.goes_on() {
                    let begun = Instant::now();
                    let response = loop {
                        // Every other query has a connection of its own.
                        let reused = kept.take();
                        let asked = match reused {
                            Some(connection) => ask(connection).await,
                            None => match tls::try_quic(address, &endpoint).await {
                                Ok(connection) => ask(connection).await,
                                Err(lost) => Err(lost),
                            },
                        };
                        match asked {
                            Ok((response, connection)) => {
                                kept = Some(connection).filter(|_| seen.answered.load(Ordering::Relaxed) % 2 == 0);
                                break response;
                            }
                            // As a rule it is told so at once, and need not wait until it has had enough: only what is lost of a
                            // handshake is nobody's.
                            Err(ConnectionError::TimedOut) => silent.fetch_add(1, Ordering::Relaxed),
                            Err(_) => seen.closed.fetch_add(1, Ordering::Relaxed),
                        };
                    };
                    seen.answer(&response, begun);
                }
            });
        };
        scope.spawn(asking);
        let finally = Over([&seen, &seen]);
        for _ in 0..UPGRADES {
            seen.wait(20);
            world.replace();
        }
        seen.wait(20);
        drop(finally);
    });
    let silent = silent.into_inner();
    assert!(silent <= 1, "{silent} times nobody said that a connection is no more");
    let Seen { answered, closed, slowest, .. } = seen;
    let (answered, closed, slowest) = (answered.into_inner(), closed.into_inner(), slowest.into_inner());
    println!("over QUIC: {answered} queries, {closed} of them asked again, the slowest took {slowest} ms");
}

/// Asks over QUIC; gives the response and the connection, or how that ended.
async fn ask(connection: quinn::Connection) -> Result<(Vec<u8>, quinn::Connection), ConnectionError> {
    let exchange = async {
        let (mut send, mut receive) = connection.open_bi().await.ok()?;
        send.write_all(&framed(&query(0))).await.ok()?;
        send.finish().ok()?;
        receive.read_to_end(70_000).await.ok().filter(|response| response.len() > 2)
    };
    match exchange.await {
        Some(response) => Ok((response[2..].to_vec(), connection)),
        None => Err(connection.closed().await),
    }
}

/// Ends the clients, whatever happens meanwhile.
struct Over<'s>([&'s Seen; 2]);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|seen| seen.over.store(true, Ordering::Relaxed));
    }
}
