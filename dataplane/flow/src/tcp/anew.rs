// SPDX-License-Identifier: MIT OR Apache-2.0
//! A connection that both its ends have forgotten, and that they open anew while its entry lives.
//!
//! The new SYN looks like any forged one: it is passed on for its receiver's challenge ACK. A receiver that knows of no
//! connection answers by SYN-ACK instead, and where that acknowledges the very SYN which was passed, it is the proof
//! (netfilter does the same): the windows, shifts and history of the old connection give way to the new one's.
//!
//! Whoever sends a SYN blindly cannot also answer it: the answer must arrive on the other side's interface. A connection
//! that comes and goes by one interface has no such proof, so the caller remembers none of its SYNs.
//! Worker cores, seldom. The caller keeps the SYN ([`crate::challenge`]); nothing here is kept.

use super::machine::{NO_SCALE, end_of, shifts};
use super::{ACK, RST, SYN, Segment, State, Track, Windows, data_bit, options, seen};

/// A bare SYN that was passed on for its receiver to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The initiator's.
    forward: bool,
    /// One past its last sequence number.
    end: u32,
    window: u16,
    len: u16,
    /// Window shift offered, or [`NO_SCALE`].
    scale: u8,
}

impl Asked {
    /// Of a segment with its option bytes; `None` where it is no bare SYN or its options are bad.
    pub fn of(s: &Segment, syn_options: &[u8], forward: bool) -> Option<Self> {
        let offered = options(syn_options).ok().filter(|_| s.flags & (SYN | ACK | RST) == SYN)?;
        let scale = offered.scale.unwrap_or(NO_SCALE);
        Some(Self { forward, end: end_of(s), window: s.window, len: s.len, scale })
    }

    /// Where a segment is the other side's acceptance of this SYN, makes the connection that of the two. False, with nothing
    /// changed, for any other.
    pub fn answered(&self, track: &mut Track<'_>, s: &Segment, syn_options: &[u8], forward: bool) -> bool {
        let accepts =
            s.flags & (SYN | ACK | RST) == SYN | ACK && s.ack == self.end && forward != self.forward;
        let Some(offered) = options(syn_options).ok().filter(|_| accepts) else { return false };
        let from = usize::from(!forward);
        let to = from ^ 1;
        *track.scale = offered.scale.unwrap_or(NO_SCALE) << (4 * from) | self.scale << (4 * to);
        let now = shifts(*track.scale);
        // Windows in SYNs are not shifted, later ones are.
        let units = |window: u16, side: usize| window.max(1).div_ceil(1 << (now >> (4 * side) & 15));
        let mut w = Windows::default();
        (w.end[to], w.ack[to], w.win[to]) = (self.end, s.seq, units(self.window, to));
        (w.end[from], w.ack[from], w.win[from]) = (end_of(s), s.ack, units(s.window, from));
        *track.windows = w;
        let acked = [seen::ACK_INITIATOR, seen::SYN_ACK][from];
        *track.history = seen::BOTH_SYNS | acked | data_bit(to, self.len) | data_bit(from, s.len);
        *track.state = State::SynReceived;
        true
    }
}
