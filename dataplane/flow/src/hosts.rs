// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections of each client in each class with per-client limits.
//!
//! Open addressing over a fixed array, linear probing, and removal that closes the gap, so that a search is as short
//! after a year as on the first day. There is room for as many clients as there can be connections, so it is never
//! full; pages that no client hashes to take no memory. The hash is seeded: nobody picks his neighbours.
//! Each worker owns one; touched when a connection begins, opens or ends whose class has such limits. Twin: a map, in tests.

use crate::key::fold;
use crate::limits::Count;
use fedgate_tables::pages::Pages;
use zerocopy::FromZeros;

/// A client in a class; free where it has no connection. 32 bytes.
#[derive(Clone, Copy, Debug, FromZeros)]
#[repr(C)]
struct Host {
    client: u128,
    conns: u32,
    embryonic: u32,
    slot: u8,
    _spare: [u8; 7],
}
const _: () = assert!(size_of::<Host>() == 32);

/// See the module.
pub(crate) struct Hosts {
    all: Pages<Host>,
    seed: u64,
}

impl Hosts {
    /// For at most `max` connections.
    pub fn new(max: u32, seed: u64) -> Self {
        // At most three quarters full.
        let places = (max as usize * 4 / 3 + 1).next_power_of_two();
        Self { all: Pages::new(places), seed }
    }

    /// What a client has.
    pub fn get(&self, client: u128, slot: u8) -> Count {
        let host = &self.all[self.find(client, slot)];
        Count { conns: host.conns, embryonic: host.embryonic }
    }

    /// Sets what a client has.
    pub fn set(&mut self, client: u128, slot: u8, count: Count) {
        let at = self.find(client, slot);
        let Count { conns, embryonic } = count;
        if conns != 0 {
            self.all[at] = Host { client, conns, embryonic, slot, _spare: [0; 7] };
        } else if self.all[at].conns != 0 {
            self.remove(at);
        }
    }

    /// Where a client is, or would be.
    fn find(&self, client: u128, slot: u8) -> usize {
        let mut at = self.home(client, slot);
        loop {
            let host = &self.all[at];
            if host.conns == 0 || (host.client, host.slot) == (client, slot) {
                return at;
            }
            at = self.after(at);
        }
    }

    fn remove(&mut self, mut gap: usize) {
        let mask = self.all.len() - 1;
        let mut at = self.after(gap);
        while self.all[at].conns != 0 {
            let home = self.home(self.all[at].client, self.all[at].slot);
            // Its search would come by the gap.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(gap) & mask {
                self.all[gap] = self.all[at];
                gap = at;
            }
            at = self.after(at);
        }
        self.all[gap] = Host::new_zeroed();
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.all.len() - 1)
    }

    fn home(&self, client: u128, slot: u8) -> usize {
        let (high, low) = ((client >> 64) as u64, client as u64);
        let high = fold(high ^ self.seed, u64::from(slot) ^ self.seed.rotate_left(16));
        fold(low ^ self.seed, high ^ self.seed.rotate_left(32)) as usize & (self.all.len() - 1)
    }
}
