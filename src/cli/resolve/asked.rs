//! What a running server says to the same question: of what it serves, which may be older than its files, or newer than ours.
//!
//! It comes as the document that `--json` prints, from the address where the server says how things stand. So it reads the same,
//! whoever has explained it.

use std::fmt;
use std::time::Duration;

use form_urlencoded::Serializer;
use hyper::StatusCode;
use hyper::body::Bytes;
use serde::Deserialize;
use tokio::time::timeout;

use super::response::Response;
use crate::cli::server::{self, Server, Unasked};

/// What a server has explained.
#[derive(Debug, Deserialize)]
pub(super) struct Told {
    pub(super) outcome: String,
    pub(super) steps: Vec<Step>,
    pub(super) response: Option<Response>,
}

/// One step.
#[derive(Debug, Deserialize)]
pub(super) struct Step {
    subject: String,
    words: String,
    source: Option<Written>,
}

#[derive(Debug, Deserialize)]
struct Written {
    file: String,
    line: u32,
    column: u32,
}

impl fmt::Display for Step {
    /// Writes it as the step that it was there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.words)?;
        match &self.source {
            Some(Written { file, line, column }) => write!(f, " ({file}:{line}:{column})"),
            None => Ok(()),
        }
    }
}

/// Asks a server; what it has explained, and the document that this was read from.
///
/// # Errors
/// When it is away, does not answer in time, or says no such thing.
pub(super) async fn ask(server: &Server, name: &str, qtype: &str, from: &str) -> Result<(Told, Bytes), Unasked> {
    let mut query = Serializer::new(String::new());
    query.append_pair("name", name).append_pair("type", qtype).append_pair("from", from);
    let target = format!("/resolve?{}", query.finish());
    let away = |why: String| Unasked::Away { server: server.clone(), why };
    let asked = timeout(PATIENCE, server::ask(server, &target)).await;
    let body = asked.map_err(|_| away(format!("it has not answered within {PATIENCE:?}")))??;
    let told = serde_json::from_slice(&body).map_err(|error| Unasked::Refused {
        server: server.clone(),
        status: StatusCode::OK,
        why: format!("what is no explanation ({error}); is it a spacedns of this version?"),
    })?;
    Ok((told, body))
}

/// How long the server may take, which gives its owner task ten seconds.
const PATIENCE: Duration = Duration::from_secs(15);
