// SPDX-License-Identifier: MIT OR Apache-2.0
//! UDP header view (RFC 768).
//!
//! `new_checked` holds the length field against the bytes that are there. A checksum of zero means "none":
//! translation leaves it so ([`crate::checksum::Delta::apply_udp`]). Used on worker cores.

use crate::ParseError;
use crate::bytes::{be16, put16};

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;

pub(crate) mod field {
    pub(crate) const SRC_PORT: usize = 0;
    pub(crate) const DST_PORT: usize = 2;
    pub(crate) const LENGTH: usize = 4;
    pub(crate) const CHECKSUM: usize = 6;
}

/// A UDP datagram whose length field fits the bytes that are there.
#[derive(Clone, Copy, Debug)]
pub struct Udp<T>(T);

impl<T: AsRef<[u8]>> Udp<T> {
    /// Takes an IP payload.
    ///
    /// # Errors
    /// [`ParseError::InvalidUdpLength`] under 8 bytes, or for a length field under 8 or past the end.
    #[inline]
    pub fn new_checked(payload: T) -> Result<Self, ParseError> {
        let bytes = payload.as_ref();
        if bytes.len() < HEADER_LEN {
            return Err(ParseError::InvalidUdpLength);
        }
        let len = usize::from(be16(bytes, field::LENGTH));
        if len < HEADER_LEN || len > bytes.len() {
            return Err(ParseError::InvalidUdpLength);
        }
        Ok(Self(payload))
    }

    /// Source port.
    #[inline]
    pub fn src_port(&self) -> u16 {
        be16(self.0.as_ref(), field::SRC_PORT)
    }

    /// Destination port.
    #[inline]
    pub fn dst_port(&self) -> u16 {
        be16(self.0.as_ref(), field::DST_PORT)
    }

    /// Bytes of header and data.
    #[inline]
    pub fn length(&self) -> u16 {
        be16(self.0.as_ref(), field::LENGTH)
    }

    /// The checksum as it stands; 0 for none.
    #[inline]
    pub fn checksum(&self) -> u16 {
        be16(self.0.as_ref(), field::CHECKSUM)
    }

    /// The data.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[HEADER_LEN..usize::from(self.length())]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Udp<T> {
    /// Sets the source port.
    #[inline]
    pub fn set_src_port(&mut self, port: u16) {
        put16(self.0.as_mut(), field::SRC_PORT, port);
    }

    /// Sets the destination port.
    #[inline]
    pub fn set_dst_port(&mut self, port: u16) {
        put16(self.0.as_mut(), field::DST_PORT, port);
    }

    /// Sets the checksum field.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        put16(self.0.as_mut(), field::CHECKSUM, checksum);
    }
}
