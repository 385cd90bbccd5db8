// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an operator may want to read, as the session tells the worker and as control gets it.
//!
//! An [`Event`] only borrows, so telling one costs nothing; the worker that has room for it on its queue makes
//! the owned message of the link from it with [`Event::to_link`], the others it counts as lost. Which check a
//! message failed is said here and never to the peer. What peers wrote is escaped and clipped.

use crate::api::{CloseReason, Leg};
use crate::tcp::Addr;
use fedgate_sip::domain::Domain;
use fedgate_sip::identity::PeerIdentity;
use fedgate_sip::inspect::Action;
use fedgate_sip::message::Message;
use fedgate_sip::verdict::{Denial, Subject};
use fedgate_tables::link;
use rustls::{CipherSuite, ProtocolVersion};
use std::fmt;

/// Octets of a malformed message that are shown.
const SHOWN: usize = 64;

/// Something that happened in a session.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A leg's TLS handshake is done.
    Secured {
        /// Which leg.
        leg: Leg,
        /// Its peer.
        remote: Addr,
        /// The names in the peer's certificate.
        peer: &'a PeerIdentity,
        /// Protocol version.
        version: ProtocolVersion,
        /// Cipher suite.
        suite: CipherSuite,
    },
    /// TLS failed on a leg.
    TlsFailed {
        /// Which leg.
        leg: Leg,
        /// Its peer.
        remote: Addr,
        /// How, in rustls' words.
        why: fmt::Arguments<'a>,
    },
    /// A message was not let through.
    Denied {
        /// The leg it came from.
        leg: Leg,
        /// That leg's peer.
        remote: Addr,
        /// It came from outside.
        inward: bool,
        /// What we answered; 0 where nothing may be answered.
        status: u16,
        /// Which check failed.
        why: Denial,
        /// The message.
        message: &'a Message<'a>,
        /// The foreign peer's certificate names, where the check got that far; else those of the sender.
        peer: &'a PeerIdentity,
        /// Whom it was judged as.
        subject: &'a Subject,
    },
    /// A message or a stream that is no SIP.
    Malformed {
        /// The leg it came from.
        leg: Leg,
        /// That leg's peer.
        remote: Addr,
        /// What is wrong, in the scanner's words.
        why: fmt::Arguments<'a>,
        /// The bytes as far as they came.
        bytes: &'a [u8],
    },
    /// A rule of an inspect map speaks of a message.
    Inspected {
        /// The leg it came from.
        leg: Leg,
        /// That leg's peer.
        remote: Addr,
        /// The map.
        map: &'a str,
        /// The rule, as it is written.
        rule: &'a str,
        /// What is done.
        action: Action,
        /// The message, where it could be read.
        message: Option<&'a Message<'a>>,
    },
    /// A client's connection was reset at its beginning.
    Refused {
        /// The client.
        remote: Addr,
        /// Why: what its address has its share of.
        reason: CloseReason,
    },
    /// The server leg did not come up.
    Unreachable {
        /// The server.
        remote: Addr,
        /// What the pending requests are answered with.
        status: u16,
    },
    /// An edge of a foreign domain failed before it said anything; another is called.
    TargetLost {
        /// The edge.
        remote: Addr,
    },
    /// A member of a pool has gone down or come up.
    MemberTurned {
        /// The pool.
        pool: &'a str,
        /// The member.
        remote: Addr,
        /// It answers again.
        up: bool,
    },
    /// A connection to a member of a pool failed.
    MemberLost {
        /// The member.
        remote: Addr,
        /// What requests that cannot go to another are answered with.
        status: u16,
    },
}

impl Event<'_> {
    /// The same as a message to control. `session` is the session's number there.
    pub fn to_link(&self, session: u32) -> link::Event {
        match *self {
            Self::Secured { leg, remote, peer, version, suite } => link::Event::TlsUp {
                session,
                leg: leg.name().into(),
                peer: end(remote),
                version: version_name(version),
                cipher: suite_name(suite),
                identity: names(peer),
            },
            Self::TlsFailed { leg, remote, why } => link::Event::TlsFailed {
                session,
                leg: leg.name().into(),
                peer: end(remote),
                reason: why.to_string(),
            },
            Self::Denied { remote, inward, status, why, message, peer, .. } => link::Event::Denied {
                session,
                peer: end(remote),
                identity: names(peer),
                from_domain: domain_text(message.from.uri.host),
                target_domain: domain_text(message.request_uri().unwrap_or(message.to.uri).host),
                method: message.method_name().unwrap_or("").into(),
                call_id: message.call_id.into(),
                why: why.name().into(),
                status,
                inbound: inward,
            },
            Self::Malformed { leg, remote, why, bytes } => link::Event::Log {
                level: "warn".into(),
                text: format!(
                    "proxy session {session}: malformed SIP from the {} {}: {why}: \"{}\"",
                    leg.name(),
                    addr_text(remote),
                    bytes[..bytes.len().min(SHOWN)].escape_ascii()
                ),
            },
            Self::Inspected { leg, remote, map, rule, action, message } => link::Event::Log {
                level: "info".into(),
                text: format!(
                    "proxy session {session}: policy-map {map}: {rule}: {action}: {} from the {} {}, call-id {}",
                    message.map_or("a message", |message| message.method_name().unwrap_or("a response")),
                    leg.name(),
                    addr_text(remote),
                    message.map_or("unread", |message| message.call_id)
                ),
            },
            Self::Refused { remote, reason } => link::Event::Log {
                level: "warn".into(),
                text: format!("proxy session {session}: {} reset: {reason}", addr_text(remote)),
            },
            Self::Unreachable { remote, status } => link::Event::Log {
                level: "warn".into(),
                text: format!(
                    "proxy session {session}: server {} is out of reach; requests are answered {status}",
                    addr_text(remote)
                ),
            },
            Self::TargetLost { remote } => link::Event::TargetLost { session, peer: end(remote) },
            Self::MemberTurned { pool, remote, up } => link::Event::Log {
                level: if up { "info" } else { "warn" }.into(),
                text: format!(
                    "sip-pool {pool}: member {} {}",
                    addr_text(remote),
                    if up { "answers: it is up" } else { "does not answer: it is down" }
                ),
            },
            Self::MemberLost { remote, status } => link::Event::Log {
                level: "warn".into(),
                text: format!(
                    "proxy session {session}: pool member {} is lost; what it had of dialogs is answered {status}",
                    addr_text(remote)
                ),
            },
        }
        .clipped()
    }
}

/// A host as the operator's lists have it, or as it was written if it is no domain.
fn domain_text(host: Option<&str>) -> String {
    let Some(host) = host else { return String::new() };
    match Domain::canonical(host.as_bytes()) {
        Ok(domain) => domain.as_str().into(),
        Err(_) => host.escape_debug().to_string(),
    }
}

pub(crate) fn names(peer: &PeerIdentity) -> Vec<String> {
    peer.domains().take(link::MAX_IDENTITY).map(str::to_owned).collect()
}

pub(crate) fn end((addr, port): Addr) -> link::End2 {
    link::End2 { addr, port }
}

fn addr_text((addr, port): Addr) -> String {
    format!("{}:{port}", std::net::Ipv4Addr::from_bits(addr))
}

/// `TLSv1.3`, as OpenSSL and the ASA write it.
pub(crate) fn version_name(version: ProtocolVersion) -> String {
    match version {
        ProtocolVersion::TLSv1_2 => "TLSv1.2".into(),
        ProtocolVersion::TLSv1_3 => "TLSv1.3".into(),
        ProtocolVersion::TLSv1_1 => "TLSv1.1".into(),
        ProtocolVersion::TLSv1_0 => "TLSv1".into(),
        other => format!("{other:?}"),
    }
}

/// The suite's name in the IANA registry.
pub(crate) fn suite_name(suite: CipherSuite) -> String {
    suite.as_str().map_or_else(|| format!("{suite:?}"), |name| name.replace("TLS13_", "TLS_"))
}
