// SPDX-License-Identifier: MIT OR Apache-2.0
//! One proxied connection: two sides and the rules by which messages go from one to the other.
//!
//! [`Session::pump`] is called for every packet and every deadline. It moves bytes inward, judges the messages
//! that are whole, moves bytes outward, sends segments, and says when it wants to be called again. The work of a
//! call is bounded by [`MESSAGES_A_CALL`] and the TCP buffers; what is left over is asked for at once.
//!
//! Ends. A side that closes (close_notify or FIN) has what it sent delivered, then the other side is closed
//! towards its peer; answers still flow until that side closes too. Whatever else ends a session is an
//! [`CloseReason`]: no message is judged any more, both sides get what is queued, close_notify and FIN, and after
//! [`crate::Timeouts::linger`] a RST. A server that cannot be reached, or whose certificate does not vouch for
//! the domain that is called, has the pending requests answered (503, or 504 where it was silent), then the
//! client is closed: the server leg belongs to this client's port and a new try is a new connection.

use crate::api::{CloseReason, Context, Leg, Micros, OpenParams, Output, SessionId};
use crate::event::Event;
use crate::inspected::Inspection;
use crate::media;
use crate::side::{Outgoing, READ_AHEAD, Side};
use crate::sip::{self, Head, Judged, Way};
use crate::tcp::{Addr, Buffers, Endpoint, Port};
use crate::transactions::Transactions;
use fedgate_sip::dialog::Dialogs;
use fedgate_tables::counters::{Counter, Histo, Stat};

mod ends;
mod row;

/// Messages handed on or answered in one call, keep-alives included.
const MESSAGES_A_CALL: u32 = 32;
/// Malformed messages in a row after which a session ends.
const MALFORMED_IN_A_ROW: u32 = 32;

/// What a call is given besides the session.
pub(crate) struct Env<'a, D, L, O> {
    pub(crate) now: Micros,
    pub(crate) buffers: Buffers,
    pub(crate) ctx: &'a Context<'a, D, L>,
    pub(crate) out: &'a mut O,
    /// The dialogs of all sessions.
    pub(crate) dialogs: &'a mut Dialogs,
    pub(crate) inspection: &'a mut Inspection,
    /// Bytes left of the engine's memory; with less than a message's, no inbox grows past [`READ_AHEAD`].
    pub(crate) room: usize,
    /// Bytes that another side would take of it.
    pub(crate) side_cost: usize,
}

impl<D, L, O> Env<'_, D, L, O> {
    fn is_tight(&self) -> bool {
        self.room < sip::MESSAGE_BYTES
    }
}

/// What the engine does with a session after a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Call again at this time.
    At(Micros),
    /// It is over: free it.
    Gone(CloseReason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// `late`: the time for an orderly end is over.
    Ending {
        reason: CloseReason,
        since: Micros,
        late: bool,
    },
}

pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) params: OpenParams,
    pub(crate) client: Side,
    pub(crate) server: Option<Side>,
    phase: Phase,
    pub(crate) opened: Micros,
    pub(crate) last_heard: Micros,
    /// One direction has ended since then.
    half_closed: Option<Micros>,
    /// The server is out of reach: what requests are answered from now on.
    refuse: Option<u16>,
    /// Messages passed on, from the client and from the server.
    pub(crate) passed: [u64; 2],
    /// Messages not passed on.
    pub(crate) denied: u64,
    /// Plaintext bytes passed on, from the client and from the server.
    pub(crate) bytes: [u64; 2],
    /// Malformed messages since the last good one.
    malformed: u32,
    /// Our tag in answers.
    tag: String,
    /// What has crossed and may be answered.
    asked: Transactions,
}

impl Session {
    pub(crate) fn new(id: SessionId, params: OpenParams, client: Side, tag: u64, now: Micros) -> Self {
        Self {
            id,
            params,
            client,
            server: None,
            phase: Phase::Running,
            opened: now,
            last_heard: now,
            half_closed: None,
            refuse: None,
            passed: [0; 2],
            denied: 0,
            bytes: [0; 2],
            malformed: 0,
            tag: format!("{tag:016x}"),
            asked: Transactions::default(),
        }
    }

    pub(crate) fn side(&self, leg: Leg) -> Option<&Side> {
        match leg {
            Leg::Client => Some(&self.client),
            Leg::Server => self.server.as_ref(),
        }
    }

    fn side_mut(&mut self, leg: Leg) -> Option<&mut Side> {
        match leg {
            Leg::Client => Some(&mut self.client),
            Leg::Server => self.server.as_mut(),
        }
    }

    /// The client's TLS handshake is still in flight.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.phase == Phase::Running && !self.client.is_secure()
    }

    /// The client's SYN has been answered, if it has come at all; it has not shown that it hears us.
    pub(crate) fn is_embryonic(&self) -> bool {
        self.phase == Phase::Running && !self.client.tcp_was_up()
    }

    /// The outside address that this session is one of, once its client has shown that it is there.
    pub(crate) fn source(&self) -> Option<u32> {
        let proven = self.params.outside == Leg::Client && self.client.tcp.is_up();
        proven.then_some(self.params.client_remote.0)
    }

    /// Nothing is left but TCP's TIME_WAIT.
    pub(crate) fn is_lingering(&self) -> bool {
        matches!(self.phase, Phase::Ending { .. })
            && self.sides().all(|side| side.tcp.is_dead() || side.tcp.is_lingering())
    }

    /// Why it is ending, if it is.
    pub(crate) fn ended(&self) -> Option<CloseReason> {
        match self.phase {
            Phase::Running => None,
            Phase::Ending { reason, .. } => Some(reason),
        }
    }

    /// Bytes held, by the account that [`crate::Limits::memory`] bounds.
    pub(crate) fn held(&self) -> usize {
        size_of::<Self>() + self.asked.held() + self.sides().map(Side::held).sum::<usize>()
    }

    fn sides(&self) -> impl Iterator<Item = &Side> {
        std::iter::once(&self.client).chain(&self.server)
    }

    /// Takes in one packet, without dealing with what it brought; false when it is not this leg's.
    pub(crate) fn input(&mut self, now: Micros, leg: Leg, packet: &[u8], room: usize) -> bool {
        self.side_mut(leg).is_some_and(|side| side.tcp.input(now, packet, room))
    }

    /// A router's word on the size of a leg's packets; false where it changes nothing.
    pub(crate) fn too_big(&mut self, leg: Leg, seq: u32, mtu: u16) -> bool {
        self.side_mut(leg).is_some_and(|side| side.tcp.too_big(seq, mtu))
    }

    /// Does all there is to do now.
    pub(crate) fn pump<D, L, O>(&mut self, env: &mut Env<'_, D, L, O>) -> Next
    where
        D: sip::DomainList,
        L: sip::LocalDomains,
        O: Output,
    {
        if let Some(reason) = self.overdue(env) {
            self.time_out(reason, env);
        }
        let mut budget = MESSAGES_A_CALL;
        loop {
            let mut moved = false;
            for leg in Leg::BOTH {
                moved |= self.take_in(leg, env);
            }
            if self.phase == Phase::Running {
                for leg in Leg::BOTH {
                    moved |= self.pass_on(leg, &mut budget, env);
                }
                self.look_for_ends(env);
            }
            for side in [Some(&mut self.client), self.server.as_mut()].into_iter().flatten() {
                moved |= side.flush();
            }
            if !moved || budget == 0 {
                break;
            }
        }
        self.send(env, budget == 0)
    }

    /// Sends what TCP wants to send; finds the next time to be called.
    fn send<D, L, O: Output>(&mut self, env: &mut Env<'_, D, L, O>, busy: bool) -> Next {
        let (session, now) = (self.id, env.now);
        let mut next: Option<Micros> = busy.then_some(now);
        for leg in Leg::BOTH {
            let Some(side) = self.side_mut(leg) else { continue };
            let more = side.tcp.output(now, Port { session, leg, out: &mut *env.out });
            let at = if more { Some(now) } else { side.tcp.next_poll() };
            next = earlier(next, at);
        }
        if let Phase::Ending { reason, late, .. } = self.phase
            && self.sides().all(|side| side.tcp.is_dead() || (late && side.tcp.is_lingering()))
        {
            return Next::Gone(reason);
        }
        let limit = self.deadlines(env.ctx).map(|(at, _)| at).min();
        Next::At(earlier(next, limit).unwrap_or(now))
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

    /// Ends the session now, with a RST to both peers.
    pub(crate) fn abort<D, L, O: Output>(&mut self, reason: CloseReason, env: &mut Env<'_, D, L, O>) {
        self.end(reason, env.now);
        let session = self.id;
        for leg in Leg::BOTH {
            let Some(side) = self.side_mut(leg) else { continue };
            side.tcp.abort();
            side.tcp.output(env.now, Port { session, leg, out: &mut *env.out });
        }
    }

    // Inward.

    fn take_in<D, L, O: Output>(&mut self, leg: Leg, env: &mut Env<'_, D, L, O>) -> bool {
        let (id, running, now, remote) = (self.id, self.phase == Phase::Running, env.now, self.remote(leg));
        let Some(side) = self.side_mut(leg) else { return false };
        side.watch(now);
        if !running {
            // What comes now is for nobody; reading it lets the peer's FIN through.
            side.discard();
            return false;
        }
        let started = side.since;
        let cap = if env.is_tight() { READ_AHEAD } else { side.head.allowed() };
        match side.receive(cap) {
            Ok(done) => {
                if done.secured {
                    let stat = match leg {
                        Leg::Client => Stat::TlsHandshakesClientLeg,
                        Leg::Server => Stat::TlsHandshakesServerLeg,
                    };
                    env.out.count(Counter::Stat(stat), 1);
                    if side.is_resumed() {
                        env.out.count(Counter::Stat(Stat::TlsResumed), 1);
                    }
                    env.out.observe(Histo::HandshakeUs, now.since(started));
                    if let (Some(peer), Some((version, suite))) = (side.peer(), side.agreed()) {
                        env.out.event(id, Event::Secured { leg, remote, peer, version, suite });
                    }
                }
                if done.moved {
                    self.last_heard = now;
                }
                done.moved
            }
            Err(failure) => {
                env.out.count(Counter::Stat(Stat::TlsFailures), 1);
                if let Some(stat) = failure.stat() {
                    env.out.count(Counter::Stat(stat), 1);
                }
                env.out.event(id, Event::TlsFailed { leg, remote, why: format_args!("{failure}") });
                let secured = side.is_secure();
                side.shut_failed();
                match leg {
                    Leg::Server if !secured => self.out_of_reach(503, env),
                    _ => self.end(CloseReason::TlsFailed(leg), now),
                }
                true
            }
        }
    }

    // Across.

    /// Judges the messages that are whole in one side's inbox and hands them on.
    fn pass_on<D, L, O>(&mut self, leg: Leg, budget: &mut u32, env: &mut Env<'_, D, L, O>) -> bool
    where
        D: sip::DomainList,
        L: sip::LocalDomains,
        O: Output,
    {
        let mut moved = false;
        while *budget > 0 && self.phase == Phase::Running {
            let Some(side) = self.side_mut(leg) else { break };
            // Any message may have to be answered; where nothing can be sent any more, nothing is.
            if !side.is_secure() || (side.outgoing == Outgoing::Open && !side.has_room()) {
                break;
            }
            let went = match side.head {
                Head::Unread { .. } => self.judge(leg, env),
                Head::Passed { .. } => self.hand_on(leg, env),
            };
            if !went {
                break;
            }
            *budget -= 1;
            moved = true;
        }
        moved
    }

    /// The peer's address on a leg.
    pub(crate) fn remote(&self, leg: Leg) -> Addr {
        match leg {
            Leg::Client => self.params.client_remote,
            Leg::Server => self.params.server_remote,
        }
    }

    fn way(&self, from: Leg) -> Way {
        if from == self.params.outside { Way::Inward } else { Way::Outward }
    }

    /// Looks at the head of an inbox; false when it is not whole.
    fn judge<D, L, O>(&mut self, leg: Leg, env: &mut Env<'_, D, L, O>) -> bool
    where
        D: sip::DomainList,
        L: sip::LocalDomains,
        O: Output,
    {
        let (id, way, remote) = (self.id, self.way(leg), self.remote(leg));
        let side = match leg {
            Leg::Client => &mut self.client,
            Leg::Server => match &mut self.server {
                Some(server) => server,
                None => return false,
            },
        };
        let Some(peer) = &side.peer else { return false };
        let (hosts, nat) = (own_hosts(&self.params), self.params.nat);
        let (asked, dialogs, now) = (&self.asked, &*env.dialogs, env.now);
        let origin =
            sip::Origin { id, leg, way, remote, peer, tag: &self.tag, hosts, nat, asked, dialogs, now };
        let judged =
            sip::judge(&mut side.framer, side.inbox.bytes(), &origin, env.inspection, env.ctx, env.out);
        match judged {
            Judged::Incomplete { need } => {
                side.head = side.head.still_unread(need, side.inbox.is_empty(), env.now);
                if env.is_tight() && need > READ_AHEAD && side.inbox.bytes().len() >= READ_AHEAD {
                    self.end(CloseReason::Memory(leg), env.now);
                }
                false
            }
            Judged::Skip { len } => {
                side.inbox.consume(len);
                side.head = Head::default();
                true
            }
            Judged::Pass(passed) => {
                side.head = Head::Passed(passed);
                true
            }
            Judged::Refuse { len, answer, malformed } => {
                Self::answer(side, len, answer.as_deref());
                self.denied += 1;
                self.malformed = if malformed { self.malformed + 1 } else { 0 };
                if self.malformed == MALFORMED_IN_A_ROW {
                    self.end(CloseReason::Malformed(leg), env.now);
                }
                true
            }
            Judged::End { reset } => {
                self.denied += 1;
                self.end(CloseReason::Inspected(leg), env.now);
                if reset {
                    self.client.tcp.abort();
                    self.server.iter_mut().for_each(|server| server.tcp.abort());
                }
                true
            }
            Judged::Broken { answer } => {
                if let Some(answer) = answer
                    && side.has_room()
                {
                    side.send(&answer);
                }
                self.denied += 1;
                self.end(CloseReason::Unframeable(leg), env.now);
                true
            }
        }
    }

    /// Hands the message at the head on, or answers it; false when it has to wait.
    fn hand_on<D: sip::DomainList, L: sip::LocalDomains, O: Output>(
        &mut self,
        leg: Leg,
        env: &mut Env<'_, D, L, O>,
    ) -> bool {
        let (id, way, remote, refuse) = (self.id, self.way(leg), self.remote(leg), self.refuse);
        let (from, to) = match leg {
            Leg::Client => (&mut self.client, self.server.as_mut()),
            Leg::Server => match self.server.as_mut() {
                Some(server) => (server, Some(&mut self.client)),
                None => return false,
            },
        };
        let Head::Passed(passed) = from.head else { return false };
        let len = passed.len;
        if let Some(status) = refuse {
            let answer = sip::answer(&from.inbox.bytes()[..len], status, &self.tag);
            Self::answer(from, len, answer.as_deref());
            self.denied += 1;
            return true;
        }
        let Some(to) = to else {
            self.call_server(env);
            return false;
        };
        if !to.is_secure() {
            return false;
        }
        if to.outgoing != Outgoing::Open {
            // Its peer has closed: there is nobody to hand this to.
            Self::answer(from, len, None);
            self.denied += 1;
            return true;
        }
        if !to.has_room() {
            return false;
        }
        let mut changed = None;
        if let (Some(peer), Some(far)) = (from.peer(), to.peer()) {
            let (hosts, nat) = (own_hosts(&self.params), self.params.nat);
            let (asked, dialogs, now) = (&self.asked, &*env.dialogs, env.now);
            let origin =
                sip::Origin { id, leg, way, remote, peer, tag: &self.tag, hosts, nat, asked, dialogs, now };
            let bytes = &from.inbox.bytes()[..len];
            let checked = match way {
                Way::Inward => sip::still_permitted(bytes, &passed, &origin, env.ctx, env.out),
                Way::Outward => sip::vouched(bytes, &passed, far, &origin, env.ctx, env.out),
            };
            if let Err(answer) = checked {
                Self::answer(from, len, answer.as_deref());
                self.denied += 1;
                if way == Way::Outward && self.passed == [0; 2] {
                    // Opened for this domain, and not good for it (RFC 5922 section 7.3).
                    self.end(CloseReason::ServerMismatch, env.now);
                }
                return true;
            }
            changed = passed.changed(bytes, &origin, env.ctx, env.out);
            if let Some(subject) = passed.media {
                let outside = env.dialogs.peer_key(if way == Way::Inward { peer } else { far });
                media::tell(subject, bytes, outside, env.dialogs, &origin, env.out);
            }
        }
        let outside = if way == Way::Inward { from.peer() } else { to.peer() };
        if passed.note.in_dialog()
            && let Some(outside) = outside
        {
            let (peer, frame) = (env.dialogs.peer_key(outside), &from.inbox.bytes()[..len]);
            let timers = env.ctx.timeouts.dialogs();
            if !env.dialogs.crossed(&passed.note, frame, peer, env.now.0, &timers) {
                env.out.count(Counter::Stat(Stat::SipDialogsRefused), 1);
            }
        }
        // Its answer comes back to what was sent.
        let part = changed.as_ref().map_or(passed.part, |changed| changed.part);
        match changed {
            None => to.send_from(&mut from.inbox, len),
            Some(changed) => {
                to.send(&changed.bytes);
                from.inbox.consume(len);
            }
        }
        self.asked.crossed(leg, part, env.now);
        from.head = Head::default();
        self.passed[leg as usize] += 1;
        self.bytes[leg as usize] += len as u64;
        self.malformed = 0;
        passed.count(way, env.out);
        true
    }

    /// Takes a message out of the inbox and sends its answer, if one is owed, back to where it came from.
    fn answer(side: &mut Side, len: usize, answer: Option<&[u8]>) {
        side.inbox.consume(len);
        side.head = Head::default();
        if let Some(answer) = answer
            && side.has_room()
        {
            side.send(answer);
        }
    }

    /// Opens the server leg for the message at the head of the client's inbox.
    fn call_server<D, L, O: Output>(&mut self, env: &mut Env<'_, D, L, O>) {
        let Head::Passed(passed) = &self.client.head else { return };
        let (p, now) = (&self.params, env.now);
        let name = passed.server_name(self.way(Leg::Client), p.server_remote.0);
        let seed = p.tls.random().filter(|_| env.room >= env.side_cost);
        let side = seed.and_then(|seed| {
            let ends = (p.server_local, p.server_remote);
            let tcp = Endpoint::connect(now, ends, p.server_mtu, env.buffers, seed);
            Some(Side::new(tcp, p.tls.connect(name).ok()?, now))
        });
        match side {
            Some(side) => self.server = Some(side),
            None => self.out_of_reach(503, env),
        }
    }
}

/// What stands for us in a session: the address that the outside knows, and the inside server's own.
fn own_hosts(params: &OpenParams) -> sip::Hosts<'_> {
    let addrs = match params.outside {
        Leg::Client => [params.client_local.0, params.server_remote.0],
        Leg::Server => [params.server_local.0, params.client_remote.0],
    };
    sip::Hosts { tls: &params.tls, addrs }
}

fn earlier(a: Option<Micros>, b: Option<Micros>) -> Option<Micros> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
