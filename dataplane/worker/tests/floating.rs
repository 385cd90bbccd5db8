// SPDX-License-Identifier: MIT OR Apache-2.0
//! `timeout floating-conn`: what becomes of connections when a route moves to another interface.

use super::rig::*;
use super::v6;
use fedgate_tables::policy::{Globals, Route, Route6};
use fedgate_tables::policy_build::PolicyBuilder;

/// A network beyond the outside router, later beyond one inside.
const FAR: u32 = ip(203, 0, 113, 0);
const FAR6: u128 = 0x2600 << 112;

fn after(seconds: u32, mut b: PolicyBuilder) -> PolicyBuilder {
    b.globals(Globals { timeout_floating_conn: seconds, ..Globals::default() });
    b
}

/// The far network by an inside router.
fn moved() -> PolicyBuilder {
    let mut b = policy();
    let (ifindex, gateway) = (INSIDE as u32, ip(10, 10, 0, 254));
    b.route(Route { net: FAR, mask: 0xffff_ff00, gateway, ifindex, metric: 1 });
    b
}

#[test]
fn a_moved_route_ends_connections_only_after_the_timeout() {
    for (seconds, ended) in [(0, None), (30, Some(&1))] {
        let mut rig = Rig::with(after(seconds, policy()));
        for (port, to) in [(5000, FAR + 9), (5001, WEB.ip)] {
            rig.exchange(INSIDE, &udp((WORK, port), (to, 53), MACS[INSIDE], 64, b"q"), &[(OUTSIDE, WEB)]);
        }
        rig.publish(after(seconds, moved()), 2);
        rig.turn();
        rig.moved();
        rig.wait(29_900);
        assert_eq!(rig.moved().get("conns_torn_down"), None);
        rig.wait(200);
        assert_eq!(rig.moved().get("conns_torn_down"), ended, "after {seconds} s");
        // The other one, and those that begin by the new way, stay.
        rig.publish(after(seconds, moved()), 3);
        rig.wait(40_000);
        assert_eq!(rig.moved().get("conns_torn_down"), None, "nothing has changed");
    }
}

#[test]
fn ipv6_connections_follow_as_well() {
    let moved = || {
        let mut b = v6::policy(1500);
        let gateway = v6::HOST.ip.to_be_bytes();
        b.route6(Route6 { net: FAR6.to_be_bytes(), prefix: 64, gateway, ifindex: INSIDE as u32, metric: 1 });
        b
    };
    let mut rig = Rig::with(after(30, v6::policy(1500)));
    rig.wait(v6::DETECTION);
    for to in [FAR6 | 7, v6::WEB.ip] {
        rig.send(INSIDE, &v6::udp(v6::HOST, to, (5353, 53), INSIDE, 64, b"q"));
    }
    rig.publish(after(30, moved()), 2);
    rig.turn();
    rig.moved();
    rig.wait(29_900);
    assert_eq!(rig.moved().get("conns_torn_down"), None);
    rig.wait(200);
    assert_eq!(rig.moved().get("conns_torn_down"), Some(&1));
}
