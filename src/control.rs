//! Messages to the owner task: what changed, what it is told to do, what it is asked.
//!
//! Messages are merged as they come in: a path that changes a thousand times before the owner looks is one path, a
//! thousand SIGHUPs are one rescan, and stop outranks everything. So the box is bounded by what it can hold, the senders
//! never wait, and nothing is lost: where more paths change than there is room for, a rescan finds them all. A channel was
//! weighed: bounded it would drop or block, unbounded it would grow with the events of `cp -r`.
//!
//! Requests cannot be merged: there is room for so many, and who comes when it is full is told so.

mod bell;
mod overview;
mod status;

pub mod checks;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use self::bell::Bell;
use self::checks::{Finding, TargetId};
pub use overview::{
    AppSelection, AppStatus, Change, ComponentStatus, Explained, ExplainedStep, InstanceStatus, Overview, Question,
    SpaceStatus,
};
pub use status::{
    Counts, FaultStatus, FileState, FileStatus, Hash, HashError, Health, Readiness, Receipt, Status, Unready,
    UnreadyInstance, Watching,
};

/// Makes the two ends: any number of senders, one owner.
///
/// # Errors
///
/// No more files may be open.
pub fn channel() -> io::Result<(Control, Inbox)> {
    let shared = Arc::new(Shared { pending: Mutex::default(), bell: Bell::new()? });
    Ok((Control { shared: Arc::clone(&shared) }, Inbox { shared }))
}

/// The senders' end. A clone sends to the same owner.
#[derive(Debug, Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

impl Control {
    /// Asks for a look at everything, now.
    pub fn rescan(&self) {
        self.send(|pending| pending.order = pending.order.max(Order::Rescan));
    }

    /// Says that events were lost.
    pub(crate) fn lost(&self) {
        self.send(|pending| pending.order = pending.order.max(Order::Lost));
    }

    /// Asks the owner to end.
    pub fn stop(&self) {
        self.send(|pending| pending.order = Order::Stop);
    }

    /// Asks what there is to say of the server, and of the files of `selection`.
    ///
    /// # Errors
    ///
    /// The owner task has too much to do, or has ended.
    pub async fn status(&self, selection: Selection) -> Result<Status, Unanswered> {
        self.ask(|reply| Request::Status(selection, reply)).await
    }

    /// Waits until a file is served as `wanted`, or cannot be. Dropping this gives up.
    ///
    /// # Errors
    ///
    /// Too many wait already, or the owner task has ended.
    pub async fn wait(&self, wanted: Wanted) -> Result<Receipt, Unanswered> {
        self.ask(|reply| Request::Wait(wanted, reply)).await
    }

    /// Asks for spaces, apps and instances.
    ///
    /// # Errors
    ///
    /// Too much of this is asked at once, or the owner task has ended.
    pub async fn overview(&self, selection: AppSelection) -> Result<Overview, Unanswered> {
        self.ask(|reply| Request::Overview(selection, reply)).await
    }

    /// Asks why a caller gets what it gets; what is wrong with the question where it cannot be asked so.
    ///
    /// # Errors
    ///
    /// Too much of this is asked at once, or the owner task has ended.
    pub async fn explain(&self, question: Question) -> Result<Result<Explained, String>, Unanswered> {
        self.ask(|reply| Request::Explain(question, reply)).await
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Unanswered> {
        let (reply, replied) = oneshot::channel();
        let request = request(reply);
        // Without room it is dropped, and with it the end that would be answered by.
        self.send(|pending| {
            if !pending.closed && pending.has_room(&request) {
                pending.requests.push(request);
            }
        });
        replied.await.map_err(|_| Unanswered)
    }

    /// Says what happened to paths, in that order.
    pub(crate) fn mark(&self, marks: impl IntoIterator<Item = (PathBuf, Mark)>) {
        self.send(|pending| marks.into_iter().for_each(|(path, mark)| pending.mark(path, mark)));
    }

    /// Says what the checks of a target found.
    pub(crate) fn report(&self, id: TargetId, finding: Finding) {
        self.send(|pending| _ = pending.findings.insert(id, finding));
    }

    fn send(&self, change: impl FnOnce(&mut Pending)) {
        let mut pending = self.shared.lock();
        let was_empty = pending.is_empty();
        change(&mut pending);
        // Before others see what is in the box: the bell rings while there is something, and only then.
        if was_empty && !pending.is_empty() {
            self.shared.bell.ring();
        }
    }
}

/// The owner's end.
#[derive(Debug)]
pub struct Inbox {
    shared: Arc<Shared>,
}

impl Inbox {
    /// Takes what has come in, at once.
    pub(crate) fn take(&self) -> Pending {
        let mut pending = self.shared.lock();
        if !pending.is_empty() {
            self.shared.bell.hush();
        }
        std::mem::take(&mut *pending)
    }
}

impl AsFd for Inbox {
    /// Can be read from, as `poll(2)` tells, while there is something to take.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.bell.as_fd()
    }
}

impl Drop for Inbox {
    /// Nobody answers any more: who has asked is told so, and who asks from now on.
    fn drop(&mut self) {
        let mut pending = self.shared.lock();
        pending.closed = true;
        pending.requests.clear();
    }
}

#[derive(Debug)]
struct Shared {
    pending: Mutex<Pending>,
    bell: Bell,
}

impl Shared {
    /// A sender that panicked leaves nothing half done: every change is one assignment or one insertion.
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has come in.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// The strongest order.
    pub(crate) order: Order,
    /// What last happened to each path; empty when there were more than [`MARKS_MAX`], and then a rescan is due.
    pub(crate) marks: BTreeMap<OsString, Mark>,
    /// What was last found of each target of a check; as many as there are targets.
    pub(crate) findings: BTreeMap<TargetId, Finding>,
    /// What is asked; at most [`REQUESTS_MAX`].
    pub(crate) requests: Vec<Request>,
    /// Whether the owner is gone.
    closed: bool,
}

impl Pending {
    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { order, marks, findings, requests, closed: _ } = self;
        *order == Order::None && marks.is_empty() && findings.is_empty() && requests.is_empty()
    }

    fn has_room(&self, request: &Request) -> bool {
        let long = self.requests.iter().filter(|waiting| waiting.is_long()).count();
        self.requests.len() < REQUESTS_MAX && (!request.is_long() || long < LONG_REQUESTS_MAX)
    }

    /// Takes in what happened to a path after all that is known of it here.
    pub(crate) fn mark(&mut self, path: PathBuf, mark: Mark) {
        // As octets: to compare paths part by part takes longer than to read the event.
        let path = path.into_os_string();
        if let Some(last) = self.marks.get_mut(&path) {
            *last = last.then(mark);
        } else if self.marks.len() < MARKS_MAX {
            self.marks.insert(path, mark);
        } else {
            self.marks.clear();
            self.order = self.order.max(Order::Lost);
        }
    }
}

/// What the owner is asked, and where the reply goes.
#[derive(Debug)]
pub(crate) enum Request {
    /// What there is to say.
    Status(Selection, oneshot::Sender<Status>),
    /// To say when a file is served.
    Wait(Wanted, oneshot::Sender<Receipt>),
    /// Spaces, apps and instances.
    Overview(AppSelection, oneshot::Sender<Overview>),
    /// Why a caller gets what it gets.
    Explain(Question, oneshot::Sender<Result<Explained, String>>),
}

impl Request {
    /// Whether every app is looked at for the reply.
    pub(crate) const fn is_long(&self) -> bool {
        matches!(self, Self::Overview(..) | Self::Explain(..))
    }
}

/// Which files to say something of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// None.
    Nothing,
    /// This one, by its path relative to the spec directory.
    File(String),
    /// So many in the order of their paths, after this one, in this state if one is named.
    Some {
        /// Those after this path; all of them after the empty one.
        after: String,
        /// In this state only.
        state: Option<FileState>,
        /// At most so many.
        most: usize,
    },
    /// The same of those that have a fault or a warning.
    Faulty {
        /// Those after this path; all of them after the empty one.
        after: String,
        /// At most so many.
        most: usize,
    },
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The file, by its path relative to the spec directory.
    pub file: String,
    /// What of it.
    pub contents: Contents,
}

/// What of a file is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// That these octets are served.
    Octets(Hash),
    /// That nothing of it is.
    Gone,
}

/// There is no reply: too much is asked at once, or the owner task has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server is too busy to say, or is stopping; ask again")]
pub struct Unanswered;

/// What the owner is told to do; the later outranks the earlier.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Order {
    /// Nothing.
    #[default]
    None,
    /// Look at everything.
    Rescan,
    /// Look at everything from the beginning: what happened meanwhile was not heard of.
    Lost,
    /// End.
    Stop,
}

/// What happened to a path, as far as an event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It was made: a link is whole by that, a file is still to be written.
    Made,
    /// Something was written into it, and more may follow.
    Written,
    /// Its writer closed it.
    Closed,
    /// It was renamed into place: whole from the first moment.
    Placed,
    /// Its times or rights changed: its contents did not.
    Touched,
    /// It was removed, or renamed away.
    Removed,
}

impl Mark {
    /// What two events in a row come to.
    fn then(self, next: Self) -> Self {
        // `cp -p` and `rsync` set times before or after the end; a writer that is at work stays at work.
        if next == Self::Touched { self } else { next }
    }
}

/// How many changed paths the box holds: a few hundred kilobytes. Beyond it a scan costs less than the list.
const MARKS_MAX: usize = 8192;

/// How many requests may lie in the box: more than the admin address lets in at once.
const REQUESTS_MAX: usize = 256;

/// How many of them may be such that every app is looked at, which takes a large fraction of a second where there are a
/// million: no more than these lie between a change and its being served.
const LONG_REQUESTS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    #[test]
    fn what_happens_to_one_path_is_one_message() {
        let (control, inbox) = channel().unwrap();
        let path = PathBuf::from("a.json");
        control.mark([(path.clone(), Mark::Written), (path.clone(), Mark::Closed)]);
        control.mark([(path.clone(), Mark::Touched)]);
        let pending = inbox.take();
        assert_eq!(pending.marks.into_iter().collect::<Vec<_>>(), [(path.into_os_string(), Mark::Closed)]);
        assert!(inbox.take().is_empty(), "it was taken");
    }

    #[test]
    fn more_paths_than_there_is_room_for_become_a_rescan() {
        let (control, inbox) = channel().unwrap();
        control.mark((0..=MARKS_MAX).map(|number| (PathBuf::from(format!("{number}.json")), Mark::Placed)));
        let pending = inbox.take();
        assert_eq!(pending.order, Order::Lost);
        assert!(pending.marks.is_empty());
    }

    #[test]
    fn few_long_requests_have_room_and_they_leave_room_for_others() {
        let selection = || AppSelection { search: String::new(), after: String::new(), most: 1 };
        let overview = || Request::Overview(selection(), oneshot::channel().0);
        let mut pending = Pending::default();
        for _ in 0..LONG_REQUESTS_MAX {
            assert!(pending.has_room(&overview()));
            pending.requests.push(overview());
        }
        assert!(!pending.has_room(&overview()));
        assert!(pending.has_room(&Request::Status(Selection::Nothing, oneshot::channel().0)));
    }

    #[test]
    fn stop_outranks_a_rescan() {
        let (control, inbox) = channel().unwrap();
        control.stop();
        control.rescan();
        assert_eq!(inbox.take().order, Order::Stop);
    }

    #[test]
    fn the_owner_is_woken_by_a_message_and_by_none_that_it_has() {
        let (control, inbox) = channel().unwrap();
        let rings = |wait: i64| {
            let wait = Timespec { tv_sec: wait, tv_nsec: 0 };
            poll(&mut [PollFd::new(&inbox, PollFlags::IN)], Some(&wait)).unwrap() > 0
        };
        assert!(!rings(0));
        let sender = std::thread::spawn(move || control.rescan());
        assert!(rings(60));
        sender.join().unwrap();
        assert_eq!(inbox.take().order, Order::Rescan);
        assert!(!rings(0));
    }

    #[test]
    fn who_asks_too_much_or_too_late_is_told_so() {
        let (control, inbox) = channel().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for _ in 0..REQUESTS_MAX {
            control.send(|pending| pending.requests.push(Request::Status(Selection::Nothing, oneshot::channel().0)));
        }
        let ask = || runtime.block_on(control.status(Selection::Nothing)).map(|_| ());
        assert_eq!(ask(), Err(Unanswered), "there is no room");
        drop(inbox);
        assert_eq!(ask(), Err(Unanswered), "nobody is there");
    }
}
