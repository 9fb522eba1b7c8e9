//! A fake upstream on loopback that counts what it is asked and says what a test has it say, and a server in front of it.
#![allow(clippy::disallowed_methods, reason = "a test of a process runs on the clock that the process runs on")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use crate::message::{EXTENDED_ERROR, Query, Response, wire_name};
use crate::pace::Stopwatch;
use crate::process::{PATIENCE, SPACEDNS, Server, drop_file, poll};

/// What an upstream says to a query: datagrams, or frames where it came over TCP.
type Script = dyn Fn(&Asked<'_>) -> Vec<Vec<u8>> + Send + Sync;

/// A query as it came to an upstream.
pub(crate) struct Asked<'a> {
    pub(crate) octets: &'a [u8],
    pub(crate) tcp: bool,
    /// Where it came from.
    pub(crate) from: SocketAddr,
}

impl Asked<'_> {
    pub(crate) fn question_end(&self) -> usize {
        let mut at = 12;
        while self.octets[at] != 0 {
            at += 1 + usize::from(self.octets[at]);
        }
        at + 5
    }

    pub(crate) fn qname(&self) -> Vec<u8> {
        self.octets[12..self.question_end() - 4].to_ascii_lowercase()
    }

    pub(crate) fn is_for(&self, name: &str) -> bool {
        self.qname() == wire_name(name)
    }

    pub(crate) fn qtype(&self) -> u16 {
        let end = self.question_end();
        u16::from_be_bytes([self.octets[end - 4], self.octets[end - 3]])
    }

    /// A response with these records, each in its section: 0 answer, 1 authority, 2 additional.
    pub(crate) fn response(&self, rcode: u8, records: &[(usize, Vec<u8>)]) -> Vec<u8> {
        let mut octets = self.octets[..self.question_end()].to_vec();
        (octets[2], octets[3]) = (0x81, 0x80 | rcode);
        octets[6..12].fill(0);
        for section in 0..3 {
            for (_, record) in records.iter().filter(|(place, _)| *place == section) {
                octets[7 + 2 * section] += 1;
                octets.extend(record);
            }
        }
        octets
    }

    pub(crate) fn answer(&self, address: [u8; 4], ttl: u32) -> Vec<u8> {
        self.response(0, &[(0, record(&[0xc0, 12], 1, ttl, &address))])
    }
}

pub(crate) fn record(owner: &[u8], rtype: u16, ttl: u32, rdata: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rdata.len()).unwrap();
    [owner, &rtype.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &length.to_be_bytes(), rdata].concat()
}

pub(crate) fn alias(owner: &str, target: &str) -> (usize, Vec<u8>) {
    (0, record(&wire_name(owner), 5, 60, &wire_name(target)))
}

pub(crate) fn address(owner: &str, address: [u8; 4]) -> (usize, Vec<u8>) {
    (0, record(&wire_name(owner), 1, 60, &address))
}

/// What a negative response is kept by.
pub(crate) fn soa(owner: &str) -> (usize, Vec<u8>) {
    let numbers: Vec<u8> = [1_u32, 1800, 900, 604_800, 86_400].into_iter().flat_map(u32::to_be_bytes).collect();
    let rdata = [wire_name("a.root.example"), wire_name("nobody.example"), numbers].concat();
    (1, record(&wire_name(owner), 6, 86_400, &rdata))
}

/// A name server that says what a script has it say.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    packets: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Upstream {
    pub(crate) fn start(script: impl Fn(&Asked<'_>) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = poll(PATIENCE, || {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
            let tcp = TcpListener::bind(udp.local_addr().ok()?).ok()?;
            Some((udp, tcp))
        })
        .unwrap();
        let address = udp.local_addr().unwrap();
        let (packets, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let script: Arc<Script> = Arc::new(script);
        let threads = vec![
            spawn({
                let (script, packets, stop) = (Arc::clone(&script), Arc::clone(&packets), Arc::clone(&stop));
                move || {
                    udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
                    let mut buffer = [0; 2048];
                    while !stop.load(Ordering::Relaxed) {
                        let Ok((length, from)) = udp.recv_from(&mut buffer) else { continue };
                        packets.fetch_add(1, Ordering::SeqCst);
                        for datagram in script(&Asked { octets: &buffer[..length], tcp: false, from }) {
                            let _ = udp.send_to(&datagram, from);
                        }
                    }
                }
            }),
            spawn({
                let (packets, stop) = (Arc::clone(&packets), Arc::clone(&stop));
                move || {
                    for stream in tcp.incoming() {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let mut stream = stream.unwrap();
                        let Ok(from) = stream.peer_addr() else { continue };
                        let mut length = [0; 2];
                        let mut query = Vec::new();
                        if stream.read_exact(&mut length).is_ok() {
                            query.resize(usize::from(u16::from_be_bytes(length)), 0);
                        }
                        if query.is_empty() || stream.read_exact(&mut query).is_err() {
                            continue;
                        }
                        packets.fetch_add(1, Ordering::SeqCst);
                        for frame in script(&Asked { octets: &query, tcp: true, from }) {
                            let length = u16::try_from(frame.len()).unwrap().to_be_bytes();
                            let _ = stream.write_all(&[&length[..], &frame].concat());
                        }
                    }
                }
            }),
        ];
        Self { address, packets, stop, threads }
    }

    pub(crate) fn packets(&self) -> usize {
        self.packets.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// One app with a hostname, on the default space.
pub(crate) const APP: &str = "app: shop\nformation: {web: {quantity: 1}}\ninternal_routing: true\n\
                   instances: [{component: web, number: 1, address: 10.0.130.56}]\n";

/// A server with these upstreams, and the directory that it serves.
pub(crate) fn server(upstreams: &[String], more: &[&str]) -> (Server, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    drop_file(directory.path(), "shop.yaml", APP);
    let server = Server::start(|port| {
        let mut command = Command::new(SPACEDNS);
        command.arg("serve").arg(directory.path()).args(["--listen", &format!("127.0.0.1:{port}")]);
        command.args(upstreams.iter().map(|upstream| format!("--upstream={upstream}"))).args(more);
        command
    });
    (server, directory)
}

pub(crate) fn behind(upstream: &Upstream) -> (Server, tempfile::TempDir) {
    server(&[upstream.address.to_string()], &[])
}

pub(crate) fn asked(server: &Server, name: &str, qtype: u16) -> Response {
    let octets = server.ask(&Query::new(name, qtype).octets(), PATIENCE);
    Response::read(&octets.unwrap_or_else(|| panic!("{name}: no response\n{}", server.log()))).unwrap()
}

pub(crate) fn lines(response: &Response) -> Vec<String> {
    response.answer.iter().map(ToString::to_string).collect()
}

/// The codes of a response's extended errors.
pub(crate) fn errors(response: &Response) -> Vec<u16> {
    let options = response.edns.iter().flat_map(|edns| &edns.options);
    let errors = options.filter(|(code, _)| *code == EXTENDED_ERROR);
    errors.map(|(_, data)| u16::from_be_bytes([data[0], data[1]])).collect()
}

/// The canary: a name of ours is answered, and soon.
pub(crate) fn owned_answers(server: &Server) {
    let watch = Stopwatch::start();
    let response = asked(server, "shop.herokuapp.com", 1);
    assert_eq!(lines(&response), ["shop.herokuapp.com. 5 A 10.0.130.56"]);
    assert!(response.aa && response.ra, "{response:?}");
    let given = watch.given();
    assert!(given < Duration::from_millis(900), "a name of ours took {given:?}");
}
