// SPDX-License-Identifier: MIT OR Apache-2.0
//! First-match classification of a connection's first packet, as an ASA of 8.3 and later sees it: real addresses.
//!
//! [`Acls`] holds each ACL of a policy compiled (fedgate-acl), IPv4 and IPv6 apart. The housekeeping thread makes one for each policy from
//! the one before: ACLs are the same by name, an unchanged one is shared and costs a comparison, a few changed
//! elements cost a millisecond or two, much else a new build (0.4 s for 100,000 ACEs). The old `Acls` stays valid for workers
//! that are still on the old policy. Counters stay with the ACE ([`Ace::counter`]), so they know nothing of this.
//!
//! Worker cores classify, slow path: only a connection's first packet comes here.

use crate::Policy;
use crate::key::{ICMP, Key};
use fedgate_acl::{Address, Layered, Query, Rule, Scratch};
use fedgate_tables::policy::{
    ACE_ANY_PROTO, ACE_INACTIVE, ACE_LOG, ACE_PERMIT, ANY_PORT, Ace, Ace6, Acl, Interface,
    SAME_SECURITY_INTER, SAME_SECURITY_INTRA,
};
use fedgate_tables::policy_view::MAX_ACE_COUNTERS;
use std::collections::HashMap;

/// What an ACL says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Passes.
    pub permit: bool,
    /// The ACE that decided, as an index into all ACEs of its family; `None` for the implicit deny.
    pub ace: Option<u32>,
    /// Its slot among the hit counters.
    pub counter: Option<u32>,
    /// Its flags; 0 for the implicit deny.
    pub flags: u8,
}

impl Decision {
    /// The end of every ACL.
    pub(crate) const IMPLICIT_DENY: Self = Self { permit: false, ace: None, counter: None, flags: 0 };

    /// Whether it may have to be told: a denial, or a hit of a line with `log`.
    pub(crate) fn is_told(&self) -> bool {
        !self.permit || self.flags & ACE_LOG != 0
    }
}

/// The parts of a policy that ACLs are compiled from.
#[derive(Clone, Copy)]
pub struct Lists<'a> {
    /// The ACLs, each with its name.
    pub acls: &'a [(&'a str, Acl)],
    /// All IPv4 ACEs.
    pub aces: &'a [Ace],
    /// All IPv6 ACEs.
    pub aces6: &'a [Ace6],
    /// Whether each time-range is in force. An ACE whose time-range is not here always is.
    pub in_force: &'a [bool],
}

/// The compiled ACLs of a policy, in its order.
#[derive(Debug, Default)]
pub struct Acls(Vec<Compiled>);

#[derive(Debug)]
struct Compiled {
    name: String,
    v4: Family<u32>,
    v6: Family<u128>,
}

/// An ACL's elements of one family.
#[derive(Debug)]
struct Family<A> {
    rules: Layered<A>,
    verdicts: Vec<Verdict>,
}

/// What an ACE says of the packets that it matches, in a word, so that the rest of it need not be loaded: its flags, and above them its
/// slot among the hit counters, of which there are not that many.
#[derive(Clone, Copy, Debug)]
struct Verdict(u32);
const _: () = assert!(MAX_ACE_COUNTERS < u32::MAX >> 8);

impl Verdict {
    fn new(flags: u8, counter: u32) -> Self {
        Self(counter.min(u32::MAX >> 8) << 8 | u32::from(flags))
    }

    fn decision(self, ace: u32) -> Decision {
        let flags = self.0 as u8;
        Decision { permit: flags & ACE_PERMIT != 0, ace: Some(ace), counter: Some(self.0 >> 8), flags }
    }
}

impl<A: Address> Family<A> {
    fn new(before: Option<&Self>, rules: Vec<Rule<A>>, verdicts: Vec<Verdict>) -> Self {
        let rules = match before {
            Some(before) => before.rules.updated(rules),
            None => Layered::new(rules),
        };
        Self { rules, verdicts }
    }

    /// Of the `place`-th element of an ACL that begins at `first` among all.
    #[inline]
    fn decision(&self, first: u32, place: Option<u32>) -> Decision {
        let verdict = place.and_then(|place| Some((place, self.verdicts.get(place as usize)?)));
        verdict.map_or(Decision::IMPLICIT_DENY, |(place, verdict)| verdict.decision(first + place))
    }
}

impl Acls {
    /// The ones for `lists`, which share with these what is unchanged.
    pub fn updated(&self, lists: &Lists<'_>) -> Self {
        let known: HashMap<&str, &Compiled> = self.0.iter().map(|acl| (acl.name.as_str(), acl)).collect();
        let compiled = lists.acls.iter().map(|&(name, acl)| {
            let aces = run(lists.aces, acl.first, acl.count);
            let aces6 = run(lists.aces6, acl.first6, acl.count6);
            let before = known.get(name).copied();
            let v4 = Family::new(
                before.map(|before| &before.v4),
                aces.iter().map(|ace| rule(ace, lists.in_force)).collect(),
                aces.iter().map(|ace| Verdict::new(ace.flags, ace.counter)).collect(),
            );
            let v6 = Family::new(
                before.map(|before| &before.v6),
                aces6.iter().map(|ace| rule6(ace, lists.in_force)).collect(),
                aces6.iter().map(|ace| Verdict::new(ace.flags, ace.counter)).collect(),
            );
            Compiled { name: name.to_owned(), v4, v6 }
        });
        Self(compiled.collect())
    }

    /// True where the IPv4 parts of our ACL and of theirs are from one build.
    #[cfg(test)]
    pub(crate) fn shares(&self, ours: usize, other: &Self, theirs: usize) -> bool {
        self.0[ours].v4.rules.shares_base(&other.0[theirs].v4.rules)
    }
}

/// An ACL's run of elements.
fn run<T>(all: &[T], first: u32, count: u32) -> &[T] {
    let first = first as usize;
    all.get(first..first + count as usize).unwrap_or_default()
}

fn rule(ace: &Ace, in_force: &[bool]) -> Rule<u32> {
    let (src, src_mask, dst, dst_mask) = (ace.src, ace.src_mask, ace.dst, ace.dst_mask);
    let any = Rule { src, src_mask, dst, dst_mask, ..Rule::default() };
    conditions(any, ace.proto, ace.flags, ace.time_range, [ace.sport, ace.dport], in_force)
}

fn rule6(ace: &Ace6, in_force: &[bool]) -> Rule<u128> {
    let any = Rule {
        src: u128::from_be_bytes(ace.src),
        src_mask: u128::prefix(ace.src_prefix),
        dst: u128::from_be_bytes(ace.dst),
        dst_mask: u128::prefix(ace.dst_prefix),
        ..Rule::default()
    };
    conditions(any, ace.proto, ace.flags, ace.time_range, [ace.sport, ace.dport], in_force)
}

/// What both families have besides addresses.
fn conditions<A: Address>(
    any: Rule<A>,
    proto: u8,
    flags: u8,
    time_range: u16,
    [sport, dport]: [[u16; 2]; 2],
    in_force: &[bool],
) -> Rule<A> {
    let active = flags & ACE_INACTIVE == 0 && in_force.get(usize::from(time_range)).copied().unwrap_or(true);
    if flags & ACE_ANY_PROTO != 0 {
        return Rule { active, sport: ANY_PORT, dport: ANY_PORT, proto: None, ..any };
    }
    Rule { active, sport, dport, proto: Some(proto), ..any }
}

/// First match of an IPv4 `key` in the ACL at `index`; `icmp` is type and code where the protocol is ICMP. `None` where there is
/// no such ACL.
pub fn classify(policy: &Policy<'_>, index: u32, key: &Key, icmp: (u8, u8)) -> Option<Decision> {
    let (acl, compiled) = (policy.acls.get(index as usize)?, policy.compiled.0.get(index as usize)?);
    let place = compiled.v4.rules.lookup(&query(key, icmp));
    Some(compiled.v4.decision(acl.first, place))
}

/// [`classify`] of as many TCP and UDP packets as `found` has room for, sooner than one after the other. False, with nothing found, where there is
/// no such ACL. `fetch` starts to load the cache line at an address, which may be any.
pub(crate) fn classify_burst(
    policy: &Policy<'_>,
    index: u32,
    queries: &[Query<u32>],
    found: &mut [Decision],
    scratch: &mut Scratch,
    fetch: impl Fn(*const u8) + Copy,
) -> bool {
    let (Some(acl), Some(compiled)) =
        (policy.acls.get(index as usize), policy.compiled.0.get(index as usize))
    else {
        return false;
    };
    const CHUNK: usize = 64;
    for (queries, found) in queries.chunks(CHUNK).zip(found.chunks_mut(CHUNK)) {
        let mut places = [None; CHUNK];
        compiled.v4.rules.lookup_burst(queries, &mut places, scratch, fetch);
        for place in places.iter().take(queries.len()).flatten() {
            fetch(compiled.v4.verdicts.as_ptr().wrapping_add(*place as usize).cast());
        }
        for (found, place) in found.iter_mut().zip(places) {
            *found = compiled.v4.decision(acl.first, place);
        }
    }
    true
}

/// What is asked about a packet.
#[inline]
pub(crate) fn query(key: &Key, icmp: (u8, u8)) -> Query<u32> {
    let (sport, dport) = match key.proto {
        ICMP => (u16::from(icmp.1), u16::from(icmp.0)),
        _ => (key.sport, key.dport),
    };
    Query { src: key.src, dst: key.dst, sport, dport, proto: key.proto }
}

/// [`classify`] for IPv6; ICMPv6 has its type for the destination port and its code for the source port.
pub fn classify6(policy: &Policy<'_>, index: u32, query: &Query<u128>) -> Option<Decision> {
    let (acl, compiled) = (policy.acls.get(index as usize)?, policy.compiled.0.get(index as usize)?);
    Some(compiled.v6.decision(acl.first6, compiled.v6.rules.lookup(query)))
}

/// The rule where no ACL stands on the way in: from a higher to a lower security level is permitted; between equal
/// levels, and back out of the same interface, only as `same-security-traffic` says.
pub fn by_security_level(from: (usize, &Interface), to: (usize, &Interface), flags: u32) -> bool {
    if from.0 == to.0 {
        return flags & SAME_SECURITY_INTRA != 0;
    }
    if from.1.security == to.1.security {
        return flags & SAME_SECURITY_INTER != 0;
    }
    from.1.security > to.1.security
}
