// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sending half of a connection: what waits for the peer's acknowledgement, how much may be under way, and when to repeat.
//!
//! NewReno (RFC 5681, RFC 6582) with an initial window of ten segments (RFC 6928), the retransmission timer of RFC 6298 with Karn's rule, probes
//! of a closed window (RFC 9293 3.8.6.1), silly windows avoided (3.8.6.2.1), and acknowledgements checked as RFC 5961 section 5 says. Without
//! Nagle: TLS records are written whole.
//!
//! The buffer grows as it is written to and is freed when all is acknowledged, so an idle connection holds none. Knows no
//! packets: [`Sender::next`] says what to send, the endpoint makes a segment of it. SACK is not used.

use super::{append, before};
use crate::Micros;

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
    duplicates: u32,
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
            duplicates: 0,
            lost: iss,
            recovers: false,
            again: false,
            probe: false,
            srtt: None,
            rto: FIRST_RTO,
            backoff: 0,
            timed: None,
            timer: None,
        }
    }

    // The handshake.

    /// What the peer's SYN says: its segment size, how its windows will be scaled, and its first, which is not.
    pub(super) fn meet(&mut self, mss: Option<u16>, scale: Option<u8>, window: u16, seq: u32) {
        self.mss = self.mss.min(mss.unwrap_or(DEFAULT_MSS)).max(LEAST_MSS);
        self.scale = scale.unwrap_or(0).min(14);
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
        self.buf.capacity()
    }

    pub(super) fn has_room(&self) -> bool {
        !self.fin && self.waiting() < self.most
    }

    /// Takes as much as there is room for.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = if self.fin { 0 } else { bytes.len().min(self.most - self.waiting()) };
        if self.buf.len() + taken > self.buf.capacity() && self.start > 0 {
            self.buf.drain(..self.start);
            self.start = 0;
        }
        append(&mut self.buf, &bytes[..taken], self.most);
        taken
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
        let waiting = self.waiting();
        if std::mem::take(&mut self.again) && self.una != self.max {
            let len = waiting.min(self.mss.into()).min(self.flight() as usize);
            let fin = len == waiting && self.flight() as usize > waiting;
            self.timed = None;
            self.start_timer(now);
            return Some(Chunk { seq: self.una, offset: 0, len, fin });
        }
        let sent = self.nxt.wrapping_sub(self.una) as usize;
        if sent > waiting || self.fin_acked {
            return None;
        }
        let unsent = waiting - sent;
        let usable = (self.cwnd.min(self.window) as usize).saturating_sub(sent);
        let mut len = unsent.min(self.mss.into()).min(usable);
        if len < unsent && len < usize::from(self.mss) && sent > 0 && len < self.max_window as usize / 2 {
            len = 0;
        }
        let mut fin = self.fin && len == unsent;
        if len == 0 && !fin {
            if unsent > 0 && self.probe {
                (len, fin) = (1, self.fin && unsent == 1);
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
        self.nxt = end;
        if before(self.max, end) {
            self.max = end;
        }
        if self.timer.is_none() {
            self.start_timer(now);
        }
        Some(chunk)
    }

    /// Whether [`Self::next`] would have something.
    pub(super) fn is_ready(&self) -> bool {
        let (waiting, sent) = (self.waiting(), self.nxt.wrapping_sub(self.una) as usize);
        let usable = self.cwnd.min(self.window) as usize;
        !self.fin_acked && sent < waiting && usable >= sent + (waiting - sent).min(self.mss.into())
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
            // A closed window is no congestion.
            if self.window > 0 {
                if self.backoff == 1 {
                    self.ssthresh = (self.flight() / 2).max(2 * u32::from(self.mss));
                }
                self.cwnd = self.mss.into();
            }
            (self.nxt, self.lost) = (self.una, self.max);
            (self.recovers, self.again, self.duplicates, self.timed) = (false, false, 0, None);
        }
        self.start_timer(now);
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
        } else if it.ack == self.una
            && !it.carries
            && window == self.window
            && window > 0
            && self.una != self.max
        {
            self.duplicate();
        }
        let (seq, ack) = self.told;
        if !before(it.ack, self.una) && (before(seq, it.seq) || (seq == it.seq && !before(it.ack, ack))) {
            if self.window == 0 && window > 0 {
                self.backoff = 0;
            }
            (self.window, self.told) = (window, (it.seq, it.ack));
            self.max_window = self.max_window.max(window);
        }
        true
    }

    fn advance(&mut self, ack: u32, now: Micros) {
        let n = ack.wrapping_sub(self.una);
        let data = (n as usize).min(self.waiting());
        self.fin_acked = self.fin && n as usize > self.waiting();
        self.start += data;
        if self.waiting() == 0 {
            (self.buf, self.start) = (Vec::new(), 0);
        }
        self.una = ack;
        if before(self.nxt, ack) {
            self.nxt = ack;
        }
        self.measure(ack, now);
        (self.backoff, self.duplicates) = (0, 0);
        let mss = u32::from(self.mss);
        if self.recovers && !before(ack, self.lost) {
            self.recovers = false;
            self.cwnd = self.ssthresh.min(self.flight().max(mss) + mss);
        } else if self.recovers {
            // A partial acknowledgement: the next segment is lost too.
            self.again = true;
            self.cwnd = self.cwnd.saturating_sub(n).max(mss).saturating_add(mss);
        } else if self.cwnd < self.ssthresh {
            self.cwnd = self.cwnd.saturating_add(n.min(mss));
        } else {
            self.cwnd = self.cwnd.saturating_add((mss * mss / self.cwnd.max(1)).max(1));
        }
        self.timer = None;
        if self.una != self.max {
            self.start_timer(now);
        }
    }

    fn duplicate(&mut self) {
        self.duplicates += 1;
        let mss = u32::from(self.mss);
        if self.recovers {
            self.cwnd = self.cwnd.saturating_add(mss);
        } else if self.duplicates == DUPLICATES && !before(self.una, self.lost) {
            self.ssthresh = (self.flight() / 2).max(2 * mss);
            self.cwnd = self.ssthresh + DUPLICATES * mss;
            (self.lost, self.recovers, self.again) = (self.max, true, true);
        }
    }
}
