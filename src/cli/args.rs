//! What was typed: flags, their environment variables, and the configuration file, as they stand.
//!
//! Nothing has a default here: an absent value says that nobody gave one, so that the next source may. clap itself puts a
//! flag before its variable.

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use serde::Deserialize;
use tracing::level_filters::LevelFilter;

use super::config::{AdminSetting, Period};
use super::diff::Diff;
use super::env::Env;
use super::export::Export;
use super::generate::Generate;
use super::identity::Words;
use super::limits::{LimitSetting, LimitTable};
use super::register::{Register, Registered};
use super::resolve::Resolve;
use super::run::Run;
use super::upstreams::Zone;
use super::wait::Wait;
use crate::forward::Setting;
use crate::life::rights::Sandbox;
use crate::life::user::UserName;

/// A private DNS server for internally routed apps: app specs and registrations in, answers out.
#[derive(Debug, Parser)]
#[command(name = "spacedns", version, max_term_width = 100)]
pub(crate) struct LowArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Read settings from this TOML file; its keys are the names of the flags
    #[arg(long, global = true, value_name = "FILE", env = "SPACEDNS_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Log what is this important or more: error, warn, info, debug, trace [default: info]
    #[arg(long, global = true, value_name = "LEVEL", env = "SPACEDNS_LOG")]
    pub(crate) log: Option<LevelFilter>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve DNS from a spec directory, and follow its changes
    Serve(Box<Serve>),
    /// List every fault and warning of a spec directory; exit 1 when there are faults
    Check(Check),
    /// Resolve a name as a caller would, and say step by step why; exit 1 when there is no answer
    Resolve(Resolve),
    /// Register an instance, by a file in the spec directory
    Register(Box<Register>),
    /// Remove an instance's registration
    Deregister(Registered),
    /// Take an instance out of the answers; with --wait, return when no cache holds it any more
    Drain(Registered),
    /// Run a command as an instance: register it, keep its lease, remove it when the command ends. With --port it takes no traffic
    /// before the command listens there; the exit code is the command's
    Run(Box<Run>),
    /// Wait until exactly these files are served; exit 1 when one is rejected, 3 when it takes too long
    Wait(Wait),
    /// Print the environment variables that an instance of Heroku's or DigitalOcean's would have
    Env(Env),
    /// Compare two spec directories record by record, as callers see them; exit 1 when they differ, 2 on trouble
    Diff(Diff),
    /// Write one of our zones as a zone file
    Export(Export),
    /// Write the manual pages and the completions of shells; for packages
    #[command(hide = true)]
    Generate(Generate),
}

impl Command {
    /// The spec directory that was named.
    pub(crate) fn directory(&self) -> Option<&PathBuf> {
        match self {
            Self::Serve(serve) => serve.directory.dir.as_ref(),
            Self::Check(check) => check.directory.dir.as_ref(),
            Self::Resolve(resolve) => resolve.directory.dir.as_ref(),
            Self::Register(register) => register.directory.dir.as_ref(),
            Self::Deregister(registered) | Self::Drain(registered) => registered.directory.dir.as_ref(),
            Self::Run(run) => run.directory.dir.as_ref(),
            Self::Wait(wait) => wait.directory.dir.as_ref(),
            Self::Env(env) => env.directory.dir.as_ref(),
            Self::Diff(_) | Self::Generate(_) => None,
            Self::Export(export) => export.directory.dir.as_ref(),
        }
    }
}

/// Which directory.
#[derive(Debug, Args)]
pub(crate) struct Directory {
    /// The spec directory [default: zones]
    #[arg(value_name = "DIR", env = "SPACEDNS_DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// Which directory, where arguments stand for something else.
#[derive(Debug, Args)]
pub(crate) struct InDirectory {
    /// The spec directory [default: zones]
    #[arg(short = 'C', long = "dir", value_name = "DIR", env = "SPACEDNS_DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// How to serve.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) directory: Directory,
    /// Answer on this address, over UDP and TCP; may be repeated [default: 127.0.0.1:5300]
    #[arg(long, value_name = "ADDRESS:PORT", env = "SPACEDNS_LISTEN", value_delimiter = ',')]
    pub(crate) listen: Option<Vec<SocketAddr>>,
    /// Believe the EDNS Client Subnet of forwarders in this network; may be repeated [default: none]
    #[arg(long, value_name = "CIDR", env = "SPACEDNS_TRUST_SUBNET_FROM", value_delimiter = ',')]
    pub(crate) trust_subnet_from: Option<Vec<IpNet>>,
    /// Deny the hostnames of a removed app for so long before they are foreign again [default: 1h]
    #[arg(long, value_name = "TIME", env = "SPACEDNS_TOMBSTONE")]
    pub(crate) tombstone: Option<Period>,
    /// Keep in this directory what is to outlive the process, and begin with what is in it [default: none, nothing is kept]
    #[arg(long, value_name = "DIR", env = "SPACEDNS_STATE_DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Keep large losses of files for so long that only a scan found, 0 for not at all [default: 10s]
    #[arg(long, value_name = "TIME", env = "SPACEDNS_REMOVAL_HOLD")]
    pub(crate) removal_hold: Option<Period>,
    /// Carry out the readiness checks of app specs: an unhealthy instance leaves the answers [default: off]
    #[arg(long, env = "SPACEDNS_HEALTH_CHECKS", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) health_checks: Option<bool>,
    /// What becomes of a component when every instance that was ready fails its checks: keep (the checks are suspected first) or
    /// remove [default: keep]
    #[arg(long, value_name = "POLICY", env = "SPACEDNS_ALL_UNHEALTHY")]
    pub(crate) all_unhealthy: Option<Policy>,
    /// Answer DNS over TLS on this address; may be repeated [default: none]
    #[arg(long, value_name = "ADDRESS:PORT", env = "SPACEDNS_TLS_LISTEN", value_delimiter = ',')]
    pub(crate) tls_listen: Option<Vec<SocketAddr>>,
    /// Answer DNS over QUIC on this address; may be repeated [default: none]
    #[arg(long, value_name = "ADDRESS:PORT", env = "SPACEDNS_QUIC_LISTEN", value_delimiter = ',')]
    pub(crate) quic_listen: Option<Vec<SocketAddr>>,
    /// Show TLS and QUIC clients the certificate in this PEM file, with those that signed it; read again when it changes
    #[arg(long, value_name = "FILE", env = "SPACEDNS_TLS_CERTIFICATE")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// The key of the certificate, in PEM; read again when it changes
    #[arg(long, value_name = "FILE", env = "SPACEDNS_TLS_KEY")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Ask this server about names that are not ours: IP, IP:PORT, tls://IP#NAME, one of these after ZONE= for the names of one
    /// zone, or resolv.conf for those of this host; may be repeated [default: none, foreign names are refused]
    #[arg(long, value_name = "UPSTREAM", env = "SPACEDNS_UPSTREAM", value_delimiter = ',')]
    pub(crate) upstream: Option<Vec<Setting>>,
    /// Let upstreams answer names of this zone with loopback and link-local addresses; may be repeated [default: none]
    #[arg(long, value_name = "ZONE", env = "SPACEDNS_ALLOW_PRIVATE", value_delimiter = ',')]
    pub(crate) allow_private: Option<Vec<Zone>>,
    /// Trust the certificates in this PEM file to sign those of tls:// upstreams [default: /etc/ssl/certs/ca-certificates.crt]
    #[arg(long, value_name = "FILE", env = "SPACEDNS_UPSTREAM_CA")]
    pub(crate) upstream_ca: Option<PathBuf>,
    /// Tell this name of the server to those who ask by NSID (RFC 5001) [default: none]
    #[arg(long, value_name = "TEXT", env = "SPACEDNS_NODE_ID")]
    pub(crate) node_id: Option<Words>,
    /// Tell this to those who ask for CH TXT version.bind or version.server [default: none, REFUSED]
    #[arg(long, value_name = "TEXT", env = "SPACEDNS_VERSION_TEXT")]
    pub(crate) version_text: Option<Words>,
    /// Tell this to those who ask for CH TXT id.server or hostname.bind [default: none, REFUSED]
    #[arg(long, value_name = "TEXT", env = "SPACEDNS_IDENTITY")]
    pub(crate) identity: Option<Words>,
    /// Make server cookies with the secret in this file, 32 hexadecimal digits; a second line holds the secret before it
    /// [default: one that is made at the start]
    #[arg(long, value_name = "FILE", env = "SPACEDNS_COOKIE_SECRET")]
    pub(crate) cookie_secret: Option<PathBuf>,
    /// Set a limit on what clients may take, as in idle=30s; may be repeated; docs/operating.md has the names
    #[arg(long, value_name = "NAME=VALUE", env = "SPACEDNS_LIMIT", value_delimiter = ',')]
    pub(crate) limit: Option<Vec<LimitSetting>>,
    /// Take the sockets of the server that waits at this Unix socket, then wait there for the next one; without a lost query
    /// [default: none]
    #[arg(long, value_name = "FILE", env = "SPACEDNS_HANDOVER")]
    pub(crate) handover: Option<PathBuf>,
    /// Become this user (a name, UID, or UID:GID) once everything is bound; needs root [default: stay]
    #[arg(long, value_name = "USER", env = "SPACEDNS_USER")]
    pub(crate) user: Option<UserName>,
    /// Give up rights before answering: full (Landlock and no_new_privs), no-new-privileges, or off [default: full]
    #[arg(long, value_name = "WHAT", env = "SPACEDNS_SANDBOX")]
    pub(crate) sandbox: Option<Sandbox>,
    /// Keep this path in reach of the sandbox as well, for links that lead out of the directory; may be repeated [default: none]
    #[arg(long, value_name = "PATH", env = "SPACEDNS_ALSO_READ", value_delimiter = ',')]
    pub(crate) also_read: Option<Vec<PathBuf>>,
    /// Log one query in so many [default: none]
    #[arg(long, value_name = "N", env = "SPACEDNS_QUERY_LOG")]
    pub(crate) query_log: Option<NonZeroU64>,
    /// Log every query from this network; may be repeated [default: none]
    #[arg(long, value_name = "CIDR", env = "SPACEDNS_QUERY_LOG_FROM", value_delimiter = ',')]
    pub(crate) query_log_from: Option<Vec<IpNet>>,
    /// Log every query for this name and those below it; may be repeated [default: none]
    #[arg(long, value_name = "NAME", env = "SPACEDNS_QUERY_LOG_NAME", value_delimiter = ',')]
    pub(crate) query_log_name: Option<Vec<Zone>>,
    /// Say how things stand over HTTP on this address, or not at all: off [default: 127.0.0.1:9153, where that is free]
    #[arg(long, value_name = "ADDRESS:PORT", env = "SPACEDNS_ADMIN")]
    pub(crate) admin: Option<AdminSetting>,
    /// Answer over UDP on so many threads [default: one per core]
    #[arg(long, value_name = "N", env = "SPACEDNS_WORKERS")]
    pub(crate) workers: Option<NonZeroUsize>,
}

/// How to check.
#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) directory: Directory,
    /// Write one JSON document instead of lines
    #[arg(long)]
    pub(crate) json: bool,
}

/// The configuration file. A key that is none of these is an error: a setting with a slip in its name must not be lost.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ConfigFile {
    /// As `DIR`; relative to the working directory.
    pub(crate) dir: Option<PathBuf>,
    /// As `--listen`.
    pub(crate) listen: Option<Vec<SocketAddr>>,
    /// As `--trust-subnet-from`.
    pub(crate) trust_subnet_from: Option<Vec<IpNet>>,
    /// As `--tombstone`.
    pub(crate) tombstone: Option<Period>,
    /// As `--state-dir`; relative to the working directory.
    pub(crate) state_dir: Option<PathBuf>,
    /// As `--removal-hold`.
    pub(crate) removal_hold: Option<Period>,
    /// As `--health-checks`.
    pub(crate) health_checks: Option<bool>,
    /// As `--all-unhealthy`.
    pub(crate) all_unhealthy: Option<Policy>,
    /// As `--tls-listen`.
    pub(crate) tls_listen: Option<Vec<SocketAddr>>,
    /// As `--quic-listen`.
    pub(crate) quic_listen: Option<Vec<SocketAddr>>,
    /// As `--tls-certificate`; relative to the working directory.
    pub(crate) tls_certificate: Option<PathBuf>,
    /// As `--tls-key`; relative to the working directory.
    pub(crate) tls_key: Option<PathBuf>,
    /// As `--upstream`.
    pub(crate) upstream: Option<Vec<Setting>>,
    /// As `--allow-private`.
    pub(crate) allow_private: Option<Vec<Zone>>,
    /// As `--upstream-ca`; relative to the working directory.
    pub(crate) upstream_ca: Option<PathBuf>,
    /// As `--node-id`.
    pub(crate) node_id: Option<Words>,
    /// As `--version-text`.
    pub(crate) version_text: Option<Words>,
    /// As `--identity`.
    pub(crate) identity: Option<Words>,
    /// As `--cookie-secret`; relative to the working directory.
    pub(crate) cookie_secret: Option<PathBuf>,
    /// As `--limit`, each under its name; a flag replaces one limit, and the others stay.
    pub(crate) limits: Option<LimitTable>,
    /// As `--handover`; relative to the working directory.
    pub(crate) handover: Option<PathBuf>,
    /// As `--user`.
    pub(crate) user: Option<UserName>,
    /// As `--sandbox`.
    pub(crate) sandbox: Option<Sandbox>,
    /// As `--also-read`; relative to the working directory.
    pub(crate) also_read: Option<Vec<PathBuf>>,
    /// As `--query-log`.
    pub(crate) query_log: Option<NonZeroU64>,
    /// As `--query-log-from`.
    pub(crate) query_log_from: Option<Vec<IpNet>>,
    /// As `--query-log-name`.
    pub(crate) query_log_name: Option<Vec<Zone>>,
    /// As `--admin`.
    pub(crate) admin: Option<AdminSetting>,
    /// As `--workers`.
    pub(crate) workers: Option<NonZeroUsize>,
    /// As `--log`.
    pub(crate) log: Option<Level>,
}

/// What becomes of a component that fails as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Policy {
    /// Its instances stay in the answers
    Keep,
    /// They leave them
    Remove,
}

/// A log level, by its name.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Level(pub(crate) LevelFilter);

impl TryFrom<String> for Level {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self).map_err(|_| "expected one of off, error, warn, info, debug, trace")
    }
}
