// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ownership: the hash against its slow twin and Microsoft's vectors, and both directions of any flow at one worker.

use crate::key::{Key, TCP, UDP};
use crate::shard::{self, BY_SOURCE, BY_SOURCE_HASH, BY_TUPLE_HASH, KEY_LEN, Toeplitz};
use proptest::prelude::*;

/// Bit by bit, as the specification has it: for each set bit of the input the 32 bits of the key from there on.
fn slow(key: &[u8; KEY_LEN], input: &[u8]) -> u32 {
    let bit = |bytes: &[u8], i: usize| bytes[i / 8] >> (7 - i % 8) & 1 == 1;
    let mut hash = 0u32;
    for i in (0..input.len() * 8).filter(|i| bit(input, *i)) {
        hash ^= (0..32).fold(0, |word, j| word << 1 | u32::from(bit(key, i + j)));
    }
    hash
}

/// "Verifying the RSS hash calculation", Microsoft's driver documentation: IPv4 with and without ports, IPv6 with ports.
#[test]
fn microsofts_vectors() {
    let mut key = [0; KEY_LEN];
    key[..40].copy_from_slice(&[
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
        0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
        0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ]);
    let hash = Toeplitz::new(&key);
    let v4 = |src: [u8; 4], sport, dst: [u8; 4], dport| {
        let (src, dst) = (u32::from_be_bytes(src), u32::from_be_bytes(dst));
        let key = Key { src, dst, sport, dport, proto: TCP };
        (hash.hash_tuple(&key, true), hash.hash_tuple(&key, false))
    };
    for (got, wanted) in [
        (v4([66, 9, 149, 187], 2794, [161, 142, 100, 80], 1766), (0x51cc_c178, 0x323e_8fc2)),
        (v4([199, 92, 111, 2], 14230, [65, 69, 140, 83], 4739), (0xc626_b0ea, 0xd718_262a)),
        (v4([24, 19, 198, 95], 12898, [12, 22, 207, 184], 38024), (0x5c2b_394a, 0xd2d0_a5de)),
        (v4([38, 27, 205, 30], 48228, [209, 142, 163, 6], 2217), (0xafc7_327f, 0x8298_9176)),
        (v4([153, 39, 163, 191], 44251, [202, 188, 127, 2], 1303), (0x10e8_28a2, 0x5d18_09c5)),
    ] {
        assert_eq!(got, wanted);
    }
    let v6 = |src: &str, sport: u16, dst: &str, dport: u16| {
        let octets = |a: &str| a.parse::<std::net::Ipv6Addr>().unwrap().octets();
        hash.hash(&[&octets(src)[..], &octets(dst), &sport.to_be_bytes(), &dport.to_be_bytes()].concat())
    };
    assert_eq!(v6("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766), 0x4020_7d3d);
    assert_eq!(v6("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739), 0xdde5_1bbf);
}

proptest! {
    #[test]
    fn the_tables_are_the_slow_hash(key: [u8; KEY_LEN], input in prop::collection::vec(any::<u8>(), 0..=36)) {
        prop_assert_eq!(Toeplitz::new(&key).hash(&input), slow(&key, &input));
    }

    #[test]
    fn a_packet_and_its_answer_hash_alike(src: u32, dst: u32, sport: u16, dport: u16) {
        let key = Key { src, dst, sport, dport, proto: UDP };
        for ports in [false, true] {
            prop_assert_eq!(BY_TUPLE_HASH.hash_tuple(&key, ports), BY_TUPLE_HASH.hash_tuple(&key.mirror(), ports));
        }
    }

    /// What a NIC keyed by source gives to a queue is what [`shard::of_host`] says, whatever else is in the packet.
    #[test]
    fn the_source_key_sees_the_source_alone(src: u32, dst: u32, sport: u16, dport: u16, of in 1u8..=16) {
        let key = Key { src, dst, sport, dport, proto: TCP };
        let hash = slow(&BY_SOURCE, &[src.to_be_bytes(), dst.to_be_bytes(), [0; 4]].concat());
        prop_assert_eq!(BY_SOURCE_HASH.hash_tuple(&key, false), hash);
        prop_assert_eq!(shard::of_hash(BY_SOURCE_HASH.hash_tuple(&key, true), of), shard::of_host(src, of));
    }
}

/// Hosts of one network go round all workers evenly: 128 in a row have all values of the low seven bits.
#[test]
fn neighbours_are_spread_evenly() {
    for base in [0u32, 10 << 24, 0xc0a8_0100, 0xac10_5580] {
        let mut seen = [false; 128];
        (0..128).for_each(|n| seen[(BY_SOURCE_HASH.hash(&(base + n).to_be_bytes()) & 127) as usize] = true);
        assert_eq!(seen, [true; 128]);
    }
    for of in 1..=16 {
        let mut hosts = vec![0; usize::from(of)];
        (0..1280u32).for_each(|n| hosts[usize::from(shard::of_host(10 << 24 | n, of))] += 1);
        let (least, most) = (hosts.iter().min().unwrap(), hosts.iter().max().unwrap());
        assert!(most - least <= 10, "{hosts:?}");
    }
}
