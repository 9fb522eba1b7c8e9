//! What is saved is what was: whatever was served and whatever files said, and whatever became of the octets on disk.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use spacedns::compile::{Compiler, canonical};
use spacedns::registry::{AllUnhealthy, Now, Registry, Saved, SavedFile};
use spacedns::spec::Documents;
use spacedns::state::{Batch, State, Version};
use spacedns::zone::Snapshot;

use crate::compiling::{Step, arb_step, changes_of, judge};
use crate::process::{PATIENCE, poll};

const TOMBSTONE: Duration = Duration::from_secs(60);

/// What a server does, without files, clocks and queries.
struct World {
    registry: Registry,
    compiler: Compiler,
    snapshot: Snapshot,
    now: Now,
    /// The documents that stand for the octets of files.
    texts: BTreeMap<Box<[u8]>, Documents>,
}

impl World {
    /// Serves an empty directory, and saves that.
    fn start(state: &State) -> Self {
        let mut world = Self {
            registry: Registry::new(TOMBSTONE),
            compiler: Compiler::new(),
            snapshot: Snapshot::starting(),
            now: Now { monotonic: Duration::ZERO, wall: 1_000_000 },
            texts: BTreeMap::new(),
        };
        world.registry.check_health(AllUnhealthy::Keep);
        let touched = world.registry.apply(Vec::new(), world.now);
        world.snapshot = world.compiler.compile(&world.registry, &touched, &world.snapshot).unwrap();
        world.snapshot.generation = 1;
        let mut batch = Batch::default();
        batch.served(&Snapshot::starting(), &world.snapshot);
        batch.spaces(&world.registry.space_claims());
        assert!(poll(PATIENCE, || state.wants_everything().then_some(())).is_some());
        state.save_everything(batch, &world.snapshot);
        world
    }

    fn step(&mut self, step: &Step, state: &State) {
        let mut batch = Batch::default();
        let touched = match step {
            Step::Change(files) => {
                let changes = changes_of(files);
                let touched = self.registry.apply(changes.clone(), self.now);
                for change in changes {
                    let version = change.content.map(|content| {
                        let octets: Box<[u8]> = format!("version {}", self.texts.len()).into_bytes().into();
                        self.texts.insert(octets.clone(), content.documents);
                        let claims = self.registry.file_claims(&change.file).unwrap();
                        Version { octets, mark: Box::from(*b"mark"), claims }
                    });
                    batch.file(&change.file, version.as_ref());
                }
                touched
            }
            Step::Pass(seconds) => {
                self.now.monotonic += Duration::from_secs(*seconds);
                self.now.wall += seconds;
                self.registry.advance(self.now)
            }
            Step::Judge(drawn) => judge(&mut self.registry, drawn),
        };
        for file in &touched.leases {
            self.registry.file_claims(file).iter().for_each(|claims| batch.leases(file, claims));
        }
        for id in &touched.apps {
            batch.app(*id, self.registry.app_claims(*id).as_ref(), self.now);
        }
        for name in &touched.names {
            batch.tombstone(name, self.registry.tombstone_claim(name.0, &name.1).as_ref(), self.now);
        }
        if touched.spaces {
            batch.spaces(&self.registry.space_claims());
        }
        let Some(mut next) = self.compiler.compile(&self.registry, &touched, &self.snapshot) else {
            return state.save(batch);
        };
        next.generation = self.snapshot.generation + 1;
        next.serial = self.snapshot.serial + 1;
        batch.served(&self.snapshot, &next);
        state.save_before(batch, &next);
        self.snapshot = next;
    }

    /// The registry of what is in a state directory, and that it serves what is served.
    fn restore(&self, state: &mut State, served: &Snapshot) -> Option<Registry> {
        let now = Now { monotonic: Duration::from_secs(7), wall: self.now.wall };
        let remembered = state.remember(now)?;
        let file = |(file, version): (Arc<str>, Version)| {
            assert_eq!(*version.mark, *b"mark");
            SavedFile { file, documents: self.texts[&version.octets].clone(), claims: version.claims }
        };
        let saved = Saved {
            files: remembered.files.into_iter().map(file).collect(),
            spaces: remembered.spaces,
            apps: remembered.apps,
            tombstones: remembered.tombstones,
        };
        let mut empty = Registry::new(TOMBSTONE);
        empty.check_health(AllUnhealthy::Keep);
        let (registry, mut touched) = empty.restored(saved, now);
        let (mut compiler, more) = Compiler::resume(served);
        touched.extend(more);
        let changed = compiler.compile(&registry, &touched, served);
        assert!(changed.is_none(), "what is served and what is remembered are of different moments");
        Some(registry)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_served_and_why_outlives_the_process(steps in prop::collection::vec(arb_step(), 1..12), again in 0..12_usize) {
        let directory = tempfile::tempdir().unwrap();
        let (state, nothing) = State::open(directory.path());
        prop_assert!(nothing.is_none());
        let mut world = World::start(&state);
        let mut state = state;
        for (number, step) in steps.iter().enumerate() {
            if number == again {
                // In the middle of it another process goes on.
                state.end(&world.snapshot);
                let (next, served) = State::open(directory.path());
                prop_assert_eq!(canonical(&served.unwrap()), canonical(&world.snapshot));
                state = next;
            }
            world.step(step, &state);
        }
        state.end(&world.snapshot);
        let (mut state, served) = State::open(directory.path());
        let served = served.unwrap();
        prop_assert_eq!(canonical(&served), canonical(&world.snapshot));
        prop_assert_eq!((served.generation, served.serial), (world.snapshot.generation, world.snapshot.serial));
        let registry = world.restore(&mut state, &served);
        prop_assert_eq!(registry.unwrap().faults(), world.registry.faults());
        state.end(&served);
    }
}

/// A directory with two bases and changes after each, and everything that was ever served while it was made.
fn history(directory: &Path) -> (World, Vec<BTreeMap<String, String>>) {
    let mut runner = TestRunner::deterministic();
    let (mut state, _) = State::open(directory);
    let mut world = World::start(&state);
    let mut served = vec![canonical(&world.snapshot)];
    let bases = || names(directory).iter().filter(|name| name.starts_with("base.")).count();
    let two = poll(PATIENCE, || {
        // Each process leaves a file of changes, and many of these are merged.
        let step = arb_step().new_tree(&mut runner).unwrap().current();
        world.step(&step, &state);
        served.push(canonical(&world.snapshot));
        if bases() == 2 {
            return Some(());
        }
        let (next, _) = {
            std::mem::replace(&mut state, State::open(Path::new("/dev/null/none")).0).end(&world.snapshot);
            State::open(directory)
        };
        state = next;
        None
    });
    assert!(two.is_some(), "{:?}", names(directory));
    for _ in 0..4 {
        let step = arb_step().new_tree(&mut runner).unwrap().current();
        world.step(&step, &state);
        served.push(canonical(&world.snapshot));
    }
    state.end(&world.snapshot);
    (world, served)
}

fn names(directory: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = std::fs::read_dir(directory).unwrap().map(name).collect();
    names.sort();
    names
}

/// Copies a directory with one file spoilt, opens it, and holds what comes of it to what was ever served.
fn open_spoilt(
    (directory, world, history): (&Path, &World, &[BTreeMap<String, String>]),
    name: &str,
    spoil: impl Fn(&mut Vec<u8>),
) -> bool {
    let copy = tempfile::tempdir().unwrap();
    for other in names(directory).iter().filter(|other| *other != "lock") {
        let mut octets = std::fs::read(directory.join(other)).unwrap();
        if other == name {
            spoil(&mut octets);
        }
        std::fs::write(copy.path().join(other), octets).unwrap();
    }
    let (mut state, served) = State::open(copy.path());
    if let Some(served) = &served {
        let found = canonical(served);
        assert!(history.contains(&found), "{name}: this was never served: {found:?}");
        assert!(served.generation > 0);
        world.restore(&mut state, served);
    }
    let nothing = Snapshot::starting();
    state.end(served.as_ref().unwrap_or(&nothing));
    served.is_some_and(|served| canonical(&served) == *history.last().unwrap())
}

#[test]
fn whatever_octet_is_wrong_what_is_served_was_served_before() {
    let directory = tempfile::tempdir().unwrap();
    let (world, served) = history(directory.path());
    let all = (directory.path(), &world, served.as_slice());
    let files = names(directory.path());
    let newest = files.iter().filter(|name| name.starts_with("base.")).max_by_key(|name| number(name)).unwrap();
    for name in files.iter().filter(|name| *name != "lock") {
        let length = std::fs::metadata(directory.path().join(name)).unwrap().len();
        let length = usize::try_from(length).unwrap();
        // Every octet of what comes first, and some of all the rest.
        let places = (0..length.min(60)).chain((60..length).step_by(length / 25 + 1));
        for place in places {
            let bit = 1 << (place % 8);
            let same = open_spoilt(all, name, |octets| octets[place] ^= bit);
            assert!(same || name.starts_with("changes."), "{name} at {place}: the other base holds the same");
        }
        for end in (0..length).step_by(length / 25 + 1) {
            let same = open_spoilt(all, name, |octets| octets.truncate(end));
            assert!(same || name.starts_with("changes."), "{name} cut at {end}: the other base holds the same");
        }
        let same = open_spoilt(all, name, |octets| octets.extend_from_slice(b"and more"));
        assert!(same, "{name}: what follows is no part of it");
    }
    assert!(open_spoilt(all, newest, |octets| octets[12] = 99), "another format is passed over");
}

fn number(name: &str) -> u64 {
    name.rsplit_once('.').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

#[test]
fn a_directory_that_another_has_is_read_and_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let (first, _) = State::open(directory.path());
    let world = World::start(&first);
    let saved = poll(PATIENCE, || names(directory.path()).contains(&"changes.1".to_owned()).then_some(()));
    assert!(saved.is_some());
    let (second, served) = State::open(directory.path());
    let served = served.unwrap();
    assert_eq!(canonical(&served), canonical(&world.snapshot));
    assert!(!second.wants_everything(), "it may not write");
    second.save_before(Batch::default(), &served);
    assert_eq!(names(directory.path()), ["base.1", "changes.1", "lock"]);
    // Whoever is left takes over, with everything.
    first.end(&world.snapshot);
    assert!(poll(PATIENCE, || second.wants_everything().then_some(())).is_some());
    second.end(&served);
}
