// SPDX-License-Identifier: MIT OR Apache-2.0
//! The federated-domain table: one shared segment, changed in place by control while every worker reads it.
//!
//! An open-addressing hash table of atomic slots over a heap of records (`layout.rs`). A record never changes once a
//! slot points at it, but for its state word (permitted, blocked); so an entry changes by one atomic store, and a
//! reader sees the table before or after it, never between. Readers take no lock and never wait; they check every
//! offset and length they read, so whatever bytes stand in the segment, a lookup ends and stays inside.
//!
//! - [`DomainWriter`] (control, one at a time): `create`, `adopt`, `permit`, `block`, `remove`, `grow`. It keeps nothing that
//!   the segment does not hold, so a writer that died at any store leaves a table that the next one adopts.
//! - [`DomainReader`] (workers): `attach` once, `lookup` a request.
//!
//! Semantics: exact beats wildcard, longest wildcard first, block beats permit at equal length; `*.x` is one or more
//! labels under x and never x. An id names one (name, wildcard) for the life of the dataplane's counters: it is
//! never given to another, and a removed name that comes back gets its id and its counts back. At most [`MAX_DOMAINS`].

mod hash;
mod layout;
mod reader;
mod table;
mod writer;

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;

pub use layout::{BadTable, MAX_DOMAINS, MAX_NAME};
pub use reader::{DomainReader, Listed, PeerName};
pub use writer::{DomainError, DomainWriter, Entry, List};

/// Whether `name` has the form in which names are stored and looked up: 1..=253 bytes of printable ASCII without
/// upper case, no empty label (so no dot at either end) and no `*`. IP literals pass; what a name may
/// be beyond that is `fedgate-sip`'s matter.
pub fn is_canonical(name: &[u8]) -> bool {
    let printable = |b: &u8| b.is_ascii_graphic() && !b.is_ascii_uppercase() && *b != b'*';
    !name.is_empty()
        && name.len() <= MAX_NAME
        && name.iter().all(printable)
        && name.split(|&b| b == b'.').all(|label| !label.is_empty())
}
