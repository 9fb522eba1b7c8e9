//! `/metrics`: everything that is counted, as OpenMetrics text.

use hyper::StatusCode;

use super::Sources;
use super::pages::{Reply, reply};

pub(super) fn page(sources: &Sources) -> Reply {
    reply(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", sources.metrics.text().into())
}
