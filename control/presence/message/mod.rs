// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIP messages as the node holds them: read by the border's own strict scanner, composed with rsip's headers.
//!
//! [`Incoming`] keeps a frame and the scanner's view of it in one value, so that an answer can be made from it later
//! byte for byte: Via, Record-Route, tags and what else must come back as it came. What rsip would mis-frame or re-write
//! (route sets that a peer has signed) never passes through its parsers; its types hold what we say ourselves ([`compose`]).
//!
//! Used by the transport (which scans) and the core (which reads). A message lives as long as it has to be answered.

pub mod compose;
pub mod relay;

use fedgate_sip::frame::Limits;
use fedgate_sip::headers::HeaderName;
use fedgate_sip::message::{Message, ScanError};
use self_cell::self_cell;

use crate::transport::ConnId;

self_cell!(
    struct Held {
        owner: Box<[u8]>,
        #[covariant]
        dependent: Message,
    }
);

/// One message and the connection it came on.
pub struct Incoming {
    held: Held,
    /// Where it came from, and where its answer goes.
    pub conn: ConnId,
}

impl Incoming {
    /// Reads one whole frame.
    pub fn scan(frame: Box<[u8]>, conn: ConnId, limits: &Limits) -> Result<Self, ScanError> {
        let held = Held::try_new(frame, |frame| Message::scan_with(frame, limits))?;
        Ok(Self { held, conn })
    }

    /// What it says.
    pub fn msg(&self) -> &Message<'_> {
        self.held.borrow_dependent()
    }

    /// How long it is.
    pub fn octets(&self) -> usize {
        self.held.borrow_owner().len()
    }

    /// The first value of a header.
    pub fn value(&self, name: HeaderName) -> Option<&str> {
        self.msg().values(name).next()
    }

    /// The values of a header this crate's scanner has no name for.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.msg().headers().filter(move |h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value)
    }

    /// A header that is one number. `Err` where there is one that is none.
    pub fn number(&self, name: HeaderName) -> Result<Option<u32>, ()> {
        self.value(name).map(|text| number(text).ok_or(())).transpose()
    }

    /// The media type of the body, lower case, without parameters; empty where there is none.
    pub fn content_type(&self) -> String {
        let value = self.value(HeaderName::ContentType).unwrap_or_default();
        value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.conn, self.msg().head().lines().next().unwrap_or_default())
    }
}

/// `delta-seconds`: digits only; more than fits is the most there is (RFC 3261 section 20.19 has 2^32-1).
pub fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u32::MAX))
}

/// RFC 3261's `token`.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
}

/// The value of a parameter in `;name=value...`, without its quotes; the empty text where it has none.
pub fn param<'a>(params: &'a str, name: &str) -> Option<&'a str> {
    parts(params, b';').find_map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// Cuts at `at`, but not inside quotes or angle brackets; trimmed.
pub fn parts(text: &str, at: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let whole = rest?;
        let (mut quoted, mut escaped, mut angle) = (false, false, false);
        let cut = whole.bytes().position(|b| {
            match b {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'<' if !quoted => angle = true,
                b'>' if !quoted => angle = false,
                _ => return b == at && !quoted && !angle,
            }
            false
        });
        rest = cut.map(|cut| &whole[cut + 1..]);
        Some(whole[..cut.unwrap_or(whole.len())].trim())
    })
}

/// The URI inside an element of a list of addresses, angle brackets taken off; `<` inside a display name in quotes is none.
pub fn inner_uri(element: &str) -> &str {
    let mut quoted = false;
    let mut escaped = false;
    for (i, b) in element.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => {
                let rest = &element[i + 1..];
                return &rest[..rest.find('>').unwrap_or(rest.len())];
            }
            _ => {}
        }
    }
    element.split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
mod tests;
