// SPDX-License-Identifier: MIT OR Apache-2.0
//! Digest authentication of the node's own users (RFC 7616 as RFC 3261 section 22 and RFC 8760 use it).
//!
//! SHA-256 is offered first and MD5 behind it, for clients of the design's time; the configuration may offer one only, since there are
//! clients that give up when they are offered what they do not know. A nonce says when it was made and carries a MAC
//! under a key of this process, so a flood of requests without credentials leaves nothing behind. What is remembered is the
//! highest `nc` of each nonce that has been used well, so that no request can be sent a second time by somebody who saw it; at
//! most [`MAX_NONCES`] of them, each for [`LIFETIME`]. When they are all in use, new ones are refused as stale until some have
//! ended.
//!
//! Pure but for the key; owned by the core.

use std::collections::HashMap;

use aws_lc_rs::{constant_time, digest, hmac};
use fedgate_sip::uri::Uri;
use md5::{Digest as _, Md5};

use crate::message::parts;
use crate::users::User;

/// How long a nonce is good, ms.
const LIFETIME: u64 = 300_000;
/// Nonces remembered.
const MAX_NONCES: usize = 65_536;

/// Hash functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// For clients that know nothing else.
    Md5,
    /// RFC 8760.
    Sha256,
}

impl Algorithm {
    /// Both, the better one first.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Md5];

    /// The one of this name, in any case.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }
}

/// Lower-case hex of the hash of `text`.
pub fn hash(algorithm: Algorithm, text: &str) -> String {
    match algorithm {
        Algorithm::Md5 => hex(&Md5::digest(text.as_bytes())),
        Algorithm::Sha256 => hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why a request is not its user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// No credentials for this realm: challenge.
    Missing,
    /// Good but for a nonce that is too old or used: challenge with `stale=true`.
    Stale,
    /// Wrong.
    Bad,
}

/// What is kept to judge credentials.
pub struct Authenticator {
    key: hmac::Key,
    offered: Vec<Algorithm>,
    made: u64,
    /// Highest `nc` and time of making by nonce number.
    used: HashMap<u64, (u32, u64)>,
    swept: u64,
}

impl Authenticator {
    /// With the key of this process; takes what it offers and nothing else.
    pub fn new(key: [u8; 32], offered: Vec<Algorithm>) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Self { key, offered, made: 0, used: HashMap::new(), swept: 0 }
    }

    fn nonce(&self, time: u64, number: u64) -> String {
        let plain = format!("{time:016x}{number:016x}");
        let mac = hmac::sign(&self.key, plain.as_bytes());
        format!("{plain}{}", hex(&mac.as_ref()[..16]))
    }

    /// The values of the WWW-Authenticate headers of a 401.
    pub fn challenge(&mut self, realm: &str, stale: bool, now: u64) -> Vec<String> {
        self.made += 1;
        let nonce = self.nonce(now, self.made);
        let stale = if stale { ", stale=true" } else { "" };
        let one = |algorithm: Algorithm| {
            let name = algorithm.name();
            format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={name}, qop=\"auth\"{stale}")
        };
        self.offered.iter().copied().map(one).collect()
    }

    /// Judges the Authorization values of a request to be `user`'s.
    pub fn verify<'a>(
        &mut self,
        values: impl Iterator<Item = &'a str>,
        method: &str,
        request_uri: &Uri<'_>,
        user: &User,
        now: u64,
    ) -> Result<(), Denied> {
        let credentials = values
            .filter_map(Credentials::parse)
            .find(|c| c.realm == user.aor.domain() && self.offered.contains(&c.algorithm));
        let Some(credentials) = credentials else { return Err(Denied::Missing) };
        let known = credentials.username.eq_ignore_ascii_case(user.aor.user())
            || credentials.username.eq_ignore_ascii_case(user.aor.as_str());
        let Some(ha1) = user.ha1(credentials.algorithm).filter(|_| known) else { return Err(Denied::Bad) };
        if !is_same_target(&credentials.uri, request_uri) || credentials.qop != "auth" {
            return Err(Denied::Bad);
        }
        let (time, number) = self.read_nonce(&credentials.nonce).ok_or(Denied::Stale)?;
        let ha2 = hash(credentials.algorithm, &format!("{method}:{}", credentials.uri));
        let Credentials { nonce, nc, cnonce, .. } = &credentials;
        let expected = hash(credentials.algorithm, &format!("{ha1}:{nonce}:{nc}:{cnonce}:auth:{ha2}"));
        let response = credentials.response.to_ascii_lowercase();
        constant_time::verify_slices_are_equal(expected.as_bytes(), response.as_bytes())
            .map_err(|_| Denied::Bad)?;
        let count = u32::from_str_radix(nc, 16).map_err(|_| Denied::Bad)?;
        self.take(number, count, time, now)
    }

    /// Each count of a nonce once, and only upwards.
    fn take(&mut self, number: u64, count: u32, time: u64, now: u64) -> Result<(), Denied> {
        if now.saturating_sub(time) > LIFETIME || time > now {
            return Err(Denied::Stale);
        }
        if now.saturating_sub(self.swept) > LIFETIME / 10 {
            self.swept = now;
            self.used.retain(|_, (_, time)| now.saturating_sub(*time) <= LIFETIME);
        }
        let full = self.used.len() >= MAX_NONCES;
        match self.used.get_mut(&number) {
            Some((highest, _)) if count <= *highest => Err(Denied::Stale),
            Some((highest, _)) => {
                *highest = count;
                Ok(())
            }
            None if full => Err(Denied::Stale),
            None => {
                self.used.insert(number, (count, time));
                Ok(())
            }
        }
    }

    fn read_nonce(&self, nonce: &str) -> Option<(u64, u64)> {
        let plain = nonce.get(..32)?;
        let time = u64::from_str_radix(&plain[..16], 16).ok()?;
        let number = u64::from_str_radix(&plain[16..], 16).ok()?;
        let expected = self.nonce(time, number);
        constant_time::verify_slices_are_equal(expected.as_bytes(), nonce.as_bytes()).ok()?;
        Some((time, number))
    }
}

/// The digest-uri must be where the request goes; proxies and clients differ in its port and parameters.
fn is_same_target(text: &str, request_uri: &Uri<'_>) -> bool {
    Uri::parse(text).is_some_and(|uri| {
        let host = |uri: &Uri<'_>| uri.host.map(str::to_ascii_lowercase);
        uri.userinfo == request_uri.userinfo && host(&uri) == host(request_uri)
    })
}

struct Credentials {
    username: String,
    realm: String,
    nonce: String,
    uri: String,
    response: String,
    algorithm: Algorithm,
    qop: String,
    nc: String,
    cnonce: String,
}

impl Credentials {
    /// `Digest name=value, ...`; another scheme, an unknown algorithm or a part that is missing is no credentials.
    fn parse(value: &str) -> Option<Self> {
        let (scheme, rest) = value.trim().split_once(char::is_whitespace)?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let mut fields: HashMap<String, String> = HashMap::new();
        for part in parts(rest, b',') {
            let (name, value) = part.split_once('=')?;
            if fields.insert(name.trim().to_ascii_lowercase(), unquoted(value.trim())).is_some() {
                return None;
            }
        }
        let algorithm = fields.get("algorithm").map_or(Some(Algorithm::Md5), |name| Algorithm::of(name))?;
        let mut take = |name: &str| fields.remove(name);
        Some(Self {
            username: take("username")?,
            realm: take("realm")?.to_ascii_lowercase(),
            nonce: take("nonce")?,
            uri: take("uri")?,
            response: take("response")?,
            qop: take("qop").unwrap_or_default(),
            nc: take("nc").unwrap_or_default(),
            cnonce: take("cnonce").unwrap_or_default(),
            algorithm,
        })
    }
}

fn unquoted(value: &str) -> String {
    match value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        None => value.to_owned(),
        Some(inner) => {
            let mut out = String::with_capacity(inner.len());
            let mut escaped = false;
            for c in inner.chars() {
                if c == '\\' && !escaped {
                    escaped = true;
                } else {
                    out.push(c);
                    escaped = false;
                }
            }
            out
        }
    }
}

#[cfg(test)]
mod tests;
