// SPDX-License-Identifier: MIT OR Apache-2.0
//! How losses are repaired with a peer that says what it has (RFC 6675): what it holds is not repeated, and what is lost is as soon as the
//! network has room for it, several segments a round trip if need be.
//!
//! A timeout begins again from the oldest unacknowledged byte, leaving out what the peer holds; at a second in a row, or where the peer no longer has
//! what it said, nothing of that is believed any more (RFC 2018 section 8: it may have thrown it away). Buffers are kept until what is in them is acknowledged
//! for good. Not done: the rescue of RFC 6675's rule 4, and probes of a lost tail (RFC 8985); the timer sees to both.

use super::{Chunk, DUPLICATES, Sender};
use crate::Micros;
use crate::tcp::before;

impl Sender {
    /// Takes in a block of what the peer has; true when it is news.
    pub(in crate::tcp) fn note(&mut self, block: (u32, u32)) -> bool {
        self.sacks && self.board.note(self.una, self.max, block)
    }

    /// A loss is being repaired by what the peer says it has.
    pub(super) fn is_by_board(&self) -> bool {
        self.recovers && self.sacks
    }

    /// RFC 6675 section 5, (2) to (4): begins to repair where enough has come past a gap.
    pub(super) fn look_for_loss(&mut self) {
        let lost = self.duplicates >= DUPLICATES || self.board.lost_below(self.una, self.mss) != self.una;
        if self.recovers || self.board.is_empty() || !lost || before(self.una, self.lost) {
            return;
        }
        self.ssthresh = (self.flight() / 2).max(2 * u32::from(self.mss));
        self.cwnd = self.ssthresh;
        (self.lost, self.recovers, self.again, self.repeated) = (self.max, true, true, self.una);
    }

    /// NextSeg of RFC 6675: what is lost, then what was never sent, then what may be lost; each as long as the network has room.
    pub(super) fn next_by_board(&mut self, now: Micros) -> Option<Chunk> {
        if before(self.repeated, self.una) {
            self.repeated = self.una;
        }
        let edge = self.board.lost_below(self.una, self.mss);
        let pipe = self.board.pipe(self.una, self.max, edge, self.repeated);
        let allowed = self.cwnd.saturating_sub(pipe);
        if allowed < self.mss.into() {
            return None;
        }
        let hole = self.board.hole(self.una, self.repeated);
        if let Some((from, to)) = hole
            && before(from, edge)
        {
            return Some(self.repeat(from, to, now));
        }
        if let Some(chunk) = self.fresh(allowed, now) {
            return Some(chunk);
        }
        hole.map(|(from, to)| self.repeat(from, to, now))
    }

    /// What is sent again after a timeout leaves out what the peer has.
    pub(super) fn skip_held(&mut self) {
        while before(self.nxt, self.max)
            && let Some(end) = self.board.held_until(self.una, self.nxt)
        {
            self.nxt = end;
        }
    }

    /// A timeout: whether the peer still has what it said is not sure.
    pub(super) fn doubt(&mut self) {
        if self.backoff > 1 || self.board.held_until(self.una, self.una).is_some() {
            self.board.clear();
        }
    }
}
