// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the dataplane tells without being asked: the raw material of control's log.
//!
//! Workers put events on a bounded queue to the housekeeping thread; one that finds no room is counted as lost,
//! never waited for. Texts chosen by peers are clipped by [`Event::clipped`] before sending, so an event always fits a
//! datagram. The reason for a denial appears here only: the peer is told 403 and no more.

use super::rows::{Addr, End2, clip, clip_names};
use serde::{Deserialize, Serialize};

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
    /// A proxy session ended.
    SessionClosed {
        /// The proxy session.
        session: u32,
        /// Why.
        reason: String,
    },
    /// A flow was denied by an ACE with `log`, or by the implicit deny.
    AclDenied {
        /// Index of the ACL in the policy.
        acl: u32,
        /// Line in the ACL; 0 for the implicit deny.
        line: u32,
        /// IP protocol.
        proto: u8,
        /// Source address.
        src: Addr,
        /// Source port.
        sport: u16,
        /// Destination address.
        dst: Addr,
        /// Destination port, or ICMP type.
        dport: u16,
        /// Interface it came in by.
        ifindex: u8,
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
    /// A bound was reached.
    Limit {
        /// Of what.
        what: String,
        /// The bound.
        limit: u64,
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
            Self::AclDenied { .. } | Self::PortBlock { .. } => {}
            Self::Limit { what, .. } => clip(what),
            Self::Port { text, .. } => clip(text),
            Self::Log { level, text } => [level, text].into_iter().for_each(clip),
        }
        self
    }
}
