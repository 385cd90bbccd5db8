// SPDX-License-Identifier: MIT OR Apache-2.0
//! The certificates of the trustpoints, in PEM files or in the configuration itself: read when they are configured, checked, and carried in the policy from then on.
//!
//! What is wrong with a certificate should be said when it is configured, by file name, not at the first handshake: no PEM
//! in it, a key that belongs to another certificate, something that is no X.509, one that is out of date (a warning: the
//! clock may be the one that is wrong), a CA that is none and no peer's own certificate either, revocation lists that cannot be
//! used. At most [`MAX_CAS`] CAs vouch for one face of a TLS proxy. Files are at most [`MAX_FILE`] bytes, lists [`MAX_CRL`]. The private key goes into the policy segment, which is
//! sealed memory shared with the dataplane alone; it is never printed or logged.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use webpki::OwnedCertRevocationList;

use super::check::{About, Fault};
use super::file;
use super::model::{Model, Trustpoint};
use crate::trust::import;

/// Largest PEM file read, bytes.
pub const MAX_FILE: usize = 1 << 20;
/// Largest file of revocation lists, bytes.
pub const MAX_CRL: usize = 8 << 20;
/// Most CA certificates that vouch for one face; the dataplane (fedgate-proxy) refuses more.
pub const MAX_CAS: usize = 256;

/// What the files of one trustpoint hold.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pem {
    /// Own certificate, then intermediates.
    pub chain: Vec<u8>,
    /// Private key.
    pub key: Vec<u8>,
    /// CAs.
    pub cas: Vec<u8>,
    /// How many those are.
    pub ca_count: usize,
    /// Their revocation lists.
    pub crls: Vec<u8>,
}

/// By trustpoint.
pub type Material = BTreeMap<String, Pem>;

/// Reads and checks the files of every trustpoint that `known` does not know. `now` is in seconds since 1970.
pub fn read<'k>(
    model: &Model,
    now: i64,
    known: impl Fn(&str) -> Option<&'k Pem>,
) -> (Material, Vec<(About, Fault)>) {
    let mut found = Vec::new();
    let mut material = Material::new();
    for (name, files) in &model.trustpoints {
        let pem = known(name).cloned().unwrap_or_else(|| read_one(name, files, now, &mut found));
        material.insert(name.clone(), pem);
    }
    for (name, proxy) in model.whole_proxies() {
        let faces = [
            (&proxy.server, About::ServerFace(name.clone())),
            (&proxy.client, About::ClientFace(name.clone())),
        ];
        for (face, about) in faces {
            let trusted = face.trusted(model);
            let cas: usize =
                trusted.iter().filter_map(|name| material.get(*name)).map(|pem| pem.ca_count).sum();
            if cas > MAX_CAS {
                let what = format!(
                    "{cas} CA certificates vouch for one face of tls-proxy {name}; at most {MAX_CAS} may"
                );
                found.push((about, Fault::error(what)));
            }
        }
    }
    (material, found)
}

fn read_one(name: &str, files: &Trustpoint, now: i64, found: &mut Vec<(About, Fault)>) -> Pem {
    let mut pem = Pem::default();
    let mut chain = Vec::new();
    if let Some(path) = &files.certificate {
        let about = About::Certificate(name.to_owned());
        (pem.chain, chain) = certificates(path, now, &about, found);
    } else if let Some(own) = &files.own {
        let cas: Vec<Vec<u8>> = files.cas.iter().map(|der| der.to_vec()).collect();
        let ders = import::completed(vec![own.to_vec()], &cas);
        in_time(&format!("the certificate of {name}"), own, now, &About::Certificate(name.to_owned()), found);
        pem.chain = import::to_pem(&ders).into_bytes();
        chain = ders.into_iter().map(CertificateDer::from).collect();
    }
    let mut issuers = Vec::new();
    let mut cas: Chain = files.cas.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
    if files.has_ca() {
        let about = About::Ca(name.to_owned());
        match &files.ca {
            Some(path) => (pem.cas, cas) = certificates(path, now, &about, found),
            None => {
                let ders: Vec<Vec<u8>> = cas.iter().map(|der| der.to_vec()).collect();
                pem.cas = import::to_pem(&ders).into_bytes();
            }
        }
        pem.ca_count = cas.len();
        for (at, der) in cas.into_iter().enumerate() {
            let place = match &files.ca {
                Some(path) => format!("{}: certificate {}", path.display(), at + 1),
                None => format!("certificate ca {} of {name}", super::print::serial(&der)),
            };
            if let Some(why) = no_ca(&der, &mut issuers) {
                // A peer's own certificate, which vouches for that peer alone.
                if import::is_self_issued(&der) {
                    continue;
                }
                let fault = Fault::error(format!("{place} is no CA: {why}"));
                found.push((about.clone(), fault.help("whoever holds its key could vouch for anybody")));
            } else if let Err(why) = RootCertStore::empty().add(der) {
                found.push((about.clone(), Fault::error(format!("{place} cannot be a CA: {why}"))));
            }
        }
    }
    if let Some(path) = &files.crl {
        pem.crls = revocation_lists(path, now, &issuers, &About::Crl(name.to_owned()), found);
    }
    if let Some(path) = &files.key {
        let about = || About::Key(name.to_owned());
        match private_key(path) {
            Err(fault) => found.push((about(), fault)),
            Ok((bytes, key)) => {
                pem.key = bytes;
                if world_readable(path) {
                    let what = format!("{} can be read by every user of the machine", path.display());
                    found.push((about(), Fault::warning(what).help("chmod 600")));
                }
                if !chain.is_empty()
                    && let Err(why) = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
                {
                    let what = match why {
                        rustls::Error::InconsistentKeys(_) => {
                            format!("the key in {} is not the certificate's", path.display())
                        }
                        other => format!("certificate and key of {name} cannot be used: {other}"),
                    };
                    found.push((about(), Fault::error(what)));
                }
            }
        }
    }
    pem
}

/// Why a certificate cannot be a CA (RFC 5280 sections 4.2.1.3 and 4.2.1.9); notes the subjects of those that can.
fn no_ca(der: &[u8], issuers: &mut Vec<Vec<u8>>) -> Option<&'static str> {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else {
        return Some("it cannot be read");
    };
    if !certificate.basic_constraints().ok().flatten().is_some_and(|basic| basic.value.ca) {
        return Some("its basicConstraints do not say cA");
    }
    match certificate.key_usage() {
        Ok(Some(usage)) if !usage.value.key_cert_sign() => Some("its keyUsage lacks keyCertSign"),
        Ok(_) => {
            issuers.push(certificate.subject().as_raw().to_vec());
            None
        }
        Err(_) => Some("its keyUsage cannot be read"),
    }
}

/// The revocation lists of a file as PEM, which they may be, or one of them as DER.
fn revocation_lists(
    path: &Path,
    now: i64,
    issuers: &[Vec<u8>],
    about: &About,
    found: &mut Vec<(About, Fault)>,
) -> Vec<u8> {
    let mut push = |fault| found.push((about.clone(), fault));
    let bytes = match file::read(path, MAX_CRL) {
        Ok(bytes) => bytes,
        Err(why) => {
            push(Fault::error(format!("cannot read {}: {why}", path.display())));
            return Vec::new();
        }
    };
    let lists: Result<Vec<_>, _> = match bytes.first() {
        // A DER SEQUENCE; no PEM begins so.
        Some(0x30) => Ok(vec![CertificateRevocationListDer::from(bytes)]),
        Some(_) | None => CertificateRevocationListDer::pem_slice_iter(&bytes).collect(),
    };
    let lists = match lists {
        Ok(lists) if lists.is_empty() => {
            push(Fault::error(format!("{}: no revocation list in it", path.display())));
            return Vec::new();
        }
        Ok(lists) => lists,
        Err(why) => {
            push(Fault::error(format!("{}: broken PEM: {why}", path.display())));
            return Vec::new();
        }
    };
    let mut text = String::new();
    for (at, der) in lists.iter().enumerate() {
        let place = format!("{}: list {}", path.display(), at + 1);
        if let Err(why) = OwnedCertRevocationList::from_der(der) {
            push(Fault::error(format!("{place} cannot be used: {why}")));
            continue;
        }
        if let Ok((_, list)) = x509_parser::parse_x509_crl(der) {
            if let Some(next) = list.next_update().filter(|next| now > next.timestamp()) {
                push(Fault::warning(format!("{place} should have been renewed by {next}")));
            }
            if !issuers.iter().any(|subject| subject == list.issuer().as_raw()) {
                push(Fault::warning(format!("{place} is of {}, which is none of the CAs", list.issuer())));
            }
        }
        text.push_str(&import::encoded("X509 CRL", der));
    }
    text.into_bytes()
}

type Chain = Vec<CertificateDer<'static>>;

fn certificates(path: &Path, now: i64, about: &About, found: &mut Vec<(About, Fault)>) -> (Vec<u8>, Chain) {
    let bytes = match slurp(path) {
        Ok(bytes) => bytes,
        Err(fault) => {
            found.push((about.clone(), fault));
            return Default::default();
        }
    };
    let chain: Result<Chain, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let fault = match &chain {
        Err(why) => Some(format!("{}: broken PEM: {why}", path.display())),
        Ok(chain) if chain.is_empty() => Some(format!("{}: no certificate in it", path.display())),
        Ok(_) => None,
    };
    if let Some(what) = fault {
        let help = "expected -----BEGIN CERTIFICATE-----; turn DER into it with `openssl x509 -inform der`";
        found.push((about.clone(), Fault::error(what).help(help)));
        return Default::default();
    }
    let chain = chain.unwrap_or_default();
    for (at, der) in chain.iter().enumerate() {
        let place = format!("{}: certificate {}", path.display(), at + 1);
        in_time(&place, der, now, about, found);
    }
    (bytes, chain)
}

/// Whether a certificate can be read, and is good now.
fn in_time(place: &str, der: &[u8], now: i64, about: &About, found: &mut Vec<(About, Fault)>) {
    match x509_parser::parse_x509_certificate(der) {
        Err(why) => found.push((about.clone(), Fault::error(format!("{place}: not X.509: {why}")))),
        Ok((_, certificate)) => {
            let validity = certificate.validity();
            if now > validity.not_after.timestamp() {
                let what = format!("{place} ended its life on {}", validity.not_after);
                found.push((about.clone(), Fault::warning(what)));
            } else if now < validity.not_before.timestamp() {
                let what = format!("{place} begins its life only on {}", validity.not_before);
                found.push((about.clone(), Fault::warning(what).help("is the clock right?")));
            }
        }
    }
}

fn private_key(path: &Path) -> Result<(Vec<u8>, PrivateKeyDer<'static>), Fault> {
    let bytes = slurp(path)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|why| {
        let encrypted = bytes.windows(9).any(|w| w == b"ENCRYPTED");
        let fault = Fault::error(format!("{}: no private key in it: {why}", path.display()));
        let help = if encrypted {
            "the key is encrypted: write it out plainly with `openssl pkey`"
        } else {
            "expected PEM: PKCS#8, PKCS#1 or SEC1"
        };
        fault.help(help)
    })?;
    Ok((bytes, key))
}

fn slurp(path: &Path) -> Result<Vec<u8>, Fault> {
    let bytes = file::read(path, MAX_FILE)
        .map_err(|why| Fault::error(format!("cannot read {}: {why}", path.display())))?;
    if std::str::from_utf8(&bytes).is_err() {
        let help =
            "expected PEM; turn DER into it with `openssl x509 -inform der` or `openssl pkey -inform der`";
        return Err(Fault::error(format!("{} is not text", path.display())).help(help));
    }
    Ok(bytes)
}

fn world_readable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0)
}
