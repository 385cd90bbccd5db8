// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6 connections: the same states, timeouts and bounds as IPv4's, in a table of their own.
//!
//! There is no NAT for IPv6, so a reply's tuple is its request's mirror: an entry holds one key, the hash is the same for
//! both directions, and one slot of the [`Index`] leads to it; which way a packet goes comes out of the compare. An entry
//! is 128 bytes: the first cache line is all that an established packet of anything but TCP needs; the second is for TCP,
//! setup and `show conn`. A table apart keeps IPv4's entries at half that size.
//!
//! Fixed capacity; a full table refuses, it never evicts. Memory follows use. Each worker owns one. Admission is in [`admit`].

use crate::challenge::{Settled, Whose};
use crate::conn::{ConnId, Dir, InsertError, NO_CLASS, flag};
use crate::index::Index;
use crate::intercept;
use crate::key::{TCP, fold};
use crate::limits::Member;
use crate::tcp::{self, Outcome, State, Track, Windows};
use crate::wheel::Wheel;
use crate::{Booked, Flow, Packet, Policy, Rng, Tick};
use fedgate_tables::drops::DropReason;
use fedgate_wire::Tuple6;

mod admit;
pub use admit::{Admission6, First6};

const NIL: u32 = u32::MAX;
/// "Next hop not known yet".
pub const NO_HOP: u32 = u32::MAX;

/// A connection. 128 bytes, two cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Hot6 {
    src: u128, // 0..16
    dst: u128, // 16..32
    /// Source and destination port of the initiator's packets.
    ports: u32, // 32..36
    /// Protocol of the upper layer.
    pub proto: u8, // 36
    /// TCP state.
    pub state: State, // 37
    /// TCP history ([`crate::tcp::seen`]).
    pub history: u8, // 38
    /// In use; else a link of the list of free entries.
    live: bool, // 39
    /// Handle of the neighbour a direction leaves by, or [`NO_HOP`].
    pub hop: [u32; 2], // 40..48
    /// Last packet; of a free entry, the number of the next free one.
    pub last: Tick, // 48..52
    /// Interface a direction arrives on; the other one is where it leaves.
    pub iface: [u8; 2], // 52..54
    /// What the hops were found by: they hold while the owner's number is the same.
    pub epoch: u16, // 54..56
    /// Bytes of IP packets, both ways.
    pub bytes: u64, // 56..64
    /// Number for logs and `show conn`, never reused in a run.
    pub serial: u64, // 64..72
    /// First packet.
    pub created: Tick, // 72..76
    /// Packets, both ways.
    pub packets: u32, // 76..80
    /// Initiator on the lower security level.
    pub inbound: bool, // 80
    /// TCP window scales, four bits a direction.
    pub scale: u8, // 81
    /// Slot of the class whose limits it counts against, or [`NO_CLASS`].
    pub class: u8, // 82
    /// [`flag::BYPASS`] | [`flag::PER_CLIENT`] | [`flag::INTERCEPTED`].
    pub flags: u8, // 83
    windows: Windows, // 84..104
    /// Of an intercepted connection: what is to be added to the server's sequence numbers; the cookie while it is opening.
    pub shift: u32, // 104..108
    _rest: [u8; 20], // 108..128
}
const _: () = assert!(size_of::<Hot6>() == 128 && align_of::<Hot6>() == 64);

impl Hot6 {
    /// The tuple of the initiator's packets.
    pub fn key(&self) -> Tuple6 {
        let (sport, dport) = ((self.ports >> 16) as u16, self.ports as u16);
        Tuple6 { src: self.src, dst: self.dst, sport, dport, proto: self.proto }
    }

    /// Opened by a SYN cookie: its packets are shifted by [`Hot6::shift`].
    pub fn is_intercepted(&self) -> bool {
        self.flags & flag::INTERCEPTED != 0
    }

    /// Intercepted, and its server has not answered yet.
    pub fn is_opening(&self) -> bool {
        self.is_intercepted() && self.state == State::SynSent
    }

    /// What TCP's segments move.
    pub(crate) fn track(&mut self) -> Track<'_> {
        let Self { state, history, scale, windows, .. } = self;
        Track { state, history, scale, windows }
    }

    /// Counts a packet and marks the connection as in use.
    pub(crate) fn book(&mut self, now: Tick, ip_len: u16) {
        self.last = now;
        self.bytes += u64::from(ip_len);
        self.packets = self.packets.wrapping_add(1);
    }

    /// Where packets of a direction go.
    pub fn destination(&self, dir: Dir) -> u128 {
        match dir {
            Dir::Forward => self.dst,
            Dir::Reverse => self.src,
        }
    }

    /// Which way a packet with this tuple goes, if it is of this connection. (No packet's source is its destination.)
    #[inline]
    fn direction_of(&self, key: &Tuple6) -> Option<Dir> {
        let is = |key: &Tuple6| self.src == key.src && self.dst == key.dst && self.ports == ports(key);
        if !self.live || self.proto != key.proto {
            None
        } else if is(key) {
            Some(Dir::Forward)
        } else {
            is(&key.mirror()).then_some(Dir::Reverse)
        }
    }
}

fn ports(key: &Tuple6) -> u32 {
    u32::from(key.sport) << 16 | u32::from(key.dport)
}

/// Seeded hash of a tuple and of its mirror: whoever picks the tuples cannot pick the buckets.
#[inline]
fn hash(key: &Tuple6, seed: u64) -> u64 {
    let ends = [(key.src, key.sport), (key.dst, key.dport)];
    let [a, b] = if ends[0] <= ends[1] { ends } else { [ends[1], ends[0]] };
    let address = |addr: u128, h: u64| {
        let (high, low) = ((addr >> 64) as u64, addr as u64);
        fold(low ^ seed, fold(high ^ seed.rotate_left(32), h))
    };
    let rest = u64::from(a.1) << 32 | u64::from(b.1) << 16 | u64::from(key.proto);
    fold(rest ^ seed.rotate_left(16), address(b.0, address(a.0, 0x9e37_79b9_7f4a_7c15)))
}

/// What makes a new connection.
#[derive(Clone, Copy, Debug)]
pub struct NewConn6 {
    /// The initiator's tuple.
    pub key: Tuple6,
    /// Ingress interface of each direction.
    pub iface: [u8; 2],
    /// State to begin in.
    pub state: State,
    /// Initiator on the lower security level.
    pub inbound: bool,
}

/// The IPv6 connections of one worker.
pub struct Conns6 {
    hot: Vec<Hot6>,
    max: u32,
    /// First of the free entries among those that were in use once.
    free: u32,
    index: Index,
    pub(crate) wheel: Wheel,
    seed: u64,
    serial: u64,
    most: u32,
}

impl Conns6 {
    /// Room for `max` connections (at most 2^30).
    pub fn new(max: u32, rng: &mut Rng) -> Self {
        assert!(max < 1 << 30);
        Self {
            // Reserved, not touched: memory follows use, and growing never copies on the packet path.
            hot: Vec::with_capacity(max as usize),
            max,
            free: NIL,
            index: Index::new(max as usize),
            wheel: Wheel::new(max),
            seed: rng.next(),
            serial: 0,
            most: 0,
        }
    }

    /// Connections in use, and the most there were.
    pub fn in_use(&self) -> (u32, u32) {
        (self.index.len() as u32, self.most)
    }

    /// The connection that a packet belongs to, and which way it goes.
    pub fn lookup(&self, key: &Tuple6) -> Option<(ConnId, Dir)> {
        let mut dir = None;
        let hit = self.index.find(hash(key, self.seed), |n| {
            dir = self.hot[n as usize].direction_of(key);
            dir.is_some()
        })?;
        Some((ConnId(hit), dir?))
    }

    /// The entry.
    pub fn hot(&self, id: ConnId) -> &Hot6 {
        &self.hot[id.0 as usize]
    }

    /// The entry, to change.
    pub fn hot_mut(&mut self, id: ConnId) -> &mut Hot6 {
        &mut self.hot[id.0 as usize]
    }

    /// True where `id` is in use.
    pub fn is_live(&self, id: ConnId) -> bool {
        self.hot.get(id.0 as usize).is_some_and(|hot| hot.live)
    }

    /// Adds a connection. Its timer is the caller's to set.
    ///
    /// # Errors
    /// [`InsertError::Clash`] where its tuple or the mirror is there already, [`InsertError::Full`].
    pub fn insert(&mut self, new: NewConn6, now: Tick) -> Result<ConnId, InsertError> {
        if self.lookup(&new.key).is_some() {
            return Err(InsertError::Clash);
        }
        let n = match self.free {
            NIL if self.hot.len() < self.max as usize => self.hot.len() as u32,
            NIL => return Err(InsertError::Full),
            free => free,
        };
        let (hot, seed) = (&self.hot, self.seed);
        self.index
            .insert(hash(&new.key, seed), n, |held| hash(&hot[held as usize].key(), seed))
            .map_err(|_| InsertError::Full)?;
        self.serial += 1;
        let entry = Hot6 {
            src: new.key.src,
            dst: new.key.dst,
            ports: ports(&new.key),
            proto: new.key.proto,
            state: new.state,
            history: 0,
            live: true,
            hop: [NO_HOP; 2],
            last: now,
            iface: new.iface,
            epoch: 0,
            bytes: 0,
            serial: self.serial,
            created: now,
            packets: 0,
            inbound: new.inbound,
            scale: 0,
            class: NO_CLASS,
            flags: 0,
            windows: Windows::default(),
            shift: 0,
            _rest: [0; 20],
        };
        match self.hot.get_mut(n as usize) {
            Some(slot) => {
                self.free = slot.last;
                *slot = entry;
            }
            None => self.hot.push(entry),
        }
        self.most = self.most.max(self.in_use().0);
        Ok(ConnId(n))
    }

    /// Takes a connection out.
    pub fn remove(&mut self, id: ConnId) {
        let key = self.hot(id).key();
        self.index.remove(hash(&key, self.seed), id.0);
        self.wheel.cancel(id.0);
        let free = self.free;
        let hot = self.hot_mut(id);
        (hot.live, hot.last) = (false, free);
        self.free = id.0;
    }

    /// Interfaces have new indices. Gives the connections that used one which is gone: they are the caller's to end.
    pub fn renumber(&mut self, new_index: impl Fn(u8) -> Option<u8>) -> Vec<ConnId> {
        let mut gone = Vec::new();
        for (n, hot) in (0..).zip(&mut self.hot).filter(|(_, hot)| hot.live) {
            match hot.iface.map(&new_index) {
                [Some(forward), Some(reverse)] => hot.iface = [forward, reverse],
                _ => gone.push(ConnId(n)),
            }
            hot.hop = [NO_HOP; 2];
        }
        gone
    }

    /// Live connections from number `from` on: at most `max` found and `scan` looked at, and where to go on.
    pub fn page(
        &self,
        from: u32,
        max: usize,
        scan: usize,
        mut want: impl FnMut(&Hot6) -> bool,
    ) -> (Vec<ConnId>, Option<u32>) {
        let mut found = Vec::new();
        let end = self.hot.len().min((from as usize).saturating_add(scan));
        for n in from as usize..end {
            if found.len() == max {
                return (found, Some(n as u32));
            }
            if self.hot[n].live && want(&self.hot[n]) {
                found.push(ConnId(n as u32));
            }
        }
        (found, (end < self.hot.len()).then_some(end as u32))
    }
}

impl Flow {
    /// Follows a packet of an IPv6 connection and books it, as [`Flow::account`] does.
    ///
    /// # Errors
    /// The reason to drop it; nothing is booked then.
    pub fn account6(
        &mut self,
        id: ConnId,
        dir: Dir,
        packet: &Packet<'_>,
        policy: &Policy<'_>,
        now: Tick,
    ) -> Result<Booked, DropReason> {
        let hot = self.conns6.hot(id);
        if hot.is_opening() {
            return self.opens6(id, dir, packet, policy, now);
        }
        if hot.is_intercepted() {
            let seen = intercept::as_client_sees(packet, dir, hot.shift);
            return self.follow6(id, dir, &seen, policy, now);
        }
        self.follow6(id, dir, packet, policy, now)
    }

    fn follow6(
        &mut self,
        id: ConnId,
        dir: Dir,
        packet: &Packet<'_>,
        policy: &Policy<'_>,
        now: Tick,
    ) -> Result<Booked, DropReason> {
        let hot = self.conns6.hot_mut(id);
        if hot.proto == TCP && hot.flags & flag::BYPASS == 0 {
            let was = Member::of6(hot);
            let two_sided = hot.iface[0] != hot.iface[1];
            let mut track = hot.track();
            match tcp::segment(&mut track, &packet.segment, packet.options, dir == Dir::Forward)? {
                Outcome::Same => {}
                Outcome::Moved => self.moved6(id, was, policy, now),
                Outcome::Challenge => {
                    let (whose, forward) = (Whose::v6(id.0), dir == Dir::Forward);
                    match self.challenges.settle(whose, &mut track, packet, forward, two_sided, now)? {
                        Settled::Asked => return Ok(Booked::Passes),
                        Settled::Anew => self.moved6(id, was, policy, now),
                    }
                }
                Outcome::Reopen => return Ok(Booked::Afresh),
            }
        }
        self.conns6.hot_mut(id).book(now, packet.len);
        Ok(Booked::Passes)
    }

    #[cold]
    pub(crate) fn moved6(&mut self, id: ConnId, was: Option<Member>, policy: &Policy<'_>, now: Tick) {
        let hot = self.conns6.hot(id);
        self.limits.follow(was, Member::of6(hot));
        let limit = policy.timeout_of(hot.proto, hot.state, hot.class);
        self.conns6.wheel.set(id.0, now.wrapping_add(limit));
    }

    /// Ends an IPv6 connection. False, with nothing changed, where it has ended before.
    pub fn end6(&mut self, id: ConnId) -> bool {
        if !self.conns6.is_live(id) {
            return false;
        }
        if self.conns6.hot(id).is_opening() {
            self.waits_no_more6(id);
        }
        self.limits.follow(Member::of6(self.conns6.hot(id)), None);
        self.conns6.remove(id);
        self.challenges.forget(Whose::v6(id.0));
        true
    }

    /// Ends the IPv6 connections that have been idle for too long, looking at no more than `budget` timers.
    pub fn expire6(&mut self, policy: &Policy<'_>, now: Tick, budget: usize) -> u32 {
        let mut ended = 0;
        for _ in 0..budget {
            let Some(n) = self.conns6.wheel.due(now) else { break };
            let hot = self.conns6.hot(ConnId(n));
            let limit = policy.timeout_of(hot.proto, hot.state, hot.class);
            if hot.is_opening() {
                self.retry6(ConnId(n), now);
            } else if now.wrapping_sub(hot.last) >= limit {
                self.end6(ConnId(n));
                ended += 1;
            } else {
                let deadline = hot.last.wrapping_add(limit);
                self.conns6.wheel.set(n, deadline);
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests;
