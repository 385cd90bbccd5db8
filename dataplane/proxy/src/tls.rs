// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rustls configurations of one `tls-proxy`, made once for every policy and shared by all workers.
//!
//! Built off the workers, by the housekeeping thread: [`material`] parses PEM, checks that keys fit certificates and says
//! clearly what is wrong with a trustpoint. TLS 1.2 and 1.3 with aws-lc-rs, which is passed explicitly; no
//! process-wide default is touched. Versions and suites are the face's, or those of the name that a client calls.
//!
//! Peers are verified ([`peers`]) against the CAs of the trustpoints that vouch for their face, and no others. Chains only: which
//! domains a peer may speak for is the business of [`crate::identity`] (RFC 5922). Facing the foreign side a client certificate is
//! required; inside it is too unless `no server authenticate-client` says otherwise.
//!
//! Sessions are resumed: by tickets towards clients (RFC 8446, RFC 5077; rustls' keys, new every six hours and good for twelve), by
//! [`SESSIONS`] remembered servers towards those. Tickets and memory belong to an [`End`], and an end is taken over into the next policy
//! only while everything that decides who is trusted is the same to the byte ([`Print`]): after any change of it, of the CAs,
//! lists, identities, versions or suites, there are full handshakes. A resumed peer's certificates are verified again all the same.
//! No early data: SIP in 0-RTT could be replayed.
//!
//! rustls does the handshakes ([`handshake`]) and keeps the secrets to come; records after that are by our own layer ([`secure`], [`record`]).

use crate::api::Leg;
use crate::identity::identity;
use crate::pool::{Pool, Pooling};
use aws_lc_rs::digest::{Context, Digest, SHA256};
use fedgate_sip::domain::Domain;
use fedgate_sip::identity::PeerIdentity;
use fedgate_sip::inspect::{Inspector, Spec};
use fedgate_tables::policy::{FACE_NO_CLIENT_AUTH, FACE_TLS12, FACE_TLS13, Face, suites};
use fedgate_tables::policy_view::PolicyView;
use material::Reader;
use peers::{Bound, Meets, Trust};
use rustls::client::Resumption;
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, Ticketer, default_provider};
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, UnbufferedServerConnection};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

mod error;
mod handshake;
mod hello;
mod known;
mod limits;
mod material;
mod peers;
mod record;
mod secure;

pub use error::{TlsConfigError, Warning, WarningKind};
pub(crate) use handshake::{Beginning, HANDSHAKE_BYTES, Handshake};
pub(crate) use hello::Hello;
pub(crate) use peers::Peers;
pub(crate) use secure::{Secure, Taken};

/// Most CA certificates that vouch for one face: each is named in every request for a certificate, and the handshake has a bound.
pub const MAX_CAS: usize = 256;
/// Servers that a `tls-proxy` remembers sessions of, by the name called.
const SESSIONS: usize = 1024;

/// One trustpoint's identity as PEM.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The trustpoint's name, for messages.
    pub trustpoint: &'a str,
    /// Own certificate, then intermediates.
    pub chain: &'a [u8],
    /// Private key: PKCS#8, PKCS#1 or SEC1.
    pub key: &'a [u8],
    /// What is spoken with clients that call the name it is shown for, where that is not what the face speaks.
    pub spoken: Option<Spoken>,
}

/// What of TLS is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// As in the policy's [`Face`].
    pub suites: u32,
    /// As in the policy's [`Face`].
    pub flags: u32,
}

/// A trustpoint whose CAs vouch for peers.
#[derive(Clone, Copy, Debug)]
pub struct Voucher<'a> {
    /// The trustpoint's name, for messages.
    pub trustpoint: &'a str,
    /// PEM of the CAs.
    pub cas: &'a [u8],
    /// PEM of their revocation lists.
    pub crls: &'a [u8],
    /// `REVOCATION_*` of the policy.
    pub revocation: u32,
}

/// What one face is made of.
#[derive(Clone, Debug)]
pub struct FaceParts<'a> {
    /// Identities, each with the SNI name it is for. The first without one is shown where no other fits; the client face shows
    /// only that, where it is asked, and may have none.
    pub shown: Vec<(Option<&'a str>, Identity<'a>)>,
    /// Who vouches for its peers.
    pub vouchers: Vec<Voucher<'a>>,
    /// What is spoken where no name says otherwise.
    pub spoken: Spoken,
    /// Names that count only in certificates that a trustpoint vouches for: the name, whether all under it are meant, the trustpoint.
    pub bound: Vec<(&'a str, bool, &'a str)>,
}

/// What a [`ProxyTls`] is made of.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// Its name, for messages.
    pub name: &'a str,
    /// Towards the TCP client.
    pub server: FaceParts<'a>,
    /// Towards the TCP server.
    pub client: FaceParts<'a>,
    /// Certificates are compared with this moment for [`ProxyTls::warnings`].
    pub now: SystemTime,
}

/// The TLS of one `tls-proxy`.
pub struct ProxyTls {
    name: Box<str>,
    provider: Arc<CryptoProvider>,
    server: Accepting,
    /// Names that are spoken to in another way, each with that way.
    named: Arc<[(Box<str>, Accepting)]>,
    client: Arc<End<ClientConfig>>,
    names: Vec<PeerIdentity>,
    warnings: Vec<Warning>,
    /// How what passes is inspected (`policy-map type inspect sip`).
    inspector: Option<Inspector>,
    /// What its sessions have to know of the pools.
    pooling: Option<Pooling>,
}

/// One way to meet peers, with all that is remembered of them.
struct End<C> {
    print: Print,
    config: Arc<C>,
    peers: Arc<Peers>,
}

/// How TCP clients are met.
struct Accepting {
    /// Those outside.
    foreign: Arc<End<ServerConfig>>,
    /// Those inside.
    inside: Arc<End<ServerConfig>>,
}

impl Accepting {
    fn end(&self, foreign: bool) -> &Arc<End<ServerConfig>> {
        if foreign { &self.foreign } else { &self.inside }
    }
}

/// SHA-256 over all that decides whom an end trusts and how it shows itself.
type Print = [u8; 32];

/// A connection of TLS, and who judges its peer.
pub(crate) struct Link {
    pub(crate) tls: Beginning,
    pub(crate) peers: Arc<Peers>,
    /// Where the name that the client calls may change both.
    pub(crate) choice: Option<Choice>,
}

/// What the name that a client calls decides.
pub(crate) struct Choice {
    named: Arc<[(Box<str>, Accepting)]>,
    default: Arc<End<ServerConfig>>,
    foreign: bool,
}

impl Choice {
    /// The configuration for who calls `name`.
    pub(crate) fn of(&self, name: Option<&str>) -> (Arc<ServerConfig>, Arc<Peers>) {
        let called =
            |(known, _): &&(Box<str>, Accepting)| name.is_some_and(|n| known.eq_ignore_ascii_case(n));
        let end = self.named.iter().find(called).map_or(&self.default, |(_, way)| way.end(self.foreign));
        (end.config.clone(), end.peers.clone())
    }
}

impl std::fmt::Debug for ProxyTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyTls").field("warnings", &self.warnings).finish_non_exhaustive()
    }
}

impl ProxyTls {
    /// Makes the configurations for a policy's `tls-proxy`; what is unchanged is taken over from those of the policy `before`, with the
    /// sessions that may be resumed. Call it where a second's work does no harm.
    ///
    /// # Errors
    /// What is missing or wrong, by trustpoint.
    pub fn build(
        policy: &PolicyView<'_>,
        tls_proxy: u32,
        before: &[Arc<ProxyTls>],
    ) -> Result<Self, TlsConfigError> {
        let proxy =
            policy.tls_proxies().get(tls_proxy as usize).ok_or(TlsConfigError::NoSuchProxy(tls_proxy))?;
        let parts = Parts {
            name: policy.str(proxy.name),
            server: face_parts(policy, &proxy.server),
            client: face_parts(policy, &proxy.client),
            now: SystemTime::now(),
        };
        let plain = Self::from_parts(&parts, before)?;
        let Some(map) = Some(policy.str(proxy.inspect)).filter(|map| !map.is_empty()) else {
            return Ok(plain);
        };
        let bad = |why: &dyn std::fmt::Display| TlsConfigError::Inspect {
            proxy: policy.str(proxy.name).into(),
            why: why.to_string(),
        };
        let spec: Spec = serde_json::from_str(map).map_err(|why| bad(&why))?;
        Ok(plain.inspected(Inspector::new(spec).map_err(|why| bad(&why))?))
    }

    /// Makes the configurations from PEM.
    ///
    /// # Errors
    /// What is missing or wrong, by trustpoint.
    pub fn from_parts(parts: &Parts<'_>, before: &[Arc<ProxyTls>]) -> Result<Self, TlsConfigError> {
        let provider = Arc::new(default_provider());
        let now = parts.now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
        let mut reader = Reader { provider: &provider, now, warnings: Vec::new() };

        let (server, client) = (&parts.server, &parts.client);
        let mut keys = Vec::new();
        for (name, id) in &server.shown {
            keys.push((name.map(Box::<str>::from), reader.identity(id)?));
        }
        let default = keys.iter().position(|(name, _)| name.is_none());
        let default =
            default.ok_or_else(|| TlsConfigError::NoServerTrustpoint { proxy: parts.name.into() })?;
        let default = keys.remove(default).1;
        let shown = client.shown.iter().find(|(name, _)| name.is_none());
        let own = shown.map(|(_, id)| reader.identity(id)).transpose()?;
        let names = keys.iter().map(|(_, key)| key).chain([&default]).chain(&own);
        let names = names.filter_map(|key| key.cert.first().and_then(|der| identity(der))).collect();

        let named = keys.into_iter().filter_map(|(name, key)| Some((name?, key)));
        let resolver = Arc::new(BySni { names: named.collect(), default });
        let mut end = |spoken: Spoken, meets| {
            let print = print(parts.name, meets, server, spoken);
            let trusts = reader.trusts("server", &server.vouchers)?;
            if let Some(end) = before.iter().flat_map(|p| p.accepting()).find(|e| e.print == print) {
                return Ok(end.clone());
            }
            let peers = server.peers(spoken, trusts, meets, &provider);
            let config = Arc::new(spoken.server_config(&provider, &peers, resolver.clone())?);
            Ok::<_, TlsConfigError>(Arc::new(End { print, config, peers }))
        };
        let mut accepting = |spoken: Spoken| {
            let foreign = end(spoken, Meets::Clients)?;
            let inside = match spoken.flags & FACE_NO_CLIENT_AUTH {
                0 => foreign.clone(),
                _ => end(spoken, Meets::Anybody)?,
            };
            Ok::<_, TlsConfigError>(Accepting { foreign, inside })
        };
        let mut named = Vec::new();
        for (name, id) in &server.shown {
            if let Some((name, spoken)) = name.zip(id.spoken).filter(|(_, spoken)| *spoken != server.spoken) {
                named.push((name.into(), accepting(spoken)?));
            }
        }
        let accepting = accepting(server.spoken)?;
        let trusts = reader.trusts("client", &client.vouchers)?;
        let print = print(parts.name, Meets::Servers, client, client.spoken);
        let client = match before.iter().map(|p| &p.client).find(|e| e.print == print) {
            Some(end) => end.clone(),
            None => {
                let peers = client.peers(client.spoken, trusts, Meets::Servers, &provider);
                let config = Arc::new(client.spoken.client_config(&provider, &peers, own)?);
                Arc::new(End { print, config, peers })
            }
        };
        let mut warnings = reader.warnings;
        warnings.sort_by(|a, b| (&a.trustpoint, &a.subject).cmp(&(&b.trustpoint, &b.subject)));
        warnings.dedup();
        let (name, named, pooling) = (parts.name.into(), named.into(), None);
        Ok(Self {
            name,
            provider,
            server: accepting,
            named,
            client,
            names,
            warnings,
            inspector: None,
            pooling,
        })
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who judges a peer on a leg: `before` where that one still does.
    pub(crate) fn judges(&self, leg: Leg, foreign: bool, before: &Arc<Peers>) -> Arc<Peers> {
        let stays = |peers: &Arc<Peers>| Arc::ptr_eq(peers, before);
        match leg {
            Leg::Server => self.client.peers.clone(),
            // Names differ in what is spoken, not in who vouches.
            Leg::Client if self.accepting().any(|end| stays(&end.peers)) => before.clone(),
            Leg::Client => self.server.end(foreign).peers.clone(),
        }
    }

    /// The same, with what passes inspected.
    #[must_use]
    pub fn inspected(self, inspector: Inspector) -> Self {
        Self { inspector: Some(inspector), ..self }
    }

    /// The same, with the pools that there are.
    #[must_use]
    pub fn pooled(self, pooling: Option<Pooling>) -> Self {
        Self { pooling, ..self }
    }

    /// The pool whose members its client face calls.
    pub fn pool(&self) -> Option<&Arc<Pool>> {
        self.pooling.as_ref()?.pool.as_ref()
    }

    /// The pools, where there are any.
    pub(crate) fn pooling(&self) -> Option<&Pooling> {
        self.pooling.as_ref()
    }

    /// Every end towards clients.
    fn accepting(&self) -> impl Iterator<Item = &Arc<End<ServerConfig>>> {
        let ways = std::iter::once(&self.server).chain(self.named.iter().map(|(_, way)| way));
        ways.flat_map(|way| [&way.foreign, &way.inside])
    }

    /// The inspect map, where there is one.
    pub(crate) fn inspector(&self) -> Option<&Inspector> {
        self.inspector.as_ref()
    }

    /// Whether one of our own certificates carries this host's name: it is us that the world calls by it.
    pub(crate) fn is_own_name(&self, host: &Domain) -> bool {
        self.names.iter().any(|names| names.is_host(host))
    }

    /// Certificates that peers will refuse by their dates.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Our end towards a TCP client; `foreign` if that client is on the outside.
    pub(crate) fn accept(&self, foreign: bool) -> Result<Link, rustls::Error> {
        let end = self.server.end(foreign);
        let tls = UnbufferedServerConnection::new(end.config.clone())?;
        let choice = || Choice { named: self.named.clone(), default: end.clone(), foreign };
        let choice = (!self.named.is_empty()).then(choice);
        Ok(Link { tls: Beginning::Server(tls), peers: end.peers.clone(), choice })
    }

    /// Our end towards a TCP server. The name is sent as SNI where it is a DNS name; it is not compared with
    /// the certificate.
    pub(crate) fn connect(&self, name: ServerName<'static>) -> Result<Link, rustls::Error> {
        let tls = UnbufferedClientConnection::new(self.client.config.clone(), name)?;
        Ok(Link { tls: Beginning::Client(tls), peers: self.client.peers.clone(), choice: None })
    }

    /// 64 bits that nobody can guess.
    pub(crate) fn random(&self) -> Option<u64> {
        let mut bytes = [0; 8];
        self.provider.secure_random.fill(&mut bytes).ok()?;
        Some(u64::from_ne_bytes(bytes))
    }
}

fn face_parts<'p>(policy: &PolicyView<'p>, face: &Face) -> FaceParts<'p> {
    let shown = policy.shown_of(face).iter().map(|shown| {
        let t = &policy.trustpoints()[shown.trustpoint as usize];
        let domain = Some(policy.str(shown.domain)).filter(|name| !name.is_empty());
        let (chain, key) = (policy.blob(t.chain), policy.blob(t.key));
        let spoken = Spoken { suites: shown.suites, flags: shown.flags };
        let spoken = (shown.flags != 0).then_some(spoken);
        (domain, Identity { trustpoint: policy.str(t.name), chain, key, spoken })
    });
    let vouchers = policy.vouchers_of(face).map(|t| Voucher {
        trustpoint: policy.str(t.name),
        cas: policy.blob(t.cas),
        crls: policy.blob(t.crls),
        revocation: t.revocation,
    });
    let bound = policy.name_trust().iter().map(|bound| {
        let trustpoint = &policy.trustpoints()[bound.trustpoint as usize];
        (policy.str(bound.name), bound.wildcard == 1, policy.str(trustpoint.name))
    });
    FaceParts {
        shown: shown.collect(),
        vouchers: vouchers.collect(),
        spoken: Spoken { suites: face.suites, flags: face.flags },
        bound: bound.collect(),
    }
}

impl FaceParts<'_> {
    fn peers(
        &self,
        spoken: Spoken,
        trusts: Vec<Trust>,
        meets: Meets,
        provider: &CryptoProvider,
    ) -> Arc<Peers> {
        let bound = Bound::new(self.bound.iter().copied());
        let algorithms = provider.signature_verification_algorithms;
        Arc::new(Peers::new(trusts, meets, algorithms, spoken.to_string(), bound))
    }
}

/// For the log: `TLSv1.3, TLSv1.2 with` the suites' names.
impl std::fmt::Display for Spoken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let versions = [(FACE_TLS13, "TLSv1.3"), (FACE_TLS12, "TLSv1.2")];
        let versions = versions.into_iter().filter(|(flag, _)| self.flags & flag != 0).map(|(_, name)| name);
        let names = suites(self.suites, self.flags).map(|suite| suite.name);
        let join = |names: Vec<&str>| names.join(", ");
        write!(f, "{} with {}", join(versions.collect()), join(names.collect()))
    }
}

impl Spoken {
    fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        let all = [(FACE_TLS13, &TLS13), (FACE_TLS12, &TLS12)];
        all.into_iter().filter(|(flag, _)| self.flags & flag != 0).map(|(_, version)| version).collect()
    }

    /// `provider` with these suites alone.
    fn provider(&self, provider: &CryptoProvider) -> Arc<CryptoProvider> {
        let ours: Vec<u16> = suites(self.suites, self.flags).map(|suite| suite.number).collect();
        let cipher_suites =
            ALL_CIPHER_SUITES.iter().filter(|suite| ours.contains(&suite.suite().into())).copied().collect();
        Arc::new(CryptoProvider { cipher_suites, ..provider.clone() })
    }

    fn server_config(
        &self,
        provider: &CryptoProvider,
        peers: &Arc<Peers>,
        resolver: Arc<BySni>,
    ) -> Result<ServerConfig, TlsConfigError> {
        let mut config = ServerConfig::builder_with_provider(self.provider(provider))
            .with_protocol_versions(&self.versions())?
            .with_client_cert_verifier(peers.clone())
            .with_cert_resolver(resolver);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Ticketer::new()?;
        config.send_tls13_tickets = 1;
        config.max_early_data_size = 0;
        // For our own record layer.
        config.enable_secret_extraction = true;
        Ok(config)
    }

    fn client_config(
        &self,
        provider: &CryptoProvider,
        peers: &Arc<Peers>,
        own: Option<Arc<CertifiedKey>>,
    ) -> Result<ClientConfig, TlsConfigError> {
        let builder = ClientConfig::builder_with_provider(self.provider(provider))
            .with_protocol_versions(&self.versions())?
            .dangerous()
            .with_custom_certificate_verifier(peers.clone());
        let mut config = match own {
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        config.enable_early_data = false;
        config.enable_secret_extraction = true;
        Ok(config)
    }
}

/// The fingerprint of an end: every byte string with its length before it, so that no two sets of parts run into one. Keys are
/// not in it: their certificates are.
fn print(proxy: &str, meets: Meets, face: &FaceParts<'_>, spoken: Spoken) -> Print {
    let mut sum = Context::new(&SHA256);
    let mut add = |bytes: &[u8]| {
        sum.update(&(bytes.len() as u64).to_le_bytes());
        sum.update(bytes);
    };
    add(proxy.as_bytes());
    add(&[meets as u8]);
    add(&spoken.suites.to_le_bytes());
    add(&spoken.flags.to_le_bytes());
    add(&face.shown.len().to_le_bytes());
    for (name, id) in &face.shown {
        add(name.unwrap_or("").as_bytes());
        add(id.chain);
    }
    add(&face.vouchers.len().to_le_bytes());
    for voucher in &face.vouchers {
        add(voucher.trustpoint.as_bytes());
        add(voucher.cas);
        add(voucher.crls);
        add(&voucher.revocation.to_le_bytes());
    }
    for (name, wildcard, trustpoint) in &face.bound {
        add(name.as_bytes());
        add(&[u8::from(*wildcard)]);
        add(trustpoint.as_bytes());
    }
    let digest: Digest = sum.finish();
    let mut print = Print::default();
    print.copy_from_slice(digest.as_ref());
    print
}

/// Shows the identity that is for the name the client called.
#[derive(Debug)]
struct BySni {
    /// Canonical names, each once.
    names: Box<[(Box<str>, Arc<CertifiedKey>)]>,
    default: Arc<CertifiedKey>,
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = |called| self.names.iter().find(|(name, _)| name.eq_ignore_ascii_case(called));
        let found = hello.server_name().and_then(named);
        Some(found.map_or(&self.default, |(_, key)| key).clone())
    }
}

#[cfg(test)]
mod tests;
