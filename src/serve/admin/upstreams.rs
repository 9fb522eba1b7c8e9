//! How upstreams are doing, in words: for `/status` and the page, which may say who each is.

use serde::Serialize;

use super::Sources;
use crate::observe::{Upstream, UpstreamState};

/// What there is to say of an upstream.
#[derive(Debug, Serialize)]
pub(super) struct UpstreamStatus {
    /// What it goes by in metrics.
    pub(super) number: usize,
    /// Its address, as `--upstream` takes it.
    pub(super) server: String,
    /// The zone that it is asked about.
    pub(super) zone: String,
    #[serde(serialize_with = "word")]
    pub(super) state: UpstreamState,
    pub(super) asked: u64,
    pub(super) failures: u64,
    /// How long it takes to respond, smoothed, in milliseconds; none before the first time.
    pub(super) response_ms: Option<f64>,
}

/// Every upstream, by its number.
pub(super) fn all(sources: &Sources) -> Vec<UpstreamStatus> {
    sources.metrics.upstreams().all().iter().map(of).collect()
}

fn of(upstream: &Upstream) -> UpstreamStatus {
    UpstreamStatus {
        number: upstream.number(),
        server: upstream.server().to_owned(),
        zone: upstream.zone().to_owned(),
        state: upstream.state(),
        asked: upstream.asked(),
        failures: upstream.failures(),
        response_ms: upstream.response().map(|response| response.as_secs_f64() * 1000.0),
    }
}

fn word<S: serde::Serializer>(state: &UpstreamState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.word())
}
