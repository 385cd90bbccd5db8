// SPDX-License-Identifier: MIT OR Apache-2.0
//! The receiving half of a connection: what came in order and is not read, what came early, and the window.
//!
//! Buffers grow with what comes and are freed when it is read, so an idle connection holds none. The window is never taken back
//! (RFC 9293 3.8.6.2.2); where there is no memory for a segment it is not taken, and not acknowledged, which any receiver may do. What
//! comes early is kept, in order, in at most [`PIECES`] pieces inside the window, and told to a peer that understands (RFC 2018).
//!
//! Acknowledgements wait [`ACK_DELAY`] for company (RFC 5681 4.2), but not for a second whole segment's worth, nor where a gap begins, is or ends,
//! nor where the last one has waited in vain: whoever is answered elsewhere, or later, is told at once, until something goes its way in time again.

use super::segment::BLOCKS;
use super::{append, before};
use crate::Micros;

/// Pieces that are kept ahead of a gap.
const PIECES: usize = 32;
/// What a buffer grows by where more is to be expected: a record of TLS and the segment it ends in.
const STEP: usize = 18 << 10;
/// How long an acknowledgement waits for something to go with; RFC 1122 has half a second, other systems this.
const ACK_DELAY: u64 = 40_000;

#[derive(Debug)]
pub(super) struct Receiver {
    /// In order and not read, behind `start` bytes that are.
    buf: Vec<u8>,
    start: usize,
    most: usize,
    /// Next expected, and the end of what we have said that we take.
    nxt: u32,
    edge: u32,
    /// `None` when the peer cannot scale windows.
    scale: Option<u8>,
    mss: u16,
    /// The peer understands selective acknowledgements.
    sacks: bool,
    /// By sequence number, each beyond `nxt`; they may overlap. The one that changed last.
    early: Vec<(u32, Vec<u8>)>,
    latest: u32,
    /// Acknowledged so far, the largest segment that came, and when what is not acknowledged has to be.
    told: u32,
    largest: u16,
    ack_by: Option<Micros>,
    /// The last that waited did so in vain; and when something last came.
    alone: bool,
    heard: Micros,
    /// Where the peer's FIN stands, once it is known.
    fin: Option<u32>,
    ended: bool,
}

impl Receiver {
    /// For a window of `most` bytes. `mss` is what we offer.
    pub(super) fn new(most: usize, mss: u16) -> Self {
        let mut scale = 0;
        while most >> scale > usize::from(u16::MAX) && scale < 14 {
            scale += 1;
        }
        Self {
            buf: Vec::new(),
            start: 0,
            most,
            nxt: 0,
            edge: 0,
            scale: Some(scale),
            mss,
            sacks: false,
            early: Vec::new(),
            latest: 0,
            told: 0,
            largest: 0,
            ack_by: None,
            alone: false,
            heard: Micros(0),
            fin: None,
            ended: false,
        }
    }

    /// The peer's SYN has number `irs`; `scales` if it can scale windows, `sacks` if it understands selective acknowledgements.
    pub(super) fn meet(&mut self, irs: u32, scales: bool, sacks: bool) {
        (self.nxt, self.edge) = (irs.wrapping_add(1), irs.wrapping_add(1));
        (self.sacks, self.told) = (sacks, self.nxt);
        if !scales {
            self.scale = None;
            self.most = self.most.min(u16::MAX.into());
        }
    }

    /// What windows are scaled by, for a SYN.
    pub(super) fn scale(&self) -> Option<u8> {
        self.scale
    }

    /// The segment size that we offer.
    pub(super) fn mss(&self) -> u16 {
        self.mss
    }

    pub(super) fn nxt(&self) -> u32 {
        self.nxt
    }

    /// The peer's FIN has come, and everything before it.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    pub(super) fn held(&self) -> usize {
        self.buf.capacity() + self.early.iter().map(|(_, bytes)| bytes.capacity()).sum::<usize>()
    }

    /// Bytes that can be read.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buf[self.start..]
    }

    /// The same, to be changed where they are.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buf[self.start..]
    }

    /// They have been read, so many of them.
    pub(super) fn consume(&mut self, len: usize) {
        self.start += len;
        if self.start >= self.buf.len() {
            (self.buf, self.start) = (Vec::new(), 0);
        }
    }

    /// The end of the window as it could be.
    fn possible(&self) -> u32 {
        self.nxt.wrapping_add(self.most.saturating_sub(self.bytes().len()) as u32)
    }

    /// The window field of a segment that goes out now; `plain` in a SYN.
    pub(super) fn offer(&mut self, plain: bool) -> u16 {
        let possible = self.possible();
        let step = (self.most / 2).min(self.mss.into()) as u32;
        if !before(possible, self.edge.wrapping_add(step)) {
            self.edge = possible;
        }
        let scale = if plain { 0 } else { self.scale.unwrap_or(0) };
        u16::try_from(self.edge.wrapping_sub(self.nxt) >> scale).unwrap_or(u16::MAX)
    }

    /// The peer should hear of a window that has opened.
    pub(super) fn owes_window(&self) -> bool {
        let (left, possible) = (self.edge.wrapping_sub(self.nxt) as usize, self.possible());
        let step = (self.most / 2).min(2 * usize::from(self.mss)) as u32;
        !self.ended && left < self.most / 2 && !before(possible, self.edge.wrapping_add(step))
    }

    /// Whether any of a segment of `len` numbers lies in the window (RFC 9293 3.10.7.4).
    pub(super) fn is_in_window(&self, seq: u32, len: u32) -> bool {
        let starts_in = !before(seq, self.nxt) && before(seq, self.edge);
        match (len, self.edge == self.nxt) {
            (0, true) => seq == self.nxt,
            // At the edge as well: so is what comes behind data that was lost.
            (0, false) => starts_in || seq == self.edge,
            // Nothing of it can be taken, but what it acknowledges counts.
            (_, true) => seq == self.nxt,
            (_, false) => {
                let last = seq.wrapping_add(len - 1);
                starts_in || (!before(last, self.nxt) && before(last, self.edge))
            }
        }
    }

    /// Takes what is new of a segment, `room` bytes at most; true when it is to be acknowledged at once.
    pub(super) fn take(
        &mut self,
        now: Micros,
        mut seq: u32,
        mut bytes: &[u8],
        fin: bool,
        room: usize,
    ) -> bool {
        if self.ended {
            return true;
        }
        let (whole, gap) = (seq == self.nxt, !self.early.is_empty());
        self.largest = self.largest.max(bytes.len().min(self.mss.into()) as u16);
        if fin && self.fin.is_none() {
            self.fin = Some(seq.wrapping_add(bytes.len() as u32));
        }
        if before(seq, self.nxt) {
            let known = (self.nxt.wrapping_sub(seq) as usize).min(bytes.len());
            bytes = &bytes[known..];
            seq = self.nxt;
        }
        let fits = self.edge.wrapping_sub(seq) as usize;
        bytes = &bytes[..bytes.len().min(if before(seq, self.edge) { fits } else { 0 })];
        if !bytes.is_empty() && bytes.len() <= room {
            if seq == self.nxt {
                self.append(bytes);
                self.join();
            } else {
                self.keep(seq, bytes);
            }
        }
        if self.fin == Some(self.nxt) {
            self.nxt = self.nxt.wrapping_add(1);
            self.ended = true;
            self.early = Vec::new();
        }
        let waiting = self.nxt.wrapping_sub(self.told);
        self.heard = now;
        if !whole || gap || fin || self.alone || waiting == 0 || waiting >= 2 * u32::from(self.largest) {
            return true;
        }
        self.ack_by.get_or_insert(now.after(ACK_DELAY));
        false
    }

    /// When an acknowledgement is due.
    pub(super) fn ack_by(&self) -> Option<Micros> {
        self.ack_by
    }

    /// All that came is acknowledged by what goes out now, which is data or not.
    pub(super) fn acked(&mut self, now: Micros, data: bool) {
        if data {
            self.alone &= now.since(self.heard) >= ACK_DELAY;
        } else {
            self.alone |= self.ack_by.is_some_and(|by| by <= now);
        }
        (self.told, self.ack_by) = (self.nxt, None);
    }

    /// Something has come, and what is before it has not.
    pub(super) fn has_gap(&self) -> bool {
        !self.early.is_empty()
    }

    /// Understood by the peer, so that one acknowledgement tells of every gap.
    pub(super) fn tells_gaps(&self) -> bool {
        self.sacks
    }

    /// What came early, for the peer: first the blocks that the latest is in, then those that follow it, and so on round.
    pub(super) fn blocks<'b>(&self, blocks: &'b mut [(u32, u32); BLOCKS]) -> &'b [(u32, u32)] {
        if !self.sacks || self.early.is_empty() {
            return &[];
        }
        let end = |(from, bytes): &(u32, Vec<u8>)| from.wrapping_add(bytes.len() as u32);
        let (mut runs, mut n) = ([(0, 0); PIECES], 0);
        for piece in &self.early {
            match runs[..n].last_mut() {
                Some((_, to)) if !before(*to, piece.0) => {
                    if before(*to, end(piece)) {
                        *to = end(piece);
                    }
                }
                _ => {
                    runs[n] = (piece.0, end(piece));
                    n += 1;
                }
            }
        }
        let runs = &runs[..n];
        let first = runs.partition_point(|(_, to)| !before(self.latest, *to)).min(n - 1);
        let n = runs.len().min(BLOCKS);
        for (block, run) in blocks.iter_mut().zip(runs.iter().cycle().skip(first)).take(n) {
            *block = *run;
        }
        &blocks[..n]
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.buf.len() + bytes.len() > self.buf.capacity() && self.start > 0 {
            self.buf.drain(..self.start);
            self.start = 0;
        }
        // A large segment has others behind it: room for a record of TLS at once, and not in steps.
        let step = if 2 * bytes.len() > self.mss.into() { STEP } else { 0 };
        append(&mut self.buf, bytes, step, self.most);
        self.nxt = self.nxt.wrapping_add(bytes.len() as u32);
    }

    /// Appends what came early and fits on now.
    fn join(&mut self) {
        while let Some((seq, _)) = self.early.first()
            && !before(self.nxt, *seq)
        {
            let (seq, bytes) = self.early.remove(0);
            let known = self.nxt.wrapping_sub(seq) as usize;
            if let Some(new) = bytes.get(known..) {
                self.append(new);
            }
        }
        if self.early.is_empty() {
            self.early = Vec::new();
        }
    }

    fn keep(&mut self, seq: u32, bytes: &[u8]) {
        let end = seq.wrapping_add(bytes.len() as u32);
        let covers = |(from, held): &(u32, Vec<u8>)| {
            !before(seq, *from) && !before(from.wrapping_add(held.len() as u32), end)
        };
        let held: usize = self.early.iter().map(|(_, bytes)| bytes.len()).sum();
        self.latest = seq;
        if held + bytes.len() > self.most || self.early.iter().any(covers) {
            return;
        }
        let place = self.early.partition_point(|(other, _)| !before(seq, *other));
        if let Some((from, before)) = place.checked_sub(1).map(|n| &mut self.early[n])
            && from.wrapping_add(before.len() as u32) == seq
        {
            append(before, bytes, STEP, self.most);
        } else if self.early.len() < PIECES {
            self.early.insert(place, (seq, bytes.to_vec()));
        }
    }
}
