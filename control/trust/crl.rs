// SPDX-License-Identifier: MIT OR Apache-2.0
//! Revocation lists from where their issuers put them: by HTTP, checked, and put together into the file of a trustpoint.
//!
//! What comes over plain HTTP is nobody's word until its signature is looked at: a list counts only if one of the trustpoint's CAs is its
//! issuer and has signed it ([`checked`]; the same library as in handshakes), and only if it is no older than what there is. Otherwise
//! somebody on the way could shut every peer out with a list that cannot be verified, or bring an old one back in. Blocking: called off the
//! daemon's thread. It is control's own socket, through the machine's routes; the dataplane is not asked.

use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls_pki_types::CertificateDer;
use webpki::{EndEntityCert, OwnedCertRevocationList};
use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::{CertificateRevocationList, X509Certificate};

use super::import;
use crate::config::trust::MAX_CRL;

/// For the whole of a request, redirections included.
const TIME: Duration = Duration::from_secs(20);
/// Redirections that are followed.
const REDIRECTS: u32 = 3;
/// Places looked at, of one trustpoint.
const POINTS: usize = 8;

/// What a list says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its issuer, as `CN=..., O=...`.
    pub issuer: String,
    /// Seconds since 1970.
    pub this_update: i64,
    /// Seconds since 1970.
    pub next_update: Option<i64>,
    /// Certificates on it.
    pub revoked: usize,
    /// Bytes of DER.
    pub size: usize,
}

/// What is at a URL, at most [`MAX_CRL`] bytes.
///
/// # Errors
/// A sentence.
pub fn fetch(url: &str) -> Result<Vec<u8>, String> {
    let config = ureq::Agent::config_builder().timeout_global(Some(TIME)).max_redirects(REDIRECTS).build();
    let mut response = ureq::Agent::new_with_config(config).get(url).call().map_err(|why| why.to_string())?;
    let body = response.body_mut().with_config().limit(MAX_CRL as u64).read_to_vec();
    body.map_err(|why| why.to_string())
}

/// The list in an answer, PEM or DER, if one of `cas` (DER) has issued and signed it, and what it says.
///
/// # Errors
/// A sentence.
pub fn checked(bytes: &[u8], cas: &[Vec<u8>]) -> Result<(Vec<u8>, Facts), String> {
    let der = match bytes.first() {
        Some(0x30) => bytes.to_vec(),
        Some(_) | None => {
            let block = pem::parse(bytes).map_err(|_| "what is there is no revocation list".to_owned())?;
            block.into_contents()
        }
    };
    OwnedCertRevocationList::from_der(&der).map_err(|why| format!("the list cannot be used: {why}"))?;
    let cannot =
        |why: x509_parser::nom::Err<x509_parser::error::X509Error>| format!("the list cannot be read: {why}");
    let (_, list) = CertificateRevocationList::from_der(&der).map_err(cannot)?;
    let named = |ca: &&Vec<u8>| {
        X509Certificate::from_der(ca).is_ok_and(|(_, ca)| ca.subject().as_raw() == list.issuer().as_raw())
    };
    let mut issuers = cas.iter().filter(named).peekable();
    if issuers.peek().is_none() {
        return Err(format!("the list is of {}, which is none of the CAs", list.issuer()));
    }
    if !issuers.any(|ca| has_signed(ca, &der, &list)) {
        return Err(format!("{} has not signed the list", list.issuer()));
    }
    let facts = facts(&der, &list);
    Ok((der, facts))
}

/// What the lists of a trustpoint's file say. Those that cannot be read were refused when it was configured.
pub fn facts_of(pem: &[u8]) -> Vec<Facts> {
    lists(pem)
        .iter()
        .filter_map(|der| Some(facts(der, &CertificateRevocationList::from_der(der).ok()?.1)))
        .collect()
}

fn facts(der: &[u8], list: &CertificateRevocationList<'_>) -> Facts {
    Facts {
        issuer: list.issuer().to_string(),
        this_update: list.last_update().timestamp(),
        next_update: list.next_update().map(|at| at.timestamp()),
        revoked: list.iter_revoked_certificates().count(),
        size: der.len(),
    }
}

fn has_signed(ca: &[u8], der: &[u8], list: &CertificateRevocationList<'_>) -> bool {
    let ca = CertificateDer::from(ca);
    let Ok(ca) = EndEntityCert::try_from(&ca) else { return false };
    let tbs: &[u8] = list.tbs_cert_list.as_ref();
    // The algorithm's identifier stands behind what is signed: its contents are what algorithms are known by.
    let Ok((_, outer)) = Any::from_der(der) else { return false };
    let Some(rest) = outer.data.get(tbs.len()..) else { return false };
    let Ok((_, identifier)) = Any::from_der(rest) else { return false };
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    let same = algorithms.iter().filter(|known| known.signature_alg_id().as_ref() == identifier.data);
    same.into_iter().any(|known| ca.verify_signature(*known, tbs, &list.signature_value.data).is_ok())
}

/// `pem` with a list put in the place of its issuer's; `None` where that one is newer, or the same.
pub fn merged(pem: &[u8], der: &[u8]) -> Option<Vec<u8>> {
    let (_, new) = CertificateRevocationList::from_der(der).ok()?;
    let mut kept = Vec::new();
    for old in lists(pem) {
        match CertificateRevocationList::from_der(&old) {
            Ok((_, list)) if list.issuer().as_raw() == new.issuer().as_raw() => {
                if list.last_update().timestamp() >= new.last_update().timestamp() {
                    return None;
                }
            }
            Ok(_) | Err(_) => kept.push(old),
        }
    }
    kept.push(der.to_vec());
    Some(kept.iter().map(|der| import::encoded("X509 CRL", der)).collect::<String>().into_bytes())
}

fn lists(pem: &[u8]) -> Vec<Vec<u8>> {
    pem::parse_many(pem).unwrap_or_default().into_iter().map(pem::Pem::into_contents).collect()
}

/// Where the certificates of a chain say that their issuers' lists are (RFC 5280 section 4.2.1.13), by HTTP, each once.
pub fn points(certificates: &[Vec<u8>]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for der in certificates {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { continue };
        for extension in certificate.extensions() {
            let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension() else {
                continue;
            };
            for point in points.iter() {
                let Some(DistributionPointName::FullName(names)) = &point.distribution_point else {
                    continue;
                };
                for name in names {
                    if let GeneralName::URI(url) = name
                        && is_url(url)
                        && found.len() < POINTS
                        && !found.iter().any(|known| known == url)
                    {
                        found.push((*url).to_owned());
                    }
                }
            }
        }
    }
    found
}

/// Whether this is a URL that lists are fetched from: `http://host[:port]/...`, in one word.
pub fn is_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://") else { return false };
    let host = rest.split('/').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\');
    !host.is_empty() && !host.contains('@') && text.len() <= 512 && text.chars().all(plain)
}
