// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cuts messages out of a byte stream by Content-Length (RFC 3261 section 18.3), and nothing else.
//!
//! Over TLS the Content-Length is the only thing that says where a message ends, so there is exactly one way to read
//! it: one header on one line, digits only, and anything else ends the connection. The line ends are CRLF and a bare CR,
//! LF or NUL is refused, because a server behind us that takes LF for a line end would see other headers than we do.
//!
//! Stream readers of servers find the length by physical lines, before any folding is undone: Kamailio's skips blanks in
//! front of the name, takes `_` for `-`, and believes the first it finds. So every line that one of them could take for
//! a length counts as one here, and what is not the plain header is a fault.
//!
//! The framer remembers how far it has looked: the caller hands it the same unconsumed bytes again with more behind
//! them, and one octet at a time costs no more than all at once. Every decision depends only on octets up to the one
//! that forces it, so the frames are the same however the stream is chunked.
//!
//! One framer a direction of a connection, called by the proxy on worker cores. It holds no bytes; what the caller must
//! be ready to buffer is [`Limits::max_frame`].

use crate::headers::{self, HeaderName};
use crate::scan;

/// Bounds on one message. Sizes in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Start line, without its CRLF.
    pub start_line: usize,
    /// One header with all its folded lines, without the last CRLF.
    pub header_line: usize,
    /// Start line and headers.
    pub head: usize,
    /// Number of headers.
    pub headers: usize,
    /// Number of Via values; [`crate::message::Message::scan_with`] counts them.
    pub vias: usize,
    /// Body.
    pub body: usize,
}

impl Limits {
    /// Wide enough for OCS's Record-Routes, narrow enough to hold 50,000 connections.
    pub const DEFAULT: Self =
        Self { start_line: 8192, header_line: 8192, head: 65536, headers: 200, vias: 70, body: 65536 };

    /// The most octets that can be unconsumed while [`Framer::next`] says [`Frame::Incomplete`].
    pub const fn max_frame(&self) -> usize {
        // The empty line may begin at the head's limit.
        self.head + 2 + self.body
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What stands at the front of the unconsumed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Nothing whole yet. Call again when at least this many octets (in all, unconsumed) are there.
    Incomplete {
        /// Octets, more than were there.
        needed_at_least: usize,
    },
    /// One CRLF between messages (RFC 5626 section 4.4.1: two are a ping). Consume it.
    KeepAlive {
        /// Octets: 2.
        len: usize,
    },
    /// One whole message. Consume both lengths.
    Message {
        /// Octets of start line, headers and the empty line.
        head_len: usize,
        /// Octets of the body.
        body_len: usize,
    },
    /// The stream cannot be framed: answer if [`crate::answer::compose_unread`] can, then close. Final.
    Bad(FrameError),
}

/// Why a stream cannot be framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct FrameError {
    /// What is wrong.
    pub fault: FrameFault,
    /// Octets of whole, well-formed lines in front of the fault: what a best-effort answer may be made from.
    pub lines: usize,
}

/// The kinds of [`FrameError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FrameFault {
    /// [`Limits::start_line`].
    #[error("start line too long")]
    StartLine,
    /// [`Limits::header_line`].
    #[error("header too long")]
    HeaderLine,
    /// [`Limits::head`].
    #[error("headers too long")]
    Head,
    /// [`Limits::headers`].
    #[error("too many headers")]
    Headers,
    /// No Content-Length.
    #[error("no Content-Length")]
    LengthMissing,
    /// A Content-Length that is not a plain number up to 2^31, is folded, or is in disguise: on a fold, or spelt with `_`.
    #[error("malformed Content-Length")]
    LengthBad,
    /// More than one Content-Length, equal or not, in disguise or not.
    #[error("more than one Content-Length")]
    LengthTwice,
    /// Content-Length above [`Limits::body`].
    #[error("body too long")]
    Body,
    /// LF without CR in front.
    #[error("bare LF")]
    BareLf,
    /// CR without LF behind.
    #[error("bare CR")]
    BareCr,
    /// NUL without a backslash in front.
    #[error("NUL")]
    Nul,
    /// The start line is folded.
    #[error("folded start line")]
    Fold,
}

impl FrameFault {
    /// The SIP status it earns, where an answer can be made at all.
    pub fn status(self) -> u16 {
        match self {
            Self::StartLine => 414,
            Self::HeaderLine | Self::Head | Self::Headers => 513,
            Self::Body => 413,
            Self::LengthMissing | Self::LengthBad | Self::LengthTwice => 400,
            Self::BareLf | Self::BareCr | Self::Nul | Self::Fold => 400,
        }
    }

    /// Name of its counter.
    pub fn name(self) -> &'static str {
        match self {
            Self::StartLine | Self::HeaderLine | Self::Head | Self::Headers => "size_limit",
            Self::LengthMissing => "cl_missing",
            Self::LengthBad => "cl_bad",
            Self::LengthTwice => "cl_dup",
            Self::Body => "body_limit",
            Self::BareLf | Self::BareCr | Self::Nul => "ctl_char",
            Self::Fold => "fold_bad",
        }
    }
}

/// The state of one direction of a connection.
#[derive(Clone, Debug)]
pub struct Framer {
    limits: Limits,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Head(Head),
    Body { head_len: usize, body_len: usize },
    Dead(FrameError),
}

/// How far a head has been read.
#[derive(Clone, Debug)]
struct Head {
    /// Everything in front of it has been looked at.
    at: usize,
    /// Start of the physical line `at` is in.
    line: usize,
    /// The line's first octet has been seen, so it is known whether it is a fold.
    opened: bool,
    /// Start of the logical line `at` is in.
    field: usize,
    /// Headers begun.
    fields: usize,
    length: Length,
}

#[derive(Clone, Copy, Debug)]
enum Length {
    Missing,
    Is(usize),
    Fault(FrameFault),
}

impl State {
    const START: Self =
        Self::Head(Head { at: 0, line: 0, opened: true, field: 0, fields: 0, length: Length::Missing });
}

impl Framer {
    /// At the start of a stream.
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: State::START }
    }

    /// The frame at the front of `buffered`: all bytes received and not yet consumed. Between calls `buffered` may only
    /// grow at its end, or lose at its front what a [`Frame::KeepAlive`] or [`Frame::Message`] said.
    pub fn next(&mut self, buffered: &[u8]) -> Frame {
        let frame = match &mut self.state {
            State::Head(head) => head.advance(buffered, &self.limits),
            State::Body { head_len, body_len } => Step::Head { head_len: *head_len, body_len: *body_len },
            State::Dead(error) => Step::Bad(*error),
        };
        match frame {
            Step::More => Frame::Incomplete { needed_at_least: buffered.len() + 1 },
            Step::KeepAlive => {
                self.state = State::START;
                Frame::KeepAlive { len: 2 }
            }
            Step::Head { head_len, body_len } if buffered.len().saturating_sub(head_len) < body_len => {
                self.state = State::Body { head_len, body_len };
                Frame::Incomplete { needed_at_least: head_len + body_len }
            }
            Step::Head { head_len, body_len } => {
                self.state = State::START;
                Frame::Message { head_len, body_len }
            }
            Step::Bad(error) => {
                self.state = State::Dead(error);
                Frame::Bad(error)
            }
        }
    }
}

enum Step {
    More,
    KeepAlive,
    Head { head_len: usize, body_len: usize },
    Bad(FrameError),
}

impl Head {
    fn advance(&mut self, buffered: &[u8], limits: &Limits) -> Step {
        debug_assert!(self.at <= buffered.len(), "bytes not yet consumed were taken away");
        if self.at > buffered.len() {
            return Step::More;
        }
        loop {
            if !self.opened {
                let Some(&first) = buffered.get(self.line) else { return Step::More };
                if let Err(fault) = self.open_line(first, buffered, limits) {
                    return self.bad(fault);
                }
            }
            // `stop` is the first place where the line may not go on, so it is the last place where it may end. No octet
            // behind it is looked at: which fault is found first must not depend on how many octets are there.
            let (line_limit, too_long) = match self.fields {
                0 => (limits.start_line, FrameFault::StartLine),
                _ => (limits.header_line, FrameFault::HeaderLine),
            };
            let (stop, too_long) = match self.field + line_limit {
                stop if stop <= limits.head => (stop, too_long),
                _ => (limits.head, FrameFault::Head),
            };
            if self.at > stop {
                return self.bad(too_long);
            }
            let window = &buffered[self.at..buffered.len().min(stop + 1)];
            let Some(hit) = memchr::memchr3(b'\r', b'\n', 0, window) else {
                if buffered.len() > stop {
                    return self.bad(too_long);
                }
                self.at = buffered.len();
                return Step::More;
            };
            self.at += hit;
            match (buffered[self.at], buffered.get(self.at + 1)) {
                (b'\r', None) => return Step::More,
                (b'\r', Some(b'\n')) if self.at > self.line => self.end_line(buffered),
                (b'\r', Some(b'\n')) if self.line == 0 => return Step::KeepAlive,
                (b'\r', Some(b'\n')) => return self.end(limits),
                (b'\r', Some(_)) => return self.bad(FrameFault::BareCr),
                (b'\n', _) => return self.bad(FrameFault::BareLf),
                // A quoted-pair may hold a NUL; whether this is one, the scanner knows.
                _ if self.at > self.line && buffered[self.at - 1] == b'\\' => self.at += 1,
                _ => return self.bad(FrameFault::Nul),
            }
        }
    }

    /// `first` begins a line that is not the first one: a fold of the field before, the next field, or the end.
    fn open_line(&mut self, first: u8, buffered: &[u8], limits: &Limits) -> Result<(), FrameFault> {
        self.opened = true;
        if matches!(first, b' ' | b'\t') {
            return if self.fields == 0 { Err(FrameFault::Fold) } else { Ok(()) };
        }
        if self.fields > 0 {
            self.close_field(&buffered[self.field..self.line - 2]);
        }
        self.field = self.line;
        // The empty line is counted as a header too: what has left the start line must never count 0.
        self.fields += 1;
        if first != b'\r' && self.fields > limits.headers { Err(FrameFault::Headers) } else { Ok(()) }
    }

    fn end_line(&mut self, buffered: &[u8]) {
        if self.fields > 0 && is_disguised_length(&buffered[self.line..self.at]) {
            self.add_length(None);
        }
        self.at += 2;
        self.line = self.at;
        self.opened = false;
    }

    /// Looks whether a whole header, folds and all, is a Content-Length. Its faults wait for the end of the head, so
    /// that there is something to answer from.
    fn close_field(&mut self, field: &[u8]) {
        if !matches!(field.first().map(u8::to_ascii_lowercase), Some(b'c' | b'l')) {
            return;
        }
        let Some((name_len, value)) = headers::split(field) else { return };
        if HeaderName::of(&field[..name_len]) != HeaderName::ContentLength {
            return;
        }
        // Who reads by physical lines sees only what is on the first one.
        let folded = memchr::memchr(b'\n', field).is_some();
        let value = std::str::from_utf8(&field[value]).ok().filter(|_| !folded);
        let value = value.and_then(|text| scan::number(text, 1 << 31));
        self.add_length(value.and_then(|n| usize::try_from(n).ok()));
    }

    /// One more line that says a length; `None` for one that is malformed.
    fn add_length(&mut self, value: Option<usize>) {
        self.length = match (self.length, value) {
            (Length::Missing, Some(n)) => Length::Is(n),
            (Length::Missing, None) => Length::Fault(FrameFault::LengthBad),
            (Length::Is(_) | Length::Fault(_), _) => Length::Fault(FrameFault::LengthTwice),
        };
    }

    fn end(&mut self, limits: &Limits) -> Step {
        let head_len = self.at + 2;
        self.field = head_len;
        match self.length {
            Length::Missing => self.bad(FrameFault::LengthMissing),
            Length::Fault(fault) => self.bad(fault),
            Length::Is(body_len) if body_len > limits.body => self.bad(FrameFault::Body),
            Length::Is(body_len) => Step::Head { head_len, body_len },
        }
    }

    fn bad(&self, fault: FrameFault) -> Step {
        Step::Bad(FrameError { fault, lines: self.field })
    }
}

/// Whether a physical line that is no plain Content-Length header could be read as one: it stands on a fold, or has `_`
/// for `-`. The plain ones are [`Head::close_field`]'s.
fn is_disguised_length(line: &[u8]) -> bool {
    let text = line.trim_ascii_start();
    let folded = text.len() < line.len();
    if !matches!(text.first(), Some(b'c' | b'C' | b'l' | b'L')) {
        return false;
    }
    let Some(colon) = memchr::memchr(b':', text) else { return false };
    let name = text[..colon].trim_ascii_end();
    name.eq_ignore_ascii_case(b"content_length")
        || (folded && HeaderName::of(name) == HeaderName::ContentLength)
}

#[cfg(test)]
mod tests;
