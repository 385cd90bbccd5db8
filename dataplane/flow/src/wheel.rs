// SPDX-License-Identifier: MIT OR Apache-2.0
//! A hashed timer wheel over connection numbers: set, cancel and advance are O(1) a timer, whatever the count.
//!
//! A packet never touches it: it writes the connection's `last`, and when the wheel comes round the owner looks whether
//! the connection really is idle, else sets the timer again. Deadlines beyond the wheel's span wait in its last
//! slot and are set again from there. [`Wheel::due`] hands out one number at a time, so that the caller bounds the work of a
//! poll; what is left over is taken next time. Slots are doubly linked lists by number: 8 bytes a connection.

use crate::Tick;
use fedgate_tables::pages::Pages;
use zerocopy::FromZeros;

const SLOTS: u32 = 4096;
const NIL: u32 = u32::MAX;
/// `next` of a timer that is not set: zero, so that fresh memory is a wheel without timers.
const UNSET: u32 = 0;

#[derive(Clone, Copy, FromZeros)]
#[repr(C)]
struct Link {
    next: u32, // UNSET, NIL, or number + 1
    prev: u32, // number, or SLOT_BIT | slot where it is the head
}
const SLOT_BIT: u32 = 1 << 31;

/// See the module.
pub struct Wheel {
    heads: Vec<u32>,
    links: Pages<Link>,
    max: u32,
    hand: Tick,
}

impl Wheel {
    /// For numbers below `max`.
    pub fn new(max: u32) -> Self {
        assert!(max < SLOT_BIT - 1);
        Self { heads: vec![NIL; SLOTS as usize], links: Pages::new(max as usize), max, hand: 0 }
    }

    /// Arms (or re-arms) the timer of `n` to fire at `deadline`, at the earliest at the next tick. A deadline is at most a quarter
    /// of all ticks ahead (3.4 years), so that it never looks like one that has passed.
    pub fn set(&mut self, n: u32, deadline: Tick) {
        debug_assert!(n < self.max);
        self.cancel(n);
        // A deadline in the past wraps to a distance beyond any that is asked for: fire it at once.
        let distance = deadline.wrapping_sub(self.hand);
        let ahead = if distance > u32::MAX / 2 { 1 } else { distance.clamp(1, SLOTS - 1) };
        let slot = self.hand.wrapping_add(ahead) % SLOTS;
        let head = self.heads[slot as usize];
        let next = if head == NIL { NIL } else { head + 1 };
        self.links[n as usize] = Link { next, prev: SLOT_BIT | slot };
        if head != NIL {
            self.links[head as usize].prev = n;
        }
        self.heads[slot as usize] = n;
    }

    /// Asks for the line of `n`'s timer.
    #[inline]
    pub fn fetch(&self, n: u32, fetch: &mut impl FnMut(*const u8)) {
        fetch(self.links.as_ptr().wrapping_add(n as usize).cast());
    }

    /// Disarms the timer of `n`.
    pub fn cancel(&mut self, n: u32) {
        let Some(&Link { next, prev }) = self.links.get(n as usize) else { return };
        if next == UNSET {
            return;
        }
        let next = if next == NIL { NIL } else { next - 1 };
        if prev & SLOT_BIT != 0 {
            self.heads[(prev & !SLOT_BIT) as usize] = next;
        } else {
            self.links[prev as usize].next = if next == NIL { NIL } else { next + 1 };
        }
        if next != NIL {
            self.links[next as usize].prev = prev;
        }
        self.links[n as usize].next = UNSET;
    }

    /// The next number whose slot the hand has reached by `now`; `None` when the hand is at `now`.
    pub fn due(&mut self, now: Tick) -> Option<u32> {
        loop {
            let head = self.heads[(self.hand % SLOTS) as usize];
            if head != NIL {
                self.cancel(head);
                return Some(head);
            }
            if self.hand == now || now.wrapping_sub(self.hand) > u32::MAX / 2 {
                return None;
            }
            self.hand = self.hand.wrapping_add(1);
        }
    }
}
