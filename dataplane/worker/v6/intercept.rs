// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP Intercept for IPv6: as [`crate::worker::intercept`] does it for IPv4, without NAT. Worker core, slow path. No allocation.

use super::forward;
use crate::worker::clock::Now;
use crate::worker::intercept::{announced, bare, cookie, retry as retry_all, step, turn_back};
use crate::worker::net::{HEADER_ROOM, Net};
use crate::worker::runtime::View;
use dpdk::Mbuf;
use fedgate_flow::conn::{ConnId, Dir};
use fedgate_flow::cookie::Asker;
use fedgate_flow::intercept::{Due, Proof, Reaction, Reply, shift_segment};
use fedgate_flow::tcp;
use fedgate_tables::counters::Stat;
use fedgate_tables::drops::DropReason;
use fedgate_wire::ipv6::Ipv6;
use fedgate_wire::{Embedded6, Parsed6, checksum, proto};

/// Bytes of the headers of IPv6 and TCP.
const HEADERS: u16 = 60;

/// Answers the SYN in `mbuf`, which would leave by `out_if`, by a cookie.
pub(super) fn answer(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    out_if: u8,
    mut mbuf: Mbuf,
    parsed: &Parsed6,
) {
    if !is_intact(mbuf.data(), parsed) {
        return net.drop(DropReason::BadTcpChecksum, mbuf);
    }
    let syn = forward::booked(mbuf.data(), parsed);
    let Ok(offered) = tcp::options(syn.options) else {
        return net.drop(DropReason::TcpBadOptionList, mbuf);
    };
    let key = parsed.tuple;
    let asker = Asker { isn: syn.segment.seq, ..Asker::v6(&key, ifindex) };
    let class = mbuf.data().get(usize::from(parsed.l3)..).and_then(|ip| Ipv6::new_checked(ip).ok());
    let class = class.map_or(0, |ip| ip.traffic_class());
    // A host that does not say takes what IPv6's least link does (RFC 9293 3.7.1).
    let mss = offered.mss.or(Some(fedgate_wire::ipv6::MIN_MTU - HEADERS));
    let reply = cookie(net, now, &asker, mss, announced(view, [ifindex, out_if], HEADERS));
    let bare = bare(&reply, [key.dport, key.sport]);
    let written = turn_back(&mut mbuf, HEADER_ROOM + bare.len_v6())
        && mbuf
            .data_mut()
            .get_mut(HEADER_ROOM..)
            .is_some_and(|ip| bare.write_v6(ip, [key.dst, key.src], class).is_ok());
    if written {
        net.transmit(view, ifindex, mbuf);
    } else {
        net.drop(DropReason::Ipv6SecurityFailed, mbuf);
    }
}

/// Whether a packet of no connection, or that its connection knows nothing of, is a client's word that it has had a cookie of ours.
pub(super) fn proof(net: &Net, now: Now, ifindex: u8, frame: &[u8], parsed: &Parsed6) -> Option<Proof> {
    if parsed.tuple.proto != proto::TCP {
        return None;
    }
    let segment = forward::booked(frame, parsed).segment;
    net.flow
        .proof(&Asker::v6(&parsed.tuple, ifindex), &segment, now.tick())
        .filter(|_| is_intact(frame, parsed))
}

/// Whether a segment has its checksum, as for IPv4.
pub(super) fn is_intact(frame: &[u8], parsed: &Parsed6) -> bool {
    let Parsed6 { l3, l4, ip_len, tuple, .. } = *parsed;
    frame
        .get(usize::from(l4)..usize::from(l3) + usize::from(ip_len))
        .is_some_and(|segment| checksum::is_valid_segment_v6(tuple.src, tuple.dst, proto::TCP, segment))
}

/// A client has acknowledged a cookie and was admitted: its server is called. Its ACK ends here.
pub(super) fn proven(net: &mut Net, view: &View<'_>, now: Now, id: ConnId, mbuf: Mbuf) {
    drop(mbuf);
    net.counters.add(Stat::InterceptConns, 1);
    retry_all(net, view, now);
    call(net, view, now, id);
}

/// What a segment of a connection that waits for its server leads to.
pub(super) fn react(net: &mut Net, view: &View<'_>, now: Now, id: ConnId, reaction: &Reaction) {
    if let Some(reply) = &reaction.server {
        send(net, view, now, id, Dir::Forward, reply);
    }
    if let Some(reply) = &reaction.client {
        send(net, view, now, id, Dir::Reverse, reply);
    }
    if step(net, reaction.step) {
        net.end6(id);
    }
}

/// Servers that have not answered in time.
pub(in crate::worker) fn retry(net: &mut Net, view: &View<'_>, now: Now) -> usize {
    let mut work = 0;
    while let Some(due) = net.flow.due6() {
        work += 1;
        match due {
            Due::Again(id) => call(net, view, now, id),
            Due::GivenUp(id) => {
                if let Some(reset) = net.flow.reset_for6(id) {
                    send(net, view, now, id, Dir::Reverse, &reset);
                }
                net.counters.drop(DropReason::TcpInterceptKill);
                net.end6(id);
            }
        }
    }
    work
}

fn call(net: &mut Net, view: &View<'_>, now: Now, id: ConnId) {
    if let Some(mut syn) = net.flow.syn_for6(id) {
        let out_if = net.flow.conns6.hot(id).iface[Dir::Reverse as usize];
        let most = view.interface(out_if).map_or(u16::MAX, |i| i.mtu.saturating_sub(HEADERS));
        syn.mss = syn.mss.map(|mss| mss.min(most));
        send(net, view, now, id, Dir::Forward, &syn);
    }
}

/// Sends a segment of ours the way that packets of `dir` leave.
fn send(net: &mut Net, view: &View<'_>, now: Now, id: ConnId, dir: Dir, reply: &Reply) {
    let Some(mut mbuf) = net.new_mbuf() else { return };
    let key = net.flow.conns6.hot(id).key();
    let to = match dir {
        Dir::Forward => key,
        Dir::Reverse => key.mirror(),
    };
    let bare = bare(reply, [to.sport, to.dport]);
    let written = mbuf
        .append(HEADER_ROOM + bare.len_v6())
        .is_ok_and(|frame| bare.write_v6(&mut frame[HEADER_ROOM..], [to.src, to.dst], 0).is_ok());
    if written {
        forward::send_by_connection(net, view, now, mbuf, id, dir);
    } else {
        net.drop(DropReason::NoMbuf, mbuf);
    }
}

/// Shows a segment of the connection `id` that leaves in `dir`, TCP from byte `l4` on, in its receiver's numbers.
pub(super) fn shift(net: &Net, id: ConnId, dir: Dir, frame: &mut [u8], l4: u16) {
    let hot = net.flow.conns6.hot(id);
    if hot.is_intercepted()
        && let Some(tcp) = frame.get_mut(usize::from(l4)..)
    {
        shift_segment(tcp, dir, hot.shift, None);
    }
}

/// Undoes [`shift`]. `outer` is the checksum of a message that quotes the segment.
pub(super) fn unshift(net: &Net, id: ConnId, dir: Dir, frame: &mut [u8], l4: u16, outer: Option<&mut u16>) {
    let hot = net.flow.conns6.hot(id);
    if hot.is_intercepted()
        && let Some(tcp) = frame.get_mut(usize::from(l4)..)
    {
        shift_segment(tcp, dir, hot.shift.wrapping_neg(), outer);
    }
}

/// What the ICMPv6 error in `frame` quotes of the connection `id`, which left in `dir`, in its sender's numbers again.
pub(super) fn unshift_quoted(
    net: &Net,
    id: ConnId,
    dir: Dir,
    frame: &mut [u8],
    parsed: &Parsed6,
    quote: &Embedded6,
) {
    let at = usize::from(parsed.l4) + 2;
    let end = (usize::from(parsed.l3) + usize::from(parsed.ip_len)).min(frame.len());
    let Some(&[high, low]) = frame.get(at..at + 2).and_then(|sum| sum.first_chunk()) else { return };
    let mut sum = u16::from_be_bytes([high, low]);
    unshift(net, id, dir, &mut frame[..end], quote.l4, Some(&mut sum));
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}
