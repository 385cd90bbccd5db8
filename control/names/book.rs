// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is known of each domain's edges, and when it is to be asked again.
//!
//! An answer holds for its TTL, within [`SOONEST`] and [`LATEST`]; that there is nothing, for [`LATEST_NOTHING`] at most (RFC 2308). Where nobody
//! answers, what was known stays for a day (RFC 8767: a stale answer is better than none), and is asked for again after [`FIRST_RETRY`], then in
//! twice as long. As many domains as the configuration names; what it no longer names is forgotten. Plain data, time is an argument.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fedgate_sip::partner::{PartnersSpec, Target};

use super::Targets;
use super::ask::Answer;
use crate::config::model::Model;

/// Least and most seconds that an answer is believed.
pub const SOONEST: u32 = 5;
/// See [`SOONEST`].
pub const LATEST: u32 = 86_400;
/// Most seconds that a denial is believed.
pub const LATEST_NOTHING: u32 = 300;
/// Seconds after the first failure; the most is [`LATEST_NOTHING`].
pub const FIRST_RETRY: u32 = 10;
/// How long after its end an answer is kept where nobody gives another.
const STALE: Duration = Duration::from_secs(LATEST as u64);
/// Domains that are asked for at a time.
const AT_ONCE: usize = 16;

/// An edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name; empty where only its address is known, from the policy of a control before.
    pub name: String,
    /// Where it is.
    pub target: Target,
    /// Seconds that this held when it was told.
    pub ttl: u32,
}

/// What came of the last question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// There was none.
    #[default]
    Unasked,
    /// By this service's records.
    Found(&'static str),
    /// There are no records.
    Nothing,
    /// Nobody answered: a sentence.
    Failed(String),
}

/// What is known of one domain.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its edges.
    pub found: Vec<Found>,
    /// Of the last question.
    pub outcome: Outcome,
    /// When it came.
    pub asked: Option<Instant>,
    /// When to ask again.
    pub due: Instant,
    failures: u32,
    /// When `found` ends, where nobody answers.
    stale: Instant,
    in_flight: bool,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Domains that were asked for.
    pub asked: u64,
    /// With edges for an answer.
    pub found: u64,
    /// With none.
    pub nothing: u64,
    /// Without an answer.
    pub failed: u64,
}

/// See the module.
#[derive(Default)]
pub struct Book {
    domains: BTreeMap<String, Known>,
    counts: Counts,
}

impl Book {
    /// Begins with what a policy in force says, for domains of which nothing is known yet.
    pub fn learn(&mut self, spec: &PartnersSpec, now: Instant) {
        for (name, partner) in &spec.partners {
            let found = |target: &Target| Found { name: String::new(), target: *target, ttl: 0 };
            let found: Vec<Found> = partner.targets.iter().map(found).collect();
            let known = self.domains.entry(name.clone()).or_insert_with(|| Known::new(now));
            if known.asked.is_none() && !found.is_empty() {
                (known.found, known.stale) = (found, now + STALE);
            }
        }
    }

    /// What is to be asked now: each is told of by [`Self::answered`].
    pub fn due(&mut self, model: &Model, now: Instant) -> Vec<String> {
        let wanted = |name: &String| model.federations.get(name).is_some_and(|it| it.srv);
        self.domains.retain(|name, _| wanted(name));
        for (name, _) in model.federations.iter().filter(|(_, federation)| federation.srv) {
            if !self.domains.contains_key(name) {
                self.domains.insert(name.clone(), Known::new(now));
            }
        }
        if model.dns.servers.is_empty() {
            return Vec::new();
        }
        let busy = self.domains.values().filter(|known| known.in_flight).count();
        let due = self.domains.iter_mut().filter(|(_, known)| !known.in_flight && known.due <= now);
        // Who waits longest comes first, whatever the names.
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(_, known)| known.due);
        let due = due.into_iter().take(AT_ONCE.saturating_sub(busy)).map(|(name, known)| {
            known.in_flight = true;
            name.clone()
        });
        due.collect()
    }

    /// What came of a question.
    pub fn answered(&mut self, name: &str, answer: Result<Answer, String>, now: Instant) {
        self.counts.asked += 1;
        let seconds = |n: u32| Duration::from_secs(n.into());
        let counts = &mut self.counts;
        let Some(known) = self.domains.get_mut(name) else { return };
        (known.in_flight, known.asked) = (false, Some(now));
        match answer {
            Ok(Answer::Found { service, found, ttl }) => {
                counts.found += 1;
                let holds = seconds(ttl.clamp(SOONEST, LATEST));
                (known.found, known.outcome, known.failures) = (found, Outcome::Found(service), 0);
                (known.due, known.stale) = (now + holds, now + holds + STALE);
            }
            Ok(Answer::Nothing { ttl }) => {
                counts.nothing += 1;
                (known.found, known.outcome, known.failures) = (Vec::new(), Outcome::Nothing, 0);
                known.due = now + seconds(ttl.clamp(SOONEST, LATEST_NOTHING));
            }
            Err(why) => {
                counts.failed += 1;
                let pause = FIRST_RETRY.saturating_mul(1 << known.failures.min(8)).min(LATEST_NOTHING);
                known.failures += 1;
                (known.outcome, known.due) = (Outcome::Failed(why), now + seconds(pause));
                if known.stale <= now {
                    known.found.clear();
                }
            }
        }
    }

    /// All is to be asked anew: others answer now.
    pub fn anew(&mut self, now: Instant) {
        for known in self.domains.values_mut() {
            (known.due, known.failures) = (now, 0);
        }
    }

    /// What is known, by domain.
    pub fn domains(&self) -> &BTreeMap<String, Known> {
        &self.domains
    }

    /// The edges alone.
    pub fn targets(&self) -> Targets {
        let found = self.domains.iter().filter(|(_, known)| !known.found.is_empty());
        found.map(|(name, known)| (name.clone(), known.found.clone())).collect()
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

impl Known {
    fn new(now: Instant) -> Self {
        Self {
            found: Vec::new(),
            outcome: Outcome::default(),
            asked: None,
            due: now,
            failures: 0,
            stale: now,
            in_flight: false,
        }
    }
}
