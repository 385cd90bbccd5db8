// SPDX-License-Identifier: MIT OR Apache-2.0
//! NAT lines of the model, as written; [`crate::config::resolve`] follows them to addresses.

use std::net::Ipv4Addr;

use crate::config::types::{IfPair, Net};

/// `nat (real,mapped) {static|dynamic} ...` within an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectNat {
    /// The interfaces.
    pub pair: IfPair,
    /// `dynamic`, else `static`.
    pub dynamic: bool,
    /// To what.
    pub mapped: Mapped,
    /// Dynamic only.
    pub pool: Pool,
    /// `service {tcp|udp} REAL MAPPED`, static only: protocol, real and mapped port.
    pub service: Option<(u8, u16, u16)>,
    /// Static only.
    pub options: NatOptions,
}

/// The mapped side of a translation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// An address in the line itself (object and 8.2 forms).
    Address(Ipv4Addr),
    /// An `object network` or `object-group network`.
    Object(String),
    /// The address of the mapped interface.
    Interface,
}

/// What a dynamic line says of the addresses it maps to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// `pat-pool`: many hosts share an address by ports.
    pub pat: bool,
    /// `round-robin`.
    pub round_robin: bool,
    /// `extended`.
    pub extended: bool,
    /// `flat`.
    pub flat: bool,
    /// `include-reserve` after `flat`.
    pub include_reserve: bool,
    /// `block-allocation`.
    pub blocks: bool,
    /// `interface` behind an address: stands in for an exhausted pool.
    pub interface: bool,
}

/// Options at the end of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatOptions {
    /// `unidirectional`.
    pub unidirectional: bool,
    /// `no-proxy-arp`.
    pub no_proxy_arp: bool,
    /// `route-lookup`.
    pub route_lookup: bool,
    /// `inactive`.
    pub inactive: bool,
    /// `description TEXT`.
    pub description: Option<String>,
}

/// A rule of section 1 or 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManualNat {
    /// `nat (r,m) source ...`.
    Twice(TwiceNat),
    /// `static (r,m) ...`, the 8.2 form.
    Static(LegacyStatic),
}

/// `nat (r,m) [after-auto] source {static|dynamic} R M [destination static DM DR] [service S1 S2] ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwiceNat {
    /// The interfaces.
    pub pair: IfPair,
    /// `after-auto`: section 3.
    pub after_auto: bool,
    /// `dynamic`, else `static`.
    pub dynamic: bool,
    /// Real object or group; `None` for `any`.
    pub real: Option<String>,
    /// Mapped object, group or `interface`; `None` for `any` (with a real `any`: identity).
    pub mapped: Option<Mapped>,
    /// Dynamic only.
    pub pool: Pool,
    /// `destination static DM DR`: as the real side calls it (never [`Mapped::Address`]), and what it becomes.
    pub destination: Option<(Mapped, String)>,
    /// `service S1 S2`: what the real side sends, and what becomes of it.
    pub service: Option<(String, String)>,
    /// The rest.
    pub options: NatOptions,
}

/// `static (r,m) {tcp|udp} M P R P netmask N` or `static (r,m) M R netmask N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyStatic {
    /// The interfaces.
    pub pair: IfPair,
    /// The mapped address, or the mapped interface's.
    pub mapped: Mapped,
    /// The real network: the address and `netmask`.
    pub real: Net,
    /// Protocol, real and mapped port.
    pub service: Option<(u8, u16, u16)>,
}

/// `global (I) N {A[-B] | interface}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyGlobal {
    /// The mapped interface.
    pub interface: String,
    /// Joins it to the `nat` lines of the same number.
    pub id: u32,
    /// Which addresses.
    pub mapped: GlobalAddr,
}

/// The addresses of a `global`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalAddr {
    /// One address: PAT.
    Address(Ipv4Addr),
    /// `A-B`: one for each host.
    Range(Ipv4Addr, Ipv4Addr),
    /// The interface's own: PAT.
    Interface,
}

/// `nat (I) N {A M | access-list L}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyNat {
    /// The real interface.
    pub interface: String,
    /// Joins it to the `global` lines of the same number; 0 for no translation.
    pub id: u32,
    /// What is translated.
    pub real: LegacyReal,
}

/// What a `nat` line of 8.2 is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LegacyReal {
    /// The real network.
    Net(Net),
    /// `access-list L`: sources and destinations of its permits.
    Acl(String),
}
