//! How upstreams are doing: written by the thread that asks them, read by whoever asks.
//!
//! What is known of one is known from what it was asked; nobody asks for the sake of knowing. In metrics each goes by its number, in
//! the order in which the log and `/status` tell of them: these say who it is, and no label does.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use super::{Gauge, Sort, Value};

/// Every upstream.
#[derive(Debug, Default)]
pub struct Upstreams(Box<[Upstream]>);

impl Upstreams {
    /// Upstreams of which nothing is known yet, each with the zone that it is asked about and its address.
    #[must_use]
    pub fn new(upstreams: impl IntoIterator<Item = (String, String)>) -> Self {
        let upstreams = upstreams.into_iter().enumerate();
        Self(upstreams.map(|(index, (zone, server))| Upstream::new(index + 1, zone, server)).collect())
    }

    /// Each of them, by its number.
    #[must_use]
    pub const fn all(&self) -> &[Upstream] {
        &self.0
    }

    /// Every number there is of them.
    pub fn gauges(&self) -> impl Iterator<Item = Gauge> {
        FIGURES.into_iter().flat_map(|(name, help, sort, figure)| {
            self.0.iter().map(move |upstream| Gauge {
                name,
                help,
                label: Some(("upstream", Value::Number(upstream.number))),
                sort,
                value: figure(upstream),
            })
        })
    }
}

/// One upstream.
#[derive(Debug)]
pub struct Upstream {
    number: usize,
    zone: String,
    server: String,
    state: AtomicU8,
    asked: AtomicU64,
    failures: AtomicU64,
    /// In microseconds; zero before the first response.
    response: AtomicU64,
}

impl Upstream {
    fn new(number: usize, zone: String, server: String) -> Self {
        Self {
            number,
            zone,
            server,
            state: AtomicU8::default(),
            asked: AtomicU64::default(),
            failures: AtomicU64::default(),
            response: AtomicU64::default(),
        }
    }

    /// What it goes by in metrics, from 1.
    #[must_use]
    pub const fn number(&self) -> usize {
        self.number
    }

    /// The zone that it is asked about.
    #[must_use]
    pub fn zone(&self) -> &str {
        &self.zone
    }

    /// Where it is.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// What is thought of it now.
    #[must_use]
    pub fn state(&self) -> UpstreamState {
        let index = usize::from(self.state.load(Ordering::Relaxed));
        UpstreamState::ALL.get(index).copied().unwrap_or(UpstreamState::Unasked)
    }

    /// How often it was asked.
    #[must_use]
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// How often that came to nothing, or to less than asking the next one a quarter of a second later.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// How long it takes to respond, smoothed over the last ten or so; none before the first.
    #[must_use]
    pub fn response(&self) -> Option<Duration> {
        Some(Duration::from_micros(self.response.load(Ordering::Relaxed))).filter(|response| !response.is_zero())
    }

    /// Counts that it is asked. One thread writes, here and below.
    pub fn ask(&self) {
        self.asked.store(self.asked().wrapping_add(1), Ordering::Relaxed);
    }

    /// Notes that a response took so long.
    pub fn respond(&self, took: Duration) {
        // RFC 6298 §2 smooths by an eighth. A microsecond at least: zero is that there was none.
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).clamp(1, RESPONSE_MAX);
        let smoothed = match self.response.load(Ordering::Relaxed) {
            0 => took,
            before => (before * 7 + took) / 8,
        };
        self.response.store(smoothed.max(1), Ordering::Relaxed);
    }

    /// Counts that asking it came to nothing.
    pub fn fail(&self) {
        self.failures.store(self.failures().wrapping_add(1), Ordering::Relaxed);
    }

    /// Notes what is thought of it now.
    pub fn become_state(&self, state: UpstreamState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }
}

/// What is thought of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum UpstreamState {
    /// Nothing: it was not asked yet.
    Unasked,
    /// It responded when it was asked last.
    Up,
    /// It did not, and is asked again.
    Failing,
    /// It did not, several times in a row: others are asked instead, and it is looked at beside them.
    Down,
}

impl UpstreamState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Unasked, Self::Up, Self::Failing, Self::Down];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unasked => "unasked",
            Self::Up => "up",
            Self::Failing => "failing",
            Self::Down => "down",
        }
    }
}

type Figure = fn(&Upstream) -> u64;

const FIGURES: [(&str, &str, Sort, Figure); 4] = [
    (
        "upstream_down",
        "Whether an upstream is passed over, because it did not respond several times in a row; /status says which it is",
        Sort::Level,
        |upstream| u64::from(upstream.state() == UpstreamState::Down),
    ),
    ("upstream_asked", "How often an upstream was asked", Sort::Count, Upstream::asked),
    (
        "upstream_failures",
        "How often asking an upstream came to nothing, or to less than asking the next one later",
        Sort::Count,
        Upstream::failures,
    ),
    (
        "upstream_response",
        "How long an upstream takes to respond, smoothed; 0 before the first time",
        Sort::Microseconds,
        |upstream| upstream.response.load(Ordering::Relaxed),
    ),
];

/// The longest response that is reckoned with: nobody waits for a minute.
const RESPONSE_MAX: u64 = 60_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_of_an_upstream_is_told_by_its_number() {
        let upstreams = Upstreams::new([1, 2].map(|number| (".".to_owned(), format!("192.0.2.{number}:53"))));
        let [first, second] = upstreams.all() else { panic!("{upstreams:?}") };
        assert_eq!((first.state(), first.response()), (UpstreamState::Unasked, None));
        for took in [80, 0] {
            second.ask();
            second.respond(Duration::from_millis(took));
        }
        second.fail();
        second.become_state(UpstreamState::Down);
        let told: Vec<String> = upstreams
            .gauges()
            .map(|Gauge { name, label, value, .. }| format!("{name} {} {value}", label.unwrap().1))
            .collect();
        assert_eq!(
            told,
            [
                "upstream_down 1 0",
                "upstream_down 2 1",
                "upstream_asked 1 0",
                "upstream_asked 2 2",
                "upstream_failures 1 0",
                "upstream_failures 2 1",
                "upstream_response 1 0",
                "upstream_response 2 70000",
            ]
        );
        assert!(UpstreamState::ALL.into_iter().enumerate().all(|(index, state)| state as usize == index));
    }
}
