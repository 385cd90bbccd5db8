// SPDX-License-Identifier: MIT OR Apache-2.0
//! What each interface has of the neighbour table: entries not yet answered, and those that requests made, in the order in
//! which they were made.
//!
//! An entry that is used, or goes, stays in the order's queue until it comes to the front or the queue is twice as long as what
//! is alive in it; so forgetting costs nothing, and memory is bounded by what is alive. Called by [`super::Neighbours`] only.

use super::NextHop;
use std::collections::VecDeque;

/// Below this many, dead ones are left where they are.
const SMALL: usize = 64;

#[derive(Debug, Default)]
struct Link {
    incomplete: usize,
    learnt: usize,
    /// Oldest first; holds all that are learnt.
    order: VecDeque<NextHop>,
}

/// By interface index, which is small.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<Link>);

impl Links {
    pub(super) fn incomplete(&self, ifindex: u32) -> usize {
        self.0.get(ifindex as usize).map_or(0, |link| link.incomplete)
    }

    pub(super) fn learnt(&self, ifindex: u32) -> usize {
        self.0.get(ifindex as usize).map_or(0, |link| link.learnt)
    }

    /// The interface that has learnt most.
    pub(super) fn fullest(&self) -> Option<u32> {
        (0..self.0.len() as u32).max_by_key(|ifindex| self.learnt(*ifindex))
    }

    pub(super) fn add_incomplete(&mut self, ifindex: u32) {
        self.link(ifindex).incomplete += 1;
    }

    pub(super) fn sub_incomplete(&mut self, ifindex: u32) {
        self.link(ifindex).incomplete -= 1;
    }

    pub(super) fn add(&mut self, ifindex: u32, hop: NextHop) {
        let link = self.link(ifindex);
        link.learnt += 1;
        link.order.push_back(hop);
    }

    /// One is learnt no more: used, or gone.
    pub(super) fn forget(&mut self, ifindex: u32) {
        self.link(ifindex).learnt -= 1;
    }

    /// The oldest that is alive.
    pub(super) fn oldest(&mut self, ifindex: u32, is_alive: impl Fn(NextHop) -> bool) -> Option<NextHop> {
        let order = &mut self.link(ifindex).order;
        std::iter::from_fn(|| order.pop_front()).find(|hop| is_alive(*hop))
    }

    /// Clears dead ones out where they are most.
    pub(super) fn tidy(&mut self, ifindex: u32, is_alive: impl Fn(NextHop) -> bool) {
        let link = self.link(ifindex);
        if link.order.len() > 2 * link.learnt + SMALL {
            link.order.retain(|hop| is_alive(*hop));
        }
    }

    fn link(&mut self, ifindex: u32) -> &mut Link {
        let place = ifindex as usize;
        if self.0.len() <= place {
            self.0.resize_with(place + 1, Link::default);
        }
        &mut self.0[place]
    }
}
