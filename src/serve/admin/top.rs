//! `/top`: the names that are asked for most, who asks most, and what gets nothing most; as JSON, or with `?format=text` to read.
//!
//! `?most=N` says how many of each. It is made of samples, in memory, and of the last minutes under load.

use std::fmt::Write;
use std::net::IpAddr;

use hyper::StatusCode;
use serde::Serialize;

use super::Sources;
use super::pages::{Parameters, Refusal, Reply, json, text};
use crate::observe::{Heavy, SAMPLED, Top};

pub(super) fn page(parameters: &Parameters<'_>, sources: &Sources) -> Result<Reply, Refusal> {
    parameters.only(&["most", "format"])?;
    let most = parameters.value("most").map_or(Ok(MOST), str::parse);
    let most = most.map_err(|_| Refusal::of_asking("most is a whole number"))?;
    let top = sources.metrics.top(most);
    match parameters.value("format") {
        None | Some("json") => Ok(json(StatusCode::OK, &Document::of(&top))),
        Some("text") => Ok(text(StatusCode::OK, lines(&top).trim_end())),
        Some(_) => Err(Refusal::of_asking("format is json or text")),
    }
}

#[derive(Serialize)]
struct Document<'t> {
    /// One query in so many was looked at.
    sampled: u64,
    names: Vec<Row<'t>>,
    callers: Vec<Row<'t>>,
    negatives: Vec<Row<'t>>,
}

#[derive(Default, Serialize)]
struct Row<'t> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'t str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    share: f64,
    error: f64,
}

impl<'t> Document<'t> {
    fn of(top: &'t Top) -> Self {
        let names = top.names.iter().map(|heavy| Row { name: Some(&heavy.what), ..Row::of(heavy) });
        let callers = top.callers.iter().map(|heavy| Row { caller: Some(heavy.what), ..Row::of(heavy) });
        let negatives = top.negatives.iter().map(|heavy| {
            let (name, reason) = &heavy.what;
            Row { name: Some(name), reason: Some(reason.name()), ..Row::of(heavy) }
        });
        Self { sampled: SAMPLED, names: names.collect(), callers: callers.collect(), negatives: negatives.collect() }
    }
}

impl Row<'_> {
    fn of<T>(heavy: &Heavy<T>) -> Self {
        Self { share: heavy.share, error: heavy.error, ..Self::default() }
    }
}

fn lines(top: &Top) -> String {
    let mut lines = format!("One query in {SAMPLED}; share, at most this much of it somebody else's, what\n");
    // Writing into a string cannot fail.
    let _ = lines.write_str("\nnames\n");
    for heavy in &top.names {
        line(&mut lines, heavy, &heavy.what);
    }
    let _ = lines.write_str("\ncallers\n");
    for heavy in &top.callers {
        line(&mut lines, heavy, &heavy.what.to_string());
    }
    let _ = lines.write_str("\nnothing for\n");
    for heavy in &top.negatives {
        let (name, reason) = &heavy.what;
        line(&mut lines, heavy, &format!("{name} ({})", reason.name()));
    }
    lines
}

fn line<T>(lines: &mut String, heavy: &Heavy<T>, what: &str) {
    let _ = writeln!(lines, "{:6.2} % {:6.2} %  {what}", heavy.share * 100.0, heavy.error * 100.0);
}

/// How many of each are told of unless more are asked for.
const MOST: usize = 20;
