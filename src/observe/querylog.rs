//! The query log: which queries are written down, and the queue between those who answer and who writes.
//!
//! Off unless asked for. A worker formats nothing and waits for nobody: it puts a few fields into a bounded queue, and where that is full
//! the line is dropped, and counted. The writer is a thread of its own.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use super::top::Wire;
use super::{Class, Negative, QueryType, Source};

/// Which queries are written down. With nothing set, none is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// One in so many of all.
    pub every: Option<u64>,
    /// Every one of these callers.
    pub callers: Vec<ipnet::IpNet>,
    /// Every one for these names, on the wire in lower case, and for those below them.
    pub names: Vec<Box<[u8]>>,
}

impl Selection {
    /// Whether nothing is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn holds(&self, entry: &Entry<'_>, nth: u64) -> bool {
        let caller = entry.caller.ip().to_canonical();
        self.every.is_some_and(|every| nth.is_multiple_of(every))
            || self.callers.iter().any(|network| network.contains(&caller))
            || self.names.iter().any(|name| is_at_or_below(entry.name, name))
    }
}

/// One query and what it got.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'q> {
    /// Who asked.
    pub caller: SocketAddr,
    /// Over what.
    pub transport: &'static str,
    /// The name on the wire, as it was asked; empty when it could not be read.
    pub name: &'q [u8],
    /// The type.
    pub qtype: Option<u16>,
    /// What the response says; `None` when there was none.
    pub class: Option<Class>,
    /// Whose word it is.
    pub source: Source,
    /// Why there was nothing, if there was.
    pub negative: Option<Negative>,
}

/// The workers' end.
#[derive(Debug)]
pub struct QueryLog {
    selection: Selection,
    queue: SyncSender<Line>,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logged {
    /// It was not selected, or is on its way.
    Done,
    /// The queue was full.
    Dropped,
}

impl QueryLog {
    /// Starts the log, where anything is selected; `write` is called with each line, on a thread of its own.
    ///
    /// # Errors
    /// When the thread cannot be had.
    pub fn start(selection: Selection, write: impl FnMut(&Line) + Send + 'static) -> io::Result<Option<Self>> {
        if selection.is_empty() {
            return Ok(None);
        }
        let (queue, lines) = sync_channel(LINES_MAX);
        std::thread::Builder::new().name("query-log".to_owned()).spawn(move || follow(&lines, write))?;
        Ok(Some(Self { selection, queue }))
    }

    /// Writes an entry down if it is selected; `nth` counts queries for those that are sampled.
    #[must_use]
    pub fn enter(&self, entry: &Entry<'_>, nth: u64) -> Logged {
        if !self.selection.holds(entry, nth) {
            return Logged::Done;
        }
        let Entry { caller, transport, name, qtype, class, source, negative } = *entry;
        let line = Line { caller, transport, name: name.into(), qtype, class, source, negative };
        match self.queue.try_send(line) {
            Ok(()) => Logged::Done,
            // A writer that is gone writes nothing: that is as good as full.
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Logged::Dropped,
        }
    }
}

fn follow(lines: &Receiver<Line>, mut write: impl FnMut(&Line)) {
    while let Ok(line) = lines.recv() {
        write(&line);
    }
}

/// An entry on its way to the writer.
#[derive(Debug)]
pub struct Line {
    caller: SocketAddr,
    transport: &'static str,
    name: Box<[u8]>,
    qtype: Option<u16>,
    class: Option<Class>,
    source: Source,
    negative: Option<Negative>,
}

/// `10.0.0.5 udp web. A NOERROR own`, with why there was nothing at the end. Names are printed as in a zone file, so no octet of a query
/// can move a cursor or begin a line.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { caller, transport, name, qtype, class, source, negative } = self;
        write!(f, "{} {transport} ", caller.ip().to_canonical())?;
        match (name.is_empty(), qtype) {
            (false, Some(number)) => match QueryType::of(Some(*number)) {
                QueryType::Other => write!(f, "{} TYPE{number}", Wire(name))?,
                qtype => write!(f, "{} {}", Wire(name), qtype.name())?,
            },
            _ => f.write_str("- -")?,
        }
        write!(f, " {} {}", class.map_or("-", Class::name), source.name())?;
        match negative {
            Some(negative) => write!(f, " {}", negative.name()),
            None => Ok(()),
        }
    }
}

/// Whether a name is another, or below it; the other is in lower case.
fn is_at_or_below(name: &[u8], other: &[u8]) -> bool {
    let mut rest = name;
    while rest.len() > other.len() {
        let Some(length) = rest.first().map(|length| usize::from(*length)) else { return false };
        rest = rest.get(length + 1..).unwrap_or_default();
    }
    !rest.is_empty() && rest.eq_ignore_ascii_case(other)
}

/// Lines that wait to be written: a megabyte or so of the longest names.
const LINES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const NAME: &[u8] = b"\x03WeB\x04sh\x1bp\x00";

    fn entry(name: &[u8]) -> Entry<'_> {
        let (class, negative) = (Some(Class::NxDomain), Some(Negative::Unknown));
        let caller = "[::ffff:10.0.0.5]:4000".parse().unwrap();
        Entry { caller, transport: "udp", name, qtype: Some(28), class, source: Source::Own, negative }
    }

    fn selected(selection: &Selection) -> [bool; 2] {
        [NAME, b"\x03api\x00"].map(|name| selection.holds(&entry(name), 7))
    }

    #[test]
    fn queries_are_selected_by_number_caller_or_name() {
        let of = Selection::default;
        assert_eq!(selected(&of()), [false, false]);
        assert_eq!(selected(&Selection { every: Some(7), ..of() }), [true, true]);
        assert_eq!(selected(&Selection { every: Some(8), ..of() }), [false, false]);
        assert_eq!(selected(&Selection { callers: vec!["10.0.0.0/24".parse().unwrap()], ..of() }), [true, true]);
        assert_eq!(selected(&Selection { callers: vec!["10.0.1.0/24".parse().unwrap()], ..of() }), [false, false]);
        assert_eq!(selected(&Selection { names: vec![b"\x04sh\x1bp\x00"[..].into()], ..of() }), [true, false]);
        assert_eq!(selected(&Selection { names: vec![b"\x03web\x00"[..].into()], ..of() }), [false, false]);
    }

    #[test]
    fn a_line_has_no_raw_control_octet_and_a_full_queue_drops() {
        let (written, lines) = mpsc::channel();
        let (gate, closed) = mpsc::channel::<()>();
        let selection = Selection { every: Some(1), ..Selection::default() };
        let write = move |line: &Line| {
            let _ = written.send(line.to_string());
            let _ = closed.recv();
        };
        let log = QueryLog::start(selection, write).unwrap().unwrap();
        assert_eq!(log.enter(&entry(NAME), 0), Logged::Done);
        let line = lines.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(line, "10.0.0.5 udp WeB.sh\\027p. AAAA NXDOMAIN own unknown");
        // The writer stands still now.
        let dropped = (0..LINES_MAX + 5).filter(|_| log.enter(&entry(b""), 0) == Logged::Dropped).count();
        assert_eq!(dropped, 5);
        drop(gate);
        assert!(QueryLog::start(Selection::default(), |_| {}).unwrap().is_none());
    }
}
