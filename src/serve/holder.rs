//! Finds the process that has a port, for the message that says that it cannot be had.
//!
//! `/proc/net` says which socket has the port, `/proc/PID/fd` which process has the socket. A process of another user shows its
//! descriptors to root alone, so there may be nobody to name.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use socket2::Protocol;

/// A process that has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its ID.
    pub process: u32,
    /// What it calls itself.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.process, self.name)
    }
}

/// Who has `address`, or a wildcard that takes it in.
pub(super) fn of(address: SocketAddr, protocol: Protocol) -> Option<Holder> {
    let tables = if protocol == Protocol::UDP {
        ["/proc/net/udp", "/proc/net/udp6"]
    } else {
        ["/proc/net/tcp", "/proc/net/tcp6"]
    };
    let rows = tables.iter().filter_map(|table| fs::read_to_string(table).ok());
    rows.flat_map(|table| sockets(&table, address, protocol)).find_map(|inode| owner(&inode))
}

/// The inodes of the sockets in a table of `/proc/net` that keep others from `address`.
fn sockets(table: &str, address: SocketAddr, protocol: Protocol) -> Vec<String> {
    let rows = table.lines().skip(1).filter_map(|row| {
        let fields: Vec<&str> = row.split_whitespace().collect();
        let [_, local, _, state, _, _, _, _, _, inode, ..] = fields.as_slice() else { return None };
        let local = socket_address(local)?;
        let is_served = protocol == Protocol::UDP || *state == LISTEN;
        let is_same = local.ip().to_canonical() == address.ip().to_canonical();
        let overlaps = is_same || local.ip().is_unspecified() || address.ip().is_unspecified();
        (is_served && overlaps && local.port() == address.port()).then(|| (*inode).to_owned())
    });
    rows.collect()
}

/// Reads `0100007F:14B4`: words of 32 bits as they lie in the memory of this machine, then the port.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words: Vec<[u8; 4]> = (0..address.len() / 8)
        .map(|word| u32::from_str_radix(address.get(word * 8..word * 8 + 8)?, 16).ok().map(u32::to_ne_bytes))
        .collect::<Option<_>>()?;
    let ip: IpAddr = match words.as_slice() {
        [word] => Ipv4Addr::from(*word).into(),
        [_, _, _, _] => Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?).into(),
        _ => return None,
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?).into())
}

/// The first process that has this socket open.
fn owner(inode: &str) -> Option<Holder> {
    let socket = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let process: u32 = entry.file_name().to_str()?.parse().ok()?;
        let mut descriptors = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        let has = descriptors.any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == Path::new(&socket)));
        let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        has.then(|| Holder { process, name: name.trim().to_owned() })
    })
}

/// The state of a listening TCP socket.
const LISTEN: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_the_kernel_writes_it() {
        let v4 = u32::from_ne_bytes([127, 0, 0, 1]);
        assert_eq!(socket_address(&format!("{v4:08X}:14B4")), Some("127.0.0.1:5300".parse().unwrap()));
        let last = u32::from_ne_bytes([0, 0, 0, 1]);
        let v6 = format!("000000000000000000000000{last:08X}:0035");
        assert_eq!(socket_address(&v6), Some("[::1]:53".parse().unwrap()));
        for wrong in ["", ":", "0:0", "zzzzzzzz:0035", "0100007F:100000"] {
            assert_eq!(socket_address(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_holder_of_a_port_is_found_by_address_and_by_wildcard() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let us = std::process::id();
        assert_eq!(of(address, Protocol::TCP).unwrap().process, us);
        assert_eq!(of((Ipv4Addr::UNSPECIFIED, address.port()).into(), Protocol::TCP).unwrap().process, us);
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(of((Ipv4Addr::LOCALHOST, port).into(), Protocol::UDP).unwrap().process, us);
    }
}
