// SPDX-License-Identifier: MIT OR Apache-2.0
//! Our own addresses: asked for before they are used, not used where somebody has them; and the groups that we report (RFC 4862, RFC 3810).

use super::*;
use fedgate_wire::mld;

/// What is said at one side, with the milliseconds since the start.
fn listen(rig: &mut Rig, side: usize, millis: u64) -> Vec<(u64, Vec<u8>)> {
    let mut heard = Vec::new();
    for at in (0..millis).step_by(100) {
        heard.extend(rig.collect()[side].drain(..).map(|frame| (at, frame)));
        rig.wait(100);
    }
    heard
}

fn is_report(frame: &[u8]) -> bool {
    parse6(frame).unwrap().icmp_type == icmp6::MLD2_REPORT
}

/// The groups of a report, and what is said of them.
fn records(frame: &[u8]) -> Vec<(u8, u128)> {
    let at = usize::from(parse6(frame).unwrap().l4) + 8;
    frame[at..].chunks_exact(20).map(|r| (r[0], u128::from_be_bytes(r[4..].try_into().unwrap()))).collect()
}

fn groups(side: usize) -> Vec<u128> {
    let own = [ipv6::link_local(MACS[side]), OWN[side]].map(ipv6::solicited_node);
    let mut all = [own[0], own[1], ipv6::ALL_ROUTERS];
    all.sort_unstable();
    all.to_vec()
}

/// A probe each for both addresses, from `::` and without a station's address, then a second's silence, then the announcement. The groups that
/// the answers would come by are reported before, and again once there is an address to report from.
#[test]
fn new_addresses_are_asked_for_then_announced() {
    let mut rig = Rig::with(policy(1500));
    let heard_all = listen(&mut rig, INSIDE, DETECTION);
    let nd: Vec<_> = heard_all.iter().filter(|(_, f)| !is_report(f)).collect();
    let addresses = [ipv6::link_local(MACS[INSIDE]), OWN[INSIDE]];
    let probes: Vec<_> = nd[..2].iter().map(|(at, frame)| (*at, heard(frame).1.unwrap())).collect();
    let asked = |target| Message::Solicitation { target, from: ipv6::UNSPECIFIED, mac: None };
    assert_eq!(probes.iter().map(|p| p.1).collect::<Vec<_>>(), addresses.map(asked));
    let flags = flag::ROUTER | flag::OVERRIDE;
    let told = |target| Message::Advertisement { target, mac: Some(MACS[INSIDE]), flags };
    let announced: Vec<_> = nd[2..].iter().map(|(_, frame)| heard(frame).1.unwrap()).collect();
    assert_eq!(announced, addresses.map(told));
    assert!(probes[0].0 <= 1000 && (1000..=1200).contains(&(nd[2].0 - probes[0].0)), "{nd:?}");

    let reports: Vec<_> = heard_all.iter().filter(|(_, f)| is_report(f)).collect();
    assert!(reports[0].0 <= probes[0].0);
    assert!(heard_all[0].1 == reports[0].1, "first of all");
    assert_eq!(parse6(&reports[0].1).unwrap().tuple.src, ipv6::UNSPECIFIED);
    assert_eq!(parse6(&reports.last().unwrap().1).unwrap().tuple.src, addresses[0]);
    for (_, report) in &reports {
        assert_eq!(records(report), groups(INSIDE).into_iter().map(|g| (4, g)).collect::<Vec<_>>());
    }
    assert!(
        (3..=4).contains(&reports.len()),
        "twice without an address, as far as there was time, and twice with one"
    );

    rig.publish(policy(1400), 2);
    rig.turn();
    assert_eq!(
        listen(&mut rig, INSIDE, DETECTION),
        [],
        "what is known is neither asked for nor announced again"
    );
}

/// A query is answered within its time by all groups, of this link only.
#[test]
fn queries_are_answered() {
    let mut rig = lab();
    let query = |hops, from: Station6, group: u128, alert: &[u8; 8]| {
        let mut message =
            [&[130, 0, 0, 0][..], &1000u16.to_be_bytes(), &[0, 0], &group.to_be_bytes(), &[0; 4]].concat();
        let sum = checksum::of_segment_v6(from.ip, ipv6::ALL_NODES, proto::ICMPV6, &message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        frame(
            from,
            ipv6::ALL_NODES,
            ipv6::multicast_mac(ipv6::ALL_NODES),
            0,
            hops,
            &[&alert[..], &message].concat(),
        )
    };
    let local = Station6 { ip: ipv6::link_local(HOST.mac), ..HOST };
    const ALERT: [u8; 8] = [58, 0, 5, 2, 0, 0, 1, 0];
    for group in [ipv6::UNSPECIFIED, ipv6::solicited_node(OWN[INSIDE])] {
        assert_eq!(rig.send(INSIDE, &query(1, local, group, &ALERT))[OUTSIDE], NOTHING[0]);
        let mut said = listen(&mut rig, INSIDE, 1500);
        assert_eq!(said.len(), 1);
        let (at, report) = said.remove(0);
        assert!(at <= 1000);
        assert_eq!(report[..6], ipv6::multicast_mac(mld::REPORT_GROUP).0);
        assert_eq!(records(&report), groups(INSIDE).into_iter().map(|g| (2, g)).collect::<Vec<_>>());
    }
    rig.moved();
    for bad in [
        query(2, local, 0, &ALERT),
        query(1, HOST, 0, &ALERT),
        query(1, local, 0, &[58, 0, 1, 4, 0, 0, 0, 0]),
    ] {
        rig.send(INSIDE, &bad);
        rig.expect(&[("inside rx", 1), ("invalid-nd", 1)]);
    }
    assert_eq!(rig.send(INSIDE, &query(1, local, ipv6::solicited_node(5), &ALERT)), NOTHING);
    assert_eq!(listen(&mut rig, INSIDE, 1500), [], "a group that is not ours");
}

fn standing(rig: &mut Rig, ip: u128) -> String {
    let dump = Dump { asker: ASKER, what: What::Neighbors6, filter: Filter::default(), cursor: 0 };
    let Reply::Page { rows: Rows::Arp(rows), .. } = rig.command(Command::Dump(dump)) else { panic!() };
    rows.into_iter().find(|row| row.addr == Addr::from(ip)).map(|row| row.state).unwrap()
}

/// Somebody has the address, or asks for it at the same time: it is not used, and the operator is told. The link-local one goes on.
#[test]
fn a_duplicate_is_not_used() {
    let theirs = Station6 { mac: HOST.mac, ip: OWN[INSIDE] };
    let mut announcement = vec![0; emit6::ND_FRAME_LEN];
    emit6::announcement(&mut announcement, theirs).unwrap();
    let mut probe = vec![0; emit6::ND_FRAME_LEN];
    let len = emit6::probe(&mut probe, HOST.mac, OWN[INSIDE]).unwrap();
    probe.truncate(len);
    for claim in [announcement, probe] {
        let mut rig = Rig::with(policy(1500));
        assert_eq!(standing(&mut rig, OWN[INSIDE]), "tentative");
        // What asks for a tentative address gets no answer.
        let asked = rig.send(INSIDE, &solicit(HOST, OWN[INSIDE]));
        assert!(asked[INSIDE].iter().all(|f| heard(f).1.is_none()));
        assert_eq!(rig.send(INSIDE, &ping(HOST, OWN[INSIDE], INSIDE))[INSIDE].len(), 0);
        rig.send(INSIDE, &claim);
        let told = format!("{} is a duplicate: {} has it", Ipv6Addr::from(OWN[INSIDE]), HOST.mac);
        assert_eq!(rig.events(), [Event::Port { ifindex: INSIDE as u8, text: told }]);
        rig.wait(DETECTION);
        let said = rig.collect();
        let ours = |f: &Vec<u8>| matches!(heard(f).1, Some(Message::Advertisement { target, .. }) if target == OWN[INSIDE]);
        assert!(!said[INSIDE].iter().any(ours));
        assert_eq!(standing(&mut rig, OWN[INSIDE]), "duplicate");
        assert_eq!(standing(&mut rig, ipv6::link_local(MACS[INSIDE])), "own");
        assert_eq!(rig.send(INSIDE, &solicit(HOST, OWN[INSIDE])), NOTHING);
        assert_eq!(rig.send(INSIDE, &ping(HOST, OWN[INSIDE], INSIDE)), NOTHING);
        let local = Station6 { ip: ipv6::link_local(HOST.mac), ..HOST };
        assert_eq!(rig.send(INSIDE, &ping(local, ipv6::link_local(MACS[INSIDE]), INSIDE))[INSIDE].len(), 1);
        // Packets go through all the same.
        rig.send(OUTSIDE, &solicit(WEB, OWN[OUTSIDE]));
        assert_eq!(rig.send(INSIDE, &udp(HOST, WEB.ip, (1, 53), INSIDE, 64, b"q"))[OUTSIDE].len(), 1);
    }
}

/// Without its link-local address an interface does not speak IPv6 (RFC 4862 5.4.5).
#[test]
fn a_duplicate_link_local_address_silences_the_interface() {
    let mut rig = Rig::with(policy(1500));
    let theirs = Station6 { mac: HOST.mac, ip: ipv6::link_local(MACS[INSIDE]) };
    let mut claim = vec![0; emit6::ND_FRAME_LEN];
    emit6::announcement(&mut claim, theirs).unwrap();
    rig.send(INSIDE, &claim);
    rig.wait(DETECTION);
    rig.collect();
    rig.moved();
    assert_eq!(rig.send(INSIDE, &ping(HOST, OWN[INSIDE], INSIDE)), NOTHING);
    rig.expect(&[("inside rx", 1), ("unsupported-ethertype", 1)]);
}
