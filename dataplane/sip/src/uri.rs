// SPDX-License-Identifier: MIT OR Apache-2.0
//! URIs as far as the border needs them: the scheme, and for those with one, the host.
//!
//! The host of a SIP URI is what stands after its `@`, and a raw `@` may stand in it once only (RFC 3261 section
//! 25.1: neither user, password, parameters nor headers may hold another). Nothing is ever percent-decoded before or
//! after that cut: `sip:user%40permitted.example@evil.example` is a user with a strange name at evil.example.
//! im: and pres: (RFC 3860, RFC 3859) are read as mailboxes; all other schemes are only checked to be URIs at all.
//!
//! The text must be one URI with nothing around it. Hot path; borrows, no allocation.

use crate::scan::{self, Cursor};

/// The scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `im:` (RFC 3860)
    Im,
    /// `pres:` (RFC 3859)
    Pres,
    /// `tel:` (RFC 3966): has no domain.
    Tel,
    /// Anything else: has no domain.
    Other,
}

/// A URI cut into the parts that matter here; all are slices of the text as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The whole URI.
    pub text: &'a str,
    /// Its scheme.
    pub scheme: Scheme,
    /// User and password before the `@`, never decoded.
    pub userinfo: Option<&'a str>,
    /// The host: a name or an IP literal (IPv6 in brackets), not yet canonical. `None` for schemes without one.
    pub host: Option<&'a str>,
    /// The port, if one was written.
    pub port: Option<u16>,
    /// `;name=value...` after the host, with its first semicolon; empty if there are none.
    pub params: &'a str,
    /// What stands after `?`: headers a request to this URI should carry. Never obeyed here.
    pub headers: Option<&'a str>,
}

impl<'a> Uri<'a> {
    /// Reads one URI; `None` if it is not well formed.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let mut letters = scheme.bytes();
        if !letters.next()?.is_ascii_alphabetic()
            || !letters.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        {
            return None;
        }
        let scheme = scheme_of(scheme);
        match scheme {
            Scheme::Sip | Scheme::Sips => sip(text, scheme, rest),
            Scheme::Im | Scheme::Pres => mailbox(text, scheme, rest),
            Scheme::Tel | Scheme::Other => {
                let opaque =
                    Self { text, scheme, userinfo: None, host: None, port: None, params: "", headers: None };
                (!rest.is_empty() && scan::all_escaped(rest, scan::URIC)).then_some(opaque)
            }
        }
    }
}

fn scheme_of(text: &str) -> Scheme {
    const KNOWN: [(&str, Scheme); 5] = [
        ("sip", Scheme::Sip),
        ("sips", Scheme::Sips),
        ("im", Scheme::Im),
        ("pres", Scheme::Pres),
        ("tel", Scheme::Tel),
    ];
    KNOWN
        .iter()
        .find(|(name, _)| text.eq_ignore_ascii_case(name))
        .map_or(Scheme::Other, |&(_, scheme)| scheme)
}

/// `[ userinfo "@" ] hostport uri-parameters [ headers ]`
fn sip<'a>(text: &'a str, scheme: Scheme, rest: &'a str) -> Option<Uri<'a>> {
    let (userinfo, rest) = match rest.split_once('@') {
        None => (None, rest),
        Some((userinfo, rest)) => {
            // A colon cannot stand in a user, so the first one begins the password.
            let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
            if user.is_empty()
                || !scan::all_escaped(user, scan::USER)
                || !scan::all_escaped(password, scan::PASSWORD)
                || memchr::memchr(b'@', rest.as_bytes()).is_some()
            {
                return None;
            }
            (Some(userinfo), rest)
        }
    };
    let (rest, headers) = split_headers(rest)?;
    let (host_port, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
    if !params.split(';').skip(1).all(is_param) {
        return None;
    }
    let (host, port) = whole_host_port(host_port)?;
    Some(Uri { text, scheme, userinfo, host: Some(host), port, params, headers })
}

/// `mailbox [ headers ]`
fn mailbox<'a>(text: &'a str, scheme: Scheme, rest: &'a str) -> Option<Uri<'a>> {
    let (rest, headers) = split_headers(rest)?;
    let (user, host) = rest.split_once('@')?;
    if user.is_empty() || !scan::all_escaped(user, scan::USER) {
        return None;
    }
    let (host, port) = whole_host_port(host)?;
    if port.is_some() {
        return None;
    }
    Some(Uri { text, scheme, userinfo: Some(user), host: Some(host), port, params: "", headers })
}

/// Cuts at the first `?` and checks `hname "=" hvalue *( "&" ... )` behind it.
fn split_headers(rest: &str) -> Option<(&str, Option<&str>)> {
    let Some((before, headers)) = rest.split_once('?') else { return Some((rest, None)) };
    let good = headers.split('&').all(|header| {
        header.split_once('=').is_some_and(|(name, value)| {
            !name.is_empty()
                && scan::all_escaped(name, scan::URI_HEADER)
                && scan::all_escaped(value, scan::URI_HEADER)
        })
    });
    good.then_some((before, Some(headers)))
}

fn is_param(param: &str) -> bool {
    let good = |part: &str| !part.is_empty() && scan::all_escaped(part, scan::PARAM);
    match param.split_once('=') {
        None => good(param),
        Some((name, value)) => good(name) && good(value),
    }
}

fn whole_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let mut cursor = Cursor::new(text);
    let host_port = cursor.host_port(false)?;
    cursor.at_end().then_some(host_port)
}

#[cfg(test)]
mod tests;
