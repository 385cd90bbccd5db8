// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the proxy meets SIP: what stands at the head of an inbox, and what becomes of it.
//!
//! The only file here that knows messages; all judgement is fedgate-sip's. [`judge`] frames, scans and asks for
//! the verdict; what it refuses it answers, counts and reports. A request that goes outside is judged twice: by
//! policy when it is read ([`judge`]) and against the far peer's certificate just before it is written
//! ([`vouched`]), because the leg to that peer may not be open before.
//!
//! Called by the session for every message, on the worker's core. A message that passes is not copied here and
//! costs no allocation; a refusal allocates its answer.

use crate::api::{Context, Leg, Micros, Output, SessionId};
use crate::event::Event;
use crate::inspected::{
    Inspection, Stop, count_session, hold_to_rate, inspect, out_of_hops, points_at_its_own, trust,
};
use crate::media;
use crate::ours::{Hosts, Ours};
use crate::side::READ_AHEAD;
use crate::tcp::Addr;
use crate::transactions::{Part, Transactions};
use crate::translated;
use fedgate_sip::answer::{compose, compose_unread, compose_with, reason_phrase};
use fedgate_sip::asserted;
use fedgate_sip::dialog::{Check, Dialogs, Note, Standing};
use fedgate_sip::domain::Domain;
use fedgate_sip::edit;
use fedgate_sip::frame::{Frame, Framer, Limits};
use fedgate_sip::identity::PeerIdentity;
use fedgate_sip::message::{Message, ScanFault};
use fedgate_sip::partner::Bounds;
use fedgate_sip::verdict::{
    Denial, Listed, Subject, Verdict, Voucher, inbound_by, outbound_by, outbound_peer,
};
pub(crate) use fedgate_sip::verdict::{DomainList, LocalDomains};
use fedgate_tables::counters::{Counter, DomainCounter, Stat};
use rustls::pki_types::ServerName;
use std::net::{IpAddr, Ipv4Addr};

pub(crate) const LIMITS: Limits = Limits::DEFAULT;
/// The longest message, bytes.
pub(crate) const MESSAGE_BYTES: usize = LIMITS.max_frame();

/// Across the border, seen from inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Inward,
    Outward,
}

/// The message at the front of an inbox.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one a side, in place: a box would be an allocation a message")]
pub(crate) enum Head {
    /// Not whole, or not looked at.
    Unread {
        /// When its first byte was seen.
        since: Option<Micros>,
        /// Bytes that must be there before it is worth another look.
        need: usize,
    },
    /// Whole and allowed to cross.
    Passed(Passed),
}

/// A message that may cross.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed {
    /// Its bytes.
    pub(crate) len: usize,
    /// Whom it counts for.
    subject: Subject,
    /// Its transaction.
    pub(crate) part: Part,
    /// Its dialog.
    pub(crate) note: Note,
    /// Whose that dialog is, where it is known.
    dialog_peer: Option<u64>,
    /// Something has to be cut out of it.
    cut: bool,
    /// Something of it has to be masked.
    mask: bool,
    /// It names addresses that NAT may have changed.
    nat: bool,
    /// What it says of media.
    pub(crate) media: Option<media::Subject>,
    /// The entry of the domain list that its session is counted for with it.
    pub(crate) counts: Option<u32>,
}

/// A message that crosses as another than it came.
pub(crate) struct Changed {
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// Its transaction, as the other side sees it.
    pub(crate) part: Part,
}

impl Default for Head {
    fn default() -> Self {
        Self::Unread { since: None, need: 0 }
    }
}

impl Head {
    pub(crate) fn is_unread(&self) -> bool {
        matches!(self, Self::Unread { .. })
    }

    /// Bytes that the inbox has to hold for this message.
    pub(crate) fn wanted(&self) -> usize {
        match self {
            Self::Unread { need, .. } => *need,
            Self::Passed(passed) => passed.len,
        }
    }

    /// Bytes that the inbox may hold meanwhile. By steps: of a head nothing more is known than that another byte is wanted, and one byte
    /// a turn would be tens of thousands of turns for one message.
    pub(crate) fn allowed(&self) -> usize {
        self.wanted().next_multiple_of(READ_AHEAD).max(READ_AHEAD)
    }

    /// When a message began that is not whole yet.
    pub(crate) fn begun(&self) -> Option<Micros> {
        match self {
            Self::Unread { since, .. } => *since,
            Self::Passed(_) => None,
        }
    }

    /// Looked at, and not whole.
    pub(crate) fn still_unread(&self, need: usize, empty: bool, now: Micros) -> Self {
        Self::Unread { since: (!empty).then(|| self.begun().unwrap_or(now)), need }
    }
}

impl Passed {
    /// Its dialog was let through before.
    pub(crate) fn is_of_known_dialog(&self) -> bool {
        self.dialog_peer.is_some()
    }

    /// The foreign domain that it is of.
    pub(crate) fn domain(&self) -> Option<&Domain> {
        self.subject.domain.as_ref()
    }

    /// The name to call the server by: a request's target domain as SNI where it goes outside, else its address
    /// (which is not sent).
    pub(crate) fn server_name(&self, way: Way, addr: u32) -> ServerName<'static> {
        let target = match (way, &self.subject.domain) {
            (Way::Outward, Some(domain)) if !domain.is_ip() => {
                ServerName::try_from(domain.as_str().to_owned()).ok()
            }
            _ => None,
        };
        target.unwrap_or_else(|| ServerName::from(IpAddr::V4(Ipv4Addr::from_bits(addr))))
    }

    /// What lets it through.
    pub(crate) fn check<D: DomainList, L>(&self, ctx: &Context<'_, D, L>) -> Check {
        let domain = self.subject.domain.as_ref().filter(|_| self.dialog_peer.is_none());
        match domain.map(|domain| ctx.domains.lookup(domain.as_str())) {
            _ if self.dialog_peer.is_some() => Check::Dialog,
            Some(Listed::Permitted { peer: Some(_), .. }) => Check::Host,
            Some(Listed::Permitted { peer: None, .. } | Listed::Blocked { .. } | Listed::Unlisted) | None => {
                Check::Domain
            }
        }
    }

    /// What goes out instead of the message `bytes` as they came, if anything of it has to be changed.
    pub(crate) fn changed<L: LocalDomains, D, O: Output>(
        &self,
        bytes: &[u8],
        origin: &Origin<'_>,
        ctx: &Context<'_, D, L>,
        out: &mut O,
    ) -> Option<Changed> {
        if !self.cut && !self.mask && !self.nat {
            return None;
        }
        // It was scanned before it passed.
        let message = Message::scan_with(bytes, &LIMITS).ok()?;
        let mut edits = Vec::new();
        if let Some(speaker) = self.subject.domain.as_ref().filter(|_| self.cut) {
            edits = asserted::cuts(&message, speaker, ctx.locals, trust(origin));
            out.count(Counter::Stat(Stat::SipHeadersCut), edits.len() as u64);
        }
        if let Some(inspector) = origin.hosts.tls.inspector().filter(|_| self.mask) {
            edits.extend(inspector.masks(&message));
        }
        let translated = self.nat && translated::translate(&message, origin, &mut edits, out);
        if edits.is_empty() {
            return None;
        }
        let bytes = edit::apply(&message, edits);
        let sent = if translated { Message::scan_with(&bytes, &LIMITS).ok() } else { None };
        let part = sent.map_or(self.part, |sent| origin.asked.part(&sent));
        Some(Changed { bytes, part })
    }

    /// Counts it, now that it crosses.
    pub(crate) fn count<O: Output>(&self, way: Way, out: &mut O) {
        out.count(Counter::Stat(Stat::SipPassed), 1);
        if let (Some(id), Some(_)) = (self.subject.id, self.subject.method) {
            let counter = match way {
                Way::Inward => DomainCounter::PermittedIn,
                Way::Outward => DomainCounter::PermittedOut,
            };
            out.count(Counter::Domain(id, counter), 1);
        }
    }
}

/// What is to be done about the front of an inbox.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "moved once; a box would be an allocation a message")]
pub(crate) enum Judged {
    /// Wait until this many bytes are there.
    Incomplete { need: usize },
    /// Take these away: a keep-alive.
    Skip { len: usize },
    /// Hand it on.
    Pass(Passed),
    /// Take it away and send the answer, if there is one. `malformed`: it was no good SIP.
    Refuse { len: usize, answer: Option<Vec<u8>>, malformed: bool },
    /// End the connection, by RST or in order.
    End { reset: bool },
    /// No message can be found in this stream any more.
    Broken { answer: Option<Vec<u8>> },
}

/// Where a message comes from.
pub(crate) struct Origin<'a> {
    pub(crate) id: SessionId,
    pub(crate) leg: Leg,
    pub(crate) way: Way,
    /// The leg's peer.
    pub(crate) remote: Addr,
    /// What its certificate says.
    pub(crate) peer: &'a PeerIdentity,
    /// Our tag in answers.
    pub(crate) tag: &'a str,
    /// The hosts that are ours in this session.
    pub(crate) hosts: Hosts<'a>,
    /// See [`crate::OpenParams::nat`].
    pub(crate) nat: bool,
    /// What has crossed and may be answered.
    pub(crate) asked: &'a Transactions,
    /// The dialogs that have crossed on this worker.
    pub(crate) dialogs: &'a Dialogs,
    /// The session is counted for a domain.
    pub(crate) counted: bool,
    pub(crate) now: Micros,
}

/// Looks at the front of an inbox.
pub(crate) fn judge<D: DomainList, L: LocalDomains, O: Output>(
    framer: &mut Framer,
    bytes: &[u8],
    origin: &Origin<'_>,
    inspection: &mut Inspection,
    ctx: &Context<'_, D, L>,
    out: &mut O,
) -> Judged {
    match framer.next(bytes) {
        Frame::Incomplete { needed_at_least } => Judged::Incomplete { need: needed_at_least },
        Frame::KeepAlive { len } => Judged::Skip { len },
        Frame::Message { head_len, body_len } => {
            let frame = &bytes[..head_len + body_len];
            match Message::scan_with(frame, &LIMITS) {
                Ok(message) => verdict(&message, frame.len(), origin, inspection, ctx, out),
                Err(fault) => {
                    out.count(Counter::Stat(Stat::SipBadMessage), 1);
                    malformed(origin, format_args!("{fault}"), frame, out);
                    if fault.kind == ScanFault::TooManyHops
                        && let Some(reset) = out_of_hops(origin, out)
                    {
                        return Judged::End { reset };
                    }
                    let status = fault.status();
                    let answer = fault
                        .answerable
                        .then(|| compose_unread(frame, status, fault.reason(), origin.tag).ok())
                        .flatten();
                    Judged::Refuse { len: frame.len(), answer, malformed: true }
                }
            }
        }
        Frame::Bad(error) => {
            out.count(Counter::Stat(Stat::SipBadMessage), 1);
            malformed(origin, format_args!("{error}"), bytes, out);
            let status = error.fault.status();
            let answer =
                compose_unread(&bytes[..error.lines], status, reason_phrase(status), origin.tag).ok();
            Judged::Broken { answer }
        }
    }
}

fn verdict<D: DomainList, L: LocalDomains, O: Output>(
    message: &Message<'_>,
    len: usize,
    origin: &Origin<'_>,
    inspection: &mut Inspection,
    ctx: &Context<'_, D, L>,
    out: &mut O,
) -> Judged {
    let stat = match (origin.way, message.method().is_some()) {
        (Way::Inward, true) => Stat::SipInRequests,
        (Way::Inward, false) => Stat::SipInResponses,
        (Way::Outward, true) => Stat::SipOutRequests,
        (Way::Outward, false) => Stat::SipOutResponses,
    };
    out.count(Counter::Stat(stat), 1);
    let note = origin.dialogs.note(message, origin.way == Way::Inward);
    let (verdict, dialog_peer) = match standing(&note, origin) {
        Ok(known) => (judgement(message, known.is_some(), origin, ctx, &*out), known),
        Err(why) => (refusal(message, why), None),
    };
    match verdict {
        Verdict::Pass { subject } => {
            let part = origin.asked.part(message);
            if origin.asked.may_cross(origin.leg, part) {
                let bounds = bounds_of(&subject, origin, ctx);
                let held = points_at_its_own(message, &subject, origin, ctx)
                    .and_then(|()| hold_to_rate(bounds, &subject, origin, inspection));
                if let Err(why) = held {
                    let answer = deny(message, why, why.status(), &subject, origin, out);
                    return Judged::Refuse { len, answer, malformed: false };
                }
                let mask = match inspect(message, dialog_peer.is_some(), &note, origin, inspection, out) {
                    Ok(mask) => mask,
                    Err(Stop::End { reset }) => return Judged::End { reset },
                    Err(Stop::Refuse { answer }) => return Judged::Refuse { len, answer, malformed: false },
                };
                let counts = match count_session(bounds, &subject, origin, inspection) {
                    Ok(counts) => counts,
                    Err(why) => {
                        let answer = deny(message, why, why.status(), &subject, origin, out);
                        return Judged::Refuse { len, answer, malformed: false };
                    }
                };
                let cut = origin.way == Way::Inward && asserted::needs_cuts(message, trust(origin));
                let nat = translated::concerns(message, origin);
                let media = media::subject(message);
                return Judged::Pass(Passed {
                    len,
                    subject,
                    part,
                    note,
                    dialog_peer,
                    cut,
                    mask,
                    nat,
                    media,
                    counts,
                });
            }
            out.count(Counter::Stat(Stat::SipDropped), 1);
            report(message, Denial::StrayResponse, 0, &subject, origin, out);
            Judged::Refuse { len, answer: None, malformed: false }
        }
        Verdict::Deny { why, status, subject } => Judged::Refuse {
            len,
            answer: deny(message, why, status, &subject, origin, out),
            malformed: false,
        },
        // An ACK or a response: what it belongs to was counted when it was denied.
        Verdict::Drop { why, subject } => {
            out.count(Counter::Stat(Stat::SipDropped), 1);
            report(message, why, 0, &subject, origin, out);
            Judged::Refuse { len, answer: None, malformed: false }
        }
    }
}

/// What a domain may send: of requests from outside.
fn bounds_of<D: DomainList, L>(subject: &Subject, origin: &Origin<'_>, ctx: &Context<'_, D, L>) -> Bounds {
    let asks = origin.way == Way::Inward && subject.method.is_some();
    let domain = subject.domain.as_ref().filter(|_| asks);
    domain.map_or_else(Bounds::default, |domain| ctx.domains.bounds(domain.as_str()))
}

/// Whose dialog the message is in, if that is known; an error where it cannot be of that dialog. What goes outside
/// is held to its far peer when that is known ([`vouched`]).
pub(crate) fn standing(note: &Note, origin: &Origin<'_>) -> Result<Option<u64>, Denial> {
    let is_another = |peer| origin.way == Way::Inward && peer != origin.dialogs.peer_key(origin.peer);
    match origin.dialogs.standing(note, origin.now.0) {
        Standing::Unknown => Ok(None),
        Standing::Known { peer, same_domain: false, .. } if is_another(peer) => Err(Denial::DialogPeer),
        Standing::Known { stale: true, .. } => Err(Denial::DialogOrder),
        // It speaks for somebody else now, and is judged for that one as if there were no dialog.
        Standing::Known { same_domain: false, .. } => Ok(None),
        // Another edge of the domain, or a renewed certificate with other names: its own certificate has to vouch (RFC 5922).
        Standing::Known { peer, .. } if is_another(peer) => Ok(None),
        Standing::Known { peer, stale: false, same_domain: true } => Ok(Some(peer)),
    }
}

/// The domain verdict. `known`: the message is of a dialog that was let through, and of its peer.
fn judgement<D: DomainList, L: LocalDomains, O: Output>(
    message: &Message<'_>,
    known: bool,
    origin: &Origin<'_>,
    ctx: &Context<'_, D, L>,
    out: &O,
) -> Verdict {
    match origin.way {
        Way::Inward => {
            let ours = Ours { domains: ctx.locals, origin, out };
            let voucher = if known { Voucher::Dialog } else { Voucher::Peer(origin.peer) };
            inbound_by(message, voucher, ctx.domains, &ours, trust(origin))
        }
        Way::Outward => outbound_by(message, known, ctx.domains, ctx.locals),
    }
}

fn refusal(message: &Message<'_>, why: Denial) -> Verdict {
    let subject = Subject { domain: None, id: None, method: message.method() };
    match message.is_answerable() {
        true => Verdict::Deny { why, status: why.status(), subject },
        false => Verdict::Drop { why, subject },
    }
}

/// Whether a request from outside that has waited would still pass: its domain may have been shut out meanwhile. If not, what
/// to answer it.
pub(crate) fn still_permitted<D: DomainList, L, O: Output>(
    bytes: &[u8],
    passed: &Passed,
    origin: &Origin<'_>,
    ctx: &Context<'_, D, L>,
    out: &mut O,
) -> Result<(), Option<Vec<u8>>> {
    let (Some(_), Some(domain)) = (passed.subject.method, &passed.subject.domain) else { return Ok(()) };
    let why = match ctx.domains.lookup(domain.as_str()) {
        Listed::Permitted { .. } => return Ok(()),
        Listed::Blocked { .. } => Denial::Blocked,
        Listed::Unlisted if passed.dialog_peer.is_some() => return Ok(()),
        Listed::Unlisted => Denial::NotPermitted,
    };
    refused(bytes, passed, why, origin, out)
}

/// Whether the far peer's certificate is good for a message that policy lets out; if not, what to answer it.
/// `peer` in `far` is the far leg's, the rest is the message's own leg.
pub(crate) fn vouched<D: DomainList, L, O: Output>(
    bytes: &[u8],
    passed: &Passed,
    far: &PeerIdentity,
    origin: &Origin<'_>,
    ctx: &Context<'_, D, L>,
    out: &mut O,
) -> Result<(), Option<Vec<u8>>> {
    let Some(domain) = &passed.subject.domain else { return Ok(()) };
    let listed = ctx.domains.lookup(domain.as_str());
    let checked = match (passed.dialog_peer, &listed) {
        (None, _) => outbound_peer(domain, &listed, far),
        (Some(_), Listed::Blocked { .. }) => Err(Denial::OutboundBlocked),
        (Some(peer), _) if peer == origin.dialogs.peer_key(far) => Ok(()),
        // Another edge of the same domain.
        (Some(_), _) => outbound_peer(domain, &listed, far).map_err(|_| Denial::DialogPeer),
    };
    match checked {
        Ok(()) => Ok(()),
        Err(why) => refused(bytes, passed, why, &Origin { peer: far, ..*origin }, out),
    }
}

/// Whether a server is one for the domain that a message goes to.
pub(crate) fn is_good_for<D: DomainList, L>(
    passed: &Passed,
    far: &PeerIdentity,
    ctx: &Context<'_, D, L>,
) -> bool {
    let good = |domain: &Domain| outbound_peer(domain, &ctx.domains.lookup(domain.as_str()), far);
    // What the list says meanwhile is no matter of this server.
    passed.domain().is_none_or(|domain| good(domain) != Err(Denial::OutboundPeer))
}

/// Denies a message that had passed.
fn refused<O: Output>(
    bytes: &[u8],
    passed: &Passed,
    why: Denial,
    origin: &Origin<'_>,
    out: &mut O,
) -> Result<(), Option<Vec<u8>>> {
    // It was scanned before it passed.
    let Ok(message) = Message::scan_with(bytes, &LIMITS) else { return Err(None) };
    if message.is_answerable() {
        return Err(deny(&message, why, why.status(), &passed.subject, origin, out));
    }
    out.count(Counter::Stat(Stat::SipDropped), 1);
    report(&message, why, 0, &passed.subject, origin, out);
    Err(None)
}

/// The answer to a message that could have passed but has nowhere to go.
pub(crate) fn answer(bytes: &[u8], status: u16, tag: &str) -> Option<Vec<u8>> {
    let message = Message::scan_with(bytes, &LIMITS).ok()?;
    compose(&message, status, reason_phrase(status), tag).ok()
}

/// Counts and reports a denial and composes its answer.
fn deny<O: Output>(
    message: &Message<'_>,
    why: Denial,
    status: u16,
    subject: &Subject,
    origin: &Origin<'_>,
    out: &mut O,
) -> Option<Vec<u8>> {
    let (stat, counter) = match why {
        Denial::NotPermitted => (Stat::SipDeniedDomain, Some(DomainCounter::DeniedNotPermitted)),
        Denial::Blocked => (Stat::SipDeniedDomain, Some(DomainCounter::DeniedBlocked)),
        Denial::PeerMismatch => (Stat::SipDeniedPeer, Some(DomainCounter::DeniedPeer)),
        Denial::Relay => (Stat::SipDeniedRelay, None),
        Denial::SpoofLocal | Denial::AssertedIdentity => (Stat::SipDeniedSpoof, None),
        Denial::OutboundFrom => (Stat::SipDeniedOutbound, None),
        Denial::OutboundNotPermitted => (Stat::SipDeniedOutbound, Some(DomainCounter::DeniedNotPermitted)),
        Denial::OutboundBlocked => (Stat::SipDeniedOutbound, Some(DomainCounter::DeniedBlocked)),
        Denial::OutboundPeer => (Stat::SipDeniedPeer, Some(DomainCounter::DeniedPeer)),
        Denial::DialogPeer | Denial::DialogOrder => (Stat::SipDeniedDialog, None),
        Denial::DialogNamed | Denial::ReferTo => (Stat::SipDeniedRefer, None),
        Denial::Rate => (Stat::SipDeniedRate, Some(DomainCounter::DeniedLimit)),
        Denial::Sessions => (Stat::SipDeniedSessions, Some(DomainCounter::DeniedLimit)),
        Denial::Malformed => (Stat::SipBadMessage, None),
        Denial::Method | Denial::Extension => (Stat::SipDeniedMethod, None),
        Denial::StrayResponse => (Stat::SipDropped, None),
    };
    out.count(Counter::Stat(stat), 1);
    if let Some(counter) = counter {
        out.count(subject.id.map_or(Counter::Unlisted(counter), |id| Counter::Domain(id, counter)), 1);
    }
    report(message, why, status, subject, origin, out);
    compose_with(message, status, why.reason(), origin.tag, why.extras()).ok()
}

/// Tells the log of a denial; `status` 0 where nothing is answered.
fn report<O: Output>(
    message: &Message<'_>,
    why: Denial,
    status: u16,
    subject: &Subject,
    origin: &Origin<'_>,
    out: &mut O,
) {
    let event = Event::Denied {
        leg: origin.leg,
        remote: origin.remote,
        inward: origin.way == Way::Inward,
        status,
        why,
        message,
        peer: origin.peer,
        subject,
    };
    out.event(origin.id, event);
}

fn malformed<O: Output>(origin: &Origin<'_>, why: std::fmt::Arguments<'_>, bytes: &[u8], out: &mut O) {
    out.event(origin.id, Event::Malformed { leg: origin.leg, remote: origin.remote, why, bytes });
}

#[cfg(test)]
mod tests;
