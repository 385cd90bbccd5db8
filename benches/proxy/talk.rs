// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the generator's hosts say: TLS on any stream, SIP requests from one end and their answers from the other.
//!
//! A caller keeps a number of requests unanswered until it has asked as many as it was told to. The called end answers each
//! request as a user agent would, with the headers that RFC 3261 8.2.6 has it copy, so that a proxy that adds a Via gets it
//! back. Knows nothing of what carries the stream: [`Talker::work`] takes anything that reads and writes without blocking.

use crate::Failure;
use fedgate_sip::frame::{Frame, Framer, Limits};
use rustls::Connection;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers requests, so that no two are of one transaction.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// One end of one connection.
pub struct Talker {
    tls: Connection,
    framer: Framer,
    inbox: Vec<u8>,
    said: Vec<u8>,
    role: Role,
    /// Whole messages that came.
    pub heard: u64,
    /// Their bytes.
    pub heard_bytes: u64,
    /// The other end has closed.
    pub closed: bool,
    hangs_up: bool,
}

enum Role {
    Asks { body: usize, left: u64, window: u64, unanswered: u64 },
    Answers,
}

impl Talker {
    /// An end that asks when it is told to, with bodies of `body` bytes.
    pub fn asking(tls: impl Into<Connection>, body: usize) -> Self {
        Self::new(tls.into(), Role::Asks { body, left: 0, window: 1, unanswered: 0 })
    }

    /// An end that answers.
    pub fn answering(tls: impl Into<Connection>) -> Self {
        Self::new(tls.into(), Role::Answers)
    }

    fn new(mut tls: Connection, role: Role) -> Self {
        tls.set_buffer_limit(None);
        let framer = Framer::new(Limits::DEFAULT);
        let (inbox, said) = (Vec::new(), Vec::new());
        Self { tls, framer, inbox, said, role, heard: 0, heard_bytes: 0, closed: false, hangs_up: false }
    }

    /// Has it ask `more` requests more, `at_once` unanswered at a time.
    pub fn ask(&mut self, more: u64, at_once: u64) {
        if let Role::Asks { left, window, .. } = &mut self.role {
            (*left, *window) = (*left + more, at_once);
        }
    }

    /// All that it was told to ask has been answered.
    pub fn is_content(&self) -> bool {
        match self.role {
            Role::Asks { left, unanswered, .. } => left == 0 && unanswered == 0,
            Role::Answers => true,
        }
    }

    /// Says close_notify with the next [`Self::work`].
    pub fn hang_up(&mut self) {
        self.hangs_up = true;
    }

    /// Everything that can be done now. True when it has said its last.
    pub fn work(&mut self, io: &mut (impl Read + Write)) -> Result<bool, Failure> {
        loop {
            let mut moved = false;
            while !self.closed {
                match self.tls.read_tls(io) {
                    Ok(0) => self.closed = true,
                    Ok(_) => {
                        moved = true;
                        self.closed |= self.tls.process_new_packets()?.peer_has_closed();
                        self.hear()?;
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e.into()),
                }
            }
            if !self.tls.is_handshaking() {
                self.speak()?;
            }
            while self.tls.wants_write() {
                match self.tls.write_tls(io) {
                    Ok(0) => break,
                    Ok(_) => moved = true,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e.into()),
                }
            }
            if !moved {
                return Ok(self.hangs_up && !self.tls.wants_write());
            }
        }
    }

    /// Takes the messages out of what came.
    fn hear(&mut self) -> Result<(), Failure> {
        match self.tls.reader().read_to_end(&mut self.inbox) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e.into()),
        }
        let mut start = 0;
        loop {
            let rest = &self.inbox[start..];
            let len = match self.framer.next(rest) {
                Frame::Incomplete { .. } => break,
                Frame::KeepAlive { len } => len,
                Frame::Message { head_len, body_len } => {
                    self.heard += 1;
                    self.heard_bytes += (head_len + body_len) as u64;
                    match &mut self.role {
                        Role::Asks { unanswered, .. } => {
                            if !rest.starts_with(b"SIP/2.0 200 ") {
                                return Err(String::from_utf8_lossy(&rest[..head_len]).into());
                            }
                            *unanswered = unanswered.saturating_sub(1);
                        }
                        Role::Answers => answer(&rest[..head_len], &mut self.said),
                    }
                    head_len + body_len
                }
                Frame::Bad(error) => return Err(error.to_string().into()),
            };
            start += len;
        }
        self.inbox.drain(..start);
        Ok(())
    }

    fn speak(&mut self) -> Result<(), Failure> {
        if let Role::Asks { body, left, window, unanswered } = &mut self.role {
            while *left > 0 && *unanswered < *window {
                request(*body, &mut self.said)?;
                (*left, *unanswered) = (*left - 1, *unanswered + 1);
            }
        }
        if !self.said.is_empty() {
            self.tls.writer().write_all(&self.said)?;
            self.said.clear();
        }
        if self.hangs_up {
            self.tls.send_close_notify();
        }
        Ok(())
    }
}

/// An instant message as a presence server of the field sends it; its body is text.
fn request(body: usize, into: &mut Vec<u8>) -> io::Result<()> {
    let n = NUMBER.fetch_add(1, Ordering::Relaxed);
    write!(
        into,
        "MESSAGE sip:bob@local.example SIP/2.0\r\n\
         Via: SIP/2.0/TLS edge.foreign.example:5061;branch=z9hG4bK{n:016x}\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:alice@foreign.example>;tag=a{n}\r\n\
         To: <sip:bob@local.example>\r\n\
         Call-ID: {n:x}@edge.foreign.example\r\n\
         CSeq: 1 MESSAGE\r\n\
         Contact: <sip:alice@edge.foreign.example:5061;transport=tls>\r\n\
         User-Agent: bench\r\n\
         Content-Type: text/plain\r\n\
         Content-Length: {body}\r\n\r\n"
    )?;
    into.resize(into.len() + body, b'x');
    Ok(())
}

fn answer(head: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(b"SIP/2.0 200 OK\r\n");
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        if [&b"Via:"[..], b"From:", b"Call-ID:", b"CSeq:"].iter().any(|name| line.starts_with(name)) {
            into.extend_from_slice(line);
        } else if let Some(to) = line.strip_prefix(b"To:") {
            into.extend_from_slice(b"To:");
            into.extend_from_slice(to.trim_ascii_end());
            into.extend_from_slice(b";tag=b\r\n");
        }
    }
    into.extend_from_slice(b"Content-Length: 0\r\n\r\n");
}
