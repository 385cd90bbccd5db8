// SPDX-License-Identifier: MIT OR Apache-2.0
//! Dialogs that have crossed the border: whose they are, and until when.
//!
//! A dialog is remembered when its answer crosses (RFC 3261 section 12.1: a provisional or good response to INVITE; RFC 6665
//! and RFC 3515: a good response to SUBSCRIBE, REFER or NOTIFY), by a keyed hash of Call-ID, the inside's tag and
//! the outside's, so that nobody outside can aim at a bucket or guess a key. With it goes who the foreign peer was by its
//! certificate ([`Dialogs::peer_key`]), and for which domain it spoke. From then on requests and responses of the dialog need not be on the
//! permit list again; they have to come from, and go to, that same identity ([`Standing`]), and that is good for that domain alone: a partner
//! does not speak for another one by writing it into From once it has a dialog.
//!
//! Nothing rests on a dialog being here. One that is not (another worker has it, the appliance began after it, there was no
//! room) has its messages judged as all others are. So the bounds ([`Limits`]) refuse to remember, and never forget
//! what is alive: a peer that fills its share costs nobody else anything.
//!
//! It ends by BYE and its answer, by NOTIFY with `terminated`, by 481, or by time ([`Timers`], a subscription's own Expires).
//! What has run out is swept a few entries a message; there are no timers.
//!
//! Of several workers each has a table, and a board in a [`Roster`] that says to the others which dialogs are in it.
//!
//! One table a worker, called on its core; times are microseconds of any monotonic clock. Allocates where a dialog begins.

use crate::domain::Domain;
use crate::identity::PeerIdentity;
use crate::message::Message;
use entry::Entry;
pub use entry::{Check, State, Usage};
pub use listing::{Counts, Row};
use note::Event;
pub use note::Note;
pub use roster::Roster;
use std::collections::HashMap;
use std::collections::hash_map;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

mod entry;
mod listing;
mod note;
mod roster;

/// Bounds of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Dialogs in all; some 400 octets each, 600 at most.
    pub dialogs: usize,
    /// Dialogs of one foreign identity.
    pub per_peer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { dialogs: 65_536, per_peer: 32_768 }
    }
}

/// How long dialogs are kept, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// `timeout sip`: nothing was said.
    pub idle: u64,
    /// `timeout sip-invite`: an INVITE has no final answer.
    pub invite: u64,
    /// `timeout sip-disconnect`: a BYE has no answer.
    pub disconnect: u64,
}

impl Default for Timers {
    fn default() -> Self {
        Self { idle: 1_800_000_000, invite: 180_000_000, disconnect: 120_000_000 }
    }
}

/// Added to a subscription's Expires: RFC 6665's timer N, within which a refresh that crosses it is answered.
const GRACE: u64 = 32_000_000;
/// Most that is believed of an Expires, seconds.
const MAX_EXPIRES: u64 = 86_400;
/// RFC 6665 section 4.2.1.1: events without an Expires have a default of their own; most say an hour.
const DEFAULT_EXPIRES: u64 = 3600;
/// Octets of a certificate's names that are kept for listings, once a peer.
const PEER_NAMES: usize = 256;
/// Entries looked at for what has run out, each time one is added or touched.
const SWEEP: usize = 4;
/// The same where there is no room for another.
const SWEEP_WHEN_FULL: usize = 64;

/// What is known of the dialog that a message names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: judge the message by its own.
    Unknown,
    /// It is known.
    Known {
        /// [`Dialogs::peer_key`] of whom it is with.
        peer: u64,
        /// The request's CSeq is below its sender's last (RFC 3261 section 12.2.2: 500).
        stale: bool,
        /// The outside's address has the domain that it had when the dialog began; with another one, having the dialog says nothing.
        same_domain: bool,
    },
}

/// A message that crosses, besides its [`Note`].
#[derive(Clone, Copy, Debug)]
pub struct Crossing<'a> {
    /// Its bytes.
    pub frame: &'a [u8],
    /// The foreign side of the connection that it crosses on.
    pub peer: &'a PeerIdentity,
    /// [`Dialogs::peer_key`] of that.
    pub peer_key: u64,
    /// The inside server; its port is 0 where it is known as a client only.
    pub server: (u32, u16),
    /// What let it through.
    pub check: Check,
}

/// A foreign identity that has dialogs.
struct Peer {
    dialogs: u32,
    /// Its names, for listings.
    names: Box<str>,
}

/// See the module.
pub struct Dialogs {
    limits: Limits,
    keyed: RandomState,
    places: HashMap<u64, u32>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    peers: HashMap<u64, Peer>,
    of_server: HashMap<(u32, u16), u32>,
    swept: usize,
    counts: Counts,
    /// Where there are other workers: what they know, and which of them this is.
    roster: Option<(Arc<Roster>, usize)>,
}

impl Dialogs {
    /// An empty table; allocates nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            keyed: RandomState::new(),
            places: HashMap::new(),
            entries: Vec::new(),
            free: Vec::new(),
            peers: HashMap::new(),
            of_server: HashMap::new(),
            swept: 0,
            counts: Counts::default(),
            roster: None,
        }
    }

    /// The same as one of several: `worker` counts from 0. An empty table, before its first message.
    #[must_use]
    pub fn of_several(self, roster: Arc<Roster>, worker: usize) -> Self {
        debug_assert!(self.is_empty());
        Self { keyed: roster.keyed.clone(), roster: Some((roster, worker)), ..self }
    }

    /// Whether another worker knows the message's dialog.
    #[cold]
    pub fn is_elsewhere(&self, note: &Note) -> bool {
        let roster = self.roster.as_ref().zip(note.key);
        roster.is_some_and(|((roster, worker), key)| roster.is_elsewhere(*worker, key))
    }

    /// Whether all that workers know can be found by [`Self::standing`] and [`Self::is_elsewhere`].
    pub fn is_whole(&self) -> bool {
        self.roster.as_ref().is_none_or(|(roster, _)| roster.is_whole())
    }

    /// Dialogs held.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Stands for an identity in this table: the same for all certificates that carry the same names.
    pub fn peer_key(&self, peer: &PeerIdentity) -> u64 {
        self.keyed.hash_one(peer)
    }

    /// Stands for a call in this table: the same for all messages with this Call-ID between us and one foreign identity.
    pub fn call_key(&self, call_id: &str, peer: u64) -> u64 {
        self.keyed.hash_one((call_id, peer))
    }

    /// The dialog of a message, and its part in it. `inward`: it comes from outside.
    pub fn note(&self, message: &Message<'_>, inward: bool) -> Note {
        Note::of(message, inward, &self.keyed)
    }

    /// What is known of the message's dialog now.
    pub fn standing(&self, note: &Note, now: u64) -> Standing {
        match self.find(note).filter(|entry| entry.until > now) {
            None => Standing::Unknown,
            Some(entry) => Standing::Known {
                peer: entry.peer,
                stale: note.ordered && note.cseq < entry.cseq[usize::from(!note.inward)],
                same_domain: note.domain == entry.domain,
            },
        }
    }

    /// When the message's dialog will be forgotten if nothing more is heard of it.
    pub fn until(&self, note: &Note) -> Option<u64> {
        self.find(note).map(|entry| entry.until)
    }

    /// Whether a domain has this dialog with us, here or with another worker.
    pub fn is_of(&self, call_id: &str, outside: &str, inside: &str, domain: &Domain, now: u64) -> bool {
        let key = self.keyed.hash_one((call_id, outside, inside));
        let domain = Some(self.keyed.hash_one(domain.as_str()));
        let own = self.places.get(&key).and_then(|place| self.entries.get(*place as usize)?.as_ref());
        match (own, &self.roster) {
            (Some(entry), _) => entry.until > now && entry.domain == domain,
            (None, Some((roster, worker))) => roster.is_elsewhere(*worker, of_domain(key, domain)),
            (None, None) => false,
        }
    }

    fn find(&self, note: &Note) -> Option<&Entry> {
        let place = *self.places.get(&note.key?)?;
        self.entries.get(place as usize)?.as_ref()
    }

    /// The message has crossed. False where a dialog began that there is no room to remember.
    pub fn crossed(&mut self, note: &Note, crossing: &Crossing<'_>, now: u64, timers: &Timers) -> bool {
        let Some(key) = note.key else { return true };
        for _ in 0..SWEEP {
            self.sweep_one(now);
        }
        if let Some(&place) = self.places.get(&key)
            && self.is_over(place as usize, now)
        {
            self.remove(place);
            self.counts.expired += 1;
        }
        let Some(&place) = self.places.get(&key) else {
            return self.begin(key, note, crossing, now, timers);
        };
        let Some(entry) = self.entries[place as usize].as_mut() else { return true };
        if entry.peer != crossing.peer_key && entry.domain != note.domain {
            // Never so where it was asked before; another's dialog is left as it is. Another edge of its domain is vouched for.
            return true;
        }
        entry.last = now;
        entry.checks[1] = crossing.check;
        if note.request {
            let last = &mut entry.cseq[usize::from(!note.inward)];
            *last = note.cseq.max(*last);
        }
        match note.event {
            Event::Talk | Event::Early => {}
            Event::Fails if entry.state != State::Init => {}
            Event::Opens(_) => entry.state = State::Active,
            Event::Subscribes(expires) => entry.subscribes(expires, now),
            Event::Renews(expires) => entry.renews(expires, now),
            Event::Closing => entry.state = State::Closing,
            Event::Ends | Event::Fails => {
                self.remove(place);
                self.counts.ended += 1;
                return true;
            }
        }
        entry.until = entry.due(timers);
        true
    }

    /// Remembers a dialog if this message makes one.
    fn begin(&mut self, key: u64, note: &Note, crossing: &Crossing<'_>, now: u64, timers: &Timers) -> bool {
        let (state, usage) = match note.event {
            Event::Early => (State::Init, Usage::Call),
            Event::Opens(usage) => (State::Active, usage),
            Event::Subscribes(_) => (State::Active, Usage::Subscription),
            Event::Talk | Event::Renews(_) | Event::Fails | Event::Closing | Event::Ends => return true,
        };
        let peer = crossing.peer_key;
        let full = |it: &Self| {
            let of_peer = it.peers.get(&peer).map_or(0, |peer| peer.dialogs) as usize;
            it.places.len() >= it.limits.dialogs || of_peer >= it.limits.per_peer
        };
        for _ in 0..if full(self) { SWEEP_WHEN_FULL } else { 0 } {
            self.sweep_one(now);
        }
        if full(self) {
            return false;
        }
        let kind = (state, usage, crossing.check);
        let mut entry = Entry::new(note, crossing.frame, (key, peer), crossing.server, kind, now);
        match note.event {
            Event::Subscribes(expires) => entry.subscribes(expires, now),
            // The one who is told has subscribed.
            Event::Opens(Usage::Subscription) => entry.inbound = !entry.inbound,
            _ => {}
        }
        entry.until = entry.due(timers);
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (self.entries.len() - 1) as u32
        });
        self.entries[place as usize] = Some(entry);
        self.places.insert(key, place);
        if let Some((roster, worker)) = &self.roster {
            roster.list(*worker, key);
            roster.list(*worker, of_domain(key, note.domain));
        }
        let known = self.peers.entry(peer);
        known.or_insert_with(|| Peer { dialogs: 0, names: peer_names(crossing.peer) }).dialogs += 1;
        *self.of_server.entry(crossing.server).or_default() += 1;
        self.counts.begun += 1;
        true
    }

    /// Looks at one entry, the next in turn, and forgets it if its time is over.
    fn sweep_one(&mut self, now: u64) {
        if self.swept >= self.entries.len() {
            self.swept = 0;
        }
        if self.is_over(self.swept, now) {
            self.remove(self.swept as u32);
            self.counts.expired += 1;
        }
        self.swept += 1;
    }

    fn is_over(&self, place: usize, now: u64) -> bool {
        self.entries.get(place).and_then(Option::as_ref).is_some_and(|entry| entry.until <= now)
    }

    fn remove(&mut self, place: u32) {
        let Some(entry) = self.entries[place as usize].take() else { return };
        self.places.remove(&entry.key);
        if let Some((roster, worker)) = &self.roster {
            roster.strike(*worker, entry.key);
            roster.strike(*worker, of_domain(entry.key, entry.domain));
        }
        self.free.push(place);
        if let hash_map::Entry::Occupied(mut peer) = self.peers.entry(entry.peer) {
            peer.get_mut().dialogs -= 1;
            if peer.get().dialogs == 0 {
                peer.remove();
            }
        }
        if let hash_map::Entry::Occupied(mut count) = self.of_server.entry(entry.server) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// The first of a certificate's names, as many as there is room for.
fn peer_names(peer: &PeerIdentity) -> Box<str> {
    let mut names = String::new();
    for name in peer.domains() {
        if names.len() + name.len() >= PEER_NAMES {
            break;
        }
        names.extend([if names.is_empty() { "" } else { " " }, name]);
    }
    names.into()
}

/// Stands for a dialog and its domain together; both are keyed already.
fn of_domain(key: u64, domain: Option<u64>) -> u64 {
    key.rotate_left(32) ^ domain.unwrap_or(0)
}

#[cfg(test)]
mod tests;
