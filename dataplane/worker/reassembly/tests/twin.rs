// SPDX-License-Identifier: MIT OR Apache-2.0
//! The same table without any cleverness: a list of datagrams, a list of spans each, everything looked at every time, and
//! completeness by colouring every byte.

use super::{Failure, Ipv4Identity, Limits, Span, Verdict};

struct Datagram {
    id: Ipv4Identity,
    since: u64,
    parts: Vec<(Span, u32)>,
    failed: Option<Failure>,
}

pub struct Twin {
    capacity: usize,
    limits: Limits,
    datagrams: Vec<Datagram>,
    /// What the last [`Twin::put`] gave back.
    pub last: Vec<u32>,
    /// Datagrams that the last [`Twin::expire`] ended.
    pub ended: usize,
}

impl Twin {
    pub fn new(capacity: usize, limits: Limits) -> Self {
        Self { capacity, limits, datagrams: Vec::new(), last: Vec::new(), ended: 0 }
    }

    pub fn held(&self, ifindex: u8) -> u32 {
        let here = self.datagrams.iter().filter(|d| d.id.ifindex == ifindex);
        here.map(|d| if d.failed.is_some() { 1 } else { d.parts.len() as u32 }).sum()
    }

    fn pieces(&self) -> usize {
        self.datagrams.iter().map(|d| d.parts.len()).sum()
    }

    pub fn put(&mut self, now: u64, id: Ipv4Identity, span: Span, item: u32) -> Verdict {
        self.last.clear();
        let verdict = self.judge(now, id, span, item);
        if let Verdict::Refused(_) = verdict {
            self.last.push(item);
        }
        verdict
    }

    fn judge(&mut self, now: u64, id: Ipv4Identity, span: Span, item: u32) -> Verdict {
        let held = self.held(id.ifindex);
        let full = self.pieces() == self.capacity;
        if !self.datagrams.iter().any(|d| d.id == id) {
            if self.limits.chain < 2 {
                return Verdict::Refused(Failure::Chain);
            }
            if held >= self.limits.size * 2 / 3 {
                return Verdict::Refused(Failure::Threshold);
            }
            if self.datagrams.len() == self.capacity || full {
                return Verdict::Refused(Failure::Size);
            }
            self.datagrams.push(Datagram { id, since: now, parts: Vec::new(), failed: None });
        }
        let at = self.datagrams.iter().position(|d| d.id == id).unwrap();
        let datagram = &mut self.datagrams[at];
        if let Some(why) = datagram.failed {
            return Verdict::Refused(why);
        }
        let parts = &datagram.parts;
        if parts.iter().any(|(p, _)| *p == span) {
            return Verdict::Refused(Failure::Duplicate);
        }
        let wrong = if parts.iter().any(|(p, _)| p.start < span.end && span.start < p.end) {
            Some(Failure::Overlap)
        } else if parts.iter().any(|(p, _)| {
            let behind_it = !p.more && span.end >= p.end;
            let behind_us = !span.more && p.end >= span.end;
            behind_it || behind_us || (!p.more && !span.more)
        }) {
            Some(Failure::Length)
        } else if parts.len() as u32 >= self.limits.chain {
            Some(Failure::Chain)
        } else {
            None
        };
        if let Some(why) = wrong {
            datagram.failed = Some(why);
            datagram.parts.sort_by_key(|(p, _)| p.start);
            self.last.extend(datagram.parts.drain(..).map(|(_, item)| item));
            return Verdict::Refused(why);
        }
        if held >= self.limits.size || full {
            return Verdict::Refused(Failure::Size);
        }
        datagram.parts.push((span, item));
        let Some(len) = datagram.parts.iter().find(|(p, _)| !p.more).map(|(p, _)| p.end) else {
            return Verdict::Held;
        };
        let covered = |byte| datagram.parts.iter().any(|(p, _)| (p.start..p.end).contains(&byte));
        if !(0..len).all(covered) {
            return Verdict::Held;
        }
        datagram.parts.sort_by_key(|(p, _)| p.start);
        self.last.extend(datagram.parts.iter().map(|(_, item)| *item));
        self.datagrams.remove(at);
        Verdict::Whole { len }
    }

    pub fn expire(&mut self, now: u64) -> Vec<u32> {
        let timeout = self.limits.timeout_ms;
        let (over, rest) = std::mem::take(&mut self.datagrams)
            .into_iter()
            .partition::<Vec<_>, _>(|d| now - d.since >= timeout);
        self.datagrams = rest;
        self.ended = over.len();
        over.into_iter().flat_map(|d| d.parts).map(|(_, item)| item).collect()
    }
}
