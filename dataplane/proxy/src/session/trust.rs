// SPDX-License-Identifier: MIT OR Apache-2.0
//! A session's peers held to the trust of today ([`crate::engine`]'s rounds): who would be refused now is let go.

use super::{At, Session};
use crate::api::{CloseReason, Leg, Micros, Output};
use crate::event::Event;
use crate::tls::ProxyTls;
use rustls::pki_types::UnixTime;
use std::sync::Arc;

impl Session {
    /// Looks at all peers. Gives whether a chain had to be verified, and how many peers have failed.
    pub(crate) fn look_at_trust<O: Output>(
        &mut self,
        current: &[Arc<ProxyTls>],
        unix: UnixTime,
        now: Micros,
        out: &mut O,
    ) -> (bool, u64) {
        if self.ended().is_some() {
            return (false, 0);
        }
        let today = current.iter().find(|tls| tls.name() == self.params.tls.name()).cloned();
        let (mut verified, mut failed) = (false, 0);
        let outside = self.params.outside;
        for at in self.ends() {
            let (leg, remote, id) = (at.leg(), self.remote(at), self.id);
            let Some(side) = self.side_at_mut(at).filter(|side| side.is_secure()) else { continue };
            let judge = match &today {
                Some(today) => today.judges(leg, leg == outside, side.judge()),
                // Its tls-proxy is gone or not ready: nobody new is let in by it, and those inside stay by what let them in.
                None => side.judge().clone(),
            };
            match side.look_at_trust(judge, unix) {
                Ok(chain) => verified |= chain,
                Err(why) => {
                    (verified, failed) = (true, failed + 1);
                    let why = format_args!("nobody vouches for it any more: {why}");
                    out.event(id, Event::TlsFailed { leg, remote, why });
                    self.let_go(at, now);
                }
            }
        }
        (verified, failed)
    }

    /// Nothing more is heard of a peer, and nothing more said to it.
    fn let_go(&mut self, at: At, now: Micros) {
        match at {
            At::Server(n) if self.is_pooled() => {
                // What it has is for its pool to find out: the leg is dead.
                if let Some(server) = self.servers.get_mut(n) {
                    server.side.inbox.clear();
                    server.side.tcp.abort();
                }
            }
            At::Client => self.end(CloseReason::Unvouched(Leg::Client), now),
            At::Server(_) => self.end(CloseReason::Unvouched(Leg::Server), now),
        }
    }
}
