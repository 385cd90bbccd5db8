// SPDX-License-Identifier: MIT OR Apache-2.0
//! Captured frames on their way from a worker to control: a ring of words in memory that both halves map, one writer and one reader.
//!
//! Control makes one segment with a [`Ring`] a worker, when the first `capture` begins, and gives it to the dataplane. A worker puts a
//! [`Record`] and the bytes of its frame behind the last one and then moves the head; control takes what is before the head and moves the tail.
//! Nobody waits and nothing is locked: what finds no room is counted as lost. Either side checks what the other wrote: a
//! torn or forged ring costs frames of the capture and nothing else.
//!
//! Model: `RUSTFLAGS="--cfg loom" cargo test -p fedgate-tables --release loom` covers every interleaving of one writer and one reader over a few
//! small records and a full ring.

#[cfg(all(loom, test))]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(all(loom, test)))]
use std::sync::atomic::{AtomicU64, Ordering};

use crate::drops::DropReason;
use crate::link::Socket;

/// Words of a worker's ring: 2 MiB, of which pages take memory when first written.
pub const RING_WORDS: usize = 1 << 18;
/// Captures that there may be at a time: a bit each in [`Record::captures`].
pub const MAX_CAPTURES: usize = 8;
/// Bytes of a frame that are kept at most.
pub const MAX_LENGTH: u16 = 2048;

/// Words before the data, each in a line of its own: head, tail, lost.
const HEAD: usize = 0;
const TAIL: usize = 8;
const LOST: usize = 16;
const DATA: usize = 24;
/// Words of a record before its bytes.
const RECORD: usize = 8;

/// Where a frame was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Seen {
    /// As it came in.
    In = 0,
    /// As it leaves.
    Out = 1,
    /// Dropped, without having come in just now.
    Dropped = 2,
}

/// What is known of a captured frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Those that want it, a bit each.
    pub captures: u8,
    /// Where it was seen.
    pub seen: Seen,
    /// By which interface.
    pub ifindex: u8,
    /// Why it was dropped.
    pub reason: Option<DropReason>,
    /// Bytes of headers up to what TCP, UDP or ICMP carries; 0 where that is not known.
    pub headers: u16,
    /// Bytes that it had.
    pub len: u16,
    /// When, microseconds since 1970.
    pub micros: u64,
    /// Of an IPv4 connection's packet: source and destination as it arrives, then as it leaves.
    pub translation: Option<[(u32, u16); 4]>,
}

impl Record {
    fn words(&self, bytes: usize, words: usize) -> [u64; RECORD] {
        let reason = self.reason.map_or(0, |reason| reason as u64 + 1);
        let known = u64::from(self.translation.is_some());
        let [a, b, c, d] = self.translation.unwrap_or_default();
        let addrs = |(one, _): (u32, u16), (other, _): (u32, u16)| u64::from(one) << 32 | u64::from(other);
        let ports = [a, b, c, d].iter().fold(0, |all, (_, port)| all << 16 | u64::from(*port));
        [
            words as u64 | (bytes as u64) << 16 | u64::from(self.len) << 32 | u64::from(self.headers) << 48,
            u64::from(self.captures)
                | (self.seen as u64) << 8
                | u64::from(self.ifindex) << 16
                | reason << 24
                | known << 32,
            self.micros,
            addrs(a, b),
            addrs(c, d),
            ports,
            0,
            0,
        ]
    }

    /// The record, and how many bytes follow. None of what no worker writes.
    fn read(words: [u64; RECORD]) -> Option<(Self, usize)> {
        let [sizes, kind, micros, arrives, leaves, ports, ..] = words;
        let bytes = usize::from((sizes >> 16) as u16);
        let reason = (kind >> 24) as u8;
        let end = |addr: u64, port: u64| (addr as u32, port as u16);
        let record = Self {
            captures: kind as u8,
            seen: match (kind >> 8) as u8 {
                0 => Seen::In,
                1 => Seen::Out,
                2 => Seen::Dropped,
                _ => return None,
            },
            ifindex: (kind >> 16) as u8,
            reason: match usize::from(reason).checked_sub(1) {
                Some(at) => Some(*DropReason::ALL.get(at)?),
                None => None,
            },
            headers: (sizes >> 48) as u16,
            len: (sizes >> 32) as u16,
            micros,
            translation: (kind >> 32 & 1 == 1).then(|| {
                [
                    end(arrives >> 32, ports >> 48),
                    end(arrives, ports >> 32),
                    end(leaves >> 32, ports >> 16),
                    end(leaves, ports),
                ]
            }),
        };
        (bytes <= usize::from(MAX_LENGTH)).then_some((record, bytes))
    }

    /// The translation as sockets.
    pub fn sockets(&self) -> Option<[Socket; 4]> {
        self.translation.map(|ends| ends.map(|(addr, port)| Socket::v4(addr, port)))
    }
}

/// One worker's ring.
#[derive(Clone, Copy)]
pub struct Ring<'a>(&'a [AtomicU64]);

impl<'a> Ring<'a> {
    /// The ring of a worker in the segment, if that has it.
    pub fn of(words: &'a [AtomicU64], worker: usize) -> Option<Self> {
        let ring = words.get(worker.checked_mul(RING_WORDS)?..)?.get(..RING_WORDS)?;
        Some(Self(ring))
    }

    fn data(&self) -> &'a [AtomicU64] {
        self.0.get(DATA..).unwrap_or_default()
    }

    /// Adds a frame's record and the first of its bytes, as far as [`MAX_LENGTH`]; false where there is no room, which is counted.
    pub fn put(&self, record: &Record, frame: &[u8]) -> bool {
        let frame = frame.get(..usize::from(MAX_LENGTH)).unwrap_or(frame);
        let words = RECORD + frame.len().div_ceil(8);
        let data = self.data();
        // Only the writer moves the head, so its own last store is what it reads.
        let head = self.0[HEAD].load(Ordering::Relaxed);
        let used = head.wrapping_sub(self.0[TAIL].load(Ordering::Acquire));
        // A tail that makes no sense leaves no room either.
        if used.saturating_add(words as u64) > data.len() as u64 {
            let lost = self.0[LOST].load(Ordering::Relaxed);
            self.0[LOST].store(lost.wrapping_add(1), Ordering::Relaxed);
            return false;
        }
        let bytes = frame.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        let all = record.words(frame.len(), words).into_iter().chain(bytes);
        for (at, word) in (head..).zip(all) {
            data[(at % data.len() as u64) as usize].store(word, Ordering::Relaxed);
        }
        self.0[HEAD].store(head.wrapping_add(words as u64), Ordering::Release);
        true
    }

    /// Takes the oldest frame into `frame`; None where there is none, or where the ring made no sense and was emptied.
    pub fn take(&self, frame: &mut Vec<u8>) -> Option<Record> {
        let data = self.data();
        let tail = self.0[TAIL].load(Ordering::Relaxed);
        let head = self.0[HEAD].load(Ordering::Acquire);
        let held = head.wrapping_sub(tail);
        if held == 0 {
            return None;
        }
        let word =
            |at: u64| data[(tail.wrapping_add(at) % data.len() as u64) as usize].load(Ordering::Relaxed);
        let record = Record::read(std::array::from_fn(|at| word(at as u64)));
        let words = word(0) & 0xffff;
        let sound = record.filter(|(_, bytes)| {
            words as usize == RECORD + bytes.div_ceil(8) && words <= held && held <= data.len() as u64
        });
        let Some((record, bytes)) = sound else {
            self.0[TAIL].store(head, Ordering::Release);
            return None;
        };
        frame.clear();
        frame.extend((RECORD as u64..words).flat_map(|at| word(at).to_le_bytes()).take(bytes));
        self.0[TAIL].store(tail.wrapping_add(words), Ordering::Release);
        Some(record)
    }

    /// Frames that found no room.
    pub fn lost(&self) -> u64 {
        self.0[LOST].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
