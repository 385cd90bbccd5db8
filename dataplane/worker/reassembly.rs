// SPDX-License-Identifier: MIT OR Apache-2.0
//! Virtual reassembly: fragments wait until their datagram is complete, then all come out, in order and still in pieces.
//!
//! Only the first fragment has ports, so nothing can be decided about any of them before it is here; and a firewall that lets
//! later fragments pass without having seen all lets holes, overlaps and tiny heads pass too (RFC 1858, RFC 3128, RFC 5722).
//! The bounds are the ASA's `fragment size | chain | timeout`, an interface each, for IPv4 and IPv6 together. A datagram of which something was wrong
//! is dead until its time is over: what comes of it later is refused at once and holds nothing.
//!
//! Pieces of a datagram are a list sorted by offset, entered from the end that is nearer by the usual orders of arrival, so
//! in order and backwards cost O(1), other orders O(chain). Datagrams of an interface are in a list by age, so that
//! expiry looks at the oldest only. Slabs and buckets are made at the start; nothing is allocated later.
//!
//! Sans-IO: time is an argument (milliseconds), a piece is any type, and what is to be freed or sent on goes to the caller's
//! vector. One table a worker; slow path.

use fedgate_tables::policy::MAX_INTERFACES;
use slab::Slab;

#[cfg(test)]
mod tests;

/// What the fragments of one datagram have in common.
pub trait Identity: Copy + Eq {
    /// A hash that nobody without the seed can aim at.
    fn hash(&self, seed: u64) -> u64;
    /// The interface they came in by, under [`MAX_INTERFACES`]; part of what is compared.
    fn ifindex(&self) -> u8;
}

/// An IPv4 datagram's (RFC 791 3.2), and where it comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv4Identity {
    /// Source, host order.
    pub src: u32,
    /// Destination, host order.
    pub dst: u32,
    /// Identification.
    pub ident: u16,
    /// IP protocol.
    pub proto: u8,
    /// Interface index.
    pub ifindex: u8,
}

impl Identity for Ipv4Identity {
    fn hash(&self, seed: u64) -> u64 {
        let Self { src, dst, ident, proto, ifindex } = *self;
        let key = fedgate_flow::key::Key { src, dst, sport: ident, dport: ifindex.into(), proto };
        fedgate_flow::key::hash(&key, seed)
    }

    fn ifindex(&self) -> u8 {
        self.ifindex
    }
}

/// An IPv6 packet's (RFC 8200 4.5: what the fragment header says is next may differ, and only the first part's counts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipv6Identity {
    /// Source, host order.
    pub src: u128,
    /// Destination, host order.
    pub dst: u128,
    /// Identification.
    pub ident: u32,
    /// Interface index.
    pub ifindex: u8,
}

impl Identity for Ipv6Identity {
    fn hash(&self, seed: u64) -> u64 {
        let Self { src, dst, ident, ifindex } = *self;
        let [sport, dport] = [(ident >> 16) as u16, ident as u16];
        let key = fedgate_wire::Tuple6 { src, dst, sport, dport, proto: ifindex };
        fedgate_flow::v6::hash(&key, seed)
    }

    fn ifindex(&self) -> u8 {
        self.ifindex
    }
}

/// Where a fragment lies in its datagram's payload, in bytes. Never empty: [`fedgate_wire::parse()`] sees to it, and to all
/// but the last being multiples of eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u16,
    /// Behind its last byte.
    pub end: u16,
    /// It is not the last one.
    pub more: bool,
}

/// Bounds of one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `fragment size`: fragments held; those of datagrams that are new get two thirds of it. A dead datagram counts as one.
    pub size: u32,
    /// `fragment chain`: fragments of one datagram.
    pub chain: u32,
    /// `fragment timeout`: from a datagram's first fragment to arrive to its last, milliseconds.
    pub timeout_ms: u64,
    /// What counts against `size` though it is not held here: the other family's.
    pub elsewhere: u32,
}

impl Limits {
    /// Above this many held, only fragments of datagrams that are waited for are taken (`Threshold` of `show fragment`).
    pub fn threshold(&self) -> u32 {
        (u64::from(self.size) * 2 / 3) as u32
    }
}

/// Why fragments are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The rest did not come in time.
    Timeout,
    /// `fragment size` is reached, or the worker's own bound.
    Size,
    /// A new datagram's, above two thirds of `fragment size`.
    Threshold,
    /// More than `fragment chain` of one datagram.
    Chain,
    /// It shares bytes with another one (RFC 5722).
    Overlap,
    /// Two ends, or bytes behind the end.
    Length,
    /// The same span again. Only this one is dropped: a network may duplicate.
    Duplicate,
}

/// What became of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It waits.
    Held,
    /// It was the last one missing: all are in the caller's vector, first byte first.
    Whole {
        /// Bytes of the datagram's payload.
        len: u16,
    },
    /// It is in the caller's vector; except with [`Failure::Duplicate`], whatever was held of its datagram is in front of it.
    Refused(Failure),
}

/// A datagram whose time is over. Nothing is held of one that had been given up before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Where it came in.
    pub ifindex: u8,
}

const NIL: usize = usize::MAX;

#[derive(Debug)]
struct Piece<T> {
    item: T,
    span: Span,
    before: usize,
    behind: usize,
}

#[derive(Debug)]
struct Datagram<K> {
    id: K,
    bucket: usize,
    since_ms: u64,
    /// Its pieces, by offset.
    first: usize,
    last: usize,
    count: u32,
    bytes: u32,
    /// Where it ends, once the last fragment is here.
    len: Option<u16>,
    /// It is dead.
    failed: Option<Failure>,
    /// Same bucket.
    next: usize,
    /// Same interface.
    older: usize,
    younger: usize,
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    oldest: usize,
    youngest: usize,
    held: u32,
}

/// The table. `K` names a datagram, `T` is a fragment.
#[derive(Debug)]
pub struct Reassembly<K, T> {
    datagrams: Slab<Datagram<K>>,
    pieces: Slab<Piece<T>>,
    buckets: Box<[usize]>,
    queues: [Queue; MAX_INTERFACES],
    capacity: usize,
    seed: u64,
}

impl<K: Identity, T> Reassembly<K, T> {
    /// Room for `capacity` fragments of all interfaces together; `seed` from the system's entropy.
    pub fn new(capacity: usize, seed: u64) -> Self {
        Self {
            datagrams: Slab::with_capacity(capacity),
            pieces: Slab::with_capacity(capacity),
            buckets: vec![NIL; (capacity * 2).next_power_of_two()].into(),
            queues: [Queue { oldest: NIL, youngest: NIL, held: 0 }; MAX_INTERFACES],
            capacity,
            seed,
        }
    }

    /// Fragments that interface `ifindex` has in here; a dead datagram counts as one.
    pub fn held(&self, ifindex: u8) -> u32 {
        self.queues.get(usize::from(ifindex)).map_or(0, |queue| queue.held)
    }

    /// Nothing is held, and nothing can come due.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Takes a fragment. What the verdict says is no longer held is pushed to `out`.
    pub fn put(
        &mut self,
        now_ms: u64,
        limits: &Limits,
        id: K,
        span: Span,
        item: T,
        out: &mut Vec<T>,
    ) -> Verdict {
        let found = match self.find(&id) {
            Some(at) => Ok(at),
            None => self.begin(now_ms, limits, id),
        };
        let verdict = found.and_then(|at| Ok((at, self.place(at, limits, span)?)));
        match verdict {
            Ok((at, behind)) => {
                self.link(at, behind, span, item);
                let datagram = &self.datagrams[at];
                match datagram.len.filter(|len| u32::from(*len) == datagram.bytes) {
                    Some(len) => {
                        self.release(at, out);
                        self.forget(at);
                        Verdict::Whole { len }
                    }
                    None => Verdict::Held,
                }
            }
            Err(why) => {
                match why {
                    Failure::Chain | Failure::Overlap | Failure::Length => self.kill(&id, why, out),
                    Failure::Timeout | Failure::Size | Failure::Threshold | Failure::Duplicate => {}
                }
                out.push(item);
                Verdict::Refused(why)
            }
        }
    }

    /// Ends one datagram whose time is over, if there is one, and pushes what was held of it to `out`, first byte first.
    pub fn expire(&mut self, now_ms: u64, timeout_ms: impl Fn(u8) -> u64, out: &mut Vec<T>) -> Option<Ended> {
        if self.is_empty() {
            return None;
        }
        let due = (0u8..).zip(&self.queues).find_map(|(ifindex, queue)| {
            let oldest = self.datagrams.get(queue.oldest)?;
            (now_ms.saturating_sub(oldest.since_ms) >= timeout_ms(ifindex)).then_some(queue.oldest)
        })?;
        let ended = Ended { ifindex: self.datagrams[due].id.ifindex() };
        self.release(due, out);
        self.forget(due);
        Some(ended)
    }

    /// Gives everything back: interfaces have changed places.
    pub fn clear(&mut self, out: &mut Vec<T>) {
        self.datagrams.clear();
        out.extend(self.pieces.drain().map(|piece| piece.item));
        self.buckets.fill(NIL);
        self.queues.fill(Queue { oldest: NIL, youngest: NIL, held: 0 });
    }

    fn find(&self, id: &K) -> Option<usize> {
        let mut at = self.buckets[self.bucket_of(id)];
        while let Some(datagram) = self.datagrams.get(at) {
            if datagram.id == *id {
                return Some(at);
            }
            at = datagram.next;
        }
        None
    }

    fn bucket_of(&self, id: &K) -> usize {
        id.hash(self.seed) as usize & (self.buckets.len() - 1)
    }

    /// Makes room for a new datagram.
    fn begin(&mut self, now_ms: u64, limits: &Limits, id: K) -> Result<usize, Failure> {
        let bucket = self.bucket_of(&id);
        let Some(queue) = self.queues.get_mut(usize::from(id.ifindex())) else { return Err(Failure::Size) };
        if limits.chain < 2 {
            return Err(Failure::Chain);
        }
        if queue.held + limits.elsewhere >= limits.threshold() {
            return Err(Failure::Threshold);
        }
        if self.datagrams.len() == self.capacity || self.pieces.len() == self.capacity {
            return Err(Failure::Size);
        }
        let at = self.datagrams.insert(Datagram {
            id,
            bucket,
            since_ms: now_ms,
            first: NIL,
            last: NIL,
            count: 0,
            bytes: 0,
            len: None,
            failed: None,
            next: self.buckets[bucket],
            older: queue.youngest,
            younger: NIL,
        });
        self.buckets[bucket] = at;
        match std::mem::replace(&mut queue.youngest, at) {
            NIL => queue.oldest = at,
            older => self.datagrams[older].younger = at,
        }
        Ok(at)
    }

    /// The piece behind which a span belongs, if it may be taken.
    fn place(&self, at: usize, limits: &Limits, span: Span) -> Result<usize, Failure> {
        let datagram = &self.datagrams[at];
        if let Some(why) = datagram.failed {
            return Err(why);
        }
        let behind = self.neighbour(datagram, span);
        let before = if behind == NIL { datagram.first } else { self.pieces[behind].behind };
        let (left, right) = (self.pieces.get(behind), self.pieces.get(before));
        if left.is_some_and(|piece| piece.span == span) {
            return Err(Failure::Duplicate);
        }
        if left.is_some_and(|piece| piece.span.end > span.start)
            || right.is_some_and(|piece| piece.span.start < span.end)
        {
            return Err(Failure::Overlap);
        }
        // The last one may not end twice, nor before bytes that are here, nor may there be bytes behind it.
        let fits = match (datagram.len, span.more) {
            (Some(len), true) => span.end < len,
            (Some(_), false) => false,
            (None, true) => true,
            (None, false) => right.is_none(),
        };
        if !fits {
            return Err(Failure::Length);
        }
        if datagram.count >= limits.chain {
            return Err(Failure::Chain);
        }
        if self.queues[usize::from(datagram.id.ifindex())].held + limits.elsewhere >= limits.size
            || self.pieces.len() == self.capacity
        {
            return Err(Failure::Size);
        }
        Ok(behind)
    }

    /// The last piece that begins no later than `span`, or [`NIL`].
    fn neighbour(&self, datagram: &Datagram<K>, span: Span) -> usize {
        if self.pieces.get(datagram.first).is_none_or(|first| first.span.start > span.start) {
            return NIL;
        }
        let mut at = datagram.last;
        while self.pieces[at].span.start > span.start {
            at = self.pieces[at].before;
        }
        at
    }

    fn link(&mut self, at: usize, before: usize, span: Span, item: T) {
        let datagram = &mut self.datagrams[at];
        let behind = if before == NIL { datagram.first } else { self.pieces[before].behind };
        let new = self.pieces.insert(Piece { item, span, before, behind });
        match self.pieces.get_mut(before) {
            Some(piece) => piece.behind = new,
            None => datagram.first = new,
        }
        match self.pieces.get_mut(behind) {
            Some(piece) => piece.before = new,
            None => datagram.last = new,
        }
        datagram.count += 1;
        datagram.bytes += u32::from(span.end - span.start);
        if !span.more {
            datagram.len = Some(span.end);
        }
        self.queues[usize::from(datagram.id.ifindex())].held += 1;
    }

    /// Pushes a datagram's pieces to `out`, in order.
    fn release(&mut self, at: usize, out: &mut Vec<T>) {
        let datagram = &mut self.datagrams[at];
        let mut next = std::mem::replace(&mut datagram.first, NIL);
        datagram.last = NIL;
        self.queues[usize::from(datagram.id.ifindex())].held -= datagram.count;
        datagram.count = 0;
        while let Some(piece) = self.pieces.try_remove(next) {
            out.push(piece.item);
            next = piece.behind;
        }
    }

    /// Gives up a datagram, if it is not dead already. Its entry stays until its time is over.
    fn kill(&mut self, id: &K, why: Failure, out: &mut Vec<T>) {
        let Some(at) = self.find(id).filter(|at| self.datagrams[*at].failed.is_none()) else { return };
        self.release(at, out);
        let datagram = &mut self.datagrams[at];
        datagram.failed = Some(why);
        self.queues[usize::from(id.ifindex())].held += 1;
    }

    /// Takes a datagram without pieces out of the table.
    fn forget(&mut self, at: usize) {
        let gone = self.datagrams.remove(at);
        let queue = &mut self.queues[usize::from(gone.id.ifindex())];
        if gone.failed.is_some() {
            queue.held -= 1;
        }
        match self.datagrams.get_mut(gone.older) {
            Some(older) => older.younger = gone.younger,
            None => queue.oldest = gone.younger,
        }
        match self.datagrams.get_mut(gone.younger) {
            Some(younger) => younger.older = gone.older,
            None => queue.youngest = gone.older,
        }
        if self.buckets[gone.bucket] == at {
            self.buckets[gone.bucket] = gone.next;
            return;
        }
        let mut before = self.buckets[gone.bucket];
        while let Some(datagram) = self.datagrams.get_mut(before) {
            if datagram.next == at {
                datagram.next = gone.next;
                return;
            }
            before = datagram.next;
        }
    }
}
