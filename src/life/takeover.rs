//! A server passes its listening sockets to the next one, over a Unix socket, and ends once that one is ready.
//!
//! The sockets themselves go over (`SCM_RIGHTS`), so whatever is queued in them is answered, by the old server or by the new.
//! Binding the same port once more with `SO_REUSEPORT` would not do: what is queued in a socket is lost when it is closed.
//!
//! ```text
//! next ── connects ──────────────────────────► this     serving
//! next ◄─ descriptors, 64 a message at most ── this     serving
//! next    reads its files, begins to answer    this     serving
//! next ── READY ─────────────────────────────► this     takes nothing more, answers what it has, ends
//! ```
//!
//! If the next one ends before it says so, nothing has happened. The socket is at a path that both are told, in a directory that
//! only their user may write to: whoever may replace it may pose as a server. Only root and the user of this server are given
//! anything.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use rustix::process::geteuid;

/// What was taken from a server that still answers.
#[derive(Debug)]
pub struct Taken {
    /// Its sockets.
    pub descriptors: Vec<OwnedFd>,
    /// Where it waits for us to be ready.
    stream: UnixStream,
}

/// Takes the sockets of the server that waits at `path`; `None` when nobody does.
///
/// # Errors
/// When there is somebody who does not give any, or not within [`PATIENCE`].
pub fn take(path: &Path) -> io::Result<Option<Taken>> {
    let mut attempts = ATTEMPTS;
    loop {
        attempts -= 1;
        match take_once(path) {
            // It ended as we asked, having given its sockets to another: that one is there now.
            Err(error) if attempts > 0 && error.kind() == io::ErrorKind::UnexpectedEof => {}
            taken => return taken,
        }
    }
}

fn take_once(path: &Path) -> io::Result<Option<Taken>> {
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut descriptors = Vec::new();
    loop {
        let mut tag = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(CHUNK))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut tag)];
        let received = rustix::net::recvmsg(&stream, parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        match (received.bytes, tag) {
            (1, [MORE]) if descriptors.len() <= DESCRIPTORS_MAX => {}
            (1, [END]) => return Ok(Some(Taken { descriptors, stream })),
            (0, _) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, REFUSED)),
            _ => return Err(io::Error::other("what waits there is no server of ours")),
        }
    }
}

impl Taken {
    /// Says that we answer now, so that the other server may end.
    ///
    /// # Errors
    /// When it is gone, which is what was wanted.
    pub fn ready(mut self) -> io::Result<()> {
        self.stream.write_all(&[READY])
    }
}

/// Where this server waits for the next one.
///
/// Made in two steps: [`bind`](Self::bind) while rights are there, [`place`](Self::place) once the server before this one needs the
/// path no more.
#[derive(Debug)]
pub struct Giver {
    listener: UnixListener,
    path: PathBuf,
    beside: PathBuf,
}

impl Giver {
    /// Binds a socket beside `path`. `owner` is the user and group that this server will run as, if it becomes another.
    ///
    /// # Errors
    /// When the directory is not there, or may not be written to.
    pub fn bind(path: &Path, owner: Option<(u32, u32)>) -> io::Result<Self> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        let _ = fs::remove_file(&beside);
        let listener = UnixListener::bind(&beside)?;
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o600))?;
        if let Some((user, group)) = owner {
            std::os::unix::fs::chown(&beside, Some(user), Some(group))?;
        }
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path: path.to_owned(), beside })
    }

    /// Puts the socket where the next server looks for it.
    ///
    /// # Errors
    /// When the directory may not be written to any more.
    pub fn place(&mut self) -> io::Result<()> {
        fs::rename(&self.beside, &self.path)
    }

    /// Waits for the next server, gives it `descriptors`, and returns when it is ready. Servers that end before they are count for
    /// nothing; one is given to at a time.
    ///
    /// `tell` is told of each.
    pub async fn give(&self, descriptors: &[OwnedFd], mut tell: impl FnMut(Step)) {
        let listener = self.listener.try_clone().and_then(tokio::net::UnixListener::from_std);
        let Ok(listener) = listener else {
            tell(Step::Failed(io::Error::other("the socket cannot be waited for")));
            return std::future::pending().await;
        };
        loop {
            match listener.accept().await {
                Ok((stream, _)) => match give_to(&stream, descriptors).await {
                    Ok(()) => {
                        tell(Step::Given);
                        if is_ready(&stream).await {
                            return tell(Step::Ready);
                        }
                        tell(Step::Gone);
                    }
                    Err(error) => tell(Step::Failed(error)),
                },
                Err(error) => {
                    tell(Step::Failed(error));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Removes the socket: nobody comes after this server.
    pub fn remove(self) {
        for path in [&self.path, &self.beside] {
            // It may never have been there.
            let _ = fs::remove_file(path);
        }
    }
}

/// What happens on the way from one server to the next.
#[derive(Debug)]
pub enum Step {
    /// The next server has the sockets.
    Given,
    /// It answers.
    Ready,
    /// It ended before that.
    Gone,
    /// It could not be given anything.
    Failed(io::Error),
}

async fn give_to(stream: &tokio::net::UnixStream, descriptors: &[OwnedFd]) -> io::Result<()> {
    let user = stream.peer_cred()?.uid();
    if user != 0 && user != geteuid().as_raw() {
        return Err(io::Error::other(format!(
            "user {user} asked for the sockets, which only root and our own may have"
        )));
    }
    for chunk in descriptors.chunks(CHUNK) {
        send(stream, MORE, chunk).await?;
    }
    send(stream, END, &[]).await
}

async fn send(stream: &tokio::net::UnixStream, tag: u8, descriptors: &[OwnedFd]) -> io::Result<()> {
    let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    stream.writable().await?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(CHUNK))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::Error::other("too many descriptors for one message"));
    }
    // Some messages of an octet: they fit the socket's buffer, so this waits for nobody.
    let sent = rustix::net::sendmsg(stream, &[IoSlice::new(&[tag])], &mut control, SendFlags::NOSIGNAL)?;
    if sent == 1 { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Waits until the next server is ready, or gone. It may take as long as it likes to read its files: this one answers meanwhile.
async fn is_ready(stream: &tokio::net::UnixStream) -> bool {
    loop {
        if stream.readable().await.is_err() {
            return false;
        }
        let mut octet = [0];
        match stream.try_read(&mut octet) {
            Ok(1) => return octet == [READY],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => return false,
        }
    }
}

/// Descriptors come with this octet; more follow.
const MORE: u8 = b'1';
/// That was all.
const END: u8 = b'.';
/// The next server answers.
const READY: u8 = b'R';

/// What it means to be given nothing.
const REFUSED: &str =
    "the server there gives nothing: it gives to its own user and to root alone, and to one at a time";

/// Tries at a server that ends meanwhile.
const ATTEMPTS: usize = 3;

/// Descriptors in one message; the kernel takes 253 at most.
const CHUNK: usize = 64;

/// Descriptors in all: what `CHUNK` listening addresses on a machine of 64 cores have.
const DESCRIPTORS_MAX: usize = CHUNK * 64;

/// How long a server may take to give its sockets.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long nobody is waited for when waiting fails.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::mpsc;

    use super::*;

    /// Gives `count` sockets at a path in `directory`, and tells of each step.
    fn give(directory: &Path, count: usize) -> mpsc::Receiver<String> {
        let mut giver = Giver::bind(&directory.join("next"), None).unwrap();
        giver.place().unwrap();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let descriptors: Vec<OwnedFd> =
                (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap().into()).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(giver.give(&descriptors, |step| sender.send(format!("{step:?}")).unwrap()));
            giver.remove();
        });
        receiver
    }

    #[test]
    fn every_descriptor_goes_over_and_the_giver_is_done_when_the_taker_is_ready() {
        let directory = tempfile::tempdir().unwrap();
        let steps = give(directory.path(), CHUNK * 2 + 1);
        let taken = take(&directory.path().join("next")).unwrap().unwrap();
        assert_eq!(taken.descriptors.len(), CHUNK * 2 + 1);
        assert_eq!(steps.recv_timeout(PATIENCE).unwrap(), "Given");
        taken.ready().unwrap();
        assert_eq!(steps.recv_timeout(PATIENCE).unwrap(), "Ready");
        steps.recv_timeout(PATIENCE).unwrap_err();
        assert!(take(&directory.path().join("next")).unwrap().is_none(), "it was removed");
    }

    #[test]
    fn a_taker_that_ends_before_it_is_ready_leaves_the_giver_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let steps = give(directory.path(), 1);
        drop(take(&directory.path().join("next")).unwrap().unwrap());
        assert_eq!(steps.recv_timeout(PATIENCE).unwrap(), "Given");
        assert_eq!(steps.recv_timeout(PATIENCE).unwrap(), "Gone");
        let taken = take(&directory.path().join("next")).unwrap().unwrap();
        assert_eq!(taken.descriptors.len(), 1);
    }

    #[test]
    fn where_nobody_waits_nothing_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        assert!(take(&directory.path().join("next")).unwrap().is_none());
        drop(UnixListener::bind(directory.path().join("next")).unwrap());
        assert!(take(&directory.path().join("next")).unwrap().is_none(), "a socket that a dead server left");
    }

    #[test]
    fn who_waits_there_and_gives_nothing_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("next");
        let listener = UnixListener::bind(&path).unwrap();
        let other = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"hello").unwrap());
        take(&path).unwrap_err();
        other.join().unwrap();
    }
}
