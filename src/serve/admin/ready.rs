//! `/readyz`: whether there is a snapshot to answer from. Neither upstreams nor disks have a say in it.

use hyper::StatusCode;

use super::Sources;
use super::pages::{Reply, text};
use crate::publish::Readiness;

pub(super) fn page(sources: &Sources) -> Reply {
    match sources.subscriber.current().readiness {
        Readiness::Ready => text(StatusCode::OK, "ready"),
        Readiness::Starting => text(StatusCode::SERVICE_UNAVAILABLE, "starting: the files are being read"),
    }
}
