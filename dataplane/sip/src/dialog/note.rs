// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a message is to its dialog, read once.
//!
//! A [`Note`] is made when a message is judged and used again when it crosses, which may be later and in another buffer: so it holds numbers
//! and places in the message, and borrows nothing. What it says of a dialog's beginning and end is RFC 3261 section 12, RFC 6665 and RFC 3515 by
//! the module above. Worker core, once a message; no allocation.

use super::entry::Usage;
use super::{DEFAULT_EXPIRES, MAX_EXPIRES};
use crate::domain::Domain;
use crate::headers::HeaderName;
use crate::message::{Message, Method, Start};
use crate::scan;
use crate::uri::Uri;
use std::hash::{BuildHasher, RandomState};

/// What a message is to its dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Nothing more than a sign of life.
    Talk,
    /// A provisional response to INVITE.
    Early,
    /// A response that makes the dialog, or keeps it.
    Opens(Usage),
    /// The same by SUBSCRIBE: a subscription for so many seconds.
    Subscribes(u32),
    /// A NOTIFY that says how long its subscription goes on.
    Renews(u32),
    /// An INVITE is refused: the end of what it began, not of what was there.
    Fails,
    /// A BYE.
    Closing,
    /// The last word.
    Ends,
}

/// From where to where in a message, octets.
type Span = (u32, u32);

/// A message's dialog and its part in it. Made once when the message is judged, used again when it crosses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// `None` where a tag is missing: no dialog yet.
    pub(super) key: Option<u64>,
    pub(super) event: Event,
    pub(super) cseq: u32,
    /// It is a request whose CSeq must not fall back.
    pub(super) ordered: bool,
    pub(super) request: bool,
    pub(super) inward: bool,
    /// Stands for the domain of the outside's address.
    pub(super) domain: Option<u64>,
    call_id: Span,
    /// The addresses of both parties, without scheme and parameters.
    outside: Span,
    inside: Span,
}

impl Note {
    /// Of a message; `inward`: it comes from outside.
    pub(super) fn of(message: &Message<'_>, inward: bool, keyed: &RandomState) -> Self {
        // A request carries its sender's tag in From, a response its asker's.
        let request = matches!(message.start, Start::Request { .. });
        let (outside, inside) = match inward == request {
            true => (&message.from, &message.to),
            false => (&message.to, &message.from),
        };
        let key = match (outside.tag, inside.tag) {
            (Some(outside), Some(inside)) => Some(keyed.hash_one((message.call_id, outside, inside))),
            _ => None,
        };
        let method = message.method();
        let host = outside.uri.host.filter(|_| key.is_some());
        let domain = host.and_then(|host| Domain::canonical(host.as_bytes()).ok());
        let at = |part: &str| span(message.head(), part);
        Self {
            key,
            event: if key.is_some() { event(message) } else { Event::Talk },
            cseq: message.cseq.number,
            ordered: request && !matches!(method, Some(Method::Ack | Method::Cancel)),
            request,
            inward,
            domain: domain.map(|domain| domain_key(keyed, &domain)),
            call_id: at(message.call_id),
            outside: party(&outside.uri, at),
            inside: party(&inside.uri, at),
        }
    }

    /// Whether the message names a dialog.
    pub fn in_dialog(&self) -> bool {
        self.key.is_some()
    }

    /// The message's Call-ID, of its bytes.
    pub fn call_id<'m>(&self, frame: &'m [u8]) -> &'m str {
        text(frame, self.call_id)
    }

    /// Who is outside and who is inside, of the message's bytes: `user@host`, or the whole of an address that has no host.
    pub fn parties<'m>(&self, frame: &'m [u8]) -> (&'m str, &'m str) {
        (text(frame, self.outside), text(frame, self.inside))
    }
}

/// What stands for a domain in tables with these keys.
pub(super) fn domain_key(keyed: &RandomState, domain: &Domain) -> u64 {
    keyed.hash_one(domain.as_str())
}

/// Where a part of a head stands in it.
fn span(head: &str, part: &str) -> Span {
    let at = part.as_ptr().addr() - head.as_ptr().addr();
    (at as u32, (at + part.len()) as u32)
}

fn party(uri: &Uri<'_>, at: impl Fn(&str) -> Span) -> Span {
    match (uri.userinfo, uri.host) {
        (Some(user), Some(host)) => (at(user).0, at(host).1),
        (None, Some(host)) => at(host),
        (_, None) => at(uri.text),
    }
}

fn text(frame: &[u8], (from, to): Span) -> &str {
    std::str::from_utf8(frame.get(from as usize..to as usize).unwrap_or_default()).unwrap_or_default()
}

fn event(message: &Message<'_>) -> Event {
    match message.start {
        Start::Request { method: Method::Bye, .. } => Event::Closing,
        Start::Request { method: Method::Notify, .. } => subscription_state(message),
        Start::Request { .. } => Event::Talk,
        Start::Response { status, .. } => match (message.cseq.method, status) {
            ("BYE", 200..) | (_, 481) => Event::Ends,
            ("INVITE", 101..=199) => Event::Early,
            ("INVITE", 300..) => Event::Fails,
            ("SUBSCRIBE", 200..=299) => Event::Subscribes(expires(message)),
            ("INVITE", 200..=299) => Event::Opens(Usage::Call),
            ("REFER", 200..=299) => Event::Opens(Usage::Refer),
            ("NOTIFY", 200..=299) => Event::Opens(Usage::Subscription),
            _ => Event::Talk,
        },
    }
}

/// `Subscription-State: active;expires=n` (RFC 6665 section 8.2.3).
fn subscription_state(message: &Message<'_>) -> Event {
    let Some(value) = message.values(HeaderName::SubscriptionState).next() else { return Event::Talk };
    let mut parts = value.split(';').map(scan::trim);
    if parts.next().is_some_and(|state| state.eq_ignore_ascii_case("terminated")) {
        return Event::Ends;
    }
    let expires = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        scan::trim(name).eq_ignore_ascii_case("expires").then(|| seconds(scan::trim(value)))
    });
    expires.map_or(Event::Talk, Event::Renews)
}

fn expires(message: &Message<'_>) -> u32 {
    message.values(HeaderName::Expires).next().map_or(DEFAULT_EXPIRES as u32, seconds)
}

/// What is believed of a number of seconds; one too long to read is the most there is.
fn seconds(text: &str) -> u32 {
    let most = MAX_EXPIRES as u32;
    scan::number(text, MAX_EXPIRES).and_then(|n| u32::try_from(n).ok()).unwrap_or(most)
}
