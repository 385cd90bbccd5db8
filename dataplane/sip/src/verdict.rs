// SPDX-License-Identifier: MIT OR Apache-2.0
//! The domain verdict: may this message cross the border.
//!
//! From outside ([`inbound`]) a request passes when its From domain is not ours, is permitted, and the peer's certificate
//! vouches for it, and when what it is addressed to is ours. The From domain decides because it is what the policy
//! names; the certificate is what keeps one permitted partner from speaking for another. From inside ([`outbound`]) the
//! mirror: From is ours, the target is permitted, and the certificate of the peer it goes to vouches for the target.
//!
//! What a request is addressed to: outside a dialog the Request-URI and To; inside one (To has a tag) the To alone, for
//! the Request-URI is then a Contact, which names a host and not a SIP domain. Contact, Via and Route never count as
//! permission, and no check is left out for ACK, BYE or a To tag.
//!
//! Responses carry the From and To of their request, so the same questions are asked the other way round; a transaction is
//! not looked for here. Neither responses nor ACKs are ever answered: they are dropped.
//!
//! Called for every message on worker cores; lists are asked through traits so that this crate needs no tables. No
//! allocation for plain ASCII domains.

use crate::address::Addresses;
use crate::answer::reason_phrase;
use crate::domain::Domain;
use crate::headers::HeaderName;
use crate::identity::PeerIdentity;
use crate::message::{Message, Method, Start};
use crate::uri::{Scheme, Uri};

/// What the domain list says of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack for one check; a box would be an allocation a message"
)]
pub enum Listed {
    /// May federate.
    Permitted {
        /// The entry, for counters.
        id: u32,
        /// The host that the partner's certificate may name instead of the domain.
        peer: Option<Domain>,
    },
    /// Explicitly shut out.
    Blocked {
        /// The entry, for counters.
        id: u32,
    },
    /// Not mentioned: shut out.
    Unlisted,
}

impl Listed {
    /// The entry it comes from.
    pub fn id(&self) -> Option<u32> {
        match *self {
            Self::Permitted { id, .. } | Self::Blocked { id } => Some(id),
            Self::Unlisted => None,
        }
    }
}

/// The list of foreign domains.
pub trait DomainList {
    /// Looks up a canonical domain ([`Domain::as_str`]). Wait-free; called up to twice a message.
    fn lookup(&self, canonical: &str) -> Listed;
}

/// The set of our own domains.
pub trait LocalDomains {
    /// Whether a canonical domain is ours. By equality, never by suffix.
    fn is_local(&self, canonical: &str) -> bool;
}

/// Why a message does not cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// Inbound: the From domain is not on the list, or From has no domain.
    NotPermitted,
    /// Inbound: the From domain is blocked.
    Blocked,
    /// Inbound: the peer's certificate does not vouch for the From domain.
    PeerMismatch,
    /// Inbound: addressed to a domain that is not ours.
    Relay,
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
            Self::SpoofLocal => "spoof_local",
            Self::AssertedIdentity => "asserted_identity",
            Self::OutboundFrom => "outbound_from",
            Self::OutboundNotPermitted => "outbound_not_permitted",
            Self::OutboundBlocked => "outbound_blocked",
            Self::OutboundPeer => "outbound_peer",
            Self::Malformed => "malformed",
            Self::StrayResponse => "stray_resp",
        }
    }

    /// The SIP status a request denied for this is answered with.
    pub fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
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
            | Self::StrayResponse => 403,
        }
    }

    /// The reason phrase it is answered with: the same for all that share a status.
    pub fn reason(self) -> &'static str {
        reason_phrase(self.status())
    }
}

/// What a verdict is about, for counters and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The foreign domain: From's for what comes in, the target's for what goes out. `None` where there is none.
    pub domain: Option<Domain>,
    /// Its entry in the domain list, if it was looked up and found.
    pub id: Option<u32>,
    /// The method; `None` for a response.
    pub method: Option<Method>,
}

/// The verdict on one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Forward it as it is.
    Pass {
        /// Whom it counts for.
        subject: Subject,
    },
    /// Answer it with `status`, forward nothing.
    Deny {
        /// Which check failed.
        why: Denial,
        /// The SIP status.
        status: u16,
        /// Whom it counts for.
        subject: Subject,
    },
    /// Forward nothing, answer nothing.
    Drop {
        /// Which check failed.
        why: Denial,
        /// Whom it counts for.
        subject: Subject,
    },
}

impl Verdict {
    /// Whether the message may be forwarded.
    pub fn is_pass(&self) -> bool {
        matches!(self, Self::Pass { .. })
    }

    /// Whom it counts for.
    pub fn subject(&self) -> &Subject {
        match self {
            Self::Pass { subject } | Self::Deny { subject, .. } | Self::Drop { subject, .. } => subject,
        }
    }

    /// Which check failed; `None` if it passes.
    pub fn denial(&self) -> Option<Denial> {
        match self {
            Self::Pass { .. } => None,
            Self::Deny { why, .. } | Self::Drop { why, .. } => Some(*why),
        }
    }

    fn of(message: &Message<'_>, subject: Subject, checked: Result<(), Denial>) -> Self {
        match checked {
            Ok(()) => Self::Pass { subject },
            Err(why) if message.is_answerable() => Self::Deny { why, status: why.status(), subject },
            Err(why) => Self::Drop { why, subject },
        }
    }
}

/// The verdict on a message that came from outside, over a connection whose peer is `peer`.
pub fn inbound(
    message: &Message<'_>,
    peer: &PeerIdentity,
    list: &impl DomainList,
    locals: &impl LocalDomains,
) -> Verdict {
    let mut subject = Subject { domain: None, id: None, method: message.method() };
    let checked = match message.start {
        Start::Request { uri, .. } => inbound_request(message, &uri, &mut subject, peer, list, locals),
        Start::Response { .. } => inbound_response(message, &mut subject, peer, list, locals),
    };
    Verdict::of(message, subject, checked)
}

fn inbound_request(
    message: &Message<'_>,
    request_uri: &Uri<'_>,
    subject: &mut Subject,
    peer: &PeerIdentity,
    list: &impl DomainList,
    locals: &impl LocalDomains,
) -> Result<(), Denial> {
    let from = domain_of(&message.from.uri).ok_or(Denial::NotPermitted)?;
    subject.domain = Some(from);
    if locals.is_local(from.as_str()) {
        return Err(Denial::SpoofLocal);
    }
    let listed = list.lookup(from.as_str());
    subject.id = listed.id();
    let pinned = match listed {
        Listed::Permitted { peer, .. } => peer,
        Listed::Blocked { .. } => return Err(Denial::Blocked),
        Listed::Unlisted => return Err(Denial::NotPermitted),
    };
    if !vouches(peer, &from, pinned.as_ref()) {
        return Err(Denial::PeerMismatch);
    }
    check_asserted(message, &from, locals)?;
    let is_ours = |uri: &Uri<'_>| domain_of(uri).is_some_and(|domain| locals.is_local(domain.as_str()));
    if !is_ours(&message.to.uri) || !(message.has_to_tag() || is_ours(request_uri)) {
        return Err(Denial::Relay);
    }
    Ok(())
}

/// A response from outside answers a request that went out: From is ours, To is whom we asked.
fn inbound_response(
    message: &Message<'_>,
    subject: &mut Subject,
    peer: &PeerIdentity,
    list: &impl DomainList,
    locals: &impl LocalDomains,
) -> Result<(), Denial> {
    let to = domain_of(&message.to.uri).ok_or(Denial::StrayResponse)?;
    subject.domain = Some(to);
    if !domain_of(&message.from.uri).is_some_and(|from| locals.is_local(from.as_str())) {
        return Err(Denial::StrayResponse);
    }
    let listed = list.lookup(to.as_str());
    subject.id = listed.id();
    outbound_peer(&to, &listed, peer).map_err(|why| match why {
        Denial::OutboundPeer => Denial::PeerMismatch,
        Denial::OutboundBlocked => Denial::Blocked,
        _ => Denial::NotPermitted,
    })
}

/// The verdict on a message that goes outside, over a connection whose peer is `peer`.
pub fn outbound(
    message: &Message<'_>,
    peer: &PeerIdentity,
    list: &impl DomainList,
    locals: &impl LocalDomains,
) -> Verdict {
    let verdict = outbound_policy(message, list, locals);
    let (Verdict::Pass { subject }, Start::Request { .. }) = (verdict, message.start) else { return verdict };
    let checked = match subject.domain {
        Some(domain) => outbound_peer(&domain, &list.lookup(domain.as_str()), peer),
        None => Err(Denial::OutboundNotPermitted),
    };
    Verdict::of(message, subject, checked)
}

/// The half of [`outbound`] that needs no peer, for when the connection has yet to be opened: a request that passes here
/// must pass [`outbound_peer`] for [`Subject::domain`] before it is sent. Responses have no second half.
pub fn outbound_policy(message: &Message<'_>, list: &impl DomainList, locals: &impl LocalDomains) -> Verdict {
    let mut subject = Subject { domain: None, id: None, method: message.method() };
    let checked = match message.start {
        Start::Request { uri, .. } => outbound_request(message, &uri, &mut subject, list, locals),
        Start::Response { .. } => outbound_response(message, &mut subject, list, locals),
    };
    Verdict::of(message, subject, checked)
}

/// Whether the certificate of the far peer is good for the domain that a request goes to. `entry` is what the list
/// says of `domain` now.
pub fn outbound_peer(domain: &Domain, entry: &Listed, peer: &PeerIdentity) -> Result<(), Denial> {
    match entry {
        Listed::Permitted { peer: pinned, .. } if vouches(peer, domain, pinned.as_ref()) => Ok(()),
        Listed::Permitted { .. } => Err(Denial::OutboundPeer),
        Listed::Blocked { .. } => Err(Denial::OutboundBlocked),
        Listed::Unlisted => Err(Denial::OutboundNotPermitted),
    }
}

fn outbound_request(
    message: &Message<'_>,
    request_uri: &Uri<'_>,
    subject: &mut Subject,
    list: &impl DomainList,
    locals: &impl LocalDomains,
) -> Result<(), Denial> {
    let target = if message.has_to_tag() { &message.to.uri } else { request_uri };
    subject.domain = domain_of(target);
    if !domain_of(&message.from.uri).is_some_and(|from| locals.is_local(from.as_str())) {
        return Err(Denial::OutboundFrom);
    }
    let listed = match &subject.domain {
        Some(domain) if !locals.is_local(domain.as_str()) => list.lookup(domain.as_str()),
        Some(_) | None => Listed::Unlisted,
    };
    subject.id = listed.id();
    match listed {
        Listed::Permitted { .. } => Ok(()),
        Listed::Blocked { .. } => Err(Denial::OutboundBlocked),
        Listed::Unlisted => Err(Denial::OutboundNotPermitted),
    }
}

/// A response from inside answers a request that came in and was checked then: To is ours.
fn outbound_response(
    message: &Message<'_>,
    subject: &mut Subject,
    list: &impl DomainList,
    locals: &impl LocalDomains,
) -> Result<(), Denial> {
    subject.domain = domain_of(&message.from.uri);
    subject.id = subject.domain.and_then(|domain| list.lookup(domain.as_str()).id());
    let to = domain_of(&message.to.uri);
    if to.is_some_and(|to| locals.is_local(to.as_str())) { Ok(()) } else { Err(Denial::StrayResponse) }
}

/// The canonical domain of a URI; `None` where its scheme has none or the host is no domain.
fn domain_of(uri: &Uri<'_>) -> Option<Domain> {
    Domain::canonical(uri.host?.as_bytes()).ok()
}

fn vouches(peer: &PeerIdentity, domain: &Domain, pinned: Option<&Domain>) -> bool {
    peer.covers(domain) || pinned.is_some_and(|host| peer.is_host(host))
}

/// Headers that say who somebody is, and that what is inside may believe (RFC 3325 section 4: the trust domain ends here).
const ASSERTING: [HeaderName; 6] = [
    HeaderName::PAssertedIdentity,
    HeaderName::PPreferredIdentity,
    HeaderName::RemotePartyId,
    HeaderName::ReferredBy,
    HeaderName::Diversion,
    HeaderName::HistoryInfo,
];

/// An outside peer may assert identities in the domain its From is in, and no others. History-Info lists where the
/// request was sent to, so our own domains may stand in it too. A `tel:` identity has no domain to differ.
#[inline]
fn check_asserted(message: &Message<'_>, from: &Domain, locals: &impl LocalDomains) -> Result<(), Denial> {
    if !message.present.contains_any(&ASSERTING) {
        return Ok(());
    }
    for header in message.headers().filter(|header| ASSERTING.contains(&header.id)) {
        for address in Addresses::new(header.value) {
            let uri = address.ok_or(Denial::Malformed)?.uri;
            if uri.scheme == Scheme::Tel {
                continue;
            }
            let domain = domain_of(&uri).ok_or(Denial::AssertedIdentity)?;
            let ours = header.id == HeaderName::HistoryInfo && locals.is_local(domain.as_str());
            if domain != *from && !ours {
                return Err(Denial::AssertedIdentity);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
