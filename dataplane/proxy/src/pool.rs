// SPDX-License-Identifier: MIT OR Apache-2.0
//! `sip-pool`: the inside servers of which one is called for each request.
//!
//! A request goes to the member that has its Call-ID ([`Homes`]); one that is new goes to the member whose rank for its Call-ID,
//! weighed, is highest (rendezvous hashing: adding or losing a member moves no other's share) among those that are up and not draining.
//! Presence and calls of one user with one contact so stay together, and every worker, and the appliance after a restart, comes to
//! the same choice without being told.
//!
//! One [`Pool`] of a name lives through all policies, in places ([`MAX_MEMBERS`]) whose numbers are stable while a member is in
//! the configuration: sessions go on for days and have to see a member drained, added or gone. Members' words are atomics that change
//! at an operator's pace, when a health check turns, and when a connection fails; otherwise workers only read them.
//!
//! [`Pools`] is the housekeeping thread's; sessions ask their [`Pool`] on the worker's core.

use crate::api::Micros;
use crate::tcp::Addr;
use fedgate_tables::policy::{HealthCheck, MAX_MEMBERS, PoolSpec};
use fedgate_tables::policy_view::PolicyView;
pub(crate) use homes::Call;
pub use homes::Homes;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
pub use tally::Answer;
pub(crate) use tally::Joined;
use tally::Tallies;

mod homes;
mod tally;

/// A member whose connection failed is called last for this long.
const SHUN: u64 = 30_000_000;

/// What is believed of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not checked, or not yet: it is called.
    Unchecked,
    /// It answers.
    Up,
    /// It does not: nothing is sent there.
    Down,
}

const WEIGHT: u32 = 0xff;
const DRAIN: u32 = 1 << 8;
const UP: u32 = 1 << 9;
const DOWN: u32 = 1 << 10;

#[derive(Debug, Default)]
struct Place {
    /// Address and port; 0 where nobody is.
    addr: AtomicU64,
    /// [`WEIGHT`], [`DRAIN`], [`UP`], [`DOWN`].
    state: AtomicU32,
    /// When its health last turned, microseconds of the workers' clock.
    turned: AtomicU64,
    /// Called last until then.
    shunned: AtomicU64,
    /// When a health check last had an answer, or none, in microseconds of the workers' clock, 16 bits to the left; and which.
    heard: AtomicU64,
}

impl Place {
    fn addr(&self) -> Addr {
        let addr = self.addr.load(Relaxed);
        ((addr >> 16) as u32, addr as u16)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Pool {
    name: Box<str>,
    places: [Place; MAX_MEMBERS],
    /// Counts what sessions with requests in flight have to look at.
    changes: AtomicU32,
    /// [`HealthCheck`], packed; 0 for none.
    check: AtomicU32,
    /// What the workers have counted.
    tallies: Box<[Tallies]>,
}

/// A member as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its place.
    pub place: u8,
    /// Where it listens.
    pub addr: Addr,
    /// Its share.
    pub weight: u8,
    /// It gets nothing new.
    pub drain: bool,
    /// Whether it answers.
    pub health: Health,
    /// When that last turned.
    pub turned: Micros,
}

impl Pool {
    fn new(name: &str, workers: usize) -> Self {
        Self {
            name: name.into(),
            places: Default::default(),
            changes: AtomicU32::new(0),
            check: AtomicU32::new(0),
            tallies: (0..workers.max(1)).map(|_| Tallies::default()).collect(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How its members are watched.
    pub fn check(&self) -> Option<HealthCheck> {
        let packed = self.check.load(Relaxed);
        (packed != 0).then_some(HealthCheck {
            interval: packed as u16,
            fail: (packed >> 16) as u8,
            rise: (packed >> 24) as u8,
        })
    }

    /// Those who are in it.
    pub fn members(&self) -> impl Iterator<Item = Member> {
        (0u8..).zip(&self.places).filter_map(|(place, it)| {
            let addr = it.addr.load(Relaxed);
            let state = it.state.load(Relaxed);
            (addr != 0).then_some(Member {
                place,
                addr: ((addr >> 16) as u32, addr as u16),
                weight: (state & WEIGHT) as u8,
                drain: state & DRAIN != 0,
                health: match (state & UP != 0, state & DOWN != 0) {
                    (_, true) => Health::Down,
                    (true, false) => Health::Up,
                    (false, false) => Health::Unchecked,
                },
                turned: Micros(it.turned.load(Relaxed)),
            })
        })
    }

    /// The member in a place.
    pub fn member(&self, place: u8) -> Option<Member> {
        self.members().find(|member| member.place == place)
    }

    /// The member at an address; with port 0 any of its ports.
    pub(crate) fn at(&self, (addr, port): Addr) -> Option<Member> {
        self.members().find(|it| it.addr.0 == addr && (port == 0 || it.addr.1 == port))
    }

    /// Who is to have a new Call-ID, none of `tried` (a bit a place).
    pub(crate) fn choose(&self, call: Call, tried: u16, now: Micros) -> Option<Member> {
        let able = |it: &Member| it.health != Health::Down && !it.drain && tried >> it.place & 1 == 0;
        let race = |it: &Member| {
            // Exponential times with the weights as rates: the first to arrive has a chance of its share.
            let unit = ((call.rank(it.addr) >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
            -unit.ln() / f64::from(it.weight.max(1))
        };
        let shunned = |it: &Member| self.places[usize::from(it.place)].shunned.load(Relaxed) > now.0;
        self.members()
            .filter(able)
            .map(|it| (shunned(&it), race(&it), it))
            .min_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))
            .map(|(_, _, it)| it)
    }

    /// A connection to a member failed.
    pub(crate) fn failed(&self, place: u8, now: Micros) {
        self.places[usize::from(place)].shunned.store(now.after(SHUN).0, Relaxed);
    }

    /// What is found of a member's health: true where that is news.
    pub fn found(&self, place: u8, up: bool, now: Micros) -> bool {
        let it = &self.places[usize::from(place)];
        let (set, clear) = if up { (UP, DOWN) } else { (DOWN, UP) };
        let old = it.state.fetch_or(set, Relaxed);
        it.state.fetch_and(!clear, Relaxed);
        let news = old & set == 0;
        if news {
            it.turned.store(now.0, Relaxed);
            if up {
                it.shunned.store(0, Relaxed);
            }
            self.changes.fetch_add(1, Relaxed);
        }
        news
    }

    /// Grows when a member goes up or down.
    pub(crate) fn changes(&self) -> u32 {
        self.changes.load(Relaxed)
    }

    /// Becomes what the configuration says; who stays keeps place and health.
    fn follow(&self, spec: &PoolSpec) {
        let check = spec.check.map_or(0, |check| {
            u32::from(check.interval) | u32::from(check.fail) << 16 | u32::from(check.rise) << 24
        });
        let unchecked = self.check.swap(check, Relaxed) != 0 && check == 0;
        let packed = |addr: Ipv4Addr, port: u16| u64::from(addr.to_bits()) << 16 | u64::from(port);
        for it in &self.places {
            let addr = it.addr.load(Relaxed);
            let gone = addr != 0 && !spec.members.iter().any(|m| packed(m.addr, m.port) == addr);
            if gone || unchecked {
                it.state.fetch_and(!(UP | DOWN), Relaxed);
                it.heard.store(0, Relaxed);
            }
            if gone {
                it.addr.store(0, Relaxed);
                it.shunned.store(0, Relaxed);
                it.turned.store(0, Relaxed);
            }
        }
        for member in spec.members.iter().take(MAX_MEMBERS) {
            let addr = packed(member.addr, member.port);
            let is = |addr: u64| self.places.iter().find(|it| it.addr.load(Relaxed) == addr);
            let Some(it) = is(addr).or_else(|| is(0)) else { continue };
            let said = u32::from(member.weight) | if member.drain { DRAIN } else { 0 };
            let kept = it.state.load(Relaxed) & (UP | DOWN);
            it.state.store(kept | said, Relaxed);
            it.addr.store(addr, Relaxed);
        }
        self.changes.fetch_add(1, Relaxed);
    }
}

/// What the sessions of a `tls-proxy` have of the pools.
#[derive(Clone)]
pub struct Pooling {
    /// Where Call-IDs live, of all pools.
    pub homes: Arc<Homes>,
    /// Whom its client face calls; without one, the server that was called.
    pub pool: Option<Arc<Pool>>,
}

/// The pools of all policies so far that are still wanted.
pub struct Pools {
    homes: Option<Arc<Homes>>,
    workers: usize,
    pools: Vec<Arc<Pool>>,
}

impl Pools {
    /// None; for so many workers.
    pub fn new(workers: usize) -> Self {
        Self { homes: None, workers, pools: Vec::new() }
    }

    /// The pool of each `tls-proxy` of a policy.
    ///
    /// # Errors
    /// One that cannot be read: a sentence that names it.
    pub fn specs(policy: &PolicyView<'_>) -> Result<Vec<Option<PoolSpec>>, String> {
        let specs = policy.tls_proxies().iter().map(|proxy| {
            let text = Some(policy.str(proxy.pool)).filter(|text| !text.is_empty());
            let spec = text.map(serde_json::from_str::<PoolSpec>).transpose();
            spec.map_err(|why| format!("tls-proxy {}: sip-pool: {why}", policy.str(proxy.name)))
        });
        specs.collect()
    }

    /// Makes the pools what a policy says.
    pub fn follow(&mut self, specs: &[PoolSpec]) {
        let pools = specs.iter().map(|spec| {
            let known = self.pools.iter().find(|pool| *pool.name == *spec.name).cloned();
            let pool = known.unwrap_or_else(|| Arc::new(Pool::new(&spec.name, self.workers)));
            pool.follow(spec);
            pool
        });
        self.pools = pools.collect();
        if !self.pools.is_empty() && self.homes.is_none() {
            self.homes = Some(Arc::new(Homes::new(self.workers)));
        }
    }

    /// What a `tls-proxy` that names this pool, or none, is to know of them; `None` while there are no pools.
    pub fn pooling(&self, pool: Option<&str>) -> Option<Pooling> {
        let homes = self.homes.clone().filter(|_| !self.pools.is_empty())?;
        let pool = pool.and_then(|name| self.pools.iter().find(|pool| *pool.name == *name).cloned());
        Some(Pooling { homes, pool })
    }

    /// All of them.
    pub fn all(&self) -> &[Arc<Pool>] {
        &self.pools
    }
}

#[cfg(test)]
mod tests;
