// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a message does not cross, and what its sender is told.
//!
//! The kind goes to counters and logs. The sender sees the status and its plain reason phrase, the same for all kinds that
//! share a status, so that an answer tells nobody what is on our lists; only a 405 says more, for RFC 3261 section
//! 21.4.6 wants it to name the methods.
//!
//! Plain data, made on worker cores without allocation.

use crate::answer::{Extra, reason_phrase};

/// The Allow header of a 405: the methods that cross inwards. Those this crate does not know cross too.
pub const ALLOW: &str =
    "ACK, BYE, CANCEL, INFO, INVITE, MESSAGE, NOTIFY, OPTIONS, PRACK, REFER, SUBSCRIBE, UPDATE";

/// Why a message does not cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// Inbound: the From domain is not on the list, or From has no domain.
    NotPermitted,
    /// Inbound: the From domain is blocked.
    Blocked,
    /// Inbound: the peer's certificate does not vouch for the From domain.
    PeerMismatch,
    /// Inbound: addressed to a domain, or to be routed to a host, that is not ours.
    Relay,
    /// Inbound: a method that does not cross ([`ALLOW`] has those that do).
    Method,
    /// Inbound: From claims one of our own domains.
    SpoofLocal,
    /// Inbound: another header asserts an identity in another domain than From's.
    AssertedIdentity,
    /// Outbound: From is not one of our domains.
    OutboundFrom,
    /// Outbound: the target domain is not on the list, or there is none.
    OutboundNotPermitted,
    /// Outbound: the target domain is blocked.
    OutboundBlocked,
    /// Outbound: the certificate of the peer does not vouch for the target domain.
    OutboundPeer,
    /// Inbound: Proxy-Require asks for what no proxy here knows.
    Extension,
    /// Either way: of a dialog that another peer is in.
    DialogPeer,
    /// Either way: a CSeq below the last one in its dialog.
    DialogOrder,
    /// Inbound: Replaces, Join or Target-Dialog names a dialog that the sender's domain has not with us.
    DialogNamed,
    /// Inbound: Refer-To sends our user where no request of ours may go.
    ReferTo,
    /// Inbound: above what the domain may send.
    Rate,
    /// Inbound: the domain has its share of the connections.
    Sessions,
    /// A header that has to be checked cannot be read.
    Malformed,
    /// A response whose From and To are not those of a request that could have passed.
    StrayResponse,
}

impl Denial {
    /// Name in logs and counters.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotPermitted => "not_permitted",
            Self::Blocked => "blocked",
            Self::PeerMismatch => "peer_mismatch",
            Self::Relay => "relay",
            Self::Method => "method",
            Self::SpoofLocal => "spoof_local",
            Self::AssertedIdentity => "asserted_identity",
            Self::OutboundFrom => "outbound_from",
            Self::OutboundNotPermitted => "outbound_not_permitted",
            Self::OutboundBlocked => "outbound_blocked",
            Self::OutboundPeer => "outbound_peer",
            Self::Extension => "extension",
            Self::DialogPeer => "dialog_peer",
            Self::DialogOrder => "dialog_order",
            Self::DialogNamed => "dialog_named",
            Self::ReferTo => "refer_to",
            Self::Rate => "rate",
            Self::Sessions => "sessions",
            Self::Malformed => "malformed",
            Self::StrayResponse => "stray_resp",
        }
    }

    /// The SIP status a request denied for this is answered with.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Method => 405,
            Self::Extension => 420,
            Self::DialogNamed => 481,
            Self::DialogOrder => 500,
            Self::Rate | Self::Sessions => 503,
            Self::NotPermitted
            | Self::Blocked
            | Self::PeerMismatch
            | Self::Relay
            | Self::SpoofLocal
            | Self::AssertedIdentity
            | Self::OutboundFrom
            | Self::OutboundNotPermitted
            | Self::OutboundBlocked
            | Self::OutboundPeer
            | Self::DialogPeer
            | Self::ReferTo
            | Self::StrayResponse => 403,
        }
    }

    /// The reason phrase it is answered with: the same for all that share a status.
    pub fn reason(self) -> &'static str {
        reason_phrase(self.status())
    }

    /// The headers that its answer must carry, for [`crate::answer::compose_with`].
    pub fn extras(self) -> &'static [Extra<'static>] {
        match self {
            Self::Method => &[Extra::Allow(ALLOW)],
            // RFC 3261 section 21.5.4: for so long the sender leaves us alone altogether, so no longer than the load wants. A second's worth
            // of the rate has come by then; for a connection to end it takes longer.
            Self::Rate => &[Extra::RetryAfter(1)],
            Self::Sessions => &[Extra::RetryAfter(30)],
            Self::NotPermitted
            | Self::Blocked
            | Self::PeerMismatch
            | Self::Relay
            | Self::SpoofLocal
            | Self::AssertedIdentity
            | Self::OutboundFrom
            | Self::OutboundNotPermitted
            | Self::OutboundBlocked
            | Self::OutboundPeer
            | Self::Extension
            | Self::DialogPeer
            | Self::DialogOrder
            | Self::DialogNamed
            | Self::ReferTo
            | Self::Malformed
            | Self::StrayResponse => &[],
        }
    }
}
