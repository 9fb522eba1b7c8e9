//! The one table of limits: what clients may take, on every transport, and of upstreams.
//!
//! Each limit bounds what a client can make us hold or wait for. Each has a name, by which it is set, a default, bounds within
//! which it makes sense, and a counter of how often it bit ([`Limit`]). [`LIMITS`] is read by whoever sets them.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::batch::RUN_MOST;
use crate::forward;
use crate::observe::Limit;

/// What clients may take. Connections are counted apart for plain TCP and for TLS with QUIC, which have a thread each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections in all, 1,024 by default; the longest idle goes first. One that is idle holds 8 KiB at most, and some 12 KiB
    /// with TLS; one that sends and does not take holds a message and [`unsent`](Self::unsent), with room to grow a megabyte, for
    /// seconds.
    pub connections: usize,
    /// Connections of one source address, 32 by default: a client needs one or two (RFC 9210 §4.1), a NAT some more.
    pub connections_per_source: usize,
    /// How long a connection may be without a query, 10 s by default (RFC 9210 §4.2), and how long a response may go untaken.
    pub idle: Duration,
    /// How long a message may take to arrive once begun, 2 s by default.
    pub frame: Duration,
    /// Queries whose responses are not yet with the kernel, 64 by default: no more are read until they are. In QUIC, streams that
    /// are open at once.
    pub in_flight: usize,
    /// Queries that a connection may ask in all, 10,000 by default; it is closed after that, and the client opens another.
    pub queries: usize,
    /// Octets of responses that are not yet with the kernel, 256 KiB by default. No more queries are read at this point, and the
    /// client has [`frame`](Self::frame) to take some. In QUIC, octets that the client has not acknowledged.
    pub unsent: usize,
    /// How long a handshake of TLS or QUIC may take, 3 s by default.
    pub handshake: Duration,
    /// Handshakes at once, 64 by default; the longest begun goes first. At half of that, QUIC clients have to show that they are
    /// where they say (RFC 9000 §8.1.2), so that forged addresses cannot push out others.
    pub handshakes: usize,
    /// How long connections have to end after a stop, 5 s by default; what is left then is cut.
    pub drain: Duration,
    /// Datagrams that a UDP worker takes at once, 32 by default. Past this the system calls are a small part of a query's cost, and a batch is
    /// answered from one snapshot, so a longer one would only hold that up. It bites where as many were waiting: the worker is behind.
    pub batch: usize,
    /// Responses in a row to one socket that leave a UDP worker as one message, which the kernel cuts apart (`UDP_SEGMENT`), 32 by default; 1
    /// leaves it out, where packets are captured or filtered on this machine, which sees them uncut. It bites where there were more.
    pub run: usize,
    /// What forwarding may take.
    pub forward: forward::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_source: 32,
            idle: Duration::from_secs(10),
            frame: Duration::from_secs(2),
            in_flight: 64,
            queries: 10_000,
            unsent: 256 << 10,
            handshake: Duration::from_secs(3),
            handshakes: 64,
            drain: Duration::from_secs(5),
            batch: 32,
            run: 32,
            forward: forward::Limits::default(),
        }
    }
}

/// Every limit.
pub const LIMITS: [Row; 17] = [
    Row { limit: Limit::Connections, bounds: 1..=65_536, field: Field::Count(|limits| &mut limits.connections) },
    Row {
        limit: Limit::ConnectionsPerSource,
        bounds: 1..=65_536,
        field: Field::Count(|limits| &mut limits.connections_per_source),
    },
    Row { limit: Limit::Idle, bounds: 100..=3_600_000, field: Field::Time(|limits| &mut limits.idle) },
    Row { limit: Limit::Frame, bounds: 10..=60_000, field: Field::Time(|limits| &mut limits.frame) },
    Row { limit: Limit::InFlight, bounds: 1..=65_535, field: Field::Count(|limits| &mut limits.in_flight) },
    Row { limit: Limit::Queries, bounds: 1..=1_000_000_000, field: Field::Count(|limits| &mut limits.queries) },
    Row { limit: Limit::Unsent, bounds: 4_096..=(64 << 20), field: Field::Octets(|limits| &mut limits.unsent) },
    Row { limit: Limit::Handshake, bounds: 100..=60_000, field: Field::Time(|limits| &mut limits.handshake) },
    Row { limit: Limit::Handshakes, bounds: 2..=65_536, field: Field::Count(|limits| &mut limits.handshakes) },
    Row { limit: Limit::Drain, bounds: 0..=600_000, field: Field::Time(|limits| &mut limits.drain) },
    Row { limit: Limit::Batch, bounds: 1..=1024, field: Field::Count(|limits| &mut limits.batch) },
    Row { limit: Limit::Run, bounds: 1..=RUN_MOST as u64, field: Field::Count(|limits| &mut limits.run) },
    Row { limit: Limit::Forwards, bounds: 1..=1_000_000, field: Field::Count(|limits| &mut limits.forward.queries) },
    Row {
        limit: Limit::ForwardsPerSource,
        bounds: 1..=1_000_000,
        field: Field::Count(|limits| &mut limits.forward.per_source),
    },
    Row {
        limit: Limit::ForwardsPerDomain,
        bounds: 1..=1_000_000,
        field: Field::Count(|limits| &mut limits.forward.per_domain),
    },
    Row {
        limit: Limit::ForwardWaiters,
        bounds: 0..=1_000_000,
        field: Field::Count(|limits| &mut limits.forward.waiters),
    },
    Row {
        limit: Limit::ForwardCache,
        bounds: (1 << 20)..=(64 << 30),
        field: Field::Octets(|limits| &mut limits.forward.cache),
    },
];

/// One row of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// Which; its name is what it is set by.
    pub limit: Limit,
    /// The least and the most it may be, in its [`unit`](Self::unit).
    pub bounds: RangeInclusive<u64>,
    field: Field,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Count(fn(&mut Limits) -> &mut usize),
    Octets(fn(&mut Limits) -> &mut usize),
    Time(fn(&mut Limits) -> &mut Duration),
}

/// What the amount of a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Octets.
    Octets,
    /// Milliseconds.
    Milliseconds,
}

/// An amount is not within the bounds of its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is out of bounds")]
pub struct OutOfBounds;

impl Row {
    /// What its amounts count.
    #[must_use]
    pub const fn unit(&self) -> Unit {
        match self.field {
            Field::Count(_) => Unit::Count,
            Field::Octets(_) => Unit::Octets,
            Field::Time(_) => Unit::Milliseconds,
        }
    }

    /// Sets it to `amount`.
    ///
    /// # Errors
    /// When that is not within its bounds; the limit is as it was then.
    pub fn set(&self, limits: &mut Limits, amount: u64) -> Result<(), OutOfBounds> {
        if !self.bounds.contains(&amount) {
            return Err(OutOfBounds);
        }
        match self.field {
            Field::Count(field) | Field::Octets(field) => {
                *field(limits) = amount.try_into().map_err(|_| OutOfBounds)?;
            }
            Field::Time(field) => *field(limits) = Duration::from_millis(amount),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_set_by_its_own_row_and_within_its_bounds() {
        let defaults = Limits::default();
        for row in &LIMITS {
            let mut limits = defaults.clone();
            assert_eq!(row.set(&mut limits, row.bounds.end() + 1), Err(OutOfBounds), "{:?}", row.limit);
            assert_eq!(limits, defaults);
            row.set(&mut limits, *row.bounds.end()).unwrap();
            assert_ne!(limits, defaults, "{:?}", row.limit);
            row.set(&mut limits, *row.bounds.start()).unwrap();
            assert_ne!(limits, defaults, "{:?}", row.limit);
        }
        let rows: Vec<_> = LIMITS.iter().map(|row| row.limit).collect();
        assert_eq!(rows, Limit::ALL, "one row for each");
    }
}
