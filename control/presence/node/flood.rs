// SPDX-License-Identifier: MIT OR Apache-2.0
//! What domains may do that are permitted only as those below another: OCS's own limits for peers it does not know by name.
//!
//! So many requests a second, in and out of dialogs, with a burst of a second; and once they have addressed more than a thousand different
//! local users, or most of what they ask for does not exist, they are on the watch list and have one a second. All that one `*.x` of
//! the configuration permits are one: whoever owns x makes as many names below it as he likes. What is too much is answered 503
//! with Retry-After, and nothing else is done about it. The list is kept as long as the process lives.
//!
//! And what all foreign domains may hold of the node together is shared ([`Share`]).
//!
//! Bound: one guard and one share for each entry of the permitted domains. Part of the core.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::Core;
use super::request::{Answered, Who};
use crate::aor::Aor;
use crate::message::Incoming;

/// Requests before their success is judged.
const ENOUGH: u32 = 200;
/// What peers may make us remember of each dialog, on average, octets.
const OCTETS_EACH: usize = 2_048;

/// What is known of the domains below one.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// Thousandths of a request that may come now.
    tokens: u64,
    since: u64,
    /// Hashes of the local users addressed.
    addressed: HashSet<u32>,
    asked: u32,
    missed: u32,
    pub(super) watched: bool,
}

impl Guard {
    /// Whether a request to `target` may come at `now`, of `rate` a second.
    fn admit(&mut self, target: Option<&str>, exists: bool, rate: u32, list: usize, now: u64) -> bool {
        if !self.watched {
            if let Some(target) = target {
                let mut hasher = DefaultHasher::new();
                target.hash(&mut hasher);
                self.addressed.insert((hasher.finish() >> 32) as u32);
            }
            self.asked = self.asked.saturating_add(1);
            self.missed = self.missed.saturating_add(u32::from(!exists));
            let misses = self.asked >= ENOUGH && self.missed > self.asked / 2;
            if self.addressed.len() > list || misses {
                self.watched = true;
                self.addressed = HashSet::new();
                self.tokens = 0;
            }
        }
        let rate = if self.watched { 1 } else { u64::from(rate) };
        let full = rate * 1_000;
        let gained = if self.since == 0 { full } else { now.saturating_sub(self.since).saturating_mul(rate) };
        self.tokens = self.tokens.saturating_add(gained).min(full);
        self.since = now.max(1);
        let admitted = self.tokens >= 1_000;
        if admitted {
            self.tokens -= 1_000;
        }
        admitted
    }
}

/// What foreign domains hold of the things of which there may be so many in all.
#[derive(Debug, Default)]
pub(super) struct Shares {
    pub(super) subscriptions: Share,
    pub(super) sessions: Share,
}

/// How much of one thing those hold whom each entry of the permitted domains permits, and all together. An entry may have half, so
/// that nobody keeps all others out; our own users have no entry.
#[derive(Debug, Default)]
pub(super) struct Share {
    all: Held,
    of: HashMap<usize, Held>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    count: usize,
    octets: usize,
}

#[cfg(any(test, fuzzing))]
impl Shares {
    /// Whether all has been given back.
    pub(super) fn is_empty(&self) -> bool {
        [&self.subscriptions, &self.sessions].into_iter().all(|share| {
            share.of.values().chain([&share.all]).all(|held| (held.count, held.octets) == (0, 0))
        })
    }
}

impl Share {
    /// Whether there is room for one more of so many octets, where there may be `most`.
    pub(super) fn has_room(&self, entry: Option<usize>, octets: usize, most: usize) -> bool {
        let fits = |held: &Held, most: usize| held.count < most && held.octets + octets <= most * OCTETS_EACH;
        let others = entry.and_then(|entry| self.of.get(&entry));
        fits(&self.all, most) && others.is_none_or(|held| fits(held, most.div_ceil(2)))
    }

    pub(super) fn take(&mut self, entry: Option<usize>, octets: usize) {
        let of = entry.map(|entry| self.of.entry(entry).or_default());
        for held in of.into_iter().chain([&mut self.all]) {
            held.count += 1;
            held.octets += octets;
        }
    }

    pub(super) fn give_back(&mut self, entry: Option<usize>, octets: usize) {
        let of = entry.and_then(|entry| self.of.get_mut(&entry));
        for held in of.into_iter().chain([&mut self.all]) {
            held.count -= 1;
            held.octets -= octets;
        }
    }
}

impl Core {
    /// Whether one more request may come from those whom the entry `entry` of the permitted domains permits.
    pub(super) fn guard(
        &mut self,
        request: &Incoming,
        from: Aor,
        entry: usize,
        target: Option<&Aor>,
    ) -> Result<Who, Answered> {
        // Whether one who is at home elsewhere exists is that node's to say, and it guards itself.
        let exists = target.is_some_and(|aor| self.users.get(aor).is_some() || self.is_elsewhere(aor));
        let (rate, list) = (self.cfg.federation.unlisted_rate, self.cfg.federation.watch_list);
        let guard = self.guards.entry(entry).or_default();
        let was = guard.watched;
        let admitted = guard.admit(target.map(Aor::as_str), exists, rate, list, self.now);
        if guard.watched && !was {
            self.count("watch_listed");
        }
        if admitted { Ok(Who::Foreign(from)) } else { Err(self.refused(request, 503, "rate")) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Guard, OCTETS_EACH, Share};

    #[test]
    fn one_entry_has_half_in_number_and_in_octets() {
        let mut share = Share::default();
        for _ in 0..5 {
            assert!(share.has_room(Some(1), 100, 10));
            share.take(Some(1), 100);
        }
        assert!(!share.has_room(Some(1), 100, 10));
        share.give_back(Some(1), 100);
        assert!(!share.has_room(Some(1), 5 * OCTETS_EACH, 10));
        share.take(Some(2), 5 * OCTETS_EACH);
        assert!(!share.has_room(Some(2), 1, 10));
        // Our own users have the rest, and no more.
        assert!(share.has_room(None, 5 * OCTETS_EACH - 400, 10));
        assert!(!share.has_room(None, 5 * OCTETS_EACH - 399, 10));
    }

    fn admitted(guard: &mut Guard, users: usize, exists: bool, from: u64, seconds: u64) -> usize {
        let step = |i: u64| from + i * 10;
        (0..seconds * 100)
            .filter(|i| {
                let user = format!("u{}", *i as usize % users);
                guard.admit(Some(&user), exists, 20, 1_000, step(*i))
            })
            .count()
    }

    #[test]
    fn twenty_a_second_and_a_burst_of_one_second() {
        let count = admitted(&mut Guard::default(), 10, true, 1_000, 10);
        assert!((200..=220).contains(&count), "{count}");
    }

    #[test]
    fn who_harvests_has_one_a_second() {
        let mut guard = Guard::default();
        let _ = admitted(&mut guard, 1_100, true, 1_000, 11);
        assert!(guard.watched);
        let count = admitted(&mut guard, 10, true, 100_000, 10);
        assert!((9..=12).contains(&count), "{count}");
    }

    #[test]
    fn who_guesses_is_found_out() {
        let mut guard = Guard::default();
        let _ = admitted(&mut guard, 10, false, 1_000, 3);
        assert!(guard.watched);
    }
}
