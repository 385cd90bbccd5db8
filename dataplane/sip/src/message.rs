// SPDX-License-Identifier: MIT OR Apache-2.0
//! The strict scanner: one framed message in, borrowed parts out, nothing copied.
//!
//! Strict where a second reader could disagree: line ends, header names, single-value headers, the addresses that decide
//! (Request-URI, From, To, Contact), Via, CSeq, numbers. Everything else is checked to be UTF-8 text without controls and
//! passed untouched, known or not; so are bodies, which are opaque octets here.
//!
//! Order of the checks: version, then grammar, then what needs a well-formed message (scheme, Max-Forwards), as RFC 3261
//! section 16.3 has it. Responses are scanned the same; a bad one is dropped, never answered.
//!
//! Called once for each message on worker cores; no allocation. The head is walked once; [`Message::headers`] walks
//! it again for those who need more than the fields here. Policy is not decided here: unknown methods, extensions and bodies
//! pass the scanner.

use crate::address::{Address, Addresses};
pub use crate::fault::{ScanError, ScanFault};
use crate::frame::Limits;
use crate::headers::{self, Header, HeaderName, HeaderSet, Lines};
pub use crate::method::Method;
use crate::scan::{self, Cursor};
use crate::uri::{Scheme, Uri};
use crate::via::{Via, Vias};

/// Longest method taken, octets. The registry's longest has 9.
const MAX_METHOD: usize = 128;

/// No SIP method: a server that speaks MSRP (RFC 4975) on the same port reads what follows as an MSRP frame, whose end
/// is a line of `-------`, and not the Content-Length. For the same reason no header's name may begin with `-`.
const OTHER_FRAMING: &str = "MSRP";

/// Nor does any begin so: one that takes captured traffic (HEP version 3) on the same port reads the two octets behind it as the length of a frame.
const CAPTURE: &str = "HEP3";

/// The first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// `Method SP Request-URI SP SIP-Version`
    Request {
        /// The method.
        method: Method,
        /// Its text as it came.
        name: &'a str,
        /// The Request-URI; its scheme has a SIP domain.
        uri: Uri<'a>,
    },
    /// `SIP-Version SP Status-Code SP Reason-Phrase`
    Response {
        /// 100 to 699.
        status: u16,
        /// May be empty.
        reason: &'a str,
    },
}

/// The CSeq header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// Below 2^31.
    pub number: u32,
    /// The method as text.
    pub method: &'a str,
}

/// One well-formed message, borrowed from the frame it was scanned from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The first line.
    pub start: Start<'a>,
    /// The From header.
    pub from: Address<'a>,
    /// The To header.
    pub to: Address<'a>,
    /// The Call-ID header.
    pub call_id: &'a str,
    /// The CSeq header.
    pub cseq: CSeq<'a>,
    /// The Max-Forwards header; RFC 2543 peers send none.
    pub max_forwards: Option<u8>,
    /// The topmost Via.
    pub top_via: Via<'a>,
    /// Number of Via values.
    pub vias: usize,
    /// Which known headers there are.
    pub present: HeaderSet,
    /// The body.
    pub body: &'a [u8],
    head: &'a str,
    first_header: usize,
}

impl<'a> Message<'a> {
    /// Scans exactly one message, as [`crate::frame::Framer`] cut it, with the default limits.
    pub fn scan(frame: &'a [u8]) -> Result<Self, ScanError> {
        Self::scan_with(frame, &Limits::DEFAULT)
    }

    /// Scans exactly one message. Of `limits`, the numbers of headers and Vias are used.
    pub fn scan_with(frame: &'a [u8], limits: &Limits) -> Result<Self, ScanError> {
        scan_message(frame, limits).map_err(|kind| ScanError { kind, answerable: is_answerable(frame) })
    }

    /// The method; `None` for a response.
    pub fn method(&self) -> Option<Method> {
        match self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The method's text as it came; `None` for a response.
    pub fn method_name(&self) -> Option<&'a str> {
        match self.start {
            Start::Request { name, .. } => Some(name),
            Start::Response { .. } => None,
        }
    }

    /// The Request-URI; `None` for a response.
    pub fn request_uri(&self) -> Option<Uri<'a>> {
        match self.start {
            Start::Request { uri, .. } => Some(uri),
            Start::Response { .. } => None,
        }
    }

    /// Whether it is a request that a dialog exists for, by its To tag (RFC 3261 section 12.2). True for all final
    /// responses too.
    pub fn has_to_tag(&self) -> bool {
        self.to.tag.is_some()
    }

    /// Whether it may ever be answered: a request other than ACK.
    pub fn is_answerable(&self) -> bool {
        !matches!(self.method(), None | Some(Method::Ack))
    }

    /// Start line, headers and the empty line, as they came.
    pub fn head(&self) -> &'a str {
        self.head
    }

    /// All headers in order.
    pub fn headers(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let head = self.head;
        Lines::new(head.as_bytes(), self.first_header).filter_map(move |line| {
            let value = line.value?;
            let name = &head[line.name.clone()];
            Some(Header {
                id: HeaderName::of(name.as_bytes()),
                name,
                value: &head[value.clone()],
                start: line.name.start,
                value_start: value.start,
                end: line.end,
            })
        })
    }

    /// The values of all headers of one name, in order; does not cut lists.
    pub fn values(&self, id: HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
        let walk = self.present.contains(id).then(|| self.headers());
        walk.into_iter().flatten().filter(move |header| header.id == id).map(|header| header.value)
    }

    /// The tokens of all headers of one name that holds a list of tokens (Require, Proxy-Require, Supported, Allow).
    /// What is no token is left out.
    pub fn tokens(&self, id: HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
        self.values(id)
            .flat_map(|value| value.split(','))
            .map(scan::trim)
            .filter(|token| !token.is_empty() && scan::all(token, scan::TOKEN))
    }
}

/// What the walk over the headers gathers.
#[derive(Default)]
struct Fields<'a> {
    present: HeaderSet,
    from: Option<Address<'a>>,
    to: Option<Address<'a>>,
    call_id: Option<&'a str>,
    cseq: Option<CSeq<'a>>,
    max_forwards: Option<u8>,
    length: Option<usize>,
    top_via: Option<Via<'a>>,
    vias: usize,
    unroutable: bool,
}

fn scan_message<'a>(frame: &'a [u8], limits: &Limits) -> Result<Message<'a>, ScanFault> {
    let head_len = memchr::memmem::find(frame, b"\r\n\r\n").ok_or(ScanFault::LineEnd)? + 4;
    let (head, body) = frame.split_at(head_len);
    let first_header = headers::line_end(head, 0).ok_or(ScanFault::LineEnd)?;
    let head = std::str::from_utf8(head).map_err(|_| ScanFault::Utf8)?;
    let start = scan_start(&head[..first_header - 2])?;
    let fields = scan_headers(head, first_header, limits)?;

    // Content-Length comes first: without it, even a complete message says nothing about where it ends.
    let length = fields.length.ok_or(ScanFault::Missing(HeaderName::ContentLength))?;
    if length != body.len() {
        return Err(ScanFault::BodyLength);
    }
    let message = Message {
        start,
        from: fields.from.ok_or(ScanFault::Missing(HeaderName::From))?,
        to: fields.to.ok_or(ScanFault::Missing(HeaderName::To))?,
        call_id: fields.call_id.ok_or(ScanFault::Missing(HeaderName::CallId))?,
        cseq: fields.cseq.ok_or(ScanFault::Missing(HeaderName::CSeq))?,
        max_forwards: fields.max_forwards,
        top_via: fields.top_via.ok_or(ScanFault::Missing(HeaderName::Via))?,
        vias: fields.vias,
        present: fields.present,
        body,
        head,
        first_header,
    };
    match start {
        Start::Request { name, .. } if message.cseq.method != name => Err(ScanFault::CSeqMethod),
        Start::Request { uri, .. } if matches!(uri.scheme, Scheme::Tel | Scheme::Other) => {
            Err(ScanFault::UriScheme)
        }
        Start::Request { .. } if message.max_forwards == Some(0) => Err(ScanFault::TooManyHops),
        Start::Response { .. } if fields.unroutable => Err(ScanFault::UnroutableVia),
        Start::Request { .. } | Start::Response { .. } => Ok(message),
    }
}

fn scan_start(line: &str) -> Result<Start<'_>, ScanFault> {
    if line.bytes().any(|b| b.is_ascii_control()) {
        return Err(ScanFault::Control);
    }
    let (first, rest) = line.split_once(' ').ok_or(ScanFault::StartLine)?;
    if is_version(first) {
        check_version(first)?;
        let (status, reason) = rest.split_once(' ').ok_or(ScanFault::StartLine)?;
        let code = scan::number(status, 699).filter(|&code| code >= 100 && status.len() == 3);
        let status = code.and_then(|code| u16::try_from(code).ok()).ok_or(ScanFault::StatusCode)?;
        return Ok(Start::Response { status, reason });
    }
    let is_token = !first.is_empty() && first.len() <= MAX_METHOD && scan::all(first, scan::TOKEN);
    if !is_token || first.eq_ignore_ascii_case(OTHER_FRAMING) || first.starts_with(CAPTURE) {
        return Err(ScanFault::Method);
    }
    let (uri, version) = rest.split_once(' ').ok_or(ScanFault::StartLine)?;
    // A URI holds no space, so whatever follows the second one has to be the version and nothing else.
    if !is_version(version) {
        return Err(ScanFault::StartLine);
    }
    check_version(version)?;
    let uri = Uri::parse(uri).filter(|uri| uri.headers.is_none()).ok_or(ScanFault::RequestUri)?;
    Ok(Start::Request { method: Method::of(first), name: first, uri })
}

/// `"SIP" "/" 1*DIGIT "." 1*DIGIT`, in any case (RFC 3261 section 7.1).
fn is_version(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    text.split_once('/').is_some_and(|(name, version)| {
        name.eq_ignore_ascii_case("SIP")
            && version.split_once('.').is_some_and(|(a, b)| digits(a) && digits(b))
    })
}

fn check_version(version: &str) -> Result<(), ScanFault> {
    if version.eq_ignore_ascii_case("SIP/2.0") { Ok(()) } else { Err(ScanFault::Version) }
}

fn scan_headers<'a>(head: &'a str, first_header: usize, limits: &Limits) -> Result<Fields<'a>, ScanFault> {
    let bytes = head.as_bytes();
    if matches!(bytes[first_header], b' ' | b'\t') {
        return Err(ScanFault::Fold);
    }
    let any_control = has_control(bytes);
    let mut fields = Fields::default();
    let mut lines = Lines::new(bytes, first_header);
    let mut count = 0;
    for line in &mut lines {
        count += 1;
        if count > limits.headers {
            return Err(ScanFault::TooManyHeaders);
        }
        let (Some(value), name) = (line.value, &head[line.name]) else { return Err(ScanFault::HeaderName) };
        if name.is_empty() || name.starts_with('-') || !scan::all(name, scan::TOKEN) {
            return Err(ScanFault::HeaderName);
        }
        let value = &head[value];
        if any_control && !controls_are_quoted(value) {
            return Err(ScanFault::Control);
        }
        let id = HeaderName::of(name.as_bytes());
        if fields.present.insert(id) && id.is_single() {
            return Err(ScanFault::Duplicate(id));
        }
        fields.take(id, value, limits)?;
    }
    if lines.ended_well() { Ok(fields) } else { Err(ScanFault::LineEnd) }
}

impl<'a> Fields<'a> {
    fn take(&mut self, id: HeaderName, value: &'a str, limits: &Limits) -> Result<(), ScanFault> {
        let malformed = ScanFault::Malformed(id);
        match id {
            HeaderName::From => self.from = Some(lone_address(value).ok_or(malformed)?),
            HeaderName::To => self.to = Some(lone_address(value).ok_or(malformed)?),
            HeaderName::CallId => self.call_id = Some(call_id(value).ok_or(malformed)?),
            HeaderName::CSeq => self.cseq = Some(cseq(value).ok_or(malformed)?),
            HeaderName::MaxForwards => {
                let hops = scan::number(value, 255).and_then(|n| u8::try_from(n).ok());
                self.max_forwards = Some(hops.ok_or(malformed)?);
            }
            HeaderName::ContentLength => {
                let length = scan::number(value, 1 << 31).and_then(|n| usize::try_from(n).ok());
                self.length = Some(length.ok_or(malformed)?);
            }
            HeaderName::Via => {
                for via in Vias::new(value) {
                    let via = via.ok_or(malformed)?;
                    self.vias += 1;
                    if self.vias > limits.vias {
                        return Err(ScanFault::TooManyVias);
                    }
                    self.unroutable |= via.is_unroutable();
                    self.top_via.get_or_insert(via);
                }
            }
            HeaderName::Contact if value != "*" && Addresses::new(value).any(|address| address.is_none()) => {
                return Err(malformed);
            }
            _ => {}
        }
        Ok(())
    }
}

/// From or To: one address, whose URI carries no headers (RFC 3261 section 19.1.1).
fn lone_address(value: &str) -> Option<Address<'_>> {
    Address::parse(value).filter(|address| address.uri.headers.is_none())
}

/// `word [ "@" word ]`
fn call_id(value: &str) -> Option<&str> {
    let (first, second) = value.split_once('@').unwrap_or((value, "x"));
    let word = |text: &str| !text.is_empty() && scan::all(text, scan::WORD);
    (word(first) && word(second)).then_some(value)
}

/// `1*DIGIT LWS Method`, the number below 2^31 (RFC 3261 section 8.1.1.5).
fn cseq(value: &str) -> Option<CSeq<'_>> {
    let mut cursor = Cursor::new(value);
    let digits = cursor.run(scan::TOKEN)?;
    let number = u32::try_from(scan::number(digits, (1 << 31) - 1)?).ok()?;
    if !cursor.skip_lws() {
        return None;
    }
    let method = cursor.run(scan::TOKEN)?;
    cursor.at_end().then_some(CSeq { number, method })
}

/// Whether there is any control but HTAB, CR and LF. One pass without branches, so that the compiler can vectorise it.
fn has_control(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .fold(false, |any, &b| any | ((b < 0x20) & (b != b'\t') & (b != b'\r') & (b != b'\n')) | (b == 0x7f))
}

/// Whether all controls stand behind a backslash inside a quoted string, where RFC 3261 allows them (quoted-pair).
fn controls_are_quoted(value: &str) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for b in value.bytes() {
        if b.is_ascii_control() && !scan::is_lws(b) && !escaped {
            return false;
        }
        if b == b'"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && !escaped && b == b'\\';
    }
    true
}

/// Whether whoever sent these octets waits for an answer to them, as far as the first line tells.
pub(crate) fn is_answerable(frame: &[u8]) -> bool {
    let method = frame.split(|&b| b == b' ').next().unwrap_or_default();
    let response = frame.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"));
    !response
        && method != b"ACK"
        && std::str::from_utf8(method).is_ok_and(|m| !m.is_empty() && scan::all(m, scan::TOKEN))
}

#[cfg(test)]
mod tests;
