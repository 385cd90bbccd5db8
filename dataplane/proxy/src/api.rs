// SPDX-License-Identifier: MIT OR Apache-2.0
//! What goes into the engine and what comes out of it.
//!
//! The worker implements [`Output`] over its burst buffers and counters; everything is a type parameter, so
//! nothing on the packet path goes through a vtable. Times are [`Micros`] of any monotonic clock that started
//! before the engine did; the worker reads it once a burst.

use crate::event::Event;
use crate::media::MediaNote;
use crate::tcp::Addr;
use crate::tls::ProxyTls;
use fedgate_sip::dialog;
use fedgate_sip::sdp::Ports;
use fedgate_sip::translate::Transport;
use fedgate_tables::counters::{Counter, Histo};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Microseconds of a monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

impl Micros {
    /// Whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// This moment and so many microseconds.
    pub const fn after(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to this; 0 if it is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// One of the two connections of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leg {
    /// Towards whoever opened the connection; we are its server.
    Client,
    /// Towards whoever was called; we are its client.
    Server,
}

impl Leg {
    /// Both, the client's first.
    pub const BOTH: [Leg; 2] = [Leg::Client, Leg::Server];

    /// `client` or `server`, as the link has it.
    pub const fn name(self) -> &'static str {
        match self {
            Leg::Client => "client",
            Leg::Server => "server",
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Leg::Client => Leg::Server,
            Leg::Server => Leg::Client,
        }
    }
}

/// A connection of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Road {
    /// The one that the session took over, towards one of its ends.
    Leg(Leg),
    /// One that the session asked for by [`Output::connect`], by the number it gave it. Its far end is a server.
    Own(u8),
}

impl From<Leg> for Road {
    fn from(leg: Leg) -> Self {
        Self::Leg(leg)
    }
}

/// A session of one engine. Never reused: the slot is, with another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// Position in the engine's table; below [`Limits::sessions`].
    pub slot: u32,
    /// Counts the slot's sessions.
    pub generation: u32,
}

/// What a session needs to know of the connection that it takes over.
#[derive(Clone, Debug)]
pub struct OpenParams {
    /// Keys, certificates and trust of its `tls-proxy`; kept until the session ends, whatever policy comes next.
    pub tls: Arc<ProxyTls>,
    /// Index of that `tls-proxy`, for `show proxy`.
    pub tls_proxy: u32,
    /// The address the initiator called.
    pub client_local: Addr,
    /// The initiator, as it appears on the client leg.
    pub client_remote: Addr,
    /// The initiator, as NAT shows it to the server.
    pub server_local: Addr,
    /// The server, as it is reached on the server leg.
    pub server_remote: Addr,
    /// The leg that faces the foreign domain.
    pub outside: Leg,
    /// NAT may show hosts behind us to the outside as others than they are.
    pub nat: bool,
    /// MTU of the client leg's egress, IP bytes.
    pub client_mtu: u16,
    /// MTU of the server leg's egress, IP bytes.
    pub server_mtu: u16,
}

/// A TCP handshake that a SYN cookie has done for us: who knows the cookie is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// The cookie: our initial sequence number.
    pub ours: u32,
    /// The client's.
    pub theirs: u32,
    /// The largest segment it takes. Of its other options nothing is known, so none is used.
    pub mss: u16,
}

/// Why no session was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// [`Limits::sessions`] are open.
    #[error("session limit reached")]
    Sessions,
    /// [`Limits::handshakes`] are in flight.
    #[error("limit of handshakes in flight reached")]
    Handshakes,
    /// [`Limits::memory`] would be exceeded.
    #[error("memory limit reached")]
    Memory,
    /// An address or a port is zero.
    #[error("address or port is zero")]
    Address,
    /// The proxy has no certificate to show, or nobody vouches for its peers.
    #[error("the proxy has no certificate, or nobody vouches for its peers")]
    NotReady,
    /// The random source or TLS failed.
    #[error("TLS could not be started")]
    Tls,
}

/// Why a packet was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The session has ended.
    #[error("the session has ended")]
    NoSession,
    /// No whole TCP segment of that leg's connection, or the leg has no connection yet.
    #[error("not a segment of this connection")]
    NotOurs,
}

/// Bounds of one engine.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sessions at a time.
    pub sessions: u32,
    /// Sessions whose client has not finished its TLS handshake.
    pub handshakes: u32,
    /// One outside address may have one in so many of either, rounded up; 1 is all.
    pub source_part: u32,
    /// Bytes of all buffers, TLS state at its worst included.
    pub memory: usize,
    /// TCP receive buffer of a leg, bytes at most: also the largest window offered. Less than a whole TLS record is raised to one. Held only
    /// while something is in it, and then counted by [`Self::memory`].
    pub tcp_rx: usize,
    /// TCP transmit buffer of a leg, bytes at most.
    pub tcp_tx: usize,
    /// Dialogs that are remembered.
    pub dialogs: dialog::Limits,
    /// Workers that there are, this one among them: a rate of an inspect map is for all of them.
    pub workers: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            handshakes: 2_000,
            source_part: 4,
            memory: 2 << 30,
            tcp_rx: 64 << 10,
            tcp_tx: 64 << 10,
            dialogs: dialog::Limits::default(),
            workers: 1,
        }
    }
}

/// Time limits, microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Three-way handshake, either leg.
    pub tcp_handshake: u64,
    /// TLS handshake, either leg, from the end of TCP's.
    pub tls_handshake: u64,
    /// From the first byte of a SIP message to its last.
    pub message: u64,
    /// `timeout sip`: no plaintext from either side.
    pub idle: u64,
    /// `timeout sip-invite`: an INVITE that crossed has no final answer.
    pub sip_invite: u64,
    /// `timeout sip-disconnect`: a BYE that crossed has no answer.
    pub sip_disconnect: u64,
    /// From the end of what one side sends to the end of what the other does.
    pub half_closed: u64,
    /// A peer acknowledges nothing although something waits for it.
    pub stall: u64,
    /// For what is queued, FIN and TIME_WAIT, once a session is to end; then RST.
    pub linger: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        const SECOND: u64 = 1_000_000;
        Self {
            tcp_handshake: 10 * SECOND,
            tls_handshake: 10 * SECOND,
            message: 15 * SECOND,
            idle: 1800 * SECOND,
            sip_invite: 180 * SECOND,
            sip_disconnect: 120 * SECOND,
            half_closed: 60 * SECOND,
            stall: 60 * SECOND,
            linger: 15 * SECOND,
        }
    }
}

impl Timeouts {
    /// Those of dialogs.
    pub(crate) fn dialogs(&self) -> dialog::Timers {
        dialog::Timers { idle: self.idle, invite: self.sip_invite, disconnect: self.sip_disconnect }
    }
}

/// What holds for the burst at hand.
#[derive(Debug)]
pub struct Context<'a, D, L> {
    /// The federated domains, permitted and blocked.
    pub domains: &'a D,
    /// Our own domains.
    pub locals: &'a L,
    /// Time limits by policy.
    pub timeouts: Timeouts,
}

/// Why the worker ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AbortReason {
    /// `clear conn` or the like.
    Cleared,
    /// The connection table dropped the connection.
    ConnectionGone,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Both peers closed in order.
    Finished,
    /// That peer reset its connection.
    Reset(Leg),
    /// That peer did not answer when it was asked whether it is still there.
    Vanished(Leg),
    /// No end of TCP's handshake in time.
    TcpTimeout(Leg),
    /// No end of the TLS handshake in time.
    TlsTimeout(Leg),
    /// TLS failed, in the handshake or after it; an [`Event::TlsFailed`] says how.
    TlsFailed(Leg),
    /// A message did not end in time.
    MessageTimeout(Leg),
    /// The stream could not be cut into messages; an [`Event::Malformed`] says why.
    Unframeable(Leg),
    /// Nothing was said for [`Timeouts::idle`].
    Idle,
    /// That peer acknowledged nothing for [`Timeouts::stall`].
    Stalled(Leg),
    /// One side closed and the other did not follow in time.
    HalfClosed,
    /// The server could not be reached or did not authenticate; requests were answered 503 or 504.
    ServerUnreachable,
    /// The server's certificate does not vouch for the domain that was called; the request was answered 403.
    ServerMismatch,
    /// Nobody vouches for that peer any more: its certificate ended or was revoked, or its CA is gone.
    Unvouched(Leg),
    /// That peer sent too many malformed messages in a row.
    Malformed(Leg),
    /// A rule of an inspect map ended it over a message of that peer.
    Inspected(Leg),
    /// [`Limits::memory`] leaves no room for the message that a peer began.
    Memory(Leg),
    /// The client's address has its share of the sessions ([`Limits::source_part`]).
    SourceSessions,
    /// The client's address has its share of the handshakes in flight.
    SourceHandshakes,
    /// The worker ended it.
    Aborted(AbortReason),
}

/// For the log.
impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Finished => f.write_str("closed by both peers"),
            Self::Reset(leg) => write!(f, "reset by the {}", leg.name()),
            Self::Vanished(leg) => write!(f, "the {} has vanished", leg.name()),
            Self::TcpTimeout(leg) => write!(f, "no TCP handshake with the {} in time", leg.name()),
            Self::TlsTimeout(leg) => write!(f, "no TLS handshake with the {} in time", leg.name()),
            Self::TlsFailed(leg) => write!(f, "TLS with the {} failed", leg.name()),
            Self::MessageTimeout(leg) => write!(f, "the {} did not finish a message in time", leg.name()),
            Self::Unframeable(leg) => write!(f, "the {} sent what is no SIP", leg.name()),
            Self::Idle => f.write_str("idle"),
            Self::Stalled(leg) => write!(f, "the {} stopped reading", leg.name()),
            Self::HalfClosed => f.write_str("half-closed for too long"),
            Self::ServerUnreachable => f.write_str("server out of reach"),
            Self::ServerMismatch => f.write_str("the server's certificate is not good for the domain called"),
            Self::Unvouched(leg) => write!(f, "nobody vouches for the {} any more", leg.name()),
            Self::Malformed(leg) => write!(f, "too many malformed messages from the {}", leg.name()),
            Self::Inspected(leg) => write!(f, "by inspection of what the {} sent", leg.name()),
            Self::Memory(leg) => write!(f, "no memory for a message of the {}", leg.name()),
            Self::SourceSessions => f.write_str("the client's address has its share of the sessions"),
            Self::SourceHandshakes => f.write_str("the client's address has its share of the handshakes"),
            Self::Aborted(AbortReason::Cleared) => f.write_str("cleared"),
            Self::Aborted(AbortReason::ConnectionGone) => f.write_str("connection gone"),
        }
    }
}

/// The worker, as the engine sees it.
pub trait Output {
    /// Sends one IPv4 packet of `len` bytes on a connection: gives `fill` a buffer of exactly that length and sends what
    /// it wrote, checksums included. Not calling `fill` loses the packet, as the wire might; TCP repeats it.
    fn packet(&mut self, session: SessionId, road: Road, len: usize, fill: impl FnOnce(&mut [u8]));

    /// Makes a connection from us to `to`, [`Road::Own`] of this number: from this address, and this port or the next that is
    /// free; or from our own address on the way there. Gives the address we have in it and its MTU; `None` where there is no way or
    /// no room. Packets of it come by [`crate::Engine::input`] until [`Self::disconnect`] or the session's end.
    fn connect(&mut self, session: SessionId, own: u8, from: Option<Addr>, to: Addr) -> Option<(Addr, u16)>;

    /// Whether packets to this address leave by the interface by which those to the server that was called leave, and it is none of ours: what
    /// DNS says must lead nowhere else.
    fn leads_alike(&self, _session: SessionId, _to: Addr) -> bool {
        true
    }

    /// That connection is over.
    fn disconnect(&mut self, session: SessionId, own: u8);

    /// Something for the log.
    fn event(&mut self, session: SessionId, event: Event<'_>);

    /// The session has ended and its id is void; the connection's entry may go.
    fn closed(&mut self, session: SessionId, reason: CloseReason);

    /// Adds to a counter.
    fn count(&mut self, counter: Counter, n: u64);

    /// One value into a histogram.
    fn observe(&mut self, histo: Histo, value: u64);

    /// A message of a call crosses.
    fn media(&mut self, _session: SessionId, _note: &MediaNote<'_>) {}

    // What NAT says of the addresses that messages name. Asked in sessions with [`OpenParams::nat`] only.

    /// Whether NAT shows some host behind us to the session's outside at this address.
    fn is_shown(&self, _session: SessionId, _addr: Ipv4Addr) -> bool {
        false
    }

    /// See [`Mapping::shown`](fedgate_sip::translate::Mapping::shown).
    fn shown(&mut self, _session: SessionId, _transport: Transport, _real: SocketAddr) -> Option<SocketAddr> {
        None
    }

    /// See [`Mapping::real`](fedgate_sip::translate::Mapping::real).
    fn real(&mut self, _session: SessionId, _transport: Transport, _shown: SocketAddr) -> Option<SocketAddr> {
        None
    }

    /// See [`Mapping::host`](fedgate_sip::translate::Mapping::host).
    fn shown_host(&mut self, _session: SessionId, _real: IpAddr) -> Option<IpAddr> {
        None
    }

    /// See [`Mapping::media`](fedgate_sip::translate::Mapping::media).
    fn shown_media(&mut self, _session: SessionId, _real: IpAddr, _ports: Ports) -> Option<(IpAddr, Ports)> {
        None
    }
}
