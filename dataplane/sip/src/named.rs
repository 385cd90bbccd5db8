// SPDX-License-Identifier: MIT OR Apache-2.0
//! Requests from outside that point at something else than what they are addressed to: another dialog, or another party.
//!
//! Replaces (RFC 3891) and Join (RFC 3911) take part in a dialog of our user, Target-Dialog (RFC 4538) claims to know one and wants to be let in for
//! it. Each rests on nothing but the dialog's identifiers, so a partner who has read those of somebody else's call, or of one within our house, could
//! take it over. Such a dialog has to be one that the sender's domain has with us through this border; else 481, as RFC 3891 section 3 has it for
//! one that is not there. So a call is transferred within a partner, and from him to us, but not between partners.
//!
//! Refer-To (RFC 3515) makes our user send a request. It has to go where one of ours may go anyhow: to the sender's domain, to another that is permitted,
//! or to one of our own; by a SIP URI, as INVITE, SUBSCRIBE or MESSAGE, with no header put in but Replaces, which is held to the same as
//! above where our own are called. Else 403. The request that follows is judged again when it leaves.
//!
//! Asked on worker cores for requests from outside after the verdict; without such a header it is one test.

use crate::address::Address;
use crate::domain::Domain;
use crate::headers::HeaderName;
use crate::message::{Message, Method};
use crate::scan;
use crate::uri::{Scheme, Uri};
use crate::verdict::{Denial, DomainList, Listed, LocalDomains};

const POINTING: [HeaderName; 4] =
    [HeaderName::Replaces, HeaderName::Join, HeaderName::TargetDialog, HeaderName::ReferTo];

/// What a request that Refer-To asks for may be.
const METHODS: [&str; 3] = ["INVITE", "SUBSCRIBE", "MESSAGE"];

/// Whether a request points at something else than what it is addressed to.
#[inline]
pub fn points(message: &Message<'_>) -> bool {
    message.present.contains_any(&POINTING)
}

/// Holds a request from outside, of the domain `speaker`, to what it may point at. `has`: whether that domain has a dialog with us, by its Call-ID,
/// the outside's tag and the inside's.
///
/// # Errors
/// What it points at is not the sender's, or cannot be read.
#[inline]
pub fn check(
    message: &Message<'_>,
    speaker: &Domain,
    list: &impl DomainList,
    locals: &impl LocalDomains,
    has: impl Fn(&str, &str, &str) -> bool,
) -> Result<(), Denial> {
    if !points(message) {
        return Ok(());
    }
    checked(message, speaker, list, locals, has)
}

#[cold]
fn checked(
    message: &Message<'_>,
    speaker: &Domain,
    list: &impl DomainList,
    locals: &impl LocalDomains,
    has: impl Fn(&str, &str, &str) -> bool,
) -> Result<(), Denial> {
    // Both name our side's tag first, as the receiver knows it.
    for header in [HeaderName::Replaces, HeaderName::Join] {
        for value in message.values(header) {
            replaces(value, &has)?;
        }
    }
    for value in message.values(HeaderName::TargetDialog) {
        let (call_id, [local, remote]) = dialog(value, ["local-tag", "remote-tag"])?;
        // Whose "local" it is has been read both ways.
        if !has(call_id, local, remote) && !has(call_id, remote, local) {
            return Err(Denial::DialogNamed);
        }
    }
    if message.method() != Some(Method::Refer) {
        return Ok(());
    }
    let value = message.values(HeaderName::ReferTo).next().ok_or(Denial::Malformed)?;
    let target = Address::parse(value).ok_or(Denial::Malformed)?.uri;
    refer_to(&target, speaker, list, locals, &has)
}

fn replaces(value: &str, has: &impl Fn(&str, &str, &str) -> bool) -> Result<(), Denial> {
    let (call_id, [inside, outside]) = dialog(value, ["to-tag", "from-tag"])?;
    if has(call_id, outside, inside) { Ok(()) } else { Err(Denial::DialogNamed) }
}

/// `callid *( SEMI param )` with both of these tags, each once.
fn dialog<'a>(value: &'a str, names: [&str; 2]) -> Result<(&'a str, [&'a str; 2]), Denial> {
    let (call_id, params) = value.split_once(';').ok_or(Denial::Malformed)?;
    let mut tags = [None; 2];
    for param in params.split(';') {
        let (name, value) = param.split_once('=').unwrap_or((param, ""));
        let (name, value) = (scan::trim(name), scan::trim(value));
        if value.contains('"') {
            return Err(Denial::Malformed);
        }
        for (tag, wanted) in tags.iter_mut().zip(names) {
            if name.eq_ignore_ascii_case(wanted) && tag.replace(value).is_some() {
                return Err(Denial::Malformed);
            }
        }
    }
    match tags {
        [Some(first), Some(second)] => Ok((scan::trim(call_id), [first, second])),
        _ => Err(Denial::Malformed),
    }
}

fn refer_to(
    target: &Uri<'_>,
    speaker: &Domain,
    list: &impl DomainList,
    locals: &impl LocalDomains,
    has: &impl Fn(&str, &str, &str) -> bool,
) -> Result<(), Denial> {
    let domain = match target.scheme {
        Scheme::Sip | Scheme::Sips | Scheme::Im | Scheme::Pres => target.host,
        Scheme::Tel | Scheme::Other => None,
    };
    let domain = domain.and_then(|host| Domain::canonical(host.as_bytes()).ok()).ok_or(Denial::ReferTo)?;
    let ours = locals.is_local(domain.as_str());
    let permitted = || matches!(list.lookup(domain.as_str()), Listed::Permitted { .. });
    if !ours && domain != *speaker && !permitted() {
        return Err(Denial::ReferTo);
    }
    for param in target.params.split(';').skip(1) {
        let (name, value) = param.split_once('=').unwrap_or((param, ""));
        let good = match name.eq_ignore_ascii_case("method") {
            true => METHODS.iter().any(|method| value.eq_ignore_ascii_case(method)),
            // A name in percent escapes could be any, and an address there outdoes the host.
            false => !name.contains('%') && !name.eq_ignore_ascii_case("maddr"),
        };
        if !good {
            return Err(Denial::ReferTo);
        }
    }
    for header in target.headers.into_iter().flat_map(|headers| headers.split('&')) {
        let (name, value) = header.split_once('=').unwrap_or((header, ""));
        if !name.eq_ignore_ascii_case("Replaces") {
            return Err(Denial::ReferTo);
        }
        if ours {
            replaces(&unescaped(value).ok_or(Denial::Malformed)?, has)?;
        }
    }
    Ok(())
}

/// The text without percent escapes; none where one of them is none.
fn unescaped(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&octet, after)) = rest.split_first() {
        rest = after;
        if octet != b'%' {
            octets.push(octet);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        octets.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(octets).ok()
}

#[cfg(test)]
mod tests;
