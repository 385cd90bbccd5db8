// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6 connections: the same states, timeouts and bounds as IPv4's, in a table of their own.
//!
//! There is no NAT for IPv6, so a reply's tuple is its request's mirror: an entry holds one key, the hash is the same for
//! both directions, and one slot of the [`Index`] leads to it; which way a packet goes comes out of the compare. An entry
//! is 128 bytes: the first cache line is all that an established packet of anything but TCP reads and writes; the second is for
//! TCP, setup and `show conn`. A table apart keeps IPv4's entries at half that size.
//!
//! Fixed capacity; a full table refuses, it never evicts. Memory follows use. A removed entry matches no packet. Each worker owns one.
//! Admission is in [`admit`].

use crate::challenge::{Followed, Whose};
use crate::conn::{ConnId, Dir, InsertError, NO_CLASS, NO_HOP, flag};
use crate::entries::{self, Entry};
use crate::index::{Bucket, Index};
use crate::intercept;
use crate::key::{TCP, fold};
use crate::limits::Member;
use crate::tcp::{self, State, Track, Windows};
use crate::wheel::Wheel;
use crate::{Booked, Flow, Packet, Policy, Rng, Tick};
use fedgate_tables::drops::DropReason;
use fedgate_tables::pages::Pages;
use fedgate_wire::Tuple6;
use zerocopy::FromZeros;

mod admit;
pub(crate) use admit::Plan6;
pub use admit::{Admission6, First6};

/// "No free entry".
const NIL: u32 = 0;

/// A connection. 128 bytes, two cache lines.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C, align(64))]
pub struct Hot6 {
    src: u128, // 0..16
    dst: u128, // 16..32
    /// Source and destination port of the initiator's packets.
    ports: u32, // 32..36
    /// Protocol of the upper layer.
    pub proto: u8, // 36
    /// [`flag`]s.
    pub flags: u8, // 37
    /// Interface a direction arrives on; the other one is where it leaves.
    pub iface: [u8; 2], // 38..40
    /// Where a direction leaves, a number of the owner's, or [`NO_HOP`].
    pub hop: [u16; 2], // 40..44
    /// What the hops were found by: they hold while the owner's number is the same.
    pub epoch: u32, // 44..48
    /// Last packet.
    pub last: Tick, // 48..52
    /// Packets, both ways.
    pub packets: u32, // 52..56
    /// Bytes of IP packets, both ways.
    pub bytes: u64, // 56..64
    /// Number for logs and `show conn`, never reused in a run.
    pub serial: u64, // 64..72
    /// First packet.
    pub created: Tick, // 72..76
    /// TCP state.
    pub state: State, // 76
    /// TCP history ([`crate::tcp::seen`]).
    pub history: u8, // 77
    /// TCP window scales, four bits a direction.
    pub scale: u8, // 78
    /// Slot of the class whose limits it counts against, or [`NO_CLASS`].
    pub class: u8, // 79
    windows: Windows, // 80..100
    /// Of a free entry: the next free one, plus one.
    next_free: u32, // 100..104
    /// Of an intercepted connection: what is to be added to the server's sequence numbers; the cookie while it is opening.
    pub shift: u32, // 104..108
    _rest: [u8; 20], // 108..128
}
const _: () = assert!(size_of::<Hot6>() == 128 && align_of::<Hot6>() == 64);
const _: () = assert!(std::mem::offset_of!(Hot6, serial) == 64);

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
    #[inline(always)]
    pub fn direction_of(&self, key: &Tuple6) -> Option<Dir> {
        let forward = (self.src == key.src) & (self.dst == key.dst) & (self.ports == ports(key));
        let reverse =
            (self.src == key.dst) & (self.dst == key.src) & (self.ports == ports(key).rotate_left(16));
        let is_ours = self.is_live() & (self.proto == key.proto) & (forward | reverse);
        is_ours.then_some(if forward { Dir::Forward } else { Dir::Reverse })
    }

    /// In use, and no reason in it to look closer at its packets than their headers.
    #[inline(always)]
    pub fn is_common(&self) -> bool {
        self.flags & (flag::LIVE | flag::SPECIAL | flag::INTERCEPTED) == flag::LIVE
    }

    /// In use.
    #[inline(always)]
    pub fn is_live(&self) -> bool {
        self.flags & flag::LIVE != 0
    }

    /// Initiator on the lower security level.
    pub fn is_inbound(&self) -> bool {
        self.flags & flag::INBOUND != 0
    }
}

impl Entry for Hot6 {
    fn is_live(&self) -> bool {
        Hot6::is_live(self)
    }

    fn ways(&mut self) -> (&mut [u8; 2], &mut [u16; 2]) {
        (&mut self.iface, &mut self.hop)
    }
}

#[inline(always)]
fn ports(key: &Tuple6) -> u32 {
    u32::from(key.sport) << 16 | u32::from(key.dport)
}

/// Seeded hash of a tuple and of its mirror: whoever picks the tuples cannot pick the buckets. The ends are hashed apart and mixed by
/// sum and difference of bits, which do not ask which comes first.
#[inline(always)]
pub fn hash(key: &Tuple6, seed: u64) -> u64 {
    let end = |addr: u128, port: u16| {
        let (high, low) = ((addr >> 64) as u64, addr as u64);
        fold(low ^ seed, fold(high ^ seed.rotate_left(32), u64::from(port) ^ 0x9e37_79b9_7f4a_7c15))
    };
    let (a, b) = (end(key.src, key.sport), end(key.dst, key.dport));
    fold((a ^ b) ^ seed.rotate_left(16), a.wrapping_add(b) ^ u64::from(key.proto) << 56)
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
    hot: Pages<Hot6>,
    /// The first free entry that was used before, plus one.
    free: u32,
    /// The first entry that never was.
    fresh: u32,
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
            hot: Pages::new(max as usize),
            free: NIL,
            fresh: 0,
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

    /// The table's hash of `key` and of its mirror: make it for a whole burst first, then look up.
    #[inline(always)]
    pub fn hash(&self, key: &Tuple6) -> u64 {
        hash(key, self.seed)
    }

    /// The bucket that a lookup begins with: to be prefetched a burst ahead.
    #[inline(always)]
    pub fn home(&self, hash: u64) -> Option<&Bucket> {
        self.index.home(hash)
    }

    /// The entry that a lookup will most likely compare first, to be prefetched where the buckets are there already.
    #[inline(always)]
    pub fn likely(&self, hash: u64) -> Option<ConnId> {
        self.index.likely(hash).map(ConnId)
    }

    /// The bucket to be fetched where [`Self::likely`] finds nothing, as of a few connections in a hundred.
    #[inline]
    pub fn second_home(&self, hash: u64) -> Option<&Bucket> {
        self.index.second_home(hash)
    }

    /// [`Self::likely`] in that bucket.
    #[inline]
    pub fn likely_second(&self, hash: u64) -> Option<ConnId> {
        self.index.likely_second(hash).map(ConnId)
    }

    /// The entry, where there is one of this number: for a prefetch, or to try a [`Self::likely`] one.
    #[inline(always)]
    pub fn get(&self, id: ConnId) -> Option<&Hot6> {
        self.hot.get(id.0 as usize)
    }

    /// Gives the lines that a packet of `proto` will need of an entry to those who fetch them.
    #[inline(always)]
    pub fn fetch(&self, id: ConnId, proto: u8, first: impl FnOnce(&Hot6), second: impl FnOnce(&u64)) {
        if let Some(entry) = self.get(id) {
            first(entry);
            if proto == TCP {
                second(&entry.serial);
            }
        }
    }

    /// The connection that a packet belongs to, and which way it goes.
    pub fn lookup(&self, key: &Tuple6) -> Option<(ConnId, Dir)> {
        self.lookup_hashed(self.hash(key), key)
    }

    /// [`Self::lookup`] where the hash is made.
    pub fn lookup_hashed(&self, hash: u64, key: &Tuple6) -> Option<(ConnId, Dir)> {
        let mut dir = None;
        let hit = self.index.find(hash, |n| {
            dir = self.hot[n as usize].direction_of(key);
            dir.is_some()
        })?;
        Some((ConnId(hit), dir?))
    }

    /// The entry.
    #[inline]
    pub fn hot(&self, id: ConnId) -> &Hot6 {
        &self.hot[id.0 as usize]
    }

    /// The entry, to change.
    #[inline]
    pub fn hot_mut(&mut self, id: ConnId) -> &mut Hot6 {
        &mut self.hot[id.0 as usize]
    }

    /// True where another connection would find a free entry.
    pub(crate) fn has_room(&self) -> bool {
        self.free != NIL || (self.fresh as usize) < self.hot.len()
    }

    /// True where `id` is in use.
    pub fn is_live(&self, id: ConnId) -> bool {
        self.hot.get(id.0 as usize).is_some_and(Hot6::is_live)
    }

    /// Adds a connection. Its timer is the caller's to set.
    ///
    /// # Errors
    /// [`InsertError::Clash`] where its tuple or the mirror is there already, [`InsertError::Full`].
    pub fn insert(&mut self, new: NewConn6, now: Tick) -> Result<ConnId, InsertError> {
        let hashed = self.hash(&new.key);
        if self.lookup_hashed(hashed, &new.key).is_some() {
            return Err(InsertError::Clash);
        }
        let n = if self.free != NIL { self.free - 1 } else { self.fresh };
        let Some(next_free) = self.hot.get(n as usize).map(|entry| entry.next_free) else {
            return Err(InsertError::Full);
        };
        let (hot, seed) = (&self.hot, self.seed);
        self.index
            .insert(hashed, n, |held| hash(&hot[held as usize].key(), seed))
            .map_err(|_| InsertError::Full)?;
        if self.free != NIL {
            self.free = next_free;
        } else {
            self.fresh += 1;
        }
        self.serial += 1;
        self.hot[n as usize] = Hot6 {
            src: new.key.src,
            dst: new.key.dst,
            ports: ports(&new.key),
            proto: new.key.proto,
            flags: flag::LIVE | if new.inbound { flag::INBOUND } else { 0 },
            iface: new.iface,
            hop: [NO_HOP; 2],
            epoch: 0,
            last: now,
            packets: 0,
            bytes: 0,
            serial: self.serial,
            created: now,
            state: new.state,
            history: 0,
            scale: 0,
            class: NO_CLASS,
            windows: Windows::default(),
            next_free: NIL,
            shift: 0,
            _rest: [0; 20],
        };
        self.most = self.most.max(self.in_use().0);
        Ok(ConnId(n))
    }

    /// Takes a connection out.
    pub fn remove(&mut self, id: ConnId) {
        let key = self.hot(id).key();
        self.index.remove(self.hash(&key), id.0);
        self.wheel.cancel(id.0);
        self.hot[id.0 as usize] = Hot6 { next_free: self.free, ..Hot6::new_zeroed() };
        self.free = id.0 + 1;
    }

    /// Interfaces have new indices. Gives the connections that used one which is gone: they are the caller's to end.
    pub fn renumber(&mut self, new_index: impl Fn(u8) -> Option<u8>) -> Vec<ConnId> {
        entries::renumber(&mut self.hot[..self.fresh as usize], new_index)
    }

    /// Live connections from number `from` on: at most `max` found and `scan` looked at, and where to go on.
    pub fn page(
        &self,
        from: u32,
        max: usize,
        scan: usize,
        want: impl FnMut(&Hot6) -> bool,
    ) -> (Vec<ConnId>, Option<u32>) {
        entries::page(&self.hot[..self.fresh as usize], from, max, scan, want)
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
            let (whose, forward) = (Whose::v6(id.0), dir == Dir::Forward);
            match self.challenges.follow(whose, &mut hot.track(), packet, forward, two_sided, now)? {
                Followed::Same => {}
                Followed::Moved => self.moved6(id, was, policy, now),
                Followed::Asked => return Ok(Booked::Passes),
                Followed::Over => return Ok(Booked::Afresh),
            }
        }
        self.book6(id, now, packet.len);
        Ok(Booked::Passes)
    }

    /// Books a packet of a connection whose state does not move, and gives its entry.
    #[inline(always)]
    pub fn book6(&mut self, id: ConnId, now: Tick, ip_len: u16) -> Option<&Hot6> {
        let hot = self.conns6.hot.get_mut(id.0 as usize)?;
        hot.last = now;
        hot.bytes += u64::from(ip_len);
        hot.packets = hot.packets.wrapping_add(1);
        Some(hot)
    }

    /// Follows a TCP segment of an open connection that changes no state. False, with nothing changed, for any other.
    #[inline(always)]
    pub fn track_plain6(&mut self, id: ConnId, dir: Dir, frame: &[u8], ip_len: u16) -> bool {
        let Some(hot) = self.conns6.hot.get_mut(id.0 as usize) else { return false };
        let Some(segment) = tcp::Segment::of_plain6(frame, ip_len) else { return false };
        let Hot6 { state, history, scale, windows, .. } = hot;
        tcp::plain(&mut Track { state, history, scale, windows }, &segment, dir == Dir::Forward)
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
        self.close6(id, false)
    }

    fn close6(&mut self, id: ConnId, timed_out: bool) -> bool {
        if !self.conns6.is_live(id) {
            return false;
        }
        if self.ledger.is_on() {
            self.ledger.note6(self.conns6.hot(id), Some(timed_out));
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
                self.close6(ConnId(n), true);
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
