// SPDX-License-Identifier: MIT OR Apache-2.0
//! A session that calls a foreign domain which has several edges: what does not answer is left for the next (RFC 3263 section 4.3).
//!
//! The address that the inside server called is tried first, for it may have chosen well; then the domain's other targets, as the policy has them
//! from DNS, in RFC 2782's order. Those that were silent lately come last. A target has failed where no connection comes about within
//! [`PATIENCE`], where TLS fails, where its certificate is not good for the domain that is called (RFC 5922: the name of the target does not
//! matter), or where the connection ends before anything was said on it: in TLS 1.3 a server refuses our certificate only then. What was
//! sent to it goes to the next one as it was. Once a target has said anything there is no other any more: dialogs may be there.
//!
//! An address that leaves by another interface than the one called is not called, whatever DNS says of it.
//!
//! Called by the session on the worker's core. Bounds: the targets of a domain (`fedgate_sip::partner::MAX_TARGETS`), [`KEPT`] requests of
//! [`KEPT_BYTES`] in all; where more is sent unanswered, there is no other target for it.

use super::{At, Env, Session};
use crate::api::{CloseReason, Leg, Output, Road};
use crate::event::Event;
use crate::sip::{self, Passed, Way};
use crate::tcp::{Addr, Port};
use crate::transactions::Role;
use fedgate_sip::partner;
use fedgate_tables::counters::{Counter, Stat};
use std::collections::VecDeque;

/// For each handshake with a target while there are others; then the usual limits hold.
pub(super) const PATIENCE: u64 = 4_000_000;
/// Requests that a target has not answered, and their bytes in all.
const KEPT: usize = 16;
const KEPT_BYTES: usize = 64 << 10;

/// See the module.
pub(super) struct Targets {
    /// Those to try yet, the next one last.
    left: Vec<Addr>,
    /// Connections asked for so far.
    opened: u8,
    /// What the present one has been sent.
    sent: VecDeque<(Vec<u8>, Passed)>,
    /// How many of those are to be sent, because they went to one before.
    owed: usize,
}

impl Targets {
    fn of<D: sip::DomainList, L, O: Output>(
        called: Addr,
        passed: &Passed,
        seed: u64,
        env: &Env<'_, D, L, O>,
    ) -> Option<Self> {
        let domain = passed.domain()?;
        let known = env.ctx.domains.targets(domain.as_str());
        if known.is_empty() {
            return None;
        }
        let others = partner::order(known, seed).into_iter().map(|it| (it.addr.to_bits(), it.port));
        let mut left: Vec<Addr> = std::iter::once(called).chain(others.filter(|it| *it != called)).collect();
        let edges = &env.inspection.edges;
        left.sort_by_key(|addr| edges.is_shunned(*addr, env.now));
        left.reverse();
        Some(Self { left, opened: 0, sent: VecDeque::new(), owed: 0 })
    }

    pub(super) fn bytes(&self) -> usize {
        let kept = self.sent.iter().map(|(bytes, _)| bytes.capacity()).sum::<usize>();
        size_of::<Self>() + self.sent.capacity() * size_of::<(Vec<u8>, Passed)>() + kept
    }

    pub(super) fn has_more(&self) -> bool {
        !self.left.is_empty()
    }

    pub(super) fn owes(&self) -> bool {
        self.owed > 0
    }
}

impl Session {
    /// Where the next try goes, from where, and the MTU there; `None` where nobody is left.
    pub(super) fn next_target<D: sip::DomainList, L, O: Output>(
        &mut self,
        passed: &Passed,
        env: &mut Env<'_, D, L, O>,
    ) -> Option<((Addr, Addr), Road, u16)> {
        let p = &self.params;
        let called = ((p.server_local, p.server_remote), Road::Leg(Leg::Server), p.server_mtu);
        if self.targets.is_none() && self.way(Leg::Client) == Way::Outward {
            let seed = self.params.tls.random()?;
            self.targets = Targets::of(called.0.1, passed, seed, env).map(Box::new);
        }
        let Some(targets) = &mut self.targets else { return Some(called) };
        while let Some(addr) = targets.left.pop() {
            if addr == called.0.1 {
                return Some(called);
            }
            targets.opened += 1;
            let (own, from) = (targets.opened, Some(called.0.0));
            let leads = env.out.leads_alike(self.id, addr);
            if let Some((local, mtu)) = leads.then(|| env.out.connect(self.id, own, from, addr)).flatten() {
                return Some(((local, addr), Road::Own(own), mtu));
            }
        }
        None
    }

    /// The server did not come up, or fell silent before it said anything: goes on to the next target; false where there is none.
    pub(super) fn try_next<D, L, O: Output>(&mut self, env: &mut Env<'_, D, L, O>) -> bool {
        if self.refuse.is_some() || self.ended().is_some() {
            return false;
        }
        let Some(targets) = &mut self.targets else { return false };
        let Some(server) = self.servers.first() else { return false };
        let remote = server.remote;
        env.inspection.edges.lost(remote, env.now);
        env.out.count(Counter::Stat(Stat::TargetsFailed), 1);
        if !targets.has_more() {
            return false;
        }
        targets.owed = targets.sent.len();
        env.out.count(Counter::Stat(Stat::TargetsMoved), 1);
        env.out.event(self.id, Event::TargetLost { remote });
        let (session, road) = (self.id, server.road);
        let mut server = self.servers.swap_remove(0);
        server.side.tcp.abort();
        server.side.tcp.output(env.now, Port { session, road, out: &mut *env.out });
        if let Road::Own(own) = road {
            env.out.disconnect(session, own);
        }
        true
    }

    /// Keeps what goes to a target that has said nothing yet.
    pub(super) fn keep_for_next(&mut self, bytes: &[u8], passed: &Passed) {
        let Some(targets) = self.targets.as_mut().filter(|targets| targets.has_more()) else { return };
        if !matches!(passed.part.role, Role::Request { .. }) || targets.owes() {
            return;
        }
        let kept: usize = targets.sent.iter().map(|(bytes, _)| bytes.len()).sum();
        if targets.sent.len() == KEPT || kept + bytes.len() > KEPT_BYTES {
            targets.left.clear();
            targets.sent.clear();
        } else {
            targets.sent.push_back((bytes.to_vec(), *passed));
        }
    }

    /// The server has said something: it is the one.
    pub(super) fn settle_for_target<D, L, O>(&mut self, env: &mut Env<'_, D, L, O>) {
        if self.targets.take().is_some()
            && let Some(server) = self.servers.first()
        {
            env.inspection.edges.met(server.remote);
        }
    }

    /// Calls the next target for what the one before was sent, and sends it that; true where something moved.
    pub(super) fn tend_targets<D, L, O>(&mut self, env: &mut Env<'_, D, L, O>) -> bool
    where
        D: sip::DomainList,
        L: sip::LocalDomains,
        O: Output,
    {
        let Some(targets) = self.targets.as_mut().filter(|targets| targets.owes()) else { return false };
        let Some((_, passed)) = targets.sent.front() else { return false };
        let passed = *passed;
        let Some(server) = self.servers.first() else {
            self.call_server(&passed, env);
            return true;
        };
        if !server.side.has_room() {
            return false;
        }
        if self.fails_for(&passed, env) {
            return self.try_next(env);
        }
        let mut moved = false;
        while let Some(targets) = self.targets.as_mut().filter(|targets| targets.owes()) {
            let Some((bytes, passed)) = targets.sent.pop_front() else { break };
            let crossed = self.cross(At::Client, At::Server(0), &bytes, &passed, env);
            moved = true;
            let Some(targets) = &mut self.targets else { break };
            targets.owed -= 1;
            match crossed {
                Ok(_) => targets.sent.push_back((bytes, passed)),
                Err(answer) => {
                    self.denied += 1;
                    if let Some(answer) = answer.filter(|_| self.client.has_room()) {
                        self.client.send(&answer);
                    }
                }
            }
        }
        moved
    }

    /// Nobody can be called any more for what was sent: it is answered.
    pub(super) fn answer_owed(&mut self, status: u16) {
        let Some(targets) = self.targets.take() else { return };
        for (bytes, _) in targets.sent {
            self.denied += 1;
            if let Some(answer) = sip::answer(&bytes, status, &self.tag).filter(|_| self.client.has_room()) {
                self.client.send(&answer);
            }
        }
    }

    /// Whether the server that is up is none for this message and there is another to ask.
    pub(super) fn fails_for<D: sip::DomainList, L, O>(
        &self,
        passed: &Passed,
        env: &Env<'_, D, L, O>,
    ) -> bool {
        let more = self.targets.as_ref().is_some_and(|targets| targets.has_more());
        let far = self.servers.first().and_then(|server| server.side.peer());
        more && far.is_some_and(|far| !sip::is_good_for(passed, far, env.ctx))
    }

    /// What a server that has failed means for the session, where there is no other: [`Self::try_next`] first.
    pub(super) fn server_died<D, L, O: Output>(&mut self, reason: CloseReason, env: &mut Env<'_, D, L, O>) {
        if !self.try_next(env) {
            self.answer_owed(503);
            self.end(reason, env.now);
        }
    }

    /// The limit of a handshake with the server.
    pub(super) fn patience(&self, at: At, usual: u64) -> u64 {
        let more = matches!(at, At::Server(_)) && self.targets.as_ref().is_some_and(|it| it.has_more());
        if more { usual.min(PATIENCE) } else { usual }
    }
}
