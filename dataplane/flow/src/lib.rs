// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections, PAT and the firewall: what one worker keeps of the traffic that it carries.
//!
//! [`Flow`] owns the connection table and the xlates. An established packet is `conns.lookup` -> [`Flow::account`] ->
//! [`rewrite::translate`]; a first packet goes through [`Flow::admit`]; [`Flow::expire`] runs between bursts with a
//! budget. No IO, no clock (a [`Tick`] is an argument), no allocation after the tables have grown to their use, no locks:
//! each worker has its own. Policy comes in as slices of the shared snapshot ([`Policy`]).
#![forbid(unsafe_code)]

pub mod acl;
pub mod ahead;
mod challenge;
pub mod conn;
pub mod cookie;
mod entries;
mod extended;
pub mod firewall;
mod hosts;
pub mod index;
pub mod intercept;
pub mod key;
pub mod ledger;
pub mod limits;
pub mod media;
pub mod nat;
pub mod paired;
pub mod ports;
pub mod rewrite;
pub mod rewrite_fragment;
pub mod shard;
pub mod shown;
pub mod tcp;
pub mod trace;
pub mod v6;
mod waiting;
pub mod wheel;
pub mod xlate;

#[cfg(test)]
mod tests;

use acl::Acls;
use challenge::{Challenges, Followed, Whose};
use conn::{ConnId, Conns, Dir, Hot, NO_CLASS, NO_SESSION, flag};
use cookie::Cookies;
use fedgate_tables::drops::DropReason;
use fedgate_tables::policy::{Ace, Ace6, Acl, Globals, Interface, NONE, ServiceClass};
use fedgate_wire::proto::ICMPV6;
use intercept::{Due, Reaction};
use key::{ICMP, TCP};
use ledger::Ledger;
use limits::{Limits, Member};
use media::Media;
use nat::Nat;
use ports::Share;
use shown::Kept;
use tcp::State;
use v6::Conns6;
use waiting::Waiting;
use xlate::{NO_XLATE, Xlates};

/// Time in tenths of a second since the worker began; read once a burst.
pub type Tick = u32;
/// Ticks a second.
pub const TICKS: u32 = 10;

/// `tcp-state-bypass` without `timeout idle`: the ASA's two minutes.
const BYPASS_SECONDS: u32 = 120;

/// A RST seen: how long traffic may revive it.
const RESET_TICKS: Tick = 30 * TICKS;

/// As far ahead as a timer can be: years.
const NEVER: Tick = u32::MAX / 4;

/// The parts of a policy snapshot that decide on connections.
#[derive(Clone, Copy)]
pub struct Policy<'a> {
    /// Interfaces, by index.
    pub interfaces: &'a [Interface],
    /// NAT rules.
    pub nat: &'a Nat,
    /// ACLs.
    pub acls: &'a [Acl],
    /// All IPv4 ACEs.
    pub aces: &'a [Ace],
    /// All IPv6 ACEs.
    pub aces6: &'a [Ace6],
    /// The ACLs, compiled.
    pub compiled: &'a Acls,
    /// Service classes in order.
    pub classes: &'a [ServiceClass],
    /// Timeouts and flags.
    pub globals: &'a Globals,
}

impl<'a> Policy<'a> {
    /// Ticks that a connection in this state may be idle.
    pub fn timeout(&self, hot: &Hot) -> Tick {
        if hot.media().is_some() {
            return match self.globals.timeout_sip_media {
                0 => NEVER,
                seconds => seconds.saturating_mul(TICKS).min(NEVER),
            };
        }
        self.timeout_of(hot.proto, hot.state, hot.class)
    }

    /// Ticks that a connection of this protocol, state and slot of a class may be idle, IPv4 or IPv6.
    pub fn timeout_of(&self, proto: u8, state: State, slot: u8) -> Tick {
        let g = self.globals;
        let seconds = match self.timeout_by_class(proto, state, slot) {
            Some(seconds) => seconds,
            None => match (proto, state) {
                (TCP, State::SynSent | State::SynReceived) => g.timeout_embryonic,
                (TCP, State::Established) => g.timeout_conn,
                (TCP, State::HalfClosed) => g.timeout_half_closed,
                // `timeout conn-holddown`: how long stragglers still match. 0 is at once.
                (TCP, State::Closed) => return g.timeout_conn_holddown.saturating_mul(TICKS).clamp(1, NEVER),
                (TCP, State::Reset) => return RESET_TICKS,
                (ICMP | ICMPV6, _) => g.timeout_icmp,
                _ => g.timeout_udp,
            },
        };
        match seconds {
            0 => NEVER, // `timeout conn 0`
            s => s.saturating_mul(TICKS).min(NEVER),
        }
    }

    /// Seconds by `set connection timeout`, where the class has them for this.
    fn timeout_by_class(&self, proto: u8, state: State, slot: u8) -> Option<u32> {
        if slot == NO_CLASS {
            return None;
        }
        let class =
            self.classes.iter().find(|class| class.has_settings() && class.slot == u32::from(slot))?;
        let seconds = match (proto, state) {
            (TCP, State::SynSent | State::SynReceived) => class.timeout_embryonic,
            (TCP, State::HalfClosed) => class.timeout_half_closed,
            (TCP, State::Closed | State::Reset) => NONE,
            // Nobody sees such connections end.
            (TCP, State::Established) if class.is_bypass() && class.timeout_idle == NONE => BYPASS_SECONDS,
            (_, _) => class.timeout_idle,
        };
        (seconds != NONE).then_some(seconds)
    }

    /// The first class with connection settings among those that match everything and those whose ACL `permits`.
    pub(crate) fn settings(&self, permits: impl Fn(u32) -> bool) -> Option<&'a ServiceClass> {
        self.classes.iter().find(|class| class.has_settings() && (class.acl == NONE || permits(class.acl)))
    }

    /// Whether a segment with these flags may begin a connection in some class, though it is no SYN.
    pub(crate) fn may_bypass(&self, proto: u8, tcp_flags: u8) -> bool {
        proto == TCP && tcp_flags & tcp::RST == 0 && self.classes.iter().any(ServiceClass::is_bypass)
    }
}

/// Bounds of one worker's tables.
#[derive(Clone, Copy, Debug)]
pub struct FlowConfig {
    /// IPv4 connections; a quarter of this for IPv6.
    pub max_conns: u32,
    /// Dynamic translations.
    pub max_xlates: u32,
    /// This worker's ports of mapped addresses.
    pub share: Share,
    /// Seeds hashes and port choice; from the system's entropy.
    pub seed: u64,
}

/// xorshift64*: for port choice and hash seeds, from a seed that the system's entropy gave.
#[derive(Clone)]
pub struct Rng(u64);

impl Rng {
    /// From a seed; 0 is fine.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
    }

    /// The next number.
    #[expect(
        clippy::should_implement_trait,
        reason = "not an iterator: it never ends and is used one at a time"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// What is booked of a packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packet<'a> {
    /// IP length, bytes.
    pub len: u16,
    /// The TCP segment; nothing for others.
    pub segment: tcp::Segment,
    /// Its option bytes, for SYNs.
    pub options: &'a [u8],
    /// What a UDP datagram carries.
    pub datagram: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The same with what a UDP datagram carries.
    pub fn with_datagram(self, datagram: &'a [u8]) -> Self {
        Self { datagram, ..self }
    }

    /// Of an IP packet of `len` bytes, `l4` of them headers of IP; `tcp` is what follows those where it is TCP, its first
    /// fragment at least.
    pub fn new(len: u16, l4: u16, tcp: Option<&'a [u8]>) -> Self {
        let mut packet = Self { len, ..Self::default() };
        if let Some(tcp) = tcp
            && let Some(header) = tcp.first_chunk()
        {
            packet.segment = tcp::Segment::read(header, len.wrapping_sub(l4));
            packet.options = tcp.get(header.len()..usize::from(header[12] >> 4) * 4).unwrap_or_default();
        }
        packet
    }
}

/// What becomes of a packet of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Booked {
    /// It goes on.
    Passes,
    /// A SYN asks for the tuple of a connection that is over: the caller ends that and admits the packet as a first one.
    Afresh,
    /// It goes no further: its connection waits for its server ([`intercept`]), and this is what it leads to.
    Handshake(Reaction),
}

/// See the crate.
pub struct Flow {
    /// Connections.
    pub conns: Conns,
    /// IPv6 connections: a quarter as many.
    pub conns6: Conns6,
    /// Dynamic translations.
    pub xlates: Xlates,
    /// Connections by class and client, of both tables.
    pub limits: Limits,
    rng: Rng,
    /// Of both tables.
    pub(crate) challenges: Challenges,
    cookies: Cookies,
    /// Connections of both tables that wait for their servers.
    waiting: Waiting,
    /// The TLS proxy asks for a sign of life before it takes a connection.
    pub(crate) proxy_is_crowded: bool,
    due: Vec<Due>,
    due6: Vec<Due>,
    /// Translations that peers were told of.
    kept: Kept,
    /// Calls and their pinholes.
    pub media: Media,
    /// What began and ended, where that is told.
    pub ledger: Ledger,
}

/// Room for handshakes whose time has come at once: what a caller lets [`Flow::expire`] look at.
const DUE: usize = 64;

impl Flow {
    /// Empty tables.
    pub fn new(config: FlowConfig) -> Self {
        let mut rng = Rng::new(config.seed);
        Self {
            conns: Conns::new(config.max_conns, &mut rng),
            conns6: Conns6::new(config.max_conns / 4, &mut rng),
            xlates: Xlates::new(config.max_xlates, config.share, rng.next()),
            // Both tables' connections.
            limits: Limits::new(
                config.max_conns.saturating_add(config.max_conns / 4),
                config.share.of,
                rng.next(),
            ),
            challenges: Challenges::new(rng.next()),
            cookies: Cookies::new(),
            waiting: Waiting::new(rng.next()),
            proxy_is_crowded: false,
            due: Vec::with_capacity(DUE),
            due6: Vec::with_capacity(DUE),
            kept: Kept::default(),
            media: Media::default(),
            ledger: Ledger::default(),
            rng,
        }
    }

    /// Says whether connections for the TLS proxy are to be answered by cookies, as those of a class whose embryonic limit is reached.
    pub fn crowd_proxy(&mut self, is_crowded: bool) {
        self.proxy_is_crowded = is_crowded;
    }

    /// A policy comes into use: static ports are set aside, pools begin anew.
    pub fn adopt(&mut self, nat: &Nat) {
        self.xlates.adopt(nat);
    }

    /// Follows a packet of a connection and books it: TCP state, counters, idle time. One that passes only for its receiver's
    /// challenge ACK is not booked.
    ///
    /// # Errors
    /// The reason to drop it; nothing is booked then.
    pub fn account(
        &mut self,
        id: ConnId,
        dir: Dir,
        packet: &Packet<'_>,
        policy: &Policy<'_>,
        now: Tick,
    ) -> Result<Booked, DropReason> {
        let Some(hot) = self.conns.try_hot(id) else { return Ok(Booked::Passes) };
        if hot.is_opening() {
            return self.opens(id, dir, packet, policy, now);
        }
        if hot.is_intercepted() {
            let seen = intercept::as_client_sees(packet, dir, hot.shift());
            return self.follow(id, dir, &seen, policy, now);
        }
        if hot.media().is_some() && !hot.is_common() {
            self.check_media(id, hot.iface[dir as usize], packet.datagram)?;
        }
        self.follow(id, dir, packet, policy, now)
    }

    fn follow(
        &mut self,
        id: ConnId,
        dir: Dir,
        packet: &Packet<'_>,
        policy: &Policy<'_>,
        now: Tick,
    ) -> Result<Booked, DropReason> {
        let Some((hot, warm)) = self.conns.get_mut(id) else { return Ok(Booked::Passes) };
        if hot.proto == TCP && hot.session() == NO_SESSION && hot.flags & flag::BYPASS == 0 {
            let forward = dir == Dir::Forward;
            let was = Member::of(hot);
            // The answer to a SYN must come by another way than the SYN, or both could be one outsider's.
            let two_sided = hot.iface[0] != hot.iface[1];
            let track = &mut hot.track(warm);
            match self.challenges.follow(Whose::v4(id.0), track, packet, forward, two_sided, now)? {
                Followed::Same => {}
                Followed::Moved => self.moved(id, was, policy, now),
                Followed::Asked => return Ok(Booked::Passes),
                Followed::Over => return Ok(Booked::Afresh),
            }
        }
        self.conns.hot_mut(id).book(now, packet.len);
        Ok(Booked::Passes)
    }

    /// Follows a TCP segment of an open connection that changes no state. False, with nothing changed, for any other.
    #[inline(always)]
    pub fn track_plain(&mut self, id: ConnId, dir: Dir, frame: &[u8], ip_len: u16) -> bool {
        let Some((hot, warm)) = self.conns.get_mut(id) else { return false };
        let Some(segment) = tcp::Segment::of_plain(frame, ip_len) else { return false };
        tcp::plain(&mut hot.track(warm), &segment, dir == Dir::Forward)
    }

    /// Gives a connection to a proxy session, or takes it back ([`NO_SESSION`]).
    pub fn set_session(&mut self, id: ConnId, session: u32) {
        let was = Member::of(self.conns.hot(id));
        self.conns.set_session(id, session);
        self.limits.follow(was, Member::of(self.conns.hot(id)));
    }

    /// Sets the timer anew after a change of state, and counts it as what it is now.
    #[cold]
    fn moved(&mut self, id: ConnId, was: Option<Member>, policy: &Policy<'_>, now: Tick) {
        self.limits.follow(was, Member::of(self.conns.hot(id)));
        let limit = policy.timeout(self.conns.hot(id));
        self.conns.wheel.set(id.0, now.wrapping_add(limit));
    }

    /// Notes that a connection has begun, for whoever is told of them: once for each that is ended.
    #[inline]
    pub fn began(&mut self, id: ConnId, now: Tick) {
        if self.ledger.is_on() {
            self.ledger.note4(self.conns.hot(id), self.conns.warm(id).serial, now, None);
        }
    }

    /// Ends a connection and lets go of its xlate. False, with nothing changed, where it has ended before.
    pub fn end(&mut self, id: ConnId, now: Tick) -> bool {
        self.close(id, now, false)
    }

    fn close(&mut self, id: ConnId, now: Tick, timed_out: bool) -> bool {
        if !self.conns.is_live(id) {
            return false;
        }
        let warm = self.conns.warm(id);
        let xlate = warm.xlate;
        if self.ledger.is_on() {
            self.ledger.note4(self.conns.hot(id), warm.serial, warm.created, Some((now, timed_out)));
        }
        self.leave_hole(id);
        if self.conns.hot(id).is_opening() {
            self.waits_no_more(id);
        }
        self.limits.follow(Member::of(self.conns.hot(id)), None);
        self.conns.remove(id);
        self.challenges.forget(Whose::v4(id.0));
        if xlate != NO_XLATE {
            self.xlates.drop_hold(xlate, now);
        }
        true
    }

    /// Interfaces have new indices (a policy that adds, removes or reorders them). Gives the connections whose interface is
    /// gone: they are the caller's to end.
    pub fn renumber(&mut self, new_index: impl Fn(u8) -> Option<u8>) -> Vec<ConnId> {
        self.xlates.renumber(&new_index);
        self.media.renumber(&new_index);
        self.conns.renumber(new_index)
    }

    /// Ends what has been idle for too long, looking at no more than `budget` timers of each kind; gives how many connections and
    /// how many xlates ended. Proxied connections end with their session, not here; handshakes whose time has come are left for
    /// [`Flow::due`].
    pub fn expire(&mut self, policy: &Policy<'_>, now: Tick, budget: usize) -> (u32, u32) {
        let mut ended = 0;
        for _ in 0..budget {
            let Some(n) = self.conns.wheel.due(now) else { break };
            let id = ConnId(n);
            let hot = self.conns.hot(id);
            let limit = policy.timeout(hot);
            if hot.is_opening() {
                self.retry(id, now);
            } else if hot.session() != NO_SESSION {
                self.conns.wheel.set(n, now.wrapping_add(limit));
            } else if now.wrapping_sub(hot.last) >= limit {
                self.close(id, now, true);
                ended += 1;
            } else {
                let deadline = hot.last.wrapping_add(limit);
                self.conns.wheel.set(n, deadline);
            }
        }
        ended += self.expire_media(policy, now);
        self.expire_kept(policy, now);
        let globals = policy.globals;
        let timeouts = [globals.timeout_pat_xlate, globals.timeout_xlate];
        let timeouts = timeouts.map(|seconds| seconds.saturating_mul(TICKS).min(NEVER));
        (ended, self.xlates.expire(now, timeouts, budget))
    }
}
