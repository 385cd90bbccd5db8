// SPDX-License-Identifier: MIT OR Apache-2.0
//! A TLS connection whose handshake is over: records both ways, and what else may still come in them.
//!
//! rustls has done the handshake and keeps what it alone understands, as it does for a kernel that encrypts (`rustls::kernel`): the next secrets
//! and the tickets. Alerts, key updates (RFC 8446 4.6.3), tickets, and the old wish to negotiate again (RFC 5746) are dealt with here, by the
//! rules and the bounds that rustls's own connections have: what a peer may repeat without sending anything is counted.
//!
//! What a message touches stands first and in one piece, for [`crate::Engine::prefetch`]; the rest is behind a pointer. On the worker's core.

use super::record::{Opener, Sealer, inappropriate};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::pki_types::CertificateDer;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::{
    AlertDescription, CipherSuite, CommonState, ContentType, Error, ExtractedSecrets, HandshakeKind,
    HandshakeType, InvalidMessage, PeerMisbehaved, ProtocolVersion, SupportedCipherSuite,
};

/// Records in a row without content.
const EMPTY_RECORDS: u8 = 32;
/// Key updates without content between them, warnings, and wishes to negotiate again.
const KEY_UPDATES: u8 = 32;
const WARNINGS: u8 = 4;
const RENEGOTIATIONS: u8 = 1;
/// The most in one message of a handshake.
const HANDSHAKE_MESSAGE: usize = 0xffff;

const WARNING: u8 = 1;
const FATAL: u8 = 2;

/// What [`Secure::take`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Content, or what asks for nothing.
    Fine,
    /// [`Secure::replies`] has something to be sent.
    Replies,
    /// The peer says that it sends no more.
    Closed,
}

/// See the module.
pub(crate) struct Secure {
    opener: Opener,
    sealer: Sealer,
    /// Left of those bounds.
    empties: u8,
    updates: u8,
    /// The beginning of a message that is in several records.
    joined: Vec<u8>,
    rest: Box<Rest>,
}

struct Rest {
    kernel: Kernel,
    suite: SupportedCipherSuite,
    resumed: bool,
    chain: Option<Box<[CertificateDer<'static>]>>,
    warnings: u8,
    renegotiations: u8,
    replies: Vec<u8>,
}

enum Kernel {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

impl Secure {
    /// Goes on from a client's handshake.
    ///
    /// # Errors
    /// It is not over, or its cipher is not known here.
    pub(super) fn of_client(tls: UnbufferedClientConnection) -> Result<Self, Error> {
        let (resumed, chain) = about(&tls);
        let (secrets, kernel) = tls.dangerous_into_kernel_connection()?;
        let suite = kernel.negotiated_cipher_suite();
        Self::new(secrets, suite, Kernel::Client(kernel), resumed, chain)
    }

    /// The same of a server's.
    ///
    /// # Errors
    /// As [`Self::of_client`].
    pub(super) fn of_server(tls: UnbufferedServerConnection) -> Result<Self, Error> {
        let (resumed, chain) = about(&tls);
        let (secrets, kernel) = tls.dangerous_into_kernel_connection()?;
        let suite = kernel.negotiated_cipher_suite();
        Self::new(secrets, suite, Kernel::Server(kernel), resumed, chain)
    }

    fn new(
        secrets: ExtractedSecrets,
        suite: SupportedCipherSuite,
        kernel: Kernel,
        resumed: bool,
        chain: Option<Box<[CertificateDer<'static>]>>,
    ) -> Result<Self, Error> {
        let rest =
            Rest { kernel, suite, resumed, chain, warnings: 0, renegotiations: 0, replies: Vec::new() };
        Ok(Self {
            opener: Opener::new(suite, secrets.rx)?,
            sealer: Sealer::new(suite, secrets.tx)?,
            empties: EMPTY_RECORDS,
            updates: KEY_UPDATES,
            joined: Vec::new(),
            rest: Box::new(rest),
        })
    }

    /// Protocol version and suite.
    pub(crate) fn agreed(&self) -> (ProtocolVersion, CipherSuite) {
        (self.rest.suite.version().version, self.rest.suite.suite())
    }

    /// The handshake resumed an earlier session.
    pub(crate) fn is_resumed(&self) -> bool {
        self.rest.resumed
    }

    /// What the peer showed.
    pub(crate) fn chain(&self) -> Option<&[CertificateDer<'static>]> {
        self.rest.chain.as_deref()
    }

    /// Bytes that it holds and a peer may grow.
    pub(crate) fn held(&self) -> usize {
        self.joined.capacity()
    }

    /// Deals with one whole record, which is decrypted where it stands; content goes to `content`.
    ///
    /// # Errors
    /// What ends the connection; [`Self::alert`] tells the peer.
    pub(crate) fn take(&mut self, record: &mut [u8], content: impl FnOnce(&[u8])) -> Result<Taken, Error> {
        let (kind, plain) = self.opener.open(record)?;
        if kind == ContentType::ApplicationData && self.joined.is_empty() && !plain.is_empty() {
            (self.empties, self.updates) = (EMPTY_RECORDS, KEY_UPDATES);
            content(plain);
            return Ok(Taken::Fine);
        }
        self.control(kind, plain)
    }

    #[cold]
    fn control(&mut self, kind: ContentType, plain: &[u8]) -> Result<Taken, Error> {
        if !self.joined.is_empty() && kind != ContentType::Handshake {
            // RFC 8446 5.1.
            return Err(PeerMisbehaved::MessageInterleavedWithHandshakeMessage.into());
        }
        match kind {
            ContentType::ApplicationData => {
                let left = self.empties.checked_sub(1).ok_or(PeerMisbehaved::TooManyEmptyFragments)?;
                self.empties = left;
                Ok(Taken::Fine)
            }
            ContentType::Alert => self.alerted(plain),
            ContentType::Handshake => self.join(plain),
            other => Err(inappropriate(other)),
        }
    }

    fn is_13(&self) -> bool {
        self.rest.suite.tls13().is_some()
    }

    fn alerted(&mut self, plain: &[u8]) -> Result<Taken, Error> {
        let [level, description] = *plain else {
            return Err(InvalidMessage::MissingData("alert").into());
        };
        let description = AlertDescription::from(description);
        if description == AlertDescription::CloseNotify {
            return Ok(Taken::Closed);
        }
        // TLS 1.3 knows no other warning than this one (RFC 8446 6.1), whatever level stands there.
        let warns =
            if self.is_13() { description == AlertDescription::UserCanceled } else { level == WARNING };
        if !warns {
            return Err(Error::AlertReceived(description));
        }
        self.rest.warnings += 1;
        if self.rest.warnings > WARNINGS {
            return Err(PeerMisbehaved::TooManyWarningAlertsReceived.into());
        }
        Ok(Taken::Fine)
    }

    /// Messages of the handshake's kind, of which a record may have parts.
    fn join(&mut self, plain: &[u8]) -> Result<Taken, Error> {
        if plain.is_empty() {
            return Err(InvalidMessage::MessageTooShort.into());
        }
        let mut bytes = std::mem::take(&mut self.joined);
        bytes.extend_from_slice(plain);
        let (mut at, mut taken) = (0, Taken::Fine);
        while let Some([kind, high, middle, low]) = bytes.get(at..at + 4) {
            let len = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
            if len > HANDSHAKE_MESSAGE {
                return Err(InvalidMessage::HandshakePayloadTooLarge.into());
            }
            let Some(payload) = bytes.get(at + 4..at + 4 + len) else { break };
            at += 4 + len;
            if self.message(HandshakeType::from(*kind), payload, at == bytes.len())? {
                taken = Taken::Replies;
            }
        }
        bytes.drain(..at);
        if !bytes.is_empty() {
            self.joined = bytes;
        }
        Ok(taken)
    }

    /// One message; true where there is something to reply.
    fn message(&mut self, kind: HandshakeType, payload: &[u8], is_last: bool) -> Result<bool, Error> {
        let is_13 = self.is_13();
        match (kind, &mut self.rest.kernel) {
            (HandshakeType::NewSessionTicket, Kernel::Client(kernel)) if is_13 => {
                kernel.handle_new_session_ticket(payload)?;
                Ok(false)
            }
            (HandshakeType::KeyUpdate, _) if is_13 => self.key_update(payload, is_last),
            (HandshakeType::HelloRequest, Kernel::Client(_))
            | (HandshakeType::ClientHello, Kernel::Server(_))
                if !is_13 =>
            {
                self.rest.renegotiations += 1;
                if self.rest.renegotiations > RENEGOTIATIONS {
                    return Err(PeerMisbehaved::TooManyRenegotiationRequests.into());
                }
                let alert = [WARNING, AlertDescription::NoRenegotiation.into()];
                self.sealer.seal(ContentType::Alert, &alert, &mut self.rest.replies);
                Ok(true)
            }
            (got_type, _) => {
                let expect_types = vec![HandshakeType::KeyUpdate, HandshakeType::NewSessionTicket];
                Err(Error::InappropriateHandshakeMessage { expect_types, got_type })
            }
        }
    }

    fn key_update(&mut self, payload: &[u8], is_last: bool) -> Result<bool, Error> {
        let wants = match payload {
            [0] => false,
            [1] => true,
            _ => return Err(InvalidMessage::InvalidKeyUpdate.into()),
        };
        if !is_last {
            // Behind it a new key begins, and so a new record.
            return Err(PeerMisbehaved::KeyEpochWithPendingFragment.into());
        }
        self.updates = self.updates.checked_sub(1).ok_or(PeerMisbehaved::TooManyKeyUpdateRequests)?;
        let suite = self.rest.suite;
        let next = match &mut self.rest.kernel {
            Kernel::Client(kernel) => kernel.update_rx_secret()?,
            Kernel::Server(kernel) => kernel.update_rx_secret()?,
        };
        self.opener = Opener::new(suite, next)?;
        if wants {
            let mut replies = std::mem::take(&mut self.rest.replies);
            let done = self.renew(&mut replies);
            self.rest.replies = replies;
            done?;
        }
        Ok(wants)
    }

    /// Tells the peer that what follows has the next key, and takes that.
    #[cold]
    fn renew(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let update = [u8::from(HandshakeType::KeyUpdate), 0, 0, 1, 0];
        self.sealer.seal(ContentType::Handshake, &update, out);
        let suite = self.rest.suite;
        let next = match &mut self.rest.kernel {
            Kernel::Client(kernel) => kernel.update_tx_secret()?,
            Kernel::Server(kernel) => kernel.update_tx_secret()?,
        };
        self.sealer = Sealer::new(suite, next)?;
        Ok(())
    }

    /// Takes what is to be sent without anybody having asked for it.
    pub(crate) fn replies(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rest.replies)
    }

    /// The length that so much content will have, at most.
    pub(crate) fn sealed(&self, content: usize) -> usize {
        self.sealer.sealed(content)
    }

    /// Appends content to `out`. False when no more can follow but [`Self::close`]: the key is worn, and TLS 1.2 has no other.
    pub(crate) fn send(&mut self, content: &[u8], out: &mut Vec<u8>) -> bool {
        self.sealer.seal(ContentType::ApplicationData, content, out);
        !self.sealer.is_worn() || self.is_13() && self.renew(out).is_ok()
    }

    /// Appends whatever a peer of ill will may say.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn say(&mut self, kind: ContentType, content: &[u8], out: &mut Vec<u8>) {
        self.sealer.seal(kind, content, out);
    }

    /// Appends a close_notify.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) {
        let alert = [WARNING, AlertDescription::CloseNotify.into()];
        self.sealer.seal(ContentType::Alert, &alert, out);
    }

    /// Appends the alert that tells the peer of an error, where it is to hear of it.
    #[cold]
    pub(crate) fn alert(&mut self, why: &Error, out: &mut Vec<u8>) {
        let description = match why {
            // It said so itself.
            Error::AlertReceived(_) => return,
            Error::DecryptError => AlertDescription::BadRecordMac,
            Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
            Error::InvalidMessage(_) => AlertDescription::DecodeError,
            Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::PeerMisbehaved(_) => AlertDescription::UnexpectedMessage,
            _ => AlertDescription::InternalError,
        };
        self.sealer.seal(ContentType::Alert, &[FATAL, description.into()], out);
    }
}

/// What is asked of a connection before its secrets are taken out.
fn about(tls: &CommonState) -> (bool, Option<Box<[CertificateDer<'static>]>>) {
    let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed);
    (resumed, tls.peer_certificates().map(Into::into))
}

#[cfg(test)]
mod tests;
