// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a segment does to a connection, state by state (RFC 9293 3.10.7), with RFC 5961 against forged ones.
//!
//! Nothing is sent from here: what is owed is noted, and goes with the next [`Endpoint::output`].

use super::segment::{Control, Segment};
use super::send::Ack;
use super::{Endpoint, Owes, State, TIME_WAIT};
use crate::Micros;

/// By so many of the same a sender knows that a segment is lost (RFC 5681 3.2).
const DUPLICATES: u8 = 3;

/// So many challenges in so long, microseconds: RFC 5961's own example.
const CHALLENGES: u8 = 10;
const CHALLENGE_WINDOW: u64 = 5_000_000;

impl Endpoint {
    /// A segment in LISTEN.
    pub(super) fn called(&mut self, it: &Segment<'_>) {
        match (it.control, it.ack) {
            (Control::Syn, None) => {
                self.meet(it);
                self.state = State::SynReceived;
                self.owes.syn = true;
            }
            (Control::Rst, _) | (_, None) => {}
            (_, Some(ack)) => self.owes.reset = Some(ack),
        }
    }

    /// A segment in SYN-SENT.
    pub(super) fn answered(&mut self, now: Micros, it: &Segment<'_>) {
        let ours = it.ack.map(|ack| self.send.is_of_syn(ack));
        match (it.control, ours) {
            (Control::Rst, Some(true)) => self.state = State::Closed,
            (Control::Rst, _) => {}
            (_, Some(false)) => self.owes.reset = it.ack,
            (Control::Syn, Some(true)) => {
                self.meet(it);
                self.send.syn_acked(now);
                self.state = State::Open;
                self.owes.ack = true;
            }
            // Both called at once.
            (Control::Syn, None) => {
                self.meet(it);
                self.state = State::SynReceived;
                self.owes.syn = true;
            }
            _ => {}
        }
    }

    fn meet(&mut self, it: &Segment<'_>) {
        let offer = it.offer();
        self.receive.meet(it.seq, offer.scale.is_some(), offer.sacks);
        self.send.meet(offer, it.window, it.seq);
    }

    /// Answers what may be forged, so often and no more (RFC 5961 section 7): whoever forges would make us send as much as he does. Counted by
    /// connection, for a count that all share tells one peer of another's (CVE-2016-5696).
    fn challenge(&mut self, now: Micros) {
        let window = (now.0 / CHALLENGE_WINDOW) as u32;
        if self.challenged.0 != window {
            self.challenged = (window, 0);
        }
        if self.challenged.1 < CHALLENGES {
            self.challenged.1 += 1;
            self.owes.ack = true;
        }
    }

    /// A segment in any of the synchronized states (RFC 9293 3.10.7.4), or SYN-RECEIVED.
    pub(super) fn arrives(&mut self, now: Micros, it: &Segment<'_>, room: usize) {
        let Segment { seq, ack, .. } = *it;
        let fin = it.control == Control::Fin;
        if it.control == Control::Syn {
            // In SYN-RECEIVED the peer has not had our answer; later it is a challenge's business (RFC 5961 section 4).
            match self.state {
                State::SynReceived if seq.wrapping_add(1) == self.receive.nxt() => self.owes.syn = true,
                _ => self.challenge(now),
            }
            return;
        }
        let len = it.payload.len() as u32 + u32::from(fin);
        if !self.receive.is_in_window(seq, len) {
            self.owes.ack |= it.control != Control::Rst;
            if let State::TimeWait(_) = self.state
                && fin
            {
                self.state = State::TimeWait(now.after(TIME_WAIT));
            }
            return;
        }
        if it.control == Control::Rst {
            // Only the very next number resets (RFC 5961 section 3).
            if seq == self.receive.nxt() {
                (self.state, self.owes) = (State::Closed, Owes::default());
            } else {
                self.challenge(now);
            }
            return;
        }
        let Some(ack) = ack else { return };
        if self.state == State::SynReceived {
            if !self.send.is_of_syn(ack) {
                self.owes.reset = Some(ack);
                return;
            }
            self.send.syn_acked(now);
            self.state = State::Open;
        }
        let news = it.sacks().fold(false, |news, block| self.send.note(block) | news);
        if !self.send.acked(Ack { seq, ack, window: it.window, carries: len > 0, news }, now) {
            self.challenge(now);
            return;
        }
        if len > 0 {
            if self.receive.take(now, seq, it.payload, fin, room) {
                let counted = self.receive.has_gap() && !self.receive.tells_gaps();
                if self.owes.ack && counted {
                    self.owes.more = (self.owes.more + 1).min(DUPLICATES);
                }
                self.owes.ack = true;
            }
            self.they_first |= self.receive.ended() && !self.send.is_finished();
        }
        if self.state == State::Open && self.send.fin_acked() && self.receive.ended() {
            self.state = if self.they_first { State::Closed } else { State::TimeWait(now.after(TIME_WAIT)) };
        }
    }
}
