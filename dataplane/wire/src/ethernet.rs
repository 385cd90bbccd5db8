// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ethernet II header view (IEEE 802.3 clause 3, type interpretation).
//!
//! 14 bytes, no tag: a frame with an 802.1Q tag shows its tag's type as [`Ethernet::ethertype`] and goes no
//! further. The frame check sequence is the port's matter and never seen here. Used on worker cores.

use crate::bytes::{be16, put16};
use crate::{MacAddr, ParseError};

/// Bytes of the header.
pub const HEADER_LEN: usize = 14;
/// Least bytes of a frame without its check sequence; what is shorter is padded with zeros.
pub const MIN_FRAME_LEN: usize = 60;

/// IPv4.
pub const TYPE_IPV4: u16 = 0x0800;
/// ARP.
pub const TYPE_ARP: u16 = 0x0806;
/// IPv6.
pub const TYPE_IPV6: u16 = 0x86dd;

mod field {
    pub(super) const DST: usize = 0;
    pub(super) const SRC: usize = 6;
    pub(super) const TYPE: usize = 12;
}

/// A frame whose 14 header bytes are there.
#[derive(Clone, Copy, Debug)]
pub struct Ethernet<T>(T);

impl<T: AsRef<[u8]>> Ethernet<T> {
    /// Takes a frame.
    ///
    /// # Errors
    /// [`ParseError::FrameTooShort`] under 14 bytes.
    #[inline]
    pub fn new_checked(frame: T) -> Result<Self, ParseError> {
        if frame.as_ref().len() < HEADER_LEN { Err(ParseError::FrameTooShort) } else { Ok(Self(frame)) }
    }

    /// Where it goes.
    #[inline]
    pub fn dst(&self) -> MacAddr {
        MacAddr::read(self.0.as_ref(), field::DST)
    }

    /// Where it comes from.
    #[inline]
    pub fn src(&self) -> MacAddr {
        MacAddr::read(self.0.as_ref(), field::SRC)
    }

    /// What it carries, or (up to 1500) the length of an 802.3 frame.
    #[inline]
    pub fn ethertype(&self) -> u16 {
        be16(self.0.as_ref(), field::TYPE)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ethernet<T> {
    /// Sets the destination.
    #[inline]
    pub fn set_dst(&mut self, mac: MacAddr) {
        self.0.as_mut()[field::DST..field::DST + 6].copy_from_slice(&mac.0);
    }

    /// Sets the source.
    #[inline]
    pub fn set_src(&mut self, mac: MacAddr) {
        self.0.as_mut()[field::SRC..field::SRC + 6].copy_from_slice(&mac.0);
    }

    /// Sets the type.
    #[inline]
    pub fn set_ethertype(&mut self, ethertype: u16) {
        put16(self.0.as_mut(), field::TYPE, ethertype);
    }
}
