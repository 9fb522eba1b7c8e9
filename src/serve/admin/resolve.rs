//! `/resolve?name=NAME&type=TYPE&from=ADDRESS`: what a caller at that address gets for the name, and step by step why; as JSON, or with
//! `&format=text` to read. It is what `spacedns resolve` says, of what is served now.

use std::fmt::Write;
use std::time::Duration;

use hyper::StatusCode;
use tokio::time::timeout;

use super::Sources;
use super::pages::{Parameters, Refusal, Reply, reply, text};
use crate::control::{Explained, ExplainedStep, Question, Unanswered};

pub(super) async fn page(parameters: &Parameters<'_>, sources: &Sources) -> Result<Reply, Refusal> {
    parameters.only(&["name", "type", "from", "format"])?;
    let question = question(parameters)?.ok_or_else(|| Refusal::of_asking("say which: name=NAME&from=ADDRESS"))?;
    let explained = explain(question, sources).await?;
    match parameters.value("format") {
        None | Some("json") => Ok(reply(StatusCode::OK, "application/json", explained.json.into())),
        Some("text") => Ok(text(StatusCode::OK, lines(&explained).trim_end())),
        Some(_) => Err(Refusal::of_asking("format is json or text")),
    }
}

/// What is asked; none where no name is given.
pub(super) fn question(parameters: &Parameters<'_>) -> Result<Option<Question>, Refusal> {
    let Some(name) = parameters.value("name").map(str::trim).filter(|name| !name.is_empty()) else { return Ok(None) };
    let caller = parameters.value("from").map(str::trim).filter(|from| !from.is_empty());
    let caller = caller.ok_or_else(|| Refusal::of_asking("say who asks: from=ADDRESS"))?;
    let caller = caller.parse().map_err(|_| Refusal::of_asking("from is an IP address"))?;
    let qtype = parameters.value("type").map(str::trim).filter(|qtype| !qtype.is_empty()).unwrap_or("A");
    Ok(Some(Question { name: name.to_owned(), qtype: qtype.to_owned(), caller }))
}

/// Has the owner task explain it.
pub(super) async fn explain(question: Question, sources: &Sources) -> Result<Explained, Refusal> {
    let asked = timeout(PATIENCE, sources.control.explain(question)).await;
    asked.map_err(|_| Unanswered)??.map_err(Refusal::of_asking)
}

fn lines(explained: &Explained) -> String {
    let mut lines = String::new();
    for ExplainedStep { subject, words, written } in &explained.steps {
        // Writing into a string cannot fail.
        let _ = match written {
            Some(written) => writeln!(lines, "{subject}: {words} ({written})"),
            None => writeln!(lines, "{subject}: {words}"),
        };
    }
    let _ = write!(lines, "\n{}", explained.response);
    lines
}

/// How long the owner task may take.
const PATIENCE: Duration = Duration::from_secs(10);
