// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP segments without data that the appliance itself sends, written into a buffer of the caller's.
//!
//! Datagrams, not frames: the Ethernet header is its sender's. They are never fragmented (their identification is 0, RFC 6864),
//! carry no ECN marks (RFC 3168 6.1.1: no ECN for these connections), and no option but the MSS. Slow path of the worker cores;
//! no state.

use crate::bytes::{put16, put32};
use crate::tcp::{self, TcpFlags};
use crate::{EmitError, checksum, ipv4, ipv6, proto};

/// Most bytes of an IPv4 one.
pub const MAX_LEN: usize = ipv4::HEADER_LEN + MAX_SEGMENT;
/// Most bytes of an IPv6 one.
pub const MAX_LEN6: usize = ipv6::HEADER_LEN + MAX_SEGMENT;
const MAX_SEGMENT: usize = tcp::HEADER_LEN + MSS_LEN;
const MSS_LEN: usize = 4;
/// The bits of the type of service, or traffic class, that say how to forward; the others are ECN's.
const DSCP: u8 = 0xfc;

/// A segment, in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bare {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags.
    pub flags: TcpFlags,
    /// Window, not scaled.
    pub window: u16,
    /// MSS option, of a SYN.
    pub mss: Option<u16>,
}

impl Bare {
    /// Bytes of an IPv4 datagram of it.
    pub fn len_v4(&self) -> usize {
        ipv4::HEADER_LEN + self.len()
    }

    /// Bytes of an IPv6 packet of it.
    pub fn len_v6(&self) -> usize {
        ipv6::HEADER_LEN + self.len()
    }

    fn len(&self) -> usize {
        tcp::HEADER_LEN + if self.mss.is_some() { MSS_LEN } else { 0 }
    }

    /// Writes an IPv4 datagram from `src` to `dst` and gives its bytes.
    ///
    /// # Errors
    /// [`EmitError::NoRoom`] where `out` is too short; [`MAX_LEN`] always suffices.
    pub fn write_v4(&self, out: &mut [u8], [src, dst]: [u32; 2], tos: u8) -> Result<usize, EmitError> {
        let len = self.len_v4();
        let out = out.get_mut(..len).ok_or(EmitError::NoRoom)?;
        let (head, segment) = out.split_at_mut(ipv4::HEADER_LEN);
        ipv4::Header {
            tos: tos & DSCP,
            total_len: len as u16,
            ident: 0,
            fragment_word: ipv4::DONT_FRAGMENT,
            ttl: ipv4::DEFAULT_TTL,
            protocol: proto::TCP,
            src,
            dst,
        }
        .write(head);
        self.write(segment, |segment| checksum::of_segment(src, dst, proto::TCP, segment));
        Ok(len)
    }

    /// Writes an IPv6 packet from `src` to `dst` and gives its bytes.
    ///
    /// # Errors
    /// [`EmitError::NoRoom`] where `out` is too short; [`MAX_LEN6`] always suffices.
    pub fn write_v6(&self, out: &mut [u8], [src, dst]: [u128; 2], class: u8) -> Result<usize, EmitError> {
        let len = self.len_v6();
        let out = out.get_mut(..len).ok_or(EmitError::NoRoom)?;
        let (head, segment) = out.split_at_mut(ipv6::HEADER_LEN);
        ipv6::Header {
            traffic_class: class & DSCP,
            payload_len: self.len() as u16,
            next: proto::TCP,
            hop_limit: ipv6::DEFAULT_HOP_LIMIT,
            src,
            dst,
        }
        .write(head);
        self.write(segment, |segment| checksum::of_segment_v6(src, dst, proto::TCP, segment));
        Ok(len)
    }

    fn write(&self, out: &mut [u8], sum: impl Fn(&[u8]) -> u16) {
        put16(out, 0, self.sport);
        put16(out, 2, self.dport);
        put32(out, 4, self.seq);
        put32(out, 8, self.ack);
        out[12] = (self.len() as u8 / 4) << 4;
        out[13] = self.flags.0;
        put16(out, 14, self.window);
        put32(out, 16, 0);
        if let Some(mss) = self.mss {
            out[20..22].copy_from_slice(&[2, MSS_LEN as u8]);
            put16(out, 22, mss);
        }
        let sum = sum(out);
        put16(out, 16, sum);
    }
}

#[cfg(test)]
mod tests {
    //! What is written, read back by the parsers.

    use super::*;
    use crate::{Ipv4, Tcp, parse, parse6};

    #[test]
    fn a_segment_reads_back() {
        for mss in [None, Some(1380)] {
            let flags = TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0);
            let said = Bare { sport: 443, dport: 40_000, seq: 0xdead_beef, ack: 7, flags, window: 512, mss };
            let mut frame = [0; 14 + MAX_LEN6];
            frame[12..14].copy_from_slice(&crate::ethernet::TYPE_IPV4.to_be_bytes());
            let (src, dst) = (0x0a00_0001, 0xc633_6409);
            let len = said.write_v4(&mut frame[14..], [src, dst], 0xb9).unwrap();
            let parsed = parse(&frame[..14 + len]).unwrap();
            assert_eq!((parsed.tuple.src, parsed.tuple.dst, parsed.tuple.sport), (src, dst, 443));
            let ip = Ipv4::new_checked(&frame[14..14 + len]).unwrap();
            assert_eq!((ip.tos(), ip.ttl(), ip.ident()), (0xb8, 64, 0));
            assert!(checksum::is_valid_segment(src, dst, proto::TCP, &frame[34..14 + len]));
            let tcp = Tcp::new_checked(&frame[34..14 + len]).unwrap();
            assert_eq!((tcp.seq(), tcp.ack(), tcp.window(), tcp.mss()), (0xdead_beef, 7, 512, mss));
            assert_eq!((tcp.flags(), tcp.payload().len()), (flags, 0));

            frame[12..14].copy_from_slice(&crate::ethernet::TYPE_IPV6.to_be_bytes());
            let (src, dst) = (0x2001_0db8 << 96 | 1, 0x2001_0db8 << 96 | 2);
            let len = said.write_v6(&mut frame[14..], [src, dst], 0).unwrap();
            let parsed = parse6(&frame[..14 + len]).unwrap();
            assert_eq!((parsed.tuple.src, parsed.tuple.dport, parsed.hop_limit), (src, 40_000, 64));
            assert!(checksum::is_valid_segment_v6(src, dst, proto::TCP, &frame[54..14 + len]));
            assert_eq!(said.write_v6(&mut frame[..len - 1], [src, dst], 0), Err(EmitError::NoRoom));
        }
    }
}
