// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who hears how far a burst has come: nobody in the appliance, a stop-watch in the benches.
//!
//! The stages are generic over it, so that the worker's own loop, which gives `()`, has no trace of it in its code.

/// A pass over the burst that is done, in the order of the passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Interface found, headers checked and read, hashes made, buckets of the connection table asked for.
    Read,
    /// Entries of the connection table asked for.
    Fetch,
    /// Connections compared; booked, translated, addressed and put into the port's buffer, which is sent where it is full.
    Act,
}

impl Pass {
    /// All, in order.
    pub const ALL: [Pass; 3] = [Pass::Read, Pass::Fetch, Pass::Act];

    /// What a table of passes calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Pass::Read => "read",
            Pass::Fetch => "fetch",
            Pass::Act => "act",
        }
    }
}

/// Hears of each pass; called on the worker's core, between the passes.
pub trait Probe {
    /// `pass` is done for the whole burst.
    fn done(&mut self, pass: Pass);
}

/// Hears nothing.
impl Probe for () {
    #[inline(always)]
    fn done(&mut self, _pass: Pass) {}
}
