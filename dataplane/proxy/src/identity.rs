// SPDX-License-Identifier: MIT OR Apache-2.0
//! The names in a peer's certificate, for RFC 5922.
//!
//! rustls has verified the chain and the handshake's signature by the time this runs, once a handshake; here the
//! leaf is parsed again for its subjectAltNames and CNs, which fedgate-sip turns into a [`PeerIdentity`]. Text
//! that is no UTF-8 is no name. A certificate that cannot be parsed, has the extension twice or has more names
//! than [`fedgate_sip::identity::MAX_NAMES`] gives no identity, and its connection ends.

use fedgate_sip::identity::{CertificateNames, PeerIdentity};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The second at which a DER certificate ends, since 1970.
pub(crate) fn not_after(der: &[u8]) -> Option<u64> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    u64::try_from(cert.validity().not_after.timestamp()).ok()
}

/// The identity in a DER certificate.
pub(crate) fn identity(der: &[u8]) -> Option<PeerIdentity> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let alt_names = cert.subject_alternative_name().ok()?;
    let general = alt_names.as_ref().map_or(&[][..], |san| &san.value.general_names[..]);
    let (mut uris, mut dns) = (Vec::new(), Vec::new());
    for name in general {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            GeneralName::DNSName(name) => dns.push(*name),
            _ => {}
        }
    }
    let common_names: Vec<&str> =
        cert.subject().iter_common_name().filter_map(|cn| cn.as_str().ok()).collect();
    PeerIdentity::of(&CertificateNames {
        has_alt_names: alt_names.is_some(),
        uris: &uris,
        dns: &dns,
        common_names: &common_names,
    })
    .ok()
}
