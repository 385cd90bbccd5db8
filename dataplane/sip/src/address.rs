// SPDX-License-Identifier: MIT OR Apache-2.0
//! `name-addr` and `addr-spec`: the values of From, To, Contact and the headers that assert an identity.
//!
//! Only the URI decides anything; the display name is cut away and never looked at for policy. Whatever does not end
//! where the grammar says it ends is refused, so that `<sip:a@ok.example> <sip:b@evil.example>` has no reading at all
//! rather than two. A URI without angle brackets ends at the first `;`, `,`, `?` or white space (RFC 3261 section
//! 20.10), and the last three are errors where one address is expected.
//!
//! Hot path; borrows, no allocation.

use crate::scan::{self, Cursor};
use crate::uri::Uri;

/// One address with its header parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// The display name as written, quotes included; empty if there is none. Never used for policy.
    pub display: &'a str,
    /// The URI.
    pub uri: Uri<'a>,
    /// The `tag` parameter.
    pub tag: Option<&'a str>,
}

impl<'a> Address<'a> {
    /// Reads the value of a header that holds exactly one address (From, To, Referred-By).
    pub fn parse(value: &'a str) -> Option<Self> {
        let mut cursor = Cursor::new(scan::trim(value));
        let address = Self::read(&mut cursor)?;
        cursor.at_end().then_some(address)
    }

    fn read(cursor: &mut Cursor<'a>) -> Option<Self> {
        let (display, uri) = read_uri(cursor)?;
        // A byte order mark is invisible and has no business in a name.
        if display.contains('\u{feff}') {
            return None;
        }
        let mut tag = None;
        let good = cursor.params(|name, value| {
            if !name.eq_ignore_ascii_case("tag") {
                return true;
            }
            let token = value.filter(|v| scan::all(v, scan::TOKEN));
            token.is_some() && tag.replace(token).is_none()
        });
        cursor.skip_lws();
        good.then_some(Self { display, uri, tag: tag.flatten() })
    }
}

/// `[ display-name ] "<" addr-spec ">"`, or an `addr-spec` alone.
fn read_uri<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a str, Uri<'a>)> {
    if let Some(display) = read_display(cursor)? {
        let uri = Uri::parse(cursor.until(|b| b == b'>'))?;
        return cursor.eat(b'>').then_some((display, uri));
    }
    let bare = cursor.until(|b| matches!(b, b';' | b',' | b'?' | b'<' | b'>' | b'"') || scan::is_lws(b));
    if cursor.peek() == Some(b'?') {
        return None;
    }
    Some(("", Uri::parse(bare)?))
}

/// Takes a display name and the `<` behind it. `Some(None)`, with nothing taken, where an addr-spec begins instead.
fn read_display<'a>(cursor: &mut Cursor<'a>) -> Option<Option<&'a str>> {
    if cursor.peek() == Some(b'"') {
        let display = cursor.quoted()?;
        cursor.skip_lws();
        return cursor.eat(b'<').then_some(Some(display));
    }
    let mut ahead = *cursor;
    let display = ahead.until(|b| !scan::is(b, scan::TOKEN) && !scan::is_lws(b) && b.is_ascii());
    if !ahead.eat(b'<') {
        return Some(None);
    }
    if !display.is_ascii() {
        return None;
    }
    *cursor = ahead;
    Some(Some(scan::trim(display)))
}

/// The addresses of one header that may hold a list (Contact, P-Asserted-Identity, Diversion, ...). A malformed one
/// is `None`, once, and ends the list.
pub struct Addresses<'a> {
    cursor: Cursor<'a>,
    done: bool,
}

impl<'a> Addresses<'a> {
    /// Of a header's value.
    pub fn new(value: &'a str) -> Self {
        Self { cursor: Cursor::new(scan::trim(value)), done: false }
    }
}

impl<'a> Iterator for Addresses<'a> {
    type Item = Option<Address<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let address = Address::read(&mut self.cursor);
        let more = self.cursor.eat_separator(b',');
        self.done = address.is_none() || !more;
        Some(if more || self.cursor.at_end() { address } else { None })
    }
}

#[cfg(test)]
mod tests;
