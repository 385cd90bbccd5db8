// SPDX-License-Identifier: MIT OR Apache-2.0
//! Session descriptions (RFC 8866), as far as somebody between two peers needs them: who wants to receive what where.
//!
//! A description is read line by line: `c=` of the session and of each media, `o=`, the port of `m=`, `a=rtcp` (RFC 3605) and
//! `a=rtcp-mux` (RFC 5761), each with the place where it stands so that [`crate::translate`] can change it and nothing else. Hosts that
//! are names are left to their peers. What is no description (it does not begin with `v=`) has nothing here.
//!
//! A message's description is its body, or one part of a multipart body ([`find`]). Bounds: [`MAX_MEDIA`] media; what follows
//! them is counted as [`Description::more`] and not read. Called on worker cores for messages that have a body with a
//! media line in it ([`is_likely`]); borrows, no allocation, no panic.

use crate::headers::HeaderName;
use crate::message::Message;
use crate::scan;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// Media that are read of one description.
pub const MAX_MEDIA: usize = 8;

/// A place in a message's body, octets from the body's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// As a range of the message, whose head has so many octets.
    pub fn in_message(self, head: usize) -> Range<usize> {
        head + self.start as usize..head + self.end as usize
    }
}

/// An address and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// The address.
    pub addr: IpAddr,
    /// Its text.
    pub at: Span,
}

/// The ports of a media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Where it is received.
    pub media: u16,
    /// Where its RTCP is received; none for what has none.
    pub rtcp: Option<u16>,
}

/// What a media line carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RTP over UDP, plain, secured or with feedback.
    Rtp,
    /// Other datagrams (T.38's `udptl`, `udp`).
    Udp,
    /// Something over a stream, SIP itself among it (`m=message 5060 sip null`).
    Stream,
}

/// `a=rtcp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtcp {
    /// The port.
    pub port: u16,
    /// Its digits.
    pub at: Span,
    /// The address, where it names one.
    pub host: Option<Host>,
}

/// One media of a description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Media {
    /// What it carries.
    pub kind: Kind,
    /// Port of `m=`; 0 where the media is refused or over.
    pub port: u16,
    /// The port's digits.
    pub port_at: Span,
    /// More than one pair of ports (`m=video 49170/2`).
    pub several: bool,
    /// Payload types that may be sent there, a bit each.
    pub payloads: u128,
    /// Its own `c=`.
    pub connection: Option<Host>,
    /// It has a `c=` of its own, an address or a name.
    pub own_connection: bool,
    /// `a=rtcp`.
    pub rtcp: Option<Rtcp>,
    /// `a=rtcp-mux`: RTCP comes by RTP's port.
    pub mux: bool,
    /// Where a `c=` line would stand.
    pub connection_place: Span,
    /// Where a further line would stand.
    pub end: Span,
}

/// A description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// The address of `o=`.
    pub origin: Option<Host>,
    /// The session's `c=`.
    pub connection: Option<Host>,
    /// There were more than [`MAX_MEDIA`].
    pub more: bool,
    /// Its lines end with CRLF, as they should; else with LF.
    pub crlf: bool,
    media: [Option<Media>; MAX_MEDIA],
}

impl Description {
    /// Its media, in order.
    pub fn media(&self) -> impl Iterator<Item = &Media> {
        self.media.iter().flatten()
    }

    /// Where a media is received: its own `c=`, else the session's.
    pub fn host_of(&self, media: &Media) -> Option<IpAddr> {
        let session = if media.own_connection { None } else { self.connection };
        media.connection.or(session).map(|host| host.addr)
    }
}

/// Whether a message may have a description that names media: one search, no parsing.
pub fn is_likely(message: &Message<'_>) -> bool {
    !message.body.is_empty()
        && message.present.contains(HeaderName::ContentType)
        && memchr::memmem::find(message.body, b"\nm=").is_some()
}

/// A message's description, if it has one in the clear.
pub fn of(message: &Message<'_>) -> Option<Description> {
    if message.present.contains(HeaderName::ContentEncoding) {
        return None;
    }
    let content = message.values(HeaderName::ContentType).next()?;
    read(message.body, find(message.body, content)?)
}

/// Where the description stands in a body with this Content-Type: all of it, or the first part of that kind (RFC 2046).
pub fn find(body: &[u8], content_type: &str) -> Option<Range<usize>> {
    if is_sdp(content_type) {
        return Some(0..body.len());
    }
    let kind = content_type.get(..10).filter(|kind| kind.eq_ignore_ascii_case("multipart/"))?;
    let boundary = content_type[kind.len()..].split(';').find_map(|param| {
        let (name, value) = param.split_once('=')?;
        let value = scan::trim(value).trim_matches('"');
        (scan::trim(name).eq_ignore_ascii_case("boundary") && !value.is_empty()).then_some(value)
    })?;
    let delimiters =
        || memchr::memmem::find_iter(body, boundary.as_bytes()).filter(|at| is_delimiter(body, *at));
    let parts = delimiters().zip(delimiters().skip(1));
    parts.filter_map(|(from, to)| part(body, from + boundary.len(), to)).next()
}

/// `--boundary` at the beginning of a line; `at` is where the boundary begins.
fn is_delimiter(body: &[u8], at: usize) -> bool {
    at >= 2 && &body[at - 2..at] == b"--" && (at == 2 || body[at - 3] == b'\n')
}

/// The content of a part that is a description; `to` is where the next delimiter's boundary begins.
fn part(body: &[u8], from: usize, to: usize) -> Option<Range<usize>> {
    let text = body.get(from..to)?;
    let head_len = memchr::memmem::find(text, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&text[..head_len]).ok()?;
    let header = |name: &str| {
        head.split("\r\n").find_map(|line| {
            let (found, value) = line.split_once(':')?;
            scan::trim(found).eq_ignore_ascii_case(name).then(|| scan::trim(value))
        })
    };
    // The CRLF and the dashes in front of the next boundary are its own.
    let end = to.checked_sub(2).map(|end| if body[..end].ends_with(b"\r\n") { end - 2 } else { end })?;
    let plain = header("content-transfer-encoding")
        .is_none_or(|how| ["7bit", "8bit", "binary"].iter().any(|plain| how.eq_ignore_ascii_case(plain)));
    let start = from + head_len + 4;
    (is_sdp(header("content-type")?) && plain && start <= end).then_some(start..end)
}

fn is_sdp(content_type: &str) -> bool {
    content_type
        .split(';')
        .next()
        .is_some_and(|kind| scan::trim(kind).eq_ignore_ascii_case("application/sdp"))
}

/// Reads the description that stands in `range` of a body.
fn read(body: &[u8], range: Range<usize>) -> Option<Description> {
    let text = std::str::from_utf8(body.get(range.clone())?).ok()?;
    if !text.starts_with("v=") {
        return None;
    }
    let mut description =
        Description { origin: None, connection: None, more: false, crlf: true, media: [None; MAX_MEDIA] };
    let (mut at, mut count) = (range.start, 0);
    for line in text.split_inclusive('\n') {
        let (start, end) = (at, at + line.len());
        at = end;
        if !line.ends_with('\n') {
            // What has no end may not be whole; a line could not be put in behind it.
            break;
        }
        description.crlf &= line.ends_with("\r\n");
        let line = Line { text: line.trim_end_matches(['\r', '\n']), start, end };
        let Some((kind, _)) = line.text.split_once('=') else { continue };
        if kind == "m" {
            if count == MAX_MEDIA {
                description.more = true;
                break;
            }
            // Without it, what follows could not be told apart.
            description.media[count] = Some(media(&line)?);
            count += 1;
            continue;
        }
        match description.media[..count].last_mut().and_then(Option::as_mut) {
            Some(media) => media.take(kind, &line),
            None => match kind {
                "o" => description.origin = host(&line, line.text.split(' ').skip(3)),
                "c" => description.connection = connection(&line),
                _ => {}
            },
        }
    }
    Some(description)
}

/// One line, without its end, and where it and its end stand in the body.
struct Line<'a> {
    text: &'a str,
    start: usize,
    end: usize,
}

impl Line<'_> {
    fn span(&self, part: &str) -> Span {
        let start = self.start + (part.as_ptr().addr() - self.text.as_ptr().addr());
        Span { start: start as u32, end: (start + part.len()) as u32 }
    }

    fn behind(&self) -> Span {
        Span { start: self.end as u32, end: self.end as u32 }
    }
}

impl Media {
    /// Where it is received: RTCP at the next port, unless it says where else.
    pub fn ports(&self) -> Ports {
        let next = || self.port.checked_add(1);
        let rtcp = match self.kind {
            Kind::Rtp => self.rtcp.map(|rtcp| rtcp.port).or_else(next),
            Kind::Udp | Kind::Stream => None,
        };
        Ports { media: self.port, rtcp }
    }

    fn take(&mut self, kind: &str, line: &Line<'_>) {
        self.end = line.behind();
        match kind {
            "i" => self.connection_place = line.behind(),
            // Several `c=` are layers of multicast; the first says it all.
            "c" if !self.own_connection => {
                (self.connection, self.own_connection) = (connection(line), true);
            }
            "a" if line.text == "a=rtcp-mux" => self.mux = true,
            "a" if self.rtcp.is_none() => {
                let Some(value) = line.text.strip_prefix("a=rtcp:") else { return };
                let mut words = value.split(' ');
                let Some(digits) = words.next() else { return };
                let port = scan::number(digits, u16::MAX.into()).filter(|port| *port != 0);
                self.rtcp = port.map(|port| Rtcp {
                    port: port as u16,
                    at: line.span(digits),
                    host: host(line, words),
                });
            }
            _ => {}
        }
    }
}

/// `m=<media> <port>["/" n] <proto> <fmt> ...`
fn media(line: &Line<'_>) -> Option<Media> {
    let mut words = line.text.split(' ').skip(1);
    let ports = words.next()?;
    let (digits, count) = ports.split_once('/').unwrap_or((ports, "1"));
    let port = scan::number(digits, u16::MAX.into())? as u16;
    let proto = words.next()?;
    let is = |word: &str| proto.split('/').any(|part| part.eq_ignore_ascii_case(word));
    let first = proto.split('/').next()?;
    let kind = match () {
        // RFC 4571: RTP in a stream.
        () if first.eq_ignore_ascii_case("TCP") => Kind::Stream,
        () if is("RTP") => Kind::Rtp,
        () if is("udptl") || is("UDP") => Kind::Udp,
        () => Kind::Stream,
    };
    let payloads = words.filter_map(|format| scan::number(format, 127)).fold(0, |all, n| all | 1 << n);
    Some(Media {
        kind,
        port,
        port_at: line.span(digits),
        several: scan::number(count, u16::MAX.into())? != 1,
        payloads,
        connection: None,
        own_connection: false,
        rtcp: None,
        mux: false,
        connection_place: line.behind(),
        end: line.behind(),
    })
}

/// `c=<nettype> <addrtype> <address>`
fn connection(line: &Line<'_>) -> Option<Host> {
    host(line, line.text.get(2..)?.split(' '))
}

/// `IN IP4 192.0.2.1`, the rest of a line. A group's address, with its `/`, is nobody's.
fn host<'a>(line: &Line<'a>, mut words: impl Iterator<Item = &'a str>) -> Option<Host> {
    if words.next()? != "IN" {
        return None;
    }
    let (kind, text) = (words.next()?, words.next()?);
    let addr = match kind {
        "IP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "IP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    addr.map(|addr| Host { addr, at: line.span(text) })
}

#[cfg(test)]
mod tests;
