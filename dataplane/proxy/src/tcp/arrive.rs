// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a segment does to a connection, state by state (RFC 9293 3.10.7), with RFC 5961 against forged ones.
//!
//! Nothing is sent from here: what is owed is noted, and goes with the next [`Endpoint::output`].

use super::send::Ack;
use super::{Endpoint, Owes, State, TIME_WAIT};
use crate::Micros;
use smoltcp::wire::{TcpControl, TcpRepr};

impl Endpoint {
    /// A segment in LISTEN.
    pub(super) fn called(&mut self, it: &TcpRepr<'_>, seq: u32, ack: Option<u32>) {
        match (it.control, ack) {
            (TcpControl::Syn, None) => {
                self.meet(it, seq);
                self.state = State::SynReceived;
                self.owes.syn = true;
            }
            (TcpControl::Rst, _) | (_, None) => {}
            (_, Some(ack)) => self.owes.reset = Some(ack),
        }
    }

    /// A segment in SYN-SENT.
    pub(super) fn answered(&mut self, now: Micros, it: &TcpRepr<'_>, seq: u32, ack: Option<u32>) {
        let ours = ack.map(|ack| self.send.is_of_syn(ack));
        match (it.control, ours) {
            (TcpControl::Rst, Some(true)) => self.state = State::Closed,
            (TcpControl::Rst, _) => {}
            (_, Some(false)) => self.owes.reset = ack,
            (TcpControl::Syn, Some(true)) => {
                self.meet(it, seq);
                self.send.syn_acked(now);
                self.state = State::Open;
                self.owes.ack = true;
            }
            // Both called at once.
            (TcpControl::Syn, None) => {
                self.meet(it, seq);
                self.state = State::SynReceived;
                self.owes.syn = true;
            }
            _ => {}
        }
    }

    fn meet(&mut self, it: &TcpRepr<'_>, seq: u32) {
        self.receive.meet(seq, it.window_scale.is_some());
        self.send.meet(it.max_seg_size, it.window_scale, it.window_len, seq);
    }

    /// A segment in any of the synchronized states (RFC 9293 3.10.7.4), or SYN-RECEIVED.
    pub(super) fn arrives(&mut self, now: Micros, it: &TcpRepr<'_>, seq: u32, ack: Option<u32>, room: usize) {
        let fin = it.control == TcpControl::Fin;
        if it.control == TcpControl::Syn {
            // In SYN-RECEIVED the peer has not had our answer; later it is a challenge's business (RFC 5961 section 4).
            match self.state {
                State::SynReceived if seq.wrapping_add(1) == self.receive.nxt() => self.owes.syn = true,
                _ => self.owes.ack = true,
            }
            return;
        }
        let len = it.payload.len() as u32 + u32::from(fin);
        if !self.receive.is_in_window(seq, len) {
            self.owes.ack |= it.control != TcpControl::Rst;
            if let State::TimeWait(_) = self.state
                && fin
            {
                self.state = State::TimeWait(now.after(TIME_WAIT));
            }
            return;
        }
        if it.control == TcpControl::Rst {
            // Only the very next number resets (RFC 5961 section 3).
            if seq == self.receive.nxt() {
                (self.state, self.owes) = (State::Closed, Owes::default());
            } else {
                self.owes.ack = true;
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
        if !self.send.acked(Ack { seq, ack, window: it.window_len, carries: len > 0 }, now) {
            self.owes.ack = true;
            return;
        }
        if len > 0 {
            self.owes.ack = true;
            self.receive.take(seq, it.payload, fin, room);
            self.they_first |= self.receive.ended() && !self.send.is_finished();
        }
        if self.state == State::Open && self.send.fin_acked() && self.receive.ended() {
            self.state = if self.they_first { State::Closed } else { State::TimeWait(now.after(TIME_WAIT)) };
        }
    }
}
