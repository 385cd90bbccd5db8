// SPDX-License-Identifier: MIT OR Apache-2.0
//! The receiving half of a connection: what came in order and is not read, what came early, and the window.
//!
//! Buffers grow with what comes and are freed when it is read, so an idle connection holds none. The window is never taken back
//! (RFC 9293 3.8.6.2.2); where there is no memory for a segment it is not taken, and not acknowledged, which any receiver may do. What
//! comes early is kept as it came, in order, in at most [`PIECES`] pieces inside the window.

use super::{append, before};

/// Pieces that are kept ahead of a gap.
const PIECES: usize = 32;

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
    /// By sequence number, each beyond `nxt`; they may overlap.
    early: Vec<(u32, Vec<u8>)>,
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
            early: Vec::new(),
            fin: None,
            ended: false,
        }
    }

    /// The peer's SYN has number `irs`; `scales` if it can scale windows.
    pub(super) fn meet(&mut self, irs: u32, scales: bool) {
        (self.nxt, self.edge) = (irs.wrapping_add(1), irs.wrapping_add(1));
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

    /// Takes what is new of a segment, `room` bytes at most.
    pub(super) fn take(&mut self, mut seq: u32, mut bytes: &[u8], fin: bool, room: usize) {
        if self.ended {
            return;
        }
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
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.buf.len() + bytes.len() > self.buf.capacity() && self.start > 0 {
            self.buf.drain(..self.start);
            self.start = 0;
        }
        append(&mut self.buf, bytes, self.most);
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
        if self.early.len() == PIECES || held + bytes.len() > self.most || self.early.iter().any(covers) {
            return;
        }
        let place = self.early.partition_point(|(other, _)| !before(seq, *other));
        self.early.insert(place, (seq, bytes.to_vec()));
    }
}
