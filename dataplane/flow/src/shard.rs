// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which worker of several a connection belongs to: pure functions of the packet and the policy, the same on every worker.
//!
//! Owners, and why both directions agree:
//! - from a host that dynamic NAT or PAT translates: by the host's address, so that all mappings of a host are made in one worker;
//! - towards an address of dynamic PAT: by the port ([`Share::owner`]); a worker only gives out ports that are its own. So too where both ends
//!   are hosts behind us (hairpin): the called port decides, whoever calls;
//! - from and to the addresses of dynamic NAT, of which each host has one of its own: all pools with an address in common have one owner
//!   ([`of_pool`]), for a small pool cannot be dealt out;
//! - any other: by the symmetric hash of the tuple with real addresses, which either direction knows without state.
//!
//! The NIC spreads by the same Toeplitz hash. A port behind which there are hosts that dynamic NAT translates is keyed by source address
//! ([`BY_SOURCE`]): what it receives comes by the owner's queue. All others have the symmetric key ([`SYMMETRIC`]), and a
//! mapped port is chosen so that the first destination's replies come by the owner's queue too ([`Dealt::worker`]). Where the queue is
//! not the owner's the frame is handed over: the NIC decides on speed, never on what is right.
//!
//! Nibble tables, made at compile time; the slow twin is in tests, with Microsoft's verification vectors. Worker cores, on a
//! miss in the connection table; housekeeping when it sets up a port. Limit: 128 entries of a NIC's queue table are told apart.

use crate::Policy;
use crate::key::{Key, TCP, UDP};
use crate::nat::{Source, Twice};
use crate::ports::Share;
use fedgate_tables::policy::{NAT_INACTIVE, NONE, NatKind, NatRule, SAME_SECURITY_INTRA};
use fedgate_wire::Tuple6;

/// Bytes of a hash key: the longest that NICs have.
pub const KEY_LEN: usize = 52;
/// Bytes hashed at most: two IPv6 addresses and two ports.
const INPUT: usize = 36;

/// A key by which the hash of a packet and of its answer are the same: its bits repeat every 16.
pub const SYMMETRIC: [u8; KEY_LEN] = {
    let mut key = [0x6d; KEY_LEN];
    let mut i = 1;
    while i < KEY_LEN {
        key[i] = 0x5a;
        i += 2;
    }
    key
};

/// A key by which the low seven bits of an IPv4 packet's hash come from its source address alone, and any 128 consecutive
/// addresses have 128 different ones. Input bit i reaches them through bits i+25..=i+31 of the key, so bits 57..=126 are zero and bit 56
/// is one. Behind them the key is [`SYMMETRIC`], for IPv6.
pub const BY_SOURCE: [u8; KEY_LEN] = {
    let mut key = SYMMETRIC;
    key[7] = 0x80;
    let mut i = 8;
    while i < 16 {
        key[i] = 0;
        i += 1;
    }
    key
};

/// A Toeplitz hash with a fixed key.
pub struct Toeplitz {
    /// By position and value of four bits of input.
    nibbles: [[u32; 16]; 2 * INPUT],
}

/// [`SYMMETRIC`]'s.
pub static BY_TUPLE_HASH: Toeplitz = Toeplitz::new(&SYMMETRIC);
/// [`BY_SOURCE`]'s.
pub static BY_SOURCE_HASH: Toeplitz = Toeplitz::new(&BY_SOURCE);

impl Toeplitz {
    /// Makes the tables for a key.
    pub const fn new(key: &[u8; KEY_LEN]) -> Self {
        let mut nibbles = [[0; 16]; 2 * INPUT];
        let mut at = 0;
        while at < 2 * INPUT {
            let mut value = 1;
            while value < 16 {
                let mut bit = 0;
                while bit < 4 {
                    if value >> (3 - bit) & 1 == 1 {
                        nibbles[at][value] ^= window(key, at * 4 + bit);
                    }
                    bit += 1;
                }
                value += 1;
            }
            at += 1;
        }
        Self { nibbles }
    }

    /// The hash of `input`, at most 36 bytes of which count.
    pub fn hash(&self, input: &[u8]) -> u32 {
        let pairs = input.iter().zip(self.nibbles.chunks_exact(2));
        pairs.fold(0, |hash, (byte, pair)| {
            hash ^ pair[0][usize::from(byte >> 4)] ^ pair[1][usize::from(byte & 15)]
        })
    }

    /// The hash of an IPv4 tuple, with its ports or without.
    pub fn hash_tuple(&self, key: &Key, ports: bool) -> u32 {
        let mut input = [0; 12];
        input[..4].copy_from_slice(&key.src.to_be_bytes());
        input[4..8].copy_from_slice(&key.dst.to_be_bytes());
        if ports {
            input[8..10].copy_from_slice(&key.sport.to_be_bytes());
            input[10..].copy_from_slice(&key.dport.to_be_bytes());
        }
        // Zeros add nothing to the hash.
        self.hash(&input)
    }
}

/// The 32 bits of the key from `bit` on.
const fn window(key: &[u8; KEY_LEN], bit: usize) -> u32 {
    let mut bits = 0u64;
    let mut i = 0;
    while i < 5 {
        bits = bits << 8 | key[bit / 8 + i] as u64;
        i += 1;
    }
    (bits >> (8 - bit % 8)) as u32
}

/// The one of `of` that a hash falls to: its low seven bits, as a NIC's table takes them, cut into `of` even ranges.
#[inline]
pub const fn of_hash(hash: u32, of: u8) -> u8 {
    (((hash & 127) * of as u32) >> 7) as u8
}

/// The owner of what a host with dynamic translations sends.
pub fn of_host(real: u32, of: u8) -> u8 {
    of_hash(BY_SOURCE_HASH.hash(&real.to_be_bytes()), of)
}

/// The owner of a pool of dynamic NAT, by its [`crate::nat::Pool::group`].
pub fn of_pool(group: u32, of: u8) -> u8 {
    of_host(group, of)
}

/// The owner of a connection without dynamic translation, by its tuple with real addresses, in either direction.
pub fn of_tuple(real: &Key, of: u8) -> u8 {
    of_hash(BY_TUPLE_HASH.hash_tuple(real, matches!(real.proto, TCP | UDP)), of)
}

/// The owner of an IPv6 connection, in either direction.
pub fn of_tuple6(key: &Tuple6, of: u8) -> u8 {
    let mut input = [0; INPUT];
    input[..16].copy_from_slice(&key.src.to_be_bytes());
    input[16..32].copy_from_slice(&key.dst.to_be_bytes());
    if matches!(key.proto, TCP | UDP) {
        input[32..34].copy_from_slice(&key.sport.to_be_bytes());
        input[34..].copy_from_slice(&key.dport.to_be_bytes());
    }
    of_hash(BY_TUPLE_HASH.hash(&input), of)
}

/// The worker that collects the fragments between two addresses: a NIC with the symmetric key gives them to it.
pub fn of_pair(src: u32, dst: u32, of: u8) -> u8 {
    of_hash(BY_TUPLE_HASH.hash_tuple(&Key { src, dst, ..Key::default() }, false), of)
}

/// The same for IPv6.
pub fn of_pair6(src: u128, dst: u128, of: u8) -> u8 {
    of_tuple6(&Tuple6 { src, dst, ..Tuple6::default() }, of)
}

/// By what a port's frames are dealt out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dealing {
    /// [`SYMMETRIC`].
    Symmetric,
    /// [`BY_SOURCE`].
    BySource,
}

impl Dealing {
    /// What suits interface `ifindex`: by source where dynamic NAT translates hosts behind it.
    pub fn of(nat: &[NatRule], ifindex: u8) -> Self {
        let ifindex = u32::from(ifindex);
        let translates = nat.iter().any(|rule| {
            let dynamic = match NatKind::from_u8(rule.kind) {
                Some(NatKind::DynamicPat | NatKind::Dynamic) => rule.flags & NAT_INACTIVE == 0,
                Some(NatKind::Static | NatKind::StaticPat | NatKind::Identity) | None => false,
            };
            dynamic && (rule.real_if == ifindex || rule.real_if == NONE && rule.mapped_if != ifindex)
        });
        if translates { Self::BySource } else { Self::Symmetric }
    }

    /// The NIC's key.
    pub fn key(self) -> &'static [u8; KEY_LEN] {
        match self {
            Self::Symmetric => &SYMMETRIC,
            Self::BySource => &BY_SOURCE,
        }
    }
}

/// How a port's frames come to the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dealt {
    /// The key.
    pub dealing: Dealing,
    /// Whether the ports of TCP and of UDP are hashed too.
    pub ports: [bool; 2],
    /// Receive queues; worker i has queue i.
    pub queues: u8,
}

impl Dealt {
    /// The worker that receives a frame of this tuple.
    pub fn worker(&self, key: &Key) -> u8 {
        let hash = match self.dealing {
            Dealing::Symmetric => &BY_TUPLE_HASH,
            Dealing::BySource => &BY_SOURCE_HASH,
        };
        let [tcp, udp] = self.ports;
        let ports = key.proto == TCP && tcp || key.proto == UDP && udp;
        of_hash(hash.hash_tuple(key, ports), self.queues)
    }
}

/// The worker, of `of`, that owns what arrives as `key` on `in_if`. None where no connection can come of it (no way there, or it is
/// for the appliance): whoever has it deals with it.
pub fn owner(
    key: &Key,
    in_if: u8,
    policy: &Policy<'_>,
    egress: impl Fn(u32) -> Option<u8>,
    of: u8,
) -> Option<u8> {
    let nat = policy.nat;
    let mut real = *key;
    let mut out_if = None;
    let mut twice = None;
    // What is shown elsewhere may be called from here, too.
    let may_turn = policy.globals.flags & SAME_SECURITY_INTRA != 0 && nat.is_shown(key.dst);
    let beyond = || egress(key.dst).filter(|beyond| may_turn && *beyond != in_if);
    let by_rule = nat.untranslate(key, in_if).map(|un| (un, None));
    let by_rule = by_rule.or_else(|| {
        let beyond = beyond()?;
        let un = nat.untranslate(key, beyond).filter(|un| un.twice == Twice::No)?;
        Some((un, Some(beyond)))
    });
    let mut shown_if = None;
    if let Some((un, turned)) = by_rule {
        (real.dst, real.dport, out_if) = (un.addr, un.port, un.out_if);
        twice = (un.twice == Twice::SameRule).then_some(un.rule);
        shown_if = turned;
    } else if nat.is_mapped_address(key.dst, in_if) || may_turn && nat.is_dynamic(key.dst) {
        // Of dynamic NAT or PAT, or nobody's.
        return Some(match nat.one_to_one(key.dst) {
            Some(group) => of_pool(group, of),
            None => Share::owner(key.dport, of.into()) as u8,
        });
    } else if policy.interfaces.iter().any(|i| i.addr == key.dst) {
        return None;
    }
    let out_if = out_if.or_else(|| egress(real.dst))?;
    let source = match twice {
        Some(rule) => nat.source_by(rule, &real)?,
        None => nat.source(&real, in_if, shown_if.unwrap_or(out_if)),
    };
    Some(match source {
        Source::Dynamic { rule } if nat.pool(rule).one_to_one => of_pool(nat.pool(rule).group, of),
        Source::Dynamic { .. } => of_host(real.src, of),
        Source::Unchanged(_) | Source::Fixed { .. } => of_tuple(&real, of),
    })
}
