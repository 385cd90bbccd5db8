// SPDX-License-Identifier: MIT OR Apache-2.0
//! ARP message view (RFC 826), Ethernet and IPv4 only.
//!
//! A view exists only for a message that can be acted on: 28 bytes, hardware Ethernet, protocol IPv4, request or
//! reply, from a station of its own (a group address as sender would let one message redirect traffic to all).
//! What may be learned from it is the neighbour table's to decide. Slow path of the worker cores.

use crate::bytes::{be16, be32, put16, put32};
use crate::{MacAddr, ParseError, ethernet};

/// Bytes of the message.
pub const LEN: usize = 28;

mod field {
    pub(super) const HTYPE: usize = 0;
    pub(super) const PTYPE: usize = 2;
    pub(super) const HLEN: usize = 4;
    pub(super) const PLEN: usize = 5;
    pub(super) const OPER: usize = 6;
    pub(super) const SHA: usize = 8;
    pub(super) const SPA: usize = 14;
    pub(super) const THA: usize = 18;
    pub(super) const TPA: usize = 24;
}

const HTYPE_ETHERNET: u16 = 1;

/// What an ARP message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Operation {
    /// Who has the target address?
    Request = 1,
    /// The sender has its address.
    Reply = 2,
}

/// An ARP message that can be acted on.
#[derive(Clone, Copy, Debug)]
pub struct Arp<T>(T);

impl<T: AsRef<[u8]>> Arp<T> {
    /// Takes the bytes after the Ethernet header; padding may follow the message.
    ///
    /// # Errors
    /// [`ParseError::InvalidArp`] where the module's rules are not met.
    pub fn new_checked(message: T) -> Result<Self, ParseError> {
        let bytes = message.as_ref();
        if bytes.len() < LEN
            || be16(bytes, field::HTYPE) != HTYPE_ETHERNET
            || be16(bytes, field::PTYPE) != ethernet::TYPE_IPV4
            || bytes[field::HLEN] != 6
            || bytes[field::PLEN] != 4
            || !matches!(be16(bytes, field::OPER), 1 | 2)
            || !MacAddr::read(bytes, field::SHA).is_unicast()
        {
            return Err(ParseError::InvalidArp);
        }
        Ok(Self(message))
    }

    /// Request or reply.
    pub fn operation(&self) -> Operation {
        if be16(self.0.as_ref(), field::OPER) == Operation::Request as u16 {
            Operation::Request
        } else {
            Operation::Reply
        }
    }

    /// The sender's station.
    pub fn sender_mac(&self) -> MacAddr {
        MacAddr::read(self.0.as_ref(), field::SHA)
    }

    /// The sender's address, host order; 0 in a probe (RFC 5227).
    pub fn sender_ip(&self) -> u32 {
        be32(self.0.as_ref(), field::SPA)
    }

    /// The target's station; without meaning in a request.
    pub fn target_mac(&self) -> MacAddr {
        MacAddr::read(self.0.as_ref(), field::THA)
    }

    /// The address asked about, host order.
    pub fn target_ip(&self) -> u32 {
        be32(self.0.as_ref(), field::TPA)
    }
}

/// Writes a message into the first [`LEN`] bytes of `out`. Panics where `out` is shorter: [`crate::emit`] checks.
pub(crate) fn write(out: &mut [u8], operation: Operation, sender: (MacAddr, u32), target: (MacAddr, u32)) {
    put16(out, field::HTYPE, HTYPE_ETHERNET);
    put16(out, field::PTYPE, ethernet::TYPE_IPV4);
    out[field::HLEN] = 6;
    out[field::PLEN] = 4;
    put16(out, field::OPER, operation as u16);
    out[field::SHA..field::SPA].copy_from_slice(&sender.0.0);
    put32(out, field::SPA, sender.1);
    out[field::THA..field::TPA].copy_from_slice(&target.0.0);
    put32(out, field::TPA, target.1);
}
