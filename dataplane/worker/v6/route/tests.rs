// SPDX-License-Identifier: MIT OR Apache-2.0
//! Longest prefix by hand and against a walk over every way there is; own addresses and groups.
use super::*;
use proptest::prelude::*;
use std::net::Ipv6Addr;

fn addr(text: &str) -> u128 {
    text.parse::<Ipv6Addr>().unwrap().into()
}

fn interface(text: &str, prefix6: u8) -> Interface {
    let addr6 = text.parse::<Ipv6Addr>().unwrap().octets();
    Interface { addr6, prefix6, flags: IF_IPV6, ..Interface::default() }
}

fn route(net: &str, prefix: u32, gateway: &str, ifindex: u32) -> Route6 {
    let octets = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
    Route6 { net: octets(net), gateway: octets(gateway), prefix, ifindex, metric: 1 }
}

const MACS: [MacAddr; 4] = [
    MacAddr([2, 0, 0, 0, 0, 1]),
    MacAddr([2, 0, 0, 0, 0, 2]),
    MacAddr([2, 0, 0, 0, 0, 3]),
    MacAddr([2, 0, 0, 0, 0, 4]),
];

#[test]
fn longest_prefix_decides() {
    let interfaces = [
        interface("2001:db8:0:ff::2", 64),
        interface("2001:db8:0:1::1", 64),
        interface("::", 0),
        Interface { flags: 0, ..interface("2001:db8:0:9::1", 64) },
    ];
    let table = [
        route("2001:db8:0:1::80", 124, "2001:db8:0:1::7", 1),
        route("2001:db8:0:1::", 64, "2001:db8:0:ff::9", 0),
        route("2001:db8:5::", 48, "fe80::7", 2),
        route("2001:db8::", 32, "::", 3),
        route("::", 0, "2001:db8:0:ff::1", 0),
    ];
    let routes = Routes6 { interfaces: &interfaces, macs: &MACS, routes: &table, barred: Barred::default() };
    let way = |text: &str| {
        routes.lookup(addr(text)).map(|way| (way.ifindex, Ipv6Addr::from(way.next_hop).to_string()))
    };
    let is = |ifindex, next_hop: &str| Some((ifindex, next_hop.to_owned()));
    assert_eq!(way("2001:db8:0:1::50"), is(1, "2001:db8:0:1::50"), "connected beats static of its length");
    assert_eq!(way("2001:db8:0:1::81"), is(1, "2001:db8:0:1::7"), "a longer static beats connected");
    assert_eq!(way("2001:db8:5::1"), is(2, "fe80::7"), "a gateway may be link-local");
    assert_eq!(way("2001:db8:0:9::5"), is(0, "2001:db8:0:ff::1"), "an interface without IPv6 is not there");
    assert_eq!(way("2600::1"), is(0, "2001:db8:0:ff::1"));
    assert_eq!(way("fe80::1"), None, "link-local goes nowhere");

    assert!(routes.speaks(2) && !routes.speaks(3) && !routes.speaks(9));
    assert!(routes.is_ours(addr("2001:db8:0:1::1")) && !routes.is_ours(addr("::")));
    assert!(!routes.is_ours(addr("2001:db8:0:9::1")) && !routes.is_own_of(2, addr("::")));
    assert!(routes.is_own_of(0, addr("2001:db8:0:ff::2")) && !routes.is_own_of(1, addr("2001:db8:0:ff::2")));
    assert!(routes.is_own_of(2, addr("fe80::ff:fe00:3")), "EUI-64 of its MAC");
    assert!(routes.listens(0, addr("ff02::1:ff00:2")) && routes.listens(0, addr("ff02::1:ff00:1")));
    assert!(!routes.listens(0, addr("ff02::1:ff00:9")) && routes.listens(2, ipv6::ALL_ROUTERS));
    assert!(routes.is_on_link(0, addr("fe80::5")) && routes.is_on_link(0, addr("2001:db8:0:ff::5")));
    assert!(!routes.is_on_link(0, addr("2001:db8:0:1::5")) && !routes.is_on_link(2, addr("2600::1")));
    assert_eq!(routes.source_for(0, addr("2600::1")), Some(addr("2001:db8:0:ff::2")));
    assert_eq!(routes.source_for(0, addr("fe80::9")), Some(addr("fe80::ff:fe00:1")));
    assert_eq!(routes.source_for(2, addr("2600::1")), Some(addr("2001:db8:0:ff::2")), "any of ours");
    assert_eq!(routes.source_for(3, addr("2600::1")), None);
}

proptest! {
    /// The way found has the longest prefix of all that fit, and a connected one where two are as long.
    #[test]
    fn no_way_is_longer(nets in prop::collection::vec((0u32..4, 0u32..9, any::<u8>(), 0u32..2), 0..12), own in prop::collection::vec((any::<u8>(), 1u8..9), 2), to in any::<u8>()) {
        // Everything happens in the first byte after 2001:db8::/32, so that prefixes nest.
        let at = |byte: u8| addr("2001:db8::1") | u128::from(byte) << 88;
        let interfaces: Vec<Interface> = own.iter().map(|&(byte, bits)| Interface {
            addr6: at(byte).to_be_bytes(), prefix6: 32 + bits, flags: IF_IPV6, ..Interface::default()
        }).collect();
        let mut table: Vec<Route6> = nets.iter().map(|&(metric, bits, byte, ifindex)| Route6 {
            net: (at(byte) & ipv6::mask(32 + bits as u8)).to_be_bytes(), gateway: at(byte).to_be_bytes(), prefix: 32 + bits, ifindex, metric,
        }).collect();
        table.sort_by_key(|r| (std::cmp::Reverse(r.prefix), r.metric));
        let routes = Routes6 { interfaces: &interfaces, macs: &MACS, routes: &table, barred: Barred::default() };
        let dst = at(to) + 5;
        let fits = |net: [u8; 16], prefix: u32| (u128::from_be_bytes(net) ^ dst).leading_zeros() >= prefix;
        let connected = interfaces.iter().filter(|i| fits(i.addr6, i.prefix6.into())).map(|i| (u32::from(i.prefix6), 0)).max();
        let statics = table.iter().filter(|r| fits(r.net, r.prefix)).map(|r| (r.prefix, r.metric)).collect::<Vec<_>>();
        let longest = statics.iter().map(|s| s.0).max();
        match routes.lookup(dst) {
            None => prop_assert!(connected.is_none() && longest.is_none()),
            Some(way) if way.next_hop == dst => prop_assert!(connected.map(|c| c.0) >= longest),
            Some(way) => {
                prop_assert!(longest > connected.map(|c| c.0));
                let best = statics.iter().filter(|s| Some(s.0) == longest).map(|s| s.1).min().unwrap();
                prop_assert!(table.iter().any(|r| Some(r.prefix) == longest && r.metric == best
                    && u128::from_be_bytes(r.gateway) == way.next_hop && r.ifindex == u32::from(way.ifindex)));
            }
        }
    }
}
