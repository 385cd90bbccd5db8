// SPDX-License-Identifier: MIT OR Apache-2.0
//! Counters: every one has a word of its own, sums are sums, foreign segments are refused, readers run beside writers.

use super::layout::Layout;
use super::*;
use crate::domains::MAX_DOMAINS;
use crate::policy::MAX_INTERFACES;
use crate::policy_view::{MAX_ACE_COUNTERS, MAX_NAT_COUNTERS};
use std::collections::HashSet;
use std::sync::atomic::AtomicU64;

fn again(counters: &Counters) -> CountersReader {
    let fd = counters.region().fd().try_clone_to_owned().unwrap();
    CountersReader::attach(Region::map_rw(fd).unwrap()).unwrap()
}

/// Every counter of the small lists, and the edges of the long ones.
fn some_of_each() -> Vec<Counter> {
    let mut all = Vec::new();
    all.extend(Stat::ALL.iter().map(|&s| Counter::Stat(s)));
    all.extend(Gauge::ALL.iter().map(|&g| Counter::Gauge(g)));
    all.extend(DropReason::ALL.iter().map(|&d| Counter::Drop(d)));
    for i in 0..MAX_INTERFACES as u8 {
        all.extend(InterfaceCounter::ALL.iter().map(|&c| Counter::Interface(i, c)));
        all.extend(FragmentCounter::ALL.iter().map(|&c| Counter::Fragment(i, c)));
    }
    all.extend(DomainCounter::ALL.iter().map(|&c| Counter::Unlisted(c)));
    for &h in Histo::ALL {
        all.extend((0..HISTO_BUCKETS).map(|b| Counter::Bucket(h, b)));
    }
    for slot in [0, 1, MAX_NAT_COUNTERS - 1] {
        all.extend(NatCounter::ALL.iter().map(|&w| Counter::Nat(slot, w)));
    }
    all.extend([0, 1, MAX_ACE_COUNTERS - 1].map(Counter::Ace));
    for id in [0, 1, MAX_DOMAINS - 1] {
        all.extend(DomainCounter::ALL.iter().map(|&c| Counter::Domain(id, c)));
    }
    all
}

#[test]
fn every_counter_has_a_word_of_its_own() {
    let (counters, workers, house) = Counters::create(2, 1_700_000_000).unwrap();
    let all = some_of_each();
    for (i, &counter) in all.iter().enumerate() {
        workers[0].count(counter, i as u64 + 1);
        workers[1].count(counter, 1_000_000);
        house.count(counter, 1);
    }
    let reader = again(&counters);
    assert_eq!((reader.workers(), reader.started_unix()), (2, 1_700_000_000));
    for (i, &counter) in all.iter().enumerate() {
        let n = i as u64 + 1;
        assert_eq!(
            (reader.of(0, counter), reader.of(1, counter), reader.of(2, counter)),
            (n, 1_000_000, 1),
            "{counter:?}"
        );
        assert_eq!(reader.sum(counter), n + 1_000_001);
    }
    assert_eq!(reader.of(3, all[0]), 0);
}

#[test]
fn what_does_not_exist_is_not_counted() {
    let (counters, workers, _house) = Counters::create(1, 0).unwrap();
    let outside = [
        Counter::Interface(MAX_INTERFACES as u8, InterfaceCounter::RxBytes),
        Counter::Ace(MAX_ACE_COUNTERS),
        Counter::Nat(MAX_NAT_COUNTERS, NatCounter::Translate),
        Counter::Domain(MAX_DOMAINS, DomainCounter::PermittedIn),
        Counter::Bucket(Histo::HandshakeUs, HISTO_BUCKETS),
    ];
    for counter in outside {
        workers[0].count(counter, 1);
        assert_eq!(again(&counters).sum(counter), 0);
    }
    let touched = some_of_each().into_iter().filter(|&c| again(&counters).sum(c) != 0).count();
    assert_eq!(touched, 0);
}

#[test]
fn the_typed_methods() {
    let (counters, workers, house) = Counters::create(1, 0).unwrap();
    let worker = &workers[0];
    worker.drop(DropReason::AclDrop);
    worker.rx(3, 64, 6_400);
    worker.tx(3, 2, 128);
    worker.ace(7);
    worker.nat(9, NatCounter::Untranslate);
    worker.domain(5, DomainCounter::DeniedPeer);
    worker.unlisted(DomainCounter::DeniedNotPermitted);
    worker.add(Stat::Bursts, 10);
    house.set(Gauge::PolicyGeneration, 12);
    house.set(Gauge::PolicyGeneration, 13);
    [100, 200, 100_000].into_iter().for_each(|us| worker.observe(Histo::HandshakeUs, us));
    let reader = again(&counters);
    assert_eq!(reader.sum(Counter::Drop(DropReason::AclDrop)), 1);
    assert_eq!(reader.sum(Counter::Interface(3, InterfaceCounter::RxBytes)), 6_400);
    assert_eq!(reader.sum(Counter::Interface(3, InterfaceCounter::TxPackets)), 2);
    assert_eq!(reader.sum(Counter::Ace(7)), 1);
    assert_eq!(reader.sum(Counter::Nat(9, NatCounter::Untranslate)), 1);
    assert_eq!(reader.sum(Counter::Domain(5, DomainCounter::DeniedPeer)), 1);
    assert_eq!(reader.sum(Counter::Unlisted(DomainCounter::DeniedNotPermitted)), 1);
    assert_eq!(reader.sum(Counter::Stat(Stat::Bursts)), 10);
    assert_eq!(reader.sum(Counter::Gauge(Gauge::PolicyGeneration)), 13);
    let values = reader.histo(Histo::HandshakeUs);
    assert_eq!((values.total(), values.hdr().len()), (3, 3));
    assert_eq!(values.hdr().value_at_quantile(0.5), 200);
    let (fresh, _workers, _house) = Counters::create(1, 0).unwrap();
    assert_eq!(again(&fresh).histo(Histo::HandshakeUs).total(), 0);
}

#[test]
fn names_are_unique() {
    let mut names: Vec<&str> = Stat::ALL.iter().map(|s| s.name()).collect();
    names.extend(Gauge::ALL.iter().map(|g| g.name()));
    names.extend(Histo::ALL.iter().map(|h| h.name()));
    names.extend(DropReason::ALL.iter().map(|d| d.name()));
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
}

#[test]
fn foreign_segments_are_refused() {
    let words: Vec<AtomicU64> = (0..64).map(|_| AtomicU64::new(0)).collect();
    let attach = || Layout::read(&AsWords(&words)).unwrap_err();
    struct AsWords<'a>(&'a [AtomicU64]);
    impl Words for AsWords<'_> {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn load(&self, index: usize, order: std::sync::atomic::Ordering) -> u64 {
            self.0[index].load(order)
        }
        fn store(&self, index: usize, value: u64, order: std::sync::atomic::Ordering) {
            self.0[index].store(value, order);
        }
    }
    assert_eq!(attach(), BadCounters::Magic(0));
    let layout = Layout::new(2, 5);
    layout.write(&AsWords(&words));
    assert_eq!(attach(), BadCounters::Length { has: 64, wants: layout.words() });
    words[10].store(17, Relaxed);
    assert_eq!(attach(), BadCounters::Build("number of workers"));
    for at in 1..10 {
        layout.write(&AsWords(&words));
        words[at].fetch_add(1, Relaxed);
        assert!(matches!(attach(), BadCounters::Build(_)), "header word {at}");
    }
    assert_eq!(Layout::read(&AsWords(&words[..8])), Err(BadCounters::Short(8)));
}

#[test]
fn a_reader_beside_writers_sees_counters_grow() {
    const N: u64 = 200_000;
    let (counters, workers, house) = Counters::create(2, 0).unwrap();
    let reader = again(&counters);
    std::thread::scope(|scope| {
        for worker in workers {
            scope.spawn(move || (0..N).for_each(|_| worker.add(Stat::SipPassed, 1)));
        }
        let mut last = 0;
        while last < 2 * N {
            let now = reader.sum(Counter::Stat(Stat::SipPassed));
            assert!(now >= last && now <= 2 * N);
            last = now;
        }
    });
    drop(house);
}
