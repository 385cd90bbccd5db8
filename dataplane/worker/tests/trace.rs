// SPDX-License-Identifier: MIT OR Apache-2.0
//! `packet-tracer` foretells what the worker does, and leaves no trace: under random policies random packets are traced, then really sent.

use super::rig::{INSIDE, MACS, OUTSIDE, OWN, PUBLIC, Rig, SERVER, ip, policy};
use super::v6::DETECTION;
use crate::worker::command::{Ask, Asker, Command, Dump, Reply};
use crate::worker::trace::{frame, frame6};
use fedgate_flow::key::{ICMP, TCP, UDP};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{Addr, Fate, Filter, Phase, Probe, Rows, Socket, Trace, What};
use fedgate_tables::policy::*;
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_wire::emit::Station;
use fedgate_wire::{MacAddr, ethernet, proto};
use proptest::collection::vec;
use proptest::prelude::*;

const ASKER: Asker = Asker { id: 1, link: 1 };
/// Hosts of each side that are sent from and to; the last octet.
const HOSTS: u8 = 4;
const MAPPED: [u32; 3] = [ip(198, 51, 100, 3), ip(198, 51, 100, 4), ip(198, 51, 100, 5)];
const FAR: u32 = ip(203, 0, 113, 9);
const PORTS: [u16; 4] = [53, 5061, 5062, 40_000];

fn host(side: usize, n: u8) -> u32 {
    let net = [ip(198, 51, 100, 0), ip(10, 10, 0, 0)][side];
    net + 20 + u32::from(n % HOSTS)
}

fn station(side: usize, addr: u32) -> Station {
    Station { mac: MacAddr([2, 0, 0, 0, side as u8, addr as u8]), ip: addr }
}

/// Everybody who answers ARP.
fn stations() -> Vec<(usize, Station)> {
    let hosts = [OUTSIDE, INSIDE].into_iter().flat_map(|side| (0..HOSTS).map(move |n| (side, host(side, n))));
    hosts.map(|(side, addr)| (side, station(side, addr))).collect()
}

#[derive(Clone, Debug)]
struct Line {
    src: Option<u32>,
    dst: Option<u32>,
    proto: Option<u8>,
    dport: Option<u16>,
    flags: u8,
}

#[derive(Clone, Debug)]
struct World {
    /// Outside in, inside in, outside out, inside out, global; of those that are there.
    acls: [Option<Vec<Line>>; 5],
    nat: Vec<NatRule>,
    pool: [u32; 2],
    classes: Vec<(u32, u32, u32, u32)>,
    same_security: u32,
    levels: [u8; 2],
    verify: bool,
    default_route: bool,
}

fn any_addr() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => (0..2usize, 0..HOSTS).prop_map(|(side, n)| host(side, n)),
        3 => (0..MAPPED.len()).prop_map(|n| MAPPED[n]),
        1 => (0..2usize).prop_map(|side| OWN[side]),
        1 => Just(FAR),
        1 => Just(ip(198, 51, 100, 255)),
        1 => Just(ip(224, 0, 0, 5)),
    ]
}

fn line() -> impl Strategy<Value = Line> {
    let proto = prop_oneof![Just(TCP), Just(UDP), Just(ICMP)];
    (
        proptest::option::weighted(0.3, any_addr()),
        proptest::option::weighted(0.3, any_addr()),
        proptest::option::weighted(0.4, proto),
        proptest::option::weighted(0.3, (0..PORTS.len()).prop_map(|n| PORTS[n])),
        prop_oneof![6 => Just(ACE_PERMIT), 1 => Just(0), 1 => Just(ACE_LOG), 1 => Just(ACE_PERMIT | ACE_LOG)],
    )
        .prop_map(|(src, dst, proto, dport, flags)| Line {
            src,
            dst,
            dport: dport.filter(|_| proto.is_some_and(|p| p != ICMP)),
            flags: flags | if proto.is_none() { ACE_ANY_PROTO } else { 0 },
            proto,
        })
}

fn nat_rule() -> impl Strategy<Value = NatRule> {
    let real = (0..HOSTS).prop_map(|n| host(INSIDE, n));
    let mapped = (0..MAPPED.len()).prop_map(|n| MAPPED[n]);
    let flags = prop_oneof![
        4 => Just(0),
        1 => Just(NAT_ROUND_ROBIN),
        1 => Just(NAT_EXTENDED),
        1 => Just(NAT_BLOCKS),
        1 => Just(NAT_FLAT),
        1 => Just(NAT_INTERFACE),
        1 => Just(NAT_ROUTE_LOOKUP),
    ];
    (0..7u8, real, mapped, flags, any::<bool>()).prop_map(|(kind, real, mapped, flags, udp)| {
        let rule = NatRule { real_if: 1, mapped_if: 0, section: 1, ..NatRule::default() };
        let inside = net_range(OWN[1], 0xffff_ff00);
        let (real, mapped) = (one_addr(real), one_addr(mapped));
        match kind {
            0 => {
                NatRule { kind: NatKind::Static as u8, real, mapped, flags: flags & NAT_ROUTE_LOOKUP, ..rule }
            }
            1 | 2 => NatRule {
                kind: NatKind::StaticPat as u8,
                proto: if udp { UDP } else { TCP },
                real,
                mapped,
                real_port: one_port(PORTS[2]),
                mapped_port: one_port(PORTS[1]),
                ..rule
            },
            3 => NatRule { kind: NatKind::Identity as u8, real, mapped: real, ..rule },
            // The pool is set where the policy is built.
            4 => NatRule { kind: NatKind::Dynamic as u8, real: inside, pool_count: 1, ..rule },
            5 => NatRule { kind: NatKind::DynamicPat as u8, real: inside, pool_count: 1, flags, ..rule },
            _ => NatRule { kind: NatKind::DynamicPat as u8, real: inside, mapped: one_addr(OWN[0]), ..rule },
        }
    })
}

prop_compose! {
    fn world()(
        acls in proptest::array::uniform5(proptest::option::weighted(0.4, vec(line(), 0..6))),
        nat in vec(nat_rule(), 0..5),
        pool in (0..2u32).prop_map(|more| [MAPPED[0], MAPPED[0] + more]),
        classes in vec((0..4u32, 0..4u32, 0..4u32, 0..4u32), 0..2),
        same_security in prop_oneof![
            Just(0), Just(SAME_SECURITY_INTRA), Just(SAME_SECURITY_INTER), Just(SAME_SECURITY_INTRA | SAME_SECURITY_INTER)
        ],
        levels in prop_oneof![4 => Just([0, 100]), 1 => Just([50, 50])],
        verify in proptest::bool::weighted(0.3),
        default_route in proptest::bool::weighted(0.7),
    ) -> World {
        World { acls, nat, pool, classes, same_security, levels, verify, default_route }
    }
}

impl World {
    fn build(&self) -> PolicyBuilder {
        let mut b = PolicyBuilder::new();
        let mut counter = 0;
        let acls = self.acls.each_ref().map(|acl| {
            let Some(lines) = acl else { return NONE };
            let aces: Vec<Ace> = (1..)
                .zip(lines)
                .map(|(line, of)| {
                    counter += 1;
                    Ace {
                        src: of.src.unwrap_or(0),
                        src_mask: of.src.map_or(0, |_| !0),
                        dst: of.dst.unwrap_or(0),
                        dst_mask: of.dst.map_or(0, |_| !0),
                        proto: of.proto.unwrap_or(0),
                        dport: of.dport.map_or(ANY_PORT, one_port),
                        flags: of.flags,
                        counter,
                        line,
                        ..Ace::default()
                    }
                })
                .collect();
            let name = b.blob(format!("acl{counter}").as_bytes());
            b.acl(name, &aces, &[])
        });
        for (i, name) in ["outside", "inside"].into_iter().enumerate() {
            let (name, device) = (b.blob(name.as_bytes()), b.blob(format!("net_ring{i}").as_bytes()));
            b.interface(Interface {
                name,
                device,
                addr: OWN[i],
                mask: 0xffff_ff00,
                mtu: 1500,
                security: self.levels[i],
                flags: IF_MAC_SET | if self.verify { IF_VERIFY_REVERSE_PATH } else { 0 },
                mac: MACS[i].0,
                acl_in: acls[i],
                acl_out: acls[2 + i],
                ..Interface::default()
            });
        }
        if self.default_route {
            let gateway = host(OUTSIDE, 0);
            b.route(Route { gateway, ifindex: OUTSIDE as u32, metric: 1, ..Route::default() });
        }
        for (counter, rule) in (1..).zip(&self.nat) {
            let mut rule = NatRule { counter, ..*rule };
            if rule.pool_count > 0 {
                let [first, last] = self.pool;
                (rule.pool, rule.pool_count) = b.pool(&[AddrRange { first, last }]);
                rule.mapped = one_addr(OWN[0]);
            }
            b.nat(rule);
        }
        for (slot, &(conn_max, embryonic_max, per_client_max, per_client_embryonic_max)) in
            (0..).zip(&self.classes)
        {
            let name = b.blob(b"all");
            let limits = ServiceClass {
                conn_max,
                embryonic_max,
                per_client_max,
                per_client_embryonic_max,
                ..ServiceClass::default()
            };
            b.class(ServiceClass { name, flags: CLASS_LIMITS, slot, ..limits });
        }
        b.globals(Globals {
            acl_global: acls[4],
            flags: self.same_security,
            block_size: 64,
            blocks_per_host: 2,
            ..Globals::default()
        });
        b
    }
}

/// A packet: where it comes in, from whom, to whom; and TCP flags for one that is sent untraced.
#[derive(Clone, Debug)]
struct Packet {
    probe: Probe,
    flags: Option<u8>,
}

prop_compose! {
    fn packet()(
        side in 0..2usize,
        from in prop_oneof![6 => (0..HOSTS).prop_map(Some), 1 => Just(None)],
        spoof in any_addr(),
        dst in any_addr(),
        proto in prop_oneof![4 => Just(TCP), 3 => Just(UDP), 2 => Just(ICMP), 1 => Just(proto::ICMPV6)],
        sport in 0..PORTS.len(),
        dport in 0..PORTS.len(),
        icmp in prop_oneof![4 => Just([8, 0]), 1 => Just([0, 0]), 1 => Just([13, 0]), 1 => Just([3, 1])],
        flags in proptest::option::weighted(0.25, prop_oneof![Just(0x10), Just(0x11), Just(0x04), Just(0x12)]),
    ) -> Packet {
        let src = from.map_or(spoof, |n| host(side, n));
        let probe = Probe {
            in_if: side as u8, proto, src: src.into(), sport: PORTS[sport], dst: dst.into(), dport: PORTS[dport], icmp
        };
        Packet { probe, flags: flags.filter(|_| proto == TCP) }
    }
}

fn trace(rig: &mut Rig, probe: Probe) -> Trace {
    let answer = rig.command(Command::Trace(Ask { asker: ASKER, probe, handed: false }));
    let Reply::Traced { trace: Some(trace), .. } = answer else { panic!("an answer") };
    trace
}

/// All that a worker lists.
fn state(rig: &mut Rig) -> Vec<Rows> {
    let whats =
        [What::Conns, What::Xlates, What::Pools, What::Classes, What::Hosts, What::Arp, What::Neighbors6];
    whats
        .into_iter()
        .map(|what| {
            let dump = Dump { asker: ASKER, what, filter: Filter::default(), cursor: 0 };
            match rig.command(Command::Dump(dump)) {
                Reply::Page { rows, .. } => rows,
                _ => panic!("a page"),
            }
        })
        .collect()
}

/// Traces a packet, and sees that nothing has changed.
fn trace_unseen(rig: &mut Rig, probe: Probe) -> Trace {
    let (before, held) = (state(rig), rig.held());
    rig.moved();
    let told = trace(rig, probe);
    assert!(rig.moved().is_empty());
    assert_eq!(rig.collect(), [Vec::<Vec<u8>>::new(), Vec::new()]);
    assert!(rig.events().is_empty());
    assert_eq!((state(rig), rig.held()), (before, held));
    told
}

/// What became of a packet, by the counters that have moved.
fn became(rig: &mut Rig) -> Fate {
    let moved = rig.moved();
    let dropped = DropReason::ALL.iter().find(|reason| moved.contains_key(reason.name()));
    match dropped {
        Some(reason) => Fate::Dropped(*reason),
        None if moved.contains_key("icmp_echo_replies") => Fate::Answered,
        None if moved.contains_key("tcp_intercept_cookies") => Fate::Intercepted,
        None => Fate::Passes,
    }
}

/// Source and destination of an IPv4 frame with ports.
fn ends(frame: &[u8]) -> Option<[Socket; 2]> {
    let parsed = fedgate_wire::parse(frame).ok()?;
    let key = parsed.tuple;
    Some([Socket::v4(key.src, key.sport), Socket::v4(key.dst, key.dport)])
}

proptest! {
    // Pools of packet buffers are for good: no more of them than there is memory for.
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 32, ..ProptestConfig::default() })]
    #[test]
    fn what_is_traced_comes_true(world in world(), packets in vec(packet(), 1..64)) {
        let mut rig = Rig::with(world.build());
        rig.wait(DETECTION);
        rig.collect();
        for Packet { probe, flags } in packets {
            let (Addr::V4(src), Addr::V4(dst)) = (probe.src, probe.dst) else { unreachable!() };
            let side = usize::from(probe.in_if);
            if let Some(flags) = flags {
                // Moves the states of what is there.
                let to = (dst, probe.dport);
                let frame = super::rig::tcp((station(side, src), probe.sport), to, MACS[side], flags);
                rig.exchange(side, &frame, &stations());
                rig.events();
                continue;
            }
            let told = trace_unseen(&mut rig, probe);
            let real = frame(&probe, (src, dst), MACS[side]);
            let out = rig.exchange(side, &real, &stations());
            let events = rig.events();
            let became = became(&mut rig);
            prop_assert_eq!(told.fate, became, "{:?} {:?} {:?}", probe, told.phases, events);
            let stopped = told.phases.iter().position(|phase| !phase.permits());
            prop_assert_eq!(stopped.is_some(), matches!(became, Fate::Dropped(_)), "{:?}", told);
            prop_assert!(stopped.is_none_or(|at| at + 1 == told.phases.len()), "{:?}", told);
            if became != Fate::Passes {
                continue;
            }
            let at = usize::from(told.out_if.unwrap());
            let left = out[at].iter().filter(|f| f[12..14] == ethernet::TYPE_IPV4.to_be_bytes());
            let left: Vec<_> = left.filter_map(|frame| ends(frame)).collect();
            let known = told.phases.iter().any(|phase| matches!(phase, Phase::Adjacency { mac: Some(_), .. }));
            if left.is_empty() && !known {
                continue; // nobody has that address
            }
            prop_assert_eq!(left.len(), 1, "{:?}", told);
            for phase in &told.phases {
                match phase {
                    Phase::Translated { shown: Some(shown), .. } => prop_assert_eq!(left[0][0], *shown, "{:?}", told),
                    Phase::Untranslated { real, .. } if probe.proto != ICMP => {
                        prop_assert_eq!(left[0][1], *real, "{:?}", told);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The federation in small, whose SYNs of the class `calls` the TLS proxy answers if it has a certificate.
fn proxied(complete: bool) -> PolicyBuilder {
    let mut b = policy();
    let mut proxy = TlsProxy { name: b.blob(b"inward"), ..TlsProxy::default() };
    if complete {
        let made = rcgen::generate_simple_self_signed(["cup.local.example".to_owned()]).unwrap();
        let chain = made.cert.pem();
        let (chain, key) = (b.blob(chain.as_bytes()), b.blob(made.signing_key.serialize_pem().as_bytes()));
        let name = b.blob(b"own");
        let own = b.trustpoint(Trustpoint { name, chain, key, cas: chain, ..Trustpoint::default() });
        let face = b.face(&[Shown { trustpoint: own, ..Shown::default() }], &[own]);
        (proxy.server, proxy.client) = (face, face);
    }
    let tls_proxy = b.tls_proxy(proxy);
    let name = b.blob(b"calls");
    let ace = Ace {
        dst: SERVER,
        dst_mask: !0,
        sport: ANY_PORT,
        dport: one_port(5061),
        proto: TCP,
        flags: ACE_PERMIT,
        ..Ace::default()
    };
    let acl = b.acl(name, &[ace], &[]);
    b.class(ServiceClass { name, acl, tls_proxy, slot: 3, ..ServiceClass::default() });
    b
}

#[test]
fn a_connection_for_the_tls_proxy_is_traced_and_comes_true() {
    for complete in [true, false] {
        let mut rig = Rig::with(proxied(complete));
        rig.collect();
        let src = host(OUTSIDE, 1);
        let probe = Probe {
            in_if: OUTSIDE as u8,
            proto: TCP,
            src: src.into(),
            sport: 40_000,
            dst: PUBLIC.into(),
            dport: 5061,
            icmp: [0; 2],
        };
        let told = trace_unseen(&mut rig, probe);
        let fate = if complete { Fate::Proxied } else { Fate::Dropped(DropReason::ProxySessionLimit) };
        assert_eq!(told.fate, fate);
        assert_eq!(told.out_if, Some(INSIDE as u8));
        let last = Phase::TlsProxy { class: 3, proxy: 0, permit: complete };
        assert_eq!(told.phases.last(), Some(&last), "{:?}", told.phases);

        let real = frame(&probe, (src, PUBLIC), MACS[OUTSIDE]);
        let out = rig.exchange(OUTSIDE, &real, &stations());
        rig.events();
        let moved = rig.moved();
        // The server hears nothing of a SYN: the proxy answers, or nobody does.
        assert_eq!(out[INSIDE], Vec::<Vec<u8>>::new());
        let answers = out[OUTSIDE].iter().filter_map(|frame| ends(frame)).collect::<Vec<_>>();
        if complete {
            assert_eq!(answers, [[Socket::v4(PUBLIC, 5061), Socket::v4(src, 40_000)]]);
            assert_eq!(moved.get("proxy_sessions_opened"), Some(&1), "{moved:?}");
            // What follows is found to be the session's.
            let told = trace_unseen(&mut rig, probe);
            assert_eq!(told.fate, Fate::Proxied);
            let session =
                |phase: &Phase| matches!(phase, Phase::Found { session: Some(_), permit: true, .. });
            assert!(told.phases.iter().any(session), "{:?}", told.phases);
        } else {
            assert!(answers.is_empty(), "{answers:?}");
            assert_eq!(moved.get(DropReason::ProxySessionLimit.name()), Some(&1), "{moved:?}");
            assert_eq!(rig.flow().conns.in_use().0, 0);
        }
    }
}

const NETS: [u128; 2] = [0x2001_0db8_0000_00ff << 64, 0x2001_0db8_0000_0001 << 64];

fn any_addr6() -> impl Strategy<Value = u128> {
    prop_oneof![
        6 => (0..2usize, 0..3u128).prop_map(|(side, n)| NETS[side] | 0x50 | n),
        1 => (0..2usize).prop_map(|side| NETS[side] | 1),
        1 => Just(0x2600u128 << 112 | 7),
        1 => Just(0xfe80u128 << 112 | 7),
        1 => Just(0xff02u128 << 112 | 1),
    ]
}

prop_compose! {
    fn ace6()(
        dst in proptest::option::weighted(0.4, any_addr6()),
        proto in proptest::option::weighted(0.4, prop_oneof![Just(TCP), Just(UDP), Just(proto::ICMPV6)]),
        permit in proptest::bool::weighted(0.7),
    ) -> Ace6 {
        Ace6 {
            dst: dst.unwrap_or(0).to_be_bytes(),
            dst_prefix: dst.map_or(0, |_| 128),
            proto: proto.unwrap_or(0),
            flags: if proto.is_none() { ACE_ANY_PROTO } else { 0 } | if permit { ACE_PERMIT } else { 0 },
            ..Ace6::default()
        }
    }
}

fn policy6(
    acls: &[Option<Vec<Ace6>>; 3],
    verify: bool,
    (conn_max, embryonic_max): (u32, u32),
) -> PolicyBuilder {
    let mut b = PolicyBuilder::new();
    let acls = acls.each_ref().map(|acl| {
        let Some(aces) = acl else { return NONE };
        let aces: Vec<Ace6> = (1..).zip(aces).map(|(n, ace)| Ace6 { line: n, counter: n, ..*ace }).collect();
        let name = b.blob(b"acl");
        b.acl(name, &[], &aces)
    });
    for i in [OUTSIDE, INSIDE] {
        let (name, device) = (b.blob(format!("if{i}").as_bytes()), b.blob(format!("net_ring{i}").as_bytes()));
        b.interface(Interface {
            name,
            device,
            mtu: 1500,
            security: 100 * i as u8,
            flags: IF_MAC_SET | IF_IPV6 | if verify { IF_VERIFY_REVERSE_PATH } else { 0 },
            mac: MACS[i].0,
            acl_in: acls[i],
            acl_out: if i == OUTSIDE { acls[2] } else { NONE },
            addr6: (NETS[i] | 1).to_be_bytes(),
            prefix6: 64,
            ..Interface::default()
        });
    }
    let name = b.blob(b"all");
    b.class(ServiceClass { name, flags: CLASS_LIMITS, conn_max, embryonic_max, ..ServiceClass::default() });
    b.globals(Globals::default());
    b
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 32, ..ProptestConfig::default() })]
    #[test]
    fn what_is_traced_comes_true_of_ipv6(
        acls in proptest::array::uniform3(proptest::option::weighted(0.5, vec(ace6(), 0..4))),
        verify in any::<bool>(),
        limits in (0..4u32, 0..4u32),
        // No more than may wait for one neighbour, for nobody answers here.
        packets in vec((0..2u8, any_addr6(), any_addr6(), 0..3usize, 0..2usize, 127..130u8), 1..8),
    ) {
        let mut rig = Rig::with(policy6(&acls, verify, limits));
        rig.wait(DETECTION);
        rig.collect();
        for (in_if, src, dst, proto, port, icmp) in packets {
            let proto = [TCP, UDP, proto::ICMPV6][proto];
            let (src, dst) = if src == dst { (src, dst ^ 2) } else { (src, dst) };
            let probe = Probe {
                in_if, proto, src: src.into(), sport: PORTS[port], dst: dst.into(), dport: 443, icmp: [icmp, 0]
            };
            let told = trace_unseen(&mut rig, probe);
            let side = usize::from(in_if);
            rig.send(side, &frame6(&probe, (src, dst), MACS[side]));
            rig.events();
            let became = became(&mut rig);
            prop_assert_eq!(told.fate, became, "{:?} {:?}", probe, told.phases);
            let stopped = told.phases.iter().any(|phase| !phase.permits());
            prop_assert_eq!(stopped, matches!(became, Fate::Dropped(_)), "{:?}", told);
        }
    }
}
