// SPDX-License-Identifier: MIT OR Apache-2.0
//! The groups that our interfaces listen to, and when that is to be said: the listener's part of MLDv2 (RFC 3810 section 6).
//!
//! A change is reported twice (the Robustness Variable), the second time within a second of the first; a query is answered within the time
//! that it gives, at a random moment. To keep one timer an interface a query for one group is answered with all of them, which is as true.
//! Compatibility with routers of version 1 alone is not here: what matters are the switches on our links, and those know version 2.
//!
//! Sans-IO: time and random numbers are arguments. Bound: a few groups an interface. The first worker's; slow path.

use fedgate_flow::Rng;
use fedgate_tables::policy::MAX_INTERFACES;
use fedgate_wire::mld::{MAX_RECORDS, Query, Record, State};

#[cfg(test)]
mod tests;

/// How often a change is said (Robustness Variable).
const ROBUSTNESS: u8 = 2;
/// Most between two reports of a change (Unsolicited Report Interval).
const UNSOLICITED_MS: u64 = 1000;

#[derive(Debug, Default)]
struct Link {
    groups: Vec<u128>,
    /// What has changed, to be said so many times more, and when next.
    changes: Vec<Record>,
    left: u8,
    change_ms: u64,
    /// When a query is to be answered.
    answer_ms: Option<u64>,
}

/// All interfaces.
pub struct Listener {
    links: Vec<Link>,
    rng: Rng,
}

impl Listener {
    /// Listening to nothing; `seed` from the system's entropy.
    pub fn new(seed: u64) -> Self {
        Self { links: (0..MAX_INTERFACES).map(|_| Link::default()).collect(), rng: Rng::new(seed) }
    }

    /// A random time up to `most`.
    pub fn delay(&mut self, most: u64) -> u64 {
        self.rng.next() % (most + 1)
    }

    /// From now on interface `ifindex` listens to these. What has changed is said from `at_ms` on.
    pub fn listen(&mut self, ifindex: u8, groups: Vec<u128>, at_ms: u64) {
        let Some(link) = self.links.get_mut(usize::from(ifindex)) else { return };
        let before = std::mem::replace(&mut link.groups, groups);
        let joined = link.groups.iter().filter(|group| !before.contains(group));
        let left = before.iter().filter(|group| !link.groups.contains(group));
        let changes: Vec<Record> = joined
            .map(|group| Record { group: *group, state: State::Joined })
            .chain(left.map(|group| Record { group: *group, state: State::Left }))
            .collect();
        if !changes.is_empty() {
            link.changes.retain(|record| changes.iter().all(|new| new.group != record.group));
            link.changes.extend(changes);
            link.changes.truncate(MAX_RECORDS);
            (link.left, link.change_ms) = (ROBUSTNESS, at_ms);
        }
    }

    /// There is an address to report from now: what was said without one counts for little (RFC 3590 section 4).
    pub fn say_again(&mut self, ifindex: u8, now_ms: u64) {
        if let Some(link) = self.links.get_mut(usize::from(ifindex)) {
            let joined = |group: &u128| Record { group: *group, state: State::Joined };
            link.changes = link.groups.iter().map(joined).take(MAX_RECORDS).collect();
            (link.left, link.change_ms) = (ROBUSTNESS, now_ms);
        }
    }

    /// Somebody asks.
    pub fn asked(&mut self, ifindex: u8, query: Query, now_ms: u64) {
        let at = now_ms + self.delay(query.within_ms.into());
        let Some(link) = self.links.get_mut(usize::from(ifindex)) else { return };
        if query.group == fedgate_wire::ipv6::UNSPECIFIED || link.groups.contains(&query.group) {
            link.answer_ms = Some(link.answer_ms.map_or(at, |before| before.min(at)));
        }
    }

    /// The next report that is due, if there is one: of an interface, and what it says.
    pub fn poll(&mut self, now_ms: u64) -> Option<(u8, Vec<Record>)> {
        let Self { links, rng } = self;
        (0u8..).zip(links).find_map(|(ifindex, link)| {
            if link.left > 0 && link.change_ms <= now_ms {
                link.left -= 1;
                link.change_ms = now_ms + 1 + rng.next() % UNSOLICITED_MS;
                let said =
                    if link.left == 0 { std::mem::take(&mut link.changes) } else { link.changes.clone() };
                return Some((ifindex, said));
            }
            link.answer_ms.filter(|at| *at <= now_ms)?;
            link.answer_ms = None;
            let listens = |group: &u128| Record { group: *group, state: State::Listens };
            (!link.groups.is_empty())
                .then(|| (ifindex, link.groups.iter().map(listens).take(MAX_RECORDS).collect()))
        })
    }
}
