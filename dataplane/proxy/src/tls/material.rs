// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the PEM of a policy to what rustls takes: identities with keys that fit, CAs that are CAs, revocation lists.
//!
//! A CA has to say that it is one, or be a peer's own certificate that its own key signed, which vouches for that peer alone: basicConstraints cA, and keyCertSign where it has a keyUsage (RFC 5280 sections 4.2.1.3 and 4.2.1.9).
//! webpki takes whatever is in its list of anchors, so a leaf that somebody put there would vouch for anything its holder signs.
//! Housekeeping thread, once a policy; dates are only warned of, as the clock may be what is wrong.

use super::error::{TlsConfigError, Warning, WarningKind};
use super::{Identity, MAX_CAS, Voucher};
use crate::tls::limits::Limits;
use crate::tls::peers::{Pin, Trust};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use std::sync::Arc;
use std::time::Duration;
use webpki::OwnedCertRevocationList;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Reads PEM, and collects what is remarkable about it.
pub(super) struct Reader<'p> {
    pub(super) provider: &'p CryptoProvider,
    /// Seconds since 1970.
    pub(super) now: i64,
    pub(super) warnings: Vec<Warning>,
}

impl Reader<'_> {
    /// An identity whose key is its certificate's.
    pub(super) fn identity(&mut self, id: &Identity<'_>) -> Result<Arc<CertifiedKey>, TlsConfigError> {
        let trustpoint = || id.trustpoint.to_owned();
        let chain = certificates(id.trustpoint, "certificate chain", id.chain)?;
        if chain.is_empty() {
            return Err(TlsConfigError::NoCertificate { trustpoint: trustpoint() });
        }
        for (index, der) in chain.iter().enumerate() {
            self.parsed(id.trustpoint, index, der)?;
        }
        let key = match PrivateKeyDer::from_pem_slice(id.key) {
            Ok(key) => key,
            Err(rustls::pki_types::pem::Error::NoItemsFound) => {
                return Err(TlsConfigError::NoKey { trustpoint: trustpoint() });
            }
            Err(e) => {
                return Err(TlsConfigError::BadPem {
                    trustpoint: trustpoint(),
                    what: "private key",
                    why: e.to_string(),
                });
            }
        };
        let key = self
            .provider
            .key_provider
            .load_private_key(key)
            .map_err(|e| TlsConfigError::BadKey { trustpoint: trustpoint(), why: e.to_string() })?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => Ok(Arc::new(certified)),
            Err(rustls::Error::InconsistentKeys(_)) => {
                Err(TlsConfigError::KeyMismatch { trustpoint: trustpoint() })
            }
            Err(e) => Err(TlsConfigError::BadCertificate {
                trustpoint: trustpoint(),
                number: 1,
                why: e.to_string(),
            }),
        }
    }

    /// The vouchers of a face, at least one CA among them.
    pub(super) fn trusts(
        &mut self,
        face: &'static str,
        vouchers: &[Voucher<'_>],
    ) -> Result<Vec<Trust>, TlsConfigError> {
        let trusts: Vec<Trust> = vouchers.iter().map(|v| self.trust(v)).collect::<Result<_, _>>()?;
        let beside = |trust: &Trust| trust.pins.iter().filter(|pin| !pin.is_ca).count();
        match trusts.iter().map(|trust| trust.roots.len() + beside(trust)).sum() {
            0 => Err(TlsConfigError::NoCas(face)),
            n if n > MAX_CAS => Err(TlsConfigError::TooManyCas(n)),
            _ => Ok(trusts),
        }
    }

    fn trust(&mut self, voucher: &Voucher<'_>) -> Result<Trust, TlsConfigError> {
        let (mut roots, mut limits, mut pins) = (RootCertStore::empty(), Vec::new(), Vec::new());
        let certificates = certificates(voucher.trustpoint, "CA certificates", voucher.cas)?;
        for (index, der) in certificates.into_iter().enumerate() {
            let refused = |why: String| TlsConfigError::BadCertificate {
                trustpoint: voucher.trustpoint.into(),
                number: index + 1,
                why,
            };
            let certificate = self.parsed(voucher.trustpoint, index, &der)?;
            let (ca, own) =
                (no_ca(&certificate), certificate.subject().as_raw() == certificate.issuer().as_raw());
            if own {
                let moment = |at: i64| UnixTime::since_unix_epoch(Duration::from_secs(at.max(0) as u64));
                pins.push(Pin {
                    der: der.clone(),
                    subject: certificate.subject().as_raw().to_vec().into(),
                    not_before: moment(certificate.validity().not_before.timestamp()),
                    not_after: moment(certificate.validity().not_after.timestamp()),
                    is_ca: ca.is_none(),
                });
            }
            let limit = Limits::of(&certificate);
            drop(certificate);
            match ca {
                None => {
                    limits.push(limit.ok_or_else(|| refused("its nameConstraints cannot be read".into()))?);
                    roots.add(der).map_err(|e| refused(e.to_string()))?;
                }
                Some(_) if own => {}
                Some(why) => return Err(refused(why.into())),
            }
        }
        let mut crls = Vec::new();
        for (index, der) in CertificateRevocationListDer::pem_slice_iter(voucher.crls).enumerate() {
            let refused = |why: String| TlsConfigError::BadCrl {
                trustpoint: voucher.trustpoint.into(),
                number: index + 1,
                why,
            };
            let der = der.map_err(|e| refused(e.to_string()))?;
            crls.push(OwnedCertRevocationList::from_der(&der).map_err(|e| refused(e.to_string()))?.into());
        }
        Ok(Trust {
            name: voucher.trustpoint.into(),
            roots,
            limits,
            pins,
            crls,
            revocation: voucher.revocation,
        })
    }

    /// A certificate, its dates looked at.
    fn parsed<'d>(
        &mut self,
        trustpoint: &str,
        index: usize,
        der: &'d CertificateDer<'_>,
    ) -> Result<X509Certificate<'d>, TlsConfigError> {
        let (_, cert) = X509Certificate::from_der(der).map_err(|e| TlsConfigError::BadCertificate {
            trustpoint: trustpoint.into(),
            number: index + 1,
            why: e.to_string(),
        })?;
        let (from, until) = (cert.validity().not_before.timestamp(), cert.validity().not_after.timestamp());
        let kind = if self.now > until {
            Some(WarningKind::Expired(until))
        } else if self.now < from {
            Some(WarningKind::NotYetValid(from))
        } else {
            None
        };
        let warning = kind.map(|kind| Warning {
            trustpoint: trustpoint.into(),
            subject: cert.subject().to_string(),
            kind,
        });
        self.warnings.extend(warning);
        Ok(cert)
    }
}

/// Why a certificate cannot be a CA.
fn no_ca(certificate: &X509Certificate<'_>) -> Option<&'static str> {
    if !certificate.basic_constraints().ok().flatten().is_some_and(|basic| basic.value.ca) {
        return Some("no CA: its basicConstraints do not say cA");
    }
    match certificate.key_usage() {
        Ok(Some(usage)) if !usage.value.key_cert_sign() => Some("no CA: its keyUsage lacks keyCertSign"),
        Ok(_) => None,
        Err(_) => Some("its keyUsage cannot be read"),
    }
}

fn certificates(
    trustpoint: &str,
    what: &'static str,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|e| TlsConfigError::BadPem {
        trustpoint: trustpoint.into(),
        what,
        why: e.to_string(),
    })
}
