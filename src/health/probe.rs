//! One check of one instance: connect, and where there is a path, ask for it.
//!
//! What counts is what the vendor's platform counts (it is Kubernetes' rule): any status from 200 to 399, without going where a
//! redirect points. Nothing of the body is read, and of the head no more than [`HEAD_MAX`].

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::schedule::Outcome;
use crate::control::checks::Target;

/// Checks an instance: every address of it must pass, one after another, all within the timeout.
pub(super) async fn check(target: &Target) -> Outcome {
    let mut last = None;
    let every = async {
        for address in &target.addresses {
            last = Some(*address);
            let address = SocketAddr::new(*address, target.port);
            match exchange(address, target.http_path.as_deref()).await {
                Ok(()) => {}
                Err(Failure::Ours) => return Outcome::Unknown,
                Err(failure) => return Outcome::Failed(words(target, address, &failure)),
            }
        }
        Outcome::Passed
    };
    match tokio::time::timeout(target.timeout, every).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let address = last.or_else(|| target.addresses.first().copied());
            address.map_or(Outcome::Unknown, |address| {
                let address = SocketAddr::new(address, target.port);
                Outcome::TimedOut(words(target, address, &Failure::Said("timed out")))
            })
        }
    }
}

/// Why an address did not pass.
#[derive(Debug)]
enum Failure {
    /// There was a response with this status.
    Status(u16),
    /// Something else went wrong.
    Said(&'static str),
    /// There was nothing on this side to check with.
    Ours,
}

async fn exchange(address: SocketAddr, path: Option<&str>) -> Result<(), Failure> {
    let stream = TcpStream::connect(address).await.map_err(|error| connecting(&error))?;
    let Some(path) = path else { return Ok(()) };
    let builder = {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_MAX);
        builder
    };
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Said("no HTTP"))?;
    let request = request(address, path).ok_or(Failure::Said("is no path"))?;
    let (mut response, connection) = (pin!(sender.send_request(request)), pin!(connection));
    let response = tokio::select! {
        biased;
        response = &mut response => response,
        // The other side has closed: whether after a response, the first of the two knows.
        _ = connection => response.await,
    };
    let status = response.map_err(|error| Failure::Said(without_response(&error)))?.status();
    if (200..400).contains(&status.as_u16()) { Ok(()) } else { Err(Failure::Status(status.as_u16())) }
}

fn request(address: SocketAddr, path: &str) -> Option<Request<String>> {
    // An origin form (RFC 9112 §3.2.1) and nothing else: `//host/` would be read as another server's.
    let uri: Uri = path.parse().ok()?;
    let path = Uri::builder().path_and_query(uri.path_and_query()?.clone()).build().ok()?;
    Request::get(path)
        .header(HOST, HeaderValue::try_from(address.to_string()).ok()?)
        .header(USER_AGENT, USER)
        .header(CONNECTION, HeaderValue::from_static("close"))
        .body(String::new())
        .ok()
}

fn connecting(error: &io::Error) -> Failure {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => Failure::Said("connection refused"),
        ErrorKind::HostUnreachable => Failure::Said("host unreachable"),
        ErrorKind::NetworkUnreachable => Failure::Said("network unreachable"),
        ErrorKind::ConnectionReset => Failure::Said("connection reset"),
        // The kernel gave up before the timeout did.
        ErrorKind::TimedOut => Failure::Said("timed out"),
        // No sockets, no memory, no ports, no permission: nothing that tells of the instance.
        _ => Failure::Ours,
    }
}

fn without_response(error: &hyper::Error) -> &'static str {
    if error.is_parse() {
        "no HTTP response"
    } else if error.is_incomplete_message() || error.is_canceled() {
        "closed without response"
    } else {
        "connection lost"
    }
}

/// What failed, as the callers are told: `GET /health 503`, `TCP 8080 connection refused`.
fn words(target: &Target, address: SocketAddr, failure: &Failure) -> Arc<str> {
    let asked = match &target.http_path {
        // What stands behind the question mark may be a secret.
        Some(path) => {
            let path = path.split(['?', '#']).next().unwrap_or_default();
            let cut = path.char_indices().nth(PATH_MAX).map_or(path.len(), |(end, _)| end);
            let (shown, rest) = path.split_at(cut);
            format!("GET {shown}{}", if rest.is_empty() { "" } else { "..." })
        }
        None => format!("TCP {}", target.port),
    };
    let at = if target.addresses.len() > 1 { format!(" at {}", address.ip()) } else { String::new() };
    match failure {
        Failure::Status(status) => format!("{asked}{at} {status}"),
        Failure::Said(words) => format!("{asked}{at} {words}"),
        Failure::Ours => asked,
    }
    .into()
}

/// How the checks call themselves.
const USER: HeaderValue = HeaderValue::from_static(concat!("spacedns/", env!("CARGO_PKG_VERSION")));

/// The most octets of a response's head: what common servers take of a request's.
const HEAD_MAX: usize = 16 * 1024;

/// The most characters of a path that are shown.
const PATH_MAX: usize = 48;
