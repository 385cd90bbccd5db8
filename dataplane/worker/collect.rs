// SPDX-License-Identifier: MIT OR Apache-2.0
//! What fragments of both families have in common: where a worker keeps them, their bounds, their counters and their ends.
//!
//! A [`Reassembly`] each, since what is known of a piece differs, under one `fragment size` of the interface. What becomes of a
//! datagram that is whole is its family's: [`super::slow::fragments`] and [`super::v6::fragments`].
//!
//! Every fragment that is not sent on is a `fragment-reassembly-failed` drop or what became of its datagram, and counted by
//! its interface for `show fragment`. Worker core only, slow path; the buffers are made at the start.

use super::clock::Now;
use super::net::{Net, Origin};
use super::reassembly::{Failure, Identity, Ipv4Identity, Ipv6Identity, Limits, Reassembly, Span, Verdict};
use super::runtime::View;
use super::{slow, v6};
use dpdk::Mbuf;
use fedgate_tables::counters::FragmentCounter;
use fedgate_tables::drops::DropReason;
use fedgate_tables::policy::MAX_INTERFACES;
use fedgate_wire::{Fragment, Parsed, Parsed6};

/// Fragments of one family that one worker holds at most, whatever the policy's bounds for its interfaces.
const CAPACITY: usize = 1024;
/// Of the packet buffers there are, the share that fragments of one family may hold.
const SHARE: usize = 16;
/// Datagrams of one family that end in one loop because their time is over.
const EXPIRED_A_LOOP: usize = 8;

/// A fragment: its buffer, and what the parser says of it.
pub(super) struct Piece<P> {
    pub mbuf: Mbuf,
    pub parsed: P,
}

/// The pieces of a datagram whose time has come, first byte first. The vector is the worker's; it comes back empty.
pub(super) type Pieces<P> = Vec<Piece<P>>;

/// What the families differ in; told apart by what their parsers give.
pub(super) trait Family: Sized {
    /// Names a datagram.
    type Id: Identity;

    /// Where its fragments are.
    fn store(fragments: &mut Fragments) -> &mut Store<Self>;

    /// The time of these is over: says so to whom that is owed.
    fn overdue(net: &mut Net, view: &View<'_>, now: Now, ifindex: u8, pieces: &Pieces<Self>);
}

/// One family's fragments.
pub(super) struct Store<P: Family> {
    table: Reassembly<P::Id, Piece<P>>,
    out: Pieces<P>,
}

impl<P: Family> Store<P> {
    fn new(mbufs: usize, seed: u64) -> Self {
        let capacity = (mbufs / SHARE).clamp(1, CAPACITY);
        Self { table: Reassembly::new(capacity, seed), out: Vec::with_capacity(capacity + 1) }
    }
}

/// A worker's fragments.
pub(super) struct Fragments {
    v4: Store<Parsed>,
    v6: Store<Parsed6>,
    /// The last IPv4 identification given.
    ident: u16,
}

impl Fragments {
    /// With `mbufs` packet buffers to take from, and a seed for what outsiders must not foresee.
    pub fn new(mbufs: usize, seed: u64) -> Self {
        Self {
            v4: Store::new(mbufs, seed),
            v6: Store::new(mbufs, seed.rotate_left(17)),
            ident: (seed >> 32) as u16,
        }
    }

    /// One that none of this worker's last 65,535 fragmented datagrams had.
    pub fn new_ident(&mut self) -> u16 {
        self.ident = self.ident.wrapping_add(1);
        self.ident
    }

    /// Gives a whole datagram that will be cut, and whose source several hosts share, an identification of ours: theirs may be the
    /// same (RFC 6864 5.3). The pieces' checksums are made when they are cut.
    pub fn give_ident(&mut self, frame: &mut [u8], parsed: &Parsed) {
        let at = usize::from(parsed.l3) + 4;
        if parsed.frag == Fragment::No
            && let Some(field) = frame.get_mut(at..at + 2)
        {
            field.copy_from_slice(&self.new_ident().to_be_bytes());
        }
    }

    /// Fragments of interface `ifindex` that wait.
    fn held(&self, ifindex: u8) -> u32 {
        self.v4.table.held(ifindex) + self.v6.table.held(ifindex)
    }
}

/// Takes a fragment from `ifindex`; `whole` gets all of its datagram, and the length of what they carry, when this was the last one
/// missing.
pub(super) fn put<P: Family>(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    (id, span): (P::Id, Span),
    piece: Piece<P>,
    whole: impl FnOnce(&mut Net, &mut Pieces<P>, u16),
) {
    let ifindex = id.ifindex();
    let all = net.fragments.held(ifindex);
    let Store { table, out } = P::store(&mut net.fragments);
    let limits = limits(view, all - table.held(ifindex));
    let mut pieces = std::mem::take(out);
    match table.put(now.millis(), &limits, id, span, piece, &mut pieces) {
        Verdict::Held => {}
        Verdict::Whole { len } => {
            // A datagram that is handed on whole was counted by the worker that collected it first.
            if net.origin() != Origin::Mate {
                net.counters.fragment(ifindex, FragmentCounter::Assembled, 1);
            }
            whole(net, &mut pieces, len);
        }
        Verdict::Refused(why) => refuse(net, ifindex, why, &mut pieces),
    }
    put_back(net, ifindex, pieces);
}

/// Ends what did not come in time. Gives how many datagrams that were.
pub(super) fn expire(net: &mut Net, view: &View<'_>, now: Now) -> usize {
    expire_of::<Parsed>(net, view, now) + expire_of::<Parsed6>(net, view, now)
}

fn expire_of<P: Family>(net: &mut Net, view: &View<'_>, now: Now) -> usize {
    let timeout = limits(view, 0).timeout_ms;
    for done in 0..EXPIRED_A_LOOP {
        let Store { table, out } = P::store(&mut net.fragments);
        if table.is_empty() {
            return done;
        }
        let mut pieces = std::mem::take(out);
        let Some(ended) = table.expire(now.millis(), |_| timeout, &mut pieces) else {
            *out = pieces;
            return done;
        };
        P::overdue(net, view, now, ended.ifindex, &pieces);
        refuse(net, ended.ifindex, Failure::Timeout, &mut pieces);
        put_back(net, ended.ifindex, pieces);
    }
    EXPIRED_A_LOOP
}

/// Drops whatever waits: interfaces have changed places.
#[cold]
pub(super) fn clear(net: &mut Net) {
    clear_of::<Parsed>(net);
    clear_of::<Parsed6>(net);
    for ifindex in 0..MAX_INTERFACES as u8 {
        net.counters.fragments_waiting(ifindex, 0);
    }
}

fn clear_of<P: Family>(net: &mut Net) {
    let Store { table, out } = P::store(&mut net.fragments);
    let mut pieces = std::mem::take(out);
    table.clear(&mut pieces);
    drop_all(net, DropReason::Fragment, &mut pieces);
    P::store(&mut net.fragments).out = pieces;
}

fn put_back<P: Family>(net: &mut Net, ifindex: u8, pieces: Pieces<P>) {
    debug_assert!(pieces.is_empty());
    P::store(&mut net.fragments).out = pieces;
    net.counters.fragments_waiting(ifindex, net.fragments.held(ifindex));
}

fn refuse<P>(net: &mut Net, ifindex: u8, why: Failure, pieces: &mut Pieces<P>) {
    let counter = match why {
        Failure::Timeout => FragmentCounter::Timeout,
        Failure::Size => FragmentCounter::Size,
        Failure::Threshold => FragmentCounter::Threshold,
        Failure::Chain => FragmentCounter::Chain,
        Failure::Overlap => FragmentCounter::Overlap,
        Failure::Length => FragmentCounter::Length,
        Failure::Duplicate => FragmentCounter::Duplicate,
    };
    net.counters.fragment(ifindex, counter, pieces.len() as u64);
    drop_all(net, DropReason::Fragment, pieces);
}

/// Drops pieces that have come out, all for one reason.
pub(super) fn drop_all<P>(net: &mut Net, reason: DropReason, pieces: &mut Pieces<P>) {
    for piece in pieces.drain(..) {
        net.drop(reason, piece.mbuf);
    }
}

/// `fragment size | chain | timeout`.
fn limits(view: &View<'_>, elsewhere: u32) -> Limits {
    let globals = view.flow.globals;
    Limits {
        size: globals.fragment_size,
        chain: globals.fragment_chain,
        timeout_ms: u64::from(globals.fragment_timeout) * 1000,
        elsewhere,
    }
}

impl Family for Parsed {
    type Id = Ipv4Identity;

    fn store(fragments: &mut Fragments) -> &mut Store<Self> {
        &mut fragments.v4
    }

    fn overdue(net: &mut Net, view: &View<'_>, now: Now, ifindex: u8, pieces: &Pieces<Self>) {
        slow::fragments::overdue(net, view, now, ifindex, pieces);
    }
}

impl Family for Parsed6 {
    type Id = Ipv6Identity;

    fn store(fragments: &mut Fragments) -> &mut Store<Self> {
        &mut fragments.v6
    }

    fn overdue(net: &mut Net, view: &View<'_>, now: Now, ifindex: u8, pieces: &Pieces<Self>) {
        v6::fragments::overdue(net, view, now, ifindex, pieces);
    }
}
