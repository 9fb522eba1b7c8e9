//! `spacedns resolve`: what a caller gets for a name, and step by step why.
//!
//! The response is the engine's, octet for octet, read back and printed as `dig` prints one. It is read by [`response`], which knows
//! the few types that we produce: `hickory-proto` would do it with sixty crates more, and prints internationalised names in another
//! form than they were asked in. In tests the two must agree.

mod asked;
mod response;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use self::response::Response;
use super::FAILURE;
use super::args::Directory;
use super::config::HiArgs;
use super::log::Escaped;
use super::server::{self, Server};
use crate::control::{Explained, ExplainedStep, Question};
use crate::explain::{Explanation, Outcome, explain};
use crate::name::Name;
use crate::record::Rtype;
use crate::registry::Registry;
use crate::zone::Snapshot;

/// What to resolve, and for whom.
#[derive(Debug, Args)]
pub(crate) struct Resolve {
    /// The name; it is absolute, whether it ends in a dot or not
    #[arg(value_name = "NAME")]
    name: Name,
    /// The record type, as A or TYPE65
    #[arg(value_name = "TYPE", default_value = "A", value_parser = read_type)]
    qtype: Rtype,
    #[command(flatten)]
    pub(super) directory: Directory,
    /// Resolve it as a caller at this address would
    #[arg(long, value_name = "ADDRESS")]
    from: IpAddr,
    /// Ask the server that runs here, of what it serves now, instead of reading DIR: http://HOST:PORT, HOST:PORT, or unix:PATH
    #[arg(long, value_name = "SERVER")]
    server: Option<Server>,
    /// Write one JSON document instead of lines
    #[arg(long)]
    json: bool,
}

/// Whoever leaves the type out and names a directory must hear why that is no type.
fn read_type(text: &str) -> Result<Rtype, String> {
    text.parse()
        .map_err(|error| format!("{error}; a directory comes after the type, as in `spacedns resolve web A zones`"))
}

/// Resolves once, offline, or has a server do it. The exit code is 0 for an answer, 1 for none.
///
/// # Errors
///
/// The directory cannot be read, the server does not answer, or the result cannot be written.
pub(crate) fn run(args: &HiArgs, resolve: &Resolve) -> Result<ExitCode, Box<dyn Error>> {
    if let Some(server) = &resolve.server {
        return run_elsewhere(server, resolve);
    }
    let survey = super::survey(args, "resolve NAME TYPE DIR")?;
    super::tell_faults(args, &survey);
    let explanation = explain(&survey.registry, &survey.snapshot(), resolve.from, &resolve.name, resolve.qtype);
    let mut out = BufWriter::new(io::stdout().lock());
    if resolve.json {
        write_json(&mut out, &explanation)?;
    } else {
        write_text(&mut out, &explanation.steps, Response::read(&explanation.response).as_ref())?;
    }
    out.flush()?;
    Ok(code_of(explanation.outcome.word()))
}

fn run_elsewhere(server: &Server, resolve: &Resolve) -> Result<ExitCode, Box<dyn Error>> {
    let [name, qtype, from] = [resolve.name.to_string(), resolve.qtype.to_string(), resolve.from.to_string()];
    let (told, document) = server::runtime()?.block_on(asked::ask(server, &name, &qtype, &from))?;
    let mut out = BufWriter::new(io::stdout().lock());
    if resolve.json {
        out.write_all(&document)?;
    } else {
        write_text(&mut out, &told.steps, told.response.as_ref())?;
    }
    out.flush()?;
    Ok(code_of(&told.outcome))
}

fn code_of(outcome: &str) -> ExitCode {
    if outcome == Outcome::Answer.word() { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) }
}

/// Explains for a server that is asked over HTTP: the same, from what it has read.
pub(super) fn explain_running(
    registry: &Registry,
    snapshot: &Snapshot,
    question: &Question,
) -> Result<Explained, String> {
    let Question { name, qtype, caller } = question;
    let name: Name = name.parse().map_err(|error| format!("name: {error}"))?;
    let qtype: Rtype = qtype.parse().map_err(|error| format!("type: {error}"))?;
    let explanation = explain(registry, snapshot, *caller, &name, qtype);
    let mut json = Vec::new();
    write_json(&mut json, &explanation).map_err(|error| error.to_string())?;
    let steps = explanation.steps.iter().map(|step| ExplainedStep {
        subject: step.subject.to_string(),
        words: step.words.clone(),
        written: step.source.as_ref().map(ToString::to_string),
    });
    Ok(Explained {
        outcome: explanation.outcome.word().to_owned(),
        steps: steps.collect(),
        response: Response::read(&explanation.response)
            .map_or_else(|| ";; no response\n".to_owned(), |response| response.to_string()),
        json: String::from_utf8_lossy(&json).into_owned(),
    })
}

fn write_text(out: &mut impl Write, steps: &[impl Display], response: Option<&Response>) -> io::Result<()> {
    for step in steps {
        writeln!(out, "{}", Escaped(&step.to_string()))?;
    }
    let response = response.map_or_else(|| ";; no response".to_owned(), ToString::to_string);
    writeln!(out)?;
    // It may be another's words.
    response.lines().try_for_each(|line| writeln!(out, "{}", Escaped(line)))
}

fn write_json(out: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    #[derive(Serialize)]
    struct Output<'e> {
        #[serde(flatten)]
        explanation: &'e Explanation,
        response: Option<Response>,
    }
    let response = Response::read(&explanation.response);
    serde_json::to_writer_pretty(&mut *out, &Output { explanation, response })?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::super::tests::shop;
    use super::*;

    fn explained(caller: &str, name: &str, qtype: Rtype) -> Explanation {
        let survey = shop();
        explain(&survey.registry, &survey.snapshot(), caller.parse().unwrap(), &name.parse().unwrap(), qtype)
    }

    fn text(caller: &str, name: &str, qtype: Rtype) -> String {
        let mut out = Vec::new();
        let explained = explained(caller, name, qtype);
        write_text(&mut out, &explained.steps, Response::read(&explained.response).as_ref()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_is_the_steps_and_then_the_response() {
        let text = text("10.0.200.1", "shop.herokuapp.com", Rtype::A);
        let (steps, response) = text.split_once("\n\n").unwrap();
        assert_eq!(steps.lines().count(), 10);
        assert_eq!(
            response,
            ";; status: NOERROR, id: 0, size: 63\n\
             ;; flags: qr aa rd; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1\n\
             ;; EDNS: version: 0, flags:; udp: 1232\n\
             \n\
             ;; QUESTION SECTION:\n\
             ;shop.herokuapp.com. IN A\n\
             \n\
             ;; ANSWER SECTION:\n\
             shop.herokuapp.com. 5 IN A 10.0.0.10\n"
        );
    }

    #[test]
    fn a_negative_answer_has_its_reason_and_its_soa() {
        let text = text("10.0.200.1", "blog.herokuapp.com", Rtype::AAAA);
        assert!(text.contains(";; EDE: 0 (Other): blog: 0 of 2 web instances up\n"), "{text}");
        let soa = "blog.herokuapp.com. 2 IN SOA localhost. nobody.invalid. 1795192782 3600 600 86400 2\n";
        assert!(text.ends_with(&format!(";; AUTHORITY SECTION:\n{soa}")), "{text}");
    }

    #[test]
    fn the_json_document_has_steps_and_response() {
        let mut out = Vec::new();
        write_json(&mut out, &explained("10.0.1.1", "_http._tcp.web", Rtype::SRV)).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["name"], "_http._tcp.web.");
        assert_eq!(json["type"], "SRV");
        assert_eq!(json["outcome"], "answer");
        assert_eq!(json["steps"][0]["subject"], "caller");
        assert_eq!(json["steps"][0]["source"]["file"], "shop.yaml");
        assert_eq!(json["steps"][0]["source"]["line"], 6);
        assert_eq!(json["response"]["status"], "NOERROR");
        assert_eq!(json["response"]["answer"][0], "_http._tcp.web. 5 IN SRV 0 1 8080 1.web.shop.app.localspace.");
        assert_eq!(json["response"]["additional"][0], "1.web.shop.app.localspace. 5 IN A 10.0.1.1");
    }

    #[test]
    fn a_directory_in_the_place_of_the_type_is_told_where_it_belongs() {
        assert_eq!(read_type("aaaa"), Ok(Rtype::AAAA));
        assert!(read_type("zones").unwrap_err().ends_with("as in `spacedns resolve web A zones`"));
    }
}
