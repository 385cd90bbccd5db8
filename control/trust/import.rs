// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificates and keys that operators bring: PEM, the bare base64 that ASAs print and take, and PKCS#12.
//!
//! Base64 without `-----BEGIN` lines is one DER object. PKCS#12 is read by p12-keystore (RustCrypto underneath; also the old RC2 and
//! 3DES of Windows and OpenSSL 1). Whether a key is a certificate's is found out here, before anything is written; what else a
//! trustpoint's files must be is looked at when the lines that name them are committed.

use pem::Pem;
use rcgen::{KeyPair, PublicKeyData};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The `CERTIFICATE` blocks of a text, or the one certificate that it is in base64; DER each, at least one.
///
/// # Errors
/// A sentence.
pub fn certificates(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let found: Vec<Vec<u8>> = if text.contains("-----BEGIN") {
        let blocks = pem::parse_many(text).map_err(|why| format!("broken PEM: {why}"))?;
        let certificates = blocks.into_iter().filter(|block| block.tag() == "CERTIFICATE");
        certificates.map(Pem::into_contents).collect()
    } else {
        vec![base64(text)?]
    };
    if found.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    for der in &found {
        X509Certificate::from_der(der).map_err(|why| format!("it is no X.509 certificate: {why}"))?;
    }
    Ok(found)
}

/// Base64 in any number of lines; PEM's lines around it may be there.
///
/// # Errors
/// A sentence.
pub fn base64(text: &str) -> Result<Vec<u8>, String> {
    let body: String = text.lines().filter(|line| !line.trim_start().starts_with("-----")).collect();
    let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    let block = format!("-----BEGIN X-----\n{body}\n-----END X-----\n");
    match pem::parse(block) {
        Ok(block) if !block.contents().is_empty() => Ok(block.into_contents()),
        Ok(_) => Err("there is nothing in it".to_owned()),
        Err(_) => Err("it is not base64".to_owned()),
    }
}

/// An identity out of a PKCS#12 file.
pub struct Identity {
    /// Private key, PKCS#8 PEM.
    pub key: String,
    /// Own certificate, then intermediates, DER each; the root, which peers have to have, is left out.
    pub chain: Vec<Vec<u8>>,
}

/// Opens a PKCS#12 file.
///
/// # Errors
/// A sentence; a wrong passphrase is not told from a damaged file, because nobody can.
pub fn pkcs12(bytes: &[u8], passphrase: &str) -> Result<Identity, String> {
    use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
    let store = KeyStore::from_pkcs12(bytes, passphrase, Pkcs12ImportPolicy::Relaxed)
        .map_err(|why| format!("cannot open the PKCS#12 file, or the passphrase is wrong: {why}"))?;
    let (_, chain) = store.private_key_chain().ok_or("there is no private key with a certificate in it")?;
    let key = encoded("PRIVATE KEY", chain.key().as_der());
    let mut certificates: Vec<Vec<u8>> = chain.certs().iter().map(|c| c.as_der().to_vec()).collect();
    let pair = KeyPair::from_pem(&key).map_err(|why| format!("the private key cannot be used: {why}"))?;
    let leaf = certificates.iter().position(|der| is_of(der, &pair));
    let leaf = leaf.ok_or("no certificate in it belongs to the private key")?;
    certificates.swap(0, leaf);
    if certificates.len() > 1 {
        certificates.retain(|der| !is_self_issued(der) || is_of(der, &pair));
    }
    Ok(Identity { key, chain: certificates })
}

/// Whether a certificate is of this key.
pub fn is_of(der: &[u8], key: &KeyPair) -> bool {
    X509Certificate::from_der(der)
        .is_ok_and(|(_, certificate)| certificate.public_key().raw == key.subject_public_key_info())
}

/// Whether a certificate is a root: subject and issuer are one.
pub fn is_self_issued(der: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, c)| c.subject().as_raw() == c.issuer().as_raw())
}

/// `chain` and the certificates of `cas` that lead on from its last, short of a root.
pub fn completed(mut chain: Vec<Vec<u8>>, cas: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let leads =
        |from: &[u8], to: &[u8]| match (X509Certificate::from_der(from), X509Certificate::from_der(to)) {
            (Ok((_, from)), Ok((_, to))) => from.issuer().as_raw() == to.subject().as_raw(),
            _ => false,
        };
    while let Some(last) = chain.last()
        && let Some(next) =
            cas.iter().find(|ca| leads(last, ca) && !is_self_issued(ca) && !chain.contains(ca))
    {
        chain.push(next.clone());
    }
    chain
}

/// One PEM block, its lines ended as everywhere on the system.
pub fn encoded(tag: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&Pem::new(tag, der), config)
}

/// Certificates as PEM, in their order.
pub fn to_pem(certificates: &[Vec<u8>]) -> String {
    certificates.iter().map(|der| encoded("CERTIFICATE", der)).collect()
}
