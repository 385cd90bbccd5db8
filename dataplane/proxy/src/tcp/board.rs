// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the peer holds of what it has not acknowledged, by its selective acknowledgements (RFC 2018), and what follows from that (RFC 6675).
//!
//! Ranges of numbers in order, disjoint and apart from each other, [`RANGES`] at most: what more a peer makes of its blocks is not noted, which
//! costs a repetition and nothing else. All lie between the oldest unacknowledged number and the last that was sent; a block that does not is
//! nobody's. Empty, and without memory, on a connection that loses nothing.
//!
//! Twin: the same questions asked number by number, in tests.

/// Ranges that are noted.
const RANGES: usize = 32;
/// Ranges above a number that mean it is lost, or bytes in segments, less one (RFC 6675 IsLost).
const DUPLICATES: usize = 3;

#[derive(Debug, Default)]
pub(super) struct Board {
    /// First, and one past the last.
    ranges: Vec<(u32, u32)>,
}

impl Board {
    /// Notes a block; true when it says something new. `una` and `max` bound what is under way.
    pub(super) fn note(&mut self, una: u32, max: u32, (from, to): (u32, u32)) -> bool {
        let off = |number: u32| number.wrapping_sub(una);
        if off(from) == 0 || off(from) >= off(to) || off(to) > off(max) {
            return false;
        }
        // Those that touch it become one with it.
        let first = self.ranges.partition_point(|(_, end)| off(*end) < off(from));
        let last = self.ranges.partition_point(|(start, _)| off(*start) <= off(to));
        let touched = self.ranges.get(first..last).unwrap_or_default();
        match touched {
            [] if self.ranges.len() == RANGES => return false,
            [] => self.ranges.insert(first, (from, to)),
            [(start, end)] if off(*start) <= off(from) && off(to) <= off(*end) => return false,
            [(start, _), ..] => {
                let from = if off(*start) < off(from) { *start } else { from };
                let to = touched.last().filter(|(_, end)| off(*end) > off(to)).map_or(to, |(_, end)| *end);
                self.ranges.drain(first + 1..last);
                self.ranges[first] = (from, to);
            }
        }
        true
    }

    /// All before `una` is acknowledged.
    pub(super) fn advance(&mut self, una: u32) {
        if self.ranges.is_empty() {
            return;
        }
        let before = |a: u32, b: u32| (a.wrapping_sub(b) as i32) < 0;
        self.ranges.retain(|(_, end)| before(una, *end));
        if let Some((start, _)) = self.ranges.first_mut()
            && before(*start, una)
        {
            *start = una;
        }
        if self.ranges.is_empty() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.ranges = Vec::new();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(super) fn held(&self) -> usize {
        self.ranges.capacity() * size_of::<(u32, u32)>()
    }

    /// Below this everything that the peer does not hold is lost (RFC 6675 IsLost); `una` where nothing is.
    pub(super) fn lost_below(&self, una: u32, mss: u16) -> u32 {
        let mut bytes = 0;
        for (n, (start, end)) in self.ranges.iter().rev().enumerate() {
            bytes += end.wrapping_sub(*start);
            if n + 1 >= DUPLICATES || bytes > (DUPLICATES as u32 - 1) * u32::from(mss) {
                return *start;
            }
        }
        una
    }

    /// Bytes that may still be in the network (RFC 6675 SetPipe): what is neither held nor lost, and what was sent again, up to `again`.
    pub(super) fn pipe(&self, una: u32, max: u32, lost_below: u32, again: u32) -> u32 {
        let off = |number: u32| number.wrapping_sub(una);
        let (lost_below, again) = (off(lost_below), off(again));
        let ends = self.ranges.iter().map(|(_, end)| off(*end));
        let starts = self.ranges.iter().map(|(start, _)| off(*start));
        let holes = std::iter::once(0).chain(ends).zip(starts.chain([off(max)]));
        holes
            .map(|(from, to)| to.saturating_sub(from.max(lost_below)) + again.min(to).saturating_sub(from))
            .sum()
    }

    /// The first numbers at or after `from` that the peer does not hold, of those before its last.
    pub(super) fn hole(&self, una: u32, from: u32) -> Option<(u32, u32)> {
        let off = |number: u32| number.wrapping_sub(una);
        let mut from = from;
        for (start, end) in &self.ranges {
            if off(from) < off(*start) {
                return Some((from, *start));
            }
            if off(from) < off(*end) {
                from = *end;
            }
        }
        None
    }

    /// The end of the range that has this number.
    pub(super) fn held_until(&self, una: u32, number: u32) -> Option<u32> {
        let off = |number: u32| number.wrapping_sub(una);
        let held = |(start, end): &&(u32, u32)| off(*start) <= off(number) && off(number) < off(*end);
        self.ranges.iter().find(held).map(|(_, end)| *end)
    }

    /// Where the next range after this number begins.
    pub(super) fn next_held(&self, una: u32, number: u32) -> Option<u32> {
        let off = |number: u32| number.wrapping_sub(una);
        self.ranges.iter().map(|(start, _)| *start).find(|start| off(*start) > off(number))
    }

    /// Bytes held before a number.
    pub(super) fn held_before(&self, una: u32, number: u32) -> u32 {
        let off = |number: u32| number.wrapping_sub(una);
        let part = |(start, end): &(u32, u32)| off(*end).min(off(number)).saturating_sub(off(*start));
        self.ranges.iter().map(part).sum()
    }
}

#[cfg(test)]
mod tests;
