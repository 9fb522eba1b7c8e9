//! The whole server beside its peers and the machine's own limit: `cargo bench --bench whole`.
//!
//! Each server has one worker on one core, and the load another core. What is compared is measured in turn within each round, so that
//! what else the machine does meets all of them alike; ratios are taken within a round, and the median of the rounds counts. CPU a
//! query is the server's own user and system time: steadier than throughput, which the load may cap.
//!
//! The limit is an echo: one thread that receives a batch, grows each packet by what an A record adds, and sends the batch back;
//! where our responses are longer, it grows them by as much. Peers are those that are installed of gdnsd, Knot, NSD and dnsmasq.
//!
//! Names after `--` choose contests (`-- hit mix`), `-- --help` lists them and the options. `--smoke` is a hundred names and a
//! moment each, for a test of the benchmark itself.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]
#![allow(clippy::indexing_slicing, reason = "a benchmark that is out of bounds may end")]

mod contests;
#[path = "../harness/mod.rs"]
mod harness;
mod names;
mod peers;

use std::path::Path;

use clap::{Parser, ValueEnum};

use self::harness::figures::Reach;
use self::harness::load::play_role;
use self::harness::options::{Mode, Plots};

/// What was typed.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench whole --")]
struct Settings {
    /// What to measure [default: all but `names`]
    #[arg(value_enum)]
    contests: Vec<Contest>,
    /// So many names [default: 100000]
    #[arg(long)]
    apps: Option<u32>,
    /// How often each is measured [default: 10]
    #[arg(long)]
    rounds: Option<usize>,
    /// How long each time
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// These peers and no others; the echo and this server are always there
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    peers: Vec<String>,
    /// Queries a second offered where latency is measured
    #[arg(long, default_value_t = 100_000)]
    rate: u32,
    #[command(flatten)]
    plots: Plots,
    #[command(flatten)]
    mode: Mode,
}

/// One thing to be measured, against one or more others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Contest {
    /// Names that exist, beside all peers
    Hit,
    /// Half of them, 35 % AAAA of names that have none, 15 % names that do not exist; beside all peers
    Mix,
    /// Latency and losses at a fixed rate, beside all peers
    Latency,
    /// Listening on 0.0.0.0
    Wildcard,
    /// Each response sent by itself, as where each query has a socket of its own
    Apart,
    /// Bare names, asked by instances; takes root
    Bare,
    /// SRV with the addresses of its targets
    Srv,
    /// Names of 127 labels that do not exist, beside names that do
    Deep,
    /// One name over and over, beside all names
    Hot,
    /// While 100 files a second change, beside none
    Changing,
    /// Two workers beside one
    Workers,
    /// 10³, 10⁴, 10⁵ and 10⁶ names beside each other, with all peers, and a plot; writes a million files, 5 GB on most file systems
    Names,
}

impl Settings {
    fn count(&self) -> u32 {
        self.apps.unwrap_or(if self.mode.smoke { 100 } else { 100_000 })
    }

    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.mode.smoke { 1 } else { 10 })
    }

    fn seconds(&self) -> f64 {
        if self.mode.smoke { 0.05 } else { self.seconds }
    }

    fn rate(&self) -> u32 {
        if self.mode.smoke { 1_000 } else { self.rate }
    }

    fn wants(&self, contest: Contest) -> bool {
        // All of them in a smoke test: `names` is small there too.
        let all = self.contests.is_empty() && (contest != Contest::Names || self.mode.smoke);
        all || self.contests.contains(&contest)
    }

    fn wants_any(&self, contests: &[Contest]) -> bool {
        contests.iter().any(|contest| self.wants(*contest))
    }
}

fn main() {
    play_role();
    let mut settings = Settings::parse();
    let directory = tempfile::tempdir().expect("a directory of our own can be made");
    if settings.mode.smoke {
        // What a moment measures is no plot to keep.
        settings.plots.directory = directory.path().join("plots");
    }
    let mut reach = Reach::default();
    measure(&settings, directory.path(), &mut reach);
    if !settings.mode.smoke {
        reach.print();
    }
}

fn measure(settings: &Settings, directory: &Path, reach: &mut Reach) {
    use Contest::{Apart, Bare, Changing, Deep, Hit, Hot, Latency, Mix, Names, Srv, Wildcard, Workers};
    if settings.wants_any(&[Hit, Mix, Latency, Wildcard, Apart, Hot, Changing, Workers]) {
        let asked = names::write(directory, settings.count());
        contests::beside_peers(settings, directory, &asked, reach);
    }
    if settings.wants_any(&[Bare, Srv]) {
        contests::services(settings, &names::write_services(directory, settings.count()), reach);
    }
    if settings.wants(Deep) {
        contests::deep(settings, &names::write_deep(directory, settings.count().min(1_000)), reach);
    }
    if settings.wants(Names) {
        contests::against_names(settings, directory, reach);
    }
}
