// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lookup against a search that tries every prefix length from the longest down.
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn mask(len: u32) -> u32 {
    u32::MAX.checked_shl(32 - len).unwrap_or(0)
}

fn interface(addr: u32, len: u32, flags: u8) -> Interface {
    Interface { addr, mask: mask(len), flags, ..Interface::default() }
}

fn route(net: u32, len: u32, gateway: u32, ifindex: u32, metric: u32) -> Route {
    Route { net: net & mask(len), mask: mask(len), gateway, ifindex, metric }
}

/// All that could carry the packet, the best taken by (length, connected first, metric, order).
fn slow(routes: &Routes<'_>, dst: u32) -> Option<Egress> {
    for len in (0..=32).rev() {
        for (index, i) in routes.interfaces.iter().enumerate() {
            if i.mask == mask(len)
                && i.addr & i.mask == dst & i.mask
                && i.addr != 0
                && i.flags & IF_SHUTDOWN == 0
            {
                return Some(Egress { ifindex: index as u32, next_hop: dst });
            }
        }
        let of_len = routes.routes.iter().filter(|r| r.mask == mask(len) && r.net == dst & r.mask);
        let up = of_len.filter(|r| {
            let egress = routes.interfaces.get(r.ifindex as usize);
            egress.is_some_and(|i| i.addr != 0 && i.flags & IF_SHUTDOWN == 0)
        });
        if let Some(best) = up.min_by_key(|r| r.metric) {
            let next_hop = if best.gateway == 0 { dst } else { best.gateway };
            return Some(Egress { ifindex: best.ifindex, next_hop });
        }
    }
    None
}

/// Addresses that share prefixes more often than chance has it.
fn addr() -> impl Strategy<Value = u32> {
    (prop_oneof![Just(10u32), Just(192)], 0u32..3, 0u32..3, any::<u8>())
        .prop_map(|(a, b, c, d)| a << 24 | b << 16 | c << 8 | u32::from(d))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn lookup_is_longest_prefix_first(
        interfaces in vec((prop_oneof![6 => addr(), 1 => Just(0)], 8u32..=32, 0u8..8), 0..5),
        routes in vec((addr(), 0u32..=32, prop_oneof![Just(0), addr()], 0u32..5, 1u32..4), 0..30),
        dsts in vec(addr(), 20),
    ) {
        let interfaces: Vec<_> = interfaces.into_iter().map(|(a, l, f)| interface(a, l, f)).collect();
        let mut routes: Vec<_> = routes.into_iter().map(|(n, l, g, i, m)| route(n, l, g, i, m)).collect();
        routes.sort_by_key(|r| (std::cmp::Reverse(r.mask), r.metric));
        let table = Routes { interfaces: &interfaces, routes: &routes };
        for dst in dsts {
            prop_assert_eq!(table.lookup(dst), slow(&table, dst));
        }
    }
}

const INSIDE: u32 = 0x0a00_0001;
const OUTSIDE: u32 = 0xc633_6401;

fn appliance() -> ([Interface; 2], [Route; 2]) {
    (
        [interface(OUTSIDE, 24, 0), interface(INSIDE, 8, 0)],
        [route(0xac10_0000, 12, 0x0a00_00fe, 1, 1), route(0, 0, 0xc633_64fe, 0, 1)],
    )
}

#[test]
fn an_appliance_with_two_sides() {
    let (interfaces, routes) = appliance();
    let table = Routes { interfaces: &interfaces, routes: &routes };
    let to = |ifindex, next_hop| Some(Egress { ifindex, next_hop });
    assert_eq!(table.lookup(0x0a01_0203), to(1, 0x0a01_0203));
    assert_eq!(table.lookup(0xac10_0001), to(1, 0x0a00_00fe));
    assert_eq!(table.lookup(0x0808_0808), to(0, 0xc633_64fe));
    assert_eq!((table.own(INSIDE), table.own(OUTSIDE), table.own(0x0a00_0002)), (Some(1), Some(0), None));
    assert!(table.is_on_link(1, 0x0aff_0000) && !table.is_on_link(0, 0x0aff_0000) && !table.is_on_link(9, 0));
    assert_eq!(Routes { routes: &[], ..table }.lookup(0x0808_0808), None);
}

#[test]
fn an_interface_that_is_down_carries_nothing() {
    let (mut interfaces, routes) = appliance();
    interfaces[0].flags = IF_SHUTDOWN;
    let table = Routes { interfaces: &interfaces, routes: &routes };
    assert_eq!(table.lookup(0x0808_0808), None);
    assert_eq!(table.own(OUTSIDE), None);
}

#[test]
fn broadcast_addresses_of_connected_networks() {
    let interfaces =
        [interface(0xc633_6401, 24, 0), interface(0x0a00_0000, 31, 0), interface(0x0b00_0001, 32, 0)];
    let table = Routes { interfaces: &interfaces, routes: &[] };
    assert!(table.is_directed_broadcast(0xc633_64ff) && table.is_directed_broadcast(0xc633_6400));
    for host in [0xc633_6401, 0xc633_65ff, 0x0a00_0000, 0x0a00_0001, 0x0b00_0001] {
        assert!(!table.is_directed_broadcast(host), "{host:x}");
    }
}
