// SPDX-License-Identifier: MIT OR Apache-2.0
//! NAT by scenario: twice NAT both ways, ranges, pools, blocks, extended, hairpin; and the rules' order against a plain walk.

use crate::acl::Acls;
use crate::conn::{ConnId, Dir};
use crate::firewall::{Admission, First};
use crate::key::{ICMP, Key, TCP, UDP};
use crate::nat::{Nat, Source};
use crate::ports::Share;
use crate::rewrite::{error_belongs_to, translate_error};
use crate::tcp::SYN;
use crate::tests::packets;
use crate::{Flow, FlowConfig, Policy};
use fedgate_tables::drops::DropReason;
use fedgate_tables::policy::*;
use proptest::prelude::*;

pub const OUTSIDE: u8 = 0;
pub const INSIDE: u8 = 1;
/// The appliance on the outside.
pub const OWN: u32 = ip([203, 0, 113, 2]);
/// A pool of two.
pub const POOL: [AddrRange; 1] = [AddrRange { first: ip([203, 0, 113, 10]), last: ip([203, 0, 113, 11]) }];
pub const HOST: u32 = ip([10, 0, 0, 50]);
pub const OTHER: u32 = ip([10, 0, 0, 51]);
pub const SERVER: u32 = ip([198, 51, 100, 20]);
pub const SERVER2: u32 = ip([198, 51, 100, 99]);

pub const fn ip(b: [u8; 4]) -> u32 {
    u32::from_be_bytes(b)
}

/// A firewall between two interfaces without ACLs, the inside at level 100.
pub struct Lab {
    pub flow: Flow,
    pub interfaces: [Interface; 2],
    pub nat: Nat,
    pub globals: Globals,
    pub acls: Acls,
    pub now: u32,
}

impl Lab {
    pub fn new(rules: &[NatRule]) -> Self {
        Self::of(rules, 4096)
    }

    pub fn of(rules: &[NatRule], max: u32) -> Self {
        let interface = |addr, security| Interface {
            addr,
            mask: 0xffff_ff00,
            mtu: 1500,
            security,
            acl_in: NONE,
            acl_out: NONE,
            ..Default::default()
        };
        let config = FlowConfig { max_conns: max, max_xlates: max, seed: 3, share: Share::WHOLE };
        let mut lab = Self {
            flow: Flow::new(config),
            interfaces: [interface(OWN, 0), interface(ip([10, 0, 0, 1]), 100)],
            nat: Nat::new(rules, &POOL),
            globals: Globals::default(),
            acls: Acls::default(),
            now: 100,
        };
        lab.flow.adopt(&lab.nat);
        lab
    }

    /// Everybody as the outside interface.
    pub fn interface_pat() -> Self {
        Self::new(&[pat(one_addr(OWN))])
    }

    /// Sessions may also begin outside, and turn round.
    pub fn open(mut self) -> Self {
        self.interfaces[0].security = 100;
        self.globals.flags = SAME_SECURITY_INTER | SAME_SECURITY_INTRA;
        self
    }

    pub fn policy<R>(&mut self, f: impl FnOnce(&mut Flow, &Policy<'_>, u32) -> R) -> R {
        let policy = Policy {
            interfaces: &self.interfaces,
            nat: &self.nat,
            acls: &[],
            aces: &[],
            aces6: &[],
            compiled: &self.acls,
            classes: &[],
            globals: &self.globals,
        };
        f(&mut self.flow, &policy, self.now)
    }

    pub fn admit(&mut self, in_if: u8, proto: u8, src: (u32, u16), dst: (u32, u16)) -> Admission {
        let key = Key { src: src.0, dst: dst.0, sport: src.1, dport: dst.1, proto };
        let first = First {
            key,
            in_if,
            tcp_flags: if proto == TCP { SYN } else { 0 },
            icmp_type: if proto == ICMP { 8 } else { 0 },
            icmp_code: 0,
            ttl: 64,
        };
        let egress = |addr: u32| Some(if addr >> 24 == 10 { INSIDE } else { OUTSIDE });
        self.policy(|flow, policy, now| flow.admit(&first, policy, egress, now).0)
    }

    /// A connection that must come about, and what its first packet leaves as.
    pub fn connect(&mut self, in_if: u8, proto: u8, src: (u32, u16), dst: (u32, u16)) -> (ConnId, Key) {
        match self.admit(in_if, proto, src, dst) {
            Admission::New { id, .. } => (id, self.flow.conns.hot(id).leaves_as(Dir::Forward)),
            other => panic!("no connection: {other:?}"),
        }
    }

    /// What a new UDP connection from the inside is shown as.
    pub fn shown(&mut self, src: (u32, u16), dst: (u32, u16)) -> (u32, u16) {
        let (_, key) = self.connect(INSIDE, UDP, src, dst);
        (key.src, key.sport)
    }

    /// A router beyond says that a packet which left as `left` did not arrive. Gives the connection it was of, to which the error went.
    pub fn hear_error(&self, left: &Key) -> Option<ConnId> {
        let mut frame = packets::error(SERVER2, &packets::frame(left, 9, b"payload"), 20, 9);
        let parsed = fedgate_wire::parse(&frame).unwrap();
        let (id, dir) = error_belongs_to(&self.flow, &frame, &parsed)?;
        translate_error(&mut frame, &parsed, self.flow.conns.hot(id), dir);
        let told = fedgate_wire::parse(&frame).unwrap().tuple.dst;
        assert_eq!(told, self.flow.conns.hot(id).key(dir.flip()).src);
        Some(id)
    }

    /// Time passes.
    pub fn wait(&mut self, seconds: u32) {
        for _ in 0..seconds * 10 {
            self.now += 1;
            self.policy(|flow, policy, now| flow.expire(policy, now, 1_000_000));
        }
    }
}

/// Dynamic PAT of everything inside.
pub fn pat(mapped: [u32; 2]) -> NatRule {
    NatRule { kind: NatKind::DynamicPat as u8, mapped, real_if: 1, mapped_if: 0, ..Default::default() }
}

/// Dynamic PAT to the pool.
pub fn pool(flags: u32) -> NatRule {
    NatRule { pool_count: 1, flags, ..pat(one_addr(OWN)) }
}

/// One rule translates both ends and both ports, in both directions.
#[test]
fn twice_nat_translates_both_ends_both_ways() {
    let alias = ip([10, 9, 9, 9]);
    let rule = NatRule {
        kind: NatKind::StaticPat as u8,
        real: one_addr(HOST),
        mapped: one_addr(POOL[0].first),
        dest_mapped: one_addr(alias),
        dest_real: one_addr(SERVER),
        proto: TCP,
        real_port: [5000, 5009],
        mapped_port: [6000, 6009],
        dest_mapped_port: one_port(80),
        dest_real_port: one_port(8080),
        ..pat([0; 2])
    };
    let mut lab = Lab::new(&[rule]).open();
    let (_, key) = lab.connect(INSIDE, TCP, (HOST, 5003), (alias, 80));
    assert_eq!((key.src, key.sport, key.dst, key.dport), (POOL[0].first, 6003, SERVER, 8080));
    let (_, key) = lab.connect(OUTSIDE, TCP, (SERVER, 8080), (POOL[0].first, 6007));
    assert_eq!((key.src, key.sport, key.dst, key.dport), (alias, 80, HOST, 5007));
    // Another destination, another source port: not this rule's.
    assert_eq!(lab.connect(INSIDE, TCP, (HOST, 5003), (SERVER2, 80)).1.src, HOST);
    assert_eq!(lab.connect(INSIDE, TCP, (HOST, 5010), (SERVER, 8080)).1.src, HOST);
}

#[test]
fn unidirectional_and_inactive_rules_let_nothing_in() {
    let fixed = NatRule { kind: NatKind::Static as u8, real: one_addr(HOST), ..pat(POOL_ONE) };
    for flags in [NAT_UNIDIRECTIONAL, NAT_INACTIVE] {
        let mut lab = Lab::new(&[NatRule { flags, ..fixed }]).open();
        assert!(
            lab.nat
                .untranslate(&Key { src: SERVER, dst: POOL_ONE[0], sport: 1, dport: 2, proto: UDP }, OUTSIDE)
                .is_none()
        );
        let shown = lab.shown((HOST, 9), (SERVER, 53)).0;
        assert_eq!(shown, if flags == NAT_INACTIVE { HOST } else { POOL_ONE[0] });
    }
}
const POOL_ONE: [u32; 2] = one_addr(POOL[0].first);

#[test]
fn proxy_arp_is_for_what_is_shown_unless_told_not_to() {
    let lab = |flags| Lab::new(&[pool(flags)]);
    assert!(lab(0).nat.answers_for(POOL[0].last, OUTSIDE));
    assert!(!lab(0).nat.answers_for(POOL[0].last, INSIDE));
    assert!(!lab(NAT_NO_PROXY_ARP).nat.answers_for(POOL[0].last, OUTSIDE));
    assert!(lab(NAT_NO_PROXY_ARP).nat.is_mapped_address(POOL[0].last, OUTSIDE));
    assert_eq!(lab(0).nat.announced().collect::<Vec<_>>(), [(0, [POOL[0].first, POOL[0].last])]);
    assert_eq!(lab(NAT_NO_PROXY_ARP).nat.announced().count(), 0);
}

/// One address a host, all protocols and ports, reachable from outside; then the interface by port, or nothing.
#[test]
fn dynamic_nat_gives_addresses_then_the_interface() {
    let rule = NatRule { kind: NatKind::Dynamic as u8, ..pool(NAT_INTERFACE) };
    let mut lab = Lab::new(&[rule]).open();
    let first = lab.shown((HOST, 5000), (SERVER, 53));
    assert_eq!(lab.shown((HOST, 5001), (SERVER2, 53)), (first.0, 5001));
    assert_eq!(lab.connect(INSIDE, ICMP, (HOST, 7), (SERVER, 0)).1.src, first.0);
    let second = lab.shown((OTHER, 5000), (SERVER, 53));
    assert!(first.0 != second.0 && lab.nat.pool(0).in_ranges(first.0) && lab.nat.pool(0).in_ranges(second.0));
    assert_eq!(lab.shown((HOST + 9, 5000), (SERVER, 53)), (OWN, 5000));
    let (_, key) = lab.connect(OUTSIDE, TCP, (SERVER2, 99), (second.0, 22));
    assert_eq!((key.dst, key.dport), (OTHER, 22));
    let mut lab = Lab::new(&[NatRule { flags: 0, ..rule }]);
    lab.shown((HOST, 1), (SERVER, 53));
    lab.shown((OTHER, 1), (SERVER, 53));
    assert_eq!(
        lab.admit(INSIDE, UDP, (HOST + 9, 1), (SERVER, 53)),
        Admission::Refused(DropReason::PatPoolExhausted)
    );
}

#[test]
fn a_pool_is_used_in_order_or_in_turn() {
    let addresses = |flags| {
        let mut lab = Lab::new(&[pool(flags)]);
        [0, 1, 2, 3].map(|n| lab.shown((HOST + n, 5000), (SERVER, 53)).0 - POOL[0].first)
    };
    assert_eq!(addresses(0), [0; 4]);
    assert_eq!(addresses(NAT_ROUND_ROBIN), [0, 1, 0, 1]);
}

/// The band 1-511 of one address, then of the next, then the interface's, then nothing; and all of it back.
#[test]
fn exhaustion_goes_from_address_to_address() {
    let mut lab = Lab::new(&[pool(NAT_INTERFACE)]);
    let mut used = [0; 3];
    for n in 0..511 * 3 {
        let (addr, port) = lab.shown((HOST + n, 100), (SERVER, 53));
        assert!((1..512).contains(&port));
        used[if addr == OWN { 2 } else { (addr - POOL[0].first) as usize }] += 1;
    }
    assert_eq!(used, [511; 3]);
    let refused = Admission::Refused(DropReason::PatPoolExhausted);
    assert_eq!(lab.admit(INSIDE, UDP, (OTHER + 5000, 100), (SERVER, 53)), refused);
    assert!(matches!(lab.admit(INSIDE, UDP, (OTHER + 5000, 2000), (SERVER, 53)), Admission::New { .. }));
    lab.wait(160);
    assert_eq!(lab.flow.xlates.in_use().0, 0);
    assert!(matches!(lab.admit(INSIDE, UDP, (OTHER + 5000, 100), (SERVER, 53)), Admission::New { .. }));
}

/// `flat`: one band; the port is not kept below 1024, unless `include-reserve`.
#[test]
fn flat_pools_have_one_band() {
    let mut lab = Lab::new(&[pool(NAT_FLAT)]);
    assert!(lab.shown((HOST, 100), (SERVER, 53)).1 >= 1024);
    let mut lab = Lab::new(&[pool(NAT_FLAT | NAT_INCLUDE_RESERVE)]);
    assert_eq!(lab.shown((HOST, 100), (SERVER, 53)).1, 100);
    let more: Vec<u16> = (1..600).map(|n| lab.shown((HOST + n, 100), (SERVER, 53)).1).collect();
    assert!(more.iter().any(|p| *p >= 1024));
}

/// `extended`: looking for a port makes no bitmap; static rules have their ports nevertheless.
#[test]
fn extended_keeps_nothing_for_asking() {
    let taken = NatRule {
        kind: NatKind::StaticPat as u8,
        real: one_addr(OTHER),
        mapped: [POOL[0].first, POOL[0].last],
        real_port: one_port(80),
        mapped_port: one_port(4000),
        proto: UDP,
        real_if: 1,
        mapped_if: 0,
        ..NatRule::default()
    };
    let mut lab = Lab::new(&[taken, NatRule { pool: 0, ..pool(NAT_EXTENDED) }]);
    for host in 0..40 {
        assert_ne!(lab.shown((HOST + 2 + host, 4000), (SERVER, 53)).1, 4000);
    }
    assert_eq!(lab.flow.xlates.pools(0, 9), (vec![], None));
}

/// `extended`: the same port towards each destination, and no xlate is kept.
#[test]
fn extended_uses_a_port_once_a_destination() {
    let mut lab = Lab::new(&[NatRule { pool: 0, ..pool(NAT_EXTENDED) }]);
    let shown: Vec<_> = (0..100).map(|n| lab.shown((HOST, 5000), (SERVER + n, 53))).collect();
    assert!(shown.iter().all(|s| *s == (shown[0].0, 5000)));
    let clash = lab.shown((HOST + 2, 5000), (SERVER, 53));
    assert!(clash.0 != shown[0].0 || clash.1 != 5000);
    assert_eq!(lab.flow.xlates.in_use().0, 0);
}

/// Rules of all kinds over few addresses and ports.
fn rule() -> impl Strategy<Value = NatRule> {
    let range = || (0u32..12, 0u32..4).prop_map(|(first, more)| [first, first + more]);
    let port = || (0u16..6, 0u16..3);
    (
        (1u8..=5, prop_oneof![Just([0, u32::MAX]), range()], 0u32..12),
        (prop::bool::ANY, range(), 0u32..12),
        (prop::bool::ANY, port(), 0u16..6, port(), 0u16..6),
        (prop_oneof![Just(NONE), 0u32..2], prop_oneof![Just(NONE), 0u32..2]),
        prop_oneof![4 => Just(0), 1 => Just(NAT_INACTIVE), 1 => Just(NAT_UNIDIRECTIONAL), 1 => Just(NAT_ROUTE_LOOKUP)],
    )
        .prop_map(|((kind, real, to), (dest, dest_mapped, dest_to), ports, ifs, flags)| {
            let kind = NatKind::from_u8(kind).unwrap();
            let real = if kind == NatKind::StaticPat { one_addr(real[0]) } else { real };
            let moved = |[first, last]: [u32; 2], to| if last == u32::MAX { [first, last] } else { [to, to + last - first] };
            let by_port = ports.0 || kind == NatKind::StaticPat;
            let span = |(first, more): (u16, u16)| [first, first + more];
            let at = |(_, more): (u16, u16), to: u16| [to, to + more];
            let mut rule = NatRule {
                kind: kind as u8,
                real,
                mapped: match kind {
                    NatKind::Static | NatKind::StaticPat => moved(real, to),
                    NatKind::Identity => real,
                    NatKind::DynamicPat | NatKind::Dynamic => one_addr(to),
                },
                pool_count: u32::from(kind == NatKind::Dynamic),
                real_if: ifs.0,
                mapped_if: ifs.1,
                flags,
                ..Default::default()
            };
            if dest {
                (rule.dest_mapped, rule.dest_real) = (dest_mapped, moved(dest_mapped, dest_to));
            }
            if by_port {
                rule.proto = UDP;
                (rule.real_port, rule.mapped_port) = (span(ports.1), at(ports.1, ports.2));
                (rule.dest_mapped_port, rule.dest_real_port) = (span(ports.3), at(ports.3, ports.4));
            }
            rule
        })
}

fn moved(n: u32, [first, last]: [u32; 2], to: [u32; 2]) -> Option<u32> {
    (first..=last).contains(&n).then(|| to[0] + (n - first))
}

fn moved_port(n: u16, from: [u16; 2], to: [u16; 2]) -> Option<u16> {
    moved(n.into(), from.map(u32::from), to.map(u32::from)).map(|n| n as u16)
}

/// [`Nat::source`] by walking all rules.
fn plain_source(rules: &[NatRule], key: &Key, ifs: [u8; 2]) -> Source {
    for (i, r) in rules.iter().enumerate() {
        let on = |rule_if: u32, is: u8| rule_if == NONE || rule_if == u32::from(is);
        let changes = r.dest_mapped != r.dest_real || r.dest_mapped_port != r.dest_real_port;
        let applies = r.flags & NAT_INACTIVE == 0
            && on(r.real_if, ifs[0])
            && on(r.mapped_if, ifs[1])
            && (r.proto == 0 || r.proto == key.proto)
            && (r.dest_real[0]..=r.dest_real[1]).contains(&key.dst)
            && (r.dest_real_port[0]..=r.dest_real_port[1]).contains(&key.dport)
            && !changes;
        let addr = moved(key.src, r.real, r.mapped);
        let port = moved_port(key.sport, r.real_port, r.mapped_port);
        let (Some(addr), Some(port), true) = (addr, port, applies) else { continue };
        return match NatKind::from_u8(r.kind).unwrap() {
            NatKind::Static | NatKind::StaticPat => Source::Fixed { addr, port, rule: i },
            NatKind::Identity => Source::Unchanged(Some(i)),
            NatKind::DynamicPat | NatKind::Dynamic => Source::Dynamic { rule: i },
        };
    }
    Source::Unchanged(None)
}

proptest! {
    /// The compiled rules decide as a walk over all of them does, whatever overlaps.
    #[test]
    fn the_first_rule_decides(
        rules in prop::collection::vec(rule(), 0..12),
        packets in prop::collection::vec(((0u32..16, 0u32..16), (0u16..9, 0u16..9), any::<bool>(), 0u8..2), 1..60),
    ) {
        let nat = Nat::new(&rules, &POOL);
        for ((src, dst), (sport, dport), udp, from) in packets {
            let key = Key { src, dst, sport, dport, proto: if udp { UDP } else { TCP } };
            prop_assert_eq!(nat.source(&key, from, 1 - from), plain_source(&rules, &key, [from, 1 - from]));
            // What a rule un-translates, it translates back.
            if let Some(un) = nat.untranslate(&key, from) {
                let rule = &rules[un.rule];
                prop_assert!(rule.flags & NAT_INACTIVE == 0);
                let inwards = moved(un.addr, rule.real, rule.mapped) == Some(dst)
                    && moved_port(un.port, rule.real_port, rule.mapped_port) == Some(dport);
                let outwards = moved(un.addr, rule.dest_real, rule.dest_mapped) == Some(dst)
                    && moved_port(un.port, rule.dest_real_port, rule.dest_mapped_port) == Some(dport);
                prop_assert!(inwards || outwards, "{:?} by {:?}", un, rule);
            }
        }
    }
}

#[test]
fn the_digest_follows_the_rules_and_not_the_place_of_their_text() {
    let rule = NatRule { real: one_addr(1), mapped: one_addr(2), section: 1, ..NatRule::default() };
    let digest = |rule: NatRule| Nat::new(&[rule], &[]).digest();
    assert_eq!(digest(rule), digest(NatRule { text: Blob { offset: 8, len: 3 }, ..rule }));
    assert_ne!(digest(rule), digest(NatRule { flags: NAT_INACTIVE, ..rule }));
    assert_ne!(digest(rule), Nat::new(&[rule], &[AddrRange { first: 1, last: 1 }]).digest());
}
