//! A server without a process: files go through `spec`, `registry` and `compile`, queries through `engine`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use spacedns::compile::Compiler;
use spacedns::engine::{Ask, Recursion, Secrets, Settings, Transport, Trust, Verdict, refuse_foreign, respond};
use spacedns::registry::{FileChange, FileContent, Now, Registry, Touched};
use spacedns::spec::{self, Fault, Format};
use spacedns::zone::{Readiness, Snapshot};

use crate::scenario::Change;

/// The wall clock when a world begins: 2026-11-20T16:39:42Z.
pub(crate) const START: u64 = 1_795_192_782;
/// How long removed hostnames stay NXDOMAIN.
const TOMBSTONE: Duration = Duration::from_secs(3600);

/// A server without a process.
pub(crate) struct World {
    files: BTreeMap<String, Arc<str>>,
    /// Faults and warnings of the files alone.
    faults: BTreeMap<String, Vec<Fault>>,
    /// The files of which some version was good.
    good: BTreeSet<String>,
    warnings: BTreeMap<String, Vec<Fault>>,
    pub(crate) registry: Registry,
    compiler: Compiler,
    pub(crate) snapshot: Snapshot,
    elapsed: Duration,
    /// Counts batches: later ones are written later.
    batches: u128,
    /// What the server says of itself, and its cookies: nothing and none unless a test says so.
    pub(crate) settings: Settings,
    pub(crate) secrets: Option<Secrets>,
}

/// A fault or a warning and its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) path: String,
    pub(crate) fault: Fault,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path, self.fault)
    }
}

impl World {
    /// A server that has read nothing.
    pub(crate) fn new() -> Self {
        Self {
            files: BTreeMap::new(),
            faults: BTreeMap::new(),
            good: BTreeSet::new(),
            warnings: BTreeMap::new(),
            registry: Registry::new(TOMBSTONE),
            compiler: Compiler::new(),
            snapshot: Snapshot::starting(),
            elapsed: Duration::ZERO,
            batches: 0,
            settings: Settings::new(),
            secrets: None,
        }
    }

    /// Takes in changes of files as one batch; the last good version of a file with a fault stays.
    pub(crate) fn apply(&mut self, changes: &[Change]) {
        self.snapshot.readiness = Readiness::Ready;
        self.batches += 1;
        let modified = u128::from(START) * 1_000_000_000 + self.elapsed.as_nanos() + self.batches;
        let accepted = changes.iter().filter_map(|change| self.read(change, modified)).collect();
        let now = self.now();
        let touched = self.registry.apply(accepted, now);
        self.compile(&touched);
    }

    /// Lets time pass up to `elapsed` since the start, stopping at every deadline on the way.
    pub(crate) fn advance(&mut self, elapsed: Duration) {
        while let Some(deadline) = self.registry.deadline().filter(|deadline| *deadline <= elapsed) {
            assert!(deadline > self.elapsed || self.elapsed == Duration::ZERO, "a deadline that does not go away");
            self.elapsed = deadline;
            let touched = self.registry.advance(self.now());
            self.compile(&touched);
        }
        self.elapsed = elapsed;
        let touched = self.registry.advance(self.now());
        self.compile(&touched);
    }

    /// The response to a query, as it would be sent where there is no upstream.
    pub(crate) fn respond(&self, source: IpAddr, trust: Trust, transport: Transport, query: &[u8]) -> Option<Vec<u8>> {
        let ask = Ask {
            source,
            trust,
            transport,
            turn: 0,
            recursion: Recursion::Unavailable,
            settings: &self.settings,
            secrets: self.secrets.as_ref(),
            now: u32::try_from(START).unwrap(),
        };
        let mut response = vec![0xaa; 65_535];
        let verdict = match respond(&self.snapshot, &ask, query, &mut response) {
            Verdict::Forward => refuse_foreign(&ask, query, &mut response),
            decided => decided,
        };
        match verdict {
            Verdict::Send(length) | Verdict::Withhold(length, _) => Some(response[..length].to_vec()),
            Verdict::Drop => None,
            Verdict::Forward => panic!("a foreign name was not refused"),
        }
    }

    /// Every fault that stands, of files alone and between them.
    pub(crate) fn faults(&self) -> Vec<Found> {
        let between = self.registry.faults();
        let between = between.iter().map(|found| Found { path: found.file.to_string(), fault: found.fault.clone() });
        alone(&self.faults).chain(between).collect()
    }

    /// Every warning that stands, of files alone and between them.
    pub(crate) fn warnings(&self) -> Vec<Found> {
        let between = self.registry.warnings();
        let between = between.iter().map(|found| Found { path: found.file.to_string(), fault: found.fault.clone() });
        alone(&self.warnings).chain(between).collect()
    }

    fn read(&mut self, change: &Change, modified: u128) -> Option<FileChange> {
        let (path, content) = match change {
            Change::Write { path, content } => {
                self.files.insert(path.clone(), content.as_str().into());
                (path, Some(Arc::<str>::from(content.as_str())))
            }
            Change::Touch { path } => (path, Some(Arc::clone(&self.files[path]))),
            Change::Remove { path } => {
                self.files.remove(path);
                (path, None)
            }
        };
        self.faults.remove(path);
        self.warnings.remove(path);
        let file: Arc<str> = path.as_str().into();
        let Some(content) = content else {
            self.good.remove(path);
            return Some(FileChange { file, content: None });
        };
        let format = if path.ends_with(".json") { Format::Json } else { Format::Yaml };
        let reading = spec::read(content.as_bytes(), format, stem_of(path));
        let remains = reading.remains();
        self.warnings.insert(path.clone(), reading.warnings);
        let documents = if reading.faults.is_empty() {
            self.good.insert(path.clone());
            reading.documents
        } else {
            self.faults.insert(path.clone(), reading.faults);
            if self.good.contains(path) {
                return None;
            }
            remains
        };
        Some(FileChange { file, content: Some(FileContent { documents: documents.into(), modified }) })
    }

    fn compile(&mut self, touched: &Touched) {
        if let Some(next) = self.compiler.compile(&self.registry, touched, &self.snapshot) {
            let generation = self.snapshot.generation + 1;
            self.snapshot = Snapshot { generation, serial: u32::try_from(generation).unwrap(), ..next };
        }
    }

    fn now(&self) -> Now {
        Now { monotonic: self.elapsed, wall: START + self.elapsed.as_secs() }
    }
}

/// What a file is called without its directory and its ending: the app of a fragment without a name.
fn stem_of(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

fn alone(faults: &BTreeMap<String, Vec<Fault>>) -> impl Iterator<Item = Found> + '_ {
    faults
        .iter()
        .flat_map(|(path, faults)| faults.iter().map(|fault| Found { path: path.clone(), fault: fault.clone() }))
}
