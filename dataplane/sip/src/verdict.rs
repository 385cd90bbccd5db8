// SPDX-License-Identifier: MIT OR Apache-2.0
//! The domain verdict: may this message cross the border.
//!
//! From outside ([`inbound`]) a request passes when its From domain is not ours, is permitted, and the peer's certificate
//! vouches for it, and when what it is addressed to is ours. The From domain decides because it is what the policy
//! names; the certificate is what keeps one permitted partner from speaking for another. From inside ([`outbound`]) the
//! mirror: From is ours, the target is permitted, and the certificate of the peer it goes to vouches for the target.
//!
//! What a request from outside is addressed to: To, and where the server behind us would send it: the Request-URI and every
//! Route. Outside a dialog the Request-URI names one of our domains. With a To tag it may be a Contact instead, which names
//! a host: one of our own. Anybody can make up a tag, so nothing else is let off for it, nor for ACK or BYE.
//! Contact and Via never count as permission. To outside, a request with a To tag goes by To alone: the Request-URI is
//! the far Contact, of whose hosts we know nothing.
//!
//! REGISTER and PUBLISH do not cross inwards: they write what only our own users may write.
//!
//! What belongs to a dialog that was let in is judged by [`inbound_by`] and [`outbound_by`]: whether its domain is permitted is
//! not asked again, everything else is.
//!
//! Responses carry the From and To of their request, so the same is asked of them the other way round: of From and To the
//! one is ours, the other foreign, permitted, and vouched for by the far certificate. A transaction is not looked for here.
//! Neither responses nor ACKs are ever answered: they are dropped.
//!
//! Called for every message on worker cores; lists are asked through traits so that this crate needs no tables. No
//! allocation for plain ASCII domains.

use crate::address::Addresses;
use crate::asserted::{self, Trust};
use crate::domain::Domain;
use crate::headers::HeaderName;
use crate::identity::PeerIdentity;
use crate::message::{Message, Method, Start};
use crate::partner::{Bounds, Target};
use crate::uri::Uri;
pub use denial::{ALLOW, Denial};
use heard::heard;
pub use heard::{Ear, Step};

mod denial;
mod heard;

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
        /// The host that the partner's certificate must name; the domain's own name is then not enough. Without it the
        /// certificate must be good for the domain.
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
    /// Looks up a canonical domain ([`Domain::as_str`]). Wait-free; called up to three times a message.
    fn lookup(&self, canonical: &str) -> Listed;

    /// Where else the edge of a domain may be reached, besides the address that is called.
    fn targets(&self, canonical: &str) -> &[Target] {
        let _ = canonical;
        &[]
    }

    /// How much a domain may send.
    fn bounds(&self, canonical: &str) -> Bounds {
        let _ = canonical;
        Bounds::default()
    }
}

/// The set of our own domains.
pub trait LocalDomains {
    /// Whether a canonical domain is ours. By equality, never by suffix.
    fn is_local(&self, canonical: &str) -> bool;

    /// Whether a canonical host name or IP literal is a machine of ours: a name in our own certificates, our public
    /// address, the called server's. By equality, never by suffix. Requests in a dialog and Routes may name it.
    fn is_own_host(&self, canonical: &str) -> bool {
        let _ = canonical;
        false
    }

    /// Whether a host of ours is called at a port, where one is written: any other would make the server behind us knock there.
    fn serves(&self, canonical: &str, port: u16) -> bool {
        let _ = (canonical, port);
        true
    }
}

/// Methods that do not cross inwards. Compared without case, as servers do that are laxer than RFC 3261 section 7.1.
const NOT_INWARD: [Method; 2] = [Method::Register, Method::Publish];

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

/// Who answers for the domain that a message from outside speaks for.
#[derive(Clone, Copy, Debug)]
pub enum Voucher<'a> {
    /// The peer's certificate, and our list.
    Peer(&'a PeerIdentity),
    /// The dialog that it belongs to: its first message was let in, and the caller has seen that this one is of the same
    /// peer ([`crate::dialog`]). The list is only asked whether the domain is blocked: that is meant to end what there is.
    Dialog,
}

/// The verdict on a message that came from outside, over a connection whose peer is `peer`.
pub fn inbound(
    message: &Message<'_>,
    peer: &PeerIdentity,
    list: &impl DomainList,
    locals: &impl LocalDomains,
) -> Verdict {
    inbound_by(message, Voucher::Peer(peer), list, locals, Trust::Checked)
}

/// [`inbound`], with a say in who vouches and in what the peer may assert.
pub fn inbound_by(
    message: &Message<'_>,
    voucher: Voucher<'_>,
    list: &impl DomainList,
    locals: &impl LocalDomains,
    trust: Trust,
) -> Verdict {
    inbound_heard(message, voucher, list, locals, trust, &mut ())
}

/// [`inbound_by`], told of check by check where it is a request.
pub fn inbound_heard(
    message: &Message<'_>,
    voucher: Voucher<'_>,
    list: &impl DomainList,
    locals: &impl LocalDomains,
    trust: Trust,
    ear: &mut impl Ear,
) -> Verdict {
    let mut subject = Subject { domain: None, id: None, method: message.method() };
    let checked = match message.start {
        Start::Request { uri, .. } => {
            inbound_request(message, &uri, &mut subject, voucher, (list, locals), trust, ear)
        }
        Start::Response { .. } => inbound_response(message, &mut subject, voucher, list, locals),
    };
    Verdict::of(message, subject, checked)
}

fn inbound_request(
    message: &Message<'_>,
    request_uri: &Uri<'_>,
    subject: &mut Subject,
    voucher: Voucher<'_>,
    (list, locals): (&impl DomainList, &impl LocalDomains),
    trust: Trust,
    ear: &mut impl Ear,
) -> Result<(), Denial> {
    let check = |said: bool, otherwise: Denial| if said { Ok(()) } else { Err(otherwise) };
    let from = domain_of(&message.from.uri);
    let method = message.method_name().unwrap_or_default();
    let stays_outside = NOT_INWARD.iter().any(|no| method.eq_ignore_ascii_case(no.name()));
    let ours = from.is_some_and(|from| locals.is_local(from.as_str()));
    let sender = match from {
        None => Err(Denial::NotPermitted),
        // Our own users register from wherever they are, and are told that it is not done here.
        Some(_) if ours => Err(if stays_outside { Denial::Method } else { Denial::SpoofLocal }),
        Some(_) => Ok(()),
    };
    subject.domain = from;
    heard(ear, || Step::Sender { domain: from, ours }, sender)?;
    let Some(from) = from else { return Err(Denial::NotPermitted) };
    let listed = list.lookup(from.as_str());
    subject.id = listed.id();
    let vouched = inbound_peer(&from, &listed, voucher);
    tell_of_peer(&from, &listed, voucher, vouched, ear);
    vouched?;
    heard(ear, || Step::Method, check(!stays_outside, Denial::Method))?;
    heard(ear, || Step::Extension, check(!asks_for_extension(message), Denial::Extension))?;
    heard(ear, || Step::Identity, asserted::check(message, &from, locals, trust))?;
    // In a dialog that is known, our side has said at which ports it is reached.
    let known = matches!(voucher, Voucher::Dialog);
    let serves = |host: &Domain, port: Option<u16>| {
        known || port.is_none_or(|port| locals.serves(host.as_str(), port))
    };
    let is_local = |host: &Domain, port| locals.is_local(host.as_str()) && serves(host, port);
    let is_own = |host: &Domain, port| {
        (locals.is_local(host.as_str()) || locals.is_own_host(host.as_str())) && serves(host, port)
    };
    let to_us = is_local_domain(&message.to.uri, locals)
        && match message.has_to_tag() {
            true => leads_to(request_uri, is_own),
            false => leads_to(request_uri, is_local),
        };
    heard(ear, || Step::Addressee, check(to_us, Denial::Relay))?;
    for route in message.values(HeaderName::Route).flat_map(Addresses::new) {
        let leads =
            route.ok_or(Denial::Malformed).and_then(|it| check(leads_to(&it.uri, is_own), Denial::Relay));
        heard(ear, || Step::Route, leads)?;
    }
    Ok(())
}

/// Whether the certificate of a peer is good for the foreign domain that it speaks for. `entry` is what the list says
/// of `domain`.
fn inbound_peer(domain: &Domain, entry: &Listed, voucher: Voucher<'_>) -> Result<(), Denial> {
    let peer = match (voucher, entry) {
        (Voucher::Peer(peer), _) => peer,
        (Voucher::Dialog, Listed::Blocked { .. }) => return Err(Denial::Blocked),
        (Voucher::Dialog, Listed::Permitted { .. } | Listed::Unlisted) => return Ok(()),
    };
    outbound_peer(domain, entry, peer).map_err(|why| match why {
        Denial::OutboundPeer => Denial::PeerMismatch,
        Denial::OutboundBlocked => Denial::Blocked,
        _ => Denial::NotPermitted,
    })
}

/// [`inbound_peer`] is two checks: of the list, and of the certificate where the list permits.
#[inline(always)]
fn tell_of_peer(
    domain: &Domain,
    entry: &Listed,
    voucher: Voucher<'_>,
    said: Result<(), Denial>,
    ear: &mut impl Ear,
) {
    let of_peer = said == Err(Denial::PeerMismatch);
    ear.hear(|| Step::List { domain: Some(*domain), listed: *entry }, if of_peer { Ok(()) } else { said });
    if let (Voucher::Peer(_), Listed::Permitted { peer, .. }) = (voucher, entry) {
        ear.hear(|| Step::Certificate { domain: *domain, host: *peer }, said);
    }
}

/// Option tags that begin so are Microsoft's, which its clients write into Proxy-Require for their own proxies and which
/// reach a federated edge; IANA's are listed. Anything else asks every proxy on the way for what none of them knows.
const KNOWN_OPTIONS: [&str; 36] = [
    "100rel",
    "199",
    "answermode",
    "early-session",
    "eventlist",
    "explicitsub",
    "from-change",
    "geolocation-http",
    "geolocation-sip",
    "gin",
    "gruu",
    "histinfo",
    "ice",
    "join",
    "multiple-refer",
    "norefersub",
    "nosub",
    "outbound",
    "path",
    "policy",
    "precondition",
    "pref",
    "privacy",
    "recipient-list-invite",
    "recipient-list-message",
    "recipient-list-subscribe",
    "record-aware",
    "replaces",
    "resource-priority",
    "sdp-anat",
    "sec-agree",
    "siprec",
    "tdialog",
    "timer",
    "trickle-ice",
    "uui",
];

/// A request that wants something of all proxies on its way that we have never heard of (RFC 3261 section 16.3, step 5).
#[inline]
fn asks_for_extension(message: &Message<'_>) -> bool {
    let known = |tag: &str| {
        tag.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("ms-"))
            || KNOWN_OPTIONS.iter().any(|known| tag.eq_ignore_ascii_case(known))
    };
    // An ACK and a CANCEL carry what their INVITE asked for.
    let asked = !matches!(message.method(), Some(Method::Ack | Method::Cancel));
    asked && !message.tokens(HeaderName::ProxyRequire).all(known)
}

/// Whether a request with this URI in its Request-URI or a Route goes to a host for which `ours` holds, and to no other: an
/// `maddr` parameter outdoes the host (RFC 3261 section 16.5), so it is held to the same. A parameter's name
/// in percent escapes could be that one.
fn leads_to(uri: &Uri<'_>, ours: impl Fn(&Domain, Option<u16>) -> bool) -> bool {
    let is_ours = |host: &str| Domain::canonical(host.as_bytes()).is_ok_and(|host| ours(&host, uri.port));
    let mut params = uri.params.split(';').map(|param| param.split_once('=').unwrap_or((param, "")));
    uri.host.is_some_and(is_ours)
        && params.all(|(name, value)| match name.eq_ignore_ascii_case("maddr") {
            true => is_ours(value),
            false => !name.contains('%'),
        })
}

fn is_local_domain(uri: &Uri<'_>, locals: &impl LocalDomains) -> bool {
    domain_of(uri).is_some_and(|domain| locals.is_local(domain.as_str()))
}

/// A response from outside answers a request that went out: From is ours; To is whom we asked, so it is foreign,
/// permitted, and the peer's certificate vouches for it.
fn inbound_response(
    message: &Message<'_>,
    subject: &mut Subject,
    voucher: Voucher<'_>,
    list: &impl DomainList,
    locals: &impl LocalDomains,
) -> Result<(), Denial> {
    let to = domain_of(&message.to.uri).ok_or(Denial::StrayResponse)?;
    subject.domain = Some(to);
    if !is_local_domain(&message.from.uri, locals) || locals.is_local(to.as_str()) {
        return Err(Denial::StrayResponse);
    }
    let listed = list.lookup(to.as_str());
    subject.id = listed.id();
    inbound_peer(&to, &listed, voucher)
}

/// The verdict on a message that goes outside, over a connection whose peer is `peer`.
pub fn outbound(
    message: &Message<'_>,
    peer: &PeerIdentity,
    list: &impl DomainList,
    locals: &impl LocalDomains,
) -> Verdict {
    let verdict = outbound_policy(message, list, locals);
    let Verdict::Pass { subject } = verdict else { return verdict };
    let checked = match subject.domain {
        Some(domain) => outbound_peer(&domain, &list.lookup(domain.as_str()), peer),
        None => Err(Denial::OutboundNotPermitted),
    };
    Verdict::of(message, subject, checked)
}

/// The half of [`outbound`] that needs no peer, for when the connection has yet to be opened: what passes here, request
/// or response, has a [`Subject::domain`] and must pass [`outbound_peer`] for it before it is sent.
pub fn outbound_policy(message: &Message<'_>, list: &impl DomainList, locals: &impl LocalDomains) -> Verdict {
    outbound_by(message, false, list, locals)
}

/// [`outbound_policy`]; `known`: of a dialog that was let through. Then the far domain need not be permitted any more, and
/// instead of [`outbound_peer`] the caller sees to it that the far peer is the dialog's, or vouches for its domain.
pub fn outbound_by(
    message: &Message<'_>,
    known: bool,
    list: &impl DomainList,
    locals: &impl LocalDomains,
) -> Verdict {
    outbound_heard(message, known, list, locals, &mut ())
}

/// [`outbound_by`], told of check by check where it is a request.
pub fn outbound_heard(
    message: &Message<'_>,
    known: bool,
    list: &impl DomainList,
    locals: &impl LocalDomains,
    ear: &mut impl Ear,
) -> Verdict {
    let mut subject = Subject { domain: None, id: None, method: message.method() };
    let checked = match message.start {
        Start::Request { uri, .. } => {
            outbound_request(message, &uri, &mut subject, known, (list, locals), ear)
        }
        Start::Response { .. } => {
            let checked = outbound_response(message, &mut subject, list, locals);
            unless_known(checked, known, &subject, locals)
        }
    };
    Verdict::of(message, subject, checked)
}

/// In a dialog that was let through the list is only asked whether the domain is blocked.
fn unless_known(
    checked: Result<(), Denial>,
    known: bool,
    subject: &Subject,
    locals: &impl LocalDomains,
) -> Result<(), Denial> {
    match checked {
        Err(Denial::OutboundNotPermitted) if known && foreign(subject, locals) => Ok(()),
        other => other,
    }
}

/// There is a far domain, and it is not ours.
fn foreign(subject: &Subject, locals: &impl LocalDomains) -> bool {
    subject.domain.as_ref().is_some_and(|domain| !locals.is_local(domain.as_str()))
}

/// Whether the certificate of the far peer is good for the domain that a request goes to, or whose request a response
/// answers. `entry` is what the list says of `domain` now.
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
    known: bool,
    (list, locals): (&impl DomainList, &impl LocalDomains),
    ear: &mut impl Ear,
) -> Result<(), Denial> {
    let target = if message.has_to_tag() { &message.to.uri } else { request_uri };
    subject.domain = domain_of(target);
    let from = domain_of(&message.from.uri);
    let ours = from.is_some_and(|from| locals.is_local(from.as_str()));
    let sender = if ours { Ok(()) } else { Err(Denial::OutboundFrom) };
    heard(ear, || Step::Sender { domain: from, ours }, sender)?;
    let listed = match &subject.domain {
        Some(domain) if !locals.is_local(domain.as_str()) => list.lookup(domain.as_str()),
        Some(_) | None => Listed::Unlisted,
    };
    subject.id = listed.id();
    let permitted = unless_known(outbound_permitted(&listed), known, subject, locals);
    heard(ear, || Step::List { domain: subject.domain, listed }, permitted)
}

/// A response from inside answers a request that came in: To is ours; From is whoever asked, so it is foreign and,
/// still, permitted. [`outbound_peer`] then holds the far certificate to From's domain as [`inbound`] did.
fn outbound_response(
    message: &Message<'_>,
    subject: &mut Subject,
    list: &impl DomainList,
    locals: &impl LocalDomains,
) -> Result<(), Denial> {
    let from = domain_of(&message.from.uri).ok_or(Denial::StrayResponse)?;
    subject.domain = Some(from);
    if !is_local_domain(&message.to.uri, locals) || locals.is_local(from.as_str()) {
        return Err(Denial::StrayResponse);
    }
    let listed = list.lookup(from.as_str());
    subject.id = listed.id();
    outbound_permitted(&listed)
}

fn outbound_permitted(listed: &Listed) -> Result<(), Denial> {
    match listed {
        Listed::Permitted { .. } => Ok(()),
        Listed::Blocked { .. } => Err(Denial::OutboundBlocked),
        Listed::Unlisted => Err(Denial::OutboundNotPermitted),
    }
}

/// The canonical domain of a URI; `None` where its scheme has none or the host is no domain.
fn domain_of(uri: &Uri<'_>) -> Option<Domain> {
    Domain::canonical(uri.host?.as_bytes()).ok()
}

/// A pin narrows: whoever else has a certificate for the domain is not the partner's edge.
fn vouches(peer: &PeerIdentity, domain: &Domain, pinned: Option<&Domain>) -> bool {
    match pinned {
        Some(host) => peer.is_host(host),
        None => peer.covers(domain),
    }
}

#[cfg(test)]
mod tests;
