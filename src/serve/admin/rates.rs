//! `/rates`: how many queries and responses a second there were in the last seconds, and which generation is served, as JSON.
//!
//! One sum over all counters every two seconds, whether anybody looks or not: that is microseconds, and whoever opens the page sees
//! rates at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hyper::StatusCode;
use serde::Serialize;
use tokio::time::Instant;

use super::pages::{Reply, json};
use super::{Shared, Sources};
use crate::observe::{Carrier, Class, Event, QueryType, Source, Totals};

pub(super) fn page(shared: &Shared) -> Reply {
    #[derive(Serialize)]
    struct Document {
        generation: u64,
        /// Ok, stale, rejected.
        files: Vec<u64>,
        rates: BTreeMap<&'static str, f64>,
    }
    let Sources { subscriber, metrics, .. } = &shared.sources;
    let rates = shared.rates.all().into_iter().map(|rate| (rate.key, rate.per_second));
    json(
        StatusCode::OK,
        &Document {
            generation: subscriber.current().generation,
            files: metrics.files_by_state(),
            rates: rates.collect(),
        },
    )
}

/// One rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    /// What it is found by.
    pub(super) key: &'static str,
    /// What it is called.
    pub(super) label: &'static str,
    /// How many a second.
    pub(super) per_second: f64,
}

/// What was counted at some moments of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Rates {
    samples: RefCell<VecDeque<(Instant, Sample)>>,
}

type Sample = [u64; RATES];

impl Rates {
    /// Takes in what is counted now.
    pub(super) fn take(&self, now: Instant, totals: &Totals) {
        let mut samples = self.samples.borrow_mut();
        if samples.len() >= SAMPLES {
            samples.pop_front();
        }
        samples.push_back((now, KINDS.map(|(_, _, count)| count(totals))));
    }

    /// Every rate, between the oldest sample and the newest.
    pub(super) fn all(&self) -> [Rate; RATES] {
        let samples = self.samples.borrow();
        let mut rates = KINDS.map(|(key, label, _)| Rate { key, label, per_second: 0.0 });
        if let (Some((begun, first)), Some((ended, last))) = (samples.front(), samples.back()) {
            let seconds = ended.saturating_duration_since(*begun).as_secs_f64();
            for ((rate, first), last) in rates.iter_mut().zip(first).zip(last) {
                // Counts of ten seconds: far fewer than a u32 holds.
                let counted = u32::try_from(last.wrapping_sub(*first)).unwrap_or(u32::MAX);
                if seconds > 0.0 {
                    rate.per_second = (f64::from(counted) / seconds * 10.0).round() / 10.0;
                }
            }
        }
        rates
    }
}

type Count = fn(&Totals) -> u64;

/// How many rates there are.
pub(super) const RATES: usize = 11;

/// What there is a rate of.
const KINDS: [(&str, &str, Count); RATES] = [
    ("queries", "Queries", Totals::all_queries),
    ("udp", "… over UDP", |totals| carried(totals, "udp")),
    ("tcp", "… over TCP", |totals| carried(totals, "tcp")),
    ("tls", "… over TLS", |totals| carried(totals, "tls")),
    ("quic", "… over QUIC", |totals| carried(totals, "quic")),
    ("noerror", "Responses NOERROR", |totals| responses(totals, |class| class == Class::NoError)),
    ("nxdomain", "Responses NXDOMAIN", |totals| responses(totals, |class| class == Class::NxDomain)),
    ("servfail", "Responses SERVFAIL", |totals| responses(totals, |class| class == Class::ServFail)),
    ("refused", "Responses REFUSED", |totals| responses(totals, |class| class == Class::Refused)),
    ("other", "Responses with another code", |totals| {
        responses(totals, |class| matches!(class, Class::FormErr | Class::NotImp | Class::Other))
    }),
    ("forwarded", "Asked of upstreams", |totals| totals.events(Event::ForwardAsked)),
];

fn carried(totals: &Totals, transport: &str) -> u64 {
    let carriers = Carrier::ALL.into_iter().filter(|carrier| carrier.transport() == transport);
    carriers.flat_map(|carrier| QueryType::ALL.map(|qtype| totals.queries(carrier, qtype))).sum()
}

fn responses(totals: &Totals, is_counted: impl Fn(Class) -> bool) -> u64 {
    let classes = || Class::ALL.into_iter().filter(|class| is_counted(*class));
    let each = Carrier::ALL.into_iter().flat_map(|carrier| Source::ALL.map(|source| (carrier, source)));
    each.flat_map(|(carrier, source)| classes().map(move |class| totals.responses(carrier, source, class))).sum()
}

/// How often what is counted is looked at.
pub(super) const SAMPLE_EVERY: Duration = Duration::from_secs(2);

/// How many samples are kept: ten seconds.
const SAMPLES: usize = 6;

#[cfg(test)]
mod tests {
    use super::super::super::streams::now;
    use super::*;
    use crate::observe::{Counters, Ending};

    #[test]
    fn a_rate_is_of_the_last_samples() {
        let (rates, counters, begun) = (Rates::default(), Counters::default(), now());
        let rate = |key: &str| rates.all().into_iter().find(|rate| rate.key == key).unwrap().per_second;
        assert_eq!(rate("queries"), 0.0);
        for turn in 0..20_u32 {
            counters.query(Carrier::Udp4, QueryType::A, Ending::Other);
            counters.query(Carrier::Tls6, QueryType::A, Ending::Other);
            counters.response(Carrier::Udp4, Source::Own, Class::NxDomain);
            rates.take(begun + SAMPLE_EVERY * turn, &Totals::of([&counters]));
        }
        assert_eq!((rate("queries"), rate("udp"), rate("tls"), rate("tcp")), (1.0, 0.5, 0.5, 0.0));
        assert_eq!((rate("nxdomain"), rate("noerror")), (0.5, 0.0));
        assert_eq!(rates.samples.borrow().len(), SAMPLES);
    }
}
