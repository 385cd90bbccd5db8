// SPDX-License-Identifier: MIT OR Apache-2.0
//! One side of a session: a TCP endpoint, the TLS connection on it, and the plaintext not yet dealt with.
//!
//! Bytes come in by [`Side::receive`] (TCP -> TLS -> inbox), a record at a time, and go out by [`Side::send`], which encrypts into TCP's buffer.
//! Back-pressure is the absence of a call: what is not taken out of the inbox is not decrypted, what is not decrypted stays in the
//! TCP receive buffer, and TCP's window closes; and while TCP has no room to send, nothing is handed to it.
//!
//! Bounds. The inbox holds one message, [`READ_AHEAD`] and a record at most. Whole messages are handed over, never parts, so that an answer
//! of ours can never land inside one; the session asks [`Side::has_room`] first, so TCP's buffer holds its bound and one message. A handshake is
//! bounded by [`HANDSHAKE_BYTES`]. Called only by the session, on the worker's core.

use crate::Micros;
use crate::identity::not_after;
use crate::sip;
use crate::tcp::{Endpoint, Framed};
use crate::tls::{HANDSHAKE_BYTES, Handshake, Link, Peers, Secure, Taken};
use fedgate_sip::frame::Framer;
use fedgate_sip::identity::PeerIdentity;
use fedgate_tables::counters::Stat;
use rustls::pki_types::UnixTime;
use rustls::{CertificateError, InvalidMessage};
use std::sync::Arc;

/// Plaintext read ahead of the message at hand.
pub(crate) const READ_AHEAD: usize = 16 * 1024;
/// What one side is charged for TLS in the handshake: [`HANDSHAKE_BYTES`], and the state.
pub(crate) const HANDSHAKE_COST: usize = 64 * 1024;
/// And later: the next secrets and the peer's certificates. Parts of records stay with TCP.
const SECURE_COST: usize = 6 * 1024;

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

/// The TLS connection.
#[expect(
    clippy::large_enum_variant,
    reason = "most are Secure for most of their lives, and are loaded in one piece"
)]
enum Tls {
    Begins(Box<Handshake>),
    Secure(Secure),
    /// It failed: nothing is said or heard any more.
    Failed,
}

pub(crate) struct Side {
    pub(crate) tcp: Endpoint,
    pub(crate) head: sip::Head,
    pub(crate) inbox: Inbox,
    pub(crate) framer: Framer,
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
    tcp_was_up: bool,
    /// When it was made, then when TCP came up.
    pub(crate) since: Micros,
    /// Set once the handshake is done.
    pub(crate) peer: Option<PeerIdentity>,
    tls: Tls,
    /// Who judges the peer's certificate.
    peers: Arc<Peers>,
    /// The end of the peer's certificate, seconds since 1970; read when it is first looked at again.
    good_until: Option<u64>,
}

impl Side {
    pub(crate) fn new(tcp: Endpoint, link: Link, now: Micros) -> Self {
        Self {
            tcp,
            head: sip::Head::default(),
            inbox: Inbox::default(),
            framer: Framer::new(sip::LIMITS),
            incoming: Incoming::Open,
            outgoing: Outgoing::Open,
            tcp_was_up: false,
            since: now,
            peer: None,
            peers: link.peers.clone(),
            tls: Tls::Begins(Box::new(Handshake::new(link))),
            good_until: None,
        }
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
        let Tls::Secure(tls) = &self.tls else { return Ok(false) };
        let end = || tls.chain().and_then(|chain| not_after(chain.first()?));
        let until = *self.good_until.get_or_insert_with(|| end().unwrap_or(u64::MAX));
        if Arc::ptr_eq(&judge, &self.peers) && now.as_secs() <= until {
            return Ok(false);
        }
        self.peer = Some(judge.again(tls, now).map_err(|why| why.to_string())?);
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

    fn secure(&self) -> Option<&Secure> {
        match &self.tls {
            Tls::Secure(tls) => Some(tls),
            Tls::Begins(_) | Tls::Failed => None,
        }
    }

    /// Protocol version and suite, once the handshake is done.
    pub(crate) fn agreed(&self) -> Option<(rustls::ProtocolVersion, rustls::CipherSuite)> {
        self.secure().map(Secure::agreed)
    }

    /// The handshake resumed an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.secure().is_some_and(Secure::is_resumed)
    }

    /// Reads what TCP has, decrypts it, and fills the inbox up to `cap` bytes and what is left of a record.
    pub(crate) fn receive(&mut self, cap: usize) -> Result<Received, Failure> {
        let mut done = Received { moved: false, secured: false };
        while self.incoming == Incoming::Open {
            if self.inbox.bytes().len() >= cap {
                return Ok(done);
            }
            match self.tcp.record() {
                Framed::Whole(len) => done.secured |= self.take(len)?,
                Framed::NoTls => return Err(self.refuse()),
                // A FIN without close_notify, or a reset. What is whole has been delivered; a cut message never will be.
                Framed::Part if self.tcp.has_heard_all() => self.incoming = Incoming::Ended,
                Framed::Part => return Ok(done),
            }
            done.moved = true;
        }
        // Nothing after a close_notify counts; the FIN behind it does.
        self.discard();
        Ok(done)
    }

    /// Reads and forgets what comes, so that the peer's FIN can come through.
    pub(crate) fn discard(&mut self) {
        self.tcp.discard();
    }

    /// Deals with the record that TCP has first; true when that ended the handshake.
    fn take(&mut self, len: usize) -> Result<bool, Failure> {
        let Tls::Secure(tls) = &mut self.tls else { return self.go_on(len) };
        let record = &mut self.tcp.received()[..len];
        let inbox = &mut self.inbox;
        let taken = tls.take(record, |content| inbox.append(content));
        self.tcp.consume(len);
        match taken {
            Ok(Taken::Fine) => {}
            Ok(Taken::Closed) => self.incoming = Incoming::Ended,
            Ok(Taken::Replies) => {
                let replies = tls.replies();
                if let Some(out) = self.tcp.lend(replies.len()) {
                    out.extend_from_slice(&replies);
                }
            }
            Err(why) => {
                if let Some(out) = self.tcp.lend(0) {
                    tls.alert(&why, out);
                }
                return Err(why.into());
            }
        }
        Ok(false)
    }

    /// One step of the handshake; true when it was the last.
    #[cold]
    fn go_on(&mut self, len: usize) -> Result<bool, Failure> {
        let Tls::Begins(handshake) = &mut self.tls else {
            self.tcp.consume(len);
            return Ok(false);
        };
        let over = handshake.take(&self.tcp.received()[..len]);
        self.tcp.consume(len);
        let over = over?;
        self.push();
        if !over {
            return Ok(false);
        }
        let Tls::Begins(handshake) = std::mem::replace(&mut self.tls, Tls::Failed) else { return Ok(false) };
        self.peers = handshake.peers.clone();
        let secure = handshake.finish()?;
        let peer = self.peers.identify(&secure);
        self.tls = Tls::Secure(secure);
        self.peer = Some(peer?);
        Ok(true)
    }

    /// What came is no TLS.
    #[cold]
    fn refuse(&mut self) -> Failure {
        match &mut self.tls {
            Tls::Begins(handshake) => {
                // rustls says what it is, if anybody can; and no more of it than that takes.
                let came = self.tcp.received();
                let came = &came[..came.len().min(HANDSHAKE_BYTES)];
                let why = handshake.take(came);
                why.err().unwrap_or_else(|| rustls::Error::from(InvalidMessage::InvalidContentType).into())
            }
            Tls::Secure(tls) => {
                let why = rustls::Error::from(InvalidMessage::InvalidContentType);
                if let Some(out) = self.tcp.lend(0) {
                    tls.alert(&why, out);
                }
                why.into()
            }
            Tls::Failed => rustls::Error::from(InvalidMessage::InvalidContentType).into(),
        }
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
        self.is_secure() && self.outgoing == Outgoing::Open && self.tcp.can_send()
    }

    /// Encrypts one whole message.
    pub(crate) fn send(&mut self, message: &[u8]) {
        let Tls::Secure(tls) = &mut self.tls else { return };
        if let Some(out) = self.tcp.lend(tls.sealed(message.len()))
            && !tls.send(message, out)
        {
            // After 2^24 records with one key of TLS 1.2.
            self.shut();
        }
    }

    /// Takes no more to send; says close_notify where that means something, then FIN.
    pub(crate) fn shut(&mut self) {
        if self.outgoing == Outgoing::Open {
            self.outgoing = Outgoing::Draining;
            if let Tls::Secure(tls) = &mut self.tls
                && self.peer.is_some()
                && let Some(out) = self.tcp.lend(0)
            {
                tls.close(out);
            }
        }
    }

    /// The same after an error, about which TLS has said its alert.
    pub(crate) fn shut_failed(&mut self) {
        self.incoming = Incoming::Ended;
        if self.outgoing == Outgoing::Open {
            self.outgoing = Outgoing::Draining;
        }
    }

    /// Hands what the handshake says to TCP, as far as it takes anything; true when that moved.
    #[cold]
    fn push(&mut self) -> bool {
        let Tls::Begins(handshake) = &mut self.tls else { return false };
        let Some(out) = self.tcp.lend(handshake.out.len()).filter(|_| !handshake.out.is_empty()) else {
            return false;
        };
        out.append(&mut handshake.out);
        handshake.out = Vec::new();
        true
    }

    /// Has TCP send what is said, and ends it where nothing more will be.
    pub(crate) fn flush(&mut self) -> bool {
        if self.tcp.is_dead() {
            // Nobody is left to say anything to, nor to answer.
            self.outgoing = Outgoing::Closed;
            return false;
        }
        let mut moved = matches!(self.tls, Tls::Begins(_)) && self.push();
        if self.outgoing == Outgoing::Draining {
            self.outgoing = Outgoing::Closed;
            self.tcp.close();
            moved = true;
        }
        moved
    }

    /// Bytes that this side holds elsewhere: what can be counted as it is, TLS's state at its worst.
    pub(crate) fn held(&self) -> usize {
        let tls = match &self.tls {
            Tls::Secure(tls) => SECURE_COST + tls.held(),
            Tls::Begins(_) => HANDSHAKE_COST,
            Tls::Failed => 0,
        };
        tls + self.tcp.held() + self.inbox.capacity()
    }
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

/// Plaintext received and not yet dealt with, contiguous.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    buf: Vec<u8>,
    start: usize,
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

    /// Adds what was in a record.
    fn append(&mut self, content: &[u8]) {
        if self.start > 0 {
            self.buf.drain(..self.start);
            self.start = 0;
        }
        self.buf.extend_from_slice(content);
    }
}
