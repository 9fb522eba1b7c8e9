//! `spacedns check`: every fault and every warning of a directory, for a person or for a program.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::args::Check;
use super::config::HiArgs;
use super::log::Escaped;
use super::{FAILURE, count, views};
use crate::registry::FileFault;
use crate::spec::Fault;
use crate::watch::{FileReport, FileState, Survey};

/// Checks the directory once.
///
/// # Errors
///
/// The directory cannot be read, or the result cannot be written.
pub(crate) fn run(args: &HiArgs, check: &Check) -> Result<ExitCode, Box<dyn Error>> {
    let survey = super::survey(args, "check DIR")?;
    let findings = Findings::of(&survey);
    let mut out = BufWriter::new(io::stdout().lock());
    if check.json {
        serde_json::to_writer_pretty(&mut out, &Output::of(&args.dir, &findings))?;
        writeln!(out)?;
    } else {
        let style = if io::stdout().is_terminal() { &COLORS } else { &PLAIN };
        findings.write(&mut out, &args.dir, style)?;
    }
    out.flush()?;
    Ok(if findings.faults() == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) })
}

/// What there is to say of a directory: of each file alone, and of the files together.
struct Findings {
    files: BTreeMap<Arc<str>, FileReport>,
    apps: usize,
}

impl Findings {
    fn of(survey: &Survey) -> Self {
        let mut files = survey.reports.clone();
        for FileFault { file, fault } in survey.registry.faults() {
            report_of(&mut files, file).faults.push(fault);
        }
        for FileFault { file, fault } in survey.registry.warnings().into_iter().chain(views::warnings(&survey.registry))
        {
            report_of(&mut files, file).warnings.push(fault);
        }
        for report in files.values_mut() {
            report.faults.sort();
            report.warnings.sort();
        }
        Self { files, apps: survey.snapshot().apps.iter().count() }
    }

    fn faults(&self) -> usize {
        self.files.values().map(|report| report.faults.len()).sum()
    }

    fn warnings(&self) -> usize {
        self.files.values().map(|report| report.warnings.len()).sum()
    }

    fn write(&self, out: &mut impl Write, dir: &Path, style: &Style) -> io::Result<()> {
        let lines = |of: fn(&FileReport) -> &Vec<Fault>| {
            self.files.iter().flat_map(move |(file, report)| of(report).iter().map(move |fault| (file, fault)))
        };
        for (file, fault) in lines(|report| &report.faults) {
            write_line(out, dir, file, fault, style.fault, style)?;
        }
        if self.warnings() > 0 {
            let gap = if self.faults() > 0 { "\n" } else { "" };
            writeln!(out, "{gap}{}Warnings{}", style.warning, style.end)?;
        }
        for (file, warning) in lines(|report| &report.warnings) {
            write_line(out, dir, file, warning, style.warning, style)?;
        }
        if self.faults() + self.warnings() > 0 {
            writeln!(out)?;
        }
        writeln!(
            out,
            "{}: {}, {}: {}, {}",
            Escaped(&dir.to_string_lossy()),
            count(self.files.len(), "file"),
            count(self.apps, "app"),
            count(self.faults(), "fault"),
            count(self.warnings(), "warning"),
        )
    }
}

/// The report that a finding of the registry belongs to.
fn report_of(files: &mut BTreeMap<Arc<str>, FileReport>, file: Arc<str>) -> &mut FileReport {
    let nothing = || FileReport { state: FileState::Ok, faults: Vec::new(), warnings: Vec::new() };
    files.entry(file).or_insert_with(nothing)
}

/// Writes `file:line:column: field: fault; remedy`, with the file as it can be opened from here.
fn write_line(
    out: &mut impl Write,
    dir: &Path,
    file: &str,
    fault: &Fault,
    color: &str,
    style: &Style,
) -> io::Result<()> {
    let path = dir.join(file);
    let Fault { place, field, fault, remedy } = fault;
    write!(out, "{}{}:{place}:{} ", style.path, Escaped(&path.to_string_lossy()), style.end)?;
    if !field.is_empty() {
        write!(out, "{}: ", Escaped(field))?;
    }
    writeln!(out, "{color}{}{}; {}", Escaped(fault), style.end, Escaped(remedy))
}

/// What is written around parts of a line.
struct Style {
    path: &'static str,
    fault: &'static str,
    warning: &'static str,
    end: &'static str,
}

const PLAIN: Style = Style { path: "", fault: "", warning: "", end: "" };

const COLORS: Style = Style { path: "\u{1b}[1m", fault: "\u{1b}[31m", warning: "\u{1b}[33m", end: "\u{1b}[0m" };

/// The JSON document of `--json`.
#[derive(Serialize)]
struct Output<'f> {
    directory: String,
    files: Vec<OutputFile<'f>>,
    apps: usize,
    faults: usize,
    warnings: usize,
}

#[derive(Serialize)]
struct OutputFile<'f> {
    file: &'f str,
    state: &'static str,
    faults: Vec<OutputFault<'f>>,
    warnings: Vec<OutputFault<'f>>,
}

#[derive(Serialize)]
struct OutputFault<'f> {
    line: u32,
    column: u32,
    field: &'f str,
    fault: &'f str,
    remedy: &'f str,
}

impl<'f> Output<'f> {
    fn of(dir: &Path, findings: &'f Findings) -> Self {
        let files = findings.files.iter().map(|(file, report)| OutputFile {
            file,
            state: report.state.word(),
            faults: report.faults.iter().map(OutputFault::of).collect(),
            warnings: report.warnings.iter().map(OutputFault::of).collect(),
        });
        Self {
            directory: dir.to_string_lossy().into_owned(),
            files: files.collect(),
            apps: findings.apps,
            faults: findings.faults(),
            warnings: findings.warnings(),
        }
    }
}

impl<'f> OutputFault<'f> {
    fn of(fault: &'f Fault) -> Self {
        let Fault { place, field, fault, remedy } = fault;
        Self { line: place.line, column: place.column, field, fault, remedy }
    }
}
