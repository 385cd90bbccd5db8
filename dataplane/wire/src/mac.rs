// SPDX-License-Identifier: MIT OR Apache-2.0
//! An Ethernet station address (IEEE 802 EUI-48) as a type of its own, so that it cannot be taken for other bytes.
//!
//! Plain data, six bytes, any value: whether an address may send (a unicast one) or is a group is asked, not
//! enforced, since a frame may carry anything. Used on every core and by control.

use core::fmt;

/// An Ethernet address, in the order of the wire.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(transparent)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// All ones: every station.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// All zeros: no station; the unknown target of an ARP request.
    pub const ZERO: Self = Self([0; 6]);

    /// Broadcast or multicast: the lowest bit of the first byte.
    #[inline]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// A single station's address: neither a group nor all zeros.
    #[inline]
    pub fn is_unicast(self) -> bool {
        !self.is_group() && self != Self::ZERO
    }

    /// The address in the first six bytes from `at`. Panics where they are not there: views check first.
    #[inline]
    pub(crate) fn read(bytes: &[u8], at: usize) -> Self {
        let mut octets = [0; 6];
        octets.copy_from_slice(&bytes[at..at + 6]);
        Self(octets)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
