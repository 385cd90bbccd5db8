// SPDX-License-Identifier: MIT OR Apache-2.0
//! Health checks of a pool: OPTIONS over TLS to each member (RFC 3261 section 11), as any peer inside would ask.
//!
//! One [`Watch`] a pool, on one worker's engine, in a slot of its own among the sessions. A member is asked on a connection that is kept
//! while it lasts, from our own address on the way there, with the client face's trust; each time its interval is over. A final answer is a
//! sign of life unless it is 408 or 503: what a server thinks of OPTIONS is its own affair. No way there, no handshake, no answer within
//! [`PATIENCE`], or 408 and 503, are failures. So many of either in a row turn the member ([`crate::pool::Pool::found`]), which all workers see;
//! the very first answer is enough.
//!
//! Bounded by the places of a pool; what a member says besides is read and forgotten. On the worker's core, some packets an interval.

use crate::api::{Micros, Output, Road, SessionId};
use crate::event::Event;
use crate::pool::{Answer, Health, Member, Pool};
use crate::side::{READ_AHEAD, Side};
use crate::sip;
use crate::tcp::{Addr, Buffers, Endpoint, Port};
use crate::tls::ProxyTls;
use fedgate_sip::frame::Frame;
use fedgate_sip::message::{Message, Start};
use fedgate_tables::policy::{HealthCheck, MAX_MEMBERS};
use rustls::pki_types::ServerName;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// How long a connection and an answer may take, if the interval is not shorter.
const PATIENCE: u64 = 5_000_000;

/// One member's check.
#[derive(Default)]
struct Check {
    addr: Addr,
    leg: Option<Box<Line>>,
    /// When it is to be asked.
    due: Micros,
    /// Asked, or called to be asked, since.
    asked: Option<Micros>,
    fails: u8,
    rises: u8,
    count: u32,
}

/// The connection to a member.
struct Line {
    side: Side,
    local: Addr,
    /// The Call-ID of the question that is open.
    open: Option<String>,
}

/// See the module.
pub(crate) struct Watch {
    id: SessionId,
    pub(crate) pool: Arc<Pool>,
    pub(crate) tls: Arc<ProxyTls>,
    buffers: Buffers,
    checks: [Check; MAX_MEMBERS],
}

impl Watch {
    pub(crate) fn new(id: SessionId, pool: Arc<Pool>, tls: Arc<ProxyTls>, buffers: Buffers) -> Self {
        Self { id, pool, tls, buffers, checks: Default::default() }
    }

    /// A packet from a member; false where it is of no connection of ours.
    pub(crate) fn input(&mut self, now: Micros, road: Road, packet: &[u8]) -> bool {
        let Road::Own(place) = road else { return false };
        let leg = self.checks.get_mut(usize::from(place)).and_then(|check| check.leg.as_mut());
        leg.is_some_and(|leg| leg.side.tcp.input(now, packet, sip::MESSAGE_BYTES))
    }

    /// Does what is due; gives the next time.
    pub(crate) fn pump<O: Output>(&mut self, now: Micros, out: &mut O) -> Micros {
        let members: Vec<Member> = self.pool.members().collect();
        let settings = self.pool.check().unwrap_or_default();
        let mut next = now.after(interval(&settings));
        for place in 0..MAX_MEMBERS as u8 {
            let member = members.iter().find(|member| member.place == place);
            let check = &self.checks[usize::from(place)];
            if member.is_none_or(|member| member.addr != check.addr) {
                self.reset(place, member, now, out);
            }
            if let Some(member) = member {
                next = next.min(self.tend(member, &settings, now, out));
            }
        }
        next
    }

    /// Lets all connections go, without a word; what was asked is asked again.
    pub(crate) fn close<O: Output>(&mut self, now: Micros, out: &mut O) {
        for place in 0..MAX_MEMBERS as u8 {
            self.hang_up(place, now, out);
            self.checks[usize::from(place)].asked = None;
        }
    }

    fn reset<O: Output>(&mut self, place: u8, member: Option<&Member>, now: Micros, out: &mut O) {
        self.hang_up(place, now, out);
        let addr = member.map_or((0, 0), |member| member.addr);
        self.checks[usize::from(place)] = Check { addr, due: now, ..Check::default() };
    }

    fn hang_up<O: Output>(&mut self, place: u8, now: Micros, out: &mut O) {
        if let Some(mut leg) = self.checks[usize::from(place)].leg.take() {
            leg.side.tcp.abort();
            leg.side.tcp.output(now, Port { session: self.id, road: Road::Own(place), out: &mut *out });
            out.disconnect(self.id, place);
        }
    }

    fn tend<O: Output>(
        &mut self,
        member: &Member,
        settings: &HealthCheck,
        now: Micros,
        out: &mut O,
    ) -> Micros {
        let place = member.place;
        let patience = PATIENCE.min(interval(settings));
        match self.hear(place, now) {
            Some(answer) if answer.is_well() => self.book(member, settings, answer, now, out),
            Some(answer) => self.fail(member, settings, answer, now, out),
            None => {}
        }
        let is_over = |leg: &Line| leg.side.is_done() || leg.side.tcp.is_dead();
        if self.checks[usize::from(place)].leg.as_deref().is_some_and(is_over) {
            self.hang_up(place, now, out);
        }
        let check = &self.checks[usize::from(place)];
        if check.asked.is_some_and(|asked| asked.after(patience) <= now) {
            self.fail(member, settings, Answer::Silent, now, out);
        }
        if self.checks[usize::from(place)].due <= now {
            let check = &mut self.checks[usize::from(place)];
            // Late calls do not add up.
            check.due = now.after(interval(settings));
            check.asked = Some(now);
            if check.leg.is_none() && !self.call(member, now, out) {
                self.fail(member, settings, Answer::NoWay, now, out);
            }
        }
        let id = self.id;
        let check = &mut self.checks[usize::from(place)];
        let mut next = check.due;
        if let Some(leg) = &mut check.leg {
            if check.asked.is_some() && leg.open.is_none() && leg.side.has_room() {
                check.count += 1;
                let text = self.tls.random().map(|n| question(leg, check.addr, check.count, n));
                if let Some((call_id, text)) = text {
                    leg.side.send(text.as_bytes());
                    leg.open = Some(call_id);
                }
            }
            leg.side.flush();
            let more = leg.side.tcp.output(now, Port { session: id, road: Road::Own(place), out: &mut *out });
            let at = if more { Some(now) } else { leg.side.tcp.next_poll() };
            next = at.map_or(next, |at| next.min(at));
        }
        check.asked.map_or(next, |asked| next.min(asked.after(patience)))
    }

    /// Reads what has come: how the question was answered, or that the connection is over while it was open.
    fn hear(&mut self, place: u8, now: Micros) -> Option<Answer> {
        let check = &mut self.checks[usize::from(place)];
        let leg = check.leg.as_mut()?;
        let side = &mut leg.side;
        side.watch(now);
        if side.receive(READ_AHEAD.max(side.head.wanted())).is_err() {
            side.shut_failed();
            side.flush();
            return Some(Answer::Broken);
        }
        let mut heard = None;
        loop {
            let (len, answer) = match side.framer.next(side.inbox.bytes()) {
                Frame::Incomplete { needed_at_least } => {
                    side.head = side.head.still_unread(needed_at_least, side.inbox.is_empty(), now);
                    break;
                }
                Frame::KeepAlive { len } => (len, None),
                Frame::Message { head_len, body_len } => {
                    let len = head_len + body_len;
                    let message = Message::scan_with(&side.inbox.bytes()[..len], &sip::LIMITS).ok();
                    (len, message.and_then(|message| verdict(&message, leg.open.as_deref())))
                }
                Frame::Bad(_) => return Some(Answer::Broken),
            };
            side.inbox.consume(len);
            if let Some(status) = answer {
                leg.open = None;
                check.asked = None;
                heard = Some(Answer::Status(status));
            }
        }
        if heard.is_none() && (side.is_done() || side.tcp.is_dead()) {
            // Between two questions a server may close as it likes; then the next begins with a new connection.
            return Some(Answer::Broken).filter(|_| check.asked.is_some());
        }
        heard
    }

    /// Begins a connection; false where there is no way.
    fn call<O: Output>(&mut self, member: &Member, now: Micros, out: &mut O) -> bool {
        let Some((local, mtu)) = out.connect(self.id, member.place, None, member.addr) else { return false };
        let name = ServerName::from(IpAddr::V4(Ipv4Addr::from_bits(member.addr.0)));
        let side = self.tls.random().and_then(|seed| {
            let tcp = Endpoint::connect(now, (local, member.addr), mtu, self.buffers, seed);
            Some(Side::new(tcp, self.tls.connect(name).ok()?, now))
        });
        match side {
            Some(side) => {
                let leg = Line { side, local, open: None };
                self.checks[usize::from(member.place)].leg = Some(Box::new(leg));
                true
            }
            None => {
                out.disconnect(self.id, member.place);
                false
            }
        }
    }

    fn fail<O: Output>(
        &mut self,
        member: &Member,
        settings: &HealthCheck,
        answer: Answer,
        now: Micros,
        out: &mut O,
    ) {
        self.hang_up(member.place, now, out);
        self.checks[usize::from(member.place)].asked = None;
        self.book(member, settings, answer, now, out);
    }

    /// Books an answer or a failure; tells where that turns the member.
    fn book<O: Output>(
        &mut self,
        member: &Member,
        settings: &HealthCheck,
        answer: Answer,
        now: Micros,
        out: &mut O,
    ) {
        let well = answer.is_well();
        self.pool.heard(member.place, answer, now);
        let check = &mut self.checks[usize::from(member.place)];
        let turns = if well {
            (check.fails, check.rises) = (0, check.rises.saturating_add(1));
            check.rises >= settings.rise || member.health == Health::Unchecked
        } else {
            (check.fails, check.rises) = (check.fails.saturating_add(1), 0);
            check.fails >= settings.fail
        };
        if turns && self.pool.found(member.place, well, now) {
            let event = Event::MemberTurned { pool: self.pool.name(), remote: member.addr, up: well };
            out.event(self.id, event);
        }
    }
}

fn interval(settings: &HealthCheck) -> u64 {
    u64::from(settings.interval.max(1)) * 1_000_000
}

/// How a message answers the open question, if it does.
fn verdict(message: &Message<'_>, open: Option<&str>) -> Option<u16> {
    match message.start {
        Start::Response { status, .. } if Some(message.call_id) == open && status >= 200 => Some(status),
        Start::Response { .. } | Start::Request { .. } => None,
    }
}

/// OPTIONS with its Call-ID.
fn question(leg: &Line, to: Addr, count: u32, random: u64) -> (String, String) {
    let (us, them) = (Ipv4Addr::from_bits(leg.local.0), Ipv4Addr::from_bits(to.0));
    let (our_port, port) = (leg.local.1, to.1);
    let call_id = format!("{random:016x}@{us}");
    let text = format!(
        "OPTIONS sip:{them}:{port};transport=tls SIP/2.0\r\n\
         Via: SIP/2.0/TLS {us}:{our_port};branch=z9hG4bK{random:016x}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:fedgate@{us}>;tag={:08x}\r\n\
         To: <sip:{them}:{port}>\r\n\
         Call-ID: {call_id}\r\n\
         CSeq: {count} OPTIONS\r\n\
         Content-Length: 0\r\n\r\n",
        random as u32
    );
    (call_id, text)
}
