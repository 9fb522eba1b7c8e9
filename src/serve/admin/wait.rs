//! `/wait?file=PATH&sha256=HEX` or `&gone=`: a receipt, as soon as there is one, or after `&for=MILLISECONDS` that there is none.

use std::time::Duration;

use hyper::StatusCode;
use tokio::time::timeout;

use super::Sources;
use super::pages::{Parameters, Refusal, Reply, json};
use crate::control::{Contents, Receipt, Wanted};

pub(super) async fn page(parameters: &Parameters<'_>, sources: &Sources) -> Result<Reply, Refusal> {
    parameters.only(&["file", "sha256", "gone", "for"])?;
    let file = parameters.value("file").ok_or_else(|| Refusal::of_asking("say which: file=PATH"))?.to_owned();
    let contents = match (parameters.value("sha256"), parameters.value("gone")) {
        (Some(hash), None) => Contents::Octets(hash.parse().map_err(|error| Refusal::of_asking(format!("{error}")))?),
        (None, Some(_)) => Contents::Gone,
        _ => return Err(Refusal::of_asking("say what to wait for: sha256=HEX, or gone=1")),
    };
    let patience = match parameters.value("for") {
        Some(text) => text.parse().map_err(|_| Refusal::of_asking("for is a number of milliseconds"))?,
        None => WAIT,
    };
    let waited = sources.control.wait(Wanted { file, contents });
    let receipt = match timeout(Duration::from_millis(patience).min(WAIT_MAX), waited).await {
        Ok(receipt) => receipt?,
        Err(_) => Receipt::Pending,
    };
    Ok(json(StatusCode::OK, &receipt))
}

/// How long to wait unless it is said, in milliseconds.
const WAIT: u64 = 30_000;

/// How long anybody may wait at once; who wants longer asks again.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(600);
