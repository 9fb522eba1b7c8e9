//! Why a name stays here though there are upstreams to ask: what never leaves the machine, in five kinds.
//!
//! Nothing here decides whether it does: [`Snapshot::find`](super::Snapshot::find) has found it to be ours, and has nothing there. The kinds are
//! for whoever counts, and so they are looked at for names without data alone: an answer needs no excuse.

use super::Space;
use super::special::Reserved;
use crate::name::NameBuffer;

/// What keeps a name of ours without data from being asked for elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// It has one label, or is below `_tcp` of one: a bare name, or what would be one.
    SingleLabel,
    /// It lies in a zone that is all ours: a discovery domain, or an exclusive suffix.
    ExclusiveSuffix,
    /// It was declared among the names of a public suffix.
    OverlayName,
    /// It is for special use (RFC 6761 and its kin), and no rule sends it anywhere.
    SpecialUse,
    /// It is the reverse name of a private address (RFC 6303), and no rule sends it anywhere.
    PrivateReverse,
}

impl Withheld {
    /// What keeps `name` here, which was found in the zone of `space` that starts at its label `apex`.
    #[must_use]
    pub fn of(space: &Space, name: &NameBuffer, apex: usize) -> Self {
        let zone = name.suffix(apex);
        if space.apexes.iter().any(|apex| apex.name.wire() == zone) {
            return Self::ExclusiveSuffix;
        }
        match Reserved::of(name) {
            // A name that was declared below `test.` is its own zone, or its domain's.
            Some(Reserved::Localhost | Reserved::TopLevel) if apex == name.label_count() => Self::SpecialUse,
            Some(Reserved::Zone(_)) if !is_reverse(name) => Self::SpecialUse,
            Some(Reserved::Zone(_)) => Self::PrivateReverse,
            // A space may have private addresses whose zones RFC 6303 does not list.
            None if is_reverse(name) => Self::PrivateReverse,
            _ if apex == name.label_count() => Self::SingleLabel,
            _ => Self::OverlayName,
        }
    }
}

/// Whether `name` stands for an address, or for some of the digits of one.
fn is_reverse(name: &NameBuffer) -> bool {
    let Some(last) = name.label_count().checked_sub(1) else { return false };
    let tree = last.checked_sub(1).map(|second| name.label(second));
    name.label(last) == b"arpa" && matches!(tree, Some(b"in-addr" | b"ip6"))
}
