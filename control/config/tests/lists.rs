// SPDX-License-Identifier: MIT OR Apache-2.0
//! Generators of access-lists with the objects and groups they name, and what must hold of their expansion: an entry matches
//! a packet exactly where the line, read by a slow matcher that knows nothing of products and prefixes, does.

use super::super::addr::{Net6, ObjectAddr};
use super::super::expand::{Parts, nets4};
use super::super::model::*;
use super::super::ports::{TCP, UDP};
use super::super::types::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

pub fn net() -> impl Strategy<Value = Net> {
    (any::<u32>(), 0u32..=32).prop_map(|(addr, len)| {
        let mask = u32::MAX.checked_shl(32 - len).unwrap_or(0);
        Net::new(Ipv4Addr::from(addr & mask), Ipv4Addr::from(mask)).expect("masked")
    })
}

fn net6() -> impl Strategy<Value = Net6> {
    (any::<u128>(), 0u8..=128)
        .prop_map(|(addr, len)| Net6::holding(Ipv6Addr::from(addr), len).expect("at most 128"))
}

/// What an object may hold: a host has an address.
pub fn object_addr() -> impl Strategy<Value = ObjectAddr> {
    prop_oneof![
        4 => net().prop_filter("host 0.0.0.0", |n| !(n.is_host() && n.addr().is_unspecified())).prop_map(ObjectAddr::Net),
        2 => any::<(u32, u32)>().prop_map(|(a, b)| ObjectAddr::Range(a.min(b).into(), a.max(b).into())),
        1 => net6().prop_filter("host ::", |n| !(n.is_host() && n.addr().is_unspecified())).prop_map(ObjectAddr::Net6),
        1 => any::<(u128, u128)>().prop_map(|(a, b)| ObjectAddr::Range6(a.min(b).into(), a.max(b).into())),
    ]
}

pub fn port_op() -> impl Strategy<Value = PortOp> {
    prop_oneof![
        Just(PortOp::Any),
        any::<u16>().prop_map(PortOp::Eq),
        any::<u16>().prop_map(PortOp::Neq),
        (0..u16::MAX).prop_map(PortOp::Gt),
        (1..=u16::MAX).prop_map(PortOp::Lt),
        (any::<u16>(), any::<u16>()).prop_map(|(a, b)| PortOp::Range(a.min(b), a.max(b))),
        Just(PortOp::Eq(5060)),
    ]
}

fn some_port() -> impl Strategy<Value = PortOp> {
    prop_oneof![
        any::<u16>().prop_map(PortOp::Eq),
        (any::<u16>(), any::<u16>()).prop_map(|(a, b)| PortOp::Range(a.min(b), a.max(b)))
    ]
}

pub fn service() -> impl Strategy<Value = Service> {
    let icmp = option::of((any::<u8>(), option::of(any::<u8>())));
    (
        prop::sample::select(vec![
            Protos::One(6),
            Protos::One(17),
            Protos::One(1),
            Protos::One(47),
            Protos::Any,
        ]),
        port_op(),
        port_op(),
        icmp,
    )
        .prop_map(|(proto, source, destination, icmp)| match proto {
            Protos::One(TCP | UDP) => Service { proto, source, destination, icmp: None },
            Protos::One(1) => Service { icmp, ..Service::of(proto) },
            proto => Service::of(proto),
        })
}

/// The names that [`ace`] uses, and what stands under them.
pub fn add_names(model: &mut Model) {
    let networks = Arc::make_mut(&mut model.networks);
    for (name, last) in [("host-a", 9), ("host-b", 8)] {
        let addr = Some(ObjectAddr::Net(Net::host(Ipv4Addr::new(10, 0, 0, last))));
        networks.insert(name.into(), NetworkObject { addr, ..NetworkObject::default() });
    }
    let services = Arc::make_mut(&mut model.services);
    for (name, port) in [("svc-a", 5061), ("svc-b", 5062)] {
        let service = Service { source: PortOp::Eq(port), ..Service::of(Protos::One(6)) };
        services.insert(name.into(), Some(service));
    }
    model.time_ranges.insert(
        "office".into(),
        TimeRange {
            start: Some(Minute(20_454 * 1440)),
            end: None,
            periods: vec![Periodic { days: 0x1f, from: 480, until: None, to: 1020 }],
        },
    );
}

/// Groups with fixed names, of every kind, some of which hold others.
pub fn groups() -> impl Strategy<Value = Vec<(String, Group)>> {
    let nets = vec(
        prop_oneof![
            net().prop_map(Member::Net),
            net6().prop_map(Member::Net6),
            Just(Member::Object("host-a".into()))
        ],
        1..4,
    );
    let services = vec(
        prop_oneof![service().prop_map(Member::Service), Just(Member::ServiceObject("svc-a".into()))],
        1..4,
    );
    let ports = vec(some_port().prop_map(|op| Member::Port(Protos::TcpUdp, op)), 1..4);
    let protocols = vec((1u8..).prop_map(|n| Member::Protocol(Protos::One(n))), 1..3);
    let icmps = vec(any::<u8>().prop_map(Member::Icmp), 1..4);
    let group = |kind, mut members: Vec<Member>, more: Option<&str>| {
        members.extend(more.map(|name| Member::Group(name.into())));
        let unique = members.into_iter().fold(Vec::new(), |mut kept, m| {
            if !kept.contains(&m) {
                kept.push(m);
            }
            kept
        });
        Group { kind, description: None, members: unique }
    };
    (nets.clone(), nets, services, ports, protocols, icmps).prop_map(
        move |(a, b, services, ports, protocols, icmps)| {
            vec![
                ("a-nets".to_owned(), group(GroupKind::Network, a, Some("b-nets"))),
                ("b-nets".to_owned(), group(GroupKind::Network, b, None)),
                ("services".to_owned(), group(GroupKind::Service, services, None)),
                ("ports".to_owned(), group(GroupKind::Ports(Protos::TcpUdp), ports, None)),
                ("protocols".to_owned(), group(GroupKind::Protocol, protocols, None)),
                ("icmps".to_owned(), group(GroupKind::IcmpType, icmps, None)),
            ]
        },
    )
}

fn addr() -> impl Strategy<Value = AceAddr> {
    prop_oneof![
        2 => Just(AceAddr::Any),
        1 => Just(AceAddr::Any4),
        1 => Just(AceAddr::Any6),
        4 => net().prop_map(|net| if net == Net::ANY { AceAddr::Any4 } else { AceAddr::Net(net) }),
        1 => net6().prop_map(|net| if net == Net6::ANY { AceAddr::Any6 } else { AceAddr::Net6(net) }),
        1 => Just(AceAddr::Object("host-b".into())),
        2 => Just(AceAddr::Group("a-nets".into())),
        1 => Just(AceAddr::Interface("inside".into())),
    ]
}

/// A line, of which the grammar could not say that its ends never meet.
pub fn ace() -> impl Strategy<Value = Ace> {
    let ports =
        || prop_oneof![3 => port_op().prop_map(AcePorts::Op), 1 => Just(AcePorts::Group("ports".into()))];
    let proto = prop_oneof![
        Just(AceProto::Ip),
        (1..=u8::MAX).prop_map(AceProto::Number),
        Just(AceProto::Number(TCP)),
        Just(AceProto::Number(UDP)),
        Just(AceProto::Number(1)),
        Just(AceProto::Number(58)),
        Just(AceProto::Object("svc-a".into())),
        Just(AceProto::Group("services".into())),
        Just(AceProto::Group("protocols".into())),
    ];
    let icmp = prop_oneof![
        Just(AceIcmp::Any),
        any::<(u8, Option<u8>)>().prop_map(|(t, c)| AceIcmp::Type(t, c)),
        Just(AceIcmp::Group("icmps".into()))
    ];
    let log = option::of(prop_oneof![
        Just(AceLog::PLAIN),
        Just(AceLog::Disable),
        Just(AceLog::Default),
        (0u8..8, 1u16..=600).prop_map(|(level, interval)| AceLog::On { level, interval })
    ]);
    let rest = (log, option::of(Just(Name::from("office"))), any::<(bool, bool)>());
    (proto, addr(), ports(), addr(), ports(), icmp, rest).prop_filter_map(
        "families that never meet",
        |(proto, src, sport, dst, dport, icmp, (log, time_range, (permit, inactive)))| {
            let any = || AcePorts::Op(PortOp::Any);
            let (sport, dport) = match proto {
                AceProto::Number(TCP | UDP) => (sport, dport),
                _ => (any(), any()),
            };
            let icmp = if matches!(proto, AceProto::Number(1 | 58)) { icmp } else { AceIcmp::Any };
            let ace = Ace { permit, proto, src, sport, dst, dport, icmp, log, time_range, inactive };
            let v = |addr: &AceAddr| match addr {
                AceAddr::Any4 | AceAddr::Net(_) => (true, false),
                AceAddr::Any6 | AceAddr::Net6(_) => (false, true),
                _ => (true, true),
            };
            let (s, d) = (v(&ace.src), v(&ace.dst));
            let v4 = s.0 && d.0 && ace.proto != AceProto::Number(58);
            let v6 = s.1 && d.1 && ace.proto != AceProto::Number(1);
            let spelt = match ace.proto {
                AceProto::Number(1) => s.0 && d.0,
                AceProto::Number(58) => s.1 && d.1,
                _ => true,
            };
            ((v4 || v6) && spelt).then_some(ace)
        },
    )
}

/// A line of a list.
pub fn line() -> impl Strategy<Value = AclLine> {
    prop_oneof![
        8 => ace().prop_map(AclLine::Ace),
        1 => "[a-z]{0,4}( [a-z!]{1,9})?".prop_map(|t| AclLine::Remark(t.trim().to_owned())),
    ]
}

/// A TCP packet, as far as the oracle looks.
#[derive(Clone, Copy, Debug)]
struct Packet {
    src: u32,
    dst: u32,
    sport: u16,
    dport: u16,
}

fn oracle_addr(model: &Model, addr: &AceAddr, ip: u32) -> bool {
    let object = |name: &str| match model.networks[name].addr {
        Some(addr) => addr.v4().is_some_and(|[first, last]| (first..=last).contains(&ip)),
        None => false,
    };
    match addr {
        AceAddr::Any | AceAddr::Any4 => true,
        AceAddr::Any6 | AceAddr::Net6(_) => false,
        AceAddr::Net(net) => net.contains(ip.into()),
        AceAddr::Object(name) => object(name),
        AceAddr::Interface(name) => model.interface(name).unwrap().address.unwrap().0 == Ipv4Addr::from(ip),
        AceAddr::Group(name) => model.groups[&**name].members.iter().any(|member| match member {
            Member::Net(net) => net.contains(ip.into()),
            Member::Object(name) => object(name),
            Member::Group(inner) => oracle_addr(model, &AceAddr::Group(inner.clone()), ip),
            _ => false,
        }),
    }
}

fn oracle_op(op: PortOp, port: u16) -> bool {
    match op {
        PortOp::Any => true,
        PortOp::Eq(p) => port == p,
        PortOp::Neq(p) => port != p,
        PortOp::Gt(p) => port > p,
        PortOp::Lt(p) => port < p,
        PortOp::Range(a, b) => a <= port && port <= b,
    }
}

fn oracle_ports(model: &Model, ports: &AcePorts, port: u16) -> bool {
    match ports {
        AcePorts::Op(op) => oracle_op(*op, port),
        AcePorts::Group(name) => model.groups[&**name]
            .members
            .iter()
            .any(|member| matches!(member, Member::Port(_, op) if oracle_op(*op, port))),
    }
}

fn oracle(model: &Model, ace: &Ace, p: Packet) -> bool {
    let service = |s: &Service| {
        let tcp = matches!(s.proto, Protos::Any | Protos::TcpUdp | Protos::One(TCP));
        tcp && oracle_op(s.source, p.sport) && oracle_op(s.destination, p.dport)
    };
    let proto = match &ace.proto {
        AceProto::Ip => true,
        AceProto::Number(number) => *number == TCP,
        AceProto::Object(name) => service(&model.services[&**name].unwrap()),
        AceProto::Group(name) => model.groups[&**name].members.iter().any(|member| match member {
            Member::Service(s) => service(s),
            Member::ServiceObject(name) => service(&model.services[&**name].unwrap()),
            Member::Protocol(protos) => *protos == Protos::One(TCP),
            _ => false,
        }),
    };
    proto
        && oracle_addr(model, &ace.src, p.src)
        && oracle_addr(model, &ace.dst, p.dst)
        && oracle_ports(model, &ace.sport, p.sport)
        && oracle_ports(model, &ace.dport, p.dport)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn elements_match_what_the_line_does(groups in groups(), ace in ace(), near in any::<(bool, bool, bool, bool)>(), random in any::<(u32, u32, u16, u16)>()) {
        let mut model = super::model(super::TWO);
        add_names(&mut model);
        Arc::make_mut(&mut model.groups).extend(groups);
        let Ok(parts) = Parts::of(&model, &ace) else { return Ok(()) };
        // A packet at random meets little: each field may be taken from some element instead.
        let some = parts.elements().find(|element| element.is_v4());
        let side = |side| nets4(side)[0].0;
        let pick = |op: PortOp| op.ranges()[0][1];
        let packet = Packet {
            src: some.filter(|_| near.0).map_or(random.0, |e| side(e.src)),
            dst: some.filter(|_| near.1).map_or(random.1, |e| side(e.dst)),
            sport: some.filter(|_| near.2).map_or(random.2, |e| pick(e.kind.source)),
            dport: some.filter(|_| near.3).map_or(random.3, |e| pick(e.kind.destination)),
        };
        let hit = parts.elements().filter(|e| e.is_v4()).any(|e| {
            let inside = |side, ip: u32| nets4(side).iter().any(|(net, mask)| ip & mask == *net);
            let within = |op: PortOp, port: u16| op.ranges().iter().any(|[a, b]| *a <= port && port <= *b);
            matches!(e.kind.proto, None | Some(TCP))
                && inside(e.src, packet.src)
                && inside(e.dst, packet.dst)
                && within(e.kind.source, packet.sport)
                && within(e.kind.destination, packet.dport)
        });
        prop_assert_eq!(hit, oracle(&model, &ace, packet), "{:?} {}", packet, ace);
        let (elements, _) = parts.size();
        prop_assert!(parts.elements().count() as u64 <= elements);
    }
}
