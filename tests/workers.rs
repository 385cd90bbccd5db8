// SPDX-License-Identifier: MIT OR Apache-2.0
//! A dataplane process with two workers between two network namespaces, carrying TCP of real kernels: out through dynamic PAT, and in to a static address.
//!
//! Taps have one queue pair each, so the workers share the work by their rings: each receives from one tap and sends to it for both.
//! Needs root and `ip` (iproute2): without root it says so and does nothing.

#[expect(dead_code, reason = "what other tests need")]
mod common;

use common::lab::{Appliance, Namespace, call, echo, exchange, interface, is_root, own_name, until};
use fedgate_tables::counters::{Counter, Stat};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::ToControl;
use fedgate_tables::policy::*;
use fedgate_tables::policy_build::PolicyBuilder;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

/// Hosts on each side, each with a connection of its own at the same time.
const HOSTS: u8 = 8;
/// Bytes that each sends, and gets back.
const BYTES: usize = 1 << 20;
const PORT: u16 = 7;
const SERVER_OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const SERVER_INSIDE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 9);
/// What outside calls it.
const SERVER_SHOWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);

/// Inside 10.9.0.0/24 behind the address of the outside interface, 192.0.2.1; its server has an address of its own, for all to call.
fn policy(taps: &[String; 2]) -> Vec<u8> {
    let mut b = PolicyBuilder::new();
    let addrs = [0xc000_0201, 0x0a09_0001];
    let name = b.blob(b"from-outside");
    let calls = Ace {
        dst: SERVER_INSIDE.into(),
        dst_mask: u32::MAX,
        sport: ANY_PORT,
        dport: one_port(PORT),
        proto: 6,
        flags: ACE_PERMIT,
        time_range: NONE16,
        line: 1,
        id: 1,
        ..Ace::default()
    };
    let acl = b.acl(name, &[calls], &[]);
    for (i, (security, acl_in)) in [(0, acl), (100, NONE)].into_iter().enumerate() {
        let interface = Interface { addr: addrs[i], acl_in, ..interface(&mut b, &taps[i], security) };
        b.interface(interface);
    }
    let rule = NatRule { real_if: 1, mapped_if: 0, ..NatRule::default() };
    b.nat(NatRule {
        real: one_addr(SERVER_INSIDE.into()),
        mapped: one_addr(SERVER_SHOWN.into()),
        kind: NatKind::Static as u8,
        section: 1,
        counter: 1,
        ..rule
    });
    b.nat(NatRule {
        real: net_range(addrs[1], 0xffff_ff00),
        mapped: one_addr(addrs[0]),
        kind: NatKind::DynamicPat as u8,
        section: 2,
        counter: 2,
        ..rule
    });
    b.globals(Globals::default());
    b.finish(1).unwrap()
}

#[test]
fn two_workers_carry_tcp_between_namespaces() {
    if !is_root() {
        return;
    }
    let taps = ["o", "i"].map(own_name);
    let appliance = Appliance::start("0,1", &policy(&taps));
    match appliance.control.ack {
        ToControl::HelloAck { workers, .. } => assert_eq!(workers, 2),
        ref other => panic!("no HelloAck: {other:?}"),
    }
    let [outside, inside] = ["out", "in"].map(Namespace::new);
    let hosts = |net: [u8; 3]| (0..HOSTS).map(move |host| Ipv4Addr::new(net[0], net[1], net[2], 10 + host));
    let sides = [
        (&outside, SERVER_OUTSIDE, [192, 0, 2], SERVER_SHOWN),
        (&inside, SERVER_INSIDE, [10, 9, 0], SERVER_OUTSIDE),
    ];
    for ((side, server, net, _), tap) in sides.iter().zip(&taps) {
        let addresses: Vec<String> =
            hosts(*net).chain([*server]).map(|address| format!("{address}/24")).collect();
        side.take(tap, &addresses);
    }
    inside.ip("route add default via 10.9.0.1");

    let servers = sides.map(|(side, server, ..)| {
        let listener = side.listen(SocketAddr::new(server.into(), PORT));
        thread::spawn(move || echo(&listener, HOSTS.into()))
    });
    let talk = |(side, _, net, to): &(&Namespace, Ipv4Addr, [u8; 3], Ipv4Addr)| {
        let to = SocketAddr::new((*to).into(), PORT);
        let talk = |host: Ipv4Addr| side.spawn(move || exchange(&mut call(host.into(), to), BYTES, false));
        hosts(*net).map(talk).collect::<Vec<_>>()
    };
    let clients: Vec<_> = sides.iter().flat_map(talk).collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    servers.into_iter().for_each(|server| server.join().unwrap());

    let stat = |stat| appliance.counters.sum(Counter::Stat(stat));
    assert_eq!(stat(Stat::ConnsBuilt), 2 * u64::from(HOSTS));
    assert!(stat(Stat::HandedOver) > 0);
    // All ends are at rest, so nothing is on its way between the workers for long. What a full ring refused may also have been a frame to send.
    let lost = || appliance.dropped(DropReason::DispatchQueueLimit);
    until("what one worker hands over, the other takes", || {
        let (taken, handed) = (stat(Stat::TakenOver), stat(Stat::HandedOver));
        (taken..=taken + lost()).contains(&handed)
    });
    appliance.no_window_drops();

    let rows = appliance.tcp_connections();
    assert_eq!(rows.iter().map(|row| row.id).collect::<BTreeSet<_>>().len(), 2 * usize::from(HOSTS));
    let out = || rows.iter().filter(|row| !row.inbound);
    assert_eq!(out().map(|row| row.initiator.mapped_port).collect::<BTreeSet<_>>().len(), usize::from(HOSTS));
    let workers: BTreeSet<u64> = out().map(|row| row.id >> 33).collect();
    assert_eq!(workers.into_iter().collect::<Vec<_>>(), [0, 1], "neighbouring hosts go round the workers");
    assert!(appliance.dataplane.terminate().success());
}
