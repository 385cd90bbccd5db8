// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which requests have crossed a session and may still be answered.
//!
//! A response has no Request-URI to judge, only a list of Vias that its receiver follows: a response to nothing would
//! be sent on to whatever host its sender wrote there. So a response crosses only where a request crossed the other way
//! with the same topmost Via, CSeq and Call-ID (RFC 3261 17.1.3; we add no Via, so it comes back as it went).
//!
//! Kept as keyed hashes, 64 bits each. A final response takes its request out, but for an INVITE, which may have several. What is
//! never answered goes with its generation: two of them, turned when the younger one is full or old enough. So a
//! session holds at most 4 * 2 * [`MOST`] of them (about 1.1 MiB when both peers flood each other and are silent), which is charged to it
//! ([`Transactions::held`]); what a flood has taken is given back when all of it is answered. With each goes the place in the pool of the
//! server that asked, where several do in one session: its answers go back there.
//! One a session, on its worker's core.

use crate::api::{Leg, Micros};
use fedgate_sip::message::{Message, Method, Start};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// Requests in a generation.
const MOST: usize = 4096;
/// Room that stays when nothing is unanswered any more.
const KEPT: usize = 64;
/// A generation's time for INVITE (above RFC 3261's Timer C, three minutes) and for the rest (above 64 * T1).
const INVITE: Micros = Micros::from_secs(200);
const OTHER: Micros = Micros::from_secs(40);

/// What a message is to its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Asks for answers.
    Request { invite: bool },
    /// Is one; `last` where no other will come.
    Response { invite: bool, last: bool },
    /// An ACK: nothing answers it.
    Neither,
}

/// A message's transaction and its part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) key: u64,
    pub(crate) role: Role,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Transactions {
    keyed: RandomState,
    /// By the leg that asked, and by kind.
    asked: [[Generations; 2]; 2],
}

#[derive(Default)]
struct Generations {
    young: HashMap<u64, u8>,
    old: HashMap<u64, u8>,
    turned: Micros,
}

impl Transactions {
    /// The transaction of a message.
    pub(crate) fn part(&self, message: &Message<'_>) -> Part {
        let (via, cseq) = (&message.top_via, &message.cseq);
        let key =
            self.keyed.hash_one((via.host, via.port, via.branch, cseq.number, cseq.method, message.call_id));
        let invite = cseq.method == "INVITE";
        let role = match message.start {
            Start::Request { method: Method::Ack, .. } => Role::Neither,
            Start::Request { .. } => Role::Request { invite },
            Start::Response { status, .. } => Role::Response { invite, last: status >= 200 },
        };
        Part { key, role }
    }

    /// Whether a message from `leg` may cross: true of requests, and of answers to what crossed the other way.
    pub(crate) fn may_cross(&self, leg: Leg, part: Part) -> bool {
        match part.role {
            Role::Request { .. } | Role::Neither => true,
            Role::Response { invite, .. } => self.found(leg, part.key, invite).is_some(),
        }
    }

    /// The place of the server that asked for what this is the answer to.
    pub(crate) fn asker(&self, leg: Leg, part: Part) -> Option<u8> {
        match part.role {
            Role::Request { .. } | Role::Neither => None,
            Role::Response { invite, .. } => self.found(leg, part.key, invite),
        }
    }

    fn found(&self, leg: Leg, key: u64, invite: bool) -> Option<u8> {
        let asked = &self.asked[leg.other() as usize][usize::from(invite)];
        asked.young.get(&key).or_else(|| asked.old.get(&key)).copied()
    }

    /// A message from `leg` has crossed; `place` is the server's in its pool.
    pub(crate) fn crossed(&mut self, leg: Leg, part: Part, place: u8, now: Micros) {
        match part.role {
            Role::Request { invite } => {
                let asked = &mut self.asked[leg as usize][usize::from(invite)];
                let lifetime = if invite { INVITE } else { OTHER };
                if asked.young.len() >= MOST || now.since(asked.turned) > lifetime.0 {
                    asked.old = std::mem::take(&mut asked.young);
                    asked.turned = now;
                }
                asked.young.insert(part.key, place);
            }
            Role::Response { invite: false, last: true } => {
                let asked = &mut self.asked[leg.other() as usize][0];
                if asked.young.remove(&part.key).is_none() {
                    asked.old.remove(&part.key);
                }
                for set in [&mut asked.young, &mut asked.old] {
                    if set.is_empty() && set.capacity() > KEPT {
                        *set = HashMap::new();
                    }
                }
            }
            Role::Response { .. } | Role::Neither => {}
        }
    }

    /// Bytes of memory, about.
    pub(crate) fn held(&self) -> usize {
        // A bucket is a key with its place and a byte, and an eighth of them stays empty.
        let of = |set: &HashMap<u64, u8>| set.capacity() * 8 / 7 * (size_of::<(u64, u8)>() + 1);
        self.asked.iter().flatten().map(|it| of(&it.young) + of(&it.old)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(key: u64, role: Role) -> Part {
        Part { key, role }
    }

    const REQUEST: Role = Role::Request { invite: false };
    const FINAL: Role = Role::Response { invite: false, last: true };

    #[test]
    fn an_answer_crosses_once_and_only_back() {
        let mut t = Transactions::default();
        assert!(!t.may_cross(Leg::Server, part(7, FINAL)));
        t.crossed(Leg::Client, part(7, REQUEST), 0, Micros(1));
        assert!(!t.may_cross(Leg::Client, part(7, FINAL)), "an answer to oneself");
        assert!(t.may_cross(Leg::Server, part(7, Role::Response { invite: false, last: false })));
        assert!(t.may_cross(Leg::Server, part(7, FINAL)));
        t.crossed(Leg::Server, part(7, FINAL), 0, Micros(2));
        assert!(!t.may_cross(Leg::Server, part(7, FINAL)));
    }

    #[test]
    fn an_invite_may_be_answered_again_and_late() {
        let mut t = Transactions::default();
        let answer = part(9, Role::Response { invite: true, last: true });
        t.crossed(Leg::Client, part(9, Role::Request { invite: true }), 0, Micros::from_secs(1));
        for second in (2..180).step_by(10) {
            t.crossed(
                Leg::Client,
                part(second, Role::Request { invite: true }),
                0,
                Micros::from_secs(second),
            );
            assert!(t.may_cross(Leg::Server, answer), "after {second} s");
            t.crossed(Leg::Server, answer, 0, Micros::from_secs(second));
        }
    }

    /// However many are never answered, the newest are known and the number is bounded.
    #[test]
    fn what_is_never_answered_is_bounded() {
        let mut t = Transactions::default();
        for key in 0..100_000 {
            t.crossed(Leg::Server, part(key, REQUEST), 0, Micros(key));
            assert!(t.may_cross(Leg::Client, part(key.saturating_sub(MOST as u64 - 1), FINAL)));
        }
        let held: usize = t.asked.iter().flatten().map(|g| g.young.len() + g.old.len()).sum();
        assert!(held <= 2 * MOST, "{held}");
        assert!((held * 9..=held * 40).contains(&t.held()), "{} for {held}", t.held());
        for key in 0..100_000 {
            t.crossed(Leg::Client, part(key, FINAL), 0, Micros(200_000));
        }
        assert_eq!(t.held(), 0);
    }
}
