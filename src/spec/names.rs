//! What apps, components, process types and hosts may be called, and what to call them instead.
//!
//! App and component names follow DigitalOcean's rule (design §2.2), process types Heroku's, brought into the form of a
//! label as Heroku's own newer parser does. Host names are letters, digits and hyphens (RFC 1123 §2.1): a client that
//! builds a URL of one must be able to.

use crate::name::{Label, NAME_MAX, Name};

use super::reader::Refusal;
use super::report::quote;

/// The most octets of an app's or a component's name.
const NAME_LENGTH_MAX: usize = 32;
/// The most octets of a process type or a port name, once it is a label.
const LABEL_LENGTH_MAX: usize = 63;
/// The most octets of a port's name: the `_` before it in an SRV owner takes one (RFC 2782).
const PORT_NAME_MAX: usize = 62;
/// The most octets of a label on the wire: its length and itself.
const LABEL_OCTETS: usize = 1 + LABEL_LENGTH_MAX;
/// The octets of `_65535._tcp.` on the wire; a number and its dot have one less.
const PORT_OCTETS: usize = 12;
/// The octets of `*.` on the wire.
const STAR_OCTETS: usize = 2;
/// Labels that mean something to every resolver: special-use names (RFC 6761, 6762, 7686), and the two that clients
/// trust to find their proxy and their tunnel by.
const RESERVED: [&str; 6] = ["localhost", "wpad", "isatap", "local", "invalid", "onion"];

/// Reads an app's name.
///
/// # Errors
/// When it is not one.
pub(super) fn app(written: &str) -> Result<Label, Refusal> {
    declared(written, "an app")
}

/// Reads a component's name.
///
/// # Errors
/// When it is not one.
pub(super) fn component(written: &str) -> Result<Label, Refusal> {
    declared(written, "a component")
}

/// Reads a process type or the name of a component that a registration gives: lower-cased, `_` becomes `-`.
///
/// # Errors
/// When that is not a label of letters, digits and hyphens.
pub(super) fn process(written: &str) -> Result<Label, Refusal> {
    refuse_reserved(written, "a process type")?;
    let label = written.to_ascii_lowercase().replace('_', "-");
    let refuse = |why: String| {
        let rule =
            "a process type is 1 to 63 letters, digits, `-` or `_`, and neither begins nor ends with the last two";
        Err(Refusal::new(format!("{} is not a process type: {why}", quote(written)), rule))
    };
    match ldh_flaw(&label, LABEL_LENGTH_MAX) {
        Some(flaw) => refuse(flaw),
        None => refuse_reserved(&label, "a process type").and_then(|()| label_of(&label)),
    }
}

/// Reads a port's name.
///
/// # Errors
/// When it does not fit behind the `_` of an SRV owner.
pub(super) fn port(written: &str) -> Result<Label, Refusal> {
    match ldh_flaw(written, PORT_NAME_MAX) {
        None => label_of(written),
        Some(flaw) => Err(Refusal::new(
            format!("{} is not a port name: {flaw}", quote(written)),
            "a port name is 1 to 62 letters, digits or `-`, as `http`",
        )),
    }
}

/// Reads a host name of two labels or more; upper case and a trailing dot are taken.
///
/// # Errors
/// When it is not one, or lies below `localhost.`.
pub(super) fn host(written: &str) -> Result<Name, Refusal> {
    let name = suffix(written)?;
    if name.label_count() < 2 {
        let fault = format!("{} is a single label", quote(written));
        return Err(Refusal::new(fault, "write a full name, as `api.example.com`"));
    }
    Ok(name)
}

/// Reads a suffix: a host name, or a single label.
///
/// # Errors
/// When it is not one, or is `localhost.` or below it.
pub(super) fn suffix(written: &str) -> Result<Name, Refusal> {
    let refuse = |why: &str| {
        let remedy = if written.is_ascii() {
            "a name is labels of letters, digits and `-`, joined by dots, as `api.example.com`"
        } else {
            "write it in its ASCII form, as `xn--bcher-kva.example`"
        };
        Err(Refusal::new(format!("{} is not a host name: {why}", quote(written)), remedy))
    };
    let bare = written.strip_suffix('.').unwrap_or(written);
    if bare.is_empty() {
        return refuse("it has no label");
    }
    for label in bare.split('.') {
        if label.starts_with('_') {
            return refuse("a label begins with `_`, which is for services and keys");
        }
        if let Some(flaw) = ldh_flaw(label, LABEL_LENGTH_MAX) {
            return refuse(&if label.is_empty() { "two dots have no label between them".to_owned() } else { flaw });
        }
    }
    // RFC 6761 §6.3: `localhost.` and what is below it are this machine, whatever anyone declares.
    if bare.rsplit('.').next().is_some_and(|top| top.eq_ignore_ascii_case("localhost")) {
        return Err(Refusal::new(
            format!("{} always means the caller's own machine", quote(written)),
            "take another name",
        ));
    }
    bare.parse().or_else(|error: crate::name::NameError| refuse(&error.to_string()))
}

/// Reads a discovery domain: below it, `_65535._tcp.<process>.<app>.` must fit.
///
/// # Errors
/// When it is no suffix, or too long.
pub(super) fn discovery_domain(written: &str) -> Result<Name, Refusal> {
    suffix_below(written, PORT_OCTETS + 2 * LABEL_OCTETS)
}

/// Reads the suffix of app hostnames: an app's label must fit before it.
///
/// # Errors
/// When it is no suffix, or too long.
pub(super) fn app_domain(written: &str) -> Result<Name, Refusal> {
    suffix_below(written, LABEL_OCTETS)
}

/// Reads a host name below which everything is meant: a `*` must fit before it.
///
/// # Errors
/// When it is no host name, or too long.
pub(super) fn wildcard_parent(written: &str) -> Result<Name, Refusal> {
    host(written).and_then(|name| with_room(name, written, STAR_OCTETS))
}

fn suffix_below(written: &str, room: usize) -> Result<Name, Refusal> {
    suffix(written).and_then(|name| with_room(name, written, room))
}

/// Refuses a name that has not so many octets left before it (RFC 1035 §2.3.4).
fn with_room(name: Name, written: &str, room: usize) -> Result<Name, Refusal> {
    let most = NAME_MAX - room;
    if name.wire().len() <= most {
        return Ok(name);
    }
    // In text there is one octet less at each end: the first length, and the root.
    let fault = format!("{} is too long: the names before it would not fit", quote(written));
    Err(Refusal::new(fault, format!("take one of {} characters at most", most - 2)))
}

/// Reads what a topology lists as a domain: a host name of two labels or more, or `*.` before one.
///
/// # Errors
/// When it is neither.
pub(super) fn domain_or_wildcard(written: &str) -> Result<Name, Refusal> {
    let Some(below) = written.strip_prefix("*.") else { return host(written) };
    let refuse = |error: crate::name::NameError| Refusal::new(format!("{}: {error}", quote(written)), "shorten it");
    let parent = host(below)?;
    parent.child(&Label::from_octets(b"*").map_err(refuse)?).map_err(refuse)
}

fn declared(written: &str, what: &str) -> Result<Label, Refusal> {
    refuse_reserved(written, what)?;
    let Some(flaw) = declared_flaw(written) else { return label_of(written) };
    let rule = "2 to 32 of `a` to `z`, `0` to `9` and `-`, beginning with a letter and not ending with `-`";
    let remedy = match suggestion(written) {
        Some(name) => format!("call it {} ({rule})", quote(&name)),
        None => format!("a name is {rule}"),
    };
    Err(Refusal::new(format!("{} cannot be the name of {what}: {flaw}", quote(written)), remedy))
}

fn refuse_reserved(written: &str, what: &str) -> Result<(), Refusal> {
    if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(written)) {
        let fault =
            format!("{} cannot be the name of {what}: every resolver gives it a meaning of its own", quote(written));
        return Err(Refusal::new(fault, "take another name"));
    }
    if written.starts_with('_') {
        let fault = format!("{} cannot be the name of {what}: a leading `_` is for services and keys", quote(written));
        return Err(Refusal::new(fault, "take another name"));
    }
    Ok(())
}

/// What keeps a name from `^[a-z][a-z0-9-]{0,30}[a-z0-9]$`.
fn declared_flaw(written: &str) -> Option<String> {
    let length = written.len();
    if let Some(flaw) = ldh_flaw(written, NAME_LENGTH_MAX) {
        return Some(flaw);
    }
    if written.bytes().any(|octet| octet.is_ascii_uppercase()) {
        return Some("it has upper-case letters".to_owned());
    }
    if !written.starts_with(|first: char| first.is_ascii_lowercase()) {
        return Some("it begins with a digit".to_owned());
    }
    (length < 2).then(|| "it has one letter only".to_owned())
}

/// What keeps a text from being letters, digits and inner hyphens.
fn ldh_flaw(written: &str, length_max: usize) -> Option<String> {
    if written.is_empty() {
        return Some("it is empty".to_owned());
    }
    if let Some(odd) = written.chars().find(|character| !character.is_ascii_alphanumeric() && *character != '-') {
        return Some(match odd {
            '.' => "it has dots in it".to_owned(),
            '_' => "it has `_` in it".to_owned(),
            odd if odd.is_whitespace() => "it has a space in it".to_owned(),
            odd => format!("it has {} in it", quote(&odd.to_string())),
        });
    }
    if written.starts_with('-') || written.ends_with('-') {
        return Some("it begins or ends with `-`".to_owned());
    }
    (written.len() > length_max).then(|| format!("it is longer than {length_max} octets"))
}

/// The name that was most likely meant.
fn suggestion(written: &str) -> Option<String> {
    let mut name = String::new();
    for character in written.chars().take(4 * NAME_LENGTH_MAX) {
        match character.to_ascii_lowercase() {
            plain @ ('a'..='z' | '0'..='9') => name.push(plain),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    let name = name.trim_start_matches(|first: char| !first.is_ascii_lowercase());
    let name: String = name.chars().take(NAME_LENGTH_MAX).collect();
    let name = name.trim_end_matches('-').to_owned();
    (declared_flaw(&name).is_none() && refuse_reserved(&name, "").is_ok()).then_some(name)
}

fn label_of(checked: &str) -> Result<Label, Refusal> {
    Label::from_octets(checked.as_bytes())
        .map_err(|error| Refusal::new(format!("{}: {error}", quote(checked)), "shorten it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
        let refusal = result.unwrap_err();
        format!("{}; {}", refusal.fault, refusal.remedy)
    }

    #[test]
    fn app_names_follow_the_vendors_rule() {
        for good in ["ab", "a1", "shop", "a--b", &format!("a{}", "b".repeat(31))] {
            assert!(app(good).is_ok(), "{good}");
        }
        for bad in ["", "a", "1a", "-a", "a-", "Shop", "a_b", "a.b", "é1", "a b", &"b".repeat(33)] {
            assert!(app(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_name_comes_with_a_good_one() {
        assert_eq!(
            fault(app("minimal.example.flask.zmq")),
            "`minimal.example.flask.zmq` cannot be the name of an app: it has dots in it; call it \
             `minimal-example-flask-zmq` (2 to 32 of `a` to `z`, `0` to `9` and `-`, beginning with a letter and not \
             ending with `-`)"
        );
        assert!(fault(component("Web_API")).contains("call it `web-api`"));
        assert!(fault(component("1")).contains("a name is 2 to 32"));
    }

    #[test]
    fn reserved_names_are_refused_with_the_reason() {
        for reserved in ["localhost", "wpad", "ISATAP", "local", "invalid", "onion", "_web"] {
            assert!(app(reserved).is_err(), "{reserved}");
            assert!(component(reserved).is_err(), "{reserved}");
            assert!(process(reserved).is_err(), "{reserved}");
        }
        assert!(fault(app("wpad")).contains("every resolver gives it a meaning of its own"));
        assert!(fault(app("_web")).contains("a leading `_`"));
    }

    #[test]
    fn process_types_become_labels() {
        assert_eq!(process("Imap_Client_1x").unwrap().octets(), b"imap-client-1x");
        assert_eq!(process("w").unwrap().octets(), b"w");
        for bad in ["", "-web", "web_", "we.b", &"x".repeat(64)] {
            assert!(process(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_suffix_leaves_room_for_the_names_before_it() {
        let of =
            |length: usize| format!("{}.{}", ["a"; 10].join("."), "b".repeat(63)) + &".cc".repeat((length - 83) / 3);
        assert_eq!((of(113).len(), of(116).len()), (113, 116));
        assert!(discovery_domain(&of(113)).is_ok());
        assert!(fault(discovery_domain(&of(116))).ends_with("take one of 113 characters at most"));
        assert!(app_domain(&of(188)).is_ok() && app_domain(&of(191)).is_err());
        assert!(wildcard_parent(&of(251)).is_ok() && host(&of(251)).is_ok());
        assert!(wildcard_parent(&format!("{}.{}", of(251), "")).is_ok());
        let longest = format!("a{}", of(251)).replacen("aa.", "aaa.", 1);
        assert!(host(&longest).is_ok() && wildcard_parent(&longest).is_err());
    }

    #[test]
    fn host_names_are_letters_digits_and_hyphens_of_two_labels() {
        assert_eq!(host("API.Example.COM.").unwrap().to_string(), "api.example.com.");
        assert!(host("a--b.xn--p1ai").is_ok());
        for bad in
            ["", ".", "com", "a..b", "_sip.example.com", "a_b.example.com", "*.example.com", "bücher.example", "-a.b"]
        {
            assert!(host(bad).is_err(), "{bad}");
        }
        assert!(host("x.localhost").is_err());
        assert!(host(&format!("{}.example", ["a"; 130].join("."))).is_err());
        assert!(fault(host("bücher.example")).contains("xn--"));
        assert_eq!(domain_or_wildcard("*.example.com").unwrap().to_string(), "*.example.com.");
    }
}
