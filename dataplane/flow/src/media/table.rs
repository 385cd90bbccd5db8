// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls and holes: where they stand and how they are found.
//!
//! A hole is found from outside by (called address and port, caller's address) and from inside by (caller's address, called address and
//! port): what a first packet has. Two calls that agree on the very same have one way in; the newer one gets it. Numbers are places in
//! vectors that grow with use; keyed hashes, so that nobody outside can aim at a bucket.

use super::rtp::{self, Track};
use super::{CALLS_A_SESSION, CONNS, Conformance, MAX_CALLS, STREAMS, Said, Streams};
use crate::Tick;
use crate::conn::ConnId;
use crate::key::{Key, UDP};
use crate::shown::ShownMedia;
use fedgate_tables::drops::DropReason;
use std::collections::{HashMap, VecDeque};

/// Number of a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HoleId(pub u32);

/// One way through: media or RTCP of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hole {
    /// Place of its call.
    pub(super) call: u32,
    /// The inside's socket.
    pub real: (u32, u16),
    /// As what it is shown.
    pub shown: (u32, u16),
    /// The outside's.
    pub peer: (u32, u16),
    /// Interface of the inside's.
    pub real_if: u8,
    /// Interface of the outside's.
    pub mapped_if: u8,
    /// Both ends say that it is RTP's.
    pub is_rtp: bool,
    /// RTCP's, of those.
    pub is_rtcp: bool,
    pub(super) mux: bool,
    /// What the inside takes, and the outside.
    pub(super) payloads: [u128; 2],
    pub(super) conformance: Conformance,
    /// When it was opened, or a connection through it was last used.
    pub last: Tick,
    /// Connections through it.
    pub conns: [Option<ConnId>; CONNS],
    /// From inside, and from outside.
    pub(super) tracks: [Track; 2],
}

impl Hole {
    /// Whether it leads from where to where the other does. What it takes may differ.
    pub(super) fn leads_as(&self, other: &Self) -> bool {
        let ends = |hole: &Self| (hole.real, hole.shown, hole.peer, hole.real_if, hole.mapped_if);
        let rules = |hole: &Self| (hole.is_rtp, hole.mux, hole.payloads, hole.conformance);
        ends(self) == ends(other) && rules(self) == rules(other)
    }

    /// Holds a datagram from an interface to what was agreed.
    pub(super) fn check(&mut self, from_if: u8, datagram: &[u8]) -> Result<(), DropReason> {
        if self.is_rtcp {
            return rtp::rtcp(datagram);
        }
        let from_outside = usize::from(from_if == self.mapped_if);
        // From outside, it is what the inside takes.
        let taken = if self.conformance.payloads { self.payloads[1 - from_outside] } else { u128::MAX };
        self.tracks[from_outside].rtp(datagram, taken, self.mux)
    }

    /// Its datagrams are looked into.
    pub(super) fn is_checked(&self) -> bool {
        self.conformance.rtp && self.is_rtp
    }

    /// Another connection may come through it.
    fn has_room(&self) -> bool {
        self.conns.iter().any(Option::is_none)
    }
}

/// What a call's two ends have said.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ends {
    pub inside: Streams,
    pub outside: Streams,
    /// How the inside's are shown.
    pub shown: [Option<ShownMedia>; STREAMS],
}

#[derive(Clone, Debug)]
pub(super) struct Call {
    key: u64,
    session: u64,
    pub ends: Ends,
    pub holes: [[Option<HoleId>; 2]; STREAMS],
    /// Its INVITE has had a good answer.
    pub agreed: bool,
    /// After a BYE: when it is over at the latest.
    pub closing: Option<Tick>,
    /// When something was last said of it.
    pub last: Tick,
}

/// All calls of a worker.
#[derive(Default)]
pub struct Media {
    calls: Vec<Option<Call>>,
    free_calls: Vec<u32>,
    by_key: HashMap<u64, u32>,
    of_session: HashMap<u64, u32>,
    holes: Vec<Option<Hole>>,
    free_holes: Vec<u32>,
    /// (shown address, port, peer's address).
    from_outside: HashMap<(u32, u16, u32), HoleId>,
    /// (real address, peer's address, port).
    from_inside: HashMap<(u32, u32, u16), HoleId>,
    /// The call to look at next, and when that was last done.
    cursor: usize,
    looked: Tick,
    /// What other workers are to be told, where there are some.
    news: Option<VecDeque<Entrance>>,
    /// Other workers' entrances, as ours above.
    mates_outside: HashMap<(u32, u16, u32), u8>,
    mates_inside: HashMap<(u32, u32, u16), u8>,
}

/// A hole as other workers know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrance {
    outside: Option<(u32, u16, u32)>,
    inside: Option<(u32, u32, u16)>,
    /// It has been opened, else closed.
    open: bool,
}

/// Whose a datagram of media is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This worker's.
    Ours,
    /// Another's.
    Mate(u8),
}

/// Entrances of other workers that are remembered.
const MATES_MOST: usize = 16 * MAX_CALLS;

impl Media {
    /// No holes are open.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.from_outside.is_empty()
    }

    /// Calls, and holes open.
    pub fn in_use(&self) -> (usize, usize) {
        (self.by_key.len(), self.holes.len() - self.free_holes.len())
    }

    /// There are other workers, who have to be told ([`Self::news`]).
    pub fn share(&mut self) {
        self.news.get_or_insert_default();
    }

    /// What the other workers are to be told next.
    pub fn news(&mut self) -> Option<Entrance> {
        self.news.as_mut()?.pop_front()
    }

    /// Another worker has told of an entrance. False where there is no room to remember it.
    pub fn learn(&mut self, mate: u8, entrance: &Entrance) -> bool {
        let Entrance { outside, inside, open } = *entrance;
        if !open {
            // It may be somebody else's by now.
            let outside = outside.filter(|outside| self.mates_outside.get(outside) == Some(&mate));
            let inside = inside.filter(|inside| self.mates_inside.get(inside) == Some(&mate));
            outside.and_then(|outside| self.mates_outside.remove(&outside));
            inside.and_then(|inside| self.mates_inside.remove(&inside));
            return true;
        }
        if self.mates_outside.len() >= MATES_MOST {
            return false;
        }
        outside.and_then(|outside| self.mates_outside.insert(outside, mate));
        inside.and_then(|inside| self.mates_inside.insert(inside, mate));
        true
    }

    /// Whose a datagram is that arrives as `key`, if it is some call's.
    pub fn whose(&self, key: &Key) -> Option<Whose> {
        if key.proto != UDP || self.from_outside.is_empty() && self.mates_outside.is_empty() {
            return None;
        }
        let (outside, inside) = ((key.dst, key.dport, key.src), (key.src, key.dst, key.dport));
        if self.from_outside.contains_key(&outside) || self.from_inside.contains_key(&inside) {
            return Some(Whose::Ours);
        }
        let mate = self.mates_outside.get(&outside).or_else(|| self.mates_inside.get(&inside));
        mate.map(|mate| Whose::Mate(*mate))
    }

    /// A hole.
    pub fn hole(&self, id: HoleId) -> Option<&Hole> {
        self.holes.get(id.0 as usize)?.as_ref()
    }

    /// Holes from number `from` on, `max` at most, and where to go on; for listings.
    pub fn page(&self, from: u32, max: usize) -> (Vec<Hole>, Option<u32>) {
        let rest = self.holes.get(from as usize..).unwrap_or_default();
        let rows = rest.iter().take(max).flatten().copied().collect();
        (rows, (rest.len() > max).then(|| from + max as u32))
    }

    pub(super) fn hole_mut(&mut self, id: HoleId) -> Option<&mut Hole> {
        self.holes.get_mut(id.0 as usize)?.as_mut()
    }

    pub(super) fn find_call(&self, key: u64) -> Option<u32> {
        self.by_key.get(&key).copied()
    }

    pub(super) fn call_mut(&mut self, place: u32) -> Option<&mut Call> {
        self.calls.get_mut(place as usize)?.as_mut()
    }

    /// Remembers a new call, if there is room.
    pub(super) fn begin(&mut self, said: &Said<'_>, now: Tick) -> Option<u32> {
        let of_session = self.of_session.get(&said.session).copied().unwrap_or(0);
        if self.by_key.len() >= MAX_CALLS || of_session >= CALLS_A_SESSION {
            return None;
        }
        let call = Call {
            key: said.call,
            session: said.session,
            ends: Ends::default(),
            holes: [[None; 2]; STREAMS],
            agreed: false,
            closing: None,
            last: now,
        };
        self.of_session.insert(said.session, of_session + 1);
        let place = put(&mut self.calls, &mut self.free_calls, call);
        self.by_key.insert(said.call, place);
        Some(place)
    }

    pub(super) fn forget(&mut self, place: u32) -> Option<Call> {
        let call = self.calls.get_mut(place as usize)?.take()?;
        self.free_calls.push(place);
        self.by_key.remove(&call.key);
        if let Some(count) = self.of_session.get_mut(&call.session) {
            *count -= 1;
            if *count == 0 {
                self.of_session.remove(&call.session);
            }
        }
        Some(call)
    }

    pub(super) fn open(&mut self, hole: Hole) -> HoleId {
        let (outside, inside) = ways(&hole);
        if let Some(news) = &mut self.news {
            news.push_back(Entrance { outside: Some(outside), inside: Some(inside), open: true });
        }
        let id = HoleId(put(&mut self.holes, &mut self.free_holes, hole));
        self.from_outside.insert(outside, id);
        self.from_inside.insert(inside, id);
        id
    }

    /// Takes a hole away; its connections are the caller's to end.
    pub(super) fn close(&mut self, id: HoleId) -> Option<Hole> {
        let hole = self.holes.get_mut(id.0 as usize)?.take()?;
        self.free_holes.push(id.0);
        let (outside, inside) = ways(&hole);
        // Another call's may have taken its place.
        let outside = Some(outside).filter(|outside| self.from_outside.get(outside) == Some(&id));
        let inside = Some(inside).filter(|inside| self.from_inside.get(inside) == Some(&id));
        outside.and_then(|outside| self.from_outside.remove(&outside));
        inside.and_then(|inside| self.from_inside.remove(&inside));
        if let Some(news) = &mut self.news {
            news.push_back(Entrance { outside, inside, open: false });
        }
        let call = self.calls.get_mut(hole.call as usize).and_then(Option::as_mut);
        if let Some(call) = call {
            call.holes.iter_mut().flatten().filter(|one| **one == Some(id)).for_each(|one| *one = None);
        }
        Some(hole)
    }

    /// The hole for a packet that arrives as `key` and goes on as `real`.
    pub(super) fn find(&self, key: &Key, real: &Key, in_if: u8, out_if: u8) -> Option<HoleId> {
        let inward = self.from_outside.get(&(key.dst, key.dport, key.src));
        let id = inward.or_else(|| self.from_inside.get(&(key.src, real.dst, real.dport)))?;
        let hole = self.hole(*id).filter(|hole| hole.has_room())?;
        let leads = match inward {
            Some(_) => {
                (in_if, out_if) == (hole.mapped_if, hole.real_if) && (real.dst, real.dport) == hole.real
            }
            None => (in_if, out_if) == (hole.real_if, hole.mapped_if),
        };
        leads.then_some(*id)
    }

    /// Interfaces have new indices; through a hole whose interface is gone nothing passes any more.
    pub(crate) fn renumber(&mut self, new_index: impl Fn(u8) -> Option<u8>) {
        for hole in self.holes.iter_mut().flatten() {
            hole.real_if = new_index(hole.real_if).unwrap_or(u8::MAX);
            hole.mapped_if = new_index(hole.mapped_if).unwrap_or(u8::MAX);
        }
    }

    /// How many calls to look at now: some, once a tick.
    pub(super) fn looks(&mut self, now: Tick, most: usize) -> usize {
        if std::mem::replace(&mut self.looked, now) == now { 0 } else { most.min(self.calls.len()) }
    }

    /// The call to look at, each in turn.
    pub(super) fn next(&mut self) -> Option<u32> {
        self.cursor = if self.cursor + 1 < self.calls.len() { self.cursor + 1 } else { 0 };
        self.calls.get(self.cursor)?.is_some().then_some(self.cursor as u32)
    }
}

/// The keys by which a hole is found from outside and from inside.
fn ways(hole: &Hole) -> ((u32, u16, u32), (u32, u32, u16)) {
    let Hole { real, shown, peer, .. } = hole;
    ((shown.0, shown.1, peer.0), (real.0, peer.0, peer.1))
}

/// Puts an item into a free place.
fn put<T>(slots: &mut Vec<Option<T>>, free: &mut Vec<u32>, item: T) -> u32 {
    match free.pop() {
        Some(place) => {
            slots[place as usize] = Some(item);
            place
        }
        None => {
            slots.push(Some(item));
            (slots.len() - 1) as u32
        }
    }
}
