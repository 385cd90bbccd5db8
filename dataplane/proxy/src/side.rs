// SPDX-License-Identifier: MIT OR Apache-2.0
//! One side of a session: a TCP endpoint, the TLS connection on it, and the plaintext not yet dealt with.
//!
//! Bytes come in by [`Side::receive`] (TCP -> TLS -> inbox) and go out by [`Side::send`] and [`Side::flush`]
//! (TLS -> TCP). Back-pressure is the absence of a call: what is not taken out of the inbox is not decrypted,
//! what is not decrypted stays in the TCP receive buffer, and TCP's window closes.
//!
//! Bounds. The inbox holds one message and [`READ_AHEAD`] at most. Whole messages are handed to TLS, never parts,
//! so that an answer of ours can never land inside one; the session asks [`Side::has_room`] first, so TLS holds
//! [`LOW_WATER`] and one message. rustls bounds what it has received by one record, during the handshake we do
//! by [`HANDSHAKE_BYTES`]. Called only by the session, on the worker's core.

use crate::identity::not_after;
use crate::tcp::Endpoint;
use crate::tls::{Choice, Hello, Link, Peers};
use crate::{Micros, sip};
use fedgate_sip::frame::Framer;
use fedgate_sip::identity::PeerIdentity;
use fedgate_tables::counters::Stat;
use rustls::pki_types::UnixTime;
use rustls::server::Acceptor;
use rustls::{CertificateError, Connection, HandshakeKind};
use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;

/// Plaintext read ahead of the message at hand.
pub(crate) const READ_AHEAD: usize = 16 * 1024;
/// No further message is handed to TLS while this much waits to be sent.
pub(crate) const LOW_WATER: usize = 16 * 1024;
/// What a peer may send in a handshake: a certificate chain of some 16 KiB fits, hundreds of certificates do not.
const HANDSHAKE_BYTES: usize = 48 * 1024;
/// A record's header, nonce and tag, at most.
const RECORD_OVERHEAD: usize = 64;
/// rustls cuts what it sends into records of this size.
const RECORD: usize = 16 * 1024;
/// What one side is charged for rustls in the handshake, beside what waits to be sent: [`HANDSHAKE_BYTES`], one read from
/// TCP, and the state.
pub(crate) const HANDSHAKE_COST: usize = 64 * 1024;
/// And later: keys, the peer's certificates, and a buffer that is read into; parts of records stay with TCP.
const SECURE_COST: usize = 10 * 1024;

/// Where a peer stands with what it sends us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    Open,
    /// It said close_notify, sent a FIN, or is gone.
    Ended,
}

/// Where we stand with what we send it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    Open,
    /// Nothing more is taken; what is queued still goes out.
    Draining,
    /// Our FIN is queued.
    Closed,
}

/// Why a side failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    #[error("{0}: {1}")]
    NothingInCommon(rustls::Error, String),
    #[error("more than {HANDSHAKE_BYTES} bytes in the handshake")]
    HandshakeTooLong,
    #[error("the names in the certificate cannot be read")]
    Certificate,
}

/// What [`Side::receive`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Anything at all.
    pub(crate) moved: bool,
    /// The TLS handshake ended just now.
    pub(crate) secured: bool,
}

pub(crate) struct Side {
    pub(crate) tcp: Endpoint,
    tls: Connection,
    /// Who judges the peer's certificate.
    peers: Arc<Peers>,
    hello: Hello,
    /// Until the name that the client calls is known, where that decides how it is met.
    undecided: Option<Box<Undecided>>,
    /// Set once the handshake is done.
    pub(crate) peer: Option<PeerIdentity>,
    pub(crate) framer: Framer,
    pub(crate) inbox: Inbox,
    pub(crate) head: sip::Head,
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
    /// Bytes TLS holds for TCP; the overhead is estimated, never too low.
    backlog: usize,
    handshake_bytes: usize,
    /// Bytes of whole records that TCP holds and TLS has not had: parts of records stay with TCP, which is the one that counts them.
    whole: usize,
    /// The end of the peer's certificate, seconds since 1970; read when it is first looked at again.
    good_until: Option<u64>,
    /// When it was made, then when TCP came up.
    pub(crate) since: Micros,
    tcp_was_up: bool,
}

impl Side {
    pub(crate) fn new(tcp: Endpoint, link: Link, now: Micros) -> Self {
        let mut side = Self {
            tcp,
            tls: link.tls,
            peers: link.peers,
            hello: Hello::default(),
            undecided: link
                .choice
                .map(|choice| Box::new(Undecided { acceptor: Acceptor::default(), choice })),
            peer: None,
            framer: Framer::new(sip::LIMITS),
            inbox: Inbox::default(),
            head: sip::Head::default(),
            incoming: Incoming::Open,
            outgoing: Outgoing::Open,
            backlog: 0,
            handshake_bytes: 0,
            whole: 0,
            good_until: None,
            since: now,
            tcp_was_up: false,
        };
        // Writes are gated by has_room, whole messages at a time.
        side.tls.set_buffer_limit(None);
        side
    }

    /// The identity in the peer's certificate; `None` until the handshake is done.
    pub(crate) fn peer(&self) -> Option<&PeerIdentity> {
        self.peer.as_ref()
    }

    /// Who judges its peer.
    pub(crate) fn judge(&self) -> &Arc<Peers> {
        &self.peers
    }

    /// Looks again at a peer that was let in, by who judges it today. Gives whether that took more than a look at the time.
    ///
    /// # Errors
    /// It would not be let in now: why.
    pub(crate) fn look_at_trust(&mut self, judge: Arc<Peers>, now: UnixTime) -> Result<bool, String> {
        let tls = &self.tls;
        let end = || tls.peer_certificates().and_then(|chain| not_after(chain.first()?));
        let until = *self.good_until.get_or_insert_with(|| end().unwrap_or(u64::MAX));
        if Arc::ptr_eq(&judge, &self.peers) && now.as_secs() <= until {
            return Ok(false);
        }
        self.peer = Some(judge.again(&self.tls, now).map_err(|why| why.to_string())?);
        self.peers = judge;
        Ok(true)
    }

    /// TLS is up.
    pub(crate) fn is_secure(&self) -> bool {
        self.peer.is_some()
    }

    /// TCP is up or was.
    pub(crate) fn tcp_was_up(&self) -> bool {
        self.tcp_was_up
    }

    /// Notes the moment TCP comes up, from which the TLS handshake is timed.
    pub(crate) fn watch(&mut self, now: Micros) {
        if !self.tcp_was_up && self.tcp.is_up() && !self.tcp.is_dead() {
            self.tcp_was_up = true;
            self.since = now;
        }
    }

    /// Protocol version and suite, once they are agreed.
    pub(crate) fn agreed(&self) -> Option<(rustls::ProtocolVersion, rustls::CipherSuite)> {
        Some((self.tls.protocol_version()?, self.tls.negotiated_cipher_suite()?.suite()))
    }

    /// The handshake resumed an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Reads what TCP has, decrypts it, and fills the inbox up to `cap` bytes.
    pub(crate) fn receive(&mut self, cap: usize) -> Result<Received, Failure> {
        let mut done = Received { moved: false, secured: false };
        loop {
            if self.is_secure() && self.incoming == Incoming::Open {
                match self.inbox.fill(&mut self.tls, cap) {
                    Fill::Full => break,
                    Fill::Read => {
                        // There may be more: rustls reads on only when all of its plaintext is taken.
                        done.moved = true;
                        continue;
                    }
                    Fill::Nothing => {}
                    Fill::End => {
                        self.incoming = Incoming::Ended;
                        done.moved = true;
                    }
                }
            }
            if self.incoming == Incoming::Ended {
                // Nothing after a close_notify counts; the FIN behind it does.
                self.discard();
                break;
            }
            if self.whole == 0 {
                self.whole = self.tcp.whole_records();
            }
            if self.whole == 0 {
                if self.tcp.is_read_out() {
                    // A FIN without close_notify, or a reset. What is whole has been delivered; a cut message
                    // never will be.
                    self.incoming = Incoming::Ended;
                    done.moved = true;
                }
                break;
            }
            done.moved = true;
            done.secured |= self.decrypt()?;
        }
        Ok(done)
    }

    /// Reads and forgets what comes, so that the peer's FIN can come through.
    pub(crate) fn discard(&mut self) {
        self.tcp.discard();
        self.whole = 0;
    }

    /// One gulp from TCP through TLS; true when that ended the handshake.
    fn decrypt(&mut self) -> Result<bool, Failure> {
        // An error here would be rustls refusing to buffer more: it cannot, its plaintext was taken first.
        let mut whole = (&mut self.tcp).take(self.whole as u64);
        if self.peer.is_some() {
            let read = self.tls.read_tls(&mut whole).map_err(|e| Failure::Tls(general(&e)))?;
            self.whole -= read.min(self.whole);
            self.tls.process_new_packets()?;
            return Ok(false);
        }
        let mut kept = Kept { from: whole, hello: &mut self.hello };
        let read = match &mut self.undecided {
            None => self.tls.read_tls(&mut kept),
            Some(undecided) => undecided.acceptor.read_tls(&mut kept),
        };
        let read = read.map_err(|e| Failure::Tls(general(&e)))?;
        self.whole -= read.min(self.whole);
        self.handshake_bytes += read;
        let done = match self.undecided.take() {
            None => self.tls.process_new_packets().map(|_| ()),
            Some(undecided) => self.decide(undecided),
        };
        if let Err(why) = done {
            return Err(match self.hello.explain(&why, &self.peers) {
                Some(offers) => Failure::NothingInCommon(why, offers),
                None => Failure::Tls(why),
            });
        }
        if self.handshake_bytes > HANDSHAKE_BYTES {
            return Err(Failure::HandshakeTooLong);
        }
        if self.tls.is_handshaking() {
            return Ok(false);
        }
        self.hello.forget();
        self.peer = Some(self.peers.identify(&self.tls)?);
        Ok(true)
    }

    /// Once a whole ClientHello is here, goes on as the name in it says.
    #[cold]
    fn decide(&mut self, mut undecided: Box<Undecided>) -> Result<(), rustls::Error> {
        let (why, mut alert) = match undecided.acceptor.accept() {
            Ok(None) => {
                self.undecided = Some(undecided);
                return Ok(());
            }
            Ok(Some(accepted)) => {
                let (config, peers) = undecided.choice.of(accepted.client_hello().server_name());
                self.peers = peers;
                match accepted.into_connection(config) {
                    Ok(tls) => {
                        self.tls = tls.into();
                        self.tls.set_buffer_limit(None);
                        return self.tls.process_new_packets().map(|_| ());
                    }
                    Err(failed) => failed,
                }
            }
            Err(failed) => failed,
        };
        // A few bytes into an empty buffer.
        let _ = alert.write_all(&mut self.tcp);
        Err(why)
    }

    /// Nothing in the inbox can be dealt with before more bytes come.
    pub(crate) fn is_exhausted(&self) -> bool {
        let waiting = self.inbox.bytes().len();
        self.head.is_unread() && (waiting == 0 || waiting < self.head.wanted())
    }

    /// Nothing more will come out of this side.
    pub(crate) fn is_done(&self) -> bool {
        self.incoming == Incoming::Ended && self.is_exhausted()
    }

    /// Whether a whole message may be handed to [`Self::send`].
    pub(crate) fn has_room(&self) -> bool {
        self.is_secure() && self.outgoing == Outgoing::Open && self.backlog < LOW_WATER
    }

    /// Encrypts one whole message.
    pub(crate) fn send(&mut self, message: &[u8]) {
        Self::encrypt(&mut self.tls, &mut self.backlog, message);
    }

    fn encrypt(tls: &mut Connection, backlog: &mut usize, message: &[u8]) {
        // In-memory and without a limit: rustls takes all of it.
        if tls.writer().write_all(message).is_ok() {
            *backlog += message.len() + (message.len() / RECORD + 1) * RECORD_OVERHEAD;
        }
    }

    /// Takes no more to send; says close_notify where that means something, then FIN.
    pub(crate) fn shut(&mut self) {
        if self.outgoing == Outgoing::Open {
            self.outgoing = Outgoing::Draining;
            if self.is_secure() {
                self.tls.send_close_notify();
            }
        }
    }

    /// The same after an error, about which TLS has queued its alert.
    pub(crate) fn shut_failed(&mut self) {
        self.incoming = Incoming::Ended;
        if self.outgoing == Outgoing::Open {
            self.outgoing = Outgoing::Draining;
        }
    }

    /// Moves TLS bytes to TCP as far as there is room.
    pub(crate) fn flush(&mut self) -> bool {
        if self.tcp.is_dead() {
            // Nobody is left to say anything to, nor to answer.
            self.outgoing = Outgoing::Closed;
            self.backlog = 0;
            return false;
        }
        let mut moved = false;
        while self.tls.wants_write() && self.tcp.can_send() {
            let Ok(written) = self.tls.write_tls(&mut self.tcp) else { break };
            self.backlog = self.backlog.saturating_sub(written);
            moved |= written > 0;
        }
        let all_out = !self.tls.wants_write();
        if all_out {
            self.backlog = 0;
        }
        if self.outgoing == Outgoing::Draining && (all_out || !self.tcp_was_up) {
            self.outgoing = Outgoing::Closed;
            self.tcp.close();
            moved = true;
        }
        moved
    }

    /// Bytes that this side holds elsewhere: what can be counted as it is, rustls's state at its worst.
    pub(crate) fn held(&self) -> usize {
        let tls = if self.is_secure() { SECURE_COST } else { HANDSHAKE_COST };
        tls + self.tcp.held() + self.inbox.capacity() + self.backlog
    }
}

/// A server's end before it is known which it is.
struct Undecided {
    acceptor: Acceptor,
    choice: Choice,
}

impl Failure {
    /// The statistic of failures of its kind, beside that of all.
    pub(crate) fn stat(&self) -> Option<Stat> {
        match self {
            Self::NothingInCommon(..) => Some(Stat::TlsNothingInCommon),
            Self::Tls(rustls::Error::InvalidCertificate(CertificateError::Revoked)) => Some(Stat::TlsRevoked),
            Self::Tls(_) | Self::HandshakeTooLong | Self::Certificate => None,
        }
    }
}

/// TCP's bytes, the first of which are kept in case that the handshake fails.
struct Kept<'s, R> {
    from: R,
    hello: &'s mut Hello,
}

impl<R: Read> Read for Kept<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buf)?;
        self.hello.keep(&buf[..read]);
        Ok(read)
    }
}

fn general(e: &io::Error) -> rustls::Error {
    rustls::Error::General(e.to_string())
}

/// Plaintext received and not yet dealt with, contiguous.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    buf: Vec<u8>,
    start: usize,
}

enum Fill {
    Full,
    Read,
    Nothing,
    End,
}

impl Inbox {
    /// What waits.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buf[self.start..]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.buf.len()
    }

    fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    /// Takes out the first `len` bytes.
    pub(crate) fn consume(&mut self, len: usize) {
        self.start = (self.start + len).min(self.buf.len());
        if self.is_empty() {
            // Not kept: memory that another session has just used is in the cache, this session's own no more when the next message comes.
            *self = Self::default();
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Moves one chunk of plaintext out of TLS, up to `cap` bytes in all.
    fn fill(&mut self, tls: &mut Connection, cap: usize) -> Fill {
        let waiting = self.buf.len() - self.start;
        if waiting >= cap {
            return Fill::Full;
        }
        let taken = match tls.reader().into_first_chunk() {
            Ok([]) => return Fill::End,
            Ok(chunk) => {
                if self.start > 0 {
                    self.buf.copy_within(self.start.., 0);
                    self.buf.truncate(waiting);
                    self.start = 0;
                }
                let taken = chunk.len().min(cap - waiting);
                self.buf.extend_from_slice(&chunk[..taken]);
                taken
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Fill::Nothing,
            // UnexpectedEof: cannot come, as TLS is never told of TCP's end; it would mean the same as that.
            Err(_) => return Fill::End,
        };
        tls.reader().consume(taken);
        Fill::Read
    }
}
