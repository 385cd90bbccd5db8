// SPDX-License-Identifier: MIT OR Apache-2.0
//! Dynamic translations (xlates): the memory behind dynamic PAT and dynamic NAT.
//!
//! One xlate = one (protocol, real address, real port) on its way to one mapped interface, shown as one (mapped
//! address, port) whatever the destination: endpoint-independent mapping (RFC 4787 REQ-1, RFC 5382 REQ-1). For dynamic NAT it is one real
//! address, all protocols and ports: protocol and ports are 0. Found from either side by an [`Index`]; counted by the connections
//! that use it; kept `timeout pat-xlate` (or `timeout xlate`) after the last one ends, so that the mapping a peer was told of does
//! not vanish at once. Static rules need no xlate: they are arithmetic; `extended` PAT neither: its mapping is the connection.
//!
//! 28 bytes an xlate and two index slots of 8. Free and idle ones are lists through the slots: an idle one stands in order of when it
//! became so, so that the first that is not due ends the look. Which address and port a new one gets is `pick`'s. Worker cores; each
//! worker owns its own.

mod foresee;
mod pick;

use crate::index::{Full, Index};
use crate::key::{Key, fold};
use crate::nat::{Nat, Pool};
use crate::paired::Hosts;
use crate::ports::{Band, Share};
use crate::{Rng, Tick};
use fedgate_tables::pages::Pages;
use fedgate_tables::policy::NAT_EXTENDED;
pub use pick::{BlockNote, PoolUse};
use pick::{Picked, Picker};
use zerocopy::FromZeros;

/// Number of an xlate in its table.
pub type XlateId = u32;
/// "No xlate".
pub const NO_XLATE: XlateId = u32::MAX;

const BUSY: u8 = 1;
const IDLE: u8 = 2;
/// Not an xlate: the two that one connection holds.
const COUPLE: u8 = 3;
/// Added to the state: counted with its host.
const PAIRED: u8 = 4;

/// One dynamic translation. 28 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
#[repr(C)]
pub struct Xlate {
    /// Real address.
    pub real: u32,
    /// Mapped address.
    pub mapped: u32,
    /// Real port or ICMP identifier.
    pub real_port: u16,
    /// Mapped port or ICMP identifier.
    pub mapped_port: u16,
    /// IP protocol; 0 where the whole address is translated.
    pub proto: u8,
    /// Interface of the real address.
    pub real_if: u8,
    /// Interface of the mapped address.
    pub mapped_if: u8,
    /// 0: free; [`BUSY`], [`IDLE`] or [`COUPLE`]; and [`PAIRED`].
    flags: u8,
    /// Busy: connections. Idle: since when. Couple: the first xlate. Free: the next free one.
    first: u32,
    /// Idle: the next one. Couple: the second xlate.
    second: u32,
    /// Idle: the one before.
    third: u32,
}
const _: () = assert!(size_of::<Xlate>() == 28);

impl Xlate {
    /// Connections that use it.
    pub fn conns(&self) -> u32 {
        if self.state() == BUSY { self.first } else { 0 }
    }

    /// When the last of them ended, or it was made; `None` while it is in use.
    pub fn idle_since(&self) -> Option<Tick> {
        (self.state() == IDLE).then_some(self.first)
    }

    /// An address for an address, not a port for a port.
    pub fn is_one_to_one(&self) -> bool {
        self.proto == 0
    }

    fn state(&self) -> u8 {
        self.flags & 3
    }

    fn set_state(&mut self, state: u8) {
        self.flags = self.flags & PAIRED | state;
    }

    fn is_live(&self) -> bool {
        matches!(self.state(), BUSY | IDLE)
    }

    fn is_paired(&self) -> bool {
        self.flags & PAIRED != 0
    }

    /// Which of [`Xlates::idle`] it stands in.
    fn list(&self) -> usize {
        usize::from(self.is_one_to_one())
    }
}

/// Whether an xlate was there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It was.
    Before,
    /// It was made for this call.
    Now,
}

/// Why no xlate could be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XlateError {
    /// Every port of the band is taken on every address of the pool, or every address is.
    PortsExhausted,
    /// The host has all the port blocks that one may have, and all their ports are taken.
    HostLimit,
    /// As many xlates as the table holds.
    TableFull,
}

/// What an xlate is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Want<'a> {
    /// With the real source.
    pub key: &'a Key,
    /// Interface of the real address.
    pub real_if: u8,
    /// Interface that it is to be shown on.
    pub mapped_if: u8,
    /// Index of the rule.
    pub rule: usize,
    /// Its addresses.
    pub pool: Pool<'a>,
    /// Ports of a block.
    pub block_size: u32,
    /// Blocks that a host may have of a protocol on an address.
    pub blocks_per_host: u32,
    /// The next port too, shown as the next one: for [`Xlates::obtain_pair`].
    pub pair: bool,
}

impl Want<'_> {
    /// Of a rule whose translations are no xlates.
    pub(crate) fn is_extended(&self) -> bool {
        self.pool.flags & NAT_EXTENDED != 0 && !self.pool.one_to_one
    }

    /// Ports it takes.
    fn row(&self) -> u16 {
        1 + u16::from(self.pair)
    }
}

/// First and last of a list through the slots.
#[derive(Clone, Copy)]
struct List {
    head: XlateId,
    tail: XlateId,
}

/// All dynamic translations of one worker.
pub struct Xlates {
    slots: Pages<Xlate>,
    /// The first slot that never was in use.
    used: XlateId,
    max: usize,
    free: XlateId,
    by_real: Index,
    by_mapped: Index,
    /// Of PAT, and of NAT one to one: each in order of when it became idle.
    idle: [List; 2],
    one_to_one: u32,
    picker: Picker,
    seed: u64,
    most: u32,
}

impl Xlates {
    /// Room for `max` xlates, of this worker's share of ports.
    pub fn new(max: u32, share: Share, seed: u64) -> Self {
        Self {
            slots: Pages::new(max as usize),
            used: 0,
            max: max as usize,
            free: NO_XLATE,
            by_real: Index::new(max as usize),
            by_mapped: Index::new(max as usize),
            idle: [List { head: NO_XLATE, tail: NO_XLATE }; 2],
            one_to_one: 0,
            picker: Picker::new(share, Hosts::new(max as usize, seed.rotate_left(13))),
            seed,
            most: 0,
        }
    }

    /// Xlates in use, and the most there were.
    pub fn in_use(&self) -> (u32, u32) {
        (self.by_real.len() as u32, self.most)
    }

    /// The xlate with this number.
    pub fn get(&self, id: XlateId) -> Option<&Xlate> {
        self.slots.get(id as usize).filter(|x| x.is_live())
    }

    /// A policy comes into use: its static ports are set aside instead of those of the last one, its pools begin anew.
    pub fn adopt(&mut self, nat: &Nat) {
        self.picker.adopt(nat);
    }

    /// Whether `extended` PAT may use `port` of `mapped`: no static rule and no xlate has it.
    pub fn is_free(&self, proto: u8, mapped: u32, port: u16) -> bool {
        self.picker.is_free(mapped, proto, port)
    }

    /// A port of a band that is this worker's, free or not.
    pub fn some_port(&self, band: Band, random: u64) -> Option<u16> {
        self.picker.some_port(band, random)
    }

    /// What was done with port blocks since the last call, oldest first; `None` when all is told.
    pub fn block_note(&mut self) -> Option<BlockNote> {
        self.picker.notes.pop_front()
    }

    /// Notes that found no room.
    pub fn take_lost_notes(&mut self) -> u64 {
        std::mem::take(&mut self.picker.lost_notes)
    }

    /// How the addresses of pools are used, `max` from number `from` on, and where to go on.
    pub fn pools(&self, from: u32, max: usize) -> (Vec<PoolUse>, Option<u32>) {
        self.picker.page(from, max)
    }

    /// Asks for the lines that looking for the xlate of a called address and port will need.
    #[inline]
    pub(crate) fn fetch_mapped(&self, proto: u8, mapped: u32, port: u16, fetch: &mut impl FnMut(*const u8)) {
        if let Some(bucket) = self.by_mapped.home(hash(self.seed, proto, mapped, port, 1)) {
            fetch(std::ptr::from_ref(bucket).cast());
        }
    }

    /// Asks for the lines of the `nth` xlate from now, if it is made for the source of `real` and shown as `mapped` with the same port.
    #[inline]
    pub(crate) fn fetch_new(&self, nth: u32, real: &Key, mapped: u32, fetch: &mut impl FnMut(*const u8)) {
        let (proto, port) = (real.proto, real.sport);
        if let Some(bucket) = self.by_real.home(hash(self.seed, proto, real.src, port, 0)) {
            fetch(std::ptr::from_ref(bucket).cast());
        }
        self.fetch_mapped(proto, mapped, port, fetch);
        self.picker.fetch(mapped, proto, port, fetch);
        if self.free == NO_XLATE {
            fetch(self.slots.as_ptr().wrapping_add(self.used as usize + nth as usize).cast());
        }
    }

    /// Asks for the line of the free xlate that is used next.
    #[inline]
    pub(crate) fn fetch_free(&self, fetch: &mut impl FnMut(*const u8)) {
        if self.free != NO_XLATE {
            fetch(self.slots.as_ptr().wrapping_add(self.free as usize).cast());
        }
    }

    /// The xlate that carries what arrives for (`mapped`, `port`): its port's, else its address's.
    pub fn by_mapped(&self, proto: u8, mapped: u32, port: u16) -> Option<XlateId> {
        self.find_mapped(proto, mapped, port).or_else(|| {
            let any = self.one_to_one > 0;
            any.then(|| self.find_mapped(0, mapped, 0)).flatten()
        })
    }

    fn find_mapped(&self, proto: u8, mapped: u32, port: u16) -> Option<XlateId> {
        self.by_mapped.find(hash(self.seed, proto, mapped, port, 1), |id| {
            let x = &self.slots[id as usize];
            x.mapped == mapped && x.mapped_port == port && x.proto == proto
        })
    }

    fn find_real(&self, want: &Want<'_>, proto: u8, port: u16) -> Option<XlateId> {
        self.by_real.find(hash(self.seed, proto, want.key.src, port, 0), |id| {
            let x = &self.slots[id as usize];
            x.real == want.key.src
                && x.real_port == port
                && x.proto == proto
                && x.mapped_if == want.mapped_if
                && want.pool.has(x.mapped)
        })
    }

    /// The xlate that `want` asks for: the one that its host or socket has, or a new one. Among free ports one is taken that
    /// `prefer` (mapped address, port) likes, where it is soon found.
    pub fn obtain(
        &mut self,
        want: &Want<'_>,
        now: Tick,
        rng: &mut Rng,
        prefer: impl Fn(u32, u16) -> bool,
    ) -> Result<(XlateId, Made), XlateError> {
        if let Some(id) = self.obtained(want) {
            return Ok((id, Made::Before));
        }
        if self.by_real.len() >= self.max {
            return Err(XlateError::TableFull);
        }
        let picked = self.picker.pick(want, rng, prefer)?;
        Ok((self.make(want, &picked, now)?, Made::Now))
    }

    /// The one that is there.
    #[inline]
    fn obtained(&self, want: &Want<'_>) -> Option<XlateId> {
        let one_to_one = want.pool.one_to_one;
        if one_to_one && let Some(id) = self.find_real(want, 0, 0) {
            return Some(id);
        }
        // The last resort of a pool of addresses is the interface's, by port.
        let by_port = !one_to_one || want.pool.own.is_some();
        if by_port { self.find_real(want, want.key.proto, want.key.sport) } else { None }
    }

    /// The xlates of the wanted port and of the next one, which are shown as two in a row where neither has one and there are two.
    ///
    /// # Errors
    /// As for [`Self::obtain`]; what was made before stays, unused.
    pub fn obtain_pair(
        &mut self,
        want: &Want<'_>,
        now: Tick,
        rng: &mut Rng,
        prefer: impl Fn(u32, u16) -> bool,
    ) -> Result<[XlateId; 2], XlateError> {
        let Some(next_port) = want.key.sport.checked_add(1) else { return Err(XlateError::PortsExhausted) };
        let next = Key { sport: next_port, ..*want.key };
        let one = Want { pair: false, ..*want };
        let other = Want { key: &next, ..one };
        let is_new = |want: &Want<'_>| self.find_real(want, want.key.proto, want.key.sport).is_none();
        if !want.pool.one_to_one && is_new(&one) && is_new(&other) && self.by_real.len() + 2 <= self.max {
            let picked = self.picker.pick(&Want { pair: true, ..one }, rng, &prefer);
            if let Ok(picked) = picked {
                let second = Picked { port: picked.port + 1, ..picked };
                let Ok(id) = self.make(&one, &picked, now) else {
                    self.picker.release(&second, want.real_if, want.mapped_if);
                    return Err(XlateError::TableFull);
                };
                return Ok([id, self.make(&other, &second, now)?]);
            }
        }
        let (first, _) = self.obtain(&one, now, rng, &prefer)?;
        let (second, _) = self.obtain(&other, now, rng, &prefer)?;
        Ok([first, second])
    }

    /// The xlate of a host that has an address of its own.
    pub fn of_host(&self, want: &Want<'_>) -> Option<&Xlate> {
        self.find_real(want, 0, 0).and_then(|id| self.get(id))
    }

    /// Makes the xlate of what was picked; where it cannot be, that is given back.
    fn make(&mut self, want: &Want<'_>, picked: &Picked, now: Tick) -> Result<XlateId, XlateError> {
        let id = self.allocate().ok_or(XlateError::TableFull);
        let id = id.inspect_err(|_| self.picker.release(picked, want.real_if, want.mapped_if))?;
        self.slots[id as usize] = Xlate {
            real: want.key.src,
            mapped: picked.mapped,
            real_port: if picked.proto == 0 { 0 } else { want.key.sport },
            mapped_port: picked.port,
            proto: picked.proto,
            real_if: want.real_if,
            mapped_if: want.mapped_if,
            flags: BUSY | if picked.paired { PAIRED } else { 0 },
            ..Xlate::default()
        };
        if self.link(id).is_err() {
            self.picker.release(picked, want.real_if, want.mapped_if);
            self.give_back(id);
            return Err(XlateError::TableFull);
        }
        self.one_to_one += u32::from(picked.proto == 0);
        self.put_idle(id, now);
        self.most = self.most.max(self.by_real.len() as u32);
        Ok(id)
    }

    /// A connection begins to use `id`.
    pub fn hold(&mut self, id: XlateId) {
        let x = &self.slots[id as usize];
        if x.state() == COUPLE {
            return [x.first, x.second].into_iter().for_each(|id| self.hold(id));
        }
        if self.slots[id as usize].state() == IDLE {
            self.take_idle(id);
            let x = &mut self.slots[id as usize];
            x.set_state(BUSY);
            x.first = 0;
        }
        self.slots[id as usize].first += 1;
    }

    /// A connection that goes in by one xlate and out by another (hairpin: RFC 4787 REQ-9) holds both: gives one number for the
    /// two, to be held at once. `None`: the table is full.
    pub fn couple(&mut self, one: XlateId, other: XlateId) -> Option<XlateId> {
        let id = self.allocate()?;
        self.slots[id as usize] = Xlate { flags: COUPLE, first: one, second: other, ..Xlate::default() };
        Some(id)
    }

    /// A connection no longer uses `id`.
    pub fn drop_hold(&mut self, id: XlateId, now: Tick) {
        let x = &mut self.slots[id as usize];
        if x.state() == COUPLE {
            let both = [x.first, x.second];
            self.give_back(id);
            both.into_iter().for_each(|id| self.drop_hold(id, now));
            return;
        }
        x.first -= 1;
        if x.first == 0 {
            self.put_idle(id, now);
        }
    }

    /// Ends xlates idle for so many ticks (PAT, one to one; 0: never), at most `budget`. Returns how many ended.
    pub fn expire(&mut self, now: Tick, timeouts: [Tick; 2], budget: usize) -> u32 {
        let mut ended = 0;
        for (list, timeout) in timeouts.into_iter().enumerate().filter(|(_, timeout)| *timeout > 0) {
            while (ended as usize) < budget {
                let id = self.idle[list].head;
                if id == NO_XLATE || now.wrapping_sub(self.slots[id as usize].first) < timeout {
                    break;
                }
                self.end(id);
                ended += 1;
            }
        }
        ended
    }

    /// Ends an xlate that was made for a connection which then could not be.
    pub fn abandon(&mut self, id: XlateId) {
        if self.get(id).is_some_and(|x| x.state() == IDLE) {
            self.end(id);
        }
    }

    /// Interfaces have new indices; an xlate whose interface is gone matches nothing any more and ends when idle.
    pub fn renumber(&mut self, new_index: impl Fn(u8) -> Option<u8>) {
        for x in self.slots[..self.used as usize].iter_mut().filter(|x| x.is_live()) {
            x.real_if = new_index(x.real_if).unwrap_or(u8::MAX);
            x.mapped_if = new_index(x.mapped_if).unwrap_or(u8::MAX);
        }
    }

    /// Ends those `wanted` of the xlates that no connection uses, looking at `scan` from number `from` on (`clear xlate`). Returns
    /// how many, and where to go on.
    pub fn clear_idle(
        &mut self,
        from: u32,
        scan: usize,
        wanted: impl Fn(&Xlate) -> bool,
    ) -> (u32, Option<u32>) {
        let mut ended = 0;
        let end = (self.used as usize).min((from as usize).saturating_add(scan));
        for id in from..end as u32 {
            let slot = &self.slots[id as usize];
            if slot.state() == IDLE && wanted(slot) {
                self.end(id);
                ended += 1;
            }
        }
        (ended, (end < (self.used as usize)).then_some(end as u32))
    }

    /// Live xlates from number `from` on, at most `max` of `scan` looked at, and where to go on; for `show xlate`.
    pub fn page(&self, from: u32, max: usize, scan: usize) -> (Vec<Xlate>, Option<u32>) {
        let mut rows = Vec::with_capacity(max);
        let end = (self.used as usize).min((from as usize).saturating_add(scan));
        for id in from..end as u32 {
            if rows.len() == max {
                return (rows, Some(id));
            }
            rows.extend(self.get(id));
        }
        (rows, (end < (self.used as usize)).then_some(end as u32))
    }

    /// Ends an idle xlate.
    fn end(&mut self, id: XlateId) {
        self.take_idle(id);
        let x = self.slots[id as usize];
        self.by_real.remove(hash(self.seed, x.proto, x.real, x.real_port, 0), id);
        self.by_mapped.remove(hash(self.seed, x.proto, x.mapped, x.mapped_port, 1), id);
        self.one_to_one -= u32::from(x.is_one_to_one());
        self.picker.release_xlate(&x);
        self.give_back(id);
    }

    /// A slot: one given back, else the next never used.
    fn allocate(&mut self) -> Option<XlateId> {
        let id = self.free;
        if id != NO_XLATE {
            self.free = self.slots[id as usize].first;
            return Some(id);
        }
        let fresh = self.used;
        ((fresh as usize) < self.max).then(|| {
            self.used += 1;
            fresh
        })
    }

    fn give_back(&mut self, id: XlateId) {
        self.slots[id as usize] = Xlate { first: self.free, ..Xlate::default() };
        self.free = id;
    }

    fn put_idle(&mut self, id: XlateId, now: Tick) {
        let list = self.slots[id as usize].list();
        let tail = std::mem::replace(&mut self.idle[list].tail, id);
        match self.slots.get_mut(tail as usize) {
            Some(before) => before.second = id,
            None => self.idle[list].head = id,
        }
        let x = &mut self.slots[id as usize];
        x.set_state(IDLE);
        (x.first, x.second, x.third) = (now, NO_XLATE, tail);
    }

    fn take_idle(&mut self, id: XlateId) {
        let Xlate { second: next, third: before, .. } = self.slots[id as usize];
        let list = &mut self.idle[self.slots[id as usize].list()];
        match self.slots.get_mut(before as usize) {
            Some(x) => x.second = next,
            None => list.head = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(x) => x.third = before,
            None => list.tail = before,
        }
    }

    fn link(&mut self, id: XlateId) -> Result<(), Full> {
        let (slots, seed) = (&self.slots, self.seed);
        let real = |v: u32| {
            let x = &slots[v as usize];
            hash(seed, x.proto, x.real, x.real_port, 0)
        };
        let mapped = |v: u32| {
            let x = &slots[v as usize];
            hash(seed, x.proto, x.mapped, x.mapped_port, 1)
        };
        self.by_real.insert(real(id), id, real)?;
        self.by_mapped.insert(mapped(id), id, mapped).inspect_err(|_| {
            self.by_real.remove(real(id), id);
        })
    }
}

fn hash(seed: u64, proto: u8, addr: u32, port: u16, side: u8) -> u64 {
    let packed = u64::from(addr) << 32 | u64::from(port) << 16 | u64::from(proto) << 8 | u64::from(side);
    fold(packed ^ seed, fold(seed, 0xa076_1d64_78bd_642f))
}
