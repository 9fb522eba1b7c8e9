//! What an operator may have the server say of itself, and keep to itself. It says nothing unless told: who asks needs none of it, and an
//! attacker would like it. It keeps what should not leave the machine unless a rule sends just that somewhere.

use crate::name::{Name, NameBuffer};
use crate::zone::is_reserved;

/// What the server says of itself, and what it keeps to itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// What tells this server from others at the same address: sent to those who ask by NSID (RFC 5001).
    pub node_id: Option<Text>,
    /// What `version.bind.` and `version.server.` say in class CH.
    pub version: Option<Text>,
    /// What `id.server.` and `hostname.bind.` say in class CH (RFC 4892).
    pub identity: Option<Text>,
    /// How long an idle TCP or TLS connection is kept, in units of 100 ms (RFC 7828 §3.1): sent to those who ask.
    pub keepalive: Option<u16>,
    /// What would stay here, and is sent elsewhere.
    pub opened: Opened,
}

impl Settings {
    /// Says nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { node_id: None, version: None, identity: None, keepalive: None, opened: Opened::none() }
    }
}

/// Zones of special use, of private addresses or of one label that rules send elsewhere: an operator's own `internal.`, or the reverse
/// zone of a network behind a VPN.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// Whole zones.
    zones: Vec<Name>,
    /// Single labels; what lies below them leaves anyway.
    labels: Vec<Name>,
}

impl Opened {
    /// Opens those of `zones` that would stay here. A rule for what lies above one, such as the root, does not open it: nobody meant it to.
    #[must_use]
    pub fn new<'n>(zones: impl IntoIterator<Item = &'n Name>) -> Self {
        let (zones, others): (Vec<Name>, Vec<Name>) = zones.into_iter().cloned().partition(is_reserved);
        Self { zones, labels: others.into_iter().filter(|zone| zone.label_count() == 1).collect() }
    }

    /// Opens nothing.
    const fn none() -> Self {
        Self { zones: Vec::new(), labels: Vec::new() }
    }

    /// Whether there are none, as on almost every server.
    pub(super) const fn is_empty(&self) -> bool {
        self.zones.is_empty() && self.labels.is_empty()
    }

    /// Whether `name` lies in one of them.
    pub(super) fn has(&self, name: &NameBuffer) -> bool {
        self.zones.iter().any(|zone| name.position_of(zone).is_some())
            || self.labels.iter().any(|label| name.wire() == label.wire())
    }
}

/// Octets that the operator chose: 1 to [`TEXT_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(Box<[u8]>);

/// The most octets of a [`Text`]: with every option beside it, and the longest question before it, a response still has no more than 512
/// octets.
pub const TEXT_MAX: usize = 128;

/// Why octets are no [`Text`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// There are none.
    #[error("the text is empty")]
    Empty,
    /// There are more than [`TEXT_MAX`].
    #[error("the text has more than {TEXT_MAX} octets")]
    TooLong,
}

impl Text {
    /// Takes octets as they are.
    ///
    /// # Errors
    /// When there are none, or more than [`TEXT_MAX`].
    pub fn new(octets: &[u8]) -> Result<Self, TextError> {
        match octets.len() {
            0 => Err(TextError::Empty),
            1..=TEXT_MAX => Ok(Self(octets.into())),
            _ => Err(TextError::TooLong),
        }
    }

    /// The octets.
    #[must_use]
    pub const fn octets(&self) -> &[u8] {
        &self.0
    }
}
