// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is to be captured: of which frames, and how much of each. The frames themselves cross in shared memory ([`crate::capture`]).

use super::rows::Addr;
use crate::drops::DropReason;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Where frames are captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// As they come in by the interface of this name, and as they leave by it.
    Interface(String),
    /// Where they are dropped: for this reason, or for any.
    Drops(Option<DropReason>),
}

/// One end that a packet may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureEnd {
    /// A network; `None` for any of either family.
    pub net: Option<(Addr, u8)>,
    /// Ports, both in it; `None` for any.
    pub ports: Option<[u16; 2]>,
}

impl CaptureEnd {
    /// Whether it has an address and port.
    pub fn has(&self, addr: Addr, port: u16) -> bool {
        let in_net = self.net.is_none_or(|(net, len)| is_in(addr, net, len));
        in_net && self.ports.is_none_or(|[first, last]| (first..=last).contains(&port))
    }
}

fn is_in(addr: Addr, net: Addr, len: u8) -> bool {
    let (bits, other, width) = match (IpAddr::from(addr), IpAddr::from(net)) {
        (IpAddr::V4(addr), IpAddr::V4(net)) => (u128::from(addr.to_bits()), u128::from(net.to_bits()), 32),
        (IpAddr::V6(addr), IpAddr::V6(net)) => (addr.to_bits(), net.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let host = width - u32::from(len).min(width);
    (bits ^ other).checked_shr(host).unwrap_or(0) == 0
}

/// Which packets: those between the two ends, either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureMatch {
    /// IP protocol; `None` for `ip`.
    pub proto: Option<u8>,
    /// The ends.
    pub ends: [CaptureEnd; 2],
}

impl CaptureMatch {
    /// Whether a packet is between the ends.
    pub fn has(&self, proto: u8, src: (Addr, u16), dst: (Addr, u16)) -> bool {
        let [one, other] = &self.ends;
        let between = |from: &CaptureEnd, to: &CaptureEnd| from.has(src.0, src.1) && to.has(dst.0, dst.1);
        self.proto.is_none_or(|p| p == proto) && (between(one, other) || between(other, one))
    }
}

/// A capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureSpec {
    /// Where.
    pub source: Source,
    /// Which packets; `None` for all frames.
    pub matches: Option<CaptureMatch>,
    /// Bytes that are kept of each at most.
    pub length: u16,
    /// Only the headers are kept.
    pub headers_only: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Addr {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn either_way_between_the_ends() {
        let net = |text: &str, len| Some((addr(text), len));
        let matches = CaptureMatch {
            proto: Some(6),
            ends: [
                CaptureEnd { net: net("10.1.0.0", 16), ports: None },
                CaptureEnd { net: None, ports: Some([5061, 5062]) },
            ],
        };
        let (inside, outside) = ((addr("10.1.2.3"), 40_000), (addr("203.0.113.9"), 5061));
        assert!(matches.has(6, inside, outside) && matches.has(6, outside, inside));
        assert!(!matches.has(17, inside, outside));
        assert!(!matches.has(6, inside, (outside.0, 5063)));
        assert!(!matches.has(6, (addr("10.2.2.3"), 5061), outside));
        let all = CaptureEnd { net: net("0.0.0.0", 0), ports: None };
        assert!(all.has(addr("1.2.3.4"), 0) && !all.has(addr("::1"), 0));
        let six = CaptureEnd { net: net("2001:db8::", 32), ports: None };
        assert!(six.has(addr("2001:db8::9"), 0) && !six.has(addr("2001:db9::9"), 0));
        let one = CaptureEnd { net: net("2001:db8::1", 128), ports: None };
        assert!(one.has(addr("2001:db8::1"), 1) && !one.has(addr("2001:db8::2"), 1));
    }
}
