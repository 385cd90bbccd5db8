// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the operator, and DNS for him, say of foreign domains beyond the list: where else their edges are, and how much they may send.
//!
//! Control writes [`PartnersSpec`] into the policy as JSON (a few hundred octets a domain, read once when a policy is taken
//! into use); [`Partners`] is what workers ask, by the canonical name. The domain list (a million names) says who may federate at
//! all; this is for the few of them that something more is said of, and for all others by one default.
//!
//! [`order`] is RFC 2782's: lowest priority first, within one priority by chance as the weights say. Chance is an argument, drawn once
//! a session, so that the load is shared by sessions and not by how often control asks DNS.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::Ipv4Addr;

/// Most targets of one domain.
pub const MAX_TARGETS: usize = 16;
/// Most domains that more is said of.
pub const MAX_PARTNERS: usize = 4096;

/// A place where the edge of a domain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// As in SRV: lower goes first.
    pub priority: u16,
    /// As in SRV: its share among those of one priority.
    pub weight: u16,
    /// Its address.
    pub addr: Ipv4Addr,
    /// Where it listens.
    pub port: u16,
}

/// `rate-limit N [burst M]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests a second, at least 1.
    pub rate: u32,
    /// So many at once, at least 1.
    pub burst: u32,
}

/// How much a domain may send us; `None` for no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Requests.
    pub rate: Option<Rate>,
    /// Connections.
    pub sessions: Option<u32>,
}

/// What is said of one domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partner {
    /// Where its edges are; none where nothing is known but the address that is called.
    pub targets: Vec<Target>,
    /// How much it may send. What is `None` here is as the default says.
    pub bounds: Bounds,
}

/// As control writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartnersSpec {
    /// For every domain of which nothing else is said.
    pub default: Bounds,
    /// By canonical name.
    pub partners: Vec<(String, Partner)>,
}

/// As workers read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partners {
    default: Bounds,
    by_name: HashMap<Box<str>, Partner>,
}

impl Partners {
    /// Made once a policy, off the workers. Targets and domains past their bounds are left out.
    pub fn new(spec: PartnersSpec) -> Self {
        let partners = spec.partners.into_iter().take(MAX_PARTNERS).map(|(name, mut partner)| {
            partner.targets.truncate(MAX_TARGETS);
            let bounds = &mut partner.bounds;
            bounds.rate = bounds.rate.or(spec.default.rate);
            bounds.sessions = bounds.sessions.or(spec.default.sessions);
            (name.into_boxed_str(), partner)
        });
        Self { default: spec.default, by_name: partners.collect() }
    }

    /// Where the edges of a domain are.
    pub fn targets(&self, canonical: &str) -> &[Target] {
        self.by_name.get(canonical).map_or(&[], |partner| &partner.targets)
    }

    /// How much a domain may send.
    pub fn bounds(&self, canonical: &str) -> Bounds {
        if self.by_name.is_empty() {
            return self.default;
        }
        self.by_name.get(canonical).map_or(self.default, |partner| partner.bounds)
    }
}

/// The targets in the order in which they are tried (RFC 2782, "Usage rules"), by chance from `seed`.
pub fn order(targets: &[Target], seed: u64) -> Vec<Target> {
    let mut left = targets.to_vec();
    // Weight 0 first within a priority, so that such a one keeps the small chance that the RFC wants it to have.
    left.sort_by_key(|target| (target.priority, target.weight));
    let (mut seed, mut ordered) = (seed, Vec::with_capacity(left.len()));
    while let Some(first) = left.first() {
        let equals = left.iter().take_while(|target| target.priority == first.priority).count();
        let sum: u64 = left[..equals].iter().map(|target| u64::from(target.weight)).sum();
        let drawn = next(&mut seed) % (sum + 1);
        let mut running = 0;
        let chosen = left[..equals].iter().position(|target| {
            running += u64::from(target.weight);
            running >= drawn
        });
        ordered.push(left.remove(chosen.unwrap_or(0)));
    }
    ordered
}

/// SplitMix64: enough to spread load, and nobody's secret.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What a worker counts of one domain's requests: a token bucket, in requests and fractions of them.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Millionths of a request: below zero where what must not be refused has overdrawn it.
    tokens: i64,
    /// When it was last filled, microseconds.
    filled: u64,
}

/// Tokens of one request.
const REQUEST: i64 = 1_000_000;

/// What a worker has counted of the domains that it has bounds for: by the entry of the domain list, of which there are boundedly many.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    buckets: HashMap<u32, Bucket>,
    sessions: HashMap<u32, u32>,
}

impl Tally {
    /// Counts a request against the rate of its domain's entry; false above it. `releases`: it ends something (ACK, BYE, CANCEL), and to refuse it
    /// would keep load instead of shedding it, so it may overdraw by another burst. Microseconds. One of `workers` that share in the rate.
    pub fn pass(&mut self, id: u32, rate: Rate, releases: bool, now: u64, workers: u32) -> bool {
        let share = |all: u32| i64::from(all.div_ceil(workers.max(1)).max(1));
        let (rate, full) = (share(rate.rate), share(rate.burst) * REQUEST);
        let bucket = self.buckets.entry(id).or_insert(Bucket { tokens: full, filled: now });
        // A microsecond brings `rate` millionths. What long silence brings is bounded before it is multiplied.
        let silence = now.saturating_sub(bucket.filled).min(u64::from(u32::MAX));
        bucket.tokens = (bucket.tokens + silence as i64 * rate).min(full);
        bucket.filled = now;
        let floor = if releases { REQUEST - full } else { REQUEST };
        let passes = bucket.tokens >= floor;
        if passes {
            bucket.tokens -= REQUEST;
        }
        passes
    }

    /// Counts a connection against its domain's bound; false where that is reached.
    pub fn begin(&mut self, id: u32, most: u32, workers: u32) -> bool {
        let open = self.sessions.entry(id).or_default();
        let passes = *open < most.div_ceil(workers.max(1));
        *open += u32::from(passes);
        passes
    }

    /// One that was counted has ended.
    pub fn end(&mut self, id: u32) {
        if let Some(open) = self.sessions.get_mut(&id) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                self.sessions.remove(&id);
            }
        }
    }

    /// Connections counted for an entry.
    pub fn sessions(&self, id: u32) -> u32 {
        self.sessions.get(&id).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
