// SPDX-License-Identifier: MIT OR Apache-2.0
//! Headers that say who somebody is, and that what is inside may believe. The trust domain of RFC 3325 ends at the border.
//!
//! A federation partner is authenticated for its domain by its certificate, so it may speak for that domain and no
//! other: [`check`] holds the identities in a request to the domain of From. One that claims another is a lie worth a
//! 403, not a header worth losing quietly. A response cannot be answered, so there the header is cut out ([`cuts`]).
//!
//! Two kinds are always cut out of what comes from outside. Some say what only elements of one trust domain may tell each
//! other (RFC 7315's P-headers, what Microsoft's edge tells its pool). And Identity (RFC 8224), whose signature nobody here
//! has verified: what stands behind must not take its presence for more than the certificate has shown.
//! Authorization and Proxy-Authorization pass: they prove something to whoever knows the secret, and are not believed.
//!
//! Called for each message from outside; for those without such headers it is one mask. Only [`cuts`] allocates.

use crate::address::Addresses;
use crate::domain::Domain;
use crate::edit::Edit;
use crate::headers::{Header, HeaderName};
use crate::message::{Message, Start};
use crate::uri::Scheme;
use crate::verdict::{Denial, LocalDomains};

/// Held to the domain of whoever speaks.
const CHECKED: [HeaderName; 6] = [
    HeaderName::PAssertedIdentity,
    HeaderName::PPreferredIdentity,
    HeaderName::RemotePartyId,
    HeaderName::ReferredBy,
    HeaderName::Diversion,
    HeaderName::HistoryInfo,
];

/// Of no meaning from outside a trust domain, or unverified.
const CUT: [HeaderName; 8] = [
    HeaderName::Identity,
    HeaderName::IdentityInfo,
    HeaderName::PAssociatedUri,
    HeaderName::PProfileKey,
    HeaderName::PServedUser,
    HeaderName::PUserDatabase,
    HeaderName::MsAssertedVerificationLevel,
    HeaderName::MsEdgeProxyMessageTrust,
];

/// Those of [`CHECKED`] that say nothing but who is calling, and may be left out.
const CALLER: [HeaderName; 3] =
    [HeaderName::PAssertedIdentity, HeaderName::PPreferredIdentity, HeaderName::RemotePartyId];

/// What is done about identities that an outside peer asserts in its own domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// They pass if they are in its own domain.
    #[default]
    Checked,
    /// The calling party's are cut out, whatever they say.
    None,
}

/// An outside peer may assert identities in the domain `speaker`, and no others.
///
/// # Errors
/// The first header that claims more, or that cannot be read.
#[inline]
pub fn check(
    message: &Message<'_>,
    speaker: &Domain,
    locals: &impl LocalDomains,
    trust: Trust,
) -> Result<(), Denial> {
    if !message.present.contains_any(&CHECKED) {
        return Ok(());
    }
    let mut checked = message.headers().filter(|header| {
        CHECKED.contains(&header.id) && !(trust == Trust::None && CALLER.contains(&header.id))
    });
    checked.try_for_each(|header| holds(&header, speaker, locals))
}

/// History-Info lists where the request was sent to, so our own domains may stand in it too. A `tel:` identity has no
/// domain to differ.
fn holds(header: &Header<'_>, speaker: &Domain, locals: &impl LocalDomains) -> Result<(), Denial> {
    for address in Addresses::new(header.value) {
        let uri = address.ok_or(Denial::Malformed)?.uri;
        if uri.scheme == Scheme::Tel {
            continue;
        }
        let domain = uri.host.and_then(|host| Domain::canonical(host.as_bytes()).ok());
        let domain = domain.ok_or(Denial::AssertedIdentity)?;
        let ours = header.id == HeaderName::HistoryInfo && locals.is_local(domain.as_str());
        if domain != *speaker && !ours {
            return Err(Denial::AssertedIdentity);
        }
    }
    Ok(())
}

/// Whether [`cuts`] may have something to say of a message from outside.
#[inline]
pub fn needs_cuts(message: &Message<'_>, trust: Trust) -> bool {
    message.present.contains_any(&CUT)
        || (matches!(message.start, Start::Response { .. }) && message.present.contains_any(&CHECKED))
        || (trust == Trust::None && message.present.contains_any(&CALLER))
}

/// What is cut out of a message from outside; `speaker` is From's domain in a request and To's in a response.
pub fn cuts(message: &Message<'_>, speaker: &Domain, locals: &impl LocalDomains, trust: Trust) -> Vec<Edit> {
    let response = matches!(message.start, Start::Response { .. });
    let cut = |header: &Header<'_>| {
        CUT.contains(&header.id)
            || (trust == Trust::None && CALLER.contains(&header.id))
            || (response && CHECKED.contains(&header.id) && holds(header, speaker, locals).is_err())
    };
    let lines = message.headers().filter(cut);
    lines.map(|header| Edit { at: header.start..header.end, text: String::new() }).collect()
}
