// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the node says: requests and responses, put together from rsip's untyped headers.
//!
//! The first line is written here, since rsip re-writes a URI it has parsed and prints known statuses by their Rust names.
//! What comes from a peer's message (Via, From, To, Call-ID, CSeq, Record-Route) goes into the answer with its folds undone and
//! otherwise as it came: its lines must not be able to become headers of ours.
//!
//! Called by the core; pure.

use fedgate_sip::headers::HeaderName;
use fedgate_sip::message::Message;
use rsip::headers::UntypedHeader as _;
use rsip::{Header, Headers};

use crate::ids::Tag;

/// Methods the node takes.
pub const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, MESSAGE, SUBSCRIBE, NOTIFY, PUBLISH, REGISTER";

/// Events the node is a notifier of.
pub const EVENTS: &str = "presence, presence.winfo";

/// A message in the making.
#[derive(Clone, Debug)]
pub struct Outgoing {
    first: String,
    headers: Headers,
    body: String,
}

impl Outgoing {
    /// A request; the caller adds Via and all else.
    pub fn request(method: &str, uri: &str) -> Self {
        Self { first: format!("{method} {uri} SIP/2.0"), headers: Headers::default(), body: String::new() }
    }

    /// The response to a request: Via, From, To (with our tag where it has none), Call-ID and CSeq as they came.
    pub fn response(request: &Message<'_>, status: u16, tag: Option<Tag>) -> Self {
        let reason = reason_phrase(status);
        let mut out = Self {
            first: format!("SIP/2.0 {status} {reason}"),
            headers: Headers::default(),
            body: String::new(),
        };
        for header in request.headers() {
            let value = unfolded(header.value);
            let header = match header.id {
                HeaderName::Via => rsip::headers::Via::new(value).into(),
                HeaderName::From => rsip::headers::From::new(value).into(),
                HeaderName::To => {
                    let tag = tag.filter(|_| request.to.tag.is_none() && status > 100);
                    rsip::headers::To::new(tag.map_or(value.clone(), |tag| format!("{value};tag={tag}")))
                        .into()
                }
                HeaderName::CallId => rsip::headers::CallId::new(value).into(),
                HeaderName::CSeq => rsip::headers::CSeq::new(value).into(),
                _ => continue,
            };
            out.headers.push(header);
        }
        out
    }

    /// One more header.
    pub fn with(mut self, header: impl Into<Header>) -> Self {
        self.headers.push(header.into());
        self
    }

    /// One more header that rsip has no type for, or whose value came from a peer.
    pub fn other(self, name: &str, value: impl Into<String>) -> Self {
        self.with(Header::Other(name.to_owned(), value.into()))
    }

    /// The Record-Routes of the request, for a response that makes a dialog (RFC 3261 section 12.1.1).
    pub fn record_routes(mut self, request: &Message<'_>) -> Self {
        for value in request.values(HeaderName::RecordRoute) {
            self.headers.push(rsip::headers::RecordRoute::new(unfolded(value)).into());
        }
        self
    }

    /// A body with its type.
    pub fn body(mut self, content_type: &str, body: impl Into<String>) -> Self {
        self.headers.push(rsip::headers::ContentType::new(content_type.to_owned()).into());
        self.body = body.into();
        self
    }

    /// As it goes out, with its Content-Length.
    pub fn bytes(self) -> Vec<u8> {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(512 + self.body.len());
        text.push_str(&self.first);
        text.push_str("\r\n");
        for header in self.headers {
            // Writing to a String cannot fail.
            let _ = write!(text, "{header}\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n", self.body.len());
        text.push_str(&self.body);
        // Answers wait for the disk by the thousand, and a long one has been given twice its length by now.
        if text.capacity() - text.len() > 512 {
            text.shrink_to_fit();
        }
        text.into_bytes()
    }
}

/// A value on one line: each fold is one space (RFC 3261 section 7.3.1).
pub fn unfolded(value: &str) -> String {
    if !value.contains(['\r', '\n']) {
        return value.to_owned();
    }
    value.split(['\r', '\n']).map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// RFC 3261 section 21 and the RFCs of what the node speaks.
fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        200 => "OK",
        202 => "Accepted",
        401 => "Unauthorized",
        408 => "Request Timeout",
        412 => "Conditional Request Failed",
        423 => "Interval Too Brief",
        484 => "Address Incomplete",
        486 => "Busy Here",
        487 => "Request Terminated",
        489 => "Bad Event",
        603 => "Decline",
        606 => "Not Acceptable",
        _ => fedgate_sip::answer::reason_phrase(status),
    }
}
