// SPDX-License-Identifier: MIT OR Apache-2.0
//! One proxied connection: its sides and the rules by which messages go from one to the other.
//!
//! [`Session::pump`] is called for every packet and every deadline. It moves bytes inward, judges the messages
//! that are whole, moves bytes outward, sends segments, and says when it wants to be called again. The work of a
//! call is bounded by [`MESSAGES_A_CALL`] and the TCP buffers; what is left over is asked for at once.
//!
//! There is one client and, without a pool, one server, which is who was called. With a pool ([`pooled`]) each request goes to the
//! member that it is for, so there may be a server a place of the pool.
//!
//! Ends. A side that closes (close_notify or FIN) has what it sent delivered, then the other side is closed
//! towards its peer; answers still flow until that side closes too. Whatever else ends a session is an
//! [`CloseReason`]: no message is judged any more, both sides get what is queued, close_notify and FIN, and after
//! [`crate::Timeouts::linger`] a RST. A server that cannot be reached, or whose certificate does not vouch for
//! the domain that is called, has the pending requests answered (503, or 504 where it was silent), then the
//! client is closed: the server leg belongs to this client's port and a new try is a new connection.

use crate::api::{CloseReason, Context, Leg, Micros, OpenParams, Output, Road, SessionId};
use crate::event::Event;
use crate::inspected::Inspection;
use crate::ours::Hosts;
use crate::pool::Joined;
use crate::side::{Outgoing, READ_AHEAD, Side};
use crate::sip::{self, Head, Judged, Passed, Way};
use crate::tcp::{Addr, Buffers, Port};
use crate::transactions::Transactions;
use fedgate_sip::dialog::Dialogs;
use fedgate_tables::counters::{Counter, Histo, Stat};
use pooled::Pooled;
use targets::Targets;

mod across;
mod ends;
mod home;
mod lines;
mod pooled;
mod row;
mod targets;
mod trust;

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
    /// The worker's number.
    pub(crate) worker: usize,
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

/// One of the ends: the client, or a server by its position in [`Session::servers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Client,
    Server(usize),
}

impl At {
    fn leg(self) -> Leg {
        match self {
            At::Client => Leg::Client,
            At::Server(_) => Leg::Server,
        }
    }
}

/// A connection to a server.
pub(crate) struct Server {
    pub(crate) side: Side,
    pub(crate) remote: Addr,
    /// By which connection; with a pool its number is the place there.
    pub(crate) road: Road,
    /// Given up: nothing goes there any more, and it is taken out once it is dead.
    pub(crate) given_up: Option<Micros>,
    /// A pool's count of it.
    pub(crate) joined: Option<Joined>,
}

impl Server {
    /// Its place in the pool; 0 without one.
    fn place(&self) -> u8 {
        match self.road {
            Road::Leg(_) => 0,
            Road::Own(place) => place,
        }
    }
}

pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) params: OpenParams,
    pub(crate) client: Side,
    /// Without a pool one at most.
    pub(crate) servers: Vec<Server>,
    pooled: Option<Box<Pooled>>,
    /// While there are several servers to choose from, none of which has said anything.
    targets: Option<Box<Targets>>,
    /// The entry of the domain list that it is counted for.
    pub(crate) counted: Option<u32>,
    phase: Phase,
    pub(crate) opened: Micros,
    pub(crate) last_heard: Micros,
    /// The earliest time limit, as the last call left it.
    due: Micros,
    /// One direction has ended since then.
    half_closed: Option<Micros>,
    /// The server is out of reach: what requests are answered from now on.
    refuse: Option<u16>,
    /// Messages passed on, from the client and from servers.
    pub(crate) passed: [u64; 2],
    /// Messages not passed on.
    pub(crate) denied: u64,
    /// Plaintext bytes passed on, from the client and from servers.
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
        let pooled = params.tls.pooling().and_then(Pooled::of).map(Box::new);
        Self {
            id,
            params,
            client,
            servers: Vec::new(),
            pooled,
            targets: None,
            counted: None,
            phase: Phase::Running,
            opened: now,
            last_heard: now,
            due: now,
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

    /// The client's side, or the first server's.
    pub(crate) fn side(&self, leg: Leg) -> Option<&Side> {
        match leg {
            Leg::Client => Some(&self.client),
            Leg::Server => self.servers.first().map(|server| &server.side),
        }
    }

    fn side_at(&self, at: At) -> Option<&Side> {
        match at {
            At::Client => Some(&self.client),
            At::Server(n) => self.servers.get(n).map(|server| &server.side),
        }
    }

    fn side_at_mut(&mut self, at: At) -> Option<&mut Side> {
        match at {
            At::Client => Some(&mut self.client),
            At::Server(n) => self.servers.get_mut(n).map(|server| &mut server.side),
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
        let pooled = self.pooled.as_ref().map_or(0, |pooled| pooled.bytes());
        let targets = self.targets.as_ref().map_or(0, |targets| targets.bytes());
        let servers = self.servers.capacity() * size_of::<Server>();
        let sides = self.sides().map(Side::held).sum::<usize>();
        size_of::<Self>() + self.asked.held() + servers + pooled + targets + sides
    }

    fn sides(&self) -> impl Iterator<Item = &Side> {
        std::iter::once(&self.client).chain(self.servers.iter().map(|server| &server.side))
    }

    fn sides_mut(&mut self) -> impl Iterator<Item = &mut Side> {
        std::iter::once(&mut self.client).chain(self.servers.iter_mut().map(|server| &mut server.side))
    }

    fn ends(&self) -> impl Iterator<Item = At> + use<> {
        std::iter::once(At::Client).chain((0..self.servers.len()).map(At::Server))
    }

    fn side_by(&mut self, road: Road) -> Option<&mut Side> {
        match road {
            Road::Leg(Leg::Client) => Some(&mut self.client),
            road => self.servers.iter_mut().find(|server| server.road == road).map(|server| &mut server.side),
        }
    }

    /// Takes in one packet, without dealing with what it brought; false when it is not this connection's.
    pub(crate) fn input(&mut self, now: Micros, road: Road, packet: &[u8], room: usize) -> bool {
        self.side_by(road).is_some_and(|side| side.tcp.input(now, packet, room))
    }

    /// A router's word on the size of a connection's packets; false where it changes nothing.
    pub(crate) fn too_big(&mut self, road: Road, seq: u32, mtu: u16) -> bool {
        self.side_by(road).is_some_and(|side| side.tcp.too_big(seq, mtu))
    }

    /// Does all there is to do now.
    pub(crate) fn pump<D, L, O>(&mut self, env: &mut Env<'_, D, L, O>) -> Next
    where
        D: sip::DomainList,
        L: sip::LocalDomains,
        O: Output,
    {
        self.sides_mut().for_each(|side| side.tcp.watch(env.now));
        // Nothing but a call makes a limit that is earlier than those the last one found.
        if self.due <= env.now {
            while let Some((reason, at)) = self.overdue(env) {
                self.time_out(reason, at, env);
            }
        }
        let mut budget = MESSAGES_A_CALL;
        loop {
            let mut moved = false;
            for at in self.ends() {
                moved |= self.take_in(at, env);
            }
            if self.phase == Phase::Running {
                for at in self.ends() {
                    moved |= self.pass_on(at, &mut budget, env);
                }
                moved |= self.tend_pool(env);
                self.look_for_ends(env);
            }
            for side in self.sides_mut() {
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
        for at in self.ends() {
            let road = self.road(at);
            let Some(side) = self.side_at_mut(at) else { continue };
            let more = side.tcp.output(now, Port { session, road, out: &mut *env.out });
            let at = if more { Some(now) } else { side.tcp.next_poll() };
            next = earlier(next, at);
        }
        self.take_out_dead(env);
        if let Phase::Ending { reason, late, .. } = self.phase
            && self.sides().all(|side| side.tcp.is_dead() || (late && side.tcp.is_lingering()))
        {
            return Next::Gone(reason);
        }
        let limit = self.first_deadline(env.ctx);
        self.due = limit.unwrap_or(now);
        Next::At(earlier(next, limit).unwrap_or(now))
    }

    // Inward.

    fn take_in<D, L, O: Output>(&mut self, at: At, env: &mut Env<'_, D, L, O>) -> bool {
        let (id, running, now) = (self.id, self.phase == Phase::Running, env.now);
        let (leg, remote) = (at.leg(), self.remote(at));
        let given_up =
            matches!(at, At::Server(n) if self.servers.get(n).is_some_and(|it| it.given_up.is_some()));
        let Some(side) = self.side_at_mut(at) else { return false };
        side.watch(now);
        if !running || given_up {
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
                match at {
                    At::Server(n) if self.pooled.is_some() => self.give_up(n, 503, env),
                    At::Server(_) if !secured => self.out_of_reach(503, env),
                    At::Server(_) => self.server_died(CloseReason::TlsFailed(leg), env),
                    At::Client => self.end(CloseReason::TlsFailed(leg), now),
                }
                true
            }
        }
    }

    // Across.

    /// Judges the messages that are whole in one side's inbox and hands them on.
    fn pass_on<D, L, O>(&mut self, at: At, budget: &mut u32, env: &mut Env<'_, D, L, O>) -> bool
    where
        D: sip::DomainList,
        L: sip::LocalDomains,
        O: Output,
    {
        let mut moved = false;
        while *budget > 0 && self.phase == Phase::Running {
            let Some(side) = self.side_at_mut(at) else { break };
            // Any message may have to be answered; where nothing can be sent any more, nothing is.
            if !side.is_secure() || (side.outgoing == Outgoing::Open && !side.has_room()) {
                break;
            }
            let went = match side.head {
                Head::Unread { .. } => self.judge(at, env),
                Head::Passed(passed) => self.hand_on(at, passed, env),
            };
            if !went {
                break;
            }
            *budget -= 1;
            moved = true;
        }
        moved
    }

    /// The peer's address at an end.
    fn remote(&self, at: At) -> Addr {
        match at {
            At::Client => self.params.client_remote,
            At::Server(n) => self.servers.get(n).map_or(self.params.server_remote, |server| server.remote),
        }
    }

    fn road(&self, at: At) -> Road {
        match at {
            At::Client => Road::Leg(Leg::Client),
            At::Server(n) => self.servers.get(n).map_or(Road::Leg(Leg::Server), |server| server.road),
        }
    }

    fn way(&self, from: Leg) -> Way {
        if from == self.params.outside { Way::Inward } else { Way::Outward }
    }

    /// Looks at the head of an inbox; false when it is not whole.
    fn judge<D, L, O>(&mut self, at: At, env: &mut Env<'_, D, L, O>) -> bool
    where
        D: sip::DomainList,
        L: sip::LocalDomains,
        O: Output,
    {
        let (leg, remote) = (at.leg(), self.remote(at));
        let (id, way) = (self.id, self.way(leg));
        let side = match at {
            At::Client => &mut self.client,
            At::Server(n) => match self.servers.get_mut(n) {
                Some(server) => &mut server.side,
                None => return false,
            },
        };
        let Some(peer) = &side.peer else { return false };
        let (hosts, nat) = (Hosts::of(&self.params), self.params.nat);
        let (asked, dialogs, now, tag) = (&self.asked, &*env.dialogs, env.now, &self.tag);
        let counted = self.counted.is_some();
        let origin =
            sip::Origin { id, leg, way, remote, peer, tag, hosts, nat, asked, dialogs, counted, now };
        let judged =
            sip::judge(&mut side.framer, side.inbox.bytes(), &origin, env.inspection, env.ctx, env.out);
        match judged {
            Judged::Incomplete { need } => {
                side.head = side.head.still_unread(need, side.inbox.is_empty(), env.now);
                if env.is_tight() && need > READ_AHEAD && side.inbox.bytes().len() >= READ_AHEAD {
                    self.end_of(at, CloseReason::Memory(leg), env);
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
                self.counted = self.counted.or(passed.counts);
                if let At::Server(_) = at {
                    self.settle_for_target(env);
                }
                true
            }
            Judged::Refuse { len, answer, malformed } => {
                Self::answer(side, len, answer.as_deref());
                self.denied += 1;
                self.malformed = if malformed { self.malformed + 1 } else { 0 };
                if self.malformed == MALFORMED_IN_A_ROW {
                    self.end_of(at, CloseReason::Malformed(leg), env);
                }
                true
            }
            Judged::End { reset } => {
                self.denied += 1;
                if let (At::Server(n), Some(_)) = (at, &self.pooled) {
                    self.cut_off(n, reset, env);
                    return true;
                }
                self.end(CloseReason::Inspected(leg), env.now);
                if reset {
                    self.sides_mut().for_each(|side| side.tcp.abort());
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
                self.end_of(at, CloseReason::Unframeable(leg), env);
                true
            }
        }
    }

    /// Hands the message at the head on, or answers it; false when it has to wait.
    fn hand_on<D: sip::DomainList, L: sip::LocalDomains, O: Output>(
        &mut self,
        at: At,
        passed: Passed,
        env: &mut Env<'_, D, L, O>,
    ) -> bool {
        let to = match at {
            At::Client if self.pooled.is_some() => return self.hand_to_pool(passed, env),
            At::Client => At::Server(0),
            At::Server(_) => At::Client,
        };
        let (len, refuse) = (passed.len, self.refuse);
        let tag = &self.tag;
        let from = match at {
            At::Client => &mut self.client,
            At::Server(n) => match self.servers.get_mut(n) {
                Some(server) => &mut server.side,
                None => return false,
            },
        };
        if let Some(status) = refuse {
            let answer = sip::answer(&from.inbox.bytes()[..len], status, tag);
            Self::answer(from, len, answer.as_deref());
            self.denied += 1;
            return true;
        }
        let Some(far) = self.side_at(to) else {
            if !self.targets.as_ref().is_some_and(|it| it.owes()) {
                self.call_server(&passed, env);
            }
            return false;
        };
        if !far.is_secure() || self.targets.as_ref().is_some_and(|it| it.owes()) {
            return false;
        }
        if at == At::Client && self.fails_for(&passed, env) {
            return self.try_next(env);
        }
        let Some(far) = self.side_at(to) else { return false };
        if far.outgoing != Outgoing::Open {
            // Its peer has closed: there is nobody to hand this to.
            self.take_away(at, len, None);
            return true;
        }
        if !far.has_room() {
            return false;
        }
        if let Err(answer) = self.cross_head(at, to, &passed, env) {
            self.take_away(at, 0, answer.as_deref());
            if self.way(at.leg()) == Way::Outward && self.passed == [0; 2] {
                // Opened for this domain, and not good for it (RFC 5922 section 7.3).
                self.end(CloseReason::ServerMismatch, env.now);
            }
        }
        true
    }
}

fn earlier(a: Option<Micros>, b: Option<Micros>) -> Option<Micros> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
