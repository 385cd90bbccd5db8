// SPDX-License-Identifier: MIT OR Apache-2.0
//! NAT of the addresses that a message names, as the ASA's `inspect sip` does it.
//!
//! Whoever receives a message writes to the addresses in it, so where NAT changes a host's address on its way out, what the host
//! writes into a message has to change alike, and back again in what returns. [`rewrite`] lists the places:
//!
//! - outward: Via of requests (sent-by, `maddr`, `received` and `rport` of RFC 3581), Contact, Record-Route and Route; in a
//!   description `c=`, `o=`, the ports of `m=` and `a=rtcp`;
//! - inward: Via of responses, Contact, Record-Route, Route, and the Request-URI.
//!
//! A Via is of whoever asked, so it is changed on that one's way only, and comes back as it was sent. A Request-URI that goes
//! out names somebody outside. What an outside description says is the outside's own. From, To and Call-ID pass as they are,
//! unlike on the ASA: they name a party and a dialog, not a place to write to; the verdict was about them, and a Call-ID that
//! differs between the two sides breaks Replaces and Target-Dialog. They should hold names.
//!
//! Only IP literals are looked at, IPv4 and IPv6; names are for DNS. The pair of address and port is looked up together, a port
//! that is not written being the scheme's; [`Mapping`] says what stands for it. Where it says nothing, nothing changes. Whatever goes
//! out comes back to the byte, but for a port that was not written and is shown as another: that one is written afterwards.
//!
//! Pure; worker cores, for messages of which [`concerns`] holds. Scanning allocates nothing; each edit is a short text.

use crate::address::Addresses;
use crate::edit::Edit;
use crate::headers::{Header, HeaderName};
use crate::message::{Message, Start};
use crate::scan::{self, Cursor};
use crate::sdp::{self, Description, Kind, Media, Ports};
use crate::uri::{Scheme, Uri};
use crate::via::{Via, Vias};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What a port is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TCP, TLS and websockets.
    Tcp,
    /// UDP.
    Udp,
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From inside: real addresses become mapped ones.
    Out,
    /// From outside: mapped addresses become real ones.
    In,
}

/// What NAT says. Each answer is `None` where the address is not translated, else of the same family.
pub trait Mapping {
    /// How an inside address and port is shown outside. A translation is made where it takes one.
    fn shown(&mut self, transport: Transport, real: SocketAddr) -> Option<SocketAddr>;

    /// What an address and port that is called from outside really is.
    fn real(&mut self, transport: Transport, shown: SocketAddr) -> Option<SocketAddr>;

    /// The one address that all of a host's ports are shown at, if there is one. Makes no translation.
    fn host(&mut self, real: IpAddr) -> Option<IpAddr>;

    /// How a host's ports for datagrams of media are shown. Translations are made where it takes some.
    fn media(&mut self, real: IpAddr, ports: Ports) -> Option<(IpAddr, Ports)>;
}

/// Whether a message may name an address that [`rewrite`] would ask about: a look at what it holds, without a question.
pub fn concerns(message: &Message<'_>, way: Way) -> bool {
    let request = matches!(message.start, Start::Request { .. });
    let uri = || message.request_uri().and_then(|uri| literal(uri.host?)).is_some();
    way == Way::In && request && uri()
        || way == Way::Out && sdp::is_likely(message)
        || message.headers().any(|header| is_read(header.id, request, way) && header_may(&header))
}

fn header_may(header: &Header<'_>) -> bool {
    match header.id {
        HeaderName::Via => {
            let mut vias = Vias::new(header.value).flatten();
            vias.any(|via| literal(via.host).is_some() || may_hold_literal(via.params))
        }
        _ => may_hold_literal(header.value),
    }
}

/// An IPv4 literal has a dot between two digits, an IPv6 one a bracket or a colon in front of another.
fn may_hold_literal(value: &str) -> bool {
    value.as_bytes().windows(3).any(|w| w[1] == b'.' && w[0].is_ascii_digit() && w[2].is_ascii_digit())
        || value.contains('[')
        || value.contains("::")
}

fn is_read(id: HeaderName, request: bool, way: Way) -> bool {
    match id {
        HeaderName::Via => request == (way == Way::Out),
        HeaderName::Contact | HeaderName::RecordRoute | HeaderName::Route => true,
        _ => false,
    }
}

/// Adds the changes that a message needs.
pub fn rewrite(message: &Message<'_>, way: Way, mapping: &mut impl Mapping, edits: &mut Vec<Edit>) {
    let request = matches!(message.start, Start::Request { .. });
    let mut head = Head { text: message.head(), way, mapping, edits };
    if let Some(uri) = message.request_uri().filter(|_| way == Way::In) {
        head.uri(&uri);
    }
    for header in message.headers().filter(|header| is_read(header.id, request, way)) {
        head.header(&header);
    }
    if way == Way::Out
        && sdp::is_likely(message)
        && let Some(description) = sdp::of(message)
    {
        describe(&description, message.head().len(), mapping, edits);
    }
}

/// The head of a message and what is to be changed in it.
struct Head<'a, 'm, M> {
    text: &'a str,
    way: Way,
    mapping: &'m mut M,
    edits: &'m mut Vec<Edit>,
}

impl<M: Mapping> Head<'_, '_, M> {
    fn header(&mut self, header: &Header<'_>) {
        match header.id {
            HeaderName::Via => Vias::new(header.value).flatten().for_each(|via| self.via(&via)),
            _ => Addresses::new(header.value).flatten().for_each(|address| self.uri(&address.uri)),
        }
    }

    fn uri(&mut self, uri: &Uri<'_>) {
        let (Scheme::Sip | Scheme::Sips, Some(host)) = (uri.scheme, uri.host) else { return };
        let param = |name: &str| {
            let mut params = uri.params.split(';').filter_map(|param| param.split_once('='));
            params.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let transport = param("transport").unwrap_or("tcp");
        let Some(kind) = transport_of(transport) else { return };
        let secured = uri.scheme == Scheme::Sips || is_secured(transport);
        let default = if secured { 5061 } else { 5060 };
        self.place(kind, host, uri.port, default);
        if let Some(maddr) = param("maddr") {
            self.host(kind, maddr, uri.port.unwrap_or(default));
        }
    }

    fn via(&mut self, via: &Via<'_>) {
        let Some(kind) = transport_of(via.transport) else { return };
        let default = if is_secured(via.transport) { 5061 } else { 5060 };
        let port = via.port.unwrap_or(default);
        self.place(kind, via.host, via.port, default);
        let (mut received, mut rport, mut maddr) = (None, None, None);
        Cursor::new(via.params).params(|name, value| {
            let param = match () {
                () if name.eq_ignore_ascii_case("received") => &mut received,
                () if name.eq_ignore_ascii_case("rport") => &mut rport,
                () if name.eq_ignore_ascii_case("maddr") => &mut maddr,
                () => return true,
            };
            *param = value;
            true
        });
        if let Some(maddr) = maddr {
            self.host(kind, maddr, port);
        }
        // Where it was heard from; without `rport` answers go to sent-by's port (RFC 3261 section 18.2.2).
        let Some(received) = received else { return };
        let digits = rport.and_then(|digits| Some((digits, scan::number(digits, u16::MAX.into())? as u16)));
        let heard = digits.map_or(port, |(_, port)| port);
        if let Some(new) = self.host(kind, received, heard)
            && let Some((digits, _)) = digits
            && new != heard
        {
            self.put(digits, new.to_string());
        }
    }

    /// `host [":" port]`.
    fn place(&mut self, transport: Transport, host: &str, port: Option<u16>, default: u16) {
        let asked = port.unwrap_or(default);
        let Some(new) = self.host(transport, host, asked).filter(|new| *new != asked) else { return };
        let behind = self.offset(host) + host.len();
        let rest = &self.text[behind..];
        match port {
            None => self.edits.push(Edit { at: behind..behind, text: format!(":{new}") }),
            Some(_) => {
                let digits = rest.trim_start_matches([' ', '\t', '\r', '\n', ':']);
                let len = digits.bytes().take_while(u8::is_ascii_digit).count();
                self.put(&digits[..len], new.to_string());
            }
        }
    }

    /// Changes a host, if it is an address that is translated; gives the port that goes with it.
    fn host(&mut self, transport: Transport, host: &str, port: u16) -> Option<u16> {
        let asked = SocketAddr::new(literal(host)?, port);
        let new = match self.way {
            Way::Out => self.mapping.shown(transport, asked),
            Way::In => self.mapping.real(transport, asked),
        }?;
        if new.ip() != asked.ip() {
            let text = match new.ip() {
                // `received` may stand without brackets.
                IpAddr::V6(ip) if host.starts_with('[') || asked.is_ipv4() => format!("[{ip}]"),
                ip => ip.to_string(),
            };
            self.put(host, text);
        }
        Some(new.port())
    }

    fn put(&mut self, old: &str, text: String) {
        let at = self.offset(old);
        self.edits.push(Edit { at: at..at + old.len(), text });
    }

    /// Where a part of the head begins.
    fn offset(&self, part: &str) -> usize {
        part.as_ptr().addr() - self.text.as_ptr().addr()
    }
}

fn transport_of(name: &str) -> Option<Transport> {
    let is = |known: &[&str]| known.iter().any(|known| name.eq_ignore_ascii_case(known));
    match () {
        () if is(&["tcp", "tls", "ws", "wss"]) => Some(Transport::Tcp),
        () if is(&["udp"]) => Some(Transport::Udp),
        () => None,
    }
}

fn is_secured(transport: &str) -> bool {
    transport.eq_ignore_ascii_case("tls") || transport.eq_ignore_ascii_case("wss")
}

/// An address as a header writes it: IPv6 in brackets, or without where there is no port.
fn literal(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

/// A description that goes out. The session's `c=` becomes what its first media needs; a media that needs another gets a `c=` of its own.
fn describe(description: &Description, head: usize, mapping: &mut impl Mapping, edits: &mut Vec<Edit>) {
    let mut put = |at: sdp::Span, text: String| edits.push(Edit { at: at.in_message(head), text });
    let line_end = if description.crlf { "\r\n" } else { "\n" };
    let mut session = None;
    let mut first = None;
    for media in description.media() {
        let host = media.connection.or(if media.own_connection { None } else { description.connection });
        let Some(host) = host else { continue };
        let shown = if media.port == 0 { None } else { show(media, host.addr, mapping) };
        let Some((addr, ports)) = shown else {
            if let Some(own) = media.connection
                && let Some(new) = mapping.host(own.addr)
            {
                put(own.at, new.to_string());
            }
            continue;
        };
        first.get_or_insert((host.addr, addr));
        if media.own_connection {
            put(host.at, addr.to_string());
        } else if *session.get_or_insert(addr) != addr {
            put(media.connection_place, format!("c=IN {}{line_end}", with_kind(addr)));
        }
        if ports.media != media.port {
            put(media.port_at, ports.media.to_string());
        }
        match (&media.rtcp, ports.rtcp) {
            (Some(rtcp), Some(port)) => {
                if port != rtcp.port {
                    put(rtcp.at, port.to_string());
                }
                if let Some(own) = rtcp.host.filter(|own| own.addr == host.addr) {
                    put(own.at, addr.to_string());
                }
            }
            // RTCP is looked for at the next port, unless it is said where else.
            (None, Some(port)) if Some(port) != ports.media.checked_add(1) && !media.mux => {
                put(media.end, format!("a=rtcp:{port}{line_end}"));
            }
            (_, _) => {}
        }
    }
    if let Some(host) = description.connection
        && let Some(new) = session.or_else(|| mapping.host(host.addr))
    {
        put(host.at, new.to_string());
    }
    if let Some(host) = description.origin
        && let Some(new) = first
            .filter(|(real, _)| *real == host.addr)
            .map(|(_, new)| new)
            .or_else(|| mapping.host(host.addr))
    {
        put(host.at, new.to_string());
    }
}

fn with_kind(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(addr) => format!("IP4 {addr}"),
        IpAddr::V6(addr) => format!("IP6 {addr}"),
    }
}

/// How a media is shown. Several pairs of ports are not translated: nobody sends such, and each would take its own.
fn show(media: &Media, addr: IpAddr, mapping: &mut impl Mapping) -> Option<(IpAddr, Ports)> {
    if media.several || addr.is_unspecified() {
        return None;
    }
    match media.kind {
        Kind::Rtp | Kind::Udp => mapping.media(addr, media.ports()),
        Kind::Stream => {
            let shown = mapping.shown(Transport::Tcp, SocketAddr::new(addr, media.port))?;
            Some((shown.ip(), Ports { media: shown.port(), rtcp: None }))
        }
    }
}

#[cfg(test)]
mod tests;
