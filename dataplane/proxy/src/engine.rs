// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sessions of one worker: slots, limits, deadlines and the memory account.
//!
//! [`Engine::open`] for the SYN that policy sends here, [`Engine::input`] for each packet of either leg (that SYN
//! first), [`Engine::poll`] once a burst. Input goes as far as TCP's buffers; what follows from it is done by the poll, once a session
//! however many packets it had, so that a burst costs one acknowledgement and one look at each session. The connection table keeps the [`SessionId`]
//! beside the connection and finds it by hash, so nothing here looks anything up. Opening allocates; after that the engine itself does not.
//!
//! A session whose peers have both closed still waits out TIME_WAIT. Such sessions give way, oldest first and
//! without a RST, when a new one needs the room: the worst that follows is that a peer repeats its last FIN.

use crate::api::{
    AbortReason, CloseReason, Context, InputError, Leg, Limits, Met, Micros, OpenError, OpenParams, Output,
    Road, SessionId,
};
use crate::deadlines::Deadlines;
use crate::edges::Edges;
use crate::inspected::Inspection;
use crate::pool::Pool;
use crate::session::{Env, Next, Session};
use crate::side::{HANDSHAKE_COST, Side};
use crate::sip::{DomainList, LocalDomains};
use crate::sources::{Place, Share, Sources};
use crate::tcp::{Buffers, Endpoint, LEAST_RX};
use crate::tls::ProxyTls;
use crate::watch::Watch;
use fedgate_sip::dialog::{Dialogs, Roster};
use fedgate_sip::inspect::Rates;
use fedgate_sip::partner::Tally;
use std::collections::VecDeque;
use std::sync::Arc;

mod foresee;
mod shows;
mod trust;

/// The part of [`Limits::handshakes`] that is given to whoever sends a SYN.
const CROWDED: u32 = 4;
/// Sessions looked after in one [`Engine::poll`].
const SESSIONS_A_POLL: usize = 64;

/// All proxy sessions of one worker.
pub struct Engine {
    limits: Limits,
    /// A smaller bound on sessions; 0 for none.
    by_policy: u32,
    slots: Vec<Slot>,
    free: Vec<u32>,
    deadlines: Deadlines,
    /// Sessions that have had packets since the last poll.
    woken: Vec<u32>,
    /// What has crossed, of all sessions.
    dialogs: Dialogs,
    inspection: Inspection,
    /// Whether peers are still good.
    trust: trust::Trust,
    /// Sessions in TIME_WAIT, oldest first; some may be gone already.
    lingering: VecDeque<SessionId>,
    /// Sessions in the order they were opened, as far as they may still be in TCP's handshake.
    embryonic: VecDeque<SessionId>,
    open: u32,
    handshakes: u32,
    /// Whose the sessions are.
    sources: Sources,
    /// This worker's number.
    worker: usize,
    memory: usize,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    session: Option<Box<Session>>,
    /// Bytes of [`Engine::memory`] that are this session's.
    charged: usize,
    /// Counted in [`Engine::handshakes`].
    handshaking: bool,
    /// Named in [`Engine::lingering`].
    lingers: bool,
    /// It is no session's: a pool is watched from here.
    watch: Option<Box<Watch>>,
    /// Counted in [`Engine::sources`].
    place: Place,
    /// Named in [`Engine::woken`].
    woken: bool,
    /// When the session next wants to be called; [`Engine::deadlines`] may be earlier.
    next: Micros,
}

impl Engine {
    /// An engine without sessions; allocates nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            by_policy: 0,
            slots: Vec::new(),
            free: Vec::new(),
            deadlines: Deadlines::default(),
            woken: Vec::new(),
            dialogs: Dialogs::new(limits.dialogs),
            inspection: Inspection {
                rates: Rates::default(),
                tally: Tally::default(),
                edges: Edges::default(),
                workers: limits.workers,
            },
            trust: trust::Trust::default(),
            lingering: VecDeque::new(),
            embryonic: VecDeque::new(),
            open: 0,
            handshakes: 0,
            sources: Sources::default(),
            worker: 0,
            memory: 0,
        }
    }

    /// The same as one of several: `worker` counts from 0; `roster` says which dialogs the others know.
    #[must_use]
    pub fn of_several(self, roster: Arc<Roster>, worker: usize) -> Self {
        Self { dialogs: self.dialogs.of_several(roster, worker), worker, ..self }
    }

    /// Bounds the sessions by policy as well (`tls-proxy maximum-session`; 0 for no other bound than [`Limits::sessions`]).
    pub fn limit_sessions(&mut self, most: u32) {
        self.by_policy = most;
    }

    /// Makes a session that waits for its client's SYN, which is to follow by [`Self::input`].
    ///
    /// # Errors
    /// A limit, an address of zero, or TLS: [`OpenError`]. Nothing is kept then.
    pub fn open<O: Output>(
        &mut self,
        now: Micros,
        params: OpenParams,
        out: &mut O,
    ) -> Result<SessionId, OpenError> {
        self.open_as(now, params, None, out)
    }

    /// [`Self::open`] for a client whose SYN was answered by a cookie, and that has acknowledged it; that segment is to follow by [`Self::input`].
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_met<O: Output>(
        &mut self,
        now: Micros,
        params: OpenParams,
        met: Met,
        out: &mut O,
    ) -> Result<SessionId, OpenError> {
        self.open_as(now, params, Some(met), out)
    }

    /// So many handshakes are under way that strangers are better asked for a sign of life before they get a session: SYN cookies (RFC 4987 3.6).
    pub fn is_crowded(&self) -> bool {
        self.handshakes >= self.limits.handshakes.div_ceil(CROWDED)
    }

    fn open_as<O: Output>(
        &mut self,
        now: Micros,
        params: OpenParams,
        met: Option<Met>,
        out: &mut O,
    ) -> Result<SessionId, OpenError> {
        // Fake SYNs must not shut out real peers: who has not shown that it hears us makes way, oldest first.
        while self.handshakes >= self.limits.handshakes {
            if !self.evict_embryonic(out) {
                return Err(OpenError::Handshakes);
            }
        }
        let cost = Self::cost_of_side();
        while self.open >= self.most() || self.memory + cost > self.limits.memory {
            if !self.evict(out) {
                let full = self.open >= self.most();
                return Err(if full { OpenError::Sessions } else { OpenError::Memory });
            }
        }
        let p = &params;
        if [p.client_local, p.client_remote, p.server_local, p.server_remote]
            .iter()
            .any(|(addr, port)| *addr == 0 || *port == 0)
        {
            return Err(OpenError::Address);
        }
        let seed = p.tls.random().ok_or(OpenError::Tls)?;
        let tag = p.tls.random().ok_or(OpenError::Tls)?;
        let tls = p.tls.accept(p.outside == Leg::Client).map_err(|_| OpenError::Tls)?;
        let ends = (p.client_local, p.client_remote);
        let tcp = match met {
            None => Endpoint::listen(now, ends, p.client_mtu, self.buffers(), seed),
            Some(met) => Endpoint::met(now, ends, p.client_mtu, self.buffers(), met),
        };
        let side = Side::new(tcp, tls, now);

        let slot = self.take_slot();
        let place = &mut self.slots[slot as usize];
        let id = SessionId { slot, generation: place.generation };
        place.session = Some(Box::new(Session::new(id, params, side, tag, now)));
        self.open += 1;
        self.embryonic.push_back(id);
        while self
            .embryonic
            .front()
            .is_some_and(|id| !live(&mut self.slots, *id).is_some_and(|s| s.is_embryonic()))
        {
            self.embryonic.pop_front();
        }
        self.deadlines.set(slot, Some(now));
        self.account(slot);
        Ok(id)
    }

    /// Takes in one IPv4 packet, IP header first, that the connection table says is of this session and connection. What follows from it is
    /// the next [`Self::poll`]'s.
    ///
    /// # Errors
    /// The session is gone, or the packet is no whole TCP segment of that connection's 4-tuple; it was ignored then.
    pub fn input(
        &mut self,
        now: Micros,
        id: SessionId,
        road: impl Into<Road>,
        packet: &[u8],
    ) -> Result<(), InputError> {
        let (room, road) = (self.room(), road.into());
        if let Some(watch) = watch(&mut self.slots, id) {
            if !watch.input(now, road, packet) {
                return Err(InputError::NotOurs);
            }
            self.wake(id.slot);
            return Ok(());
        }
        let session = live(&mut self.slots, id).ok_or(InputError::NoSession)?;
        if !session.input(now, road, packet, room) {
            return Err(InputError::NotOurs);
        }
        self.wake(id.slot);
        // An estimate until the poll, so that the bound holds for a burst of packets as well.
        self.slots[id.slot as usize].charged += packet.len();
        self.memory += packet.len();
        Ok(())
    }

    /// Names every cache line of a session's own state, for the caller to have loaded while it does something else: where sessions are many, the
    /// [`Self::input`] and [`Self::poll`] that follow would wait for them one after another.
    #[inline]
    pub fn prefetch(&self, id: SessionId, load: impl FnMut(*const u8)) {
        if let Some(session) = self.slots.get(id.slot as usize).and_then(|slot| slot.session.as_deref()) {
            session.lines(load);
        }
    }

    /// A router has said that it passes on no more than `mtu` bytes in one packet, and quoted one of ours on this connection, with this
    /// sequence number (RFC 1191). False where that changes nothing.
    pub fn too_big(&mut self, id: SessionId, road: impl Into<Road>, seq: u32, mtu: u16) -> bool {
        let changes = live(&mut self.slots, id).is_some_and(|session| session.too_big(road.into(), seq, mtu));
        if changes {
            self.wake(id.slot);
        }
        changes
    }

    fn wake(&mut self, slot: u32) {
        let place = &mut self.slots[slot as usize];
        if !std::mem::replace(&mut place.woken, true) {
            self.woken.push(slot);
        }
    }

    /// Looks after the sessions that have had packets, and those whose time has come, a bounded number; gives the time of the next, which is in the
    /// past when some are left.
    pub fn poll<D: DomainList, L: LocalDomains, O: Output>(
        &mut self,
        now: Micros,
        ctx: &Context<'_, D, L>,
        out: &mut O,
    ) -> Option<Micros> {
        if self.trust.next().is_some_and(|at| at <= now) {
            self.look_at_trust(now, out);
        }
        // Taken for the time being, and given back for its memory: nothing is woken meanwhile.
        let mut woken = std::mem::take(&mut self.woken);
        for slot in woken.drain(..) {
            self.slots[slot as usize].woken = false;
            self.pump(slot, now, ctx, out);
        }
        self.woken = woken;
        for _ in 0..SESSIONS_A_POLL {
            let Some(slot) = self.deadlines.pop_due(now) else { break };
            let next = self.slots[slot as usize].next;
            if next > now {
                // It was looked after meanwhile, and its deadline has moved away.
                self.deadlines.set(slot, Some(next));
            } else {
                self.pump(slot, now, ctx, out);
            }
        }
        self.next_deadline()
    }

    fn pump<D: DomainList, L: LocalDomains, O: Output>(
        &mut self,
        slot: u32,
        now: Micros,
        ctx: &Context<'_, D, L>,
        out: &mut O,
    ) {
        let (room, side_cost, buffers) = (self.room(), Self::cost_of_side(), self.buffers());
        if let Some(watch) = self.slots[slot as usize].watch.as_mut() {
            let next = watch.pump(now, out);
            self.slots[slot as usize].next = next;
            self.deadlines.set(slot, Some(next));
            return;
        }
        let share = self.share();
        let Slot { session: Some(session), place, .. } = &mut self.slots[slot as usize] else { return };
        let mut env = Env {
            now,
            buffers,
            ctx,
            out,
            dialogs: &mut self.dialogs,
            inspection: &mut self.inspection,
            worker: self.worker,
            room,
            side_cost,
        };
        // None until the end of TCP's handshake and never after it: the one time that this is more than a comparison.
        let begins = *place == Place::None && session.ended().is_none();
        let next = match session.source().filter(|_| begins).map(|source| self.sources.take(source, share)) {
            None => session.pump(&mut env),
            Some(Ok(taken)) => {
                *place = taken;
                session.pump(&mut env)
            }
            Some(Err(reason)) => session.refuse(reason, &mut env),
        };
        self.settle(slot, next, out);
    }

    /// Ends a session at once, with a RST to both peers. False when it was gone already.
    pub fn abort<D, L, O: Output>(
        &mut self,
        now: Micros,
        id: SessionId,
        reason: AbortReason,
        ctx: &Context<'_, D, L>,
        out: &mut O,
    ) -> bool {
        let (room, side_cost, buffers) = (self.room(), Self::cost_of_side(), self.buffers());
        if let Some(watch) = watch(&mut self.slots, id) {
            watch.close(now, out);
            return true;
        }
        let Some(session) = live(&mut self.slots, id) else { return false };
        session.abort(
            CloseReason::Aborted(reason),
            &mut Env {
                now,
                buffers,
                ctx,
                out,
                dialogs: &mut self.dialogs,
                inspection: &mut self.inspection,
                worker: self.worker,
                room,
                side_cost,
            },
        );
        self.settle(id.slot, Next::Gone(CloseReason::Aborted(reason)), out);
        true
    }

    /// Watches the members of these pools, by these proxies' client faces, and no others. One worker does.
    pub fn watch<O: Output>(&mut self, now: Micros, pools: &[(Arc<Pool>, Arc<ProxyTls>)], out: &mut O) {
        let mut watched = Vec::new();
        for slot in 0..self.slots.len() {
            let Some(watch) = &mut self.slots[slot].watch else { continue };
            match pools.iter().find(|(pool, _)| Arc::ptr_eq(pool, &watch.pool)) {
                Some((pool, tls)) => {
                    watch.tls = tls.clone();
                    watched.push(Arc::as_ptr(pool));
                    self.wake(slot as u32);
                }
                None => {
                    watch.close(now, out);
                    let generation = self.slots[slot].generation.wrapping_add(1);
                    self.slots[slot] = Slot { generation, woken: self.slots[slot].woken, ..Slot::default() };
                    self.deadlines.set(slot as u32, None);
                    self.free.push(slot as u32);
                }
            }
        }
        for (pool, tls) in pools.iter().filter(|(pool, _)| !watched.contains(&Arc::as_ptr(pool))) {
            let slot = self.take_slot();
            let (buffers, place) = (self.buffers(), &mut self.slots[slot as usize]);
            let id = SessionId { slot, generation: place.generation };
            place.watch = Some(Box::new(Watch::new(id, pool.clone(), tls.clone(), buffers)));
            self.deadlines.set(slot, Some(now));
        }
    }

    /// When [`Self::poll`] next has something to do.
    pub fn next_deadline(&self) -> Option<Micros> {
        if !self.woken.is_empty() {
            return Some(Micros(0));
        }
        // Without sessions there is nobody to look at.
        let trust = self.trust.next().filter(|_| self.open > 0);
        [self.deadlines.first(), trust].into_iter().flatten().min()
    }

    /// Sessions open, those in TIME_WAIT included.
    pub fn sessions(&self) -> u32 {
        self.open
    }

    /// Sessions whose client has not finished its TLS handshake.
    pub fn handshakes(&self) -> u32 {
        self.handshakes
    }

    /// Bytes held by all sessions, by the account that [`Limits::memory`] bounds.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Outside addresses that have a session.
    pub fn sources(&self) -> usize {
        self.sources.len()
    }

    fn take_slot(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        })
    }

    fn most(&self) -> u32 {
        if self.by_policy == 0 { self.limits.sessions } else { self.by_policy.min(self.limits.sessions) }
    }

    /// What one outside address may have of it.
    fn share(&self) -> Share {
        let part = |all: u32| all.div_ceil(self.limits.source_part.max(1));
        Share { sessions: part(self.most()), handshakes: part(self.limits.handshakes) }
    }

    /// What a side is charged until its handshake is done: room for it must be there before it begins.
    fn cost_of_side() -> usize {
        HANDSHAKE_COST + size_of::<Session>()
    }

    fn buffers(&self) -> Buffers {
        Buffers { rx: self.limits.tcp_rx.max(LEAST_RX), tx: self.limits.tcp_tx }
    }

    fn room(&self) -> usize {
        self.limits.memory.saturating_sub(self.memory)
    }

    /// After each call on a session: its deadline, the counts, and its end.
    fn settle<O: Output>(&mut self, slot: u32, next: Next, out: &mut O) {
        match next {
            Next::At(at) => {
                self.slots[slot as usize].next = at;
                self.deadlines.by(slot, at);
                self.account(slot);
            }
            Next::Gone(reason) => self.remove(slot, reason, out),
        }
    }

    fn account(&mut self, slot: u32) {
        let place = &mut self.slots[slot as usize];
        let Some(session) = place.session.as_deref() else { return };
        let cost = session.held();
        self.memory = self.memory - place.charged + cost;
        place.charged = cost;
        let handshaking = session.is_handshaking();
        self.handshakes = self.handshakes - u32::from(place.handshaking) + u32::from(handshaking);
        place.handshaking = handshaking;
        if !handshaking {
            self.sources.shaken(&mut place.place);
        }
        if !place.lingers && session.is_lingering() {
            place.lingers = true;
            self.sources.give_back(&mut place.place);
            self.lingering.push_back(session.id);
        }
    }

    /// Makes room by forgetting the session that has been in TIME_WAIT longest.
    fn evict<O: Output>(&mut self, out: &mut O) -> bool {
        while let Some(id) = self.lingering.pop_front() {
            if let Some(session) = live(&mut self.slots, id) {
                let reason = session.ended().unwrap_or(CloseReason::Finished);
                self.remove(id.slot, reason, out);
                return true;
            }
        }
        false
    }

    /// Makes room by forgetting the session that has waited longest for its client's part of TCP's handshake.
    fn evict_embryonic<O: Output>(&mut self, out: &mut O) -> bool {
        while let Some(id) = self.embryonic.pop_front() {
            if live(&mut self.slots, id).is_some_and(|session| session.is_embryonic()) {
                self.remove(id.slot, CloseReason::TcpTimeout(Leg::Client), out);
                return true;
            }
        }
        false
    }

    fn remove<O: Output>(&mut self, slot: u32, reason: CloseReason, out: &mut O) {
        let place = &mut self.slots[slot as usize];
        let Some(session) = place.session.take() else { return };
        let generation = place.generation.wrapping_add(1);
        if let Some(id) = session.counted {
            self.inspection.tally.end(id);
        }
        self.memory -= place.charged;
        self.handshakes -= u32::from(place.handshaking);
        self.sources.give_back(&mut place.place);
        // Its name may still stand among the woken.
        *place = Slot { generation, woken: place.woken, ..Slot::default() };
        self.open -= 1;
        self.free.push(slot);
        self.deadlines.set(slot, None);
        while self.lingering.front().is_some_and(|id| live(&mut self.slots, *id).is_none()) {
            self.lingering.pop_front();
        }
        out.closed(session.id, reason);
    }
}

fn watch(slots: &mut [Slot], id: SessionId) -> Option<&mut Watch> {
    let slot = slots.get_mut(id.slot as usize)?;
    slot.watch.as_deref_mut().filter(|_| slot.generation == id.generation)
}

fn live(slots: &mut [Slot], id: SessionId) -> Option<&mut Session> {
    let slot = slots.get_mut(id.slot as usize)?;
    slot.session.as_deref_mut().filter(|_| slot.generation == id.generation)
}
