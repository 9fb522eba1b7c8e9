//! Which app a Heroku topology speaks of (design §2.4): the format has no app name.

use crate::name::{Label, Name};
use crate::spec::{SpaceSpec, TopologyApp};

use super::OwnerKind;

/// Characters of the random part that Heroku puts behind an app's name in its hostname.
const SUFFIX: usize = 12;

/// The app's name: from a dyno's hostname under the discovery domain, else from a domain under an app domain.
///
/// `1.web.<app>.app.localspace` and the older `1.<app>.app.localspace` occur: the app is the label next to the suffix.
pub(super) fn label_of(app: &TopologyApp, space: &SpaceSpec) -> Option<Label> {
    let under = |name: &Name, suffix: &Name| {
        let below = name.label_count().checked_sub(suffix.label_count() + 1)?;
        name.is_within(suffix)
            .then(|| name.labels().nth(below).and_then(|label| Label::from_octets(label).ok()))
            .flatten()
    };
    let hostname = app
        .hostnames
        .iter()
        .find_map(|hostname| space.discovery_domains.iter().find_map(|domain| under(&hostname.value, &domain.value)));
    hostname.or_else(|| {
        app.domains.iter().find_map(|domain| {
            let label = space.app_domains.iter().find_map(|suffix| under(&domain.value, &suffix.value.name))?;
            Some(without_suffix(&label))
        })
    })
}

/// What one of a topology's domains is to its app.
pub(super) fn kind_of(domain: &Name, space: &SpaceSpec) -> OwnerKind {
    let is_within = |suffix: &str| suffix.parse::<Name>().is_ok_and(|suffix| domain.is_within(&suffix));
    if space.app_domains.iter().any(|suffix| domain.is_within(&suffix.value.name)) {
        OwnerKind::Hostname
    } else if is_within("herokudns.com") || is_within("herokuspace.com") {
        OwnerKind::Target
    } else if domain.labels().next() == Some(b"*") {
        OwnerKind::Wildcard
    } else {
        OwnerKind::Domain
    }
}

/// `example-app-1234567890ab` → `example-app`; a name without such an end is left as it is.
fn without_suffix(label: &Label) -> Label {
    let octets = label.octets();
    let stem = octets.len().checked_sub(SUFFIX + 1).and_then(|end| {
        let (stem, suffix) = octets.split_at_checked(end)?;
        let random = suffix.strip_prefix(b"-")?;
        let is_random = random.iter().all(u8::is_ascii_alphanumeric) && random.iter().any(u8::is_ascii_digit);
        is_random.then_some(stem)
    });
    stem.and_then(|stem| Label::from_octets(stem).ok()).unwrap_or_else(|| label.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_random_end_of_a_hostname_is_no_part_of_the_app() {
        let stem = |text: &str| without_suffix(&Label::from_octets(text.as_bytes()).unwrap()).to_string();
        assert_eq!(stem("frozen-oasis-70544-1a2b3c4d5e6f"), "frozen-oasis-70544");
        assert_eq!(stem("spring-cloud-heroku-registry"), "spring-cloud-heroku-registry");
        assert_eq!(stem("tinyapp"), "tinyapp");
    }
}
