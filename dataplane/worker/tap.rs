// SPDX-License-Identifier: MIT OR Apache-2.0
//! `capture`: copies of frames for control, with what became of them, while an operator wants them.
//!
//! Without a capture there is no [`Taps`], and what that costs is one test a burst that is received or sent, and one a frame that is dropped. With
//! one, a received burst is copied before anything changes it ([`arrive`]); where one of its frames is dropped the reason is noted by
//! its buffer ([`Taps::dropped`]); and when the burst is done each copy that a capture wants goes to the ring, with both sides of its
//! connection's translation ([`conclude`]). What leaves is looked at when its port's buffer is handed to the driver ([`depart`]).
//!
//! The ring is shared memory of one writer and one reader ([`fedgate_tables::capture`]): where control does not keep up frames are
//! lost to the capture and counted there. Bound: a burst's copies, 130 KiB, and the ring. Limit: where a buffer is given back and used again
//! within one burst, and then dropped, its reason may be told of the frame that was in it first. Worker core; everything here is cold.

use super::clock::Clock;
use super::net::{Net, Origin};
use super::runtime::View;
use dpdk::{BURST, Burst, Mbuf};
use fedgate_flow::Flow;
use fedgate_tables::capture::{MAX_LENGTH, Record, Ring, Seen};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{Addr, CaptureSpec, Source};
use fedgate_tables::region::{Region, Shared};
use fedgate_wire::{Fragment, Kind, parse, parse6, plain6, proto, tcp};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What housekeeping wants captured.
#[derive(Clone)]
pub struct Order {
    /// By place; each place has a bit.
    pub captures: Arc<[Option<CaptureSpec>]>,
    /// The segment with the workers' rings.
    pub region: Arc<Region<Shared>>,
}

/// See the module.
pub struct Taps {
    order: Order,
    worker: usize,
    clock: Clock,
    /// What is to be added to the worker's time for microseconds since 1970.
    epoch: u64,
    /// Captures by interface, and those of drops.
    interfaces: Vec<u8>,
    drops: u8,
    /// Copies of the burst at hand.
    held: Vec<Held>,
    /// So many of them.
    count: usize,
    /// Where it came in.
    ifindex: u8,
}

/// A copy of a frame.
struct Held {
    /// Where its buffer is, by which it is known when it is dropped.
    buffer: usize,
    captures: u8,
    reason: Option<DropReason>,
    micros: u64,
    len: u16,
    bytes: [u8; MAX_LENGTH as usize],
}

impl Taps {
    /// Of an order, for this worker; `clock` has shown `micros` a moment ago.
    #[cold]
    pub fn new(order: Order, worker: u8, clock: Clock, micros: u64) -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64);
        let nothing = || Held {
            buffer: 0,
            captures: 0,
            reason: None,
            micros: 0,
            len: 0,
            bytes: [0; MAX_LENGTH as usize],
        };
        let drops = bits(&order, |source| matches!(source, Source::Drops(_)));
        Self {
            order,
            worker: worker.into(),
            clock,
            epoch: unix.wrapping_sub(micros),
            interfaces: Vec::new(),
            drops,
            held: std::iter::repeat_with(nothing).take(BURST).collect(),
            count: 0,
            ifindex: 0,
        }
    }

    /// Interfaces may have other numbers.
    #[cold]
    pub fn adopt(&mut self, view: &View<'_>) {
        let named = |name| bits(&self.order, |source| matches!(source, Source::Interface(of) if of == name));
        self.interfaces = view.flow.interfaces.iter().map(|i| named(view.policy.str(i.name))).collect();
    }

    fn at(&self, ifindex: u8) -> u8 {
        self.interfaces.get(usize::from(ifindex)).copied().unwrap_or(0)
    }

    fn micros(&self) -> u64 {
        self.epoch.wrapping_add(self.clock.at(dpdk::tsc()).micros)
    }

    /// Those of `captures` that want a frame, and how much of it is headers.
    fn wanted(&self, captures: u8, frame: &[u8]) -> (u8, u16) {
        let packet = Packet::of(frame);
        let specs = self.order.captures.iter().enumerate();
        let wanted = specs.filter_map(|(at, spec)| {
            let spec = spec.as_ref().filter(|_| captures >> at & 1 == 1)?;
            let has = spec
                .matches
                .is_none_or(|matches| packet.as_ref().is_some_and(|p| matches.has(p.proto, p.src, p.dst)));
            has.then_some(1u8 << at)
        });
        (wanted.fold(0, |all, bit| all | bit), packet.map_or(0, |p| p.headers))
    }

    /// Captures that want drops for this reason.
    fn wanting(&self, reason: DropReason) -> u8 {
        bits(&self.order, |source| match source {
            Source::Drops(only) => only.is_none_or(|only| only == reason),
            Source::Interface(_) => false,
        })
    }

    fn put(&self, record: &Record, frame: &[u8]) {
        if let Some(ring) = Ring::of(self.order.region.atomics(), self.worker) {
            ring.put(record, frame);
        }
    }

    /// A frame is dropped: one of the burst, or one that came from elsewhere.
    #[cold]
    #[inline(never)]
    pub fn dropped(&mut self, reason: DropReason, mbuf: &Mbuf) {
        let buffer = mbuf.data().as_ptr().addr();
        let held = self.held[..self.count].iter_mut().find(|held| held.buffer == buffer);
        match held {
            Some(held) => {
                held.reason = Some(reason);
                // Its buffer may soon be another frame's.
                held.buffer = 0;
            }
            None => {
                let frame = mbuf.data();
                let (captures, headers) = self.wanted(self.wanting(reason), frame);
                if captures != 0 {
                    let (micros, len) = (self.micros(), frame.len() as u16);
                    let (seen, ifindex, reason) = (Seen::Dropped, u8::MAX, Some(reason));
                    let record =
                        Record { captures, seen, ifindex, reason, headers, len, micros, translation: None };
                    self.put(&record, frame);
                }
            }
        }
    }
}

/// The captures whose source is one of these, a bit each.
fn bits(order: &Order, is: impl Fn(&Source) -> bool) -> u8 {
    let specs = order.captures.iter().enumerate();
    specs
        .filter(|(_, spec)| spec.as_ref().is_some_and(|spec| is(&spec.source)))
        .fold(0, |all, (at, _)| all | 1 << at)
}

/// What a capture asks about a packet.
struct Packet {
    proto: u8,
    src: (Addr, u16),
    dst: (Addr, u16),
    headers: u16,
}

impl Packet {
    fn of(frame: &[u8]) -> Option<Self> {
        // A TCP header says its own length.
        let headers = |l4: u16, proto: u8, whole: bool| match proto {
            _ if !whole => l4,
            proto::TCP => {
                l4 + frame
                    .get(usize::from(l4) + 12)
                    .map_or(0, |b| u16::from(b >> 4) * 4)
                    .max(tcp::HEADER_LEN as u16)
            }
            _ => l4 + 8,
        };
        if plain6::is_ipv6(frame) {
            let parsed = parse6(frame).ok()?;
            let key = parsed.tuple;
            let headers = headers(parsed.l4, key.proto, parsed.frag == Fragment::No);
            return Some(Self {
                proto: key.proto,
                src: (key.src.into(), key.sport),
                dst: (key.dst.into(), key.dport),
                headers,
            });
        }
        let parsed = parse(frame).ok().filter(|p| matches!(p.kind, Kind::Ipv4 | Kind::IcmpError))?;
        let key = parsed.tuple;
        let headers = headers(parsed.l4, key.proto, parsed.frag == Fragment::No);
        Some(Self {
            proto: key.proto,
            src: (key.src.into(), key.sport),
            dst: (key.dst.into(), key.dport),
            headers,
        })
    }
}

/// How a packet of an IPv4 connection arrives and leaves, by its frame on either side.
fn translation(flow: &Flow, frame: &[u8], arrives: bool) -> Option<[(u32, u16); 4]> {
    let parsed = parse(frame).ok().filter(|p| p.kind == Kind::Ipv4 && p.frag == Fragment::No)?;
    let conns = &flow.conns;
    // What leaves is the mirror of what its answer arrives as.
    let (id, dir) = if arrives {
        conns.lookup(conns.hash(&parsed.tuple), &parsed.tuple)?
    } else {
        let answer = parsed.tuple.mirror();
        let (id, dir) = conns.lookup(conns.hash(&answer), &answer)?;
        (id, dir.flip())
    };
    let (key, leaves) = (conns.hot(id).key(dir), conns.hot(id).leaves_as(dir));
    Some([(key.src, key.sport), (key.dst, key.dport), (leaves.src, leaves.sport), (leaves.dst, leaves.dport)])
}

/// A burst has come in by `ifindex`: copies what may be wanted of it.
#[cold]
#[inline(never)]
pub(super) fn arrive(net: &mut Net, ifindex: u8, burst: &Burst) {
    let origin = net.origin();
    let Some(taps) = &mut net.taps else { return };
    // A mate that hands a frame over has captured it as it came in.
    let here = if origin == Origin::Port { taps.at(ifindex) } else { 0 };
    let captures = here | taps.drops;
    (taps.count, taps.ifindex) = (0, ifindex);
    if captures == 0 {
        return;
    }
    let micros = taps.micros();
    for (held, mbuf) in taps.held.iter_mut().zip(burst.iter()) {
        let frame = mbuf.data();
        let len = frame.len().min(held.bytes.len());
        held.bytes[..len].copy_from_slice(&frame[..len]);
        (held.buffer, held.captures, held.reason) = (frame.as_ptr().addr(), captures, None);
        (held.micros, held.len) = (micros, frame.len() as u16);
        taps.count += 1;
    }
}

/// The burst is done: what is wanted of it goes to the ring.
#[cold]
#[inline(never)]
pub(super) fn conclude(net: &mut Net) {
    let Some(taps) = &mut net.taps else { return };
    for held in &taps.held[..std::mem::take(&mut taps.count)] {
        let dropped = held.reason.map_or(0, |reason| taps.wanting(reason));
        let frame = &held.bytes[..usize::from(held.len).min(held.bytes.len())];
        let (captures, headers) = taps.wanted(held.captures & !taps.drops | dropped, frame);
        if captures == 0 {
            continue;
        }
        let record = Record {
            captures,
            seen: Seen::In,
            ifindex: taps.ifindex,
            reason: held.reason,
            headers,
            len: held.len,
            micros: held.micros,
            translation: translation(&net.flow, frame, true),
        };
        taps.put(&record, frame);
    }
}

/// A buffer is about to be handed to its port's transmit queue.
#[cold]
#[inline(never)]
pub(super) fn depart(taps: &Taps, flow: &Flow, ifindex: u8, burst: &Burst) {
    let captures = taps.at(ifindex);
    if captures == 0 {
        return;
    }
    let micros = taps.micros();
    for frame in burst.iter().map(Mbuf::data) {
        let (captures, headers) = taps.wanted(captures, frame);
        if captures == 0 {
            continue;
        }
        let record = Record {
            captures,
            seen: Seen::Out,
            ifindex,
            reason: None,
            headers,
            len: frame.len() as u16,
            micros,
            translation: translation(flow, frame, false),
        };
        taps.put(&record, frame);
    }
}
