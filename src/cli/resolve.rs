//! `spacedns resolve`: what a caller gets for a name, and step by step why.
//!
//! The response is the engine's, octet for octet, read back and printed as `dig` prints one. It is read by [`response`], which knows
//! the few types that we produce: `hickory-proto` would do it with sixty crates more, and prints internationalised names in another
//! form than they were asked in. In tests the two must agree.

mod response;

use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use serde::Serialize;

use self::response::Response;
use super::log::Escaped;
use crate::explain::{Explanation, Outcome, explain};
use crate::name::Name;
use crate::record::Rtype;
use crate::registry::Registry;
use crate::zone::Snapshot;

/// What to resolve, and for whom.
#[derive(Debug, clap::Args)]
pub(crate) struct Resolve {
    /// The name; it is absolute, whether it ends in a dot or not
    #[arg(value_name = "NAME")]
    name: Name,
    /// The record type, as A or TYPE65 [default: A]
    #[arg(value_name = "TYPE")]
    type_or_dir: Option<String>,
    /// The spec directory [default: zones]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Resolve it as a caller at this address would
    #[arg(long, value_name = "ADDRESS")]
    from: IpAddr,
    /// Write one JSON document instead of lines
    #[arg(long)]
    json: bool,
}

impl Resolve {
    /// The spec directory, where one was given. What stands in the type's place alone and is no type is the directory.
    pub(crate) fn dir(&self) -> Option<&Path> {
        self.dir.as_deref().or_else(|| {
            let only = self.type_or_dir.as_deref()?;
            only.parse::<Rtype>().is_err().then(|| Path::new(only))
        })
    }

    fn qtype(&self) -> Result<Rtype, clap::Error> {
        match (&self.type_or_dir, &self.dir) {
            (None, _) => Ok(Rtype::A),
            (Some(text), None) => Ok(text.parse().unwrap_or(Rtype::A)),
            (Some(text), Some(_)) => text.parse().map_err(|error| {
                clap::Error::raw(
                    ErrorKind::ValueValidation,
                    format!("invalid value '{}' for '[TYPE]': {error}\n", Escaped(text)),
                )
            }),
        }
    }
}

/// Resolves once, offline. The exit code is 0 for an answer, 1 for none.
///
/// # Errors
///
/// The result cannot be written.
pub(crate) fn run(args: &Resolve, registry: &Registry, snapshot: &Snapshot) -> Result<ExitCode, Box<dyn Error>> {
    let qtype = match args.qtype() {
        Ok(qtype) => qtype,
        Err(error) => {
            error.print()?;
            return Ok(ExitCode::from(USAGE));
        }
    };
    let explanation = explain(registry, snapshot, args.from, &args.name, qtype);
    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        write_json(&mut out, &explanation)?;
    } else {
        write_text(&mut out, &explanation)?;
    }
    out.flush()?;
    Ok(if explanation.outcome == Outcome::Answer { ExitCode::SUCCESS } else { ExitCode::from(NO_ANSWER) })
}

fn write_text(out: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    for step in &explanation.steps {
        writeln!(out, "{}", Escaped(&step.to_string()))?;
    }
    match Response::read(&explanation.response) {
        Some(response) => write!(out, "\n{response}"),
        None => writeln!(out, "\n;; no response"),
    }
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

/// There is no answer: a negative one, a refusal, or none at all.
const NO_ANSWER: u8 = 1;
/// It was asked for in a wrong way.
const USAGE: u8 = 2;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::explain::tests::World;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        resolve: Resolve,
    }

    fn parse(line: &str) -> Result<Resolve, clap::Error> {
        let words = std::iter::once("resolve").chain(line.split_whitespace());
        Command::try_parse_from(words).map(|command| command.resolve)
    }

    fn text(line: &str) -> String {
        let (args, world) = (parse(line).unwrap(), World::new());
        let explanation = explain(&world.registry, &world.snapshot, args.from, &args.name, args.qtype().unwrap());
        let mut out = Vec::new();
        write_text(&mut out, &explanation).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_stands_alone_and_is_no_type_is_the_directory() {
        let parsed = |line: &str| {
            let args = parse(line).unwrap();
            (args.qtype().map(|qtype| qtype.to_string()).ok(), args.dir().map(|dir| dir.display().to_string()))
        };
        let (a, mx, zones) = (Some("A".to_owned()), Some("MX".to_owned()), Some("zones".to_owned()));
        assert_eq!(parsed("web --from 10.0.0.1"), (a.clone(), None));
        assert_eq!(parsed("web --from 10.0.0.1 zones"), (a, zones.clone()));
        assert_eq!(parsed("web mx --from 10.0.0.1"), (mx.clone(), None));
        assert_eq!(parsed("web mx --from 10.0.0.1 zones"), (mx, zones.clone()));
        assert_eq!(parsed("web wx zones --from 10.0.0.1"), (None, zones));
    }

    #[test]
    fn a_caller_must_be_named_and_a_name_must_be_one() {
        assert_eq!(parse("web").unwrap_err().kind(), ErrorKind::MissingRequiredArgument);
        assert_eq!(parse("web..shop --from 10.0.0.1").unwrap_err().kind(), ErrorKind::ValueValidation);
        assert_eq!(parse("web --from nowhere").unwrap_err().kind(), ErrorKind::ValueValidation);
    }

    #[test]
    fn an_answer_is_the_steps_and_then_the_response() {
        let text = text("shop.herokuapp.com --from 10.0.200.1");
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
        let text = text("blog.herokuapp.com AAAA --from 10.0.200.1");
        assert!(text.contains(";; EDE: 0 (Other): blog: 0 of 2 web instances up\n"), "{text}");
        let soa = "blog.herokuapp.com. 2 IN SOA localhost. nobody.invalid. 0 3600 600 86400 2\n";
        assert!(text.ends_with(&format!(";; AUTHORITY SECTION:\n{soa}")), "{text}");
    }

    #[test]
    fn the_json_document_has_steps_and_response() {
        let world = World::new();
        let caller = "10.0.1.1".parse().unwrap();
        let explanation =
            explain(&world.registry, &world.snapshot, caller, &"_http._tcp.web".parse().unwrap(), Rtype::SRV);
        let mut out = Vec::new();
        write_json(&mut out, &explanation).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["steps"][0]["subject"], "caller");
        assert_eq!(json["response"]["status"], "NOERROR");
        assert_eq!(json["response"]["answer"][0], "_http._tcp.web. 5 IN SRV 0 1 8080 1.web.shop.app.localspace.");
        assert_eq!(json["response"]["additional"][0], "1.web.shop.app.localspace. 5 IN A 10.0.1.1");
    }
}
