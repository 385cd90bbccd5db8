// SPDX-License-Identifier: MIT OR Apache-2.0
//! Segments against a slow twin, honest endpoints on a bad network, forgeries, and the RFCs' cases by name.

mod cases;
mod endpoints;
mod twin;

use super::{Asked, Outcome, Segment, State, Track, Windows, segment};
use fedgate_tables::drops::DropReason;

/// A connection as its entry keeps it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Entry {
    state: State,
    history: u8,
    scale: u8,
    windows: Windows,
    /// The SYN that was challenged last.
    asked: Option<Asked>,
}

impl Entry {
    fn segment(&mut self, s: &Segment, options: &[u8], forward: bool) -> Result<Outcome, DropReason> {
        let Self { state, history, scale, windows, asked } = self;
        let mut track = Track { state, history, scale, windows };
        let outcome = segment(&mut track, s, options, forward)?;
        if outcome == Outcome::Challenge {
            if asked.is_some_and(|asked| asked.answered(&mut track, s, options, forward)) {
                *asked = None;
                return Ok(Outcome::Moved);
            }
            *asked = Asked::of(s, options, forward).or(*asked);
        }
        Ok(outcome)
    }
}
