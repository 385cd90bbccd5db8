// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificates that do not exist yet: a request for a CA to sign (PKCS#10), or one signed by its own key.
//!
//! The subject is the trustpoint's `subject-name`, else CN=FQDN. The subjectAltName is the `fqdn`, or HOSTNAME.DOMAIN-NAME where none is
//! said, and the CN where that is a host's name: SIP peers look at nothing else (RFC 5922). Purposes are both serverAuth and
//! clientAuth: the same certificate is shown to peers that call and to peers that are called. A self-signed one is no CA and is
//! good for ten years, as the ASA's.

use fedgate_sip::domain::Domain;
use rcgen::{
    CertificateParams, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256, SanType,
};
use time::{Duration, OffsetDateTime};

use super::name;
use crate::config::model::{Model, Trustpoint};

/// How long a self-signed certificate is good.
const YEARS: i64 = 10;

/// A PKCS#10 request, PEM.
///
/// # Errors
/// A sentence: the trustpoint says too little, or the key cannot sign.
pub fn request(model: &Model, trustpoint: &Trustpoint, key: &KeyPair) -> Result<String, String> {
    let mut params = params(model, trustpoint, key)?;
    params.is_ca = IsCa::NoCa;
    let request = params.serialize_request(key).map_err(|why| format!("cannot make the request: {why}"))?;
    request.pem().map_err(|why| why.to_string())
}

/// A certificate signed by its own key, PEM.
///
/// # Errors
/// As for [`request`].
pub fn self_signed(model: &Model, trustpoint: &Trustpoint, key: &KeyPair) -> Result<String, String> {
    let mut params = params(model, trustpoint, key)?;
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(YEARS * 365);
    params.is_ca = IsCa::ExplicitNoCa;
    let certificate = params.self_signed(key).map_err(|why| format!("cannot sign: {why}"))?;
    Ok(certificate.pem())
}

fn params(model: &Model, trustpoint: &Trustpoint, key: &KeyPair) -> Result<CertificateParams, String> {
    let own = model.hostname.as_ref().zip(model.domain_name.as_ref());
    let fqdn = match &trustpoint.fqdn {
        Some(said) => said.clone(),
        None => own.map(|(host, domain)| format!("{host}.{domain}")),
    };
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    match (&trustpoint.subject, &fqdn) {
        (Some(subject), _) => params.distinguished_name = name::subject(subject)?,
        (None, Some(fqdn)) => params.distinguished_name.push(DnType::CommonName, fqdn),
        (None, None) => return Err("the trustpoint needs a `subject-name` or an `fqdn`".to_owned()),
    }
    let cn = match params.distinguished_name.get(&DnType::CommonName) {
        Some(DnValue::Utf8String(cn)) => {
            Domain::canonical(cn.as_bytes()).ok().filter(|d| !d.is_ip() && cn.contains('.'))
        }
        _ => None,
    };
    let mut names: Vec<String> = fqdn.into_iter().chain(cn.map(|cn| cn.as_str().to_owned())).collect();
    names.dedup();
    for name in names {
        let name = name.as_str().try_into().map_err(|_| format!("`{name}` is no host's name"))?;
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if key.algorithm() == &PKCS_RSA_SHA256 {
        params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    }
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}
