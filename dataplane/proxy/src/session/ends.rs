// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a session ends: by its peers, by failure, by time.
//!
//! Every state that a peer could sit in has a time limit, computed from what the session holds and not kept in
//! timers of its own, so none can be forgotten: [`Session::deadlines`] lists them all, the session asks to be
//! called at the earliest, and [`Session::time_out`] acts on it.

use super::{Env, Phase, Session};
use crate::api::{CloseReason, Context, Leg, Micros, Output};
use crate::event::Event;
use crate::side::Side;

#[derive(Clone, Copy, Debug)]
pub(super) enum Overdue {
    /// A time limit of a running session.
    Limit(CloseReason),
    /// An ending session took too long.
    Linger,
}

impl Session {
    /// The server leg failed before it was of use: from now on requests are answered with `status`.
    pub(super) fn out_of_reach<D, L, O: Output>(&mut self, status: u16, env: &mut Env<'_, D, L, O>) {
        if self.refuse.is_none() {
            self.refuse = Some(status);
            env.out.event(self.id, Event::Unreachable { remote: self.params.server_remote, status });
        }
        if let Some(server) = &mut self.server {
            server.shut();
        }
    }

    pub(super) fn look_for_ends<D, L, O: Output>(&mut self, env: &mut Env<'_, D, L, O>) {
        if self.phase != Phase::Running {
            return;
        }
        if let Some(server) = &self.server
            && server.tcp.is_dead()
            && self.refuse.is_none()
        {
            if server.is_secure() {
                // What it sent before has been taken in and handed on as far as the client had room for it.
                if server.is_exhausted() {
                    return self.end(died(server, Leg::Server), env.now);
                }
            } else {
                self.out_of_reach(503, env);
            }
        }
        if self.client.tcp.is_dead()
            && (self.client.is_exhausted() || !self.server.as_ref().is_some_and(Side::is_secure))
        {
            return self.end(died(&self.client, Leg::Client), env.now);
        }
        if self.refuse.is_some() && self.client.is_exhausted() {
            // The pending requests are answered.
            return self.end(CloseReason::ServerUnreachable, env.now);
        }
        let client_done = self.client.is_done();
        let Some(server) = &mut self.server else {
            if client_done {
                self.end(CloseReason::Finished, env.now);
            }
            return;
        };
        let server_done = server.is_done();
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

    /// No message is judged any more; both sides close.
    pub(super) fn end(&mut self, reason: CloseReason, now: Micros) {
        if self.phase != Phase::Running {
            return;
        }
        self.phase = Phase::Ending { reason, since: now, late: false };
        for side in [Some(&mut self.client), self.server.as_mut()].into_iter().flatten() {
            side.inbox.clear();
            side.shut();
        }
    }

    /// Every time limit that runs, with what its end means.
    pub(super) fn deadlines<D, L>(&self, ctx: &Context<'_, D, L>) -> impl Iterator<Item = (Micros, Overdue)> {
        let t = ctx.timeouts;
        let ending = match self.phase {
            Phase::Running => None,
            Phase::Ending { since, late, .. } => (!late).then(|| (since.after(t.linger), Overdue::Linger)),
        };
        let running = self.phase == Phase::Running;
        // A server that is out of reach is being closed; what is left of it has no time limit of its own.
        let legs = if self.refuse.is_some() { &Leg::BOTH[..1] } else { &Leg::BOTH[..] };
        let of_sides =
            legs.iter().filter_map(|&leg| Some((leg, self.side(leg)?))).flat_map(move |(leg, side)| {
                let handshake = match (side.tcp_was_up(), side.is_secure()) {
                    (false, _) => Some((t.tcp_handshake, CloseReason::TcpTimeout(leg))),
                    (true, false) => Some((t.tls_handshake, CloseReason::TlsTimeout(leg))),
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
                [handshake, message, stall].into_iter().flatten()
            });
        let of_session = [
            Some((self.last_heard.after(t.idle), CloseReason::Idle)),
            self.half_closed.map(|since| (since.after(t.half_closed), CloseReason::HalfClosed)),
        ];
        of_sides
            .chain(of_session.into_iter().flatten())
            .filter(move |_| running)
            .map(|(at, why)| (at, Overdue::Limit(why)))
            .chain(ending)
    }

    pub(super) fn overdue<D, L, O>(&mut self, env: &Env<'_, D, L, O>) -> Option<Overdue> {
        for side in [Some(&mut self.client), self.server.as_mut()].into_iter().flatten() {
            side.tcp.watch(env.now);
        }
        self.deadlines(env.ctx).filter(|(at, _)| *at <= env.now).min_by_key(|(at, _)| *at).map(|(_, why)| why)
    }

    pub(super) fn time_out<D, L, O: Output>(&mut self, what: Overdue, env: &mut Env<'_, D, L, O>) {
        match what {
            // A server that was silent in its handshake: the client hears of it.
            Overdue::Limit(CloseReason::TcpTimeout(Leg::Server) | CloseReason::TlsTimeout(Leg::Server))
                if self.refuse.is_none() =>
            {
                self.out_of_reach(504, env);
                if let Some(server) = &mut self.server {
                    server.tcp.abort();
                }
            }
            Overdue::Limit(reason) => {
                self.end(reason, env.now);
                if let CloseReason::Stalled(leg) = reason
                    && let Some(side) = self.side_mut(leg)
                {
                    side.tcp.abort();
                }
            }
            Overdue::Linger => {
                if let Phase::Ending { late, .. } = &mut self.phase {
                    *late = true;
                }
                for side in [Some(&mut self.client), self.server.as_mut()].into_iter().flatten() {
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
