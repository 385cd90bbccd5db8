// SPDX-License-Identifier: MIT OR Apache-2.0
//! The reading end of the domain table: a worker's.
//!
//! `attach` runs once, on the housekeeping thread; the reader is then published to the workers, which share it by
//! reference. `lookup` runs once for a request that would open a dialog: no lock, no allocation, no waiting. Its cost is one hash pass over the
//! name and one probe a label. It holds on any bytes: a record that is not well-formed is as if it were not there,
//! which at worst denies a domain.

use super::hash::SuffixHasher;
use super::is_canonical;
use super::layout::{BLOCKED, BadTable, MAX_NAME, PERMITTED};
use super::table::{Probe, Table};
use crate::region::{Region, Shared};
use crate::words::Words;

/// What the table says of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "260 bytes on the stack once a dialog; a box would be an allocation"
)]
pub enum Listed {
    /// It may federate.
    Permitted {
        /// Its counter row.
        id: u32,
        /// The name that the peer's certificate must carry instead of the domain itself, where the entry pins one.
        peer: Option<PeerName>,
    },
    /// Explicitly not.
    Blocked {
        /// Its counter row.
        id: u32,
    },
    /// No entry speaks of it: not permitted.
    Unlisted,
}

/// A canonical name, copied out of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PeerName {
    bytes: [u8; MAX_NAME],
    len: u8,
}

impl PeerName {
    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        // Canonical names are ASCII, and only such are made.
        std::str::from_utf8(self.as_bytes()).unwrap_or("")
    }
}

impl std::fmt::Debug for PeerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PeerName({:?})", self.as_str())
    }
}

/// A domain table, read-only and shared by reference between workers.
#[derive(Debug)]
pub struct DomainReader<W = Region<Shared>> {
    table: Table<W>,
}

impl<W: Words> DomainReader<W> {
    /// Checks the header.
    ///
    /// # Errors
    /// Not a table of this layout, or sizes that do not fit the segment.
    pub fn attach(words: W) -> Result<Self, BadTable> {
        Ok(Self { table: Table::attach(words)? })
    }

    /// The table's generation, as its writer numbered it.
    pub fn generation(&self) -> u64 {
        self.table.geometry.generation
    }

    /// The segment.
    pub fn words(&self) -> &W {
        &self.table.words
    }

    /// What the table says of `canonical` ([`is_canonical`]; any other bytes are unlisted).
    pub fn lookup(&self, canonical: &[u8]) -> Listed {
        if !is_canonical(canonical) {
            return Listed::Unlisted;
        }
        let mut hasher = SuffixHasher::new(self.table.geometry.seed);
        let mut best = Listed::Unlisted;
        for (at, &byte) in canonical.iter().enumerate().rev() {
            if byte == b'.' {
                // The suffix after this dot, of which `canonical` is a strict subdomain. Longer suffixes come later
                // and win.
                if let Some(listed) = self.entry(hasher.finish(true), &canonical[at + 1..], true) {
                    best = listed;
                }
            }
            hasher.push(byte);
        }
        self.entry(hasher.finish(false), canonical, false).unwrap_or(best)
    }

    /// What one entry says; none if there is none in force.
    fn entry(&self, hash: u64, name: &[u8], wildcard: bool) -> Option<Listed> {
        let record = match self.table.probe(hash, name, wildcard) {
            Probe::Found { slot: _, record } => record,
            Probe::Vacant { .. } | Probe::Crowded => return None,
        };
        let state = self.table.state(&record);
        let id = record.shape.id;
        if state & BLOCKED != 0 {
            return Some(Listed::Blocked { id });
        }
        if state & PERMITTED == 0 {
            return None;
        }
        if record.shape.peer_len == 0 {
            return Some(Listed::Permitted { id, peer: None });
        }
        let mut bytes = [0; MAX_NAME];
        let len = self.table.peer(&record, &mut bytes);
        let peer = PeerName { bytes, len: len as u8 };
        is_canonical(peer.as_bytes()).then_some(Listed::Permitted { id, peer: Some(peer) })
    }
}
