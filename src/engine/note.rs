//! What there is to count of a query, noted while it is answered: a type and one of a few outcomes, no name and no address.

use super::lookup::{Outcome, Refusal};
use crate::wire::Query;
use crate::zone::{Missing, Why};

/// What there is to count of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Note {
    /// The number of the type asked for; `None` when the question could not be read.
    pub qtype: Option<u16>,
    /// What it got.
    pub got: Got,
}

/// What a query got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Got {
    /// A response that says what is wrong with it, or none.
    #[default]
    Fault,
    /// Records, or a text in class CH.
    Answer,
    /// The word that there is nothing, for this reason.
    Nothing(Reason),
    /// REFUSED: the caller is nobody's.
    Stranger,
    /// REFUSED: another class, a zone transfer, or a foreign name without recursion.
    Refusal,
    /// SERVFAIL: the first scan is not complete.
    NotReady,
    /// The name is foreign; what it gets is not the engine's to say.
    Foreign,
}

/// Why there is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is no such name.
    Unknown,
    /// The name is there, and has no records of the type.
    Type,
    /// The name is there, and nothing is up that it could lead to.
    Gate,
    /// The caller is on no app's LAN, or on those of several.
    View,
    /// The app that held the name was removed a short while ago.
    Removed,
}

impl Note {
    pub(super) fn of(query: &Query, outcome: &Outcome<'_>) -> Self {
        let got = match outcome {
            Outcome::Answer(..) | Outcome::Chaos(_) => Got::Answer,
            Outcome::NoData(_, Why::Nothing | Why::Text("")) => Got::Nothing(Reason::Type),
            Outcome::NoData(_, Why::Text(_) | Why::Instance(_) | Why::Kept(..)) => Got::Nothing(Reason::Gate),
            Outcome::NoData(_, Why::AmbiguousCaller) => Got::Nothing(Reason::View),
            Outcome::NxDomain(_, missing) => Got::Nothing(Reason::of(*missing)),
            Outcome::Foreign => Got::Foreign,
            Outcome::Refuse(Refusal::Caller) => Got::Stranger,
            Outcome::Refuse(Refusal::NotAuthoritative | Refusal::Class | Refusal::Transfer) => Got::Refusal,
            Outcome::NotReady => Got::NotReady,
            Outcome::Fault(_) => Got::Fault,
        };
        Self { qtype: Some(query.qtype.0), got }
    }
}

impl Reason {
    #[inline(always)]
    pub(super) const fn of(missing: Missing) -> Self {
        match missing {
            Missing::NoLan => Self::View,
            Missing::Removed => Self::Removed,
            _ => Self::Unknown,
        }
    }
}
