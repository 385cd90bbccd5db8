// SPDX-License-Identifier: MIT OR Apache-2.0
//! RFC 4787: UDP. REQ-14 is shown where fragments are (worker tests).

use crate::conn::Dir;
use crate::firewall::Admission;
use crate::key::UDP;
use crate::ports::Band;
use crate::tests::nat::{HOST, INSIDE, Lab, OTHER, OUTSIDE, OWN, POOL, SERVER, SERVER2, pat, pool};
use fedgate_tables::drops::DropReason;
use fedgate_tables::policy::{ANY_ADDR, NAT_EXTENDED, NAT_ROUND_ROBIN, one_addr};

/// MUST: endpoint-independent mapping: one address and port towards every destination.
#[test]
fn rfc4787_req_01_endpoint_independent_mapping() {
    let mut lab = Lab::new(&[pool(NAT_ROUND_ROBIN)]);
    let shown = lab.shown((HOST, 5000), (SERVER, 53));
    assert_eq!(lab.shown((HOST, 5000), (SERVER, 54)), shown);
    assert_eq!(lab.shown((HOST, 5000), (SERVER2, 53)), shown);
}

/// MUST: endpoint-independent mapping, of rules with `extended`.
/// Not met: by `extended` on purpose, which is off unless configured: its ports are used once a destination, as on the ASA.
#[test]
fn rfc4787_req_01_not_with_extended() {
    let mut lab = Lab::new(&[pool(NAT_EXTENDED)]);
    let shown = lab.shown((HOST, 5000), (SERVER, 53));
    let other = (1..100).map(|n| lab.shown((HOST + 2 * n, 5000), (SERVER, 53))).filter(|s| *s == shown);
    assert_eq!(other.count(), 0);
    assert_eq!(lab.flow.xlates.in_use().0, 0, "no mapping apart from connections");
}

/// RECOMMENDED: address pooling "paired": a host keeps its pool address for all its ports while it has mappings.
#[test]
fn rfc4787_req_02_pooling_is_paired() {
    let mut lab = Lab::new(&[pool(NAT_ROUND_ROBIN)]);
    let mine = lab.shown((HOST, 5000), (SERVER, 53)).0;
    let theirs = lab.shown((OTHER, 5000), (SERVER, 53)).0;
    assert_ne!(mine, theirs);
    for port in 5001..5050 {
        assert_eq!(lab.shown((HOST, port), (SERVER2, 53)).0, mine);
        assert_eq!(lab.shown((OTHER, port), (SERVER2, 53)).0, theirs);
    }
}

/// MUST NOT overload ports: two sockets never have one mapping, though they ask for the same port.
#[test]
fn rfc4787_req_03_no_port_overloading() {
    let mut lab = Lab::interface_pat();
    let mut shown: Vec<_> = (0..500).map(|n| lab.shown((HOST + n, 5000), (SERVER, 53))).collect();
    shown.sort_unstable();
    shown.dedup();
    assert_eq!(shown.len(), 500);
}

/// REQ-3a, RECOMMENDED: a port below 1024 is shown as one below 1024, one above as one above (the ASA's three bands).
#[test]
fn rfc4787_req_03a_ports_keep_their_range() {
    let mut lab = Lab::interface_pat();
    for (n, port) in [100, 511, 512, 1023, 1024, 65535].into_iter().cycle().take(300).enumerate() {
        let shown = lab.shown((HOST + n as u32, port), (SERVER, 53)).1;
        assert_eq!(Band::of(shown), Band::of(port));
    }
}

/// RECOMMENDED: port parity is preserved.
#[test]
fn rfc4787_req_04_parity_is_preserved() {
    let mut lab = Lab::interface_pat();
    for n in 0..200 {
        let port = 6000 + n as u16 % 2;
        assert_eq!(lab.shown((HOST + n, port), (SERVER, 53)).1 % 2, port % 2);
    }
}

/// MUST: a UDP mapping lives for two minutes at least without traffic (`timeout udp`, and `timeout pat-xlate` on top).
/// Partly: five minutes or more are recommended for the default (REQ-5c), where the ASA's two hold; `timeout udp 0:05:00` meets it.
#[test]
fn rfc4787_req_05_mappings_last_two_minutes() {
    let mut lab = Lab::interface_pat();
    lab.shown((HOST, 5000), (SERVER, 53));
    lab.wait(120);
    assert!(lab.flow.xlates.by_mapped(UDP, OWN, 5000).is_some());
    lab.wait(31);
    assert!(lab.flow.xlates.by_mapped(UDP, OWN, 5000).is_none());
}

/// MUST: packets from inside refresh the mapping. Those from outside do too where they are of a connection, which only the inside
/// or an ACL begins.
#[test]
fn rfc4787_req_06_traffic_refreshes() {
    for dir in [Dir::Forward, Dir::Reverse] {
        let mut lab = Lab::interface_pat();
        let (id, _) = lab.connect(INSIDE, UDP, (HOST, 5000), (SERVER, 53));
        for _ in 0..5 {
            lab.wait(100);
            let packet = crate::Packet { len: 100, ..Default::default() };
            lab.policy(|flow, policy, now| flow.account(id, dir, &packet, policy, now)).unwrap();
        }
        assert!(lab.flow.conns.is_live(id));
    }
}

/// MUST, of a NAT whose outside address is given to it (ours is configured): work though inside and outside use the same addresses. Which side
/// a packet is of is its interface's to say.
#[test]
fn rfc4787_req_07_overlapping_addresses() {
    let mut lab = Lab::interface_pat();
    let (_, key) = lab.connect(INSIDE, UDP, (SERVER2, 5000), (SERVER, 53));
    assert_eq!((key.src, key.dst), (OWN, SERVER));
}

/// RECOMMENDED: endpoint-independent filtering for transparency, address-dependent for strictness. An ACL on the outside lets others in
/// to a mapping: endpoint-independent, as far as it says.
/// Partly: without such an ACL by connection (address and port), which is stricter than either: this is a firewall.
#[test]
fn rfc4787_req_08_filtering_is_by_connection() {
    let mut lab = Lab::interface_pat();
    lab.shown((HOST, 5000), (SERVER, 53));
    assert_eq!(lab.admit(OUTSIDE, UDP, (SERVER2, 53), (OWN, 5000)), Admission::Refused(DropReason::AclDrop));
    let mut lab = lab.open();
    let (_, key) = lab.connect(OUTSIDE, UDP, (SERVER2, 53), (OWN, 5000));
    assert_eq!((key.dst, key.dport), (HOST, 5000));
}

/// MUST: hairpinning, with the external address and port as source. Both mappings live while the connection does.
/// Partly: under `same-security-traffic permit intra-interface`, as on the ASA; with several workers, not where a host with an address of its own (dynamic NAT) calls a port of dynamic PAT that is another worker's.
#[test]
fn rfc4787_req_09_hairpin() {
    let mut lab = Lab::interface_pat();
    lab.shown((OTHER, 6000), (SERVER, 53));
    assert_eq!(lab.admit(INSIDE, UDP, (HOST, 5000), (OWN, 6000)), Admission::Local);
    let mut lab = lab.open();
    let (id, key) = lab.connect(INSIDE, UDP, (HOST, 5000), (OWN, 6000));
    assert_eq!((key.src, key.sport, key.dst, key.dport), (OWN, 5000, OTHER, 6000));
    assert_eq!(lab.flow.conns.hot(id).leaves_as(Dir::Reverse).dst, HOST);
    let conns = |lab: &Lab, port| {
        let id = lab.flow.xlates.by_mapped(UDP, OWN, port).unwrap();
        lab.flow.xlates.get(id).unwrap().conns()
    };
    assert_eq!((conns(&lab, 5000), conns(&lab, 6000)), (1, 2));
    lab.flow.end(id, lab.now);
    assert_eq!((conns(&lab, 5000), conns(&lab, 6000)), (0, 1));
}

/// SHOULD: UDP application gateways are off. There are none: payloads are never touched.
#[test]
fn rfc4787_req_10_no_gateways_for_udp() {
    let mut lab = Lab::interface_pat();
    for port in [53, 69, 161, 500, 1719, 5060] {
        let admission = lab.admit(INSIDE, UDP, (HOST, port), (SERVER, port));
        assert!(matches!(admission, Admission::New { tls_proxy: None, .. }));
    }
}

/// MUST: deterministic behaviour: a conflict over a port changes the port, never the kind of mapping or filtering.
#[test]
fn rfc4787_req_11_behaviour_does_not_change_with_conflicts() {
    let mut lab = Lab::interface_pat();
    lab.shown((OTHER, 5000), (SERVER, 53));
    let shown = lab.shown((HOST, 5000), (SERVER, 53));
    assert_ne!(shown.1, 5000);
    assert_eq!(lab.shown((HOST, 5000), (SERVER2, 99)), shown);
    assert_eq!(
        lab.admit(OUTSIDE, UDP, (SERVER2, 1), (OWN, shown.1)),
        Admission::Refused(DropReason::AclDrop)
    );
}

/// MUST NOT end a mapping for an ICMP error: it is translated and forwarded, and that is all.
#[test]
fn rfc4787_req_12_errors_end_nothing() {
    let mut lab = Lab::interface_pat();
    let (id, left) = lab.connect(INSIDE, UDP, (HOST, 5000), (SERVER, 53));
    assert_eq!(lab.hear_error(&left), Some(id));
    lab.wait(100);
    assert!(lab.flow.conns.is_live(id) && lab.flow.xlates.by_mapped(UDP, OWN, 5000).is_some());
}

/// The pool that the other tests use is what they think.
#[test]
fn the_pool_has_two_addresses() {
    let lab = Lab::new(&[pool(0), pat(one_addr(OWN))]);
    assert_eq!((lab.nat.pool(0).size(), lab.nat.pool(1).size()), (2, 0));
    assert_eq!(lab.nat.pool(0).nth(1), Some(POOL[0].last));
    assert_eq!(lab.nat.rules()[0].dest_real, ANY_ADDR);
}
