//! Responses that were had, and questions that failed, by question; whole, and no more octets of them than were granted.
//!
//! Many workers look here between two queries of a batch, so the cache is in parts with a lock each, held for one look-up; what a part
//! holds is shared, not copied. When a part is full, a hand goes round it and takes what nobody has asked for since it came by last
//! (CLOCK): names asked for once, a flood of them too, push each other out and not those that are used. It knows nothing of time but
//! what it is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::stored::Stored;
use crate::observe::Limit;
use crate::zone::hash;

/// What is known of questions.
#[derive(Debug)]
pub(super) struct Cache {
    parts: Box<[Mutex<Part>]>,
    /// Octets that each part may hold.
    room: usize,
}

/// What is known of one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// Its response, this many seconds old.
    Fresh(Arc<Stored>, u32),
    /// A response that has run out, not too long ago (RFC 8767); nobody has failed to get a newer one lately.
    Expired(Arc<Stored>),
    /// Getting a response failed a moment ago (RFC 9520 §3.2); perhaps there is one that has run out.
    Failed(Failure, Option<Arc<Stored>>),
    /// Nothing.
    Nothing,
}

/// Why there is no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No upstream answered.
    Silent,
    /// Upstreams answered that they cannot, or will not.
    Declined,
    /// The network said that it cannot be done.
    Network,
    /// Too much is being asked already, by this limit of ours.
    Busy(Limit),
    /// Something of ours broke.
    Broken,
}

impl Cache {
    /// Makes a cache that holds so many octets.
    pub(super) fn new(octets: usize) -> Self {
        Self { parts: (0..PARTS).map(|_| Mutex::default()).collect(), room: octets / PARTS }
    }

    /// What is known of the question with this key.
    pub(super) fn look_up(&self, key: &[u8], now: Duration) -> Known {
        let mut part = self.part(key);
        let Some(slot) = part.slot(key) else { return Known::Nothing };
        slot.used = true;
        let stored = slot.stored.as_ref();
        if let Some((stored, since)) = stored.filter(|(stored, since)| now < *since + seconds(stored.lifetime)) {
            let age = now.saturating_sub(*since).as_secs();
            return Known::Fresh(Arc::clone(stored), u32::try_from(age).unwrap_or(u32::MAX));
        }
        let usable = |(stored, since): &&(Arc<Stored>, Duration)| now < *since + seconds(stored.lifetime) + STALE_MAX;
        let stale = stored.filter(usable).map(|(stored, _)| Arc::clone(stored));
        match (&slot.failed, stale) {
            (Some(failed), stale) if now < failed.until => Known::Failed(failed.why, stale),
            (_, Some(stale)) => Known::Expired(stale),
            (_, None) => Known::Nothing,
        }
    }

    /// Keeps a response; one that holds for no time only takes the place of what it disproves. Returns how many others had to go for it.
    pub(super) fn keep(&self, key: &[u8], stored: &Arc<Stored>, now: Duration) -> u64 {
        let slot = Slot { stored: Some((Arc::clone(stored), now)), failed: None, used: false };
        if stored.lifetime == 0 {
            self.part(key).remove(key);
            return 0;
        }
        self.part(key).insert(key, slot, self.room)
    }

    /// Notes that no response could be had. What is kept of an earlier one stays: a failure disproves nothing (RFC 8767 §5). Returns how
    /// many others had to go for it.
    pub(super) fn fail(&self, key: &[u8], why: Failure, now: Duration) -> u64 {
        let mut part = self.part(key);
        let before = part.slot(key);
        let stored = before.as_ref().and_then(|slot| slot.stored.clone());
        // One that lies far back says nothing about now.
        let recent = before.and_then(|slot| slot.failed.as_ref()).filter(|failed| now < failed.until + FAILURE_MAX);
        let times = recent.map_or(0, |failed| failed.times);
        let wait = match stored {
            // RFC 8767 §5: the failure recheck timer.
            Some(_) => STALE_RECHECK,
            None => FAILURE_FIRST.saturating_mul(1 << times.min(FAILURE_DOUBLINGS)).min(FAILURE_MAX),
        };
        let failed = Some(Failed { why, until: now + wait, times: times.saturating_add(1) });
        part.insert(key, Slot { stored, failed, used: false }, self.room)
    }

    fn part(&self, key: &[u8]) -> MutexGuard<'_, Part> {
        let place = usize::try_from(hash(0, key) >> 32).unwrap_or(0) % PARTS;
        let part = self.parts.get(place).or_else(|| self.parts.first());
        // A panic leaves a part as it was before or after a step: each is one that could be.
        part.expect("there are parts").lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One part of the cache.
#[derive(Debug, Default)]
struct Part {
    places: HashMap<Arc<[u8]>, usize>,
    slots: Vec<Option<(Arc<[u8]>, Slot)>>,
    free: Vec<usize>,
    octets: usize,
    hand: usize,
}

#[derive(Debug)]
struct Slot {
    /// The response, and since when.
    stored: Option<(Arc<Stored>, Duration)>,
    failed: Option<Failed>,
    /// Whether it was looked up since the hand came by.
    used: bool,
}

#[derive(Debug)]
struct Failed {
    why: Failure,
    until: Duration,
    /// How often in a row.
    times: u32,
}

impl Slot {
    fn size(&self, key: &[u8]) -> usize {
        SLOT_SIZE + key.len() + self.stored.as_ref().map_or(0, |(stored, _)| stored.size())
    }
}

impl Part {
    fn slot(&mut self, key: &[u8]) -> Option<&mut Slot> {
        let place = *self.places.get(key)?;
        self.slots.get_mut(place)?.as_mut().map(|(_, slot)| slot)
    }

    fn insert(&mut self, key: &[u8], slot: Slot, room: usize) -> u64 {
        self.remove(key);
        let size = slot.size(key);
        // One that would push out half of the others is not worth it.
        if size > room / 2 {
            return 0;
        }
        let mut gone = 0;
        while self.octets + size > room && self.make_room() {
            gone += 1;
        }
        let key: Arc<[u8]> = key.into();
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if let Some(free) = self.slots.get_mut(place) {
            *free = Some((Arc::clone(&key), slot));
            self.places.insert(key, place);
            self.octets += size;
        }
        gone
    }

    fn remove(&mut self, key: &[u8]) {
        let Some(place) = self.places.remove(key) else { return };
        if let Some((key, slot)) = self.slots.get_mut(place).and_then(Option::take) {
            self.octets -= slot.size(&key);
            self.free.push(place);
        }
    }

    /// Moves the hand on to what nobody used, and takes that out; false when there is nothing.
    fn make_room(&mut self) -> bool {
        // Twice round: the first time may find everything used.
        for _ in 0..self.slots.len() * 2 {
            let place = self.hand;
            self.hand = (place + 1) % self.slots.len();
            match self.slots.get_mut(place) {
                Some(Some((_, slot))) if slot.used => slot.used = false,
                Some(Some((key, _))) => {
                    let key = Arc::clone(key);
                    self.remove(&key);
                    return true;
                }
                _ => {}
            }
        }
        false
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

/// Parts with a lock of their own: more than there are workers on most machines.
const PARTS: usize = 64;
/// Octets that an entry takes besides its key and its response, about.
const SLOT_SIZE: usize = 160;
/// How long a response may be used after it ran out (RFC 8767 §5 has one to three days; a day is a weekend's half).
const STALE_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long nobody is asked again after a failure where a response that ran out is to be had (RFC 8767 §5).
const STALE_RECHECK: Duration = Duration::from_secs(30);
/// How long nobody is asked again after a first failure, then twice as long each time, up to the limit of RFC 9520 §3.2.
const FAILURE_FIRST: Duration = Duration::from_secs(5);
const FAILURE_DOUBLINGS: u32 = 6;
const FAILURE_MAX: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::response::tests::record;
    use super::super::stored::tests::{soa, stored};
    use super::*;
    use crate::wire::Section;

    fn answer(ttl: u32) -> Arc<Stored> {
        Arc::new(stored("a.example", 1, 0, &[record(Section::Answer, "a.example", 1, ttl, &[192, 0, 2, 1])]))
    }

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn octets(cache: &Cache) -> usize {
        cache.parts.iter().map(|part| part.lock().unwrap().octets).sum()
    }

    #[test]
    fn a_response_grows_old_by_the_second_and_runs_out() {
        let (cache, kept) = (Cache::new(1 << 20), answer(60));
        assert_eq!(cache.look_up(b"k", at(0)), Known::Nothing);
        cache.keep(b"k", &kept, at(500));
        assert_eq!(cache.look_up(b"k", at(500)), Known::Fresh(Arc::clone(&kept), 0));
        assert_eq!(cache.look_up(b"k", at(60_499)), Known::Fresh(Arc::clone(&kept), 59));
        assert_eq!(cache.look_up(b"k", at(60_500)), Known::Expired(Arc::clone(&kept)));
        assert_eq!(cache.look_up(b"k", at(60_499) + STALE_MAX), Known::Expired(kept));
        assert_eq!(cache.look_up(b"k", at(60_500) + STALE_MAX), Known::Nothing);
    }

    #[test]
    fn a_response_for_now_is_not_kept_and_takes_the_place_of_what_was() {
        let cache = Cache::new(1 << 20);
        cache.keep(b"k", &answer(60), at(0));
        cache.keep(b"k", &answer(0), at(100_000));
        assert_eq!(cache.look_up(b"k", at(100_000)), Known::Nothing);
        assert_eq!(octets(&cache), 0);
    }

    #[test]
    fn a_failure_is_kept_for_longer_each_time_up_to_five_minutes() {
        let cache = Cache::new(1 << 20);
        let mut now = at(0);
        for expected in [5, 10, 20, 40, 80, 160, 300, 300] {
            cache.fail(b"k", Failure::Silent, now);
            now += Duration::from_secs(expected);
            assert_eq!(cache.look_up(b"k", now - at(1)), Known::Failed(Failure::Silent, None));
            assert_eq!(cache.look_up(b"k", now), Known::Nothing);
        }
        cache.keep(b"k", &answer(1), now);
        now += STALE_MAX * 2;
        cache.keep(b"k", &answer(0), now);
        cache.fail(b"k", Failure::Network, now);
        assert_eq!(cache.look_up(b"k", now + at(5_000)), Known::Nothing, "a response in between starts anew");
    }

    #[test]
    fn a_name_that_is_gone_disproves_a_stale_response_and_a_failure_does_not() {
        let (cache, kept) = (Cache::new(1 << 20), answer(60));
        cache.keep(b"k", &kept, at(0));
        cache.fail(b"k", Failure::Declined, at(70_000));
        assert_eq!(cache.look_up(b"k", at(99_999)), Known::Failed(Failure::Declined, Some(Arc::clone(&kept))));
        assert_eq!(cache.look_up(b"k", at(100_000)), Known::Expired(kept));
        let gone = Arc::new(stored("a.example", 1, 3, &[soa(60, 60)]));
        cache.keep(b"k", &gone, at(100_000));
        assert_eq!(cache.look_up(b"k", at(170_000)), Known::Expired(gone));
    }

    #[test]
    fn what_is_used_stays_and_what_was_asked_for_once_goes() {
        let cache = Cache::new(PARTS * 4096);
        cache.keep(b"used", &answer(600), at(0));
        for number in 0..10_000_u32 {
            assert!(matches!(cache.look_up(b"used", at(1)), Known::Fresh(..)), "after {number}");
            cache.keep(&number.to_be_bytes(), &answer(600), at(1));
        }
        assert!(octets(&cache) <= PARTS * 4096);
        assert!(octets(&cache) > PARTS * 2048, "there is room for more than that");
    }

    proptest! {
        #[test]
        fn whatever_happens_the_octets_are_counted_right_and_bounded(
            steps in proptest::collection::vec((0..4_u8, any::<u8>(), 0..100_u32), 1..400),
        ) {
            let cache = Cache::new(PARTS * 1500);
            for (now, (step, key, ttl)) in steps.into_iter().enumerate() {
                let (key, now) = ([key], at(now as u64 * 1000));
                match step {
                    0 => drop(cache.fail(&key, Failure::Silent, now)),
                    1 => drop(cache.look_up(&key, now)),
                    _ => drop(cache.keep(&key, &answer(ttl), now)),
                }
            }
            for part in &cache.parts {
                let part = part.lock().unwrap();
                let sizes: usize = part.slots.iter().flatten().map(|(key, slot)| slot.size(key)).sum();
                prop_assert_eq!(sizes, part.octets);
                prop_assert!(part.octets <= 1500);
                prop_assert_eq!(part.slots.iter().flatten().count(), part.places.len());
            }
        }
    }
}
