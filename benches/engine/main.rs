//! How long the engine takes per query, by outcome: `cargo bench --bench engine`.
//!
//! 10,000 apps of two instances each, asked in turn so that no app stays in the nearest cache. What is measured is reading, deciding and
//! writing, without a socket. `cargo bench --bench engine -- 1000` asks so many queries an outcome, for a smoke
//! test; `-- hostname` only those outcomes whose name has that in it.
//!
//! `-- --instructions` counts instead: the instructions of one query, by outcome, in the engine and in a whole UDP worker (`worker`).
//! valgrind counts them, in a run of this program within the run, so the figures are the same on a busy machine. `.ci/instructions` holds
//! them to those in `instructions.txt`.

mod worker;
mod world;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use spacedns::engine::{Ask, Note, Reading, Recursion, Secrets, Settings, Transport, Trust, Verdict, respond_to};
use spacedns::name::Name;
use spacedns::zone::Snapshot;

use worker::{BATCHES, QUEUED, Queued};
use world::{anywhere, instance, snapshot};

const APPS: u32 = 10_000;

/// Apps, and queries an outcome, where instructions are counted: they do not depend on what is in the cache.
const COUNTED: u32 = 1_000;

/// Set in the run that is counted.
const INSIDE: &str = "SPACEDNS_BENCH_INSIDE";

/// An outcome's name, and the query that the caller at `source` sends about app `n` to get it.
struct Case {
    outcome: &'static str,
    name: fn(u32) -> String,
    qtype: u16,
    source: fn(u32) -> IpAddr,
}

const CASES: [Case; 15] = [
    Case { outcome: "hostname A", name: |n| format!("app{n}.herokuapp.com"), qtype: 1, source: anywhere },
    Case { outcome: PLAIN, name: |n| format!("app{n}.herokuapp.com"), qtype: 1, source: anywhere },
    Case { outcome: "hostname AAAA (NODATA)", name: |n| format!("app{n}.herokuapp.com"), qtype: 28, source: anywhere },
    Case {
        outcome: "closed gate (NODATA, EDE)",
        name: |n| format!("off{n}.herokuapp.com"),
        qtype: 1,
        source: anywhere,
    },
    Case { outcome: "bare A", name: |_| "web".into(), qtype: 1, source: |n| instance(n, 1).into() },
    Case { outcome: "discovery A", name: |n| format!("web.app{n}.app.localspace"), qtype: 1, source: anywhere },
    Case { outcome: "instance A", name: |n| format!("1.web.app{n}.app.localspace"), qtype: 1, source: anywhere },
    Case { outcome: "SRV", name: |n| format!("_http._tcp.web.app{n}.app.localspace"), qtype: 33, source: anywhere },
    Case { outcome: LARGEST, name: |_| "_http._tcp.w.big.app.localspace".into(), qtype: 33, source: anywhere },
    Case { outcome: "PTR", name: reverse, qtype: 12, source: anywhere },
    Case {
        outcome: "no such app (NXDOMAIN)",
        name: |n| format!("web.no{n}.app.localspace"),
        qtype: 1,
        source: anywhere,
    },
    Case { outcome: "127 labels (NXDOMAIN)", name: deepest, qtype: 1, source: anywhere },
    Case { outcome: "no bare name (NXDOMAIN)", name: |n| format!("no{n}"), qtype: 1, source: anywhere },
    Case { outcome: "foreign", name: |n| format!("www{n}.example.org"), qtype: 1, source: anywhere },
    Case {
        outcome: "stranger (REFUSED)",
        name: |n| format!("app{n}.herokuapp.com"),
        qtype: 1,
        source: |_| Ipv4Addr::new(8, 8, 8, 8).into(),
    },
];

const SECRETS: Secrets = Secrets { current: [7; 16], previous: None };

/// The one outcome that is asked for without OPT, as glibc, musl and c-ares do.
const PLAIN: &str = "plain hostname A";

/// A query and what came with it.
type Asked<'s> = (Ask<'s>, Vec<u8>);

/// The one outcome that is asked for over a stream: all that fits into 65,535 octets. It is asked a thousandth as often.
const LARGEST: &str = "SRV of 1,000 (TCP)";

#[allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a benchmark reads the clock and prints")]
fn main() {
    let rounds: u32 = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(4_000_000);
    let wanted =
        std::env::args().skip(1).find(|argument| !argument.starts_with("--") && argument.parse::<u32>().is_err());
    let cases = CASES.iter().filter(|case| wanted.as_ref().is_none_or(|wanted| case.outcome.contains(wanted)));
    let settings = Settings::new();
    let mut response = vec![0; 65_535];
    if std::env::var_os(INSIDE).is_some() {
        let snapshot = snapshot(COUNTED);
        for case in CASES {
            let queries = case.queries(COUNTED, &settings);
            black_box(answer(&snapshot, &queries, case.rounds(COUNTED), &mut response));
        }
        QUEUED.iter().for_each(|queued| queued.answer(&CASES, &snapshot));
    } else if std::env::args().any(|argument| argument == "--instructions") {
        let counts = count();
        let (engine, workers) = counts.split_at(CASES.len());
        for (case, count) in CASES.iter().zip(engine) {
            println!("{:30} {:6}", case.outcome, count / u64::from(case.rounds(COUNTED)));
        }
        for (queued, counts) in QUEUED.iter().zip(workers.chunks(BATCHES)) {
            println!("{:30} {:6}", queued.outcome, Queued::each(counts));
        }
    } else {
        let snapshot = snapshot(APPS);
        for case in cases {
            let queries = case.queries(APPS, &settings);
            let rounds = case.rounds(rounds);
            let begin = Instant::now();
            let sent = answer(&snapshot, &queries, rounds, &mut response);
            let each = begin.elapsed().as_nanos() / u128::from(rounds);
            println!("{:30} {each:6} ns {:5} octets", case.outcome, sent / u64::from(rounds));
        }
    }
}

/// Answers, and says how many octets that was. Not inlined: valgrind is told to count within it.
#[inline(never)]
fn answer(snapshot: &Snapshot, asked: &[Asked<'_>], rounds: u32, response: &mut [u8]) -> u64 {
    let mut sent = 0;
    let mut reading = Reading::new();
    for ((ask, query), _) in asked.iter().cycle().zip(0..rounds) {
        reading.read(black_box(query));
        if let Verdict::Send(length) = respond_to(snapshot, ask, query, &reading, response, &mut Note::default()) {
            sent += length as u64;
        }
        black_box(&mut *response);
    }
    sent
}

/// The instructions that the queries of each outcome take; of a worker's, those of each batch.
#[allow(clippy::disallowed_methods, reason = "the program runs itself")]
fn count() -> Vec<u64> {
    let home = std::env::temp_dir().join(format!("spacedns-instructions-{}", std::process::id()));
    std::fs::create_dir(&home).expect("a directory of our own");
    let status = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind"])
        .args(COUNTED_IN.iter().flat_map(|name| [format!("--toggle-collect={name}"), format!("--dump-after={name}")]))
        .arg(format!("--callgrind-out-file={}", home.join("count").display()))
        .arg(std::env::current_exe().expect("the program that runs"))
        .env(INSIDE, "1")
        .status()
        .expect("valgrind is installed");
    assert!(status.success(), "valgrind: {status}");
    let dumps = CASES.len() + QUEUED.len() * BATCHES;
    let counts = (1..=dumps).map(|number| total(&home.join(format!("count.{number}")))).collect();
    let more = home.join(format!("count.{}", dumps + 1));
    assert!(!more.exists() || total(&more) == 0, "a batch was counted that belongs to no outcome");
    std::fs::remove_dir_all(&home).expect("it is ours");
    counts
}

/// What is counted: a run of the engine's queries, and a batch of a worker's.
const COUNTED_IN: [&str; 2] = ["engine::answer", "spacedns::serve::udp::Worker::turn"];

/// The total of one of callgrind's dumps.
fn total(dump: &Path) -> u64 {
    let text = std::fs::read_to_string(dump).expect("a dump for each outcome");
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")));
    total.and_then(|total| total.trim().parse().ok()).expect("a dump has a total")
}

impl Case {
    fn rounds(&self, rounds: u32) -> u32 {
        if self.outcome == LARGEST { (rounds / 1000).max(1) } else { rounds.max(1) }
    }

    fn queries<'s>(&self, apps: u32, settings: &'s Settings) -> Vec<Asked<'s>> {
        let ask = |n| Ask {
            source: (self.source)(n),
            trust: Trust::Nobody,
            transport: if self.outcome == LARGEST { Transport::Tcp } else { Transport::Udp },
            turn: 0,
            recursion: Recursion::Unavailable,
            settings,
            secrets: Some(&SECRETS),
            now: 1_800_000_000,
        };
        (0..apps).map(|n| (ask(n), self.query(n))).collect()
    }

    /// The query about app `n`.
    fn query(&self, n: u32) -> Vec<u8> {
        let mut query = query(&(self.name)(n), self.qtype);
        if self.outcome == PLAIN {
            query.truncate(query.len() - OPT.len());
            query.iter_mut().skip(11).take(1).for_each(|additionals| *additionals = 0);
        }
        query
    }
}

fn query(name: &str, qtype: u16) -> Vec<u8> {
    let mut octets = vec![0x2a, 0x5c, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    octets.extend(name.parse::<Name>().expect("a name").wire());
    octets.extend(qtype.to_be_bytes());
    octets.extend([0, 1]);
    octets.extend(OPT);
    octets
}

const OPT: [u8; 11] = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];

fn reverse(n: u32) -> String {
    let [a, b, c, d] = instance(n, 1).octets();
    format!("{d}.{c}.{b}.{a}.in-addr.arpa")
}

/// As many labels as a name can have, below the shortest apex.
fn deepest(n: u32) -> String {
    let digits: String = (0..125).map(|place| format!("{}.", (n >> (place % 16)) & 1)).collect();
    format!("{digits}a.b")
}
