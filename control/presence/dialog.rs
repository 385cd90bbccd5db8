// SPDX-License-Identifier: MIT OR Apache-2.0
//! Dialogs (RFC 3261 section 12): what both ends must remember to talk to each other again.
//!
//! Names of the two ends and the route set are kept as the peer wrote them: some peers sign their routes, and put parameters (`epid`)
//! beside the tags that they look for later. A dialog is a value without behaviour in time; who holds it (a subscription, a session)
//! decides when it ends. It is stored as JSON with its subscription.
//!
//! The local tag names the dialog within the node; Call-ID and remote tag must agree with it ([`Dialog::check`]).
//!
//! Bounds: [`MAX_ROUTES`] route values, [`MAX_TEXT`] octets of all text. Pure; owned by the core.

use fedgate_sip::address::Address;
use fedgate_sip::headers::HeaderName;
use fedgate_sip::message::Message;
use fedgate_sip::uri::Uri;
use rsip::headers::UntypedHeader as _;
use serde::{Deserialize, Serialize};

use crate::ids::Tag;
use crate::message::compose::{Outgoing, unfolded};
use crate::message::{inner_uri, parts};
use crate::transport::ConnId;

/// Values of a route set.
const MAX_ROUTES: usize = 16;
/// Octets of what a peer makes us remember of a dialog.
const MAX_TEXT: usize = 8192;
/// A restarted node counts on from here behind the stored number: what it said after the last write is below.
const CSEQ_GAP: u32 = 100_000;

/// Why no dialog can be made of a message, or a message is not one of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialogError {
    /// No Contact, or one that is no SIP URI.
    #[error("no usable Contact")]
    Contact,
    /// A Record-Route that is none.
    #[error("malformed Record-Route")]
    Route,
    /// More than the bounds.
    #[error("the dialog is too large")]
    Large,
    /// Call-ID or remote tag are not the dialog's.
    #[error("no such dialog")]
    Unknown,
    /// CSeq below one that came before.
    #[error("CSeq out of order")]
    Order,
}

impl DialogError {
    /// The status a request earns by it.
    pub fn status(self) -> u16 {
        match self {
            Self::Contact | Self::Route => 400,
            Self::Large => 513,
            Self::Unknown => 481,
            Self::Order => 500,
        }
    }
}

/// One dialog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dialog {
    /// Our tag.
    pub tag: Tag,
    /// Its Call-ID.
    pub call_id: Box<str>,
    /// Our name as the peer knows it, without the tag.
    local: Box<str>,
    /// The peer's name, with its tag and what stands beside it.
    remote: Box<str>,
    remote_tag: Box<str>,
    /// The peer's Contact: where requests go in the end.
    target: Box<str>,
    route: Vec<Box<str>>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    /// The connection the peer last used; it does not outlive the process.
    #[serde(skip)]
    pub conn: Option<ConnId>,
}

impl Dialog {
    /// The one that a request makes (12.1.1); its answer carries `tag`.
    pub fn of_request(request: &Message<'_>, tag: Tag, conn: ConnId) -> Result<Self, DialogError> {
        let dialog = Self {
            tag,
            call_id: request.call_id.into(),
            local: value(request, HeaderName::To),
            remote: value(request, HeaderName::From),
            remote_tag: request.from.tag.unwrap_or_default().into(),
            target: contact(request).ok_or(DialogError::Contact)?,
            route: routes(request, false)?,
            local_cseq: 0,
            remote_cseq: Some(request.cseq.number),
            conn: Some(conn),
        };
        dialog.bounded()
    }

    /// The beginning of one of ours: before the peer has answered, it has no tag of theirs, and its target is whom it is to.
    pub fn outgoing(tag: Tag, call_id: String, local: &str, remote: &str) -> Self {
        Self {
            tag,
            call_id: call_id.into(),
            local: format!("<{local}>").into(),
            remote: format!("<{remote}>").into(),
            remote_tag: "".into(),
            target: remote.into(),
            route: Vec::new(),
            local_cseq: 0,
            remote_cseq: None,
            conn: None,
        }
    }

    /// The peer's answer that makes it, or the NOTIFY that comes before the answer (RFC 6665 section 4.4.1).
    pub fn establish(&mut self, message: &Message<'_>, conn: ConnId) -> Result<(), DialogError> {
        let (name, address, reversed) = match message.method() {
            None => (HeaderName::To, &message.to, true),
            Some(_) => (HeaderName::From, &message.from, false),
        };
        let tag = address.tag.ok_or(DialogError::Unknown)?;
        let mut made = self.clone();
        made.remote_tag = tag.into();
        made.remote = value(message, name);
        made.target = contact(message).ok_or(DialogError::Contact)?;
        made.route = routes(message, reversed)?;
        made.conn = Some(conn);
        *self = made.bounded()?;
        Ok(())
    }

    /// Octets of all its text.
    pub fn octets(&self) -> usize {
        let text = self.call_id.len() + self.local.len() + self.remote.len() + self.target.len();
        text + self.route.iter().map(|route| route.len()).sum::<usize>()
    }

    fn bounded(self) -> Result<Self, DialogError> {
        if self.route.len() > MAX_ROUTES || self.octets() > MAX_TEXT {
            Err(DialogError::Large)
        } else {
            Ok(self)
        }
    }

    /// Whether the peer has answered.
    pub fn is_established(&self) -> bool {
        !self.remote_tag.is_empty()
    }

    /// Whether a request is the peer's in this dialog, and in order; takes its number and, where it has one, its new target
    /// (12.2.2). ACK and CANCEL bear the number of what they are about.
    pub fn check(&mut self, request: &Message<'_>, conn: ConnId, refreshes: bool) -> Result<(), DialogError> {
        if !self.knows(request) {
            return Err(DialogError::Unknown);
        }
        if self.remote_cseq.is_some_and(|last| request.cseq.number < last) {
            return Err(DialogError::Order);
        }
        self.remote_cseq = Some(request.cseq.number);
        self.conn = Some(conn);
        if refreshes && request.present.contains(HeaderName::Contact) {
            let target = contact(request).ok_or(DialogError::Contact)?;
            if target.len() > MAX_TEXT / 2 {
                return Err(DialogError::Large);
            }
            self.target = target;
        }
        Ok(())
    }

    /// Whether a request bears the dialog's Call-ID and the peer's tag. As long as the peer has said nothing there is no such tag, and
    /// a request without one is not the peer's either.
    pub fn knows(&self, request: &Message<'_>) -> bool {
        let is_begun = self.is_established() || self.remote_cseq.is_some();
        is_begun
            && request.call_id == &*self.call_id
            && request.from.tag.unwrap_or_default() == &*self.remote_tag
    }

    /// Whether a number has been seen before (the request is the one that was last).
    pub fn is_repeat(&self, request: &Message<'_>) -> bool {
        self.remote_cseq == Some(request.cseq.number)
    }

    /// The tag of the peer; empty before it has answered.
    pub fn remote_tag(&self) -> &str {
        &self.remote_tag
    }

    /// The number of our last request.
    pub fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// After a restart: nothing said since the last write may be said again with the same number.
    pub fn resume(&mut self) {
        self.local_cseq = self.local_cseq.saturating_add(CSEQ_GAP);
    }

    /// The URI that the next request is sent to: the first route, or the target.
    pub fn next_hop(&self) -> &str {
        self.route.first().map_or(&self.target, |route| inner_uri(route))
    }

    /// A request in the dialog (12.2.1.1), with Via, Max-Forwards and the next number; ACK takes the number of its INVITE.
    pub fn request(&mut self, method: &str, via: String) -> Outgoing {
        if method != "ACK" {
            self.local_cseq = self.local_cseq.saturating_add(1);
        }
        let first = self.route.first().map(|route| inner_uri(route));
        let is_loose = first.and_then(Uri::parse).is_none_or(|uri| has_lr(uri.params));
        let (uri, routes): (&str, Vec<String>) = match first {
            Some(first) if !is_loose => {
                let rest = self.route.iter().skip(1).map(|route| route.to_string());
                (first, rest.chain([format!("<{}>", self.target)]).collect())
            }
            _ => (&self.target, self.route.iter().map(|route| route.to_string()).collect()),
        };
        let mut out = Outgoing::request(method, uri)
            .with(rsip::headers::Via::new(via))
            .with(rsip::headers::MaxForwards::new("70"));
        for route in routes {
            out = out.with(rsip::headers::Route::new(route));
        }
        out.with(rsip::headers::From::new(format!("{};tag={}", self.local, self.tag)))
            .with(rsip::headers::To::new(&*self.remote))
            .with(rsip::headers::CallId::new(&*self.call_id))
            .with(rsip::headers::CSeq::new(format!("{} {method}", self.local_cseq)))
    }
}

fn has_lr(params: &str) -> bool {
    params.split(';').any(|param| {
        let name = param.split('=').next().unwrap_or_default();
        name.eq_ignore_ascii_case("lr")
    })
}

fn value(message: &Message<'_>, name: HeaderName) -> Box<str> {
    message.values(name).next().map(unfolded).unwrap_or_default().into()
}

/// The URI of the first Contact.
fn contact(message: &Message<'_>) -> Option<Box<str>> {
    let value = unfolded(message.values(HeaderName::Contact).next()?);
    let first = parts(&value, b',').next()?;
    Address::parse(first)?.uri.host?;
    let uri = inner_uri(first);
    matches!(Uri::parse(uri)?.scheme, fedgate_sip::uri::Scheme::Sip | fedgate_sip::uri::Scheme::Sips)
        .then(|| uri.into())
}

/// The Record-Routes, each as it was written, in order or (for who sent the request) reversed.
fn routes(message: &Message<'_>, reversed: bool) -> Result<Vec<Box<str>>, DialogError> {
    let mut all: Vec<Box<str>> = Vec::new();
    for header in message.values(HeaderName::RecordRoute) {
        let header = unfolded(header);
        for route in parts(&header, b',') {
            if !route.contains('<') || Uri::parse(inner_uri(route)).and_then(|uri| uri.host).is_none() {
                return Err(DialogError::Route);
            }
            all.push(route.into());
        }
    }
    if reversed {
        all.reverse();
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
