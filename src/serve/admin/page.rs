//! The status page at `/`: what is served, what is wrong, what changed, and why a caller gets what it gets.
//!
//! It is whole without JavaScript: every form is a GET of this page. The script beside it only saves reloading. Nothing on it comes
//! from another host, and the policy it is sent with lets nothing else run: style and script are pages of their own rather than inline,
//! so that the policy needs neither nonce nor hash.
//!
//! - `page/asked.rs`: what the page was asked for.
//! - `page/parts.rs`: the page from its head to its foot; `page/files.rs` and `page/apps.rs` have its two long sections.
//! - `page/page.css`, `page/page.js`.

mod apps;
mod asked;
mod files;
mod parts;

use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY};

use super::html::Html;
use super::pages::{Parameters, Refusal, Reply, reply};
use super::{Shared, resolve, status, upstreams};
use crate::control::{AppSelection, FileState, Selection};
use asked::Asked;
use parts::{Told, Why};

pub(super) async fn page(parameters: &Parameters<'_>, shared: &Shared) -> Result<Reply, Refusal> {
    let asked = Asked::of(parameters)?;
    let sources = &shared.sources;
    let selection = AppSelection { search: asked.search.clone(), after: asked.after.clone(), most: APPS };
    // What is missing is said in its place: a part that cannot be had takes none of the others away.
    let status = status::ask(selected(&asked)?, sources).await;
    let overview = super::apps::overview(selection, sources).await;
    let why = match resolve::question(parameters) {
        Ok(None) => Why::Unasked,
        Ok(Some(question)) => resolve::explain(question, sources).await.into(),
        Err(refusal) => Err(refusal).into(),
    };
    let mut html = Html::default();
    let told = Told {
        status,
        overview,
        why,
        rates: shared.rates.all(),
        upstreams: upstreams::all(sources),
        held: sources.metrics.files_held(),
    };
    parts::write(&mut html, &asked, &told);
    let mut reply = reply(StatusCode::OK, "text/html; charset=utf-8", html.finish().into());
    reply.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    reply.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Ok(reply)
}

pub(super) fn style() -> Reply {
    reply(StatusCode::OK, "text/css; charset=utf-8", include_str!("page/page.css").into())
}

pub(super) fn script() -> Reply {
    reply(StatusCode::OK, "text/javascript; charset=utf-8", include_str!("page/page.js").into())
}

/// Which files are told of.
fn selected(asked: &Asked) -> Result<Selection, Refusal> {
    let after = asked.files_after.clone();
    let state = match &*asked.files {
        "faulty" => return Ok(Selection::Faulty { after, most: FILES }),
        "all" => None,
        "ok" => Some(FileState::Ok),
        "stale" => Some(FileState::Stale),
        "rejected" => Some(FileState::Rejected),
        "expired" => Some(FileState::Expired),
        _ => return Err(Refusal::of_asking("files is one of faulty, all, ok, stale, rejected, expired")),
    };
    Ok(Selection::Some { after, state, most: FILES })
}

/// What a browser lets the page do: nothing but its own style, its own script, and to ask this server.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Apps on one page.
const APPS: usize = 20;

/// Files on one page.
const FILES: usize = 50;
