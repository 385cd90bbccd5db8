// SPDX-License-Identifier: MIT OR Apache-2.0
//! Composes the refusals that the appliance itself sends (RFC 3261 section 8.2.6).
//!
//! All Vias in order, From, To (with our tag if it has none), Call-ID and CSeq are copied octet for octet, only without
//! folds, whose lines could be a Content-Length to some ([`crate::frame`]); the message is put together with rsip's untyped
//! headers, which hold any text as it is. The reason phrase is the caller's, and callers pass [`reason_phrase`]: which check failed is for our own log, not for the peer. The tag comes from
//! the caller too, for randomness is an argument.
//!
//! [`compose_unread`] does what can be done for messages the scanner or the framer refused: if the five headers are
//! there, the sender gets an answer it can match, else nothing.
//!
//! Off the hot path, allocates. What it builds is not longer than the head it answers, and some 200 octets.

use rsip::headers::UntypedHeader as _;
use rsip::{Header, Headers, Response, StatusCode, Version};

use crate::address::Address;
use crate::headers::{HeaderName, Lines, line_end};
use crate::message::{Message, is_answerable};
use crate::scan;

/// A header that a status wants beside the copied ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra<'a> {
    /// For 405: the methods that are allowed.
    Allow(&'a str),
    /// For 415 and 488: the body types that are taken.
    Accept(&'a str),
    /// For 420: the option tags that are not supported. Made from the request where it is not given.
    Unsupported(&'a str),
    /// For 503 and others: seconds.
    RetryAfter(u32),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// A response or an ACK, which nobody answers.
    #[error("not a request that is answered")]
    NotAnswerable,
    /// This header, without which the sender cannot match the answer, could not be read.
    #[error("no {0} to answer to")]
    Missing(HeaderName),
    /// A header that must be copied is not text.
    #[error("{0} is not UTF-8")]
    NotText(HeaderName),
    /// A 405 without [`Extra::Allow`] (RFC 3261 section 21.4.6).
    #[error("405 needs an Allow header")]
    NoAllow,
    /// The status is not 100 to 699, the tag is no token, or a text has a control in it.
    #[error("malformed argument")]
    Argument,
}

/// The answer to a scanned request. A 420 gets its Unsupported from the request.
pub fn compose(message: &Message<'_>, status: u16, reason: &str, tag: &str) -> Result<Vec<u8>, AnswerError> {
    compose_with(message, status, reason, tag, &[])
}

/// The answer to a scanned request, with more headers.
pub fn compose_with(
    message: &Message<'_>,
    status: u16,
    reason: &str,
    tag: &str,
    extras: &[Extra<'_>],
) -> Result<Vec<u8>, AnswerError> {
    if !message.is_answerable() {
        return Err(AnswerError::NotAnswerable);
    }
    let mut answer = Answer::new(status, reason, tag)?;
    for header in message.headers() {
        answer.copy(header.id, header.value);
    }
    if status == 405 && !extras.iter().any(|extra| matches!(extra, Extra::Allow(_))) {
        return Err(AnswerError::NoAllow);
    }
    if status == 420 && !extras.iter().any(|extra| matches!(extra, Extra::Unsupported(_))) {
        let tags: Vec<&str> =
            message.tokens(HeaderName::ProxyRequire).chain(message.tokens(HeaderName::Require)).collect();
        answer.extra(Extra::Unsupported(&tags.join(", ")))?;
    }
    for &extra in extras {
        answer.extra(extra)?;
    }
    answer.finish()
}

/// The best-effort answer to what was refused: a frame the scanner refused, or the whole lines
/// ([`crate::frame::FrameError::lines`]) in front of what the framer could not cut. The first of headers that stand
/// twice is taken.
pub fn compose_unread(lines: &[u8], status: u16, reason: &str, tag: &str) -> Result<Vec<u8>, AnswerError> {
    if !is_answerable(lines) {
        return Err(AnswerError::NotAnswerable);
    }
    let mut answer = Answer::new(status, reason, tag)?;
    let first_header = line_end(lines, 0).ok_or(AnswerError::Missing(HeaderName::Via))?;
    for line in Lines::new(lines, first_header) {
        let Some(value) = line.value else { continue };
        let id = HeaderName::of(&lines[line.name]);
        if is_copied(id) {
            let value = std::str::from_utf8(&lines[value]).map_err(|_| AnswerError::NotText(id))?;
            answer.copy(id, value);
        }
    }
    answer.finish()
}

/// The reason phrase that RFC 3261 section 21 and its kin give a status, e.g. `Forbidden`.
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        488 => "Not Acceptable Here",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        _ => "Refused",
    }
}

fn is_copied(id: HeaderName) -> bool {
    matches!(id, HeaderName::Via | HeaderName::From | HeaderName::To | HeaderName::CallId | HeaderName::CSeq)
}

/// An answer in the making.
struct Answer<'a> {
    status: StatusCode,
    tag: &'a str,
    vias: Vec<Header>,
    from: Option<&'a str>,
    to: Option<&'a str>,
    call_id: Option<&'a str>,
    cseq: Option<&'a str>,
    extras: Vec<Header>,
}

impl<'a> Answer<'a> {
    fn new(status: u16, reason: &str, tag: &'a str) -> Result<Self, AnswerError> {
        let good = (100..=699).contains(&status)
            && !tag.is_empty()
            && scan::all(tag, scan::TOKEN)
            && !reason.chars().any(char::is_control);
        if !good {
            return Err(AnswerError::Argument);
        }
        Ok(Self {
            // rsip prints a known status by its Rust name (`BadRequest`); `Other` prints the reason as given.
            status: StatusCode::Other(status, reason.to_owned()),
            tag,
            vias: Vec::new(),
            from: None,
            to: None,
            call_id: None,
            cseq: None,
            extras: Vec::new(),
        })
    }

    fn copy(&mut self, id: HeaderName, value: &'a str) {
        match id {
            HeaderName::Via => self.vias.push(rsip::headers::Via::new(unfolded(value)).into()),
            HeaderName::From => _ = self.from.get_or_insert(value),
            HeaderName::To => _ = self.to.get_or_insert(value),
            HeaderName::CallId => _ = self.call_id.get_or_insert(value),
            HeaderName::CSeq => _ = self.cseq.get_or_insert(value),
            _ => {}
        }
    }

    fn extra(&mut self, extra: Extra<'_>) -> Result<(), AnswerError> {
        let text = |text: &str| {
            let good = !text.chars().any(char::is_control);
            if good { Ok(text.to_owned()) } else { Err(AnswerError::Argument) }
        };
        self.extras.push(match extra {
            Extra::Allow(methods) => rsip::headers::Allow::new(text(methods)?).into(),
            Extra::Accept(types) => rsip::headers::Accept::new(text(types)?).into(),
            Extra::Unsupported(tags) => rsip::headers::Unsupported::new(text(tags)?).into(),
            Extra::RetryAfter(seconds) => rsip::headers::RetryAfter::new(seconds.to_string()).into(),
        });
        Ok(())
    }

    fn finish(self) -> Result<Vec<u8>, AnswerError> {
        let need = |value: Option<&'a str>, id| value.map(unfolded).ok_or(AnswerError::Missing(id));
        if self.vias.is_empty() {
            return Err(AnswerError::Missing(HeaderName::Via));
        }
        let mut to = need(self.to, HeaderName::To)?;
        if !has_tag(&to) {
            to.push_str(";tag=");
            to.push_str(self.tag);
        }
        let mut headers = Headers::from(self.vias);
        headers.push(rsip::headers::From::new(need(self.from, HeaderName::From)?).into());
        headers.push(rsip::headers::To::new(to).into());
        headers.push(rsip::headers::CallId::new(need(self.call_id, HeaderName::CallId)?).into());
        headers.push(rsip::headers::CSeq::new(need(self.cseq, HeaderName::CSeq)?).into());
        headers.extend(self.extras);
        headers.push(rsip::headers::ContentLength::new("0").into());
        let response = Response { status_code: self.status, version: Version::V2, headers, body: Vec::new() };
        Ok(response.into())
    }
}

/// A value on one line. The blank that makes a line a fold stays (RFC 3261 section 7.3.1).
fn unfolded(value: &str) -> String {
    value.replace("\r\n", "")
}

/// Whether a To value has a tag; for one that cannot be read, whether it looks like it.
fn has_tag(to: &str) -> bool {
    match Address::parse(to) {
        Some(address) => address.tag.is_some(),
        None => to.to_ascii_lowercase().contains(";tag="),
    }
}

#[cfg(test)]
mod tests;
