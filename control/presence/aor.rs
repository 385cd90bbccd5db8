// SPDX-License-Identifier: MIT OR Apache-2.0
//! Addresses of record: who a user is, in the one form in which users are compared, stored and printed.
//!
//! A URI's scheme, port, password, parameters and headers say nothing about who is meant (`sips:`, `im:` and `pres:` URIs name the
//! same user), so only user and domain are kept. Domains are canonical by [`fedgate_sip::domain`]. Users are compared without case,
//! as OCS and CUP do, though RFC 3261 section 19.1.4 would tell `Bob` from `bob`; escapes of unreserved characters are undone
//! (19.1.4: `%61lice` is `alice`), all others are kept in capital hex, so that no escape ever becomes a separator.
//!
//! Cheap to clone: two pointers to one text. Used by everything in the node.

use std::fmt;
use std::sync::Arc;

use fedgate_sip::domain::Domain;
use fedgate_sip::uri::Uri;

/// Longest text of an address taken, octets.
const MAX_LEN: usize = 320;

/// `user@domain`, canonical.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aor(Arc<str>);

impl Aor {
    /// Whom a URI names; `None` for one without a user or with a host that is no domain.
    pub fn of(uri: &Uri<'_>) -> Option<Self> {
        let user = uri.userinfo?.split(':').next()?;
        let domain = Domain::canonical(uri.host?.as_bytes()).ok()?;
        Self::new(user, &domain)
    }

    /// From text with or without a scheme, as people and PIDF entities write it.
    pub fn parse(text: &str) -> Option<Self> {
        let has_scheme = text.split_once(':').is_some_and(|(scheme, _)| !scheme.contains('@'));
        if has_scheme { Self::of(&Uri::parse(text)?) } else { Self::of(&Uri::parse(&format!("sip:{text}"))?) }
    }

    fn new(user: &str, domain: &Domain) -> Option<Self> {
        let text = format!("{}@{}", canonical_user(user)?, domain.as_str());
        (text.len() <= MAX_LEN).then(|| Self(text.into()))
    }

    /// The text, without a scheme.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the `@`.
    pub fn user(&self) -> &str {
        self.0.split_once('@').map_or("", |(user, _)| user)
    }

    /// What stands behind it.
    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }

    /// As a SIP URI.
    pub fn uri(&self) -> String {
        format!("sip:{}", self.0)
    }
}

fn canonical_user(user: &str) -> Option<String> {
    let mut out = String::with_capacity(user.len());
    let mut rest = user.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            out.push(char::from(byte.to_ascii_lowercase()));
            continue;
        }
        let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
        let value = u8::try_from(digit()? * 16 + digit()?).ok()?;
        if value.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&value) {
            out.push(char::from(value.to_ascii_lowercase()));
        } else {
            out.push_str(&format!("%{value:02X}"));
        }
    }
    (!out.is_empty()).then_some(out)
}

impl fmt::Display for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Aor;

    #[test]
    fn the_same_user_however_written() {
        let bob = Aor::parse("bob@local.example").expect("an address");
        for text in [
            "sip:bob@local.example",
            "SIP:Bob@LOCAL.example.",
            "sips:bob@local.example:5061;transport=tls",
            "sip:%62ob@local.example",
            "sip:bob:secret@local.example",
            "pres:bob@local.example",
        ] {
            assert_eq!(Aor::parse(text), Some(bob.clone()), "{text}");
        }
        assert_eq!((bob.user(), bob.domain()), ("bob", "local.example"));
    }

    #[test]
    fn an_escape_never_becomes_a_separator() {
        let odd = Aor::parse("sip:a%40b@local.example").expect("an address");
        assert_eq!(odd.as_str(), "a%40b@local.example");
        assert_eq!(odd.domain(), "local.example");
        assert_eq!(Aor::parse(odd.as_str()), Some(odd));
    }

    #[test]
    fn no_user_no_address() {
        for text in
            ["local.example", "sip:local.example", "tel:+1555", "@local.example", "", "a@b@c", "sip:x@-bad"]
        {
            assert_eq!(Aor::parse(text), None, "{text}");
        }
    }
}
