// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP Intercept with real hosts: Linux's TCP opens connections by SYN cookies and talks, while SYNs from forged addresses pour in.
//!
//! ```text
//! inside 10.77.0.10, and the flood -- appliance (PAT to 198.51.100.2) -- 198.51.100.30 far
//! ```
//! Two network namespaces; the appliance's ports are taps. The flood is for an address behind the far host at which nobody answers.
//! Needs root and `ip` (scripts/setup): without root it says so and does nothing.

#[expect(dead_code, reason = "what other tests need")]
mod common;

use common::flood;
use common::lab::{Appliance, Namespace, call, echo, exchange, is_root, own_name, pat_rules, until};
use fedgate_tables::counters::{Counter, Stat};
use fedgate_tables::drops::DropReason;
use fedgate_tables::policy::{CLASS_LIMITS, ServiceClass};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 10);
const OURS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(198, 51, 100, 2)];
const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 30);
const NOBODY: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);
const LIMIT: u32 = 20;
const CLIENTS: usize = 12;

#[test]
fn linux_hosts_talk_through_a_flood() {
    if !is_root() {
        return;
    }
    let taps = ["i", "o"].map(own_name);
    let mut b = pat_rules(&taps, OURS, FAR);
    let name = b.blob(b"everybody");
    b.class(ServiceClass { name, flags: CLASS_LIMITS, embryonic_max: LIMIT, ..ServiceClass::default() });
    let appliance = Appliance::start("0", &b.finish(1).unwrap());
    let [inside, far] = ["in", "far"].map(Namespace::new);
    inside.take(&taps[0], &[format!("{INSIDE}/24")]);
    inside.ip(&format!("route add default via {}", OURS[0]));
    far.take(&taps[1], &[format!("{FAR}/24")]);
    far.ip("route add blackhole 203.0.113.0/24");
    far.sysctl("net.ipv4.ip_forward=1");
    until("the way is there", || inside.run(&format!("ping -c 1 -W 1 {FAR}")).contains(" 0% packet loss"));

    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let flood = {
        let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
        inside.spawn(move || flood::run((NOBODY, 80), &stop, &sent))
    };
    let stat = |stat| appliance.counters.sum(Counter::Stat(stat));
    until("the flood is far above the limit", || stat(Stat::InterceptCookies) > 2000);

    let to = SocketAddr::new(FAR.into(), 80);
    let listener = far.listen(to);
    let server = thread::spawn(move || echo(&listener, CLIENTS));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| inside.spawn(move || exchange(&mut call(INSIDE.into(), to), 200_000, false)))
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    server.join().unwrap();
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap();

    assert_eq!(stat(Stat::InterceptOpened), CLIENTS as u64);
    assert_eq!(stat(Stat::InterceptConns), CLIENTS as u64);
    assert_eq!(appliance.dropped(DropReason::TcpInterceptKill), 0);
    appliance.no_window_drops();
    let built = stat(Stat::ConnsBuilt);
    assert!(built < 4 * u64::from(LIMIT) + CLIENTS as u64, "{built} of {:?} SYNs", sent);
}
