// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which ports of one PAT address are taken, a protocol: a bitmap of 65,536 (8 KiB), and how a free one is picked.
//!
//! The ASA's rule: the real source port where it is free, else another of the same band (0-511, 512-1023,
//! 1024-65535), here with the same parity where one is free (RFC 4787 REQ-4) and from a random start (RFC 6056), so that a
//! port is neither guessed nor at once reused. Worker cores, once a translation.

/// A worker's part of the ports of each mapped address, for the life of the process: words of 64 ports go round the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which worker.
    pub worker: u16,
    /// Of how many.
    pub of: u16,
}

impl Share {
    /// One worker has them all.
    pub const WHOLE: Share = Share { worker: 0, of: 1 };

    /// The worker that owns `port`, of `of`.
    #[inline]
    pub fn owner(port: u16, of: u16) -> u16 {
        (port >> 6) % of
    }
}

/// The ports of one address and protocol.
pub struct Ports {
    taken: Box<Bitmap>,
    /// What static PAT has; kept apart, so that neither a policy change nor the end of an xlate mixes the two up.
    reserved: Option<Box<Bitmap>>,
}

type Bitmap = [u64; 1024];

/// First and last port of each band.
pub const BANDS: [(u16, u16); 3] = [(0, 511), (512, 1023), (1024, 65535)];

impl Ports {
    /// All of the share free but port 0, which is nobody's (RFC 6335).
    pub fn new(share: Share) -> Self {
        let word = |w| if Share::owner(w << 6, share.of) == share.worker { 0 } else { u64::MAX };
        let mut ports = Self { taken: Box::new(std::array::from_fn(|w| word(w as u16))), reserved: None };
        ports.take(0);
        ports
    }

    /// Marks `port`; false where it was taken already.
    pub fn take(&mut self, port: u16) -> bool {
        let (word, bit) = place(port);
        let was_free = self.taken[word] & bit == 0;
        self.taken[word] |= bit;
        was_free
    }

    /// Gives `port` back.
    pub fn release(&mut self, port: u16) {
        let (word, bit) = place(port);
        self.taken[word] &= !bit;
    }

    /// Keeps `port` for a static rule: it is not picked while that stands.
    pub fn reserve(&mut self, port: u16) {
        let (word, bit) = place(port);
        self.reserved.get_or_insert_with(|| Box::new([0; 1024]))[word] |= bit;
    }

    /// Forgets all reservations.
    pub fn clear_reserved(&mut self) {
        self.reserved = None;
    }

    /// True where `port` is taken or reserved.
    pub fn is_taken(&self, port: u16) -> bool {
        let (word, bit) = place(port);
        self.blocked(word) & bit != 0
    }

    /// Takes a port for a host that sends from `wanted`; `random` picks the start. `None` when the band is exhausted.
    pub fn pick(&mut self, wanted: u16, random: u64) -> Option<u16> {
        if self.take_if_free(wanted) {
            return Some(wanted);
        }
        let (low, high) = BANDS[band(wanted)];
        let span = u32::from(high - low) + 1;
        let start = low + (random % u64::from(span)) as u16;
        const EVEN: u64 = 0x5555_5555_5555_5555;
        let same_parity = if wanted & 1 == 0 { EVEN } else { !EVEN };
        let port =
            self.scan(low, high, start, same_parity).or_else(|| self.scan(low, high, start, !same_parity))?;
        self.take(port);
        Some(port)
    }

    fn blocked(&self, word: usize) -> u64 {
        self.taken[word] | self.reserved.as_ref().map_or(0, |r| r[word])
    }

    fn take_if_free(&mut self, port: u16) -> bool {
        !self.is_taken(port) && self.take(port)
    }

    /// First free port among those `allowed` (a mask over each 64), from `start` up to `high`, then from `low`.
    /// Bands begin and end on 64-bit words.
    fn scan(&self, low: u16, high: u16, start: u16, allowed: u64) -> Option<u16> {
        let words = usize::from(low >> 6)..=usize::from(high >> 6);
        let first = usize::from(start >> 6);
        let above = u64::MAX << (start & 63);
        let free = |w: usize, mask: u64| {
            let bits = !self.blocked(w) & allowed & mask;
            (bits != 0).then(|| ((w as u32) << 6 | bits.trailing_zeros()) as u16)
        };
        free(first, above)
            .or_else(|| (first + 1..=*words.end()).find_map(|w| free(w, u64::MAX)))
            .or_else(|| (*words.start()..=first).find_map(|w| free(w, u64::MAX)))
    }
}

/// Word and bit of a port.
fn place(port: u16) -> (usize, u64) {
    (usize::from(port >> 6), 1u64 << (port & 63))
}

/// The band that `port` is in.
fn band(port: u16) -> usize {
    match port {
        0..512 => 0,
        512..1024 => 1,
        _ => 2,
    }
}
