// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many of the places each outside address has, so that none has all of them.
//!
//! An address counts from the end of TCP's handshake, which proves that it is not made up: SYNs in somebody else's name take
//! nothing of that somebody's share (they make way by age, see [`crate::Engine::open`]). It may then have a part of the handshakes
//! in flight and of the sessions, [`crate::Limits::source_part`]; what is above that is reset before TLS costs anything. Inside
//! addresses are not counted: there all sessions may well be one routing server's.
//!
//! An entry exists while the address has a session, so the map is bounded by them. Touched when a session begins, ends
//! its handshake and ends; never by a message. The engine's own, on the worker's core.

use crate::api::CloseReason;
use std::collections::HashMap;

/// The addresses that have places.
#[derive(Debug, Default)]
pub(crate) struct Sources(HashMap<u32, Held>);

/// What one address has.
#[derive(Debug, Default)]
struct Held {
    sessions: u32,
    /// Those of them whose TLS handshake is in flight.
    handshakes: u32,
}

/// What a session has of its address's share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing: its client is inside, or not proven, or it only waits out TIME_WAIT.
    #[default]
    None,
    /// A session in its handshake.
    Handshake(u32),
    /// A session.
    Session(u32),
}

/// The most that one address may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) sessions: u32,
    pub(crate) handshakes: u32,
}

impl Sources {
    /// A session of the address begins its handshake.
    ///
    /// # Errors
    /// The address has its share; nothing is counted then.
    pub(crate) fn take(&mut self, address: u32, share: Share) -> Result<Place, CloseReason> {
        if let Some(held) = self.0.get(&address) {
            if held.sessions >= share.sessions {
                return Err(CloseReason::SourceSessions);
            }
            if held.handshakes >= share.handshakes {
                return Err(CloseReason::SourceHandshakes);
            }
        }
        let held = self.0.entry(address).or_default();
        held.sessions += 1;
        held.handshakes += 1;
        Ok(Place::Handshake(address))
    }

    /// The handshake is over, however it went.
    pub(crate) fn shaken(&mut self, place: &mut Place) {
        if let Place::Handshake(address) = *place {
            if let Some(held) = self.0.get_mut(&address) {
                held.handshakes -= 1;
            }
            *place = Place::Session(address);
        }
    }

    /// The session gives its place back.
    pub(crate) fn give_back(&mut self, place: &mut Place) {
        self.shaken(place);
        if let Place::Session(address) = std::mem::take(place)
            && let Some(held) = self.0.get_mut(&address)
        {
            held.sessions -= 1;
            if held.sessions == 0 {
                self.0.remove(&address);
            }
        }
    }

    /// Addresses that have a place.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
