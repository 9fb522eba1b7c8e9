//! What a process owes the system that runs it: it begins, takes over and ends without losing a query, and keeps no right that it
//! does not need.
//!
//! - [`takeover`]: the next server takes the listening sockets of this one, and this one ends when the next is ready.
//! - [`notify`]: systemd is told what becomes of the server, and passes sockets to it.
//! - [`rights`]: after binding and before any thread, the process becomes a [`user`] without rights, can gain none, and reaches only
//!   the directories that it serves from.
//!
//! Rejected for upgrades: `exec` of the new binary by the old. It would leave the new one in the sandbox of the old, with the old's
//! arguments and user, and Landlock allows sixteen layers of sandboxes in all. So the new server is started as any server is, by
//! whoever starts servers, and finds the old one by a socket in a directory that only they may enter.

pub mod notify;
pub mod rights;
pub mod takeover;
pub mod user;
