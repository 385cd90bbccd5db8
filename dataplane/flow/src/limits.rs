// SPDX-License-Identifier: MIT OR Apache-2.0
//! `set connection conn-max`, `embryonic-conn-max`, `per-client-max`, `per-client-embryonic-max`: who counts, and against what.
//!
//! A connection counts in the first class with connection settings that permits its real tuple when it begins, under the
//! class's slot, which stays the same across policies: a changed limit holds for what is there already. Embryonic is a
//! TCP connection until its handshake is over; one that a proxy takes is none, for the proxy bounds its own. A client
//! is whoever began the connection, by his real address; he is counted only where the class has per-client limits then.
//!
//! Each worker counts its own and admits its part of each limit, rounded up. At the limit a first packet is dropped by
//! name, or at an embryonic one intercepted ([`crate::intercept`]: such a connection is embryonic until its server answers);
//! nothing is evicted but, by others of its kind, one that waits for its server. Worker cores, when a connection begins, opens or ends. Twin: a recount, in tests.

use crate::conn::{Dir, Hot, NO_CLASS, NO_SESSION, flag};
use crate::hosts::Hosts;
use crate::key::TCP;
use crate::tcp::State;
use crate::v6::Hot6;
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::ClassBound;
use fedgate_tables::policy::{MAX_CLASS_SLOTS, ServiceClass};

/// Connections, and those of them that are embryonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// All.
    pub conns: u32,
    /// Embryonic.
    pub embryonic: u32,
}

impl Count {
    fn add(self, embryonic: bool) -> Self {
        Self { conns: self.conns + 1, embryonic: self.embryonic + u32::from(embryonic) }
    }

    fn sub(self, embryonic: bool) -> Self {
        Self {
            conns: self.conns.saturating_sub(1),
            embryonic: self.embryonic.saturating_sub(embryonic.into()),
        }
    }
}

/// A bound that is reached, as far as it is this worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The class's slot.
    pub slot: u8,
    /// Which of its bounds.
    pub which: ClassBound,
    /// What there is.
    pub has: u32,
    /// What there may be.
    pub limit: u32,
}

impl Reached {
    /// The drop's name.
    pub fn reason(&self) -> DropReason {
        match self.which {
            ClassBound::Conns => DropReason::ConnLimit,
            ClassBound::Embryonic => DropReason::TcpConnLimit,
            ClassBound::ClientConns | ClassBound::ClientEmbryonic => DropReason::HostLimit,
        }
    }
}

/// How a connection counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    slot: u8,
    /// Where he is counted.
    client: Option<u128>,
    embryonic: bool,
}

impl Member {
    /// A connection's; `None` where it counts in no class.
    pub fn of(hot: &Hot) -> Option<Self> {
        let client = client_v4(hot.key(Dir::Forward).src);
        Self::new(hot.class, hot.flags, client, is_embryonic(hot))
    }

    /// An IPv6 connection's.
    pub fn of6(hot: &Hot6) -> Option<Self> {
        Self::new(hot.class, hot.flags, hot.key().src, is_embryonic6(hot))
    }

    fn new(slot: u8, flags: u8, client: u128, embryonic: bool) -> Option<Self> {
        let client = (flags & flag::PER_CLIENT != 0).then_some(client);
        (slot != NO_CLASS).then_some(Self { slot, client, embryonic })
    }
}

/// Whether a connection waits for its handshake to end. One that a proxy has taken does not.
pub fn is_embryonic(hot: &Hot) -> bool {
    hot.session() == NO_SESSION && waits(hot.proto, hot.flags, hot.state)
}

/// [`is_embryonic`] of an IPv6 connection.
pub fn is_embryonic6(hot: &Hot6) -> bool {
    waits(hot.proto, hot.flags, hot.state)
}

fn waits(proto: u8, flags: u8, state: State) -> bool {
    proto == TCP && flags & flag::BYPASS == 0 && matches!(state, State::SynSent | State::SynReceived)
}

/// An IPv4 address among IPv6 ones.
pub(crate) fn client_v4(addr: u32) -> u128 {
    0xffff_0000_0000 | u128::from(addr)
}

/// The flags that a connection of a class begins with.
pub(crate) fn flags_of(class: &ServiceClass, proto: u8) -> u8 {
    let per_client = class.per_client_max | class.per_client_embryonic_max != 0;
    let bypass = proto == TCP && class.is_bypass();
    (if per_client { flag::PER_CLIENT } else { 0 }) | if bypass { flag::BYPASS } else { 0 }
}

/// What one worker counts.
pub struct Limits {
    /// Workers that share each limit.
    of: u32,
    classes: Box<[Count; MAX_CLASS_SLOTS as usize]>,
    /// First packets refused, a class.
    refused: Box<[u64; MAX_CLASS_SLOTS as usize]>,
    hosts: Hosts,
}

impl Limits {
    /// For at most `max` connections in this worker, of `of`.
    pub fn new(max: u32, of: u16, seed: u64) -> Self {
        let classes = Box::new([Count::default(); MAX_CLASS_SLOTS as usize]);
        let refused = Box::new([0; MAX_CLASS_SLOTS as usize]);
        Self { of: u32::from(of).max(1), classes, refused, hosts: Hosts::new(max, seed) }
    }

    /// What counts in a class.
    pub fn class(&self, slot: u8) -> Count {
        self.classes.get(usize::from(slot)).copied().unwrap_or_default()
    }

    /// What a client has in a class: IPv4 addresses as `::ffff:a.b.c.d`.
    pub fn client(&self, slot: u8, client: u128) -> Count {
        self.hosts.get(client, slot)
    }

    /// First packets that were refused in a class.
    pub fn refused(&self, slot: u8) -> u64 {
        self.refused.get(usize::from(slot)).copied().unwrap_or_default()
    }

    /// Whether one more may begin; where not, [`Self::count_refused`] is the caller's.
    ///
    /// # Errors
    /// The bound that is reached.
    pub(crate) fn may_begin(&self, class: &ServiceClass, client: u128) -> Result<(), Reached> {
        let has = self.class(class.slot as u8).conns;
        self.below(class, ClassBound::Conns, class.conn_max, has)?;
        if class.per_client_max == 0 {
            return Ok(());
        }
        let has = self.client(class.slot as u8, client).conns;
        self.below(class, ClassBound::ClientConns, class.per_client_max, has)
    }

    /// A first packet is refused.
    pub(crate) fn count_refused(&mut self, reached: &Reached) {
        if let Some(refused) = self.refused.get_mut(usize::from(reached.slot)) {
            *refused += 1;
        }
    }

    /// Whether one more may be embryonic.
    ///
    /// # Errors
    /// The bound that is reached; it is not refused where it can be intercepted.
    pub(crate) fn may_be_embryonic(&self, class: &ServiceClass, client: u128) -> Result<(), Reached> {
        let has = self.class(class.slot as u8).embryonic;
        self.below(class, ClassBound::Embryonic, class.embryonic_max, has)?;
        if class.per_client_embryonic_max == 0 {
            return Ok(());
        }
        let has = self.client(class.slot as u8, client).embryonic;
        self.below(class, ClassBound::ClientEmbryonic, class.per_client_embryonic_max, has)
    }

    /// This worker's part of a bound, 0 for none, leaves room for one more.
    fn below(&self, class: &ServiceClass, which: ClassBound, limit: u32, has: u32) -> Result<(), Reached> {
        let limit = limit.div_ceil(self.of);
        let full = limit != 0 && has >= limit;
        if full { Err(Reached { slot: class.slot as u8, which, has, limit }) } else { Ok(()) }
    }

    /// What a connection counts as has changed from `was` to `is`; `None` before it begins and after it ends.
    pub(crate) fn follow(&mut self, was: Option<Member>, is: Option<Member>) {
        if was == is {
            return;
        }
        if let Some(is) = is {
            self.apply(is, |count| count.add(is.embryonic));
        }
        if let Some(was) = was {
            self.apply(was, |count| count.sub(was.embryonic));
        }
    }

    fn apply(&mut self, member: Member, change: impl Fn(Count) -> Count) {
        if let Some(count) = self.classes.get_mut(usize::from(member.slot)) {
            *count = change(*count);
        }
        if let Some(client) = member.client {
            let has = self.hosts.get(client, member.slot);
            self.hosts.set(client, member.slot, change(has));
        }
    }
}

#[cfg(test)]
mod tests;
