//! What all threads have counted and what is served, put together for whoever scrapes.

use std::sync::{Arc, Mutex, PoisonError};

use crate::observe::{Counters, FileGauges, Gauge, Top, Totals, Upstreams, level, levels, openmetrics};
use crate::publish::{Holdings, Readiness, Subscriber};

/// The numbers of a running server. A clone is of the same server.
#[derive(Debug, Clone)]
pub struct Metrics {
    counters: Arc<[Arc<Counters>]>,
    files: Arc<FileGauges>,
    upstreams: Arc<Upstreams>,
    served: Arc<Mutex<Served>>,
}

#[derive(Debug)]
struct Served {
    subscriber: Subscriber,
    /// Of which generation, and what it holds: counted once.
    holdings: Option<(u64, Holdings)>,
}

impl Metrics {
    /// Puts together what these threads count, how the spec directory and the upstreams are doing, and what is served.
    #[must_use]
    pub fn new(
        counters: impl IntoIterator<Item = Arc<Counters>>,
        files: Arc<FileGauges>,
        upstreams: Arc<Upstreams>,
        subscriber: &Subscriber,
    ) -> Self {
        let served = Arc::new(Mutex::new(Served { subscriber: subscriber.clone(), holdings: None }));
        Self { counters: counters.into_iter().collect(), files, upstreams, served }
    }

    /// Everything as OpenMetrics text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut gauges = Vec::new();
        self.served.lock().unwrap_or_else(PoisonError::into_inner).gauges(&mut gauges);
        gauges.extend(self.files.numbers());
        gauges.extend(self.files.by_state());
        gauges.extend(self.upstreams.gauges());
        openmetrics(&self.totals(), gauges)
    }

    /// How many files are ok, stale and rejected.
    #[must_use]
    pub fn files_by_state(&self) -> Vec<u64> {
        self.files.by_state().map(|gauge| gauge.value).collect()
    }

    /// How many files are missing, while what they said still holds.
    #[must_use]
    pub fn files_held(&self) -> u64 {
        self.files.are_held()
    }

    /// How the upstreams are doing.
    #[must_use]
    pub fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    /// What is heaviest, at most so many of each kind.
    #[must_use]
    pub fn top(&self, most: usize) -> Top {
        Top::among(self.counters.iter().map(Arc::as_ref), most)
    }

    /// What all threads have counted.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::of(self.counters.iter().map(Arc::as_ref).chain([self.files.counters()]))
    }
}

impl Served {
    fn gauges(&mut self, gauges: &mut Vec<Gauge>) {
        let Self { subscriber, holdings } = self;
        let snapshot = subscriber.current();
        let (generation, is_ready) = (snapshot.generation, snapshot.readiness == Readiness::Ready);
        let serial = u64::from(snapshot.serial);
        let Holdings { spaces, components, components_kept, apps, instances, names, callers } = match holdings {
            Some((counted, holdings)) if *counted == generation => *holdings,
            _ => holdings.insert((generation, Holdings::of(&snapshot))).1,
        };
        gauges.extend([
            level(
                "ready",
                "Whether queries are answered: the first scan, or a saved state, was complete",
                u64::from(is_ready),
            ),
            level("generation", "The generation that is served", generation),
            level("serial", "The serial of the SOA records", serial),
            level("spaces", "Spaces", spaces),
            level("components", "Components of all apps", components),
            level(
                "components_kept",
                "Components of which every instance fails its check, and which are answered all the same",
                components_kept,
            ),
            level("callers", "Addresses of instances that callers are known by", callers),
        ]);
        gauges.extend(levels("apps", "Apps, by whether their hostnames would answer", "gate", apps));
        gauges.extend(levels("instances", "Instances, by what is known of them", "state", instances));
        gauges.extend(levels("names", "Names outside the discovery domains, by what they are", "kind", names));
    }
}
