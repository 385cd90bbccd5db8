// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sending half of a connection: what waits for the peer's acknowledgement, how much may be under way, and when to repeat.
//!
//! Losses are repaired by selective acknowledgements where the peer gives them ([`repair`], RFC 6675), by NewReno where it does not (RFC 6582). The
//! congestion window is RFC 5681's, with ten segments at first (RFC 6928), counted in bytes (RFC 3465), grown only while it is used, and begun anew
//! after a pause. The retransmission timer is RFC 6298's with Karn's rule. Closed windows are probed (RFC 9293 3.8.6.1), silly ones avoided
//! (3.8.6.2.1), acknowledgements checked as RFC 5961 section 5 says. Without Nagle: TLS records are written whole.
//!
//! A path that takes less than its links: what routers say of it ([`Sender::too_big`], RFC 1191), and where they say nothing, smaller segments
//! once large ones have been lost again and again ([`BLACK_HOLE`]). A segment size is never raised again.
//!
//! The buffer grows as it is written to and is freed when all is acknowledged, so an idle connection holds none. Knows no
//! packets: [`Sender::next`] says what to send, the endpoint makes a segment of it.

use super::before;
use super::board::Board;
use super::segment::Offer;
use crate::Micros;

mod repair;

/// First and least retransmission timeout, and the largest (RFC 6298, but for the least, which is everybody's).
const FIRST_RTO: u64 = 1_000_000;
const LEAST_RTO: u64 = 200_000;
const MOST_RTO: u64 = 60_000_000;
/// Segments in the initial congestion window.
const INITIAL_SEGMENTS: u32 = 10;
/// Segment size of a peer that names none (RFC 9293 3.7.1), and the least that is believed.
const DEFAULT_MSS: u16 = 536;
const LEAST_MSS: u16 = 64;
/// Duplicate acknowledgements that mean a loss.
const DUPLICATES: u32 = 3;
/// Timeouts in a row after which segments are to be no larger than that: of so many lost each time, one would have come through.
const BLACK_HOLE: [(u32, u16); 2] = [(3, 1200), (5, DEFAULT_MSS)];
/// What a buffer grows by, at least: a record of TLS.
const STEP: usize = 16 << 10;

/// A segment to send: `len` bytes of the buffer from `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) seq: u32,
    pub(super) offset: usize,
    pub(super) len: usize,
    pub(super) fin: bool,
}

/// What an acknowledgement comes with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ack {
    pub(super) seq: u32,
    pub(super) ack: u32,
    /// As in the segment, not scaled.
    pub(super) window: u16,
    /// It carries data or a FIN.
    pub(super) carries: bool,
    /// It says that something beyond its acknowledgement is there, of which nothing was known ([`Sender::note`]).
    pub(super) news: bool,
}

#[derive(Debug)]
pub(super) struct Sender {
    /// From `una` on, behind `start` bytes that are acknowledged and not moved away yet.
    buf: Vec<u8>,
    start: usize,
    most: usize,
    /// Oldest unacknowledged, next to send, and one past all that was ever sent.
    una: u32,
    nxt: u32,
    max: u32,
    /// A FIN follows the buffer; it is acknowledged.
    fin: bool,
    fin_acked: bool,
    mss: u16,
    scale: u8,
    /// The peer's window, the largest it had, and the segment that told.
    window: u32,
    max_window: u32,
    told: (u32, u32),
    cwnd: u32,
    ssthresh: u32,
    /// Acknowledged since the window last grew (RFC 3465).
    counted: u32,
    duplicates: u32,
    /// The peer acknowledges selectively; what it said; the next number to repeat while a loss is repaired.
    sacks: bool,
    board: Board,
    repeated: u32,
    /// End of what was under way at the last loss, and whether that is still being repaired by fast retransmit.
    lost: u32,
    recovers: bool,
    /// Send the segment at `una` again.
    again: bool,
    /// May send one byte whatever the window.
    probe: bool,
    /// Smoothed round trip and its variation.
    srtt: Option<(u64, u64)>,
    rto: u64,
    backoff: u32,
    /// The segment whose round trip is taken, by its end.
    timed: Option<(u32, Micros)>,
    timer: Option<Micros>,
    /// When something was last sent.
    last: Micros,
}

impl Sender {
    /// Begins at sequence number `iss`, with a buffer of at most `most` bytes. `mss` is what our own MTU allows.
    pub(super) fn new(iss: u32, mss: u16, most: usize) -> Self {
        Self {
            buf: Vec::new(),
            start: 0,
            most,
            una: iss,
            nxt: iss,
            max: iss,
            fin: false,
            fin_acked: false,
            mss,
            scale: 0,
            window: 0,
            max_window: 0,
            told: (0, 0),
            cwnd: 0,
            ssthresh: u32::MAX,
            counted: 0,
            duplicates: 0,
            sacks: false,
            board: Board::default(),
            repeated: iss,
            lost: iss,
            recovers: false,
            again: false,
            probe: false,
            srtt: None,
            rto: FIRST_RTO,
            backoff: 0,
            timed: None,
            timer: None,
            last: Micros(0),
        }
    }

    // The handshake.

    /// What the peer's SYN says of it, and its first window, which is not scaled.
    pub(super) fn meet(&mut self, offer: Offer, window: u16, seq: u32) {
        self.mss = self.mss.min(offer.mss.unwrap_or(DEFAULT_MSS)).max(LEAST_MSS);
        self.scale = offer.scale.unwrap_or(0).min(14);
        self.sacks = offer.sacks;
        self.cwnd = INITIAL_SEGMENTS * u32::from(self.mss);
        (self.window, self.max_window, self.told) = (window.into(), window.into(), (seq, self.una));
    }

    /// Our SYN goes out, for the first time or again; its number.
    pub(super) fn syn(&mut self, now: Micros) -> u32 {
        self.nxt = self.una.wrapping_add(1);
        self.timed = (self.max == self.una).then_some((self.nxt, now));
        self.max = self.nxt;
        self.start_timer(now);
        self.una
    }

    /// Whether this acknowledges our SYN and nothing else.
    pub(super) fn is_of_syn(&self, ack: u32) -> bool {
        self.max != self.una && ack == self.max
    }

    /// It does.
    pub(super) fn syn_acked(&mut self, now: Micros) {
        self.una = self.max;
        self.lost = self.una;
        self.told.1 = self.una;
        self.measure(self.una, now);
        (self.backoff, self.timer) = (0, None);
    }

    // The buffer.

    pub(super) fn una(&self) -> u32 {
        self.una
    }

    /// The number of a segment without data.
    pub(super) fn max(&self) -> u32 {
        self.max
    }

    /// Bytes that the peer has not acknowledged, sent or not.
    pub(super) fn waiting(&self) -> usize {
        self.buf.len() - self.start
    }

    pub(super) fn held(&self) -> usize {
        self.buf.capacity() + self.board.held()
    }

    /// The largest segment that is sent.
    #[cfg(test)]
    pub(super) fn mss(&self) -> u16 {
        self.mss
    }

    pub(super) fn has_room(&self) -> bool {
        !self.fin && self.waiting() < self.most
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn room(&self) -> usize {
        if self.fin { 0 } else { self.most.saturating_sub(self.waiting()) }
    }

    /// The buffer with room for `len` bytes more, which are to be appended; `None` behind a FIN.
    pub(super) fn lend(&mut self, len: usize) -> Option<&mut Vec<u8>> {
        if self.fin {
            return None;
        }
        if self.buf.len() + len > self.buf.capacity() && self.start > 0 {
            self.buf.drain(..self.start);
            self.start = 0;
        }
        let step = if len > usize::from(self.mss) { STEP } else { 0 };
        super::reserve(&mut self.buf, len, step, self.most);
        Some(&mut self.buf)
    }

    /// The bytes of a chunk.
    pub(super) fn bytes(&self, chunk: &Chunk) -> &[u8] {
        &self.buf[self.start + chunk.offset..][..chunk.len]
    }

    /// A FIN goes after what is written.
    pub(super) fn finish(&mut self) {
        self.fin = true;
    }

    pub(super) fn is_finished(&self) -> bool {
        self.fin
    }

    pub(super) fn fin_acked(&self) -> bool {
        self.fin_acked
    }

    // Sending.

    fn flight(&self) -> u32 {
        self.max.wrapping_sub(self.una)
    }

    /// What may be sent now.
    pub(super) fn next(&mut self, now: Micros) -> Option<Chunk> {
        if self.una == self.max && now.since(self.last) > self.rto {
            // RFC 5681 4.1: what the network took before the pause says little.
            self.cwnd = self.cwnd.min(INITIAL_SEGMENTS * u32::from(self.mss));
        }
        if std::mem::take(&mut self.again) && self.una != self.max {
            return Some(self.repeat(self.una, self.max, now));
        }
        if self.is_by_board() {
            return self.next_by_board(now);
        }
        self.skip_held();
        let sent = self.nxt.wrapping_sub(self.una);
        // Two segments on the first two duplicates (RFC 3042), so that there may be a third.
        let early = if self.recovers { 0 } else { self.duplicates.min(2) * u32::from(self.mss) };
        let allowed = (self.cwnd + early).saturating_sub(sent - self.board.held_before(self.una, self.nxt));
        self.fresh(allowed, now)
    }

    /// The next of what was not sent yet, or is sent again from the start, where `allowed` bytes are: none is sent only because it would be
    /// a small part.
    fn fresh(&mut self, allowed: u32, now: Micros) -> Option<Chunk> {
        let waiting = self.waiting();
        let sent = self.nxt.wrapping_sub(self.una) as usize;
        if sent > waiting || self.fin_acked {
            return None;
        }
        let gap = self.board.next_held(self.una, self.nxt).map(|at| at.wrapping_sub(self.nxt) as usize);
        let unsent = (waiting - sent).min(gap.unwrap_or(usize::MAX));
        let usable = (self.window as usize).saturating_sub(sent).min(allowed as usize);
        let mut len = unsent.min(self.mss.into()).min(usable);
        if len < unsent && len < usize::from(self.mss) && sent > 0 && len < self.max_window as usize / 2 {
            len = 0;
        }
        let mut fin = self.fin && sent + len == waiting;
        if len == 0 && !fin {
            if unsent > 0 && self.probe {
                (len, fin) = (1, self.fin && sent + 1 == waiting);
            } else {
                if unsent > 0 && self.timer.is_none() {
                    self.start_timer(now);
                }
                return None;
            }
        }
        self.probe = false;
        let chunk = Chunk { seq: self.nxt, offset: sent, len, fin };
        let end = self.nxt.wrapping_add(len as u32 + u32::from(fin));
        if self.nxt == self.max && self.timed.is_none() {
            self.timed = Some((end, now));
        }
        (self.nxt, self.last) = (end, now);
        if before(self.max, end) {
            self.max = end;
        }
        if self.timer.is_none() {
            self.start_timer(now);
        }
        Some(chunk)
    }

    /// The segment that begins at `from` once more, as far as `to`.
    fn repeat(&mut self, from: u32, to: u32, now: Micros) -> Chunk {
        let (waiting, offset) = (self.waiting(), from.wrapping_sub(self.una) as usize);
        let to = self.board.next_held(self.una, from).filter(|held| before(*held, to)).unwrap_or(to);
        let upto = to.wrapping_sub(self.una) as usize;
        let len = (upto.min(waiting) - offset.min(waiting)).min(self.mss.into());
        let fin = upto > waiting && offset + len == waiting;
        self.repeated = from.wrapping_add(len as u32 + u32::from(fin));
        (self.timed, self.last) = (None, now);
        self.start_timer(now);
        Chunk { seq: from, offset, len, fin }
    }

    // Time.

    fn start_timer(&mut self, now: Micros) {
        self.timer = Some(now.after((self.rto << self.backoff.min(10)).min(MOST_RTO)));
    }

    pub(super) fn timer(&self) -> Option<Micros> {
        self.timer
    }

    /// Whether the retransmission timer has run out; what has to be repeated is due then.
    pub(super) fn expired(&mut self, now: Micros) -> bool {
        if self.timer.is_none_or(|at| at > now) {
            return false;
        }
        self.backoff += 1;
        self.probe = true;
        if self.una != self.max {
            let whole = self.window > 0 && self.flight() >= u32::from(self.mss);
            if let Some((_, mss)) = BLACK_HOLE.iter().find(|(after, _)| whole && self.backoff == *after) {
                self.mss = self.mss.min(*mss);
            }
            // A closed window is no congestion.
            if self.window > 0 {
                if self.backoff == 1 {
                    self.ssthresh = (self.flight() / 2).max(2 * u32::from(self.mss));
                }
                self.cwnd = self.mss.into();
            }
            (self.nxt, self.lost) = (self.una, self.max);
            (self.recovers, self.again, self.duplicates, self.timed) = (false, false, 0, None);
            self.doubt();
        }
        self.start_timer(now);
        true
    }

    /// A router could not pass on a packet of ours with this sequence number, and takes `mss` bytes in one. True when something has to be sent
    /// again for it. Only what is under way can have met a router (RFC 5927 4.1).
    pub(super) fn too_big(&mut self, seq: u32, mss: u16) -> bool {
        let is_under_way = !before(seq, self.una) && before(seq, self.max);
        let mss = mss.max(LEAST_MSS);
        if !is_under_way || mss >= self.mss || self.cwnd == 0 {
            return false;
        }
        // No congestion (RFC 1191 6.5): the window stays as it is, in bytes.
        self.mss = mss;
        (self.nxt, self.lost, self.recovers, self.timed) = (self.una, self.max, false, None);
        true
    }

    /// A round trip, if one is taken and this acknowledges its segment.
    fn measure(&mut self, ack: u32, now: Micros) {
        let Some((end, sent)) = self.timed else { return };
        if before(ack, end) {
            return;
        }
        self.timed = None;
        let took = now.since(sent);
        let (srtt, var) = match self.srtt {
            None => (took, took / 2),
            Some((srtt, var)) => ((7 * srtt + took) / 8, (3 * var + srtt.abs_diff(took)) / 4),
        };
        self.srtt = Some((srtt, var));
        self.rto = (srtt + 4 * var).clamp(LEAST_RTO, MOST_RTO);
    }

    // Acknowledgements.

    /// Takes one in; false when it is of what was never sent, or far too old: it is to be answered, and its segment dropped.
    pub(super) fn acked(&mut self, it: Ack, now: Micros) -> bool {
        if before(self.max, it.ack) || before(it.ack, self.una.wrapping_sub(self.max_window)) {
            return false;
        }
        let window = u32::from(it.window) << self.scale;
        if before(self.una, it.ack) {
            self.advance(it.ack, now);
        } else if it.ack == self.una && self.una != self.max {
            let repeats = !it.carries && window == self.window && window > 0;
            let counts = if self.sacks { it.news } else { repeats };
            if counts {
                self.duplicate();
            }
        }
        if self.sacks {
            self.look_for_loss();
        }
        let (seq, ack) = self.told;
        if !before(it.ack, self.una) && (before(seq, it.seq) || (seq == it.seq && !before(it.ack, ack))) {
            if self.window == 0 && window > 0 {
                self.opened(now);
            }
            (self.window, self.told) = (window, (it.seq, it.ack));
            self.max_window = self.max_window.max(window);
        }
        true
    }

    /// A window that was closed opens. What had probed it found no place there, so that goes first again, and not only when the timer says so,
    /// which may be a minute by now.
    fn opened(&mut self, now: Micros) {
        self.backoff = 0;
        if self.una != self.max {
            (self.nxt, self.lost, self.recovers, self.timed) = (self.una, self.max, false, None);
            self.start_timer(now);
        }
    }

    fn advance(&mut self, ack: u32, now: Micros) {
        let n = ack.wrapping_sub(self.una);
        let data = (n as usize).min(self.waiting());
        self.fin_acked = self.fin && n as usize > self.waiting();
        self.start += data;
        if self.waiting() == 0 {
            (self.buf, self.start) = (Vec::new(), 0);
        }
        let flight = self.flight();
        self.una = ack;
        self.board.advance(ack);
        if before(self.nxt, ack) {
            self.nxt = ack;
        }
        self.measure(ack, now);
        (self.backoff, self.duplicates) = (0, 0);
        let mss = u32::from(self.mss);
        if self.recovers && !before(ack, self.lost) {
            self.recovers = false;
            self.cwnd = self.ssthresh.min(self.flight().max(mss) + mss);
        } else if self.recovers && !self.sacks {
            // A partial acknowledgement: the next segment is lost too.
            self.again = true;
            self.cwnd = self.cwnd.saturating_sub(n).max(mss).saturating_add(mss);
        } else if !self.recovers && flight >= self.cwnd / 2 {
            self.grow(n, mss);
        }
        self.timer = None;
        if self.una != self.max {
            self.start_timer(now);
        }
    }

    /// The congestion window, after `n` bytes were acknowledged: by as much, two segments at most, below the threshold; else by one when a whole
    /// window has been.
    fn grow(&mut self, n: u32, mss: u32) {
        if self.cwnd < self.ssthresh {
            self.cwnd = self.cwnd.saturating_add(n.min(2 * mss));
            return;
        }
        self.counted = self.counted.saturating_add(n);
        if self.counted >= self.cwnd {
            self.counted -= self.cwnd;
            self.cwnd = self.cwnd.saturating_add(mss);
        }
    }

    fn duplicate(&mut self) {
        self.duplicates += 1;
        let mss = u32::from(self.mss);
        if self.sacks {
            return;
        }
        if self.recovers {
            self.cwnd = self.cwnd.saturating_add(mss);
        } else if self.duplicates == DUPLICATES && !before(self.una, self.lost) {
            self.ssthresh = (self.flight() / 2).max(2 * mss);
            self.cwnd = self.ssthresh + DUPLICATES * mss;
            (self.lost, self.recovers, self.again) = (self.max, true, true);
        }
    }
}
