//! The command line: what was typed becomes what is meant, and that runs.
//!
//! `args` holds what was typed (`LowArgs`), the configuration file included; `config` what is meant (`HiArgs`), with
//! every default in one place. Each command has a file of its own. Exit codes: 0, all well; 1, it did not work, or `check`
//! found faults; 2, it was asked for in a wrong way; 3, it took too long.

mod args;
mod check;
mod clock;
mod config;
mod diff;
mod env;
mod export;
mod generate;
mod identity;
mod limits;
mod log;
mod open;
mod panics;
mod reach;
mod register;
mod registration;
mod resolve;
mod run;
mod running;
mod serve;
mod server;
#[cfg(test)]
mod tests;
mod upstreams;
mod views;
mod wait;

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use self::args::{Command, LowArgs};
use self::config::HiArgs;
use crate::watch::{self, FileState, Survey};

/// Runs what the command line of this process asks for.
#[must_use]
pub fn run() -> ExitCode {
    // Mistakes in the arguments end here, with code 2.
    let low = LowArgs::parse();
    let hi = match HiArgs::from_low(&low) {
        Ok(hi) => hi,
        Err(error) => return complain(&error.to_string(), USAGE),
    };
    let ended = match low.command {
        Command::Serve(_) => serve::run(hi),
        Command::Check(check) => check::run(&hi, &check),
        Command::Resolve(resolve) => resolve::run(&hi, &resolve),
        Command::Register(register) => register::register(&hi, &register),
        Command::Deregister(registered) => register::deregister(&hi, &registered),
        Command::Drain(registered) => register::drain(&hi, &registered),
        Command::Run(run) => Ok(run::run(&hi, &run)),
        Command::Wait(wait) => wait::run(&hi, &wait),
        Command::Env(env) => env::run(&hi, &env),
        Command::Diff(diff) => Ok(diff::run(&hi, &diff)),
        Command::Export(export) => export::run(&hi, &export),
        Command::Generate(generate) => generate::run(&generate),
    };
    ended.unwrap_or_else(|error| complain(&error.to_string(), FAILURE))
}

/// Reads the directory once, as it stands; `command` is what to type after `spacedns` to name another.
fn survey(args: &HiArgs, command: &str) -> Result<Survey, Box<dyn Error>> {
    watch::survey(&args.dir, args.tombstone, clock::start()()).map_err(|error| {
        let dir = args.dir.display();
        format!("{dir}: the spec directory cannot be read: {error}; name another: spacedns {command}").into()
    })
}

/// Says on standard error that there is more in the directory than is used.
fn tell_faults(args: &HiArgs, survey: &Survey) {
    let files = survey.reports.values().filter(|report| report.state != FileState::Ok).count();
    let between = survey.registry.faults().len();
    if files + between > 0 {
        let dir = args.dir.display();
        let why = format!(
            "{dir}: there are faults ({}, {} between files), and what they are about is not used; see: spacedns check {dir}",
            count(files, "file"),
            count(between, "fault"),
        );
        let _ = writeln!(std::io::stderr(), "spacedns: {}", log::Escaped(&why));
    }
}

/// So many of something, in words.
fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Says on standard error why there is no more to come.
fn complain(why: &str, code: u8) -> ExitCode {
    // With nowhere to say it, the exit code alone must do.
    let _ = writeln!(std::io::stderr(), "spacedns: {}", log::Escaped(why));
    ExitCode::from(code)
}

/// It did not work, or something is at fault.
const FAILURE: u8 = 1;

/// It was asked for in a wrong way.
const USAGE: u8 = 2;

/// What was waited for did not come in time.
const TIMED_OUT: u8 = 3;
