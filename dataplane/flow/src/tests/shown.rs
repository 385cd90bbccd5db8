// SPDX-License-Identifier: MIT OR Apache-2.0
//! What NAT says of sockets that messages name: that it is what packets of the socket would say, that it lasts, and that it is found back.

use super::nat::*;
use crate::Policy;
use crate::key::{TCP, UDP};
use crate::shown::{ShownMedia, Viewer};
use crate::xlate::NO_XLATE;
use fedgate_tables::policy::*;

const PUB: u32 = ip([203, 0, 113, 3]);
const PEER: Viewer = Viewer { ifindex: OUTSIDE, peer: (SERVER, 5061) };

fn egress(addr: u32) -> Option<u8> {
    Some(if addr >> 24 == 10 { INSIDE } else { OUTSIDE })
}

fn static_pat(proto: u8, real: u16, mapped: u16) -> NatRule {
    NatRule {
        kind: NatKind::StaticPat as u8,
        proto,
        real: one_addr(HOST),
        mapped: one_addr(PUB),
        real_port: one_port(real),
        mapped_port: one_port(mapped),
        real_if: 1,
        mapped_if: 0,
        ..NatRule::default()
    }
}

fn shown(lab: &mut Lab, proto: u8, real: (u32, u16)) -> Option<(u32, u16)> {
    lab.policy(|flow, policy, now| flow.shown(proto, real, &PEER, policy, &egress, now))
}

fn real(lab: &mut Lab, proto: u8, shown: (u32, u16)) -> Option<(u32, u16)> {
    lab.policy(|flow, policy, _| flow.real(proto, shown, &PEER, policy))
}

fn media(lab: &mut Lab, addr: u32, media: u16, rtcp: Option<u16>) -> Option<ShownMedia> {
    lab.policy(|flow, policy, now| flow.shown_media(addr, media, rtcp, &PEER, policy, &egress, now))
}

fn host(lab: &mut Lab, addr: u32) -> Option<u32> {
    lab.policy(|flow, policy: &Policy<'_>, _| flow.shown_host(addr, &PEER, policy, &egress))
}

#[test]
fn static_rules_say_both_ways_and_need_nothing() {
    let mut lab = Lab::new(&[static_pat(TCP, 5062, 5061), static_pat(UDP, 4000, 6000)]);
    assert_eq!(shown(&mut lab, TCP, (HOST, 5062)), Some((PUB, 5061)));
    assert_eq!(real(&mut lab, TCP, (PUB, 5061)), Some((HOST, 5062)));
    assert_eq!(shown(&mut lab, UDP, (HOST, 5062)), None, "another protocol");
    assert_eq!(shown(&mut lab, TCP, (HOST, 5063)), None);
    assert_eq!(real(&mut lab, TCP, (PUB, 5063)), None);
    assert_eq!(shown(&mut lab, TCP, (SERVER, 5062)), None, "on the viewer's side");
    let alone = ShownMedia { addr: PUB, media: 6000, rtcp: None, xlates: [NO_XLATE; 2] };
    assert_eq!(media(&mut lab, HOST, 4000, Some(4001)), Some(alone), "RTCP has no rule");
    assert_eq!(lab.flow.xlates.in_use().0, 0);
    let told = lab.policy(|flow, policy, now| [PUB, OWN].map(|addr| flow.is_told(addr, policy, now)));
    assert_eq!(told, [true, false]);
}

#[test]
fn a_dynamic_rule_shows_what_packets_would_be_shown_as() {
    let mut lab = Lab::interface_pat();
    let told = shown(&mut lab, TCP, (HOST, 5061)).expect("an xlate");
    assert_eq!(told, (OWN, 5061));
    assert_eq!(shown(&mut lab, TCP, (HOST, 5061)), Some(told));
    let other = shown(&mut lab, TCP, (OTHER, 5061)).expect("an xlate");
    assert!(other != told && other.0 == OWN);
    for (host, told) in [(HOST, told), (OTHER, other)] {
        assert_eq!(real(&mut lab, TCP, told), Some((host, 5061)));
        let (_, left) = lab.connect(INSIDE, TCP, (host, 5061), (SERVER, 443));
        assert_eq!((left.src, left.sport), told);
    }
    assert_eq!(host(&mut lab, HOST), Some(OWN));
}

#[test]
fn what_was_told_lasts_for_timeout_sip() {
    let mut lab = Lab::interface_pat();
    lab.globals.timeout_sip = 300;
    let told = shown(&mut lab, TCP, (HOST, 5061)).expect("an xlate");
    lab.wait(200);
    assert_eq!(shown(&mut lab, TCP, (HOST, 5061)), Some(told), "asked again");
    lab.wait(250);
    assert_eq!(real(&mut lab, TCP, told), Some((HOST, 5061)));
    // Then `timeout pat-xlate` begins.
    lab.wait(40);
    assert_eq!(lab.flow.xlates.in_use().0, 1);
    lab.wait(45);
    assert_eq!((real(&mut lab, TCP, told), lab.flow.xlates.in_use().0), (None, 0));
    let told = lab.policy(|flow, policy, now| flow.is_told(OWN, policy, now));
    assert!(!told);
}

#[test]
fn rtp_and_rtcp_stay_together() {
    let mut lab = Lab::new(&[pool(0)]);
    let first = media(&mut lab, HOST, 4000, Some(4001)).expect("two xlates");
    assert_eq!((first.media, first.rtcp), (4000, Some(4001)));
    assert_eq!(media(&mut lab, HOST, 4000, Some(4001)), Some(first));
    for port in [4000, 4101] {
        let other = media(&mut lab, OTHER, port, Some(port + 1)).expect("two xlates");
        assert_eq!((other.addr, other.rtcp), (first.addr, Some(other.media + 1)));
        assert_eq!(other.media & 1, port & 1, "parity");
        assert_eq!(real(&mut lab, UDP, (other.addr, other.media)), Some((OTHER, port)));
    }
    // Wherever else RTCP is.
    let apart = media(&mut lab, HOST, 5000, Some(7001)).expect("two xlates");
    assert_eq!((apart.media, apart.rtcp), (5000, Some(7001)));
    assert_eq!(media(&mut lab, HOST, 6000, None).expect("an xlate").rtcp, None);
}

#[test]
fn some_rules_have_no_answer() {
    let mut extended = Lab::new(&[pool(NAT_EXTENDED)]);
    assert_eq!(shown(&mut extended, TCP, (HOST, 5061)), None);
    assert_eq!(media(&mut extended, HOST, 4000, None), None);
    let identity = NatRule { kind: NatKind::Identity as u8, real: one_addr(HOST), ..pat(one_addr(HOST)) };
    let mut lab = Lab::new(&[identity, pool(0)]);
    assert_eq!(shown(&mut lab, TCP, (HOST, 5061)), None);
    assert_eq!(host(&mut lab, OTHER), None, "one of several addresses");
    assert!(shown(&mut lab, TCP, (OTHER, 5061)).is_some());
    assert!(lab.nat.translates_to(OUTSIDE) && !lab.nat.translates_to(INSIDE));
}

#[test]
fn an_address_a_host_is_the_hosts_for_all_ports() {
    let rule = NatRule { kind: NatKind::Dynamic as u8, ..pool(0) };
    let mut lab = Lab::new(&[rule]);
    assert_eq!(host(&mut lab, HOST), None, "none yet");
    let (addr, port) = shown(&mut lab, TCP, (HOST, 5061)).expect("an xlate");
    assert_eq!((port, host(&mut lab, HOST)), (5061, Some(addr)));
    let rtp = media(&mut lab, HOST, 4001, Some(4002)).expect("the same xlate");
    assert_eq!((rtp.addr, rtp.media, rtp.rtcp), (addr, 4001, Some(4002)));
    assert_eq!(real(&mut lab, UDP, (addr, 4002)), Some((HOST, 4002)));
}
