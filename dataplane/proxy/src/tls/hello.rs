// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a peer that could not be spoken with had offered, for the one log line that says so.
//!
//! rustls only says that nothing was in common. So the first bytes of a handshake in which we are the server are kept aside ([`KEPT`]
//! at most, freed when it ends) and read when it fails: versions and suites by their registry names, and what we would have
//! taken. A ClientHello that does not fit is read as far as it goes. A peer of ours that refuses what we offer only tells by an
//! alert; then the line names our offer. Slow path, once a failed handshake; the text is bounded, the log's rate is control's business.

use super::peers::Peers;
use crate::event::version_name;
use rustls::{AlertDescription, CipherSuite, Error, InvalidMessage, PeerIncompatible, ProtocolVersion};
use std::fmt::Write;

/// Bytes kept of what a peer sends first.
pub(crate) const KEPT: usize = 1024;
/// Bytes of suites' names in a line.
const NAMED: usize = 400;
/// Versions in a line; there have been five.
const VERSIONS: usize = 8;

/// The first bytes of a peer.
#[derive(Debug, Default)]
pub(crate) struct Hello {
    bytes: Vec<u8>,
}

/// What a ClientHello offers, as far as it can be read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Offer {
    versions: Vec<u16>,
    suites: Vec<u16>,
}

impl Hello {
    /// Takes a copy of what came, as far as there is room.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        let room = KEPT - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// What is offered, as the log has it, for [`crate::fuzzing`].
    #[cfg(any(test, fuzzing))]
    pub(crate) fn offer(&self) -> Option<String> {
        offer(&self.bytes).map(|offer| offer.to_string())
    }

    /// For a failure because nothing was in common: what was offered, and what would be taken.
    #[cold]
    pub(crate) fn explain(&self, why: &Error, peers: &Peers) -> Option<String> {
        let takes = peers.accepts();
        if !peers.meets_clients() {
            return match why {
                Error::PeerIncompatible(_)
                | Error::AlertReceived(
                    AlertDescription::ProtocolVersion
                    | AlertDescription::HandshakeFailure
                    | AlertDescription::InsufficientSecurity,
                ) => Some(format!("offered were {takes}")),
                _ => None,
            };
        }
        let common = match why {
            Error::PeerIncompatible(
                PeerIncompatible::NoCipherSuitesInCommon
                | PeerIncompatible::NoKxGroupsInCommon
                | PeerIncompatible::NoSignatureSchemesInCommon
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired
                | PeerIncompatible::NamedGroupsExtensionRequired
                | PeerIncompatible::ExtendedMasterSecretExtensionRequired,
            ) => true,
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => false,
            _ => return None,
        };
        match offer(&self.bytes) {
            Some(offer) => Some(format!("the peer offers {offer}; accepted are {takes}")),
            None if common => None,
            None => Some(format!("what came is no TLS; accepted are {takes}")),
        }
    }
}

impl std::fmt::Display for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut versions =
            self.versions.iter().take(VERSIONS).map(|v| version_name(ProtocolVersion::from(*v)));
        f.write_str(&versions.next().unwrap_or_else(|| "no version".into()))?;
        versions.try_for_each(|version| write!(f, ", {version}"))?;
        let (mut text, mut named) = (String::new(), 0);
        for number in &self.suites {
            let before = text.len();
            let comma = if before == 0 { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = match CipherSuite::from(*number).as_str() {
                Some(name) => write!(text, "{comma}{}", name.replace("TLS13_", "TLS_")),
                None => write!(text, "{comma}{number:#06x}"),
            };
            if text.len() > NAMED {
                text.truncate(before);
                break;
            }
            named += 1;
        }
        write!(f, " with {}", if text.is_empty() { "no suite" } else { &text })?;
        match self.suites.len() - named {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// RFC 8701: reserved values that a client throws in to keep servers tolerant.
fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// Takes `n` bytes off the front.
fn take<'b>(rest: &mut &'b [u8], n: usize) -> Option<&'b [u8]> {
    let (taken, after) = rest.split_at_checked(n)?;
    *rest = after;
    Some(taken)
}

fn number(rest: &mut &[u8]) -> Option<u16> {
    take(rest, 2).map(|b| u16::from_be_bytes([b[0], b[1]]))
}

/// Reads a ClientHello (RFC 5246 section 7.4.1.2, RFC 8446 section 4.1.2) out of the first record. `None` where it is none.
fn offer(bytes: &[u8]) -> Option<Offer> {
    let mut rest = bytes;
    // Record: handshake, major version 3. Handshake: ClientHello.
    let [22, 3, _, _, _, 1, _, _, _] = *take(&mut rest, 9)? else { return None };
    let version = number(&mut rest)?;
    take(&mut rest, 32)?;
    let session = take(&mut rest, 1)?[0];
    take(&mut rest, session.into())?;
    let len = usize::from(number(&mut rest)?);
    let here = len.min(rest.len());
    let suites = take(&mut rest, here)?;
    let mut offer = Offer {
        versions: vec![version],
        suites: suites
            .chunks_exact(2)
            .map(|b| u16::from_be_bytes([b[0], b[1]]))
            // 0x00ff and 0x5600 are signals, not suites (RFC 5746, RFC 7507).
            .filter(|suite| !is_grease(*suite) && !matches!(suite, 0x00ff | 0x5600))
            .collect(),
    };
    if let Some(versions) = supported_versions(rest) {
        offer.versions = versions;
    }
    Some(offer)
}

/// The extension of that name, from the compression methods on.
fn supported_versions(mut rest: &[u8]) -> Option<Vec<u16>> {
    let methods = take(&mut rest, 1)?[0];
    take(&mut rest, methods.into())?;
    number(&mut rest)?;
    loop {
        let (kind, len) = (number(&mut rest)?, number(&mut rest)?);
        let body = take(&mut rest, len.into())?;
        if kind == 43 {
            let all = body.get(1..)?.chunks_exact(2).map(|b| u16::from_be_bytes([b[0], b[1]]));
            return Some(all.filter(|version| !is_grease(*version)).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `openssl s_client -tls1_1 -cipher AES128-SHA:DES-CBC3-SHA` sends, to the end of its suites.
    const OLD: [u8; 56] = {
        let head = [22, 3, 1, 0, 58, 1, 0, 0, 54, 3, 2];
        let tail = [0, 0, 8, 0x00, 0x2f, 0x00, 0x0a, 0x5a, 0x5a, 0x00, 0xff, 1, 0];
        let mut all = [7; 56];
        let mut at = 0;
        while at < head.len() {
            all[at] = head[at];
            at += 1;
        }
        at = 0;
        while at < tail.len() {
            all[11 + 32 + at] = tail[at];
            at += 1;
        }
        all
    };

    #[test]
    fn an_old_client_is_named_in_full() {
        let text = offer(&OLD).expect("a ClientHello").to_string();
        assert_eq!(text, "TLSv1.1 with TLS_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_3DES_EDE_CBC_SHA");
    }

    #[test]
    fn supported_versions_count_and_a_long_list_is_cut() {
        let mut hello = OLD[..43].to_vec();
        hello.extend([0, 1, 0x00]);
        hello.extend((0..128u16).flat_map(|_| 0x002fu16.to_be_bytes()));
        hello.extend([1, 0, 0, 11, 0, 43, 0, 7, 6, 0x3a, 0x3a, 3, 2, 3, 1]);
        let text = offer(&hello).expect("a ClientHello").to_string();
        assert!(text.starts_with("TLSv1.1, TLSv1 with TLS_RSA_WITH_AES_128_CBC_SHA, "), "{text}");
        assert!(text.ends_with(" more") && text.len() < NAMED + 60, "{text}");
    }

    #[test]
    fn any_cut_of_it_is_read_or_refused() {
        for len in 0..OLD.len() {
            let _ = offer(&OLD[..len]);
        }
        assert_eq!(offer(b"OPTIONS sip:a@b SIP/2.0\r\n"), None);
        assert_eq!(offer(&[0x80; 64]), None);
    }

    #[test]
    fn no_more_is_kept_than_is_said() {
        let mut hello = Hello::default();
        hello.keep(&[1; 700]);
        hello.keep(&[1; 700]);
        assert_eq!(hello.bytes.len(), KEPT);
    }
}
