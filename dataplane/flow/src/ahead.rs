// SPDX-License-Identifier: MIT OR Apache-2.0
//! A look ahead at the first packets of a burst, so that the memory they need is near when they are dealt with.
//!
//! A new connection touches a dozen cache lines that nobody has touched for long, and to find its ACE a dozen more. One packet at a time
//! would wait for each; so the packets of a burst go through here together before [`Flow::admit_seen`] takes them one by
//! one. What is done ahead changes nothing: lines are asked for, those of the ports, addresses and entries that the packet will
//! most likely get, and what follows from packet and policy alone is found out ([`Seen`]): the decision of the ingress interface's ACL, the
//! way out, the rule that shows the source. So admission is the same with it and without, whatever the packets of the burst do to each other. Worker cores; [`MOST`] packets
//! at a time, no allocation.

use crate::acl::{self, Decision};
use crate::firewall::{self, Paths};
use crate::key::Key;
use crate::nat::Source;
use crate::{Flow, Policy};
use fedgate_acl::{Query, Scratch};
use fedgate_tables::policy::NONE;
use std::ptr::without_provenance;

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
    /// The ACL has the last word about it, and denies it: see [`Flow::denies`].
    denied: bool,
    /// [`Self::passes_by`].
    passes_by: bool,
    /// [`Self::egress`].
    egress: Option<u8>,
    /// [`Self::source`], by this interface.
    source: Option<(u8, Source)>,
}

impl Seen {
    /// True where `key` is seen to be neither to an address of ours nor to one that NAT shows anywhere.
    #[inline]
    pub(crate) fn passes_by(&self, key: &Key) -> bool {
        self.passes_by && self.real == *key
    }

    /// The way to the destination of `real`, where that is known.
    #[inline]
    pub(crate) fn egress(&self, real: &Key) -> Option<u8> {
        self.egress.filter(|_| self.real == *real)
    }

    /// How the source of `real` is shown on `mapped_if`, where that is known.
    #[inline]
    pub(crate) fn source(&self, real: &Key, mapped_if: u8) -> Option<Source> {
        self.source.filter(|(out, _)| *out == mapped_if && self.real == *real).map(|(_, source)| source)
    }

    /// What the ACL at `index` decides about `real`, where that is known.
    #[inline]
    pub(crate) fn decision(&self, index: u32, real: &Key) -> Option<Decision> {
        (self.acl == index && index != NONE && self.real == *real).then_some(self.decision)
    }
}

/// Cache lines that admission will most likely need of a packet.
#[derive(Clone, Copy, Debug)]
struct Lines {
    at: [usize; MOST_LINES],
    len: usize,
}

/// Two buckets of connections, an entry with its clock, two buckets of xlates, one of those, a word of ports.
const MOST_LINES: usize = 9;

impl Lines {
    const NONE: Self = Self { at: [0; MOST_LINES], len: 0 };

    #[inline]
    fn add(&mut self, line: *const u8) {
        if let Some(place) = self.at.get_mut(self.len) {
            *place = line.addr();
            self.len += 1;
        }
    }

    #[inline]
    fn iter(&self) -> impl Iterator<Item = *const u8> {
        self.at.iter().take(self.len).map(|line| without_provenance(*line))
    }
}

/// Room for the packets of a burst.
#[derive(Debug)]
pub struct Ahead {
    len: usize,
    lines: Box<[Lines; MOST]>,
    keys: Box<[Key; MOST]>,
    seen: Box<[Seen; MOST]>,
    queries: Box<[Query<u32>; MOST]>,
    decisions: Box<[Decision; MOST]>,
    scratch: Box<Scratch>,
}

impl Default for Ahead {
    fn default() -> Self {
        let nothing = Seen {
            real: Key::default(),
            acl: NONE,
            decision: Decision::IMPLICIT_DENY,
            denied: false,
            passes_by: false,
            egress: None,
            source: None,
        };
        Self {
            len: 0,
            lines: Box::new([Lines::NONE; MOST]),
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

    /// Where the lines are that were asked for on behalf of the packet with this number: asked for early, they are near by now, and may be fetched
    /// nearer when their packet's turn is next.
    #[inline]
    pub fn lines(&self, n: usize) -> impl Iterator<Item = *const u8> {
        self.lines.iter().take(self.len).skip(n).take(1).flat_map(Lines::iter)
    }

    /// What was found out about the packet with this number.
    #[inline]
    pub fn seen(&self, n: usize) -> Option<&Seen> {
        self.seen.get(..self.len)?.get(n)
    }
}

impl Flow {
    /// The decision that keeps a bare SYN or UDP datagram with hops left from being admitted, whatever else is true of what it was `seen` to be,
    /// and that is told without a line's `log`: [`Flow::admit_seen`] would drop it for its ACL, and do no more than book this. `key` and
    /// `in_if` are the packet's.
    #[inline]
    pub fn denies<'a>(&self, seen: &'a Seen, key: &Key, in_if: u8) -> Option<&'a Decision> {
        // No ACL is asked about what passes through a pinhole, which may be there since a moment ago.
        let through = || seen.egress.is_some_and(|out_if| self.hole(key, key, in_if, out_if).is_some());
        (seen.denied && seen.real == *key && !through()).then_some(&seen.decision)
    }

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
        let Ahead { len, lines, keys, seen, queries, decisions, scratch } = ahead;
        let acl = policy.interfaces.get(usize::from(in_if)).map_or(NONE, |i| i.acl_in);
        for ((key, seen), query) in keys.iter().zip(&mut **seen).zip(&mut **queries).take(*len) {
            let un = policy.nat.untranslate(key, in_if);
            seen.real = un.map_or(*key, |un| Key { dst: un.addr, dport: un.port, ..*key });
            seen.passes_by = un.is_none()
                && !policy.nat.is_shown(key.dst)
                && policy.interfaces.iter().all(|own| own.addr != key.dst);
            seen.egress = paths.egress(seen.real.dst);
            *query = acl::query(&seen.real, (0, 0));
        }
        let (queries, decisions) = (&queries[..*len], &mut decisions[..*len]);
        let asked = acl::classify_burst(policy, acl, queries, decisions, scratch, fetch);
        let mut passing = 0;
        for (((key, seen), decision), lines) in keys.iter().zip(&mut **seen).zip(decisions).zip(&mut **lines)
        {
            lines.len = 0;
            (seen.acl, seen.decision) = (if asked { acl } else { NONE }, *decision);
            if asked && let Some(counter) = decision.counter {
                fetch_counter(counter);
            }
            seen.denied =
                asked && seen.passes_by && seen.egress.is_some() && firewall::is_last_word(decision, policy);
            seen.source = None;
            if !asked || decision.permit {
                self.find_lines(key, seen, in_if, passing, policy, lines);
                lines.iter().for_each(fetch);
                passing += 1;
            }
        }
    }

    /// Finds the lines of the `nth` connection from now, called as `key`, if it is made.
    fn find_lines(
        &self,
        key: &Key,
        seen: &mut Seen,
        in_if: u8,
        nth: u32,
        policy: &Policy<'_>,
        lines: &mut Lines,
    ) {
        let fetch = &mut |line| lines.add(line);
        self.conns.fetch_fresh(nth, fetch);
        let real = &seen.real;
        if real == key && !seen.passes_by {
            self.xlates.fetch_mapped(key.proto, key.dst, key.dport, fetch);
            return; // who knows whose it is
        }
        let Some(out_if) = seen.egress else { return };
        let source = policy.nat.source(real, in_if, out_if);
        let shown = match source {
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
        seen.source = Some((out_if, source));
        let reply = Key { src: key.dst, sport: key.dport, ..shown.mirror() };
        if let Some(bucket) = self.conns.home(self.conns.hash(&reply)) {
            fetch(std::ptr::from_ref(bucket).cast());
        }
    }

    /// Asks for the lines of the connection and the xlate that are made after the next ones, where used ones are used again: those are a
    /// chain, each naming the next.
    pub fn fetch_next(&self, mut fetch: impl FnMut(*const u8)) {
        self.conns.fetch_free(&mut fetch);
        self.xlates.fetch_free(&mut fetch);
    }
}
