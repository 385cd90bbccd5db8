// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections that began and ended, noted for the log and for the export of NAT events: only where somebody wants them.
//!
//! Admission and ending put a [`Note`] here, the worker takes them out between bursts. There is room for [`ROOM`]; what finds none is counted
//! ([`Ledger::take_lost`]). Off, it costs a branch a connection, and nothing a packet. Worker cores; no allocation after the start.

use std::collections::VecDeque;

use fedgate_wire::Tuple6;

use crate::Tick;
use crate::conn::{Dir, Hot};
use crate::key::Key;
use crate::tcp::State;
use crate::v6::Hot6;

/// Notes that may wait.
pub const ROOM: usize = 4096;

/// Where a connection leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// As the initiator's packets arrive, and as they leave.
    V4(Key, Key),
    /// The same, for IPv6 is not translated.
    V6(Tuple6),
}

/// How a connection was when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// How long there was one.
    pub ticks: Tick,
    /// Of IP datagrams, both ways.
    pub bytes: u64,
    /// State of TCP.
    pub state: State,
    /// It was idle for too long; else it was ended.
    pub timed_out: bool,
}

/// A connection that began, or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Its number, as in `show conn`.
    pub serial: u64,
    /// Its ends.
    pub ends: Ends,
    /// Ingress and egress of the initiator's packets.
    pub iface: [u8; 2],
    /// From the lower security level.
    pub inbound: bool,
    /// How it ended; `None` where it began.
    pub end: Option<End>,
}

/// See the module.
#[derive(Default)]
pub struct Ledger {
    notes: VecDeque<Note>,
    lost: u64,
    on: bool,
}

impl Ledger {
    /// Says whether anything is to be noted. What was goes on to be told.
    pub fn switch(&mut self, on: bool) {
        self.on = on;
        if on {
            self.notes.reserve_exact(ROOM - self.notes.len());
        }
    }

    /// Whether anything is noted.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on
    }

    #[cold]
    pub(crate) fn note4(&mut self, hot: &Hot, serial: u32, created: Tick, ended: Option<(Tick, bool)>) {
        let end = ended.map(|(now, timed_out)| End {
            ticks: now.wrapping_sub(created),
            bytes: hot.bytes,
            state: hot.state,
            timed_out,
        });
        let ends = Ends::V4(hot.key(Dir::Forward), hot.leaves_as(Dir::Forward));
        self.note(Note { serial: serial.into(), ends, iface: hot.iface, inbound: hot.is_inbound(), end });
    }

    #[cold]
    pub(crate) fn note6(&mut self, hot: &Hot6, ended: Option<bool>) {
        // Until its last packet: what ends it has no clock at hand.
        let end = ended.map(|timed_out| End {
            ticks: hot.last.wrapping_sub(hot.created),
            bytes: hot.bytes,
            state: hot.state,
            timed_out,
        });
        let (ends, inbound) = (Ends::V6(hot.key()), hot.is_inbound());
        self.note(Note { serial: hot.serial, ends, iface: hot.iface, inbound, end });
    }

    fn note(&mut self, note: Note) {
        if self.notes.len() < ROOM {
            self.notes.push_back(note);
        } else {
            self.lost += 1;
        }
    }

    /// The next note, oldest first.
    pub fn take(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.notes.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// Notes that there was no room for, since this was last asked.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}
