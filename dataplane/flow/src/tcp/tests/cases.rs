// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the RFCs ask for, case by case.

use super::Entry;
use crate::tcp::{ACK, FIN, Outcome, RST, SYN, Segment, State};
use fedgate_tables::drops::DropReason;

/// The initiator's and the responder's first numbers.
const A: u32 = u32::MAX - 5;
const B: u32 = 70_000;

type Got = Result<Outcome, DropReason>;

impl Entry {
    fn send(&mut self, forward: bool, flags: u8, seq: u32, ack: u32, len: u16) -> Got {
        self.segment(&Segment { seq, ack, window: 1000, flags, len }, &[], forward)
    }

    fn out(&mut self, flags: u8, seq: u32, ack: u32, len: u16) -> Got {
        self.send(true, flags, seq, ack, len)
    }

    fn back(&mut self, flags: u8, seq: u32, ack: u32, len: u16) -> Got {
        self.send(false, flags, seq, ack, len)
    }
}

const A1: u32 = A.wrapping_add(1);
const B1: u32 = B + 1;

fn asked() -> Entry {
    let mut entry = Entry::default();
    assert_eq!(entry.out(SYN, A, 0, 0), Ok(Outcome::Same));
    entry
}

fn open() -> Entry {
    let mut entry = asked();
    assert_eq!(entry.back(SYN | ACK, B, A1, 0), Ok(Outcome::Moved));
    assert_eq!(entry.out(ACK, A1, B1, 0), Ok(Outcome::Moved));
    assert_eq!(entry.state, State::Established);
    entry
}

/// RFC 5382 REQ-2a.
#[test]
fn simultaneous_open() {
    let mut entry = asked();
    assert_eq!(entry.back(SYN, B, 0, 0), Ok(Outcome::Moved));
    assert_eq!(entry.out(SYN | ACK, A, B1, 0), Ok(Outcome::Same));
    assert_eq!(entry.back(SYN | ACK, B, A1, 0), Ok(Outcome::Moved));
    assert_eq!(entry.state, State::Established);
    assert_eq!(entry.out(ACK, A1, B1, 500), Ok(Outcome::Same));
}

/// A bare SYN from anybody does not keep the responder's own answer out, window scale included.
#[test]
fn a_forged_syn_does_not_stand_against_the_answer() {
    let mut entry = Entry::default();
    let scaled = |flags, seq, ack| Segment { seq, ack, window: 1000, flags, len: 0 };
    entry.segment(&scaled(SYN, A, 0), &[3, 3, 7], true).unwrap();
    entry.segment(&scaled(SYN, 12345, 0), &[], false).unwrap();
    entry.segment(&scaled(SYN | ACK, B, A1), &[3, 3, 7], false).unwrap();
    assert_eq!(entry.out(ACK, A1, B1, 0), Ok(Outcome::Moved));
    assert_eq!((entry.state, entry.scale), (State::Established, 0x77));
}

#[test]
fn an_answer_to_something_else_is_no_handshake() {
    let mut entry = asked();
    for ack in [A, A1 + 1, B, 0] {
        assert_eq!(entry.back(SYN | ACK, B, ack, 0), Err(DropReason::Tcp3whsFailed));
        assert_eq!(entry.back(RST | ACK, 0, ack, 0), Err(DropReason::TcpRstfinOoo));
    }
    assert_eq!(entry.out(ACK, A1, B1, 10), Err(DropReason::Tcp3whsFailed));
    assert_eq!(entry.back(ACK, B1, A1, 10), Err(DropReason::Tcp3whsFailed));
    assert_eq!(entry.back(RST | ACK, 0, A1, 0), Ok(Outcome::Moved), "refused");
    assert_eq!(entry.state, State::Reset);
    assert_eq!(entry.out(SYN, A, 0, 0), Ok(Outcome::Reopen));
}

#[test]
fn the_third_segment_must_acknowledge_the_second() {
    let mut entry = asked();
    entry.back(SYN | ACK, B, A1, 0).unwrap();
    for ack in [B, B - 1000, B1 - 1] {
        assert_eq!(entry.out(ACK, A1, ack, 0), Err(DropReason::Tcp3whsFailed));
    }
    assert_eq!(entry.out(ACK, A1, B1 + 1, 0), Err(DropReason::TcpInvalidAck));
    assert_eq!(entry.state, State::SynReceived);
}

/// The responder holds an older connection on this tuple; the initiator's RST clears it, and its SYN goes through (RFC 5961 4).
#[test]
fn an_older_connection_is_cleared() {
    let mut entry = asked();
    assert_eq!(entry.back(ACK, 5555, 4444, 0), Ok(Outcome::Challenge));
    assert_eq!(entry.out(RST, 4445, 0, 0), Err(DropReason::TcpRstfinOoo));
    assert_eq!(entry.out(RST, 4444, 0, 0), Ok(Outcome::Same));
    assert_eq!(entry.out(SYN, A, 0, 0), Ok(Outcome::Same));
    assert_eq!(entry.back(SYN | ACK, B, A1, 0), Ok(Outcome::Moved));
}

/// A SYN with another first number replaces one that nothing answered.
#[test]
fn a_syn_may_begin_again() {
    let mut entry = asked();
    assert_eq!(entry.out(SYN, 900, 0, 0), Ok(Outcome::Same));
    assert_eq!(entry.back(SYN | ACK, B, A1, 0), Err(DropReason::Tcp3whsFailed));
    assert_eq!(entry.back(SYN | ACK, B, 901, 0), Ok(Outcome::Moved));
}

/// RFC 7413: data in the SYN, acknowledged or not, repeated or not.
#[test]
fn fast_open() {
    let mut entry = Entry::default();
    entry.out(SYN, A, 0, 500).unwrap();
    entry.out(SYN, A, 0, 0).unwrap();
    let mut other = entry;
    assert_eq!(entry.back(SYN | ACK, B, A1.wrapping_add(500), 0), Ok(Outcome::Moved));
    assert_eq!(
        entry.back(ACK, B1, A1.wrapping_add(500), 700),
        Ok(Outcome::Same),
        "data before the handshake's end"
    );
    assert_eq!(entry.out(ACK, A1.wrapping_add(500), B1 + 700, 0), Ok(Outcome::Moved));
    assert_eq!(other.back(SYN | ACK, B, A1, 0), Ok(Outcome::Moved));
    assert_eq!(other.out(ACK, A1, B1, 500), Ok(Outcome::Moved));
    assert_eq!((entry.state, other.state), (State::Established, State::Established));
}

/// RFC 5961 3.2: only the exact RST counts.
#[test]
fn resets() {
    let mut entry = open();
    entry.back(ACK, B1, A1, 600).unwrap();
    for (seq, want) in [
        (B1 + 300, Ok(Outcome::Challenge)),
        (B1 + 601, Ok(Outcome::Challenge)),
        (B1 + 1001, Err(DropReason::TcpRstfinOoo)),
        (B1 - 401, Err(DropReason::TcpRstfinOoo)),
        (B.wrapping_sub(1 << 30), Err(DropReason::TcpRstfinOoo)),
    ] {
        let was = entry;
        assert_eq!((entry.back(RST, seq, 0, 0), entry), (want, was), "{seq}");
    }
    let mut other = entry;
    assert_eq!(entry.back(RST, B1 + 600, 0, 0), Ok(Outcome::Moved), "what it sent next");
    assert_eq!(other.back(RST, B1, 0, 0), Ok(Outcome::Moved), "what the initiator acknowledged last");
    assert_eq!((entry.state, other.state), (State::Reset, State::Reset));
    // RFC 7857 2.2: it was not meant so.
    assert_eq!(entry.out(ACK, A1, B1 + 600, 5), Ok(Outcome::Moved));
    assert_eq!(entry.state, State::Established);
}

/// RFC 5961 4.2: wherever a SYN is, its receiver answers with a challenge ACK; here nothing changes.
#[test]
fn syns_on_an_open_connection() {
    let mut entry = open();
    let was = entry;
    // But for the last SYN, which is kept for its answer.
    let trace = |entry: &Entry| Entry { asked: None, ..*entry };
    for seq in [A, A1, 5, 1 << 30] {
        assert_eq!(
            (entry.out(SYN, seq, 0, 0), trace(&entry)),
            (Ok(if seq == A { Outcome::Same } else { Outcome::Challenge }), was)
        );
    }
    assert_eq!((entry.back(SYN, B + 99, 0, 0), trace(&entry)), (Ok(Outcome::Challenge), was));
    assert_eq!((entry.back(SYN | ACK, B, A1, 0), trace(&entry)), (Ok(Outcome::Same), was), "sent again");
    // The initiator has begun anew: challenge, RST with the number it was told, SYN.
    assert_eq!(entry.out(SYN, 777, 0, 0), Ok(Outcome::Challenge));
    assert_eq!(entry.back(ACK, B1, A1, 0), Ok(Outcome::Same));
    assert_eq!(entry.out(RST, A1, 0, 0), Ok(Outcome::Moved));
    assert_eq!(entry.out(SYN, 777, 0, 0), Ok(Outcome::Reopen));
}

/// Both ends have lost the old connection: the answer to the very SYN that was passed on begins the new one, whoever of them asks.
#[test]
fn both_ends_begin_anew() {
    for forward in [true, false] {
        let mut entry = open();
        let scaled = |flags, seq, ack| Segment { seq, ack, window: 5000, flags, len: 0 };
        let syn = scaled(SYN, 900_000, 0);
        assert_eq!(entry.segment(&syn, &[3, 3, 5], forward), Ok(Outcome::Challenge));
        let asked = entry;
        for ack in [900_000, 900_002, A1] {
            let answer = entry.segment(&scaled(SYN | ACK, 7, ack), &[3, 3, 2], !forward);
            assert_eq!((answer, entry), (Ok(Outcome::Challenge), asked), "not the answer");
        }
        let own = entry.segment(&scaled(SYN | ACK, 7, 900_001), &[3, 3, 2], forward);
        assert_eq!((own, entry), (Ok(Outcome::Challenge), asked), "nobody answers himself");
        let answer = entry.segment(&scaled(SYN | ACK, 7, 900_001), &[3, 3, 2], !forward);
        assert_eq!((answer, entry.state), (Ok(Outcome::Moved), State::SynReceived));
        assert_eq!(entry.send(!forward, ACK, 8, 900_001, 10), Ok(Outcome::Same), "data at once");
        assert_eq!(entry.send(forward, ACK, 900_001, 7, 0), Err(DropReason::Tcp3whsFailed));
        assert_eq!(entry.send(forward, ACK, 900_001, 8, 0), Ok(Outcome::Moved));
        assert_eq!((entry.state, entry.scale), (State::Established, if forward { 0x25 } else { 0x52 }));
        assert!(entry.out(ACK, A1, B1, 0).is_err(), "the old one is over");
    }
}

#[test]
fn windows() {
    let mut entry = open();
    assert_eq!(entry.out(ACK, A1, B1, 1000), Ok(Outcome::Same));
    assert_eq!(entry.out(ACK, A1.wrapping_add(1000), B1, 1), Err(DropReason::TcpSeqPastWin));
    assert_eq!(entry.back(ACK, B1, A1.wrapping_add(1001), 0), Err(DropReason::TcpInvalidAck));
    assert_eq!(entry.back(ACK, B1, A1.wrapping_sub(65_537), 0), Err(DropReason::TcpInvalidAck));
    // Keep-alives, with and without a byte, and a probe of a window that has closed.
    entry.back(ACK, B1, A1.wrapping_add(1000), 0).unwrap();
    assert_eq!(entry.out(ACK, A1.wrapping_add(999), B1, 0), Ok(Outcome::Same));
    assert_eq!(entry.out(ACK, A1.wrapping_add(999), B1, 1), Ok(Outcome::Same));
    assert_eq!(entry.out(ACK, A1.wrapping_add(1000), B1, 1), Ok(Outcome::Same));
    assert_eq!(
        entry.out(ACK, A1.wrapping_sub(1), B1, 0),
        Err(DropReason::TcpSeqPastWin),
        "more than a window ago"
    );
    let malformed = Segment { seq: A, flags: SYN, ..Segment::default() };
    assert_eq!(entry.segment(&malformed, &[3, 9, 1], true), Err(DropReason::TcpBadOptionList));
}

#[test]
fn fins() {
    let mut entry = open();
    assert_eq!(entry.out(FIN | ACK, A1.wrapping_add(2000), B1, 0), Err(DropReason::TcpRstfinOoo));
    assert_eq!(entry.out(FIN | ACK, A1, B1, 100), Ok(Outcome::Moved));
    assert_eq!(entry.state, State::HalfClosed);
    // Nobody acknowledges a FIN that was forged, and what follows shows it.
    assert_eq!(entry.out(ACK, A1, B1, 300), Ok(Outcome::Moved));
    assert_eq!(entry.state, State::Established);
    assert_eq!(entry.out(FIN | ACK, A1.wrapping_add(300), B1, 0), Ok(Outcome::Moved));
    let end = A1.wrapping_add(301);
    assert_eq!(entry.back(ACK, B1, end, 10), Ok(Outcome::Same));
    assert_eq!(entry.out(ACK, end, B1 + 10, 1), Err(DropReason::TcpDataPastFin));
    assert_eq!(entry.out(FIN | ACK, A1.wrapping_add(300), B1 + 10, 0), Ok(Outcome::Same), "sent again");
    assert_eq!(entry.back(FIN | ACK, B1 + 10, end, 0), Ok(Outcome::Same));
    assert_eq!(entry.out(ACK, end, B1 + 11, 0), Ok(Outcome::Moved));
    assert_eq!(entry.state, State::Closed);
    assert_eq!(entry.back(FIN | ACK, B1 + 10, end, 0), Ok(Outcome::Same), "sent again");
    assert_eq!(entry.back(SYN, 1, 0, 0), Ok(Outcome::Challenge));
    assert_eq!(entry.out(SYN, 1, 0, 0), Ok(Outcome::Reopen));
}
