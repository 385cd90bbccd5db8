// SPDX-License-Identifier: MIT OR Apache-2.0
//! `packet-tracer`: what this worker would do with a packet that nobody has sent, decision by decision, without doing it.
//!
//! The packet is written out as a frame and goes the way that frames go: [`stages::examine`] and [`stages::look_up`], whose it is
//! ([`dispatch`]), what may not begin a connection ([`slow::barred`]), and admission's first half with an ear to it
//! ([`fedgate_flow::trace`]), or the connection that is there. It differs from a packet only in what comes of it: nothing is counted, told, sent, booked or
//! made. A test sends the same frames to a worker that has traced them.
//!
//! Worker core, between bursts, at an operator's pace: allocation is accepted. Limits: whether room could be made for one more proxy session, or in
//! a full list of neighbours, shows only when it is tried. IPv6 is `v6/trace.rs`.

use super::clock::Now;
use super::command::{Ask, Reply};
use super::neigh::Refusal;
use super::net::Net;
use super::runtime::View;
use super::{dispatch, slow, stages, v6};
use fedgate_flow::Booked;
use fedgate_flow::conn::{ConnId, Dir, NO_SESSION};
use fedgate_flow::firewall::First;
use fedgate_flow::trace::Foreseen;
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{Addr, Fate, Known, Phase, Probe, Trace};
use fedgate_tables::policy::{IF_VERIFY_REVERSE_PATH, Interface};
use fedgate_wire::emit_tcp::Bare;
use fedgate_wire::{Kind, MacAddr, Parsed, TcpFlags, checksum, ethernet, ipv4, ipv6, proto};

/// What there is of a trace.
pub(super) struct Notes {
    /// The phases.
    pub phases: Vec<Phase>,
    /// Where it would leave.
    pub out_if: Option<u8>,
}

/// What comes of following a packet to its end, or the worker whose it is.
pub(super) type Followed = Result<Fate, u8>;

/// Traces what control asks about.
pub(super) fn answer(ask: &Ask, net: &mut Net, view: Option<&View<'_>>, now: Now) -> Reply {
    let Some(view) = view else { return Reply::Traced { ask: *ask, trace: None } };
    let mut notes = Notes { phases: Vec::new(), out_if: None };
    let Probe { in_if, src, dst, .. } = ask.probe;
    let handed = ask.handed || net.workers() == 1;
    if ask.handed {
        notes.phases.push(Phase::Worker { worker: net.worker() });
    }
    let up = view.interface(in_if).is_some() && has_port(view, in_if);
    let followed = match (src, dst) {
        _ if !up => Ok(Fate::Dropped(DropReason::InterfaceDown)),
        (Addr::V4(src), Addr::V4(dst)) => {
            let frame = frame(&ask.probe, (src, dst), view.mac(in_if));
            packet(net, view, now, in_if, &frame, handed, &mut notes)
        }
        (Addr::V6(src), Addr::V6(dst)) => {
            let frame = frame6(&ask.probe, (src.into(), dst.into()), view.mac(in_if));
            v6::trace(net, view, now, in_if, &frame, handed, &mut notes)
        }
        // No packet is of two families.
        (Addr::V4(_), Addr::V6(_)) | (Addr::V6(_), Addr::V4(_)) => {
            Ok(Fate::Dropped(DropReason::InvalidIpHeader))
        }
    };
    match followed {
        Err(worker) => Reply::Elsewhere { ask: *ask, worker },
        Ok(fate) => Reply::Traced { ask: *ask, trace: Some(notes.end(fate, view)) },
    }
}

impl Notes {
    /// A phase that does not permit: the packet is dropped.
    pub(super) fn drop(&mut self, phase: Phase, reason: DropReason) -> Followed {
        self.phases.push(phase);
        Ok(Fate::Dropped(reason))
    }

    fn end(mut self, fate: Fate, view: &View<'_>) -> Trace {
        if matches!(fate, Fate::Dropped(_)) && self.phases.iter().all(Phase::permits) {
            // Nothing on its way speaks of this.
            self.phases.push(Phase::Checks { permit: false });
        }
        for phase in &mut self.phases {
            let Phase::Route { dst, next_hop, out_if: Some(out_if) } = phase else { continue };
            *next_hop = match *dst {
                Addr::V4(dst) => way(view, *out_if, dst).map(Addr::V4),
                Addr::V6(dst) => view
                    .routes6()
                    .lookup(dst.into())
                    .filter(|way| way.ifindex == *out_if)
                    .map(|way| way.next_hop.into()),
            };
        }
        Trace { generation: view.policy.generation(), phases: self.phases, out_if: self.out_if, fate }
    }
}

/// The next hop to `dst` where the way there leads out of `egress`.
fn way(view: &View<'_>, egress: u8, dst: u32) -> Option<u32> {
    view.routes().lookup(dst).filter(|way| way.ifindex == u32::from(egress)).map(|way| way.next_hop)
}

/// Whether an interface has its port.
fn has_port(view: &View<'_>, ifindex: u8) -> bool {
    view.image.slots.get(usize::from(ifindex)).is_some_and(Option::is_some)
}

/// An IPv4 frame that came in by `ifindex`; as [`stages::long_way`] takes it.
fn packet(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    frame: &[u8],
    handed: bool,
    notes: &mut Notes,
) -> Followed {
    let mut parsed = Parsed::default();
    if let Err(reason) = stages::examine(frame, view.mac(ifindex), &mut parsed) {
        return notes.drop(Phase::Checks { permit: false }, reason);
    }
    if let Some((id, dir)) = stages::look_up(net, &parsed) {
        return known(net, view, now, ifindex, frame, &parsed, (id, dir), notes);
    }
    if !handed && let Some(there) = dispatch::elsewhere(net, view, ifindex, frame, &parsed) {
        return Err(there.worker);
    }
    match parsed.kind {
        Kind::Ipv4 => first(net, view, now, ifindex, frame, &parsed, None, notes),
        // An error about nothing.
        Kind::IcmpError => notes.drop(Phase::Checks { permit: false }, DropReason::IcmpErrorNoConn),
        Kind::Arp | Kind::Ipv6 => {
            notes.drop(Phase::Checks { permit: false }, DropReason::UnsupportedIpVersion)
        }
    }
}

/// A packet of a connection; as `stages::established` takes it.
fn known(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    frame: &[u8],
    parsed: &Parsed,
    (id, dir): (ConnId, Dir),
    notes: &mut Notes,
) -> Followed {
    let hot = *net.flow.conns.hot(id);
    let conn = net.conn_number(net.flow.conns.warm(id).serial, false);
    let session = (hot.session() != NO_SESSION).then(|| net.session_number(hot.session()));
    let found = |known, permit| Phase::Found { conn, known, session, permit };
    notes.out_if = Some(hot.iface[dir.flip() as usize]);
    if hot.iface[dir as usize] != ifindex {
        return notes.drop(found(Known::Its, false), DropReason::RpfViolated);
    }
    if session.is_some() {
        notes.phases.push(found(Known::Its, true));
        return Ok(Fate::Proxied);
    }
    match net.flow.foresee_account(id, dir, &stages::packet(frame, parsed), now.tick()) {
        Ok(Booked::Passes) => {
            notes.phases.push(found(Known::Its, true));
            leave(net, view, hot.iface[dir.flip() as usize], hot.leaves_as(dir).dst, notes)
        }
        Ok(Booked::Afresh) => {
            notes.phases.push(found(Known::Over, true));
            first(net, view, now, ifindex, frame, parsed, Some(id), notes)
        }
        Ok(Booked::Handshake(_)) => {
            notes.phases.push(found(Known::Opening, true));
            Ok(Fate::Intercepted)
        }
        Err(reason) => notes.drop(found(Known::Its, false), reason),
    }
}

/// A packet of no connection but one that is `over`; as `slow::first` takes it.
fn first(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    ifindex: u8,
    frame: &[u8],
    parsed: &Parsed,
    over: Option<ConnId>,
    notes: &mut Notes,
) -> Followed {
    if over.is_none() {
        notes.phases.push(Phase::NotFound);
    }
    let barred = slow::barred(view, ifindex, &parsed.tuple);
    let checks_path = |interface: &Interface| interface.flags & IF_VERIFY_REVERSE_PATH != 0;
    if view.interface(ifindex).is_some_and(checks_path)
        && barred.is_none_or(|why| why == DropReason::RpfViolated)
    {
        notes.phases.push(Phase::ReversePath { permit: barred.is_none() });
    }
    if let Some(reason) = barred {
        return Ok(Fate::Dropped(reason));
    }
    let packet = First::of(parsed, ifindex);
    let datagram = stages::packet(frame, parsed).datagram;
    let ways = dispatch::Ways::new(net, view);
    match net.flow.foresee(&packet, datagram, &view.flow, &ways, over, &mut notes.phases) {
        Foreseen::Local => {
            let answered = net.would_answer_echo(view, now, ifindex, parsed);
            notes.phases.push(Phase::Local { permit: answered.is_ok() });
            Ok(answered.map_or_else(Fate::Dropped, |()| Fate::Answered))
        }
        Foreseen::Intercept { out_if } => {
            notes.out_if = Some(out_if);
            Ok(Fate::Intercepted)
        }
        Foreseen::New { out_if, service: Some((class, proxy)), .. } => {
            notes.out_if = Some(out_if);
            let permit = view.image.tls.get(proxy as usize).is_some_and(Option::is_some);
            notes.phases.push(Phase::TlsProxy { class, proxy, permit });
            Ok(if permit { Fate::Proxied } else { Fate::Dropped(DropReason::ProxySessionLimit) })
        }
        Foreseen::New { leaves, out_if, service: None } => leave(net, view, out_if, leaves.dst, notes),
        Foreseen::Refused(reason) => {
            notes.out_if = notes.way_out();
            Ok(Fate::Dropped(reason))
        }
    }
}

impl Notes {
    /// To the next hop, if there is one, whose station is as the list of neighbours says.
    pub(super) fn leave(
        &mut self,
        view: &View<'_>,
        out_if: u8,
        next_hop: Option<Addr>,
        station: Option<Result<Option<MacAddr>, Refusal>>,
    ) -> Followed {
        self.out_if = Some(out_if);
        let (mac, dropped) = match station {
            None => (None, Some(DropReason::NoRoute)),
            Some(Err(why)) => (None, Some(why.reason())),
            Some(Ok(mac)) => (mac, (!has_port(view, out_if)).then_some(DropReason::InterfaceDown)),
        };
        let permit = dropped.is_none();
        self.phases.push(Phase::Adjacency { out_if, next_hop, mac: mac.map(|mac| mac.0), permit });
        Ok(dropped.map_or(Fate::Passes, Fate::Dropped))
    }

    /// Where the way leads that was found.
    pub(super) fn way_out(&self) -> Option<u8> {
        self.phases.iter().find_map(|phase| match phase {
            Phase::Route { out_if, .. } | Phase::Untranslated { out_if, .. } => *out_if,
            _ => None,
        })
    }
}

/// To the next hop; as [`Net::send_to`] finds it.
fn leave(net: &Net, view: &View<'_>, out_if: u8, dst: u32, notes: &mut Notes) -> Followed {
    let next_hop = way(view, out_if, dst);
    let station = next_hop.map(|ip| net.neigh.foresee(out_if.into(), ip));
    notes.leave(view, out_if, next_hop.map(Addr::V4), station)
}

/// Bytes of UDP's and ICMP's headers.
const SHORT: usize = 8;
/// Whom a frame is from: nobody.
const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 0];

/// A probe between IPv4 addresses as a frame for the station `to`.
pub(super) fn frame(probe: &Probe, (src, dst): (u32, u32), to: MacAddr) -> Vec<u8> {
    let mut packet = vec![0; ipv4::HEADER_LEN + 60];
    let len = match syn(probe).write_v4(&mut packet, [src, dst], 0) {
        Ok(len) if probe.proto == proto::TCP => len,
        _ => {
            let (head, rest) = packet.split_at_mut(ipv4::HEADER_LEN);
            let len = ipv4::HEADER_LEN + SHORT;
            let header = ipv4::Header {
                tos: 0,
                total_len: len as u16,
                ident: 0,
                fragment_word: ipv4::DONT_FRAGMENT,
                ttl: ipv4::DEFAULT_TTL,
                protocol: probe.proto,
                src,
                dst,
            };
            header.write(head);
            short(probe, &mut rest[..SHORT], |segment| match probe.proto {
                proto::UDP => checksum::udp_field(checksum::of_segment(src, dst, proto::UDP, segment)),
                _ => checksum::of(segment),
            });
            len
        }
    };
    ethernet_of(ethernet::TYPE_IPV4, &packet[..len], to)
}

/// The same between IPv6 addresses.
pub(super) fn frame6(probe: &Probe, (src, dst): (u128, u128), to: MacAddr) -> Vec<u8> {
    let mut packet = vec![0; ipv6::HEADER_LEN + 60];
    let len = match syn(probe).write_v6(&mut packet, [src, dst], 0) {
        Ok(len) if probe.proto == proto::TCP => len,
        _ => {
            let (head, rest) = packet.split_at_mut(ipv6::HEADER_LEN);
            let header = ipv6::Header {
                traffic_class: 0,
                payload_len: SHORT as u16,
                next: probe.proto,
                hop_limit: ipv6::DEFAULT_HOP_LIMIT,
                src,
                dst,
            };
            header.write(head);
            short(probe, &mut rest[..SHORT], |segment| {
                checksum::udp_field(checksum::of_segment_v6(src, dst, probe.proto, segment))
            });
            ipv6::HEADER_LEN + SHORT
        }
    };
    ethernet_of(ethernet::TYPE_IPV6, &packet[..len], to)
}

fn syn(probe: &Probe) -> Bare {
    let Probe { sport, dport, .. } = *probe;
    Bare { sport, dport, seq: 0, ack: 0, flags: TcpFlags::SYN, window: 8192, mss: Some(1460) }
}

/// An empty UDP datagram, or an ICMP message without data.
fn short(probe: &Probe, out: &mut [u8], sum: impl Fn(&[u8]) -> u16) {
    let at = if probe.proto == proto::UDP {
        out[..2].copy_from_slice(&probe.sport.to_be_bytes());
        out[2..4].copy_from_slice(&probe.dport.to_be_bytes());
        out[4..6].copy_from_slice(&(SHORT as u16).to_be_bytes());
        6
    } else {
        out[..2].copy_from_slice(&probe.icmp);
        out[4..6].copy_from_slice(&probe.sport.to_be_bytes());
        2
    };
    let sum = sum(out);
    out[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

fn ethernet_of(ethertype: u16, packet: &[u8], to: MacAddr) -> Vec<u8> {
    [&to.0[..], &NOBODY, &ethertype.to_be_bytes(), packet].concat()
}
