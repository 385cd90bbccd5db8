// SPDX-License-Identifier: MIT OR Apache-2.0
//! The neighbours of one worker: which station has a next hop's address, and the packets that wait to know.
//!
//! One table for ARP and one for IPv6 neighbour discovery, of the same make: they differ in the address's type, in the
//! messages that the caller reads and writes, and in how long an entry lives (hours there, half a minute here: RFC 4861 10).
//!
//! Each worker has tables of its own, so that the fast path takes no lock: [`Neighbours::mac`] is an index and a
//! compare. A connection keeps the [`NextHop`] handle; an entry that goes away takes a new generation with
//! it, so that an old handle finds nothing rather than another host. Everything else is slow path.
//!
//! An entry is asked for of all once a second, three times, then its packets are handed back as failed. A known one
//! lives for the timeout after it was last confirmed; in its last three seconds, if it was used since, it is
//! asked by unicast (RFC 1122 2.3.2.1, RFC 4861 7.3), so that a host in use is never forgotten and an idle one is.
//!
//! Nobody can fill the table from outside: an entry is made by our own need to send, or by a request for an
//! address of ours (which the caller has found to come from a connected network). Other messages only update what is
//! there. Entries not yet answered have their own, smaller bound, so that a scan of a large connected network
//! cannot keep known hosts out. Bounds: [`Limits`]; all memory is set aside at the start.
//!
//! Sans-IO: time is an argument (milliseconds of any steady clock), what is to be done comes out as [`Action`]s.
//! Called on the worker's core only.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::Hash;

use fedgate_wire::MacAddr;

mod held;
mod types;
use held::{Pool, Queue};
pub use types::{Action, Entry, Heard, Learned, Limits, MAX_ENTRIES, NextHop, Refusal, Resolve, State};

/// Between two requests for one address (RFC 1122 2.3.2.1 asks for at most one a second).
const RETRY_MS: u64 = 1000;
/// Requests before an address is given up.
const TRIES: u8 = 3;
/// How long before its end an entry in use is asked again.
const PROBE_LEAD_MS: u64 = RETRY_MS * TRIES as u64;
/// Timers looked at in one [`Neighbours::poll`], so that no burst waits for a crowd of them.
const POLL_BUDGET: usize = 32;

#[derive(Debug)]
struct Slot<A> {
    /// None: free.
    state: Option<State>,
    used: bool,
    tries: u8,
    mac: MacAddr,
    generation: u32,
    ifindex: u32,
    ip: A,
    held: Queue,
    since_ms: u64,
}

/// The table. `P` is the type of a packet, `A` that of an address, whose default is nobody's.
#[derive(Debug)]
pub struct Neighbours<P, A = u32> {
    limits: Limits,
    slots: Vec<Slot<A>>,
    free: VecDeque<u16>,
    by_address: HashMap<(u32, A), u16>,
    /// Exactly one for each live entry; an entry's due time only moves later, which its timer finds out when it fires.
    timers: BinaryHeap<Reverse<(u64, NextHop)>>,
    incomplete: usize,
    pool: Pool<P>,
    changes: u64,
}

impl<P, A: Copy + Default + Eq + Hash> Neighbours<P, A> {
    /// An empty table with all the memory it will use. Limits over the documented ones are cut to them.
    pub fn new(limits: Limits) -> Self {
        let limits = limits.sane();
        Self {
            slots: Vec::with_capacity(limits.entries),
            free: VecDeque::with_capacity(limits.entries),
            by_address: HashMap::with_capacity(limits.entries),
            timers: BinaryHeap::with_capacity(limits.entries),
            incomplete: 0,
            pool: Pool::new(limits.held),
            changes: 0,
            limits,
        }
    }

    /// The station behind a handle. None where the entry is gone or not yet answered: a packet then goes through [`Self::resolve`].
    /// The answer holds until [`Self::changes`] says otherwise; who keeps it says by [`Self::touch`] that it is in use.
    #[inline]
    pub fn mac(&self, hop: NextHop) -> Option<MacAddr> {
        let slot = self.slots.get(hop.index())?;
        (slot.generation == hop.generation() && slot.is_known()).then_some(slot.mac)
    }

    /// Counts whatever changes an answer of [`Self::mac`].
    #[inline]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The entry behind a handle is in use.
    pub fn touch(&mut self, hop: NextHop) {
        if let Some(slot) = self.slots.get_mut(hop.index()).filter(|s| s.generation == hop.generation()) {
            slot.used = true;
        }
    }

    /// Whether [`Self::poll`] has something to do.
    #[inline]
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.timers.peek().is_some_and(|&Reverse((due, _))| due <= now_ms)
    }

    /// Finds out who has `ip`, with the packet that is to go there. Never blocks, asks where need be.
    pub fn resolve(
        &mut self,
        now_ms: u64,
        ifindex: u32,
        ip: A,
        packet: P,
        act: &mut impl FnMut(Action<P, A>),
    ) -> Resolve<P> {
        let index = match self.by_address.get(&(ifindex, ip)) {
            Some(&index) => usize::from(index),
            None => {
                if self.incomplete >= self.limits.incomplete {
                    return Resolve::Refused { why: Refusal::TableFull, packet };
                }
                let Some(index) = self.create(now_ms, ifindex, ip, State::Incomplete, MacAddr::ZERO) else {
                    return Resolve::Refused { why: Refusal::TableFull, packet };
                };
                self.slots[index].tries = 1;
                self.arm(index, now_ms + RETRY_MS);
                act(Action::SendRequest { ifindex, ip, to: MacAddr::BROADCAST });
                index
            }
        };
        let slot = &mut self.slots[index];
        let hop = NextHop::new(index, slot.generation);
        if slot.is_known() {
            slot.used = true;
            return Resolve::Known { hop, mac: slot.mac, packet };
        }
        if slot.held.len() >= self.limits.held_per_entry {
            return Resolve::Refused { why: Refusal::EntryQueueFull, packet };
        }
        match self.pool.push(&mut slot.held, packet) {
            Ok(()) => Resolve::Held { hop },
            Err(packet) => Resolve::Refused { why: Refusal::QueueFull, packet },
        }
    }

    /// The station that has an address, where it is known. Asks nobody, and is no use of the entry.
    pub fn known(&self, ifindex: u32, ip: A) -> Option<MacAddr> {
        let slot = &self.slots[usize::from(*self.by_address.get(&(ifindex, ip))?)];
        slot.is_known().then_some(slot.mac)
    }

    /// Takes in what a message says of an address; packets that waited for it come out.
    pub fn hear(&mut self, now_ms: u64, heard: Heard<A>, act: &mut impl FnMut(Action<P, A>)) -> Learned {
        let Heard { ifindex, ip, mac, asks_us } = heard;
        if ip == A::default() || !mac.is_unicast() {
            return Learned::Ignored;
        }
        let Some(&index) = self.by_address.get(&(ifindex, ip)) else {
            if !asks_us {
                return Learned::Ignored;
            }
            let Some(index) = self.create(now_ms, ifindex, ip, State::Reachable, mac) else {
                return Learned::Ignored;
            };
            self.arm(index, now_ms + self.limits.timeout_ms - PROBE_LEAD_MS);
            return Learned::Created;
        };
        let slot = &mut self.slots[usize::from(index)];
        let learned = match slot.state {
            Some(State::Incomplete) => Learned::Resolved,
            _ if slot.mac != mac => Learned::Moved { from: slot.mac },
            _ => Learned::Confirmed,
        };
        self.changes += u64::from(learned != Learned::Confirmed);
        slot.state = Some(State::Reachable);
        slot.mac = mac;
        slot.since_ms = now_ms;
        slot.used = false;
        if learned == Learned::Resolved {
            self.incomplete -= 1;
            while let Some(packet) = self.pool.pop(&mut slot.held) {
                slot.used = true;
                act(Action::Transmit { ifindex, mac, packet });
            }
        }
        learned
    }

    /// Does what has come due. To be called about every 100 ms or more often; costs one compare where nothing is due.
    pub fn poll(&mut self, now_ms: u64, act: &mut impl FnMut(Action<P, A>)) {
        for _ in 0..POLL_BUDGET {
            match self.timers.peek() {
                Some(&Reverse((due, hop))) if due <= now_ms => {
                    self.timers.pop();
                    self.fire(now_ms, hop.index(), act);
                }
                _ => return,
            }
        }
    }

    /// Sets the timeout, for the entries that are there too. At least 10 s are kept to.
    pub fn set_timeout(&mut self, timeout_ms: u64) {
        self.limits.timeout_ms = timeout_ms;
        self.limits = self.limits.sane();
        let lifetime = self.limits.timeout_ms - PROBE_LEAD_MS;
        let slots = &self.slots;
        let timers = std::mem::take(&mut self.timers).into_vec().into_iter().map(|Reverse((due, hop))| {
            let slot = &slots[hop.index()];
            let reachable = slot.state == Some(State::Reachable);
            Reverse((if reachable { due.min(slot.since_ms + lifetime) } else { due }, hop))
        });
        self.timers = timers.collect::<Vec<_>>().into();
    }

    /// Forgets all entries, or those of one interface (`clear arp`, an interface's change); their packets fail.
    pub fn clear(&mut self, ifindex: Option<u32>, act: &mut impl FnMut(Action<P, A>)) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if slot.state.is_some() && ifindex.is_none_or(|only| only == slot.ifindex) {
                self.remove(index, act);
            }
        }
        let slots = &self.slots;
        self.timers.retain(|Reverse((_, hop))| slots[hop.index()].generation == hop.generation());
    }

    /// The entries, in no order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<A>> {
        self.slots.iter().filter_map(|slot| {
            Some(Entry {
                ifindex: slot.ifindex,
                ip: slot.ip,
                mac: slot.mac,
                state: slot.state?,
                since_ms: slot.since_ms,
                held: slot.held.len(),
            })
        })
    }

    /// Packets that wait.
    pub fn held(&self) -> usize {
        self.pool.len()
    }

    /// An entry's timer has fired: its next step.
    #[cold]
    fn fire(&mut self, now_ms: u64, index: usize, act: &mut impl FnMut(Action<P, A>)) {
        let lifetime = self.limits.timeout_ms - PROBE_LEAD_MS;
        let slot = &mut self.slots[index];
        let (ifindex, ip) = (slot.ifindex, slot.ip);
        match slot.state {
            // Its timer went with it.
            None => return,
            Some(State::Reachable) if now_ms < slot.since_ms + lifetime => {
                let due = slot.since_ms + lifetime;
                return self.arm(index, due);
            }
            Some(State::Reachable) => {
                slot.state = Some(State::Stale);
                slot.tries = 0;
            }
            Some(State::Incomplete | State::Stale) => {}
        }
        if slot.tries == TRIES {
            return self.remove(index, act);
        }
        slot.tries += 1;
        if !slot.is_known() {
            act(Action::SendRequest { ifindex, ip, to: MacAddr::BROADCAST });
        } else if slot.used {
            act(Action::SendRequest { ifindex, ip, to: slot.mac });
        }
        self.arm(index, now_ms + RETRY_MS);
    }

    fn arm(&mut self, index: usize, due_ms: u64) {
        self.timers.push(Reverse((due_ms, NextHop::new(index, self.slots[index].generation))));
    }

    /// A new entry without a timer; None where the table is full.
    fn create(&mut self, now_ms: u64, ifindex: u32, ip: A, state: State, mac: MacAddr) -> Option<usize> {
        let index = if self.slots.len() < self.limits.entries {
            self.slots.push(Slot {
                state: None,
                used: false,
                tries: 0,
                mac,
                generation: 1,
                ifindex,
                ip,
                held: Queue::default(),
                since_ms: now_ms,
            });
            self.slots.len() - 1
        } else {
            usize::from(self.free.pop_front()?)
        };
        let slot = &mut self.slots[index];
        (slot.state, slot.used, slot.tries, slot.mac) = (Some(state), false, 0, mac);
        (slot.ifindex, slot.ip, slot.since_ms) = (ifindex, ip, now_ms);
        self.incomplete += usize::from(state == State::Incomplete);
        self.by_address.insert((ifindex, ip), index as u16);
        Some(index)
    }

    /// Frees an entry; its handles find nothing from now on. Its timer is the caller's to drop.
    fn remove(&mut self, index: usize, act: &mut impl FnMut(Action<P, A>)) {
        self.changes += 1;
        let slot = &mut self.slots[index];
        let (ifindex, ip) = (slot.ifindex, slot.ip);
        self.incomplete -= usize::from(slot.state == Some(State::Incomplete));
        slot.state = None;
        slot.generation = slot.generation % NextHop::LAST_GENERATION + 1;
        while let Some(packet) = self.pool.pop(&mut slot.held) {
            act(Action::Failed { ifindex, ip, packet });
        }
        self.by_address.remove(&(ifindex, ip));
        self.free.push_back(index as u16);
    }
}

impl<A> Slot<A> {
    #[inline]
    fn is_known(&self) -> bool {
        matches!(self.state, Some(State::Reachable | State::Stale))
    }
}

#[cfg(test)]
mod tests;
