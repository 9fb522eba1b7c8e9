//! `spacedns diff`: what callers would get of one spec directory and not of another, record by record and view by view.
//!
//! A view of a space without a LAN comes first, then for each app only what its LAN is shown besides. Serials are left out:
//! they tell when a directory was read. As diff(1) has it, the exit code is 0 for no difference, 1 for some, and 2 for trouble.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::config::HiArgs;
use super::{USAGE, complain, count, tell_faults};
use crate::name::Name;
use crate::record::{Rrset, Rtype};
use crate::zone::{Lan, Snapshot, View};

/// What to compare.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The spec directory as it was
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The spec directory as it is to be
    #[arg(value_name = "NEW")]
    new: PathBuf,
}

/// Compares two directories.
pub(crate) fn run(args: &HiArgs, diff: &Diff) -> ExitCode {
    match compare(args, diff) {
        Ok(code) => code,
        Err(error) => complain(&error.to_string(), USAGE),
    }
}

fn compare(args: &HiArgs, diff: &Diff) -> Result<ExitCode, Box<dyn Error>> {
    let views = |dir: &PathBuf| {
        let args = HiArgs { dir: dir.clone(), ..args.clone() };
        let survey = super::survey(&args, "diff OLD NEW")?;
        tell_faults(&args, &survey);
        Ok::<_, Box<dyn Error>>(views(Snapshot { serial: 0, ..survey.snapshot() }))
    };
    let (old, new) = (views(&diff.old)?, views(&diff.new)?);
    let mut out = BufWriter::new(io::stdout().lock());
    let counts = write(&mut out, &old, &new)?;
    out.flush()?;
    Ok(if counts == Counts::default() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

/// There are differences.
const DIFFERENT: u8 = 1;

/// Who is shown something, by the names of space and app.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Viewer {
    space: String,
    /// On the LAN of this app.
    app: Option<String>,
}

impl fmt::Display for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.app {
            None => write!(f, "callers of the space {}:", self.space),
            Some(app) => write!(f, "besides, callers on the LAN of {app} in the space {}:", self.space),
        }
    }
}

type Records = BTreeMap<(Name, Rtype), Rrset>;

/// What everybody is shown.
fn views(snapshot: Snapshot) -> BTreeMap<Viewer, Records> {
    let mut views = BTreeMap::new();
    for (space, id) in snapshot.spaces.iter().zip(0..).filter_map(|(space, id)| Some((space.as_deref()?, id))) {
        let everybody = View { space: id, lan: Lan::None };
        let name = space.name.to_string();
        let names = snapshot.names_shown(everybody);
        views.insert(Viewer { space: name.clone(), app: None }, records(&snapshot, everybody, names));
        for (app, state) in snapshot.apps.iter().filter(|(_, app)| app.space == id) {
            let view = View { space: id, lan: Lan::App(app) };
            let known = snapshot.names_of_app(everybody, app);
            let besides = snapshot.names_of_app(view, app).into_iter().filter(|name| !known.contains(name));
            let viewer = Viewer { space: name.clone(), app: Some(state.label.to_string()) };
            views.insert(viewer, records(&snapshot, view, besides));
        }
    }
    views
}

fn records(snapshot: &Snapshot, view: View, names: impl IntoIterator<Item = Name>) -> Records {
    let sets = names.into_iter().flat_map(|name| snapshot.rrsets_at(view, &name));
    sets.map(|set| ((set.owner.clone(), set.rtype), set)).collect()
}

/// How many sets of records differ, and how.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    gained: usize,
    lost: usize,
    changed: usize,
}

fn write(out: &mut impl Write, old: &BTreeMap<Viewer, Records>, new: &BTreeMap<Viewer, Records>) -> io::Result<Counts> {
    let none = Records::new();
    let mut counts = Counts::default();
    for viewer in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let (old, new) = (old.get(viewer).unwrap_or(&none), new.get(viewer).unwrap_or(&none));
        let mut heading = Some(viewer);
        for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let (before, after) = (lines(old.get(key)), lines(new.get(key)));
            if before == after {
                continue;
            }
            match (before.is_empty(), after.is_empty()) {
                (true, _) => counts.gained += 1,
                (_, true) => counts.lost += 1,
                _ => counts.changed += 1,
            }
            if let Some(viewer) = heading.take() {
                writeln!(out, "{viewer}")?;
            }
            for line in before.difference(&after) {
                writeln!(out, "- {line}")?;
            }
            for line in after.difference(&before) {
                writeln!(out, "+ {line}")?;
            }
        }
    }
    let Counts { gained, lost, changed } = counts;
    if counts != Counts::default() {
        writeln!(
            out,
            "{}: {gained} gained, {lost} lost, {changed} changed",
            count(gained + lost + changed, "record set")
        )?;
    }
    Ok(counts)
}

fn lines(set: Option<&Rrset>) -> BTreeSet<String> {
    set.map(ToString::to_string).unwrap_or_default().lines().map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{read, shop};
    use super::*;

    fn diff(more: &[(&str, &str)]) -> (String, Counts) {
        let of = |snapshot: Snapshot| views(Snapshot { serial: 0, ..snapshot });
        let mut out = Vec::new();
        let counts = write(&mut out, &of(shop().snapshot()), &of(read(more).snapshot())).unwrap();
        (String::from_utf8(out).unwrap(), counts)
    }

    #[test]
    fn equal_directories_differ_in_nothing() {
        assert_eq!(diff(&[]), (String::new(), Counts::default()));
    }

    #[test]
    fn what_is_gained_lost_and_changed_is_told_by_view() {
        let secret = "name: secret\nservices: [{name: api}]\n---\napp: secret\ninstances: [{component: api, number: 1, address: 10.0.3.2}]\n";
        let blog = "app: blog\ninternal_routing: true\nformation: {web: {quantity: 2}}\n\
                    instances: [{component: web, number: 1, address: 10.0.4.1}]\n";
        let (text, counts) = diff(&[("secret.yaml", secret), ("blog.yaml", blog)]);
        assert!(text.starts_with("callers of the space acme:\n"), "{text}");
        assert!(text.contains("\n+ blog.herokuapp.com. 5 IN A 10.0.0.10\n"), "{text}");
        let (_, lan) = text.split_once("besides, callers on the LAN of secret in the space acme:\n").unwrap();
        assert!(lan.contains("- api. 5 IN A 10.0.3.1\n+ api. 5 IN A 10.0.3.2\n"), "{text}");
        assert!(counts.gained > 2 && counts.changed > 1, "{counts:?}");
        assert!(text.ends_with("changed\n"), "{text}");
    }
}
