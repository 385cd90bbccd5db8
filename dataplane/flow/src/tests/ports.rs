// SPDX-License-Identifier: MIT OR Apache-2.0
//! The port bitmap against a set of ports, alone and shared by workers, with blocks.

use crate::Rng;
use crate::ports::{Band, Block, Ports, Share};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn no_wish(_: u16) -> bool {
    true
}

/// The ports of a band that `share` owns, by the definition.
fn owned(share: Share, band: Band) -> BTreeSet<u16> {
    let [first, last] = band.ports();
    (first.max(1)..=last).filter(|port| Share::owner(*port, share.of) == share.worker).collect()
}

fn share() -> impl Strategy<Value = Share> {
    (1u16..=16).prop_flat_map(|of| (0..of).prop_map(move |worker| Share { worker, of }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Two ports in a row are free and of one word, the wanted ones where they can be, of their parity where there are such; all
    /// the others are as they were.
    #[test]
    fn pairs_follow_the_rules(
        wanted in prop::collection::vec((0u16..2000, 1u8..4), 1..200),
        reserved in 0u16..1500,
        share in share(),
        seed: u64,
    ) {
        let (mut ports, mut rng) = (Ports::new(share), Rng::new(seed));
        ports.reserve([reserved, reserved + 100]);
        let mut taken: BTreeSet<u16> = (reserved..=reserved + 100).collect();
        for (want, how) in wanted {
            let band = Some(Band::of(want)).filter(|b| !owned(share, *b).is_empty()).unwrap_or(Band::High);
            let mut free = owned(share, band);
            free.retain(|port| !taken.contains(port));
            let pair = |port: u16| port & 63 != 63 && free.contains(&port) && free.contains(&(port + 1));
            if how == 1 {
                // Between the pairs, single ones.
                taken.extend(ports.pick(want, Band::of(want), rng.next(), no_wish));
                continue;
            }
            match ports.pick_pair(want, Band::of(want), rng.next()) {
                None => prop_assert!(!free.iter().any(|port| pair(*port))),
                Some(port) => {
                    prop_assert!(pair(port), "{port}");
                    prop_assert!(port == want || !pair(want));
                    prop_assert!(port & 1 == want & 1 || !free.iter().any(|p| p & 1 == want & 1 && pair(*p)));
                    taken.extend([port, port + 1]);
                    prop_assert!(!ports.is_free(port) && !ports.is_free(port + 1));
                    if how == 3 {
                        ports.release(port);
                        ports.release(port + 1);
                        taken.remove(&port);
                        taken.remove(&(port + 1));
                    }
                }
            }
        }
    }

    /// A picked port is free, of the share and the band, the wanted one where it can be, of its parity where one is free.
    #[test]
    fn ports_follow_the_rules(
        wanted in prop::collection::vec((0u16..2000, any::<bool>()), 1..300),
        reserved in prop::collection::vec((0u16..1500, 0u16..200), 0..3),
        share in share(),
        seed: u64,
    ) {
        let (mut ports, mut rng) = (Ports::new(share), Rng::new(seed));
        let mut taken = BTreeSet::new();
        let mut kept = BTreeSet::new();
        for (first, more) in reserved {
            ports.reserve([first, first + more]);
            kept.extend(first..=first + more);
        }
        for (want, give_back) in wanted {
            if give_back && let Some(port) = taken.pop_first() {
                ports.release(port);
                prop_assert_eq!(ports.is_free(port), !kept.contains(&port));
            }
            let band = Some(Band::of(want)).filter(|b| !owned(share, *b).is_empty()).unwrap_or(Band::High);
            let free: BTreeSet<u16> =
                owned(share, band).into_iter().filter(|p| !taken.contains(p) && !kept.contains(p)).collect();
            match ports.pick(want, Band::of(want), rng.next(), no_wish) {
                None => prop_assert!(free.is_empty()),
                Some(port) => {
                    prop_assert!(free.contains(&port), "{port}");
                    prop_assert!(port == want || !free.contains(&want));
                    prop_assert!(port & 1 == want & 1 || !free.iter().any(|p| p & 1 == want & 1));
                    taken.insert(port);
                }
            }
            let count = |band| taken.iter().filter(|p| Band::of(**p) == band).count() as u32;
            prop_assert_eq!(ports.allocated(), Band::THREE.map(count));
        }
    }

    /// Blocks do not overlap, are whole, and nobody but their host gets a port of them.
    #[test]
    fn blocks_are_their_hosts_own(
        size in 1u32..=4096,
        share in share(),
        ops in prop::collection::vec((0u8..4, any::<u16>()), 1..200),
        seed: u64,
    ) {
        let (mut ports, mut rng) = (Ports::new(share), Rng::new(seed));
        let all = owned(share, Band::High);
        let mut blocks: Vec<(Block, BTreeSet<u16>, BTreeSet<u16>)> = Vec::new();
        let mut others = BTreeSet::new();
        for (op, n) in ops {
            let of_blocks: BTreeSet<u16> = blocks.iter().flat_map(|(_, all, _)| all).copied().collect();
            match op {
                0 => if let Some(block) = ports.take_block(size, rng.next()) {
                    let [first, last] = ports.ports_of(block);
                    let held: BTreeSet<u16> = all.range(first..=last).copied().collect();
                    prop_assert_eq!(held.len(), size.div_ceil(32) as usize * 32);
                    prop_assert!(held.is_disjoint(&of_blocks) && held.is_disjoint(&others));
                    prop_assert!(held.iter().all(|p| ports.is_in(block, *p)));
                    blocks.push((block, held, BTreeSet::new()));
                },
                1 if !blocks.is_empty() => {
                    let (block, held, taken) = {
                        let count = blocks.len();
                        &mut blocks[usize::from(n) % count]
                    };
                    match ports.pick_in(*block, n, rng.next(), no_wish) {
                        Some(port) => prop_assert!(held.contains(&port) && taken.insert(port)),
                        None => prop_assert_eq!(taken.len(), held.len()),
                    }
                }
                2 => if let Some(port) = ports.pick(n | 1024, Band::High, rng.next(), no_wish) {
                    prop_assert!(all.contains(&port) && !of_blocks.contains(&port) && others.insert(port));
                },
                _ => if let Some((block, _, taken)) = blocks.pop() {
                    prop_assert_eq!(ports.is_block_empty(block), taken.is_empty());
                    taken.into_iter().for_each(|port| ports.release(port));
                    prop_assert!(ports.is_block_empty(block));
                    ports.release_block(block);
                },
            }
        }
    }
}

/// Every port is exactly one worker's, and each worker finds all of its own and no other.
#[test]
fn workers_share_all_ports() {
    for of in [1, 2, 3, 7, 16] {
        let mut seen = BTreeSet::new();
        for worker in 0..of {
            let mut ports = Ports::new(Share { worker, of });
            let mut rng = Rng::new(u64::from(worker));
            while let Some(port) = ports.pick(0, Band::All, rng.next(), no_wish) {
                assert_eq!(Share::owner(port, of), worker);
                assert!(seen.insert(port), "{port} twice");
            }
        }
        assert_eq!(seen.len(), 65535);
    }
}

/// Of free ports the preferred one is taken while some are soon found; where none is, any.
#[test]
fn preference_is_heard_but_no_condition() {
    let (mut ports, mut rng) = (Ports::new(Share::WHOLE), Rng::new(1));
    let third = |port: u16| port.is_multiple_of(3);
    let picked: Vec<u16> =
        (0..1000).map(|_| ports.pick(2000, Band::High, rng.next(), third).unwrap()).collect();
    assert!(picked.iter().filter(|p| third(**p)).count() > 950);
    assert!(ports.pick(2000, Band::High, rng.next(), |_| false).is_some());
}

/// An exhausted band is known as such, until a port comes back or static rules change.
#[test]
fn exhaustion_ends_with_what_is_given_back() {
    let (mut ports, mut rng) = (Ports::new(Share::WHOLE), Rng::new(1));
    while ports.pick(600, Band::Middle, rng.next(), no_wish).is_some() {}
    assert_eq!(ports.allocated(), [0, 512, 0]);
    assert_eq!(ports.pick(600, Band::Middle, rng.next(), no_wish), None);
    ports.release(777);
    assert_eq!(ports.pick(600, Band::Middle, rng.next(), no_wish), Some(777));
    ports.reserve([600, 700]);
    ports.release(650);
    assert_eq!(ports.pick(600, Band::Middle, rng.next(), no_wish), None);
    ports.clear_reserved();
    assert_eq!(ports.pick(600, Band::Middle, rng.next(), no_wish), Some(650));
}
