//! `/apps`: spaces, apps, components and instances with their state, lease and health, as JSON.
//!
//! `?search=TEXT` tells of those apps whose `space/app` has it in it; `?after=SPACE/APP` goes on after one, which is what `next` says
//! when there are more than `?most=N`.

use std::time::Duration;

use hyper::StatusCode;
use tokio::time::timeout;

use super::Sources;
use super::pages::{Parameters, Refusal, Reply, json};
use crate::control::{AppSelection, Overview, Unanswered};

pub(super) async fn page(parameters: &Parameters<'_>, sources: &Sources) -> Result<Reply, Refusal> {
    parameters.only(&["search", "after", "most"])?;
    let most = parameters.value("most").map_or(Ok(MOST), str::parse);
    let selection = AppSelection {
        search: parameters.value("search").unwrap_or_default().to_owned(),
        after: parameters.value("after").unwrap_or_default().to_owned(),
        most: most.map_err(|_| Refusal::of_asking("most is a whole number"))?,
    };
    Ok(json(StatusCode::OK, &overview(selection, sources).await?))
}

/// Has the owner task tell.
pub(super) async fn overview(selection: AppSelection, sources: &Sources) -> Result<Overview, Unanswered> {
    timeout(PATIENCE, sources.control.overview(selection)).await.map_err(|_| Unanswered)?
}

/// How many apps are told of unless more are asked for.
const MOST: usize = 100;

/// How long the owner task may take.
const PATIENCE: Duration = Duration::from_secs(10);
