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
//! What only claims to have an address (a neighbour solicitation, an advertisement nobody asked for) makes an entry stale: it is used,
//! and asked by unicast within seconds of its use (RFC 4861 7.2.3, 7.2.5).
//!
//! Nobody can fill the table from outside: an entry is made by our own need to send, or by a request for an
//! address of ours (which the caller has found to come from a connected network). Those that requests made and that nothing was
//! sent to are *learnt*: they have a bound an interface, at which the oldest makes room, and any of them makes room for what we
//! have to send. Entries not yet answered have a bound an interface, too, so that a scan of a large connected network keeps neither known
//! hosts nor other networks out (RFC 6583). Other messages only update what is there. Bounds: [`Limits`].
//!
//! Sans-IO: time is an argument (milliseconds of any steady clock), what is to be done comes out as [`Action`]s.
//! Called on the worker's core only.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::Hash;

use fedgate_wire::MacAddr;

mod held;
mod learnt;
mod types;
use held::{Pool, Queue};
use learnt::Links;
pub use types::{Action, Entry, Heard, Learned, Limits, MAX_ENTRIES, NextHop, Refusal, Resolve, State};

/// Between two requests for one address (RFC 1122 2.3.2.1 asks for at most one a second).
const RETRY_MS: u64 = 1000;
/// Requests before an address is given up.
const TRIES: u8 = 3;
/// How long before its end an entry in use is asked again.
const PROBE_LEAD_MS: u64 = RETRY_MS * TRIES as u64;
/// How soon an entry by hearsay is asked after its first use (RFC 4861 section 10, DELAY_FIRST_PROBE_TIME).
const DELAY_MS: u64 = 5000;
/// Timers looked at in one [`Neighbours::poll`], so that no burst waits for a crowd of them.
const POLL_BUDGET: usize = 32;

#[derive(Debug)]
struct Slot<A> {
    /// None: free.
    state: Option<State>,
    used: bool,
    /// Made by a request, and nothing sent to it: no handle was given out.
    learnt: bool,
    tries: u8,
    mac: MacAddr,
    generation: u32,
    ifindex: u32,
    ip: A,
    held: Queue,
    since_ms: u64,
    /// When its timer is due; others that name it are dead.
    due_ms: u64,
}

/// The table. `P` is the type of a packet, `A` that of an address, whose default is nobody's.
#[derive(Debug)]
pub struct Neighbours<P, A = u32> {
    limits: Limits,
    slots: Vec<Slot<A>>,
    free: VecDeque<u16>,
    by_address: HashMap<(u32, A), u16>,
    /// One for each entry, and dead ones: as many as entries at most before they are cleared out.
    timers: BinaryHeap<Reverse<(u64, NextHop)>>,
    links: Links,
    pool: Pool<P>,
    changes: u64,
}

/// What addresses are: IPv4's or IPv6's, in host order.
pub trait Address: Copy + Default + Eq + Hash {}
impl Address for u32 {}
impl Address for u128 {}

impl<P, A: Address> Neighbours<P, A> {
    /// An empty table with all the memory it will use. Limits over the documented ones are cut to them.
    pub fn new(limits: Limits) -> Self {
        let limits = limits.sane();
        Self {
            slots: Vec::with_capacity(limits.entries),
            free: VecDeque::with_capacity(limits.entries),
            by_address: HashMap::with_capacity(limits.entries),
            timers: BinaryHeap::with_capacity(2 * limits.entries + 1),
            links: Links::default(),
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
                if self.links.incomplete(ifindex) >= self.limits.incomplete || !self.make_room() {
                    return Resolve::Refused { why: Refusal::TableFull, packet };
                }
                let index = self.create(now_ms, ifindex, ip, State::Incomplete, MacAddr::ZERO);
                self.links.add_incomplete(ifindex);
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
            if std::mem::take(&mut slot.learnt) {
                self.links.forget(ifindex);
            }
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

    /// What [`Self::resolve`] would say of a packet, without any effect: the station, or `None` where it would wait. That room can be made in a
    /// full table is taken for granted.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn foresee(&self, ifindex: u32, ip: A) -> Result<Option<MacAddr>, Refusal> {
        let waits = match self.by_address.get(&(ifindex, ip)).map(|index| &self.slots[usize::from(*index)]) {
            Some(slot) if slot.is_known() => return Ok(Some(slot.mac)),
            Some(slot) => slot.held.len(),
            None if self.links.incomplete(ifindex) >= self.limits.incomplete => {
                return Err(Refusal::TableFull);
            }
            None => 0,
        };
        if waits >= self.limits.held_per_entry {
            return Err(Refusal::EntryQueueFull);
        }
        if self.pool.len() >= self.limits.held { Err(Refusal::QueueFull) } else { Ok(None) }
    }

    /// The station that has an address, where it is known. Asks nobody, and is no use of the entry.
    pub fn known(&self, ifindex: u32, ip: A) -> Option<MacAddr> {
        let slot = &self.slots[usize::from(*self.by_address.get(&(ifindex, ip))?)];
        slot.is_known().then_some(slot.mac)
    }

    /// Whether an answer about an address is waited for, or would be welcome.
    pub fn awaits(&self, ifindex: u32, ip: A) -> bool {
        let slot = self.by_address.get(&(ifindex, ip)).map(|index| &self.slots[usize::from(*index)]);
        slot.is_some_and(|slot| matches!(slot.state, Some(State::Incomplete | State::Stale)))
    }

    /// Somebody else says to have an address, without the right to take it over: it is asked at its next use (RFC 4861 7.2.5).
    pub fn doubt(&mut self, now_ms: u64, ifindex: u32, ip: A) {
        if let Some(&index) = self.by_address.get(&(ifindex, ip))
            && self.slots[usize::from(index)].state == Some(State::Reachable)
        {
            self.make_stale(now_ms, index.into());
        }
    }

    /// Takes in what a message says of an address; packets that waited for it come out.
    pub fn hear(&mut self, now_ms: u64, heard: Heard<A>, act: &mut impl FnMut(Action<P, A>)) -> Learned {
        let Heard { ifindex, ip, mac, asks_us, confirms } = heard;
        if ip == A::default() || !mac.is_unicast() {
            return Learned::Ignored;
        }
        let Some(&index) = self.by_address.get(&(ifindex, ip)) else {
            if !asks_us || !self.make_room_to_learn(ifindex) {
                return Learned::Ignored;
            }
            let index = self.create(now_ms, ifindex, ip, State::Reachable, mac);
            self.slots[index].learnt = true;
            self.links.add(ifindex, NextHop::new(index, self.slots[index].generation));
            if confirms {
                self.arm(index, now_ms + self.limits.timeout_ms - PROBE_LEAD_MS);
            } else {
                self.make_stale(now_ms, index);
            }
            return Learned::Created;
        };
        let index = usize::from(index);
        let slot = &mut self.slots[index];
        let learned = match slot.state {
            Some(State::Incomplete) => Learned::Resolved,
            _ if slot.mac != mac => Learned::Moved { from: slot.mac },
            _ => Learned::Confirmed,
        };
        if learned == Learned::Confirmed && !confirms {
            return learned;
        }
        // Nobody has a handle to one that is only learnt.
        self.changes += u64::from(learned != Learned::Confirmed && !slot.learnt);
        slot.state = Some(State::Reachable);
        slot.mac = mac;
        slot.since_ms = now_ms;
        slot.used = false;
        if !confirms {
            self.make_stale(now_ms, index);
        }
        if learned == Learned::Resolved {
            self.links.sub_incomplete(ifindex);
            let slot = &mut self.slots[index];
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
                    if self.slots[hop.index()].is_timer(due, hop) {
                        self.fire(now_ms, hop.index(), act);
                    }
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
        self.drop_dead_timers();
        let slots = &mut self.slots;
        let mut timers = std::mem::take(&mut self.timers).into_vec();
        for Reverse((due, hop)) in &mut timers {
            let slot = &mut slots[hop.index()];
            if slot.state == Some(State::Reachable) {
                *due = (*due).min(slot.since_ms + lifetime);
            }
            slot.due_ms = *due;
        }
        self.timers = timers.into();
    }

    /// Forgets all entries, or those of one interface (`clear arp`, an interface's change); their packets fail.
    pub fn clear(&mut self, ifindex: Option<u32>, act: &mut impl FnMut(Action<P, A>)) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if slot.state.is_some() && ifindex.is_none_or(|only| only == slot.ifindex) {
                self.remove(index, act);
            }
        }
        self.drop_dead_timers();
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
            // It has no timer.
            None => return,
            Some(State::Reachable) if now_ms < slot.since_ms + lifetime => {
                let due = slot.since_ms + lifetime;
                return self.arm(index, due);
            }
            Some(State::Reachable) => {
                slot.state = Some(State::Stale);
                slot.tries = 0;
            }
            // By hearsay, and not used.
            Some(State::Stale) if slot.tries == 0 && !slot.used && now_ms < slot.since_ms + lifetime => {
                let due = (now_ms + DELAY_MS).min(slot.since_ms + lifetime);
                return self.arm(index, due);
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

    /// Gives an entry its timer; one that it has already is dead.
    fn arm(&mut self, index: usize, due_ms: u64) {
        let slot = &mut self.slots[index];
        if slot.due_ms == due_ms {
            return; // it has this one
        }
        slot.due_ms = due_ms;
        let hop = NextHop::new(index, slot.generation);
        if self.timers.len() >= 2 * self.limits.entries {
            self.drop_dead_timers();
        }
        self.timers.push(Reverse((due_ms, hop)));
    }

    #[cold]
    fn drop_dead_timers(&mut self) {
        let mut timers = std::mem::take(&mut self.timers).into_vec();
        timers.retain(|Reverse((due, hop))| self.slots[hop.index()].is_timer(*due, *hop));
        timers.sort_unstable();
        timers.dedup();
        self.timers = timers.into();
    }

    /// An entry is known by hearsay only: its next use has it asked.
    fn make_stale(&mut self, now_ms: u64, index: usize) {
        let slot = &mut self.slots[index];
        (slot.state, slot.tries, slot.used) = (Some(State::Stale), 0, false);
        self.arm(index, now_ms + DELAY_MS);
    }

    /// Room for one more entry, where need be in place of a learnt one. False where there is none.
    fn make_room(&mut self) -> bool {
        self.by_address.len() < self.limits.entries
            || self.links.fullest().is_some_and(|ifindex| self.evict(ifindex))
    }

    /// The same for one that a request makes.
    fn make_room_to_learn(&mut self, ifindex: u32) -> bool {
        let slots = &self.slots;
        self.links.tidy(ifindex, |hop| slots[hop.index()].is_learnt_as(hop));
        if self.links.learnt(ifindex) >= self.limits.learnt { self.evict(ifindex) } else { self.make_room() }
    }

    /// Forgets the oldest learnt entry of an interface.
    fn evict(&mut self, ifindex: u32) -> bool {
        let slots = &self.slots;
        let Some(hop) = self.links.oldest(ifindex, |hop| slots[hop.index()].is_learnt_as(hop)) else {
            return false;
        };
        // It is known, so nothing waits for it.
        self.remove(hop.index(), &mut |_| ());
        true
    }

    /// A new entry without a timer. There is room.
    fn create(&mut self, now_ms: u64, ifindex: u32, ip: A, state: State, mac: MacAddr) -> usize {
        let fresh = Slot {
            state: Some(state),
            used: false,
            learnt: false,
            tries: 0,
            mac,
            generation: 1,
            ifindex,
            ip,
            held: Queue::default(),
            since_ms: now_ms,
            due_ms: now_ms,
        };
        // Slots are used again oldest first, and only once all have been used.
        let used = if self.slots.len() < self.limits.entries { None } else { self.free.pop_front() };
        let index = match used {
            Some(index) => {
                let slot = &mut self.slots[usize::from(index)];
                *slot = Slot { generation: slot.generation, ..fresh };
                usize::from(index)
            }
            None => {
                self.slots.push(fresh);
                self.slots.len() - 1
            }
        };
        self.by_address.insert((ifindex, ip), index as u16);
        index
    }

    /// Frees an entry; its handles find nothing from now on. Its timer is the caller's to drop.
    fn remove(&mut self, index: usize, act: &mut impl FnMut(Action<P, A>)) {
        let slot = &mut self.slots[index];
        let (ifindex, ip) = (slot.ifindex, slot.ip);
        if std::mem::take(&mut slot.learnt) {
            self.links.forget(ifindex);
        } else {
            self.changes += 1;
        }
        if slot.state == Some(State::Incomplete) {
            self.links.sub_incomplete(ifindex);
        }
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

    fn is_learnt_as(&self, hop: NextHop) -> bool {
        self.generation == hop.generation() && self.learnt
    }

    /// Whether a timer is this entry's.
    fn is_timer(&self, due_ms: u64, hop: NextHop) -> bool {
        self.generation == hop.generation() && self.due_ms == due_ms && self.state.is_some()
    }
}

#[cfg(test)]
mod tests;
