// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which inside server a message is of, and what is remembered of that.
//!
//! Where there are pools, a Call-ID's server is entered into [`crate::pool::Homes`], by which later messages find it from any
//! connection; a member's requests are counted, and what is held for an answer goes when the answer has come. On the worker's core, for each
//! message that crosses.

use super::{At, Env, Session};
use crate::api::{Leg, Micros};
use crate::sip::{Passed, Way};
use crate::tcp::Addr;
use crate::transactions::{Part, Role};

impl Session {
    /// Remembers which inside server has a Call-ID, as a message with it crosses; `until` is the end of its dialog.
    pub(super) fn note_home<D, L, O>(
        &self,
        at: At,
        to: At,
        bytes: &[u8],
        passed: &Passed,
        until: Option<Micros>,
        env: &Env<'_, D, L, O>,
    ) {
        let Some(pooling) = self.params.tls.pooling() else { return };
        let begins = matches!(passed.part.role, Role::Request { .. }) && !passed.note.in_dialog();
        if !begins && until.is_none() {
            return;
        }
        if self.pooled.is_none() && self.way(Leg::Client) == Way::Inward {
            // It is always who was called.
            return;
        }
        let home = self.home(at, to);
        let call = pooling.homes.call(passed.note.call_id(bytes));
        pooling.homes.note(env.worker, call, home, until, env.now);
    }

    /// The inside server that a message goes to or comes from; its port is 0 where it is known as a client only.
    pub(super) fn home(&self, at: At, to: At) -> Addr {
        let called = match (at, to) {
            (At::Server(n), _) | (_, At::Server(n)) => self.remote(At::Server(n)),
            (At::Client, At::Client) => self.params.server_remote,
        };
        match self.way(Leg::Client) {
            // An inside server calls: its own port says nothing of where it listens.
            Way::Outward if self.pooled.is_none() => (self.params.client_remote.0, 0),
            Way::Outward | Way::Inward => called,
        }
    }

    /// A message has gone to a member.
    pub(super) fn note_request<D, L, O>(&self, to: At, part: Part, env: &Env<'_, D, L, O>) {
        if let (Some(pooled), At::Server(n), Role::Request { .. }) = (&self.pooled, to, part.role)
            && let Some(server) = self.servers.get(n)
        {
            pooled.pool.asks(env.worker, server.place());
        }
    }

    /// A message has crossed; what was held for its answer is not needed any more.
    pub(super) fn note_answer(&mut self, at: At, part: Part) {
        if let (At::Server(_), Some(pooled)) = (at, &mut self.pooled) {
            pooled.answered(part);
        }
    }
}
