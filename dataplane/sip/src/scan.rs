// SPDX-License-Identifier: MIT OR Apache-2.0
//! Character classes of RFC 3261 section 25.1 and a cursor over one header value.
//!
//! One 256-entry table answers every "may this octet stand here" question. The [`Cursor`] walks a header value that
//! is already known to be UTF-8 and cut out of the head as one logical line, so a CR or LF inside it can only be a
//! fold and counts as white space. Tokens are ASCII, and the cursor only ever stops at ASCII octets: slicing by its
//! positions cannot split a character.
//!
//! Called by the parsers of this crate only; hot path, no allocation, no panic.

/// Octet classes; an octet may be in several.
pub(crate) const TOKEN: u8 = 1;
/// `user`: unreserved and user-unreserved.
pub(crate) const USER: u8 = 2;
/// `password`.
pub(crate) const PASSWORD: u8 = 4;
/// `paramchar`.
pub(crate) const PARAM: u8 = 8;
/// `hname`/`hvalue` of a URI's headers part.
pub(crate) const URI_HEADER: u8 = 16;
/// `uric` of an absoluteURI.
pub(crate) const URIC: u8 = 32;
/// Letters, digits, `-`, `.`, `_` and everything above ASCII: what [`crate::domain`] then judges.
pub(crate) const HOST: u8 = 64;
/// `word`, of which a Call-ID is made.
pub(crate) const WORD: u8 = 128;

const CLASS: [u8; 256] = {
    let mut table = [0u8; 256];
    let mut c = 0;
    while c < 256 {
        let b = c as u8;
        if b.is_ascii_alphanumeric() {
            table[c] = TOKEN | USER | PASSWORD | PARAM | URI_HEADER | URIC | HOST | WORD;
        } else if c >= 0x80 {
            table[c] = HOST;
        }
        c += 1;
    }
    // mark = "-" / "_" / "." / "!" / "~" / "*" / "'" / "(" / ")"
    table = mark(table, b"-_.!~*'()", USER | PASSWORD | PARAM | URI_HEADER | URIC);
    table = mark(table, b"-.!%*_+`'~", TOKEN | WORD);
    table = mark(table, b"&=+$,;?/", USER);
    table = mark(table, b"&=+$,", PASSWORD);
    table = mark(table, b"[]/:&+$", PARAM);
    table = mark(table, b"[]/?:+$", URI_HEADER);
    table = mark(table, b";/?:@&=+$,", URIC);
    table = mark(table, b"-._", HOST);
    table = mark(table, b"()<>:\\\"/[]?{}", WORD);
    table
};

const fn mark(mut table: [u8; 256], octets: &[u8], class: u8) -> [u8; 256] {
    let mut i = 0;
    while i < octets.len() {
        table[octets[i] as usize] |= class;
        i += 1;
    }
    table
}

/// Whether `octet` is in `class`.
#[inline]
pub(crate) fn is(octet: u8, class: u8) -> bool {
    CLASS[octet as usize] & class != 0
}

/// Whether all of `text` is in `class`; true for empty text.
#[inline]
pub(crate) fn all(text: &str, class: u8) -> bool {
    text.bytes().all(|b| is(b, class))
}

/// Whether all of `text` is in `class` or a `%` with two hex digits after it (`escaped`).
pub(crate) fn all_escaped(text: &str, class: u8) -> bool {
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        if is(bytes[i], class) {
            i += 1;
        } else if bytes[i] == b'%'
            && matches!(bytes.get(i + 1..i + 3), Some([a, b]) if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
        {
            i += 3;
        } else {
            return false;
        }
    }
    true
}

/// SP, HTAB, and the CR and LF of a fold.
#[inline]
pub(crate) fn is_lws(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

/// `text` without white space and folds at its ends.
#[inline]
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

/// A decimal number of ASCII digits only, leading zeros allowed; `None` if empty, not digits or above `max`.
pub(crate) fn number(text: &str, max: u64) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0u64, |n, b| {
        if !b.is_ascii_digit() {
            return None;
        }
        let n = n.checked_mul(10)?.checked_add(u64::from(b - b'0'))?;
        (n <= max).then_some(n)
    })
}

/// A place in one header value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next octet.
    #[inline]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// What has not been taken.
    #[inline]
    pub(crate) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    /// Takes the next octet if it is `octet`, which must be ASCII.
    #[inline]
    pub(crate) fn eat(&mut self, octet: u8) -> bool {
        debug_assert!(octet.is_ascii());
        let hit = self.peek() == Some(octet);
        self.at += usize::from(hit);
        hit
    }

    /// Takes `octet` with white space on both sides (`SEMI`, `EQUAL`, `SLASH`, `COMMA`, ...); nothing if it is not there.
    pub(crate) fn eat_separator(&mut self, octet: u8) -> bool {
        let before = self.at;
        self.skip_lws();
        if self.eat(octet) {
            self.skip_lws();
            return true;
        }
        self.at = before;
        false
    }

    /// Skips white space and folds; whether there was any.
    pub(crate) fn skip_lws(&mut self) -> bool {
        let before = self.at;
        while self.peek().is_some_and(is_lws) {
            self.at += 1;
        }
        self.at != before
    }

    /// The longest run of `class` from here; `None` if empty. `class` must be one of ASCII octets, or contain all of
    /// those above ASCII (as [`HOST`] does).
    pub(crate) fn run(&mut self, class: u8) -> Option<&'a str> {
        let start = self.at;
        while self.peek().is_some_and(|b| is(b, class)) {
            self.at += 1;
        }
        (self.at > start).then(|| &self.text[start..self.at])
    }

    /// Everything up to the first octet for which `stop` holds, or the end. `stop` must not hold above ASCII.
    pub(crate) fn until(&mut self, stop: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(|b| !stop(b)) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    /// A quoted-string from its opening to its closing quote, both included. Controls may stand in it only behind a
    /// backslash, and CR and LF not even there.
    pub(crate) fn quoted(&mut self) -> Option<&'a str> {
        let start = self.at;
        if !self.eat(b'"') {
            return None;
        }
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(&self.text[start..self.at]);
                }
                b'\\' => {
                    let escaped = *self.text.as_bytes().get(self.at + 1)?;
                    if matches!(escaped, b'\r' | b'\n') || !escaped.is_ascii() {
                        return None;
                    }
                    self.at += 2;
                }
                b if is_lws(b) => self.at += 1,
                b if b.is_ascii_control() => return None,
                _ => self.at += 1,
            }
        }
    }

    /// `generic-param *( SEMI generic-param )` from the SEMI before the first one on; calls `each` with name and value
    /// (quotes kept). False on a malformed parameter or when `each` refuses one. Stops before what is no SEMI.
    pub(crate) fn params(&mut self, mut each: impl FnMut(&'a str, Option<&'a str>) -> bool) -> bool {
        while self.eat_separator(b';') {
            let Some(name) = self.run(TOKEN) else { return false };
            let value = if self.eat_separator(b'=') {
                let value = match self.peek() {
                    Some(b'"') => self.quoted(),
                    Some(b'[') => self.ipv6_reference(),
                    // `received=2001:db8::1` stands without brackets in RFC 3261's own grammar.
                    _ => {
                        let start = self.at;
                        while self.peek().is_some_and(|b| is(b, TOKEN) || b == b':') {
                            self.at += 1;
                        }
                        (self.at > start).then(|| &self.text[start..self.at])
                    }
                };
                let Some(value) = value else { return false };
                Some(value)
            } else {
                None
            };
            if !each(name, value) {
                return false;
            }
        }
        true
    }

    /// `[...]` of hex digits, colons and dots, brackets included.
    pub(crate) fn ipv6_reference(&mut self) -> Option<&'a str> {
        let start = self.at;
        if !self.eat(b'[') {
            return None;
        }
        while self.peek().is_some_and(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.') {
            self.at += 1;
        }
        (self.eat(b']') && self.at - start > 3).then(|| &self.text[start..self.at])
    }

    /// `host [ ":" port ]` with white space around the colon only where `loose` (Via's COLON, not a URI's).
    pub(crate) fn host_port(&mut self, loose: bool) -> Option<(&'a str, Option<u16>)> {
        let host = if self.peek() == Some(b'[') { self.ipv6_reference()? } else { self.run(HOST)? };
        let colon = if loose { self.eat_separator(b':') } else { self.eat(b':') };
        if !colon {
            return Some((host, None));
        }
        let digits = self.until(|b| !b.is_ascii_digit() && b.is_ascii());
        let port = number(digits, u64::from(u16::MAX))?;
        Some((host, u16::try_from(port).ok()))
    }
}

#[cfg(test)]
mod tests;
