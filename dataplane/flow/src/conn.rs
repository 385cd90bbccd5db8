// SPDX-License-Identifier: MIT OR Apache-2.0
//! The connection table: both directions of a flow, its translation, state, timer and counters in one entry.
//!
//! An entry is split where the packets split it: [`Hot`], one cache line, is all that an established packet reads
//! and writes; [`Cold`] is for setup, expiry and `show conn`. Two slots of the [`Index`] lead to it, one a
//! direction: value = entry number * 2 + direction. With the index at 80 % an entry costs 64 + 48 + 2 * 8 = 128 bytes.
//!
//! The translation is the two keys themselves: a packet that matches one leaves as the mirror of the other. The checksum deltas
//! that follow from them are made once, at setup. Fixed capacity; a full table refuses, it never evicts. Each worker owns one.

use crate::index::{Bucket, Full, Index};
use crate::key::{self, Key};
use crate::rewrite::Deltas;
use crate::tcp::State;
use crate::wheel::Wheel;
use crate::xlate::{NO_XLATE, XlateId};
use crate::{Rng, Tick};

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
pub const NO_HOP: u32 = u32::MAX;

/// What an established packet touches: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Hot {
    keys: [[u32; 3]; 2], // 0..24: src, dst, sport << 16 | dport as each direction arrives
    /// Bytes of IP datagrams, both ways.
    pub bytes: u64, // 24..32
    /// Handle of the neighbour a direction leaves by, or [`NO_HOP`].
    pub hop: [u32; 2], // 32..40
    /// Last packet.
    pub last: Tick, // 40..44
    /// Proxy session, or [`NO_SESSION`].
    pub session: u32, // 44..48
    /// Packets, both ways.
    pub packets: u32, // 48..52
    /// Interface a direction arrives on; the other one is where it leaves.
    pub iface: [u8; 2], // 52..54
    /// IP protocol.
    pub proto: u8, // 54
    /// TCP state.
    pub state: State, // 55
    /// TCP history ([`crate::tcp::seen`]).
    pub history: u8, // 56
    _spare: u8,          // 57
    /// Checksum deltas of the forward direction.
    pub deltas: Deltas, // 58..62
    /// Generation of the policy that the hops were found by, its low half.
    pub epoch: u16, // 62..64
}
const _: () = assert!(size_of::<Hot>() == 64 && align_of::<Hot>() == 64);

/// What setup, expiry and listings touch.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Cold {
    /// Number for logs and `show conn`, never reused in a run.
    pub serial: u64,
    /// First packet.
    pub created: Tick,
    /// Xlate it holds, or [`NO_XLATE`].
    pub xlate: XlateId,
    /// Initiator on the lower security level.
    pub inbound: bool,
    live: bool,
    _spare: [u8; 22],
}
const _: () = assert!(size_of::<Cold>() == 40);

impl Hot {
    /// The key that packets of `dir` arrive with.
    #[inline]
    pub fn key(&self, dir: Dir) -> Key {
        let [src, dst, ports] = self.keys[dir as usize];
        Key { src, dst, sport: (ports >> 16) as u16, dport: ports as u16, proto: self.proto }
    }

    /// What packets of `dir` leave as.
    #[inline]
    pub fn leaves_as(&self, dir: Dir) -> Key {
        self.key(dir.flip()).mirror()
    }

    #[inline]
    fn is(&self, dir: Dir, key: &Key) -> bool {
        self.keys[dir as usize] == pack(key) && self.proto == key.proto
    }
}

fn pack(key: &Key) -> [u32; 3] {
    [key.src, key.dst, u32::from(key.sport) << 16 | u32::from(key.dport)]
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
    /// Low half of the policy generation.
    pub epoch: u16,
}

/// Why no connection could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InsertError {
    /// No entry or no index slot is free.
    Full,
    /// A reply would match a connection that exists.
    Clash,
}

/// The connections of one worker.
pub struct Conns {
    hot: Vec<Hot>,
    cold: Vec<Cold>,
    free: Vec<u32>,
    index: Index,
    /// When to look at an entry next; what is due is the caller's to judge.
    pub(crate) wheel: Wheel,
    seed: u64,
    serial: u64,
    most: u32,
    changes: u64,
}

impl Conns {
    /// Room for `max` connections (at most 2^30).
    pub fn new(max: u32, rng: &mut Rng) -> Self {
        assert!(max < 1 << 30);
        Self {
            // Reserved, not touched: memory follows use, and growing never copies on the packet path.
            hot: Vec::with_capacity(max as usize),
            cold: Vec::with_capacity(max as usize),
            free: (0..max).rev().collect(),
            index: Index::new(2 * max as usize),
            wheel: Wheel::new(max),
            seed: rng.next(),
            serial: 0,
            most: 0,
            changes: 0,
        }
    }

    /// Counts insertions and removals: a lookup's answer holds while this stays.
    #[inline]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Connections in use, and the most there were.
    pub fn in_use(&self) -> (u32, u32) {
        ((self.index.len() / 2) as u32, self.most)
    }

    /// The table's hash of `key`: make it for a whole burst first, then look up.
    #[inline]
    pub fn hash(&self, key: &Key) -> u64 {
        key::hash(key, self.seed)
    }

    /// The bucket that [`Self::lookup`] begins with: to be prefetched a burst ahead.
    #[inline]
    pub fn home(&self, hash: u64) -> &Bucket {
        self.index.home(hash)
    }

    /// The entry that [`Self::lookup`] will most likely compare first: to be prefetched when the buckets are there.
    #[inline]
    pub fn likely(&self, hash: u64) -> Option<&Hot> {
        self.hot.get((self.index.likely(hash)? >> 1) as usize)
    }

    /// The connection and direction that `key` belongs to.
    #[inline]
    pub fn lookup(&self, hash: u64, key: &Key) -> Option<(ConnId, Dir)> {
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

    /// The cold half.
    pub fn cold(&self, id: ConnId) -> &Cold {
        &self.cold[id.0 as usize]
    }

    /// True where `id` is in use.
    pub fn is_live(&self, id: ConnId) -> bool {
        self.cold.get(id.0 as usize).is_some_and(|c| c.live)
    }

    /// Adds a connection. Its timer is the caller's to set.
    pub fn insert(&mut self, new: NewConn, now: Tick) -> Result<ConnId, InsertError> {
        let hashes = [self.hash(&new.forward), self.hash(&new.reverse)];
        if self.lookup(hashes[0], &new.forward).is_some() || self.lookup(hashes[1], &new.reverse).is_some() {
            return Err(InsertError::Clash);
        }
        let n = self.free.pop().ok_or(InsertError::Full)?;
        let hot = Hot {
            keys: [pack(&new.forward), pack(&new.reverse)],
            bytes: 0,
            hop: [NO_HOP; 2],
            last: now,
            session: NO_SESSION,
            packets: 0,
            iface: new.iface,
            proto: new.forward.proto,
            state: new.state,
            history: 0,
            _spare: 0,
            deltas: Deltas::new(&new.forward, &new.reverse.mirror()),
            epoch: new.epoch,
        };
        self.serial += 1;
        let cold = Cold {
            serial: self.serial,
            created: now,
            xlate: new.xlate,
            inbound: new.inbound,
            live: true,
            _spare: [0; 22],
        };
        // Numbers are handed out upwards, so the vectors grow by touch: memory follows use.
        if self.hot.len() <= n as usize {
            self.hot.resize(n as usize + 1, hot);
            self.cold.resize(n as usize + 1, cold);
        }
        self.hot[n as usize] = hot;
        self.cold[n as usize] = cold;
        if self.link(hashes[0], n << 1).is_err() {
            self.cold[n as usize].live = false;
            self.free.push(n);
            return Err(InsertError::Full);
        }
        if self.link(hashes[1], n << 1 | 1).is_err() {
            self.index.remove(hashes[0], n << 1);
            self.cold[n as usize].live = false;
            self.free.push(n);
            return Err(InsertError::Full);
        }
        self.most = self.most.max(self.in_use().0);
        self.changes += 1;
        Ok(ConnId(n))
    }

    /// Takes a connection out. Its xlate and session are the caller's to release.
    pub fn remove(&mut self, id: ConnId) {
        let (forward, reverse) = (self.hot(id).key(Dir::Forward), self.hot(id).key(Dir::Reverse));
        self.index.remove(self.hash(&forward), id.0 << 1);
        self.index.remove(self.hash(&reverse), id.0 << 1 | 1);
        self.wheel.cancel(id.0);
        self.cold[id.0 as usize].live = false;
        self.free.push(id.0);
        self.changes += 1;
    }

    /// Interfaces have new indices. Gives the connections that used one which is gone: they are the caller's to end.
    pub fn renumber(&mut self, new_index: impl Fn(u8) -> Option<u8>) -> Vec<ConnId> {
        let mut gone = Vec::new();
        for (n, (hot, cold)) in (0..).zip(self.hot.iter_mut().zip(&self.cold)) {
            if !cold.live {
                continue;
            }
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
        mut want: impl FnMut(&Hot) -> bool,
    ) -> (Vec<ConnId>, Option<u32>) {
        let mut found = Vec::new();
        let end = self.cold.len().min((from as usize).saturating_add(scan));
        for n in from as usize..end {
            if found.len() == max {
                return (found, Some(n as u32));
            }
            if self.cold[n].live && want(&self.hot[n]) {
                found.push(ConnId(n as u32));
            }
        }
        (found, (end < self.cold.len()).then_some(end as u32))
    }

    fn link(&mut self, hash: u64, value: u32) -> Result<(), Full> {
        let (hot, seed) = (&self.hot, self.seed);
        self.index.insert(hash, value, |v| key::hash(&hot[(v >> 1) as usize].key(direction(v)), seed))
    }
}

fn direction(value: u32) -> Dir {
    if value & 1 == 0 { Dir::Forward } else { Dir::Reverse }
}

const _: () = assert!(NO_XLATE == u32::MAX);
