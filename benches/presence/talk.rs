// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIP as the generator speaks it: as little as does, since its CPU must not be what is measured.
//!
//! Headers are looked for by their long names, as the node and Kamailio write them.

use crate::Failure;
use std::io::Write as _;

/// A message of the server.
pub struct Heard<'a> {
    head: &'a str,
    /// Its body.
    pub body: &'a str,
}

impl<'a> Heard<'a> {
    /// What a frame says.
    pub fn of(frame: &'a [u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(frame)?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or("a message without an end")?;
        Ok(Self { head, body })
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        self.head.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The method of a request, or of what a response answers.
    pub fn method(&self) -> &'a str {
        if self.head.starts_with("SIP/2.0 ") {
            self.header("CSeq").split(' ').next_back().unwrap_or_default()
        } else {
            self.head.split(' ').next().unwrap_or_default()
        }
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> &'a str {
        self.lines(name).next().unwrap_or_default()
    }

    fn lines<'b>(&self, name: &'b str) -> impl Iterator<Item = &'a str> + use<'a, 'b> {
        self.head
            .split("\r\n")
            .filter_map(move |line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    }

    /// Answers it by 200.
    pub fn answer(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"SIP/2.0 200 OK\r\n");
        for line in self.head.split("\r\n") {
            if ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name)) {
                out.extend_from_slice(line.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    }

    /// Why it is not what was awaited.
    pub fn unexpected(&self) -> Failure {
        format!("unexpected: {}", self.head).into()
    }
}

/// A request; `from` and `to` are whole header values, and `id` is in Call-ID and branch.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    pub uri: &'a str,
    pub from: &'a str,
    pub to: &'a str,
    pub id: &'a str,
    pub number: u32,
    pub extra: &'a str,
    pub body: &'a str,
}

impl Request<'_> {
    /// Writes it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self { method, uri, from, to, id, number, extra, body } = self;
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TCP bench.foreign.example;branch=z9hG4bK{id}-{number}\r\nFrom: {from}\r\nTo: {to}\r\n\
             Call-ID: {id}\r\nCSeq: {number} {method}\r\nMax-Forwards: 70\r\n{extra}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
    }
}

/// What a device publishes, as Office Communicator's edge and Kamailio's clients write it.
pub fn pidf(user: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:{user}\"><tuple id=\"t\"><status>\
         <basic>open</basic></status></tuple><dm:person xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" id=\"p\"><rpid:activities \
         xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\"><rpid:away/></rpid:activities></dm:person></presence>\r\n"
    )
}
