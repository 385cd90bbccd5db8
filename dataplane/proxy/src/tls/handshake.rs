// SPDX-License-Identifier: MIT OR Apache-2.0
//! A TLS handshake, by rustls: octets in, octets out, and in the end a [`Secure`] connection.
//!
//! By rustls's unbuffered interface, because only that gives up its secrets with what is needed to renew them. It is fed record by record, so that
//! none of what follows the handshake is ever decrypted here. Where the name that a client calls decides how it is met, the
//! ClientHello is read first and the connection made then ([`Choice`]).
//!
//! Bounds: [`HANDSHAKE_BYTES`] in all. Boxed, and freed when it ends. On the worker's core.

use super::{Choice, Hello, Link, Peers, Secure};
use crate::side::Failure;
use rustls::client::UnbufferedClientConnection;
use rustls::server::{Acceptor, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use rustls::{CommonState, Error, PeerMisbehaved};
use std::sync::Arc;

/// What a peer may send in a handshake: a certificate chain of some 16 KiB fits, hundreds of certificates do not.
pub(crate) const HANDSHAKE_BYTES: usize = 48 * 1024;

/// One end's connection, until it is up.
pub(crate) enum Beginning {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// See the module.
pub(crate) struct Handshake {
    tls: Beginning,
    /// Who judges the peer's certificate.
    pub(crate) peers: Arc<Peers>,
    hello: Hello,
    /// Until the name that the client calls is known, where that decides how it is met.
    undecided: Option<Box<(Acceptor, Choice)>>,
    /// Records that rustls has not done with.
    incoming: Vec<u8>,
    taken: usize,
    /// What is to be sent.
    pub(crate) out: Vec<u8>,
}

impl Handshake {
    /// Begins; a client's first flight is in [`Self::out`] then.
    pub(crate) fn new(link: Link) -> Self {
        let undecided = link.choice.map(|choice| Box::new((Acceptor::default(), choice)));
        let mut it = Self {
            tls: link.tls,
            peers: link.peers,
            hello: Hello::default(),
            undecided,
            incoming: Vec::new(),
            taken: 0,
            out: Vec::new(),
        };
        // Before anything has come there is nothing that could be wrong with it.
        let _ = it.advance();
        it
    }

    /// Takes in what came, a record at most; true when that ended the handshake.
    ///
    /// # Errors
    /// Why there will be no connection; the alert is in [`Self::out`].
    pub(crate) fn take(&mut self, record: &[u8]) -> Result<bool, Failure> {
        self.hello.keep(record);
        self.taken += record.len();
        self.incoming.extend_from_slice(record);
        let done = match self.undecided.take() {
            None => self.advance(),
            Some(undecided) => self.decide(undecided, record),
        };
        let is_over = done.map_err(|why| match self.hello.explain(&why, &self.peers) {
            Some(offers) => Failure::NothingInCommon(why, offers),
            None => Failure::Tls(why),
        })?;
        if self.taken > HANDSHAKE_BYTES {
            return Err(Failure::HandshakeTooLong);
        }
        Ok(is_over)
    }

    /// The connection, once the handshake is over.
    ///
    /// # Errors
    /// It is not, or what was agreed on is not known here.
    pub(crate) fn finish(self) -> Result<Secure, Error> {
        match self.tls {
            Beginning::Client(tls) => Secure::of_client(tls),
            Beginning::Server(tls) => Secure::of_server(tls),
        }
    }

    /// Once a whole ClientHello is here, goes on as the name in it says.
    #[cold]
    fn decide(&mut self, mut undecided: Box<(Acceptor, Choice)>, mut record: &[u8]) -> Result<bool, Error> {
        let (acceptor, choice) = &mut *undecided;
        let general = |why: std::io::Error| Error::General(why.to_string());
        while !record.is_empty() {
            acceptor.read_tls(&mut record).map_err(general)?;
        }
        match acceptor.accept() {
            Ok(None) => {
                self.undecided = Some(undecided);
                Ok(false)
            }
            Ok(Some(accepted)) => {
                let (config, peers) = choice.of(accepted.client_hello().server_name());
                self.peers = peers;
                self.tls = Beginning::Server(UnbufferedServerConnection::new(config)?);
                self.advance()
            }
            Err((why, mut alert)) => {
                // Into memory.
                let _ = alert.write_all(&mut self.out);
                Err(why)
            }
        }
    }

    /// Goes as far as what has come reaches.
    fn advance(&mut self) -> Result<bool, Error> {
        loop {
            let (done_with, on) = self.tls.step(&mut self.incoming, &mut self.out);
            self.incoming.drain(..done_with);
            match on {
                Ok(true) => {}
                Ok(false) => break,
                Err(why) => {
                    // Its alert is behind the error. What came is not shown to it again: it has lost its place in that.
                    while self.tls.common().wants_write() && self.tls.step(&mut [], &mut self.out).1.is_ok() {
                    }
                    return Err(why);
                }
            }
        }
        if self.tls.common().is_handshaking() {
            return Ok(false);
        }
        if !self.incoming.is_empty() {
            // The last message of a handshake ends its record: another key follows.
            return Err(PeerMisbehaved::KeyEpochWithPendingFragment.into());
        }
        Ok(true)
    }
}

/// What one call of rustls came to: bytes it is done with, and whether it can go on at once.
type Step = (usize, Result<bool, Error>);

impl Beginning {
    fn common(&self) -> &CommonState {
        match self {
            Self::Client(tls) => tls,
            Self::Server(tls) => tls,
        }
    }

    fn step(&mut self, records: &mut [u8], out: &mut Vec<u8>) -> Step {
        match self {
            Self::Client(tls) => step(tls.process_tls_records(records), out),
            Self::Server(tls) => step(tls.process_tls_records(records), out),
        }
    }
}

fn step<Data>(status: UnbufferedStatus<'_, '_, Data>, out: &mut Vec<u8>) -> Step {
    let UnbufferedStatus { discard, state } = status;
    let on = match state {
        Err(why) => Err(why),
        Ok(ConnectionState::EncodeTlsData(chunk)) => encode(chunk, out).map(|()| true),
        Ok(ConnectionState::TransmitTlsData(sent)) => {
            sent.done();
            Ok(true)
        }
        Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => Ok(false),
        // Data and ends come in records that are not handed to it.
        Ok(_) => Err(Error::General("data in the handshake".to_owned())),
    };
    (discard, on)
}

fn encode<Data>(mut chunk: EncodeTlsData<'_, Data>, out: &mut Vec<u8>) -> Result<(), Error> {
    let had = out.len();
    let needs = match chunk.encode(&mut []) {
        Err(EncodeError::InsufficientSize(needs)) => needs.required_size,
        Ok(_) | Err(EncodeError::AlreadyEncoded) => 0,
    };
    out.resize(had + needs, 0);
    match chunk.encode(&mut out[had..]) {
        Ok(_) => Ok(()),
        Err(why) => Err(Error::General(why.to_string())),
    }
}
