// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a session ends: by its peers, by failure, by time.
//!
//! Every state that a peer could sit in has a time limit, computed from what the session holds and not kept in
//! timers of its own, so none can be forgotten: [`Session::deadlines`] lists them all, the session asks to be
//! called at the earliest, and [`Session::time_out`] acts on it.

use super::{At, Env, Next, Phase, Session};
use crate::api::{CloseReason, Context, Leg, Micros, Output};
use crate::event::Event;
use crate::side::Side;
use crate::tcp::Port;
use fedgate_tables::counters::{Counter, Stat};

#[derive(Clone, Copy, Debug)]
pub(super) enum Overdue {
    /// A time limit of a running session.
    Limit(CloseReason),
    /// With requests in flight, a look at the pool.
    Look,
    /// A leg that is given up has had its time.
    GivenUp,
    /// An ending session took too long.
    Linger,
}

impl Session {
    /// The server leg failed before it was of use: from now on requests are answered with `status`.
    pub(super) fn out_of_reach<D, L, O: Output>(&mut self, status: u16, env: &mut Env<'_, D, L, O>) {
        if self.try_next(env) {
            return;
        }
        self.answer_owed(status);
        if self.refuse.is_none() {
            self.refuse = Some(status);
            env.out.event(self.id, Event::Unreachable { remote: self.params.server_remote, status });
        }
        self.servers.iter_mut().for_each(|server| server.side.shut());
    }

    /// What ends a session, or only a leg where there are others.
    pub(super) fn end_of<D, L, O: Output>(
        &mut self,
        at: At,
        reason: CloseReason,
        env: &mut Env<'_, D, L, O>,
    ) {
        match at {
            At::Server(n) if self.pooled.is_some() => self.give_up(n, 408, env),
            At::Client | At::Server(_) => self.end(reason, env.now),
        }
    }

    pub(super) fn look_for_ends<D, L, O: Output>(&mut self, env: &mut Env<'_, D, L, O>) {
        if self.phase != Phase::Running {
            return;
        }
        if self.pooled.is_some() {
            return self.look_for_pooled_ends(env.now);
        }
        if let Some(server) = self.servers.first().map(|it| &it.side)
            && server.tcp.is_dead()
            && self.refuse.is_none()
        {
            if server.is_secure() {
                // What it sent before has been taken in and handed on as far as the client had room for it.
                if server.is_exhausted() {
                    let why = died(server, Leg::Server);
                    return self.server_died(why, env);
                }
            } else {
                self.out_of_reach(503, env);
            }
        }
        if self.client.tcp.is_dead()
            && (self.client.is_exhausted() || !self.servers.first().is_some_and(|it| it.side.is_secure()))
        {
            return self.end(died(&self.client, Leg::Client), env.now);
        }
        if self.refuse.is_some() && self.client.is_exhausted() {
            // The pending requests are answered.
            return self.end(CloseReason::ServerUnreachable, env.now);
        }
        let client_done = self.client.is_done();
        let Some(server) = self.servers.first_mut().map(|it| &mut it.side) else {
            if client_done && !self.targets.as_ref().is_some_and(|targets| targets.owes()) {
                self.end(CloseReason::Finished, env.now);
            }
            return;
        };
        let server_done = server.is_done();
        if server_done && self.targets.as_ref().is_some_and(|it| it.has_more()) && self.try_next(env) {
            return;
        }
        let Some(server) = self.servers.first_mut().map(|it| &mut it.side) else { return };
        if client_done {
            server.shut();
        }
        if server_done && self.refuse.is_none() {
            self.client.shut();
        }
        match (client_done, server_done) {
            (true, true) => self.end(CloseReason::Finished, env.now),
            (false, false) => {}
            _ => _ = self.half_closed.get_or_insert(env.now),
        }
    }

    /// Ends the session before it has begun: its address has no place left.
    #[cold]
    pub(crate) fn refuse<D, L, O: Output>(
        &mut self,
        reason: CloseReason,
        env: &mut Env<'_, D, L, O>,
    ) -> Next {
        env.out.count(Counter::Stat(Stat::ProxySourceRefused), 1);
        env.out.event(self.id, Event::Refused { remote: self.params.client_remote, reason });
        self.abort(reason, env);
        Next::Gone(reason)
    }

    /// Ends the session now, with a RST to all peers.
    pub(crate) fn abort<D, L, O: Output>(&mut self, reason: CloseReason, env: &mut Env<'_, D, L, O>) {
        self.end(reason, env.now);
        let session = self.id;
        for at in self.ends() {
            let road = self.road(at);
            let Some(side) = self.side_at_mut(at) else { continue };
            side.tcp.abort();
            side.tcp.output(env.now, Port { session, road, out: &mut *env.out });
        }
    }

    /// No message is judged any more; both sides close.
    pub(super) fn end(&mut self, reason: CloseReason, now: Micros) {
        if self.phase != Phase::Running {
            return;
        }
        self.phase = Phase::Ending { reason, since: now, late: false };
        for side in self.sides_mut() {
            side.inbox.clear();
            side.shut();
        }
    }

    /// Every time limit that runs, with what its end means.
    pub(super) fn deadlines<D, L>(
        &self,
        ctx: &Context<'_, D, L>,
    ) -> impl Iterator<Item = (Micros, Overdue, At)> {
        let t = ctx.timeouts;
        let ending = match self.phase {
            Phase::Running => None,
            Phase::Ending { since, late, .. } => (!late).then(|| (since.after(t.linger), Overdue::Linger)),
        };
        let running = self.phase == Phase::Running;
        // A server that is out of reach is being closed; what is left of it has no time limit of its own.
        let all = if self.refuse.is_some() { 1 } else { usize::MAX };
        let given_up = |at: At| match at {
            At::Client => None,
            At::Server(n) => self.servers.get(n)?.given_up,
        };
        let of_sides = self
            .ends()
            .take(all)
            .filter(move |at| given_up(*at).is_none())
            .filter_map(|at| Some((at, self.side_at(at)?)))
            .flat_map(move |(at, side)| {
                let leg = at.leg();
                let handshake = match (side.tcp_was_up(), side.is_secure()) {
                    (false, _) => Some((self.patience(at, t.tcp_handshake), CloseReason::TcpTimeout(leg))),
                    (true, false) => Some((self.patience(at, t.tls_handshake), CloseReason::TlsTimeout(leg))),
                    (true, true) => None,
                };
                let handshake = handshake.map(|(limit, why)| (side.since.after(limit), why));
                let message =
                    side.head.begun().map(|since| (since.after(t.message), CloseReason::MessageTimeout(leg)));
                let stall = side
                    .tcp_was_up()
                    .then(|| side.tcp.stalled_since())
                    .flatten()
                    .map(|since| (since.after(t.stall), CloseReason::Stalled(leg)));
                [handshake, message, stall].into_iter().flatten().map(move |(by, why)| (by, why, at))
            });
        let closing = self.ends().filter_map(move |at| {
            let alive = !self.side_at(at)?.tcp.is_dead();
            alive.then_some((given_up(at)?.after(t.linger), Overdue::GivenUp, at))
        });
        let look = self.pooled.as_ref().and_then(|pooled| pooled.next_look());
        let look = look.map(|at| (at, Overdue::Look, At::Client));
        let of_session = [
            Some((self.last_heard.after(t.idle), CloseReason::Idle)),
            self.half_closed.map(|since| (since.after(t.half_closed), CloseReason::HalfClosed)),
        ];
        of_sides
            .chain(of_session.into_iter().flatten().map(|(by, why)| (by, why, At::Client)))
            .map(|(by, why, at)| (by, Overdue::Limit(why), at))
            .chain(closing)
            .chain(look)
            .filter(move |_| running)
            .chain(ending.map(|(by, why)| (by, why, At::Client)))
    }

    /// The first of them. Between messages a session has few, and is asked for this after each.
    pub(super) fn first_deadline<D, L>(&self, ctx: &Context<'_, D, L>) -> Option<Micros> {
        let all = || self.deadlines(ctx).map(|(by, ..)| by).min();
        let plain = self.phase == Phase::Running
            && self.half_closed.is_none()
            && self.refuse.is_none()
            && self.pooled.is_none()
            && self.sides().all(|side| side.tcp_was_up() && side.is_secure() && side.head.begun().is_none())
            && self.servers.iter().all(|server| server.given_up.is_none());
        if !plain {
            return all();
        }
        let stall = self.sides().filter_map(|side| side.tcp.stalled_since()).min();
        let idle = self.last_heard.after(ctx.timeouts.idle);
        let first = Some(stall.map_or(idle, |since| idle.min(since.after(ctx.timeouts.stall))));
        debug_assert_eq!(first, all());
        first
    }

    pub(super) fn overdue<D, L, O>(&mut self, env: &Env<'_, D, L, O>) -> Option<(Overdue, At)> {
        let due = self.deadlines(env.ctx).filter(|(by, ..)| *by <= env.now);
        due.min_by_key(|(by, ..)| *by).map(|(_, why, at)| (why, at))
    }

    pub(super) fn time_out<D, L, O: Output>(&mut self, what: Overdue, at: At, env: &mut Env<'_, D, L, O>) {
        match (what, at) {
            (Overdue::Limit(_), At::Server(n)) if self.pooled.is_some() => self.give_up(n, 408, env),
            (Overdue::Look, _) => {
                if let Some(pooled) = &mut self.pooled {
                    pooled.look(env.now);
                }
            }
            (Overdue::GivenUp, _) => {
                if let Some(side) = self.side_at_mut(at) {
                    side.tcp.abort();
                }
            }
            // A server that was silent in its handshake: the client hears of it.
            (
                Overdue::Limit(CloseReason::TcpTimeout(Leg::Server) | CloseReason::TlsTimeout(Leg::Server)),
                _,
            ) if self.refuse.is_none() => {
                self.out_of_reach(504, env);
                self.servers.iter_mut().for_each(|server| server.side.tcp.abort());
            }
            (Overdue::Limit(_), At::Server(_)) if self.try_next(env) => {}
            (Overdue::Limit(reason), _) => {
                self.end(reason, env.now);
                if let CloseReason::Stalled(_) = reason
                    && let Some(side) = self.side_at_mut(at)
                {
                    side.tcp.abort();
                }
            }
            (Overdue::Linger, _) => {
                if let Phase::Ending { late, .. } = &mut self.phase {
                    *late = true;
                }
                for side in self.sides_mut() {
                    // One in TIME_WAIT goes without a RST: its peer has had everything.
                    if !side.tcp.is_lingering() {
                        side.tcp.abort();
                    }
                }
            }
        }
    }
}

/// Why a side's TCP is dead that did not close in order.
fn died(side: &Side, leg: Leg) -> CloseReason {
    if side.tcp.is_vanished() { CloseReason::Vanished(leg) } else { CloseReason::Reset(leg) }
}
