// SPDX-License-Identifier: MIT OR Apache-2.0
//! The common IPv6 frame, read in a dozen loads: for our MAC, no extension headers, whole, TCP or UDP.
//!
//! [`crate::plain`] for IPv6: what [`read`] accepts may be looked up in the connection table as it is, and what it does not goes through
//! [`parse6`](crate::parse6()). Checked: lengths against each other and the frame's end (nothing but padding behind the packet), the
//! TCP header's length, that UDP has a checksum. Not checked, because no connection has them: impossible addresses, land.
//! Not checked, because connection tracking does it: TCP flags.
//!
//! The oracle is `parse6` itself (tests.rs). Worker cores, every IPv6 packet.

use crate::bytes::{be16, be128};
use crate::ipv6::field;
use crate::plain::{Ours, PADDED};
use crate::{Tuple6, ethernet, ipv6, proto, tcp, udp};

#[cfg(test)]
mod tests;

const L3: usize = ethernet::HEADER_LEN;
const L4: usize = L3 + ipv6::HEADER_LEN;
/// Bytes of the frame that a TCP packet needs: Ethernet, IPv6 and TCP headers.
pub const TCP_HEADERS: usize = L4 + tcp::HEADER_LEN;
/// The same for UDP.
pub const UDP_HEADERS: usize = L4 + udp::HEADER_LEN;
/// Where the hop limit lies in the frame.
pub const HOP_LIMIT: usize = L3 + field::HOP_LIMIT;

/// What [`read`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plain6 {
    /// The 5-tuple.
    pub key: Tuple6,
    /// The packet's length, fixed header included.
    pub ip_len: u16,
}

/// Whether a frame says that it is IPv6.
#[inline(always)]
pub fn is_ipv6(frame: &[u8]) -> bool {
    frame.get(12..L3) == Some(&ethernet::TYPE_IPV6.to_be_bytes())
}

/// Reads the common frame. None for any other, good or bad.
#[inline(always)]
pub fn read(frame: &[u8], ours: Ours) -> Option<Plain6> {
    let head = frame.first_chunk::<UDP_HEADERS>()?;
    if !(ours.is_in(head.first_chunk()?) & is_ipv6(head) & (head[L3] >> 4 == 6)) {
        return None;
    }
    let payload = usize::from(be16(head, L3 + field::PAYLOAD_LEN));
    let room = frame.len() - L4;
    if !(payload == room || (payload < room && frame.len() <= PADDED)) {
        return None;
    }
    let proto = head[L3 + field::NEXT];
    match proto {
        proto::UDP => {
            let len = usize::from(be16(head, L4 + udp::field::LENGTH));
            if len < udp::HEADER_LEN || len > payload || be16(head, L4 + udp::field::CHECKSUM) == 0 {
                return None;
            }
        }
        proto::TCP => {
            let header = usize::from(frame.first_chunk::<TCP_HEADERS>()?[L4 + 12] >> 4) * 4;
            if header < tcp::HEADER_LEN || header > payload {
                return None;
            }
        }
        _ => return None,
    }
    let key = Tuple6 {
        src: be128(head, L3 + field::SRC),
        dst: be128(head, L3 + field::DST),
        sport: be16(head, L4),
        dport: be16(head, L4 + 2),
        proto,
    };
    // No longer than a frame that a port takes.
    Some(Plain6 { key, ip_len: (ipv6::HEADER_LEN + payload).try_into().ok()? })
}

/// Sends a plain frame on: the stations of its next link, and one hop less. The caller has seen that there is one to take.
#[inline(always)]
pub fn hop(frame: &mut [u8], stations: &[u8; 12]) {
    if let Some(head) = frame.first_chunk_mut::<L4>() {
        head[..12].copy_from_slice(stations);
        head[HOP_LIMIT] = head[HOP_LIMIT].wrapping_sub(1);
    }
}
