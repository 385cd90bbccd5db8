// SPDX-License-Identifier: MIT OR Apache-2.0
//! What no sender sends, and what comes from where it cannot: each dropped under its own name (`show asp drop`).

use super::rig::*;
use fedgate_tables::policy::{IF_VERIFY_REVERSE_PATH, Interface, NONE, Route};
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_wire::emit::Station;
use fedgate_wire::{MacAddr, checksum, parse, proto};

/// A frame with IP options, a multiple of four bytes, put into it.
fn with_options(frame: &[u8], options: &[u8]) -> Vec<u8> {
    let mut out = [&frame[..34], options, &frame[34..]].concat();
    out[14] = 0x45 + (options.len() / 4) as u8;
    let len = (out.len() - 14) as u16;
    out[16..18].copy_from_slice(&len.to_be_bytes());
    mend(&mut out);
    out
}

fn mend(frame: &mut [u8]) {
    let end = 14 + usize::from(frame[14] & 0xf) * 4;
    frame[24..26].fill(0);
    let sum = checksum::of(&frame[14..end]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// As the ASA by default: padding and router alert pass, everything else goes (RFC 7126): source routes above all.
#[test]
fn ip_options_pass_if_they_are_harmless() {
    let mut rig = Rig::new();
    let question = udp((WORK, 5353), (WEB.ip, 53), MACS[INSIDE], 64, b"question");
    rig.exchange(INSIDE, &question, &[(OUTSIDE, WEB)]);
    rig.collect();
    rig.moved();
    for options in [&[1, 1, 1, 0][..], &[148, 4, 0, 0], &[1, 1, 1, 1, 148, 4, 0, 0], &[0, 7, 7, 7]] {
        let out = rig.send(INSIDE, &with_options(&question, options));
        let got = parse(&out[OUTSIDE][0]).unwrap();
        assert_eq!((got.tuple.src, got.tuple.dst, got.has_options), (OWN[OUTSIDE], WEB.ip, true));
        assert!(parse::verify_l4(&out[OUTSIDE][0], &got));
        rig.expect(&[("inside rx", 1), ("outside tx", 1)]);
    }
    let loose = [131, 7, 4, 198, 51, 100, 30, 0];
    let strict = [137, 7, 4, 198, 51, 100, 30, 0];
    let record = [7, 7, 4, 0, 0, 0, 0, 0];
    let timestamp = [68, 8, 5, 0, 0, 0, 0, 0];
    let short_alert = [148, 3, 0, 0];
    let cut_alert = [1, 1, 148, 4];
    for options in [&loose[..], &strict, &record, &timestamp, &short_alert, &cut_alert, &[1, 130, 0, 0]] {
        rig.send(INSIDE, &with_options(&question, options));
        rig.expect(&[("inside rx", 1), ("invalid-ip-option", 1)]);
    }
    rig.assert_no_mbuf_held();
}

/// A datagram with options that is cut keeps them in every piece, and fits.
#[test]
fn options_are_in_every_piece() {
    let mut rig = Rig::with(super::forwarding::bare(600));
    let big = udp((WORK, 7000), (WEB.ip, 7000), MACS[INSIDE], 64, &[5; 1200]);
    let out = rig.exchange(INSIDE, &with_options(&big, &[148, 4, 0, 0]), &[(OUTSIDE, WEB)]);
    let pieces: Vec<_> = out[OUTSIDE].iter().filter(|f| arp_target(f).is_none()).collect();
    assert_eq!(pieces.len(), 3);
    let mut whole = Vec::new();
    for piece in pieces {
        let parsed = parse(piece).unwrap();
        assert!(parsed.has_options && parsed.ip_len <= 600);
        whole.extend_from_slice(&piece[38..14 + usize::from(parsed.ip_len)]);
    }
    assert!(checksum::is_valid_segment(OWN[OUTSIDE], WEB.ip, proto::UDP, &whole));
}

/// `ip verify reverse-path interface I`, on both: a source must be where its route leads.
#[test]
fn a_source_that_is_elsewhere_is_dropped_where_the_path_back_is_verified() {
    let spoofing = Station { mac: WORK.mac, ip: ip(192, 0, 2, 77) };
    let inner = Station { mac: WEB.mac, ip: ip(10, 10, 0, 99) };
    let away = Station { mac: WEB.mac, ip: ip(192, 0, 2, 77) };
    for flags in [IF_VERIFY_REVERSE_PATH, 0] {
        let mut rig = Rig::with(open(flags));
        rig.exchange(INSIDE, &udp((WORK, 9), (WEB.ip, 53), MACS[INSIDE], 64, b"q"), &[(OUTSIDE, WEB)]);
        rig.exchange(OUTSIDE, &udp((WEB, 9), (WORK.ip, 99), MACS[OUTSIDE], 64, b"q"), &[(INSIDE, WORK)]);
        rig.collect();
        rig.moved();
        let checked = flags != 0;
        let passes = |rig: &mut Rig, side, frame: &[u8]| {
            rig.send(side, frame);
            let moved = rig.moved();
            let dropped = moved.get("rpf-violated").copied().unwrap_or(0) == 1;
            assert_ne!(dropped, moved.contains_key("conns_built"), "{moved:?}");
            !dropped
        };
        // From inside with an outside address, from outside with an inside one; and what the default route covers.
        let out = udp((spoofing, 7), (WEB.ip, 53), MACS[INSIDE], 64, b"x");
        assert_eq!(passes(&mut rig, INSIDE, &out), !checked);
        let inwards = udp((inner, 7), (WORK.ip, 53), MACS[OUTSIDE], 64, b"x");
        assert_eq!(passes(&mut rig, OUTSIDE, &inwards), !checked);
        assert!(passes(&mut rig, OUTSIDE, &udp((away, 7), (WORK.ip, 53), MACS[OUTSIDE], 64, b"x")));
        rig.assert_no_mbuf_held();
    }
}

/// Two interfaces of one security level and a default route, no NAT: everything passes that is not refused for itself.
fn open(flags: u8) -> PolicyBuilder {
    let mut b = PolicyBuilder::new();
    for (i, addr) in OWN.into_iter().enumerate() {
        let (name, device) = (b.blob(format!("if{i}").as_bytes()), b.blob(format!("net_ring{i}").as_bytes()));
        b.interface(Interface {
            name,
            device,
            addr,
            mask: 0xffff_ff00,
            mtu: 1500,
            flags,
            acl_in: NONE,
            acl_out: NONE,
            ..Interface::default()
        });
    }
    b.route(Route { gateway: WEB.ip, ifindex: OUTSIDE as u32, metric: 1, ..Route::default() });
    b.globals(fedgate_tables::policy::Globals {
        flags: fedgate_tables::policy::SAME_SECURITY_INTER,
        ..fedgate_tables::policy::Globals::default()
    });
    b
}

#[test]
fn impossible_packets_are_dropped_by_name() {
    let mut rig = Rig::new();
    rig.collect();
    rig.moved();
    let from = |ip| Station { ip, ..WORK };
    let question = udp((WORK, 5353), (WEB.ip, 53), MACS[INSIDE], 64, b"question");
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = question.clone();
        change(&mut frame);
        mend(&mut frame);
        frame
    };
    let flags = |flags| tcp((WORK, 5000), (WEB.ip, 80), MACS[INSIDE], flags);
    let to = |dst| udp((WORK, 5353), (dst, 53), MACS[INSIDE], 64, b"x");
    let source = |src| udp((from(src), 5353), (WEB.ip, 53), MACS[INSIDE], 64, b"x");
    let icmp = |message: &[u8]| ipv4(WORK, WEB.ip, MACS[INSIDE], proto::ICMP, 64, 0, message);
    let mut wrong_sum = question.clone();
    wrong_sum[24] ^= 1;
    let cases = [
        ("land-attack", udp((from(WEB.ip), 53), (WEB.ip, 53), MACS[INSIDE], 64, b"x")),
        ("sp-security-failed", source(ip(127, 0, 0, 1))),
        ("sp-security-failed", source(0)),
        ("sp-security-failed", source(ip(224, 0, 0, 5))),
        ("sp-security-failed", source(ip(240, 0, 0, 1))),
        ("sp-security-failed", source(u32::MAX)),
        ("sp-security-failed", to(ip(127, 0, 0, 1))),
        ("sp-security-failed", to(ip(0, 0, 0, 1))),
        ("sp-security-failed", to(ip(250, 0, 0, 1))),
        ("ip-not-unicast", to(ip(198, 51, 100, 255))),
        ("ip-not-unicast", to(ip(198, 51, 100, 0))),
        ("ip-not-unicast", to(ip(239, 1, 1, 1))),
        ("bad-tcp-flags", flags(0)),
        ("bad-tcp-flags", flags(0x03)),
        ("bad-tcp-flags", flags(0x06)),
        ("bad-tcp-flags", flags(0x29)),
        ("bad-tcp-flags", flags(0xff)),
        ("invalid-udp-length", changed(&|f| f[38..40].copy_from_slice(&7u16.to_be_bytes()))),
        ("invalid-udp-length", changed(&|f| f[38..40].copy_from_slice(&17u16.to_be_bytes()))),
        ("invalid-ip-length", changed(&|f| f[16..18].copy_from_slice(&19u16.to_be_bytes()))),
        ("invalid-ip-length", changed(&|f| f[16..18].copy_from_slice(&1000u16.to_be_bytes()))),
        ("invalid-ip-header", changed(&|f| f[14] = 0x44)),
        ("unsupported-ip-version", changed(&|f| f[14] = 0x65)),
        ("bad-ip-cksum", wrong_sum),
        ("invalid-tcp-hdr-length", changed(&|f| f[23] = proto::TCP)),
        ("invalid-icmp", icmp(&[8, 0, 0, 0, 0, 7])),
        ("invalid-icmp", icmp(&[8, 0, 1, 1, 0, 7, 0, 1])),
        ("invalid-frame-length", question[..20].to_vec()),
        ("ip-not-unicast", udp((WORK, 5353), (WEB.ip, 53), MacAddr::BROADCAST, 64, b"x")),
        ("l2-dst-not-ours", udp((WORK, 5353), (WEB.ip, 53), WEB.mac, 64, b"x")),
    ];
    for (reason, frame) in cases {
        assert_eq!(rig.send(INSIDE, &frame), [Vec::<Vec<u8>>::new(), Vec::new()]);
        let moved = rig.moved();
        assert_eq!(moved.get(reason), Some(&1), "{reason}: {moved:?}");
        assert_eq!(moved.len(), 2, "{reason}: {moved:?}");
    }
    rig.assert_no_mbuf_held();
}
