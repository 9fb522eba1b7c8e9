//! `/status`: generation, serial, readiness, the last changes, how each file stands, and how upstreams are doing, as JSON.
//!
//! `?file=PATH` tells of one file; `?state=WORD` of those in one state; `?after=PATH` goes on after a path, which is what `next`
//! says when there are more than `?most=N`.

use std::time::Duration;

use hyper::StatusCode;
use serde::Serialize;
use tokio::time::timeout;

use super::pages::{Parameters, Refusal, Reply, json};
use super::upstreams::UpstreamStatus;
use super::{Sources, upstreams};
use crate::control::{FileState, Selection, Status, Unanswered};

pub(super) async fn page(parameters: &Parameters<'_>, sources: &Sources) -> Result<Reply, Refusal> {
    parameters.only(&["file", "state", "after", "most"])?;
    let selection = match parameters.value("file") {
        Some(file) => Selection::File(file.to_owned()),
        None => Selection::Some {
            after: parameters.value("after").unwrap_or_default().to_owned(),
            state: parameters.value("state").map(state).transpose()?,
            most: parameters.value("most").map_or(Ok(MOST), number)?,
        },
    };
    let status = ask(selection, sources).await?;
    Ok(json(StatusCode::OK, &Document { status, upstreams: upstreams::all(sources) }))
}

/// What the owner task says, and what it does not know.
#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    status: Status,
    upstreams: Vec<UpstreamStatus>,
}

/// Has the owner task tell.
pub(super) async fn ask(selection: Selection, sources: &Sources) -> Result<Status, Unanswered> {
    timeout(PATIENCE, sources.control.status(selection)).await.map_err(|_| Unanswered)?
}

fn state(word: &str) -> Result<FileState, Refusal> {
    let states = [FileState::Ok, FileState::Stale, FileState::Rejected, FileState::Expired];
    let found = states.into_iter().find(|state| state.word() == word);
    found.ok_or_else(|| Refusal::of_asking("state is one of ok, stale, rejected, expired"))
}

fn number(text: &str) -> Result<usize, Refusal> {
    text.parse().map_err(|_| Refusal::of_asking("most is a whole number"))
}

/// How many files are told of unless more are asked for.
const MOST: usize = 1000;

/// How long the owner task may take: a scan of many files on a slow disk.
const PATIENCE: Duration = Duration::from_secs(10);
