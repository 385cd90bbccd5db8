// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS records once the handshake is over (RFC 8446 5, RFC 5246 6.2.3, RFC 5288, RFC 7905), with the keys that rustls agreed on.
//!
//! Why our own: a proxied message is one record in and one out, and with tens of thousands of sessions what it costs is the lines of memory that
//! it touches. rustls's connections keep keys, queues and buffers each behind a pointer of its own, which nobody can load ahead of time, and copy a
//! record three times. Here a direction is one piece of memory (the key's schedule included, which is why the cipher is *ring*'s: its
//! keys are values), a record is decrypted where TCP put it, and encrypted where TCP sends it from.
//!
//! Keys, key updates and tickets stay rustls's business ([`super::secure`]); nonces, padding, sizes and sequence numbers are here. The twin in the
//! tests is rustls at the other end. On the worker's core, once a record; nothing is allocated but room in the buffer that is written to.

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use rustls::{
    ConnectionTrafficSecrets, ContentType, Error, InvalidMessage, PeerMisbehaved, SupportedCipherSuite,
};

/// What comes before a record: type, version and length.
const HEADER: usize = 5;
/// The most of plaintext in a record (RFC 8446 5.1).
pub(super) const PLAIN: usize = 1 << 14;
/// What a record may be longer than its plaintext (RFC 8446 5.2, RFC 5246 6.2.3).
const OVER_13: usize = 256;
const OVER_12: usize = 2048;
const TAG: usize = 16;
/// The part of an AES-GCM nonce that TLS 1.2 sends along (RFC 5288 3).
const EXPLICIT: usize = 8;
/// What stands as the version of every record.
const VERSION: [u8; 2] = [3, 3];

/// How nonces and additional data are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Tls13,
    Gcm12,
    Chacha12,
}

/// One direction's keys.
struct Half {
    seq: u64,
    iv: [u8; NONCE_LEN],
    form: Form,
    key: LessSafeKey,
}

impl Half {
    fn new(
        suite: SupportedCipherSuite,
        (seq, secrets): (u64, ConnectionTrafficSecrets),
    ) -> Result<Self, Error> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(Error::General("a cipher that is not known here".to_owned())),
        };
        let form = match (suite, &secrets) {
            (SupportedCipherSuite::Tls13(_), _) => Form::Tls13,
            (SupportedCipherSuite::Tls12(_), ConnectionTrafficSecrets::Chacha20Poly1305 { .. }) => {
                Form::Chacha12
            }
            (SupportedCipherSuite::Tls12(_), _) => Form::Gcm12,
        };
        let unfit = |_| Error::General("a key that does not fit its cipher".to_owned());
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(unfit)?;
        let iv =
            iv.as_ref().try_into().map_err(|_| Error::General("a nonce of another length".to_owned()))?;
        Ok(Self { seq, iv, form, key: LessSafeKey::new(key) })
    }

    /// The next record's nonce (RFC 8446 5.3; RFC 7905 2).
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, seq) in nonce[NONCE_LEN - 8..].iter_mut().zip(self.seq.to_be_bytes()) {
            *byte ^= seq;
        }
        nonce
    }

    /// The additional data of TLS 1.2 (RFC 5246 6.2.3.3), by a record's header and the length of its content.
    fn aad_12(&self, header: [u8; HEADER], len: usize) -> Aad<[u8; 13]> {
        let mut aad = [0; 13];
        aad[..8].copy_from_slice(&self.seq.to_be_bytes());
        aad[8..11].copy_from_slice(&header[..3]);
        aad[11..].copy_from_slice(&(len as u16).to_be_bytes());
        Aad::from(aad)
    }

    /// What a record has beside its plaintext, header and TLS 1.3's type included.
    fn overhead(&self) -> usize {
        HEADER
            + TAG
            + match self.form {
                Form::Tls13 => 1,
                Form::Gcm12 => EXPLICIT,
                Form::Chacha12 => 0,
            }
    }
}

/// Decrypts what the peer sends.
pub(super) struct Opener(Half);

impl Opener {
    /// By what rustls extracted, or by its next secret.
    ///
    /// # Errors
    /// A cipher that is not known here.
    pub(super) fn new(
        suite: SupportedCipherSuite,
        secrets: (u64, ConnectionTrafficSecrets),
    ) -> Result<Self, Error> {
        Half::new(suite, secrets).map(Self)
    }

    /// Decrypts one whole record where it stands; gives its type and its plaintext.
    ///
    /// # Errors
    /// What makes it none of this connection.
    pub(super) fn open<'r>(&mut self, record: &'r mut [u8]) -> Result<(ContentType, &'r [u8]), Error> {
        let half = &mut self.0;
        let Some((header, body)) = record.split_first_chunk_mut::<HEADER>() else {
            return Err(InvalidMessage::MessageTooShort.into());
        };
        let kind = header[0];
        let over = if half.form == Form::Tls13 { OVER_13 } else { OVER_12 };
        if body.len() > PLAIN + over {
            return Err(Error::PeerSentOversizedRecord);
        }
        let broken = |_| Error::DecryptError;
        let opened = match half.form {
            Form::Tls13 => {
                if kind != u8::from(ContentType::ApplicationData) {
                    return Err(inappropriate(kind.into()));
                }
                let nonce = Nonce::assume_unique_for_key(half.nonce());
                half.key.open_in_place(nonce, Aad::from(*header), body).map_err(broken)?
            }
            Form::Gcm12 => {
                let (explicit, sealed) = body.split_at_mut_checked(EXPLICIT).ok_or(Error::DecryptError)?;
                let mut nonce = half.iv;
                nonce[NONCE_LEN - EXPLICIT..].copy_from_slice(explicit);
                let len = sealed.len().checked_sub(TAG).ok_or(Error::DecryptError)?;
                let nonce = Nonce::assume_unique_for_key(nonce);
                half.key.open_in_place(nonce, half.aad_12(*header, len), sealed).map_err(broken)?
            }
            Form::Chacha12 => {
                let len = body.len().checked_sub(TAG).ok_or(Error::DecryptError)?;
                let nonce = Nonce::assume_unique_for_key(half.nonce());
                half.key.open_in_place(nonce, half.aad_12(*header, len), body).map_err(broken)?
            }
        };
        half.seq = half.seq.checked_add(1).ok_or(Error::DecryptError)?;
        let (kind, plain) = match half.form {
            Form::Gcm12 | Form::Chacha12 => (kind, &*opened),
            Form::Tls13 => {
                // RFC 8446 5.4: zeros behind the type are padding.
                let at = opened.iter().rposition(|byte| *byte != 0);
                let at = at.ok_or(PeerMisbehaved::IllegalTlsInnerPlaintext)?;
                if opened.len() > PLAIN + 1 {
                    return Err(Error::PeerSentOversizedRecord);
                }
                (opened[at], &opened[..at])
            }
        };
        if plain.len() > PLAIN {
            return Err(Error::PeerSentOversizedRecord);
        }
        Ok((kind.into(), plain))
    }
}

/// Encrypts what the peer is sent.
pub(super) struct Sealer {
    half: Half,
    /// The sequence number from which this key is worn (RFC 8446 5.5).
    worn_at: u64,
}

impl Sealer {
    /// As [`Opener::new`].
    ///
    /// # Errors
    /// As [`Opener::new`].
    pub(super) fn new(
        suite: SupportedCipherSuite,
        secrets: (u64, ConnectionTrafficSecrets),
    ) -> Result<Self, Error> {
        let common = match suite {
            SupportedCipherSuite::Tls12(suite) => &suite.common,
            SupportedCipherSuite::Tls13(suite) => &suite.common,
        };
        // Never to its last number, whatever the cipher bears.
        let worn_at = common.confidentiality_limit.min(u64::MAX >> 16);
        Ok(Self { half: Half::new(suite, secrets)?, worn_at })
    }

    /// This key has encrypted as much as it should.
    pub(super) fn is_worn(&self) -> bool {
        self.half.seq >= self.worn_at
    }

    /// One record, however much is in it.
    #[cfg(test)]
    pub(super) fn sealed_whole(&mut self, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.seal_one(ContentType::ApplicationData.into(), content, &mut out);
        out
    }

    /// Worn from this number on.
    #[cfg(test)]
    pub(super) fn wear(&mut self, at: u64) {
        self.worn_at = at;
    }

    /// The length that so much content has when it is sealed.
    pub(super) fn sealed(&self, content: usize) -> usize {
        content + content.div_ceil(PLAIN).max(1) * self.half.overhead()
    }

    /// Appends `content` to `out` as records, at least one.
    pub(super) fn seal(&mut self, kind: ContentType, content: &[u8], out: &mut Vec<u8>) {
        out.reserve(self.sealed(content.len()));
        let mut rest = content;
        loop {
            let (part, after) = rest.split_at(rest.len().min(PLAIN));
            self.seal_one(kind.into(), part, out);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
    }

    fn seal_one(&mut self, kind: u8, part: &[u8], out: &mut Vec<u8>) {
        let half = &mut self.half;
        let len = part.len() + half.overhead() - HEADER;
        let outer = if half.form == Form::Tls13 { ContentType::ApplicationData.into() } else { kind };
        let mut header = [outer, VERSION[0], VERSION[1], 0, 0];
        header[3..].copy_from_slice(&(len as u16).to_be_bytes());
        out.extend_from_slice(&header);
        let nonce = half.nonce();
        if half.form == Form::Gcm12 {
            out.extend_from_slice(&nonce[NONCE_LEN - EXPLICIT..]);
        }
        let start = out.len();
        out.extend_from_slice(part);
        if half.form == Form::Tls13 {
            out.push(kind);
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = match half.form {
            Form::Tls13 => half.key.seal_in_place_separate_tag(nonce, Aad::from(header), &mut out[start..]),
            Form::Gcm12 | Form::Chacha12 => {
                let aad = half.aad_12(header, part.len());
                half.key.seal_in_place_separate_tag(nonce, aad, &mut out[start..])
            }
        };
        half.seq += 1;
        match tag {
            Ok(tag) => out.extend_from_slice(tag.as_ref()),
            // Only what is longer than the cipher's 64 GiB: a part is 16 KiB. Nothing in the clear is left behind all the same.
            Err(_) => out.truncate(start.saturating_sub(HEADER)),
        }
    }
}

/// A record of a type that has no place here.
pub(super) fn inappropriate(got_type: ContentType) -> Error {
    Error::InappropriateMessage { expect_types: vec![ContentType::ApplicationData], got_type }
}
