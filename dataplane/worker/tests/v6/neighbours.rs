// SPDX-License-Identifier: MIT OR Apache-2.0
//! Neighbour discovery by hand-made frames: announcements, who is answered and believed, and the defence of our addresses.

use super::*;

/// RFC 4861 7.2.3: a solicitation makes its sender known, not reachable: the first use has it asked.
#[test]
fn a_solicitation_does_not_confirm() {
    let mut rig = lab();
    rig.send(INSIDE, &solicit(HOST, OWN[INSIDE]));
    let syn = tcp(WEB, HOST.ip, (4000, 443), OUTSIDE, SYN);
    assert_eq!(rig.send(OUTSIDE, &syn)[INSIDE].len(), 1, "used at once");
    rig.wait(5000);
    let asked = rig.collect();
    let probe = asked[INSIDE].iter().filter_map(|f| heard(f).1).next();
    assert!(matches!(probe, Some(Message::Solicitation { target, .. }) if target == HOST.ip), "{probe:?}");
    assert_eq!(asked[INSIDE][0][..6], HOST.mac.0, "by unicast");
}

#[test]
fn solicitations_for_us_are_answered_and_no_others() {
    let mut rig = lab();
    let link_local = Station6 { ip: ipv6::link_local(HOST.mac), ..HOST };
    for (asker, target) in [(HOST, OWN[INSIDE]), (link_local, ipv6::link_local(MACS[INSIDE]))] {
        let out = rig.send(INSIDE, &solicit(asker, target));
        assert_eq!(out[INSIDE], [advertise(Station6 { ip: target, ..us(INSIDE) }, asker)]);
        rig.expect(&[("inside rx", 1), ("inside tx", 1), ("nd_advertisements", 1)]);
    }
    // It is known now: a packet for it asks nobody.
    let out = rig.send(OUTSIDE, &tcp(WEB, HOST.ip, (4000, 443), OUTSIDE, SYN));
    assert_eq!((out[INSIDE].len(), rig.held()), (1, 0));
    rig.moved();

    // For others, and for the outside's address on the inside: silence. For what we do not listen to: dropped by name.
    let mut all_nodes = solicit(HOST, addr(1, 9));
    all_nodes = icmp(
        HOST,
        ipv6::ALL_NODES,
        ipv6::multicast_mac(ipv6::ALL_NODES),
        255,
        [135, 0, 0, 0, 0, 0, 0, 0],
        &all_nodes[62..],
    );
    assert_eq!(rig.send(INSIDE, &all_nodes), NOTHING);
    rig.expect(&[("inside rx", 1)]);
    assert_eq!(rig.send(INSIDE, &solicit(HOST, addr(1, 9))), NOTHING);
    rig.expect(&[("inside rx", 1), ("ip-not-unicast", 1)]);
    assert_eq!(rig.send(INSIDE, &solicit(HOST, OWN[OUTSIDE])), NOTHING);
    rig.expect(&[("inside rx", 1)]); // its group is that of our link-local address here

    // From another link, by whatever trick; with a hop limit that a router has touched.
    let mut far = solicit(HOST, OWN[INSIDE]);
    far[21] = 254;
    for bad in [far, solicit(WEB, OWN[INSIDE])] {
        assert_eq!(rig.send(INSIDE, &bad), NOTHING);
        rig.expect(&[("inside rx", 1), ("invalid-nd", 1)]);
    }
    rig.assert_no_mbuf_held();
}

#[test]
fn our_addresses_are_defended() {
    let mut rig = lab();
    // A host about to take our address asks without one of its own.
    let nobody = Station6 { ip: 0, ..HOST };
    let group = ipv6::solicited_node(OWN[INSIDE]);
    let probe = icmp(
        nobody,
        group,
        ipv6::multicast_mac(group),
        255,
        [135, 0, 0, 0, 0, 0, 0, 0],
        &OWN[INSIDE].to_be_bytes(),
    );
    let out = rig.send(INSIDE, &probe);
    let flags = flag::ROUTER | flag::OVERRIDE;
    let ours = Message::Advertisement { target: OWN[INSIDE], mac: Some(MACS[INSIDE]), flags };
    assert_eq!(
        out[INSIDE].iter().map(|f| heard(f)).map(|(p, m)| (p.tuple.dst, m)).collect::<Vec<_>>(),
        [(ipv6::ALL_NODES, Some(ours))]
    );
    rig.expect(&[("inside rx", 1), ("inside tx", 1), ("nd_advertisements", 1)]);
    // One that says it has it, and one that asks as if it had it.
    let thief = Station6 { mac: HOST.mac, ip: OWN[INSIDE] };
    let router = Station6 { ip: ipv6::link_local(MACS[INSIDE]), ..us(INSIDE) };
    for claim in [advertise(thief, router), solicit(thief, router.ip)] {
        let out = rig.send(INSIDE, &claim);
        assert_eq!(out[INSIDE].iter().map(|f| heard(f).1).collect::<Vec<_>>(), [Some(ours)]);
        rig.expect(&[("inside rx", 1), ("inside tx", 1), ("nd_advertisements", 1), ("invalid-nd", 1)]);
        assert!(
            matches!(&rig.events()[..], [Event::Port { ifindex: 1, text }] if text.contains("claims our address"))
        );
    }
}

#[test]
fn a_station_takes_an_address_over_only_by_the_override_flag() {
    let mut rig = lab();
    let syn = tcp(WEB, HOST.ip, (4000, 443), OUTSIDE, SYN);
    let out = exchange(&mut rig, OUTSIDE, &syn, INSIDE, HOST);
    assert_eq!(out[INSIDE], [routed(&syn, HOST.mac, INSIDE)]);
    let other = Station6 { mac: MacAddr([2, 0, 0, 0, 1, 0x99]), ..HOST };
    let mut meek = advertise(other, us(INSIDE));
    meek[58] &= !flag::OVERRIDE;
    let sum = checksum::of_segment_v6(
        other.ip,
        OWN[INSIDE],
        proto::ICMPV6,
        &[&meek[54..56], &[0, 0], &meek[58..]].concat(),
    );
    meek[56..58].copy_from_slice(&sum.to_be_bytes());
    rig.send(INSIDE, &meek);
    assert_eq!(rig.send(OUTSIDE, &syn)[INSIDE], [routed(&syn, HOST.mac, INSIDE)]);
    rig.send(INSIDE, &advertise(other, us(INSIDE)));
    assert_eq!(rig.send(OUTSIDE, &syn)[INSIDE], [routed(&syn, other.mac, INSIDE)]);
    assert!(matches!(&rig.events()[..], [Event::Port { text, .. }] if text.contains("moved from")));
    // Unasked for, about somebody we do not know: nothing.
    rig.moved();
    rig.send(INSIDE, &advertise(Station6 { ip: addr(1, 0x51), ..HOST }, us(INSIDE)));
    rig.expect(&[("inside rx", 1)]);
}
