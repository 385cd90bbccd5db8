// SPDX-License-Identifier: MIT OR Apache-2.0
//! Header fields: their names, and the walk over a message's logical lines.
//!
//! A logical line is a header line with the lines folded onto it (RFC 3261 section 7.3.1). [`Lines`] cuts them out of
//! a head by offsets only, so it serves three callers with one notion of where a header begins and ends: the strict
//! scanner, the best-effort reader of [`crate::answer`], and tests. The framer keeps its own incremental cut (it sees
//! the bytes before they are complete) but asks the same [`HeaderName::of`].
//!
//! Names compare without case, and a compact form is the same header as its long form: `f:` beside `From:` is two
//! From headers.
//!
//! Hot path on worker cores; no allocation.

use std::fmt;
use std::ops::Range;

use crate::scan::is_lws;

macro_rules! header_names {
    ($($variant:ident $name:literal $lower:literal $(| $compact:literal)? $($single:ident)?;)+) => {
        /// A header field name this crate knows, or [`HeaderName::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum HeaderName {
            $(#[doc = concat!("`", $name, "`")] $variant,)+
            /// Any other token: passed untouched.
            Other,
        }

        impl HeaderName {
            /// Its long form; `"header"` for [`HeaderName::Other`].
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ Self::Other => "header" }
            }

            fn of_lower(lower: &[u8]) -> Self {
                match lower { $($lower $(| $compact)? => Self::$variant,)+ _ => Self::Other }
            }

            /// Whether a message may carry it once at most.
            pub fn is_single(self) -> bool {
                match self { $(Self::$variant => header_names!(@single $($single)?),)+ Self::Other => false }
            }
        }
    };
    (@single once) => { true };
    (@single) => { false };
}

// The compact forms are IANA's. `once` marks what RFC 3261 section 7.3.1 and the defining RFCs allow one time only.
header_names! {
    Accept "Accept" b"accept";
    AcceptContact "Accept-Contact" b"accept-contact" | b"a";
    Allow "Allow" b"allow";
    AllowEvents "Allow-Events" b"allow-events" | b"u";
    Authorization "Authorization" b"authorization";
    CallId "Call-ID" b"call-id" | b"i" once;
    Contact "Contact" b"contact" | b"m";
    ContentDisposition "Content-Disposition" b"content-disposition" once;
    ContentEncoding "Content-Encoding" b"content-encoding" | b"e";
    ContentLength "Content-Length" b"content-length" | b"l" once;
    ContentType "Content-Type" b"content-type" | b"c" once;
    CSeq "CSeq" b"cseq" once;
    Date "Date" b"date" once;
    Diversion "Diversion" b"diversion";
    Event "Event" b"event" | b"o" once;
    Expires "Expires" b"expires" once;
    From "From" b"from" | b"f" once;
    HistoryInfo "History-Info" b"history-info";
    Identity "Identity" b"identity" | b"y";
    IdentityInfo "Identity-Info" b"identity-info" | b"n";
    Join "Join" b"join" once;
    MaxForwards "Max-Forwards" b"max-forwards" once;
    MimeVersion "MIME-Version" b"mime-version" once;
    MinExpires "Min-Expires" b"min-expires" once;
    MinSe "Min-SE" b"min-se" once;
    Organization "Organization" b"organization" once;
    MsAssertedVerificationLevel "ms-asserted-verification-level" b"ms-asserted-verification-level";
    MsEdgeProxyMessageTrust "ms-edge-proxy-message-trust" b"ms-edge-proxy-message-trust";
    PAssertedIdentity "P-Asserted-Identity" b"p-asserted-identity";
    PAssociatedUri "P-Associated-URI" b"p-associated-uri";
    PPreferredIdentity "P-Preferred-Identity" b"p-preferred-identity";
    PProfileKey "P-Profile-Key" b"p-profile-key";
    PServedUser "P-Served-User" b"p-served-user";
    PUserDatabase "P-User-Database" b"p-user-database";
    Priority "Priority" b"priority" once;
    ProxyAuthorization "Proxy-Authorization" b"proxy-authorization";
    ProxyRequire "Proxy-Require" b"proxy-require";
    RAck "RAck" b"rack" once;
    RecordRoute "Record-Route" b"record-route";
    ReferTo "Refer-To" b"refer-to" | b"r" once;
    ReferredBy "Referred-By" b"referred-by" | b"b" once;
    RejectContact "Reject-Contact" b"reject-contact" | b"j";
    RemotePartyId "Remote-Party-ID" b"remote-party-id";
    Replaces "Replaces" b"replaces" once;
    ReplyTo "Reply-To" b"reply-to" once;
    RequestDisposition "Request-Disposition" b"request-disposition" | b"d";
    Require "Require" b"require";
    RetryAfter "Retry-After" b"retry-after" once;
    Route "Route" b"route";
    RSeq "RSeq" b"rseq" once;
    Server "Server" b"server" once;
    SessionExpires "Session-Expires" b"session-expires" | b"x" once;
    SipEtag "SIP-ETag" b"sip-etag" once;
    SipIfMatch "SIP-If-Match" b"sip-if-match" once;
    Subject "Subject" b"subject" | b"s" once;
    SubscriptionState "Subscription-State" b"subscription-state" once;
    Supported "Supported" b"supported" | b"k";
    TargetDialog "Target-Dialog" b"target-dialog" once;
    Timestamp "Timestamp" b"timestamp" once;
    To "To" b"to" | b"t" once;
    Unsupported "Unsupported" b"unsupported";
    UserAgent "User-Agent" b"user-agent" once;
    Via "Via" b"via" | b"v";
}

/// The longest name in the table; longer ones are [`HeaderName::Other`] without a look.
const LONGEST: usize = 30;

impl HeaderName {
    /// The header with this name, in any case, long or compact. Takes the name as it stands before the colon, without
    /// white space.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        let mut lower = [0u8; LONGEST];
        let Some(lower) = lower.get_mut(..name.len()) else { return Self::Other };
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        Self::of_lower(lower)
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The set of known headers that a message carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderSet(u128);
const _: () = assert!((HeaderName::Other as u8) < 128, "one bit a known name");

impl HeaderSet {
    /// Adds `name`; whether it was there already. [`HeaderName::Other`] is never a member.
    pub(crate) fn insert(&mut self, name: HeaderName) -> bool {
        let had = self.contains(name);
        if name != HeaderName::Other {
            self.0 |= 1 << name as u8;
        }
        had
    }

    /// Whether `name` is in it.
    pub fn contains(self, name: HeaderName) -> bool {
        name != HeaderName::Other && self.0 & (1 << name as u8) != 0
    }

    /// Whether any of `names` is in it.
    pub fn contains_any(self, names: &[HeaderName]) -> bool {
        names.iter().any(|&name| self.contains(name))
    }
}

/// One header of a scanned message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// What it is.
    pub id: HeaderName,
    /// Its name as it came, e.g. `f`.
    pub name: &'a str,
    /// Its value without white space at the ends; folds inside as they came.
    pub value: &'a str,
    /// Where its name begins, octets from the start of the message.
    pub start: usize,
    /// Where `value` begins, octets from the start of the message.
    pub value_start: usize,
    /// Just past the CRLF of its last line, octets from the start of the message.
    pub end: usize,
}

/// Where one logical line lies in a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// What stands before the colon, white space before the colon left out; the whole line where there is no colon.
    pub(crate) name: Range<usize>,
    /// What stands behind the colon, trimmed; `None` without a colon.
    pub(crate) value: Option<Range<usize>>,
    /// Just past the line's CRLF.
    pub(crate) end: usize,
}

/// The logical lines of a head, from `at` (the first header's line) to the empty line, the end of the bytes, or a CR or
/// LF that is not one half of a CRLF. A last line without CRLF is not returned.
#[derive(Clone, Debug)]
pub(crate) struct Lines<'a> {
    head: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(head: &'a [u8], at: usize) -> Self {
        Self { head, at }
    }

    /// Whether the walk ended at the empty line that ends the head, and that is all there is.
    pub(crate) fn ended_well(&self) -> bool {
        self.head.get(self.at..) == Some(b"\r\n")
    }
}

impl Iterator for Lines<'_> {
    type Item = Line;

    #[inline]
    fn next(&mut self) -> Option<Line> {
        let start = self.at;
        let mut end = line_end(self.head, start)?;
        if end == start + 2 {
            return None;
        }
        while matches!(self.head.get(end), Some(b' ' | b'\t')) {
            end = line_end(self.head, end)?;
        }
        self.at = end;
        Some(match split(&self.head[start..end - 2]) {
            None => Line { name: start..end - 2, value: None, end },
            Some((name_len, value)) => Line {
                name: start..start + name_len,
                value: Some(start + value.start..start + value.end),
                end,
            },
        })
    }
}

/// Just past the CRLF that ends the physical line at `start`; `None` if there is no CRLF, or a bare CR or LF before it.
pub(crate) fn line_end(head: &[u8], start: usize) -> Option<usize> {
    let at = start + memchr::memchr2(b'\r', b'\n', head.get(start..)?)?;
    (head.get(at..at + 2)? == b"\r\n").then_some(at + 2)
}

/// Cuts a logical line at its first colon: octets of the name in front of it, place of the trimmed value behind it.
#[inline]
pub(crate) fn split(line: &[u8]) -> Option<(usize, Range<usize>)> {
    let colon = memchr::memchr(b':', line)?;
    let used =
        |text: &[u8], space: fn(u8) -> bool| text.iter().rposition(|&b| !space(b)).map_or(0, |last| last + 1);
    let name_len = used(&line[..colon], |b| matches!(b, b' ' | b'\t'));
    let end = colon + 1 + used(&line[colon + 1..], is_lws);
    let start = colon + 1 + line[colon + 1..end].iter().take_while(|&&b| is_lws(b)).count();
    Some((name_len, start..end))
}

#[cfg(test)]
mod tests;
