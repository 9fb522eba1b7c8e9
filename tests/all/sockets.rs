//! Runs the pages of `scenarios/` once more, over UDP and TCP against the built binary and a directory of real files.
//!
//! Callers are told by Client Subnet, loopback being a trusted forwarder. So what a page can only show to the engine is left out
//! here: the passing of time, queries without EDNS, queries that use Client Subnet themselves, counts that the echoed option
//! changes. How many queries are asked has a floor, so that nothing passes by being left out.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::message::{CLIENT_SUBNET, Query, client_subnet};
use crate::process::{PATIENCE, Server, drop_file, poll};
use crate::scenario::{AnswerRule, Ask, Change, Content, Event, Expected, Scenario};
use crate::scenarios::{Echo, hold, pages, query_octets};
use crate::world::START;

#[test]
fn the_server_answers_as_every_page_says() {
    let pages = pages();
    let mut wrong = Vec::new();
    let mut asked = 0;
    for (name, page) in pages.iter().filter(|(_, page)| !needs_time(page)) {
        match run(page) {
            Ok(count) => asked += count,
            Err(fault) => wrong.push(format!("{name}: {}\n  {}", page.sentence, fault.replace('\n', "\n  "))),
        }
    }
    assert!(wrong.is_empty(), "{} of {} pages do not hold:\n{}", wrong.len(), pages.len(), wrong.join("\n"));
    assert!(asked > 300, "only {asked} queries were asked");
}

fn needs_time(page: &Scenario) -> bool {
    let touches = |change: &Change| matches!(change, Change::Touch { .. });
    page.steps.iter().any(|step| match &step.event {
        Event::At(_) => true,
        Event::Batch(changes) => changes.iter().any(touches),
        _ => false,
    })
}

/// Runs a page against a server of its own; gives how many queries were asked.
fn run(page: &Scenario) -> Result<usize, String> {
    let directory = tempfile::tempdir().unwrap();
    let mut server = None;
    let mut before = Vec::new();
    let mut asked = 0;
    for step in &page.steps {
        match (&step.event, &server) {
            (Event::Batch(changes), _) => {
                write(directory.path(), changes);
                if server.is_none() {
                    level(directory.path(), changes);
                    server = Some(Server::spacedns(directory.path()));
                }
            }
            (Event::Ask(ask), Some(server)) => {
                for tcp in [false, true] {
                    let Some(ask) = as_forwarded(ask, tcp) else { continue };
                    asked += 1;
                    let mut last = String::new();
                    let held = poll(PATIENCE, || {
                        let octets = query_octets(&ask);
                        let response =
                            if tcp { server.ask_stream(&octets, PATIENCE) } else { server.ask(&octets, PATIENCE) };
                        let outcome = hold(&ask, &octets, response.as_deref(), Echo::Passed, &mut before);
                        outcome.map_err(|fault| last = fault).ok()
                    });
                    let transport = if tcp { "TCP" } else { "UDP" };
                    held.ok_or_else(|| format!("line {}, {transport}: {last}\n{}", step.line, server.log()))?;
                }
            }
            _ => {}
        }
    }
    Ok(asked)
}

/// The same question as a trusted forwarder asks it; `None` where that would be another question, or says nothing of `tcp`.
fn as_forwarded(ask: &Ask, tcp: bool) -> Option<Ask> {
    let Content::Query(query) = &ask.content else { return None };
    let Expected::Response(expectation) = &ask.expected else { return None };
    let edns = query.edns.as_ref()?;
    let own_subnet = ask.trusted || edns.options.iter().any(|(code, _)| *code == CLIENT_SUBNET);
    let of_one_transport = ask.tcp || expectation.tc || edns.size != 1232;
    let counted = matches!(expectation.answer_rule, Some(AnswerRule::Count(_) | AnswerRule::AsBefore));
    if own_subnet || of_one_transport && ask.tcp != tcp || counted && !tcp || counted && !ask.tcp {
        return None;
    }
    let prefix = if ask.from.is_ipv4() { 32 } else { 128 };
    let mut query: Query = query.clone();
    query.edns.as_mut()?.options.push((CLIENT_SUBNET, client_subnet(ask.from, prefix, 0)));
    Some(Ask { content: Content::Query(query), tcp, ..ask.clone() })
}

fn write(directory: &Path, changes: &[Change]) {
    for change in changes {
        match change {
            Change::Write { path, content } => drop_file(directory, path, content),
            Change::Remove { path } => std::fs::remove_file(directory.join(path)).unwrap(),
            Change::Touch { .. } => unreachable!("pages that touch need time"),
        }
    }
}

/// Gives files one time of writing: at a cold start the larger would decide between registrations, and a batch has one.
fn level(directory: &Path, changes: &[Change]) {
    let written = UNIX_EPOCH + Duration::from_secs(START);
    for change in changes {
        if let Change::Write { path, .. } = change {
            File::options().write(true).open(directory.join(path)).unwrap().set_modified(written).unwrap();
        }
    }
}
