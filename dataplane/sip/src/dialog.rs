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
use crate::headers::HeaderName;
use crate::identity::PeerIdentity;
use crate::message::{Message, Method, Start};
use crate::scan;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

mod roster;

pub use roster::Roster;

/// Bounds of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Dialogs in all; some 250 octets each.
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
/// Octets of a Call-ID that are kept for listings.
const SHOWN: usize = 96;
/// Entries looked at for what has run out, each time one is added or touched.
const SWEEP: usize = 4;
/// The same where there is no room for another.
const SWEEP_WHEN_FULL: usize = 64;

/// What a message is to its dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Nothing more than a sign of life.
    Talk,
    /// A provisional response to INVITE.
    Early,
    /// A response that makes the dialog, or keeps it; a subscription for so many seconds.
    Opens(Option<u32>),
    /// A NOTIFY that says how long its subscription goes on.
    Renews(u32),
    /// An INVITE is refused: the end of what it began, not of what was there.
    Fails,
    /// A BYE.
    Closing,
    /// The last word.
    Ends,
}

/// A message's dialog and its part in it. Made once when the message is judged, used again when it crosses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// `None` where a tag is missing: no dialog yet.
    key: Option<u64>,
    event: Event,
    cseq: u32,
    /// It is a request whose CSeq must not fall back.
    ordered: bool,
    request: bool,
    inward: bool,
    /// Stands for the domain of the outside's address.
    domain: Option<u64>,
    /// Where the Call-ID stands in the message.
    call_id: (u32, u32),
}

impl Note {
    /// Whether the message names a dialog.
    pub fn in_dialog(&self) -> bool {
        self.key.is_some()
    }

    /// The message's Call-ID, of its bytes.
    pub fn call_id<'m>(&self, frame: &'m [u8]) -> &'m str {
        let at = self.call_id.0 as usize..self.call_id.1 as usize;
        std::str::from_utf8(frame.get(at).unwrap_or_default()).unwrap_or_default()
    }
}

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

/// Where a dialog is, for listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// An INVITE is unanswered.
    Init,
    /// Agreed.
    Active,
    /// A BYE is unanswered.
    Closing,
}

/// A dialog, for listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Its Call-ID, clipped.
    pub call_id: &'a str,
    /// Where it is.
    pub state: State,
    /// Microseconds since it was last heard of.
    pub idle: u64,
    /// Microseconds until it is forgotten if nothing is heard.
    pub left: u64,
}

struct Entry {
    key: u64,
    peer: u64,
    domain: Option<u64>,
    call_id: Box<str>,
    state: State,
    /// A subscription's end, which its idle time does not put off.
    subscribed: Option<u64>,
    last: u64,
    until: u64,
    /// Highest CSeq, inward and outward.
    cseq: [u32; 2],
}

/// See the module.
pub struct Dialogs {
    limits: Limits,
    keyed: RandomState,
    places: HashMap<u64, u32>,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    of_peer: HashMap<u64, u32>,
    swept: usize,
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
            of_peer: HashMap::new(),
            swept: 0,
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
        // A request carries its sender's tag in From, a response its asker's.
        let request = matches!(message.start, Start::Request { .. });
        let (outside, inside) = match inward == request {
            true => (&message.from, &message.to),
            false => (&message.to, &message.from),
        };
        let key = match (outside.tag, inside.tag) {
            (Some(outside), Some(inside)) => Some(self.keyed.hash_one((message.call_id, outside, inside))),
            _ => None,
        };
        let method = message.method();
        let host = outside.uri.host.filter(|_| key.is_some());
        let domain = host.and_then(|host| Domain::canonical(host.as_bytes()).ok());
        let at = message.call_id.as_ptr().addr() - message.head().as_ptr().addr();
        Note {
            key,
            event: if key.is_some() { event(message) } else { Event::Talk },
            cseq: message.cseq.number,
            ordered: request && !matches!(method, Some(Method::Ack | Method::Cancel)),
            request,
            inward,
            domain: domain.map(|domain| self.keyed.hash_one(domain.as_str())),
            call_id: (at as u32, (at + message.call_id.len()) as u32),
        }
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

    fn find(&self, note: &Note) -> Option<&Entry> {
        let place = *self.places.get(&note.key?)?;
        self.entries.get(place as usize)?.as_ref()
    }

    /// The message, whose bytes are `frame`, has crossed; `peer` is the foreign side of the connection it crossed on. False where a dialog began that
    /// there is no room to remember.
    pub fn crossed(&mut self, note: &Note, frame: &[u8], peer: u64, now: u64, timers: &Timers) -> bool {
        let Some(key) = note.key else { return true };
        for _ in 0..SWEEP {
            self.sweep_one(now);
        }
        if let Some(&place) = self.places.get(&key)
            && self.is_over(place as usize, now)
        {
            self.remove(place);
        }
        let Some(&place) = self.places.get(&key) else {
            return self.begin(key, note, frame, peer, now, timers);
        };
        let Some(entry) = self.entries[place as usize].as_mut() else { return true };
        if entry.peer != peer && entry.domain != note.domain {
            // Never so where it was asked before; another's dialog is left as it is. Another edge of its domain is vouched for.
            return true;
        }
        entry.last = now;
        if note.request {
            let last = &mut entry.cseq[usize::from(!note.inward)];
            *last = note.cseq.max(*last);
        }
        match note.event {
            Event::Talk | Event::Early => {}
            Event::Fails if entry.state != State::Init => {}
            Event::Opens(expires) => {
                entry.state = State::Active;
                entry.subscribed = subscribed(expires, now).or(entry.subscribed);
            }
            Event::Renews(expires) => entry.subscribed = subscribed(Some(expires), now),
            Event::Closing => entry.state = State::Closing,
            Event::Ends | Event::Fails => {
                self.remove(place);
                return true;
            }
        }
        entry.until = entry.due(timers);
        true
    }

    /// Remembers a dialog if this message makes one.
    fn begin(&mut self, key: u64, note: &Note, frame: &[u8], peer: u64, now: u64, timers: &Timers) -> bool {
        let (state, expires) = match note.event {
            Event::Early => (State::Init, None),
            Event::Opens(expires) => (State::Active, expires),
            Event::Talk | Event::Renews(_) | Event::Fails | Event::Closing | Event::Ends => return true,
        };
        let full = |it: &Self| {
            let of_peer = it.of_peer.get(&peer).copied().unwrap_or(0) as usize;
            it.places.len() >= it.limits.dialogs || of_peer >= it.limits.per_peer
        };
        for _ in 0..if full(self) { SWEEP_WHEN_FULL } else { 0 } {
            self.sweep_one(now);
        }
        if full(self) {
            return false;
        }
        let mut cseq = [0; 2];
        // A response: its number is that of the other way's request.
        cseq[usize::from(note.inward)] = note.cseq;
        let call_id = frame.get(note.call_id.0 as usize..note.call_id.1 as usize).unwrap_or_default();
        let mut entry = Entry {
            key,
            peer,
            domain: note.domain,
            // Always ASCII: the scanner takes no other.
            call_id: String::from_utf8_lossy(&call_id[..call_id.len().min(SHOWN)]).into(),
            state,
            subscribed: subscribed(expires, now),
            last: now,
            until: 0,
            cseq,
        };
        entry.until = entry.due(timers);
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (self.entries.len() - 1) as u32
        });
        self.entries[place as usize] = Some(entry);
        self.places.insert(key, place);
        if let Some((roster, worker)) = &self.roster {
            roster.list(*worker, key);
        }
        *self.of_peer.entry(peer).or_default() += 1;
        true
    }

    /// Looks at one entry, the next in turn, and forgets it if its time is over.
    fn sweep_one(&mut self, now: u64) {
        if self.swept >= self.entries.len() {
            self.swept = 0;
        }
        if self.is_over(self.swept, now) {
            self.remove(self.swept as u32);
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
        }
        self.free.push(place);
        if let Some(count) = self.of_peer.get_mut(&entry.peer) {
            *count -= 1;
            if *count == 0 {
                self.of_peer.remove(&entry.peer);
            }
        }
    }

    /// At most `rows` dialogs from place `cursor` on, looking at `scan` places at most, and where to go on.
    pub fn page(&self, cursor: usize, rows: usize, scan: usize, now: u64) -> (Vec<Row<'_>>, Option<usize>) {
        let mut found = Vec::new();
        let end = self.entries.len().min(cursor.saturating_add(scan));
        for at in cursor..end {
            if found.len() == rows {
                return (found, Some(at));
            }
            if let Some(entry) = self.entries[at].as_ref().filter(|entry| entry.until > now) {
                found.push(Row {
                    call_id: &entry.call_id,
                    state: entry.state,
                    idle: now.saturating_sub(entry.last),
                    left: entry.until - now,
                });
            }
        }
        (found, (end < self.entries.len()).then_some(end))
    }
}

impl Entry {
    /// When it is forgotten, from its last sign of life.
    fn due(&self, timers: &Timers) -> u64 {
        let after = match self.state {
            State::Init => timers.invite,
            State::Active => timers.idle,
            State::Closing => timers.disconnect,
        };
        let until = self.last.saturating_add(after);
        match (self.state, self.subscribed) {
            (State::Active, Some(end)) => end.max(until),
            _ => until,
        }
    }
}

fn subscribed(expires: Option<u32>, now: u64) -> Option<u64> {
    Some(now.saturating_add(u64::from(expires?) * 1_000_000 + GRACE))
}

fn event(message: &Message<'_>) -> Event {
    match message.start {
        Start::Request { method: Method::Bye, .. } => Event::Closing,
        Start::Request { method: Method::Notify, .. } => subscription_state(message),
        Start::Request { .. } => Event::Talk,
        Start::Response { status, .. } => match (message.cseq.method, status) {
            ("BYE", 200..) | (_, 481) => Event::Ends,
            ("INVITE", 101..=199) => Event::Early,
            ("INVITE", 300..) => Event::Fails,
            ("SUBSCRIBE", 200..=299) => Event::Opens(Some(expires(message))),
            ("INVITE" | "REFER" | "NOTIFY", 200..=299) => Event::Opens(None),
            _ => Event::Talk,
        },
    }
}

/// `Subscription-State: active;expires=n` (RFC 6665 section 8.2.3).
fn subscription_state(message: &Message<'_>) -> Event {
    let Some(value) = message.values(HeaderName::SubscriptionState).next() else { return Event::Talk };
    let mut parts = value.split(';').map(scan::trim);
    if parts.next().is_some_and(|state| state.eq_ignore_ascii_case("terminated")) {
        return Event::Ends;
    }
    let expires = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        scan::trim(name).eq_ignore_ascii_case("expires").then(|| seconds(scan::trim(value)))
    });
    expires.map_or(Event::Talk, Event::Renews)
}

fn expires(message: &Message<'_>) -> u32 {
    message.values(HeaderName::Expires).next().map_or(DEFAULT_EXPIRES as u32, seconds)
}

/// What is believed of a number of seconds; one too long to read is the most there is.
fn seconds(text: &str) -> u32 {
    let most = MAX_EXPIRES as u32;
    scan::number(text, MAX_EXPIRES).and_then(|n| u32::try_from(n).ok()).unwrap_or(most)
}

#[cfg(test)]
mod tests;
