// SPDX-License-Identifier: MIT OR Apache-2.0
//! Multicast listener discovery, version 2, as a listener says and hears it (RFC 3810).
//!
//! A report names groups that somebody on the link listens to or has ceased to listen to, so that switches which snoop let the
//! groups' frames through: without it they may hold neighbour solicitations back. A query asks for it. Sources are never named: who listens,
//! listens to all. Both carry the router alert option behind a hop limit of 1, and a query without them is none (5.1.14, 5.2.14).
//! A query of version 1 is read as one of version 2; reports are of version 2 alone. Slow path of the worker cores; no state.

use crate::bytes::{be16, be128, put16, put128};
use crate::emit::write_ethernet;
use crate::emit6::Station6;
use crate::ipv6::{self, Header};
use crate::{EmitError, ParseError, Parsed6, ethernet, icmp6, proto};

/// Where reports go: all routers that know version 2.
pub const REPORT_GROUP: u128 = 0xff02 << 112 | 0x16;
/// Most records of one report here.
pub const MAX_RECORDS: usize = 8;
/// A buffer of this size suffices for any report.
pub const MAX_FRAME_LEN: usize = RECORDS + MAX_RECORDS * RECORD_LEN;

const L3: usize = ethernet::HEADER_LEN;
const OPTIONS: usize = L3 + ipv6::HEADER_LEN;
const OPTIONS_LEN: usize = 8;
const MESSAGE: usize = OPTIONS + OPTIONS_LEN;
const RECORDS: usize = MESSAGE + 8;
const RECORD_LEN: usize = 20;
/// Bytes of a query of version 1, which those of version 2 begin with.
const QUERY_LEN: usize = 24;
/// Router alert (RFC 2711) for MLD, and padding.
const ROUTER_ALERT: [u8; 6] = [5, 2, 0, 0, 1, 0];

/// What a record says of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Somebody here listens to it.
    Listens = 2,
    /// Nobody does any more.
    Left = 3,
    /// Somebody has begun to.
    Joined = 4,
}

/// A group and what is said of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The group.
    pub group: u128,
    /// What is said.
    pub state: State,
}

/// Who listens?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// To this group; [`ipv6::UNSPECIFIED`]: to any.
    pub group: u128,
    /// Answers come within so many milliseconds.
    pub within_ms: u32,
}

/// Writes a report and gives its length. `from` is a link-local address, or `::` as long as there is none (RFC 3590).
///
/// # Errors
/// [`EmitError::NoRoom`] where `out` is too short or there are more than [`MAX_RECORDS`].
pub fn report(out: &mut [u8], from: Station6, records: &[Record]) -> Result<usize, EmitError> {
    let len = RECORDS + records.len() * RECORD_LEN;
    let Some(frame) = out.get_mut(..len).filter(|_| records.len() <= MAX_RECORDS) else {
        return Err(EmitError::NoRoom);
    };
    frame.fill(0);
    write_ethernet(frame, ipv6::multicast_mac(REPORT_GROUP), from.mac, ethernet::TYPE_IPV6);
    Header {
        traffic_class: 0,
        payload_len: (len - OPTIONS) as u16,
        next: proto::HOP_BY_HOP,
        hop_limit: 1,
        src: from.ip,
        dst: REPORT_GROUP,
    }
    .write(&mut frame[L3..OPTIONS]);
    frame[OPTIONS] = proto::ICMPV6;
    frame[OPTIONS + 2..MESSAGE].copy_from_slice(&ROUTER_ALERT);
    let message = &mut frame[MESSAGE..];
    message[icmp6::field::TYPE] = icmp6::MLD2_REPORT;
    put16(message, 6, records.len() as u16);
    for (record, bytes) in records.iter().zip(message[8..].chunks_exact_mut(RECORD_LEN)) {
        bytes[0] = record.state as u8;
        put128(bytes, 4, record.group);
    }
    icmp6::fill_checksum(message, from.ip, REPORT_GROUP);
    Ok(len)
}

/// Whether the frame is a query, good or bad.
pub fn is_query(parsed: &Parsed6) -> bool {
    parsed.tuple.proto == proto::ICMPV6 && parsed.icmp_type == icmp6::MLD_QUERY
}

/// Reads the query in `frame`, whose checksum [`mod@crate::parse6`] found right.
///
/// # Errors
/// [`ParseError::InvalidNd`] where it is too short, not from this link (a link-local source, a hop limit of 1, the router alert), asks for
/// what is no group, or `parsed` is not of this frame.
pub fn read_query(frame: &[u8], parsed: &Parsed6) -> Result<Query, ParseError> {
    let end = usize::from(parsed.l3) + usize::from(parsed.ip_len);
    let message = frame.get(usize::from(parsed.l4)..end).and_then(|bytes| bytes.first_chunk::<QUERY_LEN>());
    let Some(message) = message.filter(|_| is_query(parsed)) else { return Err(ParseError::InvalidNd) };
    let group = be128(message, 8);
    let from_here = ipv6::is_link_local(parsed.tuple.src) && parsed.hop_limit == 1 && parsed.fragment == 0;
    let asks = group == ipv6::UNSPECIFIED || ipv6::is_multicast(group);
    if !from_here || !asks || !has_router_alert(frame, parsed) {
        return Err(ParseError::InvalidNd);
    }
    Ok(Query { group, within_ms: response_time(be16(message, 4)) })
}

/// RFC 3810 5.1.3: from 32,768 on a floating point number.
fn response_time(code: u16) -> u32 {
    match u32::from(code) {
        code @ 0..0x8000 => code,
        code => (code & 0xfff | 0x1000) << ((code >> 12 & 7) + 3),
    }
}

/// Whether hop-by-hop options stand first and the router alert is among them. That they are in order the parser has seen.
fn has_router_alert(frame: &[u8], parsed: &Parsed6) -> bool {
    let l3 = usize::from(parsed.l3);
    let first = frame.get(l3 + ipv6::field::NEXT) == Some(&proto::HOP_BY_HOP);
    let header = frame.get(l3 + ipv6::HEADER_LEN..usize::from(parsed.l4)).filter(|_| first);
    let options = header.and_then(|header| header.get(2..(usize::from(*header.get(1)?) + 1) * 8));
    let mut rest = options.unwrap_or_default();
    while let [kind, tail @ ..] = rest {
        match (*kind, tail) {
            (0, _) => rest = tail,
            (5, [2, ..]) => return true,
            (_, [len, data @ ..]) => rest = data.get(usize::from(*len)..).unwrap_or_default(),
            (_, []) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests;
