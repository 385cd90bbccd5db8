// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lookups a second, one packet at a time and in bursts of 32.
//!
//! 65,536 packets in turn, so that the classifier's own memory and nothing else decides what is in the caches. Each batch
//! of 1,024 counts with its best round: what else the machine does is left out, the same for us and for the peer.

use crate::rival::Rival;
use crate::rows::Row;
use crate::{Failure, name};
use fedgate_acl::testing::{self, Random, Shape, linear};
use fedgate_acl::{Layered, Query, Rule, Scratch};
use std::hint::black_box;
use std::time::Instant;

/// Packets in turn.
pub const PACKETS: usize = 65_536;
const BATCH: usize = 1_024;
const BURST: usize = 32;
/// Rounds, here and at the peer.
pub const ROUNDS: usize = 24;

/// The rules and packets of a size; the same every time.
pub fn given<A: Shape>(size: usize) -> (Vec<Rule<A>>, Vec<Query<A>>) {
    let rules = testing::rules(size, 1);
    let mut random = Random::new(2);
    let packets = (0..PACKETS).map(|_| testing::query(&mut random, &rules)).collect();
    (rules, packets)
}

/// IPv4, beside librte_acl.
pub fn rows(size: usize, rival: &Rival) -> Result<Vec<Row>, Failure> {
    let (rules, packets) = given::<u32>(size);
    let compiled = Layered::new(rules);
    for (q, answer) in packets.iter().zip(&rival.answers) {
        let ours = compiled.lookup(q);
        if ours != *answer {
            return Err(format!("librte_acl says {answer:?}, we say {ours:?}: {q:?}").into());
        }
    }
    let row = |id: &str, value, peer, peer_value| Row::new(id, value, "M lookups/s", peer, peer_value);
    let size = name(size);
    Ok(vec![
        row(
            &format!("lookup_{size}"),
            single(&compiled, &packets),
            "librte_acl, one at a time",
            rival.single,
        ),
        row(
            &format!("lookup_{size}_burst"),
            burst(&compiled, &packets),
            "librte_acl, bursts of 32",
            rival.burst,
        ),
    ])
}

/// IPv6, beside the linear walk over the same rules.
pub fn rows6(size: usize) -> Vec<Row> {
    let (rules, packets) = given::<u128>(size);
    let few = &packets[..BATCH];
    let began = Instant::now();
    for q in few {
        black_box(linear(&rules, q));
    }
    let walk = BATCH as f64 / began.elapsed().as_secs_f64() / 1e6;
    let compiled = Layered::new(rules);
    let row = |id: &str, value| Row::new(id, value, "M lookups/s", "linear walk", walk);
    let size = name(size);
    vec![
        row(&format!("lookup6_{size}"), single(&compiled, &packets)),
        row(&format!("lookup6_{size}_burst"), burst(&compiled, &packets)),
    ]
}

/// Millions a second, one at a time.
pub fn single<A: Shape>(compiled: &Layered<A>, packets: &[Query<A>]) -> f64 {
    rate(packets, |batch| {
        for q in batch {
            black_box(compiled.lookup(q));
        }
    })
}

fn burst<A: Shape>(compiled: &Layered<A>, packets: &[Query<A>]) -> f64 {
    let (mut found, mut scratch) = ([None; BURST], Scratch::default());
    rate(packets, |batch| {
        for queries in batch.chunks(BURST) {
            compiled.lookup_burst(queries, &mut found, &mut scratch, dpdk::prefetch_near_at);
            black_box(&found);
        }
    })
}

fn rate<A>(packets: &[Query<A>], mut work: impl FnMut(&[Query<A>])) -> f64 {
    let mut best = vec![f64::INFINITY; packets.len() / BATCH];
    for _ in 0..ROUNDS {
        for (batch, best) in packets.chunks_exact(BATCH).zip(&mut best) {
            let began = Instant::now();
            work(batch);
            *best = best.min(began.elapsed().as_secs_f64());
        }
    }
    (best.len() * BATCH) as f64 / best.iter().sum::<f64>() / 1e6
}
