// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes in and out of the neighbour table: handles, bounds, and what a call asks for or answers.
//!
//! Plain data. Actions and results carry packets by value, so that each packet given in comes out exactly once.
//! `A` is the type of an address: `u32` for ARP's table, `u128` for neighbour discovery's, host order both.
//! See [`super`] for how they are used; on the worker's core only.

use fedgate_tables::drops::DropReason;
use fedgate_wire::MacAddr;

const INDEX_BITS: u32 = 14;
/// Most entries a table can have.
pub const MAX_ENTRIES: usize = 1 << INDEX_BITS;
/// A handle to an entry: its index and the generation in which it was given out. Four bytes, kept by connections.
///
/// A generation comes round again after 262,142 lives of one slot, and slots are reused oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct NextHop(u32);

impl NextHop {
    /// No entry: never found. (Nor is 0, the first generation being 1: a zeroed record holds no handle.)
    pub const NONE: Self = Self(u32::MAX);
    /// The last generation before they come round; the one after is [`Self::NONE`]'s.
    pub(super) const LAST_GENERATION: u32 = (1 << (32 - INDEX_BITS)) - 2;

    pub(super) fn new(index: usize, generation: u32) -> Self {
        Self(generation << INDEX_BITS | index as u32)
    }

    #[inline]
    pub(super) fn index(self) -> usize {
        self.0 as usize & (MAX_ENTRIES - 1)
    }

    #[inline]
    pub(super) fn generation(self) -> u32 {
        self.0 >> INDEX_BITS
    }

    /// The number, for a packed record.
    pub const fn to_bits(self) -> u32 {
        self.0
    }

    /// The handle with this number.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

/// How far an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Asked for, not yet answered.
    Incomplete,
    /// Known.
    Reachable,
    /// Known by hearsay, or about to be forgotten: in use, it must answer.
    Stale,
}

/// Bounds and times of a table.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most entries; at most [`MAX_ENTRIES`].
    pub entries: usize,
    /// Most entries that wait for an answer, an interface.
    pub incomplete: usize,
    /// Most entries that requests made and nothing was sent to, an interface; at least 1.
    pub learnt: usize,
    /// Most packets that wait in all; at most 65,535.
    pub held: usize,
    /// Most packets that wait for one entry.
    pub held_per_entry: u16,
    /// `arp timeout`, or how long a neighbour is reachable without a word from it, in milliseconds.
    pub timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: MAX_ENTRIES,
            incomplete: MAX_ENTRIES / 32,
            learnt: MAX_ENTRIES / 32,
            held: 512,
            held_per_entry: 8,
            timeout_ms: 14_400_000,
        }
    }
}

/// What the caller has to do. `P` is a packet; each that was given in comes out once.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<P, A = u32> {
    /// Send an ARP request, or a neighbour solicitation.
    SendRequest {
        /// From this interface.
        ifindex: u32,
        /// For this address, host order.
        ip: A,
        /// To this station only, or [`MacAddr::BROADCAST`]: to all that may have the address.
        to: MacAddr,
    },
    /// Send a packet that waited.
    Transmit {
        /// From this interface.
        ifindex: u32,
        /// To this station.
        mac: MacAddr,
        /// The packet.
        packet: P,
    },
    /// Nobody answered: drop a packet that waited (and tell its sender).
    Failed {
        /// The interface it was to leave by.
        ifindex: u32,
        /// The address that did not answer, host order.
        ip: A,
        /// The packet.
        packet: P,
    },
}

/// What became of a packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Resolve<P> {
    /// Here it is back: send it to `mac`, and keep `hop` for the next one.
    Known {
        /// The entry's handle.
        hop: NextHop,
        /// The station.
        mac: MacAddr,
        /// The packet.
        packet: P,
    },
    /// It waits; it comes out of an [`Action`] later.
    Held {
        /// The entry's handle.
        hop: NextHop,
    },
    /// Here it is back: drop it.
    Refused {
        /// The bound it ran into.
        why: Refusal,
        /// The packet.
        packet: P,
    },
}

/// Which bound was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// [`Limits::held_per_entry`].
    EntryQueueFull,
    /// [`Limits::held`].
    QueueFull,
    /// [`Limits::entries`] or [`Limits::incomplete`].
    TableFull,
}

impl Refusal {
    /// What the packet is dropped for.
    pub fn reason(self) -> DropReason {
        match self {
            Self::EntryQueueFull | Self::QueueFull => DropReason::AdjacencyQueueFull,
            Self::TableFull => DropReason::NoAdjacency,
        }
    }
}

/// What a valid ARP or neighbour discovery message says of one address other than our own on that interface's network.
#[derive(Clone, Copy, Debug)]
pub struct Heard<A = u32> {
    /// The interface it came in by.
    pub ifindex: u32,
    /// The address, host order.
    pub ip: A,
    /// The station that has it.
    pub mac: MacAddr,
    /// It is a request for an address that we answer for.
    pub asks_us: bool,
    /// It proves that the station hears us; else the entry is stale. What ARP says always counts (RFC 826).
    pub confirms: bool,
}

/// What a message did to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// Nothing: nobody asked, or there is no room.
    Ignored,
    /// A new entry.
    Created,
    /// The answer that was waited for.
    Resolved,
    /// What was known already.
    Confirmed,
    /// Another station has the address now; worth a log line.
    Moved {
        /// The station that had it.
        from: MacAddr,
    },
}

/// An entry, for `show arp` and `show ipv6 neighbor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<A = u32> {
    /// Interface.
    pub ifindex: u32,
    /// Address, host order.
    pub ip: A,
    /// Station; zeros while incomplete.
    pub mac: MacAddr,
    /// How far it is.
    pub state: State,
    /// When it was last confirmed, or first asked for; the caller's milliseconds.
    pub since_ms: u64,
    /// Packets that wait for it.
    pub held: u16,
}

impl Limits {
    /// Cut to what a table can do: [`MAX_ENTRIES`], and a lifetime that leaves room for the probes at its end.
    pub(super) fn sane(self) -> Self {
        Self {
            entries: self.entries.min(MAX_ENTRIES),
            learnt: self.learnt.max(1),
            timeout_ms: self.timeout_ms.max(10_000),
            ..self
        }
    }
}
