//! How much room a map of ours may take.
//!
//! A hash map that is full counts places whose key was removed among those taken. Where keys come and go for hours without becoming more, there
//! are so many in the end that it doubles, once and for good: a hundred thousand files took 17 % more memory after an hour of changes.

use std::collections::HashMap;
use std::hash::Hash;

/// Makes a map as small as it was, if it has doubled for places whose keys were removed. This costs as much as the doubling did, so
/// seldom enough.
pub(super) fn keep_room<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    // One that doubled because it is full has no more than twice the room that it needs.
    let needed = map.len().max(SMALL);
    if map.capacity() > 2 * needed {
        map.shrink_to(needed + needed / SPARE_SHARE);
    }
}

/// Makes room for so many keys in a map that has next to nothing, as at a start: a map that doubles hashes all its keys anew each time.
/// Whatever is not needed goes back when [room is kept](keep_room).
pub(super) fn make_room<K: Eq + Hash, V>(map: &mut HashMap<K, V>, count: usize) {
    if count > SMALL && map.len() < count / 2 {
        map.reserve(count);
    }
}

/// The room of so many keys nobody misses.
const SMALL: usize = 1024;

/// What is left free for what comes: a sixteenth. With less, a map would double and shrink all the time; one that is so full stays doubled.
const SPARE_SHARE: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_whose_keys_come_and_go_stays_as_large_as_it_was() {
        // Nearly as full as a table gets before it doubles, at 14,336.
        let count = 13_000_u32;
        let mut map: HashMap<u32, u32> = (0..count).map(|key| (key, key)).collect();
        let capacity = map.capacity();
        let mut doubled = 0;
        for key in count..count + 1_000_000 {
            map.remove(&(key - count));
            map.insert(key, key);
            doubled += u32::from(map.capacity() > 2 * map.len());
            keep_room(&mut map);
            assert!(map.capacity() <= capacity, "{} for {}", map.capacity(), map.len());
        }
        assert!(doubled > 0, "it did not double, so this shows nothing");
        assert!(doubled < 1_000, "doubled {doubled} times");
        assert_eq!(map.len(), 13_000);
    }

    #[test]
    fn what_grows_is_left_alone() {
        let mut map = HashMap::new();
        let mut shrunk = 0;
        for key in 0..100_000_u32 {
            map.insert(key, ());
            let before = map.capacity();
            keep_room(&mut map);
            shrunk += u32::from(map.capacity() < before);
        }
        assert_eq!(shrunk, 0);
    }
}
