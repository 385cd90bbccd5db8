// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rewritten frames against frames built from scratch with the new tuple: every byte, every checksum.

use crate::conn::{Conns, Dir, NewConn};
use crate::key::{ICMP, Key, TCP, UDP};
use crate::ports::Share;
use crate::rewrite::{error_belongs_to, translate, translate_error};
use crate::tcp::State;
use crate::xlate::NO_XLATE;
use crate::{Flow, FlowConfig, Rng};
use fedgate_wire::{checksum, parse};
use proptest::prelude::*;

/// An IPv4 datagram in an Ethernet frame, right in every checksum.
pub fn frame(key: &Key, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut l4 = match key.proto {
        TCP => [&[0u8; 12][..], &[0x50, 0x10, 1, 1, 0, 0, 0, 0]].concat(),
        UDP => [&[0u8; 4][..], &((8 + payload.len()) as u16).to_be_bytes(), &[0, 0]].concat(),
        _ => vec![if key.dport == 0 { 8 } else { 0 }, 0, 0, 0, 0, 0, 0, 1],
    };
    if key.proto == ICMP {
        l4[4..6].copy_from_slice(&(key.sport | key.dport).to_be_bytes());
    } else {
        l4[0..2].copy_from_slice(&key.sport.to_be_bytes());
        l4[2..4].copy_from_slice(&key.dport.to_be_bytes());
    }
    l4.extend_from_slice(payload);
    match key.proto {
        TCP => {
            let c = checksum::of_segment(key.src, key.dst, TCP, &l4);
            l4[16..18].copy_from_slice(&c.to_be_bytes());
        }
        UDP => {
            let c = checksum::udp_field(checksum::of_segment(key.src, key.dst, UDP, &l4));
            l4[6..8].copy_from_slice(&c.to_be_bytes());
        }
        _ => {
            let c = checksum::udp_field(checksum::of(&l4));
            l4[2..4].copy_from_slice(&c.to_be_bytes());
        }
    }
    datagram(key.src, key.dst, key.proto, ttl, &l4)
}

fn datagram(src: u32, dst: u32, proto: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut ip = vec![0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, ttl, proto, 0, 0];
    ip[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
    ip.extend_from_slice(&src.to_be_bytes());
    ip.extend_from_slice(&dst.to_be_bytes());
    let c = checksum::of(&ip);
    ip[10..12].copy_from_slice(&c.to_be_bytes());
    [&[2u8; 12][..], &[8, 0], &ip, payload].concat()
}

/// A quote of 28 bytes and more of a frame's datagram in an error from `router` to the quoted source.
pub fn error(router: u32, about: &[u8], quote_l4: usize, ttl: u8) -> Vec<u8> {
    let ip = &about[14..];
    let quote = &ip[..ip.len().min(20 + quote_l4)];
    let mut icmp = [&[3u8, 4, 0, 0, 0, 0, 5, 0][..], quote].concat();
    let c = checksum::of(&icmp);
    icmp[2..4].copy_from_slice(&c.to_be_bytes());
    let back = u32::from_be_bytes(ip[12..16].try_into().unwrap());
    datagram(router, back, ICMP, ttl, &icmp)
}

fn flow_with(forward: Key, reverse: Key) -> (Flow, crate::conn::ConnId) {
    let mut flow = Flow::new(FlowConfig { max_conns: 4, max_xlates: 4, seed: 8, share: Share::WHOLE });
    flow.conns = Conns::new(4, &mut Rng::new(1));
    let new = NewConn {
        forward,
        reverse,
        iface: [1, 0],
        state: State::Established,
        inbound: false,
        xlate: NO_XLATE,
        class: crate::conn::NO_CLASS,
    };
    let id = flow.conns.insert(new, 0).unwrap();
    (flow, id)
}

fn tuple() -> impl Strategy<Value = (Key, Key)> {
    let addr = || 0x0100_0001u32..0x7e00_0000;
    (addr(), addr(), addr(), 1u16.., 1u16.., 1u16.., prop::sample::select(vec![TCP, UDP, ICMP]))
        .prop_filter_map("three hosts", |(inside, mapped, far, sport, dport, mport, proto)| {
            let dport = if proto == ICMP { 0 } else { dport };
            let forward = Key { src: inside, dst: far, sport, dport, proto };
            let reverse = Key { src: far, dst: mapped, sport: dport, dport: mport, proto };
            (inside != far && mapped != far && inside != mapped).then_some((forward, reverse))
        })
}

proptest! {
    #[test]
    fn translated_is_as_if_sent_so((forward, reverse) in tuple(), ttl in 2u8.., payload in prop::collection::vec(any::<u8>(), 0..64)) {
        let (flow, id) = flow_with(forward, reverse);
        for dir in [Dir::Forward, Dir::Reverse] {
            let hot = flow.conns.hot(id);
            let mut got = frame(&hot.key(dir), ttl, &payload);
            let parsed = parse(&got).unwrap();
            prop_assert_eq!(flow.conns.lookup(flow.conns.hash(&parsed.tuple), &parsed.tuple), Some((id, dir)));
            translate(&mut got, &parsed, &hot.leaves_as(dir), hot.deltas.towards(dir));
            prop_assert_eq!(got, frame(&hot.leaves_as(dir), ttl - 1, &payload));
        }
    }

    /// An error about what left in one direction comes back quoting what its sender had sent (RFC 5508 REQ-4, -5).
    #[test]
    fn errors_quote_what_was_sent((forward, reverse) in tuple(), ttl in 2u8.., quoted in 8usize..40, from_far: bool) {
        let (flow, id) = flow_with(forward, reverse);
        let hot = flow.conns.hot(id);
        let about = if from_far { Dir::Forward } else { Dir::Reverse };
        let left = frame(&hot.leaves_as(about), 9, b"some payload here");
        let sent = frame(&hot.key(about), 9, b"some payload here");
        let router = 0x0909_0909;
        let quoted = if quoted == 17 { 16 } else { quoted }; // half a TCP checksum cannot be right
        let mut got = error(router, &left, quoted, ttl);
        let parsed = parse(&got).unwrap();
        let (found, dir) = error_belongs_to(&flow, &got, &parsed).expect("its connection");
        prop_assert_eq!((found, dir), (id, about.flip()));
        translate_error(&mut got, &parsed, hot, dir);
        let shown = if from_far { router } else { hot.leaves_as(dir).src };
        prop_assert_eq!(got, error(shown, &sent, quoted, ttl - 1));
    }
}

#[test]
fn an_error_about_nothing_of_ours_is_nobodys() {
    let forward = Key { src: 0x0a000001, dst: 0x09000001, sport: 5, dport: 6, proto: UDP };
    let (flow, _) = flow_with(forward, Key { dst: 0x08000001, ..forward.mirror() });
    let stray = frame(&Key { sport: 99, ..forward }, 9, b"x");
    let got = error(0x0909_0909, &stray, 8, 9);
    assert_eq!(error_belongs_to(&flow, &got, &parse(&got).unwrap()), None);
}
