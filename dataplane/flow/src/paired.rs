// SPDX-License-Identifier: MIT OR Apache-2.0
//! Hosts behind PAT pools: the pool address that each keeps while it has xlates (RFC 4787 REQ-2, "paired"), and its port blocks
//! (RFC 6888 REQ-4: what one subscriber can take is bounded).
//!
//! One [`Host`] = (real address, mapped address, protocol), counted by its xlates and gone with the last. All of a real address are
//! found under one hash, so that "has it an address of this pool" is one look-up whatever the rules are by now; they are few:
//! one a protocol and pool address used. Only rules with more than one address or with blocks make entries.
//! Worker cores, once a translation of such a rule. There are never more than xlates, so the table has room for as many.

use crate::index::Index;
use crate::key::fold;
use crate::ports::Block;

/// `xlate block-allocation maximum-per-host` is at most this.
pub const MAX_BLOCKS: usize = 8;

/// A host's stay on a pool address. 48 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Host {
    /// Its own address.
    pub real: u32,
    /// The pool address.
    pub mapped: u32,
    /// Its xlates there; 0: the slot is free.
    xlates: u32,
    /// IP protocol.
    pub proto: u8,
    /// Its port blocks.
    pub blocks: [Block; MAX_BLOCKS],
}

/// Number of a host in its table.
pub type HostId = u32;

/// The hosts of one worker.
pub struct Hosts {
    slots: Vec<Host>,
    free: Vec<HostId>,
    index: Option<Index>,
    max: usize,
    seed: u64,
}

impl Hosts {
    /// Room for `max`; takes no memory before [`Self::prepare`].
    pub fn new(max: usize, seed: u64) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), index: None, max, seed }
    }

    /// Makes the index, if it is not there: a policy has rules that pair. Not on the packet path.
    pub fn prepare(&mut self) {
        self.index.get_or_insert_with(|| Index::new(self.max));
    }

    /// Hosts held.
    fn len(&self) -> usize {
        self.index.as_ref().map_or(0, Index::len)
    }

    /// The address that `real` has of those that `of_pool` accepts; of the same protocol first.
    pub fn address(&self, real: u32, proto: u8, of_pool: impl Fn(u32) -> bool) -> Option<u32> {
        let mut other = None;
        let same = self.find_by(real, |host| {
            if of_pool(host.mapped) {
                other = Some(host.mapped);
            }
            other.is_some() && host.proto == proto && host.mapped == other.unwrap_or_default()
        });
        same.map(|id| self.slots[id as usize].mapped).or(other)
    }

    /// The host's stay on one address.
    pub fn find(&self, real: u32, mapped: u32, proto: u8) -> Option<HostId> {
        self.find_by(real, |host| host.mapped == mapped && host.proto == proto)
    }

    /// Blocks that `real` has for a protocol on all its addresses.
    pub fn blocks_of(&self, real: u32, proto: u8) -> u32 {
        let mut blocks = 0;
        self.find_by(real, |host| {
            if host.proto == proto {
                blocks += host.blocks.iter().filter(|b| b.is_some()).count() as u32;
            }
            false
        });
        blocks
    }

    /// The host, without xlates yet where it is new. `None`: the table is full. The caller adds an xlate or [`Self::forget`]s it.
    pub fn find_or_make(&mut self, real: u32, mapped: u32, proto: u8) -> Option<HostId> {
        if let Some(id) = self.find(real, mapped, proto) {
            return Some(id);
        }
        if self.len() >= self.max {
            return None;
        }
        let id = self.free.pop().unwrap_or(self.slots.len() as HostId);
        let host = Host { real, mapped, proto, ..Host::default() };
        match self.slots.get_mut(id as usize) {
            Some(slot) => *slot = host,
            None => self.slots.push(host),
        }
        let (slots, seed) = (&self.slots, self.seed);
        let linked = self.index.as_mut().is_some_and(|index| {
            index.insert(hash(seed, real), id, |v| hash(seed, slots[v as usize].real)).is_ok()
        });
        if !linked {
            self.free.push(id);
        }
        linked.then_some(id)
    }

    /// The host.
    pub fn get(&self, id: HostId) -> &Host {
        &self.slots[id as usize]
    }

    /// The host, to give it blocks or take them.
    pub fn get_mut(&mut self, id: HostId) -> &mut Host {
        &mut self.slots[id as usize]
    }

    /// It has one xlate more.
    pub fn add(&mut self, id: HostId) {
        self.slots[id as usize].xlates += 1;
    }

    /// It has one xlate less; true where that was the last.
    pub fn sub(&mut self, id: HostId) -> bool {
        let host = &mut self.slots[id as usize];
        host.xlates -= 1;
        host.xlates == 0
    }

    /// Ends a host that has no xlates; one that has some stays.
    pub fn forget(&mut self, id: HostId) {
        let host = self.slots[id as usize];
        if host.xlates > 0 {
            return;
        }
        if let Some(index) = &mut self.index {
            index.remove(hash(self.seed, host.real), id);
        }
        self.free.push(id);
    }

    fn find_by(&self, real: u32, mut is: impl FnMut(&Host) -> bool) -> Option<HostId> {
        self.index.as_ref()?.find(hash(self.seed, real), |id| {
            let host = &self.slots[id as usize];
            host.real == real && is(host)
        })
    }
}

fn hash(seed: u64, real: u32) -> u64 {
    fold(u64::from(real) ^ seed, seed.rotate_left(32))
}
