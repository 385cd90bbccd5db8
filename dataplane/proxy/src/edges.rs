// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which foreign edges did not answer lately: they are called last for a while (RFC 3263 section 4.3 lets a client remember them).
//!
//! What one worker has seen, of connections that it tried itself; the others find out by themselves, at the cost of one time-out each.
//! At most [`MOST`] addresses: beyond that the oldest is forgotten, which costs nothing but another try.

use crate::api::Micros;
use crate::tcp::Addr;
use std::collections::VecDeque;

/// Addresses remembered.
const MOST: usize = 256;
/// For how long one is called last.
const SHUN: u64 = 60_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Edges {
    /// The oldest first.
    silent: VecDeque<(Addr, Micros)>,
}

impl Edges {
    /// It did not answer.
    pub(crate) fn lost(&mut self, addr: Addr, now: Micros) {
        self.met(addr);
        if self.silent.len() >= MOST {
            self.silent.pop_front();
        }
        self.silent.push_back((addr, now));
    }

    /// It has answered.
    pub(crate) fn met(&mut self, addr: Addr) {
        self.silent.retain(|(silent, _)| *silent != addr);
    }

    /// Whether it is to be called after all others.
    pub(crate) fn is_shunned(&self, addr: Addr, now: Micros) -> bool {
        self.silent.iter().any(|(silent, since)| *silent == addr && now.since(*since) < SHUN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_silent_is_shunned_for_a_while() {
        let mut edges = Edges::default();
        edges.lost((1, 5061), Micros(5));
        assert!(edges.is_shunned((1, 5061), Micros(SHUN)) && !edges.is_shunned((1, 5062), Micros(5)));
        assert!(!edges.is_shunned((1, 5061), Micros(SHUN + 5)));
        edges.lost((1, 5061), Micros(SHUN));
        edges.met((1, 5061));
        assert!(!edges.is_shunned((1, 5061), Micros(SHUN)));
        (0..2 * MOST as u32).for_each(|n| edges.lost((n, 5061), Micros(9)));
        assert_eq!(edges.silent.len(), MOST);
        assert!(
            edges.is_shunned((2 * MOST as u32 - 1, 5061), Micros(10))
                && !edges.is_shunned((0, 5061), Micros(10))
        );
    }
}
