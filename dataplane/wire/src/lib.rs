// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ethernet, ARP, IPv4 and IPv6 on the wire: what a frame says, and the frames the appliance itself sends.
//!
//! Three ways in, for three needs:
//! - [`parse::parse`] reads a whole IPv4 or ARP frame in one pass on a worker core and gives offsets and the 5-tuple,
//!   [`parse6::parse6`] an IPv6 one; every frame from a port goes through one of them first, and after it nobody
//!   needs to ask again whether a header is there.
//! - The views ([`Ethernet`], [`Arp`], [`Ipv4`], [`Ipv6`], [`Tcp`], [`Udp`], [`Icmp4`]) read and write single fields of
//!   headers that lie in a `&[u8]` or `&mut [u8]`; their `new_checked` is the only length check.
//! - [`emit`] and [`emit6`] write whole frames: ARP and neighbour discovery, ICMP echo replies, ICMP errors.
//!   [`emit_tcp`] and [`emit_echo`] write datagrams: TCP segments without data, echo requests.
//!
//! Addresses and ports are numbers in host order everywhere in this crate's interface; only the bytes of a frame
//! are in network order. No allocation, no IO, no clock, no `unsafe`, no `std`. Ethernet II only: a VLAN
//! tag is an error with a name.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod bytes;

pub mod arp;
pub mod checksum;
pub mod emit;
pub mod emit6;
pub mod emit_echo;
pub mod emit_tcp;
pub mod error;
pub mod ethernet;
pub mod headers6;
pub mod icmp4;
pub mod icmp6;
pub mod ipv4;
pub mod ipv6;
pub mod mac;
pub mod mld;
pub mod nd;
pub mod parse;
pub mod parse6;
pub mod plain;
pub mod plain6;
pub mod tcp;
pub mod udp;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod testing6;

pub use arp::Arp;
pub use error::{EmitError, ParseError};
pub use ethernet::Ethernet;
pub use icmp4::Icmp4;
pub use ipv4::Ipv4;
pub use ipv6::Ipv6;
pub use mac::MacAddr;
pub use parse::{Embedded, Fragment, Kind, Parsed, Tuple, parse, parse_into};
pub use parse6::{Embedded6, Kind6, Parsed6, Tuple6, parse6};
pub use tcp::{Tcp, TcpFlags};
pub use udp::Udp;

/// IP protocol numbers (IANA) that this crate looks into.
pub mod proto {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Encapsulating security payload: what follows cannot be read.
    pub const ESP: u8 = 50;
    /// Authentication header.
    pub const AH: u8 = 51;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6: nothing follows.
    pub const NO_NEXT: u8 = 59;
    /// IPv6 destination options.
    pub const DESTINATION_OPTIONS: u8 = 60;
}
