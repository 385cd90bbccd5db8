// SPDX-License-Identifier: MIT OR Apache-2.0
//! The PEM files of the trustpoints: read when they are configured, checked, and carried in the policy from then on.
//!
//! What is wrong with a certificate should be said when it is configured, by file name, not at the first handshake: no PEM
//! in it, a key that belongs to another certificate, something that is no X.509, one that is out of date (a warning: the
//! clock may be the one that is wrong), a CA that cannot be a trust anchor. The dataplane verifies every peer against the CAs of all
//! trustpoints together, at most [`MAX_CAS`]. Files are at most [`MAX_FILE`] bytes. The private key goes into the policy segment, which is
//! sealed memory shared with the dataplane alone; it is never printed or logged.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::check::{About, Fault};
use super::file;
use super::model::Model;
use super::types::TrustFiles;

/// Largest PEM file read, bytes.
pub const MAX_FILE: usize = 1 << 20;
/// Most CA certificates of all trustpoints together; the dataplane (fedgate-proxy) refuses more.
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
    let (mut material, mut cas) = (Material::new(), 0);
    for (name, files) in &model.trustpoints {
        let pem = known(name).cloned().unwrap_or_else(|| read_one(name, files, now, &mut found));
        if cas <= MAX_CAS && cas + pem.ca_count > MAX_CAS {
            let what = format!("more than {MAX_CAS} CA certificates in all trustpoints together");
            found.push((About::Ca(name.clone()), Fault::error(what)));
        }
        cas += pem.ca_count;
        material.insert(name.clone(), pem);
    }
    (material, found)
}

fn read_one(name: &str, files: &TrustFiles, now: i64, found: &mut Vec<(About, Fault)>) -> Pem {
    let mut pem = Pem::default();
    let mut chain = Vec::new();
    if let Some(path) = &files.certificate {
        let about = About::Certificate(name.to_owned());
        (pem.chain, chain) = certificates(path, now, &about, found);
    }
    if let Some(path) = &files.ca {
        let about = About::Ca(name.to_owned());
        let cas;
        (pem.cas, cas) = certificates(path, now, &about, found);
        pem.ca_count = cas.len();
        for (at, der) in cas.into_iter().enumerate() {
            if let Err(why) = RootCertStore::empty().add(der) {
                let place = format!("{}: certificate {}", path.display(), at + 1);
                found.push((about.clone(), Fault::error(format!("{place} cannot be a CA: {why}"))));
            }
        }
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
    (bytes, chain)
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
