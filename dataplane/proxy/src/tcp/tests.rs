// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two endpoints on a wire that loses, repeats and reorders. What whole sessions do, with smoltcp at the far ends, is in tests/proxy.

use super::*;
use crate::{CloseReason, Event};
use fedgate_tables::counters::{Counter, Histo};
use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};
use std::collections::BTreeMap;
use std::io::{Read, Write};

const A: Addr = (0x0a00_0001, 4000);
const B: Addr = (0x0a00_0002, 5061);
const BUFFERS: Buffers = Buffers { rx: 8 << 10, tx: 6 << 10 };
const ROOM: usize = usize::MAX;
const IP_HEADER: usize = 20;

#[derive(Default)]
struct Sink(Vec<Vec<u8>>);

impl Output for Sink {
    fn packet(&mut self, _: SessionId, _: Road, len: usize, fill: impl FnOnce(&mut [u8])) {
        let mut packet = vec![0; len];
        fill(&mut packet);
        self.0.push(packet);
    }
    fn connect(&mut self, _: SessionId, _: u8, _: Option<Addr>, _: Addr) -> Option<(Addr, u16)> {
        None
    }
    fn disconnect(&mut self, _: SessionId, _: u8) {}
    fn event(&mut self, _: SessionId, _: Event<'_>) {}
    fn closed(&mut self, _: SessionId, _: CloseReason) {}
    fn count(&mut self, _: Counter, _: u64) {}
    fn observe(&mut self, _: Histo, _: u64) {}
}

/// What an endpoint sends now.
fn sent(end: &mut Endpoint, now: Micros) -> Vec<Vec<u8>> {
    let mut sink = Sink::default();
    let session = SessionId { slot: 0, generation: 0 };
    while end.output(now, Port { session, road: Road::Leg(crate::Leg::Client), out: &mut sink }) {}
    sink.0
}

fn parsed<T>(packet: &[u8], look: impl FnOnce(&TcpRepr<'_>) -> T) -> T {
    let ip = Ipv4Packet::new_checked(packet).unwrap();
    let tcp = TcpPacket::new_checked(ip.payload()).unwrap();
    let (from, to) = (ip.src_addr().into(), ip.dst_addr().into());
    look(&TcpRepr::parse(&tcp, &from, &to, &ChecksumCapabilities::default()).unwrap())
}

struct Wire {
    now: Micros,
    ends: [Endpoint; 2],
    /// By arrival, with a number that keeps the order: the end it is for, and the packet.
    air: BTreeMap<(Micros, u64), (usize, Vec<u8>)>,
    count: u64,
    dice: u64,
    lost: u64,
    late: u64,
    /// Packets larger than this do not come through.
    mtu: usize,
}

impl Wire {
    fn new(seed: u64, lost: u64, late: u64) -> Self {
        let now = Micros(1);
        let (a, b) = (seed, seed.rotate_left(32));
        let ends = [
            Endpoint::connect(now, (A, B), 1500, BUFFERS, a),
            Endpoint::listen(now, (B, A), 1400, BUFFERS, b),
        ];
        let mut wire =
            Self { now, ends, air: BTreeMap::new(), count: 0, dice: seed | 1, lost, late, mtu: 1500 };
        wire.send();
        wire
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % sides
    }

    fn send(&mut self) {
        for from in 0..2 {
            self.ends[from].watch(self.now);
            for packet in sent(&mut self.ends[from], self.now) {
                // Repeated as often as lost.
                let copies = match self.roll(1000) {
                    _ if packet.len() > self.mtu => 0,
                    n if n < self.lost => 0,
                    n if n < 2 * self.lost => 2,
                    _ => 1,
                };
                for _ in 0..copies {
                    let late = if self.roll(1000) < self.late { self.roll(60_000) } else { 0 };
                    self.count += 1;
                    let place = (self.now.after(10_000 + late), self.count);
                    self.air.insert(place, (1 - from, packet.clone()));
                }
            }
        }
    }

    /// To the next moment at which something happens; false when nothing will.
    fn step(&mut self) -> bool {
        let arrival = self.air.keys().next().map(|(at, _)| *at);
        let timers = self.ends.iter().filter_map(Endpoint::next_poll).min();
        let Some(next) = [arrival, timers].into_iter().flatten().min() else { return false };
        self.now = self.now.max(next);
        while let Some(entry) = self.air.first_entry()
            && entry.key().0 <= self.now
        {
            let (to, packet) = entry.remove();
            assert!(self.ends[to].input(self.now, &packet, ROOM));
            self.send();
        }
        self.send();
        true
    }

    fn open(seed: u64) -> Self {
        let mut wire = Self::new(seed, 0, 0);
        while wire.ends.iter().any(|end| end.state != State::Open) {
            assert!(wire.step());
        }
        while !wire.air.is_empty() {
            wire.step();
        }
        wire
    }
}

fn text(len: usize, salt: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ salt) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// Whatever the weather, each end reads what the other wrote, then its end, and both come to theirs.
    #[test]
    fn nothing_is_lost_or_altered(
        seed: u64,
        lost in 0u64..150,
        late in 0u64..300,
        lens in prop::array::uniform2(0usize..60_000),
        reads in prop::array::uniform2(1usize..5_000),
    ) {
        let mut wire = Wire::new(seed, lost, late);
        let texts = [text(lens[0], 1), text(lens[1], 2)];
        let (mut written, mut heard) = ([0; 2], [Vec::new(), Vec::new()]);
        let mut steps = 0;
        loop {
            for n in 0..2 {
                let end = &mut wire.ends[n];
                while end.can_send() && written[n] < lens[n] {
                    written[n] += end.write(&texts[n][written[n]..]).unwrap();
                }
                if written[n] == lens[n] && end.state == State::Open {
                    end.close();
                }
                let mut chunk = vec![0; reads[n]];
                if let Ok(len) = end.read(&mut chunk) {
                    heard[n].extend_from_slice(&chunk[..len]);
                }
                prop_assert!(end.receive.bytes().len() <= BUFFERS.rx && end.send.waiting() <= BUFFERS.tx);
            }
            wire.send();
            let done = wire.ends.iter_mut().all(|end| end.has_heard_all() && end.received().is_empty() && (end.is_dead() || end.is_lingering()));
            if done {
                break;
            }
            prop_assert!(wire.step() || wire.ends.iter_mut().any(|end| !end.received().is_empty()), "stuck: {:?}", wire.ends);
            steps += 1;
            prop_assert!(steps < 100_000, "no end: {:?}", wire.ends);
        }
        prop_assert_eq!(&heard[0], &texts[1]);
        prop_assert_eq!(&heard[1], &texts[0]);
    }

    /// Any segment, at any time, leaves the bounds in force.
    #[test]
    fn any_segment_is_safe(segments in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u16>(), 0u8..5, 0usize..1400), 1..60)) {
        let mut wire = Wire::open(7);
        let b = wire.ends[1].receive.nxt();
        for (seq, ack, window, kind, len) in segments {
            let bytes = text(len, 3);
            // Half of them near the window.
            let seq = if seq & 1 == 0 { b.wrapping_add(seq >> 18) } else { seq };
            let ack = if ack & 1 == 0 { wire.ends[1].send.max() } else { ack };
            let control = [TcpControl::None, TcpControl::Psh, TcpControl::Syn, TcpControl::Fin, TcpControl::Rst][usize::from(kind)];
            let packet = segment(control, seq, Some(ack), window, &bytes);
            wire.ends[1].input(wire.now, &packet, ROOM);
            // As far as there is room.
            wire.ends[1].write_all(&bytes).ok();
            sent(&mut wire.ends[1], wire.now);
            let end = &wire.ends[1];
            prop_assert!(end.receive.bytes().len() <= BUFFERS.rx);
            prop_assert!(end.held() <= 2 * (2 * BUFFERS.rx + BUFFERS.tx), "{}", end.held());
        }
    }
}

/// From the first end to the second.
fn segment(control: TcpControl, seq: u32, ack: Option<u32>, window: u16, payload: &[u8]) -> Vec<u8> {
    let tcp = TcpRepr {
        src_port: A.1,
        dst_port: B.1,
        control,
        seq_number: TcpSeqNumber(seq as i32),
        ack_number: ack.map(|ack| TcpSeqNumber(ack as i32)),
        window_len: window,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload,
    };
    let (src_addr, dst_addr) = (Ipv4Address::from_bits(A.0), Ipv4Address::from_bits(B.0));
    let ip = Ipv4Repr {
        src_addr,
        dst_addr,
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: 64,
    };
    let mut packet = vec![0; IP_HEADER + ip.payload_len];
    let checksums = ChecksumCapabilities::default();
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut packet[..]), &checksums);
    let mut out = TcpPacket::new_unchecked(&mut packet[IP_HEADER..]);
    tcp.emit(&mut out, &src_addr.into(), &dst_addr.into(), &checksums);
    packet
}

#[test]
fn an_idle_endpoint_holds_no_buffer() {
    let mut wire = Wire::open(1);
    wire.ends[0].write_all(&text(5_000, 1)).unwrap();
    wire.send();
    assert!(wire.ends[0].held() >= 5_000);
    while wire.ends[1].receive.bytes().len() < 5_000 {
        assert!(wire.step());
    }
    wire.ends[1].discard();
    while !wire.air.is_empty() {
        wire.step();
    }
    assert_eq!((wire.ends[0].held(), wire.ends[1].held()), (0, 0));
    assert!(size_of::<Endpoint>() <= 512, "{}", size_of::<Endpoint>());
}

/// RFC 5961: what is not the very next number is challenged, and a challenge is nothing but an acknowledgement.
#[test]
fn forged_resets_and_syns_are_challenged() {
    let mut wire = Wire::open(2);
    let next = wire.ends[1].receive.nxt();
    for (control, seq) in
        [(TcpControl::Rst, next.wrapping_add(1)), (TcpControl::Syn, next), (TcpControl::Syn, 0)]
    {
        wire.ends[1].input(wire.now, &segment(control, seq, Some(0), 0, b""), ROOM);
        let answers = sent(&mut wire.ends[1], wire.now);
        assert_eq!(answers.len(), 1, "{control:?}");
        parsed(&answers[0], |it| {
            assert_eq!((it.control, it.payload.len()), (TcpControl::None, 0));
            assert_eq!(it.ack_number.map(|n| n.0 as u32), Some(next));
        });
        assert_eq!(wire.ends[1].state, State::Open);
    }
    wire.ends[1].input(wire.now, &segment(TcpControl::Rst, next, None, 0, b""), ROOM);
    assert!(wire.ends[1].is_dead());
    assert!(sent(&mut wire.ends[1], wire.now).is_empty());
}

/// Whoever forges segments does not make us send as many.
#[test]
fn challenges_are_few() {
    let mut wire = Wire::open(2);
    let next = wire.ends[1].receive.nxt();
    let storm = |wire: &mut Wire| {
        let mut answers = 0;
        for n in 0..1_000_u32 {
            let forged = match n % 3 {
                0 => segment(TcpControl::Rst, next.wrapping_add(1 + n), Some(0), 0, b""),
                1 => segment(TcpControl::Syn, n, Some(0), 0, b""),
                _ => segment(TcpControl::None, next, Some(n.wrapping_sub(900_000_000)), 0, b"x"),
            };
            wire.ends[1].input(wire.now, &forged, ROOM);
            answers += sent(&mut wire.ends[1], wire.now).len();
        }
        answers
    };
    assert_eq!(storm(&mut wire), 10);
    wire.now = wire.now.after(5_000_000);
    assert_eq!(storm(&mut wire), 10);
    assert_eq!(wire.ends[1].state, State::Open);
    // What is no challenge goes on.
    wire.ends[1].input(wire.now, &segment(TcpControl::Rst, next, None, 0, b""), ROOM);
    assert!(wire.ends[1].is_dead());
}

/// A window that closes is probed, for ever, and data goes on when it opens, at once.
#[test]
fn a_closed_window_is_probed() {
    let mut wire = Wire::open(3);
    let bytes = text(BUFFERS.rx + 4_000, 1);
    let mut written = 0;
    let began = wire.now;
    while wire.now.since(began) < 300_000_000 {
        while wire.ends[0].can_send() && written < bytes.len() {
            written += wire.ends[0].write(&bytes[written..]).unwrap();
        }
        wire.send();
        assert!(wire.step());
        assert!(wire.ends[1].receive.bytes().len() <= BUFFERS.rx);
    }
    assert_eq!(wire.ends[1].receive.bytes().len(), BUFFERS.rx);
    let (began, mut heard) = (wire.now, Vec::new());
    while heard.len() < bytes.len() {
        heard.extend_from_slice(wire.ends[1].receive.bytes());
        wire.ends[1].discard();
        wire.send();
        if heard.len() < bytes.len() {
            assert!(wire.step());
        }
    }
    assert_eq!(heard, bytes);
    assert!(wire.now.since(began) < 200_000, "{}", wire.now.since(began));
}

impl Wire {
    /// Has the first end say `bytes` and waits for the second to hear them; gives how long that took.
    fn carry(&mut self, bytes: &[u8]) -> u64 {
        let (began, mut written, mut heard) = (self.now, 0, Vec::new());
        while heard.len() < bytes.len() {
            while self.ends[0].can_send() && written < bytes.len() {
                written += self.ends[0].write(&bytes[written..]).unwrap();
            }
            heard.extend_from_slice(self.ends[1].receive.bytes());
            self.ends[1].discard();
            self.send();
            assert!(heard.len() >= bytes.len() || self.step());
        }
        assert_eq!(heard, bytes);
        self.now.since(began)
    }
}

/// A link on the way that takes less than both ends, and a router that says so: what it dropped comes again in smaller pieces, at once.
#[test]
fn a_router_that_takes_less_is_believed() {
    let mut wire = Wire::open(6);
    wire.mtu = 1000;
    let una = wire.ends[0].send.una();
    wire.ends[0].write_all(&text(5_440, 1)).unwrap();
    wire.send();
    assert!(wire.air.is_empty());
    // Of what was never sent nobody can have dropped anything.
    assert!(!wire.ends[0].too_big(una.wrapping_sub(1), 1000));
    assert!(!wire.ends[0].too_big(wire.ends[0].send.max(), 1000));
    assert!(wire.ends[0].too_big(una, 1000));
    assert!(!wire.ends[0].too_big(una, 1400), "it only ever falls");
    wire.send();
    assert!(wire.air.values().all(|(_, packet)| packet.len() <= 1000) && wire.air.len() == 6);
    while wire.ends[1].receive.bytes().len() < 5_440 {
        assert!(wire.step());
    }
    assert_eq!(wire.ends[1].receive.bytes(), text(5_440, 1));
    // Nobody can make segments senselessly small.
    while wire.ends[0].send.waiting() > 0 {
        wire.step();
    }
    wire.ends[0].write_all(&text(1_000, 1)).unwrap();
    let una = wire.ends[0].send.una();
    wire.send();
    assert!(wire.ends[0].too_big(una, 0));
    assert!(wire.ends[0].send.mss() == LEAST_MTU - HEADERS);
}

/// The same, and nobody says anything.
#[test]
fn a_black_hole_is_got_around() {
    for mtu in [1280, 600] {
        let mut wire = Wire::open(7);
        wire.mtu = mtu;
        let took = wire.carry(&text(30_000, 1));
        assert!(took < 20_000_000, "{took}");
    }
}

/// A peer that goes without a word is found out, and one that is only silent is not.
#[test]
fn the_silent_are_asked_whether_they_are_there() {
    let mut wire = Wire::open(8);
    let began = wire.now;
    while wire.now.since(began) < 4 * 3_600_000_000 {
        assert!(wire.step());
    }
    assert!(wire.ends.iter().all(|end| end.state == State::Open));
    let asked = wire.count;
    wire.lost = 1000;
    let began = wire.now;
    while !wire.ends[0].is_dead() {
        assert!(wire.step());
    }
    assert!(wire.ends[0].is_vanished());
    let took = wire.now.since(began) / 1_000_000;
    assert!((1270..1280).contains(&took), "{took}");
    assert!(asked < 200, "{asked} packets in four hours");
}

/// One acknowledgement for two segments, one that waits for the odd one, and none of its own where something goes back.
#[test]
fn acknowledgements_wait_for_company() {
    let mut wire = Wire::open(9);
    let say = |wire: &mut Wire, len| {
        wire.ends[0].write_all(&text(len, 1)).unwrap();
        for packet in sent(&mut wire.ends[0], wire.now) {
            assert!(wire.ends[1].input(wire.now, &packet, ROOM));
        }
        sent(&mut wire.ends[1], wire.now).len()
    };
    assert_eq!(say(&mut wire, 100), 0);
    assert_eq!(say(&mut wire, 100), 1);
    assert_eq!(say(&mut wire, 100), 0);
    assert_eq!(wire.ends[1].next_poll(), Some(wire.now.after(40_000)));
    wire.now = wire.now.after(40_000);
    assert_eq!(sent(&mut wire.ends[1], wire.now).len(), 1);
    // That waited in vain: the next is said at once, as are those after an answer that comes late.
    for _ in 0..2 {
        assert_eq!(say(&mut wire, 100), 1);
        wire.now = wire.now.after(40_000);
        wire.ends[1].write_all(b"late").unwrap();
        assert_eq!(sent(&mut wire.ends[1], wire.now).len(), 1);
    }
    // And waits again once an answer has come in time.
    assert_eq!(say(&mut wire, 100), 1);
    for _ in 0..2 {
        wire.now = wire.now.after(39_000);
        wire.ends[1].write_all(b"answer").unwrap();
        assert_eq!(sent(&mut wire.ends[1], wire.now).len(), 1);
        assert!(wire.ends[1].receive.ack_by().is_none() && !wire.ends[1].owes.ack);
        assert_eq!(say(&mut wire, 100), 0);
    }
}

/// Two losses in one flight are repaired by two segments and no timeout: what the peer has is not repeated.
#[test]
fn what_the_peer_has_is_not_repeated() {
    let mut wire = Wire::open(10);
    wire.carry(&text(30_000, 1));
    while wire.ends[0].send.waiting() > 0 {
        wire.step();
    }
    wire.ends[0].write_all(&text(6_000, 2)).unwrap();
    let packets = sent(&mut wire.ends[0], wire.now);
    assert_eq!(packets.len(), 5);
    let mut again = Vec::new();
    let mut arrive = |wire: &mut Wire, packet: &Vec<u8>, gaps: usize| {
        assert!(wire.ends[1].input(wire.now, packet, ROOM));
        for ack in sent(&mut wire.ends[1], wire.now) {
            parsed(&ack, |it| assert_eq!(it.sack_ranges.iter().flatten().count(), gaps));
            assert!(wire.ends[0].input(wire.now, &ack, ROOM));
            again.extend(sent(&mut wire.ends[0], wire.now));
        }
        again.len()
    };
    for (n, gaps, repeated) in [(1, 1, 0), (3, 2, 0), (4, 2, 1), (0, 1, 2), (2, 0, 2)] {
        assert_eq!(arrive(&mut wire, &packets[n], gaps), repeated, "{n}");
    }
    let numbers = |packet: &Vec<u8>| parsed(packet, |it| (it.seq_number, it.payload.len()));
    assert_eq!(again.iter().map(numbers).collect::<Vec<_>>(), [&packets[0], &packets[2]].map(numbers));
    assert_eq!(wire.ends[1].receive.bytes(), text(6_000, 2));
}

/// A probe that found no place is not what everything behind it then waits for.
#[test]
fn a_window_opens_after_a_probe_was_refused() {
    let mut wire = Wire::open(8);
    let bytes = text(BUFFERS.rx + 4_000, 1);
    let (mut written, mut heard) = (0, Vec::new());
    while wire.now < Micros(30_000_000) || !wire.air.is_empty() {
        while wire.ends[0].can_send() && written < bytes.len() {
            written += wire.ends[0].write(&bytes[written..]).unwrap();
        }
        wire.send();
        assert!(wire.step());
    }
    let began = wire.now;
    while heard.len() < bytes.len() {
        heard.extend_from_slice(wire.ends[1].receive.bytes());
        wire.ends[1].discard();
        wire.send();
        if heard.len() < bytes.len() {
            assert!(wire.step());
        }
    }
    assert_eq!(heard, bytes);
    assert!(wire.now.since(began) < 200_000, "{}", wire.now.since(began));
}

/// One lost segment among many is repeated after three duplicates, not after the timer.
#[test]
fn a_hole_is_filled_by_fast_retransmit() {
    let mut wire = Wire::open(4);
    wire.ends[0].write_all(&text(6_000, 1)).unwrap();
    let mut packets = sent(&mut wire.ends[0], wire.now);
    assert!(packets.len() >= 5);
    packets.remove(0);
    for packet in packets {
        wire.ends[1].input(wire.now, &packet, ROOM);
        for ack in sent(&mut wire.ends[1], wire.now) {
            wire.ends[0].input(wire.now, &ack, ROOM);
        }
    }
    let again = sent(&mut wire.ends[0], wire.now);
    assert_eq!(again.len(), 1);
    wire.ends[1].input(wire.now, &again[0], ROOM);
    assert_eq!(wire.ends[1].receive.bytes(), text(6_000, 1));
}

/// Where there is no memory for a segment it is neither kept nor acknowledged.
#[test]
fn no_room_is_no_loss() {
    let mut wire = Wire::open(5);
    let next = wire.ends[1].receive.nxt();
    let packet = segment(TcpControl::Psh, next, Some(wire.ends[1].send.max()), 1000, b"hello");
    wire.ends[1].input(wire.now, &packet, 4);
    assert_eq!(wire.ends[1].receive.nxt(), next);
    wire.ends[1].input(wire.now, &packet, 5);
    assert_eq!(wire.ends[1].receive.bytes(), b"hello");
}

/// A connection that a SYN cookie opened: without options, without a window until it is there, and then as any other.
#[test]
fn a_cookie_opens_a_connection() {
    const COOKIE: u32 = 0xfeed_0007;
    let mut wire = Wire::new(11, 0, 0);
    let (_, syn) = wire.air.pop_first().unwrap().1;
    let theirs = parsed(&syn, |it| it.seq_number.0 as u32);
    // As the packet path would answer it.
    let answer = Draft {
        ends: (B, A),
        control: Control::Syn,
        push: false,
        seq: COOKIE,
        ack: Some(theirs.wrapping_add(1)),
        window: 0,
        offer: Offer { mss: Some(1380), ..Offer::default() },
        sacks: &[],
        payload: &[],
    };
    let mut packet = vec![0; answer.len()];
    answer.write(&mut packet);
    assert!(wire.ends[0].input(wire.now, &packet, ROOM));
    let acks = sent(&mut wire.ends[0], wire.now);
    assert_eq!(acks.len(), 1);
    let met = Met { ours: COOKIE, theirs, mss: 1380 };
    wire.ends[1] = Endpoint::met(wire.now, (B, A), 1400, BUFFERS, met);
    assert!(wire.ends[1].input(wire.now, &acks[0], ROOM));
    assert_eq!(wire.ends.each_ref().map(|end| end.state), [State::Open; 2]);
    wire.send();
    assert_eq!(wire.air.len(), 1, "the window");
    wire.carry(&text(20_000, 1));
    wire.ends[1].write_all(b"and back").unwrap();
    wire.send();
    while wire.ends[0].receive.bytes() != b"and back" {
        assert!(wire.step());
    }
}
