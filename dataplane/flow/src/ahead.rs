// SPDX-License-Identifier: MIT OR Apache-2.0
//! A look ahead at the first packets of a burst, so that the memory they need is near when they are dealt with.
//!
//! A new connection touches a dozen cache lines that nobody has touched for long, and to find its ACE a dozen more. One packet at a time
//! would wait for each; so the packets of a burst go through here together before [`Flow::admit_seen`] takes them one by
//! one. What is done ahead changes nothing: lines are asked for, those of the ports, addresses and entries that the packet will
//! most likely get, and what follows from packet and policy alone is found out: the decision of the ingress interface's ACL ([`Seen`]). So
//! admission is the same with it and without, whatever the packets of the burst do to each other. Worker cores; [`MOST`] packets
//! at a time, no allocation.

use crate::acl::{self, Decision};
use crate::firewall::Paths;
use crate::key::Key;
use crate::nat::Source;
use crate::{Flow, Policy};
use fedgate_acl::{Query, Scratch};
use fedgate_tables::policy::NONE;

/// Packets at a time.
pub const MOST: usize = 64;

/// What was found out about a packet.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// With its real destination, where a rule says what that is.
    real: Key,
    /// The ACL that was asked, or [`NONE`].
    acl: u32,
    decision: Decision,
}

impl Seen {
    /// What the ACL at `index` decides about `real`, where that is known.
    #[inline]
    pub(crate) fn decision(&self, index: u32, real: &Key) -> Option<Decision> {
        (self.acl == index && index != NONE && self.real == *real).then_some(self.decision)
    }
}

/// Room for the packets of a burst.
#[derive(Debug)]
pub struct Ahead {
    len: usize,
    keys: Box<[Key; MOST]>,
    seen: Box<[Seen; MOST]>,
    queries: Box<[Query<u32>; MOST]>,
    decisions: Box<[Decision; MOST]>,
    scratch: Box<Scratch>,
}

impl Default for Ahead {
    fn default() -> Self {
        let nothing = Seen { real: Key::default(), acl: NONE, decision: Decision::IMPLICIT_DENY };
        Self {
            len: 0,
            keys: Box::new([Key::default(); MOST]),
            seen: Box::new([nothing; MOST]),
            queries: Box::new([Query::default(); MOST]),
            decisions: Box::new([Decision::IMPLICIT_DENY; MOST]),
            scratch: Box::default(),
        }
    }
}

impl Ahead {
    /// Begins a burst.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// True where no packet waits to be looked at.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a TCP or UDP packet of no known connection; gives its number, [`MOST`] where there is no more room.
    #[inline]
    pub fn add(&mut self, key: Key) -> usize {
        let n = self.len;
        if let Some(place) = self.keys.get_mut(n) {
            *place = key;
            self.len += 1;
        }
        n
    }

    /// What was found out about the packet with this number.
    #[inline]
    pub fn seen(&self, n: usize) -> Option<&Seen> {
        self.seen.get(..self.len)?.get(n)
    }
}

impl Flow {
    /// Looks at the packets in `ahead`, which arrived on `in_if`. `fetch` starts to load the cache line at an address, which may be any;
    /// `fetch_counter` that of an ACE's counter slot.
    pub fn look_ahead(
        &self,
        ahead: &mut Ahead,
        in_if: u8,
        policy: &Policy<'_>,
        paths: &impl Paths,
        fetch: impl Fn(*const u8) + Copy,
        fetch_counter: impl Fn(u32),
    ) {
        let Ahead { len, keys, seen, queries, decisions, scratch } = ahead;
        let acl = policy.interfaces.get(usize::from(in_if)).map_or(NONE, |i| i.acl_in);
        for ((key, seen), query) in keys.iter().zip(&mut **seen).zip(&mut **queries).take(*len) {
            let un = policy.nat.untranslate(key, in_if);
            seen.real = un.map_or(*key, |un| Key { dst: un.addr, dport: un.port, ..*key });
            *query = acl::query(&seen.real, (0, 0));
        }
        let (queries, decisions) = (&queries[..*len], &mut decisions[..*len]);
        let asked = acl::classify_burst(policy, acl, queries, decisions, scratch, fetch);
        let mut passing = 0;
        for ((key, seen), decision) in keys.iter().zip(&mut **seen).zip(decisions) {
            (seen.acl, seen.decision) = (if asked { acl } else { NONE }, *decision);
            if asked && let Some(counter) = decision.counter {
                fetch_counter(counter);
            }
            if !asked || decision.permit {
                self.fetch_for(key, &seen.real, in_if, passing, policy, paths, fetch);
                passing += 1;
            }
        }
    }

    /// Asks for the lines of the `nth` connection from now, called as `key`, if it is made.
    fn fetch_for(
        &self,
        key: &Key,
        real: &Key,
        in_if: u8,
        nth: u32,
        policy: &Policy<'_>,
        paths: &impl Paths,
        fetch: impl Fn(*const u8) + Copy,
    ) {
        self.conns.fetch_fresh(nth, fetch);
        if real == key && policy.nat.is_shown(key.dst) {
            self.xlates.fetch_mapped(key.proto, key.dst, key.dport, fetch);
            return; // who knows whose it is
        }
        let Some(out_if) = paths.egress(real.dst) else { return };
        let shown = match policy.nat.source(real, in_if, out_if) {
            Source::Unchanged(_) => *real,
            Source::Fixed { addr, port, .. } => Key { src: addr, sport: port, ..*real },
            Source::Dynamic { rule } => {
                let pool = policy.nat.pool(rule);
                let Some(src) = pool.own.or_else(|| pool.nth(0)) else { return };
                self.xlates.fetch_new(nth, real, src, fetch);
                // Its own port, if that is free.
                Key { src, ..*real }
            }
        };
        let reply = Key { src: key.dst, sport: key.dport, ..shown.mirror() };
        if let Some(bucket) = self.conns.home(self.conns.hash(&reply)) {
            fetch(std::ptr::from_ref(bucket).cast());
        }
    }

    /// Asks for the lines of the connection and the xlate that are made after the next ones, where used ones are used again: those are a
    /// chain, each naming the next.
    pub fn fetch_next(&self, fetch: impl Fn(*const u8) + Copy) {
        self.conns.fetch_free(fetch);
        self.xlates.fetch_free(fetch);
    }
}
