//! How commands ask a running server: over HTTP at its admin address, or on its control socket.
//!
//! A server that is not there may be about to be: it restarts, or is started by the same script. So whoever waits asks again
//! until its own time is up, and only then says what was in the way.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

use super::config::{Admin, HiArgs, Period};
use super::serve::CONTROL_SOCKET;
use crate::control::{Contents, FileStatus, Receipt, Status, UnreadyInstance};

/// Which server.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// Ask the server at this address: http://HOST:PORT, HOST:PORT, or unix:PATH [default: the control socket in the state
    /// directory, or else the admin address]
    #[arg(long, value_name = "SERVER", env = "SPACEDNS_SERVER")]
    pub(crate) server: Option<Server>,
    /// The state directory of the server, where its control socket is
    #[arg(long, value_name = "DIR", env = "SPACEDNS_STATE_DIR")]
    state_dir: Option<PathBuf>,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Server {
    /// At its admin address, as `HOST:PORT`.
    Admin(String),
    /// On its control socket.
    Socket(PathBuf),
}

impl Server {
    /// The server that is meant: the one that is named, or else that of the state directory, or else that of the admin address.
    pub(crate) fn choose(named: &ServerArgs, args: &HiArgs) -> Result<Self, &'static str> {
        let directory = named.state_dir.as_ref().or(args.state_dir.as_ref());
        match (&named.server, directory, args.admin) {
            (Some(server), _, _) => Ok(server.clone()),
            // Whoever names the directory means its server, also while that is not there.
            (None, Some(directory), _) => Ok(Self::Socket(directory.join(CONTROL_SOCKET))),
            (None, None, Admin::At(address) | Admin::IfFree(address)) => Ok(Self::Admin(address.to_string())),
            (None, None, Admin::Off) => {
                Err("the configuration file turns the admin address off: name a server with --server")
            }
        }
    }
}

impl FromStr for Server {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err("expected a path after unix:") } else { Ok(Self::Socket(path.into())) };
        }
        let authority = text.strip_prefix("http://").unwrap_or(text);
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let port = authority.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(_)) if !authority.contains(['/', '@', ' ']) => Ok(Self::Admin(authority.to_owned())),
            _ => Err("expected http://HOST:PORT, HOST:PORT or unix:PATH"),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin(authority) => write!(f, "http://{authority}"),
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a server did not say what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unasked {
    /// Nobody answers.
    #[error("no server answers at {server}: {why}; start one, or name another with --server")]
    Away {
        /// Where.
        server: Server,
        /// What was in the way.
        why: String,
    },
    /// It does not understand, or will not say.
    #[error("the server at {server} says {status}: {why}")]
    Refused {
        /// Where.
        server: Server,
        /// Its status code.
        status: StatusCode,
        /// Its words.
        why: String,
    },
}

/// Asks for a page; its body, when it is there.
pub(crate) async fn ask(server: &Server, target: &str) -> Result<Bytes, Unasked> {
    let (status, body) =
        exchange(server, target).await.map_err(|why| Unasked::Away { server: server.clone(), why: why.to_string() })?;
    match status {
        StatusCode::OK => Ok(body),
        // It stops, or has too much to do: as if it were away.
        StatusCode::SERVICE_UNAVAILABLE => Err(Unasked::Away { server: server.clone(), why: words(&body) }),
        status => Err(Unasked::Refused { server: server.clone(), status, why: words(&body) }),
    }
}

fn words(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Why {
        error: String,
    }
    let why = serde_json::from_slice::<Why>(body).map(|why| why.error);
    why.unwrap_or_else(|_| String::from_utf8_lossy(body).trim().to_owned())
}

type Failed = Box<dyn Error + Send + Sync>;

async fn exchange(server: &Server, target: &str) -> Result<(StatusCode, Bytes), Failed> {
    match server {
        Server::Admin(authority) => {
            let stream = timeout(CONNECT_TIME, TcpStream::connect(authority)).await??;
            // The request is one segment: there is nothing to gather.
            stream.set_nodelay(true)?;
            converse(stream, authority, target).await
        }
        Server::Socket(path) => {
            converse(timeout(CONNECT_TIME, UnixStream::connect(path)).await??, "localhost", target).await
        }
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    target: &str,
) -> Result<(StatusCode, Bytes), Failed> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(target).header(hyper::header::HOST, host).body(Empty::<Bytes>::new())?;
    let asking = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_MAX).collect().await?.to_bytes();
        Ok((status, body))
    };
    tokio::pin!(asking, connection);
    tokio::select! {
        biased;
        asked = &mut asking => asked,
        // The end of the connection may be all that the body was still missing.
        ended = &mut connection => { ended?; asking.await }
    }
}

fn read<T: DeserializeOwned>(server: &Server, body: &[u8]) -> Result<T, Unasked> {
    serde_json::from_slice(body).map_err(|error| Unasked::Refused {
        server: server.clone(),
        status: StatusCode::OK,
        why: format!("what is no such document ({error}); is it a spacedns of this version?"),
    })
}

/// What came of waiting for a file.
#[derive(Debug)]
pub(crate) enum Waited {
    /// It is served, or gone, as it was wanted; caches may keep what was there before for so long.
    Served {
        /// From now on.
        outlived: Duration,
    },
    /// It cannot be served: these are the reasons.
    Rejected(Vec<String>),
    /// Time is up; this is why.
    TimedOut(String),
}

/// Waits until a file is served as it is wanted, for as long as `patience` says.
pub(crate) async fn wait(
    server: &Server,
    file: &str,
    contents: Contents,
    patience: Duration,
) -> Result<Waited, Unasked> {
    let mut last = None;
    let waiting = async {
        loop {
            match wait_once(server, file, contents, patience).await {
                Ok(Receipt::Served { outlived_ms, .. }) => {
                    return Ok(Waited::Served { outlived: Duration::from_millis(outlived_ms) });
                }
                Ok(Receipt::Rejected { faults }) => {
                    return Ok(Waited::Rejected(faults.iter().map(|fault| format!("{file}:{fault}")).collect()));
                }
                Ok(Receipt::Pending) => last = None,
                Err(away @ Unasked::Away { .. }) => last = Some(away.to_string()),
                Err(refused) => return Err(refused),
            }
            sleep(AGAIN).await;
        }
    };
    match timeout(patience, waiting).await {
        Ok(waited) => waited,
        Err(_) => {
            let why = match last {
                Some(why) => why,
                None => why_not(server, file, contents).await,
            };
            Ok(Waited::TimedOut(why))
        }
    }
}

async fn wait_once(server: &Server, file: &str, contents: Contents, patience: Duration) -> Result<Receipt, Unasked> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("file", file);
    match contents {
        Contents::Octets(hash) => query.append_pair("sha256", &hash.to_string()),
        Contents::Gone => query.append_pair("gone", "1"),
    };
    query.append_pair("for", &patience.as_millis().to_string());
    read(server, &ask(server, &format!("/wait?{}", query.finish())).await?)
}

/// What the server knows of a file that was waited for in vain.
async fn why_not(server: &Server, file: &str, contents: Contents) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("file", file).finish();
    let asked = timeout(CONNECT_TIME, ask(server, &format!("/status?{query}"))).await;
    let status: Status = match asked.map(|asked| asked.and_then(|body| read(server, &body))) {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => return error.to_string(),
        Err(_) => return format!("the server at {server} is slow to answer"),
    };
    let directory = &status.directory;
    if let Some(frozen) = status.frozen {
        return format!("the server has lost its spec directory {directory}: {frozen}");
    }
    match (status.files.first(), contents) {
        (None, _) => format!("the server sees no such file in {directory}; is that the directory that you mean?"),
        (Some(_), Contents::Gone) => format!("the server still sees it in {directory}"),
        (Some(FileStatus { sha256, unready, .. }), Contents::Octets(wanted))
            if *sha256 == Some(wanted) && !unready.is_empty() =>
        {
            let instance = |one: &UnreadyInstance| match &one.reason {
                Some(reason) => format!("{} ({reason})", one.instance),
                None => format!("{} (not checked yet)", one.instance),
            };
            let instances: Vec<String> = unready.iter().take(NAMED_MAX).map(instance).collect();
            let more = if unready.len() > NAMED_MAX { " and others" } else { "" };
            format!(
                "it is registered, and takes no traffic before it passes its checks: {}{more}",
                instances.join(", ")
            )
        }
        (Some(FileStatus { state, .. }), _) => {
            format!("the server has another version of it in {directory}, which is {}", state.word())
        }
    }
}

/// A time to wait: `--wait`, or `--wait=TIME`.
pub(crate) const WAIT: &str = "30s";

/// Reads a time to wait.
pub(crate) fn patience(text: &str) -> Result<Duration, &'static str> {
    text.parse::<Period>().map(|Period(period)| period)
}

/// Makes the runtime that asking needs.
pub(crate) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// How many instances are named in one line.
const NAMED_MAX: usize = 5;

/// How long a connection may take to come about.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// How soon to ask again.
const AGAIN: Duration = Duration::from_millis(50);

/// Octets of a response: what `/status` says of as many files as it tells of at once.
const BODY_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_or_a_socket() {
        for (text, shown) in [
            ("127.0.0.1:9153", "http://127.0.0.1:9153"),
            ("http://[::1]:9153/", "http://[::1]:9153"),
            ("spacedns:9153", "http://spacedns:9153"),
            ("unix:/run/spacedns/control.sock", "unix:/run/spacedns/control.sock"),
        ] {
            assert_eq!(text.parse::<Server>().unwrap().to_string(), shown);
        }
        for wrong in
            ["", "unix:", "localhost", ":9153", "https://localhost:9153", "http://a:1/status", "a:99999", "u@a:1"]
        {
            assert!(wrong.parse::<Server>().is_err(), "{wrong}");
        }
    }
}
