// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP Intercept on the wire: SYNs answered by cookies, servers called for clients that have proven to be there, and the numbers of
//! such connections' segments shifted. What to say, and when, is [`fedgate_flow::intercept`]'s.
//!
//! A flood meets [`answer`]: the policy has been asked, no state is made, the SYN's own buffer becomes the answer and goes to the station
//! that sent it, so nobody is looked for by ARP. The answer is no larger than what asked for it but by an MSS option, and is never
//! repeated. Its window is 0: data must wait for a server.
//!
//! Worker core, slow path. No allocation.

use super::clock::Now;
use super::net::{HEADER_ROOM, Net};
use super::proxied::Sessions;
use super::runtime::View;
use super::{slow, stages, v6};
use dpdk::Mbuf;
use fedgate_flow::conn::{ConnId, Dir};
use fedgate_flow::cookie::Asker;
use fedgate_flow::firewall::Admission;
use fedgate_flow::intercept::{Due, Proof, Reaction, Reply, Step, shift_segment};
use fedgate_flow::tcp::{self, ACK, SYN, Segment};
use fedgate_tables::counters::Stat;
use fedgate_tables::drops::DropReason;
use fedgate_wire::emit_tcp::Bare;
use fedgate_wire::{Ipv4, Kind, Parsed, TcpFlags, checksum, parse, proto};

/// The most that a client is told to send at once, lest it be more than the server will say that it takes: the ASA's own default for
/// segments, which leaves room for tunnels.
const MOST: u16 = 1380;
/// What a client takes that does not say (RFC 9293 3.7.1).
const UNSAID: u16 = 536;
/// Bytes of the headers of IPv4 and TCP.
const HEADERS: u16 = 40;

/// Answers the SYN in `mbuf`, which would leave by `out_if`, by a cookie.
pub(super) fn answer(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    out_if: u8,
    mut mbuf: Mbuf,
    parsed: &Parsed,
) {
    if !is_intact(mbuf.data(), parsed) {
        return net.drop(DropReason::BadTcpChecksum, mbuf);
    }
    let syn = stages::packet(mbuf.data(), parsed);
    let Ok(offered) = tcp::options(syn.options) else {
        return net.drop(DropReason::TcpBadOptionList, mbuf);
    };
    let key = parsed.tuple;
    let asker = Asker { isn: syn.segment.seq, ..Asker::v4(&key, ifindex) };
    let tos = mbuf.data().get(usize::from(parsed.l3)..).and_then(|ip| Ipv4::new_checked(ip).ok());
    let tos = tos.map_or(0, |ip| ip.tos());
    let reply = cookie(net, now, &asker, offered.mss, announced(view, [ifindex, out_if], HEADERS));
    let bare = bare(&reply, [key.dport, key.sport]);
    let written = turn_back(&mut mbuf, HEADER_ROOM + bare.len_v4())
        && mbuf
            .data_mut()
            .get_mut(HEADER_ROOM..)
            .is_some_and(|ip| bare.write_v4(ip, [key.dst, key.src], tos).is_ok());
    if written {
        net.transmit(view, ifindex, mbuf);
    } else {
        net.drop(DropReason::InvalidSource, mbuf);
    }
}

/// The SYN-ACK for a SYN that makes no state.
pub(super) fn cookie(net: &mut Net, now: Now, asker: &Asker, mss: Option<u16>, announced: u16) -> Reply {
    let seq = net.flow.cookie(asker, mss.unwrap_or(UNSAID), now.tick());
    net.counters.add(Stat::InterceptCookies, 1);
    Reply { seq, ack: asker.isn.wrapping_add(1), flags: SYN | ACK, window: 0, mss: Some(announced) }
}

/// The most that a segment may carry over both links.
pub(super) fn announced(view: &View<'_>, by: [u8; 2], headers: u16) -> u16 {
    let room = |ifindex| view.interface(ifindex).map_or(MOST, |i| i.mtu.saturating_sub(headers));
    by.map(room).into_iter().fold(MOST, u16::min)
}

/// Makes a frame one of `len` bytes from us to the station that sent it. False where that can be no station.
pub(super) fn turn_back(mbuf: &mut Mbuf, len: usize) -> bool {
    let had = mbuf.len();
    let fits = if had > len { mbuf.trim(had - len).is_ok() } else { mbuf.append(len - had).is_ok() };
    let Some(head) = mbuf.data_mut().first_chunk_mut::<12>().filter(|_| fits) else { return false };
    head.rotate_left(6);
    head[0] & 1 == 0
}

pub(super) fn bare(reply: &Reply, [sport, dport]: [u16; 2]) -> Bare {
    let Reply { seq, ack, flags, window, mss } = *reply;
    Bare { sport, dport, seq, ack, flags: TcpFlags(flags), window, mss }
}

/// Whether a packet of no connection, or that its connection knows nothing of, is a client's word that it has had a cookie of ours.
pub(super) fn proof(net: &Net, now: Now, ifindex: u8, frame: &[u8], parsed: &Parsed) -> Option<Proof> {
    if parsed.tuple.proto != proto::TCP || parsed.kind != Kind::Ipv4 {
        return None;
    }
    let segment: Segment = stages::packet(frame, parsed).segment;
    net.flow
        .proof(&Asker::v4(&parsed.tuple, ifindex), &segment, now.tick())
        .filter(|_| is_intact(frame, parsed))
}

/// Whether a segment has its checksum. Until both ends are there we are the end of both, and nobody else would find out (RFC 9293 3.1).
pub(super) fn is_intact(frame: &[u8], parsed: &Parsed) -> bool {
    let Parsed { l3, l4, ip_len, tuple, .. } = *parsed;
    frame
        .get(usize::from(l4)..usize::from(l3) + usize::from(ip_len))
        .is_some_and(|segment| checksum::is_valid_segment(tuple.src, tuple.dst, proto::TCP, segment))
}

/// A client has acknowledged a cookie: where the policy still permits it, its server is called, or the TLS proxy takes it.
pub(super) fn proven(
    net: &mut Net,
    sessions: &mut Sessions,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    mbuf: Mbuf,
    parsed: &Parsed,
    proof: &Proof,
) {
    match slow::admit(net, view, now, ifindex, &mbuf, parsed, Some(proof), None) {
        Admission::New { id, tls_proxy: Some(proxy) } => {
            net.counters.add(Stat::InterceptConns, 1);
            net.counters.add(Stat::InterceptOpened, 1);
            sessions.open(net, view, now, id, (proxy, Some(proof)), mbuf, parsed);
        }
        Admission::New { id, tls_proxy: None } => {
            net.counters.add(Stat::InterceptConns, 1);
            net.flow.conns.hot_mut(id).book(now.tick(), parsed.ip_len);
            drop(mbuf); // it has said what it had to say
            retry(net, view, now);
            call(net, view, now, id);
        }
        Admission::Refused(reason) => net.drop(reason, mbuf),
        Admission::Local | Admission::Intercept { .. } => net.drop(DropReason::TcpNotSyn, mbuf),
    }
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
        net.end(id, now);
    }
}

/// Counts it; true where the connection is to be ended.
pub(super) fn step(net: &Net, step: Step) -> bool {
    match step {
        Step::Waits => false,
        Step::Opened => {
            net.counters.add(Stat::InterceptOpened, 1);
            false
        }
        Step::Left => true,
        Step::Refused => {
            net.counters.drop(DropReason::TcpInterceptKill);
            true
        }
    }
}

/// Servers that have not answered in time. To be called as soon as timers have been looked at, and when a client is admitted, for whom
/// another may have to make room.
pub(super) fn retry(net: &mut Net, view: &View<'_>, now: Now) -> usize {
    let mut work = 0;
    while let Some(due) = net.flow.due() {
        work += 1;
        match due {
            Due::Again(id) => call(net, view, now, id),
            Due::GivenUp(id) => {
                if let Some(reset) = net.flow.reset_for(id) {
                    send(net, view, now, id, Dir::Reverse, &reset);
                }
                net.counters.drop(DropReason::TcpInterceptKill);
                net.end(id, now);
            }
        }
    }
    work + v6::retry(net, view, now)
}

fn call(net: &mut Net, view: &View<'_>, now: Now, id: ConnId) {
    if let Some(mut syn) = net.flow.syn_for(id) {
        let out_if = net.flow.conns.hot(id).iface[Dir::Reverse as usize];
        let most = view.interface(out_if).map_or(MOST, |i| i.mtu.saturating_sub(HEADERS));
        syn.mss = syn.mss.map(|mss| mss.min(most));
        send(net, view, now, id, Dir::Forward, &syn);
    }
}

/// Sends a segment of ours the way that packets of `dir` leave.
fn send(net: &mut Net, view: &View<'_>, now: Now, id: ConnId, dir: Dir, reply: &Reply) {
    let Some(mut mbuf) = net.new_mbuf() else { return };
    let to = net.flow.conns.hot(id).leaves_as(dir);
    let bare = bare(reply, [to.sport, to.dport]);
    let written = mbuf
        .append(HEADER_ROOM + bare.len_v4())
        .is_ok_and(|frame| bare.write_v4(&mut frame[HEADER_ROOM..], [to.src, to.dst], 0).is_ok());
    if written {
        net.send_by_connection(view, now, id, dir, mbuf);
    } else {
        net.drop(DropReason::NoMbuf, mbuf);
    }
}

/// Shows a segment of the connection `id` that leaves in `dir`, TCP from byte `l4` on, in its receiver's numbers.
#[inline]
pub(super) fn shift(net: &Net, id: ConnId, dir: Dir, frame: &mut [u8], l4: u16) {
    let hot = net.flow.conns.hot(id);
    if hot.is_intercepted()
        && let Some(tcp) = frame.get_mut(usize::from(l4)..)
    {
        shift_segment(tcp, dir, hot.shift(), None);
    }
}

/// Undoes [`shift`].
pub(super) fn unshift(net: &Net, id: ConnId, dir: Dir, frame: &mut [u8], l4: u16) {
    let hot = net.flow.conns.hot(id);
    if hot.is_intercepted()
        && let Some(tcp) = frame.get_mut(usize::from(l4)..)
    {
        shift_segment(tcp, dir, hot.shift().wrapping_neg(), None);
    }
}

/// What the ICMP error in `frame` quotes of the connection `id`, which left in `dir`, in its sender's numbers again. The error's own checksum is the
/// caller's to make anew.
pub(super) fn unshift_quoted(net: &Net, id: ConnId, dir: Dir, frame: &mut [u8], parsed: &Parsed) {
    if let Ok(quote) = parse::embedded(frame, parsed) {
        let end = usize::from(quote.end).min(frame.len());
        unshift(net, id, dir, &mut frame[..end], quote.l4);
    }
}
