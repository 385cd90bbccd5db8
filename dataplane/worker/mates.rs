// SPDX-License-Identifier: MIT OR Apache-2.0
//! The other workers of the process, and the rings to and from each of them.
//!
//! What belongs to another worker goes there as a [`Parcel`]: up to a burst of frames with one errand, so that the cost of
//! the ring is shared by as many frames as one burst brought for that mate. There is a ring for each ordered pair, with one
//! producer and one consumer: order within a flow is kept, and nobody's flood takes another's room. A full ring refuses, and the
//! caller drops by name. A worker takes its parcels once a loop, like a receive queue; no one ever waits.
//!
//! Beside them, as many rings carry word of media pinholes: who has which, so that its datagrams find their way.
//!
//! The rings are crossbeam's `ArrayQueue` (head and tail on lines of their own): well proven, and its two compare-and-swaps a parcel are
//! shared by the frames in it. Memory: at most [`ROOM`] parcels of 0.5 KiB a pair, and one open an errand and port. Lines that two cores write: the rings' own, and only while
//! something is handed over. Worker cores.

use super::runtime::IoSlot;
use crossbeam::queue::ArrayQueue;
use dpdk::{BURST, Burst, Mbuf};
use fedgate_flow::media::Entrance;
use std::collections::VecDeque;
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Parcels that may wait between two workers, at most.
pub const ROOM: usize = 64;
/// And at least.
const LEAST_ROOM: usize = 4;
/// News of media that may wait between two workers.
const NEWS_ROOM: usize = 1024;

/// Room of each ring so that all rings into one worker of `workers` hold no more than a quarter of `buffers`, full parcels all.
pub fn room(workers: u8, buffers: u32) -> usize {
    let rings = usize::from(workers).saturating_sub(1).max(1);
    (buffers as usize / 4 / (rings * BURST)).clamp(LEAST_ROOM, ROOM)
}

/// What is to be done with a parcel's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Received on the slot: theirs is the connection, or would be.
    Own,
    /// Received on the slot: fragments of datagrams that they collect.
    Collect,
    /// Received on the slot: an ARP or neighbour discovery message that all workers learn from, answered already.
    Learn,
    /// Finished frames for the slot's transmit queue, which is theirs.
    Send,
}

/// Frames on their way from one worker to another.
pub struct Parcel {
    /// What for.
    pub errand: Errand,
    /// The port that they came in by, or are to leave by.
    pub slot: IoSlot,
    /// At least one.
    pub frames: Burst,
}

struct Mate {
    to: Arc<ArrayQueue<Parcel>>,
    from: Arc<ArrayQueue<Parcel>>,
    tell: Arc<ArrayQueue<Entrance>>,
    hear: Arc<ArrayQueue<Entrance>>,
    /// Being filled: one for each errand and slot in hand, oldest first.
    open: VecDeque<Parcel>,
}

/// A worker's place among all of them.
pub struct Mates {
    me: u8,
    /// By number; none in its own place.
    mates: Vec<Option<Mate>>,
}

impl Mates {
    /// The only worker.
    pub fn none() -> Self {
        Self { me: 0, mates: vec![None] }
    }

    /// As many as there are to be workers, at most 255, in order, with room for so many parcels in each ring ([`room`]).
    pub fn crew(workers: u8, room: usize) -> Vec<Self> {
        fn rings<T>(workers: u8, room: usize) -> Vec<Vec<Arc<ArrayQueue<T>>>> {
            let row = || (0..workers).map(|_| Arc::new(ArrayQueue::new(room))).collect();
            (0..workers).map(|_| row()).collect()
        }
        let (parcels, news) = (rings(workers, room), rings(workers, NEWS_ROOM));
        let mate = |me: u8, other: u8| {
            let (me, other) = (usize::from(me), usize::from(other));
            let (to, from) = (parcels[me][other].clone(), parcels[other][me].clone());
            let (tell, hear) = (news[me][other].clone(), news[other][me].clone());
            (me != other).then_some(Mate { to, from, tell, hear, open: VecDeque::new() })
        };
        (0..workers)
            .map(|me| Self { me, mates: (0..workers).map(|other| mate(me, other)).collect() })
            .collect()
    }

    /// This worker's number.
    #[inline]
    pub fn me(&self) -> u8 {
        self.me
    }

    /// Workers there are, this one included.
    #[inline]
    pub fn count(&self) -> u8 {
        self.mates.len() as u8
    }

    /// Adds a frame to what is being put together for a mate. Gives what could not go: an earlier parcel for which the ring has no
    /// room, or the frame itself where there is no such mate.
    #[cold]
    pub fn pack(&mut self, to: u8, errand: Errand, slot: IoSlot, frame: Mbuf) -> Option<Burst> {
        let Some(Some(mate)) = self.mates.get_mut(usize::from(to)) else { return Some(alone(frame)) };
        let of_its_kind = |p: &Parcel| p.errand == errand && p.slot == slot;
        let Some(place) = mate.open.iter().position(of_its_kind) else {
            mate.open.push_back(Parcel { errand, slot, frames: alone(frame) });
            return None;
        };
        let parcel = &mut mate.open[place];
        let refused = if parcel.frames.is_full() {
            let frames = std::mem::take(&mut parcel.frames);
            mate.to.push(Parcel { errand, slot, frames }).err().map(|p| p.frames)
        } else {
            None
        };
        // It has room, or has been emptied.
        let _ = mate.open[place].frames.push(frame);
        refused
    }

    /// Sends a whole burst at once, past what is being packed (that is of other flows). Gives back what there is no room for.
    pub fn give(&mut self, to: u8, errand: Errand, slot: IoSlot, frames: Burst) -> Option<Burst> {
        match self.mates.get(usize::from(to)) {
            Some(Some(mate)) => mate.to.push(Parcel { errand, slot, frames }).err().map(|p| p.frames),
            _ => Some(frames),
        }
    }

    /// Sends what has been packed for `to`, and shows what there is no room for.
    #[inline]
    pub fn post(&mut self, to: u8, mut refused: impl FnMut(Burst)) {
        let Some(Some(mate)) = self.mates.get_mut(usize::from(to)) else { return };
        while let Some(parcel) = mate.open.pop_front() {
            if let Err(parcel) = mate.to.push(parcel) {
                refused(parcel.frames);
            }
        }
    }

    /// Tells all mates of a media entrance; gives how many had no room to hear it.
    #[cold]
    pub fn tell(&mut self, entrance: Entrance) -> u64 {
        let deaf = self.mates.iter().flatten().filter(|mate| mate.tell.push(entrance).is_err());
        deaf.count() as u64
    }

    /// What a mate tells next of its media entrances.
    #[inline]
    pub fn hear(&mut self, from: u8) -> Option<Entrance> {
        let mate = self.mates.get(usize::from(from))?.as_ref()?;
        if mate.hear.is_empty() { None } else { mate.hear.pop() }
    }

    /// The next parcel from a mate.
    #[inline]
    pub fn take(&mut self, from: u8) -> Option<Parcel> {
        let mate = self.mates.get(usize::from(from))?.as_ref()?;
        // A read of two lines that stay in this core's cache while nothing comes.
        if mate.from.is_empty() { None } else { mate.from.pop() }
    }
}

fn alone(frame: Mbuf) -> Burst {
    let mut burst = Burst::new();
    let _ = burst.push(frame); // into an empty one
    burst
}
