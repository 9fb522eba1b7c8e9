//! What the owner task says when it is asked: how files stand, and, to who waits for one, when it is served.
//!
//! A receipt is given when every worker has reached a generation that was made with the file as it is: from then on no
//! response is older. What is wrong with a file is said as soon as it is known, and so is what only shows beside other files:
//! a name that another has, a lease that ran out. An instance that is to take traffic and has not passed its checks yet is not
//! served: its receipt waits until it is in the answers. Who waits gives the hash of what was written, so that a receipt is never
//! for somebody else's version.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::checks;
use super::files::{Files, Standing};
use super::owner::Gathering;
use super::scan::{format_of, is_passed_over};
use crate::control::{Contents, Counts, FaultStatus, FileState, FileStatus, Hash, Receipt, Selection, Wanted};
use crate::publish::{Publisher, Snapshot};
use crate::registry::{FileFault, Registry, Timestamp};
use crate::spec::Fault;

/// Who waits for a receipt.
#[derive(Debug, Default)]
pub(crate) struct Receipts {
    waiting: Vec<Waiter>,
    /// Until when a response may be kept whose TTL is no space's any more; the monotonic clock.
    kept_until: Duration,
}

#[derive(Debug)]
struct Waiter {
    wanted: Wanted,
    reply: oneshot::Sender<Receipt>,
    /// The generation that must be reached, while the file stands as it is wanted.
    target: Option<u64>,
}

/// What is known to the owner task when it is asked.
#[derive(Clone, Copy)]
pub(crate) struct Known<'o> {
    pub(crate) files: &'o Files,
    pub(crate) registry: &'o Registry,
    pub(crate) publisher: &'o Publisher,
    /// Until this is over, nothing that is read is taken in.
    pub(crate) gathering: Gathering,
}

impl Receipts {
    /// Takes in that somebody waits; turns away who is one too many, by dropping the reply.
    pub(crate) fn add(&mut self, wanted: Wanted, reply: oneshot::Sender<Receipt>) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push(Waiter { wanted, reply, target: None });
        }
    }

    /// When to look again at what workers have reached: soon, while that is all that is missing.
    pub(crate) fn next(&self, now: Duration) -> Option<Duration> {
        self.waiting.iter().any(|waiter| waiter.target.is_some()).then(|| now + REACHING)
    }

    /// Takes in that `new` follows `old`: what was answered with a longer TTL than is now given lives on in caches.
    pub(crate) fn published(&mut self, old: &Snapshot, new: &Snapshot, now: Duration) {
        if Arc::ptr_eq(&old.spaces, &new.spaces) {
            return;
        }
        for (index, space) in old.spaces.iter().enumerate() {
            let Some(before) = space.as_ref().map(|space| space.ttl) else { continue };
            let after = new.spaces.get(index).and_then(|space| space.as_ref()).map(|space| space.ttl);
            if after.is_none_or(|after| after < before) {
                self.kept_until = self.kept_until.max(now + seconds(before.seconds()));
            }
        }
    }

    /// Gives every receipt that is due.
    pub(crate) fn give(&mut self, known: Known<'_>, now: Duration) {
        if self.waiting.is_empty() {
            return;
        }
        let reached = known.publisher.reached();
        let kept_until = self.kept_until;
        let waiting = std::mem::take(&mut self.waiting);
        for mut waiter in waiting {
            match known.verdict(&waiter.wanted) {
                // Whoever asked may be gone: there is nobody to tell.
                Verdict::Refused(faults) => _ = waiter.reply.send(Receipt::Rejected { faults }),
                Verdict::Stands => {
                    let target = *waiter.target.get_or_insert_with(|| known.publisher.current().generation);
                    if reached >= target {
                        let ttl = known.ttl(&waiter.wanted.file);
                        let kept = seconds(ttl).max(kept_until.saturating_sub(now)) + ROUNDING;
                        let outlived_ms = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX);
                        let _ = waiter.reply.send(Receipt::Served { generation: target, outlived_ms });
                    } else {
                        self.waiting.push(waiter);
                    }
                }
                Verdict::Open if waiter.reply.is_closed() => {}
                Verdict::Open => {
                    waiter.target = None;
                    self.waiting.push(waiter);
                }
            }
        }
    }
}

/// What is to be said to a waiter.
enum Verdict {
    /// Nothing yet.
    Open,
    /// The file stands as it is wanted.
    Stands,
    /// It cannot.
    Refused(Vec<FaultStatus>),
}

impl Known<'_> {
    fn verdict(self, wanted: &Wanted) -> Verdict {
        let standing = self.files.standing(&wanted.file);
        match (wanted.contents, standing) {
            (Contents::Gone, None) if !self.files.is_waiting(&wanted.file) && self.gathering == Gathering::Over => {
                Verdict::Stands
            }
            (Contents::Gone, _) | (Contents::Octets(_), None) => Verdict::Open,
            (Contents::Octets(hash), Some(standing)) => self.verdict_on(&wanted.file, hash, &standing),
        }
    }

    fn verdict_on(self, file: &str, hash: Hash, standing: &Standing<'_>) -> Verdict {
        // What could not be read is told too, once it was looked at: whoever wrote it thinks it can.
        let is_unreadable = standing.refused.is_none() && !standing.faults.is_empty();
        if standing.refused == Some(hash) || is_unreadable && !self.files.is_waiting(file) {
            return Verdict::Refused(standing.faults.iter().map(finding).collect());
        }
        match standing.used {
            Some((used, Some(_))) if used == hash => {}
            _ => return Verdict::Open,
        }
        let mut faults: Vec<FaultStatus> =
            self.registry.faults_of(file).iter().map(|found| finding(&found.fault)).collect();
        faults.extend(self.registry.lapsed(file).map(expired));
        if !faults.is_empty() {
            Verdict::Refused(faults)
        } else if checks::unready_in(self.registry, file).is_empty() {
            Verdict::Stands
        } else {
            Verdict::Open
        }
    }

    /// What there is to say of the files that were selected, and the path after which there are more.
    pub(crate) fn files(self, selection: &Selection) -> (Vec<FileStatus>, Option<String>) {
        match selection {
            Selection::Nothing => (Vec::new(), None),
            Selection::File(file) => {
                let between =
                    Between { faults: self.registry.faults_of(file), warnings: self.registry.warnings_of(file) };
                let status = self.file_status(file, &between);
                let unready = || checks::unready_in(self.registry, file);
                (status.map(|status| FileStatus { unready: unready(), ..status }).into_iter().collect(), None)
            }
            Selection::Some { after, state: wanted, most } => {
                self.some(after, *most, |_, state, _| wanted.is_none_or(|wanted| wanted == state))
            }
            Selection::Faulty { after, most } => self.some(after, *most, |file, state, between| {
                let of_others = between.is_some_and(|found| !(found.faults.is_empty() && found.warnings.is_empty()));
                let has_warnings = || self.files.standing(file).is_some_and(|standing| !standing.warnings.is_empty());
                state != FileState::Ok || of_others || has_warnings()
            }),
        }
    }

    fn some(
        self,
        after: &str,
        most: usize,
        is_wanted: impl Fn(&str, FileState, Option<&Between>) -> bool,
    ) -> (Vec<FileStatus>, Option<String>) {
        let most = most.min(LISTED_MAX);
        let mut between = BTreeMap::<Arc<str>, Between>::new();
        for found in self.registry.faults() {
            between.entry(Arc::clone(&found.file)).or_default().faults.push(found);
        }
        for found in self.registry.warnings() {
            between.entry(Arc::clone(&found.file)).or_default().warnings.push(found);
        }
        let none = Between::default();
        let mut listed = Vec::new();
        for (file, of_report) in self.files.states(after) {
            if !is_wanted(file, self.state(file, of_report), between.get(file)) {
                continue;
            }
            if listed.len() == most {
                let last = listed.last().map(|status: &FileStatus| status.file.clone());
                return (listed, last);
            }
            listed.extend(self.file_status(file, between.get(file).unwrap_or(&none)));
        }
        (listed, None)
    }

    /// The TTL of the answers that a file makes; nothing of one that is in no space is answered.
    fn ttl(self, file: &str) -> u32 {
        let space = self.registry.space_at(file).and_then(|space| self.registry.space(space));
        space.map_or(0, |space| space.spec.ttl)
    }

    fn state(self, file: &str, of_report: FileState) -> FileState {
        match of_report {
            FileState::Ok if self.registry.lapsed(file).is_some() => FileState::Expired,
            state => state,
        }
    }

    fn file_status(self, file: &str, between: &Between) -> Option<FileStatus> {
        let standing = self.files.standing(file)?;
        let with = |own: &[Fault], between: &[FileFault]| {
            own.iter().chain(between.iter().map(|found| &found.fault)).map(finding).collect::<Vec<_>>()
        };
        let mut faults = with(standing.faults, &between.faults);
        faults.extend(self.registry.lapsed(file).map(expired));
        Some(FileStatus {
            file: file.to_owned(),
            state: self.state(file, standing.state),
            sha256: standing.used.map(|(hash, _)| hash),
            generation: standing.used.and_then(|(_, generation)| generation),
            rejected_sha256: standing.refused,
            faults,
            warnings: with(standing.warnings, &between.warnings),
            unready: Vec::new(),
        })
    }

    /// The directories that cannot be read, and why.
    pub(crate) fn unread(self) -> BTreeMap<String, FaultStatus> {
        self.files
            .unread_directories()
            .iter()
            .map(|(directory, fault)| (directory.to_string(), finding(fault)))
            .collect()
    }

    /// How many files are in each state.
    pub(crate) fn counts(self) -> Counts {
        let mut counts = Counts::default();
        for (file, state) in self.files.states("") {
            counts.add(self.state(file, state));
        }
        counts
    }
}

/// What shows of a file only beside others.
#[derive(Default)]
struct Between {
    faults: Vec<FileFault>,
    warnings: Vec<FileFault>,
}

/// Whether a path is one at which a file would be read: the same rules as a scan has, which follows no link to a directory.
pub(crate) fn is_read(root: &Path, file: &str) -> bool {
    let Some((name, directories)) =
        file.split('/').collect::<Vec<_>>().split_last().map(|(name, above)| (*name, above.to_vec()))
    else {
        return false;
    };
    let is_passed_over = |part: &str| part.is_empty() || is_passed_over(part);
    if is_passed_over(name) || format_of(name).is_none() || directories.iter().any(|part| is_passed_over(part)) {
        return false;
    }
    let mut path = root.to_owned();
    directories.iter().all(|part| {
        path.push(part);
        // What is not there yet can be waited for.
        fs::symlink_metadata(&path).map_or(true, |metadata| metadata.is_dir())
    })
}

/// The finding of a path at which no file would be read.
pub(crate) fn not_read() -> FaultStatus {
    FaultStatus {
        line: 1,
        column: 1,
        field: String::new(),
        fault: "no file is read at this path".to_owned(),
        remedy: "a file ends in .yaml, .yml or .json, and neither it nor a directory above begins with a dot, ends with ~ or is \
                 reached by a link"
            .to_owned(),
    }
}

fn expired(wall: u64) -> FaultStatus {
    FaultStatus {
        line: 1,
        column: 1,
        field: "lease".to_owned(),
        fault: format!("the lease ran out {}", Timestamp(wall)),
        remedy: "write or touch the file to renew it".to_owned(),
    }
}

fn finding(found: &Fault) -> FaultStatus {
    let Fault { place, field, fault, remedy } = found.clone();
    FaultStatus { line: place.line, column: place.column, field, fault, remedy }
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}

/// How many may wait at once.
const WAITING_MAX: usize = 1024;

/// How many files are told of at once: some megabytes.
const LISTED_MAX: usize = 10_000;

/// How soon to look again at what workers have reached. One that is busy takes microseconds for a batch.
const REACHING: Duration = Duration::from_millis(1);

/// What caches may keep a record beyond its TTL: they count whole seconds, and a response is on its way for a while.
const ROUNDING: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread::{JoinHandle, spawn};

    use super::super::Settings;
    use super::super::owner::Owner;
    use super::super::tests::unexplained;
    use super::*;
    use crate::control::{self, Control, Mark, Unanswered};
    use crate::registry::Now;

    const FILE: &str = "web.json";
    const TEXT: &str = r#"{"app": "shop", "component": "web", "number": 1, "address": "10.0.0.1"}"#;

    type Waiting = JoinHandle<Result<Receipt, Unanswered>>;

    fn wait(control: &Control, contents: Contents) -> Waiting {
        let control = control.clone();
        spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(control.wait(Wanted { file: FILE.to_owned(), contents }))
        })
    }

    fn place(root: &Path, file: &str, text: &str) {
        fs::write(root.join(".new"), text).unwrap();
        fs::rename(root.join(".new"), root.join(file)).unwrap();
    }

    /// An owner that is ready, and whose clock is a millisecond later each time it is looked at.
    fn owner(root: &Path) -> (Owner, Control) {
        let (control, inbox) = control::channel().unwrap();
        let turn = AtomicU64::new(0);
        let clock = move || {
            let turn = turn.fetch_add(1, Ordering::Relaxed);
            Now { monotonic: Duration::from_millis(turn), wall: 99_999_999_999 }
        };
        let publisher = Publisher::new(Snapshot::starting());
        let channel = (control.clone(), inbox);
        let settings = Settings { root: root.to_owned(), tombstone: Duration::ZERO, removal_hold: Duration::ZERO };
        let mut owner =
            Owner::new(settings, publisher, channel, Arc::default(), (Box::new(clock), unexplained()), None);
        while !owner.is_ready() {
            assert!(owner.round().is_continue());
        }
        (owner, control)
    }

    fn turn_until_finished(owner: &mut Owner, control: &Control, waiting: &Waiting) {
        while !waiting.is_finished() {
            // Says nothing, and ends the round's waiting for the next scan.
            control.mark([("/elsewhere".into(), Mark::Touched)]);
            assert!(owner.round().is_continue());
        }
    }

    #[test]
    fn a_receipt_waits_for_the_last_worker() {
        let root = tempfile::tempdir().unwrap();
        let (mut owner, control) = owner(root.path());
        let subscriber = owner.publisher.subscribe();
        let (mut resting, mut busy) = (subscriber.reader(), subscriber.reader());
        resting.current();
        resting.rest();
        let before = busy.current().generation;
        place(root.path(), FILE, TEXT);
        let waiting = wait(&control, Contents::Octets(Hash::of(TEXT.as_bytes())));
        while owner.publisher.current().generation == before || owner.receipts.waiting.is_empty() {
            assert!(owner.round().is_continue());
        }
        for _ in 0..20 {
            assert!(owner.round().is_continue());
        }
        assert_eq!(owner.receipts.waiting.len(), 1, "a worker still answers from the generation before");
        busy.current();
        turn_until_finished(&mut owner, &control, &waiting);
        let receipt = waiting.join().unwrap().unwrap();
        // The default space has a TTL of 5 s; caches may add one.
        assert_eq!(receipt, Receipt::Served { generation: before + 1, outlived_ms: 6000 });
    }

    #[test]
    fn a_receipt_is_for_these_octets_and_for_no_others() {
        let root = tempfile::tempdir().unwrap();
        let (mut owner, control) = owner(root.path());
        let waiting = wait(&control, Contents::Octets(Hash::of(TEXT.as_bytes())));
        place(root.path(), FILE, &TEXT.replace("10.0.0.1", "10.0.0.2"));
        while owner.receipts.waiting.is_empty() || owner.files.good(FILE).is_none() {
            assert!(owner.round().is_continue());
        }
        assert!(!waiting.is_finished());
        place(root.path(), FILE, TEXT);
        turn_until_finished(&mut owner, &control, &waiting);
        assert!(matches!(waiting.join().unwrap(), Ok(Receipt::Served { .. })));
    }

    #[test]
    fn what_was_answered_with_a_longer_ttl_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let space = |ttl: u32| {
            place(root.path(), "space.yaml", &format!("space: acme\ncidr: 10.0.0.0/8\nttl: {ttl}\n"));
        };
        space(3600);
        let (mut owner, control) = owner(root.path());
        let before = owner.publisher.current().generation;
        space(5);
        while owner.publisher.current().generation == before {
            assert!(owner.round().is_continue());
        }
        let waiting = wait(&control, Contents::Gone);
        turn_until_finished(&mut owner, &control, &waiting);
        let Ok(Receipt::Served { outlived_ms, .. }) = waiting.join().unwrap() else {
            panic!("nothing of it is served")
        };
        assert!(outlived_ms > 3_590_000, "{outlived_ms}");
    }

    #[test]
    fn who_is_one_too_many_is_turned_away() {
        let mut receipts = Receipts::default();
        let wanted = || Wanted { file: FILE.to_owned(), contents: Contents::Gone };
        let replies: Vec<_> = (0..=WAITING_MAX)
            .map(|_| {
                let (reply, replied) = oneshot::channel();
                receipts.add(wanted(), reply);
                replied
            })
            .collect();
        let turned_away = replies
            .into_iter()
            .map(|mut reply| reply.try_recv())
            .filter(|reply| *reply == Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(turned_away.count(), 1);
    }

    #[test]
    fn nothing_is_waited_for_outside_the_directory() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("instances")).unwrap();
        std::os::unix::fs::symlink("/", root.path().join("link")).unwrap();
        for file in ["shop.yaml", "instances/web.1.json", "not/there/yet.yml"] {
            assert!(is_read(root.path(), file), "{file}");
        }
        for file in [
            "",
            "/",
            "/a.json",
            "../a.json",
            "instances/../a.json",
            "a//b.json",
            ".a.json",
            "a.json~",
            "a.txt",
            "link/a.json",
        ] {
            assert!(!is_read(root.path(), file), "{file}");
        }
    }
}
