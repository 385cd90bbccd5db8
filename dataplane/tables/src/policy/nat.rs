// SPDX-License-Identifier: MIT OR Apache-2.0
//! The policy's NAT rules and pools. A rule is two ranges of addresses (and ports) of one size, of which one is shown as the
//! other, and for twice NAT two more for the destination. Plain data, see [`super`].

use super::*;

/// How a NAT rule translates the real side's source address.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatKind {
    /// Addresses one to one, all ports, both ways in.
    Static = 1,
    /// One address and its ports of one protocol to another and its ports, both ways in.
    StaticPat = 2,
    /// Many addresses to one, or to those of a pool, by port.
    DynamicPat = 3,
    /// No translation: ends the search.
    Identity = 4,
    /// Each address to one of a pool for as long as it is in use, all ports.
    Dynamic = 5,
}

impl NatKind {
    /// The kind with this number.
    pub fn from_u8(n: u8) -> Option<Self> {
        Some(match n {
            1 => Self::Static,
            2 => Self::StaticPat,
            3 => Self::DynamicPat,
            4 => Self::Identity,
            5 => Self::Dynamic,
            _ => return None,
        })
    }
}

/// Addresses of a pool, both in it, host order. 8 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct AddrRange {
    /// First.
    pub first: u32,
    /// Last.
    pub last: u32,
}

/// One NAT rule. Addresses host order, ranges inclusive. 88 bytes.
///
/// A packet from the real side matches where its source is in `real`, its source port in `real_port` and its destination (as the
/// real side calls it) in `dest_mapped` and `dest_mapped_port`; its source becomes the address at the same place in `mapped`, its
/// destination the one at the same place in `dest_real`. A packet towards the mapped side matches the other way round.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct NatRule {
    /// Interface of the real addresses; [`NONE`] for `any`.
    pub real_if: u32,
    /// Interface of the mapped address; [`NONE`] for `any`.
    pub mapped_if: u32,
    /// Real addresses.
    pub real: [u32; 2],
    /// Mapped addresses: as many as real ones for [`NatKind::Static`]; one for the PATs (`interface` is resolved by control). For a
    /// rule with a pool: the interface's own address, where [`NAT_INTERFACE`] says that it stands in for an exhausted pool.
    pub mapped: [u32; 2],
    /// Twice NAT: destinations as the real side calls them; [`ANY_ADDR`] for any.
    pub dest_mapped: [u32; 2],
    /// Twice NAT: what they become; the same where the destination is only matched.
    pub dest_real: [u32; 2],
    /// Source ports of the real side; [`ANY_PORT`] for any. Only with `proto`.
    pub real_port: [u16; 2],
    /// What they become; as many.
    pub mapped_port: [u16; 2],
    /// Destination ports as the real side calls them.
    pub dest_mapped_port: [u16; 2],
    /// What they become; as many.
    pub dest_real_port: [u16; 2],
    /// First [`AddrRange`] of the pool.
    pub pool: u32,
    /// Number of them; 0 for no pool.
    pub pool_count: u32,
    /// [`NAT_ROUND_ROBIN`] | [`NAT_FLAT`] | ...
    pub flags: u32,
    /// Slot in the NAT hit counters.
    pub counter: u32,
    /// [`NatKind`] as a number.
    pub kind: u8,
    /// IP protocol, where ports count (6 or 17); else 0.
    pub proto: u8,
    /// 1 manual, 2 auto, 3 after-auto: the ASA's section, for `show nat`.
    pub section: u8,
    /// Zero.
    pub pad: u8,
    /// Zero.
    pub pad2: u32,
    /// Its configuration line, for `show nat`.
    pub text: Blob,
}
const _: () = assert!(size_of::<NatRule>() == 88);

impl Default for NatRule {
    /// Matches everything, on any interface; the kind is the caller's to say.
    fn default() -> Self {
        Self {
            real_if: NONE,
            mapped_if: NONE,
            real: ANY_ADDR,
            mapped: [0; 2],
            dest_mapped: ANY_ADDR,
            dest_real: ANY_ADDR,
            real_port: ANY_PORT,
            mapped_port: ANY_PORT,
            dest_mapped_port: ANY_PORT,
            dest_real_port: ANY_PORT,
            pool: 0,
            pool_count: 0,
            flags: 0,
            counter: 0,
            kind: 0,
            proto: 0,
            section: 1,
            pad: 0,
            pad2: 0,
            text: Blob::default(),
        }
    }
}

/// `round-robin`: a pool's addresses in turn, else each until it is exhausted.
pub const NAT_ROUND_ROBIN: u32 = 1;
/// `flat`: one band of ports, 1024-65535, for every source port.
pub const NAT_FLAT: u32 = 2;
/// `include-reserve`: with `flat`, ports from 1 on.
pub const NAT_INCLUDE_RESERVE: u32 = 4;
/// `extended`: a port may be used once for each destination.
pub const NAT_EXTENDED: u32 = 8;
/// `block-allocation`: ports by blocks, a host.
pub const NAT_BLOCKS: u32 = 16;
/// `interface`: its address stands in for an exhausted pool.
pub const NAT_INTERFACE: u32 = 32;
/// `unidirectional`: nothing comes in by it.
pub const NAT_UNIDIRECTIONAL: u32 = 64;
/// `no-proxy-arp`.
pub const NAT_NO_PROXY_ARP: u32 = 128;
/// `route-lookup`: the egress interface is the route's, not the rule's.
pub const NAT_ROUTE_LOOKUP: u32 = 256;
/// `inactive`.
pub const NAT_INACTIVE: u32 = 512;
/// All of them.
pub const NAT_FLAGS: u32 = 1023;
