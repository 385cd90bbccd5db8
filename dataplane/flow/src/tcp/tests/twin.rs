// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rules written down slowly: numbers of 64 bits that never wrap, everything that passed kept in a list, and every bound
//! looked for in that list anew.

use super::Entry;
use crate::tcp::{ACK, FIN, Outcome, RST, SYN, Segment, State, seen};
use fedgate_tables::drops::DropReason;
use fedgate_wire::tcp::TcpFlags;
use proptest::prelude::*;

type Verdict = Result<Outcome, DropReason>;

/// A segment that passed and counted.
#[derive(Clone, Copy)]
struct Past {
    from: usize,
    end: i64,
    ack: Option<i64>,
    window: u16,
    /// A SYN's window, which is not shifted.
    early: bool,
    fin: bool,
}

/// See the module.
#[derive(Default)]
struct Twin {
    past: Vec<Past>,
    /// The SYNs in force, unshifted windows and all.
    syn: [Option<Syn>; 2],
    /// What the challenge of an older connection acknowledged.
    challenge: Option<u32>,
    /// What an ACK offered that overtook the responder's SYN.
    overtook: u16,
    acked_syn: [bool; 2],
    reset: bool,
    /// The SYN that was passed on last for its receiver to judge, and its side.
    asked: Option<(usize, Syn)>,
}

#[derive(Clone, Copy)]
struct Syn {
    isn: i64,
    end: i64,
    window: u16,
    shift: Option<u8>,
}

impl Twin {
    fn is_open(&self) -> bool {
        self.acked_syn == [true; 2]
    }

    fn shift(&self, side: usize) -> u8 {
        match self.syn.map(|s| s.and_then(|s| s.shift)) {
            [Some(a), Some(b)] => [a, b][side],
            _ => 0,
        }
    }

    fn end(&self, side: usize) -> i64 {
        let syn = self.syn[side].map(|s| s.end);
        self.past.iter().filter(|p| p.from == side).map(|p| p.end).chain(syn).max().unwrap_or(0)
    }

    /// Highest acknowledgement of `side`, or the other's initial number.
    fn acked(&self, side: usize) -> i64 {
        let acks = self.past.iter().filter(|p| p.from == side).filter_map(|p| p.ack);
        acks.chain(self.syn[side ^ 1].map(|s| s.isn)).max().unwrap_or(0)
    }

    fn window(&self, side: usize) -> i64 {
        let unit = 1i64 << self.shift(side);
        let unshifted = |window: u16| (i64::from(window) + unit - 1) / unit * unit;
        let syn = self.syn[side].map(|s| unshifted(s.window.max(1)));
        let past = self.past.iter().filter(|p| p.from == side);
        let windows = past.map(|p| if p.early { unshifted(p.window) } else { i64::from(p.window) * unit });
        let overtook = if side == 1 { i64::from(self.overtook) * unit } else { 0 };
        windows.chain(syn).chain([overtook]).max().unwrap_or(1)
    }

    /// The side's FIN that nothing followed.
    fn fin(&self, side: usize) -> bool {
        let end = self.end(side);
        self.past.iter().any(|p| p.from == side && p.fin && p.end == end)
    }

    fn state(&self) -> State {
        let fins = [self.fin(0), self.fin(1)];
        if self.reset {
            State::Reset
        } else if self.syn[1].is_none() {
            State::SynSent
        } else if !self.is_open() {
            State::SynReceived
        } else if fins == [true; 2] && self.acked(0) == self.end(1) && self.acked(1) == self.end(0) {
            State::Closed
        } else if fins != [false; 2] {
            State::HalfClosed
        } else {
            State::Established
        }
    }

    fn segment(&mut self, s: &Segment, shift: Option<u8>, forward: bool) -> Verdict {
        let before = self.state();
        if matches!(before, State::Closed | State::Reset) && forward && s.flags & (SYN | ACK) == SYN {
            return Ok(Outcome::Reopen);
        }
        let verdict = match (self.syn[1].is_some(), forward) {
            (true, _) => self.open(s, shift, usize::from(!forward)),
            (false, true) => self.initiator(s, shift),
            (false, false) => self.responder(s, shift),
        };
        match verdict {
            Ok(Outcome::Same) if self.state() != before => Ok(Outcome::Moved),
            Ok(Outcome::Challenge) => Ok(self.challenged(s, shift, usize::from(!forward))),
            other => other,
        }
    }

    /// Nothing comes of it, unless it is the answer to such a one: then all that was known is of another connection.
    fn challenged(&mut self, s: &Segment, shift: Option<u8>, from: usize) -> Outcome {
        let isn = i64::from(s.seq) + (1 << 40);
        let end = isn + i64::from(s.len) + 1 + i64::from(s.flags & FIN != 0);
        let own = Syn { isn, end, window: s.window, shift };
        match s.flags & (SYN | ACK | RST) {
            SYN => self.asked = Some((from, own)),
            flags if flags == SYN | ACK => {
                if let Some((to, syn)) = self.asked
                    && to != from
                    && syn.end as u32 == s.ack
                {
                    *self = Self::default();
                    (self.syn[to], self.syn[from], self.acked_syn[from]) = (Some(syn), Some(own), true);
                    let (window, early, fin) = (0, true, false);
                    self.past.push(Past { from, end, ack: Some(syn.end), window, early, fin });
                    return Outcome::Moved;
                }
            }
            _ => {}
        }
        Outcome::Challenge
    }

    fn initiator(&mut self, s: &Segment, shift: Option<u8>) -> Verdict {
        let syn = self.syn[0];
        if s.flags & RST != 0 {
            let end = syn.map_or(0, |y| y.end) as u32;
            let challenge = self.challenge.unwrap_or(syn.map_or(0, |y| y.isn + 1) as u32);
            return if s.seq == end {
                self.reset = true;
                Ok(Outcome::Same)
            } else if s.seq == challenge {
                Ok(Outcome::Same)
            } else {
                Err(DropReason::TcpRstfinOoo)
            };
        }
        if s.flags & (SYN | ACK) != SYN {
            return Err(DropReason::Tcp3whsFailed);
        }
        let isn = i64::from(s.seq) + (1 << 40);
        let end = isn + 1 + i64::from(s.len) + i64::from(s.flags & FIN != 0);
        let new = Syn { isn, end, window: s.window, shift };
        self.syn[0] = Some(match syn {
            Some(old) if old.isn == isn => Syn {
                isn,
                end: end.max(old.end),
                window: s.window.max(old.window),
                shift: shift.or(old.shift),
            },
            _ => {
                (self.challenge, self.overtook) = (None, 0);
                new
            }
        });
        Ok(Outcome::Same)
    }

    fn responder(&mut self, s: &Segment, shift: Option<u8>) -> Verdict {
        let first = self.syn[0];
        let ack = (s.flags & ACK != 0).then(|| near(first.map_or(0, |y| y.isn), s.ack));
        let exact = ack.zip(first).is_some_and(|(ack, y)| ack > y.isn && ack <= y.end);
        if s.flags & RST != 0 {
            if !exact {
                return Err(DropReason::TcpRstfinOoo);
            }
            self.reset = true;
            return Ok(Outcome::Same);
        }
        if s.flags & (SYN | FIN) == SYN && (exact || ack.is_none()) {
            self.reset = false;
            self.answer(s, shift, ack);
            return Ok(Outcome::Same);
        }
        if s.flags & (SYN | FIN) == 0 && ack.is_some() && s.len == 0 {
            self.challenge = Some(s.ack);
            if exact {
                self.overtook = self.overtook.max(s.window);
            }
            return Ok(Outcome::Challenge);
        }
        Err(DropReason::Tcp3whsFailed)
    }

    fn answer(&mut self, s: &Segment, shift: Option<u8>, ack: Option<i64>) {
        if self.syn[1].is_some() {
            self.overtook = 0;
        }
        let isn = i64::from(s.seq) + (1 << 40);
        self.past.retain(|p| p.from == 0);
        // Windows are kept in units of what is in force.
        let window = self.window(0).min(65_535) as u16;
        if let Some(first) = &mut self.syn[0] {
            first.window = window;
        }
        self.syn[1] = Some(Syn { isn, end: isn + 1 + i64::from(s.len), window: s.window, shift });
        if let Some(ack) = ack {
            self.acked_syn[1] = true;
            self.past.push(Past {
                from: 1,
                end: isn + 1,
                ack: Some(ack),
                window: 0,
                early: true,
                fin: false,
            });
        }
    }

    fn open(&mut self, s: &Segment, shift: Option<u8>, from: usize) -> Verdict {
        let to = from ^ 1;
        let seq = near(self.end(from), s.seq);
        let controls = i64::from(s.flags & SYN != 0) + i64::from(s.flags & FIN != 0);
        let end = seq + i64::from(s.len) + controls;
        let ack = near(self.end(to), s.ack);
        let in_window = end <= self.acked(to) + self.window(to) && end >= self.end(from) - self.window(to);
        let acks_fit = ack <= self.end(to) && ack >= self.acked(from) - self.window(from).max(65_535);
        let repeats = in_window && end <= self.end(from);

        if s.flags & (SYN | ACK) == SYN {
            if !repeats {
                return Ok(Outcome::Challenge);
            }
            self.past.push(Past { from, end, ack: None, window: s.window, early: true, fin: false });
            return Ok(Outcome::Same);
        }
        if s.flags & SYN != 0 && !(repeats && acks_fit) {
            let exact = if self.acked_syn[1] {
                ack == self.acked(1)
            } else {
                ack > self.acked(1) && ack <= self.end(0)
            };
            if from == 1 && !self.acked_syn[0] && exact {
                self.answer(s, shift, Some(ack));
                return Ok(Outcome::Same);
            }
            return Ok(Outcome::Challenge);
        }
        if s.flags & RST != 0 {
            if !in_window {
                return Err(DropReason::TcpRstfinOoo);
            }
            if seq != self.end(from) && seq != self.acked(to) {
                return Ok(Outcome::Challenge);
            }
            self.reset = self.state() != State::Closed;
            return Ok(Outcome::Same);
        }
        if !in_window {
            return Err(if s.flags & FIN != 0 {
                DropReason::TcpRstfinOoo
            } else {
                DropReason::TcpSeqPastWin
            });
        }
        if s.flags & ACK == 0 || !acks_fit {
            return Err(DropReason::TcpInvalidAck);
        }
        if !self.acked_syn[from] && ack <= self.acked(from) {
            return Err(DropReason::Tcp3whsFailed);
        }
        if self.fin(from) && end > self.end(from) && self.acked(to) == self.end(from) {
            return Err(DropReason::TcpDataPastFin);
        }
        self.acked_syn[from] = true;
        self.reset = false;
        let fin = s.flags & FIN != 0;
        let early = s.flags & SYN != 0;
        let window = s.window;
        self.past.push(Past { from, end, ack: Some(ack), window, early, fin });
        Ok(Outcome::Same)
    }
}

/// The number that `low` is the low half of, nearest to `reference`.
fn near(reference: i64, low: u32) -> i64 {
    reference + i64::from(low.wrapping_sub(reference as u32) as i32)
}

/// A segment by its distance from what its side should send next; the distances that matter are likely.
#[derive(Clone, Debug)]
struct Step {
    forward: bool,
    flags: u8,
    seq: i64,
    ack: i64,
    len: u16,
    window: u16,
    shift: Option<u8>,
    /// From the first numbers instead of the last.
    from_isn: bool,
    /// As the answer to the SYN that was challenged last.
    answers: bool,
}

fn distance() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => Just(0i64),
        3 => -3i64..4,
        2 => -70_000i64..70_000,
        1 => any::<i32>().prop_map(i64::from),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![
        10 => Just(ACK), 3 => Just(ACK | FIN), 2 => Just(SYN), 3 => Just(SYN | ACK), 1 => Just(RST), 1 => Just(RST | ACK),
        1 => prop::sample::select((0..32u8).filter(|&f| TcpFlags(f).is_legal()).collect::<Vec<_>>()),
    ];
    let len = prop_oneof![2 => Just(0u16), 2 => 1u16..1500, 1 => any::<u16>()];
    let window = prop_oneof![1 => 0u16..3, 3 => any::<u16>()];
    (
        any::<bool>(),
        flags,
        distance(),
        distance(),
        len,
        window,
        prop::option::of(0u8..=14),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(forward, flags, seq, ack, len, window, shift, from_isn, answers)| Step {
            forward,
            flags,
            seq,
            ack,
            len,
            window,
            shift,
            from_isn,
            answers,
        })
}

/// A script that opens, so that the random steps meet an open connection more often than not.
fn opening(isns: [u32; 2], shifts: [Option<u8>; 2], windows: [u16; 2]) -> [(bool, Segment, Option<u8>); 3] {
    let s = |flags, seq, ack, window| Segment { seq, ack, window, flags, len: 0 };
    [
        (true, s(SYN, isns[0], 0, windows[0]), shifts[0]),
        (false, s(SYN | ACK, isns[1], isns[0].wrapping_add(1), windows[1]), shifts[1]),
        (true, s(ACK, isns[0].wrapping_add(1), isns[1].wrapping_add(1), windows[0]), None),
    ]
}

fn agree(entry: &mut Entry, twin: &mut Twin, s: &Segment, shift: Option<u8>, forward: bool) {
    let options = shift.map_or(vec![], |n| vec![3, 3, n]);
    let was = *entry;
    let got = entry.segment(s, &options, forward);
    assert_eq!(got, twin.segment(s, shift, forward), "{s:?} forward {forward} on {was:?}");
    assert_eq!(entry.state, twin.state(), "{s:?} forward {forward} on {was:?}");
    if got.is_err() {
        assert_eq!(*entry, was, "a dropped segment leaves no trace");
    }
    if entry.history & seen::BOTH_SYNS != 0 {
        let unscaled = entry.scale & 15 == 15 || entry.scale >> 4 == 15;
        let scale = if unscaled { 0 } else { entry.scale };
        for side in [0, 1] {
            assert_eq!(entry.windows.end[side], twin.end(side) as u32, "end of {side}, {s:?} on {was:?}");
            assert_eq!(entry.windows.ack[side], twin.acked(side) as u32, "ack of {side}, {s:?} on {was:?}");
            assert_eq!(i64::from(entry.windows.window(scale, side)), twin.window(side), "window of {side}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]
    #[test]
    fn agrees_with_its_twin(
        isns: [u32; 2], shifts in prop::array::uniform2(prop::option::of(0u8..=14)), windows: [u16; 2],
        open in 1usize..=3, steps in prop::collection::vec(step(), 1..40),
    ) {
        let (mut entry, mut twin) = (Entry::default(), Twin::default());
        let script = opening(isns, shifts, windows);
        for (forward, s, shift) in script.into_iter().take(open) {
            agree(&mut entry, &mut twin, &s, shift, forward);
        }
        for step in steps {
            let from = usize::from(!step.forward);
            let known = entry.history & seen::BOTH_SYNS != 0;
            let base = |side: usize| if known && !step.from_isn { entry.windows.end[side] } else { isns[side] };
            let syn_acked = u32::from(!known || step.from_isn);
            let mut s = Segment {
                seq: base(from).wrapping_add(step.seq as u32),
                ack: base(from ^ 1).wrapping_add(step.ack as u32).wrapping_add(syn_acked),
                window: step.window,
                flags: step.flags,
                len: step.len,
            };
            if let Some((_, syn)) = twin.asked.filter(|_| step.answers) {
                (s.flags, s.ack) = (SYN | ACK, (syn.end + step.ack) as u32);
            }
            agree(&mut entry, &mut twin, &s, step.shift, step.forward);
        }
    }
}
