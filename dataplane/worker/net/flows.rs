// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tells control of connections that began and ended: the notes of [`fedgate_flow::ledger`], in batches.
//!
//! A batch goes when it is full or [`HOLD_MS`] old. Batches have a rate of their own; what is above it, and what housekeeping has no
//! room for, is counted by connections ([`Stat::FlowNotesLost`]). Worker core, between bursts; without notes it is one look.

use fedgate_flow::ledger::{Ends, Note};
use fedgate_flow::tcp::State;
use fedgate_flow::{TICKS, key};
use fedgate_tables::counters::Stat;
use fedgate_tables::link::{Addr, Event, FlowEnd, FlowNote, MAX_NOTES, Over, Place};

use super::{LogKind, Net};
use crate::worker::clock::Now;

/// How long a note waits for others.
const HOLD_MS: u64 = 50;

impl Net {
    /// Tells what is due; once a loop.
    #[inline]
    pub fn tell_flows(&mut self, now: Now) {
        let waiting = self.flow.ledger.len();
        if waiting > 0 && (waiting >= MAX_NOTES || now.millis() >= self.flows_due) {
            self.flows_due = now.millis() + HOLD_MS;
            self.tell_batch(now);
        }
    }

    #[cold]
    fn tell_batch(&mut self, now: Now) {
        let mut lost = self.flow.ledger.take_lost();
        if !self.log[LogKind::Flows as usize].take(now.millis()) {
            lost += (0..MAX_NOTES).map_while(|_| self.flow.ledger.take()).count() as u64;
            return self.counters.add(Stat::FlowNotesLost, lost);
        }
        let mut notes = Vec::with_capacity(MAX_NOTES);
        while notes.len() < MAX_NOTES
            && let Some(note) = self.flow.ledger.take()
        {
            notes.push(link_note(&note, |serial, is_v6| self.conn_number(serial, is_v6)));
        }
        let count = notes.len() as u64;
        if !self.events.put(Event::Flows { notes }) {
            lost += count;
        }
        self.counters.add(Stat::FlowNotesLost, lost);
    }
}

fn link_note(note: &Note, number: impl Fn(u32, bool) -> u64) -> FlowNote {
    let place = |addr: Addr, port| Place(addr, port);
    let (proto, is_v6, [src, dst, shown_src, real_dst]) = match note.ends {
        Ends::V4(arrives, leaves) => {
            let v4 = |addr: u32, port| place(Addr::V4(addr), port);
            let ends = [
                v4(arrives.src, arrives.sport),
                v4(arrives.dst, arrives.dport),
                v4(leaves.src, leaves.sport),
                v4(leaves.dst, leaves.dport),
            ];
            (arrives.proto, false, ends)
        }
        Ends::V6(tuple) => {
            let [src, dst] = [(tuple.src, tuple.sport), (tuple.dst, tuple.dport)]
                .map(|(addr, port)| place(Addr::V6(addr.into()), port));
            (tuple.proto, true, [src, dst, src, dst])
        }
    };
    let end = note.end.map(|end| FlowEnd {
        seconds: end.ticks / TICKS,
        bytes: end.bytes,
        over: match (proto == key::TCP, end.state) {
            (true, State::Closed) => Over::Fin,
            (true, State::Reset) => Over::Reset,
            (true, State::SynSent | State::SynReceived) if end.timed_out => Over::SynTimeout,
            (true, State::HalfClosed) if end.timed_out => Over::FinTimeout,
            (_, _) if end.timed_out => Over::Idle,
            (_, _) => Over::Ended,
        },
    });
    FlowNote {
        id: number(note.serial as u32, is_v6),
        proto,
        in_if: note.iface[0],
        out_if: note.iface[1],
        inbound: note.inbound,
        src,
        dst,
        shown_src,
        real_dst,
        end,
    }
}
