//! `spacedns env`: the environment variables that an instance of Heroku's or DigitalOcean's would have.
//!
//! Heroku's names are whole suffixes, which programs put a number or a process type before; DigitalOcean's are of services
//! only, the one kind that can be reached by a bare name.

use std::error::Error;
use std::io::{self, Write};
use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;

use super::args::InDirectory;
use super::config::HiArgs;
use super::registration::{InstanceArgs, Meant, UnderArgs};
use super::{FAILURE, complain};
use crate::name::Label;
use crate::registry::Registry;

/// Whose environment.
#[derive(Debug, Args)]
pub(crate) struct Env {
    #[command(flatten)]
    instance: InstanceArgs,
    #[command(flatten)]
    pub(super) directory: InDirectory,
    #[command(flatten)]
    under: UnderArgs,
}

/// Prints them, a line each, as a shell and `docker --env-file` read them.
///
/// # Errors
///
/// The directory cannot be read, or the result cannot be written.
pub(crate) fn run(args: &HiArgs, env: &Env) -> Result<ExitCode, Box<dyn Error>> {
    let meant = match Meant::of(&env.instance) {
        Ok(meant) => meant,
        Err(faults) => return Ok(faults.tell()),
    };
    let file = meant.file(&env.under);
    let survey = super::survey(args, "env APP COMPONENT NUMBER -C DIR")?;
    let registry = &survey.registry;
    if let Some(space) = registry.space_at(&file)
        && registry.app_named(space, &meant.app).is_none()
    {
        let (dir, app) = (args.dir.display(), &meant.app);
        let why = format!(
            "{dir}: there is no app {app} here; declare or register it first, or name another directory with -C DIR, or that of \
             its space with --under"
        );
        super::tell_faults(args, &survey);
        return Ok(complain(&why, FAILURE));
    }
    let Some(variables) = variables(registry, &file, &meant, None) else {
        let why = format!("{file} would be in no space; name the directory of its space with --under");
        return Ok(complain(&why, FAILURE));
    };
    let mut out = io::stdout().lock();
    for (name, value) in &variables {
        writeln!(out, "{name}={value}")?;
    }
    if !variables.iter().any(|(name, _)| *name == PRIVATE_IP) {
        let Meant { app, instance } = &meant;
        let why =
            format!("{app} {}.{} is not registered, so {PRIVATE_IP} is not known", instance.component, instance.number);
        complain(&why, FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The variables of an instance whose registration is in `file`; at `address`, or where it is registered. `None` where no space is.
///
/// No value has anything in it that a shell would read in another way: they are made of labels, addresses and ports.
pub(crate) fn variables(
    registry: &Registry,
    file: &str,
    meant: &Meant,
    address: Option<IpAddr>,
) -> Option<Vec<(&'static str, String)>> {
    let space = registry.space_at(file)?;
    let discovery = registry.space(space)?.spec.discovery_domains.first()?.value.to_string();
    let discovery = discovery.trim_end_matches('.');
    let (app, component, number) = (&meant.app, &meant.instance.component, meant.instance.number);
    let known = registry.app_named(space, app).and_then(|id| registry.app(id));
    let known = known.as_ref().and_then(|app| app.components.get(component));
    let instance = known.and_then(|known| known.instances.get(&number));
    let registered = instance.map(|instance| instance.addresses.as_slice()).unwrap_or_default();
    let first = || registered.iter().find(|address| address.is_ipv4()).or_else(|| registered.first()).copied();
    let mut variables = vec![
        ("HEROKU_DNS_APP_NAME", format!("{app}.{discovery}")),
        ("HEROKU_DNS_FORMATION_NAME", format!("{component}.{app}.{discovery}")),
        ("HEROKU_DNS_DYNO_NAME", format!("{number}.{component}.{app}.{discovery}")),
    ];
    variables.extend(address.or_else(first).map(|address| (PRIVATE_IP, address.to_string())));
    if let Some(service) = known.filter(|known| known.has_bare_name) {
        variables.push(("PRIVATE_DOMAIN", component.to_string()));
        let http = |(name, port): &(Label, u16)| (name.octets() == b"http").then_some(*port);
        let own = instance.into_iter().flat_map(|instance| &instance.ports).find_map(http);
        if let Some(port) = own.or(service.http_port).or_else(|| service.internal_ports.first().copied()) {
            variables.push(("PRIVATE_URL", format!("http://{component}:{port}")));
            variables.push(("PRIVATE_PORT", port.to_string()));
        }
    }
    Some(variables)
}

const PRIVATE_IP: &str = "HEROKU_PRIVATE_IP";

#[cfg(test)]
mod tests {
    use super::super::tests::shop;
    use super::*;

    fn shown(component: &str, number: u32) -> String {
        let instance = InstanceArgs { app: "shop".to_owned(), component: component.to_owned(), number };
        let meant = Meant::of(&instance).unwrap();
        let file = meant.file(&UnderArgs::default());
        let variables = variables(&shop().registry, &file, &meant, None).unwrap();
        variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    #[test]
    fn a_service_has_the_names_of_both_vendors() {
        assert_eq!(
            shown("web", 1),
            "HEROKU_DNS_APP_NAME=shop.app.localspace\n\
             HEROKU_DNS_FORMATION_NAME=web.shop.app.localspace\n\
             HEROKU_DNS_DYNO_NAME=1.web.shop.app.localspace\n\
             HEROKU_PRIVATE_IP=10.0.1.1\n\
             PRIVATE_DOMAIN=web\n\
             PRIVATE_URL=http://web:8080\n\
             PRIVATE_PORT=8080\n"
        );
    }

    #[test]
    fn what_is_no_service_and_not_registered_has_only_its_names() {
        assert_eq!(
            shown("Some_Job", 7),
            "HEROKU_DNS_APP_NAME=shop.app.localspace\n\
             HEROKU_DNS_FORMATION_NAME=some-job.shop.app.localspace\n\
             HEROKU_DNS_DYNO_NAME=7.some-job.shop.app.localspace\n"
        );
    }
}
