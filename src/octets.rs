//! How values are written as octets and read again: a reader takes what is there or fails, and never believes a length.
//!
//! What is saved and what is kept of documents go through here. By hand, since it is thirty lines a type for a handful of types that have
//! constructors of their own to pass: a derived format would read past them, and would tie what is on disk to how a field is called.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::name::{Label, Name};

/// Octets being written.
#[derive(Debug, Default)]
pub(crate) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u128(&mut self, value: u128) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A number that is mostly small: seven bits an octet, the lowest first.
    pub(crate) fn number(&mut self, value: u64) {
        let mut rest = value;
        loop {
            let [low, ..] = rest.to_le_bytes();
            rest >>= 7;
            if rest == 0 {
                return self.u8(low & 0x7f);
            }
            self.u8(low | 0x80);
        }
    }

    pub(crate) fn count(&mut self, value: usize) {
        self.number(u64::try_from(value).unwrap_or(u64::MAX));
    }

    pub(crate) fn octets(&mut self, value: &[u8]) {
        self.count(value.len());
        self.0.extend_from_slice(value);
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.octets(value.as_bytes());
    }

    pub(crate) fn flag(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    pub(crate) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub(crate) fn list<T>(
        &mut self,
        values: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        let values = values.into_iter();
        self.count(values.len());
        values.for_each(|value| write(self, value));
    }

    pub(crate) fn label(&mut self, label: &Label) {
        self.octets(label.octets());
    }

    pub(crate) fn name(&mut self, name: &Name) {
        self.octets(name.wire());
    }

    pub(crate) fn v4(&mut self, address: Ipv4Addr) {
        self.0.extend_from_slice(&address.octets());
    }

    pub(crate) fn v6(&mut self, address: Ipv6Addr) {
        self.0.extend_from_slice(&address.octets());
    }

    pub(crate) fn ip(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                self.u8(4);
                self.v4(address);
            }
            IpAddr::V6(address) => {
                self.u8(6);
                self.v6(address);
            }
        }
    }

    pub(crate) fn network(&mut self, network: IpNet) {
        self.ip(network.addr());
        self.u8(network.prefix_len());
    }
}

/// Octets being read; every step gives `None` where they are not what they should be.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'o>(pub(super) &'o [u8]);

impl<'o> Reader<'o> {
    /// Reads all of `octets` as one value: nothing may be left over.
    pub(crate) fn whole<T>(octets: &'o [u8], read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let mut reader = Self(octets);
        let value = read(&mut reader)?;
        reader.0.is_empty().then_some(value)
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<&'o [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        let [value] = self.array()?;
        Some(value)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }

    pub(crate) fn count(&mut self) -> Option<usize> {
        self.number()?.try_into().ok()
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let octet = self.u8()?;
            value |= u64::from(octet & 0x7f).checked_shl(shift)?;
            if octet & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn octets(&mut self) -> Option<&'o [u8]> {
        let length = self.count()?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Option<&'o str> {
        str::from_utf8(self.octets()?).ok()
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// `Some(None)` where nothing was written.
    pub(crate) fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? { read(self).map(Some) } else { Some(None) }
    }

    /// A list; no room is made for more values than there are octets.
    pub(crate) fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.count()?;
        let mut values = Vec::with_capacity(count.min(self.0.len()));
        for _ in 0..count {
            values.push(read(self)?);
        }
        Some(values)
    }

    pub(crate) fn label(&mut self) -> Option<Label> {
        Label::from_octets(self.octets()?).ok()
    }

    pub(crate) fn name(&mut self) -> Option<Name> {
        Name::from_wire(self.octets()?).ok()
    }

    pub(crate) fn v4(&mut self) -> Option<Ipv4Addr> {
        self.array::<4>().map(Ipv4Addr::from)
    }

    pub(crate) fn v6(&mut self) -> Option<Ipv6Addr> {
        self.array::<16>().map(Ipv6Addr::from)
    }

    pub(crate) fn ip(&mut self) -> Option<IpAddr> {
        match self.u8()? {
            4 => self.v4().map(IpAddr::V4),
            6 => self.v6().map(IpAddr::V6),
            _ => None,
        }
    }

    pub(crate) fn network(&mut self) -> Option<IpNet> {
        let address = self.ip()?;
        IpNet::new(address, self.u8()?).ok()
    }
}
