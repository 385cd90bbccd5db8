// SPDX-License-Identifier: MIT OR Apache-2.0
//! `extended` PAT: a port is used once for each destination, so an address has 65,536 for every server.
//!
//! Such a mapping is endpoint-dependent, which is to say that it *is* the connection: nothing is kept beside the
//! connection table, and a port is free for a destination where the reply's tuple is of no connection. A host's pool address follows from its
//! own address (RFC 4787 REQ-2 without memory). Tries are bounded: with a port's share of 2 % free, one attempt in four
//! on an address fails, and the next address is tried. Worker cores, slow path.

use crate::Flow;
use crate::firewall::Paths;
use crate::key::{ICMP, Key, fold};
use crate::ports::Band;
use crate::xlate::Want;
use fedgate_tables::policy::{NAT_FLAT, NAT_INCLUDE_RESERVE};

/// Addresses that are tried for a packet, beside the interface's.
const ADDRESSES: u64 = 8;
/// Ports that are tried on each.
const PORTS: u32 = 64;
/// Free ports among them that may be passed over for one that the caller prefers.
const PREFERRED: u32 = 16;

impl Flow {
    /// The key that a packet of `want` leaves with; `None` where no free port was found.
    pub(crate) fn extended(&mut self, want: &Want<'_>, paths: &impl Paths) -> Option<Key> {
        let pool = &want.pool;
        let len = pool.size();
        let start = fold(u64::from(want.key.src), 0x9e37_79b9_7f4a_7c15);
        (0..len.min(ADDRESSES))
            .filter_map(|n| pool.nth(start.wrapping_add(n) % len))
            .chain(pool.own)
            .find_map(|addr| self.extended_on(addr, want, paths))
    }

    fn extended_on(&mut self, addr: u32, want: &Want<'_>, paths: &impl Paths) -> Option<Key> {
        let key = want.key;
        let mut found = None;
        let mut passed_over = 0;
        for attempt in 0..PORTS {
            let sport = match attempt {
                0 if wanted(want) => key.sport,
                _ => self.xlates.some_port(band(want), self.rng.next())?,
            };
            let shown = Key { src: addr, sport, ..*key };
            let reply = shown.mirror();
            if !self.xlates.is_free(key.proto, addr, sport)
                || self.conns.lookup(self.conns.hash(&reply), &reply).is_some()
            {
                continue;
            }
            if paths.prefers(&reply) {
                return Some(shown);
            }
            found.get_or_insert(shown);
            passed_over += 1;
            if passed_over == PREFERRED {
                break;
            }
        }
        found
    }
}

fn wanted(want: &Want<'_>) -> bool {
    let [first, last] = band(want).ports();
    (first..=last).contains(&want.key.sport)
}

/// The ports that a translation may have.
pub(crate) fn band(want: &Want<'_>) -> Band {
    let flag = |flag| want.pool.flags & flag != 0;
    match want.key.proto {
        ICMP => Band::All, // an identifier is no port
        _ if flag(NAT_FLAT) && flag(NAT_INCLUDE_RESERVE) => Band::All,
        _ if flag(NAT_FLAT) => Band::High,
        _ => Band::of(want.key.sport),
    }
}
