// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where packets of connections leave: everything of the way out that is the same for all packets to one neighbour.
//!
//! A connection keeps the number of an [`Adjacency`] for each direction; a packet takes from it the Ethernet addresses, the port and
//! the MTU in one cache line that is nearly always in the first cache. An adjacency follows the neighbour table, which counts
//! its changes: whenever it has changed, all are looked up anew before the next burst ([`Adjacencies::follow`]). A new policy (or
//! a full list, which only a scan of large connected networks can bring about) empties the list and begins a new epoch;
//! a connection's numbers hold only in the epoch in which they were given. One list for each family. Worker core only; bound: [`MOST`].
//!
//! A new connection finds its adjacency by next hop in a small table of those that were found last ([`Adjacencies::recent`]), and only
//! where it is not there by asking the neighbour table.

use crate::worker::neigh::{Address, Neighbours, NextHop};
use crate::worker::runtime::{IoSlot, View};
use std::collections::HashMap;

/// Most adjacencies: the number must fit a connection's 16 bits, and 0 is none.
const MOST: usize = 16_384;
/// Places for adjacencies by next hop: a power of two.
const RECENT: usize = 256;

/// See the module.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub struct Adjacency {
    /// The first 12 bytes of a frame: to, from.
    pub stations: [u8; 12],
    /// IP bytes that a frame may carry; 0 where the neighbour is not known now.
    pub mtu: u16,
    /// The port.
    pub slot: IoSlot,
    /// The interface.
    pub egress: u8,
    /// Something was sent since the neighbour table asked last.
    pub used: bool,
    hop: NextHop,
}

/// An adjacency by the next hop that it was found for. Number 0: none.
#[derive(Clone, Copy, Default)]
struct Recent {
    next_hop: u32,
    number: u16,
    egress: u8,
}

/// All of a worker.
pub struct Adjacencies {
    list: Vec<Adjacency>,
    by_hop: HashMap<(u8, NextHop), u16>,
    recent: Box<[Recent; RECENT]>,
    epoch: u32,
    /// The neighbour table's changes that the list has followed.
    seen: u64,
}

impl Adjacencies {
    pub fn new() -> Self {
        let mut adjacencies = Self {
            list: Vec::with_capacity(MOST),
            by_hop: HashMap::with_capacity(MOST),
            recent: Box::new([Recent::default(); RECENT]),
            epoch: 0,
            seen: 0,
        };
        adjacencies.clear();
        adjacencies
    }

    /// The epoch; no connection begins in it.
    #[inline(always)]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The adjacency of this number, in the epoch in which it was given.
    #[inline(always)]
    pub fn get_mut(&mut self, number: u16) -> Option<&mut Adjacency> {
        self.list.get_mut(usize::from(number))
    }

    /// Forgets all: numbers given before mean nothing any more.
    #[cold]
    pub fn clear(&mut self) {
        // After 2^32 policies an idle connection might take an old number for a new one.
        self.epoch = self.epoch.wrapping_add(1).max(1);
        self.by_hop.clear();
        self.recent.fill(Recent::default());
        self.list.clear();
        let none =
            Adjacency { stations: [0; 12], mtu: 0, slot: 0, egress: 0, used: false, hop: NextHop::NONE };
        self.list.push(none);
    }

    /// The number for a neighbour on an interface.
    #[cold]
    pub fn number<P, A: Address>(
        &mut self,
        egress: u8,
        hop: NextHop,
        neigh: &mut Neighbours<P, A>,
        view: &View<'_>,
    ) -> u16 {
        if let Some(&number) = self.by_hop.get(&(egress, hop)) {
            return number;
        }
        if self.list.len() >= MOST {
            self.clear();
        }
        let number = self.list.len() as u16;
        let mut adjacency = Adjacency { egress, hop, ..self.list[0] };
        adjacency.look_up(neigh, view);
        self.list.push(adjacency);
        self.by_hop.insert((egress, hop), number);
        number
    }

    /// The number of the adjacency that IPv4 packets to `next_hop` leave by, where it was [noted](Self::note) not long ago and the neighbour is known.
    #[inline]
    pub fn recent(&self, egress: u8, next_hop: u32) -> Option<u16> {
        let Recent { number, .. } = *Some(&self.recent[place(egress, next_hop)])
            .filter(|recent| (recent.next_hop, recent.egress) == (next_hop, egress))?;
        self.list.get(usize::from(number)).filter(|adjacency| adjacency.mtu > 0).map(|_| number)
    }

    /// Packets to `next_hop` leave by this adjacency.
    pub fn note(&mut self, egress: u8, next_hop: u32, number: u16) {
        self.recent[place(egress, next_hop)] = Recent { next_hop, number, egress };
    }

    /// Takes over what has changed in the neighbour table. Once a burst; a compare where nothing has.
    #[inline]
    pub fn follow<P, A: Address>(&mut self, neigh: &mut Neighbours<P, A>, view: &View<'_>) {
        if self.seen != neigh.changes() {
            self.look_up_all(neigh, view);
        }
    }

    #[cold]
    fn look_up_all<P, A: Address>(&mut self, neigh: &mut Neighbours<P, A>, view: &View<'_>) {
        self.seen = neigh.changes();
        self.list.iter_mut().skip(1).for_each(|adjacency| adjacency.look_up(neigh, view));
    }

    /// Tells the neighbour table which entries are in use, so that it keeps them.
    #[cold]
    pub fn tell_use<P, A: Address>(&mut self, neigh: &mut Neighbours<P, A>) {
        for adjacency in self.list.iter_mut().filter(|a| a.used) {
            adjacency.used = false;
            neigh.touch(adjacency.hop);
        }
    }
}

/// Where the adjacency of a next hop is noted.
#[inline]
fn place(egress: u8, next_hop: u32) -> usize {
    let mixed = (next_hop ^ u32::from(egress).rotate_right(8)).wrapping_mul(0x9e37_79b1);
    (mixed >> 24) as usize % RECENT
}

impl Adjacency {
    fn look_up<P, A: Address>(&mut self, neigh: &Neighbours<P, A>, view: &View<'_>) {
        let egress = usize::from(self.egress);
        let way = view.interface(self.egress).zip(view.image.slots.get(egress).copied().flatten());
        match (neigh.mac(self.hop), way) {
            (Some(to), Some((interface, slot))) => {
                self.stations[..6].copy_from_slice(&to.0);
                self.stations[6..].copy_from_slice(&view.mac(self.egress).0);
                (self.mtu, self.slot) = (interface.mtu, slot);
            }
            _ => self.mtu = 0,
        }
    }
}
