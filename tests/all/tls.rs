//! DNS over TLS and over QUIC, against the built binary: the octets of TCP, and what is theirs alone.

use std::future::Future;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, Endpoint, VarInt};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::compliance;
use crate::message::Query;
use crate::process::{PATIENCE, SPACEDNS, Server, drop_file, is_installed, poll};

/// The name in the certificates.
const NAME: &str = "ns.app.localspace";

/// What is served: one app with a hostname, and discovery names without it.
const SPACE: &str = "space: test\ncidr: [10.0.0.0/8]\nrouter: [10.0.0.10]\n";
const APP: &str = "app: shop\nformation: {web: {quantity: 1}}\ninternal_routing: true\n\
                   instances: [{component: web, number: 1, address: 10.0.130.56}]\n";

/// A server that speaks TLS and QUIC on 127.0.0.2, at the port of the others.
pub(crate) struct Encrypted {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) directory: tempfile::TempDir,
    arguments: Vec<String>,
}

impl Encrypted {
    /// Starts one with these limits.
    pub(crate) fn start(limits: &[&str]) -> Self {
        Self::start_after(":", limits)
    }

    /// Starts one with these limits, from a shell that has run `first`.
    pub(crate) fn start_after(first: &str, limits: &[&str]) -> Self {
        let limits: Vec<String> = limits.iter().map(|limit| format!("--limit={limit}")).collect();
        Self::start_with(first, |_| limits)
    }

    /// Starts one that hands its sockets over to the next.
    pub(crate) fn before_another() -> Self {
        Self::start_with(":", |home| vec![format!("--handover={}", home.join("next").display())])
    }

    /// Starts the next, which takes the place of this one, and waits until this one has ended.
    pub(crate) fn replace(&mut self) {
        let command = command(self.directory.path(), self.server.address.port(), ":", &self.arguments);
        self.server.replace(command);
    }

    fn start_with(first: &str, arguments: impl FnOnce(&Path) -> Vec<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        drop_file(directory.path(), "zones/space.yaml", SPACE);
        drop_file(directory.path(), "zones/shop.yaml", APP);
        write_pair(directory.path());
        let arguments = arguments(directory.path());
        let server = Server::start(|port| command(directory.path(), port, first, &arguments));
        let address = (Ipv4Addr::new(127, 0, 0, 2), server.address.port()).into();
        Self { server, address, directory, arguments }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.directory.path().join("certificate.pem")).unwrap()).unwrap();
        roots
    }

    pub(crate) fn settings(&self, versions: &[&'static SupportedProtocolVersion], protocol: &[u8]) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let mut settings = builder
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        settings.alpn_protocols = vec![protocol.to_vec()];
        settings
    }

    /// Connects over TLS.
    pub(crate) fn connect(&self) -> Tls {
        self.connect_by(self.settings(&[&TLS13], b"dot")).unwrap()
    }

    fn connect_by(&self, settings: ClientConfig) -> std::io::Result<Tls> {
        connect(self.address, settings)
    }

    /// An endpoint for [`Encrypted::connect_quic`]; within a runtime.
    pub(crate) fn endpoint(&self) -> Endpoint {
        quic_endpoint(self.settings(&[&TLS13], b"doq"))
    }

    /// Connects over QUIC.
    pub(crate) async fn connect_quic(&self, endpoint: &Endpoint) -> quinn::Connection {
        try_quic(self.address, endpoint).await.unwrap()
    }
}

/// Connects over TLS.
pub(crate) fn connect(address: SocketAddr, settings: ClientConfig) -> std::io::Result<Tls> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from(NAME).unwrap();
    let mut session = ClientConnection::new(Arc::new(settings), name).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(session, stream))
}

/// An endpoint for [`try_quic`]; within a runtime.
pub(crate) fn quic_endpoint(settings: ClientConfig) -> Endpoint {
    let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let settings = QuicClientConfig::try_from(settings).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(settings)));
    endpoint
}

/// Connects over QUIC, or says why that is not to be.
pub(crate) async fn try_quic(address: SocketAddr, endpoint: &Endpoint) -> Result<quinn::Connection, ConnectionError> {
    endpoint.connect(address, NAME).unwrap().await
}

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A server on `port`, from a shell that has run `first`.
fn command(home: &Path, port: u16, first: &str, arguments: &[String]) -> Command {
    let encrypted = format!("127.0.0.2:{port}");
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{first} && exec \"$0\" \"$@\"")).arg(SPACEDNS).arg("serve").arg(home.join("zones"));
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--workers", "1"]);
    command.args(["--tls-listen", &encrypted, "--quic-listen", &encrypted]);
    command.arg("--tls-certificate").arg(home.join("certificate.pem"));
    command.arg("--tls-key").arg(home.join("key.pem")).args(arguments);
    command
}

/// Writes a new certificate and its key.
fn write_pair(directory: &Path) {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    drop_file(directory, "certificate.pem", &made.cert.pem());
    drop_file(directory, "key.pem", &made.signing_key.serialize_pem());
}

/// Runs something that needs a runtime, within its time.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(3 * PATIENCE, work).await.expect("it ends in time") })
}

pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

pub(crate) fn read_frame(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Asks on a stream of its own; gives the message, or the code that the stream was reset with.
pub(crate) async fn ask_quic(connection: &quinn::Connection, query: &[u8]) -> Vec<u8> {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&framed(query)).await.unwrap();
    send.finish().unwrap();
    let response = receive.read_to_end(70_000).await.unwrap();
    assert_eq!(response[..2], u16::try_from(response.len() - 2).unwrap().to_be_bytes());
    response[2..].to_vec()
}

/// How a connection ended.
async fn code(connection: &quinn::Connection) -> Option<u64> {
    match connection.closed().await {
        ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
        _ => None,
    }
}

pub(crate) fn query(id: u16) -> Vec<u8> {
    Query { id, ..Query::new("1.web.shop.app.localspace", 1) }.octets()
}

#[test]
fn over_tls_and_quic_a_response_is_that_of_tcp_octet_for_octet() {
    let encrypted = Encrypted::start(&[]);
    let named = |name, qtype| Query { id: 0, ..Query::new(name, qtype) };
    let mut opcode = named("shop.app.localspace", 1).octets();
    opcode[2] |= 6 << 3;
    let mut two_questions = named("web.shop.app.localspace", 1).octets();
    two_questions[5] = 2;
    let mut version = named("web.shop.app.localspace", 1);
    version.edns.as_mut().unwrap().version = 1;
    let queries = [
        query(0),
        named("wEb.ShOp.aPp.localspace", 1).octets(),
        named("web.shop.app.localspace", 28).octets(),
        named("_http._tcp.web.shop.app.localspace", 33).octets(),
        named("nothing.app.localspace", 255).octets(),
        named("www.example.com", 1).octets(),
        Query { edns: None, ..named("web.shop.app.localspace", 1) }.octets(),
        version.octets(),
        opcode,
        two_questions,
        query(0)[..20].to_vec(),
        [&query(0)[..], &[1, 2, 3]].concat(),
    ];
    let mut stream = encrypted.connect();
    run(async {
        let endpoint = encrypted.endpoint();
        let connection = encrypted.connect_quic(&endpoint).await;
        for query in queries {
            let expected = encrypted.server.ask_stream(&query, PATIENCE).unwrap();
            stream.write_all(&framed(&query)).unwrap();
            assert_eq!(read_frame(&mut stream).unwrap(), expected, "TLS: {query:?}");
            assert_eq!(ask_quic(&connection, &query).await, expected, "QUIC: {query:?}");
        }
    });
}

#[test]
fn the_compliance_list_holds_over_tls() {
    let encrypted = Encrypted::start(&[]);
    compliance::run(&mut |query| {
        let mut stream = encrypted.connect();
        stream.write_all(&framed(query)).unwrap();
        read_frame(&mut stream).ok()
    });
}

#[test]
fn the_compliance_list_holds_over_quic() {
    let encrypted = Encrypted::start(&[]);
    compliance::run(&mut |query| {
        // RFC 9250 §4.2.1: the ID is 0 on the stream, so the list's own is put back.
        let mut sent = query.to_vec();
        sent[..2].fill(0);
        let mut response = run(async {
            let endpoint = encrypted.endpoint();
            let connection = encrypted.connect_quic(&endpoint).await;
            ask_quic(&connection, &sent).await
        });
        assert_eq!(response[..2], [0, 0]);
        response[..2].copy_from_slice(&query[..2]);
        Some(response)
    });
}

#[test]
fn addresses_rotate_over_quic_although_every_id_is_0() {
    let encrypted = Encrypted::start(&[]);
    let both =
        APP.replace("]", ", {component: web, number: 2, address: 10.0.130.57}]").replace("quantity: 1", "quantity: 2");
    drop_file(encrypted.directory.path(), "zones/shop.yaml", &both);
    run(async {
        let endpoint = encrypted.endpoint();
        let connection = encrypted.connect_quic(&endpoint).await;
        let query = Query { id: 0, ..Query::new("web.shop.app.localspace", 1) }.octets();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1_000 {
            let response = ask_quic(&connection, &query).await;
            if response[7] == 2 {
                seen.insert(response);
            }
            if seen.len() == 2 {
                return;
            }
        }
        panic!("{seen:?}");
    });
}

#[test]
fn tls_1_2_and_1_3_are_spoken_as_dot_and_resumed_without_early_data() {
    let encrypted = Encrypted::start(&[]);
    for version in [&TLS12, &TLS13] {
        let mut settings = encrypted.settings(&[version], b"dot");
        settings.resumption = Resumption::in_memory_sessions(8);
        settings.enable_early_data = true;
        for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut stream = encrypted.connect_by(settings.clone()).unwrap();
            stream.write_all(&framed(&query(7))).unwrap();
            assert_eq!(read_frame(&mut stream).unwrap()[..2], [0, 7]);
            assert_eq!(stream.conn.alpn_protocol(), Some(&b"dot"[..]));
            assert_eq!(stream.conn.protocol_version(), Some(version.version));
            assert_eq!(stream.conn.handshake_kind(), Some(expected));
            assert!(!stream.conn.is_early_data_accepted());
        }
    }
    assert!(encrypted.connect_by(encrypted.settings(&[&TLS13], b"h2")).is_err(), "that is another protocol");
    let mut unasked = encrypted.settings(&[&TLS13], b"");
    unasked.alpn_protocols.clear();
    unasked.enable_sni = false;
    let mut stream = encrypted.connect_by(unasked).unwrap();
    stream.write_all(&framed(&query(8))).unwrap();
    assert_eq!(read_frame(&mut stream).unwrap()[..2], [0, 8], "neither ALPN nor a name is needed");
}

#[test]
fn a_stream_within_tls_has_the_limits_of_tcp() {
    let encrypted = Encrypted::start(&["idle=300ms", "frame=200ms", "queries=20", "in-flight=3", "unsent=4KiB"]);
    let is_closed = |stream: &mut Tls| matches!(stream.read(&mut [0; 1]), Ok(0));
    let mut pipelined = encrypted.connect();
    let many: Vec<u8> = (0..25).flat_map(|id| framed(&query(id))).collect();
    pipelined.write_all(&many).unwrap();
    for id in 0..20 {
        assert_eq!(read_frame(&mut pipelined).unwrap()[..2], [0, id]);
    }
    assert!(is_closed(&mut pipelined), "it has asked enough, and is told so");
    let mut idle = encrypted.connect();
    assert!(is_closed(&mut idle));
    let mut stalled = encrypted.connect();
    stalled.write_all(&framed(&query(1))[..20]).unwrap();
    assert!(is_closed(&mut stalled));
    let mut alien = encrypted.connect();
    alien.write_all(&framed(&query(5))).unwrap();
    alien.write_all(&[0, 3, 1, 2, 3]).unwrap();
    assert_eq!(read_frame(&mut alien).unwrap()[..2], [0, 5]);
    assert!(is_closed(&mut alien));
    let log = encrypted.server.end();
    for limit in ["limit-idle=1", "limit-frame=1", "limit-queries=1", "limit-in-flight="] {
        assert!(log.contains(limit), "{limit}: {log}");
    }
}

#[test]
fn a_tls_client_that_has_closed_its_side_still_gets_its_answer() {
    let encrypted = Encrypted::start(&[]);
    for says_so in [true, false] {
        let mut stream = encrypted.connect();
        stream.write_all(&framed(&query(1))).unwrap();
        if says_so {
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        }
        stream.sock.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(read_frame(&mut stream).unwrap()[..2], [0, 1], "close_notify: {says_so}");
    }
}

#[test]
fn a_handshake_that_takes_too_long_is_cut_off_and_newcomers_get_in() {
    let encrypted = Encrypted::start(&["handshake=1s", "handshakes=4"]);
    let mut halves: Vec<_> = (0..20).map(|_| TcpStream::connect(encrypted.address).unwrap()).collect();
    for (number, half) in halves.iter_mut().enumerate() {
        half.set_read_timeout(Some(PATIENCE)).unwrap();
        // Nothing, half a hello, or garbage. Those that were told to go may be gone already.
        let sent: &[u8] = [&[][..], &[0x16, 3, 1, 1, 0, 1], b"GET / HTTP/1.0\r\n\r\n"][number % 3];
        let _ = half.write_all(sent);
    }
    let mut stream = encrypted.connect();
    stream.write_all(&framed(&query(1))).unwrap();
    assert_eq!(read_frame(&mut stream).unwrap()[..2], [0, 1]);
    for half in &mut halves {
        // Some get an alert before the end.
        while half.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
    }
    let log = encrypted.server.end();
    for counter in ["limit-handshake=", "limit-handshakes=", "handshake-failed="] {
        assert!(log.contains(counter), "{counter}: {log}");
    }
}

#[test]
fn a_certificate_that_is_replaced_is_shown_and_a_broken_one_is_not() {
    let encrypted = Encrypted::start(&[]);
    let place = encrypted.directory.path().to_owned();
    // The roots of this client are the certificate in the file: it gets in when that is the one that is shown.
    let gets_in = || encrypted.connect_by(encrypted.settings(&[&TLS13], b"dot")).ok();
    let before = encrypted.settings(&[&TLS13], b"dot");
    drop_file(&place, "key.pem", "no key at all\n");
    poll(PATIENCE, || encrypted.server.log().contains("key.pem: there is no").then_some(())).expect("it is said");
    assert!(encrypted.connect_by(before.clone()).is_ok(), "the old one stays");
    write_pair(&place);
    poll(PATIENCE, gets_in).expect("the new one is shown");
    let error = encrypted.connect_by(before).err();
    assert!(error.is_some(), "and the old one is not");
    run(async {
        let endpoint = encrypted.endpoint();
        encrypted.connect_quic(&endpoint).await;
    });
    assert!(encrypted.server.end().contains("certificate-taken=1"));
}

#[test]
fn a_certificate_that_cannot_be_used_ends_the_start_with_its_file() {
    let directory = tempfile::tempdir().unwrap();
    drop_file(directory.path(), "zones/shop.yaml", APP);
    let file = |name: &str| -> PathBuf { directory.path().join(name) };
    let mut command = Command::new(SPACEDNS);
    command.arg("serve").arg(file("zones")).args(["--listen=127.0.0.1:0", "--tls-listen=127.0.0.1:0"]);
    command.arg("--tls-certificate").arg(file("c.pem")).arg("--tls-key").arg(file("k.pem"));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with(&format!("spacedns: {}: cannot be read: ", file("c.pem").display())), "{said}");
}

#[test]
fn a_hundred_queries_at_once_over_quic_are_all_answered() {
    let encrypted = Encrypted::start(&["in-flight=8"]);
    run(async {
        let endpoint = encrypted.endpoint();
        let connection = encrypted.connect_quic(&endpoint).await;
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let connection = connection.clone();
            asking.spawn(async move { ask_quic(&connection, &query(0)).await });
        }
        while let Some(response) = asking.join_next().await {
            assert_eq!(response.unwrap()[..8], [0, 0, 0x85, 0, 0, 1, 0, 1]);
        }
    });
}

#[test]
fn what_breaks_the_rules_of_quic_ends_its_connection_with_a_protocol_error() {
    let encrypted = Encrypted::start(&[]);
    let response = [&query(0)[..2], &[0x80], &query(0)[3..]].concat();
    let mut asks_idle_time = Query { id: 0, ..Query::new("1.web.shop.app.localspace", 1) };
    asks_idle_time.edns.as_mut().unwrap().options.push((11, Vec::new()));
    let wrong: [(&str, Vec<u8>); 7] = [
        ("an ID", framed(&query(1))),
        ("two queries", [framed(&query(0)), framed(&query(0))].concat()),
        ("an end in the middle", framed(&query(0))[..20].to_vec()),
        ("an end in the length", vec![0]),
        ("no message", vec![0, 0]),
        ("a response", framed(&response)),
        ("edns-tcp-keepalive", framed(&asks_idle_time.octets())),
    ];
    run(async {
        let endpoint = encrypted.endpoint();
        for (what, octets) in wrong {
            let connection = encrypted.connect_quic(&endpoint).await;
            let (mut send, _receive) = connection.open_bi().await.unwrap();
            send.write_all(&octets).await.unwrap();
            send.finish().unwrap();
            assert_eq!(code(&connection).await, Some(2), "{what}");
        }
    });
}

#[test]
fn a_cancelled_stream_and_one_that_stalls_end_alone() {
    let encrypted = Encrypted::start(&["frame=200ms"]);
    run(async {
        let endpoint = encrypted.endpoint();
        let connection = encrypted.connect_quic(&endpoint).await;
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&framed(&query(0))[..20]).await.unwrap();
        assert!(receive.read_to_end(100).await.is_err(), "it is reset for stalling");
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        send.write_all(&framed(&query(0))[..20]).await.unwrap();
        send.reset(VarInt::from_u32(3)).unwrap();
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        receive.stop(VarInt::from_u32(3)).unwrap();
        send.write_all(&framed(&query(0))).await.unwrap();
        // The end of the stream is not waited for.
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(&framed(&query(0))).await.unwrap();
        let mut length = [0; 2];
        receive.read_exact(&mut length).await.unwrap();
        assert_eq!(ask_quic(&connection, &query(0)).await[..2], [0, 0]);
    });
}

#[test]
fn a_quic_connection_has_limits_and_ends_without_losing_a_response() {
    let encrypted = Encrypted::start(&["idle=300ms", "queries=3", "connections-per-source=2"]);
    run(async {
        let endpoint = encrypted.endpoint();
        let connection = encrypted.connect_quic(&endpoint).await;
        for _ in 0..3 {
            ask_quic(&connection, &query(0)).await;
        }
        assert_eq!(code(&connection).await, Some(0), "it has asked enough");
        let idle = encrypted.connect_quic(&endpoint).await;
        assert_eq!(code(&idle).await, Some(0), "it asks nothing");
        let first = encrypted.connect_quic(&endpoint).await;
        let second = encrypted.connect_quic(&endpoint).await;
        let third = encrypted.connect_quic(&endpoint).await;
        ask_quic(&third, &query(0)).await;
        assert_eq!(code(&first).await, Some(4), "it makes room");
        drop((second, third));
    });
    let log = encrypted.server.end();
    for limit in ["limit-idle=", "limit-queries=1", "limit-connections-per-source=1"] {
        assert!(log.contains(limit), "{limit}: {log}");
    }
}

#[test]
fn kdig_asks_over_tls_and_quic_as_the_documents_show() {
    if !is_installed("kdig") {
        println!("kdig is not installed: not run");
        return;
    }
    let encrypted = Encrypted::start(&[]);
    let ask = |arguments: &[&str]| {
        let port = encrypted.address.port().to_string();
        let mut command = Command::new("kdig");
        command.args(["@127.0.0.2", "-p", &port, "+timeout=5", "+retry=0"]).args(arguments);
        command.args(["+short", "1.web.shop.app.localspace"]);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let trusted = format!("+tls-ca={}", encrypted.directory.path().join("certificate.pem").display());
    let named = format!("+tls-host={NAME}");
    // Where kdig 3.2.6 is told to check a certificate over QUIC it breaks by itself, before it sends anything.
    for arguments in [&["+tls"][..], &["+quic"], &["+tls", "+tls-sni=wrong.example"], &["+tls", &trusted, &named]] {
        assert_eq!(ask(arguments), "10.0.130.56\n", "{arguments:?}\n{}", encrypted.server.log());
    }
}

#[test]
fn every_limit_stands_in_the_documents_with_its_default() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md");
    let document = std::fs::read_to_string(document).unwrap();
    let defaults = spacedns::serve::Limits::default();
    let seconds = |time: Duration| format!("{}s", time.as_secs());
    let rows = [
        ("connections", defaults.connections.to_string()),
        ("connections-per-source", defaults.connections_per_source.to_string()),
        ("idle", seconds(defaults.idle)),
        ("frame", seconds(defaults.frame)),
        ("in-flight", defaults.in_flight.to_string()),
        ("queries", defaults.queries.to_string()),
        ("unsent", format!("{}KiB", defaults.unsent >> 10)),
        ("handshake", seconds(defaults.handshake)),
        ("handshakes", defaults.handshakes.to_string()),
        ("drain", seconds(defaults.drain)),
        ("batch", defaults.batch.to_string()),
        ("run", defaults.run.to_string()),
        ("forwards", defaults.forward.queries.to_string()),
        ("forwards-per-source", defaults.forward.per_source.to_string()),
        ("forwards-per-domain", defaults.forward.per_domain.to_string()),
        ("forward-waiters", defaults.forward.waiters.to_string()),
        ("forward-cache", format!("{}MiB", defaults.forward.cache >> 20)),
    ];
    assert_eq!(rows.len(), spacedns::serve::LIMITS.len());
    for (name, default) in rows {
        assert!(document.contains(&format!("| `{name}` | `{default}` |")), "{name} | {default}");
    }
}
