//! What was counted, as OpenMetrics text.
//!
//! Every series is there from the first scrape to the last, zero or not: labels come from closed sets, and [`Gauge`] can hold no label
//! but a word that was written in this program, or the number of an upstream. So nothing that is asked or registered makes or ends a
//! series, and nothing that is configured is told.

use std::fmt::{self, Debug};
use std::iter;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::{Carrier, Class, Durations, Event, Limit, Negative, QueryType, SAMPLED, Source, Span, Totals};

/// A number that is so now, or that somebody else has counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gauge {
    /// Its name, without what they all begin with. Gauges of one name stand together.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// A label and its value.
    pub label: Option<(&'static str, Value)>,
    /// What sort of number it is.
    pub sort: Sort,
    /// The number.
    pub value: u64,
}

/// The value of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// One of a closed set.
    Word(&'static str),
    /// The place of something in the configuration, from 1.
    Number(usize),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl EncodeLabelValue for Value {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => word.encode(encoder),
            Self::Number(number) => number.encode(encoder),
        }
    }
}

/// What sort of number it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// It is what it is now.
    Level,
    /// It is how long something takes now, in microseconds; it is written in seconds.
    Microseconds,
    /// It counts since the start.
    Count,
}

/// Writes everything.
#[must_use]
pub fn openmetrics(totals: &Totals, gauges: Vec<Gauge>) -> String {
    let mut registry = Registry::with_prefix("spacedns");
    registry.register_collector(Box::new(Scrape { totals: *totals, gauges }));
    let mut written = String::new();
    // Writing into a string cannot fail.
    let _ = text::encode(&mut written, &registry);
    written
}

#[derive(Debug)]
struct Scrape {
    totals: Totals,
    gauges: Vec<Gauge>,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.traffic(&mut encoder)?;
        self.events(&mut encoder)?;
        for (span, name, help) in SPANS {
            let metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
            histogram(metric, &self.totals.durations(span))?;
        }
        self.gauges(&mut encoder)
    }
}

impl Scrape {
    fn traffic(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let totals = &self.totals;
        let help = "Queries, by what carried them and the type they ask for";
        let mut metric = encoder.encode_descriptor("queries", help, None, MetricType::Counter)?;
        for carrier in Carrier::ALL {
            for qtype in QueryType::ALL {
                let labels = [("transport", carrier.transport()), ("family", carrier.family()), ("type", qtype.name())];
                count(&mut metric, &labels, totals.queries(carrier, qtype))?;
            }
        }
        let help = "Responses, by what carried them, their RCODE, and whose word they are";
        let mut metric = encoder.encode_descriptor("responses", help, None, MetricType::Counter)?;
        for carrier in Carrier::ALL {
            for source in Source::ALL {
                for class in Class::ALL {
                    let labels = [
                        ("transport", carrier.transport()),
                        ("family", carrier.family()),
                        ("rcode", class.name()),
                        ("source", source.name()),
                    ];
                    count(&mut metric, &labels, totals.responses(carrier, source, class))?;
                }
            }
        }
        let help = "Queries that got nothing from us, and why";
        let mut metric = encoder.encode_descriptor("negative_answers", help, None, MetricType::Counter)?;
        for negative in Negative::ALL {
            count(&mut metric, &[("reason", negative.name())], totals.negatives(negative))?;
        }
        let help = "Queries of a kind for each that is sampled for /top";
        encoder.encode_descriptor("sampling", help, None, MetricType::Gauge)?.encode_gauge(&SAMPLED)
    }

    fn events(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let totals = &self.totals;
        // Those that somebody should be woken by have a name of their own.
        for (event, name, help) in NAMED {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            metric.encode_counter::<NoLabelSet, _, u64>(&totals.events(event), None)?;
        }
        let help = "Queries that did not leave for an upstream although there is one, and why";
        let mut metric = encoder.encode_descriptor("withheld", help, None, MetricType::Counter)?;
        for event in Event::ALL {
            if let Some(reason) = event.name().strip_prefix(WITHHELD) {
                count(&mut metric, &[("reason", reason)], totals.events(event))?;
            }
        }
        let mut metric = encoder.encode_descriptor("events", "Whatever else happened", None, MetricType::Counter)?;
        let is_named = |event: Event| NAMED.iter().any(|(named, ..)| *named == event);
        let rest = Event::ALL.into_iter().filter(|event| !is_named(*event) && !event.name().starts_with(WITHHELD));
        for event in rest {
            count(&mut metric, &[("event", event.name())], totals.events(event))?;
        }
        let help = "How often a limit on what clients may take was met";
        let mut metric = encoder.encode_descriptor("limit_hits", help, None, MetricType::Counter)?;
        for limit in Limit::ALL {
            count(&mut metric, &[("limit", limit.name())], totals.limits(limit))?;
        }
        Ok(())
    }

    fn gauges(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for gauges in self.gauges.chunk_by(|one, other| one.name == other.name) {
            let Some(first) = gauges.first() else { continue };
            let (kind, unit) = match first.sort {
                Sort::Level => (MetricType::Gauge, None),
                Sort::Microseconds => (MetricType::Gauge, Some(&Unit::Seconds)),
                Sort::Count => (MetricType::Counter, None),
            };
            let mut metric = encoder.encode_descriptor(first.name, first.help, unit, kind)?;
            for Gauge { label, value, sort, .. } in gauges {
                let labels: Vec<_> = label.iter().copied().collect();
                let labels = labels.as_slice();
                match (sort, labels.is_empty()) {
                    (Sort::Count, true) => metric.encode_counter::<NoLabelSet, _, u64>(value, None)?,
                    (Sort::Level, true) => metric.encode_gauge(value)?,
                    (Sort::Microseconds, true) => metric.encode_gauge(&seconds(*value))?,
                    (Sort::Count, false) => count(&mut metric, &labels, *value)?,
                    (Sort::Level, false) => metric.encode_family(&labels)?.encode_gauge(value)?,
                    (Sort::Microseconds, false) => {
                        metric.encode_family(&labels)?.encode_gauge(&seconds(*value))?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn seconds(microseconds: u64) -> f64 {
    Duration::from_micros(microseconds).as_secs_f64()
}

fn count(metric: &mut MetricEncoder<'_>, labels: &(impl EncodeLabelSet + Debug), number: u64) -> fmt::Result {
    metric.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(&number, None)
}

fn histogram(mut metric: MetricEncoder<'_>, durations: &Durations) -> fmt::Result {
    let buckets: Vec<(f64, u64)> = durations.buckets().collect();
    metric.encode_histogram::<NoLabelSet>(durations.total().as_secs_f64(), durations.count(), &buckets, None)
}

/// The events that have a metric of their own.
const NAMED: [(Event, &str, &str); 4] = [
    (Event::Panicked, "panics", "Queries that were met by a panic: a fault of ours, please report it"),
    (Event::Truncated, "truncations", "Responses that said TC, for what did not fit"),
    (Event::LogDropped, "query_log_drops", "Lines of the query log that were dropped, because it was behind"),
    (Event::CertificateRefused, "certificate_refusals", "Certificates that had changed and could not be used"),
];

/// What is timed.
const SPANS: [(Span, &str, &str); 4] = [
    (Span::Answer, "answer_duration", "Answering a query of a sampled UDP batch, without system calls; of UDP alone"),
    (Span::Forward, "forward_duration", "From a query for a foreign name to its response"),
    (Span::Reload, "reload_duration", "Reading and compiling what changed, up to the swap"),
    (Span::Change, "change_duration", "From the first word of a change to its being served"),
];

/// How the names of the events begin that keep a query here.
const WITHHELD: &str = "withheld-";

/// A level without a label.
#[must_use]
pub const fn level(name: &'static str, help: &'static str, value: u64) -> Gauge {
    Gauge { name, help, label: None, sort: Sort::Level, value }
}

/// One level a value of a label.
pub fn levels<const N: usize>(
    name: &'static str,
    help: &'static str,
    key: &'static str,
    values: [(&'static str, u64); N],
) -> impl Iterator<Item = Gauge> {
    iter::zip(values, iter::repeat((name, help, key))).map(|((label, value), (name, help, key))| Gauge {
        name,
        help,
        label: Some((key, Value::Word(label))),
        sort: Sort::Level,
        value,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observe::{Counters, Ending};

    #[test]
    fn what_was_counted_is_written_and_ends_as_openmetrics_does() {
        let counters = Counters::default();
        counters.query(Carrier::Tls6, QueryType::Aaaa, Ending::Other);
        counters.response(Carrier::Udp4, Source::Own, Class::NxDomain);
        counters.negative(Negative::GateClosed);
        counters.event(Event::Panicked, 2);
        counters.event(Event::WithheldSpecialUse, 3);
        counters.limit(Limit::Idle, 4);
        counters.duration(Span::Answer, Duration::from_micros(1), 5);
        let gauges = iter::once(level("generation", "The generation", 7)).chain(levels(
            "files",
            "Files",
            "state",
            [("ok", 8), ("stale", 0)],
        ));
        let written = openmetrics(&Totals::of([&counters]), gauges.collect());
        for line in [
            "spacedns_queries_total{transport=\"tls\",family=\"ipv6\",type=\"AAAA\"} 1",
            "spacedns_responses_total{transport=\"udp\",family=\"ipv4\",rcode=\"NXDOMAIN\",source=\"own\"} 1",
            "spacedns_negative_answers_total{reason=\"gate-closed\"} 1",
            "spacedns_panics_total 2",
            "spacedns_withheld_total{reason=\"special-use\"} 3",
            "spacedns_limit_hits_total{limit=\"idle\"} 4",
            "spacedns_answer_duration_seconds_bucket{le=\"0.0000016\"} 5",
            "spacedns_answer_duration_seconds_count 5",
            "spacedns_generation 7",
            "spacedns_files{state=\"ok\"} 8",
            "spacedns_files{state=\"stale\"} 0",
            "# TYPE spacedns_queries counter",
            "# UNIT spacedns_forward_duration_seconds seconds",
        ] {
            assert!(written.lines().any(|written| written == line), "{line}\n{written}");
        }
        assert!(written.ends_with("# EOF\n"));
        assert!(!written.contains("event=\"withheld"), "once is enough");
    }

    #[test]
    fn no_query_makes_a_series() {
        let counters = Counters::default();
        let names = |written: &str| -> Vec<String> {
            let series = written.lines().filter(|line| !line.starts_with('#'));
            series.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
        };
        let before = names(&openmetrics(&Totals::of([&counters]), Vec::new()));
        for number in 0..=u16::MAX {
            let name = [&[5][..], &number.to_be_bytes(), b"\x1b\n\"", &[0]].concat();
            let carrier = Carrier::ALL[usize::from(number % 8)];
            counters.query(carrier, QueryType::of(Some(number)), Ending::Other);
            counters.response(carrier, Source::Own, Class::of(u8::try_from(number % 16).unwrap()));
            counters.sample(&name, std::net::IpAddr::from([10, 0, 0, 1]), Some(Negative::Unknown));
        }
        assert_eq!(before, names(&openmetrics(&Totals::of([&counters]), Vec::new())));
    }
}
