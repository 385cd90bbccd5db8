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
use fedgate_acl::{Address, Layered, Query, Rule};
use fedgate_tables::policy::{
    ACE_ANY_PROTO, ACE_INACTIVE, ACE_LOG, ACE_PERMIT, ANY_PORT, Ace, Ace6, Acl, Interface,
    SAME_SECURITY_INTER, SAME_SECURITY_INTRA,
};
use std::collections::HashMap;

/// What an ACL says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Passes.
    pub permit: bool,
    /// The ACE that decided, as an index into all ACEs of its family; `None` for the implicit deny.
    pub ace: Option<u32>,
    /// Its flags; 0 for the implicit deny.
    pub flags: u8,
}

impl Decision {
    fn by(ace: Option<u32>, flags: Option<u8>) -> Self {
        let flags = flags.unwrap_or(0);
        Self { permit: flags & ACE_PERMIT != 0, ace, flags }
    }

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
    v4: Layered<u32>,
    v6: Layered<u128>,
}

impl Acls {
    /// The ones for `lists`, which share with these what is unchanged.
    pub fn updated(&self, lists: &Lists<'_>) -> Self {
        let known: HashMap<&str, &Compiled> = self.0.iter().map(|acl| (acl.name.as_str(), acl)).collect();
        let compiled = lists.acls.iter().map(|&(name, acl)| {
            let v4 =
                run(lists.aces, acl.first, acl.count).iter().map(|ace| rule(ace, lists.in_force)).collect();
            let v6 = run(lists.aces6, acl.first6, acl.count6)
                .iter()
                .map(|ace| rule6(ace, lists.in_force))
                .collect();
            match known.get(name) {
                Some(before) => {
                    Compiled { name: name.to_owned(), v4: before.v4.updated(v4), v6: before.v6.updated(v6) }
                }
                None => Compiled { name: name.to_owned(), v4: Layered::new(v4), v6: Layered::new(v6) },
            }
        });
        Self(compiled.collect())
    }

    /// True where the IPv4 parts of our ACL and of theirs are from one build.
    #[cfg(test)]
    pub(crate) fn shares(&self, ours: usize, other: &Self, theirs: usize) -> bool {
        self.0[ours].v4.shares_base(&other.0[theirs].v4)
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
    let (sport, dport) = match key.proto {
        ICMP => (u16::from(icmp.1), u16::from(icmp.0)),
        _ => (key.sport, key.dport),
    };
    let query = Query { src: key.src, dst: key.dst, sport, dport, proto: key.proto };
    let ace = compiled.v4.lookup(&query).map(|place| acl.first + place);
    Some(Decision::by(ace, ace.and_then(|i| policy.aces.get(i as usize)).map(|a| a.flags)))
}

/// [`classify`] for IPv6; ICMPv6 has its type for the destination port and its code for the source port.
pub fn classify6(policy: &Policy<'_>, index: u32, query: &Query<u128>) -> Option<Decision> {
    let (acl, compiled) = (policy.acls.get(index as usize)?, policy.compiled.0.get(index as usize)?);
    let ace = compiled.v6.lookup(query).map(|place| acl.first6 + place);
    Some(Decision::by(ace, ace.and_then(|i| policy.aces6.get(i as usize)).map(|a| a.flags)))
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
