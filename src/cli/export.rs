//! `spacedns export`: one of our zones as a zone file (RFC 1035 §5) that other name servers load.
//!
//! A zone file holds records. What we serve is more than that: a name that is there without a record, and an answer that depends on
//! who asks. So a file is one view's, and what it cannot hold stands in it as comments, each with its reason.
//! Made of [`Snapshot::names_shown`] and [`Snapshot::rrsets_at`], which are made of the answers.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;

use super::args::Directory;
use super::config::HiArgs;
use crate::name::{Name, NameBuffer};
use crate::record::{Rrset, Rtype};
use crate::zone::{App, Audience, Found, Host, Lan, Node, Snapshot, Space, View, Why, Zone};

/// What to export.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The zone: a discovery domain, an exclusive app domain, a reverse zone, or one app hostname
    #[arg(value_name = "ZONE")]
    zone: Name,
    #[command(flatten)]
    pub(super) directory: Directory,
    /// Export it as callers at this address see it [default: as callers on no app's LAN]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "space")]
    from: Option<IpAddr>,
    /// Export the zone of this space, where several have it
    #[arg(long, value_name = "SPACE")]
    space: Option<String>,
}

/// Why a zone cannot be exported.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ExportError {
    /// It is no zone of ours, or not in that view.
    #[error("{zone} is no zone of ours; {zones}")]
    NoZone {
        /// The zone.
        zone: Name,
        /// What zones there are.
        zones: String,
    },
    /// Several spaces have it.
    #[error("{zone} is a zone of the spaces {spaces}; choose one with --space or --from")]
    SeveralSpaces {
        /// The zone.
        zone: Name,
        /// The spaces' names.
        spaces: String,
    },
    /// There is no such space.
    #[error("there is no space {space}; there are {spaces}")]
    NoSpace {
        /// The space's name.
        space: String,
        /// The names of those there are.
        spaces: String,
    },
    /// Nothing is shown to a caller.
    #[error("{caller} is in no space and no peer of any, so it is shown no zone; name a caller that is, or a --space")]
    NoView {
        /// The caller.
        caller: IpAddr,
    },
}

/// Writes the zone file to standard output.
///
/// # Errors
///
/// The directory cannot be read, there is no such zone, it is not clear which space's is meant, or the file cannot be written.
pub(crate) fn run(args: &HiArgs, export: &Export) -> Result<ExitCode, Box<dyn Error>> {
    let survey = super::survey(args, "export ZONE DIR")?;
    super::tell_faults(args, &survey);
    let text = zone_file(&survey.snapshot(), export)?;
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn zone_file(snapshot: &Snapshot, args: &Export) -> Result<String, ExportError> {
    let view = choose(snapshot, args)?;
    let space = snapshot.space(view.space).filter(|_| is_zone(snapshot, view, &args.zone));
    let Some(space) = space else { return Err(no_zone(snapshot, &args.zone)) };
    Ok(ZoneFile { snapshot, view, space, zone: &args.zone }.to_string())
}

/// The view whose zone is meant.
fn choose(snapshot: &Snapshot, args: &Export) -> Result<View, ExportError> {
    if let Some(caller) = args.from {
        return snapshot.view(caller).ok_or(ExportError::NoView { caller });
    }
    let spaces = snapshot.spaces.iter().zip(0..).filter_map(|(found, space)| Some((found.as_deref()?, space)));
    let views = spaces.map(|(found, space)| (found, View { space, lan: Lan::None }));
    if let Some(space) = &args.space {
        let named = views.clone().find(|(found, _)| *found.name == **space);
        return named.map(|(_, view)| view).ok_or_else(|| ExportError::NoSpace {
            space: space.clone(),
            spaces: list(views.map(|(found, _)| &*found.name)),
        });
    }
    let with_zone: Vec<(&Space, View)> = views.filter(|(_, view)| is_zone(snapshot, *view, &args.zone)).collect();
    match with_zone.as_slice() {
        [(_, view)] => Ok(*view),
        [] => Err(no_zone(snapshot, &args.zone)),
        several => Err(ExportError::SeveralSpaces {
            zone: args.zone.clone(),
            spaces: list(several.iter().map(|(found, _)| &*found.name)),
        }),
    }
}

fn is_zone(snapshot: &Snapshot, view: View, name: &Name) -> bool {
    match snapshot.find(view, &NameBuffer::from(name)) {
        Found::Owned(owned) if owned.apex == 0 => {
            matches!(owned.node, Node::Apex | Node::Host(Host { zone: Zone::Apex, .. }))
        }
        Found::Owned(_) | Found::Foreign => false,
    }
}

fn no_zone(snapshot: &Snapshot, zone: &Name) -> ExportError {
    let spaces = || snapshot.spaces.iter().flatten();
    let names = |zones: BTreeSet<&Name>| {
        let shown = list(zones.iter().take(LISTED_MAX).map(|zone| zone.to_string()));
        let more = zones.len().saturating_sub(LISTED_MAX);
        if more == 0 { shown } else { format!("{shown} and {more} more") }
    };
    let exclusive = names(spaces().flat_map(|space| space.apexes.iter().map(|apex| &apex.name)).collect());
    let reverse = names(spaces().flat_map(|space| &space.reverse).collect());
    let zones = format!(
        "ours are {exclusive}, the reverse zones {reverse}, and each app hostname under a public suffix is a zone of its own"
    );
    ExportError::NoZone { zone: zone.clone(), zones }
}

fn list<T: AsRef<str>>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.as_ref().to_owned()).collect::<Vec<_>>().join(", ")
}

/// A zone in a view.
struct ZoneFile<'s> {
    snapshot: &'s Snapshot,
    view: View,
    space: &'s Space,
    zone: &'s Name,
}

impl fmt::Display for ZoneFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names();
        self.write_head(f, &names)?;
        let (origin, ttl) = (self.zone, self.space.ttl.seconds());
        write!(f, "$ORIGIN {origin}\n$TTL {ttl}\n")?;
        // The SOA comes first (RFC 1035 §5.2), then who serves the zone.
        let (heads, rest): (Vec<Rrset>, Vec<Rrset>) = self
            .snapshot
            .rrsets_at(self.view, self.zone)
            .into_iter()
            .partition(|set| matches!(set.rtype, Rtype::SOA | Rtype::NS));
        for set in heads.iter().rev().chain(&rest) {
            write!(f, "{set}")?;
        }
        if rest.is_empty() {
            self.write_reason(f, self.zone)?;
        }
        for name in names.iter().filter(|name| *name != self.zone) {
            let sets = self.snapshot.rrsets_at(self.view, name);
            for set in &sets {
                write!(f, "{set}")?;
            }
            if sets.is_empty() {
                self.write_reason(f, name)?;
            }
        }
        Ok(())
    }
}

impl ZoneFile<'_> {
    /// Every name in the zone, in canonical order (RFC 4034 §6.1). A name in a zone of ours below this one is not in this one.
    fn names(&self) -> Vec<Name> {
        let mut names: Vec<Name> = self
            .snapshot
            .names_shown(self.view)
            .into_iter()
            .filter(|name| name.is_within(self.zone) && self.is_in_zone(name))
            .collect();
        names.sort_by_cached_key(|name| {
            name.labels().map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>()
        });
        names
    }

    fn is_in_zone(&self, name: &Name) -> bool {
        let buffer = NameBuffer::from(name);
        match self.snapshot.find(self.view, &buffer) {
            Found::Owned(owned) => buffer.suffix(owned.apex) == self.zone.wire(),
            Found::Foreign => false,
        }
    }

    fn write_head(&self, f: &mut fmt::Formatter<'_>, names: &[Name]) -> fmt::Result {
        let (zone, space) = (self.zone, &self.space.name);
        let callers = match self.view.lan {
            Lan::App(app) => {
                let label = self.snapshot.apps.at(app).map(|app| app.label.to_string()).unwrap_or_default();
                format!("callers on the LAN of {label}")
            }
            Lan::None | Lan::Ambiguous => "callers on no app's LAN".to_owned(),
        };
        writeln!(f, "; {zone} of the space {space}, as {callers} see it.")?;
        f.write_str(
            "; A name that is there without a record is NODATA where this was exported, and cannot be in a zone file:\n\
             ; it stands here as a comment, with its reason, and is NXDOMAIN wherever this file is loaded.\n",
        )?;
        if self.space.reverse.contains(zone) {
            f.write_str("; So is every part of an address below which nothing is registered.\n")?;
        }
        if names.iter().any(|name| name.labels().next() == Some(b"*")) {
            f.write_str(
                "; A wildcard matches no label with a leading underscore where this was exported, and does here.\n",
            )?;
        }
        let hidden: Vec<String> = self.hidden().map(|app| app.label.to_string()).collect();
        if !hidden.is_empty() {
            writeln!(f, "; Left out, because only callers on their own LAN see them: {}.", hidden.join(", "))?;
        }
        let inner = |name: &&Name| *name != zone && name.is_within(zone);
        for apex in self.space.apexes.iter().map(|apex| &apex.name).filter(inner) {
            writeln!(f, "; {apex} is a zone of its own, to be exported by itself.")?;
        }
        Ok(())
    }

    /// The apps whose names would be in this zone and are not shown.
    fn hidden(&self) -> impl Iterator<Item = &App> {
        let has_them = self.space.discovery.contains(self.zone) || self.space.reverse.contains(self.zone);
        let View { space, lan } = self.view;
        self.snapshot
            .apps
            .iter()
            .filter(move |(id, app)| {
                has_them && app.space == space && app.audience == Audience::Lan && lan != Lan::App(*id)
            })
            .map(|(_, app)| app)
    }

    /// Says why a name has no record.
    fn write_reason(&self, f: &mut fmt::Formatter<'_>, name: &Name) -> fmt::Result {
        let Found::Owned(owned) = self.snapshot.find(self.view, &NameBuffer::from(name)) else { return Ok(()) };
        let why = match owned.node {
            Node::Host(host) => host.why,
            Node::Srv(set) if set.component.closed.is_empty() => Why::Text("no instance that is up listens there"),
            Node::Srv(set) => Why::Text(&set.component.closed),
            Node::Missing(_)
            | Node::EmptyNonTerminal
            | Node::Apex
            | Node::Pointer(_)
            | Node::Localhost
            | Node::LocalhostPointer(_) => return Ok(()),
        };
        writeln!(f, "; {name} has no record: {why}")
    }
}

/// The most zones of a kind that an error lists.
const LISTED_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::tests::{read, shop};
    use super::*;

    fn args(zone: &str) -> Export {
        Export { zone: zone.parse().unwrap(), directory: Directory { dir: None }, from: None, space: None }
    }

    fn from(zone: &str, caller: &str) -> Export {
        Export { from: Some(caller.parse().unwrap()), ..args(zone) }
    }

    fn with_name_server() -> Snapshot {
        let space = "space: acme\ncidr: 10.0.0.0/16\nrouter: 10.0.0.10\nns: [{name: ns1.app.localspace, addresses: [10.0.0.53]}]\n\
                     app_domains: [herokuapp.com, {name: own.internal, own: exclusive}]\n";
        read(&[("space.yaml", space)]).snapshot()
    }

    #[test]
    fn a_discovery_domain_has_its_records_and_its_reasons() {
        let text = zone_file(&shop().snapshot(), &args("app.localspace")).unwrap();
        let body: Vec<&str> = text.lines().skip_while(|line| !line.starts_with('$')).collect();
        assert_eq!(
            body,
            [
                "$ORIGIN app.localspace.",
                "$TTL 5",
                "app.localspace. 2 IN SOA localhost. nobody.invalid. 1795192782 3600 600 86400 2",
                "app.localspace. 5 IN NS localhost.",
                "; web.blog.app.localspace. has no record: blog: 0 of 2 web instances up",
                "; 1.web.blog.app.localspace. has no record: blog: web.1 is not registered",
                "; 2.web.blog.app.localspace. has no record: blog: web.2 is not registered",
                "web.shop.app.localspace. 5 IN A 10.0.1.1",
                "1.web.shop.app.localspace. 5 IN A 10.0.1.1",
                "; 2.web.shop.app.localspace. has no record: shop: web.2 is not registered",
                "_8080._tcp.web.shop.app.localspace. 5 IN SRV 0 1 8080 1.web.shop.app.localspace.",
                "_http._tcp.web.shop.app.localspace. 5 IN SRV 0 1 8080 1.web.shop.app.localspace.",
                "; worker.shop.app.localspace. has no record: shop: no worker instance is registered",
            ]
        );
        assert!(text.contains("; Left out, because only callers on their own LAN see them: secret.\n"));
    }

    #[test]
    fn a_view_from_a_lan_has_that_apps_names() {
        let snapshot = shop().snapshot();
        let text = zone_file(&snapshot, &from("app.localspace", "10.0.3.1")).unwrap();
        assert!(text.contains("api.secret.app.localspace. 5 IN A 10.0.3.1\n"));
        assert!(!text.contains("Left out"));
    }

    #[test]
    fn a_hostname_is_a_zone_with_its_addresses_behind_soa_and_ns() {
        let text = zone_file(&shop().snapshot(), &args("shop.herokuapp.com")).unwrap();
        assert!(text.ends_with(
            "shop.herokuapp.com. 2 IN SOA localhost. nobody.invalid. 1795192782 3600 600 86400 2\n\
             shop.herokuapp.com. 5 IN NS localhost.\n\
             shop.herokuapp.com. 5 IN A 10.0.0.10\n"
        ));
        let closed = zone_file(&shop().snapshot(), &args("blog.herokuapp.com")).unwrap();
        assert!(closed.ends_with("\n; blog.herokuapp.com. has no record: blog: 0 of 2 web instances up\n"), "{closed}");
    }

    #[test]
    fn a_name_server_inside_a_zone_brings_its_addresses() {
        let snapshot = with_name_server();
        let text = zone_file(&snapshot, &args("app.localspace")).unwrap();
        assert!(text.contains("\napp.localspace. 5 IN NS ns1.app.localspace.\n"), "{text}");
        assert!(text.contains("\nns1.app.localspace. 5 IN A 10.0.0.53\n"), "{text}");
        let outside = zone_file(&snapshot, &args("own.internal")).unwrap();
        assert!(!outside.contains("10.0.0.53"));
    }

    #[test]
    fn what_is_no_zone_is_refused_with_those_that_are() {
        let snapshot = shop().snapshot();
        for zone in ["example.org", "web.shop.app.localspace", "api.example.com", "localspace", "herokuapp.com"] {
            let error = zone_file(&snapshot, &args(zone)).unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "{zone}. is no zone of ours; ours are app.localspace., own.internal., the reverse zones 0.10.in-addr.arpa., and \
                     each app hostname under a public suffix is a zone of its own"
                )
            );
        }
        let stranger = zone_file(&snapshot, &from("app.localspace", "8.8.8.8")).unwrap_err();
        assert_eq!(stranger, ExportError::NoView { caller: "8.8.8.8".parse().unwrap() });
    }

    #[test]
    fn a_zone_of_two_spaces_must_be_chosen() {
        let second = "space: zeta\ncidr: 10.9.0.0/16\n";
        let snapshot = read(&[("zeta/space.yaml", second)]).snapshot();
        let error = zone_file(&snapshot, &args("app.localspace")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "app.localspace. is a zone of the spaces acme, zeta; choose one with --space or --from"
        );
        let of =
            |space: &str| zone_file(&snapshot, &Export { space: Some(space.to_owned()), ..args("app.localspace") });
        assert!(of("acme").unwrap().contains("web.shop"));
        assert!(!of("zeta").unwrap().contains("web.shop"));
        assert_eq!(of("omega").unwrap_err().to_string(), "there is no space omega; there are acme, zeta");
        assert!(zone_file(&snapshot, &from("app.localspace", "10.9.0.1")).unwrap().contains("of the space zeta"));
    }

    #[test]
    fn every_zone_loads_in_the_checkers_that_are_installed() {
        let snapshot = with_name_server();
        let directory = tempfile::tempdir().unwrap();
        let zones =
            ["app.localspace", "own.internal", "0.10.in-addr.arpa", "shop.herokuapp.com", "willow.herokudns.com"];
        for (program, options) in
            [("named-checkzone", &["-i", "local"][..]), ("nsd-checkzone", &[]), ("kzonecheck", &["-o"])]
        {
            let mut ran = 0;
            for zone in zones {
                let file = directory.path().join(zone);
                std::fs::write(&file, zone_file(&snapshot, &args(zone)).unwrap()).unwrap();
                let search = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/bin";
                let output = Command::new(program).env("PATH", search).args(options).arg(zone).arg(&file).output();
                let Ok(output) = output else { continue };
                ran += 1;
                let said = [output.stdout, output.stderr].concat();
                assert!(output.status.success(), "{program} {zone}: {}", String::from_utf8_lossy(&said));
            }
            if ran == 0 {
                eprintln!("{program} is not installed: not run");
            }
        }
    }
}
