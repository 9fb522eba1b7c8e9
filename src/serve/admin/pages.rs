//! From a path to its page, and what every page's response has.

use std::borrow::Cow;
use std::net::IpAddr;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;

use super::{Sources, live, metrics, ready, status, top, wait};

/// What goes out.
pub(super) type Reply = Response<Full<Bytes>>;

/// Which names of this host a request may be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hosts {
    /// Any: who may connect is somebody else's to say.
    Any,
    /// Addresses and `localhost`: a name of somebody else's that leads to loopback is an attack.
    ThisOne,
}

/// Makes the page that is asked for.
pub(super) async fn respond(request: &Request<Incoming>, hosts: Hosts, sources: &Sources) -> Reply {
    if hosts == Hosts::ThisOne && !is_this_host(request) {
        return refuse(StatusCode::MISDIRECTED_REQUEST, "ask for this host by its address, or as localhost");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut reply = refuse(StatusCode::METHOD_NOT_ALLOWED, "everything here is only read: use GET");
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return reply;
    }
    let parameters = Parameters::of(request.uri().query().unwrap_or_default());
    let page = match request.uri().path() {
        "/metrics" => Ok(metrics::page(sources)),
        "/top" => top::page(&parameters, sources),
        "/livez" => live::page(sources).await,
        "/readyz" => Ok(ready::page(sources)),
        "/status" => status::page(&parameters, sources).await,
        "/wait" => wait::page(&parameters, sources).await,
        _ => Err(Refusal(StatusCode::NOT_FOUND, "there are /livez, /readyz, /status, /wait, /metrics and /top".into())),
    };
    page.unwrap_or_else(|Refusal(status, why)| refuse(status, &why))
}

/// Why there is no page.
#[derive(Debug)]
pub(super) struct Refusal(pub(super) StatusCode, pub(super) Cow<'static, str>);

impl Refusal {
    /// It was asked for in a wrong way.
    pub(super) fn of_asking(why: impl Into<Cow<'static, str>>) -> Self {
        Self(StatusCode::BAD_REQUEST, why.into())
    }
}

impl From<crate::control::Unanswered> for Refusal {
    fn from(why: crate::control::Unanswered) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, why.to_string().into())
    }
}

/// What stands after `?`. The last of several of one name counts.
#[derive(Debug)]
pub(super) struct Parameters<'q>(Vec<(Cow<'q, str>, Cow<'q, str>)>);

impl<'q> Parameters<'q> {
    fn of(query: &'q str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).collect())
    }

    /// The value of a parameter.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(given, _)| given == name).map(|(_, value)| &**value)
    }

    /// That there is no parameter but these: one with a slip in its name must not be lost.
    ///
    /// # Errors
    /// When there is.
    pub(super) fn only(&self, names: &[&str]) -> Result<(), Refusal> {
        match self.0.iter().find(|(given, _)| !names.contains(&&**given)) {
            Some(_) => Err(Refusal::of_asking(format!("the parameters are {}", names.join(", ")))),
            None => Ok(()),
        }
    }
}

/// A page of text.
pub(super) fn text(status: StatusCode, text: &str) -> Reply {
    reply(status, "text/plain; charset=utf-8", format!("{text}\n").into())
}

/// A page that is one JSON document.
pub(super) fn json(status: StatusCode, document: &impl Serialize) -> Reply {
    // Only a map whose keys are no text fails, and there is none.
    let mut octets = serde_json::to_vec(document).unwrap_or_default();
    octets.push(b'\n');
    reply(status, "application/json", octets.into())
}

fn refuse(status: StatusCode, why: &str) -> Reply {
    #[derive(Serialize)]
    struct Why<'w> {
        error: &'w str,
    }
    json(status, &Why { error: why })
}

pub(super) fn reply(status: StatusCode, kind: &'static str, octets: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(octets));
    *reply.status_mut() = status;
    for (name, value) in [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store"), (X_CONTENT_TYPE_OPTIONS, "nosniff")] {
        reply.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    reply
}

fn is_this_host(request: &Request<Incoming>) -> bool {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    // HTTP/1.0 has none, and no browser speaks it.
    host.is_none_or(names_this_host)
}

fn names_this_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_this_one_by_address_or_as_localhost() {
        for host in ["localhost", "LOCALHOST:9153", "127.0.0.1", "127.0.0.1:9153", "[::1]", "[::1]:9153"] {
            assert!(names_this_host(host), "{host}");
        }
        for host in ["", "evil.example", "evil.example:9153", "localhost.evil.example", "127.0.0.1.evil.example", "["] {
            assert!(!names_this_host(host), "{host}");
        }
    }

    #[test]
    fn parameters_are_decoded_and_unknown_ones_refused() {
        let parameters = Parameters::of("file=a%2Fb+c.json&for=1&for=2");
        assert_eq!((parameters.value("file"), parameters.value("for")), (Some("a/b c.json"), Some("2")));
        assert_eq!(parameters.value("gone"), None);
        assert!(parameters.only(&["file", "for"]).is_ok());
        assert!(parameters.only(&["file"]).is_err());
    }
}
