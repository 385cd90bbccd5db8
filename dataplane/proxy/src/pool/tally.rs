// SPDX-License-Identifier: MIT OR Apache-2.0
//! What became of a pool's members, for `show sip-pool`.
//!
//! Counts are a worker's own: each has a block of them, on lines that no other writes, and control adds the workers up. They tell of an
//! address: when another member gets the place they begin anew, at the worker's next word of it, and a connection that was still counted
//! for the one before ([`Joined`]) is none of the new one's. What a health check was answered is the watching worker's word alone.
//!
//! Worker core; a request costs a load and a store.

use super::{DOWN, DRAIN, MAX_MEMBERS, Place, Pool, UP, WEIGHT};
use crate::api::Micros;
use crate::event::end;
use crate::tcp::Addr;
use fedgate_tables::link::MemberRow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// What a member said to a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A final answer.
    Status(u16),
    /// Nothing in time.
    Silent,
    /// The connection failed, or what came was no SIP.
    Broken,
    /// There is no way there.
    NoWay,
}

impl Answer {
    /// Whether it is a sign of life: what a server thinks of OPTIONS is its own affair.
    pub fn is_well(self) -> bool {
        match self {
            Self::Status(status) => !matches!(status, 408 | 503),
            Self::Silent | Self::Broken | Self::NoWay => false,
        }
    }

    fn pack(self) -> u16 {
        match self {
            Self::Status(status) => status,
            Self::Silent => 1,
            Self::Broken => 2,
            Self::NoWay => 3,
        }
    }

    fn text(packed: u16) -> String {
        match packed {
            0 => String::new(),
            1 => "no answer".into(),
            2 => "connection failed".into(),
            3 => "no route".into(),
            status => status.to_string(),
        }
    }
}

/// One worker's counts of all places.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Tallies([Tally; MAX_MEMBERS]);

#[derive(Debug, Default)]
struct Tally {
    /// [`Place::addr`] of whom it tells.
    addr: AtomicU64,
    /// Counts those.
    epoch: AtomicU32,
    sessions: AtomicU32,
    requests: AtomicU64,
    failures: AtomicU64,
}

/// A session's connection to a member, counted for as long as this lives.
pub(crate) struct Joined {
    pool: Arc<Pool>,
    worker: usize,
    place: u8,
    epoch: u32,
}

impl Drop for Joined {
    fn drop(&mut self) {
        let tally = self.pool.tallies.get(self.worker).and_then(|it| it.0.get(usize::from(self.place)));
        if let Some(tally) = tally.filter(|tally| tally.epoch.load(Relaxed) == self.epoch) {
            tally.sessions.store(tally.sessions.load(Relaxed).saturating_sub(1), Relaxed);
        }
    }
}

impl Pool {
    /// The worker's counts of who has a place now.
    fn tally(&self, worker: usize, place: u8) -> Option<&Tally> {
        let addr = self.places.get(usize::from(place))?.addr.load(Relaxed);
        let tally = self.tallies.get(worker)?.0.get(usize::from(place))?;
        if tally.addr.load(Relaxed) != addr {
            tally.sessions.store(0, Relaxed);
            tally.requests.store(0, Relaxed);
            tally.failures.store(0, Relaxed);
            tally.epoch.store(tally.epoch.load(Relaxed).wrapping_add(1), Relaxed);
            tally.addr.store(addr, Relaxed);
        }
        Some(tally)
    }

    /// A request goes to a member.
    pub(crate) fn asks(&self, worker: usize, place: u8) {
        if let Some(tally) = self.tally(worker, place) {
            tally.requests.store(tally.requests.load(Relaxed) + 1, Relaxed);
        }
    }

    /// A session connects to a member.
    pub(crate) fn joins(self: &Arc<Self>, worker: usize, place: u8) -> Option<Joined> {
        let tally = self.tally(worker, place)?;
        tally.sessions.store(tally.sessions.load(Relaxed) + 1, Relaxed);
        Some(Joined { pool: self.clone(), worker, place, epoch: tally.epoch.load(Relaxed) })
    }

    /// A session's connection to a member has failed.
    pub(crate) fn fails(&self, worker: usize, place: u8) {
        if let Some(tally) = self.tally(worker, place) {
            tally.failures.store(tally.failures.load(Relaxed) + 1, Relaxed);
        }
    }

    /// What a member said to a health check.
    pub(crate) fn heard(&self, place: u8, answer: Answer, now: Micros) {
        self.places[usize::from(place)].heard.store(now.0 << 16 | u64::from(answer.pack()), Relaxed);
    }

    /// A row a member, with a worker's counts; `dialogs` tells how many of an inside server's it has.
    pub fn rows(&self, worker: usize, now: Micros, dialogs: impl Fn(Addr) -> u32) -> Vec<MemberRow> {
        let mut hosts: Vec<u32> = Vec::new();
        let places = (0u8..).zip(&self.places).filter(|(_, it)| it.addr.load(Relaxed) != 0);
        let rows = places.map(|(place, it)| {
            let addr = it.addr();
            let mut row = MemberRow { dialogs: dialogs(addr), ..self.row(place, it, worker, now) };
            // What a server has begun itself is its host's, whatever its port.
            if !hosts.contains(&addr.0) {
                hosts.push(addr.0);
                row.dialogs += dialogs((addr.0, 0));
            }
            row
        });
        rows.collect()
    }

    fn row(&self, place: u8, it: &Place, worker: usize, now: Micros) -> MemberRow {
        let (state, heard, turned) =
            (it.state.load(Relaxed), it.heard.load(Relaxed), it.turned.load(Relaxed));
        let secs = |since: u64| u32::try_from(now.since(Micros(since)) / 1_000_000).unwrap_or(u32::MAX);
        let tally = self.tallies.get(worker).and_then(|it| it.0.get(usize::from(place)));
        let tally = tally.filter(|tally| tally.addr.load(Relaxed) == it.addr.load(Relaxed));
        MemberRow {
            pool: self.name.to_string(),
            member: end(it.addr()),
            weight: (state & WEIGHT) as u8,
            draining: state & DRAIN != 0,
            health: match (state & (UP | DOWN), self.check()) {
                (UP, _) => "up",
                (0, Some(_)) => "probing",
                (0, None) => "unchecked",
                _ => "down",
            }
            .into(),
            avoided_secs: u32::try_from(it.shunned.load(Relaxed).saturating_sub(now.0).div_ceil(1_000_000))
                .unwrap_or(u32::MAX),
            sessions: tally.map_or(0, |tally| tally.sessions.load(Relaxed)),
            dialogs: 0,
            requests: tally.map_or(0, |tally| tally.requests.load(Relaxed)),
            failures: tally.map_or(0, |tally| tally.failures.load(Relaxed)),
            answer: Answer::text(heard as u16),
            answer_secs: (heard != 0).then(|| secs(heard >> 16)),
            turned_secs: (turned != 0).then(|| secs(turned)),
        }
    }
}
