// SPDX-License-Identifier: MIT OR Apache-2.0
//! A message's way from one side to another, and a server leg's beginning.
//!
//! What may cross was judged when it was read ([`crate::sip::judge`]); here it is held to what could change meanwhile, changed where it has
//! to be, sent, and booked: its dialog, its transaction, its counts. On the worker's core, once a message.

use super::{At, Env, Server, Session};
use crate::api::{Leg, Micros, Output, Road};
use crate::media;
use crate::ours::Hosts;
use crate::side::Side;
use crate::sip::{self, Head, Passed, Way};
use crate::tcp::{Addr, Endpoint};
use crate::transactions::Part;
use fedgate_sip::dialog::Crossing;
use fedgate_tables::counters::{Counter, Stat};

impl Session {
    /// Sends the message at the head of an inbox on.
    pub(super) fn cross_head<D: sip::DomainList, L: sip::LocalDomains, O: Output>(
        &mut self,
        at: At,
        to: At,
        passed: &Passed,
        env: &mut Env<'_, D, L, O>,
    ) -> Result<Part, Option<Vec<u8>>> {
        let Some(from) = self.side_at_mut(at) else { return Ok(passed.part) };
        let mut inbox = std::mem::take(&mut from.inbox);
        let crossed = self.cross(at, to, &inbox.bytes()[..passed.len], passed, env);
        inbox.consume(passed.len);
        if let Some(from) = self.side_at_mut(at) {
            from.inbox = inbox;
            from.head = Head::default();
        }
        crossed
    }

    /// Sends a message on, changed where it has to be, and books it. Gives its transaction as the other
    /// side sees it. An error where it may not go after all: its answer.
    pub(super) fn cross<D: sip::DomainList, L: sip::LocalDomains, O: Output>(
        &mut self,
        at: At,
        to: At,
        bytes: &[u8],
        passed: &Passed,
        env: &mut Env<'_, D, L, O>,
    ) -> Result<Part, Option<Vec<u8>>> {
        let (leg, way, remote) = (at.leg(), self.way(at.leg()), self.remote(at));
        let mut changed = None;
        if let (Some(from), Some(far)) = (self.side_at(at), self.side_at(to))
            && let (Some(peer), Some(far)) = (from.peer(), far.peer())
        {
            let (id, hosts, nat) = (self.id, Hosts::of(&self.params), self.params.nat);
            let (asked, dialogs, now, counted) =
                (&self.asked, &*env.dialogs, env.now, self.counted.is_some());
            let tag = &self.tag;
            let origin =
                sip::Origin { id, leg, way, remote, peer, tag, hosts, nat, asked, dialogs, counted, now };
            match way {
                Way::Inward => sip::still_permitted(bytes, passed, &origin, env.ctx, env.out)?,
                Way::Outward => sip::vouched(bytes, passed, far, &origin, env.ctx, env.out)?,
            }
            changed = passed.changed(bytes, &origin, env.ctx, env.out);
            let outside = if way == Way::Inward { peer } else { far };
            // Of all names in a certificate: for those who ask.
            let asks = passed.media.is_some() || passed.note.in_dialog();
            let peer_key = if asks { env.dialogs.peer_key(outside) } else { 0 };
            if let Some(subject) = passed.media {
                media::tell(subject, bytes, peer_key, env.dialogs, &origin, env.out);
            }
            let until = if passed.note.in_dialog() {
                let crossing = Crossing {
                    frame: bytes,
                    peer: outside,
                    peer_key,
                    server: self.home(at, to),
                    check: passed.check(env.ctx),
                };
                let timers = env.ctx.timeouts.dialogs();
                if !env.dialogs.crossed(&passed.note, &crossing, env.now.0, &timers) {
                    env.out.count(Counter::Stat(Stat::SipDialogsRefused), 1);
                }
                env.dialogs.until(&passed.note)
            } else {
                None
            };
            self.note_home(at, to, bytes, passed, until.map(Micros), env);
        }
        let place = match (at, to) {
            (At::Server(n), _) | (_, At::Server(n)) => self.servers.get(n).map_or(0, |server| server.place()),
            (At::Client, At::Client) => 0,
        };
        if let Some(far) = self.side_at_mut(to) {
            far.send(changed.as_ref().map_or(bytes, |changed| &changed.bytes));
        }
        if at == At::Client {
            self.keep_for_next(bytes, passed);
        }
        // Its answer comes back to what was sent.
        let part = changed.map_or(passed.part, |changed| changed.part);
        self.asked.crossed(leg, part, place, env.now);
        self.passed[leg as usize] += 1;
        self.bytes[leg as usize] += bytes.len() as u64;
        self.malformed = 0;
        self.note_answer(at, passed.part);
        self.note_request(to, part, env);
        passed.count(way, env.out);
        Ok(part)
    }

    /// Takes a message out of an inbox that is not handed on, and sends its answer, if one is owed, back to where it came from.
    pub(super) fn take_away(&mut self, at: At, len: usize, answer: Option<&[u8]>) {
        if let Some(side) = self.side_at_mut(at) {
            Self::answer(side, len, answer);
        }
        self.denied += 1;
    }

    pub(super) fn answer(side: &mut Side, len: usize, answer: Option<&[u8]>) {
        side.inbox.consume(len);
        side.head = Head::default();
        if let Some(answer) = answer
            && side.has_room()
        {
            side.send(answer);
        }
    }

    /// Opens the server leg for the message at the head of the client's inbox.
    pub(super) fn call_server<D: sip::DomainList, L, O: Output>(
        &mut self,
        passed: &Passed,
        env: &mut Env<'_, D, L, O>,
    ) {
        let Some((ends, road, mtu)) = self.next_target(passed, env) else {
            return self.out_of_reach(503, env);
        };
        match self.side_towards(passed, ends, mtu, env) {
            Some(side) => self.add(Server { side, remote: ends.1, road, given_up: None, joined: None }),
            None => {
                if let Road::Own(own) = road {
                    env.out.disconnect(self.id, own);
                }
                self.out_of_reach(503, env);
            }
        }
    }

    /// Most sessions have one server ever: room for more is made one by one.
    pub(super) fn add(&mut self, server: Server) {
        self.servers.reserve_exact(1);
        self.servers.push(server);
    }

    /// A side that calls a server; `None` where there is no room for it.
    pub(super) fn side_towards<D, L, O>(
        &self,
        passed: &Passed,
        ends: (Addr, Addr),
        mtu: u16,
        env: &Env<'_, D, L, O>,
    ) -> Option<Side> {
        let tls = &self.params.tls;
        let name = passed.server_name(self.way(Leg::Client), ends.1.0);
        let seed = tls.random().filter(|_| env.room >= env.side_cost)?;
        let tcp = Endpoint::connect(env.now, ends, mtu, env.buffers, seed);
        Some(Side::new(tcp, tls.connect(name).ok()?, env.now))
    }
}
