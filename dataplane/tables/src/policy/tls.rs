// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS in the policy: trustpoints, the two faces of each `tls-proxy`, and the cipher suites there are.
//!
//! A face is one end of a proxied connection: the *server* face is ours towards whoever opened it, the *client* face ours
//! towards whoever was called. Each face names what it shows ([`Shown`]: a trustpoint with an identity, for one SNI name or for
//! any) and, apart from that, the trustpoints whose CAs vouch for its peers. A CA counts nowhere else. [`SUITES`] is the one list of
//! suites: control reads names by it, a face holds a bit for each, the dataplane finds rustls' own by the IANA number.

use super::{Blob, NONE};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One `tls-proxy`, with the inspect map that it is used with. 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TlsProxy {
    /// Its name.
    pub name: Blob,
    /// Towards the TCP client.
    pub server: Face,
    /// Towards the TCP server.
    pub client: Face,
    /// The inspect map as JSON (`fedgate_sip::inspect::Spec`); empty for none.
    pub inspect: Blob,
}
const _: () = assert!(size_of::<TlsProxy>() == 64);

/// One face of a `tls-proxy`. 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Face {
    /// First of its [`Shown`]s.
    pub first_shown: u32,
    /// How many. The first without an SNI name is shown where no other fits. With none the proxy is not ready, and refuses connections.
    pub shown: u32,
    /// First of its vouchers: indices of trustpoints.
    pub first_voucher: u32,
    /// How many.
    pub vouchers: u32,
    /// Bit `i` stands for `SUITES[i]`; at least one for each version that is on.
    pub suites: u32,
    /// [`FACE_TLS12`] | [`FACE_TLS13`] | [`FACE_NO_CLIENT_AUTH`].
    pub flags: u32,
}
const _: () = assert!(size_of::<Face>() == 24);
/// The face speaks TLS 1.2.
pub const FACE_TLS12: u32 = 1;
/// The face speaks TLS 1.3.
pub const FACE_TLS13: u32 = 2;
/// `no server authenticate-client`: TCP clients on the inside may go without a certificate.
pub const FACE_NO_CLIENT_AUTH: u32 = 4;
/// Every flag there is.
pub const FACE_FLAGS: u32 = FACE_TLS12 | FACE_TLS13 | FACE_NO_CLIENT_AUTH;

/// What a face shows. 20 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Shown {
    /// A trustpoint that has an identity.
    pub trustpoint: u32,
    /// The SNI name it is for, canonical; empty for any.
    pub domain: Blob,
    /// What is spoken with who calls that name, as in [`Face::suites`]; 0, with `flags` 0, where it is what the face speaks.
    pub suites: u32,
    /// As [`Face::flags`].
    pub flags: u32,
}
const _: () = assert!(size_of::<Shown>() == 20);

impl Default for Shown {
    fn default() -> Self {
        Self { trustpoint: NONE, domain: Blob::default(), suites: 0, flags: 0 }
    }
}

/// One trustpoint: an identity, or CAs, or both. 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Trustpoint {
    /// Its name.
    pub name: Blob,
    /// PEM: own certificate, then intermediates. Empty where it has no identity.
    pub chain: Blob,
    /// PEM: private key (PKCS#8, PKCS#1 or SEC1). Empty where it has no identity.
    pub key: Blob,
    /// PEM: CA certificates. They vouch for the peers of the faces that name the trustpoint, and of no other.
    pub cas: Blob,
    /// PEM: revocation lists of those CAs.
    pub crls: Blob,
    /// [`REVOCATION_CRL`] | [`REVOCATION_OR_NONE`] | [`REVOCATION_ENFORCE_UPDATE`].
    pub revocation: u32,
    /// Zero.
    pub reserved: u32,
}
const _: () = assert!(size_of::<Trustpoint>() == 48);
/// `revocation-check crl`: a certificate whose CA has no list here is refused.
pub const REVOCATION_CRL: u32 = 1;
/// `revocation-check crl none`: it is taken.
pub const REVOCATION_OR_NONE: u32 = 2;
/// `enforcenextupdate`: a list past its nextUpdate is as good as none.
pub const REVOCATION_ENFORCE_UPDATE: u32 = 4;
/// Every flag there is.
pub const REVOCATION_FLAGS: u32 = REVOCATION_CRL | REVOCATION_OR_NONE | REVOCATION_ENFORCE_UPDATE;

/// `permit domain D [peer P] trustpoint T`: the name that speaks for D counts only in certificates that T vouches for. 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct NameTrust {
    /// P, or D where there is none; canonical.
    pub name: Blob,
    /// 1 where D is written `*.D` and there is no P: every name of one or more labels under it.
    pub wildcard: u32,
    /// The trustpoint.
    pub trustpoint: u32,
}
const _: () = assert!(size_of::<NameTrust>() == 16);

/// A cipher suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite {
    /// Its number in the IANA registry.
    pub number: u16,
    /// Its name there.
    pub name: &'static str,
    /// OpenSSL's name, which the ASA's `custom` strings use.
    pub openssl: &'static str,
    /// [`FACE_TLS12`] or [`FACE_TLS13`].
    pub version: u32,
}

const fn suite(number: u16, name: &'static str, openssl: &'static str, version: u32) -> Suite {
    Suite { number, name, openssl, version }
}

/// Every suite that the appliance speaks, best first: TLS 1.3, and of TLS 1.2 those with forward secrecy and AEAD.
#[rustfmt::skip]
pub const SUITES: [Suite; 9] = [
    suite(0x1302, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", FACE_TLS13),
    suite(0x1301, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", FACE_TLS13),
    suite(0x1303, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", FACE_TLS13),
    suite(0xC02C, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", FACE_TLS12),
    suite(0xC02B, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", FACE_TLS12),
    suite(0xCCA9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", FACE_TLS12),
    suite(0xC030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384", FACE_TLS12),
    suite(0xC02F, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", FACE_TLS12),
    suite(0xCCA8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305", FACE_TLS12),
];
/// The bits of all of [`SUITES`].
pub const ALL_SUITES: u32 = (1 << SUITES.len()) - 1;

/// The suites of `bits` that belong to a version of `flags`.
pub fn suites(bits: u32, flags: u32) -> impl Iterator<Item = &'static Suite> {
    SUITES
        .iter()
        .enumerate()
        .filter(move |(at, suite)| bits >> at & 1 == 1 && suite.version & flags != 0)
        .map(|(_, s)| s)
}
