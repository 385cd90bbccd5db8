// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real hosts on both sides of a real appliance: `ping`, `traceroute`, UDP and TCP of the Linux kernel, with fragments and a narrow hop.
//!
//! ```text
//! inside 10.77.0.10 -- appliance (PAT to 198.51.100.2) -- router 198.51.100.30 -- MTU 1400 -- far 203.0.113.9
//! ```
//! Three network namespaces; the appliance's ports are taps. Needs root, `ip`, `ping` and `traceroute` (scripts/setup): without
//! root it says so and does nothing.

#[expect(dead_code, reason = "what other tests need")]
mod common;

use common::lab::{
    Appliance, Namespace, call, echo, exchange, hops, is_root, own_name, pat_policy, udp_echo, until,
};
use fedgate_tables::counters::{Counter, FragmentCounter, Gauge, Stat};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{Addr, HostRow, Rows, What};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 10);
const OURS_INSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OURS_OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 30);
const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const NARROW: u16 = 1400;

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
        let appliance = Appliance::start("0", &pat_policy(&taps, [OURS_INSIDE, OURS_OUTSIDE], ROUTER));
        let [inside, router, far] = ["in", "rt", "far"].map(Namespace::new);
        inside.take(&taps[0], &[format!("{INSIDE}/24")]);
        router.take(&taps[1], &[format!("{ROUTER}/24")]);
        inside.ip(&format!("route add default via {OURS_INSIDE}"));
        let wan = format!("wan mtu {NARROW}");
        router.ip(&format!("link add {wan} type veth peer name {wan} netns {}", far.name()));
        router.ip("addr add 203.0.113.1/24 dev wan");
        router.ip("link set wan up");
        far.ip(&format!("addr add {FAR}/24 dev wan"));
        far.ip("link set wan up");
        // Its own link is narrow, but it tells TCP otherwise, so that the other side must find out.
        far.ip("route add default via 203.0.113.1 advmss 1460");
        router.sysctl("net.ipv4.ip_forward=1");
        for namespace in [&router, &far] {
            namespace.sysctl("net.ipv4.icmp_ratelimit=0");
        }
        Self { inside, _router: router, far, appliance }
    }

    fn fragments(&self, ifindex: u8, counter: FragmentCounter) -> u64 {
        self.appliance.counters.sum(Counter::Fragment(ifindex, counter))
    }
}

#[test]
fn real_hosts_ping_trace_and_find_the_path_mtu() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    until("the way is there", || {
        lab.inside.run(&format!("ping -c 1 -W 1 {FAR}")).contains(" 0% packet loss")
    });
    fragments_cross(&lab);
    traces(&lab);
    path_mtu(&lab);
    counts(&lab);
    assert_eq!(lab.appliance.dropped(DropReason::Fragment), 0);
    lab.appliance.no_window_drops();
}

/// Echo requests and UDP datagrams of 8,000 bytes, there and back; the appliance itself answers such a ping too.
fn fragments_cross(lab: &Lab) {
    for (to, bytes) in [(FAR, 8000), (OURS_INSIDE, 4000)] {
        let said = lab.inside.run(&format!("ping -c 3 -i 0.2 -W 3 -s {bytes} {to}"));
        assert!(said.contains(" 0% packet loss"), "{said}");
    }
    udp_echo((&lab.inside, INSIDE.into()), (&lab.far, FAR.into()), 8000);
    for ifindex in [0, 1] {
        assert!(lab.fragments(ifindex, FragmentCounter::Assembled) >= 7);
        assert_eq!(lab.fragments(ifindex, FragmentCounter::Queue), 0);
    }
}

/// The three kinds of traceroute see the appliance, the router behind it, and the end.
fn traces(lab: &Lab) {
    for how in ["", "-I", "-T -p 80"] {
        let expected = [OURS_INSIDE, ROUTER, FAR].map(|a| a.to_string());
        assert_eq!(hops(&lab.inside, how, FAR.into()), expected, "traceroute {how}");
    }
}

/// What the traffic has left behind is listed by host and by pool, and the workers' cycles are counted.
fn counts(lab: &Lab) {
    let hosts: Vec<HostRow> =
        lab.appliance.list(What::Hosts).into_iter().fold(Vec::new(), |mut all, rows| {
            let Rows::Hosts(rows) = rows else { panic!("no hosts: {rows:?}") };
            all.extend(rows);
            all
        });
    let ends = |ifindex, addr: Ipv4Addr| {
        let of = hosts.iter().filter(|row| (row.ifindex, row.addr) == (ifindex, Addr::V4(addr.into())));
        of.map(|row| row.tcp + row.udp + row.other).sum::<u32>()
    };
    assert!(ends(0, INSIDE) > 0 && ends(1, FAR) > 0, "{hosts:?}");
    let pools = lab.appliance.list(What::Pools).into_iter().flat_map(|rows| match rows {
        Rows::Pools(rows) => rows,
        other => panic!("no pools: {other:?}"),
    });
    let udp = pools.filter(|row| (row.addr, row.proto) == (OURS_OUTSIDE.into(), 17));
    assert!(udp.map(|row| row.allocated.iter().sum::<u32>()).sum::<u32>() > 0, "the traceroute's ports");
    let counters = [Counter::Stat(Stat::CyclesBusy), Counter::Gauge(Gauge::CyclesAll)];
    let [busy, all] = counters.map(|counter| lab.appliance.counters.sum(counter));
    assert!(busy > 0 && busy < all, "{busy} of {all}");
}

/// The narrow hop's word reaches the sender: `ping -M do` is told, and a TCP transfer goes on in smaller segments.
fn path_mtu(lab: &Lab) {
    lab.inside.ip("route flush cache");
    let to = SocketAddr::new(FAR.into(), 80);
    let listener = lab.far.listen(to);
    let server = thread::spawn(move || echo(&listener, 1));
    let client = lab.inside.spawn(move || exchange(&mut call(INSIDE.into(), to), 300_000, false));
    client.join().unwrap();
    server.join().unwrap();
    let route = lab.inside.run(&format!("ip route get {FAR}"));
    assert!(route.contains(&format!("mtu {NARROW}")), "{route}");

    lab.inside.ip("route flush cache");
    let said = lab.inside.run(&format!("ping -c 1 -W 2 -M do -s 1450 {FAR}"));
    assert!(said.contains(&format!("mtu = {NARROW}")) || said.contains(&format!("mtu={NARROW}")), "{said}");
}
