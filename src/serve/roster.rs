//! Who is connected, or about to be, and who goes when there are too many.
//!
//! A newcomer is never refused: the connection that has been idle for longest goes, of the same source when that has its fill,
//! of all when all are too many (RFC 9210 §4.1). So connections that only sit there cannot keep anyone out.
//! All lists are walked: 1,024 entries take a microsecond, much less than accepting does.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::observe::Limit;

/// Everyone who is connected. Used by one thread.
#[derive(Debug, Default)]
pub(super) struct Roster {
    members: RefCell<Vec<Rc<Member>>>,
    /// Tells when the last one left.
    emptied: Notify,
}

#[derive(Debug)]
struct Member {
    source: IpAddr,
    active: Cell<Instant>,
    evicted: Notify,
}

/// What had to happen to let someone in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// There was room.
    Room,
    /// Someone else was told to go, for this limit.
    Evicted(Limit),
}

impl Roster {
    /// Lets `source` in at `now`, and tells someone to go where that makes more than `per_source` of it or `all` in all.
    pub(super) fn admit(
        self: &Rc<Self>,
        source: IpAddr,
        now: Instant,
        per_source: usize,
        all: usize,
    ) -> (Place, Admission) {
        let mut members = self.members.borrow_mut();
        let of_source = members.iter().filter(|member| member.source == source).count();
        let limit = if of_source >= per_source.max(1) {
            Some(Limit::ConnectionsPerSource)
        } else {
            (members.len() >= all.max(1)).then_some(Limit::Connections)
        };
        let longest_idle = members
            .iter()
            .enumerate()
            .filter(|(_, member)| limit != Some(Limit::ConnectionsPerSource) || member.source == source)
            .min_by_key(|(_, member)| member.active.get())
            .map(|(index, _)| index);
        let admission = match (limit, longest_idle) {
            (Some(limit), Some(index)) => {
                members.swap_remove(index).evicted.notify_one();
                Admission::Evicted(limit)
            }
            _ => Admission::Room,
        };
        let member = Rc::new(Member { source, active: Cell::new(now), evicted: Notify::new() });
        members.push(Rc::clone(&member));
        (Place { member, roster: Rc::clone(self) }, admission)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.members.borrow().len()
    }

    /// Waits until nobody is left.
    pub(super) async fn empty(&self) {
        while !self.members.borrow().is_empty() {
            self.emptied.notified().await;
        }
    }
}

/// A connection's place in the roster, which it leaves by dropping it.
#[derive(Debug)]
pub(super) struct Place {
    member: Rc<Member>,
    roster: Rc<Roster>,
}

impl Place {
    /// Notes that the connection was used.
    pub(super) fn used(&self, now: Instant) {
        self.member.active.set(now);
    }

    /// When the connection was last used, or was let in.
    pub(super) fn last_used(&self) -> Instant {
        self.member.active.get()
    }

    /// Waits until the connection is told to go.
    pub(super) async fn evicted(&self) {
        self.member.evicted.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut members = self.roster.members.borrow_mut();
        members.retain(|member| !Rc::ptr_eq(member, &self.member));
        if members.is_empty() {
            self.roster.emptied.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn source(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    /// Whether this place was told to go, without waiting.
    fn is_evicted(place: &Place) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            tokio::select! { biased; () = place.evicted() => true, () = async {} => false }
        })
    }

    #[test]
    fn the_longest_idle_of_a_full_source_goes_whoever_else_is_idle() {
        let roster = Rc::new(Roster::default());
        let start = crate::serve::streams::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (other, _) = roster.admit(source(9), at(0), 2, 10);
        let (first, _) = roster.admit(source(1), at(1), 2, 10);
        let (second, admission) = roster.admit(source(1), at(2), 2, 10);
        assert_eq!(admission, Admission::Room);
        first.used(at(3));
        let (third, admission) = roster.admit(source(1), at(4), 2, 10);
        assert_eq!(admission, Admission::Evicted(Limit::ConnectionsPerSource));
        assert_eq!([&other, &first, &second, &third].map(is_evicted), [false, false, true, false]);
    }

    #[test]
    fn the_longest_idle_of_all_goes_when_all_are_too_many() {
        let roster = Rc::new(Roster::default());
        let start = crate::serve::streams::now();
        let places: Vec<_> =
            (1..=3).map(|last| roster.admit(source(last), start + Duration::from_secs(last.into()), 2, 3).0).collect();
        let (_newest, admission) = roster.admit(source(4), start + Duration::from_secs(9), 2, 3);
        assert_eq!(admission, Admission::Evicted(Limit::Connections));
        assert_eq!(places.iter().map(is_evicted).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn who_leaves_makes_room() {
        let roster = Rc::new(Roster::default());
        let now = crate::serve::streams::now();
        let (place, _) = roster.admit(source(1), now, 1, 1);
        drop(place);
        assert_eq!(roster.admit(source(1), now, 1, 1).1, Admission::Room);
    }
}
