// SPDX-License-Identifier: MIT OR Apache-2.0
//! A session whose server is a pool: which member a request goes to, and what becomes of it when that member dies.
//!
//! A partner multiplexes all its users over one connection, so requests are placed one by one, by Call-ID ([`crate::pool`]), and the
//! session has a server leg a member that it needs: at most as many as a pool has places, each opened when first needed. Legs come and
//! go while the client's connection stays.
//!
//! A request is held until a final response to it crosses, within [`HELD`] and [`HELD_BYTES`]. Where its leg is not up yet it waits there, so
//! that nobody waits behind a member that is silent. Where its leg fails and nothing was answered, a request that begins something goes
//! to the next member (RFC 3263 section 4.3); one in a dialog cannot, and one that has a provisional response may have done its work: they are
//! answered, 503 where the connection failed (RFC 3261 section 8.1.3.1) and 408 where the member is silent or down, by which its sender
//! gives the dialog up and begins anew (section 12.2.1.2). What there is no room to hold is sent all the same where it can be, and is its
//! sender's to repeat.
//!
//! Called by [`Session::pump`], on the worker's core. Nothing here is touched in a session without a pool.

use super::{At, Env, Server, Session};
use crate::api::{CloseReason, Leg, Micros, Output, Road};
use crate::event::Event;
use crate::pool::{Call, Health, Homes, Member, Pool, Pooling};
use crate::side::{Outgoing, Side};
use crate::sip::{self, Head, Passed};
use crate::transactions::{Part, Role};
use fedgate_tables::counters::{Counter, Stat};
use std::collections::HashMap;
use std::sync::Arc;

/// Requests held for one session, and their bytes in all.
const HELD: usize = 256;
const HELD_BYTES: usize = 256 << 10;
/// How long one is held that is never answered: INVITE above Timer C, the rest above 64 * T1.
const INVITE: u64 = 200_000_000;
const OTHER: u64 = 40_000_000;
/// How often a session with requests in flight looks whether a member has gone down.
const LOOK: u64 = 1_000_000;

/// A request that has no final response yet.
struct Held {
    /// The order in which they came.
    number: u64,
    bytes: Vec<u8>,
    passed: Passed,
    call: Call,
    /// The member it is for.
    place: u8,
    /// Those that it was for before, a bit a place.
    tried: u16,
    sent: bool,
    /// A provisional response has crossed.
    rings: bool,
    since: Micros,
}

impl Held {
    fn is_over(&self, now: Micros) -> bool {
        let limit = match self.passed.part.role {
            Role::Request { invite: true } => INVITE,
            Role::Request { invite: false } | Role::Response { .. } | Role::Neither => OTHER,
        };
        now.since(self.since) > limit
    }
}

/// See the module.
pub(super) struct Pooled {
    pub(super) pool: Arc<Pool>,
    homes: Arc<Homes>,
    held: HashMap<u64, Held>,
    /// Places that requests may be waiting for, a bit each: one too many costs a look at all that is held, one too few would leave a request lying.
    waiting: u16,
    bytes: usize,
    numbers: u64,
    /// Members that could not be connected to for the request at the client's head.
    tried: u16,
    /// Server legs opened so far: each has a port of its own.
    opened: u16,
    looked: Micros,
    /// [`Pool::changes`] when it was last looked at.
    changes: u32,
}

impl Pooled {
    pub(super) fn of(pooling: &Pooling) -> Option<Self> {
        let pool = pooling.pool.clone()?;
        let changes = pool.changes();
        Some(Self {
            pool,
            homes: pooling.homes.clone(),
            held: HashMap::new(),
            waiting: 0,
            bytes: 0,
            numbers: 0,
            tried: 0,
            opened: 0,
            looked: Micros(0),
            changes,
        })
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.bytes + self.held.capacity() * size_of::<(u64, Held)>()
    }

    /// When a session with requests in flight is to look at its pool.
    pub(super) fn next_look(&self) -> Option<Micros> {
        (!self.held.is_empty()).then(|| self.looked.after(LOOK))
    }

    pub(super) fn look(&mut self, now: Micros) {
        self.looked = now;
        let (mut bytes, held) = (0, &mut self.held);
        held.retain(|_, it| {
            let stays = !it.is_over(now);
            bytes += if stays { it.bytes.len() } else { 0 };
            stays
        });
        self.bytes = bytes;
    }

    /// The member that a request is for, or what it is answered.
    fn member_for(&self, call: Call, in_dialog: bool, tried: u16, now: Micros) -> Result<Member, u16> {
        let home = self.homes.find(call, now).and_then(|addr| self.pool.at(addr));
        match home {
            Some(member) if in_dialog && member.health == Health::Down => return Err(408),
            Some(member) if in_dialog && tried >> member.place & 1 == 1 => return Err(503),
            Some(member) if member.health != Health::Down && tried >> member.place & 1 == 0 => {
                return Ok(member);
            }
            Some(_) | None => {}
        }
        self.pool.choose(call, tried, now).ok_or(503)
    }

    fn has_room(&self, more: usize) -> bool {
        self.held.len() < HELD && self.bytes + more <= HELD_BYTES
    }

    fn hold(&mut self, bytes: &[u8], passed: &Passed, call: Call, place: u8, sent: bool, now: Micros) {
        self.numbers += 1;
        let held = Held {
            number: self.numbers,
            bytes: bytes.to_vec(),
            passed: *passed,
            call,
            place,
            tried: self.tried,
            sent,
            rings: false,
            since: now,
        };
        self.bytes += bytes.len();
        self.waiting |= u16::from(!sent) << place;
        if self.held.is_empty() {
            self.looked = now;
        }
        // A request that is repeated takes the place of its first copy.
        if let Some(old) = self.held.insert(passed.part.key, held) {
            self.bytes -= old.bytes.len();
        }
    }

    /// NAT may have changed what answers are known by.
    fn sent_as(&mut self, key: u64, sent: u64) {
        if key != sent
            && let Some(held) = self.held.remove(&key)
        {
            self.held.insert(sent, held);
        }
    }

    fn release(&mut self, key: u64) -> Option<Held> {
        let held = self.held.remove(&key)?;
        self.bytes -= held.bytes.len();
        Some(held)
    }

    /// Those held for a place, oldest first.
    fn of_place(&self, place: u8, wanted: impl Fn(&Held) -> bool) -> Vec<u64> {
        let of = self.held.iter().filter(|(_, it)| it.place == place && wanted(it));
        let mut keys: Vec<(u64, u64)> = of.map(|(key, it)| (it.number, *key)).collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    fn waits(&self, place: u8) -> bool {
        self.waiting >> place & 1 == 1 && self.held.values().any(|it| it.place == place && !it.sent)
    }

    /// A response has crossed.
    pub(super) fn answered(&mut self, part: Part) {
        match part.role {
            Role::Response { last: true, .. } => drop(self.release(part.key)),
            Role::Response { last: false, .. } => {
                if let Some(held) = self.held.get_mut(&part.key) {
                    held.rings = true;
                }
            }
            Role::Request { .. } | Role::Neither => {}
        }
    }
}

impl Session {
    /// Its servers are a pool's.
    pub(super) fn is_pooled(&self) -> bool {
        self.pooled.is_some()
    }

    /// Hands the message at the client's head to the member that it is for; false when it has to wait.
    pub(super) fn hand_to_pool<D: sip::DomainList, L: sip::LocalDomains, O: Output>(
        &mut self,
        passed: Passed,
        env: &mut Env<'_, D, L, O>,
    ) -> bool {
        let Some(pooled) = &self.pooled else { return false };
        let frame = &self.client.inbox.bytes()[..passed.len];
        if let Role::Response { .. } = passed.part.role {
            let place = self.asked.asker(Leg::Client, passed.part);
            let server = place.and_then(|place| self.server_of(place)).filter(|n| self.takes(*n));
            let Some(n) = server else {
                // Whoever asked has gone.
                self.take_away(At::Client, passed.len, None);
                return true;
            };
            return self.servers[n].side.has_room() && self.cross_from_client(n, passed, env);
        }
        let call = pooled.homes.call(passed.note.call_id(frame));
        let member = match pooled.member_for(call, passed.note.in_dialog(), pooled.tried, env.now) {
            Ok(member) => member,
            Err(status) => {
                let answer = sip::answer(frame, status, &self.tag);
                self.take_away(At::Client, passed.len, answer.as_deref());
                env.out.count(Counter::Stat(Stat::PoolAnswered), 1);
                return self.done_with_head();
            }
        };
        let has_room = pooled.has_room(passed.len) && !env.is_tight();
        let queued = pooled.waits(member.place);
        let Some(n) = self.leg_to(member, &passed, env) else {
            // The next one, then.
            if let Some(pooled) = &mut self.pooled {
                pooled.tried |= 1 << member.place;
            }
            return true;
        };
        let Some(pooled) = &mut self.pooled else { return false };
        let frame = &self.client.inbox.bytes()[..passed.len];
        let (server, ready) = (&self.servers[n], self.servers[n].side.is_secure() && !queued);
        if !ready || !server.side.has_room() {
            if !has_room {
                return false;
            }
            pooled.hold(frame, &passed, call, member.place, false, env.now);
            self.client.inbox.consume(passed.len);
            self.client.head = Head::default();
            return self.done_with_head();
        }
        match passed.part.role {
            Role::Request { .. } if has_room => {
                pooled.hold(frame, &passed, call, member.place, true, env.now)
            }
            Role::Request { .. } => env.out.count(Counter::Stat(Stat::PoolUnheld), 1),
            Role::Response { .. } | Role::Neither => {}
        }
        self.cross_from_client(n, passed, env) && self.done_with_head()
    }

    /// The message at the client's head has gone somewhere.
    fn done_with_head(&mut self) -> bool {
        if let Some(pooled) = &mut self.pooled {
            pooled.tried = 0;
        }
        true
    }

    fn cross_from_client<D: sip::DomainList, L: sip::LocalDomains, O: Output>(
        &mut self,
        n: usize,
        passed: Passed,
        env: &mut Env<'_, D, L, O>,
    ) -> bool {
        let crossed = self.cross_head(At::Client, At::Server(n), &passed, env);
        let Some(pooled) = &mut self.pooled else { return true };
        match crossed {
            Ok(part) => pooled.sent_as(passed.part.key, part.key),
            Err(answer) => {
                pooled.release(passed.part.key);
                self.take_away(At::Client, 0, answer.as_deref());
            }
        }
        true
    }

    /// The leg to a place of the pool, if there is one that is not given up.
    fn server_of(&self, place: u8) -> Option<usize> {
        self.servers.iter().position(|server| server.place() == place && server.given_up.is_none())
    }

    /// Whether messages can be handed to a leg, now or soon.
    fn takes(&self, n: usize) -> bool {
        let side = &self.servers[n].side;
        side.is_secure() && side.outgoing == Outgoing::Open
    }

    /// The leg to a member, opened where there is none; `None` where it cannot be.
    fn leg_to<D: sip::DomainList, L: sip::LocalDomains, O: Output>(
        &mut self,
        member: Member,
        passed: &Passed,
        env: &mut Env<'_, D, L, O>,
    ) -> Option<usize> {
        if let Some(n) = self.server_of(member.place) {
            if self.servers[n].remote == member.addr {
                return Some(n);
            }
            // Somebody else has the place now.
            self.give_up(n, 503, env);
        }
        // What is left of an earlier leg would be in the way.
        if let Some(n) = self.servers.iter().position(|server| server.place() == member.place) {
            self.take_out(n, env);
        }
        let opened = {
            let pooled = self.pooled.as_mut()?;
            pooled.opened = pooled.opened.wrapping_add(1);
            pooled.opened - 1
        };
        let (addr, port) = self.params.server_local;
        let from = (addr, port.checked_add(opened).unwrap_or(opened.max(1024)));
        let (local, mtu) = env.out.connect(self.id, member.place, Some(from), member.addr)?;
        match self.side_towards(passed, (local, member.addr), mtu, env) {
            Some(side) => {
                let road = Road::Own(member.place);
                let joined = self.pooled.as_ref().and_then(|it| it.pool.joins(env.worker, member.place));
                self.add(Server { side, remote: member.addr, road, given_up: None, joined });
                Some(self.servers.len() - 1)
            }
            None => {
                env.out.disconnect(self.id, member.place);
                None
            }
        }
    }

    /// A leg is of no use any more: what waits for answers from it goes elsewhere, or is answered.
    pub(super) fn give_up<D, L, O: Output>(&mut self, n: usize, status: u16, env: &mut Env<'_, D, L, O>) {
        let server = &mut self.servers[n];
        if server.given_up.is_some() {
            return;
        }
        server.given_up = Some(env.now);
        server.joined = None;
        server.side.inbox.clear();
        server.side.tcp.abort();
        let (remote, place) = (server.remote, server.place());
        // Where somebody else has the place by now, it is none of theirs.
        if let Some(pooled) = &self.pooled
            && pooled.pool.member(place).is_some_and(|member| member.addr == remote)
        {
            pooled.pool.failed(place, env.now);
            pooled.pool.fails(env.worker, place);
        }
        self.lose(place, status, env);
        env.out.count(Counter::Stat(Stat::PoolFailures), 1);
        env.out.event(self.id, Event::MemberLost { remote, status });
    }

    /// Ends a leg over what its member said, by RST or in order, and nothing else: what it owes answers for is answered. Nothing is held
    /// against the member, and no other is asked, who might say the same.
    pub(super) fn cut_off<D, L, O: Output>(&mut self, n: usize, reset: bool, env: &mut Env<'_, D, L, O>) {
        let server = &mut self.servers[n];
        (server.given_up, server.joined) = (Some(env.now), None);
        server.side.inbox.clear();
        if reset {
            server.side.tcp.abort();
        } else {
            server.side.shut();
        }
        let place = server.place();
        let Some(pooled) = &mut self.pooled else { return };
        for key in pooled.of_place(place, |it| it.sent) {
            let Some(held) = pooled.release(key) else { continue };
            let answer = sip::answer(&held.bytes, 503, &self.tag);
            tell(&mut self.client, answer.as_deref());
            env.out.count(Counter::Stat(Stat::PoolAnswered), 1);
        }
    }

    /// What is held for a place that cannot answer finds another member, or its answer.
    fn lose<D, L, O: Output>(&mut self, place: u8, status: u16, env: &mut Env<'_, D, L, O>) {
        let Some(pooled) = &mut self.pooled else { return };
        for key in pooled.of_place(place, |_| true) {
            let Some(held) = pooled.held.get_mut(&key) else { continue };
            held.tried |= 1 << place;
            let movable = !held.rings && !held.passed.note.in_dialog();
            let next = movable.then(|| pooled.pool.choose(held.call, held.tried, env.now)).flatten();
            if let Some(member) = next {
                (held.place, held.sent) = (member.place, false);
                pooled.waiting |= 1 << member.place;
                env.out.count(Counter::Stat(Stat::PoolMoved), 1);
            } else if let Some(held) = pooled.release(key) {
                let status = if movable { 503 } else { status };
                let owed = held.passed.part.role != Role::Neither;
                let answer = owed.then(|| sip::answer(&held.bytes, status, &self.tag)).flatten();
                self.denied += 1;
                tell(&mut self.client, answer.as_deref());
                env.out.count(Counter::Stat(Stat::PoolAnswered), 1);
            }
        }
    }

    /// Finds out whether a session with a pool is over; its legs are [`Self::tend_pool`]'s.
    pub(super) fn look_for_pooled_ends(&mut self, now: Micros) {
        let up = self.servers.iter().any(|server| server.given_up.is_none() && server.side.is_secure());
        if self.client.tcp.is_dead() && (self.client.is_exhausted() || !up) {
            return self.end(CloseReason::Reset(Leg::Client), now);
        }
        if !self.client.is_done() {
            return;
        }
        let waits = self.pooled.as_ref().is_some_and(|pooled| pooled.held.values().any(|it| !it.sent));
        if !waits {
            self.servers.iter_mut().for_each(|server| server.side.shut());
        }
        if !waits && self.servers.iter().all(|server| server.given_up.is_some()) {
            return self.end(CloseReason::Finished, now);
        }
        self.half_closed.get_or_insert(now);
    }

    /// Takes a leg out, whatever its state.
    fn take_out<D, L, O: Output>(&mut self, n: usize, env: &mut Env<'_, D, L, O>) {
        let server = self.servers.swap_remove(n);
        if let Road::Own(place) = server.road {
            env.out.disconnect(self.id, place);
        }
    }

    /// Takes out the legs that are given up and have nothing more to say.
    pub(super) fn take_out_dead<D, L, O: Output>(&mut self, env: &mut Env<'_, D, L, O>) {
        if self.pooled.is_none() || self.ended().is_some() {
            return;
        }
        while let Some(n) =
            self.servers.iter().position(|server| server.given_up.is_some() && server.side.tcp.is_dead())
        {
            self.take_out(n, env);
        }
    }

    /// Looks after the legs and what is held; true where something moved.
    pub(super) fn tend_pool<D, L, O>(&mut self, env: &mut Env<'_, D, L, O>) -> bool
    where
        D: sip::DomainList,
        L: sip::LocalDomains,
        O: Output,
    {
        let Some(pooled) = &mut self.pooled else { return self.tend_targets(env) };
        let mut moved = false;
        let changes = pooled.pool.changes();
        if changes != pooled.changes {
            pooled.changes = changes;
            let pool = pooled.pool.clone();
            let down = |place| pool.member(place).is_some_and(|it| it.health == Health::Down);
            for n in 0..self.servers.len() {
                if down(self.servers[n].place()) && self.servers[n].given_up.is_none() {
                    self.give_up(n, 408, env);
                    moved = true;
                }
            }
        }
        for n in 0..self.servers.len() {
            let server = &mut self.servers[n];
            let side = &mut server.side;
            if server.given_up.is_some() {
                continue;
            }
            if side.tcp.is_dead() && (side.is_exhausted() || !side.is_secure()) {
                self.give_up(n, 503, env);
                moved = true;
            } else if side.is_done() {
                // It closed in order; what it has not answered it never will.
                server.given_up = Some(env.now);
                server.joined = None;
                side.shut();
                let place = server.place();
                self.lose(place, 503, env);
                moved = true;
            }
        }
        moved | self.send_waiting(env)
    }

    /// Sends what waits for legs that are up now, opening those that are missing.
    fn send_waiting<D, L, O>(&mut self, env: &mut Env<'_, D, L, O>) -> bool
    where
        D: sip::DomainList,
        L: sip::LocalDomains,
        O: Output,
    {
        let Some(places) = self.pooled.as_ref().map(|pooled| pooled.waiting) else { return false };
        let mut moved = false;
        for place in (0u8..16).filter(|place| places >> place & 1 == 1) {
            moved |= self.send_to_place(place, env);
            if let Some(pooled) = self.pooled.as_mut().filter(|pooled| !pooled.waits(place)) {
                pooled.waiting &= !(1 << place);
            }
        }
        moved
    }

    fn send_to_place<D, L, O>(&mut self, place: u8, env: &mut Env<'_, D, L, O>) -> bool
    where
        D: sip::DomainList,
        L: sip::LocalDomains,
        O: Output,
    {
        let Some(pooled) = &self.pooled else { return false };
        let keys = pooled.of_place(place, |it| !it.sent);
        let Some(first) = keys.first().and_then(|key| pooled.held.get(key)) else { return false };
        let (passed, member) = (first.passed, pooled.pool.member(place));
        let leg = member.and_then(|member| self.leg_to(member, &passed, env));
        let Some(n) = leg else {
            // No way there, or it is no member any more: on to the next.
            if let (Some(pooled), Some(_)) = (&self.pooled, member) {
                pooled.pool.failed(place, env.now);
            }
            self.lose(place, 503, env);
            return true;
        };
        if !self.takes(n) {
            return false;
        }
        let mut moved = false;
        for key in keys {
            if !self.servers[n].side.has_room() {
                break;
            }
            let Some(held) = self.pooled.as_mut().and_then(|pooled| pooled.held.get_mut(&key)) else {
                continue;
            };
            held.sent = true;
            let (bytes, passed) = (std::mem::take(&mut held.bytes), held.passed);
            let crossed = self.cross(At::Client, At::Server(n), &bytes, &passed, env);
            moved = true;
            let Some(pooled) = &mut self.pooled else { continue };
            if let Some(held) = pooled.held.get_mut(&key) {
                held.bytes = bytes;
            }
            match crossed {
                Ok(part) if passed.part.role != Role::Neither => pooled.sent_as(key, part.key),
                Ok(_) => drop(pooled.release(key)),
                Err(answer) => {
                    pooled.release(key);
                    self.denied += 1;
                    tell(&mut self.client, answer.as_deref());
                }
            }
        }
        moved
    }
}

/// Says something of our own to a peer, between messages of others. What is owed for requests that were held is bounded by those.
fn tell(side: &mut Side, answer: Option<&[u8]>) {
    if let Some(answer) = answer
        && side.is_secure()
        && side.outgoing == Outgoing::Open
    {
        side.send(answer);
    }
}
