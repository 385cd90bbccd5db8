// SPDX-License-Identifier: MIT OR Apache-2.0
//! One dialog as it is remembered, and how long.
//!
//! The texts are there for listings only (`show dialogs`), clipped and in one allocation; what decides are the hashes beside them.

use super::{GRACE, Note, Timers};

/// Octets of a Call-ID that are kept for listings: its first.
const CALL_ID: usize = 96;
/// Octets of a party's address: its last, so that the domain is among them.
const PARTY: usize = 96;

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

/// By what a dialog began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// INVITE.
    Call,
    /// SUBSCRIBE, or a NOTIFY whose SUBSCRIBE was not seen here.
    Subscription,
    /// REFER.
    Refer,
}

/// What let a message through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The foreign domain is permitted, and the certificate is good for it (RFC 5922).
    Domain,
    /// The foreign domain is permitted, and the certificate names the host that the list says it must.
    Host,
    /// It is of a dialog that is known, and of its peer.
    Dialog,
}

pub(super) struct Entry {
    pub(super) key: u64,
    pub(super) peer: u64,
    pub(super) domain: Option<u64>,
    /// Call-ID, outside's address, inside's.
    texts: Box<str>,
    /// Where the second and the third begin.
    cuts: [u16; 2],
    /// The inside server; its port is 0 where it is known as a client only.
    pub(super) server: (u32, u16),
    pub(super) state: State,
    pub(super) usage: Usage,
    /// The outside began it.
    pub(super) inbound: bool,
    /// What let in the message that began it, and what the last one.
    pub(super) checks: [Check; 2],
    /// A subscription's end, which its idle time does not put off.
    pub(super) subscribed: Option<u64>,
    /// When the last SUBSCRIBE was agreed, and for how many seconds.
    pub(super) subscribe: Option<(u64, u32)>,
    /// The most microseconds between two of them so far.
    pub(super) refresh: Option<u64>,
    pub(super) begun: u64,
    pub(super) last: u64,
    pub(super) until: u64,
    /// Highest CSeq, inward and outward.
    pub(super) cseq: [u32; 2],
}

impl Entry {
    /// What a dialog's first message leaves of its texts.
    pub(super) fn texts(note: &Note, frame: &[u8]) -> (Box<str>, [u16; 2]) {
        let (outside, inside) = note.parties(frame);
        let call_id = note.call_id(frame);
        let mut texts = call_id[..call_id.floor_char_boundary(CALL_ID)].to_owned();
        let mut cuts = [0; 2];
        for (cut, party) in cuts.iter_mut().zip([outside, inside]) {
            *cut = texts.len() as u16;
            texts.push_str(&party[party.ceil_char_boundary(party.len().saturating_sub(PARTY))..]);
        }
        (texts.into(), cuts)
    }

    pub(super) fn new(
        note: &Note,
        frame: &[u8],
        (key, peer): (u64, u64),
        server: (u32, u16),
        (state, usage, check): (State, Usage, Check),
        now: u64,
    ) -> Self {
        let (texts, cuts) = Self::texts(note, frame);
        let mut cseq = [0; 2];
        // A response: its number is that of the other way's request.
        cseq[usize::from(note.inward)] = note.cseq;
        Self {
            key,
            peer,
            domain: note.domain,
            texts,
            cuts,
            server,
            state,
            usage,
            inbound: note.request == note.inward,
            checks: [check; 2],
            subscribed: None,
            subscribe: None,
            refresh: None,
            begun: now,
            last: now,
            until: 0,
            cseq,
        }
    }

    /// Its Call-ID, who is outside, who is inside.
    pub(super) fn names(&self) -> [&str; 3] {
        let [outside, inside] = self.cuts.map(usize::from);
        [&self.texts[..outside], &self.texts[outside..inside], &self.texts[inside..]]
    }

    /// A SUBSCRIBE has been agreed.
    pub(super) fn subscribes(&mut self, expires: u32, now: u64) {
        self.state = State::Active;
        self.subscribed = Some(ends(expires, now));
        self.refresh = self.refresh.max(self.subscribe.map(|(before, _)| now.saturating_sub(before)));
        self.subscribe = Some((now, expires));
    }

    /// A NOTIFY says how long its subscription goes on.
    pub(super) fn renews(&mut self, expires: u32, now: u64) {
        self.subscribed = Some(ends(expires, now));
    }

    /// When it is forgotten, from its last sign of life.
    pub(super) fn due(&self, timers: &Timers) -> u64 {
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

fn ends(expires: u32, now: u64) -> u64 {
    now.saturating_add(u64::from(expires) * 1_000_000 + GRACE)
}
