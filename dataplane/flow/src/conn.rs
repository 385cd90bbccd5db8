// SPDX-License-Identifier: MIT OR Apache-2.0
//! The connection table: both directions of a flow, its translation, state, timer and counters in one entry.
//!
//! An entry is split where the packets split it: [`Hot`], one cache line, is all that an established UDP packet reads and writes;
//! [`Warm`], half a line, is for TCP's sequence numbers, setup, expiry and `show conn`. Two slots of the [`Index`] lead to it, one a
//! direction: value = entry number * 2 + direction. With the index at 80 % and the timer's links an entry costs
//! 64 + 32 + 2 * 8 + 8 = 120 bytes. Free entries are a list through themselves, and fresh ones are taken in order, so that
//! memory follows use.
//!
//! The translation is the two keys themselves, in the byte order of the wire: a packet that matches one leaves as the mirror of the
//! other. The checksum deltas that follow from them are made once, at setup. Fixed capacity; a full table refuses, it
//! never evicts. A removed entry matches no packet, so that a number found a moment ago may be tried against the entry without
//! asking whether it still stands. Each worker owns one table.

use crate::entries::{self, Entry};
use crate::index::{Bucket, Full, Index};
use crate::key::{self, Key, Packed};
use crate::rewrite::Deltas;
use crate::tcp::{State, Track, Windows};
use crate::wheel::Wheel;
use crate::xlate::{NO_XLATE, XlateId};
use crate::{Rng, Tick};
use fedgate_tables::drops::DropReason;
use fedgate_tables::pages::Pages;
use zerocopy::FromZeros;

/// Which way a packet of a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Dir {
    /// From the initiator.
    Forward = 0,
    /// From the responder.
    Reverse = 1,
}

impl Dir {
    /// The other way.
    #[inline(always)]
    pub fn flip(self) -> Self {
        match self {
            Dir::Forward => Dir::Reverse,
            Dir::Reverse => Dir::Forward,
        }
    }
}

/// Entry number of a connection in its worker's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId(pub u32);

/// "No proxy session".
pub const NO_SESSION: u32 = u32::MAX;
/// "Next hop not known yet".
pub const NO_HOP: u16 = 0;
/// "No class with connection settings".
pub const NO_CLASS: u8 = u8::MAX;

/// Bits of [`Hot::flags`].
pub mod flag {
    /// In use.
    pub const LIVE: u8 = 1;
    /// Initiator on the lower security level.
    pub const INBOUND: u8 = 2;
    /// Its packets need more than translation (a proxy session, an intercepted handshake): never the short way.
    pub const SPECIAL: u8 = 4;
    /// `tcp-state-bypass`: segments are not checked.
    pub const BYPASS: u8 = 8;
    /// Counted against its client's limits in its class.
    pub const PER_CLIENT: u8 = 16;
    /// Opened by a SYN cookie ([`crate::intercept`]).
    pub const INTERCEPTED: u8 = 32;
    /// Came through a pinhole ([`crate::media`]).
    pub const MEDIA: u8 = 64;
}

/// What an established packet touches: one cache line.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C, align(64))]
pub struct Hot {
    addrs: [u64; 2], // 0..16: as each direction arrives, in the order of the wire
    ports: [u32; 2], // 16..24
    /// Bytes of IP datagrams, both ways.
    pub bytes: u64, // 24..32
    /// Last packet.
    pub last: Tick, // 32..36
    /// What the hops were found by: they hold while the owner's number is the same.
    pub epoch: u32, // 36..40
    /// Proxy session, or [`NO_SESSION`], set by [`Conns::set_session`]; of an intercepted connection its shift, of a pinhole's the pinhole.
    session: u32, // 40..44
    /// Packets, both ways.
    pub packets: u32, // 44..48
    /// Where a direction leaves, a number of the owner's, or [`NO_HOP`].
    pub hop: [u16; 2], // 48..52
    /// Checksum deltas of the forward direction.
    pub deltas: Deltas, // 52..56
    /// Interface a direction arrives on; the other one is where it leaves.
    pub iface: [u8; 2], // 56..58
    /// IP protocol; 0 where the entry is free.
    pub proto: u8, // 58
    /// TCP state.
    pub state: State, // 59
    /// TCP history ([`crate::tcp::seen`]).
    pub history: u8, // 60
    /// TCP window scales, four bits a direction.
    pub scale: u8, // 61
    /// Slot of the class whose limits it counts against, or [`NO_CLASS`].
    pub class: u8, // 62
    /// [`flag`]s.
    pub flags: u8, // 63
}
const _: () = assert!(size_of::<Hot>() == 64 && align_of::<Hot>() == 64);

/// What TCP, setup, expiry and listings touch: two to a cache line.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C, align(32))]
pub struct Warm {
    /// TCP sequence numbers and windows.
    pub windows: Windows,
    /// Number for logs and `show conn`; comes round after four thousand million connections.
    pub serial: u32,
    /// First packet.
    pub created: Tick,
    /// Xlate it holds, or [`NO_XLATE`]. Of a free entry: the next free one, plus one.
    pub xlate: XlateId,
}
const _: () = assert!(size_of::<Warm>() == 32);

impl Hot {
    /// The key that packets of `dir` arrive with.
    #[inline]
    pub fn key(&self, dir: Dir) -> Key {
        self.packed(dir).unpack()
    }

    /// [`Hot::key`] in the order of the wire.
    #[inline(always)]
    pub fn packed(&self, dir: Dir) -> Packed {
        Packed { addrs: self.addrs[dir as usize], ports: self.ports[dir as usize], proto: self.proto }
    }

    /// What packets of `dir` leave as.
    #[inline]
    pub fn leaves_as(&self, dir: Dir) -> Key {
        self.key(dir.flip()).mirror()
    }

    /// Whether packets of `dir` arrive with `key`.
    #[inline(always)]
    pub fn is(&self, dir: Dir, key: &Packed) -> bool {
        let (addrs, ports) = (self.addrs[dir as usize], self.ports[dir as usize]);
        (addrs == key.addrs) & (ports == key.ports) & (self.proto == key.proto)
    }

    /// Counts a packet and marks the connection as in use.
    #[inline(always)]
    pub fn book(&mut self, now: Tick, ip_len: u16) {
        self.last = now;
        self.bytes += u64::from(ip_len);
        self.packets = self.packets.wrapping_add(1);
    }

    /// What TCP's segments move.
    #[inline(always)]
    pub fn track<'a>(&'a mut self, warm: &'a mut Warm) -> Track<'a> {
        let Self { state, history, scale, .. } = self;
        Track { state, history, scale, windows: &mut warm.windows }
    }

    /// Proxy session, or [`NO_SESSION`].
    pub fn session(&self) -> u32 {
        if self.flags & (flag::INTERCEPTED | flag::MEDIA) != 0 { NO_SESSION } else { self.session }
    }

    /// Opened by a SYN cookie: its packets are shifted by [`Hot::shift`].
    #[inline]
    pub fn is_intercepted(&self) -> bool {
        self.flags & flag::INTERCEPTED != 0
    }

    /// Intercepted, and its server has not answered yet.
    #[inline]
    pub fn is_opening(&self) -> bool {
        self.is_intercepted() && self.state == State::SynSent
    }

    /// Of an intercepted connection: what is to be added to the server's sequence numbers; the cookie while it is opening.
    pub fn shift(&self) -> u32 {
        self.session
    }

    /// Makes it an intercepted connection with this shift; it is no proxy session's.
    pub(crate) fn intercept(&mut self, shift: u32) {
        self.flags |= flag::SPECIAL | flag::INTERCEPTED;
        self.session = shift;
    }

    /// The number of the pinhole that it came through.
    pub fn media(&self) -> Option<u32> {
        (self.flags & flag::MEDIA != 0).then_some(self.session)
    }

    /// Makes it a pinhole's connection; `checked` where each datagram is looked at.
    pub(crate) fn set_media(&mut self, hole: u32, checked: bool) {
        self.flags |= flag::MEDIA | if checked { flag::SPECIAL } else { 0 };
        self.session = hole;
    }

    /// In use, and no reason in it to look closer at its packets than their headers.
    #[inline(always)]
    pub fn is_common(&self) -> bool {
        self.flags & (flag::LIVE | flag::SPECIAL) == flag::LIVE
    }

    /// In use.
    #[inline]
    pub fn is_live(&self) -> bool {
        self.flags & flag::LIVE != 0
    }

    /// Initiator on the lower security level.
    pub fn is_inbound(&self) -> bool {
        self.flags & flag::INBOUND != 0
    }
}

impl Entry for Hot {
    fn is_live(&self) -> bool {
        Hot::is_live(self)
    }

    fn ways(&mut self) -> (&mut [u8; 2], &mut [u16; 2]) {
        (&mut self.iface, &mut self.hop)
    }
}

/// What makes a new connection.
#[derive(Clone, Copy, Debug)]
pub struct NewConn {
    /// As the initiator's packets arrive.
    pub forward: Key,
    /// As the responder's packets arrive.
    pub reverse: Key,
    /// Ingress interface of each direction.
    pub iface: [u8; 2],
    /// State to begin in.
    pub state: State,
    /// Initiator on the lower security level.
    pub inbound: bool,
    /// Xlate it holds.
    pub xlate: XlateId,
    /// Slot of the class whose limits it counts against, or [`NO_CLASS`].
    pub class: u8,
}

/// Why no connection could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// No entry or no index slot is free.
    Full,
    /// A reply would match a connection that exists.
    Clash,
}

impl InsertError {
    /// The drop's name.
    pub(crate) fn reason(self) -> DropReason {
        match self {
            Self::Full => DropReason::ConnTableFull,
            Self::Clash => DropReason::NatXlateFailed,
        }
    }
}

/// "No free entry".
const NIL: u32 = 0;

/// The connections of one worker.
pub struct Conns {
    hot: Pages<Hot>,
    warm: Pages<Warm>,
    /// The first free entry that was used before, plus one.
    free: u32,
    /// The first entry that never was.
    fresh: u32,
    index: Index,
    /// When to look at an entry next; what is due is the caller's to judge.
    pub(crate) wheel: Wheel,
    seed: u64,
    serial: u32,
    most: u32,
}

impl Conns {
    /// Room for `max` connections (at most 2^30).
    pub fn new(max: u32, rng: &mut Rng) -> Self {
        assert!(max < 1 << 30);
        Self {
            hot: Pages::new(max as usize),
            warm: Pages::new(max as usize),
            free: NIL,
            fresh: 0,
            index: Index::new(2 * max as usize),
            wheel: Wheel::new(max),
            seed: rng.next(),
            serial: 0,
            most: 0,
        }
    }

    /// Connections in use, and the most there were.
    pub fn in_use(&self) -> (u32, u32) {
        ((self.index.len() / 2) as u32, self.most)
    }

    /// The table's hash of `key`.
    #[inline]
    pub fn hash(&self, key: &Key) -> u64 {
        key::hash(key, self.seed)
    }

    /// [`Self::hash`] of a key in the order of the wire: make it for a whole burst first, then look up.
    #[inline(always)]
    pub fn hash_packed(&self, key: &Packed) -> u64 {
        key::hash_packed(key, self.seed)
    }

    /// The bucket that a lookup begins with: to be prefetched a burst ahead.
    #[inline(always)]
    pub fn home(&self, hash: u64) -> Option<&Bucket> {
        self.index.home(hash)
    }

    /// The entry and direction that a lookup will most likely compare first, to be tried with [`Hot::is`]; both its halves are to be
    /// prefetched where the buckets are there already.
    #[inline(always)]
    pub fn likely(&self, hash: u64) -> Option<(ConnId, Dir)> {
        let value = self.index.likely(hash)?;
        Some((ConnId(value >> 1), direction(value)))
    }

    /// The bucket to be fetched where [`Self::likely`] finds nothing, as of a few connections in a hundred.
    #[inline]
    pub fn second_home(&self, hash: u64) -> Option<&Bucket> {
        self.index.second_home(hash)
    }

    /// [`Self::likely`] in that bucket.
    #[inline]
    pub fn likely_second(&self, hash: u64) -> Option<(ConnId, Dir)> {
        let value = self.index.likely_second(hash)?;
        Some((ConnId(value >> 1), direction(value)))
    }

    /// The hot half, where there is one of this number: to try a [`Self::likely`] one.
    #[inline(always)]
    pub fn try_hot(&self, id: ConnId) -> Option<&Hot> {
        self.hot.get(id.0 as usize)
    }

    /// [`Self::try_hot`], to change.
    #[inline(always)]
    pub fn try_hot_mut(&mut self, id: ConnId) -> Option<&mut Hot> {
        self.hot.get_mut(id.0 as usize)
    }

    /// Both halves of an entry, where there is one of this number, to change.
    #[inline(always)]
    pub fn get_mut(&mut self, id: ConnId) -> Option<(&mut Hot, &mut Warm)> {
        Some((self.hot.get_mut(id.0 as usize)?, self.warm.get_mut(id.0 as usize)?))
    }

    /// Gives the lines that a packet of `proto` will need of an entry to those who fetch them.
    #[inline(always)]
    pub fn fetch(&self, id: ConnId, proto: u8, hot: impl FnOnce(&Hot), warm: impl FnOnce(&Warm)) {
        let n = id.0 as usize;
        if let Some(line) = self.hot.get(n) {
            hot(line);
        }
        if proto == key::TCP
            && let Some(line) = self.warm.get(n)
        {
            warm(line);
        }
    }

    /// The connection and direction that `key` belongs to.
    #[inline]
    pub fn lookup(&self, hash: u64, key: &Key) -> Option<(ConnId, Dir)> {
        self.lookup_packed(hash, &key.pack())
    }

    /// [`Self::lookup`] of a key in the order of the wire.
    #[inline]
    pub fn lookup_packed(&self, hash: u64, key: &Packed) -> Option<(ConnId, Dir)> {
        let hit = self.index.find(hash, |v| self.hot[(v >> 1) as usize].is(direction(v), key))?;
        Some((ConnId(hit >> 1), direction(hit)))
    }

    /// The hot half.
    #[inline]
    pub fn hot(&self, id: ConnId) -> &Hot {
        &self.hot[id.0 as usize]
    }

    /// The hot half, to change.
    #[inline]
    pub fn hot_mut(&mut self, id: ConnId) -> &mut Hot {
        &mut self.hot[id.0 as usize]
    }

    /// The other half.
    pub fn warm(&self, id: ConnId) -> &Warm {
        &self.warm[id.0 as usize]
    }

    /// True where `id` is in use.
    pub fn is_live(&self, id: ConnId) -> bool {
        self.hot.get(id.0 as usize).is_some_and(Hot::is_live)
    }

    /// See [`Flow::set_session`](crate::Flow::set_session).
    pub(crate) fn set_session(&mut self, id: ConnId, session: u32) {
        let hot = self.hot_mut(id);
        hot.session = session;
        if session == NO_SESSION {
            hot.flags &= !flag::SPECIAL;
        } else {
            hot.flags |= flag::SPECIAL;
        }
    }

    /// Adds a connection. Its timer is the caller's to set.
    pub fn insert(&mut self, new: NewConn, now: Tick) -> Result<ConnId, InsertError> {
        let (forward, reverse) = (new.forward.pack(), new.reverse.pack());
        let hashes = [self.hash_packed(&forward), self.hash_packed(&reverse)];
        self.check_clash(hashes, [&forward, &reverse], None)?;
        let n = if self.free != NIL { self.free - 1 } else { self.fresh };
        let (Some(hot), Some(warm)) = (self.hot.get_mut(n as usize), self.warm.get_mut(n as usize)) else {
            return Err(InsertError::Full);
        };
        let next_free = warm.xlate;
        *hot = Hot {
            addrs: [forward.addrs, reverse.addrs],
            ports: [forward.ports, reverse.ports],
            bytes: 0,
            last: now,
            epoch: 0,
            session: NO_SESSION,
            packets: 0,
            hop: [NO_HOP; 2],
            deltas: Deltas::new(&new.forward, &new.reverse.mirror()),
            iface: new.iface,
            proto: new.forward.proto,
            state: new.state,
            history: 0,
            scale: 0,
            class: new.class,
            flags: flag::LIVE | if new.inbound { flag::INBOUND } else { 0 },
        };
        if self.link(hashes[0], n << 1).is_err() {
            self.hot[n as usize] = Hot::new_zeroed();
            return Err(InsertError::Full);
        }
        if self.link(hashes[1], n << 1 | 1).is_err() {
            self.index.remove(hashes[0], n << 1);
            self.hot[n as usize] = Hot::new_zeroed();
            return Err(InsertError::Full);
        }
        if self.free != NIL {
            self.free = next_free;
        } else {
            self.fresh += 1;
        }
        self.serial = self.serial.wrapping_add(1);
        self.warm[n as usize] =
            Warm { windows: Windows::default(), serial: self.serial, created: now, xlate: new.xlate };
        self.most = self.most.max(self.in_use().0);
        Ok(ConnId(n))
    }

    /// Neither direction may be that of a connection but `over`.
    #[inline]
    fn check_clash(
        &self,
        hashes: [u64; 2],
        keys: [&Packed; 2],
        over: Option<ConnId>,
    ) -> Result<(), InsertError> {
        let is_there = |(hash, key)| {
            let found = self.lookup_packed(hash, key);
            found.is_some_and(|(id, _)| Some(id) != over)
        };
        match hashes.into_iter().zip(keys).any(is_there) {
            true => Err(InsertError::Clash),
            false => Ok(()),
        }
    }

    /// Whether a connection with these directions could be inserted when `over` has ended, but for full buckets of the index.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn room_for(&self, keys: [&Packed; 2], over: Option<ConnId>) -> Result<(), InsertError> {
        self.check_clash(keys.map(|key| self.hash_packed(key)), keys, over)?;
        let room = over.is_some() || self.free != NIL || (self.fresh as usize) < self.hot.len();
        if room { Ok(()) } else { Err(InsertError::Full) }
    }

    /// Changes with each connection that is made.
    #[inline]
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Asks for the lines of the `nth` entry from now that never was in use, if it is to come to those.
    #[inline]
    pub(crate) fn fetch_fresh(&self, nth: u32, fetch: &mut impl FnMut(*const u8)) {
        if self.free == NIL {
            self.fetch_entry(self.fresh.wrapping_add(nth), fetch);
        }
    }

    /// Asks for the lines of the free entry that is used next.
    #[inline]
    pub(crate) fn fetch_free(&self, fetch: &mut impl FnMut(*const u8)) {
        if self.free != NIL {
            self.fetch_entry(self.free - 1, fetch);
        }
    }

    #[inline]
    fn fetch_entry(&self, n: u32, fetch: &mut impl FnMut(*const u8)) {
        fetch(self.hot.as_ptr().wrapping_add(n as usize).cast());
        fetch(self.warm.as_ptr().wrapping_add(n as usize).cast());
        self.wheel.fetch(n, fetch);
    }

    /// Takes a connection out. Its xlate and session are the caller's to release.
    pub fn remove(&mut self, id: ConnId) {
        let hot = self.hot(id);
        let (forward, reverse) = (hot.packed(Dir::Forward), hot.packed(Dir::Reverse));
        self.index.remove(self.hash_packed(&forward), id.0 << 1);
        self.index.remove(self.hash_packed(&reverse), id.0 << 1 | 1);
        self.wheel.cancel(id.0);
        self.hot[id.0 as usize] = Hot::new_zeroed();
        self.warm[id.0 as usize].xlate = self.free;
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
        want: impl FnMut(&Hot) -> bool,
    ) -> (Vec<ConnId>, Option<u32>) {
        entries::page(&self.hot[..self.fresh as usize], from, max, scan, want)
    }

    fn link(&mut self, hash: u64, value: u32) -> Result<(), Full> {
        let (hot, seed) = (&self.hot, self.seed);
        self.index
            .insert(hash, value, |v| key::hash_packed(&hot[(v >> 1) as usize].packed(direction(v)), seed))
    }
}

#[inline(always)]
fn direction(value: u32) -> Dir {
    if value & 1 == 0 { Dir::Forward } else { Dir::Reverse }
}

const _: () = assert!(NO_XLATE == u32::MAX);
