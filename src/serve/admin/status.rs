//! `/status`: generation, serial, readiness, and how each file stands, as JSON.
//!
//! `?file=PATH` tells of one file; `?state=WORD` of those in one state; `?after=PATH` goes on after a path, which is what `next`
//! says when there are more than `?most=N`.

use std::time::Duration;

use hyper::StatusCode;
use tokio::time::timeout;

use super::Sources;
use super::pages::{Parameters, Refusal, Reply, json};
use crate::control::{FileState, Selection, Unanswered};

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
    let asked = timeout(PATIENCE, sources.control.status(selection)).await;
    let status = asked.map_err(|_| Unanswered)??;
    Ok(json(StatusCode::OK, &status))
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
