//! What is meant: every setting with a value, from the first source that has one: flag, variable, file, default.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use tracing::level_filters::LevelFilter;

use super::args::{Command, ConfigFile, Level, LowArgs, Policy};
use super::identity::Words;
use super::upstreams::Zone;
use crate::engine::Settings;
use crate::forward::Setting;
use crate::life::rights::Sandbox;
use crate::life::user::UserName;
use crate::observe::Selection;
use crate::registry::AllUnhealthy;
use crate::serve::Limits;

/// Every setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HiArgs {
    /// The spec directory, as it was given: messages show it like this.
    pub(crate) dir: PathBuf,
    /// Where to answer; at least one.
    pub(crate) listen: Vec<SocketAddr>,
    /// Whose EDNS Client Subnet is believed.
    pub(crate) trust_subnet_from: Vec<IpNet>,
    /// How long removed hostnames are denied.
    pub(crate) tombstone: Duration,
    /// What is kept here outlives the process.
    pub(crate) state_dir: Option<PathBuf>,
    /// How long large losses are held that only a scan found.
    pub(crate) removal_hold: Duration,
    /// Whether readiness checks are carried out, and what becomes of a component that fails as a whole.
    pub(crate) health_checks: Option<AllUnhealthy>,
    /// Where to answer over TLS.
    pub(crate) tls_listen: Vec<SocketAddr>,
    /// Where to answer over QUIC.
    pub(crate) quic_listen: Vec<SocketAddr>,
    /// What TLS and QUIC show; there is one when there is anywhere to show it.
    pub(crate) certificate: Option<CertificateFiles>,
    /// What clients may take.
    pub(crate) limits: Limits,
    /// Who is asked about foreign names.
    pub(crate) upstream: Vec<Setting>,
    /// Zones whose upstreams may answer with loopback and link-local addresses.
    pub(crate) allow_private: Vec<Zone>,
    /// What signs the certificates of upstreams over TLS.
    pub(crate) upstream_ca: PathBuf,
    /// What the server says of itself.
    pub(crate) settings: Settings,
    /// Where the secret of server cookies is; one is made when there is none.
    pub(crate) cookie_secret: Option<PathBuf>,
    /// Where the sockets of the server before this one are, and where those of this one are given.
    pub(crate) handover: Option<PathBuf>,
    /// Who to become.
    pub(crate) user: Option<UserName>,
    /// How much to give up.
    pub(crate) sandbox: Sandbox,
    /// What stays in reach all the same.
    pub(crate) also_read: Vec<PathBuf>,
    /// Which queries are logged.
    pub(crate) query_log: Selection,
    /// Where to say how things stand.
    pub(crate) admin: Admin,
    /// How many threads answer over UDP.
    pub(crate) workers: NonZeroUsize,
    /// What is logged.
    pub(crate) log: LevelFilter,
}

/// Where to say how things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admin {
    /// Nowhere.
    Off,
    /// At an address that somebody chose: without it there is no start.
    At(SocketAddr),
    /// At the address that nobody chose, unless another server has it: answers matter more.
    IfFree(SocketAddr),
}

/// The files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateFiles {
    /// The certificate and those that signed it.
    pub(crate) certificate: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The configuration file cannot be read.
    #[error("{}: cannot be read: {error}; name another file with --config", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is a mistake in the configuration file.
    #[error("{}:{line}:{column}: {fault}; the keys are the names of the flags (`spacedns serve --help`)", file.display())]
    Fault {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is wrong.
        fault: String,
    },
    /// There is somewhere to answer in encryption, and nothing to encrypt with.
    #[error("--tls-listen and --quic-listen need a certificate and its key: --tls-certificate FILE --tls-key FILE")]
    NoCertificate,
}

impl HiArgs {
    /// Reads the configuration file, where one is named, and puts the sources together.
    ///
    /// # Errors
    ///
    /// The configuration file cannot be read or has a mistake.
    pub(crate) fn from_low(low: &LowArgs) -> Result<Self, ConfigError> {
        let file = match &low.config {
            Some(path) => ConfigFile::read(path)?,
            None => ConfigFile::default(),
        };
        let serve = match &low.command {
            Command::Serve(serve) => Some(&**serve),
            _ => None,
        };
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let tombstone = serve.and_then(|serve| serve.tombstone).or(file.tombstone);
        let removal_hold = serve.and_then(|serve| serve.removal_hold).or(file.removal_hold);
        let tls_listen = serve.and_then(|serve| serve.tls_listen.clone()).or(file.tls_listen).unwrap_or_default();
        let quic_listen = serve.and_then(|serve| serve.quic_listen.clone()).or(file.quic_listen).unwrap_or_default();
        let certificate = serve.and_then(|serve| serve.tls_certificate.clone()).or(file.tls_certificate);
        let key = serve.and_then(|serve| serve.tls_key.clone()).or(file.tls_key);
        let certificate = match (certificate, key) {
            _ if tls_listen.is_empty() && quic_listen.is_empty() => None,
            (Some(certificate), Some(key)) => Some(CertificateFiles { certificate, key }),
            // For other commands, the file is none of their business.
            _ if serve.is_none() => None,
            _ => return Err(ConfigError::NoCertificate),
        };
        let is_checked = serve.and_then(|serve| serve.health_checks).or(file.health_checks).unwrap_or(false);
        let policy = match serve.and_then(|serve| serve.all_unhealthy).or(file.all_unhealthy) {
            Some(Policy::Remove) => AllUnhealthy::Remove,
            Some(Policy::Keep) | None => AllUnhealthy::Keep,
        };
        let words = |words: Option<Words>| words.map(|Words(text)| text);
        let mut limits = Limits::default();
        for limit in file.limits.iter().flat_map(|table| &table.0) {
            limit.apply(&mut limits);
        }
        for limit in serve.and_then(|serve| serve.limit.as_ref()).into_iter().flatten() {
            limit.apply(&mut limits);
        }
        Ok(Self {
            dir: low.command.directory().cloned().or(file.dir).unwrap_or_else(|| PathBuf::from("zones")),
            listen: serve.and_then(|serve| serve.listen.clone()).or(file.listen).unwrap_or_else(|| vec![LISTEN]),
            trust_subnet_from: (serve.and_then(|serve| serve.trust_subnet_from.clone()))
                .or(file.trust_subnet_from)
                .unwrap_or_default(),
            tombstone: tombstone.map_or(TOMBSTONE, |Period(tombstone)| tombstone),
            state_dir: serve.and_then(|serve| serve.state_dir.clone()).or(file.state_dir),
            removal_hold: removal_hold.map_or(REMOVAL_HOLD, |Period(period)| period),
            health_checks: is_checked.then_some(policy),
            tls_listen,
            quic_listen,
            certificate,
            limits,
            upstream: serve.and_then(|serve| serve.upstream.clone()).or(file.upstream).unwrap_or_default(),
            allow_private: serve
                .and_then(|serve| serve.allow_private.clone())
                .or(file.allow_private)
                .unwrap_or_default(),
            upstream_ca: (serve.and_then(|serve| serve.upstream_ca.clone()))
                .or(file.upstream_ca)
                .unwrap_or_else(|| PathBuf::from(AUTHORITIES)),
            settings: Settings {
                node_id: words(serve.and_then(|serve| serve.node_id.clone()).or(file.node_id)),
                version: words(serve.and_then(|serve| serve.version_text.clone()).or(file.version_text)),
                identity: words(serve.and_then(|serve| serve.identity.clone()).or(file.identity)),
                ..Settings::new()
            },
            cookie_secret: serve.and_then(|serve| serve.cookie_secret.clone()).or(file.cookie_secret),
            handover: serve.and_then(|serve| serve.handover.clone()).or(file.handover),
            user: serve.and_then(|serve| serve.user.clone()).or(file.user),
            sandbox: serve.and_then(|serve| serve.sandbox).or(file.sandbox).unwrap_or_default(),
            also_read: serve.and_then(|serve| serve.also_read.clone()).or(file.also_read).unwrap_or_default(),
            query_log: Selection {
                every: serve.and_then(|serve| serve.query_log).or(file.query_log).map(NonZeroU64::get),
                callers: (serve.and_then(|serve| serve.query_log_from.clone()))
                    .or(file.query_log_from)
                    .unwrap_or_default(),
                names: (serve.and_then(|serve| serve.query_log_name.clone()))
                    .or(file.query_log_name)
                    .unwrap_or_default()
                    .iter()
                    .map(|Zone(name)| name.wire().to_ascii_lowercase().into())
                    .collect(),
            },
            admin: match serve.and_then(|serve| serve.admin).or(file.admin) {
                None => Admin::IfFree(ADMIN),
                Some(AdminSetting(None)) => Admin::Off,
                Some(AdminSetting(Some(address))) => Admin::At(address),
            },
            workers: serve.and_then(|serve| serve.workers).or(file.workers).unwrap_or_else(cores),
            log: low.log.or_else(|| file.log.map(|Level(level)| level)).unwrap_or(LevelFilter::INFO),
        })
    }
}

impl ConfigFile {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path);
        let text = text.map_err(|error| ConfigError::Unreadable { file: path.to_owned(), error })?;
        toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or("");
            let line_start = before.rfind('\n').map_or(0, |end| end + 1);
            ConfigError::Fault {
                file: path.to_owned(),
                line: before.matches('\n').count() + 1,
                column: before.get(line_start..).unwrap_or("").chars().count() + 1,
                fault: error.message().to_owned(),
            }
        })
    }
}

/// A length of time as people write it: `90s`, `5m`, `1h`, `250ms`, `2d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Period(pub(crate) Duration);

impl FromStr for Period {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a number and one of ms, s, m, h, d, as in 90s or 1h";
        let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let milliseconds: u64 = match unit {
            "" if number == "0" => 1,
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(EXPECTED),
        };
        let number: u32 = number.parse().map_err(|_| EXPECTED)?;
        Ok(Self(Duration::from_millis(milliseconds * u64::from(number))))
    }
}

impl TryFrom<String> for Period {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// An admin address as it is typed: `ADDRESS:PORT`, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct AdminSetting(pub(crate) Option<SocketAddr>);

impl FromStr for AdminSetting {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self(None)),
            address => address.parse().map(|address| Self(Some(address))).map_err(|_| ADMIN_EXPECTED),
        }
    }
}

impl TryFrom<String> for AdminSetting {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

const ADMIN_EXPECTED: &str = "expected an address and a port, as in 127.0.0.1:9153, or off";

/// Where to answer when nobody says: a port that needs no rights, for this machine alone.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5300);

/// Where to say how things stand when nobody says where.
pub(crate) const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9153);

/// Where Debian, Alpine and most others keep the certificates that they trust.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// How long removed hostnames are denied when nobody says.
const TOMBSTONE: Duration = Duration::from_secs(3600);

/// How long large losses are held when nobody says: a mount or a server that comes back does so in less.
const REMOVAL_HOLD: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn settings(file: &str, arguments: &[&str]) -> HiArgs {
        let config = tempfile::NamedTempFile::new().unwrap();
        fs::write(config.path(), file).unwrap();
        let path = config.path().to_str().unwrap();
        let low = LowArgs::try_parse_from(["spacedns", "--config", path, "serve"].iter().chain(arguments)).unwrap();
        HiArgs::from_low(&low).unwrap()
    }

    #[test]
    fn every_setting_has_its_default() {
        let args = settings("", &[]);
        assert_eq!(args.dir, Path::new("zones"));
        assert_eq!(args.listen, ["127.0.0.1:5300".parse().unwrap()]);
        assert_eq!(args.trust_subnet_from, []);
        assert_eq!((args.tombstone, args.state_dir), (Duration::from_secs(3600), None));
        assert_eq!((args.tls_listen, args.quic_listen, args.certificate), (vec![], vec![], None));
        assert_eq!(args.health_checks, None);
        assert!(args.query_log.is_empty());
        assert_eq!(args.limits, Limits::default());
        assert_eq!((args.upstream, args.allow_private), (vec![], vec![]));
        assert_eq!(args.upstream_ca, Path::new(AUTHORITIES));
        assert_eq!((args.handover, args.user, args.sandbox, args.also_read), (None, None, Sandbox::Full, vec![]));
        assert_eq!(args.admin, Admin::IfFree("127.0.0.1:9153".parse().unwrap()));
        assert_eq!(args.workers, std::thread::available_parallelism().unwrap());
        assert_eq!(args.log, LevelFilter::INFO);
    }

    #[test]
    fn every_flag_may_stand_in_the_file() {
        let args = settings(
            "dir = \"specs\"\nlisten = [\"[::1]:53\", \"10.0.0.1:53\"]\ntrust-subnet-from = [\"10.0.0.0/8\"]\n\
             tombstone = \"90s\"\nstate-dir = \"kept\"\nworkers = 3\nlog = \"warn\"\n\
             tls-listen = [\"10.0.0.1:853\"]\nquic-listen = [\"10.0.0.2:853\"]\n\
             tls-certificate = \"c.pem\"\ntls-key = \"k.pem\"\n\
             upstream = [\"192.0.2.1\", \"corp.example=10.9.0.53\"]\nallow-private = [\"corp.example\"]\n\
             upstream-ca = \"ca.pem\"\nhandover = \"/run/next\"\nuser = \"dns\"\nsandbox = \"off\"\nalso-read = [\"/srv\"]\n\
             query-log = 100\nquery-log-from = [\"10.0.0.5/32\"]\nadmin = \"off\"\n\
             query-log-name = [\"Web\"]\n[limits]\nidle = \"30s\"\nconnections = 7\nunsent = \"64KiB\"\n",
            &[],
        );
        assert_eq!(args.tls_listen, ["10.0.0.1:853".parse().unwrap()]);
        assert_eq!(args.quic_listen, ["10.0.0.2:853".parse().unwrap()]);
        let (certificate, key) = (PathBuf::from("c.pem"), PathBuf::from("k.pem"));
        assert_eq!(args.certificate, Some(CertificateFiles { certificate, key }));
        let upstream = ["192.0.2.1", "corp.example=10.9.0.53"].map(|text| text.parse().unwrap());
        assert_eq!(args.upstream, upstream);
        assert_eq!(args.allow_private, ["corp.example".parse().unwrap()]);
        assert_eq!(args.upstream_ca, Path::new("ca.pem"));
        assert_eq!((args.handover, args.user), (Some(PathBuf::from("/run/next")), Some("dns".parse().unwrap())));
        assert_eq!((args.sandbox, args.also_read), (Sandbox::Off, vec![PathBuf::from("/srv")]));
        assert_eq!(args.admin, Admin::Off);
        let idle = Duration::from_secs(30);
        assert_eq!(args.limits, Limits { idle, connections: 7, unsent: 65_536, ..Limits::default() });
        assert_eq!(args.dir, Path::new("specs"));
        assert_eq!(args.listen, ["[::1]:53".parse().unwrap(), "10.0.0.1:53".parse().unwrap()]);
        assert_eq!(args.trust_subnet_from, ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!((args.tombstone, args.state_dir), (Duration::from_secs(90), Some(PathBuf::from("kept"))));
        let callers = vec!["10.0.0.5/32".parse().unwrap()];
        let selection = Selection { every: Some(100), callers, names: vec![b"\x03web\x00"[..].into()] };
        assert_eq!(args.query_log, selection);
        assert_eq!(args.workers.get(), 3);
        assert_eq!(args.log, LevelFilter::WARN);
    }

    #[test]
    fn a_flag_replaces_what_the_file_says_and_repeats() {
        let file = "dir = \"specs\"\nlisten = [\"10.0.0.1:53\"]\ntombstone = \"90s\"\nworkers = 3\nlog = \"warn\"\n";
        let args = settings(
            file,
            &["here", "--listen=127.0.0.1:1", "--listen=127.0.0.1:2", "--tombstone=0s", "--workers=1", "--log=debug"],
        );
        assert_eq!(args.dir, Path::new("here"));
        assert_eq!(args.listen, ["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()]);
        assert_eq!(args.tombstone, Duration::ZERO);
        assert_eq!(args.workers.get(), 1);
        assert_eq!(args.log, LevelFilter::DEBUG);
    }

    #[test]
    fn health_checks_are_off_until_somebody_turns_them_on() {
        assert_eq!(settings("", &["--all-unhealthy=remove"]).health_checks, None);
        assert_eq!(settings("", &["--health-checks"]).health_checks, Some(AllUnhealthy::Keep));
        let file = "health-checks = true\nall-unhealthy = \"remove\"\n";
        assert_eq!(settings(file, &[]).health_checks, Some(AllUnhealthy::Remove));
        assert_eq!(settings(file, &["--all-unhealthy=keep"]).health_checks, Some(AllUnhealthy::Keep));
        assert_eq!(settings(file, &["--health-checks=false"]).health_checks, None);
    }

    #[test]
    fn a_limit_of_a_flag_replaces_that_of_the_file_and_leaves_the_others() {
        let args = settings(
            "[limits]\nidle = \"30s\"\nframe = \"1s\"\n",
            &["--limit=idle=500ms", "--limit", "queries=9,in-flight=3", "--limit=queries=10"],
        );
        let (idle, frame) = (Duration::from_millis(500), Duration::from_secs(1));
        assert_eq!(args.limits, Limits { idle, frame, queries: 10, in_flight: 3, ..Limits::default() });
    }

    #[test]
    fn a_wrong_limit_in_the_file_is_said_with_its_place() {
        let config = tempfile::NamedTempFile::new().unwrap();
        fs::write(config.path(), "log = \"info\"\n\n[limits]\nidle = \"2h\"\n").unwrap();
        let path = config.path().to_str().unwrap();
        let low = LowArgs::try_parse_from(["spacedns", "--config", path, "serve"]).unwrap();
        let text = HiArgs::from_low(&low).unwrap_err().to_string();
        assert!(text.starts_with(&format!("{path}:3:")), "{text}");
        assert!(text.contains("idle is 100ms at least and 1h at most"), "{text}");
    }

    #[test]
    fn encryption_needs_a_certificate_and_its_key() {
        for arguments in [
            &["--tls-listen=127.0.0.1:853"][..],
            &["--quic-listen=127.0.0.1:853", "--tls-key=k.pem"],
            &["--tls-listen=127.0.0.1:853", "--tls-certificate=c.pem"],
        ] {
            let low = LowArgs::try_parse_from(["spacedns", "serve"].iter().chain(arguments)).unwrap();
            assert!(matches!(HiArgs::from_low(&low), Err(ConfigError::NoCertificate)), "{arguments:?}");
        }
    }

    #[test]
    fn a_period_is_a_number_and_a_unit() {
        let period = |text: &str| text.parse::<Period>().map(|Period(period)| period.as_millis());
        assert_eq!(period("250ms"), Ok(250));
        assert_eq!(period("2d"), Ok(172_800_000));
        assert_eq!(period("0"), Ok(0));
        for wrong in ["", "1", "h", "1.5h", "-1s", "1 h", "99999999999s"] {
            assert!(period(wrong).is_err(), "{wrong}");
        }
    }
}
