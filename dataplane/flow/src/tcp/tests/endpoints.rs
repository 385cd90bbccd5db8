// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two honest endpoints with a firewall between them, on a network that loses, delays, reorders and doubles on both of its sides.
//!
//! Whatever they send must pass, and all their data must arrive; and of what somebody off the path throws in meanwhile, with their
//! addresses and ports but not their sequence numbers, nothing may pass. The endpoints do as RFC 9293 says, as simply as can be:
//! cumulative ACKs, receivers that keep what comes early, go-back-N after a timeout, window scale, windows that shrink and close,
//! probes of closed windows, FINs. The one thing of theirs that the firewall may stop is a repetition of what was acknowledged.

use super::Entry;
use crate::Rng;
use crate::tcp::{ACK, FIN, Outcome, RST, SYN, Segment, State, options};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Rounds between sending and sending again.
const TIMEOUT: u32 = 60;

/// One end. Positions are offsets from an ISN: the SYN is at 0, data from 1 on, the FIN behind it.
struct Endpoint {
    opens: bool,
    isn: u32,
    /// Where its FIN stands.
    fin: u32,
    shift: u8,
    /// Most that it offers, bytes.
    room: u32,
    mss: u32,
    una: u32,
    nxt: u32,
    /// Where the peer's window ends.
    allowed: u32,
    /// The peer's ISN and shift.
    peer: Option<(u32, u8)>,
    rcv: u32,
    early: BTreeSet<(u32, u32, bool)>,
    peer_is_done: bool,
    progress_at: u32,
    owes_ack: bool,
}

impl Endpoint {
    fn new(opens: bool, isn: u32, data: u32, shift: u8, room: u32, mss: u32) -> Self {
        let (una, nxt, allowed, rcv, progress_at) = (0, 0, 0, 0, 0);
        let (peer, early, fin) = (None, BTreeSet::new(), data + 1);
        let (peer_is_done, owes_ack) = (false, false);
        Self {
            opens,
            isn,
            fin,
            shift,
            room,
            mss,
            una,
            nxt,
            allowed,
            peer,
            rcv,
            early,
            peer_is_done,
            progress_at,
            owes_ack,
        }
    }

    fn is_done(&self) -> bool {
        self.una == self.fin + 1 && self.peer_is_done
    }

    fn make(&mut self, at: u32, len: u32, flags: u8, rng: &mut Rng) -> Segment {
        let room = match rng.next() % 16 {
            0 => 0,
            n => self.room / 2 + self.room / 32 * n as u32,
        };
        let shift = if flags & SYN != 0 { 0 } else { self.shift };
        let window = (room >> shift).min(65_535) as u16;
        let (flags, ack) = match self.peer {
            Some((peer, _)) => (flags | ACK, peer.wrapping_add(self.rcv)),
            None => (flags, 0),
        };
        self.owes_ack = false;
        Segment { seq: self.isn.wrapping_add(at), ack, window, flags, len: len as u16 }
    }

    /// What it sends in this round.
    fn poll(&mut self, now: u32, rng: &mut Rng) -> Option<Segment> {
        if self.peer.is_none() && !self.opens {
            return None;
        }
        let late = now.wrapping_sub(self.progress_at) > TIMEOUT && self.una <= self.fin;
        if late {
            (self.nxt, self.progress_at) = (self.una, now);
        }
        // A closed window is probed with one byte.
        let allowed = if late { self.allowed.max(self.nxt + 1) } else { self.allowed };
        let at = self.nxt;
        if at == 0 {
            self.nxt = 1;
            return Some(self.make(0, 0, SYN, rng));
        }
        if self.una > 0 && at < allowed && at <= self.fin {
            let len = self.mss.min(self.fin - at).min(allowed - at);
            let flags = if at + len == self.fin && at + len < allowed { FIN } else { 0 };
            self.nxt += len + u32::from(flags != 0);
            return Some(self.make(at, len, flags, rng));
        }
        self.owes_ack.then(|| self.make(at, 0, 0, rng))
    }

    fn hear(&mut self, s: &Segment, shift: Option<u8>, now: u32) {
        if s.flags & SYN != 0 {
            if self.peer.is_none() {
                (self.peer, self.rcv, self.progress_at) = (shift.map(|n| (s.seq, n)), 1, now);
            }
            self.owes_ack = true;
        }
        let Some((peer, shift)) = self.peer else { return };
        let shift = if s.flags & SYN != 0 { 0 } else { shift };
        if s.flags & ACK != 0 {
            let ack = s.ack.wrapping_sub(self.isn);
            if ack > self.una {
                (self.una, self.progress_at) = (ack, now);
                self.nxt = self.nxt.max(ack);
            }
            if ack == self.una {
                self.allowed = ack + (u32::from(s.window) << shift);
            }
        }
        let at = s.seq.wrapping_sub(peer);
        if s.len > 0 || s.flags & FIN != 0 {
            self.owes_ack = true;
            self.early.insert((at, at + u32::from(s.len), s.flags & FIN != 0));
        }
        while let Some(&(from, to, fin)) = self.early.first()
            && from <= self.rcv
        {
            self.early.pop_first();
            self.rcv = self.rcv.max(to);
            if fin && to == self.rcv {
                self.rcv += 1;
                self.peer_is_done = true;
            }
        }
    }
}

/// A segment under way: when it arrives, whether at the firewall or behind it, whose it is.
type Flying = (u32, bool, bool, Segment);

/// Puts a segment on a link, or loses it, or does so twice.
fn launch(flying: &mut Vec<Flying>, now: u32, at_firewall: bool, forward: bool, s: Segment, rng: &mut Rng) {
    let copies = match rng.next() % 20 {
        0 => 0,
        1 => 2,
        _ => 1,
    };
    for _ in 0..copies {
        flying.push((now + 1 + (rng.next() % 8) as u32, at_firewall, forward, s));
    }
}

/// Something with the right ports and sequence numbers far from the right ones.
fn forge(entry: &mut Entry, rng: &mut Rng) {
    let forward = rng.next() & 1 == 0;
    let from = usize::from(!forward);
    let far = |rng: &mut Rng, base: u32| base.wrapping_add((1 << 30) + (rng.next() as u32 >> 1));
    let kinds = [ACK, FIN | ACK, RST, RST | ACK, SYN | ACK];
    let s = Segment {
        seq: far(rng, entry.windows.end[from]),
        ack: far(rng, entry.windows.end[from ^ 1]),
        window: rng.next() as u16,
        flags: kinds[(rng.next() % 5) as usize],
        len: (rng.next() % 3 * 500) as u16,
    };
    let was = *entry;
    match entry.segment(&s, &[], forward) {
        Err(_) => {}
        Ok(Outcome::Challenge) if s.flags & SYN != 0 || was.state == State::SynSent => {}
        other => panic!("{s:?} on {was:?}: {other:?}"),
    }
    assert!(*entry == was || was.state == State::SynSent, "{s:?} leaves no trace");
}

/// An entry of an older connection, open still, whose numbers are far from those of `ends`.
fn older(ends: &[Endpoint; 2], rng: &mut Rng) -> Entry {
    let mut entry = Entry::default();
    let [a, b] = [0, 1].map(|side| ends[side].isn.wrapping_add((1 << 30) + (rng.next() as u32 >> 1)));
    let [a1, b1] = [a, b].map(|isn| isn.wrapping_add(1));
    let s = |flags, seq, ack| Segment { seq, ack, window: 9000, flags, len: 0 };
    for (s, forward) in [(s(SYN, a, 0), true), (s(SYN | ACK, b, a1), false), (s(ACK, a1, b1), true)] {
        entry.segment(&s, &[1, 3, 3, 2], forward).unwrap();
    }
    assert_eq!(entry.state, State::Established);
    entry
}

/// `forgotten` is for ends that both had a connection before, and have forgotten it where the firewall has not.
fn talk(mut ends: [Endpoint; 2], seed: u64, attack: bool, forgotten: bool) {
    let mut rng = Rng::new(seed);
    let mut entry = if forgotten { older(&ends, &mut rng) } else { Entry::default() };
    // Until the firewall has seen the answer, only SYNs pass: the ends send them again.
    let mut is_old = forgotten;
    let mut flying: Vec<Flying> = Vec::new();
    let offers = [0, 1].map(|side| ends[side].shift);
    for now in 0..200_000 {
        for (side, end) in ends.iter_mut().enumerate() {
            if let Some(s) = end.poll(now, &mut rng) {
                launch(&mut flying, now, true, side == 0, s, &mut rng);
            }
        }
        let (arrived, rest): (Vec<_>, Vec<_>) = flying.into_iter().partition(|f| f.0 <= now);
        flying = rest;
        for (_, at_firewall, forward, s) in arrived {
            let from = usize::from(!forward);
            if !at_firewall {
                let shift = (s.flags & SYN != 0).then_some(offers[from]);
                ends[from ^ 1].hear(&s, shift, now);
                continue;
            }
            let was = entry;
            match entry.segment(&s, &[1, 3, 3, offers[from]], forward) {
                // A SYN that was doubled long ago finds the connection over: nothing new is begun here.
                Ok(Outcome::Reopen) => assert_eq!((s.flags, was.state), (SYN, State::Closed)),
                Ok(outcome) => {
                    is_old &= outcome != Outcome::Moved;
                    launch(&mut flying, now, false, forward, s, &mut rng);
                }
                Err(_) if is_old => assert_eq!((s.flags & SYN, entry), (0, was)),
                Err(reason) => {
                    let end = s
                        .seq
                        .wrapping_add(u32::from(s.len))
                        .wrapping_add(u32::from(s.flags & (SYN | FIN) != 0));
                    let left = was.windows.ack[from ^ 1].wrapping_sub(end) as i32;
                    assert!(left >= 0 && was.state != State::SynSent, "{reason:?} for {s:?} on {was:?}");
                }
            }
            if attack && entry != Entry::default() && rng.next().is_multiple_of(4) {
                forge(&mut entry, &mut rng);
            }
        }
        if ends.iter().all(Endpoint::is_done) {
            assert_eq!(entry.state, State::Closed);
            return;
        }
    }
    panic!("never done: {entry:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn what_honest_endpoints_send_passes(
        isns: [u32; 2],
        data in prop::array::uniform2(0u32..100_000),
        shifts in prop::array::uniform2(0u8..=14),
        rooms in prop::array::uniform2(20_000u32..1_000_000),
        mss in 100u32..1460,
        attack: bool,
        forgotten: bool,
        seed: u64,
    ) {
        let end = |side: usize| Endpoint::new(side == 0, isns[side], data[side], shifts[side], rooms[side], mss);
        talk([end(0), end(1)], seed, attack, forgotten);
    }
}

/// An ACK that overtakes its sender's SYN-ACK offers a window as well.
#[test]
fn what_a_bad_network_has_found() {
    let end = |side: usize| Endpoint::new(side == 0, 0, [1024, 0][side], 0, 20_000, 100);
    talk([end(0), end(1)], 14530360458237841450, true, false);
}

#[test]
fn options_are_read_whole_or_not_at_all() {
    let all = [2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 0, 99];
    let got = options(&all).unwrap();
    assert_eq!((got.mss, got.scale, got.sack, got.timestamps), (Some(1460), Some(7), true, Some((1, 2))));
    assert_eq!(options(&[3, 3, 200]).unwrap().scale, Some(14));
    assert_eq!(options(&[30, 4, 1, 1, 2, 4, 1, 0]).unwrap().mss, Some(256), "what is not known is skipped");
    for bad in [
        &[2][..],
        &[2, 0],
        &[2, 1],
        &[2, 3, 1],
        &[2, 4, 1],
        &[3, 2],
        &[4, 3, 0],
        &[8, 9, 0, 0, 0, 0, 0, 0, 0],
        &[99, 40],
    ] {
        assert!(options(bad).is_err(), "{bad:?}");
    }
}
