// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses as the language has them beside [`super::types::Net`]: IPv6 networks, what an object may hold, ranges cut into prefixes.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::types::Net;

/// An IPv6 network: no host bits; prints as `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Net6 {
    addr: Ipv6Addr,
    prefix: u8,
}

impl Net6 {
    /// Every address.
    pub const ANY: Self = Self { addr: Ipv6Addr::UNSPECIFIED, prefix: 0 };

    /// `None` where `prefix` is above 128 or `addr` has bits beyond it.
    pub fn new(addr: Ipv6Addr, prefix: u8) -> Option<Self> {
        let net = Self::holding(addr, prefix)?;
        (net.addr == addr).then_some(net)
    }

    /// The network of this size that holds `addr`; `None` where `prefix` is above 128.
    pub fn holding(addr: Ipv6Addr, prefix: u8) -> Option<Self> {
        let host = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
        (prefix <= 128).then(|| Self { addr: Ipv6Addr::from(u128::from(addr) & !host), prefix })
    }

    /// The network of one address.
    pub fn host(addr: Ipv6Addr) -> Self {
        Self { addr, prefix: 128 }
    }

    /// First address.
    pub fn addr(self) -> Ipv6Addr {
        self.addr
    }

    /// Prefix length.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether it is a single address.
    pub fn is_host(self) -> bool {
        self.prefix == 128
    }

    /// Whether `addr` is in it.
    pub fn contains(self, addr: Ipv6Addr) -> bool {
        Self::holding(addr, self.prefix) == Some(self)
    }

    /// Whether the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.addr) || other.contains(self.addr)
    }
}

impl fmt::Display for Net6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

/// What an `object network` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectAddr {
    /// `host A` or `subnet A M`.
    Net(Net),
    /// `range FIRST LAST`, in order.
    Range(Ipv4Addr, Ipv4Addr),
    /// `host A` or `subnet P/LEN` of IPv6.
    Net6(Net6),
    /// `range FIRST LAST` of IPv6, in order.
    Range6(Ipv6Addr, Ipv6Addr),
}

impl ObjectAddr {
    /// First and last, where they are of IPv4.
    pub fn v4(self) -> Option<[u32; 2]> {
        match self {
            Self::Net(net) => Some([net.addr().into(), u32::from(net.addr()) | !u32::from(net.mask())]),
            Self::Range(first, last) => Some([first.into(), last.into()]),
            Self::Net6(_) | Self::Range6(..) => None,
        }
    }
}

impl fmt::Display for ObjectAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) if net.is_host() => write!(f, "host {}", net.addr()),
            Self::Net(net) => write!(f, "subnet {net}"),
            Self::Range(first, last) => write!(f, "range {first} {last}"),
            Self::Net6(net) if net.is_host() => write!(f, "host {}", net.addr()),
            Self::Net6(net) => write!(f, "subnet {net}"),
            Self::Range6(first, last) => write!(f, "range {first} {last}"),
        }
    }
}

/// The fewest prefixes that hold exactly `first..=last`, in order: first address and prefix length. `bits` is 32 or 128; both ends
/// have no more.
pub fn prefixes(first: u128, last: u128, bits: u32) -> Vec<(u128, u32)> {
    let mut found = Vec::new();
    let mut at = first;
    while at <= last {
        // The largest block that begins at `at` and does not go past `last`.
        let span = last - at;
        let fits = span.checked_add(1).map_or(128, u128::ilog2);
        let size = at.trailing_zeros().min(fits).min(bits);
        found.push((at, bits - size));
        let after = 1u128.checked_shl(size).and_then(|block| at.checked_add(block));
        match after {
            Some(after) => at = after,
            None => break,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ends_of_the_space() {
        assert_eq!(prefixes(0, u32::MAX.into(), 32), [(0, 0)]);
        assert_eq!(prefixes(0, u128::MAX, 128), [(0, 0)]);
        assert_eq!(prefixes(u128::MAX, u128::MAX, 128), [(u128::MAX, 128)]);
        assert_eq!(prefixes(1, 6, 32), [(1, 32), (2, 31), (4, 31), (6, 32)]);
    }

    proptest! {
        /// Exactly the range, in order, and no two neighbours that one prefix could hold.
        #[test]
        fn prefixes_tile_the_range(a in 0u32..5000, b in 0u32..5000) {
            let (first, last) = (u128::from(a.min(b)), u128::from(a.max(b)));
            let found = prefixes(first, last, 32);
            let mut at = first;
            for (net, len) in &found {
                prop_assert_eq!(*net, at);
                prop_assert_eq!(net % (1 << (32 - len)), 0);
                at += 1 << (32 - len);
            }
            prop_assert_eq!(at, last + 1);
            for pair in found.windows(2) {
                prop_assert!(pair[0].1 != pair[1].1 || pair[0].0 % (1 << (33 - pair[0].1)) != 0);
            }
        }
    }
}
