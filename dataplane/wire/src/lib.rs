// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ethernet, ARP and IPv4 on the wire: what a frame says, and the frames the appliance itself sends.
//!
//! Three ways in, for three needs:
//! - [`parse::parse`] reads a whole frame in one pass on a worker core and gives offsets and the 5-tuple; every
//!   frame from a port goes through it first, and after it nobody needs to ask again whether a header is there.
//! - The views ([`Ethernet`], [`Arp`], [`Ipv4`], [`Tcp`], [`Udp`], [`Icmp4`]) read and write single fields of
//!   headers that lie in a `&[u8]` or `&mut [u8]`; their `new_checked` is the only length check.
//! - [`emit`] writes whole frames: ARP, ICMP echo replies, ICMP errors.
//!
//! Addresses and ports are numbers in host order everywhere in this crate's interface; only the bytes of a frame
//! are in network order. No allocation, no IO, no clock, no `unsafe`, no `std`. IPv4 over Ethernet II only: a VLAN
//! tag or IPv6 is an error with a name.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod bytes;

pub mod arp;
pub mod checksum;
pub mod emit;
pub mod error;
pub mod ethernet;
pub mod icmp4;
pub mod ipv4;
pub mod mac;
pub mod parse;
pub mod tcp;
pub mod udp;

#[cfg(test)]
mod testing;

pub use arp::Arp;
pub use error::{EmitError, ParseError};
pub use ethernet::Ethernet;
pub use icmp4::Icmp4;
pub use ipv4::Ipv4;
pub use mac::MacAddr;
pub use parse::{Embedded, Fragment, Kind, Parsed, Tuple, parse, parse_into};
pub use tcp::{Tcp, TcpFlags};
pub use udp::Udp;

/// IP protocol numbers (IANA) that this crate looks into.
pub mod proto {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
}
