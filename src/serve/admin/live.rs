//! `/livez`: whether queries are answered, by asking one through the socket that clients ask through.

use std::time::Duration;

use hyper::StatusCode;

use super::Sources;
use super::pages::{Refusal, Reply, text};
use crate::serve::probe::{Silence, probe};

pub(super) async fn page(sources: &Sources) -> Result<Reply, Refusal> {
    let refuse = |why: String| Refusal(StatusCode::SERVICE_UNAVAILABLE, why.into());
    match probe(sources.dns, PATIENCE).await {
        Ok(()) => Ok(text(StatusCode::OK, "live")),
        Err(Silence::Unanswered(_)) => Err(refuse("a query was not answered within a second".to_owned())),
        Err(silence) => Err(refuse(silence.to_string())),
    }
}

/// How long a response may take.
const PATIENCE: Duration = Duration::from_secs(1);
