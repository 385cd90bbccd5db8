// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which of our addresses are still to be announced: those that a new image brings, or shows with another MAC or on another port,
//! since a neighbour's or a switch's memory of them is then wrong (RFC 5227 3, RFC 4861 7.2.6).
//!
//! What waits survives an image that follows at once, as far as it is still ours. One for each family and worker; of the workers only one
//! announces. `A` is the type of an address. Bound: the addresses of one image. Worker core, slow path.

use super::runtime::IoSlot;
use fedgate_wire::MacAddr;
use std::collections::VecDeque;

/// An address as the link sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shown<A> {
    pub ifindex: u8,
    pub ip: A,
    pub mac: MacAddr,
    /// None: by no port now, so there is nobody to tell.
    pub slot: Option<IoSlot>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Announcements<A> {
    /// Of the last image, sorted.
    ours: Vec<Shown<A>>,
    /// Those of them that nobody was told of.
    waiting: VecDeque<Shown<A>>,
}

impl<A> Default for Announcements<A> {
    fn default() -> Self {
        Self { ours: Vec::new(), waiting: VecDeque::new() }
    }
}

impl<A: Copy + Ord> Announcements<A> {
    /// Takes a new image's addresses, sorted or nearly so; mostly they are the last one's.
    pub(super) fn adopt(&mut self, ours: impl Iterator<Item = Shown<A>>) {
        let mut ours: Vec<Shown<A>> = ours.filter(|shown| shown.slot.is_some()).collect();
        ours.sort_unstable();
        ours.dedup();
        if ours == self.ours {
            return;
        }
        let before = std::mem::replace(&mut self.ours, ours);
        self.waiting.retain(|shown| self.ours.binary_search(shown).is_ok());
        self.waiting.extend(self.ours.iter().filter(|shown| before.binary_search(shown).is_err()));
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The next to be announced: interface and address.
    pub(super) fn next(&mut self) -> Option<(u8, A)> {
        self.waiting.pop_front().map(|shown| (shown.ifindex, shown.ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    fn shown(ip: u32, mac: MacAddr, slot: IoSlot) -> Shown<u32> {
        Shown { ifindex: 0, mac, slot: Some(slot), ip }
    }

    fn told(all: &mut Announcements<u32>) -> Vec<u32> {
        std::iter::from_fn(|| all.next()).map(|(_, ip)| ip).collect()
    }

    #[test]
    fn what_looks_new_to_the_link_is_announced_once() {
        let mut all = Announcements::default();
        all.adopt([shown(1, MAC, 0), shown(2, MAC, 0)].into_iter());
        assert_eq!(told(&mut all), [1, 2]);
        all.adopt([shown(1, MAC, 0), shown(2, MAC, 0), shown(3, MAC, 0)].into_iter());
        assert_eq!(told(&mut all), [3]);
        all.adopt([shown(3, MAC, 0), shown(2, MAC, 0), shown(1, MAC, 0)].into_iter());
        assert!(told(&mut all).is_empty(), "the same in another order");
        all.adopt([shown(1, OTHER, 0), shown(2, MAC, 0), shown(3, MAC, 1)].into_iter());
        assert_eq!(told(&mut all), [1, 3], "another port, another MAC");
        all.adopt([Shown { slot: None, ..shown(2, MAC, 0) }].into_iter());
        assert!(told(&mut all).is_empty());
        all.adopt([shown(2, MAC, 0)].into_iter());
        assert_eq!(told(&mut all), [2], "its port has come");
    }

    #[test]
    fn what_waits_survives_the_next_image() {
        let mut all = Announcements::default();
        all.adopt([shown(1, MAC, 0), shown(2, MAC, 0), shown(3, MAC, 0)].into_iter());
        assert_eq!(all.next(), Some((0, 1)));
        all.adopt([shown(1, MAC, 0), shown(2, MAC, 0), shown(4, MAC, 0)].into_iter());
        assert_eq!(told(&mut all), [2, 4], "3 is ours no more");
        assert_eq!(all.len(), 0);
    }
}
