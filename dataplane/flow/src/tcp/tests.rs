// SPDX-License-Identifier: MIT OR Apache-2.0
//! Segments against a slow twin, honest endpoints on a bad network, forgeries, and the RFCs' cases by name.

mod cases;
mod endpoints;
mod twin;

use super::{Outcome, Segment, State, Track, Windows, segment};
use fedgate_tables::drops::DropReason;

/// A connection as its entry keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    state: State,
    history: u8,
    scale: u8,
    windows: Windows,
}

impl Entry {
    fn segment(&mut self, s: &Segment, options: &[u8], forward: bool) -> Result<Outcome, DropReason> {
        let Self { state, history, scale, windows } = self;
        segment(&mut Track { state, history, scale, windows }, s, options, forward)
    }
}
