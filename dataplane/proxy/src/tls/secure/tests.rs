// SPDX-License-Identifier: MIT OR Apache-2.0
//! A connection of ours with rustls at the other end, which is the twin: whatever either says is heard by the other; and with one of ours that says
//! what rustls never would.

use super::*;
use crate::side::Failure;
use crate::tls::record::PLAIN;
use crate::tls::{Beginning, Handshake, Link, Peers};
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, default_provider};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};
use std::io::{Read, Write};
use std::sync::{Arc, OnceLock};

const NAME: &str = "edge.local.example";

/// Configurations of both ends that speak this suite alone.
struct Pair {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

/// One certificate for all tests.
fn own() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    static OWN: OnceLock<(CertificateDer<'static>, Vec<u8>)> = OnceLock::new();
    let (cert, key) = OWN.get_or_init(|| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().der().clone(), key.serialize_der())
    });
    (cert.clone(), PrivateKeyDer::try_from(key.clone()).unwrap())
}

impl Pair {
    fn of(suite: SupportedCipherSuite) -> Self {
        let provider = Arc::new(CryptoProvider { cipher_suites: vec![suite], ..default_provider() });
        let version = if suite.tls13().is_some() { &TLS13 } else { &TLS12 };
        let (cert, key) = own();
        let mut roots = RootCertStore::empty();
        roots.add(cert.clone()).unwrap();
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.enable_secret_extraction = true;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert], key)
            .unwrap();
        server.enable_secret_extraction = true;
        Self { client: Arc::new(client), server: Arc::new(server) }
    }

    fn handshake(&self, client: bool) -> Handshake {
        let algorithms = default_provider().signature_verification_algorithms;
        let peers = Arc::new(Peers::of_nobody(!client, algorithms));
        let tls = if client {
            let name = ServerName::try_from(NAME).unwrap();
            Beginning::Client(UnbufferedClientConnection::new(self.client.clone(), name).unwrap())
        } else {
            Beginning::Server(UnbufferedServerConnection::new(self.server.clone()).unwrap())
        };
        Handshake::new(Link { tls, peers, choice: None })
    }

    /// rustls's own connection at the other end.
    fn twin(&self, client: bool) -> Connection {
        if client {
            let name = ServerName::try_from(NAME).unwrap();
            ClientConnection::new(self.client.clone(), name).unwrap().into()
        } else {
            ServerConnection::new(self.server.clone()).unwrap().into()
        }
    }
}

/// The first record of `wire`, if it is whole.
fn next(wire: &mut Vec<u8>) -> Option<Vec<u8>> {
    let len = usize::from(u16::from_be_bytes([*wire.get(3)?, *wire.get(4)?]));
    (wire.len() >= 5 + len).then(|| wire.drain(..5 + len).collect())
}

fn said(twin: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while twin.wants_write() {
        twin.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn heard(twin: &mut Connection, mut bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    while !bytes.is_empty() {
        twin.read_tls(&mut bytes).unwrap();
        twin.process_new_packets()?;
        let mut chunk = [0; 4096];
        while let Ok(len @ 1..) = twin.reader().read(&mut chunk) {
            content.extend_from_slice(&chunk[..len]);
        }
    }
    Ok(content)
}

/// Ours and rustls's, their handshake done; what the twin has said after it is still to be heard.
fn met(suite: SupportedCipherSuite, client: bool) -> (Secure, Connection, Vec<u8>) {
    let pair = Pair::of(suite);
    let (mut ours, mut twin) = (pair.handshake(client), pair.twin(!client));
    let mut wire = Vec::new();
    loop {
        heard(&mut twin, &std::mem::take(&mut ours.out)).unwrap();
        wire.extend(said(&mut twin));
        let record = next(&mut wire).expect("a handshake goes on");
        if ours.take(&record).unwrap() {
            heard(&mut twin, &std::mem::take(&mut ours.out)).unwrap();
            assert!(!twin.is_handshaking());
            wire.extend(said(&mut twin));
            return (ours.finish().unwrap(), twin, wire);
        }
    }
}

/// Two of ours.
fn both(suite: SupportedCipherSuite) -> (Secure, Secure) {
    let pair = Pair::of(suite);
    let (mut client, mut server) = (pair.handshake(true), pair.handshake(false));
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let mut over = (false, false);
    while over != (true, true) {
        up.append(&mut client.out);
        down.append(&mut server.out);
        if let Some(record) = next(&mut up) {
            over.1 = server.take(&record).unwrap();
        } else if !over.0
            && let Some(record) = next(&mut down)
        {
            over.0 = client.take(&record).unwrap();
        }
    }
    down.append(&mut server.out);
    let (mut client, server) = (client.finish().unwrap(), server.finish().unwrap());
    take_all(&mut client, &mut down).unwrap();
    (client, server)
}

/// What comes of all records in `wire`.
fn take_all(end: &mut Secure, wire: &mut Vec<u8>) -> Result<(Vec<u8>, Taken), Error> {
    let (mut content, mut last) = (Vec::new(), Taken::Fine);
    while let Some(mut record) = next(wire) {
        match end.take(&mut record, |bytes| content.extend_from_slice(bytes))? {
            Taken::Fine => {}
            other => last = other,
        }
    }
    Ok((content, last))
}

fn sealed(end: &mut Secure, kind: ContentType, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    end.say(kind, content, &mut out);
    assert_eq!(out.len(), end.sealed(content.len()));
    out
}

/// What a record with this inside it comes to.
fn hears(end: &mut Secure, from: &mut Secure, kind: ContentType, content: &[u8]) -> Result<Taken, Error> {
    take_all(end, &mut sealed(from, kind, content)).map(|(_, taken)| taken)
}

fn suites() -> impl Iterator<Item = SupportedCipherSuite> {
    // The certificate is of ECDSA.
    ALL_CIPHER_SUITES
        .iter()
        .copied()
        .filter(|suite| suite.tls13().is_some() || format!("{:?}", suite.suite()).contains("ECDHE_ECDSA"))
}

fn of_13() -> SupportedCipherSuite {
    suites().find(|suite| suite.tls13().is_some()).unwrap()
}

fn of_12() -> SupportedCipherSuite {
    suites().find(|suite| suite.tls13().is_none()).unwrap()
}

fn text(len: usize, n: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + n * 7) as u8).collect()
}

#[derive(Clone, Debug)]
enum Deed {
    /// Either says so much.
    Ours(usize),
    Theirs(usize),
    /// The twin takes new keys and asks for ours to be new.
    Renew,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Every suite, both roles: what one says is what the other hears, through any sizes and new keys.
    #[test]
    fn rustls_at_the_other_end(
        suite in 0..suites().count(),
        client: bool,
        deeds in prop::collection::vec(
            prop_oneof![
                3 => (0usize..40_000).prop_map(Deed::Ours),
                3 => (0usize..40_000).prop_map(Deed::Theirs),
                1 => Just(Deed::Renew),
            ],
            1..12,
        ),
    ) {
        let suite = suites().nth(suite).unwrap();
        let (mut ours, mut twin, mut wire) = met(suite, client);
        prop_assert_eq!(take_all(&mut ours, &mut wire).unwrap().0, b"");
        prop_assert_eq!(ours.agreed().1, suite.suite());
        prop_assert_eq!(ours.chain().is_some(), client);
        for (n, deed) in deeds.into_iter().enumerate() {
            match deed {
                Deed::Ours(len) => {
                    let (bytes, mut out) = (text(len, n), Vec::new());
                    prop_assert!(ours.send(&bytes, &mut out));
                    prop_assert_eq!(heard(&mut twin, &out).unwrap(), bytes);
                }
                Deed::Theirs(len) => {
                    let bytes = text(len, n);
                    let mut rest = &bytes[..];
                    let mut content = Vec::new();
                    while !rest.is_empty() {
                        let written = twin.writer().write(rest).unwrap();
                        rest = &rest[written..];
                        content.extend(take_all(&mut ours, &mut said(&mut twin)).unwrap().0);
                    }
                    prop_assert_eq!(content, bytes);
                }
                Deed::Renew if suite.tls13().is_some() => {
                    twin.refresh_traffic_keys().unwrap();
                    prop_assert_eq!(take_all(&mut ours, &mut said(&mut twin)).unwrap().1, Taken::Replies);
                    prop_assert_eq!(heard(&mut twin, &ours.replies()).unwrap(), b"");
                }
                Deed::Renew => prop_assert!(twin.refresh_traffic_keys().is_err()),
            }
        }
        twin.send_close_notify();
        prop_assert_eq!(take_all(&mut ours, &mut said(&mut twin)).unwrap().1, Taken::Closed);
        let mut out = Vec::new();
        ours.close(&mut out);
        prop_assert!(heard(&mut twin, &out).unwrap().is_empty());
        prop_assert_eq!(twin.reader().read(&mut [0; 1]).unwrap(), 0);
    }

    /// A bit that is not as it was sent is not heard, and the sender is told why.
    #[test]
    fn what_was_changed_is_refused(suite in 0..suites().count(), len in 1usize..300, at: prop::sample::Index, in_header: bool, bit in 0u8..8) {
        let (mut ours, mut twin, mut wire) = met(suites().nth(suite).unwrap(), true);
        take_all(&mut ours, &mut wire).unwrap();
        twin.writer().write_all(&text(len, 1)).unwrap();
        let mut record = said(&mut twin);
        // The length is TCP's to judge; a version that TLS 1.3 does not look at is authenticated all the same.
        let at = if in_header { at.index(3) } else { 5 + at.index(record.len() - 5) };
        record[at] ^= 1 << bit;
        let why = ours.take(&mut record, |_| panic!("heard")).unwrap_err();
        let mut out = Vec::new();
        ours.alert(&why, &mut out);
        let told = heard(&mut twin, &out).unwrap_err();
        prop_assert!(
            matches!(told, Error::AlertReceived(AlertDescription::BadRecordMac | AlertDescription::UnexpectedMessage)),
            "{why}: {told}"
        );
    }
}

/// A key that has encrypted as much as it should is followed by another, or by the end where there is none.
#[test]
fn keys_wear_out() {
    for suite in suites() {
        let (mut ours, mut twin, mut wire) = met(suite, true);
        take_all(&mut ours, &mut wire).unwrap();
        ours.sealer.wear(4);
        let mut renewed = false;
        for n in 0..8 {
            let (bytes, mut out) = (text(50, n), Vec::new());
            let on = ours.send(&bytes, &mut out);
            assert_eq!(heard(&mut twin, &out).unwrap(), bytes);
            renewed |= out.len() > ours.sealed(50);
            if !on {
                break;
            }
        }
        assert_eq!(renewed, suite.tls13().is_some(), "{suite:?}");
    }
}

/// What may be repeated without saying anything may be repeated so often.
#[test]
fn patience_ends() {
    let (mut client, mut server) = both(of_13());
    let nothing = |from: &mut Secure, to: &mut Secure| hears(to, from, ContentType::ApplicationData, b"");
    for _ in 0..3 {
        for _ in 0..EMPTY_RECORDS {
            assert_eq!(nothing(&mut client, &mut server), Ok(Taken::Fine));
        }
        assert_eq!(hears(&mut server, &mut client, ContentType::ApplicationData, b"x"), Ok(Taken::Fine));
    }
    for _ in 0..EMPTY_RECORDS {
        assert_eq!(nothing(&mut client, &mut server), Ok(Taken::Fine));
    }
    assert_eq!(nothing(&mut client, &mut server), Err(PeerMisbehaved::TooManyEmptyFragments.into()));

    let (mut client, mut server) = both(of_13());
    let update = |from: &mut Secure, to: &mut Secure| {
        let mut out = Vec::new();
        from.renew(&mut out).unwrap();
        take_all(to, &mut out)
    };
    for _ in 0..KEY_UPDATES {
        update(&mut client, &mut server).unwrap();
    }
    let last = update(&mut client, &mut server);
    assert_eq!(last, Err(PeerMisbehaved::TooManyKeyUpdateRequests.into()));

    let (mut client, mut server) = both(of_13());
    let canceled = [WARNING, AlertDescription::UserCanceled.into()];
    for _ in 0..WARNINGS {
        assert_eq!(hears(&mut server, &mut client, ContentType::Alert, &canceled), Ok(Taken::Fine));
    }
    let last = hears(&mut server, &mut client, ContentType::Alert, &canceled);
    assert_eq!(last, Err(PeerMisbehaved::TooManyWarningAlertsReceived.into()));
}

/// The old wish for another handshake is declined once.
#[test]
fn nothing_is_negotiated_again() {
    let (mut client, mut server) = both(of_12());
    for (ask, client_asks) in [(1, true), (0, false)] {
        let (from, to) = if client_asks { (&mut client, &mut server) } else { (&mut server, &mut client) };
        let hello = [ask, 0, 0, 0];
        assert_eq!(hears(to, from, ContentType::Handshake, &hello), Ok(Taken::Replies));
        // A warning, which does no harm.
        assert_eq!(take_all(from, &mut to.replies()).unwrap().1, Taken::Fine);
        let again = hears(to, from, ContentType::Handshake, &hello);
        assert_eq!(again, Err(PeerMisbehaved::TooManyRenegotiationRequests.into()));
    }
    // In TLS 1.3 there is no such thing.
    let (mut client, mut server) = both(of_13());
    let hello = hears(&mut server, &mut client, ContentType::Handshake, &[1, 0, 0, 0]);
    assert!(matches!(hello, Err(Error::InappropriateHandshakeMessage { .. })), "{hello:?}");
}

/// What has no place here, each with its error and its alert.
#[test]
fn what_has_no_place() {
    let update = [24, 0, 0, 1, 0];
    let with_more = [&update[..], &[24]].concat();
    let ticket = [4, 0, 0, 1, 0];
    let long = [4, 1, 0, 0];
    let cases: [(ContentType, &[u8], AlertDescription); 10] = [
        // Nothing but padding.
        (ContentType::from(0), &[0, 0], AlertDescription::UnexpectedMessage),
        (ContentType::ChangeCipherSpec, &[1], AlertDescription::UnexpectedMessage),
        (ContentType::Heartbeat, &[1], AlertDescription::UnexpectedMessage),
        (ContentType::Handshake, &with_more, AlertDescription::UnexpectedMessage),
        (ContentType::Handshake, &[24, 0, 0, 1, 2], AlertDescription::DecodeError),
        (ContentType::Handshake, &ticket, AlertDescription::UnexpectedMessage),
        (ContentType::Handshake, &long, AlertDescription::DecodeError),
        (ContentType::Handshake, &[], AlertDescription::DecodeError),
        (ContentType::Alert, &[1], AlertDescription::DecodeError),
        (ContentType::ApplicationData, &[0; PLAIN + 1], AlertDescription::RecordOverflow),
    ];
    for (kind, content, alert) in cases {
        let (mut client, mut server) = both(of_13());
        let mut record = if content.len() > PLAIN {
            // More than a record's: the sealer would make two of it.
            client.sealer.sealed_whole(content)
        } else {
            sealed(&mut client, kind, content)
        };
        let why = server.take(&mut record, |_| panic!("heard")).unwrap_err();
        let mut out = Vec::new();
        server.alert(&why, &mut out);
        let told = take_all(&mut client, &mut out);
        assert_eq!(told, Err(Error::AlertReceived(alert)), "{kind:?}: {why}");
    }
    // A part of a message, and then something else.
    let (mut client, mut server) = both(of_13());
    assert_eq!(hears(&mut server, &mut client, ContentType::Handshake, &update[..3]), Ok(Taken::Fine));
    assert!(server.held() > 0);
    let between = hears(&mut server, &mut client, ContentType::ApplicationData, b"x");
    assert_eq!(between, Err(PeerMisbehaved::MessageInterleavedWithHandshakeMessage.into()));
    // And with nothing between.
    let (mut client, mut server) = both(of_13());
    for byte in update {
        assert_eq!(hears(&mut server, &mut client, ContentType::Handshake, &[byte]), Ok(Taken::Fine));
    }
    assert_eq!(server.held(), 0);
    // Which was in clear.
    let (_, mut server) = both(of_13());
    let mut clear = [21, 3, 3, 0, 2, 2, 40];
    assert!(matches!(server.take(&mut clear, |_| ()), Err(Error::InappropriateMessage { .. })));
}

/// A peer's failure is its word, and is not answered.
#[test]
fn an_alert_ends_it() {
    for suite in [of_12(), of_13()] {
        let (mut client, mut server) = both(suite);
        let alert = [FATAL, AlertDescription::InternalError.into()];
        let why = hears(&mut server, &mut client, ContentType::Alert, &alert).unwrap_err();
        assert_eq!(why, Error::AlertReceived(AlertDescription::InternalError));
        let mut out = Vec::new();
        server.alert(&why, &mut out);
        assert!(out.is_empty());
    }
}

/// A ticket that came after the handshake is good for the next.
#[test]
fn tickets_are_kept() {
    for suite in [of_12(), of_13()] {
        let pair = Pair::of(suite);
        for resumed in [false, true] {
            let (mut ours, mut twin) = (pair.handshake(true), pair.twin(false));
            let mut wire = Vec::new();
            let mut secure = loop {
                heard(&mut twin, &std::mem::take(&mut ours.out)).unwrap();
                wire.extend(said(&mut twin));
                let record = next(&mut wire).expect("a handshake goes on");
                if ours.take(&record).unwrap() {
                    heard(&mut twin, &std::mem::take(&mut ours.out)).unwrap();
                    wire.extend(said(&mut twin));
                    break ours.finish().unwrap();
                }
            };
            take_all(&mut secure, &mut wire).unwrap();
            assert_eq!(secure.is_resumed(), resumed, "{suite:?}");
            assert!(secure.chain().is_some());
        }
    }
}

/// A handshake that comes to nothing says so to the peer.
#[test]
fn a_failed_handshake_has_its_alert() {
    let (twelve, thirteen) = (Pair::of(of_12()), Pair::of(of_13()));
    let (mut ours, mut twin) = (twelve.handshake(false), thirteen.twin(true));
    let mut hello = said(&mut twin);
    let why = ours.take(&next(&mut hello).unwrap()).unwrap_err();
    assert!(matches!(why, Failure::NothingInCommon(..)), "{why}");
    let told = heard(&mut twin, &ours.out).unwrap_err();
    assert_eq!(told, Error::AlertReceived(AlertDescription::ProtocolVersion));
}
