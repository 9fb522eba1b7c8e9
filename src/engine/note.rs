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
    /// The word that there is no such name.
    Unknown,
    /// The word that there are no records of the type.
    Type,
    /// The word that nothing is up that the name could lead to.
    Gate,
    /// The word that there is no such name, as the caller is on no app's LAN.
    View,
    /// The word that there are no records, as the caller is on the LANs of several apps.
    Ambiguous,
    /// The word that there is no such name, as the app that held it was removed a short while ago.
    Removed,
    /// REFUSED: the caller is nobody's.
    Stranger,
    /// REFUSED: another class, a zone transfer, or a foreign name without recursion.
    Refusal,
    /// SERVFAIL: the first scan is not complete.
    NotReady,
    /// The name is foreign; what it gets is not the engine's to say.
    Foreign,
}

impl Note {
    pub(super) fn of(query: &Query, outcome: &Outcome<'_>) -> Self {
        let got = match outcome {
            Outcome::Answer(..) | Outcome::Chaos(_) => Got::Answer,
            Outcome::NoData(_, Why::Nothing | Why::Text("")) => Got::Type,
            Outcome::NoData(_, Why::Text(_) | Why::Instance(_) | Why::Kept(..)) => Got::Gate,
            Outcome::NoData(_, Why::AmbiguousCaller) => Got::Ambiguous,
            Outcome::NxDomain(_, missing) => Got::of(*missing),
            Outcome::Foreign => Got::Foreign,
            Outcome::Refuse(Refusal::Caller) => Got::Stranger,
            Outcome::Refuse(Refusal::NotAuthoritative | Refusal::Class | Refusal::Transfer) => Got::Refusal,
            Outcome::NotReady => Got::NotReady,
            Outcome::Fault(_) => Got::Fault,
        };
        Self { qtype: Some(query.qtype.0), got }
    }
}

impl Got {
    /// What the word is that a name does not exist.
    #[inline(always)]
    pub(super) const fn of(missing: Missing) -> Self {
        match missing {
            Missing::NoLan => Self::View,
            Missing::Removed => Self::Removed,
            _ => Self::Unknown,
        }
    }
}
