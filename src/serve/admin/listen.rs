//! Takes the admin address and the control socket, before any thread exists.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::super::bind::{self, BindError};
use super::super::inherited::Inherited;

/// Where requests are answered.
#[derive(Debug, Default)]
pub struct Listeners {
    pub(super) tcp: Option<TcpListener>,
    pub(super) unix: Option<(UnixListener, PathBuf)>,
}

/// Why the control socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another server answers on it.
    #[error("{}: another server answers there; give each a state directory of its own", .0.display())]
    Taken(PathBuf),
    /// Something else is there.
    #[error("{}: there is something that is no socket; move it away", .0.display())]
    NoSocket(PathBuf),
    /// The system refuses.
    #[error("{}: cannot be listened on: {reason}; commands can still ask at the admin address", path.display())]
    Refused {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
}

impl Listeners {
    /// Listens on `address` as well, or takes what is inherited of it; on any port for port 0.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn with_tcp(self, address: SocketAddr, inherited: &mut Inherited) -> Result<Self, BindError> {
        let tcp = bind::tcp(address, inherited).map_err(BindError::on(address, "admin"))?;
        Ok(Self { tcp: Some(tcp), ..self })
    }

    /// A second descriptor of the admin address, for the server that will come after this one.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn duplicate(&self) -> io::Result<Option<OwnedFd>> {
        self.tcp.as_ref().map(|listener| listener.as_fd().try_clone_to_owned()).transpose()
    }

    /// Listens on a Unix socket at `path` as well, for its owner and group. One that nobody answers on is replaced.
    ///
    /// # Errors
    /// When another server answers there, something else is there, or the system refuses; what was listened on before stays.
    pub fn add_socket(&mut self, path: &Path) -> Result<(), SocketError> {
        let refused = |reason| SocketError::Refused { path: path.to_owned(), reason };
        match std::fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.file_type().is_socket() => return Err(SocketError::NoSocket(path.to_owned())),
            Ok(_) if UnixStream::connect(path).is_ok() => return Err(SocketError::Taken(path.to_owned())),
            // Left by a server that was killed.
            Ok(_) => std::fs::remove_file(path).map_err(refused)?,
            Err(_) => {}
        }
        self.unix = Some((bind_unix(path).map_err(refused)?, path.to_owned()));
        Ok(())
    }

    /// Listens on a Unix socket at `path` in the place of the server before this one, which answers there and is about to leave.
    ///
    /// # Errors
    /// When the system refuses; what was listened on before stays.
    pub fn take_over(&mut self, path: &Path) -> Result<(), SocketError> {
        let refused = |reason| SocketError::Refused { path: path.to_owned(), reason };
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        let listener = bind_unix(&beside).map_err(refused)?;
        std::fs::rename(&beside, path).map_err(refused)?;
        self.unix = Some((listener, path.to_owned()));
        Ok(())
    }

    /// Whether nothing is listened on.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.tcp.is_none() && self.unix.is_none()
    }

    /// The address that is listened on, with the port that was got for port 0.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.as_ref()?.local_addr().ok()
    }

    /// The Unix socket that is listened on.
    #[must_use]
    pub fn socket_path(&self) -> Option<PathBuf> {
        self.unix.as_ref().map(|(_, path)| path.clone())
    }
}

/// Rights are set before anybody can connect: whoever comes between binding and listening is refused.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Who may ask: the server's user, and its group.
const SOCKET_MODE: u32 = 0o660;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_was_left_is_replaced_and_one_that_is_used_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        drop(bind_unix(&path).unwrap());
        let mut first = Listeners::default();
        first.add_socket(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(Listeners::default().add_socket(&path), Err(SocketError::Taken(_))));
        let file = directory.path().join("file");
        std::fs::write(&file, "mine").unwrap();
        assert!(matches!(Listeners::default().add_socket(&file), Err(SocketError::NoSocket(_))));
        assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    }
}
