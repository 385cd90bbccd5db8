// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds for any octets that a peer may send, for `cargo fuzz` (`fuzz/fuzz_targets`) and for the test that replays what it found.
//!
//! Only built for those two: `cfg(fuzzing)` is cargo-fuzz's. Each function panics where its property does not hold.

use crate::api::{CloseReason, Leg, Micros, Output, Road, SessionId};
use crate::event::Event;
use crate::identity::identity;
use crate::tcp::{Addr, Buffers, Endpoint, Port};
use crate::tls::{Beginning, Handshake, Hello, Link, Peers, Secure};
use fedgate_tables::counters::{Counter, Histo};
use fedgate_wire::{checksum, proto};
use rustls::client::UnbufferedClientConnection;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::sync::Arc;

/// The ClientHello reader: any octets, in any two pieces; the text for the log is bounded and of one line.
pub fn client_hello(data: &[u8]) {
    let (mut whole, mut pieces) = (Hello::default(), Hello::default());
    whole.keep(data);
    let (one, two) = data.split_at(data.len() / 3);
    pieces.keep(one);
    pieces.keep(two);
    assert_eq!(pieces.offer(), whole.offer());
    if let Some(text) = whole.offer() {
        assert!(text.len() < 1024 && !text.contains(char::is_control), "{text}");
    }
}

/// The names in a certificate: any octets; what is read is bounded, and each name covers what it is.
pub fn certificate(data: &[u8]) {
    let Some(peer) = identity(data) else { return };
    for name in peer.names() {
        assert!(!name.is_empty() && name.len() <= 253 && !name.contains(char::is_control), "{name:?}");
    }
}

const OURS: (u32, u16) = (0xc000_0205, 5061);
const PEER: (u32, u16) = (0xc633_6414, 40_000);
const BUFFERS: Buffers = Buffers { rx: 20 << 10, tx: 6 << 10 };

/// TCP's endpoint: segments of the peer, each of nine octets and its payload (what of sequence, acknowledgement, window and flags it says
/// and how long it is after the last), with reads and writes between them. Memory stays within the buffers, and every segment
/// that goes out is whole.
pub fn segments(data: &[u8]) {
    let mut now = Micros(1);
    let mut end = Endpoint::listen(now, (OURS, PEER), 1500, BUFFERS, 7);
    let mut sink = Sink::default();
    let mut rest = data;
    // The first two octets: whether we call or are called, and the peer's first number.
    if data.first().is_some_and(|first| first % 2 == 1) {
        end = Endpoint::connect(now, (OURS, PEER), 1500, BUFFERS, 7);
    }
    let mut theirs: u32 = 0xffff_ff00;
    while let Some((head, tail)) = rest.split_at_checked(9) {
        let len = usize::from(head[8]).min(tail.len());
        let (payload, after) = tail.split_at(len);
        rest = after;
        let flags = head[0];
        // Near what is right: random numbers of 32 bits hit nothing.
        let seq = theirs.wrapping_add(u32::from(head[1])).wrapping_sub(u32::from(head[2]) << 4);
        let ack = sink.next.wrapping_add(u32::from(head[3])).wrapping_sub(u32::from(head[4]) << 4);
        let window = u16::from_be_bytes([head[5], head[6]]);
        now = now.after(u64::from(head[7]) * 40_000);
        let packet = segment(seq, ack, flags, window, payload);
        end.watch(now);
        if end.input(now, &packet, usize::MAX) && flags & 0x10 != 0 {
            theirs = sink.acked.max(theirs.wrapping_sub(1 << 16));
        }
        if flags & 0x40 != 0 {
            let mut scrap = [0; 700];
            let _ = std::io::Read::read(&mut end, &mut scrap);
        }
        if flags & 0x80 != 0 && end.can_send() {
            let _ = std::io::Write::write(&mut end, &[0x55; 900]);
        }
        if head[7] == 255 {
            end.close();
        }
        let session = SessionId { slot: 0, generation: 0 };
        for _ in 0..64 {
            if !end.output(now, Port { session, road: Leg::Client.into(), out: &mut sink }) {
                break;
            }
        }
        if let Some(acked) = sink.acknowledged.take() {
            (sink.acked, theirs) = (acked, acked);
        }
        let most = BUFFERS.rx + BUFFERS.tx + (8 << 10);
        assert!(end.held() <= 2 * most, "{} bytes", end.held());
        assert!(end.next_poll().is_none_or(|at| at.0 < now.0 + 86_400_000_000));
    }
}

/// What a peer says once the handshake is over, in records with good tags: the first octet has the version and who says it, then come a type, a
/// length and that many octets, over and over. What is held stays within one message of a handshake, and what one end says of itself
/// (answers, alerts) the other can read.
pub fn tls_records(data: &[u8]) {
    let Some((first, mut rest)) = data.split_first() else { return };
    let (client, server) = secured(first & 1 == 1);
    let (mut says, mut hears) = if first & 2 == 2 { (client, server) } else { (server, client) };
    while let Some((&[kind, len], tail)) = rest.split_first_chunk() {
        let (content, after) = tail.split_at(usize::from(len).min(tail.len()));
        rest = after;
        let mut record = Vec::new();
        says.say(kind.into(), content, &mut record);
        let mut heard = 0;
        match hears.take(&mut record, |content| heard = content.len()) {
            Ok(_) => assert!(heard <= content.len() && hears.held() <= 2 * (4 + 0xffff + 256)),
            Err(why) => {
                let mut alert = Vec::new();
                hears.alert(&why, &mut alert);
                if !alert.is_empty() {
                    assert!(says.take(&mut alert, |_| ()).is_err());
                }
                return;
            }
        }
        let mut replies = hears.replies();
        while replies.len() >= 5 {
            let len = 5 + usize::from(u16::from_be_bytes([replies[3], replies[4]]));
            if says.take(&mut replies[..len], |_| ()).is_err() {
                return;
            }
            replies.drain(..len);
        }
    }
}

/// A handshake's octets: the first says whether we are called; then a type, a length and that many octets of a record, over and over. What we say is
/// bounded, and after an error nothing is asked again.
pub fn tls_handshake(data: &[u8]) {
    let Some((first, mut rest)) = data.split_first() else { return };
    let mut end = beginning(first & 1 == 1, first & 2 == 2);
    while let Some((&[kind, high, low], tail)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([high & 0x0f, low]));
        let (content, after) = tail.split_at(len.min(tail.len()));
        rest = after;
        let mut record = vec![kind, 3, 3];
        record.extend((content.len() as u16).to_be_bytes());
        record.extend_from_slice(content);
        let done = end.take(&record);
        assert!(end.out.len() < 1 << 16);
        if !matches!(done, Ok(false)) {
            return;
        }
    }
}

/// An end that knows the certificate of `fuzz/identity`, or has it.
fn beginning(client: bool, of_13: bool) -> Handshake {
    let cert = CertificateDer::from(&include_bytes!("../fuzz/identity/certificate.der")[..]);
    let provider = Arc::new(default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let versions = [if of_13 { &TLS13 } else { &TLS12 }];
    let tls = if client {
        let mut roots = RootCertStore::empty();
        roots.add(cert).expect("a certificate");
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions);
        let mut config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
        config.enable_secret_extraction = true;
        let name = ServerName::try_from("fuzz.example").expect("a name");
        Beginning::Client(UnbufferedClientConnection::new(Arc::new(config), name).expect("a client"))
    } else {
        let key = PrivateKeyDer::try_from(&include_bytes!("../fuzz/identity/key.der")[..]).expect("a key");
        let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions);
        let config = config.expect("versions").with_no_client_auth().with_single_cert(vec![cert], key);
        let mut config = config.expect("an identity");
        config.enable_secret_extraction = true;
        Beginning::Server(UnbufferedServerConnection::new(Arc::new(config)).expect("a server"))
    };
    Handshake::new(Link { tls, peers: Arc::new(Peers::of_nobody(!client, algorithms)), choice: None })
}

/// Two ends whose handshake is over.
fn secured(of_13: bool) -> (Secure, Secure) {
    let (mut client, mut server) = (beginning(true, of_13), beginning(false, of_13));
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let record = |wire: &mut Vec<u8>| -> Option<Vec<u8>> {
        let len = 5 + usize::from(u16::from_be_bytes([*wire.get(3)?, *wire.get(4)?]));
        (len <= wire.len()).then(|| wire.drain(..len).collect())
    };
    let (mut is_up, mut is_met) = (false, false);
    while !(is_up && is_met) {
        up.append(&mut client.out);
        down.append(&mut server.out);
        if let Some(record) = record(&mut up) {
            is_met = server.take(&record).expect("good records");
        } else if let Some(record) = record(&mut down).filter(|_| !is_up) {
            is_up = client.take(&record).expect("good records");
        }
    }
    down.append(&mut server.out);
    let mut client = client.finish().expect("a connection");
    while let Some(mut record) = record(&mut down) {
        client.take(&mut record, |_| ()).expect("tickets");
    }
    (client, server.finish().expect("a connection"))
}

/// A segment of the peer's with good checksums and whatever flags.
fn segment(seq: u32, ack: u32, flags: u8, window: u16, payload: &[u8]) -> Vec<u8> {
    let len = (40 + payload.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
    packet.extend(PEER.0.to_be_bytes());
    packet.extend(OURS.0.to_be_bytes());
    packet.extend(PEER.1.to_be_bytes());
    packet.extend(OURS.1.to_be_bytes());
    packet.extend(seq.to_be_bytes());
    packet.extend(ack.to_be_bytes());
    packet.extend([0x50, flags]);
    packet.extend(window.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend(payload);
    let sum = checksum::of(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let sum = checksum::of_segment(PEER.0, OURS.0, proto::TCP, &packet[20..]);
    packet[36..38].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// What our endpoint sends, as far as the next segment depends on it.
#[derive(Default)]
struct Sink {
    /// Our next number.
    next: u32,
    /// The last acknowledgement.
    acked: u32,
    acknowledged: Option<u32>,
}

impl Output for Sink {
    fn packet(&mut self, _: SessionId, _: Road, len: usize, fill: impl FnOnce(&mut [u8])) {
        let mut packet = vec![0; len];
        fill(&mut packet);
        assert!((40..=1500).contains(&len), "{len}");
        assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), len);
        let word =
            |at: usize| u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
        let header = usize::from(packet[32] >> 4) * 4;
        assert!((20..=60).contains(&header) && 20 + header <= len, "{header}");
        let (seq, ack, flags) = (word(24), word(28), packet[33]);
        let takes = (len - 20 - header) as u32 + u32::from(flags & 3 != 0);
        self.next = seq.wrapping_add(takes);
        if flags & 0x10 != 0 {
            self.acknowledged = Some(ack);
        }
    }
    fn connect(&mut self, _: SessionId, _: u8, _: Option<Addr>, _: Addr) -> Option<(Addr, u16)> {
        None
    }
    fn disconnect(&mut self, _: SessionId, _: u8) {}
    fn event(&mut self, _: SessionId, _: Event<'_>) {}
    fn closed(&mut self, _: SessionId, _: CloseReason) {}
    fn count(&mut self, _: Counter, _: u64) {}
    fn observe(&mut self, _: Histo, _: u64) {}
}

#[cfg(test)]
mod tests {
    //! What fuzzing has found, and what it began with: `tests/corpus/fuzz`, replayed.

    use std::path::Path;

    fn replay(target: &str, check: impl Fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/fuzz").join(target);
        let files = std::fs::read_dir(folder).expect("a folder of seeds");
        let mut count = 0;
        for file in files {
            check(&std::fs::read(file.expect("an entry").path()).expect("readable"));
            count += 1;
        }
        assert!(count > 0);
    }

    #[test]
    fn client_hellos() {
        replay("client_hello", super::client_hello);
    }

    #[test]
    fn certificates() {
        replay("certificate", super::certificate);
    }

    #[test]
    fn tls_records() {
        replay("tls_records", super::tls_records);
    }

    #[test]
    fn tls_handshakes() {
        replay("tls_handshake", super::tls_handshake);
    }

    #[test]
    fn segments() {
        replay("segments", super::segments);
    }
}
