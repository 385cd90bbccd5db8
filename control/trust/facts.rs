// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a certificate says of itself, for `show crypto ca certificates`, and when an operator has to be told that it ends.

use std::collections::HashMap;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::config::trust::Material;

/// Seconds of a day.
const DAY: i64 = 86_400;
/// Days before the end at which it is told, most first.
const TOLD: [i64; 4] = [30, 14, 7, 1];

/// A certificate of a trustpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The trustpoint.
    pub trustpoint: String,
    /// One that vouches; else the identity or an intermediate of it.
    pub is_ca: bool,
    /// Serial number, upper-case hexadecimal.
    pub serial: String,
    /// Subject, as `CN=..., O=...`.
    pub subject: String,
    /// Issuer, likewise.
    pub issuer: String,
    /// `RSA (2048 bits)`, `ECDSA (256 bits)`.
    pub key: String,
    /// The signature algorithm's OID or its name where it is well known.
    pub signature: String,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
}

/// Where a certificate is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Good.
    Available,
    /// Good only later.
    Pending,
    /// No longer.
    Expired,
}

impl Facts {
    /// At second `now`.
    pub fn status(&self, now: i64) -> Status {
        if now > self.not_after {
            Status::Expired
        } else if now < self.not_before {
            Status::Pending
        } else {
            Status::Available
        }
    }

    /// Whole days left at second `now`; below zero once it has ended.
    pub fn days_left(&self, now: i64) -> i64 {
        (self.not_after - now).div_euclid(DAY)
    }

    /// `identity` or `CA`, as the ASA's messages have it.
    pub fn kind(&self) -> &'static str {
        if self.is_ca { "CA" } else { "identity" }
    }
}

/// The certificates of all trustpoints, identities first in each. What cannot be read was refused when it was configured.
pub fn of(material: &Material) -> Vec<Facts> {
    let mut all = Vec::new();
    for (trustpoint, pem) in material {
        for (is_ca, text) in [(false, &pem.chain), (true, &pem.cas)] {
            let certificates = CertificateDer::pem_slice_iter(text).filter_map(Result::ok);
            all.extend(certificates.filter_map(|der| facts(trustpoint, is_ca, &der)));
        }
    }
    all
}

fn facts(trustpoint: &str, is_ca: bool, der: &[u8]) -> Option<Facts> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let key = match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA ({} bits)", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("ECDSA ({} bits)", point.key_size()),
        Ok(_) | Err(_) => "of another kind".to_owned(),
    };
    let oid = &certificate.signature_algorithm.algorithm;
    let signature = x509_parser::objects::oid2sn(oid, x509_parser::objects::oid_registry())
        .map_or_else(|_| oid.to_id_string(), str::to_owned);
    Some(Facts {
        trustpoint: trustpoint.to_owned(),
        is_ca,
        serial: certificate.raw_serial().iter().map(|byte| format!("{byte:02X}")).collect(),
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        key,
        signature,
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
    })
}

/// What has been told already: the least of [`TOLD`] (or 0 for the end) by certificate.
#[derive(Debug, Default)]
pub struct Told(HashMap<(String, String, i64), i64>);

impl Told {
    /// The certificates that have come to another of [`TOLD`], or to their end, since the last call. A renewed one begins anew.
    pub fn due<'f>(&mut self, facts: &'f [Facts], now: i64) -> Vec<&'f Facts> {
        let key = |f: &Facts| (f.trustpoint.clone(), f.serial.clone(), f.not_after);
        let mut next = HashMap::new();
        let mut due = Vec::new();
        for fact in facts {
            let days = fact.days_left(now);
            let mark = if fact.status(now) == Status::Expired {
                0
            } else {
                let Some(mark) = TOLD.into_iter().filter(|mark| days < *mark).min() else { continue };
                mark
            };
            let before = self.0.get(&key(fact)).copied();
            if before.is_none_or(|before| mark < before) && !next.contains_key(&key(fact)) {
                due.push(fact);
            }
            next.insert(key(fact), mark);
        }
        self.0 = next;
        due
    }
}
