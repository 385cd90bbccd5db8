// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ten million packets, each one's answer held against the plain linear model's.
//!
//! Many rule sets of several sizes, most of them after edits, IPv4 and IPv6, single lookups and bursts. One wrong answer fails the bench.

use crate::Failure;
use crate::rows::Row;
use fedgate_acl::testing::{self, Random, Shape, linear};
use fedgate_acl::{Layered, Query, Rule, Scratch};

/// Rules of a set, and how often a size comes.
const SIZES: &[usize] = &[30, 100, 100, 300, 300, 300, 1_000, 1_000, 3_000, 10_000];
const BURST: usize = 32;

/// One row: how many agree.
pub fn rows(quick: bool) -> Result<Vec<Row>, Failure> {
    let pairs = if quick { 1_000_000 } else { 10_000_000 };
    let mut agreed = 0;
    let mut random = Random::new(41);
    let mut sets = 0;
    while agreed < pairs {
        let size = SIZES[sets % SIZES.len()];
        // As much work for each size: large sets get fewer packets.
        let packets = (30_000_000 / (size + 100)).min(pairs - agreed).next_multiple_of(BURST);
        agreed += if sets % 4 == 3 {
            set::<u128>(size, packets, &mut random)?
        } else {
            set::<u32>(size, packets, &mut random)?
        };
        sets += 1;
    }
    let (value, peer) = (agreed as f64, format!("linear model, {sets} sets"));
    Ok(vec![Row::new("differential", value, "packets agree", &peer, value)])
}

fn set<A: Shape>(size: usize, packets: usize, random: &mut Random) -> Result<usize, Failure> {
    let mut rules: Vec<Rule<A>> = testing::rules(size, random.bits());
    let (mut layered, mut scratch) = (Layered::new(rules.clone()), Scratch::default());
    for part in 0..4 {
        for _ in 0..packets / 4 / BURST {
            let queries: [Query<A>; BURST] = std::array::from_fn(|_| testing::query(random, &rules));
            let mut burst = [None; BURST];
            layered.lookup_burst(&queries, &mut burst, &mut scratch, dpdk::prefetch_near_at);
            for (q, burst) in queries.iter().zip(burst) {
                let (want, single) = (linear(&rules, q), layered.lookup(q));
                if single != want || burst != want {
                    return Err(format!(
                        "{size} rules after {part} edits, {q:?}: the model says {want:?}, a lookup {single:?}, a burst {burst:?}"
                    )
                    .into());
                }
            }
        }
        let at = random.below(rules.len());
        match part {
            0 => rules.insert(at, testing::rule(random, 4)),
            1 => rules[at].active = false,
            _ => drop(rules.remove(at)),
        }
        layered = layered.updated(rules.clone());
    }
    Ok(packets / 4 / BURST * BURST * 4)
}
