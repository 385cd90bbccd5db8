// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the inlined part of [`super::segment`] leaves over: handshakes, FINs, RSTs, and every segment that will be dropped.
//!
//! Handshake: an acknowledgement must be the exact one before anything counts as open, so it cannot be forged from off
//! the path. The responder may answer a SYN by its own SYN (simultaneous open, RFC 5382 REQ-2), or by a bare ACK where it
//! still has an older connection on this tuple (RFC 5961 4): the initiator's RST that answers that ACK is let through, so that the two can
//! begin anew. Data in SYNs (RFC 7413) counts by its length.
//!
//! FINs: one counts where nothing was sent past it, and until it is acknowledged later data shows that it was forged and takes it back.
//! Worker cores, not for plain data.

use super::{ACK, FIN, Fit, Outcome, RST, SYN, Segment, State, SynOptions, Track, Windows};
use super::{data_bit, later, options, seen};
use fedgate_tables::drops::DropReason;

/// No window scale offered.
pub(super) const NO_SCALE: u8 = 15;

type Verdict = Result<Outcome, DropReason>;

/// See [`super::segment`].
#[cold]
#[inline(never)]
pub(super) fn segment(track: &mut Track<'_>, s: &Segment, syn_options: &[u8], forward: bool) -> Verdict {
    let before = *track.state;
    let offered = match s.flags & SYN {
        0 => SynOptions::default(),
        _ => options(syn_options).map_err(|_| DropReason::TcpBadOptionList)?,
    };
    let from = usize::from(!forward);
    let verdict = match (before, *track.history & seen::BOTH_SYNS != 0) {
        (State::Closed | State::Reset, _) if forward && s.flags & (SYN | ACK) == SYN => Ok(Outcome::Reopen),
        (_, true) => synchronized(track, s, &offered, from),
        (_, false) if forward => initiator(track, s, &offered),
        (_, false) => responder(track, s, &offered),
    };
    match verdict {
        Ok(Outcome::Same) if *track.state != before => Ok(Outcome::Moved),
        other => other,
    }
}

/// The initiator before its responder's SYN: it can repeat its SYN, or give up.
fn initiator(track: &mut Track<'_>, s: &Segment, offered: &SynOptions) -> Verdict {
    let w = &mut *track.windows;
    if s.flags & RST != 0 {
        return match s.seq {
            seq if seq == w.end[0] => {
                *track.state = State::Reset;
                Ok(Outcome::Same)
            }
            // Answers the responder's challenge about an older connection.
            seq if seq == w.ack[0] => Ok(Outcome::Same),
            _ => Err(DropReason::TcpRstfinOoo),
        };
    }
    if s.flags & (SYN | ACK) != SYN {
        return Err(DropReason::Tcp3whsFailed);
    }
    // The same SYN sent again takes nothing back, not even with fewer options or without its data (RFC 7413 4.2).
    let again = w.win[0] != 0 && w.ack[1] == s.seq;
    if !again {
        *w = Windows { end: [s.seq, 0], ack: [s.seq.wrapping_add(1), s.seq], win: [0; 2] };
        *track.scale = NO_SCALE << 4 | NO_SCALE;
    }
    w.end[0] = later(w.end[0], end_of(s));
    w.win[0] = w.win[0].max(s.window).max(1);
    *track.scale = NO_SCALE << 4 | offered.scale.unwrap_or(*track.scale & 15);
    *track.history |= data_bit(0, s.len);
    Ok(Outcome::Same)
}

/// The responder's first answer.
fn responder(track: &mut Track<'_>, s: &Segment, offered: &SynOptions) -> Verdict {
    let acks = s.flags & ACK != 0;
    let exact = acks && acknowledges_syn(track.windows, 1, s.ack);
    match s.flags & (SYN | RST | FIN) {
        RST if exact => {
            *track.state = State::Reset;
            Ok(Outcome::Same)
        }
        RST => Err(DropReason::TcpRstfinOoo),
        SYN if exact || !acks => {
            let overtook = track.windows.win[1];
            answer(track, s, offered);
            track.windows.win[1] = track.windows.win[1].max(overtook);
            *track.history |= seen::BOTH_SYNS;
            *track.state = State::SynReceived;
            Ok(Outcome::Same)
        }
        // Of an older connection on this tuple; or it has overtaken the SYN, and what it offers holds once that is here.
        0 if acks && s.len == 0 => {
            track.windows.ack[0] = s.ack;
            if exact {
                track.windows.win[1] = track.windows.win[1].max(s.window);
            }
            Ok(Outcome::Challenge)
        }
        _ => Err(DropReason::Tcp3whsFailed),
    }
}

/// Takes over the responder's SYN, with or without ACK. Windows in SYNs are not shifted, later ones are.
fn answer(track: &mut Track<'_>, s: &Segment, offered: &SynOptions) {
    let w = &mut *track.windows;
    let before = shifts(*track.scale) & 15;
    *track.scale = *track.scale & 15 | offered.scale.unwrap_or(NO_SCALE) << 4;
    let now = shifts(*track.scale);
    let bytes = u32::from(w.win[0]) << before;
    w.win[0] = bytes.div_ceil(1 << (now & 15)).min(u32::from(u16::MAX)) as u16;
    w.win[1] = s.window.max(1).div_ceil(1 << (now >> 4));
    w.end[1] = end_of(s);
    w.ack[0] = s.seq;
    if s.flags & ACK != 0 {
        w.ack[1] = s.ack;
        *track.history |= seen::SYN_ACK;
    }
    *track.history = *track.history & !seen::FIN_RESPONDER | data_bit(1, s.len);
}

/// The shifts in force: none, unless both sides offered one.
pub(super) fn shifts(scale: u8) -> u8 {
    if scale & 15 == NO_SCALE || scale >> 4 == NO_SCALE { 0 } else { scale }
}

/// A SYN sent again may offer another window. It is not shifted.
fn book_syn_window(track: &mut Track<'_>, s: &Segment, from: usize) {
    let shift = shifts(*track.scale) >> (4 * from) & 15;
    let win = &mut track.windows.win[from];
    *win = (*win).max(s.window.div_ceil(1 << shift));
}

/// Both sides' windows are known.
fn synchronized(track: &mut Track<'_>, s: &Segment, offered: &SynOptions, from: usize) -> Verdict {
    let to = from ^ 1;
    let acked_syn = [seen::ACK_INITIATOR, seen::SYN_ACK];
    let end = end_of(s);
    let fit = Fit::new(track.windows, shifts(*track.scale), from, end, s.ack);
    let in_window = fit.room | fit.fresh >= 0;
    let acks_fit = fit.sent | fit.recent >= 0;

    if s.flags & SYN != 0 {
        let repeats = in_window && !is_later(end, track.windows.end[from]);
        if s.flags & ACK == 0 {
            if !repeats {
                return Ok(Outcome::Challenge);
            }
            book_syn_window(track, s, from);
            return Ok(Outcome::Same);
        }
        if !(repeats && acks_fit) {
            // A responder that keeps no state (RFC 4987 3.6) may begin at another number each time it is asked; and a bare SYN before
            // this one may have been anybody's.
            let unheard = *track.history & seen::ACK_INITIATOR == 0;
            let exact = match *track.history & seen::SYN_ACK {
                0 => acknowledges_syn(track.windows, 1, s.ack),
                _ => s.ack == track.windows.ack[1],
            };
            if from == 1 && unheard && exact {
                answer(track, s, offered);
                return Ok(Outcome::Same);
            }
            return Ok(Outcome::Challenge);
        }
    }
    if s.flags & RST != 0 {
        if !in_window {
            return Err(DropReason::TcpRstfinOoo);
        }
        if s.seq != track.windows.end[from] && s.seq != track.windows.ack[to] {
            return Ok(Outcome::Challenge);
        }
        // What answers a straggler after the end adds nothing to it.
        if *track.state != State::Closed {
            *track.state = State::Reset;
        }
        return Ok(Outcome::Same);
    }
    if !in_window {
        let fin = s.flags & FIN != 0;
        return Err(if fin { DropReason::TcpRstfinOoo } else { DropReason::TcpSeqPastWin });
    }
    if s.flags & ACK == 0 || !acks_fit {
        return Err(DropReason::TcpInvalidAck);
    }
    if *track.history & acked_syn[from] == 0 && !acknowledges_syn(track.windows, from, s.ack) {
        return Err(DropReason::Tcp3whsFailed);
    }
    let fin = seen::FIN_INITIATOR << from;
    if *track.history & fin != 0 && is_later(end, track.windows.end[from]) {
        if track.windows.ack[to] == track.windows.end[from] {
            return Err(DropReason::TcpDataPastFin);
        }
        *track.history &= !fin;
    }

    *track.history |= acked_syn[from] | data_bit(from, s.len);
    if is_open(*track.history) {
        *track.scale = shifts(*track.scale);
    }
    if s.flags & SYN != 0 {
        book_syn_window(track, s, from);
        track.windows.book(from, end, &Segment { window: 0, ..*s });
    } else {
        track.windows.book(from, end, s);
    }
    if s.flags & FIN != 0 && end == track.windows.end[from] {
        *track.history |= fin;
    }
    *track.state = stands(*track.history, track.windows);
    Ok(Outcome::Same)
}

/// The state of a connection with both SYNs seen.
fn stands(history: u8, w: &Windows) -> State {
    match [seen::FIN_INITIATOR, seen::FIN_RESPONDER].map(|fin| history & fin != 0) {
        _ if !is_open(history) => State::SynReceived,
        [true, true] if w.ack[1] == w.end[0] && w.ack[0] == w.end[1] => State::Closed,
        [false, false] => State::Established,
        _ => State::HalfClosed,
    }
}

/// Both SYNs were acknowledged.
fn is_open(history: u8) -> bool {
    history & (seen::SYN_ACK | seen::ACK_INITIATOR) == seen::SYN_ACK | seen::ACK_INITIATOR
}

/// Whether `ack` acknowledges the other side's SYN, and nothing that it did not send, while `side` has acknowledged nothing.
fn acknowledges_syn(w: &Windows, side: usize, ack: u32) -> bool {
    let sent = w.end[side ^ 1].wrapping_sub(w.ack[side]);
    (1..=sent).contains(&ack.wrapping_sub(w.ack[side]))
}

/// One past the last sequence number of a segment.
pub(super) fn end_of(s: &Segment) -> u32 {
    let controls = u32::from(s.flags & SYN != 0) + u32::from(s.flags & FIN != 0);
    s.seq.wrapping_add(u32::from(s.len)).wrapping_add(controls)
}

fn is_later(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}
