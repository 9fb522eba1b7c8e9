//! `spacedns serve`: configuration → sockets, taken over or bound → fewer rights → threads (design §5); then until the end.

use std::error::Error;
use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::config::{Admin, HiArgs};
use super::resolve::explain_running;
use super::running::{End, Estate, Events};
use super::{clock, identity, log, open, panics, reach, upstreams};
use crate::life::notify::{self, News};
use crate::life::rights::{self, Line};
use crate::life::takeover::{self, Giver, Taken};
use crate::life::user::User;
use crate::observe::{Counters, FileGauges, QueryLog};
use crate::publish::{Publisher, Subscriber};
use crate::serve::Inherited;
use crate::serve::admin::{self, Listeners};
use crate::state::State;
use crate::zone::Snapshot;
use crate::{control, health, serve, watch};

/// Serves until a signal says stop, or until the next server has taken over.
///
/// # Errors
///
/// The directory is not there, an address cannot be had, a right cannot be given up, a thread cannot be started.
pub(crate) fn run(args: HiArgs) -> Result<ExitCode, Box<dyn Error>> {
    // Looked at before anything starts: a slip in its name is better said than served.
    let listed = look_at(&args.dir);
    if let (Err(error), None) = (&listed, &args.state_dir) {
        return Err(unread(error).into());
    }
    let root = std::path::absolute(&args.dir)?;
    open::refuse(&[&*args.listen, &args.tls_listen, &args.quic_listen].concat(), &args.trust_subnet_from)?;
    let user = args.user.as_ref().map(|name| name.find(&std::fs::read_to_string(PASSWD).unwrap_or_default()));
    let user = user.transpose()?;
    let credentials = args.certificate.as_ref().map(|files| serve::Credentials::load(&files.certificate, &files.key));
    let credentials = credentials.transpose()?;
    let secrets = identity::secrets(args.cookie_secret.as_deref())?;
    let Heritage { mut inherited, taken, keeper } = inherit(args.handover.as_deref())?;
    // Whoever has the sockets beside us answers, or keeps what is asked, until we can do better than to say that we begin.
    let is_heir = !inherited.is_empty();
    let sockets = serve::bind(&args.listen, args.workers, &mut inherited)?
        .with_tls(&args.tls_listen, &mut inherited)?
        .with_quic(&args.quic_listen, &mut inherited)?;
    let (mut listeners, without) = listen_admin(args.admin, &mut inherited)?;
    let estate = args.handover.as_deref().map(|path| estate(path, user, &sockets, &listeners)).transpose()?;
    let ours = [sockets.addresses(), sockets.tls_addresses(), sockets.quic_addresses()].concat();
    let forward = upstreams::config(&args.upstream, &args.allow_private, &args.upstream_ca, &ours)?;
    log::start(args.log, clock::monotonic());
    panics::log(clock::monotonic());
    if !inherited.is_empty() {
        warn!("sockets of {} were passed on, and are closed: no setting names them", list(&inherited.addresses()));
    }
    drop(inherited);
    if let Some(directory) = &args.state_dir {
        make_state_dir(directory, user);
    }
    for line in rights::restrict(user, args.sandbox, &reach::of(&args, &root))?.lines() {
        match line {
            Line::Info(text) => info!("{text}"),
            Line::Warning(text) => warn!("{text}"),
        }
    }
    // Again, as who we are now.
    let listed = look_at(&args.dir);
    if let (Err(error), None) = (&listed, &args.state_dir) {
        return Err(unread(error).into());
    }
    let verb = if is_heir { "taking over" } else { "answering on" };
    info!("{verb} {} over UDP and TCP", list(&sockets.addresses()));
    for (addresses, transport) in [(sockets.tls_addresses(), "TLS"), (sockets.quic_addresses(), "QUIC")] {
        if !addresses.is_empty() {
            info!("{verb} {} over {transport}", list(&addresses));
        }
    }
    let upstreams = forward.as_ref().map(|forward| Arc::clone(&forward.upstreams)).unwrap_or_default();
    for upstream in upstreams.all() {
        let (number, server, zone) = (upstream.number(), upstream.server(), upstream.zone());
        info!("upstream {number} is {server}, asked about foreign names below {zone}");
    }
    match (listeners.address(), without) {
        (Some(address), _) => info!("saying how things stand at http://{address}/"),
        (None, Some(why)) => warn!("no admin address: {why}"),
        (None, None) => {}
    }
    info!("reading {}", root.display());

    let (state, served) = args.state_dir.as_deref().map(State::open).unzip();
    let publisher = match (served.flatten(), listed) {
        (None, Err(error)) => return Err(unread(&format!("{error}, and there is no saved state to serve")).into()),
        (None, Ok(())) => Publisher::new(Snapshot::starting()),
        (Some(served), listed) => {
            let (apps, generation) = (served.apps.iter().count(), served.generation);
            info!(apps, generation, "ready: what was served before is served, until the directory is read");
            listed.unwrap_or_else(|error| warn!("{error}; what was served before stays until it can be"));
            Publisher::new(served)
        }
    };
    let subscriber = publisher.subscribe();
    let query_log = QueryLog::start(args.query_log, |line| info!(target: log::QUERIES, "{line}"))?.map(Arc::new);
    let config = serve::Config {
        query_log,
        trust_subnet_from: args.trust_subnet_from,
        limits: args.limits,
        credentials,
        settings: args.settings,
        secrets: Some(secrets),
        forward,
    };
    let dns = sockets.addresses().first().copied();
    // Before anything says that it is ready: a signal that nobody waits for would end the process. An heir has nothing to lose yet.
    let early = if is_heir { None } else { Some(Events::catch()?) };
    let (control, inbox) = control::channel()?;
    let gauges = Arc::new(FileGauges::default());
    let settings = watch::Settings { root, tombstone: args.tombstone, removal_hold: args.removal_hold };
    // Counts whether or not there is anything to count, so that no metric comes and goes.
    let checking = Arc::new(Counters::default());
    let checks = args.health_checks.map(|policy| (policy, control::checks::checklist()));
    let (readiness, changes) = checks.map(|(policy, (list, changes))| ((policy, list), changes)).unzip();
    if let Some(changes) = changes {
        // It ends with the list, which is the owner task's.
        let counters = Arc::clone(&checking);
        health::start(changes, control.clone(), Box::new(clock::monotonic()), clock::seed(), counters)?;
        info!("carrying out the readiness checks of app specs");
    }
    let ends = (control.clone(), inbox);
    let owner = watch::start(
        settings,
        publisher,
        ends,
        Arc::clone(&gauges),
        (clock::start(), Box::new(explain_running)),
        readiness,
        state,
    )?;
    if is_heir {
        wait_until_ready(&subscriber, &owner)?;
    }
    let events = early.map_or_else(Events::catch, Ok)?;
    let running = serve::start(sockets, config, subscriber.clone())?;
    let counters = running.counters().into_iter().chain([checking]);
    let metrics = serve::Metrics::new(counters, Arc::clone(&gauges), upstreams, &subscriber);
    if let Some(directory) = &args.state_dir {
        let path = directory.join(CONTROL_SOCKET);
        let added = if taken.is_some() { listeners.take_over(&path) } else { listeners.add_socket(&path) };
        match added {
            Ok(()) => info!("saying so on {} as well", path.display()),
            Err(error) => warn!("no control socket: {error}"),
        }
    }
    let sources = dns.filter(|_| !listeners.is_empty());
    let sources =
        sources.map(|dns| admin::Sources { control: control.clone(), subscriber: subscriber.clone(), metrics, dns });
    let admin = sources.map(|sources| admin::start(listeners, sources)).transpose()?;
    let estate = announce(estate, taken)?;
    tell_ready(subscriber)?;

    let end = events.follow(&control, estate, dns, || running.is_whole() && !owner.is_finished());
    info!("stopping: what was asked is still answered");
    let totals = match (end, keeper) {
        (End::Told, Keeper::Nobody) => {
            notify::tell(News::Stopping);
            running.stop()
        }
        (End::Told, Keeper::Systemd) => {
            notify::tell(News::Stopping);
            running.leave()
        }
        (End::Replaced, _) => running.leave(),
    };
    match end {
        End::Told => drop(admin),
        End::Replaced => admin.into_iter().for_each(admin::Running::leave),
    }
    control.stop();
    info!("counted: {totals}{gauges}");
    if owner.end().is_err() {
        error!("the owner task had ended before; changes were no longer served");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn look_at(dir: &Path) -> Result<(), String> {
    let unreadable = |error| format!("{}: the spec directory cannot be read: {error}", dir.display());
    std::fs::read_dir(dir).map(drop).map_err(unreadable)
}

/// What to do about it, where nothing else can be served.
fn unread(error: &str) -> String {
    format!("{error}; create it, or name another: spacedns serve DIR")
}

/// Makes the state directory while there is the right to: later it is in reach, and what holds it is not. Where there can be none,
/// whoever opens it says so.
fn make_state_dir(directory: &Path, user: Option<User>) {
    // Only its owner may read what is saved: a spec may hold secrets.
    let is_made = DirBuilder::new().mode(0o700).create(directory).is_ok();
    if let (true, Some(User { user, group })) = (is_made, user) {
        let _ = std::os::unix::fs::chown(directory, Some(user), Some(group));
    }
}

/// What comes from whoever was there before.
struct Heritage {
    inherited: Inherited,
    /// The server that answers until we do.
    taken: Option<Taken>,
    keeper: Keeper,
}

/// Who has the sockets when this process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    Nobody,
    Systemd,
}

fn inherit(handover: Option<&Path>) -> Result<Heritage, String> {
    let passed = notify::sockets();
    let keeper = if passed.is_empty() { Keeper::Nobody } else { Keeper::Systemd };
    let mut descriptors = passed;
    let mut taken = None;
    if let Some(path) = handover {
        let failed = |error| {
            let path = path.display();
            format!(
                "{path}: the sockets of the server that waits there cannot be taken: {error}; end it, or leave --handover out"
            )
        };
        taken = takeover::take(path).map_err(failed)?;
        descriptors.extend(taken.iter_mut().flat_map(|taken| taken.descriptors.drain(..)));
    }
    Ok(Heritage { inherited: Inherited::new(descriptors), taken, keeper })
}

fn estate(path: &Path, user: Option<User>, sockets: &serve::Sockets, listeners: &Listeners) -> Result<Estate, String> {
    let owner = user.map(|User { user, group }| (user, group));
    let made = Giver::bind(path, owner).and_then(|giver| {
        let mut descriptors = sockets.duplicate()?;
        descriptors.extend(listeners.duplicate()?);
        Ok(Estate { giver, descriptors })
    });
    made.map_err(|error| {
        let path = path.display();
        format!("{path}: the next server cannot be waited for there: {error}; its directory must be there, and this user's alone")
    })
}

/// Waits until there is something to answer with.
fn wait_until_ready(subscriber: &Subscriber, owner: &watch::Task) -> Result<(), &'static str> {
    while !subscriber.wait_until_caught_up(LOOK) {
        if owner.is_finished() {
            return Err("the owner task has ended before it had read the directory");
        }
    }
    Ok(())
}

/// Waits where the next server will look, and lets the one before go.
fn announce(estate: Option<Estate>, taken: Option<Taken>) -> Result<Option<Estate>, String> {
    let mut estate = estate;
    if let Some(Estate { giver, .. }) = &mut estate {
        giver.place().map_err(|error| format!("the next server cannot be waited for: {error}"))?;
    }
    if taken.is_some_and(|taken| taken.ready().is_err()) {
        warn!("the server before this one had ended by itself");
    }
    Ok(estate)
}

/// Tells systemd, once there is something to answer with.
fn tell_ready(subscriber: Subscriber) -> std::io::Result<()> {
    if notify::is_wanted() {
        let wait = move || {
            while !subscriber.wait_until_caught_up(LOOK) {}
            notify::tell(News::Ready);
        };
        std::thread::Builder::new().name("ready".to_owned()).spawn(wait)?;
    }
    Ok(())
}

/// The name of the control socket in the state directory.
pub(super) const CONTROL_SOCKET: &str = "control.sock";

/// Takes the admin address; where it is left out, says why.
fn listen_admin(setting: Admin, inherited: &mut Inherited) -> Result<(Listeners, Option<String>), Box<dyn Error>> {
    let listeners = Listeners::default();
    match setting {
        Admin::Off => Ok((listeners, None)),
        Admin::At(address) => match listeners.with_tcp(address, inherited) {
            Ok(listeners) => Ok((listeners, None)),
            Err(error) => {
                Err(format!("{error}; --admin ADDRESS:PORT chooses another, --admin off does without").into())
            }
        },
        Admin::IfFree(address) => match listeners.with_tcp(address, inherited) {
            Ok(listeners) => Ok((listeners, None)),
            Err(error) => Ok((Listeners::default(), Some(format!("{error}; --admin ADDRESS:PORT chooses another")))),
        },
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Where users are listed.
const PASSWD: &str = "/etc/passwd";

/// How long is waited before looking whether there is still anything to wait for.
const LOOK: Duration = Duration::from_secs(1);
