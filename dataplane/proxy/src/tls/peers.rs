// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose certificates a face takes: chain, dates, purpose and revocation, by the trustpoints that vouch there and no others.
//!
//! The same for the clients we meet and the servers we call: webpki builds a path from the leaf to a CA of each voucher in turn,
//! with that voucher's revocation policy. One that finds a path vouches for the peer; one that finds it revoked shuts it
//! out, whatever the others say. Names are not compared here: which domains a peer may speak for is SIP's business ([`crate::identity`],
//! RFC 5922), because it compares names with the message and not with the address that was called.
//!
//! Only what a CA's name constraints leave to it counts as a name, wherever in the certificate that stands ([`limits`]).
//!
//! A voucher may also hold a peer's own certificate, signed by its own key: that vouches for itself and nobody else ([`Pin`]).
//!
//! rustls runs [`Peers`] in full handshakes only. A resumed one brings the certificates of the first, so [`Peers::identify`] looks at
//! them again: a certificate that ended or was revoked since is no more good for a ticket than for a handshake.
//!
//! Certificate signatures that were verified before are not verified again ([`super::known`]); all else is looked at every time.
//!
//! Once a handshake on a worker's core: work bounded by webpki (path depth, signatures) and by the number of vouchers, of which
//! all but the one whose CA signed fail by a comparison of names.

use super::known::Known;
use super::limits::{self, Limits};
use super::secure::Secure;
use crate::identity::identity;
use crate::side::Failure;
use fedgate_sip::identity::PeerIdentity;
use fedgate_tables::policy::{REVOCATION_CRL, REVOCATION_ENFORCE_UPDATE, REVOCATION_OR_NONE};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use std::collections::HashMap;
use std::sync::Arc;
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationOptionsBuilder,
    UnknownStatusPolicy, VerifiedPath,
};

/// A trustpoint whose CAs vouch for the peers of a face.
#[derive(Debug)]
pub(super) struct Trust {
    /// The trustpoint's name.
    pub(super) name: Box<str>,
    pub(super) roots: RootCertStore,
    /// What each of the roots may vouch for, in their order.
    pub(super) limits: Vec<Limits>,
    /// Peers' own certificates.
    pub(super) pins: Vec<Pin>,
    pub(super) crls: Vec<CertRevocationList<'static>>,
    /// As in the policy's row.
    pub(super) revocation: u32,
}

/// A certificate that is taken as it is, within its dates: its signature is its own, so it proves nothing more, its purposes and
/// constraints are nobody's word, and no list can revoke it.
#[derive(Debug)]
pub(super) struct Pin {
    pub(super) der: CertificateDer<'static>,
    /// For the hint that a server gives.
    pub(super) subject: DistinguishedName,
    pub(super) not_before: UnixTime,
    pub(super) not_after: UnixTime,
    /// It is a CA's as well, and among the roots.
    pub(super) is_ca: bool,
}

impl Pin {
    fn holds(&self, now: UnixTime) -> Result<(), webpki::Error> {
        let (not_before, not_after) = (self.not_before, self.not_after);
        if now < not_before {
            Err(webpki::Error::CertNotValidYet { time: now, not_before })
        } else if now > not_after {
            Err(webpki::Error::CertExpired { time: now, not_after })
        } else {
            Ok(())
        }
    }
}

/// Names that count only in certificates of one trustpoint's CAs: `permit domain D trustpoint T`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Bound {
    exact: HashMap<Box<str>, Box<str>>,
    /// Each for the names of one or more labels under it.
    under: HashMap<Box<str>, Box<str>>,
}

impl Bound {
    pub(super) fn new<'n>(names: impl Iterator<Item = (&'n str, bool, &'n str)>) -> Self {
        let mut bound = Self::default();
        for (name, wildcard, trustpoint) in names {
            let map = if wildcard { &mut bound.under } else { &mut bound.exact };
            map.insert(name.into(), trustpoint.into());
        }
        bound
    }

    /// The trustpoint that a name is bound to: its own, else that of the longest wildcard above it.
    fn of(&self, name: &str) -> Option<&str> {
        let above = |name: &str| {
            let mut rest = name;
            std::iter::from_fn(move || {
                rest = rest.split_once('.')?.1;
                Some(rest.to_owned())
            })
            .find_map(|suffix| self.under.get(suffix.as_str()))
        };
        self.exact.get(name).or_else(|| above(name)).map(AsRef::as_ref)
    }
}

/// Whom a face meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meets {
    /// TCP clients, which must show a certificate.
    Clients,
    /// TCP clients, which may go without.
    Anybody,
    /// TCP servers.
    Servers,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Peers {
    trusts: Box<[Trust]>,
    hints: Vec<DistinguishedName>,
    meets: Meets,
    /// What a peer may sign the handshake with.
    algorithms: WebPkiSupportedAlgorithms,
    /// And its CAs certificates and lists.
    known: Box<[Known]>,
    /// Versions and suites of the face, as text.
    accepts: Box<str>,
    bound: Bound,
}

impl Peers {
    pub(super) fn new(
        trusts: Vec<Trust>,
        meets: Meets,
        algorithms: WebPkiSupportedAlgorithms,
        accepts: String,
        bound: Bound,
    ) -> Self {
        // A pin that is a CA's is among the roots.
        let pinned = trusts.iter().flat_map(|trust| &trust.pins).filter(|pin| !pin.is_ca);
        let pinned = pinned.map(|pin| pin.subject.clone());
        let hints = trusts.iter().flat_map(|trust| trust.roots.subjects()).chain(pinned).collect();
        let known = algorithms.all.iter().copied().map(Known).collect();
        Self { trusts: trusts.into(), hints, meets, algorithms, known, accepts: accepts.into(), bound }
    }

    /// Who trusts nobody.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_nobody(meets_clients: bool, algorithms: WebPkiSupportedAlgorithms) -> Self {
        let meets = if meets_clients { Meets::Anybody } else { Meets::Servers };
        Self::new(Vec::new(), meets, algorithms, String::new(), Bound::default())
    }

    /// What is spoken here.
    pub(super) fn accepts(&self) -> &str {
        &self.accepts
    }

    /// Whether we are the server.
    pub(super) fn meets_clients(&self) -> bool {
        self.meets != Meets::Servers
    }

    /// Who the peer of a finished handshake is.
    ///
    /// # Errors
    /// Its certificate is missing, names nobody that can be read, or no longer holds although it did in the session resumed.
    pub(crate) fn identify(&self, tls: &Secure) -> Result<PeerIdentity, Failure> {
        self.held(tls, tls.is_resumed().then(UnixTime::now))
    }

    /// The same for a session that has been up for a while: whether its peer would be let in now.
    ///
    /// # Errors
    /// It would not.
    pub(crate) fn again(&self, tls: &Secure, now: UnixTime) -> Result<PeerIdentity, Failure> {
        self.held(tls, Some(now))
    }

    fn held(&self, tls: &Secure, verify_at: Option<UnixTime>) -> Result<PeerIdentity, Failure> {
        let Some([leaf, intermediates @ ..]) = tls.chain() else {
            return match self.meets {
                Meets::Anybody => Ok(PeerIdentity::none()),
                Meets::Clients | Meets::Servers => Err(Error::NoCertificatesPresented.into()),
            };
        };
        if let Some(now) = verify_at {
            self.verify(leaf, intermediates, now)?;
        }
        let mut names = identity(leaf).ok_or(Failure::Certificate)?;
        let wanted: Vec<&str> = names.names().filter_map(|name| self.bound.of(name)).collect();
        if !wanted.is_empty() {
            let vouching = self.vouching(&wanted, leaf, intermediates)?;
            names.retain(|name| self.bound.of(name).is_none_or(|trustpoint| vouching.contains(&trustpoint)));
        }
        Ok(names)
    }

    /// Which of the trustpoints `wanted` vouch for a peer that some voucher has let in.
    fn vouching(
        &self,
        wanted: &[&str],
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<Vec<&str>, Error> {
        let (end, now) = (EndEntityCert::try_from(leaf).map_err(refused)?, UnixTime::now());
        let trusts = self.trusts.iter().filter(|trust| wanted.contains(&&*trust.name));
        let vouches = |trust: &&Trust| self.by(trust, leaf, &end, intermediates, now).is_ok();
        Ok(trusts.filter(vouches).map(|trust| &*trust.name).collect())
    }

    /// Whether some voucher vouches and none forbids.
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let end = EndEntityCert::try_from(leaf).map_err(refused)?;
        let mut best = Err(webpki::Error::UnknownIssuer);
        for trust in &self.trusts {
            match self.by(trust, leaf, &end, intermediates, now) {
                Ok(()) => best = Ok(()),
                Err(why @ webpki::Error::CertRevoked) => return Err(refused(why)),
                // That its CA is known elsewhere says more than that it is unknown here.
                Err(why) if best == Err(webpki::Error::UnknownIssuer) => best = Err(why),
                Err(_) => {}
            }
        }
        best.map_err(refused)
    }

    fn by(
        &self,
        trust: &Trust,
        leaf: &CertificateDer<'_>,
        end: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        if let Some(pin) = trust.pins.iter().find(|pin| pin.der == *leaf) {
            return pin.holds(now);
        }
        let usage = match self.meets {
            Meets::Clients | Meets::Anybody => KeyUsage::client_auth(),
            Meets::Servers => KeyUsage::server_auth(),
        };
        let (checks, or_none) =
            (trust.revocation & REVOCATION_CRL != 0, trust.revocation & REVOCATION_OR_NONE != 0);
        let lists: Vec<&CertRevocationList<'_>> =
            if checks { trust.crls.iter().collect() } else { Vec::new() };
        // Without a list that must hold, what an old one says of a certificate is still the best there is.
        let expiry = match !or_none && trust.revocation & REVOCATION_ENFORCE_UPDATE != 0 {
            true => ExpirationPolicy::Enforce,
            false => ExpirationPolicy::Ignore,
        };
        let unknown = if or_none { UnknownStatusPolicy::Allow } else { UnknownStatusPolicy::Deny };
        let options = RevocationOptionsBuilder::new(&lists)
            .ok()
            .map(|builder| builder.with_expiration_policy(expiry).with_status_policy(unknown).build());
        let no_list = checks && !or_none && options.is_none();
        let anchors = &trust.roots.roots;
        let within = |path: &VerifiedPath<'_>| limits::hold(trust, path);
        let known: Vec<&dyn SignatureVerificationAlgorithm> =
            self.known.iter().map(|known| known as &dyn SignatureVerificationAlgorithm).collect();
        end.verify_for_usage(&known, anchors, intermediates, now, usage, options, Some(&within))?;
        if no_list { Err(webpki::Error::UnknownRevocationStatus) } else { Ok(()) }
    }
}

/// webpki's errors as rustls', which choose the alert by them and are what the log shows.
fn refused(why: webpki::Error) -> Error {
    use webpki::Error as E;
    match why {
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        E::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        E::CertNotValidYet { time, not_before } => CertificateError::NotValidYetContext { time, not_before },
        E::UnknownIssuer => CertificateError::UnknownIssuer,
        E::CertRevoked => CertificateError::Revoked,
        E::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        E::CrlExpired { time, next_update } => {
            CertificateError::ExpiredRevocationListContext { time, next_update }
        }
        E::InvalidSignatureForPublicKey | E::InvalidCrlSignatureForPublicKey => {
            CertificateError::BadSignature
        }
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        E::UnsupportedCriticalExtension => CertificateError::UnhandledCriticalExtension,
        // webpki's list grows with its releases, and none of the rest has an alert of its own.
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
    .into()
}

impl ServerCertVerifier for Peers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Peers {
    fn client_auth_mandatory(&self) -> bool {
        self.meets == Meets::Clients
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity, intermediates, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
