// SPDX-License-Identifier: MIT OR Apache-2.0
//! IPv6 between real hosts through a real appliance: `ping`, `traceroute`, UDP and TCP of the Linux kernel, by an access list.
//!
//! ```text
//! inside 2001:db8:77::10, ::11 -- appliance -- router 2001:db8:100::30 -- MTU 1400 -- far 2001:db8:f::9
//! ```
//! Outside may ping ::10 and call its port 80, and no more. Needs root, `ip`, `ping` and `traceroute` (scripts/setup): without root it says so
//! and does nothing.

#[expect(dead_code, reason = "what other tests need")]
mod common;

use common::PATIENCE;
use common::lab::{
    Appliance, Namespace, call, echo, exchange, hops, interface, is_root, own_name, udp_echo, until,
};
use fedgate_tables::counters::{Counter, FragmentCounter};
use fedgate_tables::drops::DropReason;
use fedgate_tables::policy::*;
use fedgate_tables::policy_build::PolicyBuilder;
use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

const INSIDE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 0x10);
/// Outside may not reach this one.
const PRIVATE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 0x11);
const OURS_INSIDE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x77, 0, 0, 0, 0, 1);
const OURS_OUTSIDE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 2);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, 0x30);
const FAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 9);
const NARROW: u16 = 1400;

/// Hit counters of the access list's entries.
const PINGS: u32 = 1;
const CALLS: u32 = 2;
const OTHERS: u32 = 3;

/// Namespaces and the appliance between them; all gone when dropped.
struct Lab {
    inside: Namespace,
    _router: Namespace,
    far: Namespace,
    appliance: Appliance,
}

impl Lab {
    fn new() -> Self {
        let taps = ["i", "o"].map(own_name);
        let appliance = Appliance::start("0", &policy(&taps));
        let [inside, router, far] = ["in", "rt", "far"].map(Namespace::new);
        inside.take(&taps[0], &[INSIDE, PRIVATE].map(|address| format!("{address}/64")));
        router.take(&taps[1], &[format!("{ROUTER}/64")]);
        inside.ip(&format!("-6 route add default via {OURS_INSIDE}"));
        let wan = format!("wan mtu {NARROW}");
        router.ip(&format!("link add {wan} type veth peer name {wan} netns {}", far.name()));
        router.ip("addr add 2001:db8:f::1/64 dev wan nodad");
        router.ip("link set wan up");
        router.ip(&format!("-6 route add 2001:db8:77::/64 via {OURS_OUTSIDE}"));
        far.ip(&format!("addr add {FAR}/64 dev wan nodad"));
        far.ip("link set wan up");
        // Its own link is narrow, but it tells TCP otherwise, so that the other side must find out.
        far.ip("-6 route add default via 2001:db8:f::1 advmss 1440");
        router.sysctl("net.ipv6.conf.all.forwarding=1");
        for namespace in [&router, &far] {
            namespace.sysctl("net.ipv6.icmp.ratelimit=0");
        }
        Self { inside, _router: router, far, appliance }
    }
}

/// Addresses of IPv6 only, and what outside may begin.
fn policy(taps: &[String; 2]) -> Vec<u8> {
    let mut b = PolicyBuilder::new();
    let permit = |proto: u8, dport: [u16; 2], counter: u32| Ace6 {
        dst: INSIDE.octets(),
        dst_prefix: 128,
        sport: ANY_PORT,
        dport,
        proto,
        flags: ACE_PERMIT,
        time_range: NONE16,
        line: counter,
        id: counter,
        counter,
        ..Ace6::default()
    };
    let name = b.blob(b"from-outside");
    let everything =
        Ace6 { dst_prefix: 0, dst: [0; 16], flags: ACE_ANY_PROTO, ..permit(0, ANY_PORT, OTHERS) };
    let acl =
        b.acl(name, &[], &[permit(58, one_port(128), PINGS), permit(6, one_port(80), CALLS), everything]);
    let sides = [(&taps[0], OURS_INSIDE, 100, NONE), (&taps[1], OURS_OUTSIDE, 0, acl)];
    for (tap, addr, security, acl_in) in sides {
        let interface = Interface {
            flags: IF_IPV6,
            mask: 0,
            addr6: addr.octets(),
            prefix6: 64,
            acl_in,
            ..interface(&mut b, tap, security)
        };
        b.interface(interface);
    }
    b.route6(Route6 { gateway: ROUTER.octets(), ifindex: 1, metric: 1, ..Route6::default() });
    b.globals(Globals::default());
    b.finish(1).unwrap()
}

#[test]
fn real_hosts_speak_ipv6_through_the_access_list() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    until("the way is there", || pings(&lab.inside, FAR, 1));
    only_what_is_permitted_comes_in(&lab);
    udp_echo((&lab.inside, INSIDE.into()), (&lab.far, FAR.into()), 1200);
    traces(&lab);
    path_mtu(&lab);
    in_fragments(&lab);
    lab.appliance.no_window_drops();
}

/// Pings of 4,000 bytes through the appliance and to it, and UDP datagrams of 8 KB there and back: all in fragments.
fn in_fragments(lab: &Lab) {
    let fragments = |counter| {
        (0..2).map(|side| lab.appliance.counters.sum(Counter::Fragment(side, counter))).sum::<u64>()
    };
    let before = fragments(FragmentCounter::Assembled);
    let large = |from: &Namespace, to: Ipv6Addr| {
        from.run(&format!("ping -6 -c 2 -i 0.2 -W 3 -s 4000 {to}")).contains(" 0% packet loss")
    };
    assert!(large(&lab.inside, FAR) && large(&lab.far, INSIDE));
    assert!(large(&lab.inside, OURS_INSIDE) && large(&lab.far, OURS_OUTSIDE));
    udp_echo((&lab.inside, INSIDE.into()), (&lab.far, FAR.into()), 8192);
    // Four pings and four datagrams there and back, and four pings that end at the appliance.
    assert_eq!(fragments(FragmentCounter::Assembled) - before, 2 * (4 + 4) + 4);
    assert_eq!((fragments(FragmentCounter::Queue), lab.appliance.dropped(DropReason::Fragment)), (0, 0));
}

/// A bridge that snoops and asks who listens (MLDv2) learns the group by which our address is asked for, and lets solicitations through.
#[test]
fn a_snooping_bridge_lets_neighbour_discovery_through() {
    if !is_root() {
        return;
    }
    let taps = ["x", "y"].map(own_name);
    let appliance = Appliance::start("0", &policy(&taps));
    let switch = Namespace::new("sw");
    let snoops = "mcast_snooping 1 mcast_querier 1 mcast_mld_version 2";
    let often = "mcast_query_interval 200 mcast_startup_query_interval 100 mcast_query_response_interval 100";
    switch.ip(&format!("link add br0 type bridge {snoops} {often}"));
    switch.take(&taps[0], &[]);
    switch.ip(&format!("link set {} master br0", taps[0]));
    switch.ip("link set br0 up");
    switch.ip(&format!("addr add {INSIDE}/64 dev br0 nodad"));
    let listens = format!("port {} grp ff02::1:ff00:1 ", taps[0]);
    until("the bridge knows", || switch.run("bridge mdb show").contains(&listens));
    until("our address answers", || pings(&switch, OURS_INSIDE, 1));
    drop(appliance);
}

fn pings(from: &Namespace, to: Ipv6Addr, count: u8) -> bool {
    from.run(&format!("ping -6 -c {count} -i 0.2 -W 3 {to}")).contains(" 0% packet loss")
}

fn only_what_is_permitted_comes_in(lab: &Lab) {
    let hits = |slot| lab.appliance.counters.sum(Counter::Ace(slot));
    assert!(pings(&lab.far, INSIDE, 3));
    assert!(pings(&lab.inside, OURS_INSIDE, 1) && pings(&lab.far, OURS_OUTSIDE, 1));
    assert_eq!(
        (hits(PINGS), hits(OTHERS)),
        (1, 0),
        "of one ping each packet but the first is the connection's"
    );
    let before = lab.appliance.dropped(DropReason::AclDrop);
    let said = lab.far.run(&format!("ping -6 -c 2 -i 0.2 -W 1 {PRIVATE}"));
    assert!(said.contains(" 100% packet loss"), "{said}");
    assert_eq!(lab.appliance.dropped(DropReason::AclDrop) - before, 2);
    assert_eq!(hits(OTHERS), 2);

    let calls = |to: Ipv6Addr, port, patience| {
        let to = SocketAddr::new(to.into(), port);
        let call = move || TcpStream::connect_timeout(&to, patience);
        lab.far.spawn(call).join().unwrap().map(drop).map_err(|error| error.kind())
    };
    // Nobody listens, so what is let in is refused, and what is not let in hears nothing.
    assert_eq!(calls(INSIDE, 80, PATIENCE), Err(ErrorKind::ConnectionRefused));
    assert_eq!(hits(CALLS), 1);
    let moment = Duration::from_millis(500);
    assert_eq!(calls(INSIDE, 81, moment), Err(ErrorKind::TimedOut));
    assert_eq!(calls(PRIVATE, 80, moment), Err(ErrorKind::TimedOut));
    assert!(hits(OTHERS) >= 4);
}

/// The three kinds of traceroute see the appliance, the router behind it, and the end.
fn traces(lab: &Lab) {
    for how in ["-6", "-6 -I", "-6 -T -p 80"] {
        let expected = [OURS_INSIDE, ROUTER, FAR].map(|a| a.to_string());
        assert_eq!(hops(&lab.inside, how, FAR.into()), expected, "traceroute {how}");
    }
}

/// "Packet too big" of the narrow hop reaches the sender: a TCP transfer goes on in smaller segments, and `ping -M do` is told.
fn path_mtu(lab: &Lab) {
    lab.inside.ip("-6 route flush cache");
    let to = SocketAddr::new(FAR.into(), 80);
    let listener = lab.far.listen(to);
    let server = thread::spawn(move || echo(&listener, 1));
    let client = lab.inside.spawn(move || exchange(&mut call(INSIDE.into(), to), 1 << 20, false));
    client.join().unwrap();
    server.join().unwrap();
    let route = lab.inside.run(&format!("ip -6 route get {FAR}"));
    assert!(route.contains(&format!("mtu {NARROW}")), "{route}");

    lab.inside.ip("-6 route flush cache");
    let said = lab.inside.run(&format!("ping -6 -c 1 -W 2 -M do -s 1450 {FAR}"));
    assert!(said.contains(&format!("mtu = {NARROW}")) || said.contains(&format!("mtu={NARROW}")), "{said}");
}
