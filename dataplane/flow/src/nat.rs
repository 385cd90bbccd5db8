// SPDX-License-Identifier: MIT OR Apache-2.0
//! NAT decisions for a connection's first packet, in the ASA's order: rules come sorted by control (manual, auto,
//! after-auto; static before dynamic inside auto), the first match decides.
//!
//! A rule has a real side and a mapped side. A packet towards the mapped side has its destination un-translated; a packet
//! from the real side has its source translated. Twice NAT does both at once, for the peer too: what the real side calls
//! `dest_mapped` is `dest_real`, so one rule that matches decides both ends ([`Twice`]). A rule without ports takes any protocol.
//!
//! [`Nat`] is made once a policy (housekeeping thread); the rules that an address may concern are found by one binary search
//! ([`ByAddress`]), so hundreds of rules for single hosts cost what one does. Looked up on worker cores, slow path.

use crate::key::Key;
use fedgate_tables::policy::*;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use zerocopy::IntoBytes;

/// The destination as it really is, by which rule, and the interface it stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untranslated {
    /// Real address.
    pub addr: u32,
    /// Real port.
    pub port: u16,
    /// Index of the rule.
    pub rule: usize,
    /// Interface of the real address, where the rule names one; else the route says.
    pub out_if: Option<u8>,
    /// What the rule says of the other end.
    pub twice: Twice,
}

/// What a rule that un-translated the destination says of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twice {
    /// Nothing: other rules may have their say.
    No,
    /// The packet comes from the mapped side, and its sender is shown so.
    Shown(u32, u16),
    /// The packet comes from the real side: its source is translated by this rule.
    SameRule,
}

/// How a source is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// As it is; by a rule (identity) or for want of one.
    Unchanged(Option<usize>),
    /// As this address and port.
    Fixed {
        /// Mapped address.
        addr: u32,
        /// Mapped port.
        port: u16,
        /// Index of the rule.
        rule: usize,
    },
    /// As an address of the rule's pool, with all its ports or with one.
    Dynamic {
        /// Index of the rule.
        rule: usize,
    },
}

/// The NAT rules of a policy.
#[derive(Default)]
pub struct Nat {
    rules: Vec<NatRule>,
    pools: Vec<AddrRange>,
    /// By real source.
    from: ByAddress,
    /// By destination as called.
    to: ByAddress,
    /// By addresses that the appliance shows, pools among them.
    shown: ByAddress,
    /// For each rule of addresses for one host each, the lowest address of its pool and of those that share addresses with it; else 0.
    groups: Vec<u32>,
    digest: u64,
}

impl Nat {
    /// Of a policy's rules and pools.
    pub fn new(rules: &[NatRule], pools: &[AddrRange]) -> Self {
        let mut nat = Self { rules: rules.to_vec(), pools: pools.to_vec(), ..Self::default() };
        // Where the text stands in the policy is another matter.
        nat.rules.iter_mut().for_each(|rule| rule.text = Blob::default());
        let mut hasher = DefaultHasher::new();
        hasher.write(nat.rules.as_bytes());
        hasher.write(nat.pools.as_bytes());
        nat.digest = hasher.finish();
        let active = || (0u32..).zip(rules).filter(|(_, rule)| rule.flags & NAT_INACTIVE == 0);
        nat.from = ByAddress::new(active().map(|(i, rule)| (i, rule.real)));
        nat.to = ByAddress::new(active().flat_map(|(i, rule)| {
            let mapped = enters(rule).then_some((i, called(rule)));
            mapped.into_iter().chain(changes_dest(rule).then_some((i, rule.dest_mapped)))
        }));
        nat.shown = ByAddress::new(active().flat_map(|(i, rule)| {
            let dest = changes_dest(rule).then_some(rule.dest_mapped);
            nat.shown_by(rule).chain(dest).map(move |range| (i, range))
        }));
        nat.groups = nat.groups();
        nat
    }

    /// The same where sessions may turn round (`same-security-traffic permit intra-interface`): a host of any such pool may call one of any
    /// other, which takes an address of each, so all pools of an address a host have one owner.
    pub fn turning(mut self) -> Self {
        let pools: Vec<_> = (0..self.rules.len()).filter(|i| self.pool(*i).one_to_one).collect();
        let lowest = pools.iter().map(|i| self.groups[*i]).min();
        for (pool, group) in pools.into_iter().zip(lowest.into_iter().cycle()) {
            self.groups[pool] = group;
        }
        self.digest = self.digest.wrapping_add(1);
        self
    }

    /// A number for all rules and pools: the same while none of them changes.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// See the field.
    fn groups(&self) -> Vec<u32> {
        let one_to_one = (0..self.rules.len()).filter(|i| self.pool(*i).one_to_one);
        let mut ranges: Vec<([u32; 2], usize)> = one_to_one
            .flat_map(|i| self.pool(i).ranges().map(move |range| (range, i)).collect::<Vec<_>>())
            .collect();
        ranges.sort_unstable();
        let mut groups = vec![u32::MAX; self.rules.len()];
        // Ranges that touch have one group, and so do those of one rule: again until nothing changes, mostly once.
        loop {
            let before = groups.clone();
            let mut run = ([0, 0], Vec::new());
            for (range, rule) in &ranges {
                if range[0] > run.0[1] || run.1.is_empty() {
                    settle(&run.1, &mut groups);
                    run = (*range, Vec::new());
                }
                run.0[1] = run.0[1].max(range[1]);
                run.1.push(*rule);
                groups[*rule] = groups[*rule].min(range[0]);
            }
            settle(&run.1, &mut groups);
            if groups == before {
                return groups;
            }
        }
    }

    /// The rules, in order.
    pub fn rules(&self) -> &[NatRule] {
        &self.rules
    }

    /// Undoes what static rules do to the destination of what arrives on `in_if`. Dynamic xlates are the caller's.
    pub fn untranslate(&self, key: &Key, in_if: u8) -> Option<Untranslated> {
        self.to.at(key.dst).iter().find_map(|&i| {
            let rule = &self.rules[i as usize];
            inwards(rule, i as usize, key, in_if).or_else(|| outwards(rule, i as usize, key, in_if))
        })
    }

    /// How the source of `key` (real addresses) is shown when it goes from `real_if` out of `mapped_if`. Rules that change the
    /// destination have had their turn in [`Self::untranslate`].
    pub fn source(&self, key: &Key, real_if: u8, mapped_if: u8) -> Source {
        let decided = self.from.at(key.src).iter().find_map(|&i| {
            let rule = &self.rules[i as usize];
            let here = on(rule.real_if, real_if) && on(rule.mapped_if, mapped_if);
            let dest = !changes_dest(rule)
                && place(key.dst, rule.dest_real).is_some()
                && port_place(key.dport, rule.dest_real_port).is_some();
            (here && dest).then(|| self.source_by(i as usize, key)).flatten()
        });
        decided.unwrap_or(Source::Unchanged(None))
    }

    /// How one rule shows the source of `key`; `None` where it is not its.
    pub fn source_by(&self, i: usize, key: &Key) -> Option<Source> {
        let rule = &self.rules[i];
        if !has_proto(rule, key.proto) {
            return None;
        }
        let at = place(key.src, rule.real)?;
        let port_at = port_place(key.sport, rule.real_port)?;
        match NatKind::from_u8(rule.kind)? {
            NatKind::Static | NatKind::StaticPat => Some(Source::Fixed {
                addr: rule.mapped[0] + at,
                port: rule.mapped_port[0] + port_at,
                rule: i,
            }),
            NatKind::Identity => Some(Source::Unchanged(Some(i))),
            NatKind::DynamicPat | NatKind::Dynamic => Some(Source::Dynamic { rule: i }),
        }
    }

    /// The addresses that a dynamic rule may use.
    pub fn pool(&self, i: usize) -> Pool<'_> {
        let rule = &self.rules[i];
        let ranges = self.ranges(rule);
        Pool {
            ranges,
            own: (ranges.is_empty() || rule.flags & NAT_INTERFACE != 0).then_some(rule.mapped[0]),
            flags: rule.flags,
            one_to_one: NatKind::from_u8(rule.kind) == Some(NatKind::Dynamic),
            group: self.groups.get(i).copied().unwrap_or(u32::MAX),
        }
    }

    /// True where `addr` is shown on `in_if` by some NAT rule: a packet to it that no rule and no xlate takes has its own drop
    /// reason.
    pub fn is_mapped_address(&self, addr: u32, in_if: u8) -> bool {
        self.shown_at(addr, in_if, 0)
    }

    /// The [`Pool::group`] of an address that is of a pool of which each host has an address of its own.
    pub fn one_to_one(&self, addr: u32) -> Option<u32> {
        let pools = self.shown.at(addr).iter().map(|&i| self.pool(i as usize));
        pools.filter(|pool| pool.one_to_one && pool.in_ranges(addr)).map(|pool| pool.group).next()
    }

    /// True where some dynamic rule shows `addr` on some interface.
    pub fn is_dynamic(&self, addr: u32) -> bool {
        self.shown.at(addr).iter().any(|&i| {
            let kind = NatKind::from_u8(self.rules[i as usize].kind);
            matches!(kind, Some(NatKind::DynamicPat | NatKind::Dynamic)) && self.pool(i as usize).has(addr)
        })
    }

    /// True where the appliance answers ARP for `addr` on `in_if` because a rule shows it there.
    pub fn answers_for(&self, addr: u32, in_if: u8) -> bool {
        self.shown_at(addr, in_if, NAT_NO_PROXY_ARP)
    }

    /// True where some rule shows hosts on an interface as others than they are.
    pub fn translates_to(&self, ifindex: u8) -> bool {
        self.rules.iter().any(|rule| {
            let identity = NatKind::from_u8(rule.kind) == Some(NatKind::Identity);
            rule.flags & NAT_INACTIVE == 0 && !identity && on(rule.mapped_if, ifindex)
        })
    }

    /// True where some rule shows `addr` on some interface.
    pub fn is_shown(&self, addr: u32) -> bool {
        !self.shown.at(addr).is_empty()
    }

    /// (Interface or [`NONE`], addresses) that the appliance answers ARP for.
    pub fn announced(&self) -> impl Iterator<Item = (u32, [u32; 2])> + '_ {
        let quiet = NAT_INACTIVE | NAT_NO_PROXY_ARP;
        self.rules.iter().filter(move |rule| rule.flags & quiet == 0).flat_map(|rule| {
            let dest = changes_dest(rule).then_some((rule.real_if, rule.dest_mapped));
            self.shown_by(rule).map(|range| (rule.mapped_if, range)).chain(dest)
        })
    }

    /// Addresses and ports that static rules have, which dynamic ones must not take: (addresses, protocol or 0 for all, ports).
    pub fn reserved(&self) -> impl Iterator<Item = Reserved> + '_ {
        self.rules.iter().filter(|rule| rule.flags & NAT_INACTIVE == 0).filter_map(|rule| {
            let is_static = matches!(NatKind::from_u8(rule.kind), Some(NatKind::Static | NatKind::StaticPat));
            is_static.then_some(Reserved { addrs: rule.mapped, proto: rule.proto, ports: rule.mapped_port })
        })
    }

    /// True where some rule needs to know which pool address a host has.
    pub fn pairs(&self) -> bool {
        (0..self.rules.len()).any(|i| self.pool(i).pairs())
    }

    fn shown_at(&self, addr: u32, in_if: u8, without: u32) -> bool {
        self.shown.at(addr).iter().any(|&i| {
            let rule = &self.rules[i as usize];
            rule.flags & without == 0
                && (on(rule.mapped_if, in_if) && self.shown_by(rule).any(|r| place(addr, r).is_some())
                    || on(rule.real_if, in_if)
                        && changes_dest(rule)
                        && place(addr, rule.dest_mapped).is_some())
        })
    }

    /// What a rule shows on its mapped side.
    fn shown_by(&self, rule: &NatRule) -> impl Iterator<Item = [u32; 2]> + use<'_> {
        let pool = self.ranges(rule);
        let kind = NatKind::from_u8(rule.kind);
        let own = match kind {
            Some(NatKind::Static | NatKind::StaticPat) => true,
            Some(NatKind::DynamicPat | NatKind::Dynamic) => {
                pool.is_empty() || rule.flags & NAT_INTERFACE != 0
            }
            Some(NatKind::Identity) | None => false,
        };
        own.then_some(rule.mapped).into_iter().chain(pool.iter().map(|range| [range.first, range.last]))
    }

    fn ranges(&self, rule: &NatRule) -> &[AddrRange] {
        let first = rule.pool as usize;
        self.pools.get(first..first + rule.pool_count as usize).unwrap_or_default()
    }
}

/// Gives rules that share addresses the lowest of their groups.
fn settle(rules: &[usize], groups: &mut [u32]) {
    let lowest = rules.iter().map(|rule| groups[*rule]).min();
    rules.iter().for_each(|rule| groups[*rule] = lowest.unwrap_or(u32::MAX));
}

/// What a static rule has of its mapped addresses.
#[derive(Clone, Copy, Debug)]
pub struct Reserved {
    /// The addresses.
    pub addrs: [u32; 2],
    /// IP protocol; 0 for all.
    pub proto: u8,
    /// The ports.
    pub ports: [u16; 2],
}

impl Reserved {
    /// True where it has ports of an address and protocol.
    pub(crate) fn has_ports(&self, addr: u32, proto: u8) -> bool {
        proto != 0 && place(addr, self.addrs).is_some() && (self.proto == 0 || self.proto == proto)
    }

    /// True where it has this one.
    pub(crate) fn has_port(&self, addr: u32, proto: u8, port: u16) -> bool {
        self.has_ports(addr, proto) && port_place(port, self.ports).is_some()
    }
}

/// The addresses of a dynamic rule, and how they are used.
#[derive(Clone, Copy, Debug)]
pub struct Pool<'a> {
    ranges: &'a [AddrRange],
    /// The interface's own: instead of a pool, or after it.
    pub own: Option<u32>,
    /// [`NAT_ROUND_ROBIN`], [`NAT_FLAT`], ...
    pub flags: u32,
    /// Each address for one host, with all its ports.
    pub one_to_one: bool,
    /// Where it is: the same for all pools that have an address in common. One worker has them all.
    pub group: u32,
}

impl Pool<'_> {
    /// Its addresses, without the interface's.
    pub fn ranges(&self) -> impl Iterator<Item = [u32; 2]> + '_ {
        self.ranges.iter().map(|range| [range.first, range.last])
    }

    /// How many those are.
    pub fn size(&self) -> u64 {
        self.ranges().map(|[first, last]| u64::from(last - first) + 1).sum()
    }

    /// The `n`-th of them.
    pub fn nth(&self, mut n: u64) -> Option<u32> {
        self.ranges().find_map(|[first, last]| {
            let size = u64::from(last - first) + 1;
            let found = (n < size).then(|| first + n as u32);
            n = n.wrapping_sub(size);
            found
        })
    }

    /// True where `addr` is one of them, or the interface's.
    pub fn has(&self, addr: u32) -> bool {
        self.own == Some(addr) || self.in_ranges(addr)
    }

    /// True where `addr` is one of them.
    pub fn in_ranges(&self, addr: u32) -> bool {
        self.ranges().any(|range| place(addr, range).is_some())
    }

    /// True where a host's address has to be remembered.
    pub fn pairs(&self) -> bool {
        !self.one_to_one
            && self.flags & NAT_EXTENDED == 0
            && (self.flags & NAT_BLOCKS != 0 || self.size() + u64::from(self.own.is_some()) > 1)
    }
}

/// A packet from the mapped side: the destination becomes real, and with twice NAT the source what the real side calls it.
fn inwards(rule: &NatRule, i: usize, key: &Key, in_if: u8) -> Option<Untranslated> {
    let applies = enters(rule) && on(rule.mapped_if, in_if) && has_proto(rule, key.proto);
    let at = place(key.dst, called(rule)).filter(|_| applies)?;
    let port = rule.real_port[0] + port_place(key.dport, rule.mapped_port)?;
    let peer = rule.dest_mapped[0].wrapping_add(place(key.src, rule.dest_real)?);
    let peer_port = rule.dest_mapped_port[0] + port_place(key.sport, rule.dest_real_port)?;
    let twice = if changes_dest(rule) { Twice::Shown(peer, peer_port) } else { Twice::No };
    Some(Untranslated { addr: rule.real[0] + at, port, rule: i, out_if: toward(rule, rule.real_if), twice })
}

/// A packet from the real side to what only the real side calls by that address.
fn outwards(rule: &NatRule, i: usize, key: &Key, in_if: u8) -> Option<Untranslated> {
    let applies = changes_dest(rule) && on(rule.real_if, in_if) && has_proto(rule, key.proto);
    let at = place(key.dst, rule.dest_mapped).filter(|_| applies)?;
    let port = rule.dest_real_port[0] + port_place(key.dport, rule.dest_mapped_port)?;
    place(key.src, rule.real)?;
    port_place(key.sport, rule.real_port)?;
    let addr = rule.dest_real[0] + at;
    Some(Untranslated { addr, port, rule: i, out_if: toward(rule, rule.mapped_if), twice: Twice::SameRule })
}

/// Connections may begin from the mapped side.
fn enters(rule: &NatRule) -> bool {
    rule.flags & NAT_UNIDIRECTIONAL == 0
        && match NatKind::from_u8(rule.kind) {
            Some(NatKind::Static | NatKind::StaticPat) => true,
            Some(NatKind::Identity) => rule.real != ANY_ADDR || changes_dest(rule),
            Some(NatKind::DynamicPat | NatKind::Dynamic) | None => false,
        }
}

/// What the mapped side calls the real addresses.
fn called(rule: &NatRule) -> [u32; 2] {
    if NatKind::from_u8(rule.kind) == Some(NatKind::Identity) { rule.real } else { rule.mapped }
}

fn changes_dest(rule: &NatRule) -> bool {
    rule.dest_mapped != rule.dest_real || rule.dest_mapped_port != rule.dest_real_port
}

fn toward(rule: &NatRule, ifindex: u32) -> Option<u8> {
    (ifindex != NONE && rule.flags & NAT_ROUTE_LOOKUP == 0).then_some(ifindex as u8)
}

fn has_proto(rule: &NatRule, proto: u8) -> bool {
    rule.proto == 0 || rule.proto == proto
}

/// Where `addr` stands in a range.
#[inline]
fn place(addr: u32, [first, last]: [u32; 2]) -> Option<u32> {
    let at = addr.wrapping_sub(first);
    (at <= last.wrapping_sub(first)).then_some(at)
}

/// Where `port` stands in a range.
#[inline]
fn port_place(port: u16, [first, last]: [u16; 2]) -> Option<u16> {
    let at = port.wrapping_sub(first);
    (at <= last.wrapping_sub(first)).then_some(at)
}

fn on(rule_if: u32, ifindex: u8) -> bool {
    rule_if == NONE || rule_if == u32::from(ifindex)
}

/// Which rules may apply to an address: the address space, cut wherever a rule's range begins or ends, and for each piece the
/// rules over it, in order.
#[derive(Default)]
struct ByAddress {
    /// First address of each piece; the first is 0.
    starts: Vec<u32>,
    /// Where each piece's rules begin, and the end of the last.
    lists: Vec<u32>,
    rules: Vec<u32>,
}

/// Above so many entries (thousands of rules, each over most of the others) one piece with all rules in it must do.
const MAX_ENTRIES: usize = 1 << 20;

impl ByAddress {
    fn new(ranges: impl Iterator<Item = (u32, [u32; 2])>) -> Self {
        let ranges: Vec<_> = ranges.collect();
        // (address where it changes, whether it begins, rule)
        let mut edges: Vec<(u64, bool, u32)> = ranges
            .iter()
            .flat_map(|&(i, [first, last])| [(first.into(), true, i), (u64::from(last) + 1, false, i)])
            .collect();
        edges.sort_unstable();
        let mut by = Self { starts: vec![0], lists: vec![0], rules: Vec::new() };
        let mut over: BTreeMap<u32, u32> = BTreeMap::new();
        let mut edges = edges.into_iter().peekable();
        while let Some(&(at, ..)) = edges.peek() {
            if at > u64::from(by.starts[by.starts.len() - 1]) {
                by.close(&over);
                let Ok(start) = u32::try_from(at) else { return by };
                by.starts.push(start);
            }
            while let Some((_, begins, i)) = edges.next_if(|edge| edge.0 == at) {
                let count = over.entry(i).or_default();
                *count = if begins { *count + 1 } else { *count - 1 };
                if *count == 0 {
                    over.remove(&i);
                }
            }
            if by.rules.len() + over.len() > MAX_ENTRIES {
                let mut all: Vec<u32> = ranges.iter().map(|(i, _)| *i).collect();
                all.sort_unstable();
                all.dedup();
                return Self { starts: vec![0], lists: vec![0, all.len() as u32], rules: all };
            }
        }
        by.close(&over);
        by
    }

    fn close(&mut self, over: &BTreeMap<u32, u32>) {
        self.rules.extend(over.keys());
        self.lists.push(self.rules.len() as u32);
    }

    /// The rules over `addr`, in order.
    #[inline]
    fn at(&self, addr: u32) -> &[u32] {
        let piece = self.starts.partition_point(|start| *start <= addr);
        let Some(piece) = piece.checked_sub(1) else { return &[] };
        &self.rules[self.lists[piece] as usize..self.lists[piece + 1] as usize]
    }
}
