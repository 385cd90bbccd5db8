// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a domain may do that is permitted only as one below another: OCS's own limits for peers it does not know by name.
//!
//! So many requests a second, with a burst of a second; and once such a domain has addressed more than a thousand different local
//! users, or most of what it asks for does not exist, it is on the watch list and has one a second. What is too much is answered 503
//! with Retry-After, and nothing else is done about it. The list is kept as long as the process lives.
//!
//! Bounds: [`MAX_GUARDS`] domains; those beyond it share one guard. Part of the core.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::Core;
use super::request::{Answered, Who};
use crate::aor::Aor;
use crate::message::Incoming;

/// Domains told apart.
const MAX_GUARDS: usize = 10_000;
/// Requests before their success is judged.
const ENOUGH: u32 = 200;

/// What is known of one domain.
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

impl Core {
    pub(super) fn guard(&mut self, request: &Incoming, from: Aor) -> Result<Who, Answered> {
        let target = request.msg().request_uri().and_then(|uri| Aor::of(&uri));
        let exists = target.as_ref().is_some_and(|aor| self.users.get(aor).is_some());
        let known = self.guards.len() < MAX_GUARDS || self.guards.contains_key(from.domain());
        let key = if known { from.domain() } else { "" };
        let (rate, list) = (self.cfg.federation.unlisted_rate, self.cfg.federation.watch_list);
        let guard = self.guards.entry(key.to_owned()).or_default();
        let was = guard.watched;
        let admitted = guard.admit(target.as_ref().map(Aor::as_str), exists, rate, list, self.now);
        if guard.watched && !was {
            self.count("watch_listed");
        }
        if admitted { Ok(Who::Foreign(from)) } else { Err(self.refused(request, 503, "rate")) }
    }
}

#[cfg(test)]
mod tests {
    use super::Guard;

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
