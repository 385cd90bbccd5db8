// SPDX-License-Identifier: MIT OR Apache-2.0
//! Dynamic translations (xlates): the memory behind dynamic PAT.
//!
//! One xlate = one (protocol, real address, real port) on its way to one mapped interface, shown as one (mapped
//! address, port) whatever the destination: endpoint-independent mapping (RFC 4787 REQ-1, RFC 5382 REQ-1). Found from either
//! side by an [`Index`]; counted by the connections that use it; kept `timeout pat-xlate` after the last one ends, so
//! that the mapping a peer was told of does not vanish at once. Static rules need no xlate: they are arithmetic.
//! Worker cores; each worker owns its own.

use crate::index::{Full, Index};
use crate::key::{Key, fold};
use crate::ports::{Ports, Share};
use crate::{Rng, Tick};
use std::collections::{HashMap, VecDeque};

/// Number of an xlate in its table.
pub type XlateId = u32;
/// "No xlate".
pub const NO_XLATE: XlateId = u32::MAX;

/// One dynamic translation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Xlate {
    /// Real address.
    pub real: u32,
    /// Mapped address.
    pub mapped: u32,
    /// Real port or ICMP identifier.
    pub real_port: u16,
    /// Mapped port or ICMP identifier.
    pub mapped_port: u16,
    /// IP protocol.
    pub proto: u8,
    /// Interface of the real address.
    pub real_if: u8,
    /// Interface of the mapped address.
    pub mapped_if: u8,
    live: bool,
    /// A note about it stands in the idle queue: never more than one, so that the queue is bounded by the table.
    queued: bool,
    /// Connections that use it.
    pub conns: u32,
    /// When the last of them ended, or it was made.
    pub idle_since: Tick,
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
    /// Every port of the band is taken on the mapped address.
    PortsExhausted,
    /// As many xlates as the table holds.
    TableFull,
}

/// All dynamic translations of one worker.
pub struct Xlates {
    slots: Vec<Xlate>,
    free: Vec<XlateId>,
    by_real: Index,
    by_mapped: Index,
    share: Share,
    ports: HashMap<(u32, u8), Ports>,
    /// Idle since when each was noted; see [`Xlates::expire`].
    idle: VecDeque<(XlateId, Tick)>,
    seed: u64,
    most: u32,
}

impl Xlates {
    /// Room for `max` xlates.
    pub fn new(max: u32, share: Share, seed: u64) -> Self {
        Self {
            // Reserved, not touched: memory follows use, and growing never copies on the packet path.
            slots: Vec::with_capacity(max as usize),
            free: (0..max).rev().collect(),
            by_real: Index::new(max as usize),
            by_mapped: Index::new(max as usize),
            share,
            ports: HashMap::new(),
            idle: VecDeque::new(),
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
        self.slots.get(id as usize).filter(|x| x.live)
    }

    /// Sets aside the ports that static PAT has, (mapped address, protocol, port), instead of those of the last policy.
    pub fn reserve(&mut self, static_ports: impl Iterator<Item = (u32, u8, u16)>) {
        self.ports.values_mut().for_each(Ports::clear_reserved);
        for (mapped, proto, port) in static_ports {
            self.ports.entry((mapped, proto)).or_insert_with(|| Ports::new(self.share)).reserve(port);
        }
    }

    /// The xlate that carries what arrives for (`mapped`, `port`).
    pub fn by_mapped(&self, proto: u8, mapped: u32, port: u16) -> Option<XlateId> {
        self.by_mapped.find(self.hash(proto, mapped, port, 1), |id| {
            let x = &self.slots[id as usize];
            x.mapped == mapped && x.mapped_port == port && x.proto == proto
        })
    }

    /// The xlate of (`real`, `port`) towards `mapped`.
    pub fn by_real(&self, proto: u8, real: u32, port: u16, mapped: u32) -> Option<XlateId> {
        self.by_real.find(self.hash(proto, real, port, 0), |id| {
            let x = &self.slots[id as usize];
            x.real == real && x.real_port == port && x.proto == proto && x.mapped == mapped
        })
    }

    /// The xlate for a packet of `key` from `real_if` out of `mapped_if` as `mapped`: the one it has, or a new one.
    pub fn obtain(
        &mut self,
        key: &Key,
        real_if: u8,
        mapped: u32,
        mapped_if: u8,
        now: Tick,
        rng: &mut Rng,
    ) -> Result<(XlateId, Made), XlateError> {
        if let Some(id) = self.by_real(key.proto, key.src, key.sport, mapped) {
            return Ok((id, Made::Before));
        }
        let id = self.free.pop().ok_or(XlateError::TableFull)?;
        let ports = self.ports.entry((mapped, key.proto)).or_insert_with(|| Ports::new(self.share));
        let Some(mapped_port) = ports.pick(key.sport, rng.next()) else {
            self.free.push(id);
            return Err(XlateError::PortsExhausted);
        };
        let xlate = Xlate {
            real: key.src,
            mapped,
            real_port: key.sport,
            mapped_port,
            proto: key.proto,
            real_if,
            mapped_if,
            live: true,
            queued: false,
            conns: 0,
            idle_since: now,
        };
        if self.slots.len() <= id as usize {
            self.slots.resize(id as usize + 1, Xlate::default());
        }
        let queued = self.slots[id as usize].queued; // clear_idle() leaves the note of the slot's former life
        self.slots[id as usize] = Xlate { queued, ..xlate };
        if self.link(id).is_err() {
            self.slots[id as usize].live = false;
            self.ports
                .entry((mapped, key.proto))
                .or_insert_with(|| Ports::new(self.share))
                .release(mapped_port);
            self.free.push(id);
            return Err(XlateError::TableFull);
        }
        self.note_idle(id);
        self.most = self.most.max(self.by_real.len() as u32);
        Ok((id, Made::Now))
    }

    /// A connection begins to use `id`.
    pub fn hold(&mut self, id: XlateId) {
        self.slots[id as usize].conns += 1;
    }

    /// A connection no longer uses `id`.
    pub fn drop_hold(&mut self, id: XlateId, now: Tick) {
        let x = &mut self.slots[id as usize];
        x.conns -= 1;
        if x.conns == 0 {
            x.idle_since = now;
            self.note_idle(id);
        }
    }

    /// Ends xlates idle for `timeout` ticks (0: never); looks at no more than `budget` candidates. Returns how many ended.
    ///
    /// Each xlate has one note in the queue, with the time it was idle since. One that was busy in between goes to the back with
    /// its new time: it ends at most one timeout late, and holds nobody up.
    pub fn expire(&mut self, now: Tick, timeout: Tick, budget: usize) -> u32 {
        let mut ended = 0;
        for _ in 0..budget {
            let Some(&(id, noted)) = self.idle.front() else { break };
            if timeout == 0 || now.wrapping_sub(noted) < timeout {
                break;
            }
            self.idle.pop_front();
            let x = &mut self.slots[id as usize];
            if !x.live || x.conns > 0 {
                x.queued = false;
            } else if now.wrapping_sub(x.idle_since) < timeout {
                self.idle.push_back((id, x.idle_since));
            } else {
                x.queued = false;
                self.end(id);
                ended += 1;
            }
        }
        ended
    }

    fn note_idle(&mut self, id: XlateId) {
        let x = &mut self.slots[id as usize];
        if !x.queued {
            x.queued = true;
            self.idle.push_back((id, x.idle_since));
        }
    }

    /// Ends an xlate that was made for a connection which then could not be.
    pub fn abandon(&mut self, id: XlateId) {
        if self.get(id).is_some_and(|x| x.conns == 0) {
            self.end(id);
        }
    }

    /// Interfaces have new indices; an xlate whose interface is gone matches nothing any more and ends when idle.
    pub fn renumber(&mut self, new_index: impl Fn(u8) -> Option<u8>) {
        for x in self.slots.iter_mut().filter(|x| x.live) {
            x.real_if = new_index(x.real_if).unwrap_or(u8::MAX);
            x.mapped_if = new_index(x.mapped_if).unwrap_or(u8::MAX);
        }
    }

    /// Ends the xlates that no connection uses, looking at `scan` from number `from` on (`clear xlate`). Returns how many, and
    /// where to go on.
    pub fn clear_idle(&mut self, from: u32, scan: usize) -> (u32, Option<u32>) {
        let mut ended = 0;
        let end = self.slots.len().min((from as usize).saturating_add(scan));
        for id in from..end as u32 {
            let x = self.slots[id as usize];
            if x.live && x.conns == 0 {
                self.end(id);
                ended += 1;
            }
        }
        (ended, (end < self.slots.len()).then_some(end as u32))
    }

    /// Live xlates from number `from` on, at most `max` of `scan` looked at, and where to go on; for `show xlate`.
    pub fn page(&self, from: u32, max: usize, scan: usize) -> (Vec<Xlate>, Option<u32>) {
        let mut rows = Vec::with_capacity(max);
        let end = self.slots.len().min((from as usize).saturating_add(scan));
        for id in from..end as u32 {
            if rows.len() == max {
                return (rows, Some(id));
            }
            rows.extend(self.get(id));
        }
        (rows, (end < self.slots.len()).then_some(end as u32))
    }

    fn end(&mut self, id: XlateId) {
        let x = self.slots[id as usize];
        self.by_real.remove(self.hash(x.proto, x.real, x.real_port, 0), id);
        self.by_mapped.remove(self.hash(x.proto, x.mapped, x.mapped_port, 1), id);
        if let Some(ports) = self.ports.get_mut(&(x.mapped, x.proto)) {
            ports.release(x.mapped_port);
        }
        self.slots[id as usize].live = false;
        self.free.push(id);
    }

    fn link(&mut self, id: XlateId) -> Result<(), Full> {
        let (slots, seed) = (&self.slots, self.seed);
        let x = slots[id as usize];
        let real = |v: u32| {
            hash(seed, slots[v as usize].proto, slots[v as usize].real, slots[v as usize].real_port, 0)
        };
        let mapped = |v: u32| {
            hash(seed, slots[v as usize].proto, slots[v as usize].mapped, slots[v as usize].mapped_port, 1)
        };
        self.by_real.insert(hash(seed, x.proto, x.real, x.real_port, 0), id, real)?;
        self.by_mapped.insert(hash(seed, x.proto, x.mapped, x.mapped_port, 1), id, mapped).inspect_err(|_| {
            self.by_real.remove(hash(seed, x.proto, x.real, x.real_port, 0), id);
        })
    }

    fn hash(&self, proto: u8, addr: u32, port: u16, side: u8) -> u64 {
        hash(self.seed, proto, addr, port, side)
    }
}

fn hash(seed: u64, proto: u8, addr: u32, port: u16, side: u8) -> u64 {
    let packed = u64::from(addr) << 32 | u64::from(port) << 16 | u64::from(proto) << 8 | u64::from(side);
    fold(packed ^ seed, fold(seed, 0xa076_1d64_78bd_642f))
}
