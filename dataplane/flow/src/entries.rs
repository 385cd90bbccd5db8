// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the connection tables of both families do alike with all of their entries: list them, and follow interfaces that move.
//!
//! Both at an operator's pace. A listing goes on where the last part of it ended, so that no packet waits for it; interfaces move with a
//! policy, and then every live entry is looked at at once. Worker cores.

use crate::conn::{ConnId, NO_HOP};

/// An entry of a connection table.
pub(crate) trait Entry {
    /// In use.
    fn is_live(&self) -> bool;

    /// The interfaces of both directions, and the hops by which they leave.
    fn ways(&mut self) -> (&mut [u8; 2], &mut [u16; 2]);
}

/// Interfaces have new indices. Gives the connections that used one which is gone.
pub(crate) fn renumber<E: Entry>(entries: &mut [E], new_index: impl Fn(u8) -> Option<u8>) -> Vec<ConnId> {
    let mut gone = Vec::new();
    for (n, entry) in (0..).zip(entries).filter(|(_, entry)| entry.is_live()) {
        let (iface, hop) = entry.ways();
        match iface.map(&new_index) {
            [Some(forward), Some(reverse)] => *iface = [forward, reverse],
            _ => gone.push(ConnId(n)),
        }
        *hop = [NO_HOP; 2];
    }
    gone
}

/// Live connections from number `from` on: at most `max` found and `scan` looked at, and where to go on.
pub(crate) fn page<E: Entry>(
    entries: &[E],
    from: u32,
    max: usize,
    scan: usize,
    mut want: impl FnMut(&E) -> bool,
) -> (Vec<ConnId>, Option<u32>) {
    let mut found = Vec::new();
    let end = entries.len().min((from as usize).saturating_add(scan));
    for (n, entry) in (from..).zip(entries.get(from as usize..end).unwrap_or_default()) {
        if found.len() == max {
            return (found, Some(n));
        }
        if entry.is_live() && want(entry) {
            found.push(ConnId(n));
        }
    }
    (found, (end < entries.len()).then_some(end as u32))
}
