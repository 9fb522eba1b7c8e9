//! Batches of datagrams: `recvmmsg` and `sendmmsg` behind a safe face. The one file with `unsafe` in it.
//!
//! Everything the kernel reads or writes lies in one arena of [`Slot`]s that is allocated once and never moves: the source
//! address, the control message, the query and the response of one datagram, beside each other so that they are fetched
//! together. The headers that point into it are made once too; between batches only what the kernel wrote to is put back,
//! and only where it did.
//!
//! The control message that a datagram came with (`IP_PKTINFO`, on wildcard binds) is sent back with its response: it holds
//! the address that was asked, which is the one that must reply. Clients and middleboxes drop what comes from another.
//!
//! Responses in a row that go to one socket leave as a [`Run`]: the kernel finds the route once and cuts them apart where they are
//! received or leave the machine (`UDP_SEGMENT`), and the client sees datagrams like any others. Where a few busy sockets ask, as forwarders
//! have, that is most of what a response costs; where each query has a socket of its own it is never done, and costs a comparison.
#![allow(
    unsafe_code,
    reason = "the standard library has no batched system calls, no control messages and no IP_PKTINFO"
)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};

use libc::{c_int, c_void, cmsghdr, iovec, mmsghdr, msghdr, sockaddr_in, sockaddr_in6, socklen_t};

/// Octets that are received of a query; a longer one is cut. A query has 300 octets at most, but for padding.
const QUERY_MAX: usize = 2048;

/// The most octets of a response: 1280, the smallest MTU of IPv6, less its header (40) and that of UDP (8); RFC 9715 §3.
pub(super) const RESPONSE_MAX: usize = 1232;

/// Room for two control messages: a header of 16 octets and an `in6_pktinfo` of 20, which makes 40, and 24 to say how a run is cut.
const CONTROL_MAX: usize = 64;

const _: () = assert!(
    CONTROL_MAX >= space_of::<libc::in6_pktinfo>() + space_of::<u16>(),
    "a run's message has the address that it leaves from, and how it is cut"
);

/// Octets of [`Source::way`].
const WAY: usize = 8;

/// The most octets of a run: what an IPv4 packet holds, less its headers.
const RUN_MAX: usize = 65_535 - 20 - 8;

/// The most octets of a response in a run. One run's packets have IPv4 IDs that follow each other, and the next run's may be the same: on a way
/// that cuts IPv4 packets into fragments, those of different responses would be put together (RFC 6864 §4.3). No way cuts what fits 576
/// octets with its headers.
const RUN_RESPONSE_MAX: usize = 576 - 20 - 8;

/// The most responses in a run: kernels before 5.16 count the header of UDP among what 64 of them may hold.
pub(super) const RUN_MOST: usize = 63;

/// Batches that are sent without runs after one was refused: a way that takes none (IPsec, a small MTU) would refuse the next as well, and
/// being refused costs as much as sending.
const APART: u32 = 1024;

/// Whether receiving waits for a first datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Until there is one, or the socket is shut down.
    ForOne,
    /// Not at all: zero datagrams are a result.
    Never,
}

/// One datagram of a batch, and the room for its response.
#[derive(Debug)]
pub(super) struct Message<'a> {
    /// Where it came from.
    pub(super) source: SocketAddr,
    /// What it holds.
    pub(super) query: &'a [u8],
    /// Where its response goes.
    pub(super) response: &'a mut [u8],
}

/// What became of the responses of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// How many the kernel took.
    pub(super) taken: usize,
    /// How many it refused.
    pub(super) failed: usize,
    /// Responses that would have left with others, were a run not full.
    pub(super) kept_out: usize,
}

/// Responses that leave as one message: all as long as the first, but for the last, which may be shorter.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// The place in the batch of the first one's query.
    first: usize,
    /// The beginning of where they go: family, port, and an IPv4 address.
    way: [u8; WAY],
    /// Octets of the control message, which says where they leave from.
    control_length: usize,
    /// How many there are.
    count: usize,
    /// Octets of each.
    segment: usize,
    /// Octets of all.
    octets: usize,
    /// Whether there may be another: the last of them is as long as the first.
    is_open: bool,
}

/// The buffers and headers of one worker; made once, used for every batch.
///
/// It holds raw pointers and so stays on the thread that made it.
#[derive(Debug)]
pub(super) struct Batch {
    /// Owned: a slot for each header, leaked from a box, freed in `drop`. Reached only through this pointer, so that the pointers in the
    /// headers stay valid.
    arena: NonNull<[Slot]>,
    /// One for each slot, in order.
    incoming: Box<[mmsghdr]>,
    /// The first `queued` are messages to send: runs of responses, most of them of one.
    outgoing: Box<[mmsghdr]>,
    /// The first `responses` are what is in them, in order.
    parts: Box<[iovec]>,
    received: usize,
    queued: usize,
    responses: usize,
    /// The last message that was queued.
    run: Run,
    /// Responses that a run may have: one where there are none.
    run_max: usize,
    /// Responses of this batch that were kept out of one that was full.
    kept_out: usize,
    /// Batches that are sent without runs yet, as one was refused.
    apart: u32,
}

/// What belongs to one datagram. An odd number of cache lines: with an even one, the same fields of all slots would fall into few sets of
/// the first-level cache.
#[repr(C, align(64))]
struct Slot {
    source: Source,
    query_part: iovec,
    control: Control,
    query: [u8; QUERY_MAX],
    response: [u8; RESPONSE_MAX],
}

const _: () = assert!(size_of::<Slot>() / 64 % 2 == 1, "an odd number of cache lines");

/// A socket address of either family; what the kernel wrote is told by its first field, which both share.
#[repr(C)]
#[derive(Clone, Copy)]
union Source {
    v6: sockaddr_in6,
    v4: sockaddr_in,
    /// Its beginning: family, port, and an IPv4 address.
    way: [u8; WAY],
    octets: [u8; size_of::<sockaddr_in6>()],
}

/// Control messages begin with a `cmsghdr`, and are aligned as it is.
#[repr(C, align(8))]
struct Control([u8; CONTROL_MAX]);

impl Batch {
    /// Allocates the buffers for so many datagrams, of the responses to which up to `run_max` may leave as one message: see [`run_max`].
    pub(super) fn new(size: usize, run_max: usize) -> Self {
        let mut slots = Box::<[Slot]>::new_uninit_slice(size);
        // SAFETY: the slots are ours to write. A `Slot` is integers, raw pointers, and arrays and a union of those: all zeros
        // is a value of it.
        let slots = unsafe {
            ptr::write_bytes(slots.as_mut_ptr(), 0, size);
            slots.assume_init()
        };
        let arena = NonNull::from(Box::leak(slots));
        let nothing = iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        let mut batch = Self {
            arena,
            incoming: headers(size),
            outgoing: headers(size),
            parts: vec![nothing; size].into_boxed_slice(),
            received: 0,
            queued: 0,
            responses: 0,
            run: Run { first: 0, way: [0; WAY], control_length: 0, count: 0, segment: 0, octets: 0, is_open: false },
            run_max,
            kept_out: 0,
            apart: 0,
        };
        for (index, header) in batch.incoming.iter_mut().enumerate() {
            let slot = slot_of(arena, index);
            // SAFETY: `slot` points into the arena, which lives as long as `batch`; no reference into it exists, and the
            // fields are addressed without making one.
            unsafe {
                (*slot).query_part = iovec { iov_base: (&raw mut (*slot).query).cast(), iov_len: QUERY_MAX };
                header.msg_hdr.msg_iov = &raw mut (*slot).query_part;
                header.msg_hdr.msg_name = (&raw mut (*slot).source).cast();
                header.msg_hdr.msg_control = (&raw mut (*slot).control).cast();
            }
            header.msg_hdr.msg_iovlen = 1;
        }
        // Every header counts as used, so that each has its lengths put in.
        batch.received = size;
        batch
    }

    /// Receives the datagrams that are there, after the first of them has come where `wait` says so; returns how many.
    ///
    /// A socket that was shut down yields an empty message without a source, which [`message`](Self::message) passes over.
    ///
    /// # Errors
    /// Whatever the system call reports, but for the two that say "nothing yet" and "interrupted" (zero datagrams).
    pub(super) fn receive(&mut self, socket: &UdpSocket, wait: Wait) -> io::Result<usize> {
        for header in self.incoming.iter_mut().take(self.received) {
            header.msg_hdr.msg_namelen = length_of::<Source>();
            header.msg_hdr.msg_controllen = CONTROL_MAX;
        }
        self.received = 0;
        self.clear();
        self.apart = self.apart.saturating_sub(1);
        let flags = match wait {
            Wait::ForOne => libc::MSG_WAITFORONE,
            Wait::Never => libc::MSG_DONTWAIT,
        };
        let length = u32::try_from(self.incoming.len()).unwrap_or(u32::MAX);
        // SAFETY: so many headers exist, and each points at a name, a control buffer and one part in the arena, with
        // lengths that are theirs: `new` set the pointers, the loop above the lengths that the last batch changed.
        let count =
            unsafe { libc::recvmmsg(socket.as_raw_fd(), self.incoming.as_mut_ptr(), length, flags, ptr::null_mut()) };
        match usize::try_from(count) {
            Ok(count) => {
                self.received = count.min(self.incoming.len());
                Ok(self.received)
            }
            Err(_) => match io::Error::last_os_error() {
                error if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
                error => Err(error),
            },
        }
    }

    /// What the `index`th datagram of the batch that was received holds.
    #[inline]
    pub(super) fn query(&self, index: usize) -> Option<&[u8]> {
        let header = self.incoming.get(..self.received)?.get(index)?;
        let slot = slot_of(self.arena, index);
        let length = usize::try_from(header.msg_len).ok()?.min(QUERY_MAX);
        // SAFETY: the array lies in the slot; the borrow of `self` keeps everyone who could write to it away, the kernel too, which
        // writes only in `receive`.
        let query = unsafe { &(*slot).query };
        query.get(..length)
    }

    /// The `index`th datagram of the batch that was received, and the room for its response.
    #[inline]
    pub(super) fn message(&mut self, index: usize) -> Option<Message<'_>> {
        let header = self.incoming.get(..self.received)?.get(index)?;
        let slot = slot_of(self.arena, index);
        // SAFETY: the slot is zeroed memory or what the kernel wrote, both values of `Source`.
        let source = unsafe { (*slot).source.read(header.msg_hdr.msg_namelen) }?;
        let length = usize::try_from(header.msg_len).ok()?.min(QUERY_MAX);
        // SAFETY: both arrays lie in the slot, apart from each other; the borrow of `self` keeps everyone else away from
        // them, the kernel too, which writes only in `receive` and reads only in `send`.
        let (query, response) = unsafe { (&(*slot).query, &mut (*slot).response) };
        Some(Message { source, query: query.get(..length)?, response })
    }

    /// Queues the first `length` octets of the response to the `index`th datagram, once for each at most.
    #[inline(always)]
    pub(super) fn reply(&mut self, index: usize, length: usize) {
        let Some(asked) = self.incoming.get(..self.received).and_then(|headers| headers.get(index)) else { return };
        let Some(part) = self.parts.get_mut(self.responses) else { return };
        let length = length.min(RESPONSE_MAX);
        let slot = slot_of(self.arena, index);
        // SAFETY: `slot` points into the arena; the field is addressed without making a reference into it.
        *part = unsafe { iovec { iov_base: (&raw mut (*slot).response).cast(), iov_len: length } };
        // Whatever was there is not looked at when its length is zero.
        let control_length = match asked.msg_hdr.msg_controllen {
            0 => 0,
            // SAFETY: the kernel filled this header's control buffer to the length that it left in the header, or `receive`
            // found it so; nothing else refers to it.
            _ => unsafe { address_only(&asked.msg_hdr) },
        };
        self.responses += 1;
        // SAFETY: the slot is zeroed memory or what the kernel wrote, and any octets are a value of this field.
        let way = unsafe { (*slot).source.way };
        if self.run.is_open && way == self.run.way && self.joins_run(index, length, control_length) {
            if self.run.count < self.run_max {
                self.run.count += 1;
                self.run.octets += length;
                self.run.is_open = length == self.run.segment;
                if let Some(header) = self.queued.checked_sub(1).and_then(|last| self.outgoing.get_mut(last)) {
                    header.msg_hdr.msg_iovlen = self.run.count;
                }
                return;
            }
            self.kept_out += 1;
        }
        let Some(header) = self.outgoing.get_mut(self.queued) else { return };
        let to = &mut header.msg_hdr;
        to.msg_iovlen = 1;
        (to.msg_name, to.msg_namelen) = (asked.msg_hdr.msg_name, asked.msg_hdr.msg_namelen);
        (to.msg_control, to.msg_controllen) = (asked.msg_hdr.msg_control, control_length);
        let is_open = self.run_max > 1 && self.apart == 0 && (1..=RUN_RESPONSE_MAX).contains(&length);
        self.run = Run { first: index, way, control_length, count: 1, segment: length, octets: length, is_open };
        self.queued += 1;
    }

    /// Whether a response of this length to the `index`th datagram, which goes where the last run does as far as [`Source::way`] tells, may
    /// leave with it.
    #[inline(always)]
    fn joins_run(&self, index: usize, length: usize, control_length: usize) -> bool {
        let Run { way: [high, low, ..], segment, octets, .. } = self.run;
        // IPv4 without a control message: family, port and address have been compared.
        let way_is_all = c_int::from(u16::from_ne_bytes([high, low])) == libc::AF_INET && control_length == 0;
        (1..=segment).contains(&length)
            && octets + length <= RUN_MAX
            && control_length == self.run.control_length
            && (way_is_all || self.goes_as_run(index, control_length))
    }

    /// Whether the `index`th datagram came from where those of the last run did, and to the same address.
    #[inline(never)]
    fn goes_as_run(&self, index: usize, control_length: usize) -> bool {
        // SAFETY: both slots are zeroed memory or what the kernel wrote, whose octets are all initialised; nothing writes to them here.
        let (this, run) = unsafe { (&*slot_of(self.arena, index), &*slot_of(self.arena, self.run.first)) };
        // SAFETY: any octets are a value of either field.
        let is_same = unsafe {
            match c_int::from(this.source.v4.sin_family) {
                libc::AF_INET => this.source.way == run.source.way,
                _ => this.source.octets == run.source.octets,
            }
        };
        is_same && this.control.0.get(..control_length) == run.control.0.get(..control_length)
    }

    /// Forgets what was queued.
    const fn clear(&mut self) {
        (self.queued, self.responses, self.kept_out, self.run.is_open) = (0, 0, 0, false);
    }

    /// Where the `index`th datagram came from, and to, for a response that is sent later: by [`send_later`].
    pub(super) fn origin(&self, index: usize) -> Option<Origin> {
        let header = self.incoming.get(..self.received)?.get(index)?;
        let slot = slot_of(self.arena, index);
        let mut origin = Origin {
            // SAFETY: the slot is zeroed memory or what the kernel wrote, both values of `Source`, which is copied.
            source: unsafe { (*slot).source },
            source_length: header.msg_hdr.msg_namelen,
            control: Control([0; CONTROL_MAX]),
            control_length: 0,
        };
        if header.msg_hdr.msg_controllen > 0 {
            // SAFETY: the kernel filled this header's control buffer to the length that it left in the header; nothing else refers
            // to it. Its octets are copied.
            unsafe {
                origin.control_length = address_only(&header.msg_hdr);
                origin.control.0 = (*slot).control.0;
            }
        }
        Some(origin)
    }

    /// Sends what was queued. What the kernel refuses is counted and given up, never waited for: its client asks again, and
    /// one address that nobody answers at could otherwise fill the send buffer and hold up every other.
    pub(super) fn send(&mut self, socket: &UdpSocket) -> Sent {
        let mut sent = Sent { taken: 0, failed: 0, kept_out: self.kept_out };
        let (mut begun, mut part) = (0, self.parts.as_mut_ptr());
        for header in self.outgoing.iter_mut().take(self.queued) {
            let to = &mut header.msg_hdr;
            to.msg_iov = part;
            if to.msg_iovlen > 1 {
                // SAFETY: a part of those that `reply` wrote, whose numbers in all messages make up their number. The control buffer is
                // a slot's, and holds what `address_only` left in it.
                unsafe { put_segment(to, (*part).iov_len) }
            }
            part = part.wrapping_add(to.msg_iovlen);
        }
        while let Some(rest) = self.outgoing.get_mut(begun..self.queued)
            && let Ok(length) = u32::try_from(rest.len())
            && length > 0
        {
            // SAFETY: these headers were filled by `reply` since the last batch was received, so each points at a name, at parts and
            // perhaps at a control message, with lengths that are theirs.
            let count = unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), length, libc::MSG_DONTWAIT) };
            match usize::try_from(count) {
                Ok(count) if count > 0 => {
                    sent.taken += rest.iter().take(count).map(|header| header.msg_hdr.msg_iovlen).sum::<usize>();
                    begun += count;
                }
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                // The first of the rest is the one at fault; those behind it may go to somewhere else.
                _ => {
                    let is_run = rest.first().is_some_and(|header| header.msg_hdr.msg_iovlen > 1);
                    if is_run && is_of_runs(&io::Error::last_os_error()) {
                        self.apart = APART;
                    }
                    if let Some(header) = rest.first_mut() {
                        // SAFETY: as above.
                        unsafe { send_apart(socket, header, &mut sent) }
                    }
                    begun += 1;
                }
            }
        }
        self.clear();
        sent
    }
}

/// Whether this is what the kernel says of a message that it cannot cut apart, and not of any.
fn is_of_runs(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP))
}

/// Sends a message that the kernel refused. Of a run each response by itself: not every route can take them together (IPsec, a small
/// MTU).
///
/// # Safety
/// The header is as [`Batch::send`] makes it.
#[cold]
unsafe fn send_apart(socket: &UdpSocket, header: &mut mmsghdr, sent: &mut Sent) {
    let to = &mut header.msg_hdr;
    let (parts, count) = (to.msg_iov, to.msg_iovlen);
    if count < 2 {
        sent.failed += 1;
        return;
    }
    to.msg_iovlen = 1;
    to.msg_controllen -= space_of::<u16>();
    for part in 0..count {
        to.msg_iov = parts.wrapping_add(part);
        // SAFETY: the header points at a name, at one of its parts, and perhaps at a control message, with lengths that are theirs.
        match unsafe { libc::sendmsg(socket.as_raw_fd(), to, libc::MSG_DONTWAIT) } {
            0.. => sent.taken += 1,
            _ => sent.failed += 1,
        }
    }
}

/// Adds to a message that is to be cut apart how long each of its responses is, but perhaps for the last.
///
/// # Safety
/// `msg_control` points at [`CONTROL_MAX`] octets that nothing else refers to, aligned as `cmsghdr`, the first
/// `msg_controllen` of which hold one control message at most, of `IP_PKTINFO` or `IPV6_PKTINFO`.
unsafe fn put_segment(header: &mut msghdr, segment: usize) {
    // SAFETY: the room is there: a `Control` holds the longer of the two and this one. It is aligned, as lengths are rounded up.
    unsafe {
        let message = header.msg_control.cast::<u8>().wrapping_add(header.msg_controllen).cast::<cmsghdr>();
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = size_of::<cmsghdr>() + size_of::<u16>();
        let segment = u16::try_from(segment).unwrap_or(u16::MAX);
        libc::CMSG_DATA(message).cast::<u16>().write_unaligned(segment);
    }
    header.msg_controllen += space_of::<u16>();
}

/// Where a datagram came from, and which address it came to.
pub(super) struct Origin {
    source: Source,
    source_length: socklen_t,
    /// Says which address the response leaves from.
    control: Control,
    control_length: usize,
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").finish_non_exhaustive()
    }
}

/// Sends one response to where a datagram came from, from the address that it came to; never waits.
///
/// # Errors
/// Whatever the system call reports.
pub(super) fn send_later(socket: &UdpSocket, origin: &mut Origin, response: &mut [u8]) -> io::Result<()> {
    let mut part = iovec { iov_base: response.as_mut_ptr().cast(), iov_len: response.len() };
    // SAFETY: a header is integers and pointers: all zeros is a value of it.
    let mut header = unsafe { MaybeUninit::<msghdr>::zeroed().assume_init() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_name = (&raw mut origin.source).cast();
    header.msg_namelen = origin.source_length;
    if origin.control_length > 0 {
        header.msg_control = (&raw mut origin.control).cast();
        header.msg_controllen = origin.control_length;
    }
    // SAFETY: the header points at one part, a name and a control buffer, which live to the end of this function, with lengths that
    // are theirs; the kernel only reads them.
    match unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // SAFETY: `new` made this pointer of a box, nothing else frees it, and the headers that point into it are not used again.
        drop(unsafe { Box::from_raw(self.arena.as_ptr()) });
    }
}

impl Source {
    /// Reads the address of which the kernel wrote `length` octets.
    ///
    /// # Safety
    /// Every octet is initialised.
    #[inline]
    unsafe fn read(&self, length: socklen_t) -> Option<SocketAddr> {
        if length < length_of::<sockaddr_in>() {
            return None;
        }
        // SAFETY: initialised, says the caller, and any octets are a value of either type.
        let (v4, v6) = unsafe { (&self.v4, &self.v6) };
        match c_int::from(v4.sin_family) {
            libc::AF_INET => {
                let address = u32::from_be(v4.sin_addr.s_addr).into();
                Some(SocketAddrV4::new(address, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Some(SocketAddrV6::new(address, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

/// Turns the control message that says where a datagram came in into one that says which address its response leaves from,
/// and returns its length. The interface is left to the routes, but for link-local addresses, which mean nothing without.
///
/// # Safety
/// `header` has a control buffer aligned as `cmsghdr`, `msg_controllen` octets of which are initialised, and that nothing refers to.
unsafe fn address_only(header: &msghdr) -> usize {
    // SAFETY: the buffer is as the caller says, so the macro's walk stays within `msg_controllen`.
    let message: *mut cmsghdr = unsafe { libc::CMSG_FIRSTHDR(header) };
    if message.is_null() {
        return 0;
    }
    // SAFETY: not null, so the buffer holds a whole header, which the kernel wrote.
    let (level, kind, length) = unsafe { ((*message).cmsg_level, (*message).cmsg_type, (*message).cmsg_len) };
    // SAFETY: the address after a header that is there; in a buffer of CONTROL_MAX it is in bounds.
    let data = unsafe { libc::CMSG_DATA(message) };
    let v4_length = space_of::<libc::in_pktinfo>();
    let v6_length = space_of::<libc::in6_pktinfo>();
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) if length >= size_of::<cmsghdr>() + size_of::<libc::in_pktinfo>() => {
            // SAFETY: the message is long enough for this type. It may not be aligned for it, so it is written unaligned.
            unsafe { (&raw mut (*data.cast::<libc::in_pktinfo>()).ipi_ifindex).write_unaligned(0) };
            v4_length
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if length >= size_of::<cmsghdr>() + size_of::<libc::in6_pktinfo>() => {
            let info = data.cast::<libc::in6_pktinfo>();
            // SAFETY: the message is long enough for this type. It may not be aligned for it, so it is read and written so.
            unsafe {
                let address = Ipv6Addr::from((&raw const (*info).ipi6_addr).read_unaligned().s6_addr);
                if !address.is_unicast_link_local() {
                    (&raw mut (*info).ipi6_ifindex).write_unaligned(0);
                }
            }
            v6_length
        }
        _ => 0,
    }
}

/// Asks the kernel to say with each datagram which address it was sent to.
///
/// # Errors
/// Whatever the system call reports.
pub(super) fn report_local_address(socket: &impl AsRawFd, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
        SocketAddr::V6(_) => set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
    }
}

/// Leaves path MTUs out of it (RFC 9715 §3.1): a forged "fragmentation needed" must not make us send fragments, which
/// can be forged too. Responses fit the smallest MTU of IPv6 anyway.
///
/// # Errors
/// Whatever the system call reports.
pub(super) fn ignore_path_mtu(socket: &impl AsRawFd, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT),
        SocketAddr::V6(_) => set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT),
    }
}

/// How many responses a run may have that leaves this socket, `most` as far as the kernel knows runs (4.18).
pub(super) fn run_max(socket: &impl AsRawFd, most: usize) -> usize {
    let (mut value, mut length): (c_int, _) = (0, length_of::<c_int>());
    // Asked for and not set: there are kernels that let any option be set.
    // SAFETY: the pointers are to a `c_int` and its length, which live through the call.
    let known = unsafe {
        let value = (&raw mut value).cast::<c_void>();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, value, &raw mut length)
    };
    // A socket that was handed over may have one set for all that it sends.
    let is_known = known == 0 && set_option(socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
    if is_known { most } else { 1 }
}

fn set_option(socket: &impl AsRawFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    let pointer = (&raw const value).cast::<c_void>();
    // SAFETY: the pointer is to a `c_int` that lives through the call, and the length is its.
    match unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, pointer, length_of::<c_int>()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn headers(size: usize) -> Box<[mmsghdr]> {
    // SAFETY: a header is integers and pointers: all zeros is a value of it.
    (0..size).map(|_| unsafe { MaybeUninit::<mmsghdr>::zeroed().assume_init() }).collect()
}

fn slot_of(arena: NonNull<[Slot]>, index: usize) -> *mut Slot {
    debug_assert!(index < arena.len(), "callers take the index from a header that exists");
    // Wrapping, so that no index is unsound here; each use of the result says why it is in bounds.
    arena.as_ptr().cast::<Slot>().wrapping_add(index)
}

/// The size of a type as the socket calls take it.
#[allow(clippy::cast_possible_truncation, reason = "sizes of C structures, far below 2³²")]
const fn length_of<T>() -> socklen_t {
    size_of::<T>() as socklen_t
}

/// The octets that a control message with this content takes.
#[allow(clippy::cast_possible_truncation, reason = "sizes of C structures, far below 2³²")]
const fn space_of<T>() -> usize {
    // SAFETY: arithmetic on a length.
    unsafe { libc::CMSG_SPACE(size_of::<T>() as u32) as usize }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use super::*;

    const fn sent(taken: usize, failed: usize) -> Sent {
        Sent { taken, failed, kept_out: 0 }
    }

    /// A socket that reports local addresses where `address` is a wildcard, and one to ask from.
    fn pair(address: &str) -> (UdpSocket, UdpSocket) {
        let server = UdpSocket::bind(address).unwrap();
        let bound = server.local_addr().unwrap();
        if bound.ip().is_unspecified() {
            report_local_address(&server, bound).unwrap();
        }
        ignore_path_mtu(&server, bound).unwrap();
        let client = UdpSocket::bind(if bound.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (server, client)
    }

    /// Receives until `count` messages have come, and answers each with its own octets reversed.
    fn reverse_all(batch: &mut Batch, server: &UdpSocket, mut count: usize) {
        while count > 0 {
            let received = batch.receive(server, Wait::ForOne).unwrap();
            for index in 0..received {
                let message = batch.message(index).unwrap();
                let length = message.query.len();
                for (to, from) in message.response.iter_mut().zip(message.query.iter().rev()) {
                    *to = *from;
                }
                batch.reply(index, length);
            }
            assert_eq!(batch.send(server), sent(received, 0));
            count -= received;
        }
    }

    #[test]
    fn every_message_of_every_batch_gets_its_own_response() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let (server, client) = pair(address);
            let port = server.local_addr().unwrap().port();
            let to = SocketAddr::new(client.local_addr().unwrap().ip(), port);
            let mut batch = Batch::new(32, 1);
            for length in [1, 300, 7, 1000] {
                for number in 0..80 {
                    let mut query = vec![0; length];
                    query[0] = number;
                    client.send_to(&query, to).unwrap();
                }
                reverse_all(&mut batch, &server, 80);
                let mut numbers = Vec::new();
                for _ in 0..80 {
                    let mut response = [0xff; 2048];
                    let (received, from) = client.recv_from(&mut response).unwrap();
                    assert_eq!((received, from), (length, to));
                    numbers.push(response[length - 1]);
                }
                assert_eq!(numbers, (0..80).collect::<Vec<_>>(), "over {address}");
            }
        }
    }

    #[test]
    fn a_message_says_where_it_came_from() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (server, client) = pair(address);
            client.send_to(b"query", server.local_addr().unwrap()).unwrap();
            let mut batch = Batch::new(32, 1);
            assert_eq!(batch.receive(&server, Wait::ForOne).unwrap(), 1);
            let message = batch.message(0).unwrap();
            assert_eq!((message.source, message.query), (client.local_addr().unwrap(), &b"query"[..]));
            assert!(batch.message(1).is_none());
        }
    }

    #[test]
    fn a_wildcard_socket_replies_from_the_address_that_was_asked() {
        let (server, client) = pair("0.0.0.0:0");
        let port = server.local_addr().unwrap().port();
        let mut batch = Batch::new(32, 1);
        for last in [2, 9, 1, 77] {
            let asked = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), port);
            client.send_to(b"abc", asked).unwrap();
            reverse_all(&mut batch, &server, 1);
            let mut response = [0; 16];
            assert_eq!(client.recv_from(&mut response).unwrap(), (3, asked));
        }
    }

    #[test]
    fn a_query_that_is_too_long_is_cut() {
        let (server, client) = pair("127.0.0.1:0");
        client.send_to(&[7; 5000], server.local_addr().unwrap()).unwrap();
        let mut batch = Batch::new(32, 1);
        assert_eq!(batch.receive(&server, Wait::ForOne).unwrap(), 1);
        assert_eq!(batch.message(0).unwrap().query, [7; QUERY_MAX]);
        assert_eq!(batch.message(0).unwrap().response.len(), RESPONSE_MAX);
    }

    #[test]
    fn only_what_is_replied_to_is_sent() {
        let (server, client) = pair("127.0.0.1:0");
        for number in 0..5_u8 {
            client.send_to(&[number], server.local_addr().unwrap()).unwrap();
        }
        let mut batch = Batch::new(32, 1);
        assert_eq!(batch.receive(&server, Wait::ForOne).unwrap(), 5);
        for index in [1, 3] {
            let message = batch.message(index).unwrap();
            message.response[0] = message.query[0];
            batch.reply(index, 1);
        }
        batch.reply(5, 1);
        assert_eq!(batch.send(&server), sent(2, 0));
        assert_eq!(batch.send(&server), sent(0, 0), "once");
        let mut response = [0; 16];
        for expected in [1, 3] {
            assert_eq!(client.recv(&mut response).unwrap(), 1);
            assert_eq!(response[0], expected);
        }
        client.set_nonblocking(true).unwrap();
        assert_eq!(client.recv(&mut response).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn responses_that_cannot_be_sent_are_counted_and_given_up() {
        let (server, client) = pair("127.0.0.1:0");
        for _ in 0..3 {
            client.send_to(b"abc", server.local_addr().unwrap()).unwrap();
        }
        let mut batch = Batch::new(32, 1);
        assert_eq!(batch.receive(&server, Wait::ForOne).unwrap(), 3);
        (0..3).for_each(|index| batch.reply(index, 3));
        // The kernel says that the socket is not connected, and does it.
        let _ = socket2::SockRef::from(&server).shutdown(std::net::Shutdown::Write);
        assert_eq!(batch.send(&server), sent(0, 3));
    }

    #[test]
    fn a_socket_that_is_shut_down_wakes_its_reader_with_nothing() {
        let (server, _) = pair("127.0.0.1:0");
        let mut batch = Batch::new(32, 1);
        assert_eq!(batch.receive(&server, Wait::Never).unwrap(), 0);
        let _ = socket2::SockRef::from(&server).shutdown(std::net::Shutdown::Read);
        let received = batch.receive(&server, Wait::ForOne).unwrap();
        assert!((0..received).all(|index| batch.message(index).is_none()));
    }

    /// A socket that may send runs, and two to ask from.
    fn runs(address: &str) -> (UdpSocket, Batch, [UdpSocket; 2]) {
        let (server, client) = pair(address);
        let most = run_max(&server, RUN_MOST);
        assert_eq!(most, RUN_MOST, "this kernel cannot");
        (server, Batch::new(32, most), [client, pair(address).1])
    }

    /// Asks from each socket in turn, and has each query answered with its own octets.
    fn echo(server: &UdpSocket, batch: &mut Batch, queries: &[(&UdpSocket, SocketAddr, Vec<u8>)]) -> (usize, Sent) {
        for (client, to, query) in queries {
            client.send_to(query, to).unwrap();
        }
        assert_eq!(batch.receive(server, Wait::ForOne).unwrap(), queries.len());
        for index in 0..queries.len() {
            let message = batch.message(index).unwrap();
            let length = message.query.len();
            message.response[..length].copy_from_slice(message.query);
            batch.reply(index, length);
        }
        (batch.queued, batch.send(server))
    }

    fn received(client: &UdpSocket) -> (Vec<u8>, SocketAddr) {
        let mut response = [0; 2048];
        let (length, from) = client.recv_from(&mut response).unwrap();
        (response[..length].to_vec(), from)
    }

    #[test]
    fn responses_to_one_socket_leave_together_and_arrive_one_by_one() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let (server, mut batch, [client, other]) = runs(address);
            let to = SocketAddr::new(client.local_addr().unwrap().ip(), server.local_addr().unwrap().port());
            let query = |number: u8, length: usize| vec![number; length];
            // Longer than the first of its run, shorter, behind a shorter one, and of another socket.
            let lengths = [60, 60, 60, 40, 40, 50, 50, 500, 500, 1];
            let mut queries: Vec<_> = (0..).zip(lengths).map(|(n, length)| (&client, to, query(n, length))).collect();
            queries.push((&other, to, query(10, 1)));
            queries.push((&client, to, query(11, 1)));
            let (messages, done) = echo(&server, &mut batch, &queries);
            assert_eq!(done, sent(12, 0), "over {address}");
            assert_eq!(messages, 6, "60 60 60 40, 40, 50 50, 500 500 1, the other's, 1");
            for (asker, _, query) in &queries {
                assert_eq!(received(asker), (query.clone(), to), "over {address}");
            }
            let (messages, done) = echo(&server, &mut batch, &vec![(&client, to, query(7, 30)); 32]);
            assert_eq!((messages, done.taken), (1, 32), "what was queued is forgotten when it is sent");
            (0..32).for_each(|_| assert_eq!(received(&client), (query(7, 30), to)));
        }
    }

    #[test]
    fn responses_in_a_run_leave_from_the_address_that_was_asked() {
        let (server, mut batch, [client, _]) = runs("0.0.0.0:0");
        let port = server.local_addr().unwrap().port();
        let at = |last| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), port);
        let queries = [2, 2, 3, 3, 2].map(|last| (&client, at(last), vec![last; 20]));
        let (messages, done) = echo(&server, &mut batch, &queries);
        assert_eq!((messages, done), (3, sent(5, 0)));
        queries.iter().for_each(|(_, to, query)| assert_eq!(received(&client), (query.clone(), *to)));
    }

    #[test]
    fn a_run_has_an_end() {
        let (server, _, [client, _]) = runs("127.0.0.1:0");
        let to = server.local_addr().unwrap();
        let mut batch = Batch::new(100, 3);
        let (messages, done) = echo(&server, &mut batch, &vec![(&client, to, vec![1; 30]); 7]);
        assert_eq!((messages, done), (3, Sent { taken: 7, failed: 0, kept_out: 2 }));
        (0..7).for_each(|_| assert_eq!(received(&client).0, [1; 30]));
        let mut batch = Batch::new(200, 200);
        let long = vec![1; RUN_RESPONSE_MAX];
        let (messages, done) = echo(&server, &mut batch, &vec![(&client, to, long.clone()); 120]);
        assert_eq!((messages, done.taken), (2, 120), "119 of 548 octets are what a packet holds");
        (0..120).for_each(|_| assert_eq!(received(&client).0, long));
        let longer = vec![1; RUN_RESPONSE_MAX + 1];
        let (messages, _) = echo(&server, &mut batch, &vec![(&client, to, longer.clone()); 3]);
        assert_eq!(messages, 3, "what may be cut into fragments has an ID of its own");
        (0..3).for_each(|_| assert_eq!(received(&client).0, longer));
    }

    #[test]
    fn a_run_that_the_kernel_refuses_is_sent_one_by_one_and_others_after_it() {
        let (server, mut batch, [client, other]) = runs("127.0.0.1:0");
        let to = server.local_addr().unwrap();
        // What is cut apart must have checksums.
        set_option(&server, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
        let askers = [&other, &client, &client, &client, &other, &client, &client];
        let queries: Vec<_> = (0..).zip(askers).map(|(number, asker)| (asker, to, vec![number; 50])).collect();
        let (messages, done) = echo(&server, &mut batch, &queries);
        assert_eq!((messages, done), (4, sent(7, 0)));
        queries.iter().for_each(|(asker, _, query)| assert_eq!(received(asker), (query.clone(), to)));
        let (messages, done) = echo(&server, &mut batch, &queries);
        assert_eq!((messages, done), (7, sent(7, 0)), "and the next are not tried");
        queries.iter().for_each(|(asker, _, query)| assert_eq!(received(asker), (query.clone(), to)));
        batch.apart = 1;
        let (messages, _) = echo(&server, &mut batch, &queries);
        assert_eq!(messages, 4, "until some batches later");
    }
}
