// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the dataplane tells without being asked: the raw material of control's log.
//!
//! Workers put events on a bounded queue to the housekeeping thread; one that finds no room is counted as lost,
//! never waited for. Texts chosen by peers are clipped by [`Event::clipped`] before sending, so an event always fits a
//! datagram. The reason for a denial appears here only: the peer is told 403 and no more.

use super::flow_note::FlowNote;
use super::rows::{Addr, End2, clip, clip_names};
use serde::{Deserialize, Serialize};

/// A packet as messages name it: by real addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packet5 {
    /// IP protocol.
    pub proto: u8,
    /// Source address.
    pub src: Addr,
    /// Source port; of ICMP the type.
    pub sport: u16,
    /// Destination address.
    pub dst: Addr,
    /// Destination port; of ICMP the code.
    pub dport: u16,
    /// Flags, where it is TCP that no access-list denied; else 0.
    pub flags: u8,
    /// Interface it came in by.
    pub in_if: u8,
    /// Interface it would leave by, where that was known.
    pub out_if: Option<u8>,
}

/// For [`AclFlow::acl`]: where no access-list stands, security levels denied it.
pub const BY_LEVEL: u32 = u32::MAX;
/// For [`AclFlow::acl`]: TCP that is of no connection and begins none.
pub const NO_CONNECTION: u32 = u32::MAX - 1;

/// What an access-list, or what stands in its place, said of packets that are all alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AclFlow {
    /// Index of the ACL in the policy, [`BY_LEVEL`] or [`NO_CONNECTION`].
    pub acl: u32,
    /// Line in the ACL; 0 for the implicit deny.
    pub line: u32,
    /// Hash of the element, as [`crate::policy::Ace::id`]; 0 for the implicit deny.
    pub id: u32,
    /// Permitted, else denied.
    pub permitted: bool,
    /// The line has `log`.
    pub log: bool,
    /// The packets.
    pub packet: Packet5,
}

/// A bound on connections or translations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bound {
    /// The connection table of a worker.
    Conns,
    /// `set connection` of a class, as far as it is one worker's.
    Class {
        /// [`crate::policy::ServiceClass::slot`].
        slot: u32,
        /// Which of its bounds.
        which: ClassBound,
        /// Connections there are.
        has: u32,
        /// Connections there may be.
        limit: u32,
    },
    /// Ports or addresses of a dynamic rule.
    Pool {
        /// Counter slot of the rule.
        rule: u32,
    },
    /// `xlate block-allocation maximum-per-host`.
    Blocks,
}

/// One of the bounds of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClassBound {
    /// `conn-max`.
    Conns,
    /// `embryonic-conn-max`.
    Embryonic,
    /// `per-client-max`.
    ClientConns,
    /// `per-client-embryonic-max`.
    ClientEmbryonic,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Event {
    /// A SIP request was denied.
    Denied {
        /// The proxy session.
        session: u32,
        /// The foreign peer.
        peer: End2,
        /// Names in its certificate.
        identity: Vec<String>,
        /// Domain of From.
        from_domain: String,
        /// Domain of the Request-URI.
        target_domain: String,
        /// SIP method.
        method: String,
        /// Call-ID.
        call_id: String,
        /// Which check failed.
        why: String,
        /// SIP status that was answered.
        status: u16,
        /// It came from outside.
        inbound: bool,
    },
    /// A TLS handshake failed.
    TlsFailed {
        /// The proxy session.
        session: u32,
        /// `client` or `server`.
        leg: String,
        /// Its peer.
        peer: End2,
        /// What was offered, what would be accepted, or what the peer objected to.
        reason: String,
    },
    /// A TLS handshake completed.
    TlsUp {
        /// The proxy session.
        session: u32,
        /// `client` or `server`.
        leg: String,
        /// Its peer.
        peer: End2,
        /// TLS version.
        version: String,
        /// Cipher suite.
        cipher: String,
        /// Names in the peer's certificate.
        identity: Vec<String>,
    },
    /// An edge of a foreign domain did not answer, and another was called.
    TargetLost {
        /// The proxy session.
        session: u32,
        /// The edge.
        peer: End2,
    },
    /// A proxy session ended.
    SessionClosed {
        /// The proxy session.
        session: u32,
        /// Why.
        reason: String,
    },
    /// An access-list or a security level denied a flow, or an ACE with `log` permitted one.
    AclHits {
        /// What, and by which line.
        flow: AclFlow,
        /// Packets denied or connections permitted since the last such event of the flow; at least 1.
        hits: u32,
    },
    /// A block of ports of a pool address was given to a host, or taken back: what a log of translations needs where hosts have
    /// ports by blocks (RFC 6888 REQ-12, RFC 7422).
    PortBlock {
        /// Given, else taken back.
        given: bool,
        /// IP protocol.
        proto: u8,
        /// Interface of the host.
        real_if: u8,
        /// The host.
        real: u32,
        /// Interface of the pool.
        mapped_if: u8,
        /// Its address.
        mapped: u32,
        /// First port.
        first: u16,
        /// Last port.
        last: u16,
        /// Workers that share the address: of each so many times 64 ports, the block has 64.
        share: u16,
    },
    /// A packet that would have begun a connection was dropped at a bound.
    Limit {
        /// Which.
        bound: Bound,
        /// The packet.
        packet: Packet5,
    },
    /// Connections that began or ended, up to [`super::MAX_NOTES`], in that order.
    Flows {
        /// Each.
        notes: Vec<FlowNote>,
    },
    /// A port changed.
    Port {
        /// Interface.
        ifindex: u8,
        /// How.
        text: String,
    },
    /// A line for the log.
    Log {
        /// `error`, `warn`, `info`, `debug`.
        level: String,
        /// The line.
        text: String,
    },
}

impl Event {
    /// How many things it tells of.
    pub fn weight(&self) -> u64 {
        match self {
            Self::Flows { notes } => notes.len() as u64,
            Self::Denied { .. }
            | Self::TlsFailed { .. }
            | Self::TlsUp { .. }
            | Self::SessionClosed { .. }
            | Self::AclHits { .. }
            | Self::PortBlock { .. }
            | Self::Limit { .. }
            | Self::Port { .. }
            | Self::TargetLost { .. }
            | Self::Log { .. } => 1,
        }
    }

    /// With every text within [`super::MAX_TEXT`] and every list within [`super::MAX_IDENTITY`].
    #[must_use]
    pub fn clipped(mut self) -> Self {
        match &mut self {
            Self::Denied { identity, from_domain, target_domain, method, call_id, why, .. } => {
                clip_names(identity);
                [from_domain, target_domain, method, call_id, why].into_iter().for_each(clip);
            }
            Self::TlsFailed { leg, reason, .. } => [leg, reason].into_iter().for_each(clip),
            Self::TlsUp { leg, version, cipher, identity, .. } => {
                [leg, version, cipher].into_iter().for_each(clip);
                clip_names(identity);
            }
            Self::SessionClosed { reason, .. } => clip(reason),
            Self::TargetLost { .. } | Self::AclHits { .. } | Self::PortBlock { .. } | Self::Limit { .. } => {}
            Self::Flows { notes } => notes.truncate(super::MAX_NOTES),
            Self::Port { text, .. } => clip(text),
            Self::Log { level, text } => [level, text].into_iter().for_each(clip),
        }
        self
    }
}
